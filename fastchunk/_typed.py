"""Typed changes without loss: what a changed chunk says, in the data that it was decoded from.

In:  a chunk's data, the chunk after somebody has changed it, and the items that its lists had.
Out: the data with just the values that differ; every other byte is as it came.
Cost: where the first delta's text is all that differs, a search and one decode that proves it;
otherwise the comparison of every field and an exact edit.

Keys that the Structs do not know stay in their places, at every level. The items of a list are
told apart by identity: one that was there before keeps its bytes wherever in its list it now
stands, one that was not is encoded, and one that is gone is gone. A list whose items are other ones
than before has no white space between them. A value of any other kind, such as a `content` that is
a list of parts, is written anew as a whole if anything in it differs.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct

from . import wire
from ._learner import TEXTS, has_one
from .codec import encode, encode_tree
from .edit import DROP, edit, items_at
from .errors import InvalidChunk

__all__ = ["Lists", "keep", "lists_of"]

Chunk = wire.ChatCompletionStreamResponse
Path: TypeAlias = tuple[str | int, ...]
Lists: TypeAlias = dict[Path, list[Any]]
"""The items of every list of Structs in a chunk, by its place: as they were when handed out."""

_decode_string = msgspec.json.Decoder(str).decode


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

    Where the data is nested deeper than the interpreter lets an edit go, the chunk is encoded anew.
    Raises `InvalidChunk` where a value that was put in has no JSON form.
    """
    try:
        candidate = _with_text(data, chunk, lists)
        if candidate is not None and wire.decode(candidate) == chunk:
            return candidate
        before = wire.decode(data)
        if before == chunk:
            return data
        return edit(data, _Changes(_Source(data, lists), ()).between(before, chunk))
    except (InvalidChunk, RecursionError):
        return encode(chunk)


def _with_text(data: bytes, chunk: Chunk, lists: Lists) -> bytes | None:
    """Put the new content of a chunk's only delta into its data, if it is plain where."""
    text = _content_of_one(chunk.choices, lists)
    if text is None or not has_one(data, "content"):
        return None
    found = TEXTS["content"].search(data)
    if found is None or _decode_string(found[1]) == text:
        return None
    return data[: found.start(1)] + encode_tree(text) + data[found.end(1) :]


def _content_of_one(choices: object, lists: Lists) -> str | None:
    """Return the content of the only choice, if it is the one that was handed out, and text."""
    handed = lists.get(("choices",), ())
    if type(choices) is not list or len(choices) != 1 or len(handed) != 1:
        return None
    if choices[0] is not handed[0] or type(choices[0].delta) is not wire.DeltaMessage:
        return None
    content = choices[0].delta.content
    return content if type(content) is str else None


class _Source:
    """Where the items of lists are found: the data, and the lists as they were handed out."""

    def __init__(self, data: bytes, lists: Lists) -> None:
        self.lists = lists
        self._data = data
        self._found: dict[Path, list[bytes]] = {}

    def items(self, path: Path) -> list[bytes]:
        """Return the bytes of a list's items; those of a list in a list are looked for in its item.

        So each is gone through once on every level, however many lists there are.
        """
        if path not in self._found:
            indices = [at for at, step in enumerate(path) if isinstance(step, int)]
            within = self._data
            for at in indices[-1:]:
                within = self.items(path[:at])[int(path[at])]
            self._found[path] = items_at(within, path[indices[-1] + 1 :] if indices else path)
        return self._found[path]


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
        parts = []
        for item, place in zip(new, places, strict=True):
            if place is None:
                parts.append(encode_tree(item))
            else:
                changes = _Changes(self._source, (*at, place)).between(old[place], item)
                parts.append(edit(self._source.items(at)[place], changes))
        self._put(at, list(map(Raw, parts)))

    def _put(self, place: Path, value: Any) -> None:
        pointer = "".join(f"/{step}" for step in place[len(self._root) :])
        self._found[pointer] = value
