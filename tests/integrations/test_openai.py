"""openai-python's streams with fastchunk's chunks in them, beside its own over the same bodies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from fastchunk import EventTooLarge, InvalidChunk, completions, iter_chunks, responses, sdk, wire
from fastchunk.integrations.openai import AsyncChunks, Chunks, chunks
from tests.family_streams import recorded_of
from tests.streams import recorded

from .sdk_clients import Heard, Sdk, Wrap, as_is, cut

SDK = Sdk(
    "httpx" if openai.__version__.startswith("2.") else "httpx2", openai.OpenAI, openai.AsyncOpenAI
)
Hear = Callable[..., Heard]


def chat(client: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[], stream=True)


def completion(client: Any) -> Any:
    return client.completions.create(model="m", prompt="p", stream=True)


def response(client: Any) -> Any:
    return client.responses.create(model="m", input="i", stream=True)


@pytest.fixture(params=["Stream", "AsyncStream"])
def hear(request: pytest.FixtureRequest) -> Hear:
    """Read what comes of some reads, with a client of either kind."""
    way = SDK.hear if request.param == "Stream" else SDK.ahear

    def read(reads: list[bytes], ask: Any = chat, wrap: Wrap = chunks, fail: Any = None) -> Heard:
        return way(SDK.body(reads, fail), ask, wrap)

    return read


def event(document: Any, name: str = "") -> bytes:
    text = document if isinstance(document, str) else json.dumps(document)
    return f"{f'event: {name}' + chr(10) if name else ''}data: {text}\n\n".encode()


def delta(content: str, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": content}, **fields}
    return {"object": "chat.completion.chunk", "choices": [choice]}


DONE = b"data: [DONE]\n\n"
HELLO = [event(delta("Hello")), event(delta("!", finish_reason="stop")), DONE]


def texts(heard: Heard) -> list[str]:
    return [chunk.choices[0].delta.content for chunk in heard.items]


# --- what is yielded -----------------------------------------------------------------------------


def differences(own: Any, ours: Any, path: str = "") -> Iterable[str]:
    """Tell where fastchunk's object has another value than the SDK's, in all that both have."""
    if isinstance(own, BaseModel):
        for name in (*type(own).model_fields, *(own.model_extra or ())):
            if hasattr(ours, name) or name in type(own).model_fields:
                yield from differences(
                    getattr(own, name, None), getattr(ours, name), f"{path}.{name}"
                )
    elif isinstance(own, list) and isinstance(ours, list) and len(own) == len(ours):
        for one, other in zip(own, ours, strict=True):
            yield from differences(one, other, f"{path}[]")
    elif own != ours:
        yield f"{path}: {own!r} is not {ours!r}"


@pytest.mark.parametrize("stream", recorded(), ids=lambda path: path.stem)
def test_recorded_chats_read_as_the_sdks(stream: Path, hear: Hear) -> None:
    reads = cut(stream.read_bytes())
    own, ours = hear(reads, wrap=as_is), hear(reads)
    if isinstance(own.error, openai.APIError):
        # OpenRouter's chunk with an error comes before it is raised.
        extra = ours.items[len(own.items) :]
        assert [chunk.error for chunk in extra] in ([], [own.error.body])
        assert_same_error(own.error, ours.error)
        own = own._replace(items=[*own.items, *extra])
    else:
        assert own.error is ours.error is None
    assert len(own.items) == len(ours.items)
    for one, other in zip(own.items, ours.items, strict=True):
        assert not list(differences(one, other))
        assert type(other) is sdk.ChatCompletionChunk
    assert ours.closed


def up_to_completed(items: list[Any]) -> list[Any]:
    """Leave out a second response: two recordings have several in one file."""
    ends = [n for n, item in enumerate(items, 1) if getattr(item, "type", "") in _LAST]
    return items[: ends[0]] if ends else items


_LAST = ("response.completed", "response.incomplete", "response.failed")


@pytest.mark.parametrize(
    ("stream", "ask", "family"),
    [
        (path, ask, family)
        for ask, family in ((completion, completions), (response, responses))
        for path in recorded_of(family.__name__.partition(".")[2])
    ],
    ids=lambda value: getattr(value, "stem", ""),
)
def test_other_recorded_streams(stream: Path, ask: Any, family: Any, hear: Hear) -> None:
    reads = cut(stream.read_bytes())
    own, ours = hear(reads, ask, as_is), hear(reads, ask)
    assert len(up_to_completed(own.items)) == len(ours.items)
    if isinstance(own.error, json.JSONDecodeError):
        assert type(ours.error) is InvalidChunk
    elif own.error:
        assert_same_error(own.error, ours.error)
    else:
        assert ours.error is None
        assert ours.items == list(iter_chunks(reads, family))
    # A body is read to its end, and leaves its connection for the next request.
    assert ours.taken == own.taken
    assert ours.closed


def test_a_family_can_be_chosen(hear: Hear) -> None:
    heard = hear(HELLO, wrap=lambda stream: chunks(stream, wire))
    assert heard.items == list(iter_chunks(HELLO, wire))


def test_the_streams_class_stays() -> None:
    body = SDK.body(HELLO)
    stream = chunks(chat(SDK.connect(body)))
    assert isinstance(stream, openai.Stream)
    assert type(stream) is Chunks
    assert stream.response.stream is not None
    assert next(stream).choices[0].delta.content == "Hello"
    assert [chunk.choices[0].delta.content for chunk in stream] == ["!"]

    async def read() -> None:
        astream = chunks(await chat(SDK.aconnect(SDK.body(HELLO))))
        assert isinstance(astream, openai.AsyncStream)
        assert type(astream) is AsyncChunks
        assert (await astream.__anext__()).choices[0].delta.content == "Hello"
        assert [chunk.choices[0].delta.content async for chunk in astream] == ["!"]

    asyncio.run(read())


def test_a_stream_that_something_wraps() -> None:
    """Tracing yields a proxy that says it is a stream, and refuses to be copied."""

    class Proxy:
        def __init__(self, wrapped: Any) -> None:
            self.wrapped = wrapped

        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            return type(self.wrapped)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.wrapped, name)

        def __copy__(self) -> Any:
            raise NotImplementedError

    stream: Any = Proxy(chat(SDK.connect(SDK.body(HELLO))))
    assert [chunk.choices[0].delta.content for chunk in chunks(stream)] == ["Hello", "!"]


def test_what_is_no_chunk_is_left_out(hear: Hear) -> None:
    events = [event({"id": "t"}, "thread.run.created"), b": ping\n\n", event("null"), *HELLO]
    heard = hear(events)
    assert texts(heard) == ["Hello", "!"]
    assert heard.error is None


# --- errors --------------------------------------------------------------------------------------


def assert_same_error(own: Any, ours: Any) -> None:
    assert type(own) is type(ours)
    for name in ("args", "message", "body", "code", "param", "type"):
        assert getattr(own, name) == getattr(ours, name), name
    assert str(own.request.url) == str(ours.request.url)


ERRORS: list[Any] = [
    {"message": "too many", "type": "t", "param": "p", "code": 429},
    {"message": ""},
    {"message": 3},
    {"code": "c"},
    "busy",
    ["busy"],
    1,
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
@pytest.mark.parametrize("name", ["", "error"])
def test_errors_are_the_sdks(error: Any, name: str, hear: Hear) -> None:
    reads = [event(delta("Hello")), event({"error": error}, name), *HELLO]
    own, ours = hear(reads, wrap=as_is), hear(reads)
    assert_same_error(own.error, ours.error)
    assert texts(own) == texts(ours) == ["Hello"]
    assert ours.closed


@pytest.mark.parametrize("error", [None, {}, "", False, 0], ids=str)
def test_an_error_that_is_empty_is_none(error: Any, hear: Hear) -> None:
    reads = [event({**delta("Hello"), "error": error}), *HELLO]
    own, ours = hear(reads, wrap=as_is), hear(reads)
    assert own.error is ours.error is None
    assert texts(own) == texts(ours) == ["Hello", "Hello", "!"]


def test_an_error_comes_after_the_chunks_of_its_read(hear: Hear) -> None:
    reads = [HELLO[0], HELLO[0] + event({"error": "busy"})]
    own, ours = hear(reads, wrap=as_is), hear(reads)
    assert_same_error(own.error, ours.error)
    assert texts(own) == texts(ours) == ["Hello", "Hello"]


@pytest.mark.parametrize(
    ("data", "message", "body"),
    [
        ('{"message":"busy"}', "busy", {"message": "busy"}),
        ("<html>", "An error occurred during streaming", "<html>"),
    ],
)
def test_error_events_without_error(data: str, message: str, body: Any, hear: Hear) -> None:
    error: Any = hear([*HELLO[:1], event(data, "error")]).error
    assert type(error) is openai.APIError
    assert (error.message, error.body) == (message, body)


FAILED = {"type": "response.failed", "response": {"status": "failed", "error": {"message": "m"}}}


def test_a_failed_response_is_an_event(hear: Hear) -> None:
    reads = [event(FAILED, "response.failed")]
    own, ours = hear(reads, response, as_is), hear(reads, response)
    assert own.error is ours.error is None
    assert [item.type for item in own.items] == [item.type for item in ours.items]
    assert json.loads(bytes(ours.items[0].response))["error"]["message"] == "m"


@pytest.mark.parametrize(
    "error", [{"type": "error", "message": "m", "code": "c"}, {"type": "error", "error": "m"}]
)
def test_an_error_of_a_response(error: Any, hear: Hear) -> None:
    heard = hear([event(error, "error")], response)
    assert type(heard.error) is openai.APIError
    assert not heard.items


def test_an_event_that_is_no_chunk_of_its_family(hear: Hear) -> None:
    own, ours = hear([event("{")], wrap=as_is), hear([event("{")])
    assert isinstance(own.error, ValueError)
    assert type(ours.error) is InvalidChunk
    assert isinstance(ours.error, ValueError)
    assert ours.closed


def test_an_event_that_is_too_large(hear: Hear) -> None:
    heard = hear(HELLO, wrap=lambda stream: chunks(stream, max_event_size=20))
    assert type(heard.error) is EventTooLarge
    assert heard.closed


@pytest.mark.parametrize("name", ["ReadError", "ReadTimeout", "RemoteProtocolError"])
def test_what_goes_wrong_in_httpx(name: str, hear: Hear) -> None:
    failure = getattr(SDK.http, name)("broken")
    own, ours = hear(HELLO[:1], wrap=as_is, fail=failure), hear(HELLO[:1], fail=failure)
    assert ours.error is not None
    assert type(own.error) is type(ours.error)
    assert texts(own) == texts(ours) == ["Hello"]
    assert ours.closed


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/2"])
def test_what_comes_after_done_is_read_as_the_sdk_does(version: bytes) -> None:
    reads = [*HELLO, b"more", b"and more"]
    for way in (SDK.hear, partial(SDK.ahear, version=version)):
        own, ours = way(SDK.body(reads), chat, as_is), way(SDK.body(reads), chat, chunks)
        assert (own.taken, own.closed) == (ours.taken, ours.closed)
        assert ours.closed
        assert texts(ours) == ["Hello", "!"]


@pytest.mark.parametrize(
    ("reads", "truncated"),
    [(HELLO, False), (HELLO[:2], False), (HELLO[:1], True), ([], True), ([b"data: {"], True)],
)
def test_a_truncated_end_is_silent(reads: list[bytes], truncated: bool, hear: Hear) -> None:
    found: list[Any] = []

    def wrap(stream: Any) -> Any:
        found.append(chunks(stream))
        return found[0]

    assert hear(reads, wrap=wrap).error is hear(reads, wrap=as_is).error is None
    assert found[0].truncated is truncated


def test_a_last_chunk_without_its_empty_line(hear: Hear) -> None:
    assert texts(hear([HELLO[0], HELLO[1].strip()])) == ["Hello", "!"]


def test_closing_early() -> None:
    def open_stream() -> Any:
        body = SDK.body(HELLO)
        return body, chunks(chat(SDK.connect(body)))

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
    del stream  # no garbage collector has to come
    assert body.closed


def test_closing_early_an_async_stream() -> None:
    async def open_stream() -> Any:
        body = SDK.body(HELLO)
        return body, chunks(await chat(SDK.aconnect(body)))

    async def close() -> None:
        body, stream = await open_stream()
        async for _ in stream:
            break
        assert not body.closed
        await stream.close()
        assert body.closed

        body, stream = await open_stream()
        with pytest.raises(KeyError):
            async with stream:
                raise KeyError
        assert body.closed

        body, stream = await open_stream()
        await stream.__anext__()
        del stream
        await asyncio.sleep(0.01)  # the loop closes what was dropped
        assert body.closed

    asyncio.run(close())


# --- what it takes -------------------------------------------------------------------------------


def test_arguments_of_another_type() -> None:
    with pytest.raises(TypeError, match=r"^stream must be an openai.Stream or AsyncStream, not \["):
        chunks([])  # type: ignore[call-overload]
    client = SDK.connect(SDK.body(HELLO))
    with pytest.raises(TypeError, match=r"^family must be a module"):
        chunks(chat(client), 1)  # type: ignore[call-overload]
    images = client.images.generate(prompt="p", stream=True)
    with pytest.raises(TypeError, match=r"^no family is known for a stream of .*ImageGen.*choose"):
        chunks(images)
    assert next(chunks(images, wire)).choices
