"""Counts of what comes up again and again in a stream, in memory that does not grow with it.

In:  something to count, and the item that it was found in.
Out: for each, the place of the first, and how many there were.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

from ._reading import Item

__all__ = ["MAX_ENTRIES", "Entry", "Tally", "format_count"]

K = TypeVar("K")

MAX_ENTRIES = 1000
"""How many different things are counted one by one: far more than any server's chunks differ in."""


class Entry(Struct):
    """Where something was found first, and how often it was found."""

    event: int | None
    offset: int
    count: int = 1


def format_count(count: int) -> str:
    """Say how often something was found, to append to what it is; nothing for once."""
    return "" if count == 1 else f" ({count:,} times)"


class Tally(Generic[K]):
    """Counts up to `MAX_ENTRIES` different things one by one, and all others together."""

    def __init__(self) -> None:
        self.entries: dict[K, Entry] = {}
        self.others: Entry | None = None

    def add(self, thing: K, item: Item) -> None:
        """Count a thing that was found in `item`."""
        known = self.entries.get(thing)
        if known is not None:
            known.count += 1
        elif len(self.entries) < MAX_ENTRIES:
            self.entries[thing] = Entry(item.event, item.offset)
        elif self.others is not None:
            self.others.count += 1
        else:
            self.others = Entry(item.event, item.offset)
