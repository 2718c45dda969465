"""The exact walk through a document, with the standard library's JSON scanner."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from .table import Path, Table

__all__ = [
    "Member",
    "has_duplicates",
    "is_plain",
    "list_members",
    "scan",
    "scan_once",
    "skip_gap",
]

_MAX_OPENINGS = 400  # of brackets in a document that is surely not too deep
_GAP = re.compile(r"[ \t\n\r]*")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# Only where a value ends is of interest: its numbers need not be made.
_scan_strictly: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_refuse_constant
).raw_decode
scan_once: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(
    parse_int=str, parse_float=str
).raw_decode
"""Pass the value that begins at a place: what it is, and where it ends. `NaN` passes, too."""


class Member(NamedTuple):
    """One member of an object or array, with the white space up to its commas."""

    key: str
    begin: int
    value: int
    value_end: int
    end: int
    is_escaped: bool
    """Whether the key is spelled with an escape."""


def skip_gap(text: str, at: int) -> int:
    """Return the place behind the white space that begins at `at`."""
    match = _GAP.match(text, at)
    return match.end() if match else at


def list_members(text: str, begin: int) -> tuple[list[Member], int]:
    """List the members of the object or array that begins at `begin`, and where it ends.

    The document has to be valid.
    """
    is_object = text[begin] == "{"
    found: list[Member] = []
    start = begin + 1
    if text[skip_gap(text, start)] in "}]":
        return found, skip_gap(text, start) + 1
    while True:
        at, key, is_escaped = skip_gap(text, start), str(len(found)), False
        if is_object:
            key_begin = at
            key, at = scan_once(text, at)
            is_escaped = "\\" in text[key_begin:at]
            at = skip_gap(text, skip_gap(text, at) + 1)
        _, value_end = scan_once(text, at)
        end = skip_gap(text, value_end)
        found.append(Member(key, start, at, value_end, end, is_escaped))
        if text[end] != ",":
            return found, end + 1
        start = end + 1


def scan(data: bytes, table: Table) -> list[tuple[int, int, int]] | None:
    """Find a table's paths in a document: (path's number, begin, end) by place; None: not plain."""
    try:
        data.decode()
        text = data.decode("latin-1")  # so that a place in the text is one in the data
        begin = skip_gap(text, 0)
        _, end = _scan_strictly(text, begin)
        if text[begin] != "{" or skip_gap(text, end) != len(text):
            return None
        found: list[tuple[int, int, int]] = []
        numbered = list(enumerate(table.paths))
        return sorted(found, key=_by_end) if _find(text, begin, numbered, found) else None
    except (ValueError, RecursionError):
        return None


def is_plain(data: bytes, table: Table | None = None) -> bool:
    """Tell whether each key that leads to a table's paths comes once; without one, each key.

    The document has to be valid. "No" is always safe to say.
    """
    if data.count(b"{") + data.count(b"[") > _MAX_OPENINGS:
        return False  # it may be nested deeper than an edit goes
    tokens = None if table is None or data.find(b"\\u") >= 0 else table.tokens
    if tokens is not None and all(data.count(token) <= 1 for token in tokens):
        return True
    return not has_duplicates(data)


def has_duplicates(data: bytes) -> bool:
    """Tell whether a key comes twice in any object of a valid document.

    Nesting that is too deep for an answer counts as that.
    """
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)

    try:
        json.loads(data, object_pairs_hook=look, parse_int=str, strict=False)
    except RecursionError:
        return True
    return found


def _by_end(found: tuple[int, int, int]) -> tuple[int, int]:
    return found[2], -found[1]


def _find(
    text: str, begin: int, paths: list[tuple[int, Path]], found: list[tuple[int, int, int]]
) -> bool:
    """Find paths below the object or array at `begin`; False where a key is not plain."""
    is_object = text[begin] == "{"
    seen = set()
    for member in list_members(text, begin)[0]:
        if member.is_escaped:
            return False
        key = member.key.encode("latin-1").decode()
        below: list[tuple[int, Path]] = []
        for number, (step, *rest) in paths:
            if step != key and (is_object or step is not None):
                continue
            if key in seen:
                return False
            if rest:
                below.append((number, tuple(rest)))
            else:
                found.append((number, member.value, member.value_end))
        if below or any(step == key for _, (step, *_) in paths):
            seen.add(key)
        if below and text[member.value] in "{[" and not _find(text, member.value, below, found):
            return False
    return True
