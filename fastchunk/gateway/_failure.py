"""The gateway's own errors, in the shape that each API's clients know.

In:  a status, a code and a message.
Out: a response with an error body, or an error event inside a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from fastchunk import format_event

__all__ = ["MESSAGES", "OPENAI", "RESPONSES", "ErrorShape", "Failure"]

_OPENAI_TYPES = {401: "authentication_error", 502: "upstream_error", 504: "upstream_error"}
_MESSAGES_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
    504: "timeout_error",
}


class Failure(Exception):
    """A request that the gateway cannot answer, or a stream that it cannot continue."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self._headers = headers

    @property
    def is_upstreams(self) -> bool:
        """Whether the upstream caused it."""
        return self.status in {502, 504}

    def body(self, shape: ErrorShape | None = None) -> bytes:
        """Encode the error as an API does, OpenAI's if none is given; its clients raise it."""
        return msgspec.json.encode((shape or OPENAI).describe(self))

    def event(self, shape: ErrorShape) -> bytes:
        """Format the error as an event, for a stream whose status has already been sent."""
        described = shape.describe(self)
        if shape.event is not None:
            described = {"type": shape.event, **described}
        return format_event(msgspec.json.encode(described), event=shape.event)

    def response(self, shape: ErrorShape | None = None) -> Response:
        """Build the response that reports the error."""
        return Response(self.body(shape), self.status, self._headers, "application/json")


class ErrorShape(NamedTuple):
    """How an API writes its errors."""

    describe: Callable[[Failure], dict[str, Any]]
    """Build the body of an answer."""
    event: str | None = None
    """The type of the event that has the same in a stream; None for an event without a type."""


def _describe_for_openai(failure: Failure) -> dict[str, Any]:
    default = "invalid_request_error" if failure.status < 500 else "server_error"
    error = {
        "message": str(failure),
        "type": _OPENAI_TYPES.get(failure.status, default),
        "param": None,
        "code": failure.code,
    }
    return {"error": error}


def _describe_for_messages(failure: Failure) -> dict[str, Any]:
    default = "invalid_request_error" if failure.status < 500 else "api_error"
    error = {"type": _MESSAGES_TYPES.get(failure.status, default), "message": str(failure)}
    return {"type": "error", "error": error}


OPENAI = ErrorShape(_describe_for_openai)
RESPONSES = ErrorShape(_describe_for_openai, event="error")
MESSAGES = ErrorShape(_describe_for_messages, event="error")
