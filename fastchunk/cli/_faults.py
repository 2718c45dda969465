r"""What is wrong with a stream, in words: every command says it in the same ones.

In:  one of fastchunk's errors, or the beginning of an input that is not an event stream.
Out: a fault: a kind for scripts, and a message for people.

    >>> describe_foreign(b'{"error":{"message":"Incorrect API key"}}').message
    'the input is not an event stream but an error from the server: Incorrect API key'
    >>> describe_foreign(b"<html>\n<body>Bad Gateway").message
    "the input is not an event stream; it begins with '<html>\\n<body>Bad Gateway'"
"""

from __future__ import annotations

import codecs
from typing import Any, NamedTuple

from fastchunk import (
    EventTooLarge,
    FastchunkError,
    InvalidChunk,
    TruncatedStream,
    UpstreamError,
    wire,
)

__all__ = ["Fault", "describe_error", "describe_foreign"]

_MAX_MESSAGE = 2000  # characters: about a screenful
_MAX_EXCERPT = 100  # bytes: enough to recognise what it is, on one line


class Fault(NamedTuple):
    """A problem of a stream; `Item` says where it is."""

    kind: str
    message: str


def describe_error(error: FastchunkError) -> Fault:
    """Describe an error that reading the stream met."""
    if isinstance(error, UpstreamError):
        return _fault("error-event", f"the server's error: {error}")
    if isinstance(error, TruncatedStream):
        where = f", in the middle of {quote_beginning(error.data)}" if error.data else ""
        return _fault("truncated", f"{error}{where}")
    if isinstance(error, EventTooLarge):
        return _fault("too-large", str(error))
    not_json = isinstance(error, InvalidChunk) and error.errors()[0]["type"] == "json_invalid"
    return _fault("invalid-json" if not_json else "invalid-chunk", str(error))


def describe_foreign(beginning: bytes) -> Fault:
    """Describe an input that is not an event stream by its beginning."""
    if not beginning:
        # What `curl -s … | fastchunk read -` gets from a server that is down.
        message = "the input is empty: the server sent nothing, or was not there"
        return _fault("empty", message)
    error = _error_in(beginning)
    if error:
        message = f"the input is not an event stream but an error from the server: {error}"
    else:
        message = f"the input is not an event stream; it begins with {quote_beginning(beginning)}"
    return _fault("no-event-stream", message)


def quote_beginning(data: bytes) -> str:
    r"""Quote the beginning of some data: its text, with escapes for what a terminal would not show.

    >>> quote_beginning("é\x1b[2J".encode())
    "'é\\x1b[2J'"
    >>> quote_beginning(b"\x1f\x8b\x08")  # not text
    "b'\\x1f\\x8b\\x08'"
    """
    beginning = data[:_MAX_EXCERPT]
    try:
        # The incremental decoder leaves out a character that the cut has split.
        quoted = repr(codecs.getincrementaldecoder("utf-8")().decode(beginning))
    except UnicodeDecodeError:
        quoted = repr(beginning)
    return quoted if len(data) <= _MAX_EXCERPT else f"{quoted}…"


def _error_in(body: bytes) -> UpstreamError | None:
    """Find the error in the body of an answer with an error status, `{"error":{"message":…}}`."""
    try:
        error: Any = wire.decode(body).error
    except InvalidChunk:
        return None
    return UpstreamError(error) if error else None


def _fault(kind: str, message: str) -> Fault:
    if len(message) > _MAX_MESSAGE:
        message = f"{message[:_MAX_MESSAGE]}…"
    return Fault(kind, message)
