"""Typed changes without loss: puts what a changed chunk says into the data that it came in.

In:  a chunk's data, the chunk after somebody has changed it, and the items that its lists had.
Out: the data with just the values that differ; every other byte is as it came.
Cost: where the first choice's content is all that differs, one edit and one decode that proves it;
otherwise a decode, the comparison of every field, and an edit.

Keys that the Structs do not know stay in their places, at every level. The items of a list are
told apart by identity: one that was there before keeps its bytes wherever in its list it now
stands, one that was not is encoded, and one that is gone is gone. A list whose items are other ones
than before has no white space between them. A value of any other kind, such as a `content` that is
a list of parts, is written anew as a whole if anything in it differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import UNSET, Raw, Struct

from . import wire
from .codec import UnknownEvent, encode, encode_tree
from .dialect import Place
from .edit import DROP, edit, items_at, pointer, table_of
from .errors import InvalidChunk
from .scan import splice

__all__ = ["Handed", "handed_of", "merge"]

Chunk = wire.ChatCompletionStreamResponse
Lists: TypeAlias = dict[Place, list[Any]]
"""The items of every list of Structs in a chunk, by its place: as they were when handed out."""
Handed: TypeAlias = "tuple[Any, Any] | Lists"
"""What is kept of a chunk: its lists; or, where a choice is the only item in any, that and its
content."""

_CHOICES = ("choices",)
_CONTENT = table_of(("/choices/0/delta/content",))


def handed_of(chunk: Any) -> Handed:
    """Keep what a chunk's lists hold, before somebody may change them.

    Of other families' events these are the choices: another list that is changed is written anew.
    """
    if type(chunk) is not Chunk:
        choices = getattr(chunk, "choices", None)
        return {_CHOICES: choices[:]} if choices else {}
    choices = chunk.choices
    if not choices:
        return {}
    if len(choices) == 1:
        choice = choices[0]
        delta = choice.delta
        if delta and not delta.tool_calls and not choice.logprobs:
            return choice, delta.content
    return _lists_below(choices)


def _lists_below(choices: list[wire.ChatCompletionResponseStreamChoice]) -> Lists:
    found: Lists = {_CHOICES: choices[:]}
    for index, choice in enumerate(choices):
        delta, logprobs = choice.delta, choice.logprobs
        if delta and delta.tool_calls:
            found["choices", index, "delta", "tool_calls"] = delta.tool_calls[:]
        if isinstance(logprobs, wire.ChatCompletionLogProbs):
            _add_logprobs(logprobs, ("choices", index, "logprobs"), found)
    return found


def _add_logprobs(logprobs: wire.ChatCompletionLogProbs, place: Place, found: Lists) -> None:
    for name in logprobs.__struct_fields__:
        tokens = getattr(logprobs, name)
        if _holds_structs(tokens):
            found[(*place, name)] = tokens[:]
            for index, token in enumerate(tokens):
                if _holds_structs(token.top_logprobs):
                    found[(*place, name, index, "top_logprobs")] = token.top_logprobs[:]


def _holds_structs(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Struct)


def merge(
    data: bytes, chunk: Any, handed: Handed, decode: Callable[[bytes], Any] = wire.decode
) -> bytes:
    """Return the data that says what the chunk says; itself, if it does already.

    `decode` is the function that the chunk was decoded with.

    Where the data is nested deeper than the interpreter lets an edit go, the chunk is encoded anew.
    Raises `InvalidChunk` where a value that was put in has no JSON form.
    """
    try:
        candidate = _with_content(data, chunk, *handed) if type(handed) is tuple else None
        if candidate is not None and decode(candidate) == chunk:
            return candidate
        before = decode(data)
        if before == chunk:
            return data
        if type(before) is not type(chunk) or isinstance(chunk, UnknownEvent):
            return encode(chunk)
        lists: Lists = {_CHOICES: [handed[0]]} if isinstance(handed, tuple) else handed
        changes = _Changes(_Source(data, lists), ()).between(before, chunk)
        return edit(data, changes) if changes else data
    except (InvalidChunk, RecursionError):
        return encode(chunk)


def _with_content(data: bytes, chunk: Chunk, choice: Any, before: object) -> bytes | None:
    """Put the new content of a chunk's only choice into its data, where it is plain where."""
    choices = chunk.choices
    if type(choices) is not list or len(choices) != 1:
        return None
    if choices[0] is not choice or type(choice.delta) is not wire.DeltaMessage:
        return None
    content = choice.delta.content
    if type(content) is not str or content == before:
        return None
    return splice(data, _CONTENT, [encode_tree(content)])


class _Source:
    """Where the items of lists are found: the data, and the lists as they were handed out."""

    def __init__(self, data: bytes, lists: Lists) -> None:
        self.lists = lists
        self._data = data
        self._found: dict[Place, list[bytes]] = {}

    def items(self, place: Place) -> list[bytes]:
        """Return the bytes of a list's items; those of a list in a list are looked for in its item.

        So each is gone through once on every level, however many lists there are.
        """
        if place not in self._found:
            indices = [at for at, step in enumerate(place) if isinstance(step, int)]
            within = self._data
            for at in indices[-1:]:
                within = self.items(place[:at])[int(place[at])]
            below = place[indices[-1] + 1 :] if indices else place
            self._found[place] = items_at(within, below)
        return self._found[place]


class _Changes:
    """Collects the edits that make the object at `root` say what a changed Struct says."""

    def __init__(self, source: _Source, root: Place) -> None:
        self._source = source
        self._root = root
        self._found: dict[str, Any] = {}

    def between(self, before: Struct, after: Struct) -> dict[str, Any]:
        """Compare the Structs of that object, and return the edits."""
        self._compare(before, after, self._root)
        return self._found

    def _compare(self, before: Struct, after: Struct, at: Place) -> None:
        for name, key in zip(after.__struct_fields__, after.__struct_encode_fields__, strict=True):
            old, new = getattr(before, name), getattr(after, name)
            place = *at, key
            if old is new or old == new:
                continue
            if isinstance(new, Struct) and type(old) is type(new):
                self._compare(old, new, place)
            elif isinstance(new, list) and place in self._source.lists:
                self._compare_items(old, new, place)
            elif old is UNSET or new is UNSET or encode_tree(old) != encode_tree(new):
                # The encoded values are compared because NaN is not equal to itself.
                self._put(place, DROP if new is UNSET else new)

    def _compare_items(self, old: list[Any], new: list[Any], at: Place) -> None:
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

    def _put(self, place: Place, value: Any) -> None:
        self._found[pointer(place[len(self._root) :])] = value
