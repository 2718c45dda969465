"""From one end-to-end run's results to the README's tables and plot."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

from matplotlib import pyplot as plt

from .end_to_end_peers import CONTROL, PASS, PYDANTIC
from .rendering import begin_plots, save_plot, table

Results = dict[str, Any]
Passes = dict[str, list[dict[str, float]]]
"""By peer, what each pass measured at one cell."""

_RESAMPLES = 2000


def blocks(results: Results, plot: str) -> dict[str, str]:
    """Return the README's generated blocks by name."""
    paced, full = results["paced"], results["full"]
    parts = [
        _run(results),
        "**Processor time of the gateway's process, for each event, paced streams**",
        _table(paced, _time),
        "**Processor time added to that of the pass-through, and how many times as much the "
        f"{PYDANTIC} adds**",
        _table(_well_measured(paced), _added),
        "**Latency added from the upstream's write to the client's read: median · p99**",
        _table(paced, _latency),
        "**Events a second at full speed**",
        _table(full, _rate),
        "**Memory of the gateway's process: at rest, and at most**",
        _memory(results),
        _many(results["many"]),
    ]
    return {
        "end-to-end": "\n\n".join(parts),
        "end-to-end-plot": f"![Processor time a gateway takes for each event]({plot})",
    }


def added(passes: Passes, peer: str) -> list[float]:
    """Return the processor time that a peer adds to an event, pass by pass, in nanoseconds."""
    own = [one["cpu"] for one in passes[peer]]
    return [cpu - base for cpu, base in zip(own, _base(passes), strict=True)]


def _base(passes: Passes) -> list[float]:
    """Return the pass-through's processor time, which each pass measures twice."""
    pairs = zip(passes[PASS], passes[CONTROL], strict=True)
    return [mean((one["cpu"], other["cpu"])) for one, other in pairs]


def ratios(passes: Passes, peer: str) -> list[float]:
    """Return a peer's processor time over the pass-through's, pass by pass."""
    own = [one["cpu"] for one in passes[peer]]
    return [cpu / base for cpu, base in zip(own, _base(passes), strict=True)]


def factor(passes: Passes, peer: str) -> tuple[float, float, float]:
    """Return how many times as much the Pydantic path adds, and a 90 % interval of it.

    Of a single pass it says little: what a peer adds can be less than what passes differ by. So it
    is the ratio of medians, and the interval comes from resampling the passes (bootstrap).
    """
    pairs = [*zip(added(passes, PYDANTIC), added(passes, peer), strict=True)]
    rng = random.Random(1)
    resampled = sorted(_factor(rng.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLES))
    return _factor(pairs), resampled[_RESAMPLES // 20], resampled[-_RESAMPLES // 20]


def _factor(pairs: Sequence[tuple[float, float]]) -> float:
    theirs, ours = (median(values) for values in zip(*pairs, strict=True))
    return theirs / ours if ours > 0 else float("inf")


def _well_measured(cells: dict[str, Passes]) -> dict[str, Passes]:
    """Choose the cells that have passes enough for differences."""
    most = max(len(passes[PASS]) for passes in cells.values())
    return {name: passes for name, passes in cells.items() if 2 * len(passes[PASS]) > most}


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the quartiles; of few values the lowest and the highest."""
    if len(values) < 5:
        return min(values), max(values)
    low, _, high = quantiles(values, n=4)
    return low, high


def _table(cells: dict[str, Passes], cell: Callable[[Passes, str], str]) -> str:
    header = ["", *cells]
    peers = next(iter(cells.values()))
    rows = [[peer, *(cell(passes, peer) for passes in cells.values())] for peer in peers]
    return table(header, rows)


def _time(passes: Passes, peer: str) -> str:
    taken = f"{median(one['cpu'] for one in passes[peer]) / 1000:.1f} µs"
    if peer == PASS:
        return taken
    values = ratios(passes, peer)
    low, high = _spread(values)
    return f"{taken} · **{median(values):.2f}×** ({low:.2f}–{high:.2f})"


def _added(passes: Passes, peer: str) -> str:
    if peer == PASS:
        return "–"
    values = added(passes, peer)
    low, high = (value / 1000 for value in _spread(values))
    text = f"{median(values) / 1000:.2f} µs ({low:.2f} to {high:.2f})"
    if peer in {CONTROL, PYDANTIC}:
        return text
    times, least, most = factor(passes, peer)
    return f"{text} · **{times:.1f}×** ({least:.1f}–{most:.1f})".replace("inf", "∞")


def _latency(passes: Passes, peer: str) -> str:
    p50, p99 = (median(one[key] for one in passes[peer]) / 1e6 for key in ("p50", "p99"))
    return f"{p50:.2f} ms · {p99:.2f} ms"


def _rate(passes: Passes, peer: str) -> str:
    rate = f"{median(one['rate'] for one in passes[peer]):,.0f}"
    if peer == PASS:
        return rate
    pairs = zip(passes[peer], passes[PASS], strict=True)
    return f"{rate} · **{median(own['rate'] / base['rate'] for own, base in pairs):.2f}×**"


def _memory(results: Results) -> str:
    """Write one column for all cells: what a process once had, Python seldom gives back."""
    resting: Passes = {peer: [{"memory": size}] for peer, size in results["resting"].items()}
    cells = [*results["paced"].values(), *results["full"].values()]
    loaded: Passes = {peer: [one for cell in cells for one in cell[peer]] for peer in resting}

    def most(passes: Passes, peer: str) -> str:
        return f"{max(one['memory'] for one in passes[peer]) / 2**20:.0f} MiB"

    return _table({"at rest": resting, "at most, under all these loads": loaded}, most)


def _many(many: dict[str, float]) -> str:
    return (
        f"{many['streams']:,} streams at full speed through the restamping relay, {many['slow']} "
        "of them to clients that read nothing until the others have read everything: all "
        f"{many['events']:,} events arrived complete and in order, the upstreams of the slow "
        f"clients were held back, and the gateway's memory grew by {many['held'] / 2**20:.0f} MiB "
        "at most."
    )


def _run(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    passes = ", ".join(f"{len(cell[PASS])} ({name})" for name, cell in results["paced"].items())
    return (
        f"Measured {results['date']} at commit {results['commit']} on {results['machine']}. Passes "
        f"of paced streams: {passes}; {len(next(iter(results['full'].values()))[PASS])} at full "
        f"speed. {versions}."
    )


def plot(results: Results, path: Path, description: str) -> None:
    """Draw what each peer adds to the pass-through."""
    begin_plots()
    cells = _well_measured(results["paced"])
    figure, all_axes = plt.subplots(1, len(cells), figsize=(9, 3.6), layout="constrained")
    for axes, (name, passes) in zip(all_axes, cells.items(), strict=True):
        base = median(_base(passes)) / 1000
        peers = [peer for peer in passes if peer not in {PASS, CONTROL}]
        values = [median(added(passes, peer)) / 1000 for peer in peers]
        axes.barh(peers, base, color="lightgrey", label="pass-through")
        bars = axes.barh(peers, values, left=base, label="added")
        axes.bar_label(bars, [f"{value:+.1f}" for value in values], fontsize=7, padding=2)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("µs of processor time an event")
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].legend(fontsize=8)
    save_plot(figure, path, description)
