"""Lossless edits: change what is named in a JSON document, and nothing else.

In:  a JSON object as bytes, and the changes.
Out: the same bytes with the named values replaced, added or removed.
Cost: one pass of the scanner, which finds where the values begin and end, and one copy. A document
that is not plain, because a named key comes twice or is spelled with an escape, is walked exactly.

What no change names keeps its bytes: key order, number spellings, escapes, white space, duplicate
keys. A removed member takes the white space between its commas with it; an added one has none.

    >>> edit(b'{"id": 1e5, "model": "m", "x": null}', {"model": "alias", "x": DROP, "/new": [1]})
    b'{"id": 1e5, "model": "alias","new":[1]}'
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from ._scan_py import Edit, Member, has_duplicates, list_members, scan_once, skip_gap
from .codec import encode_plainly, encode_tree
from .errors import InvalidChunk, place
from .scan import IN_PLACE, MAX_PATHS, PLAIN, Path, Table, quick_editor, splice

__all__ = [
    "DROP",
    "Changes",
    "Drop",
    "edit",
    "edit_encoded",
    "encode_changes",
    "items_at",
    "pointer",
    "table_of",
    "without_duplicates",
]


class Drop(Enum):
    """The type of `DROP`, so that a type checker can tell it from a value."""

    DROP = "DROP"

    def __repr__(self) -> str:
        return self.name


DROP: Final = Drop.DROP
"""In place of a value: remove the key. A missing key is no error."""

Changes: TypeAlias = Mapping[str, Any]
"""Top-level names, or RFC 6901 JSON Pointers (they begin with `/`), each with its new value."""

_INDEX = re.compile("0|[1-9][0-9]*")
_BAD_ESCAPE = re.compile("~(?![01])")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},]')  # of those that part a valid document


def edit_encoded(data: bytes, table: Table, values: Sequence[bytes | None]) -> bytes:
    """Do what `edit` does, with a table of the changes' names and their encoded values."""
    edited = splice(data, table, values)
    return _edit_exactly(data, table, values) if edited is None else edited


def encode_changes(changes: Changes) -> list[bytes | None]:
    """Encode the new values; None stands for `DROP`."""
    return [None if value is DROP else _encode(name, value) for name, value in changes.items()]


def _encode(name: str, value: object) -> bytes:
    try:
        return encode_tree(value)
    except RecursionError:
        reason = "the new value is nested too deeply, or holds itself"
    raise InvalidChunk.single("not_encodable", (name,), f"{name}: {reason}", b"")


@lru_cache(maxsize=256)
def table_of(names: tuple[str, ...]) -> Table:
    """Build the table of changes' names; raises `ValueError` where two of them are in conflict."""
    return Table(_Paths.of(names).paths)


class _Paths(NamedTuple):
    """What of a table the exact way asks for: quick to make, also of thousands of names."""

    paths: list[Path]
    roles: list[int]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> _Paths:
        paths: list[Path] = []
        root: dict[str, Any] = {}  # the steps of all paths; None is under the last one
        for name in names:
            *parents, last = path = _steps(name)
            node: dict[str, Any] | None = root
            for step in parents:
                node = None if node is None else node.setdefault(step, {})
            if node is None or last in node:
                raise ValueError(f"{name!r} changes what another change changes, or a part of it")
            node[last] = None
            paths.append(path)
        return cls(paths, [PLAIN] * len(paths))


def _steps(name: str) -> tuple[str, ...]:
    if not isinstance(name, str):
        raise TypeError(f"a key of changes must be str, not {type(name).__name__}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} has a lone surrogate, which no JSON document holds") from None
    if not name.startswith("/"):
        return (name,)
    if _BAD_ESCAPE.search(name):
        raise ValueError(f"{name!r} is no JSON Pointer: ~ stands only in ~0 and ~1")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in name[1:].split("/"))


def _quickly(exact: Edit) -> Edit:
    return quick_editor(table_of, encode_plainly, DROP, exact)


@_quickly
def edit(data: bytes | bytearray | memoryview, changes: Changes) -> bytes:
    """Apply `changes` to the JSON object in `data`.

    A value replaces the one that is there, or is added at the end of its object; `DROP` removes.
    Of duplicate keys the last is replaced and the others are removed. Values are anything that
    msgspec encodes, `msgspec.Raw` included.

    Raises `InvalidChunk` if `data` is not a JSON object, if the parent of a named value is missing,
    or if a value has no JSON form; `ValueError` for a bad pointer, or for two changes of one place;
    `TypeError` for arguments of other types.
    """
    if type(data) is not bytes:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        data = bytes(data)
    if type(changes) is not dict:
        if not isinstance(changes, Mapping):
            raise TypeError(f"changes must be a mapping, not {type(changes).__name__}")
        changes = dict(changes)
    names = tuple(changes)
    if len(names) > MAX_PATHS:  # a table of so many would find nothing plain
        return _edit_exactly(data, _Paths.of(names), encode_changes(changes))
    table = table_of(names)
    try:
        values = [None if new is DROP else encode_plainly(new) for new in changes.values()]
        edited = splice(data, table, values)
    except (RecursionError, UnicodeEncodeError):
        edited = None  # the exact way says of which value
    if edited is None:
        return _edit_exactly(data, table, encode_changes(changes))
    return edited


def pointer(place: Iterable[str | int]) -> str:
    """Write the keys and indices that lead to a place as an RFC 6901 JSON Pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)


# --- the exact way ------------------------------------------------------------------------------


class _Node(dict[str, Any]):
    """The changes below one object or array, by key or index: a `_Node`, `DROP`, or new text."""


def _edit_exactly(data: bytes, table: Table | _Paths, values: Iterable[bytes | None]) -> bytes:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"invalid UTF-8 at offset {error.start}", (), data) from error
    try:
        begin = skip_gap(text, 0)
        _, end = scan_once(text, begin)
        if skip_gap(text, end) != len(text):
            raise _invalid("more than one JSON document", (), data)
        if text[begin] != "{":
            raise _invalid("expected an object", (), data)
        changes = [
            (path, value)
            for path, role, value in zip(table.paths, table.roles, values, strict=True)
            if role != IN_PLACE or _is_there(text, begin, path)
        ]
        edited = _rewrite(text, begin, _tree(changes), (), data)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _invalid("not a JSON document", (), data) from error
    return (text[:begin] + edited + text[end:]).encode()


def _is_there(text: str, begin: int, path: Path) -> bool:
    """Tell whether a path leads to a value below the object that begins at `begin`."""
    for step in path:
        if text[begin] not in "{[":
            return False
        found = {member.key: member.value for member in list_members(text, begin)[0]}
        begin = found.get(str(step), -1)
        if begin < 0:
            return False
    return True


def _tree(changes: Iterable[tuple[Path, bytes | None]]) -> _Node:
    root = _Node()
    for path, value in changes:
        node = root
        *parents, last = map(str, path)
        for step in parents:
            node = node.setdefault(step, _Node())
        node[last] = DROP if value is None else value.decode()
    return root


def items_at(data: bytes, path: Iterable[str | int]) -> list[bytes]:
    """Return the bytes of the items of the array at `path` in a document that was decoded."""
    text = data.decode()
    at = skip_gap(text, 0)
    for step in path:
        found = {member.key: member.value for member in list_members(text, at)[0]}
        at = found[str(step)]
    return [text[item.value : item.value_end].encode() for item in list_members(text, at)[0]]


def without_duplicates(data: bytes) -> bytes:
    """Return a valid document without the members that another one of the same name follows.

    Itself, if there are none. Any depth will do.
    """
    if not has_duplicates(data):
        return data
    parts = []
    end = 0
    for span_begin, span_end in sorted(_duplicates(data)):
        if span_begin >= end:  # or it is in the one before
            parts.append(data[end:span_begin])
            end = span_end
    return b"".join([*parts, data[end:]])


class _Members:
    """The members of an object that is being gone through."""

    __slots__ = ("begin", "found", "key")

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.key: str | None = None
        self.found: dict[str | None, tuple[int, int]] = {}

    def end(self, at: int) -> tuple[int, int] | None:
        """End a member; return where an earlier one of its name begins and ends."""
        earlier = self.found.get(self.key)
        self.found[self.key] = self.begin, at
        self.begin, self.key = at, None
        return earlier


def _duplicates(data: bytes) -> list[tuple[int, int]]:
    """List where those members begin and end that another one follows, their commas included."""
    spans: list[tuple[int, int]] = []
    levels: list[_Members | None] = []  # None for an array
    for token in _TOKEN.finditer(data):
        kind = token[0][:1]
        members = levels[-1] if levels else None
        if kind == b'"':
            if members is not None and members.key is None:
                members.key = json.loads(token[0], strict=False)
        elif kind in b"{[":
            levels.append(_Members(token.end()) if kind == b"{" else None)
        else:
            earlier = None if members is None else members.end(token.end())
            if earlier is not None:
                spans.append(earlier)
            if kind in b"}]":
                levels.pop()
    return spans


def _rewrite(text: str, begin: int, node: _Node, loc: tuple[str, ...], data: bytes) -> str:
    """Return the object or array that begins at `begin`, with the changes below it made."""
    if text[begin] not in "{[":
        raise _invalid("expected an object or an array", loc, data)
    is_object = text[begin] == "{"
    members, end = list_members(text, begin)
    last = {member.key: member for member in members}
    _refuse_missing(node, last, loc, data, is_object=is_object)
    parts = []
    for member in members:
        change = node.get(member.key)
        if change is None:
            parts.append(text[member.begin : member.end])
        elif change is not DROP and member is last[member.key]:
            if isinstance(change, _Node):
                change = _rewrite(text, member.value, change, (*loc, member.key), data)
            before, after = text[member.begin : member.value], text[member.value_end : member.end]
            parts.append(f"{before}{change}{after}")
    for key, change in node.items():
        if key not in last and change is not DROP:
            parts.append(f"{msgspec.json.encode(key).decode()}:{change}")
    if not members and not parts:  # an empty one may hold white space
        return text[begin:end]
    return f"{{{','.join(parts)}}}" if is_object else f"[{','.join(parts)}]"


def _refuse_missing(
    node: _Node,
    members: Mapping[str, Member],
    loc: tuple[str, ...],
    data: bytes,
    *,
    is_object: bool,
) -> None:
    for key, change in node.items():
        if not is_object and not _INDEX.fullmatch(key):
            raise _invalid(f"{key!r} is no index of an array", loc, data)
        if key not in members and (isinstance(change, _Node) or not (is_object or change is DROP)):
            raise _invalid("it is missing", (*loc, key), data)


def _invalid(reason: str, loc: tuple[str, ...], data: bytes) -> InvalidChunk:
    message = f"{place(loc)}: {reason}"
    return InvalidChunk.single("not_editable", loc, message, data)
