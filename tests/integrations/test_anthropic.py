"""Anthropic's streams with fastchunk's events in them, beside the SDK's own over one body."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest

from fastchunk import EventTooLarge, InvalidChunk, messages
from fastchunk.integrations.anthropic import AsyncEvents, Events, events
from tests.family_streams import recorded_of

from .sdk_clients import Heard, Sdk, Wrap, as_is, cut

SDK = Sdk("httpx2", anthropic.Anthropic, anthropic.AsyncAnthropic)
Hear = Callable[..., Heard]


def ask(client: Any) -> Any:
    return client.messages.create(model="m", max_tokens=1, messages=[], stream=True)


def ask_beta(client: Any) -> Any:
    return client.beta.messages.create(model="m", max_tokens=1, messages=[], stream=True)


@pytest.fixture(params=["Stream", "AsyncStream"])
def hear(request: pytest.FixtureRequest) -> Hear:
    """Read what comes of some reads, with a client of either kind."""
    way = SDK.hear if request.param == "Stream" else SDK.ahear

    def read(reads: list[bytes], wrap: Wrap = events, ask: Any = ask, fail: Any = None) -> Heard:
        return way(SDK.body(reads, fail), ask, wrap)

    return read


def event(document: Any, name: str = "") -> bytes:
    name = name or document["type"]
    data = document if isinstance(document, str) else json.dumps(document)
    return f"event: {name}\ndata: {data}\n\n".encode()


START = event({"type": "message_start", "message": {"id": "m", "content": []}})
PING = event({"type": "ping"})
DELTA = event(
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
)
STOP = event({"type": "message_stop"})
HELLO = [START, PING, DELTA, STOP]


def types(heard: Heard) -> list[str]:
    return [item.type for item in heard.items]


# --- what is yielded -----------------------------------------------------------------------------


def said(item: Any) -> Any:
    """Return what an event says, in the SDK's classes and in fastchunk's."""
    if item.type == "content_block_delta":
        delta = item.delta
        names = ("text", "thinking", "partial_json", "signature")
        return item.index, [getattr(delta, name, None) or None for name in names]
    if item.type == "message_delta":
        return item.delta.stop_reason, item.usage.output_tokens
    return item.type


@pytest.mark.parametrize("stream", recorded_of("messages"), ids=lambda path: path.stem)
@pytest.mark.parametrize("asking", [ask, ask_beta])
def test_recorded_streams(stream: Path, asking: Any, hear: Hear) -> None:
    reads = cut(stream.read_bytes() + b"\n\n")  # some recordings lack their last empty line
    own, ours = hear(reads, as_is, asking), hear(reads, events, asking)
    assert own.error is ours.error is None
    # Two recordings have several messages in one file.
    one_message = types(own).index("message_stop") + 1
    assert [*map(said, ours.items)] == [*map(said, own.items)][:one_message]
    assert (ours.taken, ours.closed) == (own.taken, True)


def test_the_streams_class_stays() -> None:
    stream = events(ask(SDK.connect(SDK.body(HELLO))))
    assert isinstance(stream, anthropic.Stream)
    assert type(stream) is Events
    assert type(next(stream)) is messages.MessageStartEvent
    assert [item.type for item in stream] == ["content_block_delta", "message_stop"]

    async def read() -> None:
        astream = events(await ask(SDK.aconnect(SDK.body(HELLO))))
        assert isinstance(astream, anthropic.AsyncStream)
        assert type(astream) is AsyncEvents
        assert type(await astream.__anext__()) is messages.MessageStartEvent
        assert [item.type async for item in astream] == ["content_block_delta", "message_stop"]

    asyncio.run(read())


def test_unknown_events_are_kept(hear: Hear) -> None:
    heard = hear([START, event({"type": "new", "key": 1}), STOP])
    assert types(heard) == ["message_start", "new", "message_stop"]
    assert type(heard.items[1]) is messages.UnknownEvent


def test_an_event_needs_no_name(hear: Hear) -> None:
    heard = hear([b'data: {"type":"message_stop"}\n\n'])
    assert types(heard) == ["message_stop"]


def test_a_last_event_without_its_empty_line(hear: Hear) -> None:
    assert types(hear([*HELLO[:3], STOP.strip()])) == types(hear(HELLO))


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [{"type": "overloaded_error", "message": "Overloaded"}, {"message": 1}, {}, "busy"]
)
def test_errors_are_the_sdks(error: Any, hear: Hear) -> None:
    failure = {"type": "error", "error": error, "request_id": "req_1"}
    reads = [START + DELTA, DELTA + event(failure), STOP]
    own, ours = hear(reads, as_is), hear(reads)
    assert_same_error(own.error, ours.error)
    assert types(own) == types(ours) == ["message_start", *["content_block_delta"] * 2]
    assert ours.closed


def test_an_error_that_is_no_json(hear: Hear) -> None:
    reads = [START, event("<html>", "error")]
    assert_same_error(hear(reads, as_is).error, hear(reads).error)


def assert_same_error(own: Any, ours: Any) -> None:
    assert isinstance(ours, anthropic.APIStatusError)
    assert type(own) is type(ours)
    for name in ("args", "message", "body", "status_code"):
        assert getattr(own, name) == getattr(ours, name), name


def test_an_event_that_is_no_json(hear: Hear) -> None:
    reads = [START, event("{", "message_stop")]
    own, ours = hear(reads, as_is), hear(reads)
    assert isinstance(own.error, ValueError)
    assert type(ours.error) is InvalidChunk
    assert ours.closed


def test_an_event_that_is_too_large(hear: Hear) -> None:
    heard = hear(HELLO, lambda stream: events(stream, max_event_size=20))
    assert type(heard.error) is EventTooLarge
    assert heard.closed


def test_what_goes_wrong_in_httpx2(hear: Hear) -> None:
    failure = SDK.http.ReadError("broken")
    own, ours = hear([START], as_is, fail=failure), hear([START], fail=failure)
    assert own.error is ours.error is failure
    assert ours.closed


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reads", "truncated"),
    [(HELLO, False), (HELLO[:3], True), ([], True), ([*HELLO[:2], STOP[:-9]], True)],
)
def test_a_truncated_end_is_silent(reads: list[bytes], truncated: bool, hear: Hear) -> None:
    found: list[Any] = []

    def wrap(stream: Any) -> Any:
        found.append(events(stream))
        return found[0]

    assert hear(reads, wrap).error is None
    assert found[0].truncated is truncated


def test_closing_early() -> None:
    def open_stream() -> Any:
        body = SDK.body(HELLO)
        return body, events(ask(SDK.connect(body)))

    body, stream = open_stream()
    for _ in stream:
        break
    assert not body.closed  # it may be read on
    stream.close()
    assert body.closed

    body, stream = open_stream()
    with pytest.raises(KeyError), stream:
        raise KeyError
    assert body.closed

    body, stream = open_stream()
    next(stream)
    del stream
    assert body.closed


def test_closing_early_an_async_stream() -> None:
    async def close() -> None:
        body = SDK.body(HELLO)
        stream = events(await ask(SDK.aconnect(body)))
        with pytest.raises(KeyError):
            async with stream:
                raise KeyError
        assert body.closed

        body = SDK.body(HELLO)
        stream = events(await ask(SDK.aconnect(body)))
        async for _ in stream:
            break
        assert not body.closed
        del stream
        await asyncio.sleep(0.01)  # the loop closes what was dropped
        assert body.closed

    asyncio.run(close())


def test_where_python_ends_a_response_is_only_marked(
    hear: Hear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    reads = [START, event("{", "message_stop")]
    own, ours = hear(reads, as_is), hear(reads)
    assert own.closed is ours.closed is False


def test_arguments_of_another_type() -> None:
    with pytest.raises(TypeError, match=r"^stream must be an anthropic.Stream or Async.*not \[\]$"):
        events([])  # type: ignore[call-overload]
    with (
        SDK.connect(SDK.body(HELLO)).messages.stream(
            model="m", max_tokens=1, messages=[]
        ) as helper,
        pytest.raises(TypeError, match="MessageStream object"),
    ):
        events(helper)
