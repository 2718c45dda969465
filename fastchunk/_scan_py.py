"""The scanner in Python: exact, and as fast as msgspec's decoder and a search allow.

`scan` walks a document with the standard library's JSON scanner. `splice` takes a shorter way: it
lets msgspec decode the named value, which validates the whole document, and then looks for the
value's key. Without a `\\u` in it, a document spells a key in one way. So where each key of a path
occurs once, not behind a backslash, and the decoder has found the path, that occurrence is the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

__all__ = [
    "Member",
    "Path",
    "Table",
    "Tally",
    "cut_plain",
    "list_members",
    "scan",
    "scan_once",
    "skip_gap",
    "splice",
]

Path: TypeAlias = "tuple[str | None, ...]"
"""The keys and decimal indices that lead to a value; None stands for each item of an array."""

Value: TypeAlias = "bytes | EllipsisType | None"
"""What becomes of the value at the end of a path: a new one, encoded; `...`: it stays; None: it is
removed."""

Find: TypeAlias = Callable[[bytes], "Raw | UnsetType"]

_COLON, _SPACE, _BACKSLASH, _RETURN = 0x3A, 0x20, 0x5C, 0x0D
_GAP = re.compile(r"[ \t\n\r]*")


class Table:
    """Paths to look for."""

    def __init__(self, paths: Iterable[Path], roles: Sequence[int] | None = None) -> None:
        """Take the paths; `roles` say what the compiled scanner's `Forwarder` makes of each."""
        self.paths = list(paths)
        self.roles = roles


class Tally:
    """How many events of a stream were chunks, how many were not, and its latest usage."""

    def __init__(self) -> None:
        self.chunks = self.others = 0
        self.usage_data: bytes | None = None


# --- the exact walk -----------------------------------------------------------------------------


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
    """Find a table's paths in a document: (path's number, begin, end), in order; None: not plain."""
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


# --- the short way ------------------------------------------------------------------------------


def splice(data: bytes, table: Table, values: Sequence[Value]) -> bytes | None:
    """Make changes to a document: one encoded value a path, None to remove what is there.

    Returns the document itself if nothing changes, and None if it is not plain.
    """
    if _BACKSLASH in data and data.find(b"\\u") >= 0:
        return None
    try:
        if not data.isascii():
            data.decode()
        if not any(value is not ... for value in values):
            return data if type(_decode_nothing(data)) is _Nothing else None
        edited = data
        for path, value in zip(table.paths, values, strict=True):
            if value is not ...:
                one = _splice_one(edited, path, value)
                if one is None:
                    return None
                edited = one
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    return edited


class _Nothing(msgspec.Struct, gc=False):
    """Any object."""


_decode_nothing = msgspec.json.Decoder(_Nothing).decode


def _splice_one(data: bytes, path: Path, value: bytes | None) -> bytes | None:
    way = _way_to(path)
    if way is None:
        return None
    find, parents, token = way
    raw = find(data)
    if raw is UNSET:
        return None if parents else _add(data, token, value)
    parts = data.split(token)
    if len(parts) != 2 or parts[0][-1] == _BACKSLASH:
        return None
    if any(data.count(parent) != 1 for parent in parents):
        return None
    before, after = parts
    if after[0] != _COLON or after[1] <= _SPACE:
        return None
    old = bytes(raw)  # type: ignore[arg-type]
    rest = after[1 + len(old) :]
    if value is None:
        return None if parents else _remove(before, rest)
    return data if value == old else before + token + b":" + value + rest


@lru_cache(maxsize=256)
def _way_to(path: Path) -> tuple[Find, tuple[bytes, ...], bytes] | None:
    r"""Build what finds a path's raw value, and the texts of its keys: the last one, and the others.

    None for a path that does not end in a key, and for keys that JSON may spell in two ways
    without a `\u`.
    """
    keys = [step for step in path if step is not None and not step.isdigit()]
    if not keys or keys[-1] != path[-1] or len(set(keys)) < len(keys):
        return None
    if not all(key.isprintable() and not set(key) & {"/", '"', "\\"} for key in keys):
        return None
    *parents, token = map(msgspec.json.encode, keys)
    shape, steps = _shape_of(path)
    decode = msgspec.json.Decoder(shape).decode

    def find(data: bytes) -> Any:
        value = decode(data)
        for step in steps:
            if value is UNSET:
                return UNSET
            if step is None:
                value = value.value
            elif type(value) is list and step < len(value):
                value = value[step]
            else:
                return UNSET
        return value

    return find, tuple(parents), token


def _shape_of(path: Path) -> tuple[Any, list[int | None]]:
    """Build the type that has a path's value at the end of its steps: an index, or an attribute."""
    shape: Any = Raw
    steps: list[int | None] = []
    for step in reversed(path):
        if step is not None and step.isdigit():
            shape = list[shape]
            steps.insert(0, int(step))
        else:
            fields = [("value", shape | UnsetType, UNSET)]
            shape = msgspec.defstruct("Shape", fields, rename={"value": step}, gc=False)
            steps.insert(0, None)
    return shape, steps


def _add(data: bytes, token: bytes, value: bytes | None) -> bytes | None:
    if value is None:
        return data
    if data[-1:] != b"}" or data[-2:-1] in b"{ \t\n\r":
        return None
    return b"%b,%b:%b}" % (data[:-1], token, value)


def _remove(before: bytes, rest: bytes) -> bytes | None:
    if rest[:1] == b"," and before[-1:] in (b"{", b","):
        return before + rest[1:]
    if rest[:1] == b"}" and before[-1:] == b",":
        return before[:-1] + rest
    return None


# --- framing ------------------------------------------------------------------------------------


def cut_plain(whole: bytes) -> tuple[list[bytes], bytes] | None:
    """Cut whole blocks of the shape that servers write, `data: ...` and an empty line, into data.

    Returns each block's data, and the two line ends behind it, the same for all; None if there is
    a block of another shape.
    """
    ends = b"\r\n\r\n" if whole[-3:-2] == b"\n" else b"\n\n"
    if whole[:6] != b"data: " or not whole.endswith(ends):
        return None
    data = whole[6 : -len(ends)].split(ends + b"data: ")
    # As many line ends as these blocks have: none is inside one, and the last two are at the end.
    count = 2 * len(data)
    if whole.count(b"\n") != count:
        return None
    if len(ends) == 2:
        return None if _RETURN in whole else (data, ends)
    is_crlf = whole.count(b"\r") == count and whole.count(b"\r\n") == count
    return (data, ends) if is_crlf else None
