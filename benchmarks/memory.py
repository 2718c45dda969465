"""Memory: what Python's allocators have handed out, measured in processes of their own.

`python -m benchmarks.memory` runs one of them, and writes JSON:
`decoded PEER COUNT`: the bytes held for each decoded chunk, by case;
`relayed COUNT`: those held by a relay on its way through so many events, which fails if it grows;
`accumulated COUNT`: those held for each of so many added chunks, which fails likewise.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

from .jobs.codec import LIBRARIES, RECORDED, cases
from .jobs.producer import encoder
from .pages import ROOT
from .words import ALIAS, MODEL

_CASES = ("text delta", "logprobs, 5 alternatives", "tool-call delta", RECORDED)
_READ = 64
_MAY_GROW = 4096


def decoded(peer: str, count: int) -> dict[str, float]:
    """Measure the bytes held for a decoded chunk; the documents differ, as they do in a stream."""
    library = LIBRARIES[peer]()
    held = {}
    for name in _CASES:
        case = cases().get(name)
        if case is None:
            continue
        inputs = [document.encode() for document in case.documents]
        chunks: list[Any] = [None] * count
        gc.collect()
        tracemalloc.start()
        try:
            for n in range(count):
                chunks[n] = library.decode(inputs[n % len(inputs)])
            held[name] = tracemalloc.get_traced_memory()[0] / count
        except ValueError:  # the floor refuses what the exact path accepts
            continue
        finally:
            tracemalloc.stop()
    return held


def relayed(events: int) -> dict[str, Any]:
    """Pass a long stream through a relay that changes the model; fail if it holds more and more.

    Returns the bytes held after a hundredth of the events, after half, and after all of them.
    """
    from fastchunk import Relay

    def written(model: str) -> bytes:
        chunks = encoder("models", model)
        return b"".join(chunks.content(f" {n}") for n in range(_READ))

    read, expected = written(MODEL), written(ALIAS)
    relay = Relay(set={"model": ALIAS})
    total = events // _READ
    held = dict.fromkeys((total // 100, total // 2, total), 0)
    gc.collect()
    tracemalloc.start()
    for n in range(1, total + 1):
        if relay.feed(read) != expected:
            raise SystemExit("the relay wrote something else")
        if n in held:
            held[n] = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    first, *rest = held.values()
    if relay.chunks != total * _READ or max(rest) - first > _MAY_GROW:
        raise SystemExit(f"after {relay.chunks} chunks the relay held {held}")
    return {"events": relay.chunks, "held": [first, *rest]}


def accumulated(count: int) -> dict[str, float]:
    """Decode and add chunks; fail if what is held grows faster than the chunks do.

    Returns the bytes held for each chunk, its text included, by the number of chunks.
    """
    from fastchunk import Accumulator, wire

    texts = [f" {n} tokens" for n in range(64)]
    documents = [b'{"choices":[{"delta":{"content":"%b"}}]}' % text.encode() for text in texts]
    accumulator = Accumulator()
    taken = dict.fromkeys((count // 10, count), 0.0)
    gc.collect()
    tracemalloc.start()
    for n in range(1, count + 1):
        accumulator.add(wire.decode(documents[n % 64]))
        if n in taken:
            taken[n] = tracemalloc.get_traced_memory()[0] / n
    tracemalloc.stop()
    text = accumulator.result().choices[0].message.content
    expected = "".join(texts[n % 64] for n in range(1, count + 1))
    early, late = taken.values()
    if text != expected or late > early * 1.1:
        raise SystemExit(f"{count} chunks held {taken}")
    return {str(number): size for number, size in taken.items()}


def bounds(count: int, step: Callable[[str], None]) -> dict[str, Any]:
    """Run what fails where a bound does not hold, each in a process of its own."""
    found = {}
    for what in ("relayed", "accumulated"):
        step(f"memory: {what}")
        found[what] = _run(what, str(count))
    return found


def decoded_by_peer(count: int, step: Callable[[str], None]) -> dict[str, Any]:
    """Measure what every library holds for a chunk, each in a process of its own."""
    held = {}
    for peer in LIBRARIES:
        step(f"memory: {peer}")
        held[peer] = _run("decoded", peer, str(count))
    return held


def _run(*arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if finished.returncode:
        raise SystemExit(finished.stderr)
    return json.loads(finished.stdout)


def _answer(what: str, *arguments: str) -> Any:
    if what == "decoded":
        peer, count = arguments
        return decoded(peer, int(count))
    (count,) = arguments
    return relayed(int(count)) if what == "relayed" else accumulated(int(count))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(*sys.argv[1:])))
