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

_LINE_FEED, _SPACE, _COLON, _BACKSLASH = 0x0A, 0x20, 0x3A, 0x5C


def splice(data: bytes, table: Table, values: Sequence[Value]) -> bytes | None:
    """Make changes to a document: one encoded value a path, None to remove what is there.

    Returns the document itself if nothing changes, and None if it is not plain.
    """
    if _BACKSLASH in data and table.escapes.search(data):
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

    Where the decoder has found the key, and its text comes once, that is the key. So where the same
    member comes again in other documents, it is replaced without another look at it: in many at
    once, if there are as many keys and as many members as documents, and no two in one of them.
    """

    __slots__ = ("_came", "_left", "_token", "_value", "adds", "name")

    def __init__(self, name: str, token: bytes, value: bytes | None, *, adds: bool) -> None:
        self.name = name
        self.adds = adds
        self._token = token
        self._value = value
        self._came = self._left = b""  # the member as it came last, and what that became

    def make(self, data: bytes, raw: Raw | UnsetType) -> bytes | None:
        """Put the value in the place of a raw one, add or remove it; None if it is not plain."""
        if isinstance(raw, UnsetType):
            return _add(data, self._token, self._value) if self.adds else data
        made = self.make_in_all(data, 1)
        return self._learn(data, raw) if made is None else made

    def make_in_all(self, whole: bytes, count: int) -> bytes | None:
        """Make it in so many documents, each on a line of its own.

        None where one of them has not the same member, or the key's text a second time. Whether a
        decoder finds the key in each is for the caller to find out.
        """
        came = self._came
        if not came or whole.count(self._token) != count:
            return None
        if count == 1:
            made = whole.replace(came, self._left, 1)
            return None if made == whole else made
        parts = whole.split(came)
        if len(parts) != count + 1:
            return None
        for between in parts[1:-1]:
            if _LINE_FEED not in between:
                return None
        return self._left.join(parts)

    def _learn(self, data: bytes, raw: Raw) -> bytes | None:
        parts = data.split(self._token)
        if len(parts) != 2:
            return None
        before, after = parts
        if before[-1] == _BACKSLASH or after[0] != _COLON:
            return None
        begin = 1 if after[1] > _SPACE else len(after) - len(after[1:].lstrip())
        end = begin + len(bytes(raw))
        if after[begin:end] == self._value:
            return data
        # What follows the value is a part of it, or a longer number would begin alike.
        around, behind = before[-1:], after[end : end + 1]
        if self._value is not None:
            left = b"%b%b%b%b%b" % (around, self._token, after[:begin], self._value, behind)
        elif behind == b"," and around in (b"{", b","):
            left = around
        elif behind == b"}" and around == b",":
            left = behind
        else:
            return None
        self._came = around + self._token + after[: end + 1]
        self._left = left
        return before[:-1] + left + after[end + 1 :]


def _add(data: bytes, token: bytes, value: bytes | None) -> bytes | None:
    if value is None:
        return data
    if data[-1:] != b"}" or data[-2:-1] in b"{ \t\n\r":
        return None
    return b"%b,%b:%b}" % (data[:-1], token, value)
