"""The client's side of a request: its body, and whether it is still connected.

In:  ASGI's `receive`.
Out: the body; or the result of work that is cancelled when the client disconnects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from ._failure import Failure

__all__ = [
    "CHECK_INTERVAL",
    "ClientDisconnected",
    "Upload",
    "read_body",
    "until_disconnect",
    "while_connected",
]

T = TypeVar("T")

CHECK_INTERVAL = 5.0
"""While an upload is stalled, the gateway checks every so many seconds for a disconnect."""


class ClientDisconnected(Exception):
    """The client has closed its connection."""


async def read_body(receive: Receive, limit: int, timeout: float) -> bytes:
    """Read a request's body.

    Raises `Failure` if the body is larger than `limit` bytes or the client is silent for `timeout`
    seconds, and `ClientDisconnected`.
    """
    body = bytearray()
    more = True
    while more:
        try:
            message = await asyncio.wait_for(receive(), timeout)
        except asyncio.TimeoutError as error:
            text = "the rest of the request did not arrive in time"
            raise Failure(408, "request_timeout", text, {"connection": "close"}) from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body += message.get("body", b"")
        if len(body) > limit:
            text = f"the request is larger than {limit:,} bytes"
            raise Failure(413, "request_too_large", text)
        more = message.get("more_body", False)
    return bytes(body)


class Upload:
    """A request's body that is passed on as it arrives.

    One task iterates over the pieces while another awaits `receive`, which fills them in.
    """

    def __init__(self, scope: Scope, receive: Receive, timeout: float) -> None:
        self.length = _content_length(scope)
        """The body's length in bytes, 0 if there is none; None if it is unknown."""
        self._receive = receive
        self._timeout = timeout
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece."""
        while (piece := await self._pieces.get()) is not None:
            yield piece
            self._pieces.task_done()

    async def receive(self) -> None:
        """Receive the body; return when the client disconnects.

        Raises `Failure` if the upstream takes none of it for `timeout` seconds.
        """
        more, stalled = True, 0.0
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
            self._pieces.put_nowait(message.get("body", b""))
            # Waiting for the upstream to take a piece is what slows a fast client down. But ASGI
            # reports a disconnect only to who receives: so now and then another piece is received.
            stalled = 0.0 if await self._is_taken() else stalled + CHECK_INTERVAL
            if stalled >= self._timeout:
                raise Failure(504, "upstream_stalled", "the upstream does not take the request")
        self._pieces.put_nowait(None)
        await until_disconnect(self._receive)

    async def _is_taken(self) -> bool:
        """Wait until the upstream has taken every piece; give up after `CHECK_INTERVAL`."""
        try:
            await asyncio.wait_for(self._pieces.join(), CHECK_INTERVAL)
        except asyncio.TimeoutError:
            return False
        return True


def _content_length(scope: Scope) -> int | None:
    """Read a body's length from the request's framing, RFC 9112, 6."""
    fields = {name.lower(): value for name, value in scope["headers"]}
    if b"transfer-encoding" in fields:
        return None
    return int(fields.get(b"content-length", b"0"))


async def while_connected(work: Coroutine[Any, Any, T], disconnect: Coroutine[Any, Any, None]) -> T:
    """Return the result of `work`, unless `disconnect` returns first: then cancel the work.

    Raises `ClientDisconnected` in that case, or what `disconnect` has raised.
    """
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(disconnect)
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    finally:
        waiting.cancel()
        working.cancel()
    if working.cancelled():
        waiting.result()  # raises what it has raised
        raise ClientDisconnected
    return working.result()


async def until_disconnect(receive: Receive) -> None:
    """Return when the client disconnects. Its request must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
