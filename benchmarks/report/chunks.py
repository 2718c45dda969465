"""The sections about single chunks."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.figures import Results, ratios
from benchmarks.jobs import codec
from benchmarks.jobs.peers import BARE, MODEL_CLASS
from benchmarks.runs import FOLDER

from .cells import PACKAGES, cases, columns, rows_of, section, share

PLOT = FOLDER / "codec.svg"
_OPERATIONS = {
    codec.DECODE: "Decode: bytes to a chunk",
    codec.ENCODE: "Encode: a chunk to bytes",
    codec.CHANGE: "Decode, change the model's name, encode",
    codec.BUILD: "Build a chunk, and encode it",
    codec.PICKLE: "Pickle: there and back",
    codec.CLOUDPICKLE: "Ray's cloudpickle: there and back",
}


def chunks(results: Results) -> str:
    """Return the section."""
    tables = (
        section(f"**{title}**", columns(results, operation, MODEL_CLASS, per="chunk"))
        for operation, title in _OPERATIONS.items()
    )
    found = [one for one in tables if one]
    if not found:
        return ""
    return "\n\n".join(
        (
            "## Single chunks",
            f"With the mirror, `fastchunk.models`, and how many times as fast as the Pydantic "
            f"model. `{BARE}` is the floor: msgspec's decoder for the same Structs, without the "
            "paths that make the results exact. `orjson dicts` has no model at all, so no types, "
            "no defaults and no errors. A dash: the result was not the right one.",
            f"![Times as fast as the Pydantic model](../bench_results/{PLOT.name})",
            *found,
            _overhead(results),
        )
    )


def _overhead(results: Results) -> str:
    rows = (
        [job.replace("/", ", ", 1), *(share(results, job, BARE, peer) for peer in PACKAGES)]
        for operation in (codec.DECODE, codec.ENCODE, codec.BUILD)
        for job in cases(results, operation)
    )
    return section(
        "**What exactness costs on top of the floor**",
        rows_of(["time over bare msgspec's", *PACKAGES], rows),
    )


def draw(results: Results, run: Path) -> None:
    """Draw what the libraries do with a text delta."""
    from benchmarks.plots import drawn

    jobs = [
        f"{operation}/text delta"
        for operation in (codec.DECODE, codec.ENCODE, codec.CHANGE, codec.BUILD)
    ]
    peers = [*results["jobs"][jobs[0]]["peers"]]
    with drawn(PLOT, run, 9, 4.2) as axes:
        for n, peer in enumerate(peers):
            found = [ratios(results, job, peer, MODEL_CLASS) for job in jobs]
            at = [i - 0.4 + (n + 0.5) * 0.8 / len(peers) for i in range(len(jobs))]
            values = [median(one) if one else 0 for one in found]
            bars = axes.bar(at, values, width=0.8 / len(peers), label=peer)
            axes.bar_label(bars, fmt="%.1f", fontsize=6)
        axes.set_xticks(range(len(jobs)), [job.partition("/")[0] for job in jobs])
        axes.set_ylabel("times as fast as the Pydantic model")
        axes.set_title("One text delta, the median of all passes", fontsize=10)
        axes.margins(y=0.3)
        axes.legend(fontsize=8, ncols=4, loc="upper left")
