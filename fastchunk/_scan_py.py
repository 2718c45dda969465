r"""The scanner in Python: exact, and as fast as msgspec's decoder and a search allow.

`scan` walks a document with the standard library's JSON scanner. `splice` takes a shorter way: it
lets msgspec decode the named value, which validates the whole document, and then looks for the
value's key. Without a `\u` in it, a document spells a key in one way. So where each key of a path
occurs once, not behind a backslash, and the decoder has found the path, that occurrence is the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

__all__ = [
    "DONE",
    "Alike",
    "Edit",
    "Forwarder",
    "Look",
    "Looker",
    "Member",
    "Path",
    "Reader",
    "Table",
    "Tally",
    "cut_plain",
    "guarded_decoder",
    "has_duplicates",
    "is_plain",
    "list_members",
    "plain_events",
    "quick_editor",
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


class Way(NamedTuple):
    """How a path's value is found."""

    decode: Callable[[bytes], Any]
    steps: list[int | None]
    """From the decoded document to the raw value: an index, or None for the attribute `value`."""
    parents: tuple[bytes, ...]
    token: bytes


PLAIN, FACT, LATEST, IN_PLACE = range(4)
"""What a path's value is to its table: nothing special; a fact, so that a `Forwarder` leaves events
with other facts to its caller; something of which the latest object is kept, with only its kind as
a fact; something that is changed where it is, and never added."""

Made = TypeVar("Made")
Look: TypeAlias = "Callable[[Any, bytes], bytes | tuple[bytes, bytes | None] | None]"
"""Takes a chunk and its data; returns the data if the chunk leaves as it came, other data to take
its place, or None to withhold it; or a pair of whole blocks that go before it and of that."""
Alike: TypeAlias = "Callable[[bytes], bytes | tuple[bytes, bytes | None] | None]"
"""Takes an event's data; returns the same for one that need not be decoded, or else None."""
Decode = TypeVar("Decode", bound=Callable[..., Any])
Edit = TypeVar("Edit", bound=Callable[..., bytes])

DONE = b"[DONE]"
"""The data of the event that ends a stream of chunks."""

_COLON, _SPACE, _BACKSLASH, _RETURN = 0x3A, 0x20, 0x5C, 0x0D
_MAX_OPENINGS = 400  # of brackets in a document that is surely not too deep
_GAP = re.compile(r"[ \t\n\r]*")


class Table:
    """Paths to look for."""

    def __init__(self, paths: Iterable[Path], roles: Sequence[int] | None = None) -> None:
        """Take the paths, and the role of each; without roles all of them are `PLAIN`."""
        self.paths = list(paths)
        self.roles = list(roles or [PLAIN] * len(self.paths))
        self.ways = [_way_to(path) for path in self.paths]
        """How `splice` finds each path; None where it does not try."""
        self.names = [
            f"changed_{number}" if role in {PLAIN, IN_PLACE} else str(path[0])
            for number, (path, role) in enumerate(zip(self.paths, self.roles, strict=True))
        ]
        """What a `Forwarder` calls each path's first key: those that it changes are any strings."""
        keys = {step for path in self.paths for step in path if step is not None}
        self.tokens = [msgspec.json.encode(key) for key in keys]
        """Every key of the paths, as a document spells it."""


class Tally:
    """What a stream has said so far: how many chunks and other events, and what was in them."""

    def __init__(self) -> None:
        self.chunks = self.others = 0
        self.done = False
        self.usage_data: bytes | None = None
        self.indexes: set[int] = set()
        self.finish_reasons: dict[int, str] = {}

    def note(self, chunk: Any) -> None:
        """Take note of a chunk: of its choices, of their finish reasons, and of its usage."""
        self.chunks += 1
        if chunk.choices:
            self._note_choices(chunk.choices)
        if chunk.usage is not UNSET and chunk.usage is not None:
            self._note_usage(chunk.usage)

    def _note_usage(self, usage: Any) -> None:
        # Whoever gets the chunk may change its usage, so it is not the Struct that is kept.
        data = bytes(usage) if type(usage) is Raw else msgspec.json.encode(usage)
        if data[:1] == b"{":
            self.usage_data = data

    def _note_choices(self, choices: list[Any]) -> None:
        for position, choice in enumerate(choices):
            index, reason = choice.index, choice.finish_reason
            if type(index) is not int:
                index = position
            self.indexes.add(index)
            if reason and type(reason) is str:
                self.finish_reasons[index] = reason


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


def is_plain(data: bytes, table: Table) -> bool:
    """Tell whether each key that leads to a table's paths comes once.

    The document has to be valid. "No" is always safe to say.
    """
    if data.count(b"{") + data.count(b"[") > _MAX_OPENINGS:
        return False  # it may be nested deeper than an edit goes
    if data.find(b"\\u") < 0 and all(data.count(token) <= 1 for token in table.tokens):
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
    return _Change("", way.token, value, adds=adds).make(data, raw)


class _Change:
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


@lru_cache(maxsize=256)
def _way_to(path: Path) -> Way | None:
    r"""Build what finds a path's raw value, and the texts of its keys.

    None for a path that does not end in a key, and for keys that JSON may spell in two ways
    without a `\u`.
    """
    keys = [step for step in path if step is not None and not step.isdigit()]
    if not keys or keys[-1] != path[-1] or len(set(keys)) < len(keys):
        return None
    if None in path or not all(map(_is_plain, keys)):
        return None
    *parents, token = map(msgspec.json.encode, keys)
    shape, steps = _shape_of(path)
    return Way(msgspec.json.Decoder(shape).decode, steps, tuple(parents), token)


def _is_plain(key: str) -> bool:
    return key.isprintable() and not set(key) & {"/", '"', "\\"}


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
            shape = msgspec.defstruct("Shape", fields, rename={"value": str(step)}, gc=False)
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
    if whole[-2:] == b"\n\n" and whole.find(b"\n") == len(whole) - 2 and _RETURN not in whole:
        return ([whole[6:-2]], b"\n\n") if whole[:6] == b"data: " else None
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


def plain_events(whole: bytes, make: Callable[[bytes], Made]) -> list[Made] | None:
    """Make an event of each block's data; None if there is a block of another shape, or a CRLF."""
    plain = cut_plain(whole)
    return list(map(make, plain[0])) if plain is not None and len(plain[1]) == 2 else None


# --- reads --------------------------------------------------------------------------------------


class Forwarder:
    """Passes on events that ask for no decision, and makes a table's changes to them."""

    def __init__(self, table: Table, values: Sequence[Value], tally: Tally, limit: int) -> None:
        """Take the table and what becomes of each of its paths, as `splice` does."""
        self.ready = False
        """Whether a read begins with a block."""
        self._tally = tally
        self._limit = limit
        self._changes: list[_Change] = []
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
                self._changes.append(_Change(name, way.token, value, adds=role != IN_PLACE))
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
            if _RETURN not in data and (data.isascii() or _is_utf8(data)):
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
            return data if _is_done(data, self._tally) else None
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


def _is_done(data: bytes, tally: Tally) -> bool:
    """Tell whether an event ends its stream, and take note of it."""
    if data != DONE:
        return False
    tally.others += 1
    tally.done = True
    return True


def guarded_decoder(fast: Decode, otherwise: Decode) -> Decode:  # noqa: ARG001
    """Build a decode function; the compiled one lets `fast` decode what passes a cheap check."""
    return otherwise


class Reader:
    """Decodes chunks that ask for no decision, up to `[DONE]`."""

    def __init__(
        self,
        decode: Callable[[bytes], Any],
        tally: Tally,
        limit: int,
        silent: frozenset[type] | None = None,
    ) -> None:
        """Take a decode function for UTF-8, in which what is absent is `UNSET`.

        `silent` are the types of events that say nothing of their stream; None: it decodes chunks.
        """
        self.ready = False
        """Whether a read begins with a block."""
        self._decode = decode
        self._tally = tally
        self._limit = limit
        self._silent = silent
        self._done: tuple[list[Any], int] = ([], 0)

    def feed(self, data: object) -> list[Any] | None:
        """Take a read of whole events and return its chunks; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes or len(data) > self._limit:
            return None
        plain = cut_plain(data)
        if plain is None:
            return None
        found, ends = plain
        chunks: list[Any] = []
        at = 0
        for event in found:
            chunk = self.read(event)
            if chunk is None:
                self.ready = False
                if _is_done(event, self._tally):
                    return chunks  # nothing is looked at that comes behind it
                self._done = (chunks, at)
                return None
            chunks.append(chunk)
            at += len(event) + len(ends) + 6
        return chunks

    def rest(self) -> tuple[list[Any], int]:
        """Return the chunks that `feed` has decoded already, and how many bytes of the read."""
        done, self._done, self.ready = self._done, ([], 0), False
        return done

    def read(self, data: bytes) -> Any:
        """Decode one event's data; None if it asks for a decision."""
        try:
            if not data.isascii():
                data.decode()
            chunk = self._decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        if self._silent is not None:
            if type(chunk) not in self._silent:
                return None
            self._tally.chunks += 1
            return chunk
        if not _is_plain_chunk(chunk):
            return None
        self._tally.note(chunk)
        return chunk


class Looker:
    """Passes on what a function says of each chunk, and leaves what asks for another decision."""

    def __init__(self, reader: Reader, look: Look, limit: int, alike: Alike | None = None) -> None:
        """Take what decodes events, and the function; `alike` is given an event's data first."""
        self.ready = False
        """Whether a read begins with a block."""
        self._read = reader.read
        self._look = look
        self._alike = alike
        self._limit = limit
        self._done = (b"", 0)

    def feed(self, data: object) -> bytes | None:
        """Take a read of whole events and return what leaves; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes or len(data) > self._limit:
            return None
        self.ready = False  # unless nothing is raised
        out, at = self.forward(data, 0)
        if at == len(data):
            self.ready = True
            return out
        self._done = out, at
        return None

    def rest(self) -> tuple[bytes, int]:
        """Return what has been passed on already, and how many bytes of the read that was."""
        done, self._done, self.ready = self._done, (b"", 0), False
        return done

    def forward(self, whole: bytes, begin: int) -> tuple[bytes, int]:
        """Pass events on from `begin` up to one that asks for a decision."""
        read, look, alike = self._read, self._look, self._alike
        parts: list[bytes] = []
        at = kept = begin
        try:
            for start, stop, end in _cut_named(whole, begin):
                data = whole[start:stop]
                left = alike(data) if alike else None
                if left is None:
                    chunk = read(data)
                    if chunk is None:
                        break
                    left = look(chunk, data)
                if left is not data:
                    parts.append(whole[kept:at])
                    if isinstance(left, tuple):
                        before, left = left
                        parts.append(before)
                    kept = end
                    if left is not None:
                        parts += [whole[at:start], left, whole[stop:end]]
                at = end
        except BaseException:
            self._done = b"".join(parts) + whole[kept:at], 0
            raise
        if not parts:
            return (whole if at - begin == len(whole) else whole[begin:at]), at
        parts.append(whole[kept:at])
        return b"".join(parts), at


_NAMED = re.compile(rb"(?:event: (?!error\r?\n)[^\r\n]*\r?\n)?data: ([^\r\n]*)(\r?\n\r?\n)")


def _cut_named(whole: bytes, begin: int) -> Iterator[tuple[int, int, int]]:
    """Find where the data of blocks of the usual shapes is, and where each ends, from `begin` on.

    Such a block is one line of data, or two lines, of which the first names the event.
    """
    match = _NAMED.match(whole, begin)
    while match:
        start, stop = match.span(1)
        yield start, stop, match.end()
        match = _NAMED.match(whole, match.end())


def _is_plain_chunk(chunk: Any) -> bool:
    """Tell whether an event is a chunk by its choices, and has no error."""
    return chunk.choices is not UNSET and (chunk.error is None or chunk.error is UNSET)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cut_utf8(whole: bytes) -> tuple[list[bytes], bytes] | None:
    return cut_plain(whole) if whole.isascii() or _is_utf8(whole) else None


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
