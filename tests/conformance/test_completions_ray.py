"""Ray's own class as the oracle of completions: what it writes and reads, the Structs do too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from openai.types import Completion
from pydantic import BaseModel
from ray.llm._internal.serve.configs import openai_api_models as ray_models
from ray.serve.llm.openai_api_models import CompletionStreamResponse

from fastchunk import completions, encode
from tests.family_streams import events_of, recorded_of

from .openai_sdk import fields_of
from .servers import structs_in
from .values import Values

CLASSES: list[tuple[type[BaseModel], type[Struct]]] = [
    (CompletionStreamResponse, completions.CompletionStreamResponse),
    (ray_models.CompletionResponseStreamChoice, completions.CompletionResponseStreamChoice),
    (ray_models.CompletionLogProbs, completions.CompletionLogProbs),
]
RECORDED = recorded_of("completions")


@pytest.mark.parametrize(("model", "struct"), CLASSES, ids=lambda side: side.__name__)
def test_rays_fields_stand_first_and_in_its_order(
    model: type[BaseModel], struct: type[Struct]
) -> None:
    assert all(known for _, known in fields_of(model, struct))
    theirs = list(model.model_fields)
    assert list(structs_in(struct))[: len(theirs)] == theirs


@pytest.mark.parametrize("seed", range(100))
def test_what_ray_writes_comes_back(seed: int) -> None:
    schema = CompletionStreamResponse.model_json_schema()
    chunk = CompletionStreamResponse.model_validate(Values(schema, seed).some(schema))
    for data in (chunk.model_dump_json(), chunk.model_dump_json(exclude_unset=True)):
        assert json.loads(encode(completions.decode(data))) == json.loads(data)


def _set_in(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(exclude_unset=True)


@pytest.mark.parametrize("stream", RECORDED, ids=lambda path: path.stem)
def test_ray_reads_the_same_in_recorded_chunks_before_and_after(stream: Path) -> None:
    for data in events_of(stream):
        if b'"delta":{}' in data:  # without index and text, Ray refuses it
            continue
        ours = encode(completions.decode(data))
        theirs = CompletionStreamResponse.model_validate_json(data)
        assert _set_in(CompletionStreamResponse.model_validate_json(ours)) == _set_in(theirs)


@pytest.mark.parametrize("stream", RECORDED, ids=lambda path: path.stem)
def test_openais_class_takes_the_answer(stream: Path) -> None:
    answer = completions.Answer()
    for data in events_of(stream):
        answer.add(completions.decode(data))
    written = json.loads(encode(answer.build()))
    taken = Completion.model_validate(written)
    assert taken.model_dump(exclude_unset=True) == written
