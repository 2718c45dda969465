"""Where streams come from: a file, or what is piped in.

In:  a path, or `-`.
Out: what was read, as soon as there is something: never waiting for a buffer to be full.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import cast

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
            read = stack.enter_context(_opened(path))
        while True:
            before()
            with _reporting(name):
                data = read(_SIZE)
            if not data:
                return
            yield data


@contextmanager
def _opened(path: str) -> Iterator[Callable[[int], bytes | None]]:
    """Give a function that reads what there is, at least a byte, and waits only for that."""
    if path != "-":
        with Path(path).open("rb", buffering=0) as file:
            yield file.read
    elif sys.stdin is None:
        raise ValueError("it is closed")
    else:
        with suppress(OSError, ValueError):  # it is no file
            os.set_blocking(sys.stdin.fileno(), True)  # or nothing yet would look like the end
        yield cast(BufferedReader, sys.stdin.buffer).read1


@contextmanager
def _reporting(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreadable(f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:  # also a path with a NUL in it
        raise Unreadable(f"cannot read {name}: {error}") from error
