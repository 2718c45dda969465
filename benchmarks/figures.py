"""What a run's results say: times, ratios of two peers within a pass, and how both are written."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

Results = dict[str, Any]


def times(results: Results, job: str, peer: str) -> list[float]:
    """Return what a call took in each pass, in nanoseconds; nothing where there is no right result.

    It is over the parts that the peer gets right.
    """
    found: list[float] = (
        results["jobs"].get(job, {"peers": {}})["peers"].get(peer, {}).get("all", [])
    )
    return found


def ratios(results: Results, job: str, peer: str, against: str) -> list[float]:
    """Return how many times as long `against` takes as `peer`, pass by pass.

    It is over the parts that all peers get right.
    """
    peers = results["jobs"].get(job, {"peers": {}})["peers"]
    if peer not in peers or against not in peers:
        return []
    pairs = zip(peers[peer]["common"], peers[against]["common"], strict=True)
    return [theirs / ours for ours, theirs in pairs]


def by_part(results: Results, job: str, peer: str) -> dict[str, float]:
    """Return what a call of each part took, in nanoseconds."""
    parts = results["jobs"].get(job, {}).get("by part", {})
    return {name: peers[peer] for name, peers in parts.items() if peer in peers}


def slowest(
    results: Results, job: str, peer: str, against: str, shortest: int = 1
) -> tuple[str, float] | None:
    """Return the part of so many calls or more where a peer gains least, and how much that is."""
    parts = results["jobs"].get(job, {}).get("by part", {})
    shares = {
        name: part[against] / part[peer]
        for name, part in parts.items()
        if part["calls"] >= shortest and peer in part and against in part
    }
    return min(shares.items(), key=lambda item: item[1], default=None)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile; of few values the lowest and the highest."""
    if len(values) < 5:
        return min(values), max(values)
    low, _, high = quantiles(values, n=4)
    return low, high


def time_of(nanoseconds: float) -> str:
    """Write a time."""
    return f"{nanoseconds / 1000:.2f} µs" if nanoseconds >= 1000 else f"{nanoseconds:.0f} ns"


def factor(values: Sequence[float]) -> str:
    """Write a median ratio in bold, with its quartiles."""
    digits = 2 if median(values) < 2 else 1
    low, high = quartiles(values)
    return f"**{median(values):.{digits}f}×** ({low:.{digits}f}–{high:.{digits}f})"
