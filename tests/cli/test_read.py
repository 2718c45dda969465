"""`fastchunk read`: its views, and what it says about a stream that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastchunk import Accumulator, encode, iter_chunks
from fastchunk.cli._tally import MAX_ENTRIES
from fastchunk.sse import MAX_EVENT_SIZE, format_event

from .harness import DONE, ENCODER, WHOLE, delta, run


def tool(**fields: Any) -> bytes:
    return delta(tool_calls=[fields])


def shown(*events: bytes) -> str:
    """Show a stream that ends as it should."""
    result = run("read", "-", data=b"".join(events) + ENCODER.finish("stop") + DONE)
    assert (result.exit_code, result.stderr) == (0, "")
    text: str = result.stdout
    return text


# --- read: text ----------------------------------------------------------------------------------


def test_the_text_of_one_choice_has_no_labels(tmp_path: Path) -> None:
    assert shown(WHOLE) == "Hello, 世界\n"
    assert shown(ENCODER.content("no line end")) == "no line end\n"
    file = tmp_path / "stream.sse"
    file.write_bytes(WHOLE + DONE)
    assert run("read", str(file)).stdout == "Hello, 世界\n"


def test_reasoning_and_refusals_are_sections_of_their_own() -> None:
    events = [ENCODER.reasoning("Hm"), ENCODER.reasoning("m."), ENCODER.content("Yes."), DONE]
    assert shown(*events[:3], delta(refusal="No.")) == (
        "[reasoning] Hmm.\n[answer] Yes.\n[refusal] No.\n"
    )


def test_several_choices_say_which() -> None:
    text = shown(
        ENCODER.content("a"), ENCODER.content("b", choice=1), ENCODER.content("c", choice=1),
        ENCODER.reasoning("d", choice=1), ENCODER.content("e"), ENCODER.finish("stop", choice=1),
    )  # fmt: skip
    assert text == "a\n[choice 1, answer] bc\n[choice 1, reasoning] d\n[choice 0, answer] e\n"
    assert shown(ENCODER.content("b", choice=1), ENCODER.finish("stop", choice=1)) == (
        "[choice 1] b\n"
    )


def test_a_choice_without_an_index_is_known_by_its_position() -> None:
    choices = [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}, {"index": 2}]
    text = shown(format_event(json.dumps({"choices": choices})))
    assert text == "a\n[choice 1, answer] b\n"


def test_tool_calls_show_their_names_and_arguments() -> None:
    text = shown(
        ENCODER.tool_call(0, id="x", name="weather", arguments=""),
        ENCODER.tool_call(0, arguments='{"city":'),
        ENCODER.tool_call(0, arguments='"Rome"}'),
        ENCODER.tool_call(1, id="y", name="time"),
        ENCODER.tool_call(0, arguments=" "),
    )
    assert text == (
        '[tool call 0: weather] {"city":"Rome"}\n[tool call 1: time] \n[tool call 0]  \n'
    )


def test_tool_calls_of_sloppy_servers() -> None:
    again = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "1"}}
    assert shown(tool(**again), tool(**again)) == "[tool call 0: f] 11\n"
    other = {"id": "z", "function": {"name": "f", "arguments": {"a": 1}}}
    assert shown(tool(**again), tool(**other)) == '[tool call 0: f] 1\n[tool call 0: f] {"a":1}\n'
    custom = {"index": 0, "custom": {"name": "g"}}
    none = {"index": 0, "custom": None, "function": None}
    assert (
        shown(tool(**custom), tool(**none), delta(tool_calls=None))
        == '[tool call 0] {"name": "g"}\n'
    )
    old = delta(function_call={"name": "f", "arguments": "{}"})
    assert shown(old) == "[function call: f] {}\n"


def test_values_of_other_types_are_no_text() -> None:
    assert shown(delta(refusal=["No."], reasoning={"text": "Hm."})) == "[reasoning] Hm.\n"
    call = {"index": 0, "id": ["x"], "function": {"name": {"a": "f"}, "arguments": [1]}}
    assert shown(tool(**call), tool(**call)) == "[tool call 0] [1][1]\n"
    choices = [{"index": 0, "delta": {}, "finish_reason": {"type": "stop"}}]
    data = format_event(json.dumps({"choices": choices})) + DONE
    assert "finish reason" not in run("read", "-", "--stats", data=data).stdout


def test_names_cannot_break_out_of_their_labels() -> None:
    text = shown(tool(index=0, function={"name": "f\n\x1b[2J\u2028"}))
    assert text == "[tool call 0: f\\n\\x1b[2J\\u2028] \n"


def test_terminals_get_styles_and_no_control_characters(terminal: Callable[..., str]) -> None:
    data = ENCODER.reasoning("Hm") + ENCODER.content("\x1b[2Jred\x07\r\n") + WHOLE + DONE
    assert terminal("read", "-", data=data) == (
        "\x1b[1m[reasoning] \x1b[0m\x1b[2mHm\x1b[0m\n"
        "\x1b[1m[answer] \x1b[0m\\x1b[2Jred\\x07\\r\nHello, 世界\n"
    )
    dumb = terminal("read", "-", data=data, term="dumb")
    assert dumb == "[reasoning] Hm\n[answer] \\x1b[2Jred\\x07\\r\nHello, 世界\n"


def test_what_is_no_terminal_gets_every_character() -> None:
    data = ENCODER.reasoning("Hm") + ENCODER.content("\x1b[2Jred\x07\r\n") + WHOLE + DONE
    text = "\x1b[2Jred\x07\r\nHello, 世界\n"
    piped = run("read", "-", data=data).stdout_bytes
    assert piped.decode() == f"[reasoning] Hm\n[answer] {text}"
    coloured = run("read", "-", data=data, env={"FORCE_COLOR": "1", "TERM": "xterm"}).stdout_bytes
    assert coloured.decode() == (
        f"\x1b[1m[reasoning] \x1b[0m\x1b[2mHm\x1b[0m\n\x1b[1m[answer] \x1b[0m{text}"
    )


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (["read", "--json"], ENCODER.content("\x7f\x9b2J\u2028")),
        (["read", "--answer"], ENCODER.content("\x7f\x9b2J\u2028")),
        (["check", "--json"], b"event: error\ndata: \x7f\xc2\x9b2J\xe2\x80\xa8\n\n"),
    ],
)
def test_json_is_json_on_a_terminal_too(
    command: list[str], data: bytes, terminal: Callable[..., str]
) -> None:
    data += ENCODER.finish("stop") + DONE
    seen = terminal(*command, "-", data=data)
    assert "\\u007f\\u009b2J\u2028" in seen
    piped = run(*command, "-", data=data, env={"FORCE_COLOR": "1", "TERM": "xterm"}).stdout
    assert "\x7f\x9b2J\u2028" in piped
    assert [*map(json.loads, seen.split("\n")[:-1])] == [*map(json.loads, piped.split("\n")[:-1])]


# --- read: the other views -----------------------------------------------------------------------


def test_documents_are_printed_as_they_were_received() -> None:
    odd = b'{ "choices" : [],  "unknown": 1.00 ,"text":"\xc2\x9b\xe2\x80\xa8" }'
    lines = b'data: {"choices":\ndata: []}\n\n'
    data = b"data: %b\n\n: comment\n\n%bevent: ping\ndata: {}\n\n%b" % (odd, lines, WHOLE + DONE)
    printed = run("read", "-", "--json", data=data).stdout_bytes.split(b"\n")
    assert printed[:2] == [odd, b'{"choices": []}']
    assert b"\n".join(printed[2:]) == WHOLE.replace(b"data: ", b"").replace(b"\n\n", b"\n")


def test_the_answer_is_what_the_accumulator_makes() -> None:
    answer = Accumulator()
    for chunk in iter_chunks([WHOLE + DONE]):
        answer.add(chunk)
    printed = run("read", "-", "--answer", data=WHOLE + DONE).stdout
    assert printed.encode() == encode(answer.result()) + b"\n"


def test_statistics() -> None:
    usage = ENCODER.usage(prompt_tokens=1, completion_tokens=2)
    unknown = delta(content="x", ghost=1, **{"g h": 2})
    data = WHOLE + unknown + unknown + b"data: x\n\n" + usage + DONE
    assert run("read", "-", "--stats", data=data).stdout.splitlines() == [
        f"bytes          {len(data)}",
        "events         8",
        "chunks         6",
        "invalid        1",
        "ended          [DONE]",
        "finish reason  choice 0: stop",
        'usage          {"prompt_tokens":1,"total_tokens":3,"completion_tokens":2}',
        "unknown key    DeltaMessage: choices[].delta.ghost (2 times)",
        'unknown key    DeltaMessage: choices[].delta."g h" (2 times)',
    ]


def test_statistics_count_what_is_different_up_to_a_limit() -> None:
    keys = {f"key{number}": None for number in range(MAX_ENTRIES + 3)}
    printed = run("read", "-", "--stats", data=delta(**keys)).stdout.splitlines()
    assert printed[-2:] == [
        f"unknown key    DeltaMessage: choices[].delta.key{MAX_ENTRIES - 1}",
        "unknown key    others (3 times)",
    ]


def test_statistics_of_what_only_wire_can_read() -> None:
    deep = b'{"choices":[],"ghost":%b}' % (b"[" * 100_000 + b"]" * 100_000)
    printed = run("read", "-", "--stats", data=format_event(deep)).stdout
    assert "ghost" not in printed


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (WHOLE + DONE, "[DONE]"),
        (WHOLE, "without [DONE]"),
        (WHOLE[:-1], "without [DONE]"),
        (WHOLE[:-9], "truncated"),
        (b"", "truncated"),
        (ENCODER.error("no") + DONE, "an error, [DONE]"),
        (ENCODER.error("no"), "an error, without [DONE]"),
    ],
)
def test_how_a_stream_ended(data: bytes, end: str) -> None:
    result = run("read", "-", "--stats", data=data)
    assert f"ended          {end}\n" in result.stdout
    assert result.exit_code == int("truncated" in end or "error" in end)


def test_the_views_exclude_each_other() -> None:
    result = run("read", "-", "--json", "--stats")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


# --- read: what is wrong with a stream -----------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ENCODER.error("no more"), "event 4, byte {}: the server's error: no more"),
        (b"event: error\ndata: alas\x1b\n\n", "event 4, byte {}: the server's error: alas\\x1b"),
        (b"data: {\n\n" + DONE, "event 4, byte {}: not a JSON document: Input data was truncated"),
        (
            b'data: {"cho\n',
            "byte {}: the stream stopped before it was complete, "
            "in the middle of 'data: {{\"cho\\n'",
        ),
    ],
)
def test_errors_go_to_standard_error(data: bytes, message: str) -> None:
    result = run("read", "-", data=WHOLE + data)
    assert (result.stdout, result.exit_code) == ("Hello, 世界\n", 1)
    assert result.stderr == f"fastchunk: {message.format(len(WHOLE))}\n"


def test_an_unfinished_chunk_at_the_end_counts_but_does_not_complete() -> None:
    result = run("read", "-", data=ENCODER.content("Hi")[:-1])
    assert result.stdout == "Hi\n"
    assert "the stream stopped before it was complete" in result.stderr


def test_an_event_that_is_too_large() -> None:
    large = b"data: %b" % (b"x" * MAX_EVENT_SIZE)
    for data in (WHOLE + large + b"\n\n" + WHOLE, WHOLE + large):
        result = run("read", "-", data=data)
        assert result.stdout == "Hello, 世界\n"
        assert f"byte {len(WHOLE)}: an event is larger than" in result.stderr
        assert result.exit_code == 1


def test_what_comes_after_done_is_not_read() -> None:
    assert shown(WHOLE, DONE, ENCODER.content("more"), b"data: {") == "Hello, 世界\n"
