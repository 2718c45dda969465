"""`fastchunk read` and `check` on streams of other APIs than chat's, which they recognise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastchunk import Accumulator, completions, encode, iter_chunks, messages, responses
from fastchunk.cli._family import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Kind, recognise
from fastchunk.cli._reading import Reading
from fastchunk.gateway._demo_answers import (
    Plan,
    completion_events,
    message_events,
    response_events,
)
from fastchunk.sse import format_event
from tests.family_streams import recorded_of

from .harness import CLEAN, DONE, run

PLAN = Plan(model="m", words=3, usage=True)
CALL = Plan(model="m", tool="weather", arguments='{"city":"Oslo"}')
EVENTS: dict[str, Any] = {
    "completions": completion_events,
    "messages": message_events,
    "responses": response_events,
}
FAMILIES: dict[str, Any] = {
    "completions": completions,
    "messages": messages,
    "responses": responses,
}
KINDS = {"completions": COMPLETIONS, "messages": MESSAGES, "responses": RESPONSES}
names = pytest.mark.parametrize("name", FAMILIES)


def stream(name: str, plan: Plan = PLAN) -> bytes:
    return b"".join(EVENTS[name](plan))


def event(**fields: Any) -> bytes:
    return format_event(json.dumps(fields))


def read(data: bytes, *options: str) -> str:
    result = run("read", "-", *options, data=data)
    assert (result.exit_code, result.stderr) == (0, "")
    text: str = result.stdout
    return text


def notes(data: bytes) -> list[str]:
    result = run("check", "-", "--json", data=data)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [f"{one['kind']}: {one['message']}" for one in found]


# --- which API it is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"type": "response.new"}, RESPONSES),
        ({"type": "message_start"}, MESSAGES),
        ({"type": "content_block_delta"}, MESSAGES),
        ({"type": "ping"}, MESSAGES),
        ({"object": "text_completion"}, COMPLETIONS),
        ({"choices": [{"text": "a"}]}, COMPLETIONS),
        ({"choices": [{"text": "a", "delta": {}}]}, CHAT),
        ({"choices": [{"delta": {}}], "type": 1}, CHAT),
        ({"choices": [{}]}, CHAT),
        ({"choices": []}, None),
        ({"type": "error", "error": {}}, None),
        ({"choices": 1}, None),
        ({}, None),
        ([], None),
    ],
)
def test_an_event_says_which_api_it_is_of(data: Any, kind: Kind | None) -> None:
    assert recognise(json.dumps(data).encode()) == kind


@pytest.mark.parametrize("data", [b"[DONE]", b'{"type":"\xff"}', b'{"a":%b' % (b"[" * 100_000)])
def test_what_is_no_json_says_nothing(data: bytes) -> None:
    assert recognise(data) is None


@names
def test_every_recorded_stream_is_recognised(name: str) -> None:
    for path in recorded_of(name):
        reading = Reading()
        faults = [item.fault for item in reading.items([path.read_bytes()]) if item.fault]
        assert reading.kind == KINDS[name], path.name
        assert [fault for fault in faults if fault.kind == "invalid-chunk"] == []


def test_the_first_event_that_says_it_decides() -> None:
    data = b": c\n\ndata: {\n\n" + event(type="ping") + CLEAN
    reading = Reading()
    items = list(reading.items([b"\xef\xbb\xbf" + data[:3], data[3:]]))
    assert reading.kind == MESSAGES
    assert reading.invalid == 1
    assert len([item for item in items if item.chunk]) == 1


def test_an_event_that_is_never_ended_says_it_too() -> None:
    reading = Reading()
    list(reading.items([message_events(PLAN)[0].removesuffix(b"\n\n")]))
    assert reading.kind == MESSAGES


# --- read ----------------------------------------------------------------------------------------


def test_the_text() -> None:
    thought = "[reasoning] The user wants to see a stream.\n"
    assert read(stream("completions")) == "Every word of\n"
    for name in ("messages", "responses"):
        assert read(stream(name)) == f"{thought}[answer] Every word of\n"
        assert read(stream(name, CALL)) == f'{thought}[tool call 1: weather] {{"city":"Oslo"}}\n'


def test_several_completions_say_which() -> None:
    choices = [{"index": n, "text": text, "finish_reason": "stop"} for n, text in enumerate("ab")]
    data = event(object="text_completion", choices=choices) + DONE
    assert read(data) == "a\n[choice 1] b\n" or read(data) == "a\n[choice 1, answer] b\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content_block": {"type": "text", "text": "a"}}, "a\n"),
        ({"content_block": {"type": "thinking", "thinking": "a"}}, "[reasoning] a\n"),
        ({"content_block": {"type": "tool_use", "name": None}}, ""),
        ({"content_block": {"type": "new", "text": "a"}}, ""),
        ({"content_block": None}, ""),
    ],
)
def test_what_a_block_begins_with(fields: Any, expected: str) -> None:
    data = event(type="content_block_start", index=0, **fields) + event(type="message_stop")
    assert read(data) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "response.refusal.delta", "delta": "No"}, "[refusal] No\n"),
        ({"type": "response.reasoning_text.delta", "delta": "Hm"}, "[reasoning] Hm\n"),
        ({"type": "response.output_text.delta", "delta": None}, ""),
        ({"type": "response.mcp_call_arguments.delta", "delta": "{}"}, "[tool call] {}\n"),
        ({"type": "response.output_item.added", "item": []}, ""),
        ({"type": "response.output_item.added", "item": {"name": 1}}, ""),
        ({"type": "response.output_item.added"}, ""),
        ({"type": "response.new", "delta": "a"}, ""),
    ],
)
def test_what_an_event_of_a_response_says(fields: Any, expected: str) -> None:
    assert read(event(**fields) + event(type="response.completed", response={})) == expected


@names
@pytest.mark.parametrize("plan", [PLAN, CALL])
def test_the_answer(name: str, plan: Plan) -> None:
    family = FAMILIES[name]
    accumulator: Accumulator[Any] = Accumulator(family)
    for chunk in iter_chunks(EVENTS[name](plan), family):
        accumulator.add(chunk)
    expected = json.loads(encode(accumulator.result()))
    assert json.loads(read(stream(name, plan), "--answer")) == expected


def test_an_answer_that_cannot_be_put_together_is_a_problem() -> None:
    data = b'data: {"type":"response.completed","response":{"temperature":1e999}}\n\n'
    result = run("read", "-", "--answer", data=data)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "fastchunk: temperature: number out of range\n"


@names
def test_the_documents(name: str) -> None:
    lines = read(stream(name), "--json").splitlines()
    count = len(EVENTS[name](PLAN)) - (name == "completions")
    assert len([json.loads(line) for line in lines]) == count


@pytest.mark.parametrize(
    ("name", "end", "reason", "usage"),
    [
        ("completions", "[DONE]", "choice 0: stop", '"total_tokens":11'),
        ("messages", "message_stop", "end_turn", '"input_tokens":8,"output_tokens":3'),
        ("responses", "the whole response", "completed", '"total_tokens":11'),
    ],
)
def test_statistics(name: str, end: str, reason: str, usage: str) -> None:
    printed = read(stream(name), "--stats").splitlines()
    rows = {line[:15].strip(): line[15:] for line in printed}
    assert rows.pop("bytes") == str(len(stream(name)))
    assert usage in rows.pop("usage")
    events = len(EVENTS[name](PLAN))
    assert rows == {
        "events": str(events),
        "chunks": str(events - (name == "completions")),
        "invalid": "0",
        "ended": end,
        "finish reason": reason,
    }


NEW_DELTA = {"type": "text_delta", "text": "a", "new": [{"b": 1}]}
UNKNOWN = [
    event(type="content_block_delta", index=0, delta=NEW_DELTA),
    event(type="content_block_delta", index=0, delta={"type": "new_delta", "new": 1}),
    event(type="message_new", new=1),
    event(type="message_new"),
    event(type="message_start", message={"content": [{"type": "text", "new": 1}, 5]}, new=1),
]


def test_statistics_count_what_is_not_known() -> None:
    printed = read(b"".join(UNKNOWN) + event(type="message_stop"), "--stats").splitlines()
    assert printed[-4:] == [
        "unknown key    TextDelta: delta.new",
        "unknown type   message_new (2 times)",
        "unknown key    TextBlock: message.content[].new",
        "unknown key    MessageStartEvent: new",
    ]


# --- check ---------------------------------------------------------------------------------------


@names
@pytest.mark.parametrize("plan", [PLAN, CALL])
def test_nothing_is_odd_about_a_clean_stream(name: str, plan: Plan) -> None:
    result = run("check", "-", "--strict", data=stream(name, plan))
    assert (result.output, result.exit_code) == ("", 0)


def test_what_is_not_known_is_noted() -> None:
    assert notes(b"".join(UNKNOWN) + event(type="message_stop")) == [
        "unknown-key: messages's TextDelta does not know delta.new",
        "unknown-type: messages does not know message_new",
        "unknown-key: messages's TextBlock does not know message.content[].new",
        "unknown-key: messages's MessageStartEvent does not know new",
    ]


def test_how_a_message_ends() -> None:
    whole = message_events(PLAN)
    without_stop = b"".join(whole[:-1])
    assert notes(without_stop) == ["no-done: the stream is complete without message_stop"]
    assert "ended          without message_stop" in read(without_stop, "--stats")
    assert notes(b"".join(whole[:-2])) == ["truncated: the stream stopped before it was complete"]


@pytest.mark.parametrize(
    ("name", "end"), [("messages", "message_stop"), ("responses", "the whole response")]
)
def test_what_may_come_after_the_end(name: str, end: str) -> None:
    assert notes(stream(name) + DONE) == []
    assert notes(stream(name) + DONE + event(type="ping")) == [
        f"after-done: the input goes on after {end}; nothing from here on was checked"
    ]


def test_an_error_of_a_message() -> None:
    error = event(type="error", error={"type": "overloaded_error", "message": "Overloaded"})
    found = notes(message_events(PLAN)[0] + error)
    assert found == ["error-event: the server's error: Overloaded"]


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "message.sse"
    path.write_bytes(stream("messages"))
    assert "Every word of" in run("read", str(path)).stdout
