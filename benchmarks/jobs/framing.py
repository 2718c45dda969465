"""Framing alone: reads to server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from benchmarks.job import OURS, Job, MakePeer, Part, Run, expect_each
from benchmarks.streams import CUTS, Cut, cut, mixes

FRAMING = "framing"
OPENAI, HTTPX_SSE = "openai's SSEDecoder", "httpx_sse"


def _fastchunk() -> Run:
    from fastchunk import EventDecoder

    def run(given: Cut) -> list[Any]:
        decoder = EventDecoder()
        events = [event for read in given.reads for event in decoder.feed(read)]
        return events + decoder.close()

    return run


def _openai() -> Run:
    from openai._streaming import SSEDecoder

    return lambda given: list(SSEDecoder().iter_bytes(iter(given.reads)))


def _httpx_sse() -> Run:
    import codecs

    from httpx_sse import EventSource

    def run(given: Cut) -> list[Any]:
        response: Any = SimpleNamespace(
            headers={"content-type": "text/event-stream"},
            iter_text=lambda: codecs.iterdecode(given.reads, "utf-8"),
        )
        return list(EventSource(response).iter_sse())

    return run


_PEERS: dict[str, MakePeer] = {OURS: _fastchunk, OPENAI: _openai, HTTPX_SSE: _httpx_sse}


def _check(_peer: str, part: Part, events: list[Any]) -> None:
    found = [event.data for event in events]
    texts = [data.decode() if isinstance(data, bytes) else data for data in found]
    expect_each(texts, _data_of(part.given.stream.raw))


def _data_of(raw: bytes) -> list[str]:
    """Return each event's data; no event here has more than one line of it."""
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    return [line[6:].decode() for line in lines if line.startswith(b"data: ")]


def jobs() -> Iterator[Job]:
    """Make the jobs: mix by mix, cut by cut."""
    for mix, streams in mixes().items():
        # An event that its stream leaves unfinished is an error for some, and an event for others.
        complete = [stream for stream in streams if stream.raw.endswith((b"\n\n", b"\r\n\r\n"))]
        for case, blocks in CUTS.items():
            cuts = [cut(stream, blocks) for stream in complete]
            parts = [Part(one.stream.name, one, len(_data_of(one.stream.raw))) for one in cuts]
            may_fail = frozenset({OPENAI, HTTPX_SSE})
            yield Job(f"{FRAMING}/{mix}/{case}", parts, _PEERS, _check, may_fail)
