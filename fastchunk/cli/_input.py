"""Where streams come from: a file, or what is piped in.

In:  a path, or `-`.
Out: what each read gives, as soon as it gives something: no read waits for a buffer to fill.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import RawIOBase
from pathlib import Path
from select import select
from typing import Any

__all__ = ["Unreadable", "read_input"]

_SIZE = 65536  # what a pipe holds


class Unreadable(Exception):
    """The input cannot be read; the message says which and why."""


def read_input(path: str, before: Callable[[], None]) -> Iterator[bytes]:
    """Yield what each read gives, until the input ends; call `before` ahead of each.

    A read may wait for as long as the server thinks: `before` is for showing what came so far.

    Raises `Unreadable`.
    """
    name = "standard input" if path == "-" else path
    with ExitStack() as stack:
        with _report_errors(name):
            file = stack.enter_context(_open_input(path))
        while True:
            before()
            with _report_errors(name):
                data = _read(file)
            if not data:
                return
            yield data


@contextmanager
def _open_input(path: str) -> Iterator[RawIOBase]:
    """Open the file without a buffer, which would wait until it is full."""
    if path != "-":
        with Path(path).open("rb", buffering=0) as file:
            yield file
    elif sys.stdin is None:
        raise ValueError("it is closed")
    else:
        buffer: Any = sys.stdin.buffer
        yield getattr(buffer, "raw", buffer)  # a stream in memory has no buffer to go around


def _read(file: RawIOBase) -> bytes:
    """Read at least one byte unless the input ends."""
    # A pipe that some other process has set to non-blocking gives None while it is empty.
    while (data := file.read(_SIZE)) is None:
        select([file], [], [])
    return data


@contextmanager
def _report_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreadable(f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:  # closed, or a path with a NUL in it
        raise Unreadable(f"cannot read {name}: {error}") from error
