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
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from .frame import Tally
from .table import Table

__all__ = ["Alike", "LookAlike", "Plan"]

LookAlike: TypeAlias = "Callable[[bytes, Any, str], bytes | tuple[bytes, bytes | None] | None]"
"""Takes an event's data, what was learned of those that are like it, and its text. It returns what
a `Look` does for a chunk; None has the event decoded after all."""


class Plan(Protocol):
    """How an event's text is written."""

    @property
    def is_simple(self) -> bool:
        """Whether nothing is changed but the one text."""

    def edit(self, data: bytes, text: str) -> bytes:
        """Write a text into an event."""

    def __hash__(self) -> int: ...


_decode_text: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_decode_scalar: Callable[[bytes], str | float] = msgspec.json.Decoder(str | int | float).decode
_encode: Callable[[str], bytes] = msgspec.json.Encoder().encode

_LIKES = 4  # for streams of some choices, or of events that are alike in turn
_PATIENCE = 16  # how many events that are like none before are learned in vain

_QUOTE = 0x22
_MARK = "\0text\0"
_FILLINGS = ((b'"a"', b"0"), (b'"b"', b"1"))
# In a document without a backslash: a key, a string, or a number.
_SCALAR = re.compile(rb'("[^"]*")(\s*:)?|-?[0-9][0-9.eE+-]*')


class Alike:
    """Recognizes events that say the same as one that was read, but for their text."""

    only_texts = True
    """Whether events without a text are never recognized."""

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
        self._mold: Any = None  # of what was found last
        self._padding = 0  # of that

    @property
    def asks(self) -> bool:
        """Whether what was looked for last is worth to be learned."""
        return self._patience > 0

    def find(self, data: bytes) -> tuple[Any, str] | None:
        """Return what was learned of events such as this one, and its text; None if nothing was."""
        plain = _without_padding(data) if data.endswith(b" }") else data
        for mold, said in self._molds:
            text = mold.read(plain)
            if text is not None:
                self._patience = _PATIENCE
                self._mold, self._padding = mold, len(data) - len(plain)
                return said, text
        return None

    def note(self, data: bytes) -> None:  # noqa: ARG002
        """Take note that the event that was found last has been passed on."""
        self._tally.chunks += 1

    def rewrite(self, data: bytes, text: bytes, plan: Plan) -> bytes | None:
        """Put another text, encoded, into the event that was found last, as a plan says.

        None where it is to be edited.
        """
        mold, padding = self._mold, self._padding
        if plan.is_simple and not mold.has_copies:
            made: bytes = data[: mold.begin] + text + data[mold.end - padding :]
            return made
        parts = [] if padding else mold.parts_of(plan)
        return text.join(parts) if parts else None

    def learn(
        self, said: object, tally: Tally, data: bytes, text: str, varying: Collection[str]
    ) -> None:
        """Learn what is to be known of events such as the one that was looked for.

        `said` is None where they are to be read, and false where nothing is done to them. `tally`
        is what they say of their stream. `varying` are keys of which it does not matter what they
        lead to, if they come once.
        """
        self._patience -= 1
        if said is None or tally.usage_data is not None or tally.finish_reasons:
            return
        if self._patience < _PATIENCE // 2:
            varying = {*varying, *self._passing}
        mold = _mold_of(_without_padding(data), text, varying, self._kinds)
        if mold is not None:
            self._molds = [(mold, said), *self._molds[: _LIKES - 1]]


def _without_padding(data: bytes) -> bytes:
    """Return a document without the spaces before its last brace, which hide a text's length."""
    return data[:-1].rstrip(b" ") + data[-1:]


class _Hole(NamedTuple):
    """Where something was cut out of an event."""

    begin: int
    end: int
    is_text: bool


class _Mold:
    """What events that are alike have around their text."""

    __slots__ = (
        *("_before", "_behind", "_between", "_end", "_fillings", "_first", "_is_text", "_parts"),
        *("begin", "end", "has_copies"),
    )

    def __init__(self, data: bytes, holes: list[_Hole]) -> None:
        self._first = self.begin = holes[0].begin
        self._before = data[: self.begin]
        self._between = [data[hole.end : after.begin] for hole, after in pairwise(holes)]
        self._behind = data[holes[-1].end :]
        self._end = self.end = -len(self._behind)
        self._is_text = [hole.is_text for hole in holes]
        # How a digit is written where there is no text.
        self._fillings = [b'"%b"' if data[hole.begin] == _QUOTE else b"%b" for hole in holes]
        self._parts: dict[Plan, list[bytes]] = {}
        self.has_copies = sum(self._is_text) > 1

    def read(self, data: bytes) -> str | None:
        """Return an event's text; None if the event is not alike.

        Then the text is the data from `begin` to `end`, which is counted from behind.
        """
        if not (data.startswith(self._before) and data.endswith(self._behind)):
            return None
        try:
            if not self._between:
                return _decode_text(data[self.begin : self.end])
            return self._read_all(data)
        except ValueError:  # no string, or more than one
            return None

    def _read_all(self, data: bytes) -> str | None:
        """Do the same where there is more than one hole."""
        begin, found = self._first, []
        for between in self._between:
            end = data.find(between, begin)
            if end < 0:
                return None
            found.append((begin, end))
            begin = end + len(between)
        found.append((begin, len(data) + self._end))
        text = b""
        for is_text, (begin, end) in zip(self._is_text, found, strict=True):
            if not is_text:
                _decode_scalar(data[begin:end])
            elif not text:
                text, self.begin, self.end = data[begin:end], begin, end - len(data)
            elif data[begin:end] != text:
                return None
        return _decode_text(text)

    def parts_of(self, plan: Plan) -> list[bytes]:
        """Return what stands around a text that is written by a plan; [] if that depends."""
        parts = self._parts.get(plan)
        if parts is None:
            made = {plan.edit(self._fill(*filling), _MARK) for filling in _FILLINGS}
            parts = made.pop().split(_encode(_MARK)) if len(made) == 1 else []
            self._parts[plan] = parts
        return parts

    def _fill(self, text: bytes, digit: bytes) -> bytes:
        """Return an event that is alike, with that text, and a digit in every other hole."""
        parts = [self._before]
        around = zip(self._is_text, self._fillings, [*self._between, self._behind], strict=True)
        for is_text, filling, behind in around:
            parts += text if is_text else filling % digit, behind
        return b"".join(parts)


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
