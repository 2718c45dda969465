"""`python -m tests.conformance.openai_sdk`: list what OpenAI's client has that the Structs lack.

Asked are the models of the installed openai for the events of Responses and for the chunks of
legacy completions. What the Structs keep unparsed is not looked into. Exits with 1 if a field is
missing. An event type without a Struct is no loss, because such an event is kept whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import get_args

from msgspec import Struct
from openai.types import Completion
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from fastchunk import completions, responses

from .servers import Schema, branches, structs_in

EVENT_MODELS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(ResponseStreamEvent)[0])
}
"""The client's model of each event type."""

EVENT_STRUCTS: dict[str, type[Struct]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(responses.KnownEvent)
}

MODELS: list[tuple[type[BaseModel], type[Struct]]] = [
    (Completion, completions.CompletionStreamResponse),
    (Response, responses.Response),
    *((EVENT_MODELS[kind], EVENT_STRUCTS[kind]) for kind in EVENT_MODELS if kind in EVENT_STRUCTS),
]


def fields_of(model: type[BaseModel], struct: type[Struct]) -> Iterator[tuple[str, bool]]:
    """Yield every field of a model, as deep as there are Structs, and whether its Struct has it."""
    schema = model.model_json_schema()
    yield from _fields(schema, schema, struct, model.__name__)


def _fields(
    schema: Schema, root: Schema, struct: type[Struct], above: str
) -> Iterator[tuple[str, bool]]:
    inner = structs_in(struct)
    tag = struct.__struct_config__.tag_field
    for branch in branches(schema, root):
        if "items" in branch:
            yield from _fields(branch["items"], root, struct, above + "[]")
        for name, field in branch.get("properties", {}).items():
            place = f"{above}.{name}"
            yield place, name in inner or name == tag
            below = inner.get(name)
            if below:
                yield from _fields(field, root, below, place)


def missing() -> list[str]:
    """List the fields that a model has and its Struct has not."""
    found = (field for model, struct in MODELS for field in fields_of(model, struct))
    return [place for place, known in found if not known]


def main() -> int:
    """Print the report; return whether a field is missing."""
    lacking = missing()
    whole = sorted(EVENT_MODELS.keys() - EVENT_STRUCTS.keys())
    lines = [
        f"openai {version('openai')}: {len(lacking) or 'none'} of its fields missing",
        *(f"  {place}" for place in lacking),
        f"{len(whole)} of {len(EVENT_MODELS)} event types have no Struct, and are kept whole",
        *(f"  {kind}" for kind in whole),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
