"""The gateway's own errors, in the shape that OpenAI's clients know.

In:  a status, a code and a message.
Out: a response with an error body, or an error event inside a stream.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from fastchunk import format_event

__all__ = ["Failure"]

_TYPES = {401: "authentication_error", 502: "upstream_error", 504: "upstream_error"}


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

    def body(self) -> bytes:
        """Encode the error as OpenAI's API does; its clients raise it as an `APIError`."""
        default = "invalid_request_error" if self.status < 500 else "server_error"
        error = {
            "message": str(self),
            "type": _TYPES.get(self.status, default),
            "param": None,
            "code": self.code,
        }
        return msgspec.json.encode({"error": error})

    def event(self) -> bytes:
        """Format the error as an event, for a stream whose status has already been sent."""
        return format_event(self.body())

    def response(self) -> Response:
        """Build the response that reports the error."""
        return Response(self.body(), self.status, self._headers, "application/json")
