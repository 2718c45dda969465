"""Pieces of text that are gathered: an event's goes to the list that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

__all__ = ["Add", "Deltas", "Lists", "gatherer"]

Add = TypeVar("Add", bound=Callable[[Any], None])
Lists: TypeAlias = "tuple[dict[Any, list[Any]], ...]"
"""For each type of delta the lists that its pieces go to, by the index of the event."""


class Deltas:
    """Which field of which type of delta is a piece, in events with an `index` and a `delta`."""

    def __init__(
        self,
        event_type: type[msgspec.Struct],
        pieces: Mapping[type[msgspec.Struct], str],
        quiet: Collection[type] = (),
    ) -> None:
        """Take the type of the events, and for each type of delta the name of its piece.

        Events of the `quiet` types say nothing.
        """


def gatherer(deltas: Deltas, lists: Lists, otherwise: Add) -> Add:  # noqa: ARG001
    """Build a function that adds an event; the compiled one appends the pieces itself."""
    return otherwise
