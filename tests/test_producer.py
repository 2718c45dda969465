"""The producer's events are those of the same chunk, built and encoded."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from fastchunk import ChunkStream, InvalidChunk, encode_event, models, wire
from fastchunk.producer import StreamEncoder

pytestmark = pytest.mark.usefixtures("scanner")

BOUND: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m"}
FAMILIES = [models, wire]
TEXTS = ["", "x", " the", '"quoted"', "\\", "\n\r\t\0", "日本 😀", "\u2028", "fastchunk:varies"]


def _encoder(family: ModuleType) -> StreamEncoder:
    return StreamEncoder(family, model="m", id="c", created=7)


def _event(family: Any, delta: dict[str, Any], **fields: Any) -> bytes:
    choice = family.ChatCompletionResponseStreamChoice(
        delta=family.DeltaMessage(**delta),
        **{"index": 0, "logprobs": None, "finish_reason": None, **fields},
    )
    return encode_event(family.ChatCompletionStreamResponse(**BOUND, choices=[choice]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", TEXTS)
def test_texts(family: Any, text: str) -> None:
    encoder = _encoder(family)
    reasoning = "reasoning" if family is wire else "reasoning_content"
    for _ in range(2):  # the first event makes what the second one uses
        assert encoder.content(text) == _event(family, {"content": text})
        assert encoder.content(text, choice=3) == _event(family, {"content": text}, index=3)
        assert encoder.reasoning(text) == _event(family, {reasoning: text})


@pytest.mark.parametrize("family", FAMILIES)
def test_role_and_finish(family: Any) -> None:
    encoder = _encoder(family)
    assert encoder.role("assistant") == _event(family, {"role": "assistant", "content": ""})
    assert encoder.finish("stop", choice=1) == _event(family, {}, finish_reason="stop", index=1)


def test_tool_calls_of_the_mirror_carry_an_empty_id_after_the_first() -> None:
    encoder = _encoder(models)
    events = [
        encoder.tool_call(0, id="call_1", name="f"),
        encoder.tool_call(0, arguments='{"a"'),
        encoder.tool_call(1, id="call_2", name="g", arguments=""),
    ]
    calls = [json.loads(e[6:])["choices"][0]["delta"]["tool_calls"][0] for e in events]
    assert [call["id"] for call in calls] == ["call_1", "", "call_2"]
    assert calls[1] == {
        "id": "",
        "type": "function",
        "index": 0,
        "function": {"name": None, "arguments": '{"a"'},
    }
    made = json.loads(encoder.tool_call(5, name="h")[6:])
    assert made["choices"][0]["delta"]["tool_calls"][0]["id"].startswith("chatcmpl-tool-")


def test_tool_calls_of_the_wire_say_what_was_set() -> None:
    encoder = _encoder(wire)
    first = json.loads(encoder.tool_call(0, id="call_1", name="f")[6:])["choices"][0]["delta"]
    later = json.loads(encoder.tool_call(0, arguments="{}")[6:])["choices"][0]["delta"]
    assert first["tool_calls"] == [
        {"id": "call_1", "type": "function", "index": 0, "function": {"name": "f"}}
    ]
    assert later["tool_calls"] == [{"index": 0, "function": {"arguments": "{}"}}]


def test_usage() -> None:
    wired = _encoder(wire).usage(prompt_tokens=3, completion_tokens=4)
    assert json.loads(wired[6:]) == {
        **BOUND,
        "choices": [],
        "usage": {"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4},
    }
    mirrored = _encoder(models).usage(
        prompt_tokens=3, completion_tokens=4, total_tokens=9, cached_tokens=2
    )
    assert json.loads(mirrored[6:])["usage"] == {
        "prompt_tokens": 3,
        "total_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_wire_writes_vllms_shape() -> None:
    assert _encoder(wire).content("Hi") == (
        b'data: {"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":'
        b'[{"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}]}\n\n'
    )


def test_error_and_done() -> None:
    encoder = _encoder(wire)
    assert json.loads(encoder.error("no", type="t", code=500)[6:]) == {
        "error": {"message": "no", "type": "t", "param": None, "code": 500}
    }
    assert encoder.done() == b"data: [DONE]\n\n"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_stream_reads_back(family: Any) -> None:
    encoder = StreamEncoder(family, model="m")
    events = [
        encoder.role("assistant"),
        encoder.content("Hi"),
        encoder.finish("stop"),
        encoder.usage(prompt_tokens=1, completion_tokens=1),
        encoder.done(),
    ]
    stream: ChunkStream[Any] = ChunkStream(family)
    chunks = [chunk for event in events for chunk in stream.feed(event)] + stream.close()
    assert [len(chunk.choices) for chunk in chunks] == [1, 1, 1, 0]
    assert (stream.done, stream.truncated, stream.invalid) == (True, False, 0)
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].id.startswith("chatcmpl-")


@pytest.mark.parametrize(
    "call",
    [
        lambda e: e.content(1),
        lambda e: e.content(None),
        lambda e: e.content("x", choice="0"),
        lambda e: e.content("x", choice=True),
        lambda e: e.role(None),
        lambda e: e.finish(1),
        lambda e: e.tool_call("0"),
        lambda e: e.tool_call(0, arguments={}),
        lambda e: e.usage(prompt_tokens="1", completion_tokens=1),
        lambda e: e.error(None),
    ],
)
def test_wrong_types(call: Any) -> None:
    with pytest.raises(TypeError, match="must be"):
        call(_encoder(models))


def test_wrong_bindings() -> None:
    with pytest.raises(TypeError, match="family must be"):
        StreamEncoder(json, model="m")
    with pytest.raises(TypeError, match="model must be str"):
        StreamEncoder(wire, model=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="created must be int"):
        StreamEncoder(wire, model="m", created=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lone_surrogate_is_named(family: Any) -> None:
    with pytest.raises(InvalidChunk, match=r"choices\[0\]\.delta\.content: a lone surrogate"):
        _encoder(family).content("\ud800")
    with pytest.raises(InvalidChunk, match=r"choices\[0\]\.finish_reason: a lone surrogate"):
        _encoder(family).finish("\ud800")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lone_surrogate_is_an_error_after_other_texts_too(family: Any) -> None:
    encoder = StreamEncoder(family, model="m")
    encoder.content("a")
    with pytest.raises(InvalidChunk, match=r"choices\[0\]\.delta\.content"):
        encoder.content("\ud800")


@pytest.mark.parametrize(
    "call",
    [
        lambda encoder: encoder.content("b", choice=True),
        lambda encoder: encoder.content("b", choice=1.0),
        lambda encoder: encoder.error("no", code={"a": 1}),
        lambda encoder: encoder.error("no", code=True),
        lambda encoder: encoder.error("no", param=[1]),
    ],
)
def test_arguments_of_other_types_are_refused_also_later(call: Any) -> None:
    encoder = StreamEncoder(wire, model="m")
    encoder.content("a", choice=1)
    with pytest.raises(TypeError, match="must be"):
        call(encoder)
    assert b'"code":5' in encoder.error("no", code=5, param="p")
