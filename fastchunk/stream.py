r"""From reads to chunks, and what a stream has said so far.

In:  the bytes of a stream of server-sent events, cut anywhere.
Out: the chunks of the family asked for, in order; and whether the stream is done, failed or
truncated.
Cost: that of framing and of one decode an event; the mirror decodes what `Facts` need once more.

A read takes one way: the splitter holds back what is unfinished, whole blocks are cut into events,
each event is decoded once, and the observer takes note of what it says.

    >>> from fastchunk import wire
    >>> stream = ChunkStream(wire)
    >>> [chunk.model for chunk in stream.feed(b'data: {"model":"m","choices":[]}\n\ndata: [DO')]
    ['m']
    >>> stream.feed(b"NE]\n\n"), stream.close(), stream.done, stream.truncated
    ([], [], True, False)
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar, overload

import msgspec

from . import wire
from ._scan_py import raising
from .dialect import Dialect
from .dialects import chat, dialect_of
from .errors import EventTooLarge, FastchunkError, InvalidChunk, TruncatedStream, UpstreamError
from .scan import Reader, Tally, cut_plain, iterate
from .sse import BOM, DONE, MAX_EVENT_SIZE, BlockSplitter, block_at, parse_block

__all__ = [
    "UNREADABLE",
    "ChunkStream",
    "Declining",
    "Family",
    "Intake",
    "Observer",
    "Taker",
    "aiter_chunks",
    "is_complete",
    "iter_chunks",
]

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
Chunk = wire.ChatCompletionStreamResponse

UNREADABLE: Final = chat.Facts()
"""In place of facts: those of a chunk event in which a value has not the shape that it must."""

_SHOWN = 256  # bytes of a body that is not an event stream
_FIELD = re.compile(rb"(?m)^(?:data|event|id|retry)?:")


class Family(Protocol[C_co]):
    """A module with Structs and a `decode`, such as `fastchunk.wire` or `fastchunk.models`."""

    @property
    def decode(self) -> Callable[[bytes], C_co]:
        """The family's decode function."""


class Observer(Tally):
    """Keeps count of a stream's events and of what they say; relays and chunk streams share it."""

    chunks: int
    others: int

    def __init__(self, dialect: Dialect = chat.DIALECT) -> None:
        super().__init__()
        self.invalid: int = 0
        self.error: Any = None
        self.faults: list[FastchunkError] = []
        """What iterators raise, in order; whoever reads them empties the list."""
        self.last: Any = None
        """The last event's facts, if another one with the same facts says the same."""
        self._dialect = dialect

    @property
    def events(self) -> int:
        """How many events came."""
        return self.chunks + self.others

    @property
    def usage(self) -> Any:
        """The latest usage, in a Struct of the caller's own."""
        if self.usage_data is None:
            return None
        try:
            return self._dialect.decode_usage(self.usage_data)
        except InvalidChunk:  # a number that no float can hold
            return None

    @property
    def complete(self) -> bool:
        """Whether the stream may end here: done, failed, or with every choice finished."""
        finished = self.indexes and self.indexes <= self.finish_reasons.keys()
        return self.done or self.error is not None or bool(finished)

    def observe(self, data: bytes, event: str = "message") -> Any:
        """Take note of one event; return its facts, or None if it is no chunk event.

        Returns `UNREADABLE` for a chunk event whose facts could not be decoded.
        """
        self.last = None
        if data == DONE:
            self.others += 1
            self.done = True
            return None
        try:
            facts = self._dialect.decode_facts(data)
        except InvalidChunk as refused:
            return self._observe_undecodable(data, event, refused)
        error = self._dialect.find_error(facts)
        if error is not None:
            self._fail(error, data)
        if self._dialect.note(facts, self):
            self.last = facts if error is None else None
            return facts
        self.others += 1
        if event == "error" and error is None:
            self._fail(_parsed(data), data)
        elif error is None:
            self.last = facts
        return None

    def retract(self, error: InvalidChunk) -> None:
        """Count the last chunk as an event that could not be decoded after all."""
        self.chunks -= 1
        self.others += 1
        self.last = None
        self._refuse(error)

    def _refuse(self, error: InvalidChunk) -> None:
        self.invalid += 1
        self.faults.append(error)

    def _fail(self, error: Any, data: bytes) -> None:
        self.error = error
        self.faults.append(UpstreamError(error, data))

    def _observe_undecodable(self, data: bytes, event: str, error: InvalidChunk) -> Any:
        self.others += 1
        if event == "error":
            self._fail(data.decode(errors="replace"), data)
        elif data.strip() != b"null":
            self._refuse(error)
        return UNREADABLE if self._dialect.is_chunk(data) else None


def _parsed(data: bytes) -> Any:
    """Parse the object that an error event carries; its text, where it holds what is no JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return data.decode(errors="replace")


def is_complete(data: bytes, dialect: Dialect) -> bool:
    """Tell whether an unfinished block's data is all of a chunk, or `[DONE]`."""
    if data == DONE:
        return True
    try:
        dialect.decode(data)
        return dialect.note(dialect.decode_facts(data), Tally())
    except InvalidChunk:
        return False


class Taker(Protocol[M_co]):
    """Takes reads of whole events of the usual shape, and leaves what asks for a decision."""

    ready: bool
    """Whether a read begins with a block."""

    @property
    def feed(self) -> Callable[[Any], M_co | None]:
        """Take a read; return what was made of it, or None if some of it is for `rest`."""

    def rest(self) -> tuple[M_co, int]:
        """Return what was made of the beginning of that read, and how many bytes it has."""


class Intake(Generic[M]):
    """The one way of a read: to a taker at once, or cut into whole blocks for its caller."""

    def __init__(self, taker: Taker[M], max_event_size: int) -> None:
        self.take: Callable[[Any], M | None] = taker.feed
        """What every read is given to first."""
        self.begun: bool = False
        """Whether there was a read."""
        self._taker = taker
        self._splitter = BlockSplitter(max_event_size)

    def begin(self, data: bytes | bytearray | memoryview) -> M | None:
        """Let the taker have a stream's first read; return None if it leaves some of it."""
        self.begun = True
        if not data:
            return None
        self._taker.ready = True
        made = self.take(data)
        if made is not None:
            self._splitter.start()
        return made

    def cut(self, data: bytes | bytearray | memoryview) -> tuple[M, bytes]:
        """Return what the taker has made of a read that it did not take, and the whole blocks.

        Raises `EventTooLarge`; where the taker has made something, the next call raises it.
        """
        made, at = self._taker.rest()
        if at:
            self._splitter.start()
        try:
            return made, self._splitter.feed(data[at:] if at else data)
        except EventTooLarge:
            if not at:
                raise
            return made, b""

    def settle(self, *, usable: bool) -> None:
        """Let the taker have the next read, if it is usable and nothing is pending here."""
        self._taker.ready = usable and self._splitter.idle

    def close(self) -> tuple[bytes, bytes]:
        """End the stream; return the block that its end completes, and the unfinished one."""
        return self._splitter.close()


class Declining(Generic[M]):
    """A taker that leaves everything to its caller."""

    def __init__(self, nothing: Callable[[], M]) -> None:
        """Take what makes what stands for nothing."""
        self.ready = False
        self._nothing = nothing

    def feed(self, _data: object) -> M | None:
        """Leave a read."""
        return None

    def rest(self) -> tuple[M, int]:
        """Return that nothing was made of it."""
        return self._nothing(), 0

    def forward(self, _whole: bytes, begin: int) -> tuple[M, int]:
        """Leave what begins there."""
        return self._nothing(), begin

    def learn(self, *_: object) -> None:
        """Learn nothing."""


class ChunkStream(Generic[C]):
    """Bytes in, chunks out. One object, one stream, one thread."""

    def __init__(self, family: Family[C], *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        """Take the family of the chunks, and the largest size of an event in bytes.

        Raises `TypeError` for what is no family.
        """
        self.truncated: bool = False
        """Whether the stream stopped before it was complete; known after `close`."""
        self.faulty: bool = False
        """Whether there are errors among what `take` has returned last."""
        max_event_size = min(max_event_size, sys.maxsize)  # which is as good as no limit
        self._dialect = dialect = dialect_of(family)
        self._decode: Callable[[bytes], C] = family.decode
        self._seen = Observer(dialect)
        self._reader: Reader | None = None
        decode_utf8 = getattr(family, "decode_utf8", None)
        if decode_utf8 is not None:  # the family's chunks say what has to be known of an event
            self._reader = Reader(decode_utf8, self._seen, max_event_size, dialect.notes)
        self._taker: Reader | Declining[list[Any]] = self._reader or Declining(list)
        self._intake: Intake[list[Any]] = Intake(self._taker, max_event_size)
        self._take_quickly = self._intake.take
        self._beginning = b""  # of a stream that has had no event yet

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is done; what comes then is not looked at."""
        return self._seen.done

    @property
    def error(self) -> Any:
        """The server's error object, or the text of its error event; None if it sent none."""
        return self._seen.error

    @property
    def invalid(self) -> int:
        """How many events could not be decoded; the chunks around them are delivered."""
        return self._seen.invalid

    def feed(self, data: bytes | bytearray | memoryview) -> list[C]:
        """Take the next bytes of the stream; return the chunks that they complete.

        Raises `EventTooLarge` as `EventDecoder.feed` does.
        """
        return list(_without_errors(self.take(data)))

    def close(self) -> list[C]:
        """End the stream; return the chunk at its end that lacked its empty line, if there is one.

        Sets `truncated`.
        """
        return list(_without_errors(self.end()))

    def take(self, data: bytes | bytearray | memoryview) -> list[C | FastchunkError]:
        """Do what `feed` does, and return in their places the errors that iterators raise."""
        items = self._take_quickly(data)
        if items is None:
            return self._take(data)
        self.faulty = False
        return items

    def _take(self, data: bytes | bytearray | memoryview) -> list[C | FastchunkError]:
        """Take a read that was not taken quickly, or only up to some place in it."""
        items = None if self._intake.begun else self._intake.begin(data)
        if items is None:
            items, whole = self._intake.cut(data)
            if whole:
                self._take_blocks(whole, items)
        if not self._seen.events and len(self._beginning) < _SHOWN:
            self._beginning += bytes(data[:_SHOWN])
        # Up to the first event, how the stream begins is kept.
        self._intake.settle(usable=self._seen.events > 0 and not self._seen.done)
        self.faulty = any(isinstance(item, FastchunkError) for item in items)
        return items

    def end(self) -> list[C | FastchunkError]:
        """Do what `close` does, and return the error that iterators raise."""
        items: list[C | FastchunkError] = []
        whole, rest = self._intake.close()
        self._take_blocks(whole, items)
        if rest:
            fields = parse_block(rest)
            if fields.data is not None and is_complete(fields.data, self._dialect):
                self._take_event(fields.data, fields.event, items)
                rest = b""
        self.truncated = bool(rest) or not self._seen.complete
        if self.truncated and not self.done:
            items.append(self._truncation(rest))
        return items

    def _truncation(self, rest: bytes) -> TruncatedStream:
        beginning = self._beginning.removeprefix(BOM)
        if self._seen.events or _FIELD.search(beginning) or _FIELD.search(rest):
            return TruncatedStream("the stream stopped before it was complete", rest)
        if not beginning:
            return TruncatedStream("the stream is empty")
        shown = repr(beginning[:_SHOWN])[1:]
        return TruncatedStream(f"the body is not an event stream: it begins with {shown}", rest)

    def _take_blocks(self, whole: bytes, items: list[C | FastchunkError]) -> None:
        """Go through whole blocks; let the reader take what it can, and the rest one by one."""
        plain = cut_plain(whole) if self._reader is None else None
        if plain is not None:
            for data in plain[0]:
                self._take_event(data, "message", items)
            return
        at = 0
        while at < len(whole) and not self._seen.done:
            chunks, at = self._taker.forward(whole, at)
            items += chunks
            if at == len(whole):
                break
            block = block_at(whole, at)
            fields = parse_block(block)
            if fields.data is not None:
                self._take_event(fields.data, fields.event, items)
            at += len(block)

    def _take_event(self, data: bytes, event: str, items: list[C | FastchunkError]) -> None:
        seen = self._seen
        if seen.done:
            return
        chunk: Any = None
        if self._reader is not None and event != "error":
            chunk = self._reader.read(data)
        if chunk is None and seen.observe(data, event) not in (None, UNREADABLE):
            try:
                chunk = self._decode(data)
            except InvalidChunk as error:
                seen.retract(error)
        if chunk is not None:
            items.append(chunk)
        if seen.faults:
            items += seen.faults
            seen.faults.clear()


@overload
def iter_chunks(iterable: Iterable[bytes], *, max_event_size: int = ...) -> Iterator[Chunk]: ...
@overload
def iter_chunks(
    iterable: Iterable[bytes], family: Family[C], *, max_event_size: int = ...
) -> Iterator[C]: ...
def iter_chunks(
    iterable: Iterable[bytes], family: Family[Any] = wire, *, max_event_size: int = MAX_EVENT_SIZE
) -> Iterator[Any]:
    """Iterate over every chunk of a stream of bytes, up to `[DONE]`.

    Raises `TypeError` for what is no family; and in the iteration `InvalidChunk` at an event that
    cannot be decoded, `UpstreamError` at an error event, `TruncatedStream` where the stream stops
    before it is complete, `EventTooLarge`; and what the iterable raises.
    """
    stream: ChunkStream[Any] = ChunkStream(family, max_event_size=max_event_size)
    reader, take, end, seen = stream._reader, stream._take, stream.end, stream._seen  # noqa: SLF001
    return iterate(iter(iterable), reader, take, end, seen)


@overload
def aiter_chunks(
    iterable: AsyncIterable[bytes], *, max_event_size: int = ...
) -> AsyncIterator[Chunk]: ...
@overload
def aiter_chunks(
    iterable: AsyncIterable[bytes], family: Family[C], *, max_event_size: int = ...
) -> AsyncIterator[C]: ...
async def aiter_chunks(
    iterable: AsyncIterable[bytes],
    family: Family[Any] = wire,
    *,
    max_event_size: int = MAX_EVENT_SIZE,
) -> AsyncIterator[Any]:
    """Do what `iter_chunks` does, for an asynchronous iterable."""
    stream: ChunkStream[Any] = ChunkStream(family, max_event_size=max_event_size)
    async for data in iterable:
        items = stream.take(data)
        for chunk in raising(items) if stream.faulty else items:
            yield chunk
        if stream.done:
            return
    for chunk in raising(stream.end()):
        yield chunk


def _without_errors(items: Iterable[C | FastchunkError]) -> Iterator[C]:
    return (item for item in items if not isinstance(item, FastchunkError))
