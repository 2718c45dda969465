"""The sections about everything beside streams and single chunks."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import imports
from benchmarks.figures import Results
from benchmarks.job import PURE
from benchmarks.jobs import answers, edits, families, framing, iterate, producer, ray_serve, sdks
from benchmarks.jobs.peers import DICTS, MODEL_CLASS, ROUTER
from benchmarks.streams import CUTS, TEXT

from .cells import PACKAGES, cell, columns, rows_of, section, share


def before_chunks(results: Results) -> Iterable[str]:
    """Return the sections that follow those on streams."""
    return _framing(results), _clients(results)


def _framing(results: Results) -> str:
    return section(
        "### Framing alone: reads to events",
        columns(results, framing.FRAMING, framing.OPENAI),
    )


def _clients(results: Results) -> str:
    peers = (*PACKAGES, iterate.OPENAI, iterate.LITELLM)
    operation = f"{iterate.ITERATE}/{TEXT}"
    rows = (
        [case, *(cell(results, f"{operation}/{case}", peer, iterate.OPENAI) for peer in peers)]
        for case in CUTS
    )
    return section(
        "### Clients: reads to each library's own chunks, Ray's text deltas",
        rows_of(["time per event", *peers], rows),
    )


def _edits(results: Results) -> str:
    return section(
        "### Edit: the model's name in one document",
        columns(results, edits.EDIT, DICTS, per="document"),
    )


def after_chunks(results: Results) -> Iterable[str]:
    """Return the sections that follow those on single chunks."""
    produced = columns(results, producer.PRODUCE, ROUTER)
    served = columns(results, ray_serve.STREAM, ray_serve.RAY)
    messages = columns(results, f"{sdks.ANTHROPIC}/{TEXT}", sdks.SDK)
    accumulated = columns(results, answers.ACCUMULATE, iterate.LITELLM, per="chunk")
    return (
        _edits(results),
        section("### The two families", *_families(results)),
        section("### Producer: a text to an event", produced),
        section("## In Ray Serve: an engine's response to an event, through pickle", served),
        section(
            "## In openai-python: a response's reads to chunks, httpx included", *_sdk(results)
        ),
        section("## In anthropic: a response's reads to events, httpx included", messages),
        section("## Accumulate: a stream's chunks to the whole answer", accumulated),
        _memory(results),
        _imports(results),
    )


def _sdk(results: Results) -> Iterable[str]:
    for mix in sdks.MIXES:
        yield columns(results, f"{sdks.OPENAI}/{mix}", sdks.SDK)


def _families(results: Results) -> Iterable[str]:
    for suffix in ("", PURE):
        mirror, wire = f"{families.MIRROR}{suffix}", f"{families.WIRE}{suffix}"
        rows = (
            [
                operation,
                *(
                    cell(results, f"{operation}/vLLM's chunk", peer, peer)
                    for peer in (mirror, wire)
                ),
                share(results, f"{operation}/vLLM's chunk", mirror, wire),
            ]
            for operation in (families.DECODE, families.BACK)
        )
        yield rows_of(["a chunk of vLLM's", mirror, wire, "wire's time over the mirror's"], rows)


def _memory(results: Results) -> str:
    if "held" not in results:
        return ""
    held = results["held"]
    rows = (
        [case, *(_bytes(held[peer].get(case), size) for peer in held)]
        for case, size in held[MODEL_CLASS].items()
    )
    first, half, end = results["bounds"]["relayed"]["held"]
    accumulated = ", ".join(
        f"{size:,.0f} B after {int(number):,}"
        for number, size in results["bounds"]["accumulated"].items()
    )
    return section(
        "## Memory",
        rows_of(["bytes held for each decoded chunk", *held], rows),
        f"A relay changed the model in {results['bounds']['relayed']['events']:,} events, 64 a "
        f"read: Python held {first:,} B after 1 % of them, {half:,} B after half, {end:,} B after "
        f"all. An `Accumulator` held, for each chunk with its text: {accumulated}.",
    )


def _bytes(held: float | None, model: float) -> str:
    return "–" if held is None else f"{held:,.0f} B ({held / model:.2f})"


def _imports(results: Results) -> str:
    taken = results.get("imports", {})
    rows = (
        [name, f"{imports.own(taken, name) * 1000:,.0f} ms"]
        for name in taken
        if name != imports.NOTHING
    )
    return section("## Import", rows_of(["import, on top of Python's own start", "median"], rows))
