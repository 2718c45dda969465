"""What a Struct type says of its fields, as msgspec understands them.

In:  a Struct type, or the type of one of its fields as `msgspec.inspect` describes it.
Out: the fields; and what a null of a field's type is read and written as.

A field whose null means a value says so with `Meta(extra={"null": value})`: its null rule.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import msgspec
from msgspec import inspect

__all__ = ["describe", "fields", "has_null_rule", "null_of"]


@cache  # to describe the mirror takes a millisecond, and its import asks twice
def describe(struct_type: type[msgspec.Struct]) -> inspect.StructType:
    """Describe a Struct type and all types below it."""
    return cast(inspect.StructType, inspect.type_info(struct_type))


def fields(struct_type: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    """List the fields of a Struct type, with their types and defaults."""
    return describe(struct_type).fields


def null_of(info: inspect.Type) -> object:
    """Return what a null of this type is read and written as; None where it stays null."""
    return (info.extra or {}).get("null") if isinstance(info, inspect.Metadata) else None


@cache
def has_null_rule(struct_type: type[msgspec.Struct]) -> bool:
    """Tell whether a field of this Struct type, or of one below it, has a null rule."""
    return any(_mentions_null_rule(field.type) for field in fields(struct_type))


def _mentions_null_rule(info: inspect.Type) -> bool:
    if isinstance(info, inspect.StructType):
        return any(_mentions_null_rule(field.type) for field in info.fields)
    if isinstance(info, inspect.UnionType):
        return any(map(_mentions_null_rule, info.types))
    if isinstance(info, inspect.ListType):
        return _mentions_null_rule(info.item_type)
    return null_of(info) is not None
