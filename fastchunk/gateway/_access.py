"""The access log: one line for each request, when it ends.

In:  an ASGI application.
Out: the same application; at level `info`, the logger `fastchunk.gateway.access` gets the method,
the path, the status, the bytes of the body and the seconds it took.
Cost: one function call for each write while the level is on, nothing while it is off.

A query, a header or a body may hold a key or a prompt: none of them is logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["STATUS", "AccessLog"]

log = logging.getLogger("fastchunk.gateway.access")

STATUS = "fastchunk.status"
"""The key in the scope under which a route reports a status that it never sent."""

_LONGEST_PATH = 200  # characters; a client may send 64 KiB of path


class AccessLog:
    """Logs the requests of an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        status, size = 500, 0  # the status that Starlette sends for an exception

        # No coroutine of its own: it would be one more for every event of every stream.
        def send_counted(message: Message) -> Awaitable[None]:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                size += len(message.get("body", b""))
            return send(message)

        began = time.monotonic()
        try:
            await self._app(scope, receive, send_counted)
        finally:
            log.info(
                "%s %s %d %d bytes %.3f s",
                scope["method"],
                _printable(scope["path"]),
                scope.get(STATUS, status),
                size,
                time.monotonic() - began,
            )


def _printable(path: str) -> str:
    """Encode a path again: decoded, it may hold a line end, and fake another line of the log."""
    encoded = quote(path)
    return encoded if len(encoded) <= _LONGEST_PATH else f"{encoded[:_LONGEST_PATH]}…"
