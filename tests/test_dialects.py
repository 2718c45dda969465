"""What each family's events say of their stream, and where their texts are: case by case."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchunk import (
    Accumulator,
    ChunkStream,
    InvalidChunk,
    Relay,
    TruncatedStream,
    UpstreamError,
    encode,
    iter_chunks,
    text,
)
from fastchunk.dialects import dialect_of
from fastchunk.edit import pointer
from fastchunk.rewrite import rewrite_answer, rules_for
from fastchunk.sse import blocks, parse_block
from tests.family_texts import parsed, pieces_of

pytestmark = pytest.mark.usefixtures("scanner")

Json = dict[str, Any]
ALL = ("content", "reasoning", "refusal", "arguments")
DONE = b"data: [DONE]\n\n"


def block(value: Json) -> bytes:
    """Write an event as the servers do: with its type before it, where it has one."""
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def family_of(name: str) -> Any:
    return import_module(f"fastchunk.{name}")


# --- whole streams ------------------------------------------------------------------------------


def completion(said: str, reason: str | None = None, **fields: Any) -> Json:
    choice = {"index": 0, "text": said, "logprobs": None, "finish_reason": reason}
    return {"object": "text_completion", "model": "m", "choices": [choice], **fields}


def message_start(**usage: Any) -> Json:
    return {
        "type": "message_start",
        "message": {"role": "assistant", "content": [], "model": "m", "usage": usage},
    }


def block_delta(said: str, index: Any = 0, kind: str = "text_delta", key: str = "text") -> Json:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: said}}


def message_delta(reason: str | None, **usage: Any) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


BLOCK_START = {
    "type": "content_block_start",
    "index": 0,
    "content_block": {"type": "text", "text": ""},
}
BLOCK_STOP = {"type": "content_block_stop", "index": 0}
MESSAGE_STOP = {"type": "message_stop"}


def text_delta(said: str, **fields: Any) -> Json:
    return {
        "type": "response.output_text.delta",
        "output_index": 0,
        "content_index": 0,
        "delta": said,
        **fields,
    }


def life_cycle(name: str, **response: Any) -> Json:
    return {"type": f"response.{name}", "response": {"model": "m", **response}}


OUTPUT = [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]
STREAMS: dict[str, list[bytes]] = {
    "completions": [
        block(completion("Hi")),
        block(completion("", "length")),
        block({**completion(""), "choices": [], "usage": {"prompt_tokens": 3}}),
        DONE,
    ],
    "messages": [
        block(message_start(input_tokens=5, output_tokens=1)),
        block(BLOCK_START),
        block({"type": "ping"}),
        block(block_delta("Hi")),
        block(BLOCK_STOP),
        block(message_delta("end_turn", output_tokens=9)),
        block(MESSAGE_STOP),
    ],
    "responses": [
        block(life_cycle("created", status="in_progress")),
        block(text_delta("Hi")),
        block(
            life_cycle("completed", status="completed", output=OUTPUT, usage={"input_tokens": 4})
        ),
    ],
}
COMPLETE_AFTER = {"completions": 2, "messages": 6, "responses": 3}
"""After how many events a stream is complete, so that it may stop."""
every_family = pytest.mark.parametrize("name", STREAMS)


@every_family
def test_a_stream_that_is_cut_off_anywhere(name: str) -> None:
    family, events = family_of(name), STREAMS[name]
    raw = b"".join(events)
    for end in range(len(raw) + 1):
        whole = sum(len(b"".join(events[: n + 1]).rstrip(b"\n")) <= end for n in range(len(events)))
        begun = any(raw[len(b"".join(events[:whole])) : end]) and raw[:end].rstrip(b"\n") != (
            b"".join(events[:whole]).rstrip(b"\n")
        )
        truncated = bool(begun) or whole < COMPLETE_AFTER[name]
        stream: ChunkStream[Any] = ChunkStream(family)
        chunks = [*stream.feed(raw[:end]), *stream.close()]
        assert len(chunks) == min(whole, len(events) - events.count(DONE))
        assert stream.done == (whole == len(events))
        assert stream.truncated == truncated
        read = iter_chunks([raw[:end]], family)
        if truncated:
            with pytest.raises(TruncatedStream):
                list(read)
        else:
            assert [*map(encode, read)] == [*map(encode, chunks)]
        relay = Relay(family)
        assert relay.feed(raw[:end]) + relay.close() == raw[:end]
        assert (relay.done, relay.truncated) == (stream.done, truncated)


@every_family
def test_events_do_not_depend_on_the_cuts(name: str) -> None:
    family, raw = family_of(name), b"".join(STREAMS[name])
    whole = [*map(encode, iter_chunks([raw], family))]
    assert whole == [
        encode(family.decode(parse_block(one).data)) for one in STREAMS[name] if one != DONE
    ]
    for end in range(len(raw)):
        assert [*map(encode, iter_chunks([raw[:end], raw[end:]], family))] == whole


@every_family
def test_an_event_in_the_middle_that_is_no_json_is_invalid(name: str) -> None:
    first, *others = STREAMS[name]
    reads = [first, b'event: x\ndata: {"type":\n\n', *others]
    read = iter_chunks(reads, family_of(name))
    next(read)
    with pytest.raises(InvalidChunk):
        next(read)
    stream: ChunkStream[Any] = ChunkStream(family_of(name))
    assert len([chunk for one in reads for chunk in stream.feed(one)]) == len(
        [*iter_chunks(STREAMS[name], family_of(name))]
    )
    assert (stream.invalid, stream.done) == (1, True)


@every_family
def test_what_comes_behind_the_end_is_not_looked_at(name: str) -> None:
    raw = b"".join([*STREAMS[name], b"data: {\n\n", STREAMS[name][0]])
    for reads in ([raw], [*STREAMS[name], b"data: {\n\n"]):
        stream: ChunkStream[Any] = ChunkStream(family_of(name))
        found = [chunk for one in reads for chunk in stream.feed(one)]
        assert len(found) + STREAMS[name].count(DONE) == len(STREAMS[name])
        assert (stream.done, stream.invalid) == (True, 0)


@every_family
def test_accumulators_are_finished_when_streams_are(name: str) -> None:
    answer = Accumulator(family_of(name))
    finished = []
    for chunk in iter_chunks(STREAMS[name], family_of(name)):
        answer.add(chunk)
        finished.append(answer.finished)
    assert finished[-1]
    assert not finished[0]
    assert '"Hi"' in encode(answer.result()).decode()


# --- how streams end ----------------------------------------------------------------------------

OWN = {"code": "c", "message": "broken"}
ENDS: dict[str, tuple[str, list[Json], Any, Any, Any]] = {
    # family, events; the finish reasons, the usage, the error
    "completions": (
        "completions",
        [completion("a", "stop"), completion("", usage={"prompt_tokens": 1, "total_tokens": 2})],
        *({0: "stop"}, {"prompt_tokens": 1, "total_tokens": 2}, None),
    ),
    "two choices": (
        "completions",
        [{"choices": [{"index": 1, "finish_reason": "stop"}, {"index": 0, "text": "a"}]}],
        *({1: "stop"}, None, None),
    ),
    "usage of the beginning and of the end": (
        "messages",
        [
            message_start(input_tokens=5, cache_read_input_tokens=3, output_tokens=1),
            message_delta("end_turn", output_tokens=9, cache_read_input_tokens=None),
        ],
        {0: "end_turn"},
        {"cache_read_input_tokens": 3, "input_tokens": 5, "output_tokens": 9},
        None,
    ),
    "usage of the end alone": (
        "messages",
        [message_delta("tool_use", input_tokens=7)],
        *({0: "tool_use"}, {"input_tokens": 7}, None),
    ),
    "no usage": ("messages", [{**message_start(), "message": {}}], {}, None, None),
    "no message": ("messages", [{"type": "message_start"}], {}, None, None),
    "a delta that is none": ("messages", [{"type": "message_delta", "delta": 1}], {}, None, None),
    "no reason yet": ("messages", [message_start(), message_delta(None)], {}, {}, None),
    "an error event": ("messages", [{"type": "error", "error": OWN}], {}, None, OWN),
    "an error event without an error": (
        "messages",
        [{"type": "error"}],
        {},
        None,
        {},
    ),
    "an error as chat has it": ("messages", [{"error": OWN}], {}, None, OWN),
    "an error that is none": ("messages", [{"type": "ping", "error": OWN}], {}, None, None),
    "completed": (
        "responses",
        [life_cycle("completed", status="completed", usage={"input_tokens": 4, "x": [1.0]})],
        *({0: "completed"}, {"input_tokens": 4}, None),
    ),
    "incomplete": (
        "responses",
        [life_cycle("incomplete", status="incomplete", incomplete_details={"reason": "max"})],
        *({0: "max"}, None, None),
    ),
    "incomplete without a reason": (
        "responses",
        [life_cycle("incomplete", status="incomplete", incomplete_details={"reason": None})],
        *({0: "incomplete"}, None, None),
    ),
    "failed": (
        "responses",
        [life_cycle("failed", status="failed", error=OWN)],
        {0: "failed"},
        None,
        OWN,
    ),
    "failed without an error": (
        "responses",
        [life_cycle("failed", status=None, error=None, usage=None)],
        *({0: "failed"}, None, None),
    ),
    "not yet": ("responses", [life_cycle("in_progress", error=None, usage=None)], {}, None, None),
    "a response that is none": ("responses", [{"type": "response.completed"}], {}, None, None),
    "a flat error": (
        "responses",
        [{"type": "error", **OWN, "param": None}],
        {},
        None,
        {**OWN, "param": None},
    ),
    "a nested error": ("responses", [{"type": "error", "error": OWN}], {}, None, OWN),
    "another server's error": ("responses", [{"error": OWN}], {}, None, OWN),
    "a type that is none": ("responses", [{"type": 7, "response": {}}], {}, None, None),
}


UNFINISHED = "two choices"
"""The case in which one choice of two has its finish reason."""


@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("is_one_read", [True, False])
def test_what_a_stream_says(case: str, is_one_read: bool) -> None:
    name, events, reasons, usage, error = ENDS[case]
    reads = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    relay, stream = Relay(family_of(name)), ChunkStream[Any](family_of(name))
    for read in [b"".join(reads)] if is_one_read else reads:
        assert relay.feed(read) == read
        stream.feed(read)
    assert relay.finish_reasons == reasons
    assert (None if relay.usage is None else json.loads(encode(relay.usage))) == usage
    assert relay.error == stream.error == error
    assert relay.invalid == stream.invalid == 0
    assert (relay.close(), stream.close()) == (b"", [])
    truncated = case == UNFINISHED or (error is None and not reasons)
    assert relay.truncated == stream.truncated == truncated


@pytest.mark.parametrize("name", ["messages", "responses"])
@pytest.mark.parametrize(
    ("data", "error"), [(b'{"type":"error","error":{"a":1}}', {"a": 1}), (b"busy", "busy")]
)
def test_an_event_that_is_called_an_error_is_one(name: str, data: bytes, error: Any) -> None:
    relay = Relay(family_of(name))
    read = b"event: error\ndata: %b\n\n" % data
    assert relay.feed(read) is read
    assert (relay.error, relay.chunks, relay.invalid) == (error, 0, 0)
    events = iter_chunks([STREAMS[name][0], read], family_of(name))
    next(events)
    with pytest.raises(UpstreamError) as raised:
        next(events)
    assert raised.value.error == error


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("messages", {"type": "message_start", "message": 1}),
        ("messages", {"type": "content_block_start", "index": 0, "content_block": "x"}),
        ("completions", {"choices": [1]}),
        ("completions", {"choices": {}, "object": "text_completion"}),
    ],
)
def test_an_event_that_has_not_the_shape_of_its_type_is_invalid_to_readers(
    name: str, event: Json
) -> None:
    stream: ChunkStream[Any] = ChunkStream(family_of(name))
    looking, read = Relay(family_of(name), on_chunk=lambda chunk: chunk), block(event)
    assert stream.feed(read) == []
    assert looking.feed(read) is read
    assert stream.invalid == looking.invalid == 1


# --- texts --------------------------------------------------------------------------------------


def rewritten(name: str, events: list[Json], *channels: str) -> list[Json]:
    """Relay events, with "secret" replaced on some channels, and parse what leaves."""
    rule = text.Replace("secret", "[x]", channels=channels or ALL)
    relay = Relay(family_of(name), text=[rule])
    out = b"".join([*map(relay.feed, map(block, events)), relay.close()])
    assert relay.invalid == 0
    left = [*blocks(out)]
    for one in left:
        kind = parsed(one).get("type")
        assert parse_block(one).event == ("message" if kind is None else kind)
    return [*map(parsed, left)]


def delta(kind: str, said: Any, **fields: Any) -> Json:
    return {"type": f"response.{kind}.delta", "output_index": 0, **fields, "delta": said}


def done(kind: str, key: str, said: Any, **fields: Any) -> Json:
    return {"type": f"response.{kind}.done", "output_index": 0, **fields, key: said}


def part_event(kind: str, key: str, part: Json) -> Json:
    return {"type": f"response.{kind}", "output_index": 0, key: part}


# A piece with what is held of it, and the event that ends the text: the channel it is on.
CUT: dict[str, tuple[str, Json, Json, str]] = {
    "a completion's text": (
        "completions",
        completion("a sec"),
        completion("ret", "stop"),
        "content",
    ),
    "a text": ("messages", block_delta("a sec"), block_delta("ret"), "content"),
    "a thinking": (
        "messages",
        block_delta("a sec", kind="thinking_delta", key="thinking"),
        block_delta("ret", kind="thinking_delta", key="thinking"),
        "reasoning",
    ),
    "a tool's input": (
        "messages",
        block_delta("a sec", kind="input_json_delta", key="partial_json"),
        block_delta("ret", kind="input_json_delta", key="partial_json"),
        "arguments",
    ),
    "a compaction": (
        "messages",
        block_delta("a sec", kind="compaction_delta", key="content"),
        block_delta("ret", kind="compaction_delta", key="content"),
        "content",
    ),
    **{
        kind: ("responses", delta(kind, "a sec"), delta(kind, "ret"), channel)
        for kind, channel in {
            "output_text": "content",
            "refusal": "refusal",
            "reasoning_text": "reasoning",
            "reasoning_summary_text": "reasoning",
            "function_call_arguments": "arguments",
            "custom_tool_call_input": "arguments",
            "mcp_call_arguments": "arguments",
            "code_interpreter_call_code": "arguments",
            "shell_call_command": "arguments",
            "apply_patch_call_operation_diff": "arguments",
            "shell_call_output_content": "content",
            "audio.transcript": "content",
            "reasoning_of_the_future": "reasoning",
        }.items()
    },
}


def said_in(events: list[Json]) -> str:
    return "".join(said for event in events for _, said in pieces_of(event))


@pytest.mark.parametrize("case", CUT)
@pytest.mark.parametrize("channel", ALL)
def test_a_text_is_read_on_its_channel_across_events(case: str, channel: str) -> None:
    name, first, second, own = CUT[case]
    read = "a [x]" if channel == own else "a secret"
    assert said_in(rewritten(name, [first, second], channel)) == read
    left = rewritten(name, [first, second], own)
    assert len(left) == 2
    assert said_in(left[:1]) == "a "


@pytest.mark.parametrize("case", CUT)
def test_what_is_held_leaves_where_the_stream_ends(case: str) -> None:
    name, first, _, own = CUT[case]
    left = rewritten(name, [first], own)
    assert [said_in([event]) for event in left] == ["a ", "sec"]
    pairs = zip(leaves_of(left[0]), leaves_of(left[1]), strict=True)
    assert all(one == other or (one, other) == ("a ", "sec") for one, other in pairs)


def leaves_of(event: Json) -> list[Any]:
    """List the values in an event, an `obfuscation` and the tokens left out."""
    if isinstance(event, dict):
        kept = {key: value for key, value in event.items() if key != "logprobs"}
        return [leaf for value in kept.values() for leaf in leaves_of(value)]
    return (
        [leaf for value in event for leaf in leaves_of(value)]
        if isinstance(event, list)
        else [event]
    )


@pytest.mark.parametrize(
    ("first", "end"),
    [
        (completion("a sec"), completion("", "stop")),
        (block_delta("a sec"), BLOCK_STOP),
        (delta("output_text", "a sec"), done("output_text", "text", "a sec")),
        (
            delta("shell_call_command", "a sec", command_index=1),
            done("shell_call_command", "command", "a sec", command_index=1),
        ),
        (delta("output_text", "a sec"), life_cycle("completed", status="completed")),
        (block_delta("a sec"), MESSAGE_STOP),
        (block_delta("a sec"), {"type": "error", "error": OWN}),
        (delta("output_text", "a sec"), {"type": "error", **OWN}),
        (delta("output_text", "a sec"), life_cycle("failed", error=OWN)),
    ],
)
def test_what_is_held_leaves_before_the_event_that_ends_its_text(first: Json, end: Json) -> None:
    name = next(
        name for name in STREAMS if first.get("type", "completions").startswith(_BEGINS[name])
    )
    left = rewritten(name, [first, end])
    assert said_in(left) == "a sec"
    assert left[-1] == end or said_in(left[-1:]) == "sec"


_BEGINS = {"completions": "completions", "messages": "content", "responses": "response"}


def test_the_texts_of_two_blocks_are_apart() -> None:
    one, other = block_delta("a sec"), block_delta("ret", index=1)
    assert rewritten("messages", [one, other])[:2] == [block_delta("a "), other]
    here, there = delta("output_text", "a sec"), delta("output_text", "ret", output_index=1)
    assert said_in(rewritten("responses", [here, there])) == "a retsec"
    twice = [delta("output_text", said, content_index=n) for n, said in enumerate(["a sec", "ret"])]
    assert said_in(rewritten("responses", twice)) == "a retsec"
    parts = [
        delta("reasoning_summary_text", said, summary_index=n)
        for n, said in enumerate(["a sec", "ret"])
    ]
    assert said_in(rewritten("responses", parts)) == "a retsec"
    commands = [
        delta("shell_call_command", said, command_index=n)
        for n, said in enumerate(["a sec", "ret"])
    ]
    assert said_in(rewritten("responses", commands)) == "a retsec"


@pytest.mark.parametrize("index", [[1], {"a": 1}, None, "x", 1.5])
def test_an_index_that_is_none_tells_no_texts_apart(index: Any) -> None:
    stop = {"type": "content_block_stop", "index": index}
    left = rewritten(
        "messages", [block_delta("a sec", index=index), block_delta("ret", index), stop]
    )
    assert said_in(left) == "a [x]"
    pieces = [delta("output_text", said, output_index=index) for said in ("a sec", "ret")]
    assert said_in(rewritten("responses", pieces)) == "a [x]"
    pieces = [delta("new", said, new_index=index) for said in ("a sec", "ret")]
    assert said_in(rewritten("responses", pieces)) == "a [x]"


# An event, whole, and the channel that each of its secrets is on.
WHOLE: list[tuple[str, Json, dict[str, str]]] = [
    ("completions", {"choices": [{"text": "", "reasoning": "secret"}]}, {"reasoning": "reasoning"}),
    ("completions", {"choices": [{"delta": {"content": "secret"}}]}, {"content": "content"}),
    ("messages", {"type": "future", "said": ["a secret"], "id": "secret"}, {"said": "content"}),
    (
        "messages",
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "new", "x": "secret"},
        },
        {"x": "content"},
    ),
    (
        "messages",
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "name": "secret", "input": {"type": "secret"}},
        },
        {"type": "arguments"},
    ),
    (
        "messages",
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {
                "type": "citations_delta",
                "citation": {"cited_text": "secret", "url": "secret"},
            },
        },
        {"cited_text": "content"},
    ),
    (
        "messages",
        {**message_start(), "message": {"content": [{"type": "text", "text": "secret"}]}},
        {"text": "content"},
    ),
    (
        "messages",
        {**message_start(), "message": {"content": [{"type": "new", "x": "secret"}]}},
        {"x": "content"},
    ),
    (
        "messages",
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": [{"text": "secret"}, "", 5]},
        },
        {"text": "content"},
    ),
    (
        "messages",
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": [{"type": "thinking", "thinking": "secret"}]},
        },
        {"thinking": "reasoning"},
    ),
    ("responses", done("output_text", "text", "secret"), {"text": "content"}),
    ("responses", done("refusal", "refusal", "secret"), {"refusal": "refusal"}),
    ("responses", done("reasoning_text", "text", "secret"), {"text": "reasoning"}),
    ("responses", done("reasoning_summary_text", "text", "secret"), {"text": "reasoning"}),
    (
        "responses",
        done("function_call_arguments", "arguments", "secret"),
        {"arguments": "arguments"},
    ),
    ("responses", done("custom_tool_call_input", "input", "secret"), {"input": "arguments"}),
    ("responses", done("mcp_call_arguments", "arguments", "secret"), {"arguments": "arguments"}),
    ("responses", done("code_interpreter_call_code", "code", "secret"), {"code": "arguments"}),
    ("responses", done("shell_call_command", "command", "secret"), {"command": "arguments"}),
    *(
        ("responses", part_event(kind, key, part), channels)
        for kind, key in (
            ("content_part.added", "part"),
            ("content_part.done", "part"),
            ("reasoning_summary_part.added", "part"),
            ("reasoning_summary_part.done", "part"),
            ("output_item.added", "item"),
            ("output_item.done", "item"),
            ("output_text.annotation.added", "annotation"),
            ("future", "thing"),
        )
        for part, channels in (
            ({"type": "output_text", "text": "a secret"}, {"text": "content"}),
            ({"type": "refusal", "refusal": "a secret"}, {"refusal": "refusal"}),
            ({"type": "summary_text", "text": "a secret"}, {"text": "reasoning"}),
            ({"type": "reasoning_text", "text": "a secret"}, {"text": "reasoning"}),
            ({"type": "reasoning", "summary": [{"text": "secret"}]}, {"text": "reasoning"}),
            ({"type": "message", "content": [{"text": "secret"}]}, {"text": "content"}),
            (
                {"type": "function_call", "name": "secret", "arguments": "secret"},
                {"arguments": "arguments"},
            ),
            (
                {"type": "mcp_call", "output": "secret", "server_label": "secret"},
                {"output": "content"},
            ),
            (
                {"type": "shell_call", "action": {"commands": ["a secret"]}},
                {"commands": "arguments"},
            ),
            ({"type": "apply_patch_call", "operation": {"diff": "secret"}}, {"diff": "arguments"}),
            (
                {"type": "shell_call_output", "output": [{"stdout": "secret"}]},
                {"stdout": "content"},
            ),
            ({"type": "mcp_list_tools", "tools": [{"description": "secret"}]}, {}),
            ({"type": "url_citation", "title": "secret", "url": "secret"}, {"title": "content"}),
            (
                {"type": "of the future", "said": "secret", "encrypted_content": "secret"},
                {"said": "content"},
            ),
        )
    ),
    (
        "responses",
        life_cycle(
            "completed",
            output=[{"type": "message", "content": [{"text": "secret"}]}],
            instructions="secret",
            tools=[{"description": "secret"}],
        ),
        {"text": "content"},
    ),
    ("responses", life_cycle("completed", output_text="secret"), {"output_text": "content"}),
    ("responses", {"type": "response.completed", "response": None}, {}),
    ("responses", {"type": "response.output_item.done"}, {}),
    ("responses", {"type": "response.audio.delta", "delta": "secret"}, {}),
    ("responses", delta("output_text", {"text": "secret"}), {"text": "content"}),
    ("responses", delta("shell_call_output_content", {"stdout": "secret"}), {"stdout": "content"}),
]


@pytest.mark.parametrize("case", range(len(WHOLE)))
@pytest.mark.parametrize("channel", ALL)
def test_a_text_that_an_event_has_whole(case: int, channel: str) -> None:
    name, event, channels = WHOLE[case]
    (left,) = rewritten(name, [event], channel)
    found = {place[-1]: value for place, value in places_of(event)}
    assert set(channels) <= set(_keys_of(event))
    for place, value in places_of(event):
        key = next(step for step in reversed(place) if isinstance(step, str))
        wanted = value.replace("secret", "[x]") if channels.get(key) == channel else value
        assert dict(places_of(left))[place] == wanted
    assert len(dict(places_of(left))) == len([*places_of(event)]) >= len(found)


def places_of(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    """List the texts in a JSON value, each with its place."""
    if not isinstance(value, dict | list):
        return [(place, value)] if isinstance(value, str) else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, item in items for found in places_of(item, (*place, key))]


def _keys_of(event: Json) -> list[Any]:
    return [step for place, _ in places_of(event) for step in place]


def test_of_what_is_no_chunk_only_the_strings_are_changed() -> None:
    for event in ({"error": OWN}, {"model": "m", "text": "secret"}):
        relay = Relay(family_of("completions"), text=[text.Replace("secret", "[x]")], model="alias")
        left = json.loads(relay.feed(block(event)).partition(b"data: ")[2])
        assert left == json.loads(json.dumps(event).replace("secret", "[x]"))
        assert (relay.chunks, relay.invalid) == (0, 0)


def test_an_error_has_no_texts() -> None:
    script = dialect_of(family_of("responses")).script
    assert (
        script.texts(family_of("responses").decode(json.dumps({"type": "error", **OWN})), True)
        == []
    )


@every_family
@pytest.mark.parametrize("event", [{"type": "error", "error": OWN}, {"error": OWN}])
def test_a_rule_changes_what_an_error_says_and_not_what_it_is(name: str, event: Json) -> None:
    said = {"type": "overloaded_error", "code": "error", "message": "no error"}
    relay = Relay(family_of(name), text=[text.Replace("error", "[x]")])
    left = parsed(relay.feed(block({**event, "error": said})))
    assert left == {**event, "error": {**said, "message": "no [x]"}}
    assert relay.error == said


# --- tokens and paddings ------------------------------------------------------------------------

TOKENS = [{"token": "secret", "logprob": -1.0}]


def test_what_spells_out_a_text_that_was_changed_is_taken_out() -> None:
    changed = {"choices": [{"index": 0, "text": "a secret", "logprobs": {"tokens": ["secret"]}}]}
    (left,) = rewritten("completions", [changed])
    assert left == {"choices": [{"index": 0, "text": "a [x]"}]}
    events = [
        text_delta("a secret.", logprobs=TOKENS, obfuscation="p"),
        delta("future", "a secret.", logprobs=TOKENS, obfuscation="p"),
        done("output_text", "text", "secret", logprobs=TOKENS),
        part_event("content_part.done", "part", {"text": "secret", "logprobs": TOKENS}),
        part_event(
            "output_item.done", "item", {"content": [{"text": "secret", "logprobs": TOKENS}]}
        ),
        life_cycle("completed", output=[{"content": [{"text": "secret", "logprobs": TOKENS}]}]),
    ]
    for event, left in zip(events, rewritten("responses", events), strict=True):
        wanted = json.dumps(event).replace("secret", "[x]").replace(', "obfuscation": "p"', "")
        tokens = json.dumps(TOKENS).replace("secret", "[x]")
        assert left == json.loads(wanted.replace(tokens, "[]"))


@pytest.mark.parametrize("none", [[], None])
def test_what_spells_nothing_out_stays(none: Any) -> None:
    events = [
        text_delta("a secret.", logprobs=none),
        delta("future", "a secret.", logprobs=none),
        part_event("content_part.done", "part", {"text": "secret", "logprobs": none}),
    ]
    assert rewritten("responses", events) == json.loads(json.dumps(events).replace("secret", "[x]"))


def test_an_event_that_is_made_has_its_text_and_nothing_else() -> None:
    completion_piece = {
        "id": "c",
        "choices": [{"index": 1, "text": "sec", "logprobs": {"tokens": ["sec"]}}],
        "usage": {"total_tokens": 1},
    }
    assert rewritten("completions", [completion_piece])[1] == {
        "id": "c",
        "choices": [{"index": 1, "text": "sec", "finish_reason": None, "logprobs": None}],
    }
    reasoning = {"choices": [{"index": 0, "reasoning": "sec"}]}
    made = rewritten("completions", [reasoning])[1]["choices"][0]
    assert made["reasoning"] == "sec"
    as_in_chat = {"choices": [{"index": 0, "delta": {"content": "sec"}}]}
    made = rewritten("completions", [as_in_chat])[1]["choices"][0]
    assert made["delta"] == {"content": "sec"}
    for event in (
        text_delta("sec", logprobs=TOKENS, obfuscation="p", sequence_number=7),
        delta("future", "sec", logprobs=TOKENS, obfuscation="p", sequence_number=7),
    ):
        kept = {key: value for key, value in event.items() if key != "obfuscation"}
        held = {**kept, "delta": "", "logprobs": []}
        assert rewritten("responses", [event]) == [held, {**kept, "logprobs": []}]
    for kind, key, made_delta in (
        ("text", "text", {"type": "text_delta", "text": "sec"}),
        ("thinking", "thinking", {"type": "thinking_delta", "thinking": "sec"}),
        ("compaction", "content", {"type": "text_delta", "text": "sec"}),
    ):
        start = {
            "type": "content_block_start",
            "index": 3,
            "content_block": {"type": kind, key: "sec"},
        }
        assert rewritten("messages", [start])[1] == {
            "type": "content_block_delta",
            "index": 3,
            "delta": made_delta,
        }


# --- answers that are not streamed --------------------------------------------------------------

MESSAGE_ANSWER: Json = {
    "model": "secret",
    "content": [
        {
            "type": "text",
            "text": "secret",
            "citations": [{"cited_text": "secret", "url": "secret"}],
        },
        {"type": "thinking", "thinking": "secret", "signature": "secret"},
        {"type": "tool_use", "name": "secret", "input": {"q": ["secret"]}},
        {"type": "compaction", "content": "secret"},
        {"type": "web_search_tool_result", "content": [{"title": "secret"}]},
        7,
    ],
}
RESPONSE_ANSWER: Json = {
    "instructions": "secret",
    "output": [
        {
            "type": "message",
            "content": [{"type": "output_text", "text": "secret", "logprobs": TOKENS}],
        },
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}]},
        {"type": "message", "content": [{"type": "refusal", "refusal": "secret"}]},
        {"type": "function_call", "arguments": "secret"},
    ],
}
COMPLETION_ANSWER: Json = {
    "choices": [{"index": 0, "text": "secret", "logprobs": {"tokens": ["secret"]}}, None]
}
ANSWERS: list[tuple[str, Json, dict[str, list[str]]]] = [
    (
        "messages",
        MESSAGE_ANSWER,
        {
            "content": [
                "/content/0/text",
                "/content/0/citations/0/cited_text",
                "/content/3/content",
            ],
            "reasoning": ["/content/1/thinking"],
            "arguments": ["/content/2/input/q/0"],
        },
    ),
    (
        "responses",
        RESPONSE_ANSWER,
        {
            "content": ["/output/0/content/0/text"],
            "reasoning": ["/output/1/summary/0/text"],
            "refusal": ["/output/2/content/0/refusal"],
            "arguments": ["/output/3/arguments"],
        },
    ),
    ("completions", COMPLETION_ANSWER, {"content": ["/choices/0/text"]}),
]


@pytest.mark.parametrize(("name", "answer", "places"), ANSWERS)
@pytest.mark.parametrize("channel", ALL)
def test_an_answer_is_changed_where_a_channels_texts_are(
    name: str, answer: Json, places: dict[str, list[str]], channel: str
) -> None:
    dialect = dialect_of(family_of(name))
    rules = rules_for(dialect.script, [text.Replace("secret", "[x]", channels=[channel])])
    left = json.loads(rewrite_answer(json.dumps(answer).encode(), rules, dialect))
    found = {pointer(place): value for place, value in places_of(left)}
    assert [place for place, value in found.items() if value == "[x]"] == places.get(channel, [])
    if channel == "content" and name != "messages":
        assert "tokens" not in str(left) or name == "responses"
        assert not left.get("output") or left["output"][0]["content"][0]["logprobs"] == []


@pytest.mark.parametrize(("name", "none"), [("messages", "content"), ("completions", "choices")])
def test_an_answer_without_texts_stays(name: str, none: str) -> None:
    dialect = dialect_of(family_of(name))
    rules = rules_for(dialect.script, [text.Replace("secret", "[x]")])
    for data in (b'{"error":"secret"}', json.dumps({none: None, "x": "secret"}).encode()):
        assert rewrite_answer(data, rules, dialect) is data
    for data in (b'{"secret":"secret"}', json.dumps({none: ["secret"]}).encode()):
        with pytest.raises(InvalidChunk):
            rewrite_answer(data, rules, dialect)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("messages", text.Stop("x")),
        ("responses", text.Stop("x")),
        ("messages", text.Split("<a>", "</a>")),
        ("responses", text.Split("<a>", "</a>")),
        ("completions", text.Split("<a>", "</a>")),
    ],
)
def test_a_rule_that_a_family_has_no_room_for_is_refused(name: str, rule: Any) -> None:
    with pytest.raises(ValueError, match="is for"):
        Relay(family_of(name), text=[rule])


def test_a_completion_can_be_stopped() -> None:
    relay = Relay(family_of("completions"), text=[text.Stop("sto", "ever", finish_reason="cut")])
    events = [completion("go s"), completion("top"), completion("never"), completion("", "stop")]
    out = b"".join([*map(relay.feed, map(block, events)), relay.feed(DONE), relay.close()])
    left = [parsed(one) for one in blocks(out)]
    assert said_in(left) == "go "
    reasons = [event["choices"][0]["finish_reason"] for event in left if event]
    assert reasons == [None, "cut"]
    assert relay.finish_reasons == {0: "cut"}
    assert relay.stopped


# --- what does not exist yet --------------------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1e9, 1e9) | st.text(max_size=9)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NEW_TYPES = st.text(max_size=9).map(lambda name: f"new.{name}")
NEW_KEYS = st.dictionaries(st.text(max_size=9).map(lambda name: f"new_{name}"), VALUES, max_size=4)


@pytest.mark.parametrize("name", ["messages", "responses"])
@given(kind=NEW_TYPES, members=NEW_KEYS, is_ascii=st.booleans())
def test_events_of_any_new_type_pass_untouched_and_are_delivered(
    name: str, kind: str, members: Json, is_ascii: bool
) -> None:
    data = json.dumps({**members, "type": kind}, ensure_ascii=is_ascii).encode(
        "utf-8", "surrogatepass"
    )
    family, read = family_of(name), b"data: %b\n\n" % data
    for options in ({}, {"model": "alias"}, {"on_chunk": lambda chunk: chunk}):
        relay = Relay(family, **options)
        assert relay.feed(read) is read
        assert (relay.chunks, relay.invalid, relay.error) == (1, 0, None)
    (event,) = ChunkStream[Any](family).feed(read)
    assert isinstance(event, family.UnknownEvent)
    assert (event.type, bytes(event.data)) == (kind, data)


@every_family
@given(data=st.data())
def test_any_new_keys_pass_untouched_and_change_nothing(name: str, data: st.DataObject) -> None:
    family = family_of(name)
    for read in STREAMS[name][:-1]:
        event = {**parsed(read), **data.draw(NEW_KEYS)}
        more = block(event)
        relay = Relay(family)
        assert relay.feed(more) is more
        assert relay.invalid == 0
        left = parsed(Relay(family, model="alias").feed(more))
        holder = left.get("message") or left.get("response") or left
        assert {**holder, "model": "m"} == {**_holder(event), "model": "m"}
        assert encode(family.decode(parse_block(more).data)) == encode(
            family.decode(parse_block(read).data)
        )


def _holder(event: Json) -> Json:
    found: Json = event.get("message") or event.get("response") or event
    return found


# --- large events -------------------------------------------------------------------------------


def calls_of(run: Any) -> int:
    """Count the functions that are called, in Python or not."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


def large(items: int) -> bytes:
    part = {"type": "output_text", "text": "a secret", "annotations": [], "logprobs": TOKENS}
    return block(life_cycle("completed", output=[{"type": "message", "content": [part]}] * items))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "alias"},
        {"text": [text.Replace("secret", "[x]")]},
        {"text": [text.Replace("no", "")]},
    ],
)
def test_an_event_of_many_parts_costs_as_much_a_part_as_one_of_a_few(options: Any) -> None:
    family = family_of("responses")
    few, many = large(300), large(3000)
    calls = calls_of(lambda: Relay(family, **options).feed(few))
    assert calls_of(lambda: Relay(family, **options).feed(many)) < 11 * calls


def test_an_event_of_megabytes_is_relayed_read_and_changed() -> None:
    family, read = family_of("responses"), large(20_000)
    assert len(read) > 2_500_000
    relay = Relay(family)
    assert (
        b"".join(relay.feed(read[at : at + 65_536]) for at in range(0, len(read), 65_536)) == read
    )
    assert relay.done
    changed = Relay(family, text=[text.Replace("secret", "[x]")], model="alias").feed(read)
    assert changed == read.replace(
        json.dumps(TOKENS, separators=(",", ":")).encode(), b"[]"
    ).replace(b"secret", b"[x]").replace(b'"model":"m"', b'"model":"alias"')
    (event,) = ChunkStream[Any](family).feed(read)
    assert len(event.parsed().output) == 20_000


# --- misshapen events ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (
            "messages",
            b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":{"x":"a"}}}',
        ),
        ("messages", b'{"type":"new","x":1e999,"y":"a"}'),
        ("responses", b'{"type":"response.output_text.delta","delta":{"new":"a"}}'),
        (
            "responses",
            b'{"type":"response.completed","response":{"output":[{"x":1e999,"text":"a"}]}}',
        ),
        (
            "responses",
            b'{"type":"response.completed","response":{"output":%b"a"%b}}'
            % (b"[" * 2000, b"]" * 2000),
        ),
        ("completions", b'{"choices":[{"text":{"new":"a"}}]}'),
        ("completions", b'{"choices":[{"reasoning":{"new":"a"}}]}'),
    ],
)
@pytest.mark.parametrize("on_invalid", ["pass", "drop", "raise"])
def test_text_that_no_rule_can_see_makes_an_event_invalid(
    name: str, data: bytes, on_invalid: Any
) -> None:
    relay = Relay(family_of(name), text=[text.Replace("a", "b")], on_invalid=on_invalid)
    read = b"data: %b\n\n" % data
    if on_invalid == "raise":
        with pytest.raises(InvalidChunk):
            relay.feed(read)
    else:
        assert relay.feed(read) == (read if on_invalid == "pass" else b"")
    assert relay.invalid == 1


# --- the relay's other options ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["messages", "responses"])
def test_options_that_only_chat_and_completions_have_are_refused(name: str) -> None:
    for options in ({"strip_usage": True}, {"reasoning": "both"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Relay(family_of(name), **options)


@pytest.mark.parametrize("name", ["messages", "responses"])
def test_keys_are_set_in_every_event_that_has_a_type_and_is_no_error(name: str) -> None:
    relay = Relay(family_of(name), set={"via": "gateway"}, drop=["index"])
    for read in STREAMS[name]:
        event = {key: value for key, value in parsed(read).items() if key != "index"}
        (left,) = blocks(relay.feed(read))
        assert parsed(left) == {**event, "via": "gateway"}
        assert parse_block(left).event == event["type"]
    for error in ({"type": "error", "error": OWN}, {"error": OWN}):
        read = block(error)
        assert relay.feed(read) is read


def test_a_completions_usage_is_stripped() -> None:
    relay = Relay(family_of("completions"), strip_usage=True)
    events = [completion("a", usage=None), {"choices": [], "usage": {"prompt_tokens": 3}}]
    left = [*map(relay.feed, map(block, events))]
    assert left == [block(completion("a")), b""]
    assert relay.usage.prompt_tokens == 3


@pytest.mark.parametrize(("name", "key"), [("messages", "message"), ("responses", "response")])
@pytest.mark.parametrize("holder", [b"{}", b"null", b"[]", b'"model"', b'{"x":{"model":"m"}}'])
def test_no_model_is_added(name: str, key: str, holder: bytes) -> None:
    read = b'data: {"type":"a.b","model":"m","%b":%b}\n\n' % (key.encode(), holder)
    assert Relay(family_of(name), model="alias").feed(read) is read


@pytest.mark.parametrize(("name", "key"), [("messages", "message"), ("responses", "response")])
@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"a.b","KEY":{"model":"m","model":"m"}}',
        b'{"type":"a.b","KEY":{"mod\\u0065l":"m"}}',
        b'{"type":"a.b","KEY":{"model":"m"},"KEY":{"model":"m"}}',
        b'{"type":"a.b","KEY":{"model":"m","a":1.0},"x":"\\u00e9"}',
    ],
)
def test_no_spelling_gets_a_model_past_the_relay(name: str, key: str, data: bytes) -> None:
    data = data.replace(b"KEY", key.encode())
    left = Relay(family_of(name), model="alias").feed(b"data: %b\n\n" % data)
    assert b'"m"' not in left
    assert parsed(left)[key]["model"] == "alias"
