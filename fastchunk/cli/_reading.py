r"""One stream, block by block: where each block lies in the input, and what is wrong with it.

In:  what was read, cut anywhere.
Out: items: a block, its event's number, its chunk, its fault; at the end a fault if the stream is
truncated.
Cost: framing, and one decode an event. Memory holds the unfinished block and the beginning of the
input.

Whether the stream is done, truncated or invalid is not decided here: `ChunkStream` reads it, one
block at a time, and what it returns for a block belongs to that block's place.

    >>> reading = Reading()
    >>> for item in reading.items([b'data: {"choices":[]}\n\ndata: {', b"\n\n"]):
    ...     print(item.event, item.offset, item.fault and item.fault.message)
    1 0 None
    2 22 not a JSON document: Input data was truncated
    None 31 the stream stopped before it was complete
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fastchunk import (
    ChunkStream,
    Event,
    EventDecoder,
    EventTooLarge,
    FastchunkError,
    InvalidChunk,
    TruncatedStream,
)
from fastchunk.sse import BOM, MAX_EVENT_SIZE, BlockSplitter, blocks, parse_block

from ._family import CHAT, Kind, recognise
from ._faults import Fault, describe_error, describe_foreign

__all__ = ["FIELD_NAMES", "Item", "Reading", "format_place", "split_lines"]

FIELD_NAMES = {b"data", b"event", b"id", b"retry"}
"""The fields that a line of an event can be (WHATWG HTML, 9.2.6)."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_EMPTY_LINE = b"\n\n"  # with the end of the line before it
# Error bodies are far smaller; of anything larger, the first bytes are all that is shown.
_MAX_BEGINNING = 65536


class Item(NamedTuple):
    """A block of the input; or what is wrong at a place where there is no block."""

    offset: int
    """Where in the input it begins, in bytes."""
    event: int | None = None
    """The number of the event that it dispatches, from 1; None if it dispatches none."""
    block: bytes = b""
    data: bytes | None = None
    """The event's data; None if there is no event."""
    chunk: Any = None
    """A Struct of the stream's family; None if the event is no chunk."""
    fault: Fault | None = None
    unfinished: bool = False
    """Whether the input ended before the block's empty line."""


class Reading:
    """Reads one stream. What follows its end is framed but not decoded."""

    def __init__(self) -> None:
        self.kind: Kind = CHAT
        """What kind of stream it is; chat's, until an event says otherwise."""
        self.stream: ChunkStream[Any] = ChunkStream(CHAT.family)
        """What the stream has said so far: whether it is done, and its error."""
        self.invalid = 0
        """How many events could not be decoded."""
        self._recognised = False
        self.events = 0
        self.size = 0
        """How many bytes the blocks so far have."""
        self.truncated = False
        """Whether the stream ended before it was complete; known at the end."""
        self._splitter = BlockSplitter()
        # The last block may be as large as any, and gets the empty line that it lacks.
        self._decoder = EventDecoder(max_event_size=MAX_EVENT_SIZE + len(_EMPTY_LINE))
        self._beginning = b""

    def items(self, reads: Iterable[bytes]) -> Iterator[Item]:
        """Yield every block as soon as it is complete; at the end, the stream's own fault."""
        try:
            for data in reads:
                self._beginning += data[: _MAX_BEGINNING - len(self._beginning)]
                yield from map(self._take, self._cut(self._splitter.feed(data)))
            completed, rest = self._splitter.close()
        except EventTooLarge as error:
            yield self._fail(error)
            return
        yield from map(self._take, self._cut(completed))
        if rest and not self.size and self._beginning.startswith(BOM):
            rest = BOM + rest
        yield from self._end(rest)

    def _cut(self, whole: bytes) -> list[bytes]:
        """Cut whole blocks; the input's first one gets the mark back that belongs to it."""
        found = blocks(whole)
        if found and not self.size and self._beginning.startswith(BOM):
            found[0] = BOM + found[0]
        return found

    def _recognise(self, block: bytes) -> None:
        """Take note of the kind of the stream, if this block is the first one that says it."""
        data = parse_block(block.removeprefix(BOM)).data
        kind = recognise(data) if data is not None else None
        if kind is not None:
            self._recognised = True
            if kind != self.kind:
                self.kind, self.stream = kind, ChunkStream(kind.family)

    def _take(self, block: bytes) -> Item:
        lines = _end_lines_with_lf(block)
        if not self._recognised:
            self._recognise(lines)
        return self._item(block, self._decoder.feed(lines), self.stream.take(lines))

    def _end(self, rest: bytes) -> Iterator[Item]:
        """End the stream, whose last block may be an event although it lacks its empty line."""
        lines, was_done = _end_lines_with_lf(rest), self.stream.done
        if not self._recognised:
            self._recognise(lines)
        found = self.stream.take(lines) + self.stream.end()
        cut = next((error for error in found if isinstance(error, TruncatedStream)), None)
        if rest and (cut is None or not cut.data):
            # The stream took the rest for an event, unless it was done: then nothing is one.
            events = [] if was_done else self._decoder.feed(lines + _EMPTY_LINE)
            found = [one for one in found if one is not cut]
            yield self._item(rest, events, found)._replace(unfinished=True)
        if cut is not None:
            yield self._fail(cut)

    def _fail(self, error: FastchunkError) -> Item:
        """Describe the error that the stream ends with, at the place where it ends."""
        self.truncated = not self.stream.done
        if _has_fields(self._beginning):
            return Item(self.size, fault=describe_error(error))
        return Item(0, fault=describe_foreign(self._beginning))

    def _item(self, block: bytes, events: Sequence[Event], found: Iterable[Any]) -> Item:
        """Put together what one block brought: at most one event, one chunk and one error."""
        offset, number, data = self.size, None, None
        self.size += len(block)
        for event in events:
            self.events += 1
            number, data = self.events, event.data
        chunk, fault = None, None
        for one in found:
            if isinstance(one, FastchunkError):
                self.invalid += isinstance(one, InvalidChunk)
                fault = describe_error(one)
            else:
                chunk = one
        return Item(offset, number, block, data, chunk, fault)


def format_place(offset: int, event: int | None) -> str:
    """Say where in the stream something is."""
    return f"byte {offset}" if event is None else f"event {event}, byte {offset}"


def split_lines(block: bytes) -> list[bytes]:
    """Split a block into its lines, as WHATWG HTML 9.2.6 ends them."""
    return _LINE_END.split(block)


def _end_lines_with_lf(block: bytes) -> bytes:
    """Write a block's line ends as LF, which changes no event.

    A block that ends with a CR would otherwise wait for the next one, which might begin with the
    LF of a CRLF, and its event would be found in the wrong place.
    """
    return _LINE_END.sub(b"\n", block) if b"\r" in block else block


def _has_fields(beginning: bytes) -> bool:
    """Tell whether any line is a comment or a field of an event."""
    lines = split_lines(beginning.removeprefix(BOM))
    return any(line[:1] == b":" or line.partition(b":")[0] in FIELD_NAMES for line in lines)
