"""What the tests of the command line share: streams, and commands that run in or beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from typer.testing import CliRunner, Result

from fastchunk import StreamEncoder, models, wire
from fastchunk.cli.app import app
from fastchunk.sse import format_event

ROOT = Path(__file__).parents[2]
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


def delta(**fields: Any) -> bytes:
    """Write an event with any delta, as sloppy servers do."""
    choices = [{"index": 0, "delta": fields}]
    return format_event(json.dumps({"id": "c", "model": "m", "choices": choices}))


@contextmanager
def closed_pipe() -> Iterator[TextIO]:
    """Give a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        yield closed


@contextmanager
def process(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-W", "error", "-m", "fastchunk", *arguments]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Buffered as for a user, or nothing would show that what has to be flushed is flushed.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, cwd=ROOT, env=env, bufsize=0, **pipes | options) as popen:
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
