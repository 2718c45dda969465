"""From reads to chunks, and how streams end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastchunk import (
    ChunkStream,
    EventDecoder,
    EventTooLarge,
    InvalidChunk,
    TruncatedStream,
    UpstreamError,
    aiter_chunks,
    iter_chunks,
    messages,
    models,
    wire,
)
from fastchunk.sse import blocks
from fastchunk.stream import Observer
from tests.streams import AWKWARD, recorded

pytestmark = pytest.mark.usefixtures("scanner")

A = b'{"model":"m","choices":[{"index":0,"delta":{"content":"A"}}]}'
B = A.replace(b'"A"', b'"B"')
END = b'{"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = b'{"model":"m","choices":[],"usage":{"prompt_tokens":3}}'
ERROR = b'{"error":{"message":"no","code":500}}'
OPENROUTER = b'{"object":"chat.completion.chunk","model":"m","choices":[],"error":{"message":"no"}}'


def events(*data: bytes) -> bytes:
    return b"".join(b"data: " + item + b"\n\n" for item in data)


def _texts(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


# what comes: (bytes, texts of the chunks, done, truncated, error, invalid)
STREAMS: dict[str, tuple[bytes, str, bool, bool, Any, int]] = {
    "whole": (events(A, B, END, b"[DONE]"), "AB", True, False, None, 0),
    "finished-without-done": (events(A, END), "A", False, False, None, 0),
    "not-finished": (events(A, B), "AB", False, True, None, 0),
    "empty": (b"", "", False, True, None, 0),
    "keep-alives": (
        b": ping\n\n" + events(A) + b": ping\n" + events(b"[DONE]"), "A", True, False, None, 0,
    ),
    "null": (events(A, b"null", b" null ", b"[DONE]"), "A", True, False, None, 0),
    "undecodable-between": (events(A, b"{", B, b"[DONE]"), "AB", True, False, None, 1),
    "undecodable-many": (events(b"x", b"1", b"[]", b'"s"', b"[DONE]"), "", True, False, None, 4),
    "error": (events(A, ERROR), "A", False, False, {"message": "no", "code": 500}, 0),
    "error-in-a-chunk": (events(A, OPENROUTER), "A", False, False, {"message": "no"}, 0),
    "error-event": (
        b'event: error\ndata: {"message":"no"}\n\n', "", False, False, {"message": "no"}, 0,
    ),
    "error-event-text": (b"event: error\ndata: no\n\n", "", False, False, "no", 0),
    "error-event-not-a-number": (
        b'event: error\ndata: {"n":NaN}\n\n', "", False, False, '{"n":NaN}', 0,
    ),
    "error-event-long-number": (
        b'event: error\ndata: {"n":' + b"9" * 5000 + b"}\n\n",
        "", False, False, '{"n":' + "9" * 5000 + "}", 0,
    ),
    "error-empty": (events(A, b'{"error":{}}'), "A", False, False, {}, 0),
    "error-empty-in-a-chunk": (
        events(A, OPENROUTER.replace(b'{"message":"no"}', b"{}")), "A", False, False, {}, 0,
    ),
    "byte-order-mark-then-no-empty-line": (b"\xef\xbb\xbfdata: " + END, "", False, False, None, 0),
    "error-null": (events(A, b'{"error":null}', END), "A", False, False, None, 0),
    "other-object": (events(A, b'{"p":"x"}', END), "A", False, False, None, 0),
    "other-event-with-a-chunk": (b"event: x\n" + events(A, END), "A", False, False, None, 0),
    "no-empty-line-at-the-end": (events(A, END) + b"data: [DONE]", "A", True, False, None, 0),
    "chunk-without-empty-line": (events(A) + b"data: " + END, "A", False, False, None, 0),
    "half-a-chunk": (events(A, END) + b"data: " + A[:20], "A", False, True, None, 0),
    "after-done": (events(A, b"[DONE]", B, b"{"), "A", True, False, None, 0),
    "half-after-done": (events(A, b"[DONE]") + b"da", "A", True, True, None, 0),
    "crlf": (events(A, END, b"[DONE]").replace(b"\n", b"\r\n"), "A", True, False, None, 0),
    "two-choices-one-finished": (
        events(A, A.replace(b'"index":0', b'"index":1'), END), "AA", False, True, None, 0,
    ),
    "choices-without-index": (
        events(b'{"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}'),
        "", False, False, None, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("family", [wire, models], ids=["wire", "models"])
def test_streams_whole_and_byte_by_byte(case: Any, family: Any) -> None:
    raw, texts, done, truncated, error, invalid = case
    if family is models and b'"choices":[{"delta"' in raw:
        texts, truncated, invalid = "", False, 1  # Ray's model demands an index
    for step in (len(raw) or 1, 1, 7):
        stream: ChunkStream[Any] = ChunkStream(family)
        chunks: list[Any] = []
        for at in range(0, len(raw), step):
            chunks += stream.feed(raw[at : at + step])
        chunks += stream.close()
        assert _texts(chunks) == texts
        assert (stream.done, stream.truncated, stream.error, stream.invalid) == (
            done,
            truncated,
            error,
            invalid,
        )
        assert all(type(c) is family.ChatCompletionStreamResponse for c in chunks)


def test_iteration_yields_chunks_and_ends_at_done() -> None:
    reads = iter([events(A), events(B, b"[DONE]"), events(A)])
    assert _texts(list(iter_chunks(reads))) == "AB"
    assert next(reads) == events(A)
    assert _texts(list(iter_chunks([events(A), events(b"[DONE]")], models))) == "A"


@pytest.mark.parametrize(
    ("raw", "texts", "expected"),
    [
        (events(A, b"{", B), "A", InvalidChunk),
        (events(A, ERROR, B), "A", UpstreamError),
        (events(A, OPENROUTER), "A", UpstreamError),
        (events(A, B), "AB", TruncatedStream),
        (events(A) + b"data: {", "A", TruncatedStream),
        (events(A, b"x" * 200), "A", EventTooLarge),
    ],
)
def test_iteration_raises_after_what_was_complete(
    raw: bytes, texts: str, expected: type[Exception]
) -> None:
    async def asynchronously() -> list[Any]:
        found: list[Any] = []
        try:
            async for chunk in aiter_chunks(_areads([raw, b""]), max_event_size=150):
                found.append(chunk)  # noqa: PERF401
        except expected:
            found.append(None)
        return found

    found: list[Any] = []
    with pytest.raises(expected):
        found.extend(_collect(iter_chunks([raw, b""], max_event_size=150), found))
    assert _texts(found) == texts
    again = asyncio.run(asynchronously())
    assert again.pop() is None
    assert _texts(again) == texts


def _collect(chunks: Iterator[Any], into: list[Any]) -> list[Any]:
    for chunk in chunks:
        into.append(chunk)  # noqa: PERF402
    return []


async def _areads(reads: list[bytes]) -> AsyncIterator[bytes]:
    for read in reads:
        yield read


def test_asynchronous_iteration_ends_at_done_or_at_the_end() -> None:
    async def texts(reads: list[bytes], family: Any) -> str:
        return _texts([chunk async for chunk in aiter_chunks(_areads(reads), family)])

    assert asyncio.run(texts([events(A), events(b"[DONE]", B)], wire)) == "A"
    assert asyncio.run(texts([events(A, END)[:-2]], models)) == "A"


def test_the_iterables_own_exceptions_pass() -> None:
    def reads() -> Iterator[bytes]:
        yield events(A)
        raise ConnectionResetError("gone")

    found: list[Any] = []
    with pytest.raises(ConnectionResetError, match="gone"):
        found.extend(_collect(iter_chunks(reads()), found))
    assert _texts(found) == "A"


@pytest.mark.parametrize(
    "reads", [[events(A, b"{", B), events(A, B)], [events(A)], [b"", events(A), b"data: ["]]
)
def test_an_iterator_is_over_after_an_error(reads: list[bytes]) -> None:
    chunks = iter_chunks(reads)
    assert iter(chunks) is chunks
    assert _texts([next(chunks)]) == "A"
    with pytest.raises((InvalidChunk, TruncatedStream)):
        next(chunks)
    assert list(chunks) == []
    assert next(chunks, None) is None


def test_an_iterator_reads_no_further_than_it_must() -> None:
    taken: list[int] = []

    def reads() -> Iterator[bytes]:
        for number, read in enumerate([events(A), events(B, A), events(b"[DONE]"), events(B)]):
            taken.append(number)
            yield read
            taken.append(-number)

    chunks = iter_chunks(reads())
    assert taken == []
    next(chunks)
    assert taken == [0]
    next(chunks)
    next(chunks)
    assert taken == [0, 0, 1]
    assert list(chunks) == []
    assert taken == [0, 0, 1, -1, 2]


def test_what_is_no_family_or_no_iterable_of_reads_cannot_be_iterated() -> None:
    with pytest.raises(TypeError, match="family must be a module"):
        iter_chunks([], cast(Any, None))
    with pytest.raises(TypeError, match="not iterable"):
        iter_chunks(cast(Any, 5))
    for read in (None, "data: {}", 5):
        chunks = iter_chunks([cast(Any, read)])
        with pytest.raises(TypeError):
            next(chunks)
        assert list(chunks) == []


def test_errors_say_what_they_are_about() -> None:
    with pytest.raises(UpstreamError, match=r"^no$") as upstream:
        list(iter_chunks([events(ERROR)]))
    assert upstream.value.error == {"message": "no", "code": 500}
    assert upstream.value.data == ERROR
    with pytest.raises(UpstreamError, match=r"^boom$") as upstream:
        list(iter_chunks([b"event: error\ndata: boom\n\n"]))
    assert upstream.value.data == b"boom"
    with pytest.raises(UpstreamError) as upstream:
        list(iter_chunks([b'event: error\ndata: {"message":"no"}\n\n']))
    assert upstream.value.data == b'{"message":"no"}'
    with pytest.raises(
        TruncatedStream, match=r"^the stream stopped before it was complete"
    ) as truncated:
        list(iter_chunks([events(A) + b"data: {"]))
    assert truncated.value.data == b"data: {"


# what is no stream of events: its bytes, and what is said of it
BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the stream is empty"),
    "json": (b'{"error":"unauthorized"}', """begins with '{"error":"unauthorized"}'"""),
    "json-lines": (b'{\n"detail":\n\n1}\n', "begins with '{\\n\"detail\":\\n\\n1}\\n'"),
    "html": (b"<html>\n\n\n<p>502</p>", "begins with '<html>"),
    "long": (b"x" * 1000, "begins with '" + "x" * 256 + "'"),
    "long-blocks": (b"x\n\n" * 500, "begins with '" + "x\\n\\n" * 85 + "x'"),
    "not-text": (b"\xff\x00", r"begins with '\xff\x00'"),
}


@pytest.mark.parametrize(("body", "message"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("size", [1, 7, 5000])
def test_a_body_that_is_no_stream_is_shown(body: bytes, message: str, size: int) -> None:
    reads = [body[at : at + size] for at in range(0, len(body), size)]
    with pytest.raises(TruncatedStream) as caught:
        list(iter_chunks(reads))
    assert message in str(caught.value)
    assert ("event stream" in str(caught.value)) is bool(body)


@pytest.mark.parametrize(
    "body",
    [events(A), b"data: x", events(b"{"), events(A)[:-1], b": ping\n\n", b": p", b"id: 1\n\n"],
)
def test_a_stream_that_stops_is_one_all_the_same(body: bytes) -> None:
    for family in (wire, models):
        stream: ChunkStream[Any] = ChunkStream(family)
        said = [str(item) for item in [*stream.take(body), *stream.end()]]
        assert said[-1] == "the stream stopped before it was complete"
        assert stream.truncated


@pytest.mark.parametrize("family", [5, None, object(), "wire"])
def test_what_is_no_family_is_refused(family: Any) -> None:
    with pytest.raises(TypeError, match=r"^family must be a module with a decode function, not "):
        ChunkStream(family)


def test_an_observer_keeps_exact_counts() -> None:
    seen = Observer()
    for data in (A, b"null", b"{", ERROR, USAGE, END, b'{"p":1}', b"[DONE]"):
        seen.observe(data)
    assert (seen.events, seen.chunks, seen.invalid, seen.done) == (8, 3, 1, True)
    assert seen.usage == wire.UsageInfo(prompt_tokens=3)
    assert seen.finish_reasons == {0: "stop"}


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
def test_recorded_streams_at_awkward_cuts(path: Path) -> None:
    sent = path.read_bytes()
    for raw, step in ((sent[:AWKWARD], 3), (sent, 1021)):
        whole: ChunkStream[Any] = ChunkStream(wire)
        chunks = whole.feed(raw) + whole.close()
        assert chunks
        stream: ChunkStream[Any] = ChunkStream(wire)
        cut = [c for at in range(0, len(raw), step) for c in stream.feed(raw[at : at + step])]
        assert cut + stream.close() == chunks
        assert (stream.done, stream.truncated, stream.error, stream.invalid) == (
            whole.done,
            whole.truncated,
            whole.error,
            whole.invalid,
        )


# Streams that repeat themselves

_PIECES = st.sampled_from(
    [
        *(events(A), events(B), events(A, B, A), events(END), events(USAGE), events(ERROR)),
        *(events(OPENROUTER), events(b"[DONE]"), events(b"{"), events(b"null"), b": ping\n\n"),
        *(
            events(A.replace(b'"content"', name))
            for name in (b'"reasoning"', b'"reasoning_content"')
        ),
        events(A.replace(b'"A"', b'"\\ud800"')),
        events(A.replace(b'"A"', b'"\xff"')),
        events(A.replace(b'"A"', b"null")),
        events(A.replace(b'"A"', b'"A","tool_calls":[]')),
        events(A.replace(b'{"model"', b'{"id":"c","created":1,"model"')),
        events(A.replace(b'":', b'": ')),
        events(A).replace(b"\n", b"\r\n"),
    ]
)


@pytest.mark.parametrize("family", [wire, models])
@settings(max_examples=200)
@given(pieces=st.lists(_PIECES, max_size=10))
def test_events_together_make_the_chunks_that_they_make_alone(
    family: Any, pieces: list[bytes]
) -> None:
    alone, together = ChunkStream(family), ChunkStream(family)
    raw = b"".join(pieces)
    taken = [item for block in blocks(raw) for item in alone.take(block)] + alone.end()
    expected = [*together.take(raw), *together.end()]
    assert [_comparable(item) for item in taken] == [_comparable(item) for item in expected]
    for name in ("done", "error", "invalid", "truncated"):
        assert getattr(alone, name) == getattr(together, name)
    decoded = [item for item in taken if not isinstance(item, Exception)]
    assert [_comparable(chunk) for chunk in decoded] == _decoded(family, raw)


def _decoded(family: Any, raw: bytes) -> list[Any]:
    """Decode each event on its own, up to `[DONE]`."""
    found: list[Any] = []
    for event in EventDecoder().feed(raw):
        if event.data == b"[DONE]":
            break
        if b'"choices"' in event.data:
            with suppress(InvalidChunk):
                found.append(_comparable(family.decode(event.data)))
    return found


def _comparable(item: Any) -> Any:
    if isinstance(item, Exception):
        return type(item), str(item)
    if isinstance(item, models.ChatCompletionStreamResponse):
        assert item.id
        item.id = item.id if item.id == "c" else "made up"
        item.created = item.created if item.created == 1 else 0
    return item


def test_ids_that_the_mirror_makes_up_are_not_repeated() -> None:
    chunks = list(iter_chunks([events(A), events(A, A), events(A), events(b"[DONE]")], models))
    assert len({chunk.id for chunk in chunks}) == len(chunks) == 4


def test_a_family_of_ones_own_is_decoded() -> None:
    class Own:
        decode = staticmethod(msgspec.json.decode)

    chunks = list(iter_chunks([events(A), events(A, B), events(b"[DONE]")], cast(Any, Own)))
    assert chunks == [msgspec.json.decode(data) for data in (A, A, B)]


def test_nothing_is_repeated_after_the_end_or_over_the_limit() -> None:
    stream = ChunkStream(wire)
    assert len(stream.feed(events(A) + events(A, A, b"[DONE]"))) == 3
    assert stream.feed(events(A)) == []
    for before in ([], [events(A)], [events(A), events(A)]):
        small = ChunkStream(wire, max_event_size=200)
        for read in before:
            assert len(small.feed(read)) == 1
        assert len(small.feed(events(A, b"x" * 300))) == 1
        for _ in range(2):
            with pytest.raises(EventTooLarge):
                small.feed(events(A))


def test_how_a_stream_begins_is_known_after_an_empty_read() -> None:
    for reads in ([b"event: x\n\n"], [b"", b"event: x\n\n"], [b"\xef\xbb\xbf", b"event: x\n\n"]):
        with pytest.raises(TruncatedStream, match="the stream stopped before it was complete"):
            list(iter_chunks(reads))


@pytest.mark.parametrize("before", [[], [events(A)]], ids=["first", "quick"])
@pytest.mark.parametrize("family", [wire, models])
def test_what_comes_behind_the_end_counts_in_one_read_as_in_several(
    family: Any, before: list[bytes]
) -> None:
    end = events(b"[DONE]")
    for rest, truncated in ((b"data: {", True), (events(A), False), (b"", False), (b"\r", False)):
        for reads in ([end + rest], [end, rest]):
            stream: ChunkStream[Any] = ChunkStream(family)
            for read in [*before, *reads]:
                stream.feed(read)
            assert stream.close() == []
            assert (stream.done, stream.truncated) == (True, truncated)
    small: ChunkStream[Any] = ChunkStream(family, max_event_size=200)
    for read in before:
        small.feed(read)
    assert small.feed(end + b"data: " + b"x" * 300) == []
    with pytest.raises(EventTooLarge):
        small.feed(b"x")


@pytest.mark.parametrize("name", ["content", "reasoning", "reasoning_content"])
@pytest.mark.parametrize("family", [wire, models])
def test_a_text_that_a_family_may_not_know(family: Any, name: str) -> None:
    data = b'{"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"%b":"A"}}]}'
    event = events(data % name.encode())
    stream: ChunkStream[Any] = ChunkStream(family)
    assert stream.feed(event) + stream.feed(event * 2) == [family.decode(event[6:])] * 3


def test_a_failure_that_is_raised_at_once_is_sticky() -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    stream = ChunkStream(wire, max_event_size=300)
    assert len(stream.feed(event) + stream.feed(event)) == 2
    for read in (event.replace(b"x", b"x" * 1000), event, event):
        with pytest.raises(EventTooLarge):
            stream.feed(read)


class _Marking:
    """A family of one's own, whose decode returns the structs of another one."""

    @staticmethod
    def decode(data: bytes) -> wire.ChatCompletionStreamResponse:
        chunk = wire.decode(data)
        chunk.model = "marked" if b"secret" in data else "m"
        return chunk


def test_a_family_of_ones_own_decodes_every_event() -> None:
    event = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    secret = event.replace(b'"x"', b'"secret"')
    stream = ChunkStream(_Marking())
    chunks = [*stream.feed(event), *stream.feed(event + secret), *stream.feed(secret)]
    assert [chunk.model for chunk in chunks] == ["m", "m", "marked", "marked"]


@pytest.mark.parametrize("family", [models, wire])
@pytest.mark.parametrize("size", [7, 60, 150, 10_000])
def test_chunks_do_not_depend_on_the_cuts(family: Any, size: int) -> None:
    event = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    if family is models:
        event = event.replace(b'"model"', b'"created":1,"model"')
    stream, raw = ChunkStream[Any](family), event * 10
    chunks = [one for at in range(0, len(raw), size) for one in stream.feed(raw[at : at + size])]
    assert chunks == [family.decode(event[6:])] * 10


def test_the_mirrors_plain_reads_are_not_gone_through_block_by_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastchunk.stream.block_at", lambda *_: pytest.fail("the exact way"))
    stream = ChunkStream(models)
    for end in (b"\n", b"\r\n"):
        read = events(A, B, b"{", A.replace(b'"A"', '"\u00e9"'.encode())).replace(b"\n", end)
        assert len(stream.feed(read)) == 3
    assert stream.invalid == 2


def test_a_time_that_the_mirror_makes_up_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    event = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    stream = ChunkStream(models)
    before = stream.feed(event)[0].created
    monkeypatch.setattr("time.time", lambda: before + 100.0)
    (chunk,) = stream.feed(event)
    assert chunk.created == before + 100


@pytest.mark.parametrize("family", [models, wire])
def test_no_depth_of_an_error_makes_the_stream_fail(family: Any) -> None:
    for depth in range(100, 1100, 50):
        stream = ChunkStream[Any](family)
        assert stream.feed(b'data: {"error":' + b"[" * depth + b"]" * depth + b"}\n\n") == []
        assert stream.error is not None or stream.invalid == 1


# --- Messages -----------------------------------------------------------------------------------

BEGIN = b'{"type":"message_start","message":{"content":[],"usage":{"input_tokens":1}}}'
STOP = b'{"type":"message_stop"}'


def message_end(usage: bytes) -> bytes:
    return b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":%b}' % usage


@pytest.mark.parametrize("name", [b"", b"event: x\n"])
@pytest.mark.parametrize("reads", [1, 2])
@pytest.mark.parametrize("rest", [b"", events(BEGIN, b"{"), b"data: {"])
def test_nothing_is_looked_at_behind_the_end_of_a_message(
    name: bytes, reads: int, rest: bytes
) -> None:
    first, *others = [
        name + event for event in blocks(events(BEGIN, message_end(b'{"output_tokens":2}'), STOP))
    ]
    later = b"".join(others) + rest
    chunks = ChunkStream(messages)
    found = [
        event
        for read in ((first + later,), (first, later))[reads - 1]
        for event in chunks.feed(read)
    ]
    assert [type(event) for event in found] == [
        messages.MessageStartEvent, messages.MessageDeltaEvent, messages.MessageStopEvent,
    ]  # fmt: skip
    assert (chunks.done, chunks.invalid, chunks.close()) == (True, 0, [])
    assert chunks.truncated is (rest == b"data: {")  # which is unfinished


def test_an_end_with_a_number_that_no_float_can_hold_says_nothing() -> None:
    seen: list[Any] = []
    for end in (message_end(b'{"iterations":1e999}'), message_end(b'{"iterations":1e9}')):
        chunks = ChunkStream(messages)
        seen += [chunks.feed(events(BEGIN)), chunks.feed(events(end)), chunks.close()]
        seen += [chunks.invalid, chunks.truncated]
    assert [len(items) if isinstance(items, list) else items for items in seen] == [
        *(1, 0, 0, 1, True),
        *(1, 1, 0, 0, False),
    ]
