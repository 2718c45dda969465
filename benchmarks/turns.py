"""Timing: the peers of each job take turns, pass after pass.

In:  jobs.
Out: for each job and peer, the nanoseconds that an event or a chunk took in each pass.

A machine whose speed drifts is as slow for one peer as for the next, because each has its turn
within some hundredths of a second. So what counts is the ratio of two peers within a pass.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from math import ceil
from statistics import median
from time import perf_counter_ns
from typing import Any, Protocol

import fastchunk

from .job import OURS, PURE, Job, Mismatch, Part, Run

_TURN = 6_000_000  # ns: a turn lasts at least so long, or the clock and the caches are what counts
_READING = 64  # calls: a single reading of the clock covers at least so many

Turn = Callable[[], list[float | None]]
"""Runs all parts and returns the nanoseconds a call for each; None for one that is left out."""


class OtherPackage(Protocol):
    """Measures this library's own peers a second time, as the pure package."""

    def prepare(self, job: Job, peer: str) -> Turn:
        """Check a peer there, and return what takes its turns."""

    def hold_still(self) -> None:
        """Do there what `hold_still` does here."""


Step = Callable[[str], None]
"""Is told what happens next, for the progress bar."""


def prepare(job: Job, peer: str) -> Turn:
    """Check a peer's result for every part, and return what takes its turns."""
    run = job.peers[peer]()
    taken = [_check(job, peer, part, run) for part in job.parts]
    total = sum(time for time in taken if time is not None)
    scale = ceil(_TURN / total) if total else 1
    loops = [
        None if time is None else scale * ceil(_READING / part.calls)
        for part, time in zip(job.parts, taken, strict=True)
    ]

    def turn() -> list[float | None]:
        gc.collect()
        return [
            None if times is None else _time(run, part, times)
            for part, times in zip(job.parts, loops, strict=True)
        ]

    return turn


def _check(job: Job, peer: str, part: Part, run: Run) -> float | None:
    """Return what a run takes, in ns, or None if its result is wrong and may be."""
    try:
        job.check(peer, part, run(part.given))
    except (Mismatch, ValueError) as error:
        if peer in job.may_fail:
            return None
        raise SystemExit(f"{job.name}, {part.name}: {peer} is wrong: {error}") from error
    return _time(run, part, 1) * part.calls * ceil(_READING / part.calls)


def _time(run: Run, part: Part, times: int) -> float:
    given, loop = part.given, range(times)
    begin = perf_counter_ns()
    for _ in loop:
        run(given)
    return (perf_counter_ns() - begin) / (times * part.calls)


def _turns(job: Job, pure: OtherPackage) -> dict[str, Turn]:
    """Prepare every peer of a job; this library's own, compiled and pure."""
    turns = {}
    for peer in job.peers:
        if not peer.startswith(OURS) or fastchunk.compiled:
            turns[peer] = prepare(job, peer)
        if peer.startswith(OURS):
            turns[f"{peer}{PURE}"] = pure.prepare(job, peer)
    return turns


def check(jobs: Iterable[Job], pure: OtherPackage, step: Step) -> list[str]:
    """Check every result without timing it; return a line for each job."""
    lines = []
    for job in jobs:
        step(job.name)
        peers = _turns(job, pure)
        lines.append(f"{job.name}: {' · '.join(peers)}")
    return lines


def measure(jobs: Iterable[Job], pure: OtherPackage, passes: int, step: Step) -> dict[str, Any]:
    """Time all jobs, `passes` times over."""
    ready = []
    for job in jobs:
        step(f"checking {job.name}")
        ready.append((job, _turns(job, pure)))
    taken: dict[str, dict[str, list[list[float | None]]]] = {
        job.name: {peer: [] for peer in turns} for job, turns in ready
    }
    hold_still()
    pure.hold_still()
    for n in range(passes):
        for job, turns in ready:
            step(f"pass {n + 1} of {passes}: {job.name}")
            for peer, turn in turns.items():
                taken[job.name][peer].append(turn())
    return {job.name: summarise(job.parts, taken[job.name]) for job, _ in ready}


def hold_still() -> None:
    """Let the garbage collector run between turns alone.

    In a turn it would strike peers at random. That takes an advantage from the Structs, which it
    skips. What is here already is not walked again.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def summarise(parts: Iterable[Part], taken: dict[str, list[list[float | None]]]) -> dict[str, Any]:
    """Make of all readings what is kept: times a call, pass by pass, and medians by part.

    `all` is over the parts that the peer itself gets right; `common` over those that every peer
    gets right, for ratios. Each event counts the same, so long parts weigh more.
    """
    parts = list(parts)
    right = {
        peer: [n for n, time in enumerate(passes[0]) if time is not None]
        for peer, passes in taken.items()
    }
    common = [n for n in range(len(parts)) if all(n in numbers for numbers in right.values())]

    def per_call(passes: list[list[float | None]], numbers: list[int]) -> list[float]:
        calls = sum(parts[n].calls for n in numbers)
        return [
            _round(sum((one[n] or 0) * parts[n].calls for n in numbers) / calls) for one in passes
        ]

    summary: dict[str, Any] = {
        "peers": {
            peer: {
                "all": per_call(passes, right[peer]) if right[peer] else [],
                "common": per_call(passes, common) if common else [],
                "right": len(right[peer]),
            }
            for peer, passes in taken.items()
        },
        "parts": len(parts),
    }
    if len(parts) > 1:
        summary["by part"] = {
            parts[n].name: {"calls": parts[n].calls}
            | {
                peer: _round(median(one[n] or 0 for one in passes))
                for peer, passes in taken.items()
                if n in right[peer]
            }
            for n in range(len(parts))
        }
    return summary


def _round(nanoseconds: float) -> float:
    return float(f"{nanoseconds:.4g}")
