"""Reads the body of an SDK's stream: what the drop-ins for openai-python and anthropic share.

In:  the reads of a response's body, as the SDK's own stream gets them from httpx.
Out: the chunks of a family, and the SDK's errors in the place of fastchunk's.
Cost: that of `ChunkStream`; a generator's step for each read, and one for each chunk.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

from fastchunk.errors import FastchunkError, TruncatedStream, UpstreamError
from fastchunk.stream import ChunkStream, Family

__all__ = ["BodyReader", "MakeError"]

C = TypeVar("C")
MakeError: TypeAlias = Callable[[UpstreamError, Any], Exception | None]
"""Makes the SDK's error of an error in the stream, given the chunk that came before it, or None;
None if the SDK raises none there."""


class BodyReader(Generic[C]):
    """Makes chunks of a body's reads; it has the methods of an SDK's decoder of events."""

    def __init__(
        self, family: Family[C], max_event_size: int, make_error: MakeError, *, until_done: bool
    ) -> None:
        """Take also whether a body is left where its stream says that it is done.

        A body that is read to its end leaves its connection for the next request.
        """
        self.stream: ChunkStream[C] = ChunkStream(family, max_event_size=max_event_size)
        self._make_error = make_error
        self._until_done = until_done

    @property
    def is_at_end(self) -> bool:
        """Whether the rest of the body is not to be read."""
        return self._until_done and self.stream.done

    def iter_bytes(self, reads: Iterable[bytes]) -> Iterator[Iterable[C]]:
        """Yield the chunks of each read."""
        stream = self.stream
        for data in reads:
            items: Any = stream.take(data)
            yield self._raising(items) if stream.faulty else items

    async def aiter_bytes(self, reads: AsyncIterable[bytes]) -> AsyncIterator[Iterable[C]]:
        """Do what `iter_bytes` does, for an asynchronous iterable."""
        stream = self.stream
        async for data in reads:
            items: Any = stream.take(data)
            yield self._raising(items) if stream.faulty else items

    def end(self) -> Iterator[C]:
        """Return the chunk at the body's end that lacked its empty line, if there is one."""
        return self._raising(self.stream.end())

    def _raising(self, items: Iterable[C | FastchunkError]) -> Iterator[C]:
        before: C | None = None
        for item in items:
            if isinstance(item, UpstreamError):
                error = self._make_error(item, before)
                if error is not None:
                    raise error from item
            elif not isinstance(item, FastchunkError):
                yield item
                before = item
            # The SDKs end where the body does, complete or not; `stream.truncated` tells.
            elif not isinstance(item, TruncatedStream):
                raise item
