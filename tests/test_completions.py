"""The chunks of legacy completions: what servers send comes in, goes out as it was, and adds up."""

from __future__ import annotations

import copy
import json
import pickle
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from fastchunk import InvalidChunk, completions, encode, encode_event, wire
from fastchunk.completions import Answer, CompletionLogProbs, CompletionResponse
from tests.family_streams import events_of, recorded_of

STREAMS = recorded_of("completions")
MIDDLE = (
    b'{"id":"cmpl-1","object":"text_completion","created":1748649600,"model":"llama",'
    b'"choices":[{"index":0,"text":" token","logprobs":null,"finish_reason":null,'
    b'"stop_reason":null}],"usage":null}'
)
THREE_STATE = ["CompletionLogProbs", "CompletionResponseStreamChoice", "CompletionStreamResponse"]


def _decode(**chunk: Any) -> completions.CompletionStreamResponse:
    return completions.decode(json.dumps(chunk))


# --- decode and encode --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.stem)
def test_every_recorded_chunk_decodes_and_comes_back(stream: Path) -> None:
    events = events_of(stream)
    for data in events:
        chunk = completions.decode(data)
        assert json.loads(encode(chunk)) == json.loads(data)
        assert completions.decode_utf8(data) == chunk
        assert chunk.object == "text_completion"
    assert events


def test_a_server_in_the_structs_order_gets_its_bytes_back() -> None:
    chunk = completions.decode(MIDDLE)
    assert encode(chunk) == MIDDLE
    assert encode_event(chunk) == b"data: " + MIDDLE + b"\n\n"


@pytest.mark.parametrize("name", THREE_STATE)
def test_every_field_has_three_states(name: str) -> None:
    struct = getattr(completions, name)
    decode = msgspec.json.Decoder(struct).decode
    assert encode(decode(b"{}")) == b"{}"
    nulls = dict.fromkeys(struct.__struct_fields__)
    assert json.loads(encode(decode(json.dumps(nulls)))) == nulls


def test_what_a_chunk_holds() -> None:
    chunk = _decode(
        choices=[{"text": "a", "hidden_states": [1]}, {"index": 4}],
        usage={"prompt_tokens": 1},
        error={"message": "no"},
    )
    assert isinstance(chunk.choices, list)
    assert [choice.index_or(at) for at, choice in enumerate(chunk.choices)] == [0, 4]
    assert chunk.choices[0].finish_reason is UNSET
    assert isinstance(chunk.choices[0].hidden_states, Raw)
    assert isinstance(chunk.usage, wire.UsageInfo)
    assert chunk.error == {"message": "no"}


def test_the_usage_chunk_has_no_choices() -> None:
    assert _decode(choices=[], usage={"total_tokens": 1}).is_usage
    assert not _decode(choices=[], usage=None).is_usage
    assert not _decode(choices=[{"text": ""}], usage={"total_tokens": 1}).is_usage


ANYTHING: list[Any] = [True, 1.5, 7, "t", [1, "t", None], [{"b": []}], {"c": {"d": [1.5]}}]


@pytest.mark.parametrize("name", completions.CompletionResponseStreamChoice.__struct_fields__)
def test_a_field_of_another_type_holds_what_came(name: str) -> None:
    for value in ANYTHING:
        chunk = _decode(choices=[{name: value}])
        expected = {} if name == "logprobs" and isinstance(value, dict) else value
        assert json.loads(encode(chunk)) == {"choices": [{name: expected}]}
        answer = Answer()
        answer.add(chunk)
        assert encode(answer.build())


@pytest.mark.parametrize("choices", ['"a"', "7", "{}", "[1]", '["a"]', "[null]"])
def test_choices_must_have_their_shape(choices: str) -> None:
    with pytest.raises(InvalidChunk):
        completions.decode('{"choices":%s}' % choices)  # noqa: UP031 - braces
    assert completions.decode('{"choices":null}').choices is None


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.text(), max_size=4))
def test_unknown_keys_change_nothing(extra: dict[str, Any]) -> None:
    known = json.loads(MIDDLE)
    assert encode(_decode(**{**extra, **known})) == encode(completions.decode(MIDDLE))


def test_no_json_object_is_invalid() -> None:
    for data in (b"", b"[DONE]", b"null", b"[]", b'{"choices":[', b"\xff", "\ud800"):
        with pytest.raises(InvalidChunk):
            completions.decode(data)
    with pytest.raises(TypeError):
        completions.decode(None)  # type: ignore[arg-type]


def test_a_buffer_is_not_locked_and_not_aliased() -> None:
    buffer = bytearray(MIDDLE)
    chunks = [completions.decode(buffer), completions.decode(memoryview(buffer))]
    buffer[:] = b"x" * 300
    assert [encode(chunk) for chunk in chunks] == [MIDDLE, MIDDLE]


def test_a_chunk_can_be_pickled_and_copied() -> None:
    chunk = completions.decode(MIDDLE)
    assert pickle.loads(pickle.dumps(chunk)) == chunk == copy.deepcopy(chunk)


def test_mutated_documents_are_invalid_or_taken() -> None:
    rng = random.Random(13)
    fragments = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"1e999", b"\xc3", b"9"]
    taken = 0
    for _ in range(20_000):
        data = bytearray(MIDDLE)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 4)] = rng.choice(fragments)
        answer = Answer()
        try:
            answer.add(completions.decode(bytes(data)))
        except InvalidChunk:
            continue
        taken += bool(encode(answer.build()))
    assert 0 < taken < 20_000


# --- the answer ---------------------------------------------------------------------------------


def _added(*chunks: dict[str, Any]) -> Answer:
    answer = Answer()
    for chunk in chunks:
        answer.add(_decode(**chunk))
    return answer


def _choice(**choice: Any) -> dict[str, Any]:
    return {"choices": [choice]}


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.stem)
def test_recorded_chunks_add_up(stream: Path) -> None:
    values = [json.loads(data) for data in events_of(stream)]
    answer = _added(*values)
    choices = [choice for value in values for choice in value["choices"]]
    built = answer.build()
    assert answer.finished
    assert [built.id, built.model, built.created] == [
        values[0][key] for key in ("id", "model", "created")
    ]
    assert built.choices[0].text == "".join(choice.get("text", "") for choice in choices)
    assert built.choices[0].finish_reason == choices[-1]["finish_reason"]
    usages = [value["usage"] for value in values if value.get("usage")]
    assert [built.usage] == ([msgspec.convert(usages[-1], wire.UsageInfo)] if usages else [UNSET])


def test_an_answer_without_chunks() -> None:
    answer = Answer()
    assert not answer.finished
    assert encode(answer.build()) == b'{"object":"text_completion","choices":[]}'


def test_texts_are_told_apart_by_their_index() -> None:
    answer = _added(
        {"id": "", "created": 0, "model": ""},  # Azure's first chunk
        {"id": "c", "created": 1, "model": "m", "choices": [{"index": 1, "text": "x"}]},
        {"id": "c2", "choices": [{"text": "a"}, {"text": "y"}]},
        _choice(index=0, text="b", finish_reason="stop", stop_reason=7),
        _choice(index=0, stop_reason=None),
    )
    assert not answer.finished
    answer.add(_decode(**_choice(index=1, finish_reason="length", stop_reason=None)))
    assert answer.finished
    built = answer.build()
    assert (built.id, built.created, built.model) == ("c", 1, "m")
    found = [(c.index, c.text, c.finish_reason, c.stop_reason) for c in built.choices]
    assert found == [(0, "ab", "stop", 7), (1, "xy", "length", None)]


def test_what_is_known_of_the_whole_answer() -> None:
    answer = _added(
        {"system_fingerprint": "f", "service_tier": "flex", "usage": {"total_tokens": 1}},
        {"usage": {"total_tokens": 2}, "choices": None},
        {"usage": None, "system_fingerprint": None, "service_tier": None},
        {"usage": "none"},
    )
    assert encode(answer.build()) == (
        b'{"object":"text_completion","choices":[],"usage":{"total_tokens":2},'
        b'"system_fingerprint":"f","service_tier":"flex"}'
    )


def _logprobs(*logprobs: Any) -> Any:
    return _added(*(_choice(logprobs=value) for value in logprobs)).build().choices[0].logprobs


def test_logprobs_are_joined_list_by_list() -> None:
    first = {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": None, "text_offset": [0]}
    second = {"tokens": ["b"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -0.5}]}
    assert _logprobs(first, None, second, {"tokens": None}) == CompletionLogProbs(
        tokens=["a", "b"],
        token_logprobs=[None, -0.5],
        top_logprobs=[{"b": -0.5}],
        text_offset=[0],
    )
    assert _logprobs({"tokens": None}) == CompletionLogProbs(tokens=None)
    assert _logprobs({"tokens": []}, {"tokens": ["a"]}) == CompletionLogProbs(tokens=["a"])
    assert _logprobs(None) is None
    assert _logprobs("none") is UNSET


def test_what_is_built_does_not_change_later() -> None:
    chunk = _choice(text="a", logprobs={"tokens": ["a"]})
    answer = _added(chunk)
    before = answer.build()
    kept = copy.deepcopy(before)
    answer.add(_decode(**chunk))
    assert before == kept
    after = answer.build()
    assert isinstance(after, CompletionResponse)
    assert (after.choices[0].text, after) == ("aa", answer.build())
