"""What `wire` writes is what Ray's real class writes with `model_dump_json(exclude_unset=True)`.

For documents that the class takes without coercing anything, cut down to the keys that it knows.
Ray's rule that a null or absent content reads "" is switched off, by subclasses that are here
alone: `wire` keeps the three states apart.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError, model_validator
from ray.llm._internal.serve.configs import openai_api_models as ray_models

from fastchunk import StreamEncoder, encode, models, wire
from tests.streams import documents, recorded

from .generate import Generator
from .oracle import Oracle, ask_oracle
from .servers import in_order, structs_in


class _Delta(ray_models.DeltaMessage):  # type: ignore[misc]
    @model_validator(mode="after")
    def _non_null_content(self) -> _Delta:
        return self


class _Choice(ray_models.ChatCompletionResponseStreamChoice):  # type: ignore[misc]
    delta: _Delta


class _Response(Oracle):  # type: ignore[misc]
    choices: list[_Choice]


DIFFERENCES = {
    "reasoning_content moves behind tool_calls, as in vLLM's order": (
        '{"model":"m","choices":[{"index":0,"delta":{"reasoning_content":"r","tool_calls":[]}}]}',
        '{"model":"m","choices":[{"index":0,"delta":{"tool_calls":[],"reasoning_content":"r"}}]}',
    ),
    "a float of 1e16 or more has no plus sign": (
        '{"model":"m","choices":[{"index":0,"delta":{},"logprobs":{"content":'
        '[{"token":"t","logprob":-1e+16}]}}]}',
        '{"model":"m","choices":[{"index":0,"delta":{},"logprobs":{"content":'
        '[{"token":"t","logprob":-1e16}]}}]}',
    ),
}
"""What may differ: what Ray's class writes, and what `wire` writes."""

REFUSALS = {
    (("choices", "delta"), "missing"),  # Azure, with a content filter's results
    (("choices", "delta", "tool_calls"), "list_type"),  # null
    (("choices", "delta", "content"), "string_type"),  # a list of parts
    (("choices", "delta", "tool_calls", "index"), "missing"),
    (("choices", "delta", "tool_calls", "id"), "string_type"),  # null
    (("choices", "delta", "tool_calls", "type"), "literal_error"),  # null
    (("object",), "literal_error"),  # empty
    (("choices",), "missing"),  # in an error object
    (("model",), "missing"),
}
"""Why Ray's class refuses some chunks of streams, all of which `wire` takes."""


def _written_by_ray(data: bytes | str) -> bytes:
    written: str = _Response.model_validate_json(data).model_dump_json(exclude_unset=True)
    return written.encode()


def _agree(theirs: bytes, ours: bytes) -> None:
    """Check for the same bytes; where a listed difference applies, for those that follow."""
    assert ours == msgspec.json.encode(in_order(json.loads(theirs)))
    moves = re.search(rb'"reasoning_content":.*"tool_calls":', theirs)
    wide = re.search(rb"\de\+\d", theirs)
    assert theirs == ours or moves or wide


def test_generated_documents() -> None:
    compared = 0
    for seed in range(1500):
        generator = Generator(seed)
        generator.unknown = 0.0
        data = generator.write(generator.response(rich=seed % 2 == 0))
        try:
            theirs = _written_by_ray(data)
        except ValidationError:  # one in two hundred lacks what is required
            continue
        _agree(theirs, encode(wire.decode(data)))
        compared += 1
    assert compared > 1350


def _cut(value: Any, struct: type[msgspec.Struct] | None) -> Any:
    """Take out the keys that Ray's classes do not know; the mirror's Structs name those they do."""
    if isinstance(value, list):
        return [_cut(item, struct) for item in value]
    if not isinstance(value, dict) or struct is None:
        return value
    inner = structs_in(struct)
    return {key: _cut(item, inner[key]) for key, item in value.items() if key in inner}


_encoder = StreamEncoder(wire, model="m", id="c", created=1)
STREAMS = {
    "StreamEncoder": [
        event.removeprefix(b"data: ")
        for event in (
            _encoder.role("assistant"),
            _encoder.reasoning("Hm"),
            _encoder.content("Hi"),
            _encoder.tool_call(0, id="t", name="f", arguments="{}"),
            _encoder.finish("stop"),
            _encoder.usage(prompt_tokens=1, completion_tokens=2, cached_tokens=1),
            _encoder.error("overloaded"),
        )
    ],
    **{path.stem: documents(path) for path in recorded()},
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_stream(stream: list[bytes]) -> None:
    for data in stream:
        if data == b"[DONE]":
            continue
        cut = json.dumps(_cut(json.loads(data), models.ChatCompletionStreamResponse)).encode()
        ours = encode(wire.decode(cut))
        refused = ask_oracle(_Response.model_validate_json, cut).errors
        if refused:
            assert {(_names(loc), kind) for loc, kind in refused} <= REFUSALS
        else:
            _agree(_written_by_ray(cut), ours)


def _names(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return tuple(part for part in loc if isinstance(part, str))


@pytest.mark.parametrize(("theirs", "ours"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_difference(theirs: str, ours: str) -> None:
    for data in (theirs, ours):
        assert _written_by_ray(data).decode() == theirs
        assert encode(wire.decode(data)).decode() == ours
    assert json.loads(theirs) == json.loads(ours)


@pytest.mark.parametrize(
    ("delta", "with_the_rule"),
    [("{}", '{"content":""}'), ('{"content":null}', '{"content":""}')],
)
def test_only_the_rule_on_null_contents_was_switched_off(delta: str, with_the_rule: str) -> None:
    data = f'{{"model":"m","choices":[{{"index":0,"delta":{delta}}}]}}'
    real = Oracle.model_validate_json(data).model_dump_json(exclude_unset=True)
    assert real == data.replace(delta, with_the_rule)
    assert _written_by_ray(data) == encode(wire.decode(data)) == data.encode()


@pytest.mark.parametrize(
    ("logprob", "written"), [("-1", "-1.0"), ("NaN", "null"), ("-0.0", "-0.0"), ("1E-7", "1e-7")]
)
def test_both_spell_a_logprob_alike(logprob: str, written: str) -> None:
    data = (
        '{"model":"m","choices":[{"index":0,"delta":{},"logprobs":{"content":'
        f'[{{"token":"t","logprob":{logprob}}}]}}}}]}}'
    )
    expected = data.replace(logprob, written).encode()
    assert _written_by_ray(data) == encode(wire.decode(data)) == expected
