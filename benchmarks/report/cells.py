"""The parts that tables are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.figures import Results, factor, ratios, time_of, times
from benchmarks.job import OURS, PURE
from benchmarks.pages import table

PACKAGES = (OURS, f"{OURS}{PURE}")


def cell(results: Results, job: str, peer: str, against: str) -> str:
    """Write a median and how the other's time relates to it; a dash where nothing was right."""
    taken = times(results, job, peer)
    if not taken:
        return "–"
    found = ratios(results, job, peer, against)
    if not found or peer == against:
        return time_of(median(taken))
    return f"{time_of(median(taken))} · {factor(found)}"


def share(results: Results, job: str, peer: str, against: str) -> str:
    """Write how many times as long `against` takes as `peer`; a dash where nothing was right."""
    found = ratios(results, job, peer, against)
    return factor(found) if found else "–"


def section(title: str, *parts: str) -> str:
    """Put a section together; nothing, if it has no table."""
    if not any(part.startswith(("|", "**")) for part in parts):
        return ""
    return "\n\n".join((title, *(part for part in parts if part)))


def rows_of(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Write the rows that say anything; nothing, if none does."""
    kept = [row for row in rows if any(cell != "–" for cell in row[1:])]
    return table(header, kept) if kept else ""


def cases(results: Results, operation: str) -> list[str]:
    """Return the names of an operation's jobs."""
    return [name for name in results["jobs"] if name.startswith(f"{operation}/")]


def columns(results: Results, operation: str, against: str, *, per: str = "event") -> str:
    """Write one operation's table: a column for each peer, a row for each case."""
    jobs = cases(results, operation)
    if not jobs:
        return ""
    peers = [*results["jobs"][jobs[0]]["peers"]]
    rows = (
        [job.partition("/")[2], *(cell(results, job, peer, against) for peer in peers)]
        for job in jobs
    )
    return rows_of([f"time per {per}", *peers], rows)
