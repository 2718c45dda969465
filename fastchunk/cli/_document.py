r"""One event's JSON document, looked at key by key.

In:  a document's bytes, and the Structs that it is meant for.
Out: its values with what parsers disagree on; the keys that a Struct does not know; what a round
trip has dropped or changed.
Cost: some 10 µs for a chunk.

Places are written without list positions, `choices[].delta`, so that what every chunk has is one
place and not many.

    >>> from fastchunk import wire
    >>> document = parse(b'{"choices":[{"delta":{"a":1,"a":2}}]}')
    >>> document.repeated, list(unknown_keys(document.value, wire.ChatCompletionStreamResponse))
    (['a'], [('DeltaMessage', 'choices[].delta.a')])
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from msgspec import Struct, inspect

from fastchunk.field_types import fields

__all__ = ["Document", "NotJSON", "parse", "round_trip_losses", "unknown_keys"]

_PLAIN_KEY = re.compile(r"[\w-]{1,64}")
_LONGEST_KEY = 64


class NotJSON(Exception):
    """The data is no JSON document; the message says where."""


class Document(NamedTuple):
    """A parsed document; the last of duplicate keys counts."""

    value: Any
    repeated: list[str]
    """The keys that occur more than once in one object."""
    constants: list[str]
    """`NaN`, `Infinity` and `-Infinity`, which JSON does not have, as often as they occur."""


def parse(data: bytes) -> Document:
    """Parse a document.

    Raises `NotJSON`, and `RecursionError` for one that is nested too deeply.
    """
    repeated: list[str] = []
    constants: list[str] = []

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                repeated.append(_shown(key))
            found[key] = value
        return found

    def constant(name: str) -> str:
        constants.append(name)
        return name

    try:
        text = data.decode()
        value = json.loads(
            text, object_pairs_hook=object_of, parse_constant=constant, parse_int=_int
        )
    except UnicodeDecodeError as error:
        raise NotJSON(f"invalid UTF-8 at offset {error.start} of the data") from error
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        raise NotJSON(f"{error.msg.lower()} at offset {offset} of the data") from error
    return Document(value, repeated, constants)


def _int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more digits than the interpreter takes
        return digits


def unknown_keys(
    value: Any, struct_type: type[Struct], place: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the keys that a Struct and those below it do not have: the Struct's name, the place."""
    if isinstance(value, list):
        for item in value:
            yield from unknown_keys(item, struct_type, f"{place}[]")
    elif isinstance(value, dict):
        known = _below(struct_type)
        for key, item in value.items():
            if key not in known:
                yield struct_type.__name__, _joined(place, key)
            elif (inner := known[key]) is not None:
                yield from unknown_keys(item, inner, _joined(place, key))


@cache
def _below(struct_type: type[Struct]) -> dict[str, type[Struct] | None]:
    """Map each key of a Struct to the Struct that its values, or their items, are."""
    return {field.encode_name: _struct_in(field.type) for field in fields(struct_type)}


def _struct_in(info: inspect.Type) -> type[Struct] | None:
    if isinstance(info, inspect.StructType):
        return info.cls
    if isinstance(info, inspect.ListType):
        return _struct_in(info.item_type)
    if isinstance(info, inspect.UnionType):
        return next(filter(None, map(_struct_in, info.types)), None)
    return None


def round_trip_losses(before: Any, after: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a round trip has `drops` or `changes`, and where; additions are no losses."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            inner = _joined(place, key)
            if key in after:
                yield from round_trip_losses(value, after[key], inner)
            else:
                yield "drops", inner
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from round_trip_losses(one, other, f"{place}[]")
    elif before != after or type(before) is not type(after):
        yield "changes", place


def _joined(place: str, key: str) -> str:
    return f"{place}.{_shown(key)}" if place else _shown(key)


def _shown(key: str) -> str:
    """Write a key so that a place stays readable: quoted where it is no plain name, and cut."""
    if _PLAIN_KEY.fullmatch(key):
        return key
    return json.dumps(key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…")
