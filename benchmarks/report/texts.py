"""The sections about text rules, and about the other families."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.figures import Results
from benchmarks.job import OURS
from benchmarks.jobs import apis, rules
from benchmarks.jobs.peers import ROUTER

from .cells import cases, columns, rows_of, section


def text_rules(results: Results) -> str:
    """Return the section about rules for the texts of chat's streams."""
    return section(
        "### Text rules: a text as the rule leaves it, wherever it is cut",
        "The others redact nothing: they frame, validate and dump, or load and dump.",
        *(
            section(f"**{rule}**", columns(results, f"{rules.REPLACE}, {rule}", ROUTER))
            for rule in rules.RULES
        ),
        _alone(results),
    )


def _alone(results: Results) -> str:
    """Show how many streams come out right where the rule is applied to each chunk on its own."""
    rows = (
        [job.partition("/")[2], *(_right(results, job, peer) for peer in (OURS, rules.EACH))]
        for job in cases(results, rules.ALONE)
    )
    return section(
        f"**{rules.TEN}: streams that come out right**",
        rows_of(["of all streams", OURS, rules.EACH], rows),
    )


def _right(results: Results, job: str, peer: str) -> str:
    summary = results["jobs"][job]
    return f"{summary['peers'].get(peer, {}).get('right', 0)} of {summary['parts']}"


_TITLES = {
    apis.DECODE: "Decode",
    apis.IDENTITY: "Relay: pass on",
    apis.MODEL: "Relay: change the model",
    apis.TEXT: "Relay: replace ten strings; the others replace nothing",
    apis.ITERATE: "Iterate: reads to events",
    apis.ACCUMULATE: "Accumulate: events to the answer",
}


def other_families(results: Results) -> str:
    """Return the section about completions, Messages and Responses."""
    return section(
        "## The other families: recorded completions, Messages and Responses",
        "The SDK's path is what the official client does: frame, `json.loads`, make its model "
        "without validation; a relay dumps it again.",
        *_by_operation(results),
    )


def _by_operation(results: Results) -> Iterable[str]:
    for operation, title in _TITLES.items():
        yield section(f"**{title}**", columns(results, operation, apis.SDK))
