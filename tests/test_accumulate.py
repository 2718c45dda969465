"""The accumulator: every habit of the servers, by name, and what it costs."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

import fastchunk
from fastchunk import Accumulator, InvalidChunk, models, wire

Json = dict[str, Any]
HEADING = {"id": "c", "object": "chat.completion.chunk", "created": 5, "model": "m"}
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def _accumulated(
    chunks: list[Json], family: Any = wire
) -> Accumulator[wire.ChatCompletionResponse]:
    made = Accumulator()
    for chunk in chunks:
        made.add(family.decode(json.dumps(chunk)))
    return made


def _answer(*chunks: Json) -> wire.ChatCompletionResponse:
    answer: wire.ChatCompletionResponse = _accumulated(list(chunks)).result()
    return answer


def _choice(delta: Any = UNSET, **fields: Any) -> Json:
    given = {} if delta is UNSET else {"delta": delta}
    return {"choices": [{"index": 0, **given, **fields}]}


def _message(*deltas: Json) -> wire.ChatMessage:
    return _answer(*map(_choice, deltas)).choices[0].message


# --- texts ---


def test_nothing_was_added() -> None:
    made = Accumulator()
    assert fastchunk.encode(made.result()) == b'{"object":"chat.completion","choices":[]}'
    assert not made.finished


def test_the_answer_is_what_an_unstreamed_request_returns() -> None:
    answer = _answer(
        {**HEADING, **_choice({"role": "assistant", "content": "Hel"})},
        {**HEADING, **_choice({"content": "lo"}, finish_reason="stop")},
        {**HEADING, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    )
    assert json.loads(fastchunk.encode(answer)) == {
        **HEADING,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }


def test_choices_interleaved() -> None:
    choices = [
        [{"index": 1, "delta": {"content": "b"}}],
        [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "B"}}],
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        [{"index": 0, "delta": {"content": "A"}}],
    ]
    made = _accumulated([{"choices": some} for some in choices])
    found = [(c.index, c.message.content, c.finish_reason) for c in made.result().choices]
    assert found == [(0, "aA", "stop"), (1, "bB", None)]


@pytest.mark.parametrize("index", [{}, {"index": None}], ids=["absent", "null"])
def test_choices_without_an_index_are_numbered_by_their_place(index: Json) -> None:
    chunk = {"choices": [{**index, "delta": {"content": text}} for text in "ab"]}
    found = [(c.index, c.message.content) for c in _answer(chunk, chunk).choices]
    assert found == [(0, "aa"), (1, "bb")]


@pytest.mark.parametrize(
    "chunk",
    [{}, {"choices": None}, {"choices": []}, _choice(), _choice(None), _choice({})],
    ids=["no-choices", "null-choices", "empty-choices", "no-delta", "null-delta", "empty-delta"],
)
def test_chunks_that_say_nothing(chunk: Json) -> None:
    alone = _answer(chunk).choices
    assert [choice.message for choice in alone] in ([], [wire.ChatMessage()])
    text = _choice({"content": "x"})
    assert _answer(chunk, text, chunk) == _answer(text)


TEXT = {"type": "text", "text": "a"}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("contents", "content", "reasoning"),
    [
        ([], None, UNSET),
        ([None, None], None, UNSET),
        (["", None], "", UNSET),
        ([None, "a", "", "b"], "ab", UNSET),
        ([[TEXT, TEXT], "b"], "aab", UNSET),
        ([[THOUGHT], [THOUGHT, TEXT], "b"], "ab", "hmhm"),
        ([[]], None, UNSET),
    ],
    ids=["absent", "null", "empty", "text", "parts", "thinking-parts", "no-parts"],
)
def test_content(contents: list[Any], content: str | None, reasoning: Any) -> None:
    message = _message({}, *({"content": given} for given in contents))
    assert (message.content, message.reasoning_content) == (content, reasoning)


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_under_either_name(name: str, content: Json) -> None:
    thought = [{name: text, **content} for text in ("h", None, "", "m")]
    message = _message(*thought, {"content": "x"})
    assert (message.reasoning_content, message.content) == ("hm", "x")


def test_reasoning_under_both_names_is_taken_once() -> None:
    assert _message({"reasoning": "h", "reasoning_content": "h"}).reasoning_content == "h"


def test_refusal() -> None:
    message = _message({"refusal": None}, {"refusal": "I "}, {"refusal": ""}, {"refusal": "can't"})
    assert (message.refusal, message.content) == ("I can't", None)


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        ([], "assistant"),
        ([None, ""], "assistant"),
        (["assistant"] * 3, "assistant"),
        (["", "tool", "assistant"], "tool"),
    ],
    ids=["absent", "empty", "repeated", "changing"],
)
def test_role(roles: list[Any], role: str) -> None:
    assert _message({}, *({"role": given} for given in roles)).role == role


# --- tool calls ---


def _piece(call: str = "", name: str = "", arguments: Any = "", **fields: Any) -> Json:
    known = {"id": call, "type": "function"} if call else {}
    return {**known, "function": {**({"name": name} if name else {}), "arguments": arguments}} | (
        fields
    )


# what comes, chunk by chunk: what it means, as id, name and arguments of each call
CALLS: dict[str, tuple[list[list[Json]], list[tuple[Any, str, str]]]] = {
    "id-and-name-first": (
        [
            [_piece("a", "f", index=0)],
            [_piece(arguments='{"x"', index=0)],
            [_piece(arguments=":1}", index=0)],
        ],
        [("a", "f", '{"x":1}')],
    ),
    "id-and-name-repeated": (
        [[_piece("a", "f", "{", index=0)], [_piece("a", "f", "}", index=0)]],
        [("a", "f", "{}")],
    ),
    "name-repeated-without-id": (
        [[_piece("a", "f", "{", index=0)], [_piece("", "f", "}", index=0)]],
        [("a", "f", "{}")],
    ),
    "name-in-pieces": (
        [[_piece("a", "get_", index=0)], [_piece("a", "weather", "{}", index=0)]],
        [("a", "get_weather", "{}")],
    ),
    "id-empty-later": (
        [[_piece("a", "f", "{", index=0)], [_piece(arguments="}", id="", type="", index=0)]],
        [("a", "f", "{}")],
    ),
    "id-null-first": (
        [[_piece("", "f", "{", id=None, index=0)], [_piece("a", "", "}", index=0)]],
        [("a", "f", "{}")],
    ),
    "id-late-with-the-name-again": (
        [[_piece("", "f", "{", index=0)], [_piece("a", "f", "}", index=0)]],
        [("a", "f", "{}")],
    ),
    "id-random-in-later-deltas": (
        [[_piece("a", "f", index=0)], *([_piece(c, "", c, index=0)] for c in "xyz")],
        [("a", "f", "xyz")],
    ),
    "whole-at-once": ([[_piece("a", "f", "{}", index=0)]], [("a", "f", "{}")]),
    "whole-calls-in-one-chunk": (
        [[_piece("a", "f", "{}", index=0), _piece("b", "g", "[]", index=1)]],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "one-index-twice-in-a-chunk-pieces": (
        [
            [_piece("a", "f", index=0), _piece(arguments="{", index=0)],
            [_piece("", "", "}", index=0)],
        ],
        [("a", "f", "{}")],
    ),
    "one-index-twice-in-a-chunk-two-calls": (
        [[_piece("a", "f", "{}", index=0), _piece("b", "f", "[]", index=0)]],
        [("a", "f", "{}"), ("b", "f", "[]")],
    ),
    "one-index-for-call-after-call": (
        [
            [_piece("a", "f", index=0)],
            [_piece("", "", "{}", index=0)],
            [_piece("b", "g", index=0)],
            [_piece("", "", "[]", index=0)],
        ],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "no-index-with-ids": (
        [
            [_piece("a", "f", "{"), _piece("b", "f", "[")],
            [_piece("b", "f", "]")],
            [_piece("a", "f", "}")],
        ],
        [("a", "f", "{}"), ("b", "f", "[]")],
    ),
    "no-index-id-and-name-first": (
        [[_piece("a", "f", "{")], [_piece("", "", "}")], [_piece("b", "g", "[]")]],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "no-index-id-random-in-later-deltas": (
        [[_piece("a", "f")], [_piece("x", "", "{")], [_piece("y", "", "}")]],
        [("a", "f", "{}")],
    ),
    "no-index-without-ids": (
        [[_piece("", "f", "{}"), _piece("", "g", "[", index=None)], [_piece("", "", "]", id="")]],
        [(UNSET, "f", "{}"), (UNSET, "g", "[]")],
    ),
    "no-index-nothing-begun": ([[_piece("", "", "{}")]], [(UNSET, "", "{}")]),
    "no-index-then-index": (
        [[_piece("a", "f", "{}")], [_piece("b", "g", "[]", index=1)]],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "indices-without-ids": (
        [
            [_piece("", "f", "{", index=0)],
            [_piece("", "g", "[]", index=1)],
            [_piece("", "", "}", index=0)],
        ],
        [(UNSET, "f", "{}"), (UNSET, "g", "[]")],
    ),
    "indices-from-1": (
        [
            [_piece("a", "f", "{", index=1)],
            [_piece("", "", "}", index=1)],
            [_piece("b", "g", "[]", index=2)],
        ],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "indices-in-any-order": (
        [[_piece("b", "g", "[]", index=7)], [_piece("a", "f", "{}", index=3)]],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "parallel-interleaved": (
        [
            [_piece("a", "f", index=0)],
            [_piece("b", "g", index=1)],
            [_piece("", "", "{", index=0), _piece("", "", "[", index=1)],
            [_piece("", "", "]", index=1)],
            [_piece("", "", "}", index=0)],
        ],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "arguments-as-an-object": (
        [[_piece("a", "f", {"city": "日本", "n": 1.0}, index=0)], [_piece("b", "g", {}, index=1)]],
        [("a", "f", '{"city":"日本","n":1.0}'), ("b", "g", "{}")],
    ),
    "arguments-null": ([[_piece("a", "f", None, index=0)]], [("a", "f", "")]),
    "no-function": (
        [[{"id": "a", "index": 0}], [{"index": 0, "function": None}], [_piece("", "f", index=0)]],
        [("a", "f", "")],
    ),
}


@pytest.mark.parametrize(("chunks", "expected"), CALLS.values(), ids=CALLS)
def test_tool_calls(chunks: list[list[Json]], expected: list[tuple[Any, str, str]]) -> None:
    message = _message({"tool_calls": None}, *({"tool_calls": pieces} for pieces in chunks))
    assert message.content is None
    assert message.tool_calls == [
        wire.ToolCall(id=call, function=wire.FunctionCall(name=name, arguments=arguments))
        for call, name, arguments in expected
    ]


def test_no_tool_calls() -> None:
    assert _message({"tool_calls": []}, {"tool_calls": None}).tool_calls is UNSET


def test_the_first_type_of_a_tool_call_stands() -> None:
    pieces = [{"index": 0, "type": kind} for kind in (None, "", "custom", "function")]
    calls = _message(*({"tool_calls": [piece]} for piece in pieces)).tool_calls
    assert calls
    assert calls[0].type == "custom"


def test_the_calls_of_two_choices_are_apart() -> None:
    pieces = [[_piece("a", "f", "{}", index=0)], [_piece("b", "g", "[]", index=0)]]
    choices = [{"index": n, "delta": {"tool_calls": some}} for n, some in enumerate(pieces)]
    calls = [choice.message.tool_calls for choice in _answer({"choices": choices}).choices]
    assert [call.id for some in calls for call in some or ()] == ["a", "b"]


# --- logprobs and reasons ---


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], UNSET),
        ([None, None], None),
        ([None, {"content": [TOKEN]}, None], {"content": [TOKEN]}),
        ([{"content": [TOKEN]}] * 3, {"content": [TOKEN] * 3}),
        ([{"content": [TOKEN, TOKEN]}, {"content": []}], {"content": [TOKEN] * 2}),
        (
            [{"content": None, "refusal": [TOKEN]}, {"content": None, "refusal": None}],
            {"content": None, "refusal": [TOKEN]},
        ),
        ([{"content": []}, {"content": None}, {}], {"content": None}),
        (
            [{"refusal": [TOKEN]}, {"content": [TOKEN]}, {"refusal": [TOKEN]}],
            {"content": [TOKEN], "refusal": [TOKEN] * 2},
        ),
        (
            [{"reasoning_content": [TOKEN]}, {"reasoning_content": None}, {"content": [TOKEN]}] * 2,
            {"content": [TOKEN] * 2, "reasoning_content": [TOKEN] * 2},
        ),
    ],
    ids=[
        "absent",
        "null",
        "between-nulls",
        "each",
        "empty",
        "refusal",
        "empty-null-absent",
        "both",
        "reasoning",
    ],
)
def test_logprobs_are_concatenated(given: list[Any], expected: Any) -> None:
    answer = _answer(_choice({}), *(_choice({}, logprobs=some) for some in given))
    found = answer.choices[0].logprobs
    assert (json.loads(fastchunk.encode(found)) if found else found) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], None),
        ([None, ""], None),
        ([None, "stop", None, ""], "stop"),
        (["tool_calls", "stop"], "stop"),
    ],
    ids=["absent", "null-and-empty", "then-null-and-empty", "twice"],
)
def test_finish_reason(given: list[Any], expected: str | None) -> None:
    made = _accumulated([_choice({}), *(_choice({}, finish_reason=some) for some in given)])
    assert made.result().choices[0].finish_reason == expected
    assert made.finished is (expected is not None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], UNSET), ([None], None), ([None, 128009, None], 128009), (["</s>"], "</s>"), ([""], "")],
    ids=["absent", "null", "token-id", "text", "empty"],
)
def test_stop_reason(given: list[Any], expected: Any) -> None:
    answer = _answer(_choice({}), *(_choice({}, stop_reason=some) for some in given))
    assert answer.choices[0].stop_reason == expected


def test_finished_is_when_every_choice_that_was_seen_has_finished() -> None:
    made = Accumulator()
    seen = []
    for choice in (
        {"index": 0, "delta": {}},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
        {"index": 1, "delta": {}},
        {"index": 1, "finish_reason": "length"},
    ):
        made.add(wire.decode(json.dumps({"choices": [choice]})))
        seen.append(made.finished)
    assert seen == [False, True, False, True]


# --- the chunk's own fields ---


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], UNSET),
        ([None, None], UNSET),
        ([None, {"total_tokens": 3}], 3),
        ([{"total_tokens": 1}, {"total_tokens": 2}, {"total_tokens": 3}], 3),
        ([{"total_tokens": 3}, None], 3),
    ],
    ids=["absent", "null", "final", "continuous", "then-null"],
)
@pytest.mark.parametrize("choices", [{}, {"choices": []}, _choice({"content": "x"})])
def test_usage(given: list[Any], expected: Any, choices: Json) -> None:
    usage = _answer(choices, *({**choices, "usage": some} for some in given)).usage
    assert (usage.total_tokens if usage else usage) == expected


@pytest.mark.parametrize("order", list(permutations(["id", "created", "model"])), ids=" ".join)
def test_the_first_of_the_heading_that_says_something_stands(order: tuple[str, ...]) -> None:
    azure = {"id": "", "created": 0, "model": "", "object": "", "choices": []}
    other = {"id": "other", "created": 6, "model": "other"}
    nulls: Json = dict.fromkeys(order)
    chunks: list[Json] = [azure, nulls]
    for n, name in enumerate(order):
        chunks.append({**{known: other[known] for known in order[:n]}, name: HEADING[name]})
    answer = _answer(*chunks, other)
    assert (answer.id, answer.created, answer.model) == ("c", 5, "m")
    assert answer.object == "chat.completion"


def test_a_heading_that_never_comes() -> None:
    answer = _answer({}, {"choices": []})
    assert (answer.id, answer.created, answer.model) == (UNSET, UNSET, UNSET)


@pytest.mark.parametrize("name", ["system_fingerprint", "service_tier"])
def test_the_last_of_what_may_come_late_stands(name: str) -> None:
    given: list[Json] = [
        {},
        {name: None},
        {name: "early"},
        {name: "late"},
        {name: ""},
        {name: None},
        {},
    ]
    assert getattr(_answer(*given), name) == "late"
    assert getattr(_answer(*given[:2], {name: ""}), name) is UNSET


# --- values of another type ---

FULL: Json = {
    **HEADING,
    "system_fingerprint": "fp",
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "delta": {
                "role": "assistant",
                "content": "x",
                "reasoning": "y",
                "reasoning_content": "y",
                "refusal": "z",
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "a",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ],
            },
            "logprobs": {"content": [TOKEN], "refusal": [TOKEN], "reasoning_content": [TOKEN]},
            "finish_reason": "stop",
            "stop_reason": 7,
        }
    ],
    "usage": {"total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}},
}
FIRM = {"choices", "delta", "tool_calls", "function"}
STRANGE: list[Any] = [None, True, 7, 1.5, "", "t", [], [1], [{}], {}, {"a": 1}, {"text": "t"}]


def _slots(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of every value in a document, what holds it, and under which key."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield f"{path}.{key}", value, key
        if isinstance(item, (dict, list)):
            yield from _slots(item, f"{path}.{key}")


@pytest.mark.parametrize("path", [path for path, _, _ in _slots(FULL)])
def test_a_value_of_another_type_says_nothing_and_makes_nothing_fail(path: str) -> None:
    before = json.dumps(FULL)
    taken = 0
    for strange in STRANGE:
        document = json.loads(before)
        (found,) = ((holder, key) for at, holder, key in _slots(document) if at == path)
        holder, key = found
        holder[key] = strange
        try:
            chunk = wire.decode(json.dumps(document))
        except InvalidChunk as error:
            steps = [step for step in error.errors()[0]["loc"] if isinstance(step, str)]
            assert steps[-1] in FIRM
            continue
        made = Accumulator()
        for some in (chunk, wire.decode(before), chunk):
            made.add(some)
        for choice in json.loads(fastchunk.encode(made.result()))["choices"]:
            _check_texts(choice["message"])
        taken += 1
    assert taken >= (3 if path.rsplit(".", maxsplit=1)[-1] in {*FIRM, "0"} else len(STRANGE))


def _check_texts(message: Json) -> None:
    """Check that whatever a text came as, it is text or null in the answer."""
    texts = [message.get(name) for name in ("role", "content", "reasoning_content", "refusal")]
    for call in message.get("tool_calls", []):
        texts += [call.get("id"), call["type"], *call["function"].values()]
    assert {type(text) for text in texts} <= {str, type(None)}


def test_reasoning_in_an_object() -> None:
    message = _message(*({"content": "", "reasoning_content": {"text": text}} for text in "hm"))
    assert (message.reasoning_content, message.content) == ("hm", "")


def test_what_is_no_text_adds_none() -> None:
    message = _message({"reasoning": True, "refusal": [1], "role": {}})
    assert message == wire.ChatMessage()


# --- the two families ---


def _full(delta: Json, **fields: Any) -> Json:
    """Make a chunk that sets every field of the mirror."""
    whole = {"role": None, "content": "", "reasoning_content": None, "tool_calls": [], **delta}
    rest = {"logprobs": None, "finish_reason": None, "stop_reason": None, **fields}
    return {**HEADING, "choices": [{"index": 0, "delta": whole, **rest}], "usage": None}


@pytest.mark.parametrize(
    "chunks",
    [
        [_full({"role": "assistant"}), _full({"content": "日"}), _full({"content": "本"})],
        [_full({"reasoning_content": "hm"}), _full({"content": "x"}, finish_reason="stop")],
        [_full({"tool_calls": [_piece("a", "f", part, index=1)]}) for part in ('{"x"', ":1}")],
        [_full({}, logprobs={"content": [TOKEN]}), _full({}, logprobs={"content": [TOKEN] * 2})],
        [_full({}, stop_reason=7, finish_reason="stop")],
        [
            _full({}),
            {
                **HEADING,
                "choices": [],
                "usage": {
                    "prompt_tokens": 1,
                    "total_tokens": 3,
                    "completion_tokens": 2,
                    "prompt_tokens_details": {"cached_tokens": 1},
                },
            },
        ],
    ],
    ids=["text", "reasoning", "tool-calls", "logprobs", "reasons", "usage"],
)
def test_the_mirrors_chunks_give_the_same_answer(chunks: list[Json]) -> None:
    assert _accumulated(chunks, models).result() == _accumulated(chunks).result()
    mixed = Accumulator()
    for n, chunk in enumerate(chunks):
        mixed.add((models, wire)[n % 2].decode(json.dumps(chunk)))
    assert mixed.result() == _accumulated(chunks).result()


def test_ids_that_the_mirror_makes_up_begin_no_calls() -> None:
    chunks = [_full({"tool_calls": [_piece("a", "f", index=0)]})]
    chunks += [_full({"tool_calls": [_piece(arguments=part, index=0)]}) for part in "{}"]
    message = _accumulated(chunks, models).result().choices[0].message
    assert message.tool_calls == [
        wire.ToolCall(id="a", function=wire.FunctionCall(name="f", arguments="{}"))
    ]


def test_subclasses_are_chunks() -> None:
    class Chunk(wire.ChatCompletionStreamResponse):
        pass

    made = Accumulator()
    made.add(Chunk(model="m"))
    assert made.result().model == "m"


@pytest.mark.parametrize(
    "chunk", [None, {}, b"{}", "{}", wire.DeltaMessage(), models.DeltaMessage(), wire, Accumulator]
)
def test_what_is_no_chunk_is_a_type_error(chunk: Any) -> None:
    made = _accumulated([_choice({"content": "x"})])
    with pytest.raises(TypeError, match="chunk must be a ChatCompletionStreamResponse, not "):
        made.add(chunk)
    assert made.result() == _answer(_choice({"content": "x"}))


def test_a_chunk_of_the_mirror_without_a_json_form_is_invalid_and_not_added() -> None:
    made = Accumulator()
    with pytest.raises(InvalidChunk, match="a lone surrogate"):
        made.add(models.ChatCompletionStreamResponse(model="\ud800", choices=[]))
    assert made.result() == Accumulator().result()


# --- snapshots ---

_texts = st.sampled_from([None, "", "a", "日"])
_contents = _texts | st.lists(st.sampled_from([TEXT, THOUGHT]), max_size=2)
_pieces = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([None, 0, 1]),
        "id": _texts,
        "function": st.fixed_dictionaries(
            {}, optional={"name": _texts, "arguments": _texts | st.just({"x": 1})}
        ),
    },
)
_tokens = st.none() | st.lists(st.just(TOKEN), max_size=2)
_deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": _contents,
        "reasoning": _texts,
        "refusal": _texts,
        "tool_calls": st.none() | st.lists(_pieces, max_size=2),
    },
)
_choices = st.fixed_dictionaries(
    {"index": st.integers(0, 1)},
    optional={
        "delta": st.none() | _deltas,
        "logprobs": st.none()
        | st.fixed_dictionaries(
            {}, optional={"content": _tokens, "refusal": _tokens, "reasoning_content": _tokens}
        ),
        "finish_reason": _texts,
    },
)
_chunks = st.fixed_dictionaries(
    {"id": _texts, "choices": st.none() | st.lists(_choices, max_size=2)},
    optional={"usage": st.none() | st.fixed_dictionaries({"total_tokens": st.integers(0, 9)})},
)


@given(st.lists(st.tuples(_chunks, st.booleans()), max_size=8))
def test_a_snapshot_disturbs_nothing_and_nothing_disturbs_it(
    steps: list[tuple[Json, bool]],
) -> None:
    made = Accumulator()
    kept: list[tuple[Any, bytes]] = []
    for document, look in steps:
        chunk = wire.decode(json.dumps(document))
        kept.append((chunk, fastchunk.encode(chunk)))
        made.add(chunk)
        if look:
            snapshot = made.snapshot()
            kept.append((snapshot, fastchunk.encode(snapshot)))
    assert made.result() == made.result() == _answer(*(document for document, _ in steps))
    for value, encoded in kept:
        assert fastchunk.encode(value) == encoded


@given(st.lists(_chunks, max_size=5))
def test_a_snapshot_is_the_answer_of_the_chunks_so_far(documents: list[Json]) -> None:
    made = Accumulator()
    for n, document in enumerate(documents, 1):
        made.add(wire.decode(json.dumps(document)))
        assert made.snapshot() == _answer(*documents[:n])


def test_lists_of_tokens_are_shared_with_nobody() -> None:
    chunks = [_decoded(GROWING["logprobs"](2)) for _ in range(3)]
    made, seen = Accumulator(), []
    for chunk in chunks:
        made.add(chunk)
        seen.append(made.snapshot())
    for held, expected in ((chunks, [2, 2, 2]), (seen, [2, 4, 6])):
        logprobs = [one.choices[0].logprobs for one in held if one.choices]
        assert [len(some.content or ()) for some in logprobs if some] == expected


# --- cost ---

GROWING: dict[str, Any] = {
    "content": lambda n: {"delta": {"content": "x" * n}},
    "reasoning": lambda n: {"delta": {"reasoning": "x" * n}},
    "refusal": lambda n: {"delta": {"refusal": "x" * n}},
    "arguments": lambda n: {"delta": {"tool_calls": [_piece("a", "f", "x" * n, index=0)]}},
    "logprobs": lambda n: {"delta": {}, "logprobs": {"content": [{"token": "x"}] * n}},
}


def _decoded(choice: Json) -> wire.ChatCompletionStreamResponse:
    return wire.decode(json.dumps({"choices": [{"index": 0, **choice}]}))


@pytest.mark.parametrize("grown", GROWING.values(), ids=GROWING)
def test_adding_copies_nothing_of_what_is_held(grown: Any) -> None:
    # What is held is 100,000 characters, or pointers to tokens. Fifty adds that copied it would
    # take fifty times that; a list that grows is moved once or twice.
    made = Accumulator()
    made.add(_decoded(grown(100_000)))
    taken, chunks = 0, [_decoded(grown(1)) for _ in range(50)]
    tracemalloc.start()
    for chunk in chunks:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        made.add(chunk)
        taken += tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert taken < 2_500_000


@pytest.mark.parametrize("grown", GROWING.values(), ids=GROWING)
def test_the_last_of_many_adds_calls_as_much_as_an_early_one(grown: Any) -> None:
    made = Accumulator()
    counts: list[int] = []

    def count(_frame: Any, event: str, _argument: Any) -> None:
        counts[-1] += event in {"call", "c_call"}

    for n in range(2000):
        chunk = _decoded(grown(1))
        if n in {10, 1999}:
            counts.append(0)
            sys.setprofile(count)
            made.add(chunk)
            sys.setprofile(None)
        else:
            made.add(chunk)
    assert counts[0] == counts[1] > 1


def test_a_snapshot_joins_only_what_has_come_since_the_last_one() -> None:
    made = _accumulated([_choice({"content": "x" * 1000}) for _ in range(1000)])
    first = made.snapshot().choices[0].message.content
    tracemalloc.start()
    again = made.snapshot().choices[0].message.content
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert again == first == "x" * 1_000_000
    assert taken < 500_000
