"""The errors of fastchunk: one root, and each names the place or the limit that failed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypedDict

__all__ = [
    "ErrorDetail",
    "EventTooLarge",
    "FastchunkError",
    "InvalidChunk",
    "Loc",
    "TruncatedStream",
    "UpstreamError",
    "place",
]

Loc: TypeAlias = tuple[str | int, ...]
"""A place in a document: keys and list positions from the outermost object inwards; `()` is all."""

_READABLE = 256


def place(loc: Loc) -> str:
    """Write a place the way people write paths: `choices[0].delta.content`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return path.removeprefix(".") or "the document"


class ErrorDetail(TypedDict):
    """One entry of `InvalidChunk.errors`, with the keys and the codes that Pydantic uses."""

    type: str
    """What is wrong, as a code: `missing`, `int_parsing`, `json_invalid`, …"""
    loc: Loc
    """Where it is."""
    msg: str
    """What is wrong, in words."""


class FastchunkError(Exception):
    """The root of every error that fastchunk raises about data."""


class InvalidChunk(FastchunkError, ValueError):
    """The data is not a chunk: not JSON, or JSON of another shape.

    The message names the first thing that is wrong and its place; `errors` lists everything.
    """

    data: bytes
    """The data that was refused, or the `repr` of an object, cut to its first 256 bytes."""

    def __init__(
        self, message: str, data: bytes, list_errors: Callable[[], list[ErrorDetail]]
    ) -> None:
        super().__init__(message)
        self.data = data[:_READABLE]
        self._list_errors = list_errors

    @classmethod
    def single(cls, kind: str, loc: Loc, message: str, data: bytes) -> InvalidChunk:
        """Make an error whose list has one entry, which says what its message says."""
        details: list[ErrorDetail] = [{"type": kind, "loc": loc, "msg": message}]
        return cls(message, data, partial(list, details))

    def errors(self) -> list[ErrorDetail]:
        """List every error, in the order of the model's fields.

        The first call makes the list, from the parsed document, which the error holds until then.
        So a caller that only counts or skips invalid chunks does not pay for it.
        """
        found = self._list_errors()
        self._list_errors = partial(list, found)
        return list(found)

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception crosses process boundaries (Ray, multiprocessing): take the list along.
        return type(self), (str(self), self.data, partial(list, self.errors()))


class EventTooLarge(FastchunkError):
    """An event is larger than `max_event_size`."""

    limit: int
    """The limit, in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"an event is larger than max_event_size, {limit:,} bytes")
        self.limit = limit

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.limit,)


class TruncatedStream(FastchunkError):
    """The stream ended where it should not have."""

    data: bytes
    """The unfinished block at its end, empty if there is none."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message, data)
        self.data = data

    def __str__(self) -> str:
        return str(self.args[0])


class UpstreamError(FastchunkError):
    """The server sent an error in place of chunks, or in one."""

    error: Any
    """The server's error object as it was parsed, or the text that it sent."""

    def __init__(self, error: Any) -> None:
        super().__init__(error)
        self.error = error

    def __str__(self) -> str:
        message = self.error.get("message") if isinstance(self.error, dict) else None
        return str(message or self.error)
