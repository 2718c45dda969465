r"""Changes to a document: msgspec finds the value, and a search the key before it.

msgspec decodes the named value, which validates the whole document; then the value's key is looked
for. Without a `\u` in it, a document spells a key in one way. So where each key of a path occurs
once, not behind a backslash, and the decoder has found the path, that occurrence is the key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .table import IN_PLACE, Table, Value, Way

__all__ = ["Change", "Edit", "quick_editor", "splice"]

Edit = TypeVar("Edit", bound=Callable[..., bytes])

_COLON, _SPACE, _BACKSLASH = 0x3A, 0x20, 0x5C


def splice(data: bytes, table: Table, values: Sequence[Value]) -> bytes | None:
    """Make changes to a document: one encoded value a path, None to remove what is there.

    Returns the document itself if nothing changes, and None if it is not plain.
    """
    if _BACKSLASH in data and data.find(b"\\u") >= 0:
        return None
    try:
        if not data.isascii():
            data.decode()
        if values.count(...) == len(values):
            _decode_nothing(data)  # which is to be an object all the same
        edited = data
        for way, role, value in zip(table.ways, table.roles, values, strict=True):
            if value is not ...:
                one = way and _splice_one(edited, way, value, adds=role != IN_PLACE)
                if one is None:
                    return None
                edited = one
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    return edited


def quick_editor(
    table_of: object,  # noqa: ARG001
    encode: object,  # noqa: ARG001
    drop: object,  # noqa: ARG001
    otherwise: Edit,
) -> Edit:
    """Build an edit function; the compiled one edits what is plain without `otherwise`."""
    return otherwise


class _Nothing(msgspec.Struct, gc=False):
    """Any object."""


_decode_nothing = msgspec.json.Decoder(_Nothing).decode


def _splice_one(data: bytes, way: Way, value: bytes | None, *, adds: bool) -> bytes | None:
    raw = way.decode(data)
    for step in way.steps:
        if step is None:
            raw = raw.value
        elif type(raw) is list and step < len(raw):
            raw = raw[step]
        else:
            raw = UNSET
        if raw is UNSET:
            if not adds:
                return data
            return None if way.parents else _add(data, way.token, value)
    for parent in way.parents:
        if data.count(parent) != 1:
            return None
    if value is None and way.parents:
        return None
    return Change("", way.token, value, adds=adds).make(data, raw)


class Change:
    """What becomes of a key's value.

    A stream's events begin alike. Where one begins as an earlier one did, up to what is behind the
    value, the key is there as it was in that one; and it is the only one if its text does not come
    again.
    """

    __slots__ = ("adds", "came", "left", "name", "token", "value")

    def __init__(self, name: str, token: bytes, value: bytes | None, *, adds: bool) -> None:
        self.name = name
        self.token = token
        self.value = value
        self.adds = adds
        self.came = self.left = b""

    def make(self, data: bytes, raw: Raw | UnsetType) -> bytes | None:
        """Put the value in the place of a raw one, add or remove it; None if it is not plain."""
        came, token = self.came, self.token
        if came and data.startswith(came) and data.find(token, len(came)) < 0:
            return self.left + data[len(came) :]
        if isinstance(raw, UnsetType):
            return _add(data, token, self.value) if self.adds else data
        return self._learn(data, raw)

    def _learn(self, data: bytes, raw: Raw) -> bytes | None:
        token = self.token
        parts = data.split(token)
        if len(parts) != 2:
            return None
        before, after = parts
        if before[-1] == _BACKSLASH or after[0] != _COLON or after[1] <= _SPACE:
            return None
        old = bytes(raw)
        rest = after[1 + len(old) :]
        if self.value is None:
            return _remove(before, rest)
        if self.value == old:
            return data
        behind = rest[:1]  # what follows is a part of it, or a longer number would begin alike
        self.came = b"%b%b:%b%b" % (before, token, old, behind)
        self.left = b"%b%b:%b%b" % (before, token, self.value, behind)
        return self.left + rest[1:]


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
