"""Lossless edits: change what is named in a JSON document, and nothing else.

In:  a JSON object as bytes, and the changes.
Out: the same bytes with the named values replaced, added or removed.
Cost: for a top-level key that occurs once, as in a restamp, one validating pass and one search;
for everything else a parse that finds out where each value begins and ends.

What no change names keeps its bytes: key order, number spellings, escapes, white space, duplicate
keys. A removed member takes the white space between its commas with it; an added one has none.

    >>> edit(b'{"id": 1e5, "model": "m", "x": null}', {"model": "alias", "x": DROP, "/new": [1]})
    b'{"id": 1e5, "model": "alias","new":[1]}'
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .codec import encode_tree
from .errors import InvalidChunk, place

__all__ = ["DROP", "Changes", "Drop", "edit", "items_at"]


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
_COLON, _SPACE, _BACKSLASH = 0x3A, 0x20, 0x5C
_GAP = re.compile(r"[ \t\n\r]*")
# Only where a value ends is of interest: its numbers need not be made.
_scan_once: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(
    parse_int=str, parse_float=str
).raw_decode


def edit(data: bytes | bytearray | memoryview, changes: Changes) -> bytes:
    """Apply `changes` to the JSON object in `data`.

    A value replaces the one that is there, or is added at the end of its object; `DROP` removes.
    Of duplicate keys the last is replaced and the others are removed. Values are anything that
    msgspec encodes, `msgspec.Raw` included.

    Raises `InvalidChunk` if `data` is not a JSON object, or if the parent of a named value is
    missing; `ValueError` for a bad pointer, or for two changes of one place.
    """
    if type(data) is not bytes:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        data = bytes(data)
    edited = data
    for key, value in changes.items():
        one = _edit_one(edited, key, value)
        if one is None:
            return _edit_exactly(data, changes)
        edited = one
    return edited


# --- a top-level key that occurs once, or not at all --------------------------------------------


@lru_cache(maxsize=256)
def _place(key: str) -> tuple[Callable[[bytes], Any], bytes] | None:
    r"""Build the decoder of one top-level key's raw value, and the key's text.

    None for pointers and for keys that JSON may spell in two ways without a `\u`.
    """
    if not isinstance(key, str) or not key.isprintable() or set(key) & {"/", '"', "\\"}:
        return None
    shape = msgspec.defstruct(
        "Shape", [("value", Raw | UnsetType, UNSET)], rename={"value": key}, gc=False
    )
    return msgspec.json.Decoder(shape).decode, msgspec.json.encode(key)


def _edit_one(data: bytes, key: str, value: Any) -> bytes | None:  # noqa: PLR0911
    r"""Change a top-level key where it is proven which bytes it is; else return None.

    Without a `\u` in it, a document spells the key in one way. If that text occurs once, not
    behind a backslash, and the decoder, which goes through all of the document, finds the key at
    the top level, that occurrence is the key.
    """
    place = _place(key)
    if place is None or (_BACKSLASH in data and data.find(b"\\u") >= 0):
        return None
    decode, token = place
    parts = data.split(token)
    try:
        if not data.isascii():
            data.decode()
        raw = decode(data).value
        if raw is UNSET:
            return _add_one(data, token, value)
        if len(parts) != 2 or parts[0][-1] == _BACKSLASH:
            return None
        before, after = parts
        if after[0] != _COLON or after[1] <= _SPACE:
            return None
        rest = after[1 + len(bytes(raw)) :]
        if value is DROP:
            return _drop_one(before, rest)
        return before + token + b":" + encode_tree(value) + rest
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None  # the exact way finds out what is wrong


def _add_one(data: bytes, token: bytes, value: Any) -> bytes | None:
    if value is DROP:
        return data
    if data[-1:] != b"}" or data[-2:-1] in b"{ \t\n\r":
        return None
    return b"%b,%b:%b}" % (data[:-1], token, encode_tree(value))


def _drop_one(before: bytes, rest: bytes) -> bytes | None:
    if rest[:1] == b"," and before[-1:] in (b"{", b","):
        return before + rest[1:]
    if rest[:1] == b"}" and before[-1:] == b",":
        return before[:-1] + rest
    return None


# --- everything else ----------------------------------------------------------------------------


class _Node(dict[str, Any]):
    """The changes below one object or array, by key or index: a `_Node`, `DROP`, or new text."""


def _edit_exactly(data: bytes, changes: Changes) -> bytes:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"invalid UTF-8 at offset {error.start}", (), data) from error
    try:
        _, end = _scan_once(text, _gap(text, 0))
        if _gap(text, end) != len(text):
            raise _invalid("more than one JSON document", (), data)
        begin = _gap(text, 0)
        if text[begin] != "{":
            raise _invalid("expected an object", (), data)
        edited = _rewrite(text, begin, _tree(changes), (), data)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _invalid("not a JSON document", (), data) from error
    return (text[:begin] + edited + text[end:]).encode()


def _tree(changes: Changes) -> _Node:
    root = _Node()
    for name, value in changes.items():
        *parents, last = _tokens(name)
        node = root
        for token in parents:
            node = node.setdefault(token, _Node())
            if not isinstance(node, _Node):
                raise ValueError(f"another change replaces a parent of {name!r}")
        if last in node:
            raise ValueError(f"another change is about {name!r}, or about something in it")
        node[last] = DROP if value is DROP else encode_tree(value).decode()
    return root


def _tokens(name: str) -> list[str]:
    if not isinstance(name, str):
        raise TypeError(f"a key of changes must be str, not {type(name).__name__}")
    if not name.startswith("/"):
        return [name]
    if _BAD_ESCAPE.search(name):
        raise ValueError(f"{name!r} is no JSON Pointer: ~ stands only in ~0 and ~1")
    return [token.replace("~1", "/").replace("~0", "~") for token in name[1:].split("/")]


class _Member(NamedTuple):
    """One member of an object or array, with the white space up to its commas."""

    key: str
    begin: int
    value: int
    value_end: int
    end: int


def _members(text: str, begin: int) -> tuple[list[_Member], int]:
    """List the members of the object or array that begins at `begin`, and where it ends."""
    is_object = text[begin] == "{"
    found: list[_Member] = []
    start = begin + 1
    if text[_gap(text, start)] in "}]":
        return found, _gap(text, start) + 1
    while True:
        at, key = _gap(text, start), str(len(found))
        if is_object:
            key, at = _scan_once(text, at)
            at = _gap(text, _gap(text, at) + 1)
        _, value_end = _scan_once(text, at)
        end = _gap(text, value_end)
        found.append(_Member(key, start, at, value_end, end))
        if text[end] != ",":
            return found, end + 1
        start = end + 1


def items_at(data: bytes, path: Iterable[str | int]) -> list[bytes]:
    """Return the bytes of the items of the array at `path` in a document that was decoded."""
    text = data.decode()
    at = _gap(text, 0)
    for step in path:
        found = {member.key: member.value for member in _members(text, at)[0]}
        at = found[str(step)]
    return [text[item.value : item.value_end].encode() for item in _members(text, at)[0]]


def _rewrite(text: str, begin: int, node: _Node, loc: tuple[str, ...], data: bytes) -> str:
    """Return the object or array that begins at `begin`, with the changes below it made."""
    if text[begin] not in "{[":
        raise _invalid("expected an object or an array", loc, data)
    is_object = text[begin] == "{"
    members, end = _members(text, begin)
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
    members: Mapping[str, _Member],
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


def _gap(text: str, at: int) -> int:
    match = _GAP.match(text, at)
    return match.end() if match else at


def _invalid(reason: str, loc: tuple[str, ...], data: bytes) -> InvalidChunk:
    message = f"{place(loc)}: {reason}"
    return InvalidChunk.single("not_editable", loc, message, data)
