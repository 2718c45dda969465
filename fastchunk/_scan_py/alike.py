"""Recognizes events that are like one before, but for a text.

In:  an event that was read, and the text in it; then other events' data.
Out: the text of those that are the same around it, and what was learned of them.
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
from typing import Any, NamedTuple, TypeAlias

import msgspec

from .frame import Tally
from .table import Table

__all__ = ["Alike", "LookAlike"]

LookAlike: TypeAlias = "Callable[[bytes, Any, str], bytes | tuple[bytes, bytes | None] | None]"
"""Takes an event's data, what was learned of those that are like it, and its text. It returns what
a `Look` does for a chunk; None has the event decoded after all."""

_decode_text: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_decode_scalar: Callable[[bytes], str | float] = msgspec.json.Decoder(str | int | float).decode
_encode: Callable[[str], bytes] = msgspec.json.Encoder().encode

_LIKES = 4  # for streams of some choices, or of events that are alike in turn
_PATIENCE = 16  # how many events that are like none before are learned in vain

# In a document without a backslash: a key, a string, or a number.
_SCALAR = re.compile(rb'("[^"]*")(\s*:)?|-?[0-9][0-9.eE+-]*')


class Alike:
    """Recognizes events that say the same as one that was read, but for their text."""

    def __init__(
        self,
        table: Table,  # noqa: ARG002
        tally: Tally,
        kinds: Collection[str] = (),
        passing: Collection[str] = (),
    ) -> None:
        """Take the keys of what tells events apart, and those of what nobody reads.

        The compiled one takes the table instead: `KIND` where only the kind of a value says
        something. Its texts are those that `TEXT` paths lead to.
        """
        self.passes = False
        """Whether events to which nothing is done leave without a question."""
        self._tally = tally
        self._kinds = {_encode(key) for key in kinds}
        self._passing = passing
        self._molds: list[tuple[_Mold, Any]] = []
        self._patience = _PATIENCE
        self._place: tuple[int, int] | None = None

    @property
    def asks(self) -> bool:
        """Whether what was looked for last is worth to be learned."""
        return self._patience > 0

    def find(self, data: bytes) -> tuple[Any, str] | None:
        """Return what was learned of events such as this one, and its text; None if nothing was."""
        for mold, said in self._molds:
            found = mold.read(data)
            if found is not None:
                self._patience = _PATIENCE
                self._place = None if mold.has_copies else found[1:]
                return said, found[0]
        return None

    def note(self, data: bytes) -> None:  # noqa: ARG002
        """Take note that the event that was found last has been passed on."""
        self._tally.chunks += 1

    def rewrite(self, data: bytes, text: bytes) -> bytes | None:
        """Put another text, encoded, in the place of that of the event that was found last.

        None: the event has it more than once.
        """
        if self._place is None:
            return None
        begin, end = self._place
        return data[:begin] + text + data[end:]

    def learn(
        self, said: object, tally: Tally, data: bytes, text: str, varying: Collection[str]
    ) -> None:
        """Learn what is to be known of events such as the one that was looked for.

        `said` is None where they are to be read, and false where nothing is done to them. `tally`
        is what they say of their stream. `varying` are keys of which it does not matter what they
        lead to, if they come once.
        """
        self._patience -= 1
        if said is None or not text or tally.usage_data is not None or tally.finish_reasons:
            return
        if self._patience < _PATIENCE // 2:
            varying = {*varying, *self._passing}
        mold = _mold_of(data, text, varying, self._kinds)
        if mold is not None:
            self._molds = [(mold, said), *self._molds[: _LIKES - 1]]


class _Hole(NamedTuple):
    """Where something was cut out of an event."""

    begin: int
    end: int
    is_text: bool


class _Mold:
    """What events that are alike have around their text."""

    __slots__ = ("_before", "_begin", "_behind", "_between", "_end", "_holes", "has_copies")

    def __init__(self, data: bytes, holes: list[_Hole]) -> None:
        self._begin = holes[0].begin
        self._before = data[: self._begin]
        self._between = [data[hole.end : after.begin] for hole, after in pairwise(holes)]
        self._behind = data[holes[-1].end :]
        self._end = -len(self._behind)
        self._holes = [hole.is_text for hole in holes]
        self.has_copies = sum(self._holes) > 1

    def read(self, data: bytes) -> tuple[str, int, int] | None:
        """Return an event's text, and where it begins and ends; None if the event is not alike."""
        if not (data.startswith(self._before) and data.endswith(self._behind)):
            return None
        try:
            if not self._between:
                begin, end = self._begin, self._end
                return _decode_text(data[begin:end]), begin, end
            return self._read_all(data)
        except ValueError:  # no string, or more than one
            return None

    def _read_all(self, data: bytes) -> tuple[str, int, int] | None:
        """Do the same where there is more than one hole."""
        begin = self._begin
        text: tuple[bytes, int, int] | None = None
        for between, is_text in zip([*self._between, b""], self._holes, strict=True):
            end = data.find(between, begin) if between else len(data) + self._end
            if end < 0:
                return None
            found = data[begin:end]
            if not is_text:
                _decode_scalar(found)
            elif text is None:
                text = found, begin, end
            elif found != text[0]:
                return None
            begin = end + len(between)
        assert text is not None  # noqa: S101
        return _decode_text(text[0]), text[1], text[2]


def _mold_of(
    data: bytes, text: str, varying: Collection[str], kinds: Collection[bytes]
) -> _Mold | None:
    """Make the mold of an event; None for one that is not plain.

    Every string that is the same as the text counts as its copy, but for those that say what kind
    of an event it is.
    """
    if b"\\" in data:
        return None
    keys = {_encode(key) for key in varying}
    unique = {key for key in keys if data.count(key) == 1}
    return _Mold(data, list(_holes_of(data, _encode(text), unique, kinds)))


def _holes_of(
    data: bytes, text: bytes, varying: Collection[bytes], kinds: Collection[bytes]
) -> Iterator[_Hole]:
    key = b""
    for scalar in _SCALAR.finditer(data):
        if scalar[2] is not None:
            key = scalar[1]
            continue
        if (scalar[0] == text and key not in kinds) or key in varying:
            yield _Hole(*scalar.span(), scalar[0] == text)
        key = b""
