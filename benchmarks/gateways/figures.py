"""What a run of gateways says: each one's processor time over the reference's in the same pass."""

from __future__ import annotations

from statistics import median
from typing import Any

from .own import REFERENCE

Results = dict[str, Any]

_KEEPS_PACE = 0.8


def ratios(results: Results, cell: str, gateway: str) -> list[float]:
    """Return a gateway's time over the reference's, of each pass that it took part in."""
    own, base = (results["cells"][cell][name] for name in (gateway, REFERENCE))
    return [ours["cpu"] / theirs["cpu"] for ours, theirs in zip(own, base, strict=False)]


def ratio(results: Results, cell: str, gateway: str) -> float:
    """Return the median of its ratios."""
    return median(ratios(results, cell, gateway))


def cost(results: Results, cell: str) -> list[float]:
    """Return the reference's time for an event, of each pass, in nanoseconds."""
    return [one["cpu"] for one in results["cells"][cell][REFERENCE]]


def keeps_pace(results: Results, cell: str, gateway: str) -> bool:
    """Tell whether the events of a paced cell came out at about the reference's rate."""
    cells = results["cells"][cell]
    own, base = (median(float(one["rate"]) for one in cells[name]) for name in (gateway, REFERENCE))
    return own > _KEEPS_PACE * base
