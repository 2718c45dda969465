"""A look at every open stream, about once a second.

In:  streams, while they run.
Out: calls of their `look`.
Cost: one timer for all streams. None has to be set for a read, and none for a write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ._failure import Failure

__all__ = ["Watch"]


class Watched(Protocol):
    """A stream that runs."""

    def look(self, now: float) -> None:
        """Notice what has not happened; `now` is the event loop's time."""

    def fail(self, failure: Failure) -> None:
        """End, with an error event."""


class Watch:
    """Looks at streams every `interval` seconds, while there are any."""

    def __init__(self, interval: float) -> None:
        self.streams: set[Watched] = set()
        """Those that run."""
        self.interval = interval
        """The seconds between two looks."""
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def over(self, stream: Watched) -> Iterator[None]:
        """Look at a stream while it runs."""
        self.streams.add(stream)
        if self._timer is None:
            self._set_timer()
        try:
            yield
        finally:
            self.streams.discard(stream)
            if not self.streams and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.interval, self._look)

    def _look(self) -> None:
        self._set_timer()
        now = asyncio.get_running_loop().time()
        for stream in [*self.streams]:
            stream.look(now)
