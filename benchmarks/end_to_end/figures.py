"""What an end-to-end run says: what each gateway costs beside the pass-through.

The pass-through runs twice. One is the reference, the other the control: what the control differs
by is what this machine cannot tell apart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median

from .gateways import PYDANTIC, REFERENCE

Passes = dict[str, list[dict[str, float]]]
"""By gateway, what each pass measured at one cell."""

_RESAMPLES = 2000


def costs(passes: Passes, gateway: str) -> list[float]:
    """Return a gateway's processor time for an event, pass by pass, in nanoseconds."""
    return [one["cpu"] for one in passes[gateway]]


def added(passes: Passes, gateway: str) -> tuple[float, list[float]]:
    """Return what a gateway adds to the reference's time, in nanoseconds, and that of each pass.

    The first is the difference of the two medians that a table shows, so that its numbers agree.
    """
    own, base = costs(passes, gateway), costs(passes, REFERENCE)
    each = [ours - theirs for ours, theirs in zip(own, base, strict=True)]
    return median(own) - median(base), each


def ratio(passes: Passes, gateway: str, what: str = "cpu") -> tuple[float, list[float]]:
    """Return a gateway's median over the reference's, and the ratio of each pass.

    The first is of the two medians, as with `added`.
    """
    own = [one[what] for one in passes[gateway]]
    base = [one[what] for one in passes[REFERENCE]]
    each = [ours / theirs for ours, theirs in zip(own, base, strict=True)]
    return median(own) / median(base), each


def factor(passes: Passes, gateway: str) -> tuple[float, float, float]:
    """Return how many times as much the Pydantic path adds, and a 90 % interval of it.

    Of a single pass it says little: what a gateway adds can be less than what passes differ by. So
    it is of what is added to medians, and the interval comes from resampling passes (bootstrap).
    """
    names = (PYDANTIC, gateway, REFERENCE)
    each = [*zip(*(costs(passes, name) for name in names), strict=True)]
    rng = random.Random(1)
    resampled = sorted(_factor(rng.choices(each, k=len(each))) for _ in range(_RESAMPLES))
    return _factor(each), resampled[_RESAMPLES // 20], resampled[-_RESAMPLES // 20]


def _factor(each: Sequence[tuple[float, ...]]) -> float:
    theirs, ours, base = (median(values) for values in zip(*each, strict=True))
    return (theirs - base) / (ours - base) if ours > base else float("inf")


def well_measured(cells: dict[str, Passes]) -> dict[str, Passes]:
    """Choose the cells that have passes enough for differences."""
    most = max(len(passes[REFERENCE]) for passes in cells.values())
    return {name: passes for name, passes in cells.items() if 2 * len(passes[REFERENCE]) > most}
