"""The chunk models of servers as JSON Schemas, and where in `wire` their fields belong.

The schemas come from the packages that are installed and, where `FASTCHUNK_STREAMS` names a folder
of recorded streams, from the files (`*.json`) of the folder `schemas` beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache, reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import fields

from fastchunk import wire

Schema: TypeAlias = dict[str, Any]

_STREAM = "ChatCompletionStreamResponse"
PACKAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "openai": ("ChatCompletionChunk", ("openai.types.chat",)),
    "ray": (_STREAM, ("ray.serve.llm.openai_api_models",)),
    "sglang": (_STREAM, ("sglang.srt.entrypoints.openai.protocol",)),
    "vllm": (
        _STREAM,
        ("vllm.entrypoints.openai.chat_completion.protocol", "vllm.entrypoints.openai.protocol"),
    ),
}
"""The name of each package's chunk model, and the modules that have it, the newest first."""


def installed_schema(package: str) -> Schema | None:
    """Return the schema of a package's chunk model, None where the package is not installed.

    Raises `ImportError` if the model cannot be imported from where it is known to be.
    """
    if find_spec(package) is None:
        return None
    name, modules = PACKAGES[package]
    reasons = []
    for module in modules:
        try:
            schema: Schema = getattr(import_module(module), name).model_json_schema()
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            reasons.append(str(error))
        else:
            return schema
    raise ImportError("; ".join(reasons))


def schema_files() -> list[Path]:
    """List the schemas beside the recorded streams; none where the variable is not set."""
    folder = os.environ.get("FASTCHUNK_STREAMS")
    return sorted(Path(folder).resolve().parent.glob("schemas/*.json")) if folder else []


def read(path: Path) -> Schema:
    """Read a schema; raise `ValueError` if it is not one of an object."""
    schema: Schema = json.loads(path.read_bytes())
    if not list(places(schema)):
        raise ValueError("not the JSON Schema of an object")
    return schema


class Place(NamedTuple):
    """A field of a server's model, and the Struct that it belongs to."""

    path: tuple[str, ...]
    """The names from the chunk down to the field; one that ends in [] is of a list."""
    struct: type[Struct]
    schema: Schema

    @property
    def known(self) -> bool:
        """Whether the Struct has the field."""
        return self.path[-1] in structs_in(self.struct)

    def __str__(self) -> str:
        return ".".join(self.path)


def places(schema: Schema) -> Iterator[Place]:
    """Yield every field of a chunk's schema, as deep as `wire` has Structs."""
    yield from _places(schema, schema, wire.ChatCompletionStreamResponse, ())


def _places(
    schema: Schema, root: Schema, struct: type[Struct], above: tuple[str, ...]
) -> Iterator[Place]:
    inner = structs_in(struct)
    for found, _ in _objects(schema, root):
        for name, field in found["properties"].items():
            yield Place((*above, name), struct, field)
            below = inner.get(name)
            many = any(is_list for _, is_list in _objects(field, root))
            if below:
                yield from _places(field, root, below, (*above, name + "[]" * many))


def _objects(schema: Schema, root: Schema, in_list: bool = False) -> Iterator[tuple[Schema, bool]]:
    """Yield the objects that a schema describes, and whether they are items of a list."""
    for branch in branches(schema, root):
        if isinstance(branch.get("properties"), dict):
            yield branch, in_list
        elif "items" in branch:
            yield from _objects(branch["items"], root, in_list=True)


def branches(schema: Schema, root: Schema) -> Iterator[Schema]:
    """Follow references and take unions apart, down to objects that are neither."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield from branches(_resolved(schema["$ref"], root), root)
        return
    union = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, ())]
    for part in union:
        yield from branches(part, root)
    if not union:
        yield schema


def _resolved(reference: str, root: Schema) -> Schema:
    try:
        found: Schema = reduce(lambda part, key: part[key], reference.split("/")[1:], root)
    except (LookupError, TypeError):
        raise ValueError(f"nothing at the reference {reference}") from None
    return found


@cache
def structs_in(struct: type[Struct]) -> dict[str, type[Struct] | None]:
    """Map the names of a Struct's fields to the Structs that they hold, if they hold any."""
    return {field.encode_name: _struct_in(field.type) for field in fields(struct)}


def _struct_in(annotation: Any) -> type[Struct] | None:
    """Return the Struct in a type: the type itself, or in a union or a list."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return annotation
    return next(filter(None, map(_struct_in, get_args(annotation))), None)


def in_order(value: Any, struct: type[Struct] | None = wire.ChatCompletionStreamResponse) -> Any:
    """Put the keys of a JSON value into the order of the Structs; keys of no field go last."""
    if isinstance(value, list):
        return [in_order(item, struct) for item in value]
    if not isinstance(value, dict) or struct is None:
        return value
    inner = structs_in(struct)
    keys = [*(key for key in inner if key in value), *(key for key in value if key not in inner)]
    return {key: in_order(value[key], inner.get(key)) for key in keys}


def spelled(value: Any) -> str:
    """Write a JSON value so that 1, 1.0 and true differ, and the order of keys does not."""
    return json.dumps(value, sort_keys=True)
