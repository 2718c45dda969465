r"""One event's JSON document, looked at key by key.

In:  a document's bytes, and the Structs that it is meant for.
Out: its values, and what parsers disagree on; the keys that a Struct does not know; what a round
trip has dropped or changed.

Places are written without positions in lists, `choices[].delta`, so that what every chunk has is
one place and not many.

    >>> from fastchunk import wire
    >>> document = parse(b'{"choices":[{"delta":{"a":1,"a":2}}]}')
    >>> document.repeated
    ['a']
    >>> list(find_unknown_keys(document.value, wire.ChatCompletionStreamResponse))
    [('DeltaMessage', 'choices[].delta.a')]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias, cast

from msgspec import Struct, inspect

__all__ = ["Document", "find_losses", "find_unknown_keys", "parse"]

_PLAIN_KEY = re.compile(r"[\w-]{1,64}")
_LONGEST_KEY = 64


class Document(NamedTuple):
    """A parsed document; where a key is repeated, the last value counts."""

    value: Any
    repeated: list[str]
    """The keys that occur more than once in one object."""
    constants: list[str]
    """Every `NaN`, `Infinity` and `-Infinity`, which JSON does not have."""


def parse(data: bytes) -> Document:
    """Parse a document.

    Raises `ValueError` if it is not JSON, and `RecursionError` if it is nested too deeply.
    """
    repeated: list[str] = []
    constants: list[str] = []

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                repeated.append(_write_key(key))
            found[key] = value
        return found

    def note_constant(name: str) -> str:
        constants.append(name)
        return name  # a NaN would differ from itself when a round trip is compared

    value = json.loads(
        data.decode(),  # bytes would be taken for UTF-16 or UTF-32 if they looked like it
        object_pairs_hook=make_object,
        parse_constant=note_constant,
        parse_int=_parse_int,
    )
    return Document(value, repeated, constants)


def _parse_int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more digits than the interpreter converts
        return digits


def find_unknown_keys(
    value: Any, struct_type: type[Struct], place: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield each key that a Struct, or one below it, lacks: the Struct's name, the key's place."""
    known = _structs_by_key(struct_type)
    for key, item in value.items():
        inner = _join_place(place, key)
        if key not in known:
            yield struct_type.__name__, inner
        elif known[key]:
            yield from _find_below(item, known[key], inner)


def _find_below(value: Any, types: Structs, place: str) -> Iterator[tuple[str, str]]:
    """Yield the unknown keys of an object, or of those in a list, that may be of several types."""
    if isinstance(value, list):
        for item in value:
            yield from _find_below(item, types, f"{place}[]")
    elif isinstance(value, dict):
        for struct_type in types:
            config = struct_type.__struct_config__
            if config.tag is None or value.get(config.tag_field) == config.tag:
                yield from find_unknown_keys(value, struct_type, place)


Structs: TypeAlias = "tuple[type[Struct], ...]"


@cache
def _structs_by_key(struct_type: type[Struct]) -> dict[str, Structs]:
    """Map each key of a Struct to the Structs that its values, or their items, may be."""
    info = cast(inspect.StructType, inspect.type_info(struct_type))
    known = {field.encode_name: tuple(_structs_in(field.type)) for field in info.fields}
    return known if info.tag_field is None else {info.tag_field: (), **known}


def _structs_in(info: inspect.Type) -> Iterator[type[Struct]]:
    if isinstance(info, inspect.StructType):
        yield info.cls
    elif isinstance(info, inspect.ListType):
        yield from _structs_in(info.item_type)
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _structs_in(one)


def find_losses(before: Any, after: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a round trip `drops` or `changes`, and where; what it adds is not lost."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            inner = _join_place(place, key)
            if key in after:
                yield from find_losses(value, after[key], inner)
            else:
                yield "drops", inner
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from find_losses(one, other, f"{place}[]")
    elif before != after or type(before) is not type(after):  # 1 and 1.0 are equal
        yield "changes", place


def _join_place(place: str, key: str) -> str:
    return f"{place}.{_write_key(key)}" if place else _write_key(key)


def _write_key(key: str) -> str:
    """Write a key so that a place stays readable: quoted where it is not a plain name, and cut."""
    if _PLAIN_KEY.fullmatch(key):
        return key
    return json.dumps(key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…")
