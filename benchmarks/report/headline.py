"""The one table and the one plot that the README shows."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.figures import Results, ratios, slowest
from benchmarks.job import OURS, PURE
from benchmarks.jobs.iterate import ITERATE
from benchmarks.jobs.peers import ROUTER
from benchmarks.jobs.relays import CHANGE, IDENTITY, LOOK
from benchmarks.pages import table
from benchmarks.runs import FOLDER
from benchmarks.streams import CUTS, GENERATED, RECORDED

PLOT = FOLDER / "headline.svg"
_URL = "https://raw.githubusercontent.com/fastchunk/fastchunk/main/bench_results"

WORKS = {
    CHANGE: "change the model",
    IDENTITY: "pass everything on",
    LOOK: "look at every chunk (`on_chunk`)",
    ITERATE: "iterate (`iter_chunks`)",
}
SHOWN = tuple(CUTS)[:3]
_PACKAGES = (OURS, f"{OURS}{PURE}")


def mix_of(results: Results) -> str:
    """Choose the mix to show: the recorded one, if it was measured."""
    measured = any(name.startswith(f"{CHANGE}/{RECORDED}/") for name in results["jobs"])
    return RECORDED if measured else GENERATED


def block(results: Results) -> str:
    """Return the README's block."""
    mix = mix_of(results)
    rows = (
        [
            title,
            *(_both(results, f"{work}/{mix}/{case}") for case in SHOWN),
            _slowest(results, work),
        ]
        for work, title in WORKS.items()
    )
    header = [f"{mix} streams", *SHOWN, "the slowest single stream, 1 event a read"]
    return "\n\n".join(
        (
            f"How many times as fast as the Pydantic path (Ray Serve's model: frame, validate, "
            f"dump), compiled · pure Python, on {_streams(results, mix)}; {results['machine']}, "
            f"CPython {results['versions']['CPython']}:",
            table(header, rows),
            f"![Times as fast as the Pydantic path]({_URL}/{PLOT.name})",
        )
    )


def _streams(results: Results, mix: str) -> str:
    """Say what is compared: what the Pydantic path gets right."""
    job = results["jobs"][f"{CHANGE}/{mix}/{SHOWN[0]}"]
    return f"the {job['peers'][ROUTER]['right']} of {job['parts']} {mix} streams that it takes"


def _both(results: Results, job: str) -> str:
    return " · ".join(_times(results, job, peer) for peer in _PACKAGES)


def _times(results: Results, job: str, peer: str) -> str:
    found = ratios(results, job, peer, ROUTER)
    return f"**{median(found):.1f}×**" if found else "–"


def _slowest(results: Results, work: str) -> str:
    """Name the stream on which each package gains least."""
    job = f"{work}/{mix_of(results)}/{SHOWN[0]}"
    found = [slowest(results, job, peer, ROUTER) for peer in _PACKAGES]
    return " · ".join(f"{one[0]} {one[1]:.1f}×" if one else "–" for one in found)


def draw(results: Results, run: Path) -> None:
    """Draw the table's first numbers."""
    from benchmarks.plots import drawn

    mix = mix_of(results)
    with drawn(PLOT, run, 8, 3.2) as axes:
        for n, peer in enumerate(_PACKAGES):
            found = [ratios(results, f"{work}/{mix}/{SHOWN[0]}", peer, ROUTER) for work in WORKS]
            values = [median(one) if one else 0 for one in found]
            at = [i - 0.2 + 0.4 * n for i in range(len(WORKS))]
            label = "pure Python" if peer.endswith(PURE) else "compiled"
            bars = axes.barh(at, values, height=0.4, label=label)
            axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
        axes.set_yticks(range(len(WORKS)), [title.replace("`", "") for title in WORKS.values()])
        axes.invert_yaxis()
        axes.axvline(1, color="grey", linewidth=0.8)
        axes.set_xlabel("times as fast as the Pydantic path, 1 event a read")
        axes.set_title(f"On {_streams(results, mix)}", fontsize=10)
        axes.legend(fontsize=8)
