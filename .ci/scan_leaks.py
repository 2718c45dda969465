"""Call each function of the compiled scanner a million times; what is allocated has to stay flat.

Python counts the blocks of its own allocator, which are those of up to 512 bytes; larger ones show
in the memory that the process has, and references to what lives for ever in their counts.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from msgspec.json import encode

from fastchunk import _scan, messages, wire

CALLS = 1_000_000
PATHS: list[tuple[str | None, ...]] = [
    ("model",),
    ("usage",),
    ("choices",),
    ("choices", None, "delta", "content"),
]
TABLE = _scan.Table(PATHS, [0, 2, 1, 0])
CHANGES = [b'"alias"', None, ..., ...]
DOCUMENTS = [
    b'{"model":"m%d","choices":[{"delta":{"content":"some words of text"}}],"usage":{"a":1}}' % n
    for n in range(64)
]
SET = _scan.Table([("model",), ("usage",), ("n",)])
BROKEN = [document[:-3] for document in DOCUMENTS]
READS = [b"data: " + b"\n\ndata: ".join(DOCUMENTS[n : n + 4]) + b"\n\n" for n in range(60)]
DECODE = _scan.guarded_decoder(wire.decode_utf8, wire.decode)
PLAN: Any = SimpleNamespace(is_simple=True)
EDIT = _scan.quick_editor(lambda _: SET, encode, ..., lambda data, _: data)
LOOKERS = [
    _scan.Looker(_scan.Reader(wire.decode_utf8, _scan.Tally(), 1 << 20), answer, 1 << 20)
    for answer in (
        lambda data, _: data,
        lambda data, _: data[:-1] + b" }",
        lambda *_: None,
        lambda *_: (b": c\n", b"{}"),
    )
]
MARKS = _scan.Table(
    [("model",), ("choices", None, "delta", "content"), ("n",)], [1, 5, 4], ["text"]
)
MARKED = [
    document.replace(b'"choices"', b'"n":%d,"choices"' % n) for n, document in enumerate(DOCUMENTS)
]
SAID = _scan.Tally()
ALIKE = _scan.Alike(MARKS, _scan.Tally())
ALIKE_LOOKER = _scan.Looker(
    _scan.Reader(wire.decode_utf8, _scan.Tally(), 1 << 20),
    lambda data, _: data,
    1 << 20,
    ALIKE,
    lambda data, _, text: data if text else None,
)
READER = _scan.Reader(wire.decode_utf8, _scan.Tally(), 1 << 20)
DECODE = _scan.guarded_decoder(wire.decode_utf8, len)
FORWARDER = _scan.Forwarder(TABLE, CHANGES, _scan.Tally(), 1 << 20)
DELTAS = _scan.Deltas(
    messages.ContentBlockDeltaEvent,
    {messages.TextDelta: "text", messages.InputJSONDelta: "partial_json"},
)
DELTA_EVENTS: list[Any] = [
    messages.ContentBlockDeltaEvent(index=n % 3, delta=delta)
    for n in range(6)
    for delta in (messages.TextDelta(text="a" * n), messages.InputJSONDelta(), None)
]


def learn(n: int) -> None:
    """Let a forwarder of its own learn, and forget."""
    forwarder = _scan.Forwarder(TABLE, [b"%d" % n, None, ..., ...], _scan.Tally(), 1 << 20)
    for read in READS[:18]:
        forwarder.forward(read, 0)
        forwarder.learn(is_chunk=True, is_withheld=bool(n & 1), indexes={0}, reasons={})


def forward(n: int) -> None:
    """Pass a read on, learning what is new."""
    read, at = READS[n % 60], 0
    while at < len(read):
        _, at = FORWARDER.forward(read, at)
        if at < len(read):
            FORWARDER.learn(is_chunk=True, is_withheld=False, indexes={0}, reasons={})
            at = read.index(b"\n\n", at) + 2


def look(n: int) -> None:
    """Look at the events of a read: leave, change, withhold them, put something before them."""
    looker = LOOKERS[n & 3]
    looker.ready = True
    if looker.feed(READS[n % 60][: None if n & 4 else -5]) is None:
        looker.rest()


def recognize(n: int) -> None:
    """Recognize events, learn some anew, and put another text into them."""
    alike = ALIKE if n & 7 else _scan.Alike(MARKS, _scan.Tally())
    data = MARKED[n & 63]
    if alike.find(data) is None:
        alike.learn("said" if n & 8 else None, SAID, data, "some words of text", ())
    else:
        alike.rewrite(data, b'"another"', PLAN)
        alike.note(data)
    ALIKE_LOOKER.ready = True
    if ALIKE_LOOKER.feed(READS[n % 60]) is None:
        ALIKE_LOOKER.rest()


def feed(n: int) -> None:
    """Feed a read, every second one of which is not whole."""
    FORWARDER.ready = True
    if FORWARDER.feed(READS[n % 60][: None if n & 1 else -5]) is None:
        FORWARDER.rest()


def read(n: int) -> None:
    """Decode a read, every second one of which is not whole."""
    READER.ready = True
    if READER.feed(READS[n % 60][: None if n & 1 else -5]) is None:
        READER.rest()


def iterate(n: int) -> None:
    """Iterate over reads, up to the end or an error."""
    wrong: list[Any] = [wire, ValueError()]
    reader = _scan.Reader(wire.decode_utf8, _scan.Tally(), 1 << 20)
    reader.ready = True
    reads = iter([READS[n % 60], b"x", READS[0]])
    take = (lambda _: wrong) if n & 1 else (lambda _: [])
    with suppress(ValueError):
        for _chunk in _scan.iterate(reads, reader, take, list, _scan.Tally()):
            pass


def gather(_: int) -> None:
    """Gather the pieces of a stream; some of them have no list."""
    lists: Any = {0: ["a"], 1: []}, {0: []}
    add = _scan.gatherer(DELTAS, lists, id)
    for event in DELTA_EVENTS:
        add(event)


def refuse(n: int) -> None:
    """Give each function what it raises for."""
    with suppress(ValueError):
        _scan.splice(DOCUMENTS[n & 63], TABLE, CHANGES[1:])
    with suppress(TypeError):
        _scan.splice(DOCUMENTS[n & 63], TABLE, ["text"] * 4)  # type: ignore[list-item]
    with suppress(IndexError):
        FORWARDER.forward(READS[0], 1 << 20)
    with suppress(AttributeError):
        _scan.Table([(n,)])  # type: ignore[list-item]
    with suppress(ValueError):
        _scan.gatherer(DELTAS, (), id)


WORK: dict[str, tuple[int, Callable[[int], object]]] = {
    "scan": (CALLS, lambda n: _scan.scan(DOCUMENTS[n & 63], TABLE)),
    "scan, no": (CALLS, lambda n: _scan.scan(BROKEN[n & 63], TABLE)),
    "splice": (CALLS, lambda n: _scan.splice(DOCUMENTS[n & 63], TABLE, CHANGES)),
    "splice, no": (CALLS, lambda n: _scan.splice(BROKEN[n & 63], TABLE, CHANGES)),
    "edit": (CALLS, lambda n: EDIT(DOCUMENTS[n & 63], {"model": n, "usage": ..., "n": 1})),
    "is_plain": (CALLS, lambda n: _scan.is_plain(DOCUMENTS[n & 63], TABLE if n & 1 else None)),
    "recognize": (CALLS // 4, recognize),
    "look": (CALLS // 4, look),
    "guarded_decoder": (CALLS, lambda n: DECODE(DOCUMENTS[n & 63])),
    "iterate": (CALLS // 20, iterate),
    "gather": (CALLS // 20, gather),
    "cut_plain": (CALLS, lambda n: _scan.cut_plain(READS[n % 60])),
    "forward": (CALLS, forward),
    "feed": (CALLS, feed),
    "read": (CALLS // 4, read),
    "learn": (CALLS // 20, learn),
    "Table": (CALLS // 10, lambda n: _scan.Table([("a", "0", None, "é"), (f"b{n & 63}",)], [0, 1])),
    "errors": (CALLS // 10, refuse),
}


def allocated() -> tuple[int, int, list[int]]:
    """Return blocks, the most kilobytes so far, and the references to what lives for ever."""
    gc.collect()
    shared = None, ..., b"", TABLE, FORWARDER, READER, DOCUMENTS[0], READS[0], _scan.Table, wire
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return sys.getallocatedblocks(), most, [sys.getrefcount(item) for item in shared]


def main() -> None:
    """Run the command."""
    for name, (calls, work) in WORK.items():
        for n in range(calls // 100):
            work(n)
        blocks, most, references = allocated()
        for n in range(calls):
            work(n)
        blocks_after, most_after, references_after = allocated()
        grown = [after - before for before, after in zip(references, references_after, strict=True)]
        print(f"{name}: {calls:,} calls, {blocks_after - blocks:+} blocks", flush=True)
        assert blocks_after - blocks < 100, f"{name} leaks blocks"
        assert most_after - most < 1000, f"{name} leaks memory"
        assert max(map(abs, grown)) < 100, f"{name} leaks references: {grown}"


if __name__ == "__main__":
    main()
