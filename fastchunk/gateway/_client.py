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

__all__ = ["ClientLeft", "Upload", "has_body", "read_body", "while_connected"]

T = TypeVar("T")


class ClientLeft(Exception):
    """The client has closed its connection."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read a request's body. Raises `Failure` if it is larger than `limit`, and `ClientLeft`."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > limit:
            text = f"the request is larger than {limit:,} bytes"
            raise Failure(413, "request_too_large", text)
        more = message.get("more_body", False)
    return bytes(body)


def has_body(scope: Scope) -> bool:
    """Tell whether a request has a body: by its framing, RFC 9112, 6."""
    names = {name.lower() for name, _ in scope["headers"]}
    return not names.isdisjoint((b"content-length", b"transfer-encoding"))


class Upload:
    """A request's body that is passed on as it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece; if the client leaves, wait to be cancelled."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._ended.set()
                await asyncio.get_running_loop().create_future()
            yield message.get("body", b"")
            more = message.get("more_body", False)
        self._ended.set()

    async def then_receive(self) -> Any:
        """Receive what comes after the body."""
        await self._ended.wait()
        return await self._receive()


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and cancel it as soon as the client leaves. Raises `ClientLeft` then."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    finally:
        leaving.cancel()
        working.cancel()
    if working.cancelled():
        raise ClientLeft
    return working.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
