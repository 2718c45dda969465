"""The errors of fastchunk. They share one root; each names the place or the limit that failed."""

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
    """The root of every error that fastchunk raises because of the data it was given."""


class InvalidChunk(FastchunkError, ValueError):
    """The data is no chunk: it is not JSON, or it is JSON of another shape.

    The message says what is wrong first, and where; `errors` lists everything that is wrong.

        >>> from fastchunk import InvalidChunk, decode
        >>> try:
        ...     decode(b'{"model": "llama", "choices": 1}')
        ... except InvalidChunk as error:
        ...     print(error)
        ...     error.errors()[0]["loc"]
        choices: expected an array
        ('choices',)
    """

    data: bytes
    """The first 256 bytes of the data that was refused; of an object, of its `repr`."""

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
        """List everything that is wrong, in the order of the model's fields, as Pydantic does.

        The first call makes the list, from the parsed document, which the error holds until then:
        a caller that only counts invalid chunks, or skips them, does not pay for it. Every call
        returns a list of its own.
        """
        found = self._list_errors()
        self._list_errors = partial(list, found)
        return list(found)

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray and multiprocessing pickle exceptions; the parsed document would not survive that.
        return type(self), (str(self), self.data, partial(list, self.errors()))


class EventTooLarge(FastchunkError):
    """An event exceeds `max_event_size`. The stream cannot be read any further."""

    limit: int
    """The limit that it exceeds, in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"an event is larger than max_event_size, {limit:,} bytes")
        self.limit = limit

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.limit,)


class TruncatedStream(FastchunkError):
    """The stream stopped before it was complete, was empty, or was not an event stream."""

    data: bytes
    """The unfinished block at the end of the stream; empty if the stream stopped between two."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message, data)
        self.data = data

    def __str__(self) -> str:
        return str(self.args[0])


class UpstreamError(FastchunkError):
    """The server reported an error in the stream, in an event of its own or inside a chunk."""

    error: Any
    """The server's error object, parsed; or its text, where that is no JSON."""
    data: bytes
    """The data of the event that reported it."""

    def __init__(self, error: Any, data: bytes = b"") -> None:
        super().__init__(error)
        self.error = error
        self.data = data

    def __str__(self) -> str:
        message = self.error.get("message") if isinstance(self.error, dict) else None
        return str(message or self.error)
