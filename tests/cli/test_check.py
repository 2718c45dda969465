"""`fastchunk check`: every oddity, and how it is reported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fastchunk.cli._reading import Item
from fastchunk.cli._tally import MAX_ENTRIES, Tally
from fastchunk.sse import MAX_EVENT_SIZE, format_event

from .harness import CLEAN, DONE, ENCODER, MIRRORED, delta, run


def oddities(data: bytes, *options: str) -> list[dict[str, Any]]:
    result = run("check", "-", "--json", *options, data=data)
    return [json.loads(line) for line in result.stdout.splitlines()]


def found(data: bytes) -> list[str]:
    """List what is odd in front of a clean stream: the level, the kind, and the message."""
    return [f"{o['level']}: {o['kind']}: {o['message']}" for o in oddities(data + CLEAN)]


def test_a_clean_stream() -> None:
    result = run("check", "-", "--strict", data=b": comment\n\nid: 1\nretry: 5\n" + CLEAN)
    assert (result.output, result.exit_code) == ("", 0)


NO_CHUNK = "note: no-chunk: an event is neither a chunk nor an error"
IGNORED = "note: ignored-line: a line is not a field of an event, and is ignored"
UNKNOWN = "note: unknown-key: wire's ChatCompletionStreamResponse does not know"
BAD_JSON = "problem: invalid-json: not a JSON document:"
TOO_LARGE = b"data: %b\n\n" % (b"x" * MAX_EVENT_SIZE)
LONG = '"' + "k" * 64 + '\\u2026"'

CHUNK = MIRRORED.content("x").removeprefix(b"data: ").removesuffix(b"\n\n")


ODDITIES = [
    (b"data: {\n\n", [f"{BAD_JSON} Input data was truncated"]),
    (b'data: {"\xc3\xa9":\xff}\n\n', [f"{BAD_JSON} invalid UTF-8 at offset 6"]),
    (b"data: x\n\n" * 2,
     [f"{BAD_JSON} JSON is malformed: invalid character (byte 0)"] * 2),
    (b'data: {"choices":{}}\n\n',
     ["problem: invalid-chunk: choices: expected `array | null`, got `object`"]),
    (format_event(CHUNK[:-1] + b',"a":1,"a":2,"b":1,"b":2,"a":3}'),
     ["note: duplicate-key: a comes more than once in an object",
      "note: duplicate-key: b comes more than once in an object",
      f"{UNKNOWN} a",
      f"{UNKNOWN} b",
      "note: mirror-drops: the mirror drops a",
      "note: mirror-drops: the mirror drops b"]),
    (format_event(CHUNK[:-1] + b',"kv_transfer_params":[NaN,NaN,-Infinity]}'),
     ["note: not-a-number: NaN is not JSON", "note: not-a-number: -Infinity is not JSON",
      "note: mirror-drops: the mirror drops kv_transfer_params"]),
    (b"data: %b\n\n" % (b"[" * 100_000),
     ["problem: invalid-chunk: the document: expected `object`, got `array`",
      "note: too-deep: nested too deeply for check to look inside"]),
    (ENCODER.error("no"), ["problem: error-event: the server's error: no"]),
    (b"event: error\ndata: alas\n\n", ["problem: error-event: the server's error: alas"]),
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
     ["note: mirror-rejects: choices[].index: expected an integer, and this string is not one"]),
    (format_event(CHUNK.replace(b'"tool_calls":[]', b'"tool_calls":null')),
     ["note: mirror-rejects: choices[].delta.tool_calls: expected an array"]),
    (format_event(CHUNK[:-1] + b',"service_tier":"x","%b":1}' % (b"k" * 99)),
     [f"{UNKNOWN} {LONG}", "note: mirror-drops: the mirror drops service_tier",
      f"note: mirror-drops: the mirror drops {LONG}"]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), ODDITIES, ids=range(len(ODDITIES)))
def test_every_oddity(data: bytes, expected: list[str]) -> None:
    assert found(data) == expected


def test_numbers_of_any_length_are_no_trouble() -> None:
    data = format_event(CHUNK[:-1] + b',"timings":{"n":%b}}' % (b"7" * 5000))
    (note,) = found(data)
    assert note.startswith("note: mirror-rejects: not a JSON document: number out of range")


def test_keys_that_have_no_utf8_form() -> None:
    data = format_event(CHUNK[:-1] + b',"x_groq":{"a\\ud800":1,"a\\ud800":2}}')
    problem, note = found(data)
    assert problem.startswith(BAD_JSON)
    assert note == r'note: duplicate-key: "a\ud800" comes more than once in an object'


def test_the_lines_of_a_report() -> None:
    noted = format_event(CHUNK.replace(b'"tool_calls":[]', b'"tool_calls":null'))
    data = b": hello\n\n" + noted * 2 + b"data: x\n\n" + MIRRORED.finish("stop")
    result = run("check", "-", data=data)
    bad = f"event 3, byte {9 + 2 * len(noted)}"
    assert result.stdout.splitlines() == [
        f"-: {bad}: {BAD_JSON} JSON is malformed: invalid character (byte 0)",
        "-: event 1, byte 9: note: mirror-rejects: choices[].delta.tool_calls: expected an array"
        " (2 times)",
        f"-: byte {len(data)}: note: no-done: the stream is complete without [DONE]",
    ]
    assert (result.stderr, result.exit_code) == ("", 1)


ENDS = [
    (b"", [("empty", None, 0)]),
    (b": hello\n\n", [("truncated", None, 9)]),
    (CLEAN[:-14], [("no-done", None, len(CLEAN) - 14)]),
    (CLEAN[:-8], [("truncated", None, len(CLEAN) - 14)]),
    (CLEAN[:-1], [("no-empty-line", 3, len(CLEAN) - 14)]),
    (CLEAN + b": bye\n\n\n", []),
    (CLEAN + b"data: x\n\n" * 3, [("after-done", 4, len(CLEAN))]),
    (CLEAN + b"\ndata", [("no-empty-line", None, len(CLEAN) + 1),
                         ("after-done", None, len(CLEAN) + 1)]),
    (CLEAN + TOO_LARGE, [("after-done", None, len(CLEAN))]),
    (CLEAN[:-14] + TOO_LARGE, [("too-large", None, len(CLEAN) - 14)]),
    (ENCODER.error("no"), [("error-event", 1, 0), ("no-done", None, len(ENCODER.error("no")))]),
    (b'{"error":{}}\n\n<p>', [("no-event-stream", None, 0), ("ignored-line", None, 0)]),
    (MIRRORED.content("x")[:-1], [("truncated", None, len(MIRRORED.content("x")) - 1),
                                  ("no-empty-line", 1, 0)]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), ENDS, ids=range(len(ENDS)))
def test_how_a_stream_ends(data: bytes, expected: list[tuple[str, int | None, int]]) -> None:
    assert [(o["kind"], o["event"], o["offset"]) for o in oddities(data)] == expected


def test_notes_count_only_if_asked_to() -> None:
    noted = b"data: null\n\n" + CLEAN
    assert run("check", "-", data=noted).exit_code == 0
    assert run("check", "-", "--strict", data=noted).exit_code == 1
    assert oddities(noted) == [
        {"level": "note", "kind": "no-chunk", "event": 1, "offset": 0, "count": 1,
         "message": "an event is neither a chunk nor an error"}
    ]  # fmt: skip


def test_the_report_is_one_line_an_oddity_whatever_the_names(tmp_path: Path) -> None:
    file = tmp_path / "a\n\x1b[2J.sse"
    file.write_bytes(b"event: error\ndata: a\ndata: b\x1b\n\n" + DONE)
    printed = run("check", str(file)).stdout
    assert printed == (
        f"{tmp_path}/a\\n\\x1b[2J.sse: event 1, byte 0: problem: error-event: "
        "the server's error: a\\nb\\x1b\n"
    )


def test_notes_are_bounded() -> None:
    tally: Tally[int] = Tally()
    for thing in range(MAX_ENTRIES + 2):
        tally.add(thing, Item(offset=thing, event=1))
        tally.add(thing, Item(offset=0))
    assert len(tally.entries) == MAX_ENTRIES
    assert (tally.entries[7].offset, tally.entries[7].count) == (7, 2)
    assert tally.others is not None
    assert (tally.others.offset, tally.others.count) == (MAX_ENTRIES, 4)
    keys = {f"key{number}": None for number in range(MAX_ENTRIES)}
    data = delta(content="", **keys) + CLEAN
    *_, last = oddities(data)  # what the mirror drops
    assert (last["kind"], last["offset"], last["count"]) == ("more", 0, MAX_ENTRIES)


def test_the_help_names_every_kind() -> None:
    printed = run("check", "--help", env={"COLUMNS": "100"}).stdout
    problems, _, rest = printed.partition("Notes are")
    notes, _, _ = rest.partition("Examples")
    streams = [*(data + CLEAN for data, _ in ODDITIES), *(data for data, _ in ENDS)]
    streams.append(delta(content="", **{f"key{number}": None for number in range(MAX_ENTRIES + 1)}))
    streams.append(format_event('{"type":"response.new"}'))
    found = [oddity for data in streams for oddity in oddities(data)]
    for text, level in ((problems, "problem"), (notes, "note")):
        kinds = {oddity["kind"] for oddity in found if oddity["level"] == level}
        assert set(re.findall(r"^  +([a-z-]+)  +\S", text, re.MULTILINE)) == kinds
