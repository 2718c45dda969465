"""The family that reads as OpenAI's SDK does: beside `wire`, and beside the SDK's own class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, Struct, structs
from openai.types.chat import ChatCompletionChunk

from fastchunk import ChunkStream, InvalidChunk, encode, iter_chunks, sdk, wire
from fastchunk.stream import Observer

from .streams import documents, recorded

PAIRS: list[tuple[type[Struct], type[Struct]]] = [
    (sdk.TopLogprob, wire.ChatCompletionLogProb),
    (sdk.ChatCompletionTokenLogprob, wire.ChatCompletionLogProbsContent),
    (sdk.ChoiceLogprobs, wire.ChatCompletionLogProbs),
    (sdk.ChoiceDeltaFunctionCall, wire.DeltaFunctionCall),
    (sdk.ChoiceDeltaToolCallFunction, wire.DeltaFunctionCall),
    (sdk.ChoiceDeltaToolCall, wire.DeltaToolCall),
    (sdk.ChoiceDelta, wire.DeltaMessage),
    (sdk.Choice, wire.ChatCompletionResponseStreamChoice),
    (sdk.PromptTokensDetails, wire.PromptTokenUsageInfo),
    (sdk.CompletionTokensDetails, wire.CompletionTokenUsageInfo),
    (sdk.CompletionUsage, wire.UsageInfo),
    (sdk.ChatCompletionChunk, wire.ChatCompletionStreamResponse),
]


@pytest.mark.parametrize(("ours", "wires"), PAIRS)
def test_the_fields_are_those_of_wire(ours: type[Struct], wires: type[Struct]) -> None:
    assert ours.__struct_fields__ == wires.__struct_fields__
    for field in structs.fields(ours):
        assert field.default is (UNSET if field.name == "choices" else None)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("stream", recorded(), ids=lambda path: path.stem)
def test_chunks_say_what_those_of_wire_say(stream: Path) -> None:
    for data in documents(stream):
        try:
            expected = wire.decode(data)
        except InvalidChunk:
            with pytest.raises(InvalidChunk):
                sdk.decode(data)
            continue
        written = json.loads(encode(sdk.decode(data)))
        assert without_nulls(written) == without_nulls(json.loads(encode(expected)))


@pytest.mark.parametrize(
    "document",
    [
        {"choices": None},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"delta": {"content": [{"type": "text", "text": "Hi"}], "tool_calls": None}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {"a": 1}}}]}}]},
        {"choices": [{"delta": {"reasoning_content": {"text": "Hi"}}, "finish_reason": 1}]},
        {"choices": [], "usage": "none", "created": "12", "id": 3},
        {"choices": [], "moderation": "none"},
    ],
    ids=json.dumps,
)
def test_it_is_as_forgiving_as_wire(document: Any) -> None:
    data = json.dumps(document)
    written, expected = json.loads(encode(sdk.decode(data))), json.loads(encode(wire.decode(data)))
    assert without_nulls(written) == without_nulls(expected)


@pytest.mark.parametrize(
    "document",
    [
        {"choices": 1},
        {"choices": [1]},
        {"choices": [{"delta": "Hi"}]},
        {"choices": [{"delta": {"tool_calls": {}}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": 1}]}}]},
        {"choices": [{"delta": {"function_call": 1}}]},
    ],
    ids=json.dumps,
)
def test_what_leads_to_the_texts_must_have_its_shape(document: Any) -> None:
    with pytest.raises(InvalidChunk) as wanted:
        wire.decode(json.dumps(document))
    with pytest.raises(InvalidChunk) as found:
        sdk.decode(json.dumps(document))
    assert str(found.value) == str(wanted.value)


USAGE = {"prompt_tokens": 3, "total_tokens": 4, "completion_tokens": 1}
MODERATION = {
    "input": {"type": "error", "code": "c", "message": "m"},
    "output": {
        "type": "moderation_results",
        "model": "m",
        "results": [
            {
                "type": "moderation_result",
                "model": "m",
                "flagged": True,
                "categories": {"hate": True},
                "category_scores": {"hate": 0.5},
                "category_applied_input_types": {"hate": ["text"]},
            }
        ],
    },
}
CHUNK: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "", "refusal": None},
            "finish_reason": None,
        }
    ],
    "usage": {**USAGE, "completion_tokens_details": {"reasoning_tokens": 0}},
    "moderation": MODERATION,
}


def test_model_dump_is_the_sdks() -> None:
    chunk, own = sdk.decode(json.dumps(CHUNK)), ChatCompletionChunk.construct(**CHUNK)
    assert chunk.model_dump(exclude_none=True) == own.model_dump(exclude_none=True)
    assert has_all_of(chunk.model_dump(), own.model_dump())
    assert chunk.model_dump()["choices"][0]["delta"]["refusal"] is None
    assert chunk.model_dump()["provider"] is None
    assert sdk.decode("{}").model_dump(exclude_none=True) == {}
    assert chunk.moderation is not None
    assert own.moderation is not None
    assert chunk.moderation.model_dump() == own.moderation.model_dump()


def has_all_of(value: Any, expected: Any) -> bool:
    """Tell whether a value is another one, but for nulls that it has besides."""
    if isinstance(expected, dict):
        return all(has_all_of(value[key], expected[key]) for key in expected) and not any(
            value[key] for key in value.keys() - expected.keys()
        )
    if isinstance(expected, list):
        return all(has_all_of(*pair) for pair in zip(value, expected, strict=True))
    return bool(value == expected)


def test_moderation_reads_as_the_sdks() -> None:
    moderation: Any = sdk.decode(json.dumps(CHUNK)).moderation
    assert moderation.input.code == "c"
    assert moderation.output.results[0].categories["hate"] is True


def test_choices_are_unset_where_they_are_absent() -> None:
    assert sdk.decode("{}").choices is UNSET
    assert not sdk.decode("{}").choices
    data = b'data: {"usage":null}\n\ndata: {"object":"chat.completion.chunk"}\n\n'
    begin, done = b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"
    # Only one of the two is a chunk.
    chunks = list(iter_chunks([begin, data, done], sdk))
    assert [chunk.object for chunk in chunks] == [None, "chat.completion.chunk"]


def test_the_bare_decoder() -> None:
    assert sdk.decode_utf8(b'{"id":"c"}') == sdk.decode('{"id":"c"}')


def test_reads_are_taken_without_a_second_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ChunkStream(sdk)
    stream.feed(b'data: {"choices":[]}\n\n')
    monkeypatch.setattr(Observer, "observe", None)
    assert [chunk.id for chunk in stream.feed(b'data: {"id":"c","choices":[]}\n\n')] == ["c"]
