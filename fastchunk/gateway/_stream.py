"""One answer on its way from the upstream to the client.

In:  the upstream's response, its head received.
Out: ASGI messages to the client, one for each read.
Cost: one `feed` for each read, and one `send` if `feed` returns something. `send` waits for a slow
client, and while it waits nothing is read from the upstream.

`Stream` relays events, `forward` passes any body on unchanged, `read_answer` collects one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
from starlette.types import Message, Send

from fastchunk import DONE, EventTooLarge, InvalidChunk, format_event
from fastchunk.sse import BOM, are_blocks

from ._apis import Api
from ._failure import Failure
from ._reading import open_reading
from ._upstream import READ_ERRORS, explain_read_error, response_headers, watch_connection
from ._watch import Watch
from .settings import Settings

__all__ = ["RelayLike", "Stream", "forward", "read_answer", "response_start"]

log = logging.getLogger("fastchunk.gateway")

_END = format_event(DONE)


class RelayLike(Protocol):
    """What a stream passes through: `fastchunk.Relay`, or another object with these methods."""

    def feed(self, data: bytes, /) -> bytes:
        """Take the bytes of one read; return whole blocks to write to the client, or nothing."""

    def close(self) -> bytes:
        """End the stream; return what is still to be written."""


def response_start(response: aiohttp.ClientResponse, *, same_body: bool) -> Message:
    """Build the message that begins an answer with the upstream's status and header fields."""
    headers = response_headers(response, same_body=same_body)
    return {"type": "http.response.start", "status": response.status, "headers": headers}


async def forward(response: aiohttp.ClientResponse, send: Send) -> Failure | None:
    """Send a body to the client as it arrives; return why it ended too early, if it did.

    The client then receives less than the head promised: HTTP has no other way to tell it.
    """
    await send(response_start(response, same_body=True))
    try:
        with watch_connection(response):
            while data := await response.content.readany():
                await send(_body(data))
    except READ_ERRORS as error:
        return explain_read_error(error)
    await send(_body(b"", more=False))
    return None


async def read_answer(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a whole body. Raises `Failure`, also for a body larger than `limit` bytes."""
    body = bytearray()
    try:
        with watch_connection(response):
            while data := await response.content.readany():
                body += data
                if len(body) > limit:
                    text = f"the upstream's answer is larger than max_event_size, {limit:,} bytes"
                    raise Failure(502, "answer_too_large", text)
    except READ_ERRORS as error:
        raise explain_read_error(error) from error
    return bytes(body)


class Stream:
    """Relays the events of one answer, and ends the client's stream properly whatever happens."""

    def __init__(  # noqa: PLR0913
        self,
        response: aiohttp.ClientResponse,
        relay: RelayLike,
        send: Send,
        *,
        api: Api,
        settings: Settings,
        watch: Watch,
        may_stop: bool,
    ) -> None:
        self.failure: Failure | None = None
        """Why the stream did not end as it should have."""
        self.first_event_at: float | None = None
        """When the first event was sent, by the event loop's clock."""
        self.is_served = False
        """Whether nothing more is to be read from the upstream."""
        self._response = response
        self._relay = relay
        self._feed = relay.feed
        self._send = send
        self._api = api
        self._read_timeout = settings.read_timeout
        # A write is noticed an interval too late at most, and so is that it is time for a comment.
        self._patience = settings.keep_alive - 2 * watch.interval
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._may_stop = may_stop  # whether nobody waits for what comes after the relay's stop
        self._has_stopped = False
        self._received = 0  # as of the last look
        self._heard_at = self._wrote_at = self._loop.time()  # at the latest
        self._has_written = True  # since the last look
        self._commented = False
        self._comment: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Relay everything; return when the answer is complete, by an error event if need be."""
        await self._send(response_start(self._response, same_body=False))
        self._reading = open_reading(self._response, self)
        try:
            with self._watch.over(self):
                await self._read()
            rest = self._finish()
            if self._comment is not None:
                await self._comment
            await self._send(_body(rest, more=False))
        finally:
            if self._comment is not None:
                self._comment.cancel()

    def fail(self, failure: Failure) -> None:
        """End the stream with an error event, for a reason outside of it."""
        self.failure = failure
        self._response.close()  # which ends the reading

    async def _read(self) -> None:
        try:
            await self._reading.run()
        except READ_ERRORS as error:
            self.failure = self.failure or explain_read_error(error)

    def take(self, data: bytes, /) -> Awaitable[None] | None:
        """Relay what was read; return the write that it makes, None if it makes none."""
        try:
            out = self._feed(data)
        except Exception as error:  # noqa: BLE001
            self.failure = _explain_relay_error(error)
            self.is_served = True
            return None
        if self._may_stop and self._is_stopped():
            self._has_stopped = self.is_served = True
        if not out:
            return None
        if self.first_event_at is None:
            out = self._begin(out)
        self._has_written = True
        message = {"type": "http.response.body", "body": out, "more_body": True}
        if self._comment is not None:  # ASGI allows one write at a time
            return self._send_after(self._comment, message)
        return self._send(message)

    async def _send_after(self, comment: asyncio.Task[None], message: Message) -> None:
        await comment
        await self._send(message)

    def _begin(self, out: bytes) -> bytes:
        """Note when the first event is sent; return the output as the client has to receive it."""
        if getattr(self._relay, "events", True):
            self.first_event_at = self._loop.time()
        # A byte order mark counts only at the stream's start, and a comment has taken that place.
        return out.removeprefix(BOM) if self._commented else out

    def _is_stopped(self) -> bool:
        """Tell whether the relay has ended the answer, and the upstream has not."""
        relay = self._relay
        return getattr(relay, "stopped", False) and not getattr(relay, "done", False)

    def _finish(self) -> bytes:
        """Close the relay; return the last bytes of the answer, an error event if it failed."""
        relay: Any = self._relay
        rest = b""
        try:
            rest = relay.close()
        except Exception as error:  # noqa: BLE001
            self.failure = self.failure or _explain_relay_error(error)
        if self.failure is None and self._has_stopped:
            return _only_blocks(rest) + _END
        if self.failure is None and getattr(relay, "truncated", False):
            message = "the upstream's answer stops before it is complete"
            self.failure = Failure(502, "upstream_truncated", message)
        if self.failure is None:
            return rest
        log.warning("a stream was broken off: %s", self.failure)
        rest = _only_blocks(rest)
        # After `[DONE]` the client has the whole answer, and reads no further.
        return (
            rest if getattr(relay, "done", False) else rest + self.failure.event(self._api.errors)
        )

    def look(self, now: float) -> None:
        """Break off if the upstream has been silent for too long; send a comment before."""
        received, is_at_work = self._response.content.total_bytes, self._reading.is_at_work
        if received != self._received or is_at_work:
            self._received, self._heard_at = received, now
        elif now - self._heard_at >= self._read_timeout:
            self.fail(explain_read_error(asyncio.TimeoutError()))
        if self._has_written or is_at_work:
            self._has_written, self._wrote_at = False, now
        elif now - self._wrote_at >= self._patience and self._comment is None:
            self._comment = self._loop.create_task(self._send_comment())

    async def _send_comment(self) -> None:
        self._commented = True
        with suppress(OSError):  # the client has disconnected: the next write will find out
            await self._send(_body(self._api.keep_alive))
        self._comment = None


def _only_blocks(rest: bytes) -> bytes:
    """Return the last output of a relay, unless half an event would swallow the one behind it."""
    return rest if are_blocks(rest) else b""


def _explain_relay_error(error: Exception) -> Failure:
    """Turn an exception of the relay into the failure to report: the upstream's, or a hook's."""
    if isinstance(error, EventTooLarge):
        return Failure(502, "event_too_large", f"the upstream sent too much: {error}")
    if isinstance(error, InvalidChunk):
        return Failure(502, "event_withheld", "the upstream sent an event that cannot be checked")
    log.error("the relay failed", exc_info=error)
    return Failure(500, "relay_failed", "the gateway failed while it relayed the answer")


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
