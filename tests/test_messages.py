"""The events of Anthropic Messages: they come in, go out as they were, and add up to a message."""

from __future__ import annotations

import copy
import json
import pickle
import random
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from fastchunk import Accumulator, InvalidChunk, encode, messages, wire
from fastchunk.messages import Answer, Message, UnknownEvent, Usage, merge_usage
from fastchunk.scan import MAX_PATHS, paths_of
from tests.family_streams import events_of, recorded_of

stream_of = pytest.mark.parametrize("stream", recorded_of("messages"), ids=lambda path: path.stem)

EVENTS: tuple[type[msgspec.Struct], ...] = get_args(messages.KnownEvent)
BLOCKS = [part for part in get_args(messages.ContentBlock) if part is not Raw]
DELTAS = [part for part in get_args(messages.ContentBlockDelta) if part is not Raw]
PARTS = [
    *(Message, messages.MessageDelta, Usage, messages.CacheCreation, messages.FallbackInfo),
    *(messages.OutputTokensDetails, messages.RefusalStopDetails, messages.ServerToolUsage),
]


def _decode(**event: Any) -> Any:
    return messages.decode(json.dumps(event))


def _start(block: Any, index: int = 0) -> Any:
    return _decode(type="content_block_start", index=index, content_block=block)


def _delta(delta: Any, index: Any = 0) -> Any:
    return _decode(type="content_block_delta", index=index, delta=delta)


def _text(text: Any, index: Any = 0) -> Any:
    return _delta({"type": "text_delta", "text": text}, index)


def _answer(*events: Any) -> Any:
    answer, accumulator = Answer(), Accumulator(messages)
    for event in events:
        answer.add(event)
        accumulator.add(event)
    built = answer.build()
    assert accumulator.result() == built
    return json.loads(encode(built))


def _tagged(struct: Any) -> dict[str, Any]:
    tag = struct.__struct_config__.tag
    return {"type": tag} if tag else {}


# --- decode and encode --------------------------------------------------------------------------


@stream_of
def test_every_recorded_event_decodes_and_comes_back(stream: Path) -> None:
    for data in events_of(stream):
        event = messages.decode(data)
        assert not isinstance(event, UnknownEvent)
        assert event.type == json.loads(data)["type"]
        assert json.loads(encode(event)) == json.loads(data)
        assert messages.decode_utf8(data) == event


@pytest.mark.parametrize("struct", [*EVENTS, *BLOCKS, *DELTAS, *PARTS], ids=lambda s: s.__name__)
def test_every_field_has_three_states(struct: type[msgspec.Struct]) -> None:
    decoder = msgspec.json.Decoder(struct)
    head = _tagged(struct)
    assert json.loads(encode(decoder.decode(json.dumps(head)))) == head
    nulls = {**head, **dict.fromkeys(struct.__struct_encode_fields__)}
    assert json.loads(encode(decoder.decode(json.dumps(nulls)))) == nulls


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"message_start","message":{"id":"m","container":null,"content":[{"type":"text",'
        b'"citations":[{"a" : 1.50}],"text":""}],"model":"c","usage":{"input_tokens":3}}}',
        b'{"type":"content_block_start","content_block":{"type":"fallback","from":{"model":"a"},'
        b'"to":{"model":"b"},"trigger":{"type":"x"}},"index":1}',
        b'{"type":"content_block_delta","delta":{"type":"citations_delta","citation":{"a":[1e5]}}}',
        b'{"type":"error","error":{"type":"overloaded_error"},"request_id":null}',
        b'{"type":"ping"}',
    ],
)
def test_an_event_in_the_structs_order_gets_its_bytes_back(data: bytes) -> None:
    assert encode(messages.decode(data)) == data


def test_the_type_may_stand_anywhere() -> None:
    event = messages.decode(
        '{"delta":{"text":"a","type":"text_delta"},"index":1,"type":"content_block_delta"}'
    )
    assert event == messages.ContentBlockDeltaEvent(delta=messages.TextDelta(text="a"), index=1)
    assert event.type == "content_block_delta"


def test_no_json_object_is_invalid() -> None:
    for data in (b"", b"[DONE]", b"null", b"[]", b"3", b'{"type":"ping"', b"\xff"):
        for decode in (messages.decode, messages.decode_facts, messages.decode_usage):
            with pytest.raises(InvalidChunk):
                decode(data)
    with pytest.raises(TypeError):
        messages.decode(None)  # type: ignore[arg-type]


def test_a_buffer_is_not_locked_and_not_aliased() -> None:
    data = b'{"type":"content_block_start","content_block":{"type":"new","x":"y"},"index":0}'
    buffer = bytearray(data)
    events = [messages.decode(buffer), messages.decode(memoryview(buffer))]
    buffer[:] = b"x" * 100
    assert [encode(event) for event in events] == [data, data]


def test_an_event_can_be_pickled_and_copied() -> None:
    event = _text("a")
    assert pickle.loads(pickle.dumps(event)) == event == copy.deepcopy(event)


# --- what is unknown, or has another type -------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text(), JSON, max_size=4)


@given(JSON, OBJECT)
def test_an_event_of_an_unknown_type_is_kept_whole(kind: Any, rest: dict[str, Any]) -> None:
    value = {**rest, "type": kind}
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    event = messages.decode(data)
    assert isinstance(event, UnknownEvent)
    assert (event.type, bytes(event.data)) == (kind, data)
    messages.decode_facts(data)
    assert _answer(event) == {"content": []}


@given(JSON, OBJECT)
def test_a_block_and_a_delta_of_an_unknown_type_are_kept_whole(
    kind: Any, rest: dict[str, Any]
) -> None:
    part = {**rest, "type": kind}
    start, delta = _start(part), _delta(part)
    assert isinstance(start.content_block, Raw)
    assert isinstance(delta.delta, Raw)
    for event, name in ((start, "content_block"), (delta, "delta")):
        assert json.loads(encode(event)) == {"type": event.type, name: part, "index": 0}
    assert _answer(start, delta, _text("a")) == {"content": [part]}


@given(st.sampled_from(EVENTS), st.dictionaries(st.text(min_size=1), JSON, max_size=4))
def test_unknown_keys_change_nothing(struct: type[msgspec.Struct], extra: dict[str, Any]) -> None:
    known = {**_tagged(struct), **dict.fromkeys(struct.__struct_encode_fields__)}
    assert json.loads(encode(_decode(**{**extra, **known}))) == known


ANYTHING: list[Any] = [True, 1.5, 7, "t", [1, "t", None], [{"b": []}], {"c": {"d": [1.5]}}]
FIRM = {"message": (), "content_block": (), "delta": ("content_block_delta",)}


@pytest.mark.parametrize("struct", EVENTS, ids=lambda struct: struct.__name__)
def test_a_field_of_another_type_holds_what_came(struct: type[msgspec.Struct]) -> None:
    for name in struct.__struct_encode_fields__:
        kinds = FIRM.get(name)
        firm = kinds is not None and (not kinds or struct.__struct_config__.tag in kinds)
        for value in ANYTHING:
            event = {**_tagged(struct), name: value}
            if firm and not isinstance(value, dict):
                with pytest.raises(InvalidChunk, match=rf"^{name}: expected `object"):
                    _decode(**event)
                continue
            decoded = _decode(**event)
            if (
                name in {"message", "usage", "delta"}
                and isinstance(value, dict)
                and not (firm and name == "delta")
            ):
                event[name] = {}  # a Struct ignores the keys that it does not know
            assert json.loads(encode(decoded)) == event
            Answer().add(decoded)


@pytest.mark.parametrize("struct", [*BLOCKS, *DELTAS], ids=lambda struct: struct.__name__)
def test_a_field_of_a_part_of_another_type_holds_what_came(struct: type[msgspec.Struct]) -> None:
    for name in struct.__struct_encode_fields__:
        for value in ANYTHING:
            part = {**_tagged(struct), name: value}
            event = _start(part) if struct in BLOCKS else _delta(part)
            found = event.content_block if struct in BLOCKS else event.delta
            assert type(found) is struct
            if name in {"from", "to"} and isinstance(value, dict):
                part[name] = {}
            assert json.loads(encode(found)) == part


@pytest.mark.parametrize("name", Message.__struct_encode_fields__)
def test_a_field_of_a_message_of_another_type_holds_what_came(name: str) -> None:
    for value in ANYTHING:
        event = _decode(type="message_start", message={name: value})
        expected = {} if name in {"usage", "stop_details"} and isinstance(value, dict) else value
        assert json.loads(encode(event.message)) == {name: expected}
        end = _decode(type="message_delta", delta={name: value}, usage={"output_tokens": 1})
        answer = _answer(event, end)
        assert answer["usage"]["output_tokens"] == 1
        if name != "content":
            continue
        assert answer["content"] == (value if isinstance(value, list) else [])


# --- what a relay has to know -------------------------------------------------------------------


@stream_of
def test_the_facts_of_recorded_events(stream: Path) -> None:
    for data in events_of(stream):
        value, facts = json.loads(data), messages.decode_facts(data)
        assert facts.type == value["type"]
        assert facts.error is UNSET
        if facts.type == "message_start":
            assert isinstance(facts.message, messages.MessageFacts)
            assert facts.message.usage == value["message"]["usage"]
        if facts.type == "message_delta":
            assert isinstance(facts.delta, messages.DeltaFacts)
            assert facts.delta.stop_reason == value["delta"]["stop_reason"]
            assert facts.usage == value["usage"]
            usage = messages.decode_usage(json.dumps(facts.usage))
            assert json.loads(encode(usage)) == value["usage"]


def test_the_facts_of_an_error() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    facts = messages.decode_facts(json.dumps({"type": "error", "error": error}))
    assert (facts.type, facts.error) == ("error", error)


@pytest.mark.parametrize("value", ANYTHING)
def test_facts_may_have_any_type(value: Any) -> None:
    for name in messages.Facts.__struct_fields__:
        messages.decode_facts(json.dumps({name: value}))


def test_the_facts_are_few_enough_for_the_scanner() -> None:
    assert len(paths_of(messages.Facts)) <= MAX_PATHS


# --- the message --------------------------------------------------------------------------------


def test_usage_is_what_the_last_event_says_and_else_what_the_first_one_said() -> None:
    known = Usage(
        input_tokens=10, output_tokens=1, cache_read_input_tokens=5, service_tier="standard"
    )
    later = messages.decode_usage(
        '{"input_tokens":12,"output_tokens":9,"cache_read_input_tokens":null,"iterations":null,'
        '"server_tool_use":{"web_search_requests":1}}'
    )
    merged = merge_usage(known, later)
    assert json.loads(encode(merged)) == {
        "cache_read_input_tokens": 5,
        "input_tokens": 12,
        "output_tokens": 9,
        "server_tool_use": {"web_search_requests": 1},
        "service_tier": "standard",
    }
    assert known.output_tokens == 1


def test_what_the_message_delta_says_stands_in_the_message() -> None:
    start = _decode(type="message_start", message={"id": "m", "container": {"id": "old"}})
    end = _decode(
        type="message_delta",
        delta={"stop_reason": "refusal", "stop_details": {"category": "bio"}, "container": None},
        usage={"output_tokens": 2},
        context_management={"applied_edits": []},
        input_transformations=[1.5],
    )
    assert _answer(start, end) == {
        "id": "m",
        "container": {"id": "old"},
        "content": [],
        "context_management": {"applied_edits": []},
        "stop_details": {"category": "bio"},
        "stop_reason": "refusal",
        "stop_sequence": None,
        "usage": {"output_tokens": 2},
        "input_transformations": [1.5],
    }


def test_only_the_last_event_finishes_the_message() -> None:
    answer = Answer()
    end = {"stop_reason": "end_turn"}
    for event in (
        _decode(type="message_start", message={"id": "m"}),
        _decode(type="ping"),
        _start({"type": "text", "text": ""}),
        _text("a"),
        _decode(type="content_block_stop", index=0),
        _decode(type="message_delta", delta=end),
        _decode(type="error", error={"type": "overloaded_error"}),
    ):
        answer.add(event)
        assert not answer.finished
    answer.add(_decode(type="message_stop"))
    assert answer.finished


def test_later_events_do_not_change_a_message_that_was_built() -> None:
    answer, built = Answer(), []
    citation = {"type": "citations_delta", "citation": {"cited_text": "b"}}
    arguments = {"type": "input_json_delta", "partial_json": '{"a":1'}
    summary = {"type": "compaction_delta", "content": "s"}
    for event in (
        _decode(type="message_start", message={"id": "m", "usage": {"output_tokens": 1}}),
        _start({"type": "text", "text": "", "citations": [{"cited_text": "a"}]}),
        *(_text("a"), _delta(citation), _text("b")),
        _start({"type": "thinking", "thinking": "", "signature": ""}),
        _delta({"type": "thinking_delta", "thinking": "t"}, 1),
        _delta({"type": "signature_delta", "signature": "s"}, 1),
        _start({"type": "tool_use", "input": {}}),
        *(_delta(arguments, 2), _delta({**arguments, "partial_json": "}"}, 2)),
        _start({"type": "compaction", "content": None}),
        *(_delta(summary, 3), _delta({**summary, "encrypted_content": "e"}, 3)),
        _decode(type="message_delta", delta={"stop_reason": "x"}, usage={"output_tokens": 2}),
        _start({"type": "fallback", "to": {"model": "n"}}),
    ):
        answer.add(event)
        message = answer.build()
        built.append((message, encode(message)))
        assert encode(answer.build()) == encode(message)
    assert [encode(message) for message, _ in built] == [data for _, data in built]
    assert json.loads(built[-1][1])["content"] == [
        {"type": "text", "text": "ab", "citations": [{"cited_text": "a"}, {"cited_text": "b"}]},
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "tool_use", "input": {"a": 1}},
        {"type": "compaction", "content": "s", "encrypted_content": "e"},
        {"type": "fallback", "to": {"model": "n"}},
    ]


def test_an_answer_leaves_the_events_as_they_are() -> None:
    events = [
        _decode(type="message_start", message={"id": "m", "usage": {"output_tokens": 1}}),
        _start({"type": "text", "text": "", "citations": []}),
        _text("a"),
        _delta({"type": "citations_delta", "citation": {}}),
        _decode(type="message_delta", delta={"stop_reason": "x"}, usage={"output_tokens": 2}),
    ]
    before = list(map(encode, events))
    _answer(*events)
    assert list(map(encode, events)) == before


def test_a_fallback_names_the_model_that_answers() -> None:
    start = _decode(type="message_start", message={"model": "a"})
    block = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}
    assert _answer(start, _start(block)) == {"model": "b", "content": [block]}
    nowhere = {"type": "fallback", "to": None}
    assert _answer(start, _start(nowhere)) == {"model": "a", "content": [nowhere]}


def test_a_message_may_begin_with_content() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "tool_use", "input": {"b": 1}}]
    start = _decode(type="message_start", message={"content": content})
    assert _answer(start, _text("b")) == {"content": [{"type": "text", "text": "ab"}, content[1]]}


def test_the_content_that_a_message_begins_with_is_kept() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "new", "x": [1.5]}]
    start = _decode(type="message_start", message={"content": content})
    assert start.message.content == content
    assert _answer(start, _start({"type": "text"}), _text("b", 2)) == {
        "content": [*content, {"type": "text", "text": "b"}]
    }


def test_a_second_message_goes_on_with_the_first() -> None:
    start = _decode(type="message_start", message={"id": "m"})
    again = _decode(type="message_start", message={"id": "n", "content": [{"type": "text"}]})
    block = _start({"type": "text", "text": "a"})
    assert _answer(start, block, again, _text("b")) == {
        "id": "m",
        "content": [{"type": "text", "text": "ab"}],
    }


def test_events_before_the_first_are_not_lost() -> None:
    block = _start({"type": "text", "text": "a"})
    late = _decode(type="message_start", message={"id": "m"})
    nothing = _decode(type="message_start", message=None)
    expected = {"id": "m", "content": [{"type": "text", "text": "a"}]}
    assert _answer(nothing, block, late) == expected


def test_a_block_that_is_missing_keeps_its_place() -> None:
    block = {"type": "text", "text": "a"}
    for missing in (_decode(type="content_block_start"), _start(None)):
        assert _answer(missing, _start(block), _text("b"), _text("c", 1)) == {
            "content": [None, {"type": "text", "text": "ac"}]
        }


@pytest.mark.parametrize("index", [1, -1, None, "x", [0], {"a": 0}, 0.5, 10**30])
def test_a_delta_of_no_block_is_passed_over(index: Any) -> None:
    block = {"type": "text", "text": "a"}
    assert _answer(_start(block), _text("b", index)) == {"content": [block]}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda struct: struct.__name__)
def test_a_delta_changes_only_blocks_of_its_type(block: Any) -> None:
    takes = {
        "text": ("text_delta", "citations_delta"),
        "thinking": ("thinking_delta", "signature_delta"),
        "compaction": ("compaction_delta",),
        **dict.fromkeys(("tool_use", "server_tool_use", "mcp_tool_use"), ("input_json_delta",)),
    }
    for delta in DELTAS:
        event = {**_tagged(delta), **dict.fromkeys(delta.__struct_encode_fields__, "1")}
        changed = _answer(_start(_tagged(block)), _delta(event))["content"]
        unchanged = _answer(_start(_tagged(block)))["content"]
        expected = event["type"] in takes.get(_tagged(block)["type"], ())
        assert (changed != unchanged) == expected


def test_what_is_no_text_in_the_place_of_a_piece_says_nothing() -> None:
    block = {"type": "text"}
    assert _answer(_start(block), _text(["a"]), _text(None), _text("b"), _text(3)) == {
        "content": [{"type": "text", "text": "b"}]
    }


def test_a_citation_that_says_nothing_is_none() -> None:
    block = {"type": "text", "citations": [], "text": ""}
    assert _answer(_start(block), _delta({"type": "citations_delta"})) == {"content": [block]}
    block["citations"] = "what?"
    assert _answer(_start(block)) == {"content": [block]}


def test_arguments_are_read_when_they_are_asked_for() -> None:
    pieces = ["", '{"city": "Par', 'is", "days": [1', ", 2]}"]
    answer, found = Answer(), []
    answer.add(_start({"type": "tool_use", "id": "t", "name": "f", "input": {}}))
    for piece in pieces:
        answer.add(_delta({"type": "input_json_delta", "partial_json": piece}))
        content: Any = answer.build().content
        found.append(content[0].input)
    assert found == [
        *({}, {}, {"city": "Paris", "days": [1]}),
        {"city": "Paris", "days": [1, 2]},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":{"b":[{"c":"d', {"a": {"b": [{}]}}),
        ('{"a":[1,tr', {"a": [1]}),
        ('{"a":[1,true', {"a": [1, True]}),
        ('{"a":-', {}),
        ('{"a":1}{"b":2}', {"a": 1}),
        ("[" * 150, json.loads("[" * 150 + "]" * 150)),
        ('{"a":[1}', '{"a":[1}'),
        ("}", "}"),
        (" ", " "),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_arguments_that_break_off_or_are_no_json(text: str, expected: Any) -> None:
    answer = Answer()
    answer.add(_start({"type": "mcp_tool_use", "input": {}}))
    answer.add(_delta({"type": "input_json_delta", "partial_json": text}))
    content: Any = answer.build().content
    assert content[0].input == expected


@pytest.mark.parametrize("event", [None, {"type": "ping"}, wire.decode("{}"), messages.TextDelta()])
def test_what_is_no_event_cannot_be_added(event: Any) -> None:
    with pytest.raises(TypeError, match=r"event must be one of messages\.Event"):
        Answer().add(event)
    with pytest.raises(TypeError, match=r"event must be one of messages\.Event"):
        Accumulator(messages).add(event)


def test_a_large_message_adds_up() -> None:
    answer = Answer()
    piece = "x" * 1000
    answer.add(_start({"type": "text", "text": ""}))
    for _ in range(2000):
        answer.add(_text(piece))
    content: Any = answer.build().content
    assert content[0].text == piece * 2000


# --- mutated events -----------------------------------------------------------------------------

SEEDS = [
    *(encode(_start({**_tagged(block), "text": "é", "input": {"a": [1]}})) for block in BLOCKS),
    *(encode(_delta({**_tagged(delta), "text": "\\u00e9"})) for delta in DELTAS),
    b'{"type":"message_start","message":{"content":[{"type":"text","text":"a"}],"usage":{}}}',
    b'{"type":"message_delta","delta":{"stop_reason":"x"},"usage":{"output_tokens":1}}',
    b'{"type":"error","error":{"type":"overloaded_error","message":"no"}}',
]
FRAGMENTS = [
    *(b'"', b"\\", b"\xff", b"\xc3", b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"1e999"),
    *(b"\\ud800", b"[" * 3000, b'{"type":' * 2000, b"9" * 5000, b'"type":"text",', b"\x00"),
]


def _mutated(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        if rng.random() < 0.5:
            data[at:at] = rng.choice(FRAGMENTS)
        elif rng.random() < 0.5:
            del data[at : at + rng.randint(1, 9)]
        else:
            data[at:at] = rng.choice(SEEDS)[: rng.randint(1, 60)]
    return bytes(data)


def test_mutated_events_are_events_or_invalid() -> None:
    counts = {"taken": 0, "invalid": 0}
    for seed in range(3000):
        data = _mutated(random.Random(seed))
        try:
            event = messages.decode(data)
        except InvalidChunk:
            counts["invalid"] += 1
            continue
        counts["taken"] += 1
        messages.decode_facts(data)
        answer = Answer()
        answer.add(event)
        for later in (_text("a"), _delta({"type": "input_json_delta", "partial_json": "{"})):
            answer.add(later)
        encode(answer.build())
    assert min(counts.values()) > 300
