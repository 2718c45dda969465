"""The events of OpenAI Responses: what servers send comes in, goes out as it was, and adds up."""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from fastchunk import InvalidChunk, encode, responses
from fastchunk.responses import Answer, LifeCycleEvent, Response, UnknownEvent
from fastchunk.scan import MAX_PATHS, paths_of
from tests.family_streams import events_of, recorded_of

STREAMS = recorded_of("responses")
BROKEN = {"responses__ai-openai-parallel-tool-call-wrapper-1": 2}
"""How many events of a recorded stream are no JSON: their last brace is missing."""

EVENTS: tuple[type[msgspec.Struct], ...] = get_args(responses.KnownEvent)
STRUCTS = [
    *EVENTS,
    *(Response, responses.ResponseUsage, responses.IncompleteDetails),
    *(responses.InputTokensDetails, responses.OutputTokensDetails),
]


def _decode(**event: Any) -> Any:
    return responses.decode(json.dumps(event))


# --- decode and encode --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.stem)
def test_every_recorded_event_decodes_and_comes_back(stream: Path) -> None:
    broken = 0
    for data in events_of(stream):
        try:
            value = json.loads(data)
        except ValueError:
            with pytest.raises(InvalidChunk):
                responses.decode(data)
            broken += 1
            continue
        event = responses.decode(data)
        assert event.type == value["type"]
        if isinstance(event, UnknownEvent):
            assert bytes(event.data) == data
        else:
            assert json.loads(encode(event)) == value
            assert responses.decode_utf8(data) == event
        if isinstance(event, LifeCycleEvent):
            assert json.loads(encode(event.parsed())) == value["response"]
    assert broken == BROKEN.get(stream.stem, 0)


def test_what_is_recorded_is_mostly_typed() -> None:
    unknown = [
        event.type
        for stream in STREAMS
        if stream.stem not in BROKEN
        for event in map(responses.decode, events_of(stream))
        if isinstance(event, UnknownEvent)
    ]
    # The tools that the server itself runs: their events carry no text of the model.
    prefixes = ("web_search", "file_search", "image_gen", "mcp_", "shell_call", "code_interpreter")
    assert all(str(kind).startswith(tuple(f"response.{p}" for p in prefixes)) for kind in unknown)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_field_has_three_states(struct: type[msgspec.Struct]) -> None:
    tag = struct.__struct_config__.tag
    head = {"type": tag} if tag else {}
    decoder = msgspec.json.Decoder(struct)
    assert json.loads(encode(decoder.decode(json.dumps(head)))) == head
    nulls = {**head, **dict.fromkeys(struct.__struct_encode_fields__)}
    assert json.loads(encode(decoder.decode(json.dumps(nulls)))) == nulls


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"response.output_text.delta","content_index":0,"delta":"Hi","item_id":"m",'
        b'"logprobs":[],"output_index":0,"sequence_number":4,"obfuscation":"x"}',
        b'{"type":"response.completed","response":{ "id" : "r", "x":1.50},"sequence_number":9}',
        b'{"type":"response.output_item.added","item":{"a": [1e5]},"output_index":0}',
        b'{"type":"error","code":null,"message":"no"}',
    ],
)
def test_an_event_in_the_structs_order_gets_its_bytes_back(data: bytes) -> None:
    assert encode(responses.decode(data)) == data


def test_the_type_may_stand_anywhere() -> None:
    event = responses.decode('{"delta":"a","output_index":1,"type":"response.refusal.delta"}')
    assert isinstance(event, responses.ResponseRefusalDeltaEvent)
    assert (event.type, event.delta) == ("response.refusal.delta", "a")


def test_no_json_object_is_invalid() -> None:
    for data in (b"", b"[DONE]", b"null", b"[]", b"3", b'{"type":"error"', b"\xff"):
        with pytest.raises(InvalidChunk):
            responses.decode(data)
        with pytest.raises(InvalidChunk):
            responses.decode_facts(data)
    with pytest.raises(TypeError):
        responses.decode(None)  # type: ignore[arg-type]


def test_a_buffer_is_not_locked_and_not_aliased() -> None:
    data = b'{"type":"response.created","response":{"id":"r"}}'
    buffer = bytearray(data)
    events = [responses.decode(buffer), responses.decode(memoryview(buffer))]
    buffer[:] = b"x" * 100
    assert [encode(event) for event in events] == [data, data]


def test_an_event_can_be_pickled_and_copied() -> None:
    event = _decode(type="response.output_text.delta", delta="a", logprobs=[])
    assert pickle.loads(pickle.dumps(event)) == event == copy.deepcopy(event)


def test_megabytes_are_read_in_one_piece() -> None:
    image = "A" * (4 << 20)
    response = {"id": "r", "output": [{"type": "image_generation_call", "result": image}]}
    event = _decode(sequence_number=1, type="response.completed", response=response)
    answer = Answer()
    answer.add(event)
    assert answer.build().output == response["output"]


# --- what is unknown, or has another type -------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KNOWN = {struct.__struct_config__.tag for struct in EVENTS}


@given(
    JSON.filter(lambda kind: str(kind) not in KNOWN), st.dictionaries(st.text(), JSON, max_size=4)
)
def test_an_unknown_type_is_kept_whole(kind: Any, rest: dict[str, Any]) -> None:
    value = {**rest, "type": kind}
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    event = responses.decode(data)
    assert isinstance(event, UnknownEvent)
    assert (event.type, bytes(event.data)) == (kind, data)
    answer = Answer()
    answer.add(event)
    assert encode(answer.build()) == b'{"output":[]}'


def test_an_event_without_a_type_is_unknown() -> None:
    event = responses.decode(b'{"error":{"message":"no"}}')
    assert isinstance(event, UnknownEvent)
    assert event.type is UNSET


@given(st.sampled_from(EVENTS), st.dictionaries(st.text(min_size=1), JSON, max_size=4))
def test_unknown_keys_change_nothing(struct: type[msgspec.Struct], extra: dict[str, Any]) -> None:
    fields = struct.__struct_encode_fields__
    known = {"type": struct.__struct_config__.tag, **dict.fromkeys(fields)}
    data = json.dumps({**extra, **known})
    assert json.loads(encode(responses.decode(data))) == known


ANYTHING: list[Any] = [True, 1.5, 7, "t", [1, "t", None], [{"b": []}], {"c": {"d": [1.5]}}]


@pytest.mark.parametrize("struct", EVENTS, ids=lambda struct: struct.__name__)
def test_a_field_of_another_type_holds_what_came(struct: type[msgspec.Struct]) -> None:
    for name in struct.__struct_encode_fields__:
        for value in ANYTHING:
            event = {"type": struct.__struct_config__.tag, name: value}
            decoded = _decode(**event)
            assert json.loads(encode(decoded)) == event
            Answer().add(decoded)


@pytest.mark.parametrize("name", Response.__struct_encode_fields__)
def test_a_field_of_a_response_of_another_type_holds_what_came(name: str) -> None:
    for value in ANYTHING:
        event = _decode(type="response.completed", response={name: value})
        if isinstance(value, dict) and name in {"incomplete_details", "usage"}:
            value = {}  # noqa: PLW2901 - a Struct ignores the keys that it does not know
        assert json.loads(encode(event.parsed())) == {name: value}
        answer = Answer()
        answer.add(event)
        assert isinstance(answer.build().output_text, str)


def test_numbers_are_taken_for_what_they_mean() -> None:
    event = responses.decode(b'{"type":"response.refusal.delta","output_index":"2","delta":NaN}')
    assert isinstance(event, responses.ResponseRefusalDeltaEvent)
    assert (event.output_index, event.delta) == (2, None)
    response = _decode(type="response.completed", response={"created_at": 1, "top_p": 0.5}).parsed()
    assert encode(response) == b'{"created_at":1,"top_p":0.5}'


# --- the response -------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["{}", '{"response":null}', '{"response":[1]}'])
def test_what_is_no_response_cannot_be_parsed(event: str) -> None:
    decoded = _decode(**json.loads(event), type="response.failed")
    with pytest.raises(InvalidChunk):
        decoded.parsed()


def test_the_response_is_parsed_when_it_is_asked_for() -> None:
    usage = {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}, "cost": 0.5}
    event = _decode(
        type="response.incomplete",
        response={"incomplete_details": {"reason": "max_output_tokens"}, "usage": usage},
    )
    assert isinstance(event.response, Raw)
    response = event.parsed()
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage.input_tokens_details.cached_tokens == 1
    assert bytes(response.usage.cost) == b"0.5"
    assert (response.status, response.error) == (UNSET, UNSET)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (UNSET, ""),
        (None, ""),
        ("what?", ""),
        ([{"type": "message"}], ""),
        ([{"type": "message", "content": "what?"}], ""),
        ([{"type": "message", "content": ["what?", {"type": "refusal", "refusal": "no"}]}], ""),
        ([{"type": "message", "content": [{"type": "output_text", "text": 3}]}], ""),
        ([{"type": "reasoning", "content": [{"type": "output_text", "text": "a"}]}], ""),
        (
            [
                {"type": "message", "content": [{"type": "output_text", "text": "a"}] * 2},
                {"type": "message", "content": [{"type": "output_text", "text": "b"}]},
            ],
            "aab",
        ),
    ],
)
def test_the_text_of_the_output(output: Any, text: str) -> None:
    assert Response(output=output).output_text == text


def test_what_a_server_sends_as_the_text_of_the_output_is_kept() -> None:
    response = _decode(type="response.completed", response={"output_text": "a"}).parsed()
    assert (response.sent_output_text, response.output_text) == ("a", "")
    assert encode(response) == b'{"output_text":"a"}'


# --- what a relay has to know -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        ({"type": "response.output_text.delta", "delta": "error"}, None),
        ({"type": "response.completed", "response": {"error": None}}, None),
        ({"type": "response.created", "response": {"id": "r"}}, None),
        ({"type": "response.created", "response": [7]}, None),
        ({"type": "response.failed", "response": {"error": {"code": "c"}}}, {"code": "c"}),
        ({"error": {"message": "m"}}, {"message": "m"}),
        ({"type": "error", "error": {"message": "m"}}, {"message": "m"}),
        ({"type": "error", "error": None}, {}),
        (
            {"type": "error", "code": "c", "message": "m", "param": None},
            {"code": "c", "message": "m", "param": None},
        ),
    ],
)
def test_the_error_of_an_event(event: dict[str, Any], failure: Any) -> None:
    facts = responses.decode_facts(json.dumps(event))
    assert facts.type == event.get("type", UNSET)
    assert facts.failure == failure


def test_the_facts_of_a_life_cycle_event() -> None:
    response = {"model": "m", "status": "incomplete", "usage": {"total_tokens": 3}}
    response["incomplete_details"] = {"reason": "content_filter"}
    facts = responses.decode_facts(
        json.dumps({"type": "response.incomplete", "response": response})
    ).response
    assert isinstance(facts, responses.ResponseFacts)
    assert facts.status == "incomplete"
    assert facts.incomplete_details == {"reason": "content_filter"}
    assert isinstance(facts.usage, Raw)
    assert responses.decode_usage(bytes(facts.usage)).total_tokens == 3


def test_the_scanner_has_room_for_the_facts() -> None:
    paths = paths_of(responses.Facts)
    assert ("response", "usage") in paths
    assert len(paths) <= MAX_PATHS


# --- the answer ---------------------------------------------------------------------------------


def _added(*events: dict[str, Any]) -> Answer:
    answer = Answer()
    for event in events:
        answer.add(_decode(**event))
    return answer


def _output(*events: dict[str, Any]) -> Any:
    return _added(*events).build().output


def _part(kind: str, index: int, text: str) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": 0, "content_index": index, "delta": text}


MESSAGE = {"type": "message", "id": "m", "role": "assistant", "content": []}
ADDED = {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE}
TEXT = {"type": "output_text", "text": "", "annotations": []}
PART = {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": TEXT}


def test_a_text_comes_in_pieces() -> None:
    pieces = [_part("output_text.delta", 0, text) for text in ("Hel", "lo")]
    content = [{**TEXT, "text": "Hello"}]
    assert _output(ADDED, PART, *pieces) == [{**MESSAGE, "content": content}]


def test_a_part_may_begin_with_text() -> None:
    begun = {**PART, "part": {**TEXT, "text": "Hel"}}
    (message,) = _output(ADDED, begun, _part("output_text.delta", 0, "lo"))
    assert message["content"][0]["text"] == "Hello"


def test_what_is_done_replaces_what_has_been_added_up() -> None:
    events: list[dict[str, Any]] = [ADDED, PART, _part("output_text.delta", 0, "a")]
    events.append({**_part("output_text.done", 0, ""), "text": "b"})
    (message,) = _output(*events)
    assert message["content"] == [{**TEXT, "text": "b"}]
    part = {**TEXT, "text": "c", "annotations": [1]}
    events.append({**PART, "type": "response.content_part.done", "part": part})
    (message,) = _output(*events)
    assert message["content"] == [part]
    item = {**MESSAGE, "content": [part, part], "status": "completed"}
    events.append({**ADDED, "type": "response.output_item.done", "item": item})
    assert _output(*events) == [item]


@pytest.mark.parametrize(
    ("kind", "key", "item", "part"),
    [
        ("output_text", "text", "message", ("content", "output_text")),
        ("refusal", "refusal", "message", ("content", "refusal")),
        ("reasoning_text", "text", "reasoning", ("content", "reasoning_text")),
        ("reasoning_summary_text", "text", "reasoning", ("summary", "summary_text")),
        ("function_call_arguments", "arguments", "function_call", None),
        ("custom_tool_call_input", "input", "custom_tool_call", None),
        ("mcp_call_arguments", "arguments", "mcp_call", None),
        ("code_interpreter_call_code", "code", "code_interpreter_call", None),
    ],
)
def test_a_stream_may_be_entered_in_the_middle(
    kind: str, key: str, item: str, part: tuple[str, str] | None
) -> None:
    delta = {"type": f"response.{kind}.delta", "output_index": 3, "item_id": "i", "delta": "a"}
    made: dict[str, Any] = {"id": "i", "type": item}
    text = {key: "aa"}
    made |= {part[0]: [{"type": part[1], **text}]} if part else text
    assert _output(delta, delta) == [made]
    done = {"type": f"response.{kind}.done", "output_index": 3, key: "b"}
    text[key] = "b"
    made |= {part[0]: [{"type": part[1], **text}]} if part else text
    assert _output(delta, done) == [made]
    del made["id"]
    assert _output(done) == [made]


def test_the_parts_of_a_summary() -> None:
    item = {"type": "reasoning", "id": "i", "summary": []}
    part = {"output_index": 0, "summary_index": 0, "part": {"type": "summary_text", "text": ""}}
    delta = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "a"}
    added = {**ADDED, "item": item}
    events = [
        {**part, "type": "response.reasoning_summary_part.added"},
        {**delta, "summary_index": 0},
        {**delta, "summary_index": 1},
    ]
    summary = [{"type": "summary_text", "text": "a"}] * 2
    assert _output(added, *events) == [{**item, "summary": summary}]
    done = {**part, "type": "response.reasoning_summary_part.done"}
    assert _output(added, *events, done)[0]["summary"][0]["text"] == ""


def test_a_part_that_the_item_came_with_is_written_into() -> None:
    item = {**MESSAGE, "content": [{**TEXT, "text": "Hel"}]}
    (message,) = _output({**ADDED, "item": item}, _part("output_text.delta", 0, "lo"))
    assert message["content"] == [{**TEXT, "text": "Hello"}]
    (message,) = _output(
        {**ADDED, "item": {**MESSAGE, "content": ["?"]}}, _part("output_text.delta", 0, "lo")
    )
    assert message["content"] == [{"type": "output_text", "text": "lo"}]


def test_a_part_of_another_kind_begins_anew() -> None:
    deltas = [_part("output_text.delta", 0, "a"), _part("refusal.delta", 0, "b")]
    (message,) = _output(ADDED, PART, *deltas)
    assert message["content"] == [{**TEXT, "refusal": "b"}]


def test_annotations_are_gathered() -> None:
    note = {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0}
    notes = [{**note, "annotation": value} for value in ({"url": "u"}, 7)]
    (message,) = _output(ADDED, PART, *notes, note)
    assert message["content"][0]["annotations"] == [{"url": "u"}, 7]
    (message,) = _output(ADDED, {**PART, "part": {"annotations": "?"}}, *notes)
    assert message["content"][0]["annotations"] == [{"url": "u"}, 7]


def test_where_no_index_is_sent_the_first_is_meant() -> None:
    delta = {"type": "response.output_text.delta", "delta": "a"}
    (message,) = _output(ADDED, PART, delta, {**delta, "content_index": [], "output_index": {}})
    assert message["content"] == [{**TEXT, "text": "aa"}]


def test_items_stand_in_the_order_of_their_indices() -> None:
    delta = {"type": "response.output_text.delta", "content_index": 5}
    deltas = [{**delta, "output_index": at, "delta": str(at)} for at in (7, -1, 2)]
    answer = _added(*deltas)
    assert [item["content"][0]["text"] for item in answer.build().output or ()] == ["-1", "2", "7"]


def test_what_has_another_shape_is_passed_over() -> None:
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": "?"},
        {"type": "response.completed"},
        {**ADDED, "item": "?"},
        {**PART, "part": None},
        {"type": "response.output_text.delta", "delta": 3},
        {"type": "response.output_text.done"},
        {"type": "response.whatever", "delta": "a"},
        {"type": "error", "message": "no"},
    ]
    answer = _added(*events)
    assert encode(answer.build()) == b'{"output":[]}'
    assert not answer.finished


def test_until_the_end_the_head_is_the_last_one_sent() -> None:
    created = {"type": "response.created", "response": {"id": "r", "status": "queued"}}
    item = {"type": "image_generation_call"}
    response = {"id": "r", "status": "in_progress", "output": [MESSAGE, item]}
    progress = {"type": "response.in_progress", "response": response}
    answer = _added(created, progress, _part("output_text.delta", 0, "a"))
    built = answer.build()
    assert (built.id, built.status) == ("r", "in_progress")
    assert built.output == [{**MESSAGE, "content": [{"type": "output_text", "text": "a"}]}, item]
    assert not answer.finished


@pytest.mark.parametrize("end", ["completed", "failed", "incomplete"])
def test_the_last_event_has_the_whole_response(end: str) -> None:
    whole = {"type": f"response.{end}", "response": {"status": end, "output": [], "store": True}}
    answer = _added(ADDED, PART, whole, _part("output_text.delta", 0, "a"), ADDED)
    assert answer.finished
    assert json.loads(encode(answer.build())) == whole["response"]


def test_what_is_built_does_not_change_later() -> None:
    answer = _added(ADDED, PART, _part("output_text.delta", 0, "a"))
    before = answer.build()
    kept = copy.deepcopy(before)
    answer.add(_decode(**_part("output_text.delta", 0, "b")))
    assert before == kept
    before.output = None
    after = answer.build()
    assert (after.output_text, answer.build()) == ("ab", after)


@pytest.mark.parametrize(
    "item", ["1e999", "[" * 100_000 + "]" * 100_000], ids=["a number", "nesting"]
)
def test_what_cannot_be_parsed_fails_where_it_is_built(item: str) -> None:
    data = '{"type":"response.output_item.added","item":{"a":%s}}'
    answer = Answer()
    with pytest.raises(InvalidChunk):  # noqa: PT012 - where depends on the interpreter
        answer.add(responses.decode(data % item))
        answer.build()


# --- mutated documents --------------------------------------------------------------------------

SEEDS = [
    json.dumps({"type": struct.__struct_config__.tag, **dict.fromkeys(struct.__struct_fields__, 0)})
    for struct in EVENTS
] + [
    json.dumps(event)
    for event in (
        *(ADDED, PART, _part("output_text.delta", 0, "é\N{GRINNING FACE}")),
        {"type": "response.completed", "response": {"output": [MESSAGE], "usage": {"a": 1}}},
    )
]
FRAGMENTS = [
    *('"', "\\", "{", "}", "[", "]", ",", ":", "null", "NaN", "1e999", "-", "9" * 50, "[" * 2000),
    *('"type":"error",', '"type":7,', '"output_index":[],', "\\ud800", "\x00", "é", '"part":{},'),
]


def _mutated(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SEEDS).encode())
    for _ in range(rng.randint(1, 3)):
        at, end = sorted(rng.choices(range(len(data) + 1), k=2))
        fragment = rng.choice(FRAGMENTS).encode()
        choice = rng.randint(0, 3)
        if choice == 0:
            data[at:at] = fragment
        elif choice == 1:
            data[at : at + len(fragment)] = fragment
        elif choice == 2:
            del data[at : min(end, at + 5)]
        else:
            data[at:at] = bytes([rng.randrange(256)])
    return bytes(data)


def test_mutated_documents_are_invalid_or_taken() -> None:
    rng = random.Random(13)
    seen = Counter[str]()
    for _ in range(20_000):
        data = _mutated(rng)
        try:
            facts = responses.decode_facts(data)
            seen["failures"] += bool(facts.failure)
            answer = Answer()
            answer.add(responses.decode(data))
            seen["taken"] += 1
            seen["built"] += answer.build().output is not None
        except InvalidChunk:
            seen["invalid"] += 1
    assert min(seen[what] for what in ("failures", "taken", "built", "invalid")) > 10
