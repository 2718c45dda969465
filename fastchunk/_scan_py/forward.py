"""Reads that are passed on as bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .frame import Tally, cut_plain, is_utf8, note_done
from .splice import Change
from .table import IN_PLACE, LATEST, Table, Value

__all__ = ["Forwarder"]

_BACKSLASH, _RETURN = 0x5C, 0x0D


class Forwarder:
    """Passes on events that ask for no decision, and makes a table's changes to them."""

    def __init__(self, table: Table, values: Sequence[Value], tally: Tally, limit: int) -> None:
        """Take the table and what becomes of each of its paths, as `splice` does."""
        self.ready = False
        """Whether a read begins with a block."""
        self._tally = tally
        self._limit = limit
        self._changes: list[Change] = []
        self._latest, self._strips = "", False
        # What is no table of chat's is left to the caller, event by event.
        self._usable = ("choices",) in table.paths and ("error",) in table.paths
        for name, role, way, value in zip(
            table.names, table.roles, table.ways, values, strict=True
        ):
            if role == LATEST:
                self._latest, self._strips = name, value is None
            if value is ... or way is None:
                self._usable = self._usable and value is ...
            else:
                self._changes.append(Change(name, way.token, value, adds=role != IN_PLACE))
        if self._usable:
            self._decode = _facts_decoder(table, tuple(value is ... for value in values))
        self._plain: tuple[list[bytes], bytes] | None = None
        self._position = 0
        self._done = (b"", 0)

    def feed(self, data: object) -> bytes | None:
        """Take a read of whole events and return what leaves; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes or len(data) > self._limit:
            return None
        if self._usable and data.find(b"\n") == len(data) - 2 and data[:6] == b"data: ":
            # One event, as most reads are: no list of one is made.
            if _RETURN not in data and (data.isascii() or is_utf8(data)):
                event = data[6:-2]
                edited = self._forward_one(event)
                if edited is not None:
                    return data if edited is event else edited and b"data: %b\n\n" % edited
            self.ready = False
            return None
        out, at = self.forward(data, 0)
        if at == len(data):
            return out
        self._done, self.ready = (out, at), False
        return None

    def rest(self) -> tuple[bytes, int]:
        """Return what `feed` has passed on already, and how many bytes of the read that was."""
        done, self._done, self.ready = self._done, (b"", 0), False
        return done

    def forward(self, whole: bytes, begin: int) -> tuple[bytes, int]:
        """Pass events on from `begin` up to one that asks for a decision: what leaves, and where.

        The caller passes on that one, and asks again from behind it.
        """
        if begin == 0:
            self._plain = _cut_utf8(whole) if self._usable else None
            self._position = 0
        if self._plain is None:
            return b"", begin
        found, ends = self._plain
        first, forward = self._position, self._forward_one
        position = first
        left, same = [], True
        while position < len(found):
            data = found[position]
            edited = forward(data)
            if edited is None:
                break
            position += 1
            if edited is not data:
                same = False
                if not edited:
                    continue
            left.append(edited)
        self._position = position + 1
        if position == len(found):
            at = len(whole)
        else:
            around = (len(ends) + 6) * (position - first)
            at = begin + sum(map(len, found[first:position])) + around
        if same:
            return whole if at - begin == len(whole) else whole[begin:at], at
        return (b"data: " + (ends + b"data: ").join(left) + ends if left else b""), at

    def learn(
        self,
        is_chunk: bool,
        is_withheld: bool,
        indexes: set[int],
        reasons: dict[int, str],
    ) -> None:
        """Learn nothing: each event is looked at."""

    def _forward_one(self, data: bytes) -> bytes | None:
        """Return an event's data as it leaves, empty if it is withheld; None if it is not taken."""
        try:
            facts = self._decode(data)
        except (msgspec.DecodeError, RecursionError):
            return data if note_done(data, self._tally) else None
        choices, error = facts.choices, facts.error
        if choices is UNSET or not (error is UNSET or error is None):
            return None
        if self._changes and _BACKSLASH in data and data.find(b"\\u") >= 0:
            return None
        edited = data
        if self._strips and not choices and _is_object(getattr(facts, self._latest)):
            edited = b""
        else:
            for change in self._changes:
                changed = change.make(edited, getattr(facts, change.name))
                if changed is None:
                    return None
                edited = changed
        return edited if self._note(facts) else None

    def _note(self, facts: Any) -> bool:
        """Take note of a chunk; False if there is a value in it that is not of the usual type."""
        tally = self._tally
        says = facts.usage is not UNSET and facts.usage is not None
        for choice in facts.choices or ():
            index, reason = choice.index, choice.finish_reason
            if type(index) is not int and index is not UNSET:
                return False  # the exact way may know it as an integer: 1.0 is one
            if reason is not None:
                if type(reason) is not str and reason is not UNSET:
                    return False
                says = True
            says = says or index not in tally.indexes
        if says:
            tally.note(facts)
        else:
            tally.chunks += 1
        return True


def _is_object(raw: Raw | UnsetType) -> bool:
    return raw is not UNSET and bytes(raw)[:1] == b"{"


def _cut_utf8(whole: bytes) -> tuple[list[bytes], bytes] | None:
    return cut_plain(whole) if whole.isascii() or is_utf8(whole) else None


@lru_cache(maxsize=256)
def _facts_decoder(table: Table, stays: tuple[bool, ...]) -> Callable[[bytes], Any]:
    """Build the decoder of what a table names: facts are parsed, what is changed or kept is raw."""
    items: dict[str, list[Any]] = {}
    fields: list[Any] = []
    keys: dict[str, str] = {}
    for name, path, kept in zip(table.names, table.paths, stays, strict=True):
        key, *below = path
        if below:
            items.setdefault(name, []).append((below[-1], Any, UNSET))
        else:
            keys[name] = str(key)
            fields.append((name, Any if kept else Raw | UnsetType, UNSET))
    for key, names in items.items():
        item = msgspec.defstruct("Item", names, gc=False)
        fields = [field for field in fields if field[0] != key]
        fields.append((key, list[item] | UnsetType | None, UNSET))  # type: ignore[valid-type]
    return msgspec.json.Decoder(msgspec.defstruct("Facts", fields, rename=keys, gc=False)).decode
