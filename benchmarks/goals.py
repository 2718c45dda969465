"""What each release must hold, on one machine and in one run.

A goal is a ratio within this run, so that it means the same on any machine. Where something must
be no slower than before, it is compared with a peer that has not changed since, and the ratio that
the release before this had to that peer is the goal.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from . import imports
from .documents import DELTA
from .figures import Results, factor, quartiles, ratios, slowest
from .job import OURS, PURE
from .jobs import apis, codec, edits, framing, ray_serve, rules, sdks
from .jobs.iterate import ITERATE
from .jobs.peers import BARE, DICTS, MODEL_CLASS, ROUTER
from .jobs.relays import CHANGE, IDENTITY, LOOK
from .pages import table
from .streams import CUTS, LONG, RECORDED, TEXT

_CUTS = tuple(CUTS)[:3]
_PURE = f"{OURS}{PURE}"

# The release before this one, which had no compiled scanner, at 1, 4 and 16 events a read: how many
# times as fast as the Pydantic path it changed the model in the recorded mix. And how many times as
# long as msgspec's its import took.
_BEFORE = (3.1, 3.1, 3.3)
_IMPORT_BEFORE = 2.3


class Goal(NamedTuple):
    """A job, whose time over whose is to be how much."""

    what: str
    job: str
    peer: str
    against: str
    wanted: float
    at_least: bool = True
    """Whether `against` has to take so many times as long as `peer`; else `peer` may at most."""
    slowest_of: int = 0
    """Whether it is about the single stream where `peer` gains least, of so many events or more."""


def _by_cut(what: str, job: str, peer: str, against: str, wanted: tuple[float, ...]) -> list[Goal]:
    return [
        Goal(f"{what}, {case}", f"{job}/{case}", peer, against, one)
        for case, one in zip(_CUTS, wanted, strict=True)
    ]


def _iterate(mix: str) -> list[Goal]:
    return [
        Goal(f"iterate, {mix}, {case}", f"{ITERATE}/{mix}/{case}", OURS, BARE, most, at_least=False)
        for case, most in zip(_CUTS, (1.5, 1.35, 1.3), strict=True)
    ]


def _goals() -> Iterator[Goal]:
    """Yield all goals but that for the import."""
    text, mix = f"{IDENTITY}/{TEXT}", f"{CHANGE}/{RECORDED}"
    yield from _by_cut("pass Ray's text deltas on", text, OURS, ROUTER, (40, 50, 55))
    yield from _by_cut("change their model", f"{CHANGE}/{TEXT}", OURS, ROUTER, (22, 32, 38))
    yield from _by_cut("change the model, recorded mix", mix, OURS, ROUTER, (8, 9, 9))
    for shortest, what in (
        (1, "the slowest of them"),
        (LONG, f"of those of {LONG} events or more"),
    ):
        for case in _CUTS:
            job = f"{mix}/{case}"
            yield Goal(f"{what}, {case}", job, OURS, ROUTER, 3, slowest_of=shortest)
    yield from _by_cut("change the model, recorded mix", mix, OURS, DICTS, (2.8, 3, 3))
    look = f"{LOOK}/{RECORDED}"
    yield from _by_cut("look at every chunk, recorded mix", look, OURS, ROUTER, (4, 4.5, 5))
    yield Goal("edit one key", f"{edits.EDIT}/{DELTA}", OURS, DICTS, 3)
    for mix_ in (RECORDED, TEXT):
        for peer in (framing.OPENAI, framing.HTTPX_SSE):
            job = f"{framing.FRAMING}/{mix_}"
            yield from _by_cut(f"framing alone, {mix_}", job, OURS, peer, (5, 8, 8))
    yield from _iterate(RECORDED)
    yield from _iterate(TEXT)
    for name in codec.cases():
        job = f"{codec.DECODE}/{name}"
        yield Goal(f"decode, {name}", job, OURS, BARE, 1.1, at_least=False)
    for operation, least in ((codec.PICKLE, 3.3), (codec.CLOUDPICKLE, 3.0)):
        yield Goal(operation, f"{operation}/{DELTA}", OURS, MODEL_CLASS, least)
    for case in (ray_serve.TEXT, ray_serve.LOGPROBS):
        job = f"{ray_serve.STREAM}/{case}"
        yield Goal(job, job, OURS, ray_serve.RAY, 3)
    for job in (f"{sdks.OPENAI}/{mix_}" for mix_ in sdks.MIXES):
        yield from _by_cut(job.replace("/", ", "), job, OURS, sdks.SDK, (15, 15, 15))
    # Anthropic's SDK is five times as fast as OpenAI's, and of what a read of one event takes with
    # fastchunk two fifths are httpx2's.
    job = f"{sdks.ANTHROPIC}/{TEXT}"
    yield from _by_cut(job.replace("/", ", "), job, OURS, sdks.SDK, (12, 15, 15))
    what = "change the model, recorded mix, as fast as before"
    yield from _by_cut(what, mix, _PURE, ROUTER, _BEFORE)
    yield from _of_families()
    yield from _of_rules()


def _of_families() -> Iterator[Goal]:
    for family in apis.FAMILIES:
        for case in apis.SHOWN:
            for work in apis.RELAYS:
                job = f"{work}/{family}/{case}"
                yield Goal(f"{work}, {family}, {case}", job, OURS, apis.SDK, 8)
            job = f"{apis.ITERATE}/{family}/{case}"
            yield Goal(f"{apis.ITERATE}, {family}, {case}", job, OURS, apis.SDK, 20)
        if family != "completions":
            yield Goal(
                f"{apis.ACCUMULATE}, {family}", f"{apis.ACCUMULATE}/{family}", OURS, apis.SDK, 20
            )


def _of_rules() -> Iterator[Goal]:
    for rule in rules.RULES:
        for case in rules.SHOWN:
            job = f"{rules.REPLACE}, {rule}/{RECORDED}/{case}"
            yield Goal(f"text rule, {rule}, recorded mix, {case}", job, OURS, ROUTER, 2)


def jobs() -> frozenset[str]:
    """Return the names of the jobs that the goals are about."""
    return frozenset(goal.job for goal in _goals())


def table_of(results: Results) -> str:
    """Return the table: what is wanted, what was measured, and whether it holds.

    A goal is met or missed by the median of all passes, and missed just within the noise where the
    better quartile meets it.
    """
    rows = [_row(goal, *_measured(results, goal)) for goal in _goals()]
    header = ["what", "whose time over whose", "wanted", "measured", ""]
    return table(header, [*rows, _import(results)])


def _measured(results: Results, goal: Goal) -> tuple[list[float], str]:
    """Return the ratios, and the stream that they are of, if it is a single one."""
    if goal.slowest_of:
        found = slowest(results, goal.job, goal.peer, goal.against, goal.slowest_of)
        return ([found[1]], found[0]) if found else ([], "")
    pair = (goal.peer, goal.against) if goal.at_least else (goal.against, goal.peer)
    return ratios(results, goal.job, *pair), ""


def _row(goal: Goal, values: list[float], stream: str) -> list[str]:
    first, second = (goal.against, goal.peer) if goal.at_least else (goal.peer, goal.against)
    wanted = f"{'at least' if goal.at_least else 'at most'} {goal.wanted:g}×"
    row = [goal.what, f"{first} over {second}", wanted]
    if not values:
        return [*row, "–", "not measured"]
    return [*row, f"{factor(values)} {stream}".strip(), _verdict(goal, values)]


def _verdict(goal: Goal, values: list[float]) -> str:
    low, high = quartiles(values)
    if _holds(goal, median(values)):
        return "met"
    return "within noise" if _holds(goal, high if goal.at_least else low) else "**missed**"


def _holds(goal: Goal, value: float) -> bool:
    return value >= goal.wanted if goal.at_least else value <= goal.wanted


def _import(results: Results) -> list[str]:
    taken = results["imports"]
    value = imports.own(taken, "fastchunk") / imports.own(taken, "msgspec")
    goal = Goal("import", "", "fastchunk", "msgspec", _IMPORT_BEFORE, at_least=False)
    return _row(goal, [value], "")
