"""Literals: finds the strings of a set in a text that is not complete yet.

In:  the strings, once; then a text, and where in it to begin.
Out: the next place where one of them stands for sure, or from where on more text must decide. Of
several strings that stand at one place the longest counts.
Cost: one compiled search for the first two or three characters of any string; where they stand, one
binary search in the sorted strings. So nothing is built per character of the strings, and a hundred
thousand of them are sorted, not compiled.

    >>> literals = Literals(["key", "keyring"])
    >>> literals.find("a keyhole", 0), literals.find("a key", 0), literals.find("a door", 0)
    ((2, 5), (2, -1), (6, -1))
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable

__all__ = ["UNDECIDED", "Literals"]

_FEW = 64
UNDECIDED = -1
"""The end of a match that only more text can decide."""


class Literals:
    """A set of strings to look for."""

    looks_back: bool = False
    """Whether the character before the text counts."""

    def __init__(self, strings: Iterable[str]) -> None:
        self._strings = sorted(set(strings))
        self._shorter = _prefixes_of(self._strings)
        self._longest = max(map(len, self._strings))
        self.search: Callable[[str, int], re.Match[str] | None] = _search_for_heads(self._strings)
        """Finds where a string may begin, or not; None is sure."""

    def find(
        self, text: str, start: int, complete: bool = False, head: re.Match[str] | None = None
    ) -> tuple[int, int]:
        """Return where the next string begins and ends, looking from `start`.

        The end is UNDECIDED where the text must go on to tell whether a string begins there, or
        which one; a begin at the end of the text means that there is none. In a complete text
        nothing is undecided. `head` is what `search` has found from there, if it was asked already.
        """
        strings = self._strings
        while head := head or self.search(text, start):
            start = head.start()
            rest = text[start : start + self._longest]
            # What begins with `rest` and is longer comes directly after it in the order.
            after = bisect_right(strings, rest)
            if not complete and after < len(strings) and strings[after].startswith(rest):
                return start, UNDECIDED
            # Whatever `rest` begins with comes before it, but maybe not directly: between the two
            # stand only strings that begin with it too.
            found = after - 1
            while found >= 0 and not rest.startswith(strings[found]):
                found = self._shorter[found]
            if found >= 0:
                return start, start + len(strings[found])
            start, head = start + 1, None
        return len(text), UNDECIDED


def _prefixes_of(strings: list[str]) -> list[int]:
    """Tell for each of the sorted strings which one is the longest that it begins with, or -1."""
    found: list[int] = []
    for at, string in enumerate(strings):
        before = at - 1
        while before >= 0 and not string.startswith(strings[before]):
            before = found[before]
        found.append(before)
    return found


def _search_for_heads(strings: list[str]) -> Callable[[str, int], re.Match[str] | None]:
    """Compile a search for any string's first characters, or as many of them as end the text."""
    # Three of them leave fewer places to look at; of many strings, two are searched for faster.
    depth = 3 if len(strings) <= _FEW else 2
    heads = _tails_by_head({string[:depth] for string in strings})
    # Those behind the first are only looked at, so that the next search may begin with them.
    looks = (
        re.escape(head) + (f"(?={_pattern_of(tails)})" if all(tails) else "")
        for head, tails in heads.items()
    )
    return re.compile("|".join(looks)).search


def _pattern_of(tails: set[str]) -> str:
    """Return a pattern of where any of the tails, none of them empty, stands or ends the text."""
    ends, parts = "", [r"\Z"]
    for head, below in _tails_by_head(tails).items():
        if all(below):
            parts.append(re.escape(head) + _pattern_of(below))
        else:
            ends += re.escape(head)
    if ends:
        parts.insert(0, f"[{ends}]")
    return f"(?:{'|'.join(parts)})"


def _tails_by_head(strings: Iterable[str]) -> dict[str, set[str]]:
    """Sort strings by their first characters."""
    found: dict[str, set[str]] = {}
    for string in strings:
        found.setdefault(string[0], set()).add(string[1:])
    return found
