"""Server-sent events, against the WHATWG HTML standard, 9.2.5 and 9.2.6, which the cases quote."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate, compress, pairwise
from typing import Any, NamedTuple

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from fastchunk import sse
from fastchunk.errors import EventTooLarge, TruncatedStream
from fastchunk.sse import (
    DONE,
    BlockSplitter,
    EventDecoder,
    are_blocks,
    blocks,
    format_event,
    parse_block,
)

pytestmark = pytest.mark.usefixtures("scanner")

BOM = b"\xef\xbb\xbf"
Seen = tuple[bytes, str, str]  # an event's data, type and id


class Case(NamedTuple):
    sent: bytes
    events: list[Seen]
    retry: int | None = None
    rest: bytes | None = None  # what TruncatedStream carries


def one(data: bytes, event: str = "message", last_id: str = "") -> list[Seen]:
    return [(data, event, last_id)]


CASES = {
    # UTF-8 decode: "strips one leading UTF-8 Byte Order Mark (BOM), if any"
    "bom": Case(BOM + b"data: a\n\n", one(b"a")),
    "bom-only": Case(BOM, []),
    "bom-second": Case(BOM + BOM + b"data: a\n\ndata: b\n\n", one(b"b")),
    "bom-later": Case(b"data: a\n\n" + BOM + b"data: b\n\n", one(b"a")),
    "bom-after-comment": Case(b": c\n" + BOM + b"data: a\n\n", []),
    "bom-in-data": Case(b"data: " + BOM + b"a\n\n", one(BOM + b"a")),
    "bom-comment": Case(BOM + b": c\ndata: a\n\n", one(b"a")),
    # "a CRLF character pair, a single LF character not preceded by a CR character, and a single
    # CR character not followed by a LF character being the ways in which a line can end"
    "lf": Case(b"data: a\n\ndata: b\n\n", one(b"a") + one(b"b")),
    "cr": Case(b"data: a\r\rdata: b\r\r", one(b"a") + one(b"b")),
    "crlf": Case(b"data: a\r\n\r\ndata: b\r\n\r\n", one(b"a") + one(b"b")),
    "mixed": Case(b"data: a\rdata: b\ndata: c\r\n\r\rdata: d\n\r\n", one(b"a\nb\nc") + one(b"d")),
    "mixed-lf-cr": Case(b"data: a\n\rdata: b\r\n\n", one(b"a") + one(b"b")),
    "mixed-after-lf": Case(b"data: a\n\ndata: b\r\n\r\n", one(b"a") + one(b"b")),
    "crlf-is-one-end": Case(b"data: a\r\ndata: b\r\n\r\n", one(b"a\nb")),
    "final-cr": Case(b"data: a\n\r", one(b"a")),
    "final-cr-of-comment": Case(b"data: a\n\n: c\r", one(b"a")),
    "not-line-ends": Case(
        "data: a\u2028b\u2029c\u0085d\ve\ff\x1cg\n\n".encode(),
        one("a\u2028b\u2029c\u0085d\ve\ff\x1cg".encode()),
    ),
    # "If the line is empty (a blank line)": "Dispatch the event, as defined below."
    "nothing": Case(b"", []),
    "blank-lines": Case(b"\n\n\ndata: a\n\n\n\ndata: b\n\n\n", one(b"a") + one(b"b")),
    "done": Case(b'data: {"choices":[]}\n\ndata: [DONE]\n\n', one(b'{"choices":[]}') + one(DONE)),
    # "If the line starts with a U+003A COLON character (:)": "Ignore the line."
    "comment": Case(b": c\ndata: a\n: d\ndata: b\n:\n\n", one(b"a\nb")),
    "comment-between": Case(b"data: a\n\n: c\n:data: d\ndata: b\n\n", one(b"a") + one(b"b")),
    "keep-alive": Case(b": keep-alive\n\n: keep-alive\n\ndata: a\n\n", one(b"a")),
    # The field is "the characters on the line before the first U+003A COLON character"
    "second-colon": Case(b"data: a: b\ndata:c:d\n\n", one(b"a: b\nc:d")),
    # "If value starts with a U+0020 SPACE character, remove it from value."
    "no-space": Case(b"data:a\n\n", one(b"a")),
    "two-spaces": Case(b"data:  a \n\n", one(b" a ")),
    "tab": Case(b"data:\ta\n\n", one(b"\ta")),
    # "the string is not empty but does not contain a U+003A COLON character (:): … using the
    # whole line as the field name, and the empty string as the field value"
    "no-colon": Case(b"data\ndata\nid\nretry\nevent\n\n", one(b"\n")),
    # "Field names must be compared literally, with no case folding performed."; "Otherwise: The
    # field is ignored."
    "unknown-fields": Case(b"Data: a\n data: b\ndata : c\nfoo\ndata: d\n\n", one(b"d")),
    # "data: Append the field value to the data buffer, then append a single LF character": the
    # buffer of `data:` alone is a line feed, "if … the data buffer is an empty string … return".
    "several-data": Case(b"data: a\ndata:\ndata: b\n\n", one(b"a\n\nb")),
    "data-empty": Case(b"data:\n\n", one(b"")),
    "data-empty-space": Case(b"data: \n\ndata: \n\n", one(b"") + one(b"")),
    "data-alone": Case(b"data\n\ndata\ndata\n\n", one(b"") + one(b"\n")),
    "no-data": Case(b"event: e\n\nid: 1\n\nevent: f\nid: 2\n\n", []),
    # "event: Set the event type buffer to the field value."; dispatch: "Set the data buffer and
    # the event type buffer to the empty string", without data as well.
    "event": Case(b"event: e\ndata: a\n\ndata: b\nevent:f\n\n", one(b"a", "e") + one(b"b", "f")),
    "event-last-wins": Case(b"event: e\nevent: f\ndata: a\n\n", one(b"a", "f")),
    "event-empty": Case(b"event: e\nevent\ndata: a\n\n", one(b"a")),
    "event-resets": Case(b"event: e\ndata: a\n\ndata: b\n\n", one(b"a", "e") + one(b"b")),
    "event-resets-without-data": Case(b"event: e\n\ndata: a\n\n", one(b"a")),
    # "id: If the field value does not contain U+0000 NULL, then set the last event ID buffer to
    # the field value. Otherwise, ignore the field."; dispatch: "The buffer does not get reset"
    "id-persists": Case(
        b"data: a\nid: 1\n\ndata: b\n\nid: 2\ndata: c\n\n",
        [(b"a", "message", "1"), (b"b", "message", "1"), (b"c", "message", "2")],
    ),
    "id-nul": Case(b"id: 1\nid: 2\0\nid: \0\ndata: a\n\n", one(b"a", last_id="1")),
    "id-empty": Case(b"id: 1\ndata: a\n\nid\ndata: b\n\n", one(b"a", last_id="1") + one(b"b")),
    "id-without-data": Case(b"id: 1\n\ndata: a\n\n", one(b"a", last_id="1")),
    "id-then-comment": Case(b"id: 1\n: c\n\n: d\n\n", []),
    "comment-then-id": Case(b": c\nid: 1\n\n", []),
    # "retry: If the field value consists of only ASCII digits, then … set the event stream's
    # reconnection time to that integer. Otherwise, ignore the field."
    "retry": Case(b"retry: 0100\ndata: a\n\n", one(b"a"), retry=100),
    "retry-leading-zeros": Case(b"retry: 0000000000000000000012\ndata: a\n\n", one(b"a"), retry=12),
    "retry-zero": Case(b"retry: 12\nretry: 000\ndata: a\n\n", one(b"a"), retry=0),
    "retry-persists": Case(b"retry: 1\ndata: a\n\ndata: b\n\n", one(b"a") + one(b"b"), retry=1),
    "retry-without-data": Case(b"retry: 1\n\nretry:2\nretry: 3x\n\n", [], retry=2),
    "retry-signed": Case(b"retry: +1\nretry: -1\nretry: 1.0\ndata: a\n\n", one(b"a")),
    "retry-spaces": Case(b"retry:  1\nretry: 1 \nretry: 1_0\ndata: a\n\n", one(b"a")),
    "retry-non-ascii": Case("retry: ١٢\nretry: １\ndata: a\n\n".encode(), one(b"a")),
    "retry-empty": Case(b"retry: 1\n\nretry:\nretry: \nretry\ndata: a\n\n", one(b"a"), retry=1),
    "retry-in-half-an-event": Case(b"retry: 1\ndata", [], retry=1, rest=b"retry: 1\ndata"),
    # "Streams must be decoded using the UTF-8 decode algorithm": its decoder replaces what is
    # invalid in types and ids. The data stays bytes, for whoever decodes it.
    "utf-8": Case("data: é日😀\nevent: é\nid: 😀\n\n".encode(), one("é日😀".encode(), "é", "😀")),
    "invalid-in-data": Case(b"data: a\xff\xc3\n\n", one(b"a\xff\xc3")),
    "invalid-in-event": Case(b"event: a\xff\xe6\x97\ndata: a\n\n", one(b"a", "a\ufffd\ufffd")),
    "invalid-in-id": Case(b"id: \xc3(\ndata: a\n\n", one(b"a", last_id="\ufffd(")),
    # "If the file ends in the middle of an event, before the final empty line, the incomplete
    # event is not dispatched."
    "half-an-event": Case(b"data: a\n\ndata: b", one(b"a"), rest=b"data: b"),
    "half-a-data-line": Case(b"data: a\nda", [], rest=b"data: a\nda"),
    "half-without-blank-line": Case(b": c\nid: 1\ndata: a\n", [], rest=b"id: 1\ndata: a\n"),
    "half-final-cr": Case(b"data: a\r", [], rest=b"data: a\r"),
    "half-a-field-name": Case(b"data: a\n\nda", one(b"a"), rest=b"da"),
    "half-without-data": Case(b"data: a\n\nevent: e\n", one(b"a"), rest=b"event: e\n"),
    "half-after-bom": Case(BOM + b"data: a", [], rest=b"data: a"),
    "half-a-comment": Case(b"data: a\n\n: c", one(b"a")),
}

# Each case, and where its line ends are all LF, the same case with the other ones.
VARIANTS = CASES | {
    f"{name}/{label}": Case(
        case.sent.replace(b"\n", end),
        case.events,
        case.retry,
        case.rest and case.rest.replace(b"\n", end),
    )
    for name, case in CASES.items()
    for label, end in [("cr", b"\r"), ("crlf", b"\r\n")]
    if b"\n" in case.sent and b"\r" not in case.sent
}


def single(sent: bytes) -> list[bytes]:
    return [sent[at : at + 1] for at in range(len(sent))]


def outcome(reads: Iterable[bytes]) -> tuple[list[Seen], int | None, bytes | None]:
    decoder, rest = EventDecoder(), None
    events = [event for read in reads for event in decoder.feed(read)]
    try:
        events += decoder.close()
    except TruncatedStream as error:
        rest = error.data
    return [(event.data, event.event, event.id) for event in events], decoder.retry, rest


@pytest.mark.parametrize("case", VARIANTS.values(), ids=VARIANTS)
def test_the_standard(case: Case) -> None:
    sent, *expected = case
    assert by_the_standard(sent) == case.events
    assert outcome([sent]) == tuple(expected)
    assert outcome(single(sent)) == tuple(expected)
    for at in range(len(sent) + 1):
        assert outcome([sent[:at], sent[at:]]) == tuple(expected), f"cut at {at}"


# Any bytes, cut anywhere.

FRAGMENTS = [
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b":", b" ", b"\0", b"\xff", BOM, b"\xe2\x80"),
    *(b"data", b"data:", b"data: x", b"data: x\n\n", b"data: y\r\n\r\n", b"event: e", b"id: 1"),
    *(b"id", b"retry: 1", b": c", b": c\n", b": c\r\n\r\n", "\u2028\u0085\v\f".encode(), b"foo"),
    BOM[:2],
]
MANY = settings(max_examples=300, deadline=None)
STREAMS = st.lists(st.sampled_from(FRAGMENTS), max_size=24).map(b"".join)


@st.composite
def cut(draw: st.DrawFn) -> list[bytes]:
    sent = draw(STREAMS)
    ends = st.lists(st.integers(0, len(sent)), max_size=8).map(sorted)
    places = draw(ends | st.just(list(range(len(sent)))))
    return [sent[a:b] for a, b in pairwise([0, *places, len(sent)])]


def by_the_standard(sent: bytes) -> list[Seen]:
    """Do literally what 9.2.6 says, but for `retry`, with the whole stream at hand."""
    events: list[Seen] = []
    data, kind, last_id = b"", b"", b""
    lines = re.split(rb"\r\n|\n|\r", sent.removeprefix(BOM))
    for line in lines[:-1]:  # what follows the last line end is no line
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                event = kind.decode(errors="replace") or "message"
                events.append((data[:-1], event, last_id.decode(errors="replace")))
            data = kind = b""
        elif name == b"data":
            data += value + b"\n"
        elif name == b"event":
            kind = value
        elif name == b"id" and b"\0" not in value:
            last_id = value
    return events


@MANY
@given(cut())
def test_any_bytes_give_the_events_of_the_standard_as_soon_as_they_are_sure(
    reads: list[bytes],
) -> None:
    sent = b"".join(reads)
    decoder = EventDecoder()
    fed = [event for read in reads for event in decoder.feed(read)]
    seen = [(event.data, event.event, event.id) for event in fed]
    assert seen == by_the_standard(sent.removesuffix(b"\r"))  # it may be half of a CRLF
    assert outcome(reads)[0] == by_the_standard(sent)
    whole = blocks(BlockSplitter().feed(sent))
    # The splitter has removed the mark that was there to be removed.
    counts = [len(by_the_standard(BOM + part)) for part in accumulate(whole, initial=b"")]
    dispatched = [after > before for before, after in pairwise(counts)]
    assert [event.raw for event in fed] == list(compress(whole, dispatched))


def test_raw_is_the_own_block_of_an_event() -> None:
    first, second = b"event: e\r\n: c\r\ndata: a\r\ndata: b\r\n\r\n", b"data: c\n\n"
    decoder, sent = EventDecoder(), BOM + first + b": c\n\nid: 1\n\n\n" + second
    events = [event for read in single(sent) for event in decoder.feed(read)]
    assert events == EventDecoder().feed(sent)
    assert [event.raw for event in events] == [first, second]


@pytest.mark.parametrize("digits", [16, 5000])
def test_a_retry_of_absurd_length_is_ignored(digits: int) -> None:
    assert outcome([b"retry: " + b"9" * digits + b"\ndata: a\n\n"]) == (one(b"a"), None, None)
    assert outcome([b"retry: " + b"0" * digits + b"7\ndata: a\n\n"]) == (one(b"a"), 7, None)


# The block splitter


@MANY
@given(cut())
@example([b"data: x\n", b"\n: c", b"\n", b"\r", b"\n"])
@example([b": comment", b"\n\n: c\n"])
def test_the_splitter_loses_a_first_mark_alone_wherever_reads_are_cut(
    reads: list[bytes],
) -> None:
    sent = b"".join(reads)
    splitter, at_once = BlockSplitter(), BlockSplitter()
    out = b"".join(splitter.feed(read) for read in reads)
    assert out == at_once.feed(sent) == b"".join(blocks(out))
    sent = sent.removeprefix(BOM)
    assert bytes(splitter.pending) == bytes(at_once.pending) == sent[len(out) :]
    whole, rest = splitter.close()
    assert (whole, rest) == at_once.close()
    assert out + whole + rest == sent
    assert not (whole and rest)
    assert blocks(out + whole) == [*blocks(out), *([whole] if whole else [])]


@pytest.mark.parametrize(
    "data",
    [
        *(b"data: a\n\n", b"data: a\n\ndata: b\n\n: c\n\nid: 1\n\n", b""),
        *(b"data: a\r\n\r\ndata: b\r\n\r\n", b": c\n"),
    ],
)
def test_a_read_of_whole_blocks_is_passed_on_itself(data: bytes) -> None:
    splitter = BlockSplitter()
    for _ in range(2):
        assert splitter.feed(data) is data
        assert not splitter.pending


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_a_first_mark_leaves_before_anything_else(size: int) -> None:
    splitter, sent = BlockSplitter(), BOM + b": keep-alive\n\n" + BOM + b"data: a\n\n"
    out = [splitter.feed(sent[at : at + size]) for at in range(0, len(sent), size)]
    assert b"".join(out) == sent[len(BOM) :]
    assert splitter.idle


def test_keep_alives_behind_a_mark_are_not_held() -> None:
    splitter = BlockSplitter()
    assert splitter.feed(BOM) == b""
    assert splitter.idle
    for comment in (b": keep-alive\n", b"\n", b": keep-alive\n\n"):
        assert splitter.feed(comment) is comment


def test_half_a_mark_at_the_end_is_the_rest() -> None:
    splitter = BlockSplitter()
    assert splitter.feed(BOM[:1]) + splitter.feed(BOM[1:2]) == b""
    assert splitter.close() == (b"", BOM[:2])


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_keep_alives_neither_wait_nor_pile_up(end: bytes) -> None:
    splitter = BlockSplitter(max_event_size=16)
    for comment in [b": keep-alive" + end, b": keep-alive" + end + end] * 5000:
        assert splitter.feed(comment) == comment
        assert not splitter.pending
    decoder = EventDecoder(max_event_size=16)
    assert not any(decoder.feed(read) for read in single((b": keep-alive" + end + end) * 500))
    assert [event.data for event in decoder.feed(b"data: a" + end * 2)] == [b"a"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_the_limit(end: bytes) -> None:
    fits, large = b"data: 0123" + end * 2, b"data: 01234" + end * 2
    limit = len(fits)
    assert BlockSplitter(limit).feed(fits + fits + b"data") == fits + fits
    for reads in [[large + fits], single(large), [large[:-1], large[-1:] + fits]]:
        splitter = BlockSplitter(limit)  # nothing precedes: it fails at once
        with pytest.raises(EventTooLarge, match=f"{limit} bytes") as caught:
            [splitter.feed(read) for read in reads]
        assert caught.value.limit == limit
    for tail in (large + fits, large, b"x" * (limit + 2)):
        splitter, decoder = BlockSplitter(limit), EventDecoder(max_event_size=limit)
        assert splitter.feed(fits + b": c\n" + fits + tail) == fits + b": c\n" + fits
        assert [event.data for event in decoder.feed(fits + tail)] == [b"0123"]
        assert splitter.failed
        assert not splitter.pending
        part: Any
        for part in (splitter, decoder):
            for call in [partial(part.feed, b""), partial(part.feed, fits), part.close] * 2:
                with pytest.raises(EventTooLarge):
                    call()


@MANY
@given(cut(), st.integers(len(BOM), 20))
def test_the_limit_does_not_depend_on_the_cuts(reads: list[bytes], limit: int) -> None:
    def run(pieces: list[bytes]) -> tuple[bytes, bool]:
        splitter, out = BlockSplitter(limit), b""
        try:
            for piece in pieces:
                out += splitter.feed(piece)
                assert len(splitter.pending) <= limit
        except EventTooLarge:
            assert splitter.failed
        return out, splitter.failed

    sent = b"".join(reads)
    out, failed = run(reads)
    assert (out, failed) == run([sent])
    held = BlockSplitter()
    whole = blocks(held.feed(sent))
    sizes = [*map(len, whole), len(held.pending)]
    too_large = next((n for n, size in enumerate(sizes) if size > limit), None)
    assert failed is (too_large is not None)
    assert out == b"".join(whole[:too_large])


@pytest.mark.parametrize("part", [BlockSplitter, EventDecoder])
@pytest.mark.parametrize("wrong", ["data: a\n\n", None, 3, [100], object()])
def test_what_is_not_bytes_is_refused(part: Any, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"bytes-like, not {type(wrong).__name__}"):
        part().feed(wrong)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("view", [bytearray, memoryview])
def test_a_buffer_is_copied(end: bytes, view: Any) -> None:
    sent = b"data: a" + end * 2 + b"data: b"
    for at in (7, 7 + len(end) * 2, len(sent)):
        splitter, decoder = BlockSplitter(), EventDecoder()
        out, events = b"", []
        for piece in (sent[:at], sent[at:] + end * 2):
            buffer = bytearray(piece)
            given_ = buffer if view is bytearray else memoryview(buffer)
            out += splitter.feed(given_)
            events += decoder.feed(given_)
            del given_
            buffer[:] = b"#" * len(buffer)
            buffer.extend(b"resized: nothing holds on to it")
        assert out == sent + end * 2
        assert type(out) is bytes
        assert [(type(event.raw), event.data) for event in events] == [(bytes, b"a"), (bytes, b"b")]


# Linear work


class Watched(bytearray):
    """Counts the bytes that are looked at."""

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        Watched.looked_at += len(self) - start
        return super().find(sub, start, len(self) if end is None else end)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        Watched.looked_at += len(found) if isinstance(key, slice) else 1
        return found


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("line", [b"data: " + b"x" * 60000, b":" + b"x" * 60005, b"id: 1"])
def test_bytes_that_come_one_by_one_are_looked_at_once(
    end: bytes, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pattern:
        @staticmethod
        def finditer(data: bytearray, start: int) -> Any:
            Watched.looked_at += len(data) - start
            return pattern.finditer(data, start)

    pattern = sse._SURE_LINE_END
    monkeypatch.setattr(sse, "_SURE_LINE_END", Pattern)
    splitter, sent = BlockSplitter(), b"id: 1" + end + (line + end) * (60006 // len(line)) + end
    if line[:1] == b":":
        sent = sent[5 + len(end) :]  # a comment that opens its block
    splitter.pending = Watched()
    Watched.looked_at = 0
    assert b"".join([*map(splitter.feed, single(sent)), splitter.close()[0]]) == sent
    assert isinstance(splitter.pending, Watched)
    assert 0 < Watched.looked_at < 10 * len(sent)


# One block, and several


@given(st.lists(st.sampled_from([b": c", b"data: a", b"\n", b"\r", b"\r\n"])).map(b"".join))
def test_blocks_are_told_from_what_is_unfinished(data: bytes) -> None:
    assert are_blocks(data) == (b"".join(blocks(data)) == data)


def test_half_an_event_is_told_at_once_however_long_it_is() -> None:
    assert not are_blocks(b"data: a\n\ndata: " + b"x" * 1_000_000)


def test_blocks_and_lines() -> None:
    assert blocks(b"\n: c\r\ndata: a\n: d\n\n\r\nid: 1\r\r") == [
        *(b"\n", b": c\r\n", b"data: a\n: d\n\n", b"\r\n", b"id: 1\r\r")
    ]
    assert vars(sse)["cut_plain"](b"data: a\n\ndata: \n\n") == ([b"a", b""], b"\n\n")
    assert parse_block(b"data: a\nevent: e\nid: 1\nretry: 2\n\n") == (b"a", "e", "1", 2)
    assert parse_block(b": c\n") == (None, "message", None, None)


@given(STREAMS)
def test_the_shape_that_servers_write_is_told_exactly(stream: bytes) -> None:
    whole = BlockSplitter().feed(stream)
    found = vars(sse)["cut_plain"](whole)
    parts = blocks(whole)
    for ends in (b"\n\n", b"\r\n\r\n"):
        if parts and all(re.fullmatch(rb"data: [^\r\n]*" + ends, part) for part in parts):
            assert found == ([part[6 : -len(ends)] for part in parts], ends)
            return
    assert found is None


# Writing


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((b"a",), b"data: a\n\n"),
        ((b"",), b"data: \n\n"),
        (("é",), b"data: \xc3\xa9\n\n"),
        ((bytearray(b" a"),), b"data:  a\n\n"),
        ((memoryview(b"a\xff"),), b"data: a\xff\n\n"),
        ((b"a\nb\rc\r\nd\n",), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        ((DONE, "error", "é"), b"event: error\nid: \xc3\xa9\ndata: [DONE]\n\n"),
        ((b"a", "", ""), b"event: \nid: \ndata: a\n\n"),
    ],
)
def test_format_event(arguments: tuple[Any, ...], expected: bytes) -> None:
    assert format_event(*arguments) == expected


NAMES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(STREAMS | st.binary(), st.none() | NAMES, st.none() | NAMES)
def test_what_is_written_is_read_back(data: bytes, event: str | None, last_id: str | None) -> None:
    raw = format_event(data, event, last_id)
    (read,) = EventDecoder().feed(raw)
    assert read.data == data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert (read.event, read.id, read.raw) == (event or "message", last_id or "", raw)


@pytest.mark.parametrize("name", ["event", "id"])
def test_what_could_not_be_read_back_is_not_written(name: Any) -> None:
    for unsafe in ("a\r", "\nb", "a\r\nb", "\0", "\ud800"):
        with pytest.raises(ValueError, match=r"line end or a NUL|surrogates"):
            format_event(b"a", **{name: unsafe})
    wrong: Any
    for wrong in (b"e", 1, ["e"]):
        with pytest.raises(TypeError, match=f"{name} must be str"):
            format_event(b"a", **{name: wrong})


@pytest.mark.parametrize("wrong", [None, 5, [1], {"a": 1}])
def test_data_is_bytes_or_text(wrong: Any) -> None:
    with pytest.raises(TypeError, match="data must be bytes-like or str"):
        format_event(wrong)


# The peers: openai-python and httpx-sse agree, but for these cases.

_EMPTY = "they dispatch an event although the data buffer is empty, where the standard returns"
_INT = "they read a retry with int(): signs, spaces, underscores, all digits; only ASCII's count"
_RAISES = "it raises UnicodeDecodeError, where the standard replaces; the data is kept as sent"
BOTH = {
    "bom": "they take the mark for a part of the field's name, where the standard strips it",
    **dict.fromkeys(["no-data", "event-resets-without-data", "id-without-data"], _EMPTY),
    **dict.fromkeys(["id-then-comment", "comment-then-id"], _EMPTY),
    **dict.fromkeys(["retry-without-data", "retry-empty"], _EMPTY),
    **dict.fromkeys(["retry-signed", "retry-spaces", "retry-non-ascii"], _INT),
    "retry-in-half-an-event": "they know retry only with an event, where the line alone sets it",
}
OPENAI = BOTH | dict.fromkeys(["invalid-in-data", "invalid-in-event", "invalid-in-id"], _RAISES)
HTTPX = BOTH | {"invalid-in-data": "it replaces what is invalid, which is the caller's to decide"}


def by_openai(reads: list[bytes]) -> Iterator[Any]:
    return SSEDecoder().iter_bytes(iter(reads))


def by_httpx(reads: list[bytes]) -> Iterator[Any]:
    headers = {"content-type": "text/event-stream"}
    return EventSource(httpx.Response(200, headers=headers, content=iter(reads))).iter_sse()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("peer", "deviations"), [(by_openai, OPENAI), (by_httpx, HTTPX)])
def test_a_peer_agrees_but_for_its_known_deviations(
    peer: Callable[[list[bytes]], Iterator[Any]], deviations: dict[str, str], name: str
) -> None:
    case = VARIANTS[name]
    for reads in ([case.sent], single(case.sent)):
        seen: object = None
        try:
            found = list(peer(reads))
        except UnicodeDecodeError:
            pass
        else:
            events = [(e.data.encode(), e.event or "message", e.id or "") for e in found]
            retries = [e.retry for e in found if e.retry is not None]
            seen = (events, retries[-1] if retries else None)
        assert (seen == (case.events, case.retry)) is (name.partition("/")[0] not in deviations)


def test_deviations_are_those_of_cases() -> None:
    assert CASES.keys() >= OPENAI.keys() | HTTPX.keys()


def test_a_stream_that_ended_in_an_event_stays_ended() -> None:
    decoder = EventDecoder()
    decoder.feed(b"data: x")
    for call in (decoder.close, decoder.close, lambda: decoder.feed(b"data: y\n\n")):
        with pytest.raises(TruncatedStream, match="in the middle"):
            call()
