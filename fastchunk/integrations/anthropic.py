r"""The streams of Anthropic's SDK, with the events of `fastchunk.messages` in place of its own.

In:  the `Stream` or `AsyncStream` that `client.messages.create(stream=True)` returns, before
anything was read from it.
Out: a stream of the same class, which yields events of `messages`.
Cost: that of httpx2, which the SDK pays too, and on top of it a tenth or less of what the SDK does.

    >>> import anthropic, httpx2
    >>> body = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    >>> transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body))
    >>> client = anthropic.Anthropic(api_key="-", http_client=httpx2.Client(transport=transport))
    >>> request = {"model": "m", "messages": [], "max_tokens": 1}
    >>> with events(client.messages.create(**request, stream=True)) as stream:
    ...     [event.type for event in stream]
    ['message_stop']

It is tested with anthropic 2.13.0. What happens is what happens there:

- The response is read to its end, and closed when it has been read, when an error ends it, and with
  `close()` or the `with` block.
- An `error` event is raised as the `anthropic.APIStatusError` that the SDK makes of it, with the
  same message and body. What goes wrong in httpx2 is raised as it is.
- `ping` events are left out.
- A body that ends too early just ends. Ask `truncated` whether it did.

It differs in this:

- What an event leaves out is `msgspec.UNSET`, which is false, and not None.
- An event without an `event:` line is read all the same: its data says what it is. So is a last
  one that lacks its empty line.
- An event that is no JSON raises `InvalidChunk`, which is a `ValueError`, as `JSONDecodeError` is.
- The SDK's tracing sees where the body ends, and no events.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, overload

import anthropic
import httpx2

from fastchunk import messages
from fastchunk.errors import UpstreamError
from fastchunk.messages import Event, PingEvent
from fastchunk.sse import MAX_EVENT_SIZE

from .sdk_streams import BodyReader

__all__ = ["AsyncEvents", "Events", "events"]


class Events(anthropic.Stream[Event]):
    """A `Stream` of the events of `messages`. `events` makes it."""

    def __init__(self, stream: anthropic.Stream[Any], reader: BodyReader[Event]) -> None:
        super().__init__(
            cast_to=stream._cast_to,  # noqa: SLF001
            response=stream.response,
            client=stream._client,  # noqa: SLF001
            options=stream._options,  # noqa: SLF001
        )
        self._reader = reader
        self._events = _read(stream.response, reader)

    @property
    def truncated(self) -> bool:
        """Whether the body ended before its stream was complete; known when it has been read."""
        return self._reader.stream.truncated

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def __next__(self) -> Event:
        return next(self._events)


class AsyncEvents(anthropic.AsyncStream[Event]):
    """An `AsyncStream` of the events of `messages`. `events` makes it."""

    def __init__(self, stream: anthropic.AsyncStream[Any], reader: BodyReader[Event]) -> None:
        super().__init__(
            cast_to=stream._cast_to,  # noqa: SLF001
            response=stream.response,
            client=stream._client,  # noqa: SLF001
            options=stream._options,  # noqa: SLF001
        )
        self._reader = reader
        self._events = _aread(stream.response, reader)

    @property
    def truncated(self) -> bool:
        """Whether the body ended before its stream was complete; known when it has been read."""
        return self._reader.stream.truncated

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def __anext__(self) -> Event:
        return await self._events.__anext__()


@overload
def events(stream: anthropic.Stream[Any], *, max_event_size: int = ...) -> Events: ...
@overload
def events(stream: anthropic.AsyncStream[Any], *, max_event_size: int = ...) -> AsyncEvents: ...
def events(
    stream: anthropic.Stream[Any] | anthropic.AsyncStream[Any],
    *,
    max_event_size: int = MAX_EVENT_SIZE,
) -> Events | AsyncEvents:
    """Return a stream that yields the events of `messages` from the response of one of the SDK's.

    Leave the SDK's stream alone then: both read one response. `max_event_size` is in bytes.

    Iteration raises the SDK's `APIStatusError` at an error event, `InvalidChunk` at an event that
    cannot be decoded, `EventTooLarge`, and what httpx2 raises. Raises `TypeError` for what is no
    such stream; what `client.messages.stream()` returns is none, because it adds up the SDK's own
    events.
    """
    if not isinstance(stream, (anthropic.Stream, anthropic.AsyncStream)):
        raise TypeError(f"stream must be an anthropic.Stream or AsyncStream, not {stream!r}")

    client, response = stream._client, stream.response  # noqa: SLF001

    def make_error(error: UpstreamError, _before: Any) -> Exception:
        body = _body_of(error.data)
        made: Exception = client._make_status_error(  # noqa: SLF001
            str(body), body=body, response=response
        )
        return made

    reader: BodyReader[Event] = BodyReader(messages, max_event_size, make_error, until_done=False)
    return (
        Events(stream, reader)
        if isinstance(stream, anthropic.Stream)
        else AsyncEvents(stream, reader)
    )


def _body_of(data: bytes) -> Any:
    text = data.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read(response: httpx2.Response, reader: BodyReader[Event]) -> Iterator[Event]:
    try:
        for items in reader.iter_bytes(response.iter_bytes()):
            for event in items:
                if type(event) is not PingEvent:
                    yield event
        yield from reader.end()
    finally:
        if not _mark_closed(response):
            response.close()


async def _aread(response: httpx2.Response, reader: BodyReader[Event]) -> AsyncIterator[Event]:
    try:
        async for items in reader.aiter_bytes(response.aiter_bytes()):
            for event in items:
                if type(event) is not PingEvent:
                    yield event
        for event in reader.end():
            yield event
    finally:
        if not _mark_closed(response):
            await response.aclose()


def _mark_closed(response: httpx2.Response) -> bool:
    """Mark a response as closed where Python itself ends.

    The SDK says that to close it there can crash CPython 3.13.
    """
    if not sys.is_finalizing():
        return False
    response.is_closed = True
    return True
