"""From one run's results to the README's tables and plot; nothing here is typed by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import pyplot as plt

from . import end_to_end_report
from .rendering import begin_plots, save_plot, table
from .stream_peers import READS, name_of

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "bench_results"
PLOT = RESULTS / "codec.svg"
END_TO_END_PLOT = RESULTS / "end_to_end.svg"

ORACLE = "Pydantic model"
FLOOR = "msgspec, same Structs"
ROUTER = "Pydantic path"
DICTS = "orjson dicts"
Results = dict[str, Any]

OPERATIONS = {
    "decode": "Decode: bytes to a chunk",
    "encode": "Encode: a chunk to bytes",
    "restamp": "Restamp: decode, change the model's name, encode",
    "pickle": "Pickle: there and back",
}

RELAYS = {
    "relay identity": "pass everything on",
    "relay restamp": "change the model's name",
    "relay look": "look at every chunk",
    "relay restamp and look": "look at every chunk, change the model's name",
    "relay strip usage": "take the usage out",
    "relay redact": "replace every chunk's text",
    "relay redact unknown keys": "the same, of chunks with unknown keys",
}
_READS = [name_of(events) for events in READS]


def newest() -> Path | None:
    """Return the newest run's file."""
    return max(RESULTS.glob("[0-9]*.json"), default=None)


def newest_end_to_end() -> Path | None:
    """Return the file of the newest end-to-end run."""
    return max(RESULTS.glob("end-to-end-*.json"), default=None)


def ratios(results: Results, key: str, peer: str, against: str) -> list[float]:
    """Return how many times as long `against` takes as `peer`, pass by pass."""
    timings = results["timings"].get(key, {})
    return [
        theirs / ours
        for ours, theirs in zip(timings.get(peer, []), timings.get(against, []), strict=False)
        if ours is not None and theirs is not None
    ]


def _time(nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:.2f} µs" if nanoseconds >= 1000 else f"{nanoseconds:.0f} ns"


def _cell(results: Results, key: str, peer: str, oracle: str = ORACLE) -> str:
    """Write a median and how the oracle's time relates to it; a dash where nothing was right."""
    taken = [t for t in results["timings"].get(key, {}).get(peer, []) if t is not None]
    against = ratios(results, key, peer, oracle)
    if not taken:
        return "–"
    if not against or peer == oracle:
        return _time(median(taken))
    return f"{_time(median(taken))} · {_times(against)}"


def _times(against: list[float]) -> str:
    return f"**{median(against):.1f}×** ({min(against):.1f}–{max(against):.1f})"


def _operation(results: Results, operation: str) -> str:
    keys = [key for key in results["timings"] if key.startswith(f"{operation}/")]
    rows = (
        [key.partition("/")[2], *(_cell(results, key, peer) for peer in results["peers"])]
        for key in keys
    )
    return table(["", *results["peers"]], rows)


def _overhead(results: Results) -> str:
    rows = []
    for key in results["timings"]:
        operation, _, case = key.partition("/")
        values = ratios(results, key, FLOOR, "fastchunk")
        if operation in {"decode", "encode", "build"} and values:
            rows.append([operation, case, f"{median(values):.2f}×"])
    return table(["", "case", "fastchunk's time over bare msgspec's"], rows)


def _memory(results: Results) -> str:
    cases = list(results["memory"][ORACLE])
    rows = ([case, *(_bytes(results, peer, case) for peer in results["peers"])] for case in cases)
    return table(["held per decoded chunk", *results["peers"]], rows)


def _bytes(results: Results, peer: str, case: str) -> str:
    held = results["memory"][peer].get(case)
    if held is None:
        return "–"
    return f"{held:,.0f} B ({held / results['memory'][ORACLE][case]:.2f})"


def _imports(results: Results) -> str:
    start = median(results["imports"]["nothing"])
    rows = (
        [name, f"{(median(times) - start) * 1000:,.0f} ms"]
        for name, times in results["imports"].items()
        if name != "nothing"
    )
    return table(["import, on top of Python's own start", ""], rows)


def _relays(results: Results) -> str:
    header = ["fastchunk, time per event", *_READS]
    rows = (
        [title, *(_cell(results, f"{op}/{read}", "fastchunk", ROUTER) for read in _READS)]
        for op, title in RELAYS.items()
    )
    dicts = (
        [title, *(_faster(results, f"{op}/{read}", DICTS) for read in _READS)]
        for op, title in RELAYS.items()
    )
    return (
        f"**Relay, against the {ROUTER}**\n\n{table(header, rows)}\n\n"
        f"**Relay, against {DICTS}**\n\n{table(['', *_READS], dicts)}"
    )


def _faster(results: Results, key: str, peer: str) -> str:
    against = ratios(results, key, "fastchunk", peer)
    return _times(against) if against else "–"


def _peers(results: Results, operation: str, oracle: str, *, per: str = "event") -> str:
    """Write one operation's table: a column for each peer, a row for each case."""
    keys = [key for key in results["timings"] if key.startswith(f"{operation}/")]
    peers = list(results["timings"][keys[0]])
    rows = (
        [key.partition("/")[2], *(_cell(results, key, peer, oracle) for peer in peers)]
        for key in keys
    )
    return table([f"time per {per}", *peers], rows)


def _accumulate(results: Results) -> dict[str, str]:
    """Return the block on accumulators, if the run measured any."""
    if "accumulated" not in results:
        return {}
    title = "**Accumulate: a stream's chunks to the whole answer**"
    shown = _peers(results, "accumulate", "litellm", per="chunk")
    held = ", ".join(
        f"{size:,.0f} B a chunk after {int(number):,} chunks"
        for number, size in results["accumulated"].items()
    )
    return {"accumulate": f"{title}\n\n{shown}\n\nHeld, the texts included: {held}."}


def _flat(results: Results) -> str:
    first, half, end = results["flat"]["held"]
    return (
        f"{results['flat']['events']:,} events through a restamping relay, 64 a read: Python held "
        f"{first:,} B after 1 % of them, {half:,} B after half, {end:,} B after all; it grew by "
        f"{end - first:,} B."
    )


def _families(results: Results) -> str:
    rows = []
    for operation in ("family decode", "family both ways"):
        key = f"{operation}/text delta"
        times = [_time(median(results["timings"][key][peer])) for peer in ("models", "wire")]
        share = median(ratios(results, key, "models", "wire"))
        rows.append([operation.removeprefix("family "), *times, f"{share:.2f}×"])
    return table(["a chunk of vLLM's", "models", "wire", "wire's time over the mirror's"], rows)


def _streams(results: Results) -> dict[str, str]:
    """Return the blocks on streams, if the run measured any."""
    if "flat" not in results:
        return {}
    return {
        "streams": _relays(results),
        "families": _families(results),
        "framing": f"**Framing: reads to events**\n\n{_peers(results, 'framing', 'openai')}",
        "clients": f"**Client: reads to chunks**\n\n{_peers(results, 'clients', 'openai')}",
        "producer": f"**Producer: a text to an event**\n\n{_peers(results, 'producer', ROUTER)}",
        "edit": f"**Edit the model's name**\n\n{_peers(results, 'edit', DICTS)}",
        **_accumulate(results),
        "flat": _flat(results),
    }


def _run(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    recorded = "with" if results["recorded"] else "without"
    return (
        f"Measured {results['date']} at commit {results['commit']} on {results['machine']}, "
        f"{recorded} recorded streams; {results['passes']} passes, in each of which the peers take "
        f"turns at every case. {versions}."
    )


def blocks(results: Results) -> dict[str, str]:
    """Return the README's generated blocks by name."""
    tables = {op: f"**{title}**\n\n{_operation(results, op)}" for op, title in OPERATIONS.items()}
    build = table(
        results["peers"], [[_cell(results, "build/text delta", p) for p in results["peers"]]]
    )
    return {
        "run": _run(results),
        **tables,
        "build": f"**Build a chunk and encode it**\n\n{build}",
        "overhead": _overhead(results),
        "memory": _memory(results),
        "imports": _imports(results),
        **_streams(results),
        "plot": f"![Speed relative to the Pydantic model](bench_results/{PLOT.name})",
    }


def _fill(text: str, filled: dict[str, str]) -> str:
    for name, block in filled.items():
        begin, end = f"<!-- bench:{name} -->\n", "\n<!-- /bench -->"
        before, opened, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (opened and closed):
            raise SystemExit(f"README.md has no block named bench:{name}")
        text = f"{before}{begin}{block}{end}{after}"
    return text


def digest(path: Path) -> str:
    """Name a run's results, so that a plot says which ones it shows."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def write(path: Path) -> None:
    """Rewrite the README's blocks and the plot from one run's file."""
    results = json.loads(path.read_text("utf-8"))
    README.write_text(_fill(README.read_text("utf-8"), blocks(results)), encoding="utf-8")
    _plot(results, f"results {digest(path)}")


def end_to_end_blocks(results: Results) -> dict[str, str]:
    """Return the README's block on an end-to-end run."""
    return end_to_end_report.blocks(results, f"{RESULTS.name}/{END_TO_END_PLOT.name}")


def write_end_to_end(path: Path) -> None:
    """Do the same from one end-to-end run's file."""
    results = json.loads(path.read_text("utf-8"))
    filled = _fill(README.read_text("utf-8"), end_to_end_blocks(results))
    README.write_text(filled, encoding="utf-8")
    end_to_end_report.plot(results, END_TO_END_PLOT, f"results {digest(path)}")


def stale() -> list[str]:
    """Say what no longer shows the newest runs."""
    return [
        *_stale(newest(), blocks, PLOT),
        *_stale(newest_end_to_end(), end_to_end_blocks, END_TO_END_PLOT),
    ]


def _stale(path: Path | None, made: Callable[[Results], dict[str, str]], plot: Path) -> list[str]:
    if path is None:
        return [f"{RESULTS.name}/ holds no run for {plot.name}"]
    results = json.loads(path.read_text("utf-8"))
    text = README.read_text("utf-8")
    found = [] if _fill(text, made(results)) == text else [f"README.md, of {path.name}"]
    if not plot.exists() or f"results {digest(path)}" not in plot.read_text("utf-8"):
        found.append(f"{RESULTS.name}/{plot.name}")
    return found


def _plot(results: Results, description: str) -> None:
    begin_plots()
    keys = [f"{op}/text delta" for op in ("decode", "encode", "restamp", "build")]
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    peers = results["peers"]
    for n, peer in enumerate(peers):
        values = [median(ratios(results, key, peer, ORACLE) or [0]) for key in keys]
        at = [i - 0.4 + (n + 0.5) * 0.8 / len(peers) for i in range(len(keys))]
        bars = axes.bar(at, values, width=0.8 / len(peers), label=peer)
        axes.bar_label(bars, fmt="%.1f", fontsize=7)
    axes.set_xticks(range(len(keys)), [key.partition("/")[0] for key in keys])
    axes.set_ylabel("times as fast as the Pydantic model")
    axes.set_title("One text delta, the median of all passes")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save_plot(figure, PLOT, description)
