"""`python -m tests.conformance.anthropic_sdk`: list what Anthropic's SDK has that the Structs lack.

Asked are the models of the installed anthropic for the events of a stream, those of its beta API
too, down to the content blocks. What the Structs keep unparsed is not looked into. Exits with 1 if
a field, or a type of event, block or delta, is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, get_args

from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaRawMessageStreamEvent
from msgspec import Struct
from msgspec.structs import fields
from pydantic import TypeAdapter

from fastchunk import messages

from .servers import Schema, branches

SCHEMAS: dict[str, Schema] = {
    "Messages": TypeAdapter(RawMessageStreamEvent).json_schema(),
    "beta Messages": TypeAdapter(BetaRawMessageStreamEvent).json_schema(),
}


def places(schema: Schema) -> Iterator[tuple[str, bool]]:
    """Yield every field of the events, as deep as there are Structs, and whether one has it."""
    yield from _places(schema, schema, messages.KnownEvent, "")


def _places(schema: Schema, root: Schema, types: Any, above: str) -> Iterator[tuple[str, bool]]:
    by_tag = {struct.__struct_config__.tag: struct for struct in _structs_in(types)}
    for branch in branches(schema, root):
        if "items" in branch:
            yield from _places(branch["items"], root, types, above)
        properties = branch.get("properties", {})
        tag = properties.get("type", {}).get("const")
        struct = by_tag.get(tag) or by_tag.get(None)
        place = f"{above}.{tag}" if None not in by_tag else above
        if struct:
            yield from _fields(properties, root, struct, place.removeprefix("."))
        elif properties and by_tag:
            yield place, False


def _fields(
    properties: dict[str, Schema], root: Schema, struct: type[Struct], above: str
) -> Iterator[tuple[str, bool]]:
    known: dict[str, Any] = {field.encode_name: field.type for field in fields(struct)}
    for name, field in properties.items():
        place = f"{above}.{name}"
        yield place, name in known or name == struct.__struct_config__.tag_field
        yield from _places(field, root, known.get(name), place)


def _structs_in(types: Any) -> list[type[Struct]]:
    """List the Structs in a type: itself, or those of a union or a list."""
    if isinstance(types, type) and issubclass(types, Struct):
        return [types]
    return [struct for part in get_args(types) for struct in _structs_in(part)]


def missing(schema: Schema) -> list[str]:
    """List the fields and the types that no Struct has."""
    return list(dict.fromkeys(place for place, known in places(schema) if not known))


def main() -> int:
    """Print the report; return whether anything is missing."""
    lacking = {name: missing(schema) for name, schema in SCHEMAS.items()}
    for name, found in lacking.items():
        counted = len(dict(places(SCHEMAS[name])))
        lines = [
            f"anthropic {version('anthropic')}, {name}: "
            f"{len(found) or 'none'} of {counted} fields missing",
            *(f"  {place}" for place in found),
        ]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if any(lacking.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
