r"""One stream, block by block, with the place of each in the input and what is wrong with it.

In:  what was read, cut anywhere.
Out: items: a block, its event's number, its chunk, its fault; at the end a fault if the stream is
truncated.
Cost: that of framing and one decode; held is only what is unfinished.

    >>> reading = Reading()
    >>> for item in reading.items([b'data: {"choices":[]}\n\ndata: {', b"\n\n"]):
    ...     print(item.event, item.offset, item.fault)
    1 0 None
    2 22 not a JSON document: Input data was truncated
    None 31 the stream ended before it was complete
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastchunk.errors import EventTooLarge, FastchunkError, TruncatedStream, UpstreamError
from fastchunk.sse import BlockParser, BlockSplitter, blocks, parse_block
from fastchunk.stream import Observer, is_whole
from fastchunk.wire import ChatCompletionStreamResponse as Chunk

__all__ = ["Item", "Reading"]


class Item(NamedTuple):
    """A block of the input; or what is wrong where no block is."""

    offset: int
    """Where in the input it begins, in bytes."""
    event: int | None = None
    """The number of the event that it dispatches, from 1; None if it dispatches none."""
    block: bytes = b""
    data: bytes | None = None
    chunk: Chunk | None = None
    fault: FastchunkError | None = None

    @property
    def place(self) -> str:
        """Say where in the stream it is."""
        event = "" if self.event is None else f"event {self.event}, "
        return f"{event}byte {self.offset}"


class Reading:
    """Reads one stream. What comes after `[DONE]` is framed, but not decoded."""

    def __init__(self) -> None:
        self.seen = Observer()
        """What the stream has said so far."""
        self.events = 0
        self.size = 0
        """How many bytes the blocks so far have."""
        self.truncated = False
        self.unfinished = b""
        """The block at the end that lacks its empty line; it may be an event all the same."""
        self._splitter = BlockSplitter()
        self._parser = BlockParser()

    @property
    def how_it_ended(self) -> str:
        """Say how the stream ended, once it has."""
        if self.truncated:
            return "truncated"
        done = "[DONE]" if self.seen.done else "without [DONE]"
        return done if self.seen.error is None else f"an error, {done}"

    def items(self, reads: Iterable[bytes]) -> Iterator[Item]:
        """Yield every block as soon as it is whole; at the end, the stream's own fault."""
        try:
            for data in reads:
                yield from map(self._item, blocks(self._splitter.feed(data)))
            whole, self.unfinished = self._splitter.close()
        except EventTooLarge as fault:
            self.truncated = True
            yield Item(self.size, fault=fault)
            return
        yield from map(self._item, blocks(whole))
        if self.unfinished:
            yield from self._last_items(self.unfinished)
        elif not self.seen.complete:
            yield self._cut(b"")

    def _last_items(self, rest: bytes) -> Iterator[Item]:
        """Take the block at the end that lacks its empty line for an event, if it is all of one."""
        if is_whole(parse_block(self._parser.without_bom(rest)).data or b""):
            yield self._item(rest)
            if not self.seen.complete:
                yield self._cut(b"")
        elif self.seen.done:
            yield Item(self.size, block=rest)
        else:
            yield self._cut(rest)

    def _cut(self, rest: bytes) -> Item:
        self.truncated = True
        return Item(self.size, fault=_truncated(rest))

    def _item(self, block: bytes) -> Item:
        offset, seen = self.size, self.seen
        self.size += len(block)
        fields = self._parser.parse(block)
        if fields.data is None:
            return Item(offset, None, block)
        self.events += 1
        if seen.done:
            return Item(offset, self.events, block, fields.data)
        before = seen.invalid, seen.error
        chunk = seen.observe(fields.data, fields.event)
        fault: FastchunkError | None = None
        if seen.invalid > before[0]:
            fault = seen.why_invalid
        elif seen.error is not before[1]:
            fault = UpstreamError(seen.error)
        return Item(offset, self.events, block, fields.data, chunk, fault)


def _truncated(rest: bytes) -> TruncatedStream:
    if not rest:
        return TruncatedStream("the stream ended before it was complete")
    begin = rest[:100].decode(errors="backslashreplace")
    return TruncatedStream(f"the stream ended in the middle of an event: {begin}", rest)
