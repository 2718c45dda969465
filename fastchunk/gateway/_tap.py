"""What aiohttp has parsed of an answer, in the callback in which it was read.

In:  a response of aiohttp, its head received.
Out: a call after every read from the socket, and the bytes of the body that were in it.
Cost: no waiter, no future and no task switch for each read; and aiohttp sets no timer.

This is all that leans on what aiohttp does not document: that its parser looks up the methods of a
`StreamReader` on the object, and what that class keeps where. Where anything is not as it is known
here, `tap` gives None, and the body is to be read in the ordinary way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp.client_proto import ResponseHandler

from ._upstream import is_decoded

__all__ = ["Tap", "tap"]


class _Content(aiohttp.StreamReader):
    """Keeps the pieces of a body, and nothing that only its own readers need.

    A response's reader is made by the parser, so it is not replaced: its class is changed, for
    which the two have to have the same slots.
    """

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> bool:  # noqa: ARG002
        """Keep a piece."""
        self._buffer.append(data)
        self.total_bytes += len(data)
        return False

    def begin_http_chunk_receiving(self) -> None:
        """Pass over where HTTP's chunks begin: it says nothing of where events do."""

    def end_http_chunk_receiving(self) -> None:
        """Pass over where they end."""


class Tap(asyncio.Protocol):
    """Stands between a connection and aiohttp's protocol, until it is closed."""

    def __init__(
        self,
        content: aiohttp.StreamReader,
        protocol: ResponseHandler,
        transport: asyncio.Transport,
    ) -> None:
        self._content = content
        self._pieces = content._buffer  # noqa: SLF001
        self._protocol = protocol
        self._transport = transport
        self._is_lost = False
        self._is_paused = False
        self._parse = protocol.data_received

    def open(self, on_read: Callable[[], None]) -> None:
        """Call a function after every read, and when the connection is lost."""
        self._on_read = on_read
        self._content.__class__ = _Content
        self._protocol.read_timeout = None
        self._protocol.start_timeout()  # which ends the one that runs
        self._transport.set_protocol(self)
        # With a head that came with much of the body, aiohttp may have stopped reading and parsing.
        self._protocol.resume_reading()

    def close(self) -> None:
        """Leave the connection as it was."""
        self.resume()
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._protocol)

    def take(self) -> bytes:
        """Take what has come of the body."""
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces.popleft()
        data = b"".join(pieces)
        pieces.clear()
        return data

    def is_over(self) -> bool:
        """Tell whether nothing more will come. Raises why, if the answer is not complete."""
        content = self._content
        if content._exception is not None:  # noqa: SLF001
            raise content._exception  # noqa: SLF001
        if self._is_lost and not content._eof:  # noqa: SLF001
            # On broken chunked framing, aiohttp's compiled parser closes the connection, and tells
            # the reader nothing.
            raise aiohttp.ClientPayloadError("the connection was lost")
        return content._eof  # noqa: SLF001

    def pause(self) -> None:
        """Read nothing more, until `resume`."""
        if not (self._is_paused or self._content.is_eof() or self._transport.is_closing()):
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # --- what the connection calls ---

    def data_received(self, data: bytes) -> None:
        """Let aiohttp parse what was read, then say that it is there."""
        self._parse(data)
        self._on_read()

    def eof_received(self) -> None:
        """Tell aiohttp that the upstream writes no more."""
        self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell aiohttp, then say that nothing more will come."""
        self._is_lost = True
        self._protocol.connection_lost(error)
        self._on_read()

    def pause_writing(self) -> None:
        """Tell aiohttp that the upstream does not take what is written."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell aiohttp that it does again."""
        self._protocol.resume_writing()


def tap(response: aiohttp.ClientResponse) -> Tap | None:
    """Tap the connection of a response; None if that is not possible.

    It is not possible for a body that is there already, or that aiohttp decompresses: of a few
    bytes it could make more than fits in memory, and bounds it where its own readers take it.
    """
    content, connection = response.content, response.connection
    if connection is None or type(content) is not aiohttp.StreamReader or is_decoded(response):
        return None
    protocol, transport = connection.protocol, connection.transport
    if type(protocol) is not ResponseHandler or transport is None:
        return None
    if transport.get_protocol() is not protocol:
        return None
    return Tap(content, protocol, transport)
