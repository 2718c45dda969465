"""Where fastchunk gains least: what comes first, because nobody would look for it."""

from __future__ import annotations

from statistics import median

from benchmarks.figures import Results, factor, ratios
from benchmarks.job import OURS, PURE
from benchmarks.jobs.peers import BARE
from benchmarks.jobs.sdks import HTTP

from .cells import rows_of, section

_LEAST = 1.2

Ratios = dict[str, list[float]]
"""By case, how another library's time relates to fastchunk's."""


def least(results: Results) -> str:
    """List what others do about as well, or better: by operation, each with its worst case."""
    rows = sorted(
        (min(_worst(cases) for cases in packages.values() if cases), operation, packages)
        for operation, packages in _found(results).items()
    )
    return section(
        "## Where it gains least",
        f"All that another library does in less than {_LEAST}× fastchunk's time, each with its "
        "worst case, the worst first; below 1 the other one is faster. Dicts have neither types "
        "nor errors; where nobody needs them, dicts are the better choice.",
        rows_of(
            ["its time over fastchunk's", "against", "compiled", "pure"],
            [[*operation, *map(_cell, packages.values())] for _, operation, packages in rows],
        ),
    )


def _found(results: Results) -> dict[tuple[str, str], dict[str, Ratios]]:
    """Return what counts, by operation and other library, then by package."""
    found: dict[tuple[str, str], dict[str, Ratios]] = {}
    for job, summary in results["jobs"].items():
        operation, _, case = job.rpartition("/")
        ours = [peer for peer in summary["peers"] if peer.startswith(OURS)]
        for other in summary["peers"]:
            if other in {*ours, BARE, HTTP}:
                continue
            for peer in ours:
                family = peer.removesuffix(PURE).removeprefix(OURS)
                values = ratios(results, job, peer, other)
                if values and median(values) < _LEAST:
                    row: dict[str, Ratios] = {"": {}, PURE: {}}
                    row = found.setdefault((f"{operation}{family}", other), row)
                    row[PURE if peer.endswith(PURE) else ""][case] = values
    return found


def _worst(cases: Ratios) -> float:
    return min(map(median, cases.values()))


def _cell(cases: Ratios) -> str:
    if not cases:
        return "–"
    worst = min(cases, key=lambda case: median(cases[case]))
    return f"{factor(cases[worst])}: {worst}"
