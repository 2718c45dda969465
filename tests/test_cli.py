"""The command line: every command on every stream, and what it does when things go wrong."""

from __future__ import annotations

import gc
import inspect
import io
import json
import os
import random
import re
import runpy
import signal
import subprocess
import sys
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import fastchunk
import fastchunk.gateway
from fastchunk import Accumulator, ChunkStream, StreamEncoder, encode, iter_chunks, models, wire
from fastchunk.cli import main
from fastchunk.cli._check import Check
from fastchunk.cli._input import Unreadable, reads
from fastchunk.cli._output import Output, guarded
from fastchunk.cli._reading import Item, Reading
from fastchunk.cli._tally import MOST, Tally
from fastchunk.cli.app import app
from fastchunk.gateway import Settings
from fastchunk.sse import MAX_EVENT_SIZE, format_event

from . import fuzz
from .streams import recorded

ROOT = Path(__file__).parents[1]
PATIENCE = 60
ENCODER = StreamEncoder(wire, model="m", id="c", created=1)
WHOLE = ENCODER.content("Hello, ") + ENCODER.content("世界\n") + ENCODER.finish("stop")
DONE = ENCODER.done()
MIRRORED = StreamEncoder(models, model="m", id="c", created=1)
CLEAN = MIRRORED.content("Hi") + MIRRORED.finish("stop") + MIRRORED.done()
KEYS = ("FASTCHUNK_CLIENT_KEY", "FASTCHUNK_UPSTREAM_KEY")
UNSET = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", *KEYS)


def run(*arguments: str, data: bytes = b"", env: dict[str, str] | None = None) -> Result:
    runner = CliRunner(env=dict.fromkeys(UNSET))
    result = runner.invoke(app, arguments, input=data, env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Give a function that runs a command on a terminal, and returns all that this shows."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    master, end = os.openpty()
    with os.fdopen(master, "rb", buffering=0) as shown, os.fdopen(end, "w") as streams:

        def run_there(*arguments: str, data: bytes, term: str = "xterm") -> str:
            with monkeypatch.context() as patch:
                patch.setenv("TERM", term)
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
                patch.setattr(sys, "stdout", streams)
                patch.setattr(sys, "stderr", streams)
                app(arguments, standalone_mode=False)
            streams.write("\0")  # the end: no command shows it
            streams.flush()
            seen = b"".join(iter(lambda: shown.read(1), b"\0"))
            return seen.decode().replace("\r\n", "\n")

        yield run_there


def delta(**fields: Any) -> bytes:
    """Write an event with any delta, as sloppy servers do."""
    choices = [{"index": 0, "delta": fields}]
    return format_event(json.dumps({"id": "c", "model": "m", "choices": choices}))


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


def test_a_message_does_not_fall_into_a_line_of_the_text(terminal: Callable[..., str]) -> None:
    data = ENCODER.content("half a li") + b"data: {\n\n" + ENCODER.content("ne") + DONE
    assert "half a li\nfastchunk: event 2, byte" in terminal("read", "-", data=data)
    assert run("read", "-", data=data).stdout == "half a line\n"


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
    keys = {f"key{number}": None for number in range(MOST + 3)}
    printed = run("read", "-", "--stats", data=delta(**keys)).stdout.splitlines()
    assert printed[-2:] == [
        f"unknown key    DeltaMessage: choices[].delta.key{MOST - 1}",
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
        (b'data: {"cho\n', 'byte {}: the stream ended in the middle of an event: data: {{"cho\\n'),
    ],
)
def test_errors_go_to_standard_error(data: bytes, message: str) -> None:
    result = run("read", "-", data=WHOLE + data)
    assert (result.stdout, result.exit_code) == ("Hello, 世界\n", 1)
    assert result.stderr == f"fastchunk: {message.format(len(WHOLE))}\n"


def test_an_error_in_place_of_a_stream_is_shown() -> None:
    result = run("read", "-", data=b'{"error":{"message":"invalid key"}}\n')
    assert '{"error":{"message":"invalid key"}}' in result.stderr
    assert result.exit_code == 1


def test_an_unfinished_chunk_at_the_end_counts_but_does_not_complete() -> None:
    result = run("read", "-", data=ENCODER.content("Hi")[:-1])
    assert result.stdout == "Hi\n"
    assert "the stream ended before it was complete" in result.stderr


def test_an_event_that_is_too_large() -> None:
    large = b"data: %b" % (b"x" * MAX_EVENT_SIZE)
    for data in (WHOLE + large + b"\n\n" + WHOLE, WHOLE + large):
        result = run("read", "-", data=data)
        assert result.stdout == "Hello, 世界\n"
        assert f"byte {len(WHOLE)}: an event is larger than" in result.stderr
        assert result.exit_code == 1


def test_what_comes_after_done_is_not_read() -> None:
    assert shown(WHOLE, DONE, ENCODER.content("more"), b"data: {") == "Hello, 世界\n"


# --- check ---------------------------------------------------------------------------------------


def oddities(data: bytes, *options: str) -> list[dict[str, Any]]:
    result = run("check", "-", "--json", *options, data=data)
    return [json.loads(line) for line in result.stdout.splitlines()]


def found(data: bytes) -> list[str]:
    """List what is odd in front of a clean stream: the level, the kind, and the message."""
    return [f"{o['level']}: {o['kind']}: {o['message']}" for o in oddities(data + CLEAN)]


def test_a_clean_stream() -> None:
    result = run("check", "-", "--strict", data=b": comment\n\nid: 1\nretry: 5\n" + CLEAN)
    assert (result.output, result.exit_code) == ("", 0)


NO_CHUNK = "note: no-chunk: an event that is neither a chunk nor an error"
IGNORED = "note: ignored-line: a line that is no field of an event is ignored"
UNKNOWN = "note: unknown-key: wire's ChatCompletionStreamResponse does not know"
BAD_JSON = "problem: invalid-json:"
LONG = '"' + "k" * 64 + '\\u2026"'

CHUNK = MIRRORED.content("x").removeprefix(b"data: ").removesuffix(b"\n\n")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: {\n\n",
         [f"{BAD_JSON} expecting property name enclosed in double quotes at offset 1 of the data"]),
        (b'data: {"\xc3\xa9":\xff}\n\n', [f"{BAD_JSON} invalid UTF-8 at offset 6 of the data"]),
        (b'data: {"\xc3\xa9":}\n\n', [f"{BAD_JSON} expecting value at offset 6 of the data"]),
        (b"data: x\n\n" * 2, [f"{BAD_JSON} expecting value at offset 0 of the data"] * 2),
        (b'data: {"choices":{}}\n\n',
         ["problem: invalid-chunk: choices: expected `array | null`, got `object`"]),
        (format_event(CHUNK[:-1] + b',"a":1,"a":2,"b":1,"b":2,"a":3}'),
         ["problem: duplicate-key: a comes more than once in an object",
          "problem: duplicate-key: b comes more than once in an object",
          f"{UNKNOWN} a",
          f"{UNKNOWN} b",
          "note: mirror-drops: the mirror drops a",
          "note: mirror-drops: the mirror drops b"]),
        (format_event(CHUNK[:-1] + b',"kv_transfer_params":[NaN,NaN,-Infinity]}'),
         ["problem: invalid-json: NaN is not JSON", "problem: invalid-json: -Infinity is not JSON",
          "note: mirror-drops: the mirror drops kv_transfer_params"]),
        (b"data: %b\n\n" % (b"[" * 100_000),
         ["problem: too-deep: nested too deeply to be looked at",
          "problem: invalid-chunk: the document: expected `object`, got `array`"]),
        (ENCODER.error("no"), ["problem: error-event: no"]),
        (b"event: error\ndata: alas\n\n", ["problem: error-event: alas"]),
        (b"data: null\n\n", [NO_CHUNK]),
        (b"event: ping\ndata: {}\n\n", [NO_CHUNK]),
        (b"\xef\xbb\xbfdata: null\r\n\r\n: x\r\n\r\n",
         ["note: bom: the stream begins with a byte order mark",
          "note: carriage-return: lines end with CRLF or CR",
          NO_CHUNK]),
        (b'{"error": 1}\n\nBinary\n\n', [IGNORED]),
        (format_event(CHUNK.replace(b'"created":1', b'"created":1.0')),
         ["note: mirror-changes: the mirror changes created"]),
        (format_event(CHUNK.replace(b'"usage":null', b'"usage":{"total_tokens":"1","cost":[1]}')),
         ["note: mirror-changes: the mirror changes usage.total_tokens",
          "note: mirror-drops: the mirror drops usage.cost"]),
        (format_event(CHUNK.replace(b'"index":0', b'"index":"zero"')),
         ["problem: invalid-chunk: choices[0].index: expected `int | null`, got `str`"]),
        (format_event(CHUNK.replace(b'"tool_calls":[]', b'"tool_calls":null')),
         ["note: mirror-rejects: choices[].delta.tool_calls: expected an array"]),
        (format_event(CHUNK[:-1] + b',"service_tier":"x","%b":1}' % (b"k" * 99)),
         [f"{UNKNOWN} {LONG}", "note: mirror-drops: the mirror drops service_tier",
          f"note: mirror-drops: the mirror drops {LONG}"]),
    ],
)  # fmt: skip
def test_every_oddity(data: bytes, expected: list[str]) -> None:
    assert found(data) == expected


def test_numbers_of_any_length_are_no_trouble() -> None:
    data = format_event(CHUNK[:-1] + b',"timings":{"n":%b}}' % (b"7" * 5000))
    (note,) = found(data)
    assert note.startswith("note: mirror-rejects: not a JSON document: number out of range")


def test_keys_that_have_no_utf8_form() -> None:
    data = format_event(CHUNK[:-1] + b',"x_groq":{"a\\ud800":1,"a\\ud800":2}}')
    assert found(data)[0] == r'problem: duplicate-key: "a\ud800" comes more than once in an object'
    assert oddities(data + CLEAN)[1]["kind"] == "invalid-chunk"


def test_the_lines_of_a_report() -> None:
    noted = format_event(CHUNK.replace(b'"tool_calls":[]', b'"tool_calls":null'))
    data = b": hello\n\n" + noted * 2 + b"data: x\n\n" + MIRRORED.finish("stop")
    result = run("check", "-", data=data)
    bad = f"event 3, byte {9 + 2 * len(noted)}"
    assert result.stdout.splitlines() == [
        f"-: {bad}: problem: invalid-json: expecting value at offset 0 of the data",
        f"-: byte {len(data)}: problem: no-done: the stream ends without [DONE]",
        "-: event 1, byte 9: note: mirror-rejects: choices[].delta.tool_calls: expected an array"
        " (2 times)",
    ]
    assert (result.stderr, result.exit_code) == ("", 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", [("truncated", None, 0)]),
        (b": hello\n\n", [("truncated", None, 9)]),
        (CLEAN[:-14], [("no-done", None, len(CLEAN) - 14)]),
        (CLEAN[:-8], [("truncated", None, len(CLEAN) - 14)]),
        (CLEAN[:-1], [("no-empty-line", 3, len(CLEAN) - 14)]),
        (CLEAN + b": bye\n\n\n", []),
        (CLEAN + b"data: x\n\n" * 3, [("after-done", 4, len(CLEAN))]),
        (CLEAN + b"\ndata", [("after-done", None, len(CLEAN) + 1),
                             ("no-empty-line", None, len(CLEAN) + 1)]),
        (MIRRORED.content("x")[:-1], [("truncated", None, len(MIRRORED.content("x")) - 1),
                                      ("no-empty-line", 1, 0)]),
        (CLEAN[:-14] + b"data: %b\n\n" % (b"x" * MAX_EVENT_SIZE),
         [("too-large", None, len(CLEAN) - 14)]),
    ],
)  # fmt: skip
def test_how_a_stream_ends(data: bytes, expected: list[tuple[str, int | None, int]]) -> None:
    assert [(o["kind"], o["event"], o["offset"]) for o in oddities(data)] == expected


def test_notes_count_only_if_asked_to() -> None:
    noted = b"data: null\n\n" + CLEAN
    assert run("check", "-", data=noted).exit_code == 0
    assert run("check", "-", "--strict", data=noted).exit_code == 1
    assert oddities(noted) == [
        {"level": "note", "kind": "no-chunk", "event": 1, "offset": 0, "count": 1,
         "message": "an event that is neither a chunk nor an error"}
    ]  # fmt: skip


def test_the_report_is_one_line_an_oddity_whatever_the_names(tmp_path: Path) -> None:
    file = tmp_path / "a\n\x1b[2J.sse"
    file.write_bytes(b"event: error\ndata: a\ndata: b\x1b\n\n" + DONE)
    printed = run("check", str(file)).stdout
    assert printed == (
        f"{tmp_path}/a\\n\\x1b[2J.sse: event 1, byte 0: problem: error-event: a\\nb\\x1b\n"
    )


def test_notes_are_bounded() -> None:
    tally: Tally[int] = Tally()
    for thing in range(MOST + 2):
        tally.add(thing, Item(offset=thing, event=1))
        tally.add(thing, Item(offset=0))
    assert len(tally.entries) == MOST
    assert (tally.entries[7].offset, tally.entries[7].count) == (7, 2)
    assert tally.others is not None
    assert (tally.others.offset, tally.others.count) == (MOST, 4)
    keys = {f"key{number}": None for number in range(MOST)}
    data = delta(content="", **keys) + CLEAN
    *_, last = oddities(data)
    assert (last["kind"], last["offset"], last["count"]) == ("more", 0, MOST)  # the mirror's drops


# --- places --------------------------------------------------------------------------------------


def generated() -> list[bytes]:
    crlf = (b"\xef\xbb\xbf" + WHOLE).replace(b"\n", b"\r\n")
    mixed = b": hello\r\rdata: x\n\n\n\nevent: e\rdata: null\r\n\n" + WHOLE
    return [WHOLE + DONE, crlf, mixed, CLEAN + mixed, WHOLE[:-1], b"\n\r", b"da"]


def items_of(reads: list[bytes]) -> tuple[list[tuple[Any, ...]], int]:
    reading = Reading()
    items = [(*item[:4], str(item.fault)) for item in reading.items(reads)]
    return items, reading.size


@pytest.mark.parametrize("raw", [*generated(), *(path.read_bytes() for path in recorded())])
def test_every_block_is_where_it_is_said_to_be(raw: bytes) -> None:
    reading, end = Reading(), 0
    for item in reading.items([raw]):
        if item.block:
            assert item.offset == end
            assert raw[end : end + len(item.block)] == item.block
            end += len(item.block)
    assert end in {len(raw), len(raw) - len(reading.unfinished)}
    assert reading.size == end


@given(st.sampled_from(generated()), st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=200, deadline=None)
def test_items_do_not_depend_on_how_the_input_was_cut(raw: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(raw)]
    reads = [raw[a:b] for a, b in pairwise(places)]
    assert items_of(reads) == items_of([raw])
    assert items_of([raw[i : i + 1] for i in range(len(raw))]) == items_of([raw])


# --- recorded streams ----------------------------------------------------------------------------


def test_every_command_on_every_recorded_stream() -> None:
    for path in recorded():
        raw = path.read_bytes()
        chunks, answer, text = [], Accumulator(), Reading()
        for item in text.items([raw]):
            if item.chunk:
                chunks.append(item.data)
                answer.add(item.chunk)
        whole = answer.result()
        odd = int(text.truncated or text.seen.error is not None or text.seen.invalid > 0)
        documents = run("read", str(path), "--json")
        assert documents.stdout_bytes.splitlines() == chunks
        assert run("read", str(path), "--answer").stdout_bytes == encode(whole) + b"\n"
        stats = run("read", str(path), "--stats")
        assert f"chunks         {len(chunks)}\n" in stats.stdout
        live = run("read", str(path))
        for choice in whole.choices:
            if len(whole.choices) == 1:
                assert (choice.message.content or "").strip() in live.stdout
        assert {r.exit_code for r in (documents, stats, live)} == {odd}
        check = run("check", str(path))
        assert check.exit_code == int(": problem: " in check.stdout)
        assert len(check.stdout.splitlines()) == len(
            run("check", str(path), "--json").stdout.splitlines()
        )


# --- input and output that fail ------------------------------------------------------------------


@pytest.mark.parametrize("command", ["read", "check"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing", "No such file or directory"), (".", "Is a directory"), ("a\0b", "null byte")],
)
def test_what_cannot_be_read(command: str, path: str, reason: str) -> None:
    result = run(command, path)
    assert result.exit_code == 2
    assert result.stderr.startswith("fastchunk: cannot read ")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(Unreadable, match="standard input: it is closed"):
        next(reads("-", before=lambda: None))


def test_without_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught, guarded():
        Output()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "fastchunk: standard output is closed\n"


def test_an_interrupt_in_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        print("pending", end="")
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught, guarded():
        work()
    assert caught.value.code == 130
    assert capsys.readouterr() == ("pending", "")


@contextmanager
def closed_pipe() -> Iterator[TextIO]:
    """Give a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        yield closed


def test_a_pipe_that_nobody_reads_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        out = Output()
        out.line("something")
        out.flush()

    with closed_pipe() as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as caught, guarded():
            work()
    assert caught.value.code == 141


def test_help_that_nobody_reads_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_pipe() as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as caught, guarded():
            app(["read", "--help"])
    assert caught.value.code == 141


def test_a_failing_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", lambda *_, **__: Failing())
    result = run("read", str(tmp_path))
    assert result.stderr == f"fastchunk: cannot read {tmp_path}: Input/output error\n"


# --- processes -----------------------------------------------------------------------------------


@contextmanager
def process(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-W", "error", "-m", "fastchunk", *arguments]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, bufsize=0, **pipes | options) as popen:
        try:
            yield popen
        finally:
            popen.kill()


def read_until(popen: subprocess.Popen[bytes], text: bytes) -> None:
    assert popen.stdout is not None
    seen = b""
    while text not in seen:
        more = popen.stdout.read(65536)
        assert more, f"the output ended after {seen!r}"
        seen += more


def test_text_comes_before_the_stream_has_ended() -> None:
    with process("read", "-") as popen:
        assert popen.stdin is not None
        for word in ("one", "two"):
            event = ENCODER.content(word)
            popen.stdin.write(event)
            read_until(popen, word.encode())
        out, err = popen.communicate(ENCODER.finish("stop") + DONE, timeout=PATIENCE)
        assert (out, err, popen.returncode) == (b"\n", b"", 0)


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with process("read", "-", stdin=reader) as popen, os.fdopen(writer, "wb", buffering=0) as pipe:
        os.close(reader)
        for word in ("one", "two"):
            pipe.write(ENCODER.content(word))
            read_until(popen, word.encode())
        pipe.write(ENCODER.finish("stop") + DONE)
        out, err = popen.communicate(timeout=PATIENCE)
        assert (out, err, popen.returncode) == (b"\n", b"", 0)


def test_a_pipe_that_does_not_block_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader) as stdin, os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdin", stdin)
        waits: list[Any] = []

        def answer(*files: Any) -> None:
            waits.append(files)
            pipe.write(b"more") if len(waits) == 1 else pipe.close()

        monkeypatch.setattr("fastchunk.cli._input.select", answer)
        assert list(reads("-", before=lambda: None)) == [b"more"]
        assert len(waits) == 2


def test_problems_come_before_the_stream_has_ended() -> None:
    with process("check", "-") as popen:
        assert popen.stdin is not None
        popen.stdin.write(b"data: {\n\n")
        read_until(popen, b"invalid-json")
        _, err = popen.communicate(CLEAN, timeout=PATIENCE)
        assert (err, popen.returncode) == (b"", 1)


@pytest.mark.parametrize("command", [["read", "-"], ["read", "-", "--json"], ["check", "-"]])
def test_a_pipe_that_nobody_reads(command: list[str]) -> None:
    with process(*command) as popen:
        assert popen.stdout is not None
        popen.stdout.close()
        _, err = popen.communicate(b"data: {\n\n" + WHOLE * 1000, timeout=PATIENCE)
        assert popen.returncode == 141
        assert b"Traceback" not in err
        assert b"Exception" not in err


@pytest.mark.parametrize("arguments", [[], ["--version"], ["--help"], ["read", "--help"]])
def test_help_that_nobody_reads(arguments: list[str]) -> None:
    with closed_pipe() as closed, process(*arguments, stdout=closed) as popen:
        _, err = popen.communicate(timeout=PATIENCE)
        assert (err, popen.returncode) == (b"", 141)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["read", "missing"], 2), (["read", "-"], 1), (["read"], 141)],
)
def test_messages_that_nobody_reads(arguments: list[str], status: int) -> None:
    with closed_pipe() as closed, process(*arguments, stderr=closed) as popen:
        out, _ = popen.communicate(b"data: {\n\n" + WHOLE, timeout=PATIENCE)
        assert out.decode() == ("Hello, 世界\n" if status == 1 else "")
        assert popen.returncode == status


def test_without_standard_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as caught:
        app(["read", str(tmp_path / "missing")])
    assert caught.value.code == 2


def test_an_interrupt() -> None:
    def heed() -> None:  # a shell lets what runs in the background ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with process("read", "-", preexec_fn=heed) as popen:
        assert popen.stdin is not None
        popen.stdin.write(ENCODER.content("begun"))
        read_until(popen, b"begun")
        popen.send_signal(signal.SIGINT)
        assert popen.wait(PATIENCE) == 130
        assert popen.stderr is not None
        assert popen.stderr.read() == b""


def test_an_interrupt_while_libraries_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "typer")
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", ["read", "check"])
def test_garbage(command: str) -> None:
    garbage = bytes(range(256)) * 512
    for data in (garbage, garbage + b"\n\n" + garbage, b"data: " + garbage + b"\n\n"):
        result = run(command, "-", data=data)
        assert result.exit_code == 1
        assert "truncated" in result.output or "ended" in result.output


def test_what_is_read_is_what_a_chunk_stream_reads() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        raw = fuzz.mutated(rng, fuzz.generated(rng))
        reading, stream, chunks = Reading(), ChunkStream(wire), 0
        for item in reading.items([raw]):
            chunks += item.chunk is not None
        assert chunks == len(stream.feed(raw) + stream.close())
        assert (reading.truncated, reading.seen.invalid) == (stream.truncated, stream.invalid)
        assert reading.seen.error == stream.error
        odd = int(stream.truncated or stream.error is not None or stream.invalid > 0)
        for view in (["--json"], ["--answer"], ["--stats"], []):
            assert run("read", "-", *view, data=raw).exit_code == odd
        assert run("check", "-", data=raw).exit_code >= odd


def test_memory_does_not_grow_with_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    events = delta(content="x", ghost=1) + ENCODER.content("y") + b"data: {\n\n"

    def held(times: int) -> int:
        reading = Reading()
        check = Check(Output(), "-", as_json=True)
        tracemalloc.start()
        for item in reading.items(events for _ in range(times)):
            check.take(item, reading)
        gc.collect()
        now, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return now

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        held(50)
        grown = held(1050) - held(50)
    assert grown < len(events) * 1000 / 2  # far less than the data alone


# --- the process itself --------------------------------------------------------------------------


def test_the_version() -> None:
    assert run("--version").stdout == f"fastchunk {fastchunk.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_the_commands(arguments: list[str]) -> None:
    printed = run(*arguments).output
    assert all(command in printed for command in ("read", "check", "gateway"))


@pytest.mark.parametrize("command", ["read", "check", "gateway"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help", env={"COLUMNS": "100"})
    assert result.exit_code == 0
    assert re.search(rf"^ +fastchunk {command} .*$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["read", "check", "gateway"])
def test_help_where_output_is_ascii(command: str) -> None:
    result = CliRunner(charset="ascii").invoke(app, [command, "--help"])
    assert result.exception is None
    assert "Exit status" in result.stdout


def test_wrong_usage() -> None:
    for arguments in (["read"], ["read", "-", "--nope"], ["nope"], ["check", "a", "b"]):
        assert run(*arguments).exit_code == 2


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fastchunk", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("fastchunk", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("fastchunk ")


@pytest.mark.parametrize("missing", ["rich", "typer"])
def test_without_the_extra_one_line_says_what_to_do(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match=r"python -m pip install 'fastchunk\[cli\]'$") as caught:
        main()
    assert "\n" not in str(caught.value.code)


# --- gateway -------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, dict[str, Any]]]:
    calls: list[tuple[Settings, dict[str, Any]]] = []
    monkeypatch.setattr(
        fastchunk.gateway, "serve", lambda settings, **options: calls.append((settings, options))
    )
    return calls


Served = list[tuple[Settings, dict[str, Any]]]


def test_the_gateway_has_its_own_defaults(served: Served) -> None:
    assert run("gateway", "--upstream", "http://h/").exit_code == 0
    settings, options = served[0]
    assert settings == Settings(upstream="http://h")
    assert options == {"host": "127.0.0.1", "port": 8000, "demo": False, "log_level": "info"}
    signature = inspect.signature(fastchunk.gateway.server.serve)
    assert all(signature.parameters[name].default == value for name, value in options.items())


def test_every_option_of_the_gateway(served: Served) -> None:
    result = run(
        "gateway", "--upstream", "http://h", "--host", "::1", "--port", "0", "--log-level", "error",
        "--alias", "fast=llama=8b", "--alias", "a=b", "--strip-usage", "--connect-timeout", "1",
        "--read-timeout", "2", "--keep-alive", "3.5", "--max-streams", "4", "--max-event-size", "5",
        "--max-request-size", "6", "--shutdown-timeout", "7", "--request-timeout", "8",
    )  # fmt: skip
    assert result.exit_code == 0
    settings, options = served[0]
    assert settings == Settings(
        upstream="http://h", aliases={"fast": "llama=8b", "a": "b"}, strip_usage=True,
        connect_timeout=1, read_timeout=2, keep_alive=3.5, max_streams=4, max_event_size=5,
        max_request_size=6, shutdown_timeout=7, request_timeout=8,
    )  # fmt: skip
    assert options == {"host": "::1", "port": 0, "demo": False, "log_level": "error"}


def test_the_demonstration(served: Served) -> None:
    assert run("gateway", "--demo").exit_code == 0
    assert served[0][1]["demo"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --upstream URL or --demo"),
        (["--demo", "--upstream", "http://h"], "either --upstream URL or --demo"),
        (["--upstream", "h:80"], "upstream must begin with"),
        (["--demo", "--alias", "a"], "an alias is NAME=MODEL"),
        (["--demo", "--alias", "=a"], "an alias is NAME=MODEL"),
        (["--demo", "--keep-alive", "0"], "keep_alive must be more than 0"),
        (["--demo", "--port", "70000"], "--port"),
    ],
)
def test_options_that_cannot_be_meant(arguments: list[str], message: str, served: Served) -> None:
    result = run("gateway", *arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", result.stderr)
    assert not served


@pytest.mark.parametrize("key", KEYS)
def test_keys_that_cannot_be_meant(key: str, served: Served) -> None:
    result = run("gateway", "--demo", env={key: "a b"})
    assert result.exit_code == 2
    assert f"{key.removeprefix('FASTCHUNK_').lower()} must be printable ASCII" in result.stderr
    assert not served


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\udcff"])
def test_a_host_that_no_name_can_be(host: str, served: Served) -> None:
    result = run("gateway", "--demo", "--host", host)
    assert result.exit_code == 3
    assert result.stderr.startswith("fastchunk: cannot listen on ")
    assert result.stderr.count("\n") == 1
    assert not served


def test_help_states_the_defaults_of_the_gateway() -> None:
    printed = run("gateway", "--help", env={"COLUMNS": "200"}).stdout
    optional = [f for f in fields(Settings) if f.type in {"int", "float"}]
    assert len(optional) == 8
    for field in optional:
        option = field.name.replace("_", "-")
        line = next(line for line in printed.splitlines() if f"--{option} " in line)
        assert re.search(rf"default: \({field.default:.0f}\)", line)


def test_without_the_gateways_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastchunk.gateway", None)
    result = run("gateway", "--demo")
    assert result.exit_code == 1
    assert "fastchunk.gateway" in result.output


def test_the_real_gateway() -> None:
    with process("gateway", "--demo", "--port", "0") as popen:
        assert popen.stderr is not None
        log = b""
        while not (running := re.search(rb"running on (http://\S+)", log)):
            more = popen.stderr.read(65536)
            assert more, f"the log ended after {log!r}"
            log += more
        url = f"{running[1].decode()}/v1/chat/completions"
        request = urllib.request.Request(url, b'{"model":"demo","stream":true}')  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
            stream = response.read()
        popen.terminate()
        assert popen.wait(PATIENCE) == 0
    assert "[answer] " in run("read", "-", data=stream).stdout
    assert run("check", "-", data=stream).exit_code == 0
