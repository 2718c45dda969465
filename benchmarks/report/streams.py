"""The sections about streams, mix by mix."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.figures import Results, by_part, slowest, time_of
from benchmarks.job import PURE
from benchmarks.jobs.iterate import ITERATE
from benchmarks.jobs.peers import BARE, DICTS, ROUTER
from benchmarks.jobs.relays import CHANGE, LOOK, TEXT_WORKS, WORKS
from benchmarks.streams import CUTS, GENERATED, LONG, RECORDED, TEXT

from .cells import PACKAGES, cell, rows_of, section, share

_FIRST = next(iter(CUTS))
_TITLES = {
    RECORDED: "Recorded streams",
    GENERATED: "Generated streams of shapes that nobody tuned to",
    TEXT: "Ray's text deltas",
}


def streams(results: Results) -> Iterable[str]:
    """Return a section for each mix."""
    return (_mix(results, mix) for mix in _TITLES)


def _mix(results: Results, mix: str) -> str:
    works = [*WORKS, *(TEXT_WORKS if mix == TEXT else ()), ITERATE]
    both = [(work, peer) for work in works for peer in PACKAGES]

    def rows(cell: Callable[[str, str], str]) -> Iterable[list[str]]:
        return (
            [_row(work, peer), *(cell(f"{work}/{mix}/{case}", peer) for case in CUTS)]
            for work, peer in both
        )

    return section(
        f"### {_TITLES[mix]}",
        _parts(results, mix),
        rows_of(
            ["time an event, and times the Pydantic path", *CUTS],
            rows(lambda job, peer: cell(results, job, peer, ROUTER)),
        ),
        rows_of(
            ["times orjson dicts", *CUTS],
            rows(lambda job, peer: share(results, job, peer, DICTS)),
        ),
        rows_of(
            ["over bare msgspec's time", *CUTS],
            (
                [_row(ITERATE, peer), *_over_bare(results, f"{ITERATE}/{mix}", peer)]
                for peer in PACKAGES
            ),
        ),
        _slowest(results, mix, both),
        _shapes(results) if mix == GENERATED else "",
    )


def _row(work: str, peer: str) -> str:
    return f"{work}{PURE}" if peer.endswith(PURE) else work


def _over_bare(results: Results, operation: str, peer: str) -> Iterable[str]:
    """Say how many times as long a peer takes as bare msgspec, cut by cut."""
    return (share(results, f"{operation}/{case}", BARE, peer) for case in CUTS)


def _parts(results: Results, mix: str) -> str:
    job = results["jobs"].get(f"{CHANGE}/{mix}/{_FIRST}")
    if job is None or job["parts"] == 1:
        return ""
    right = job["peers"].get(ROUTER, {}).get("right", 0)
    return (
        f"{job['parts']} streams, each event of which counts the same. Ray's model takes every "
        f"event of {right} of them; ratios to it are over those. Streams that end in an error are "
        "not iterated over."
    )


def _slowest(results: Results, mix: str, both: Iterable[tuple[str, str]]) -> str:
    """Name the stream where each gains least, and the one where an event takes longest."""
    rows = []
    for work, peer in both:
        job = f"{work}/{mix}/{_FIRST}"
        taken = by_part(results, job, peer)
        if not taken:
            continue
        longest = max(taken, key=lambda name: taken[name])
        least = (slowest(results, job, peer, ROUTER, shortest) for shortest in (1, LONG))
        shares = [f"{one[0]}: **{one[1]:.1f}×**" if one else "–" for one in least]
        rows.append([_row(work, peer), *shares, f"{longest}: {time_of(taken[longest])}"])
    header = [
        f"the slowest single streams, {_FIRST}",
        "times the Pydantic path",
        f"of those of {LONG} events or more",
        "time an event",
    ]
    return rows_of(header, rows)


def _shapes(results: Results) -> str:
    """Write a row for each generated stream."""
    works = (CHANGE, LOOK, ITERATE)
    jobs = [(f"{work}/{GENERATED}/{_FIRST}", peer) for work in works for peer in PACKAGES]
    names = by_part(results, jobs[0][0], ROUTER) | by_part(results, jobs[0][0], DICTS)
    header = [f"each stream, {_FIRST}", *(_row(job.partition("/")[0], peer) for job, peer in jobs)]
    rows = ([name, *(_share(results, job, peer, name) for job, peer in jobs)] for name in names)
    return rows_of(header, rows)


def _share(results: Results, job: str, peer: str, name: str) -> str:
    ours, theirs = by_part(results, job, peer), by_part(results, job, ROUTER)
    if name not in ours:
        return "–"
    times_ = f" · **{theirs[name] / ours[name]:.1f}×**" if name in theirs else ""
    return f"{time_of(ours[name])}{times_}"
