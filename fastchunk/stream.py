r"""From reads to chunks, and what a stream has said so far.

In:  the bytes of a stream of server-sent events, cut anywhere.
Out: the chunks of the family asked for, in order; and whether the stream is done, failed or
truncated.
Cost: that of framing and of one decode an event, two with the mirror; less for a stream that
repeats itself, as `_template` explains.

    >>> from fastchunk import wire
    >>> stream = ChunkStream(wire)
    >>> [chunk.model for chunk in stream.feed(b'data: {"model":"m","choices":[]}\n\ndata: [DO')]
    ['m']
    >>> stream.feed(b"NE]\n\n"), stream.close(), stream.done, stream.truncated
    ([], [], True, False)
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from copy import copy, deepcopy
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, overload

import msgspec
from msgspec import UNSET

from . import wire
from ._learner import Learner
from ._template import MOST_RESTS, taker
from .errors import FastchunkError, InvalidChunk, TruncatedStream, UpstreamError
from .sse import DONE, MAX_EVENT_SIZE, BlockParser, BlockSplitter, blocks, plain_data

__all__ = ["ChunkStream", "Family", "Observer", "aiter_chunks", "iter_chunks"]

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
Chunk = wire.ChatCompletionStreamResponse


class Family(Protocol[C_co]):
    """A module with Structs and a `decode`: `fastchunk.models` or `fastchunk.wire`."""

    @property
    def decode(self) -> Callable[[bytes], C_co]:
        """The family's decode function."""


class Observer:
    """Keeps count of a stream's events and of what they say; relays and chunk streams share it."""

    def __init__(self) -> None:
        self.chunks = 0
        self.others = 0
        """Events that were no chunks."""
        self.invalid = 0
        self.why_invalid: InvalidChunk | None = None
        self.done = False
        self.error: Any = None
        self.usage: wire.UsageInfo | None = None
        self.finish_reasons: dict[int, str] = {}
        self._choices: set[int] = set()

    @property
    def events(self) -> int:
        """How many events came."""
        return self.chunks + self.others

    @property
    def complete(self) -> bool:
        """Whether the stream may end here: done, failed, or with every choice finished."""
        finished = self._choices and self._choices <= self.finish_reasons.keys()
        return self.done or self.error is not None or bool(finished)

    def observe(self, data: bytes, event: str = "message") -> Chunk | None:
        """Take note of one event; return its chunk, or None if it is no chunk event."""
        if data == DONE:
            self.others += 1
            self.done = True
            return None
        try:
            chunk = wire.decode(data)
        except InvalidChunk as error:
            self.others += 1
            self._observe_undecodable(data, event, error)
            return None
        if self._observe_decoded(chunk):
            return chunk
        if event == "error" and chunk.error in (UNSET, None):
            self.error = _parsed(data)
        return None

    def observe_utf8(self, data: bytes) -> Chunk | None:
        """Do what `observe` does, for the data of a message that is known to be UTF-8: cheaper."""
        try:
            chunk = wire.decode_utf8(data)
        except (msgspec.DecodeError, RecursionError):
            return self.observe(data)
        return chunk if self._observe_decoded(chunk) else None

    def take_back(self, error: InvalidChunk) -> None:
        """Count the last chunk as an event that could not be decoded after all."""
        self.chunks -= 1
        self.others += 1
        self.invalid += 1
        self.why_invalid = error

    def _observe_decoded(self, chunk: Chunk) -> bool:
        """Take note of an event that was decoded; tell whether it is a chunk event."""
        choices = chunk.choices
        is_chunk = choices is not UNSET or chunk.object == "chat.completion.chunk"
        if is_chunk:
            self.chunks += 1
        else:
            self.others += 1
        if choices:
            known = self._choices
            for choice in choices:
                if choice.finish_reason or choice.index not in known:
                    self._observe_choices(choices)
                    break
        if chunk.usage and is_chunk:
            self.usage = _own_usage(chunk.usage)
        if chunk.error is not UNSET and chunk.error is not None:
            self.error = _own_error(chunk.error)
        return is_chunk

    def _observe_undecodable(self, data: bytes, event: str, error: InvalidChunk) -> None:
        if event == "error":
            self.error = data.decode(errors="replace")
        elif data.strip() != b"null":
            self.invalid += 1
            self.why_invalid = error

    def _observe_choices(self, choices: list[wire.ChatCompletionResponseStreamChoice]) -> None:
        for position, choice in enumerate(choices):
            index = choice.index if isinstance(choice.index, int) else position
            self._choices.add(index)
            if choice.finish_reason:
                self.finish_reasons[index] = choice.finish_reason


def _own_usage(usage: wire.UsageInfo) -> wire.UsageInfo:
    """Copy a usage: whoever gets the chunk may change it."""
    own = copy(usage)
    own.prompt_tokens_details = copy(usage.prompt_tokens_details)
    own.completion_tokens_details = copy(usage.completion_tokens_details)
    return own


def _own_error(error: Any) -> Any:
    """Copy an error; where it is nested too deeply for that, it is shared with its chunk."""
    try:
        return deepcopy(error)
    except RecursionError:
        return error


def _parsed(data: bytes) -> Any:
    """Parse the object that an error event carries; its text, where it holds what is no JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return data.decode(errors="replace")


class ChunkStream(Generic[C]):
    """Bytes in, chunks out. One object, one stream, one thread."""

    def __init__(self, family: Family[C], *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        """Take the family of the chunks, and the largest size of an event in bytes."""
        self.truncated = False
        """Whether the stream ended where it should not have; known after `close`."""
        self._decode = family.decode
        self._limit = max_event_size
        self._splitter = BlockSplitter(max_event_size)
        self._parser = BlockParser()
        self._seen = Observer()
        self._learner: Learner[list[C | FastchunkError]] = Learner(
            partial(taker, counts=self._seen), self._decode
        )
        # The learner's, where nothing is pending.
        self._shortcut: Callable[[bytes], list[C | FastchunkError] | None] | None = None

    @property
    def done(self) -> bool:
        """Whether `[DONE]` has come; what comes after it is not looked at."""
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
        return [item for item in self.take(data) if not isinstance(item, FastchunkError)]

    def close(self) -> list[C]:
        """End the stream; return the chunk at its end that lacked its empty line, if there is one.

        Sets `truncated`.
        """
        return [item for item in self.end() if not isinstance(item, FastchunkError)]

    def take(self, data: bytes | bytearray | memoryview) -> list[C | FastchunkError]:
        """Do what `feed` does, and return in their places the errors that iterators raise."""
        shortcut = self._shortcut
        if shortcut is not None and type(data) is bytes and len(data) <= self._limit:
            taken = shortcut(data)
            if taken is not None:
                return taken
        self._shortcut = None
        whole = self._splitter.feed(data)
        cut_out = whole is not data and not self._seen.done  # what comes after is not looked at
        items = self._learner.repeated(whole) if cut_out else None
        if items is None:
            items = self._items(whole)
        if self._splitter.idle and not self._seen.done:
            self._shortcut = self._learner.shortcut
        return items

    def end(self) -> list[C | FastchunkError]:
        """Do what `close` does, and return the error that iterators raise."""
        whole, rest = self._splitter.close()
        items = self._items(whole)
        if rest:
            fields = self._parser.parse(rest)
            if fields.data is not None and is_whole(fields.data):
                self._take_event(fields.data, fields.event, items)
                rest = b""
        self.truncated = bool(rest) or not self._seen.complete
        if self.truncated and not self.done:
            items.append(TruncatedStream("the stream ended before it was complete", rest))
        return items

    def _items(self, whole: bytes) -> list[C | FastchunkError]:
        """Go through whole blocks one by one."""
        items: list[C | FastchunkError] = []
        if not whole:
            return items
        plain, begin, rests = plain_data(whole), 0, MOST_RESTS
        if plain is None:
            for fields in map(self._parser.parse, blocks(whole)):
                if fields.data is not None:
                    self._take_event(fields.data, fields.event, items)
            return items
        self._parser.started = True
        for data in plain:
            begin += len(data) + 8
            new = self._take_event(data, "message", items)
            if new and rests:
                rests -= 1
                taken = new(whole[begin:])
                if taken is not None:
                    return items + taken
        return items

    def _take_event(
        self, data: bytes, event: str, items: list[C | FastchunkError]
    ) -> Callable[[bytes], list[C | FastchunkError] | None] | None:
        """Take one event; return a new shortcut, if there is one, to try on the rest."""
        seen = self._seen
        if seen.done:
            return None
        before = seen.invalid, seen.error
        noted = seen.observe(data, event)
        chunk: Any = noted
        if noted is not None and self._decode is not wire.decode:
            try:
                chunk = self._decode(data)
            except InvalidChunk as error:
                seen.take_back(error)
                chunk = None
        if chunk is not None:
            items.append(chunk)
        if seen.invalid > before[0] and seen.why_invalid is not None:
            items.append(seen.why_invalid)
        if seen.error is not before[1]:
            items.append(UpstreamError(seen.error))
        if chunk is None or noted is None:
            return None
        return self._learner.learn(data, noted, seen.chunks)


def is_whole(data: bytes) -> bool:
    """Tell whether an unfinished block's data is all of a chunk, or `[DONE]`."""
    probe = Observer()
    return probe.observe(data) is not None or probe.done


@overload
def iter_chunks(iterable: Iterable[bytes], *, max_event_size: int = ...) -> Iterator[Chunk]: ...
@overload
def iter_chunks(
    iterable: Iterable[bytes], family: Family[C], *, max_event_size: int = ...
) -> Iterator[C]: ...
def iter_chunks(
    iterable: Iterable[bytes], family: Family[Any] = wire, *, max_event_size: int = MAX_EVENT_SIZE
) -> Iterator[Any]:
    """Yield every chunk of a stream of bytes, up to `[DONE]`.

    Raises `InvalidChunk` at an event that cannot be decoded, `UpstreamError` at an error event,
    `TruncatedStream` at an end that is none, `EventTooLarge`; and what the iterable raises.
    """
    stream: ChunkStream[Any] = ChunkStream(family, max_event_size=max_event_size)
    for data in iterable:
        for item in stream.take(data):
            if isinstance(item, FastchunkError):
                raise item
            yield item
        if stream.done:
            return
    yield from _raising(stream.end())


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
        for chunk in _raising(stream.take(data)):
            yield chunk
        if stream.done:
            return
    for chunk in _raising(stream.end()):
        yield chunk


def _raising(items: Iterable[C | FastchunkError]) -> Iterator[C]:
    for item in items:
        if isinstance(item, FastchunkError):
            raise item
        yield item
