"""Every field of every server's chunk model is a field of `wire`, which takes what the model takes.

The values are generated from the models' JSON Schemas: of the packages that are installed for the
tests, and of the files beside the recorded streams.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletionChunk

from fastchunk import encode, wire

from .oracle import Oracle
from .servers import Place, Schema, in_order, installed_schema, places, read, schema_files, spelled
from .values import Values

INSTALLED = {"openai": ChatCompletionChunk, "ray": Oracle}
SCHEMAS: dict[str, Schema] = {
    **{f"installed {package}": installed_schema(package) or {} for package in INSTALLED},
    **{path.stem: read(path) for path in schema_files()},
}
FIELDS = [
    pytest.param(schema, place, id=f"{server}, {place}")
    for server, schema in SCHEMAS.items()
    for place in places(schema)
]


def _chunk(path: tuple[str, ...], value: Any) -> Any:
    """Wrap a value in the objects and lists that lead to it."""
    for step in reversed(path):
        name = step.removesuffix("[]")
        value = {name: value if name == step else [value]}
    return value


def _comes_back(value: Any) -> None:
    """Check that a chunk comes back as the same value; as the same bytes in the Structs' order."""
    spaced = json.dumps(value).encode()
    assert spelled(json.loads(encode(wire.decode(spaced)))) == spelled(value)
    ordered = msgspec.json.encode(in_order(value))
    assert encode(wire.decode(ordered)) == ordered


@pytest.mark.parametrize(("schema", "place"), FIELDS)
def test_field_is_known_and_takes_what_the_model_takes(schema: Schema, place: Place) -> None:
    assert place.known
    _comes_back(_chunk(place.path[:-1], {}))
    for value in Values(schema, seed=1).every(place.schema):
        _comes_back(_chunk(place.path, value))


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_whole_chunks(schema: Schema) -> None:
    values = Values(schema, seed=2)
    for _ in range(200):
        _comes_back(values.some(schema))


@pytest.mark.parametrize("package", INSTALLED)
def test_the_real_class_takes_the_generated_chunks(package: str) -> None:
    schema = SCHEMAS[f"installed {package}"]
    values = Values(schema, seed=3)
    for _ in range(200):
        INSTALLED[package].model_validate_json(json.dumps(values.some(schema)))


def test_what_real_openai_objects_write_comes_back() -> None:
    """The bytes are the same but for the order of keys and for `1e16` in place of `1e+16`.

    Openai-python has an order of its own: `choices` before `created`, `finish_reason` before
    `index`, in a tool call `index` before `id`, in a function `arguments` before `name`.
    """
    schema = SCHEMAS["installed openai"]
    values = Values(schema, seed=4)
    for _ in range(200):
        made = ChatCompletionChunk.model_validate(values.some(schema))
        written = made.model_dump_json(exclude_unset=True)
        ours = encode(wire.decode(written))
        assert spelled(json.loads(ours)) == spelled(json.loads(written))
        ordered = msgspec.json.encode(in_order(json.loads(written)))
        assert re.sub(rb"(\de)\+(\d)", rb"\1\2", ours) == ordered


@pytest.mark.parametrize("package", INSTALLED)
def test_the_walk_reaches_every_level(package: str) -> None:
    found = set(map(str, places(SCHEMAS[f"installed {package}"])))
    assert found >= {
        "model",
        "choices[].index",
        "choices[].delta.role",
        "choices[].delta.tool_calls[].function.arguments",
        "choices[].logprobs.content[].top_logprobs[].bytes",
        "usage.prompt_tokens_details.cached_tokens",
    }
