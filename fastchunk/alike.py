"""Recognizes events that are like one before, but for a text.

In:  an event that was read, and the text in it; then other events' data.
Out: the text of those that are the same around it.
Cost: two comparisons and the decoding of a string, where the event would have to be decoded.

A stream's events are alike: around their text, and around what spells it out, they are byte for
byte the same. So those strings and numbers are cut out of an event. If another one has the same
bytes around what are strings and numbers, too, it is a valid document and says the same but for
those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec

from .dialect import NAMES

__all__ = ["Mold"]

_decode_text: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_decode_scalar: Callable[[bytes], str | float] = msgspec.json.Decoder(str | int | float).decode
_encode: Callable[[str], bytes] = msgspec.json.Encoder().encode

_KINDS = {_encode(key) for key in NAMES.union(("object", "model", "finish_reason"))}
# In a document without a backslash: a key, a string, or a number.
_SCALAR = re.compile(rb'("[^"]*")(\s*:)?|-?[0-9][0-9.eE+-]*')


class _Hole(NamedTuple):
    """Where something was cut out of an event."""

    begin: int
    end: int
    is_text: bool


class Mold:
    """What events that are alike have around their text."""

    __slots__ = ("_before", "_begin", "_behind", "_between", "_end", "_holes", "_text")

    def __init__(self, data: bytes, holes: list[_Hole]) -> None:
        self._begin = holes[0].begin
        self._before = data[: self._begin]
        self._between = [data[hole.end : after.begin] for hole, after in pairwise(holes)]
        self._behind = data[holes[-1].end :]
        self._end = -len(self._behind)
        # Of what is no text, how a digit is written there.
        self._holes = [
            None if hole.is_text else b'"%b"' if data[hole.begin] == 0x22 else b"%b"
            for hole in holes
        ]
        self._text = self._holes.index(None)

    @classmethod
    def of(cls, data: bytes, text: str, varying: Collection[str]) -> Mold | None:
        """Make the mold of an event; None for one that is not plain.

        Every string that is the same as the text counts as its copy, but for those that say what
        kind of an event it is. `varying` are keys of which it does not matter what they lead to, if
        they come once.
        """
        if b"\\" in data:
            return None
        keys = {_encode(key) for key in varying}
        unique = {key for key in keys if data.count(key) == 1}
        return cls(data, list(_holes_of(data, _encode(text), unique)))

    def read(self, data: bytes) -> str | None:
        """Return an event's text; None if the event is not alike."""
        if not (data.startswith(self._before) and data.endswith(self._behind)):
            return None
        try:
            if not self._between:
                return _decode_text(data[self._begin : self._end])
            return self._read_all(data)
        except ValueError:  # no string, or more than one
            return None

    def _read_all(self, data: bytes) -> str | None:
        """Do the same where there is more than one hole."""
        begin, end = self._begin, self._end
        found = []
        for between in self._between:
            at = data.find(between, begin)
            if at < 0:
                return None
            found.append(data[begin:at])
            begin = at + len(between)
        found.append(data[begin:end])
        text = found[self._text]
        for hole, other in zip(self._holes, found, strict=True):
            if hole is not None:
                _decode_scalar(other)
            elif other != text:
                return None
        return _decode_text(text)

    def around(self) -> list[bytes] | None:
        """Return what stands before the text and behind it; None if there is another hole."""
        return None if self._between else [self._before, self._behind]

    def fill(self, text: str, digit: bytes) -> bytes:
        """Return an event that is alike, with that text, and a digit in every other hole."""
        parts = [self._before]
        for hole, behind in zip(self._holes, [*self._between, self._behind], strict=True):
            parts += _encode(text) if hole is None else hole % digit, behind
        return b"".join(parts)


def _holes_of(data: bytes, text: bytes, varying: Collection[bytes]) -> Iterator[_Hole]:
    key = b""
    for scalar in _SCALAR.finditer(data):
        if scalar[2] is not None:
            key = scalar[1]
            continue
        if (scalar[0] == text and key not in _KINDS) or key in varying:
            yield _Hole(*scalar.span(), scalar[0] == text)
        key = b""
