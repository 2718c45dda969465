"""The section about gateways as a whole, with sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.end_to_end.figures import Passes, added, costs, factor, ratio, well_measured
from benchmarks.end_to_end.gateways import CONTROL, PYDANTIC, REFERENCE
from benchmarks.figures import Results, quartiles
from benchmarks.pages import table
from benchmarks.runs import FOLDER

PLOT = FOLDER / "end_to_end.svg"

_ABOUT = """\
## End to end

What of all this is left in a running gateway: `fastchunk.gateway` in a process of its own, an \
upstream and clients in two others, all on the loopback interface. Between the gateways nothing \
differs but the function that a read goes through. Sockets and HTTP take most of the time, and \
what any library adds comes on top: **it does not matter for a gateway whose core is mostly \
idle**, and where orjson's dicts will do, the difference to them is a few microseconds. It matters \
to a process near its limit, most where a read brings several events, and to one that would \
otherwise put the openai client or Pydantic models in the middle.

The pass-through runs twice in every pass. One is the reference of all ratios, the other the \
control: **what the control differs by is what this machine cannot tell apart.** A ratio is that \
of the two medians, a difference likewise. In brackets are the quartiles over the passes and, \
behind the factor by which the Pydantic path adds more, a 90 % interval. At full speed a read \
holds as many events as have come."""


def section(results: Results) -> str:
    """Return the section."""
    paced, full = results["paced"], results["full"]
    parts = [
        _ABOUT,
        _run(results),
        f"![Processor time a gateway takes for each event](../bench_results/{PLOT.name})",
        "**Processor time of the gateway's process, for each event, paced streams**",
        _table(paced, _time),
        "**The same over the reference's**",
        _table(paced, _ratio),
        "**Processor time added to the reference's, and how many times as much the "
        f"{PYDANTIC} adds**",
        _table(well_measured(paced), _added),
        "**Latency added from the upstream's write to the client's read: median · p99**",
        _table(paced, _latency),
        "**Events a second at full speed**",
        _table(full, _rate),
        "**Memory of the gateway's process: at rest, and at most**",
        _memory(results),
        _many(results["many"]),
    ]
    return "\n\n".join(parts)


def _table(cells: dict[str, Passes], cell: Callable[[Passes, str], str]) -> str:
    header = ["", *cells]
    gateways = next(iter(cells.values()))
    rows = ([one, *(cell(passes, one) for passes in cells.values())] for one in gateways)
    return table(header, rows)


def _time(passes: Passes, gateway: str) -> str:
    taken = costs(passes, gateway)
    low, high = quartiles(taken)
    return f"{median(taken) / 1000:.1f} µs ({low / 1000:.1f}–{high / 1000:.1f})"


def _ratio(passes: Passes, gateway: str) -> str:
    if gateway == REFERENCE:
        return "1"
    of_medians, each = ratio(passes, gateway)
    low, high = quartiles(each)
    return f"**{of_medians:.2f}×** ({low:.2f}–{high:.2f})"


def _added(passes: Passes, gateway: str) -> str:
    if gateway == REFERENCE:
        return "–"
    of_medians, each = added(passes, gateway)
    low, high = (value / 1000 for value in quartiles(each))
    text = f"{of_medians / 1000:.2f} µs ({low:.2f} to {high:.2f})"
    if gateway in {CONTROL, PYDANTIC}:
        return text
    times, least, most = factor(passes, gateway)
    shown = f"{times:.1f}×" if times < float("inf") else "more than can be told"
    return f"{text} · **{shown}** ({least:.1f}–{most:.1f})".replace("inf", "∞")


def _latency(passes: Passes, gateway: str) -> str:
    p50, p99 = (median(one[key] for one in passes[gateway]) / 1e6 for key in ("p50", "p99"))
    return f"{p50:.2f} ms · {p99:.2f} ms"


def _rate(passes: Passes, gateway: str) -> str:
    rate = f"{median(one['rate'] for one in passes[gateway]):,.0f}"
    if gateway == REFERENCE:
        return rate
    of_medians, each = ratio(passes, gateway, "rate")
    low, high = quartiles(each)
    return f"{rate} · **{of_medians:.2f}×** ({low:.2f}–{high:.2f})"


def _memory(results: Results) -> str:
    """Write one column for all cells: what a process once had, Python seldom gives back."""
    resting: Passes = {gateway: [{"memory": size}] for gateway, size in results["resting"].items()}
    cells = [*results["paced"].values(), *results["full"].values()]
    loaded: Passes = {
        gateway: [one for cell in cells for one in cell[gateway]] for gateway in resting
    }

    def most(passes: Passes, gateway: str) -> str:
        return f"{max(one['memory'] for one in passes[gateway]) / 2**20:.0f} MiB"

    return _table({"at rest": resting, "at most, under all these loads": loaded}, most)


def _many(many: dict[str, float]) -> str:
    return (
        f"{many['streams']:,} streams at full speed through the relay that changes the model, "
        f"{many['slow']} of them to clients that read nothing until the others have read all: "
        f"{many['events']:,} events arrived complete and in order, the upstreams of the slow "
        f"clients were held back, and the gateway's memory grew by {many['held'] / 2**20:.0f} MiB "
        "at most."
    )


def _run(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    full = len(next(iter(results["full"].values()))[REFERENCE])
    passes = ", ".join(
        f"{len(cell[REFERENCE])} ({name})" for name, cell in results["paced"].items()
    )
    return (
        f"Measured {results['date']} at commit {results['commit']} on {results['machine']}. Passes "
        f"of paced streams: {passes}; at full speed {full}. {versions}."
    )


def draw(results: Results, run: Path) -> None:
    """Draw what each gateway adds to the reference."""
    from benchmarks.plots import drawn

    cells = well_measured(results["paced"])
    with drawn(PLOT, run, 9, 3.6, len(cells)) as all_axes:
        for axes, (name, passes) in zip(all_axes, cells.items(), strict=True):
            base = median(costs(passes, REFERENCE)) / 1000
            gateways = [gateway for gateway in passes if gateway != REFERENCE]
            values = [added(passes, gateway)[0] / 1000 for gateway in gateways]
            axes.barh(gateways, base, color="lightgrey", label=REFERENCE)
            axes.barh(gateways, values, left=base, label="added")
            for row, value in enumerate(values):
                at = base + max(value, 0)
                axes.text(at, row, f" {value:+.1f}", fontsize=7, verticalalignment="center")
            axes.invert_yaxis()
            axes.margins(x=0.12)
            axes.set_title(name, fontsize=9)
            axes.set_xlabel("µs of processor time an event")
            axes.tick_params(labelleft=axes is all_axes[0])
        all_axes[0].legend(fontsize=8, loc="center right")
