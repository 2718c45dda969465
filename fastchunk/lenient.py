"""Reads a document in which values have other types than its Structs say.

In:  JSON that msgspec refuses for a Struct type, and the types whose shape must hold.
Out: the Struct. A field whose value has another type holds that value as it was parsed.
Cost: some 12 µs for a chunk, paid only where a value has another type.

A gateway must not lose sight of a chunk because a field that it never asked about has changed its
type. So what comes in the place of a text, a number or the like may be anything. What comes in the
place of a Struct, or of a list of Structs, stands there as it was parsed, the whole list if an item
is no object; but code that walks on would fail on it, or take the chunk for one that says nothing,
so it is an error in the place of a `firm` Struct.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

from msgspec import Raw, Struct, ValidationError, inspect, json, structs

from .errors import Loc
from .field_types import fields

__all__ = ["Misshapen", "Read", "reader"]

Read: TypeAlias = Callable[[bytes | Raw, Loc], Any]
"""Takes JSON and its place in the document; returns what a field is to hold."""

_decode_members = json.Decoder(dict[str, Raw]).decode
_decode_items = json.Decoder(list[Raw]).decode
_decode_anything = json.Decoder().decode


class Misshapen(Exception):
    """A value has not the shape that it must have; carries its place and the reason."""

    def __init__(self, loc: Loc, reason: str) -> None:
        super().__init__(loc, reason)
        self.loc = loc
        self.reason: str = reason[:1].lower() + reason[1:].partition(" - at `")[0]


class _NoStruct(Misshapen):
    """A value is no Struct, or no list of Structs; its field decides what that means."""


@cache
def reader(struct_type: type[Struct], firm: frozenset[type[Struct]]) -> Read:
    """Build the function that reads a Struct of a type that has no tag and is no `array_like`.

    It raises `Misshapen` for what is no object or lacks a required field, also in the place of a
    `firm` Struct below, and for a number out of range; `msgspec.DecodeError` for what is no JSON.
    """
    annotations = [field.type for field in structs.fields(struct_type)]
    values = [
        (field.encode_name, field.name, field.required, _value_reader(annotation, field.type, firm))
        for annotation, field in zip(annotations, fields(struct_type), strict=True)
    ]

    def read(data: bytes | Raw, loc: Loc) -> Any:
        try:
            members = _decode_members(data)
        except ValidationError as error:
            raise _NoStruct(loc, str(error)) from None
        arguments = {}
        for key, name, required, read_value in values:
            if key in members:
                arguments[name] = read_value(members[key], (*loc, key))
            elif required:
                raise _NoStruct((*loc, key), "this field is required")
        return struct_type(**arguments)

    return read


def _value_reader(annotation: Any, info: inspect.Type, firm: frozenset[type[Struct]]) -> Read:
    decode = json.Decoder(annotation, strict=False).decode
    struct_type, in_list = _struct_in(info)

    def read(data: bytes | Raw, loc: Loc) -> Any:
        try:
            return decode(data)
        except ValidationError as error:
            refusal = str(error)
        if struct_type is not None:
            # Built when it is needed, because a Struct may hold one of its own type.
            read_struct = reader(struct_type, firm)
            try:
                return _read_list(data, loc, read_struct) if in_list else read_struct(data, loc)
            except _NoStruct as error:
                if (
                    struct_type in firm
                ):  # if it is this value, `refusal` also says that null will do
                    reason = refusal if error.loc == loc else error.reason
                    raise Misshapen(error.loc, reason) from None
        try:
            return _decode_anything(data)
        except ValidationError as error:  # a number that no float can hold
            raise Misshapen(loc, str(error)) from None

    return read


def _read_list(data: bytes | Raw, loc: Loc, read_item: Read) -> list[Any]:
    try:
        items = _decode_items(data)
    except ValidationError as error:
        raise _NoStruct(loc, str(error)) from None
    return [read_item(item, (*loc, index)) for index, item in enumerate(items)]


def _struct_in(info: inspect.Type) -> tuple[type[Struct] | None, bool]:
    """Find the Struct that a value of this type is, or its items are; and which of the two."""
    for part in info.types if isinstance(info, inspect.UnionType) else (info,):
        item = part.item_type if isinstance(part, inspect.ListType) else part
        if isinstance(item, inspect.StructType):
            return item.cls, item is not part
    return None, False
