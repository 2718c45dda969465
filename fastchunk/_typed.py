"""Typed changes without loss: what a changed chunk says, in the data that it was decoded from.

In:  a chunk's data, the chunk after somebody has changed it, and the items that its lists had.
Out: the data with just the values that differ; every other byte is as it came.
Cost: where the first delta's text is all that differs, a search and one decode that proves it;
otherwise the comparison of every field and an exact edit.

Keys that the Structs do not know stay in their places, at every level. The items of a list are
told apart by identity: one that was there before keeps its bytes wherever it now stands, one that
was not is encoded, and one that is gone is gone. A list whose items are other ones than before has
no white space between them.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct

from . import wire
from ._template import TEXTS
from .codec import encode, encode_tree
from .edit import DROP, edit, items_at
from .errors import InvalidChunk

__all__ = ["Lists", "keep", "lists_of"]

Chunk = wire.ChatCompletionStreamResponse
Path: TypeAlias = tuple[str | int, ...]
Lists: TypeAlias = dict[Path, list[Any]]
"""The items of every list of Structs in a chunk, by its place: as they were when handed out."""

_BACKSLASH = 0x5C
_CONTENT = b'"content"'
_ITEMS = re.compile(rb'"content"[ \t]*:[ \t]*\[')


def lists_of(chunk: Chunk) -> Lists:
    """List the items of a chunk's lists, before somebody may change them."""
    choices = chunk.choices
    if not choices:
        return {}
    for choice in choices:
        if choice.logprobs or (choice.delta and choice.delta.tool_calls):
            found: Lists = {}
            _find_lists(chunk, (), found)
            return found
    return {("choices",): choices[:]}


def _find_lists(struct: Struct, path: Path, found: Lists) -> None:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, Struct):
            _find_lists(value, (*path, name), found)
        elif isinstance(value, list) and value and isinstance(value[0], Struct):
            found[(*path, name)] = value[:]
            for index, item in enumerate(value):
                _find_lists(item, (*path, name, index), found)


def keep(data: bytes, chunk: Chunk, lists: Lists) -> bytes:
    """Return the data that says what the chunk says; itself, if it does already.

    Raises `InvalidChunk` where a value that was put in has no JSON form.
    """
    candidate = _with_text(data, chunk)
    if candidate is not None and wire.decode(candidate) == chunk:
        return data if candidate == data else candidate
    before = wire.decode(data)
    if before == chunk:
        return data
    try:
        return edit(data, _Changes(_Source(data, lists), ()).between(before, chunk))
    except (InvalidChunk, RecursionError):  # nested deeper than the interpreter lets an edit go
        return encode(chunk)


def _with_text(data: bytes, chunk: Chunk) -> bytes | None:
    r"""Put the content of a chunk's only delta into its data, where it is plain which one it is.

    Without a `\u`, a document spells the key in one way. If it is there once but for keys of
    arrays, it is the key of the delta or of nothing that was decoded.
    """
    choices = chunk.choices
    if type(choices) is not list or len(choices) != 1 or not choices[0].delta:
        return None
    text = choices[0].delta.content
    escaped = _BACKSLASH in data
    if type(text) is not str or (escaped and data.find(b"\\u") >= 0):
        return None
    found = TEXTS["content"].search(data)
    if found is None:
        return None
    count = data.count(_CONTENT)
    if count != 1 and count - len(_ITEMS.findall(data)) != 1:
        return None
    return data[: found.start(1)] + encode_tree(text) + data[found.end(1) :]


class _Source(msgspec.Struct, frozen=True, gc=False):
    """Where the items of lists are found: the data, and the lists as they were handed out."""

    data: bytes
    lists: Lists


class _Changes:
    """Collects the edits that make the object at `root` say what a changed Struct says."""

    def __init__(self, source: _Source, root: Path) -> None:
        self._source = source
        self._root = root
        self._found: dict[str, Any] = {}

    def between(self, before: Struct, after: Struct) -> dict[str, Any]:
        """Compare the Structs of that object, and return the edits."""
        self._compare(before, after, self._root)
        return self._found

    def _compare(self, before: Struct, after: Struct, at: Path) -> None:
        for name in after.__struct_fields__:
            old, new = getattr(before, name), getattr(after, name)
            place = *at, name
            if old is new or old == new:
                continue
            if isinstance(new, Struct) and type(old) is type(new):
                self._compare(old, new, place)
            elif isinstance(new, list) and place in self._source.lists:
                self._compare_items(old, new, place)
            else:
                self._put(place, DROP if new is UNSET else new)

    def _compare_items(self, old: list[Any], new: list[Any], at: Path) -> None:
        handed = {id(item): index for index, item in enumerate(self._source.lists[at])}
        places = [handed.get(id(item)) for item in new]
        if places == list(range(len(old))):
            for index, item in enumerate(new):
                self._compare(old[index], item, (*at, index))
            return
        parts, items = [], items_at(self._source.data, at)
        for item, place in zip(new, places, strict=True):
            if place is None:
                parts.append(encode_tree(item))
            else:
                changes = _Changes(self._source, (*at, place)).between(old[place], item)
                parts.append(edit(items[place], changes))
        self._put(at, list(map(Raw, parts)))

    def _put(self, place: Path, value: Any) -> None:
        pointer = "".join(f"/{step}" for step in place[len(self._root) :])
        self._found[pointer] = value
