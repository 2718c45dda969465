"""Where streams come from: a file, or what is piped in.

In:  a path, or `-`.
Out: what was read, as soon as there is something: never waiting for a buffer to be full.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

__all__ = ["Unreadable", "reads"]

_SIZE = 65536


class Unreadable(Exception):
    """The input cannot be read; the message says which and why."""


class _Source(Protocol):
    def __call__(self, size: int, /) -> bytes | None: ...


def reads(path: str, before: Callable[[], None]) -> Iterator[bytes]:
    """Yield what each read gives, up to the end; call `before` ahead of each, as it may wait.

    Raises `Unreadable`.
    """
    if path == "-":
        if sys.stdin is None:
            raise Unreadable("cannot read standard input: it is closed")
        yield from _until_empty(sys.stdin.buffer.read1, "standard input", before)
        return
    try:
        file = Path(path).open("rb", buffering=0)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    with file:
        yield from _until_empty(file.read, path, before)


def _until_empty(read: _Source, name: str, before: Callable[[], None]) -> Iterator[bytes]:
    while True:
        before()
        try:
            data = read(_SIZE)
        except OSError as error:
            raise _unreadable(name, error) from error
        if not data:
            return
        yield data


def _unreadable(name: str, error: OSError | ValueError) -> Unreadable:
    reason = error.strerror if isinstance(error, OSError) else error
    return Unreadable(f"cannot read {name}: {reason}")
