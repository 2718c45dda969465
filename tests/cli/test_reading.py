"""What both commands read: the items of a stream, and where each one is."""

from __future__ import annotations

import gc
import os
import random
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastchunk import Accumulator, ChunkStream, encode, wire
from fastchunk.cli._check import Check
from fastchunk.cli._output import Output
from fastchunk.cli._reading import Reading
from fastchunk.sse import MAX_EVENT_SIZE
from tests import fuzz
from tests.streams import recorded

from .harness import CLEAN, DONE, ENCODER, WHOLE, delta, run


def generated() -> list[bytes]:
    crlf = (b"\xef\xbb\xbf" + WHOLE).replace(b"\n", b"\r\n")
    mixed = b": hello\r\rdata: x\n\n\n\nevent: e\rdata: null\r\n\n" + WHOLE
    by_cr = (WHOLE + DONE).replace(b"\n", b"\r")
    return [WHOLE + DONE, crlf, by_cr, mixed, CLEAN + mixed, WHOLE[:-1], b"\n\r", b"da"]


def items_of(reads: list[bytes]) -> tuple[list[tuple[Any, ...]], int]:
    reading = Reading()
    items = [(*item[:4], str(item.fault)) for item in reading.items(reads)]
    return items, reading.size


@pytest.mark.parametrize("raw", [*generated(), *(path.read_bytes() for path in recorded())])
def test_every_block_is_where_it_is_said_to_be(raw: bytes) -> None:
    reading, end = Reading(), 0
    for item in reading.items([raw]):
        if item.block:
            assert item.offset == end
            assert raw[end : end + len(item.block)] == item.block
            end += len(item.block)
            assert item.chunk is None or item.chunk == wire.decode(item.data or b"")
    assert end == reading.size
    assert end == len(raw) or reading.truncated


def test_an_event_is_found_in_its_own_block() -> None:
    for end in (b"\n", b"\r", b"\r\n"):
        events = (ENCODER.content("a"), b": comment\n", ENCODER.content("b"), b"data: {\n\n", DONE)
        written = [event.replace(b"\n", end) for event in events]
        items = list(Reading().items(written))
        found = [(item.event, item.block) for item in items if item.data is not None]
        assert found == [(1, written[0]), (2, written[2]), (3, written[3]), (4, written[4])]
        assert [bool(item.chunk) for item in items if item.event] == [True, True, False, False]
        assert [item.event for item in items if item.fault] == [3]


def test_a_stream_that_is_done_is_not_truncated_by_what_follows() -> None:
    for rest in (b"data: {", b"data: " + b"x" * MAX_EVENT_SIZE):
        reading = Reading()
        assert list(reading.items([CLEAN, rest]))[-1].offset == len(CLEAN)
        assert not reading.truncated


@given(st.sampled_from(generated()), st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=200, deadline=None)
def test_items_do_not_depend_on_how_the_input_was_cut(raw: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(raw)]
    reads = [raw[a:b] for a, b in pairwise(places)]
    assert items_of(reads) == items_of([raw])
    assert items_of([raw[i : i + 1] for i in range(len(raw))]) == items_of([raw])


def test_every_command_on_every_recorded_stream() -> None:
    for path in recorded():
        raw = path.read_bytes()
        chunks, answer, text = [], Accumulator(), Reading()
        for item in text.items([raw]):
            if item.chunk:
                chunks.append(item.data)
                answer.add(item.chunk)
        whole = answer.result()
        odd = int(text.truncated or text.stream.error is not None or text.stream.invalid > 0)
        documents = run("read", str(path), "--json")
        assert documents.stdout_bytes.splitlines() == chunks
        assert run("read", str(path), "--answer").stdout_bytes == encode(whole) + b"\n"
        stats = run("read", str(path), "--stats")
        assert f"chunks         {len(chunks)}\n" in stats.stdout
        live = run("read", str(path))
        for choice in whole.choices:
            if len(whole.choices) == 1:
                assert (choice.message.content or "").strip() in live.stdout
        assert {r.exit_code for r in (documents, stats, live)} == {odd}
        check = run("check", str(path))
        assert check.exit_code == int(": problem: " in check.stdout)
        assert len(check.stdout.splitlines()) == len(
            run("check", str(path), "--json").stdout.splitlines()
        )


@pytest.mark.parametrize("command", ["read", "check"])
def test_garbage(command: str) -> None:
    garbage = bytes(range(256)) * 512
    for data, problem in (
        (garbage, "the input is not an event stream; it begins with '\\x00\\x01"),
        (garbage + b"\n\n" + garbage, "the input is not an event stream"),
        (b"data: " + garbage + b"\n\n", "the stream stopped before it was complete"),
    ):
        result = run(command, "-", data=data)
        assert result.exit_code == 1
        assert problem in result.output


def test_what_is_read_is_what_a_chunk_stream_reads() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        raw = fuzz.mutated(rng, fuzz.generated(rng))
        reading, stream, chunks = Reading(), ChunkStream(wire), 0
        for item in reading.items([raw]):
            chunks += item.chunk is not None
        assert chunks == len(stream.feed(raw) + stream.close())
        assert (reading.truncated, reading.stream.invalid) == (stream.truncated, stream.invalid)
        assert reading.stream.error == stream.error
        odd = int(stream.truncated or stream.error is not None or stream.invalid > 0)
        assert run("read", "-", data=raw).exit_code == odd


def test_memory_does_not_grow_with_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    events = delta(content="x", ghost=1) + ENCODER.content("y") + b"data: {\n\n"

    def held(times: int) -> int:
        reading = Reading()
        check = Check(Output(), "-", as_json=True)
        tracemalloc.start()
        for item in reading.items(events for _ in range(times)):
            check.take(item, reading)
        gc.collect()
        now, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return now

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        held(50)
        grown = held(1050) - held(50)
    assert grown < len(events) * 1000 / 2  # far less than the data alone


def test_an_unfinished_block_behind_a_mark_is_where_it_is_said_to_be() -> None:
    raw = b'\xef\xbb\xbfdata: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n'
    (item,) = Reading().items([raw[:2], raw[2:]])
    assert (item.offset, item.block) == (0, raw)
    assert item.chunk is not None
    assert item.unfinished
