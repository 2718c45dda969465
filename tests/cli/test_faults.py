"""What is wrong with a stream, which both commands say in the same words."""

from __future__ import annotations

import itertools
import json
import random
import re

import pytest

from fastchunk import UpstreamError
from fastchunk.cli._faults import describe_error
from fastchunk.sse import MAX_EVENT_SIZE
from tests import fuzz
from tests.streams import recorded

from .harness import CLEAN, DONE, ENCODER, WHOLE, delta, run

# What a server sends that refuses a request: a body that is not an event stream.
FOREIGN = "the input is not an event stream"
REFUSAL = {"error": {"message": "Incorrect API key\x1b[2J", "type": "invalid_request_error"}}


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"", "empty", "the input is empty: the server sent nothing, or was not there"),
        (
            json.dumps(REFUSAL).encode(),
            "no-event-stream",
            f"{FOREIGN} but an error from the server: Incorrect API key\\x1b[2J",
        ),
        (
            json.dumps(REFUSAL, indent=2).encode() + b"\n\n",
            "no-event-stream",
            f"{FOREIGN} but an error from the server: Incorrect API key\\x1b[2J",
        ),
        (
            b'{"error":"no such model"}\n',
            "no-event-stream",
            f"{FOREIGN} but an error from the server: no such model",
        ),
        (b'{"detail":"x"}', "no-event-stream", f'{FOREIGN}; it begins with \'{{"detail":"x"}}\''),
        (b'{"error":null}', "no-event-stream", f"{FOREIGN}; it begins with '{{\"error\":null}}'"),
        (
            b"<html>\r\n\r\n<body>\x1b[2J\xe2\x80\xae",
            "no-event-stream",
            f"{FOREIGN}; it begins with '<html>\\r\\n\\r\\n<body>\\x1b[2J\\u202e'",
        ),
        (b"\x1f\x8b\n\n", "no-event-stream", f"{FOREIGN}; it begins with b'\\x1f\\x8b\\n\\n'"),
        (
            ("é" * 51).encode(),
            "no-event-stream",
            f"{FOREIGN}; it begins with '{'é' * 50}'…",
        ),
        (
            b"-" + ("é" * 50).encode(),
            "no-event-stream",
            f"{FOREIGN}; it begins with '-{'é' * 49}'…",
        ),
        (
            b"x" * (MAX_EVENT_SIZE + 1),
            "no-event-stream",
            f"{FOREIGN}; it begins with '{'x' * 100}'…",
        ),
    ],
    ids=range(11),
)
def test_an_input_that_is_not_an_event_stream(body: bytes, kind: str, message: str) -> None:
    result = run("read", "-", data=body)
    assert (result.stdout, result.stderr) == ("", f"fastchunk: {message}\n")
    assert result.exit_code == 1
    result = run("check", "-", data=body)
    assert result.stdout.splitlines()[0] == f"-: byte 0: problem: {kind}: {message}"
    assert (result.stderr, result.exit_code) == ("", 1)


@pytest.mark.parametrize(
    "begun",
    [b": keep-alive\n", b"\xef\xbb\xbf: \n", b"id\n", b'data: {"ch', b"<p>\ndata: x", b"retry:9\r"],
)
def test_an_event_stream_that_broke_off_is_one(begun: bytes) -> None:
    result = run("check", "-", data=begun)
    assert ": problem: truncated: " in result.stdout
    assert FOREIGN not in run("read", "-", data=begun).stderr


def test_messages_are_cut() -> None:
    assert run("read", "-", data=ENCODER.error("x" * 3000)).stderr.endswith("xxx…\n")
    assert len(describe_error(UpstreamError("x" * 3000)).message) == 2001
    body = json.dumps({"error": {"message": "x" * 3000}}).encode()
    assert len(run("read", "-", data=body).stderr) < 2100


def problems_of(data: bytes, *command: str) -> list[str]:
    """Run a command; return the problems that it reports, as `place: message`."""
    result = run(*command, "-", data=data)
    if command[0] == "check":
        lines = [line for line in result.stdout.splitlines() if ": problem: " in line]
        problems = [re.sub(r": problem: [a-z-]+: ", ": ", line)[3:] for line in lines]
    else:
        lines = result.stderr.splitlines()
        problems = [line.removeprefix("fastchunk: ") for line in lines]
    assert result.exit_code == int(bool(problems))
    return [problem.removeprefix("byte 0: ") for problem in problems]


def damaged() -> list[bytes]:
    streams = []
    for seed in range(60):
        rng = random.Random(seed)
        streams.append(fuzz.mutated(rng, fuzz.generated(rng)))
    return streams


LARGEST = b'data: {"choices":[],"x":"%b"}' % (b"x" * (MAX_EVENT_SIZE - 27))
NAMED = [
    *(WHOLE, WHOLE[:-1], WHOLE[:-9], WHOLE + DONE, CLEAN, CLEAN + b"data: {\n\n", b"", b"{}"),
    LARGEST,
    LARGEST + b"x",
    CLEAN + b"data: " + b"x" * MAX_EVENT_SIZE,
    WHOLE + b"data: " + b"x" * MAX_EVENT_SIZE,
    ENCODER.error("no"),
    delta(content=1, ghost=1) + b"data: {\r\n\r\nevent: error\ndata: alas\n\n",
    b'data: {"choices":[],"choices":[],"x":NaN}\n\ndata: [[' + b"[" * 100_000 + b"\n\n" + DONE,
]


VIEWS = [(), ("--json",), ("--answer",), ("--stats",)]
VIEWED = [
    *((data, VIEWS) for data in NAMED),
    # One view of each of the many.
    *zip(
        [*damaged(), *(path.read_bytes() for path in recorded())],
        itertools.cycle([view] for view in VIEWS),
        strict=False,
    ),
]


@pytest.mark.parametrize(("data", "views"), VIEWED, ids=range(len(VIEWED)))
def test_read_and_check_report_the_same_problems(data: bytes, views: list[tuple[str, ...]]) -> None:
    problems = problems_of(data, "check")
    for view in views:
        assert problems_of(data, "read", *view) == problems


def test_a_stream_without_done_is_complete_once_every_choice_is_finished() -> None:
    unfinished = ENCODER.content("Hi") + ENCODER.content("Ho", choice=1) + ENCODER.finish("stop")
    for data, status in ((WHOLE, 0), (unfinished, 1)):
        assert run("read", "-", data=data).exit_code == status
        assert run("check", "-", data=data).exit_code == status
