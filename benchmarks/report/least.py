"""Where fastchunk gains least: what comes first, because nobody would look for it."""

from __future__ import annotations

from statistics import median

from benchmarks.figures import Results, factor, ratios
from benchmarks.job import OURS
from benchmarks.jobs.peers import BARE

from .cells import rows_of, section

_LEAST = 1.2

Worst = dict[tuple[str, str, str], dict[str, list[float]]]
"""By what is measured, package and other library: the ratios of the cases that count here."""


def least(results: Results) -> str:
    """List what the others do about as well, or better, by operation; each with its worst case."""
    found = _found(results)
    rows = []
    for (operation, peer, other), cases in found.items():
        worst = min(cases, key=lambda case: median(cases[case]))
        row = [operation, peer, other, f"{factor(cases[worst])}: {worst}", str(len(cases))]
        rows.append((median(cases[worst]), row))
    return section(
        "## Where it gains least",
        f"All that another library does in less than {_LEAST}× fastchunk's time, the worst first; "
        "below 1 the other one is faster. Dicts have neither types nor errors; where nobody needs "
        "them, dicts are the better choice.",
        rows_of(
            ["measured", "package", "against", "its time over fastchunk's, at worst", "cases"],
            [row for _, row in sorted(rows)],
        ),
    )


def _found(results: Results) -> Worst:
    found: Worst = {}
    for job, summary in results["jobs"].items():
        operation, _, case = job.rpartition("/")
        ours = [peer for peer in summary["peers"] if peer.startswith(OURS)]
        others = [peer for peer in summary["peers"] if peer not in {*ours, BARE}]
        for peer in ours:
            for other in others:
                values = ratios(results, job, peer, other)
                if values and median(values) < _LEAST:
                    found.setdefault((operation, peer, other), {})[case] = values
    return found
