"""What goes wrong in the gateway itself, in the shape that OpenAI's clients know.

In:  a status, a code and a message.
Out: an answer with an error body, or an error event inside a stream.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from fastchunk import format_event

__all__ = ["Failure"]

_KINDS = {401: "authentication_error", 502: "upstream_error", 504: "upstream_error"}


class Failure(Exception):
    """A request that the gateway cannot answer, or a stream that it cannot go on with."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self._headers = headers

    @property
    def is_upstreams(self) -> bool:
        """Whether the upstream is the one that failed."""
        return self.status in {502, 504}

    def body(self) -> bytes:
        """Write the error as OpenAI's API does; its clients read it into an `APIError`."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {
            "message": str(self),
            "type": _KINDS.get(self.status, kind),
            "param": None,
            "code": self.code,
        }
        return msgspec.json.encode({"error": error})

    def event(self) -> bytes:
        """Write the error as an event: what is sent when the answer has begun already."""
        return format_event(self.body())

    def response(self) -> Response:
        """Write the error as an answer of its own."""
        return Response(self.body(), self.status, self._headers, "application/json")
