"""What chat's dialect knows: text rules over whole answers, and the names of the reasoning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchunk import InvalidChunk, Relay, completions, messages, responses, wire
from fastchunk.dialects import dialect_of
from fastchunk.rewrite import rewrite_answer, rules_for
from fastchunk.text import Replace, Rule, Rules, Split, Stop
from tests.chat_streams import chunk, events, finishing, stream
from tests.text_cases import cut_off, replaced, string_spans

pytestmark = pytest.mark.usefixtures("scanner")

CARD = "4111 1111"
RULES: list[Rule] = [Replace(CARD, "[card]")]
ALL: list[Rule] = [
    Replace(CARD, "[card]", channels=("content", "reasoning", "refusal", "arguments"))
]


def answer(*messages: Any, **others: Any) -> str:
    choices = [
        {"index": index, "message": message, "finish_reason": "stop", **others}
        for index, message in enumerate(messages)
    ]
    head = {"id": "c", "object": "chat.completion", "created": 17, "x": [1e300]}
    return json.dumps({**head, "choices": choices, "usage": {"total_tokens": 5}})


def rewritten(data: str, rules: list[Rule], family: Any = wire) -> Any:
    return json.loads(rewrite_answer(data.encode(), Rules(rules), dialect_of(family)))


def message_of(message: Any, rules: list[Rule], **others: Any) -> Any:
    (choice,) = rewritten(answer(message, **others), rules)["choices"]
    return choice["message"]


# --- whole answers ------------------------------------------------------------------------------


def test_an_answer_that_no_rule_concerns_is_as_it_came() -> None:
    kept = ('{"error":{}}', '{"choices":null}', '{"choices":[{"message":null}]}')
    for data in (answer({"content": "4111"}), answer(), *kept):
        raw = data.encode()
        out = rewrite_answer(raw, Rules([*ALL, Split("<", ">"), Stop("!")]), dialect_of(wire))
        assert out is raw


@pytest.mark.parametrize("data", ['{"x":1}', '{"choices":{}}', '{"choices":["x"]}'])
def test_an_answer_of_another_shape_is_unseen(data: str) -> None:
    with pytest.raises(InvalidChunk, match="/choices: it is to be a list of objects"):
        rewritten(data, ALL)


def test_a_message_of_another_shape_is_unseen() -> None:
    with pytest.raises(InvalidChunk, match="/choices/0/message: it is to be an object"):
        rewritten('{"choices":[{"message":2}]}', ALL)


@pytest.mark.parametrize("family", [completions, messages, responses])
def test_an_answer_of_another_api_is_unseen(family: Any) -> None:
    with pytest.raises(InvalidChunk, match="a list of objects"):
        rewritten('{"x":[{"text":"4111 1111"}]}', ALL, family)


SHAPES: list[tuple[Any, Any]] = [
    ({"content": CARD}, {"content": "[card]"}),
    ({"content": None, "refusal": CARD}, {"content": None, "refusal": "[card]"}),
    (
        {"content": [{"type": "text", "text": "4111"}, {"type": "text", "text": " 1111"}]},
        {"content": [{"type": "text", "text": ""}, {"type": "text", "text": "[card]"}]},
    ),
    ({"reasoning": CARD}, {"reasoning": "[card]"}),
    ({"reasoning_content": CARD}, {"reasoning_content": "[card]"}),
    (
        {"reasoning": CARD, "reasoning_content": CARD},
        {"reasoning": "[card]", "reasoning_content": "[card]"},
    ),
    (
        {"reasoning": CARD, "reasoning_content": "4111"},
        {"reasoning": "[card]", "reasoning_content": "4111"},
    ),
    ({"reasoning": CARD, "reasoning_details": [{"text": CARD}]}, {"reasoning": "[card]"}),
    (
        {"reasoning": "a", "reasoning_details": [{"text": CARD}]},
        {"reasoning": "a", "reasoning_details": [{"text": "[card]"}]},
    ),
    ({"audio": {"transcript": CARD, "data": "00"}}, {"audio": {"transcript": "[card]"}}),
    (
        {"tool_calls": [{"id": CARD, "function": {"name": CARD, "arguments": CARD}}]},
        {"tool_calls": [{"id": CARD, "function": {"name": CARD, "arguments": "[card]"}}]},
    ),
    (
        {
            "tool_calls": [
                {"function": {"arguments": {"a": [CARD]}}},
                None,
                {"custom": {"input": CARD}},
            ]
        },
        {
            "tool_calls": [
                {"function": {"arguments": {"a": ["[card]"]}}},
                None,
                {"custom": {"input": "[card]"}},
            ]
        },
    ),
    ({"function_call": {"arguments": CARD}}, {"function_call": {"arguments": "[card]"}}),
    ({"tool_calls": 1, "content": CARD}, {"tool_calls": 1, "content": "[card]"}),
]


@pytest.mark.parametrize(("message", "expected"), SHAPES)
def test_every_text_of_an_answer_is_read(message: Any, expected: Any) -> None:
    assert message_of(message, ALL) == expected


def test_arguments_of_an_answer_are_read_only_where_a_rule_names_them() -> None:
    raw = answer({"tool_calls": [{"function": {"arguments": CARD}}]}).encode()
    assert rewrite_answer(raw, Rules(RULES), dialect_of(wire)) is raw


def test_texts_of_an_answer_do_not_join() -> None:
    calls = [{"function": {"arguments": piece}} for piece in ("4111", " 1111")]
    for message in (
        {"tool_calls": calls},
        {"content": "4111", "refusal": " 1111"},
        {"tool_calls": [{"function": {"arguments": {"a": "4111", "b": " 1111"}}}]},
    ):
        assert message_of(message, ALL) == message
    assert rewritten(answer({"content": "4111"}, {"content": " 1111"}), ALL) == json.loads(
        answer({"content": "4111"}, {"content": " 1111"})
    )


def test_all_but_the_texts_of_an_answer_is_as_it_came() -> None:
    raw = (
        answer({"content": CARD}, {"content": f"no. {CARD}!"}).replace("1e+300", "1.0E300").encode()
    )
    out = rewrite_answer(raw, Rules(RULES), dialect_of(wire))
    assert out == raw.replace(CARD.encode(), b"[card]")


def test_what_spells_out_an_answers_text_is_removed() -> None:
    data = answer({"content": CARD}, logprobs={"content": []}, token_ids=[1])
    assert rewritten(data, RULES)["choices"] == [
        {"index": 0, "message": {"content": "[card]"}, "finish_reason": "stop"}
    ]
    for text in ("x", "no. 4111"):
        assert rewritten(data.replace(CARD, text), RULES) == json.loads(data.replace(CARD, text))


def test_a_text_beside_the_message_is_read_or_a_copy() -> None:
    (choice,) = rewritten(answer({"content": CARD}, text=CARD), RULES)["choices"]
    assert (choice["message"], "text" in choice) == ({"content": "[card]"}, False)
    (choice,) = rewritten(answer({"content": "a"}, text=CARD), RULES)["choices"]
    assert (choice["message"], choice["text"]) == ({"content": "a"}, "[card]")


def test_a_stop_ends_an_answers_choice() -> None:
    calls = {"tool_calls": [{"function": {"arguments": "{}"}}], "refusal": "no"}
    data = answer({"content": "Yes.\n\nUser:", **calls}, {"content": "No."}, {"content": "xabc"})
    choices = rewritten(
        data, [Stop("\n\nUser:", finish_reason="x"), Stop("abcd", "bc", finish_reason="y")]
    )["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["Yes.", "No.", "xa"]
    assert [choice["finish_reason"] for choice in choices] == ["x", "stop", "y"]
    assert choices[0]["message"] == {"content": "Yes.", "refusal": ""}


def test_an_answer_is_split() -> None:
    rules: list[Rule] = [Split("<think>", "</think>")]
    assert message_of({"content": "a<think>Hm.</think>b<think>!"}, rules) == {
        "content": "ab",
        "reasoning_content": "Hm.!",
    }
    assert message_of({"content": "<think>Hm.", "reasoning": "So. "}, rules) == {
        "content": "",
        "reasoning": "So. Hm.",
    }


def test_whole_texts_stop_in_other_families() -> None:
    data = json.dumps({"choices": [{"index": 0, "text": "abc", "finish_reason": "length"}]})
    assert rewritten(data, [Stop("b")], completions)["choices"] == [
        {"index": 0, "text": "a", "finish_reason": "stop"}
    ]


def test_duplicate_keys_of_an_answer_are_removed() -> None:
    raw = b'{"choices":[{"message":{"content":"4111 1111","content":"x"}}],"x":{"a":1,"a":2}}'
    out = rewrite_answer(raw, Rules(RULES), dialect_of(wire))
    assert out == b'{"choices":[{"message":{"content":"x"}}],"x":{"a":2}}'


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"[]", "not_an_object"),
        (b"{", "json_invalid"),
        (b'{"a":"\xff"}', "json_invalid"),
        (b"[" * 100_000 + b"]" * 100_000, "json_invalid"),
        (b'{"choices":[{"message":{"content":[{"words":"4111"}]}}]}', "text_unseen"),
    ],
)
def test_what_is_no_answer_is_told(raw: bytes, kind: str) -> None:
    with pytest.raises(InvalidChunk) as raised:
        rewrite_answer(raw, Rules(RULES), dialect_of(wire))
    assert raised.value.errors()[0]["type"] == kind


@given(
    st.lists(st.text("ab😀", max_size=8), max_size=3),
    st.sampled_from(["content", "refusal", "reasoning", "reasoning_content"]),
)
def test_an_answers_texts_are_the_rule_applied_to_them(texts: list[str], name: str) -> None:
    found = rewritten(answer(*({name: text} for text in texts)), [Replace(["ab", "b😀"], "!")])
    spans = string_spans(["ab", "b😀"])
    assert [choice["message"][name] for choice in found["choices"]] == [
        replaced(text, spans(text), "!") for text in texts
    ]
    found = rewritten(answer(*({"content": text} for text in texts)), [Stop("ab")])
    assert [choice["message"]["content"] for choice in found["choices"]] == [
        cut_off(text, ["ab"]) for text in texts
    ]


# --- rules that a family has no room for --------------------------------------------------------


def test_rules_are_for_families_that_have_room_for_them() -> None:
    with pytest.raises(ValueError, match="Stop is for"):
        rules_for(dialect_of(messages).script, [Stop("a")])
    with pytest.raises(ValueError, match="Split is for"):
        rules_for(dialect_of(completions).script, [Split("<", ">")])
    assert rules_for(dialect_of(messages).script, RULES)
    assert not rules_for(dialect_of(wire).script, [])


# --- the name of the reasoning ------------------------------------------------------------------


def said(delta: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":%b}],"x":1.50}\n\n' % delta.encode()


NAMES = ("reasoning", "reasoning_content", "both")
RENAMED: list[tuple[str, str, str, str]] = [
    (
        '{"reasoning":"\\u00e9","a":1}',
        '{"reasoning":"\\u00e9","a":1}',
        '{"a":1,"reasoning_content":"\\u00e9"}',
        '{"reasoning":"\\u00e9","a":1,"reasoning_content":"\\u00e9"}',
    ),
    (
        '{"a":1,"reasoning_content":{"text": "x"}}',
        '{"a":1,"reasoning":{"text": "x"}}',
        '{"a":1,"reasoning_content":{"text": "x"}}',
        '{"a":1,"reasoning_content":{"text": "x"},"reasoning":{"text": "x"}}',
    ),
    (
        '{"reasoning":"x","reasoning_content":"x"}',
        '{"reasoning":"x"}',
        '{"reasoning_content":"x"}',
        '{"reasoning":"x","reasoning_content":"x"}',
    ),
    (
        '{"reasoning":null,"reasoning_content":"x"}',
        '{"reasoning":"x"}',
        '{"reasoning_content":"x"}',
        '{"reasoning":"x","reasoning_content":"x"}',
    ),
    (
        '{"reasoning":"x","reasoning_content":""}',
        '{"reasoning":"x"}',
        '{"reasoning_content":"x"}',
        '{"reasoning":"x","reasoning_content":"x"}',
    ),
    (
        '{"reasoning":null}',
        '{"reasoning":null}',
        '{"reasoning_content":null}',
        '{"reasoning":null,"reasoning_content":null}',
    ),
    (
        '{"r\\u0065asoning":"x"}',
        '{"r\\u0065asoning":"x"}',
        '{"reasoning_content":"x"}',
        '{"r\\u0065asoning":"x","reasoning_content":"x"}',
    ),
]


@pytest.mark.parametrize("case", RENAMED)
@pytest.mark.parametrize("wanted", NAMES)
def test_reasoning_gets_the_name_that_is_wanted(case: tuple[str, ...], wanted: Any) -> None:
    came, left = case[0], case[1 + NAMES.index(wanted)]
    for kind in ("delta", "message"):
        raw, expected = (said(d).replace(b"delta", kind.encode()) for d in (came, left))
        relay = Relay(reasoning=wanted)
        assert relay.feed(raw + raw) == expected + expected
        assert relay.feed(raw[:20]) + relay.feed(raw[20:]) == expected
        assert (relay.chunks, relay.invalid) == (3, 0)


@pytest.mark.parametrize("wanted", NAMES)
@pytest.mark.parametrize(
    "raw",
    [
        said('{"content":"reasoning"}'),
        said('{"reasoning":"two","reasoning_content":"texts"}'),
        said('"reasoning"'),
        said('null,"message":"reasoning"'),
        b'data: {"choices":{"reasoning":1}}\n\n',
        b'data: {"choices":null,"reasoning":1}\n\n',
        b'data: {"reasoning":1}\n\n',
        b'data: {"choices":[{"delta":{"reasoning":1}]}\n\n',
        b"data: [DONE]\n\n",
        b": reasoning\n\n",
    ],
)
def test_what_has_no_reasoning_of_two_names_is_as_it_came(wanted: Any, raw: bytes) -> None:
    assert Relay(reasoning=wanted).feed(raw) == raw


def test_reasoning_is_renamed_in_events_that_are_made_and_after_text_rules() -> None:
    raw = stream(
        chunk({"index": 0, "delta": {"reasoning": "no. 4"}, "finish_reason": None}), finishing(0)
    )
    relay = Relay(text=RULES, reasoning="reasoning_content")
    out = events(relay.feed(raw) + relay.close())
    assert [event["choices"][0]["delta"] for event in out] == [
        {"reasoning_content": "no. "},
        {"reasoning_content": "4"},
        {},
    ]
    relay = Relay(text=[Split("<", ">")], reasoning="reasoning", model="alias")
    raw = stream(
        *(chunk({"index": 0, "delta": {"content": piece}}) for piece in ("a<", "b", "c", "d>"))
    )
    out = events(relay.feed(raw))
    assert [event["choices"][0]["delta"] for event in out] == [
        {"content": "a"},
        *({"content": "", "reasoning": piece} for piece in "bcd"),
    ]
    assert {event["model"] for event in out} == {"alias"}


def test_a_name_that_reasoning_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of its names"):
        Relay(reasoning="thoughts")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in chat alone"):
        Relay(messages, reasoning="both")
