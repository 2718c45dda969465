"""Where streams come from: a file, or what is piped in.

In:  a path, or `-`.
Out: what was read, as soon as there is something: never waiting for a buffer to be full.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import RawIOBase
from pathlib import Path
from select import select
from typing import Any

__all__ = ["Unreadable", "reads"]

_SIZE = 65536


class Unreadable(Exception):
    """The input cannot be read; the message says which and why."""


def reads(path: str, before: Callable[[], None]) -> Iterator[bytes]:
    """Yield what each read gives, up to the end; call `before` ahead of each, as it may wait.

    Raises `Unreadable`.
    """
    name = "standard input" if path == "-" else path
    with ExitStack() as stack:
        with _reporting(name):
            file = stack.enter_context(_opened(path))
        while True:
            before()
            with _reporting(name):
                data = _read(file)
            if not data:
                return
            yield data


@contextmanager
def _opened(path: str) -> Iterator[RawIOBase]:
    """Give the file without a buffer, so that a read gives what there is."""
    if path != "-":
        with Path(path).open("rb", buffering=0) as file:
            yield file
    elif sys.stdin is None:
        raise ValueError("it is closed")
    else:
        buffer: Any = sys.stdin.buffer
        yield getattr(buffer, "raw", buffer)  # bytes in memory have no buffer


def _read(file: RawIOBase) -> bytes:
    """Read at least a byte unless the input ends, even if reading does not block."""
    while (data := file.read(_SIZE)) is None:
        select([file], [], [])
    return data


@contextmanager
def _reporting(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreadable(f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:  # also a path with a NUL in it
        raise Unreadable(f"cannot read {name}: {error}") from error
