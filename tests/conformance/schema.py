"""The JSON Schemas of both sides, spelled alike."""

from __future__ import annotations

from typing import Any

import msgspec


def class_schemas(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take a schema apart into one per class; Pydantic puts the outermost beside the others."""
    classes = dict(schema["$defs"])
    if "title" in schema:
        classes[schema["title"]] = {k: v for k, v in schema.items() if k != "$defs"}
    return {name: _respelled_class(classes[name]) for name in sorted(classes)}


def _respelled_class(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": schema["type"],
        "required": schema.get("required", []),
        "properties": [
            (name, _respelled(name, field)) for name, field in schema["properties"].items()
        ],
    }


def _respelled(name: str, field: dict[str, Any]) -> dict[str, Any]:
    """Spell a field's schema one way where the two generators, or the codec's needs, differ."""
    kept = {
        key: value
        for key, value in field.items()
        # Texts; and the bounds beyond which the two sides would spell a float differently.
        if key not in {"title", "description", "exclusiveMinimum", "exclusiveMaximum"}
    }
    if len(kept.get("enum", [])) == 1:  # Pydantic says const
        kept |= {"const": kept.pop("enum")[0], "type": "string"}
    if kept.get("default") == []:  # Pydantic does not write a factory's default
        del kept["default"]
    if name == "content" and kept == {"type": "string", "default": ""}:  # what it always reads as
        kept = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    return kept


def schema_of(model: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    return class_schemas(msgspec.json.schema(model))
