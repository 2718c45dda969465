"""The client's side: its request's body, and whether it is still there.

In:  ASGI's `receive`.
Out: the body, or work that is cancelled when the client leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from ._failure import Failure

__all__ = ["LOOK", "ClientLeft", "Upload", "left", "read_body", "while_connected"]

T = TypeVar("T")

LOOK = 5.0
"""The seconds between two looks at whether a client has left whose request is not taken."""


class ClientLeft(Exception):
    """The client has closed its connection."""


async def read_body(receive: Receive, limit: int, patience: float) -> bytes:
    """Read a request's body.

    Raises `Failure` if it is larger than `limit` bytes or nothing comes for `patience` seconds, and
    `ClientLeft`.
    """
    body = bytearray()
    more = True
    while more:
        try:
            message = await asyncio.wait_for(receive(), patience)
        except asyncio.TimeoutError as error:
            text = "the rest of the request did not come in time"
            raise Failure(408, "request_timeout", text, {"connection": "close"}) from error
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > limit:
            text = f"the request is larger than {limit:,} bytes"
            raise Failure(413, "request_too_large", text)
        more = message.get("more_body", False)
    return bytes(body)


class Upload:
    """A request's body that is passed on as it comes, while the client is watched."""

    def __init__(self, scope: Scope, receive: Receive, patience: float) -> None:
        self.length = _length(scope)
        """How long the body is, 0 if there is none; None if that is not known."""
        self._receive = receive
        self._patience = patience
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece."""
        while (piece := await self._pieces.get()) is not None:
            yield piece
            self._pieces.task_done()

    async def left(self) -> None:
        """Receive the body, and return when the client has left.

        The next piece is received once the last one is taken. As only who receives learns that the
        client has left, one more is received every `LOOK` seconds in which the upstream takes none.
        Raises `Failure` if it takes none for `patience` seconds.
        """
        more, waited = True, 0.0
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
            self._pieces.put_nowait(message.get("body", b""))
            waited = 0.0 if await self._taken() else waited + LOOK
            if waited >= self._patience:
                raise Failure(504, "upstream_stalled", "the upstream does not take the request")
        self._pieces.put_nowait(None)
        await left(self._receive)

    async def _taken(self) -> bool:
        try:
            await asyncio.wait_for(self._pieces.join(), LOOK)
        except asyncio.TimeoutError:
            return False
        return True


def _length(scope: Scope) -> int | None:
    """Read the length of a request's body from its framing, RFC 9112, 6."""
    fields = {name.lower(): value for name, value in scope["headers"]}
    if b"transfer-encoding" in fields:
        return None
    return int(fields.get(b"content-length", b"0"))


async def while_connected(left: Coroutine[Any, Any, None], work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and cancel it as soon as the client has left. Raises `ClientLeft` then."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left)
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    finally:
        leaving.cancel()
        working.cancel()
    if working.cancelled():
        leaving.result()  # raises what it has raised
        raise ClientLeft
    return working.result()


async def left(receive: Receive) -> None:
    """Return when the client, whose request has been read, has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
