"""The section about gateways side by side, and the README's line about them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median

from benchmarks.figures import quartiles
from benchmarks.gateways import own
from benchmarks.gateways.fidelity import BYTES, MODEL_ONLY, STREAMS, Loss
from benchmarks.gateways.figures import Results, cost, keeps_pace, ratio, ratios
from benchmarks.gateways.own import REFERENCE
from benchmarks.pages import table
from benchmarks.runs import FOLDER

PLOT = FOLDER / "gateways.svg"

_PAGE = "https://github.com/fastchunk/fastchunk/blob/main/docs/benchmarks.md"
_TITLE = "## Gateways side by side"
_REQUESTS = "R"
_SHOWN = 4

_ABOUT = """\
What another gateway costs, and what it loses. Each runs in an environment of its own, as its \
documentation says, with one worker or process and without access logs where that can be chosen; \
all run from the beginning to the end, before one upstream, on the loopback interface. In every \
pass all take their turn at every load, and **a number is the processor time of all of a \
gateway's processes for an event, over that of an ordinary pass-through in the same pass**: the \
median over the passes, with the quartiles. The reference hands on the bytes that came, as one \
writes it on aiohttp and Starlette: it is `fastchunk.gateway` as it was until 0.2, with a task \
that waits for each read and each write. It runs twice: what the control differs by is what this \
machine cannot tell apart. Every stream that is timed was checked: all texts are there, in order, \
with the finish reason and `[DONE]`; what else is gone is said below."""
_BIAS = """\
**Bias.** The authors of fastchunk chose the gateways, the loads and the reference, and set up all \
of them; nobody tuned the others. They do not do the same: nginx, HAProxy and Caddy know nothing \
of models, the routers choose a worker and count, TensorZero and LiteLLM translate between \
providers, count tokens and keep accounts. Whoever needs that pays for more than a relay. Memory, \
latency, many workers and TLS are not compared here."""
_PACE = """\
†: it did not keep pace with the upstream. What waits is read together, so that an event costs it \
less than it would at this rate with more processors."""
_LOST = """\
**What is gone.** Six recorded streams went through each, an event a write, and both sides were \
read with Python's `json` alone. The model's name is left out, because some are there to change \
it. A key counts as lost where no event has a value for it any more, as changed where its values \
are others; `choices[]` and `delta` are left out of its path."""


def section(results: Results) -> str:
    """Return the section."""
    return "\n\n".join(filter(None, _parts(results)))


def _parts(results: Results) -> Iterable[str]:
    yield _TITLE
    yield _ABOUT
    yield _run(results)
    yield f"![A gateway's processor time for an event]({_picture()})"
    yield _ratios(results)
    if any("†" in _cell(results, *one) for one in _places(results)):
        yield _PACE
    yield _BIAS
    if results["losses"]:
        yield _LOST
        yield _without_loss(results["losses"])
        yield _losses(results["losses"])
    yield "**What was compared**"
    yield _peers(results)
    yield _absent(results["absent"])


def _picture() -> str:
    return f"../bench_results/{PLOT.name}"


def _run(results: Results) -> str:
    loads = "; ".join(f"**{cell}**: {about}" for cell, about in results["about"].items())
    fewest = min(len(each) for cell in results["cells"].values() for each in cell.values())
    slow = f", of which slow gateways took part in {fewest}" if fewest < results["passes"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"{loads}. Measured {results['date']} at commit {results['commit']} on "
        f"{results['machine']}; {results['passes']} passes{slow}. {versions}."
    )


def _ratios(results: Results) -> str:
    rows = (
        [name, *(_cell(results, cell, name) for cell in results["cells"])]
        for name in _names(results)
    )
    return table(["processor time", *results["cells"]], rows)


def _names(results: Results) -> list[str]:
    """Return our own gateways, then the others by what an event costs them."""
    first = next(iter(results["cells"]))
    others = [name for name in results["peers"] if name not in own.NAMES]
    others.sort(key=lambda name: ratio(results, first, name))
    return [*(name for name in own.NAMES if name in results["peers"]), *others]


def _places(results: Results) -> Iterable[tuple[str, str]]:
    return ((cell, name) for cell in results["cells"] for name in results["peers"])


def _cell(results: Results, cell: str, name: str) -> str:
    if name == REFERENCE:
        taken = cost(results, cell)
        low, high = (value / 1000 for value in quartiles(taken))
        per = "a request" if cell == _REQUESTS else "an event"
        return f"1 = {median(taken) / 1000:.1f} µs {per} ({low:.1f}–{high:.1f})"
    found = ratios(results, cell, name)
    low, high = quartiles(found)
    behind = cell != _REQUESTS and not keeps_pace(results, cell, name)
    return f"**{_times(median(found))}** ({_number(low)}–{_number(high)}){' †' * behind}"


def _times(value: float) -> str:
    return f"{_number(value)}×"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


# --- what is gone ---


def _without_loss(losses: dict[str, dict[str, Loss]]) -> str:
    """Name those that lose nothing, by how much alike the streams are."""
    lines = []
    for same in (BYTES, MODEL_ONLY):
        names = [name for name, each in losses.items() if _alike(each) == same]
        if names:
            lines.append(f"- {same}, all six: {' · '.join(names)}")
    return "\n".join(lines)


def _alike(losses: dict[str, Loss]) -> str:
    """Return what is said of all streams alike; nothing where they differ."""
    (same, *others) = {loss.get("same", "") for loss in losses.values()}
    return "" if others else same


def _losses(losses: dict[str, dict[str, Loss]]) -> str:
    rows = [
        [name, *(_loss(each[title]) for title in STREAMS)]
        for name, each in losses.items()
        if _alike(each) not in {BYTES, MODEL_ONLY}
    ]
    return table(["what is not the same", *STREAMS], rows) if rows else ""


def _loss(loss: Loss) -> str:
    if "failed" in loss:
        return f"no answer: {loss['failed']}"
    if "same" in loss:
        same: str = loss["same"]
        return same
    found = [
        "broken off" if "cut" in loss else "",
        _lost(loss),
        _keys("changed", loss.get("changed", [])),
        _keys("added", loss.get("added", [])),
        _count(len(loss.get("nulls", [])), "key that is null", "keys that are null", "added"),
    ]
    return "; ".join(filter(None, found))


def _lost(loss: Loss) -> str:
    events = loss.get("events", 0)
    whole = [
        _count(events, "event", "events"),
        _count(loss.get("comments", 0), "comment", "comments"),
        "`[DONE]`" if loss.get("done") else "",
        *(f"`{line}`" for line in loss.get("fields", [])),
    ]
    keys = _named(loss.get("lost", []))
    what = ", ".join(filter(None, [*whole, keys]))
    more = _count(-events, "event", "events", "more")
    return "; ".join(filter(None, [f"lost {what}" if what else "", more]))


def _keys(what: str, paths: list[str]) -> str:
    return f"{what} {_named(paths)}" if paths else ""


def _named(paths: list[str]) -> str:
    """Name keys, the first few of them; errors and texts come first."""
    short = [path.removeprefix("choices[].").removeprefix("delta.") for path in paths]
    short.sort(
        key=lambda path: not path.startswith(("error", "reasoning", "content", "tool_calls"))
    )
    named = [f"`{path}`" for path in short[:_SHOWN]]
    if rest := len(short) - len(named):
        named.append(f"{rest} more")
    return ", ".join(named)


def _count(number: int, one: str, many: str, behind: str = "") -> str:
    return f"{number} {one if number == 1 else many} {behind}".strip() if number > 0 else ""


# --- who ---


def _peers(results: Results) -> str:
    rows = [
        [name, peer["about"], _versions(peer["versions"])]
        for name, peer in ((name, results["peers"][name]) for name in _names(results))
    ]
    return table(["gateway", "how it runs", "version"], rows)


def _versions(versions: dict[str, str]) -> str:
    shown = ", ".join(f"{name} {one}" for name, one in versions.items() if name != "installed")
    date = versions.get("installed")
    return f"{shown}; installed {date}" if date else shown or "this checkout"


def _absent(absent: dict[str, str]) -> str:
    return "Not in the table: " + "; ".join(f"{name}: {why}" for name, why in absent.items()) + "."


# --- elsewhere ---


def line(results: Results) -> str:
    """Return the README's line: all of one load, and our own under the one that is worst for it."""
    cell = next(iter(results["cells"]))
    names = [name for name in _names(results) if name not in own.NAMES or name in own.CHANGING]
    found = " · ".join(f"{name} {_times(ratio(results, cell, name))}" for name in names)
    worst = " · ".join(_worst(results, name) for name in names if name in own.CHANGING)
    return (
        "What a gateway's processes take for an event, over an ordinary pass-through on aiohttp "
        f"and Starlette ({results['about'][cell]}): {found}. [How, and what each of them loses]"
        f"({_PAGE}#gateways-side-by-side). Under the load that is worst for it: {worst}."
    )


def _worst(results: Results, name: str) -> str:
    of_cells = {cell: ratio(results, cell, name) for cell in results["cells"]}
    worst = max(of_cells, key=of_cells.__getitem__)
    return f"{name} {_times(of_cells[worst])} ({results['about'][worst]})"


def draw(results: Results, run: Path) -> None:
    """Draw the ratios of the first load, and of requests."""
    from benchmarks.plots import drawn

    cells = [next(iter(results["cells"])), _REQUESTS]
    names = [name for name in _names(results) if name != REFERENCE]
    with drawn(PLOT, run, 9, 4.2, len(cells)) as all_axes:
        for axes, cell in zip(all_axes, cells, strict=True):
            found = [ratios(results, cell, name) for name in names]
            values = [median(one) for one in found]
            ends = [quartiles(one) for one in found]
            below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
            above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
            axes.barh(names, values, xerr=[below, above], color="tab:blue", ecolor="grey")
            for row, (value, (_, high)) in enumerate(zip(values, ends, strict=True)):
                at = max(value, high) * 1.08
                axes.text(at, row, _times(value), fontsize=7, verticalalignment="center")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.axvline(1, color="grey", linewidth=0.8)
            axes.invert_yaxis()
            axes.margins(x=0.15)
            axes.set_title(results["about"][cell], fontsize=8)
            axes.set_xlabel("processor time over an ordinary pass-through's")
            axes.tick_params(labelleft=axes is all_axes[0], labelsize=8)
