"""A terminal for commands to run on."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

import pytest

from fastchunk.cli.app import app

from .harness import UNSET


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Give a function that runs a command on a terminal, and returns all that this shows."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    master, end = os.openpty()
    with os.fdopen(master, "rb", buffering=0) as shown, os.fdopen(end, "w") as streams:

        def run_there(
            *arguments: str, data: bytes, term: str = "xterm", stderr: TextIO = streams
        ) -> str:
            with monkeypatch.context() as patch:
                patch.setenv("TERM", term)
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
                patch.setattr(sys, "stdout", streams)
                patch.setattr(sys, "stderr", stderr)
                app(arguments, standalone_mode=False)
            streams.write("\0")  # the end: no command shows it
            streams.flush()
            seen = b"".join(iter(lambda: shown.read(1), b"\0"))
            return seen.decode().replace("\r\n", "\n")

        yield run_there
