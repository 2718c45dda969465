"""One answer on its way from the upstream to the client.

In:  the upstream's answer, whose head is there.
Out: ASGI messages to the client, one a read.
Cost: a read is one `readany`, one `feed`, and, if that returns something, one `send`. Both wait:
the one for the upstream, the other for a slow client, and then nothing is read any more.

`Stream` relays events; `pass_on` passes any body on as it is.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
from starlette.types import Message, Send

from fastchunk import EventTooLarge
from fastchunk.sse import BOM, blocks

from ._failure import Failure
from ._upstream import BREAKS, broke_off, response_headers

__all__ = ["RelayLike", "Stream", "pass_on", "read_answer", "start"]

log = logging.getLogger("fastchunk.gateway")

_KEEP_ALIVE = b": keep-alive\n\n"


class RelayLike(Protocol):
    """What a stream is put through: `fastchunk.Relay`, or another object with these methods."""

    def feed(self, data: bytes, /) -> bytes:
        """Take what was read; return what to write, in whole blocks."""

    def close(self) -> bytes:
        """End the stream; return what is left."""


def start(upstream: aiohttp.ClientResponse, *, same_body: bool) -> Message:
    """Begin the answer with the upstream's status and header fields."""
    headers = response_headers(upstream, same_body=same_body)
    return {"type": "http.response.start", "status": upstream.status, "headers": headers}


async def pass_on(upstream: aiohttp.ClientResponse, send: Send) -> Failure | None:
    """Pass an answer on as it comes, whatever it is; return why it ended too early, if it did.

    The client's answer then ends short of what its head promised, which is how HTTP tells.
    """
    await send(start(upstream, same_body=True))
    try:
        while data := await upstream.content.readany():
            await send(_body(data))
    except BREAKS as error:
        return broke_off(error)
    await send(_body(b"", more=False))
    return None


async def read_answer(upstream: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read all of an answer. Raises `Failure`, also if it is larger than `limit`."""
    body = bytearray()
    try:
        while data := await upstream.content.readany():
            body += data
            if len(body) > limit:
                text = f"the upstream's answer is larger than max_event_size, {limit:,} bytes"
                raise Failure(502, "answer_too_large", text)
    except BREAKS as error:
        raise broke_off(error) from error
    return bytes(body)


class Stream:
    """Relays the events of one answer, and sees to it that the client's stream ends well."""

    def __init__(
        self, upstream: aiohttp.ClientResponse, relay: RelayLike, send: Send, *, keep_alive: float
    ) -> None:
        self.failure: Failure | None = None
        """Why the stream did not end as it should have."""
        self.first: float | None = None
        """When the first event was passed on, by the event loop's clock."""
        self._upstream = upstream
        self._relay = relay
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._pause = keep_alive / 2
        self._quiet = True  # whether nothing was written since the last look
        self._writing = False
        self._commented = False
        self._comment: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Relay everything; return when the answer is complete, be it by an error event."""
        await self._send(start(self._upstream, same_body=False))
        self._timer = self._loop.call_later(self._pause, self._look)
        try:
            await self._relay_all()
            last = self._last()
            if self._comment is not None:
                await self._comment
            await self._send(_body(last, more=False))
        finally:
            self._timer.cancel()
            if self._comment is not None:
                self._comment.cancel()

    def fail(self, failure: Failure) -> None:
        """End the stream with an error event, because of something outside of it."""
        self.failure = failure
        self._upstream.close()  # wakes who is reading

    async def _relay_all(self) -> None:
        read, feed, send = self._upstream.content.readany, self._relay.feed, self._send
        try:
            while data := await read():
                try:
                    out = feed(data)
                except Exception as error:  # noqa: BLE001
                    self.failure = _relay_failed(error)
                    return
                if out:
                    if self.first is None:
                        out = self._begin(out)
                    if self._comment is not None:  # no two writes are open at once
                        await self._comment
                    self._writing, self._quiet = True, False
                    await send({"type": "http.response.body", "body": out, "more_body": True})
                    self._writing = False
        except BREAKS as error:
            self.failure = self.failure or broke_off(error)

    def _begin(self, out: bytes) -> bytes:
        """Take the time of the first event; leave out a byte order mark behind a comment."""
        if getattr(self._relay, "events", True):
            self.first = self._loop.time()
        return out.removeprefix(BOM) if self._commented else out

    def _last(self) -> bytes:
        """Close the relay; return the end of the answer: what is left, or an error event.

        Half an event is left out where an error event follows, which it would swallow.
        """
        relay: Any = self._relay
        rest = b""
        try:
            rest = relay.close()
        except Exception as error:  # noqa: BLE001
            self.failure = self.failure or _relay_failed(error)
        if self.failure is None and getattr(relay, "truncated", False):
            message = "the upstream's answer ended before it was complete"
            self.failure = Failure(502, "upstream_truncated", message)
        if self.failure is None:
            return rest
        log.warning("a stream was broken off: %s", self.failure)
        if b"".join(blocks(rest)) != rest:
            rest = b""
        # After `[DONE]` the answer is complete: nobody reads on, and nobody is to be alarmed.
        return rest if getattr(relay, "done", False) else rest + self.failure.event()

    def _look(self) -> None:
        """Send a comment if nothing was written since the last look; look again later.

        Twice in the time that a client may have to wait, so that no read has to set a timer.
        """
        if self._quiet and not self._writing and self._comment is None:
            self._comment = self._loop.create_task(self._send_comment())
        self._quiet = True
        self._timer = self._loop.call_later(self._pause, self._look)

    async def _send_comment(self) -> None:
        self._commented = True
        with suppress(OSError):  # the client has left, as the next write will find
            await self._send(_body(_KEEP_ALIVE))
        self._comment = None


def _relay_failed(error: Exception) -> Failure:
    """Tell whose fault it is that the relay cannot go on: the upstream's, or a hook's."""
    if isinstance(error, EventTooLarge):
        return Failure(502, "event_too_large", f"the upstream sent too much: {error}")
    log.error("the relay failed", exc_info=error)
    return Failure(500, "relay_failed", "the gateway could not go on")


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
