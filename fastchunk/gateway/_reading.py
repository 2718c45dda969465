"""The body of an answer, read piece by piece.

In:  a response, its head received, and who takes what is read.
Out: every piece, in order. Those that come while one is at work wait for it, and then nothing more
is read from the upstream: so a slow client slows the upstream down.

`InCallbacks` is the quick way, and `InTask` the one that always works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

import aiohttp

from ._tap import Tap, tap
from ._upstream import watch_connection
from ._visit import Visitor

__all__ = ["InCallbacks", "InTask", "Reading", "Taker", "open_reading"]


class Taker(Protocol):
    """Takes a body."""

    is_served: bool
    """Whether it takes no more."""

    def take(self, data: bytes, /) -> Awaitable[None] | None:
        """Take a piece; return the work that it makes, None if it makes none. Raises nothing."""


class Reading(Protocol):
    """A body that is being read."""

    @property
    def is_at_work(self) -> bool:
        """Whether the work that a piece makes is not yet done."""

    async def run(self) -> None:
        """Read to the end, or until the taker is served. Raises `READ_ERRORS`."""


def open_reading(response: aiohttp.ClientResponse, taker: Taker) -> Reading:
    """Choose how to read a body."""
    tapped = tap(response)
    return InTask(response, taker) if tapped is None else InCallbacks(tapped, taker)


class InTask:
    """Reads as aiohttp offers it: the task waits for each piece, and does its work."""

    def __init__(self, response: aiohttp.ClientResponse, taker: Taker) -> None:
        self.is_at_work = False
        self._response = response
        self._taker = taker

    async def run(self) -> None:
        """Read to the end, or until the taker is served. Raises `READ_ERRORS`."""
        read, taker = self._response.content.readany, self._taker
        with watch_connection(self._response):
            while not taker.is_served and (data := await read()):
                work = taker.take(data)
                if work is not None:
                    self.is_at_work = True
                    await work
                    self.is_at_work = False


class InCallbacks:
    """Does the work of a piece in the callback in which the piece is read, while the task waits.

    It is the task's turn when work cannot be done at once, and at the end.
    """

    def __init__(self, tapped: Tap, taker: Taker) -> None:
        self._tap = tapped
        self._taker = taker
        self._turn: asyncio.Future[Awaitable[None] | None] | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether the work that a piece makes is not yet done."""
        return self._turn is None or self._turn.done()

    async def run(self) -> None:
        """Read to the end, or until the taker is served. Raises `READ_ERRORS`."""
        loop = asyncio.get_running_loop()
        self._visitor = Visitor()
        self._tap.open(self._on_read)
        try:
            while not await self._catch_up():
                self._turn = loop.create_future()
                self._tap.resume()
                rest = await self._turn
                if rest is not None:
                    await rest
        finally:
            self._turn = None
            self._tap.close()

    async def _catch_up(self) -> bool:
        """Do the work of what has come during the task's turn; tell whether that was all."""
        while not self._taker.is_served and (data := self._tap.take()):
            work = self._taker.take(data)
            if work is not None:
                await work
        return self._taker.is_served or self._tap.is_over()

    def _on_read(self) -> None:
        turn, taker = self._turn, self._taker
        if turn is None or turn.done():
            self._tap.pause()
            return
        rest = None
        try:
            if data := self._tap.take():
                work = taker.take(data)
                if work is not None:
                    rest = self._visitor.begin(work)
            is_over = rest is not None or taker.is_served or self._tap.is_over()
            if is_over and not turn.done():  # the work may have cancelled the task
                turn.set_result(rest)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            if not turn.done():
                turn.set_exception(error)
