r"""The streams of openai-python, with fastchunk's chunks in place of its Pydantic ones.

In:  the `Stream` or `AsyncStream` that `create(stream=True)` of `client.chat.completions`,
`client.completions` or `client.responses` returns, before anything was read from it.
Out: a stream of the same class, which yields chunks of a family.
Cost: that of httpx, which the SDK pays too, and on top of it a tenth or less of what the SDK does.

    >>> import httpx, openai
    >>> body = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'
    >>> transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    >>> client = openai.OpenAI(api_key="-", http_client=httpx.Client(transport=transport))
    >>> with chunks(client.chat.completions.create(model="m", messages=[], stream=True)) as stream:
    ...     for chunk in stream:
    ...         chunk.choices[0].delta.content, chunk.usage
    ('Hi', None)

It is tested with openai 2.54.0 and 3.57.0. What happens is what happens there:

- The response is closed when the stream has been read, when an error ends it, and with `close()` or
  the `with` block. It is read up to `[DONE]`, or to its end where none comes; from 3.x on, an
  `AsyncStream` then reads what is left of an HTTP/1.1 body for up to 0.1 s, to keep the connection.
- An error in the stream is raised as `openai.APIError`, with the same message and body; what goes
  wrong in httpx is raised as it is by 2.x, and as `APIConnectionError` or `APITimeoutError` by 3.x.
- A body that ends too early just ends. Ask `truncated` whether it did.

Elsewhere the SDK passes on what it does not look at, and this does not:

- An error event without `error` in it, `event: error` or of type `error`, is raised like one with
  it. The SDK makes a chunk of it that has none of a chunk's fields; or, if it is no JSON, raises
  `json.JSONDecodeError`. A Responses stream's `response.failed` is an event, as it is there.
- A chunk that brings an error is yielded before the error is raised, and so is a last chunk that
  lacks its empty line.
- Other events that are no chunk, such as the `thread.*` of Assistants, are left out.
- An event that is no JSON raises `InvalidChunk`, which is a `ValueError`, as `JSONDecodeError` is;
  so does a chunk in which `choices` or a delta has another shape.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar, overload

import openai
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from fastchunk import completions, responses, sdk
from fastchunk.errors import UpstreamError
from fastchunk.sse import MAX_EVENT_SIZE
from fastchunk.stream import Family

from .sdk_streams import BodyReader

try:
    from openai._streaming_cleanup import (  # type: ignore[import-not-found,unused-ignore]
        drain_response_async as _drain,
    )
except ImportError:  # openai 2.x leaves what comes after [DONE]

    async def _drain(_response: Any) -> None:
        pass


__all__ = ["AsyncChunks", "Chunks", "chunks"]

C = TypeVar("C")

_FAMILIES: tuple[tuple[Any, Any], ...] = (
    (ChatCompletionChunk, sdk),
    (Completion, completions),
    (ResponseStreamEvent, responses),
)
_NO_MESSAGE = "An error occurred during streaming"


class Chunks(openai.Stream[C]):
    """A `Stream` of fastchunk's chunks. `chunks` makes it."""

    def __init__(self, stream: openai.Stream[Any], reader: BodyReader[C]) -> None:
        self._reader = reader
        self._source: openai.Stream[Any] = openai.Stream(**_arguments(stream))
        self._source._decoder = reader  # type: ignore[assignment]  # noqa: SLF001
        super().__init__(**_arguments(stream))

    @property
    def truncated(self) -> bool:
        """Whether the body ended before its stream was complete; known when it has been read."""
        return self._reader.stream.truncated

    def __iter__(self) -> Iterator[C]:
        # The SDK's own is one more generator around it.
        return self._iterator

    def __stream__(self) -> Iterator[C]:
        return _read(self._source, self._reader)


class AsyncChunks(openai.AsyncStream[C]):
    """An `AsyncStream` of fastchunk's chunks. `chunks` makes it."""

    def __init__(self, stream: openai.AsyncStream[Any], reader: BodyReader[C]) -> None:
        self._reader = reader
        self._source: openai.AsyncStream[Any] = openai.AsyncStream(**_arguments(stream))
        self._source._decoder = reader  # type: ignore[assignment]  # noqa: SLF001
        super().__init__(**_arguments(stream))

    @property
    def truncated(self) -> bool:
        """Whether the body ended before its stream was complete; known when it has been read."""
        return self._reader.stream.truncated

    def __aiter__(self) -> AsyncIterator[C]:
        return self._iterator

    def __stream__(self) -> AsyncIterator[C]:
        return _aread(self._source, self._reader)


@overload
def chunks(
    stream: openai.Stream[Any], family: Family[C], *, max_event_size: int = ...
) -> Chunks[C]: ...
@overload
def chunks(
    stream: openai.AsyncStream[Any], family: Family[C], *, max_event_size: int = ...
) -> AsyncChunks[C]: ...
@overload
def chunks(
    stream: openai.Stream[ChatCompletionChunk], *, max_event_size: int = ...
) -> Chunks[sdk.ChatCompletionChunk]: ...
@overload
def chunks(
    stream: openai.AsyncStream[ChatCompletionChunk], *, max_event_size: int = ...
) -> AsyncChunks[sdk.ChatCompletionChunk]: ...
@overload
def chunks(stream: openai.Stream[Any], *, max_event_size: int = ...) -> Chunks[Any]: ...
@overload
def chunks(stream: openai.AsyncStream[Any], *, max_event_size: int = ...) -> AsyncChunks[Any]: ...
def chunks(
    stream: openai.Stream[Any] | openai.AsyncStream[Any],
    family: Family[Any] | None = None,
    *,
    max_event_size: int = MAX_EVENT_SIZE,
) -> Chunks[Any] | AsyncChunks[Any]:
    """Return a stream that yields fastchunk's chunks from the response of one of the SDK's.

    Without a family, what the SDK would make chooses it: `sdk` for chat's chunks, which code for
    the SDK's can read unchanged; `completions`, `responses`. Leave the SDK's stream alone then:
    both read one response. `max_event_size` is in bytes.

    Iteration raises `openai.APIError` at an error in the stream, `InvalidChunk` at an event that
    cannot be decoded, `EventTooLarge`, and what the SDK raises for what goes wrong in httpx. Raises
    `TypeError` for what is no stream of the SDK's, for a stream of other events without a family,
    and for what is no family.
    """
    if not isinstance(stream, (openai.Stream, openai.AsyncStream)):
        raise TypeError(f"stream must be an openai.Stream or AsyncStream, not {stream!r}")
    if family is None:
        family = _family_of(stream._cast_to)  # noqa: SLF001

    request = stream.response.request

    def make_error(error: UpstreamError, before: Any) -> openai.APIError | None:
        if not error.error or isinstance(before, responses.ResponseFailedEvent):
            return None
        message = error.error.get("message") if isinstance(error.error, dict) else None
        if not message or not isinstance(message, str):
            message = _NO_MESSAGE
        return openai.APIError(message, request, body=error.error)

    # A Responses stream is done with its last event, and seldom has a [DONE].
    until_done = family is not responses
    reader: BodyReader[Any] = BodyReader(family, max_event_size, make_error, until_done=until_done)
    if isinstance(stream, openai.Stream):
        return Chunks(stream, reader)
    return AsyncChunks(stream, reader)


def _family_of(cast_to: Any) -> Family[Any]:
    for made, family in _FAMILIES:
        if cast_to is made:
            found: Family[Any] = family
            return found
    raise TypeError(f"no family is known for a stream of {cast_to}: choose one")


def _arguments(stream: openai.Stream[Any] | openai.AsyncStream[Any]) -> dict[str, Any]:
    """Return what the SDK made a stream of."""
    return {
        "cast_to": stream._cast_to,  # noqa: SLF001
        "response": stream.response,
        "client": stream._client,  # noqa: SLF001
        "options": stream._options,  # noqa: SLF001
    }


def _read(source: openai.Stream[Any], reader: BodyReader[C]) -> Iterator[C]:
    # The SDK gives its decoder the reads, and minds what is raised in httpx as each release does.
    # What is named here stays alive until the response is closed: an iterator over the body that is
    # dropped before closes it by itself.
    reads: Any = source._iter_events()  # noqa: SLF001
    try:
        for items in reads:
            yield from items
            if reader.is_at_end:
                break
        yield from reader.end()
    finally:
        source.response.close()


async def _aread(source: openai.AsyncStream[Any], reader: BodyReader[C]) -> AsyncIterator[C]:
    reads: Any = source._iter_events()  # noqa: SLF001
    try:
        async for items in reads:
            for item in items:
                yield item
            if reader.is_at_end:
                if source.response.http_version == "HTTP/1.1":
                    await _drain(source.response)
                break
        for item in reader.end():
            yield item
    finally:
        await source.response.aclose()
