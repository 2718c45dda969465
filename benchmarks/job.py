"""What one row of a table measures: inputs, the peers that take turns at them, and a check.

A peer is a function of an input; its library is imported when the peer is made. A result that the
check refuses is never timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

Run = Callable[[Any], Any]
MakePeer = Callable[[], Run]

OURS = "fastchunk"
"""How the names of this library's own peers begin. They are measured compiled and pure."""
PURE = ", pure"
"""What is added to such a name where the pure package was measured."""


class Part(NamedTuple):
    """One input, and how many events or chunks one run over it handles."""

    name: str
    given: Any
    calls: int


class Mismatch(Exception):
    """A peer's result is not what it has to be."""


@dataclass(frozen=True)
class Job:
    """One measurement.

    `check` is given a peer's name, a part and what came out, and raises `Mismatch`. Peers named in
    `may_fail` do not have to get every part right; the parts they get wrong are left out.
    """

    name: str
    parts: Sequence[Part]
    peers: Mapping[str, MakePeer]
    check: Callable[[str, Part, Any], None]
    may_fail: frozenset[str] = frozenset()


def each(call: Callable[[Any], Any]) -> Run:
    """Make a peer that calls `call` with every item of its input.

    The loop costs some 10 ns a call, the same for all.
    """

    def loop(items: Sequence[Any]) -> list[Any]:
        found = []
        for item in items:  # all peers would share the code of a comprehension
            found.append(call(item))  # noqa: PERF401
        return found

    return with_own_code(loop)


def with_own_code(run: Run) -> Run:
    """Give a function code of its own: CPython specialises each call site for what it calls."""
    assert isinstance(run, FunctionType)
    run.__code__ = run.__code__.replace()
    return run


def expect(given: object, wanted: object) -> None:
    """Raise `Mismatch` unless both are equal."""
    if given != wanted:
        raise Mismatch(f"{_excerpt(given)} is not {_excerpt(wanted)}")


def expect_each(given: Sequence[object], wanted: Sequence[object]) -> None:
    """Raise `Mismatch`, about the first pair that differs, unless all are equal."""
    for one, other in zip(given, wanted, strict=False):
        expect(one, other)
    expect(len(given), len(wanted))


def _excerpt(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}…"
