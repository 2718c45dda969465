"""The mirror as a user of the Pydantic model meets it."""

from __future__ import annotations

import copy
import pickle
import re
import time
from typing import Any

import pytest

from fastchunk import InvalidChunk, models
from fastchunk.models import (
    ChatCompletionLogProb,
    ChatCompletionResponseStreamChoice,
    ChatCompletionStreamResponse,
    DeltaMessage,
    DeltaToolCall,
    UsageInfo,
)

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def _chunk(**changes: Any) -> ChatCompletionStreamResponse:
    delta = DeltaMessage(content="Hi", tool_calls=[DeltaToolCall(id="t", index=0)])
    choice = ChatCompletionResponseStreamChoice(index=0, delta=delta)
    fields: dict[str, Any] = {"id": "c", "created": 1, "model": "m", "choices": [choice]} | changes
    return ChatCompletionStreamResponse(**fields)


def test_defaults_are_made_afresh() -> None:
    before = int(time.time())
    one, two = (ChatCompletionStreamResponse(model="m", choices=[]) for _ in range(2))
    assert re.fullmatch(f"chatcmpl-{UUID}", one.id)
    assert one.id != two.id
    assert before <= one.created <= int(time.time())
    assert re.fullmatch(f"chatcmpl-tool-{UUID}", DeltaToolCall(index=0).id)
    assert DeltaMessage().tool_calls is not DeltaMessage().tool_calls


def test_fields_are_keyword_only_and_mutable() -> None:
    with pytest.raises(TypeError):
        UsageInfo(1)  # type: ignore[call-arg]
    chunk = _chunk()
    chunk.model = "alias"
    assert chunk.model == "alias"


def test_repr_and_str_read_as_pydantics() -> None:
    usage = UsageInfo(prompt_tokens=1)
    fields = "prompt_tokens=1, total_tokens=0, completion_tokens=0, prompt_tokens_details=None"
    assert repr(usage) == f"UsageInfo({fields})"
    assert str(usage) == fields.replace(",", "")


def test_equality_is_by_value_and_type() -> None:
    assert _chunk() == _chunk()
    assert _chunk() != _chunk(model="other")
    with pytest.raises(TypeError):
        hash(_chunk())


def test_copies() -> None:
    chunk = _chunk()
    shallow, deep = copy.copy(chunk), copy.deepcopy(chunk)
    assert shallow == deep == chunk
    assert shallow.choices is chunk.choices
    assert deep.choices[0].delta.tool_calls is not chunk.choices[0].delta.tool_calls


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol: int) -> None:
    wide = models.ChatCompletionLogProb.model_validate_json('{"token":"t","logprob":1e300}')
    for value in (_chunk(), wide):
        twin = pickle.loads(pickle.dumps(value, protocol))
        assert twin == value
        assert twin.model_dump_json() == value.model_dump_json()


def test_model_copy() -> None:
    chunk = _chunk()
    assert chunk.model_copy() == chunk
    assert chunk.model_copy().choices is chunk.choices
    assert chunk.model_copy(deep=True).choices is not chunk.choices
    changed = chunk.model_copy(update={"model": "alias", "usage": UsageInfo()})
    assert (changed.model, changed.usage) == ("alias", UsageInfo())
    assert chunk.model == "m"
    with pytest.raises(AttributeError, match="nonsense"):
        chunk.model_copy(update={"nonsense": 1})


def test_every_class_decodes_validates_and_dumps() -> None:
    text = '{"prompt_tokens":"7","total_tokens":0,"completion_tokens":null}'
    usage = UsageInfo.model_validate_json(text)
    assert usage == UsageInfo(prompt_tokens=7, completion_tokens=None)
    assert UsageInfo.model_validate({"prompt_tokens": 7, "completion_tokens": None}) == usage
    assert usage.model_dump(exclude_none=True) == {"prompt_tokens": 7, "total_tokens": 0}
    with pytest.raises(InvalidChunk, match="prompt_tokens: expected an integer"):
        UsageInfo.model_validate({"prompt_tokens": []})


@pytest.mark.parametrize(
    "value",
    [
        (),
        b"{}",
        {"model": "m", "choices": ()},
        {"model": "m", "choices": [], "x": {"y": [object()]}},
        {"model": "m", "choices": [], 1: 2},
        {"model": "m", "choices": [], "x": {None: 1}},
        _chunk(),
    ],
    ids=["tuple", "bytes", "nested-tuple", "nested-object", "key", "nested-key", "instance"],
)
def test_model_validate_refuses_what_json_cannot_return(value: Any) -> None:
    with pytest.raises(TypeError, match=r"expected what json\.loads returns"):
        ChatCompletionStreamResponse.model_validate(value)


def test_model_validate_survives_shared_and_cyclic_values() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    document = {"model": "m", "choices": cycle[:0], "x": cycle, "y": [cycle, cycle]}
    assert ChatCompletionStreamResponse.model_validate(document).model == "m"


def test_exclude_unset_says_where_to_go() -> None:
    for call in (_chunk().model_dump, _chunk().model_dump_json):
        with pytest.raises(TypeError, match=r"exclude_unset.*fastchunk\.wire"):
            call(exclude_unset=True)


def test_a_negative_indent_is_refused() -> None:
    with pytest.raises(ValueError, match="indent must be 0 or more"):
        _chunk().model_dump_json(indent=-1)


def test_a_wide_float_is_a_plain_float_in_a_dump() -> None:
    entry = ChatCompletionLogProb.model_validate_json('{"token":"t","logprob":1e300}')
    assert type(entry.model_dump()["logprob"]) is float
    assert entry.model_dump_json() == '{"token":"t","logprob":1e+300,"bytes":null}'


def test_a_wide_float_set_by_hand_is_spelled_as_msgspec_does() -> None:
    entry = ChatCompletionLogProb(token="t", logprob=1e300)
    assert entry.model_dump_json() == '{"token":"t","logprob":1e300,"bytes":null}'


def test_a_none_content_set_by_hand_is_written_as_text() -> None:
    chunk = _chunk()
    chunk.choices[0].delta.content = None  # type: ignore[assignment]
    assert '"content":""' in chunk.model_dump_json()
