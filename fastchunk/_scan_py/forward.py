"""Reads that are passed on as bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .frame import DONE, Tally, cut_plain, is_utf8, note_done
from .splice import Change
from .table import IN_PLACE, LATEST, Table, Value

__all__ = ["Forwarder"]

_BACKSLASH, _LINE_FEED, _RETURN = 0x5C, 0x0A, 0x0D


class Forwarder:
    """Passes on events that ask for no decision, and makes a table's changes to them."""

    def __init__(self, table: Table, values: Sequence[Value], tally: Tally, limit: int) -> None:
        """Take the table and what becomes of each of its paths, as `splice` does."""
        self.ready = False
        """Whether a read begins with a block."""
        self._tally = tally
        self._limit = limit
        self._changes: list[Change] = []
        self._escapes = table.escapes
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
            stays = tuple(value is ... for value in values)
            self._decode = _facts_decoder(table, stays)
            self._decode_changed = _facts_decoder(table, stays, requires=True)
        self._plain: tuple[list[bytes], bytes] | None = None
        self._position = 0
        self._done = (b"", 0)

    def feed(self, data: object) -> bytes | None:
        """Take a read of whole events and return what leaves; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes or len(data) > self._limit:
            return None
        if self._usable and data[-2:] == b"\n\n":
            event = data[6:-2]
            if _LINE_FEED not in event:
                # One event, or one comment, as most reads are: no list of one is made.
                out = self._forward_block(data, event)
                if out is None:
                    self.ready = False
                return out
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
        if self._position:
            found = found[self._position :]
        changed = None
        if begin == 0:
            changed = self._change_all(whole, len(found) - (found[-1] == DONE))
        if changed is None:
            out, taken = self._forward_each(found, ends)
        else:
            out, taken = changed, self._take(found)
        self._position += taken + 1
        if taken == len(found):
            at = len(whole)
        else:
            at = begin + sum(map(len, found[:taken])) + (len(ends) + 6) * taken
            if changed is not None:
                out = self._change_all(whole[:at], taken)
        if out is None:
            return whole if at - begin == len(whole) else whole[begin:at], at
        return out, at

    def learn(
        self,
        is_chunk: bool,
        is_withheld: bool,
        indexes: set[int],
        reasons: dict[int, str],
    ) -> None:
        """Learn nothing: each event is looked at."""

    def _forward_block(self, block: bytes, data: bytes) -> bytes | None:
        """Return what leaves of the block of an event or a comment; None if it is not taken.

        `data` is what is between `data: ` and the line ends, if that is how it begins.
        """
        if _RETURN in block or not (block.isascii() or is_utf8(block)):
            return None
        if block[:6] != b"data: ":
            is_comment = block[:1] == b":" and block.find(b"\n") == len(block) - 2
            return block if is_comment else None
        changed = self._change_all(block, 1)
        if changed is not None:
            return changed if self._take((data,)) else None
        edited = self._forward_one(data)
        return block if edited is data else edited and b"data: %b\n\n" % edited

    def _change_all(self, whole: bytes, count: int) -> bytes | None:
        """Make the changes to so many events at once; None where each is to be looked at.

        It is right if each is taken. If it can be done, it can be to the first of them alone.
        """
        if self._strips or (_BACKSLASH in whole and self._escapes.search(whole)):
            return None
        for change in self._changes:
            changed = change.make_in_all(whole, count)
            if changed is None:
                return None
            whole = changed
        return whole

    def _take(self, found: Sequence[bytes]) -> int:
        """Take note of events, up to one that is not taken; return how many these are.

        They have each key that is changed.
        """
        decode, note = self._decode_changed, self._note
        taken = 0
        for data in found:
            try:
                facts = decode(data)
            except (msgspec.DecodeError, RecursionError):
                if not note_done(data, self._tally):
                    break
            else:
                error = facts.error
                if facts.choices is UNSET or not (error is UNSET or error is None):
                    break
                if not note(facts):
                    break
            taken += 1
        return taken

    def _forward_each(self, found: list[bytes], ends: bytes) -> tuple[bytes | None, int]:
        """Return what leaves of events, None if it is what came, and how many were taken."""
        left, same = [], True
        taken = 0
        for data in found:
            edited = self._forward_one(data)
            if edited is None:
                break
            taken += 1
            same = same and edited is data
            if edited:
                left.append(edited)
        if same:
            return None, taken
        return (b"data: " + (ends + b"data: ").join(left) + ends if left else b""), taken

    def _forward_one(self, data: bytes) -> bytes | None:
        """Return an event's data as it leaves, empty if it is withheld; None if it is not taken."""
        try:
            facts = self._decode(data)
        except (msgspec.DecodeError, RecursionError):
            return data if note_done(data, self._tally) else None
        choices, error = facts.choices, facts.error
        if choices is UNSET or not (error is UNSET or error is None):
            return None
        if self._changes and _BACKSLASH in data and self._escapes.search(data):
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
        tally, choices, usage = self._tally, facts.choices, facts.usage
        says = usage is not UNSET and usage is not None
        for choice in choices or ():
            index, reason = choice.index, choice.finish_reason
            is_open = reason is None or reason is UNSET
            if is_open and type(index) is int and index in tally.indexes:
                continue
            if type(index) is not int and index is not UNSET:
                return False  # the exact way may know it as an integer: 1.0 is one
            if not is_open and type(reason) is not str:
                return False
            says = True
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
def _facts_decoder(
    table: Table, stays: tuple[bool, ...], *, requires: bool = False
) -> Callable[[bytes], Any]:
    """Build the decoder of what a table names: facts are parsed, what is changed or kept is raw.

    If it `requires` what is changed, none of that may be missing.
    """
    items: dict[str, list[Any]] = {}
    fields: list[Any] = []
    keys: dict[str, str] = {}
    for name, path, kept in zip(table.names, table.paths, stays, strict=True):
        key, *below = path
        if below:
            items.setdefault(name, []).append((below[-1], Any, UNSET))
        else:
            keys[name] = str(key)
            if requires and not kept:
                fields.append((name, Raw))
            else:
                fields.append((name, Any if kept else Raw | UnsetType, UNSET))
    for key, names in items.items():
        item = msgspec.defstruct("Item", names, gc=False)
        fields = [field for field in fields if field[0] != key]
        fields.append((key, list[item] | UnsetType | None, UNSET))  # type: ignore[valid-type]
    facts = msgspec.defstruct("Facts", fields, rename=keys, gc=False, kw_only=True)
    return msgspec.json.Decoder(facts).decode
