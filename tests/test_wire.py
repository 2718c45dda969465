"""The three-state family: what servers send comes in, and goes out as it was."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

import fastchunk
from fastchunk import InvalidChunk, wire
from tests.streams import documents, recorded

VLLM_MIDDLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1748649600,"model":"llama",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null,'
    b'"token_ids":null}],"kv_transfer_params":null}'
)


def _known(value: Any, struct: type[msgspec.Struct] | None) -> bool:
    """Tell whether all keys of a JSON value are fields, as deep as there are Structs."""
    if struct is None or value is None:
        return True
    types = {f.name: f.type for f in msgspec.structs.fields(struct)}
    return set(value) <= set(types) and all(
        _known(item, _struct_in(types[key]))
        for key, items in value.items()
        for item in (items if isinstance(items, list) else [items])
    )


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    inner = [annotation, *getattr(annotation, "__args__", ())]
    inner += [part for item in inner for part in getattr(item, "__args__", ())]
    found = (t for t in inner if isinstance(t, type) and issubclass(t, msgspec.Struct))
    return next(found, None)


@pytest.mark.parametrize("stream", recorded(), ids=lambda path: path.stem)
def test_every_recorded_event_decodes_and_what_is_known_comes_back(stream: Path) -> None:
    seen = 0
    for data in documents(stream):
        if data == b"[DONE]":
            continue
        chunk = wire.decode(data)
        value = json.loads(data)
        assert (chunk.error is not UNSET) == ("error" in value)
        assert [c.delta is not UNSET for c in chunk.choices or []] == [
            "delta" in c for c in value.get("choices") or []
        ]
        if _known(value, wire.ChatCompletionStreamResponse):
            assert json.loads(fastchunk.encode(chunk)) == value
        seen += 1
    assert seen


def test_a_server_in_the_structs_order_gets_its_bytes_back() -> None:
    chunk = wire.decode(VLLM_MIDDLE)
    assert fastchunk.encode(chunk) == VLLM_MIDDLE
    assert fastchunk.encode_event(chunk) == b"data: " + VLLM_MIDDLE + b"\n\n"


_WHOLE = {  # an answer is put together, not received
    *("ChatCompletionResponse", "ChatCompletionResponseChoice", "ChatMessage"),
    *("FunctionCall", "ToolCall", "decode"),
}


@pytest.mark.parametrize("name", sorted({*wire.__all__} - _WHOLE))
def test_every_field_has_three_states(name: str) -> None:
    struct = getattr(wire, name)
    decode = msgspec.json.Decoder(struct).decode
    assert fastchunk.encode(decode(b"{}")) == b"{}"
    for field in struct.__struct_fields__:
        data = f'{{"{field}":null}}'.encode()
        value = getattr(decode(data), field)
        assert value is None or bytes(value) == b"null"
        assert fastchunk.encode(decode(data)) == data
        assert getattr(struct(), field) is UNSET


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":null}',
        b"{}",
        b'{"id":null,"object":"","choices":[]}',
        b'{"choices":[{"index":0,"finish_reason":"stop"}]}',
        b'{"choices":[{"delta":null}]}',
        b'{"choices":[{"index":0,"delta":{"tool_calls":null}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}}]}',
        b'{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"x"}]}}]}',
        b'{"choices":[{"index":0,"delta":{},"matched_stop":"</s>"}]}',
        b'{"usage":{"prompt_tokens":1,"cost":1.50e-5}}',
        b'{"usage":{"prompt_cache_hit_tokens":1,"prompt_cache_miss_tokens":2}}',
        b'{"usage":{"completion_time":0.125,"prompt_time":0.5,"queue_time":0.25,"total_time":0.875}}',
        b'{"usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":3,"cached_tokens":3}}',
        b'{"usage":{"is_byok":false,"search_context_size":"low"}}',
        b'{"usage":{"cost_in_usd_ticks":0,"num_sources_used":7}}',
        b'{"choices":[{"logprobs":{"reasoning_content":[{"token":"We","logprob":-9.4e-6}]}}]}',
        b'{"p":"abcd","search_results":[{"date":null}]}',
        b'{"x_groq":{"id": "r",  "n":1.0}}',
    ],
)
def test_sloppy_servers_are_taken_as_they_are(data: bytes) -> None:
    assert fastchunk.encode(wire.decode(data)) == data


@pytest.mark.parametrize(
    ("data", "field", "value"),
    [
        (b'{"created":1.0}', "created", 1),
        (b'{"created":"12"}', "created", 12),
        (b'{"created":NaN}', "created", None),
        (b'{"model":"NaN \\" Infinity","created":-Infinity}', "model", 'NaN " Infinity'),
    ],
)
def test_numbers_are_taken_for_what_they_mean(data: bytes, field: str, value: Any) -> None:
    for given in (data, bytearray(data), memoryview(data), data.decode()):
        assert getattr(wire.decode(given), field) == value


def test_nan_is_null_in_a_logprob() -> None:
    data = b'{"choices":[{"delta":{},"logprobs":{"content":[{"token":"t","logprob":NaN}]}}]}'
    assert fastchunk.encode(wire.decode(data)) == data.replace(b"NaN", b"null")


def test_an_opaque_value_is_kept_to_the_byte() -> None:
    value = b'{ "a" : [1.50, 1e5, 12345678901234567890123], "b":"\\u00e9" }'
    chunk = wire.decode(b'{"metrics":' + value + b"}")
    assert isinstance(chunk.metrics, msgspec.Raw)
    assert bytes(chunk.metrics) == value
    assert fastchunk.encode(chunk) == b'{"metrics":' + value + b"}"


def test_a_buffer_is_not_locked_and_not_aliased() -> None:
    buffer = bytearray(b'{"metrics":{"a":1},"model":"m"}')
    chunks = [wire.decode(buffer), wire.decode(memoryview(buffer))]
    buffer[:] = b"x" * 100
    for chunk in chunks:
        assert fastchunk.encode(chunk) == b'{"model":"m","metrics":{"a":1}}'


Keys = tuple[str, ...]
FIRM = {
    ("choices",),
    ("choices", "delta"),
    ("choices", "delta", "tool_calls"),
    ("choices", "delta", "tool_calls", "function"),
    ("choices", "delta", "function_call"),
}
IN_LISTS = {"choices", "tool_calls", "content", "refusal", "reasoning_content", "top_logprobs"}


def _places(struct: type[msgspec.Struct], above: Keys = ()) -> Iterator[tuple[Keys, bool]]:
    """Yield the path of every field below a Struct, and whether it holds a Struct or a list of."""
    for field in msgspec.structs.fields(struct):
        inner, path = _struct_in(field.type), (*above, field.name)
        yield path, inner is not None
        if inner:
            yield from _places(inner, path)


PLACES = list(_places(wire.ChatCompletionStreamResponse))
ANYTHING: dict[str, Any] = {
    "true": True,
    "number": 1.5,
    "text": "t",
    "array": [1, "t", None, {"a": 1}],
    "objects": [{"b": []}, {}],
    "object": {"c": {"d": [1.5]}, "text": 7},
}


def _wrap(path: Keys, value: Any) -> Any:
    """Put a value into the objects and lists that lead to it."""
    structs = [place for place, is_struct in PLACES if is_struct]
    for at in range(len(path) - 1, -1, -1):
        if at < len(path) - 1 and path[: at + 1] in structs and path[at] in IN_LISTS:
            value = [value]
        value = {path[at]: value}
    return value


@pytest.mark.parametrize("value", ANYTHING.values(), ids=ANYTHING)
@pytest.mark.parametrize("path", [path for path, _ in PLACES], ids=".".join)
def test_a_field_of_another_type_holds_what_came(path: Keys, value: Any) -> None:
    document = _wrap(path, value)
    data = msgspec.json.encode(document)
    is_list, is_object = isinstance(value, list), isinstance(value, dict)
    if path in FIRM and not (is_list if path[-1] in IN_LISTS else is_object):
        with pytest.raises(InvalidChunk) as caught:
            wire.decode(data)
        assert [step for step in caught.value.errors()[0]["loc"] if step != 0] == list(path)
    elif path in FIRM and value == ANYTHING["array"]:
        with pytest.raises(InvalidChunk, match=r"\[0\]: expected `object`, got `int`"):
            wire.decode(data)
    else:
        written = fastchunk.encode(wire.decode(data))
        if (path, True) in PLACES and value in (ANYTHING["objects"], ANYTHING["object"]):
            assert _kept(json.loads(written), document)
        else:
            assert json.loads(written) == document


def _kept(written: Any, given: Any) -> bool:
    """Tell whether all that was written is as it was given; what is no field may be missing."""
    if isinstance(written, dict):
        return all(key in given and _kept(value, given[key]) for key, value in written.items())
    if isinstance(written, list):
        return len(written) == len(given) and all(map(_kept, written, given))
    return bool(written == given)


def test_the_strange_field_costs_the_others_nothing() -> None:
    """A gateway has sent this reasoning; the keys after it were there before."""
    metrics = b'{ "a" : [1.50, 1e5, 12345678901234567890123], "b":"\\u00e9" }'
    data = (
        b'{"id":"\xc3\xa9","created":"7","choices":[{"index":0,"delta":{"content":"x",'
        b'"tool_calls":[{"index":1.0,"function":{"name":["f"]}}],'
        b'"reasoning_content":{"text":"Hm","n":NaN}}}],"unknown":1,"metrics":' + metrics + b"}"
    )
    for given in (data, bytearray(data), memoryview(data), data.decode()):
        chunk = wire.decode(given)
        assert chunk.choices
        delta = chunk.choices[0].delta
        assert delta
        thought: Any = delta.reasoning_content
        assert thought == {"text": "Hm", "n": None}
        assert (chunk.id, chunk.created, delta.content) == ("é", 7, "x")
        assert delta.tool_calls == [
            wire.DeltaToolCall(index=1, function=wire.DeltaFunctionCall(name=["f"]))  # type: ignore[arg-type]
        ]
        assert isinstance(chunk.metrics, msgspec.Raw)
        assert bytes(chunk.metrics) == metrics


def test_of_duplicate_keys_the_last_counts_whatever_its_type() -> None:
    for data in (b'{"id":"a","id":[]}', b'{"id":"a","id":1,"id":[]}'):
        chunk: Any = wire.decode(data)
        assert chunk.id == []
    assert wire.decode(b'{"id":[],"id":"a"}').id == "a"
    assert wire.decode(b'{"choices":1,"id":1,"choices":[]}').choices == []


def test_a_list_of_structs_is_whole_or_as_it_was_parsed() -> None:
    tokens = [{"token": "a", "top_logprobs": [{"token": 1}]}, 5]
    found = []
    for content in (tokens, tokens[:1]):
        document = {"choices": [{"logprobs": {"content": content}}]}
        chunk = wire.decode(json.dumps(document))
        assert chunk.choices
        logprobs = chunk.choices[0].logprobs
        assert logprobs
        found.append(logprobs.content)
    inner = wire.ChatCompletionLogProb(token=1)  # type: ignore[arg-type]
    whole = [wire.ChatCompletionLogProbsContent(token="a", top_logprobs=[inner])]
    assert found == [tokens, whole]


@pytest.mark.parametrize(
    ("data", "loc", "reason"),
    [
        (b"[]", (), "the document: expected `object`, got `array`"),
        (b"null", (), "the document: expected `object`, got `null`"),
        (b'{"choices":1}', ("choices",), "choices: expected `array | null`, got `int`"),
        (
            b'{"choices":[{"delta":{"reasoning":1,"tool_calls":[{"function":"f"}]}}]}',
            ("choices", 0, "delta", "tool_calls", 0, "function"),
            "choices[0].delta.tool_calls[0].function: expected `object | null`, got `str`",
        ),
        (
            b'{"usage":{"prompt_tokens":1e999}}',
            ("usage", "prompt_tokens"),
            "usage.prompt_tokens: number out of range",
        ),
    ],
)
def test_another_shape_is_invalid_and_named(data: bytes, loc: Any, reason: str) -> None:
    with pytest.raises(InvalidChunk) as caught:
        wire.decode(data)
    error = {"type": "wrong_type", "loc": loc, "msg": reason}
    assert caught.value.errors() == [error]
    assert str(caught.value) == reason
    assert caught.value.data == data


DEEP = b"[" * 100_000 + b"]" * 100_000  # deeper than any CPython goes


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"x":"\xff"}', b'{"x":' * 5000, b"\xff", '"\ud800"', b'{"id":' + DEEP + b"}"],
)
def test_what_is_no_json_is_invalid(data: Any) -> None:
    with pytest.raises(InvalidChunk, match="not a JSON document") as caught:
        wire.decode(data)
    assert caught.value.errors()[0]["loc"] == ()


@pytest.mark.parametrize("data", [None, 1, {}, object()])
def test_another_type_is_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError, match="data must be bytes"):
        wire.decode(data)


@pytest.mark.parametrize(
    ("delta", "text", "reasoning"),
    [
        ("{}", "", ""),
        ('{"content":null,"reasoning":null}', "", ""),
        ('{"content":"x","reasoning":"y"}', "x", "y"),
        ('{"content":"","reasoning_content":"z"}', "", "z"),
        ('{"reasoning":"","reasoning_content":"z"}', "", "z"),
        ('{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}', "ab", ""),
        (
            '{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},'
            '{"type":"text","text":"a"},"odd",{"text":1}]}',
            "a",
            "hm",
        ),
        ('{"content":1,"reasoning":true}', "", ""),
        ('{"content":{"text":"a"},"reasoning":{"text":"b"}}', "a", "b"),
        ('{"content":{"thinking":{"text":"c"}},"reasoning_content":[{"text":"d"}]}', "", "d"),
        ('{"content":{"thinking":{"text":["e",{"text":"f"}]}},"reasoning":null}', "", "f"),
        ('{"content":{"text":{"thinking":"g"}}}', "", ""),
    ],
)
def test_text_of_a_delta_whatever_its_shape(delta: str, text: str, reasoning: str) -> None:
    chunk = wire.decode(f'{{"choices":[{{"delta":{delta}}}]}}')
    assert chunk.choices
    made = chunk.choices[0].delta
    assert made
    assert (made.text, made.reasoning_text) == (text, reasoning)


def test_the_text_of_parts_in_parts_has_no_depth_limit() -> None:
    parts: Any = "deep"
    for _ in range(10_000):
        parts = {"text": [parts, {"text": parts}] if parts == "deep" else parts}
    assert wire.DeltaMessage(content=parts).text == "deep"
    assert wire.DeltaMessage(reasoning=parts).reasoning_text == "deep"


@pytest.mark.parametrize(
    ("index", "expected"),
    [("0", 0), ("7", 7), ('"7"', 7), ("null", 3), ('"x"', 3), ("[]", 3), ("true", 3)],
)
def test_the_index_of_a_choice_or_its_position(index: str, expected: int) -> None:
    choices = wire.decode(f'{{"choices":[{{"index":{index}}}]}}').choices
    assert choices
    assert choices[0].index_or(3) == expected
    assert wire.ChatCompletionResponseStreamChoice().index_or(3) == 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"choices":[],"usage":{"prompt_tokens":1}}', True),
        ('{"choices":[],"usage":[1]}', False),
        ('{"choices":null,"usage":{}}', True),
        ('{"usage":{}}', True),
        ('{"choices":[],"usage":null}', False),
        ('{"choices":[{}],"usage":{}}', False),
        ('{"choices":[]}', False),
    ],
)
def test_is_usage(data: str, expected: bool) -> None:
    assert wire.decode(data).is_usage is expected


def test_copies_and_pickles() -> None:
    chunk = wire.decode(VLLM_MIDDLE)
    for twin in (copy.deepcopy(chunk), copy.copy(chunk), pickle.loads(pickle.dumps(chunk))):
        assert twin == chunk
        assert fastchunk.encode(twin) == VLLM_MIDDLE


def test_a_lone_surrogate_is_named() -> None:
    chunk = wire.decode(VLLM_MIDDLE)
    assert chunk.choices
    chunk.choices[0].finish_reason = "\ud800"
    with pytest.raises(InvalidChunk, match=r"choices\[0\]\.finish_reason: a lone surrogate"):
        fastchunk.encode(chunk)
