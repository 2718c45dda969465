r"""The relay: what a gateway calls once per read, bytes in and bytes out.

In:  what was read from the server.
Out: what to write to the client now, in whole blocks.
Cost: where the scanner is compiled, one pass over an event, or a comparison with the one before;
else one decode of what a relay has to know, and one edit where something is to be changed. With
`on_chunk`, one decode of the chunk.

The whole order of the path is here: cut into blocks, look (`on_chunk`), change (`set`, `drop`,
`strip_usage`), put back into the block. What nobody changed leaves as the bytes that came in.

    >>> relay = Relay(set={"model": "alias"})
    >>> relay.feed(b'data: {"model":"m","choices":[{"delta":{"content":"Hi"}}]}\n\n')
    b'data: {"model":"alias","choices":[{"delta":{"content":"Hi"}}]}\n\n'
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from msgspec import UNSET

from . import wire
from .codec import one_line
from .edit import DROP, Drop, edit_encoded, encode_changes, table_of
from .errors import EventTooLarge, InvalidChunk
from .merge import lists_of, merge
from .scan import (
    MAX_PATHS,
    PLAIN,
    Forwarder,
    Path,
    Reader,
    Table,
    Tally,
    Value,
    cut_plain,
    paths_of,
)
from .sse import BOM, MAX_EVENT_SIZE, BlockSplitter, block_at, blocks, parse_block
from .stream import UNREADABLE, Observer, is_complete

__all__ = ["Relay"]

Chunk = wire.ChatCompletionStreamResponse
T = TypeVar("T")
OnChunk = Callable[[Chunk], "Chunk | Drop | None"]

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
_USAGE = table_of(("usage",))
_ROLES = paths_of(wire.Facts)
_STAYING: list[Value] = [...] * len(_ROLES)


class Relay:
    """Passes a stream on, and looks at it or changes it on the way.

    `set` names top-level keys and their new values, `drop` top-level keys to remove, in every
    chunk. `strip_usage` takes out the usage that the gateway asked for and the client did not.
    `on_chunk` is called with each chunk as it was received; it returns None if it changed nothing,
    the chunk it was given, or `DROP`. One object, one stream, one thread.

    Raises `InvalidChunk` for a value that has no JSON form, `ValueError` for a JSON Pointer,
    `TypeError` for arguments of other types.
    """

    def __init__(
        self,
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002
        drop: Iterable[str] = (),
        strip_usage: bool = False,
        on_chunk: OnChunk | None = None,
        max_event_size: int = MAX_EVENT_SIZE,
    ) -> None:
        max_event_size = min(max_event_size, sys.maxsize)  # which is as good as no limit
        self.truncated: bool = False
        """Whether the stream stopped before it was complete; known after `close`."""
        if on_chunk is not None and not callable(on_chunk):
            raise TypeError(f"on_chunk must be callable, not {type(on_chunk).__name__}")
        changes = _checked(set or {}, drop)
        self._table, self._values = table_of(tuple(changes)), _on_one_line(changes)
        self._strip_usage = strip_usage
        self._changing = bool(changes) or strip_usage
        self._on_chunk: Any = on_chunk
        self._splitter = BlockSplitter(max_event_size)
        self._seen = Observer(whole_chunks=on_chunk is not None)
        self._forwarder = None if on_chunk else self._new_forwarder(max_event_size)
        self._read: Callable[[bytes], Any] = (
            Reader(wire.decode_utf8, self._seen, max_event_size).read if on_chunk else _leave
        )
        self._forward_quickly: Callable[[Any], bytes | None] = (
            self._forwarder.feed if self._forwarder else self._look_quickly
        )
        self._limit = max_event_size
        self._settled = False  # whether a read begins with a block, where there is no forwarder
        self._written = False  # whether anything has left yet
        self._ready: list[bytes] = []  # what has been forwarded of the read that is being taken
        self._failure: BaseException | None = None

    def _new_forwarder(self, max_event_size: int) -> Forwarder | None:
        """Build what forwards events without a decision of ours; None where it cannot."""
        table = _forwarder_table(tuple(self._table.paths), self._strip_usage)
        if table is None:
            return None
        values: list[Value] = [*self._values, *_STAYING]
        if self._strip_usage:
            values[table.paths.index(("usage",))] = None
        return Forwarder(table, values, self._seen, max_event_size)

    # --- what the stream has said so far ---

    @property
    def events(self) -> int:
        """How many events came."""
        return self._seen.events

    @property
    def chunks(self) -> int:
        """How many of them were chunks."""
        return self._seen.chunks

    @property
    def invalid(self) -> int:
        """How many could not be decoded. `on_chunk` did not see them.

        `set`, `drop` and `strip_usage` still change those that are chunks.
        """
        return self._seen.invalid

    @property
    def done(self) -> bool:
        """Whether `[DONE]` has come."""
        return self._seen.done

    @property
    def error(self) -> Any:
        """The server's error object, or the text of its error event; None if it sent none."""
        return self._seen.error

    @property
    def usage(self) -> wire.UsageInfo | None:
        """The last usage object that came, also if it was stripped; None if none came."""
        return self._seen.usage

    @property
    def finish_reasons(self) -> dict[int, str]:
        """The finish reason of each choice that has one, by the choice's index."""
        return self._seen.finish_reasons

    # --- the path ---

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take what was read; return what to write now: whole blocks, or nothing.

        Raises `EventTooLarge`, after what came before has been returned; what `on_chunk` raises,
        with what came before it left for `close`; and the same again after that.
        """
        out = self._forward_quickly(data)
        return self._feed(data) if out is None else out

    def close(self) -> bytes:
        """End the stream; return what is left, the unfinished block included.

        An unfinished block that is a whole chunk or `[DONE]` is treated as one; any other leaves as
        it came, with `truncated` set.
        """
        if self._failure is not None:
            return self._take_ready()
        whole, rest = self._splitter.close()
        out = self._forward(whole) if whole else b""
        if rest:
            data = parse_block(rest).data
            if data is not None and is_complete(data):
                out = self._failing(self._forward_block, rest)
            else:
                self.truncated = True
                out = rest
        self.truncated = self.truncated or not self._seen.complete
        return out

    def _feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take a read that was not forwarded quickly, or only up to some place in it."""
        if self._failure is not None:
            raise self._failure
        begun, at, self._settled = b"", 0, False
        if self._forwarder is not None:
            begun, at = self._forwarder.rest()
            data = data[at:] if at else data
        try:
            whole = self._splitter.feed(data)
        except EventTooLarge:
            if at:
                return begun  # the next call raises
            raise
        out = self._forward(whole) if whole else b""
        self._written = self._written or bool(out)
        self._settled = self._written and self._splitter.idle
        if self._forwarder is not None:
            self._forwarder.ready = self._settled
        return begun + out

    def _forward(self, whole: bytes) -> bytes:
        """Go through whole blocks; return `whole` itself if none was changed."""
        if self._forwarder is not None:
            self._failing(self._forward_by, whole)
        else:
            plain = cut_plain(whole)
            if plain is not None:
                return self._look(whole, *plain)
            self._failing(self._forward_blocks, whole)
        self._seen.faults.clear()
        out = self._take_ready()
        return whole if out == whole else out

    def _failing(self, forward: Callable[[bytes], T], data: bytes) -> T:
        """Forward something; if that raises, the relay has failed for good."""
        try:
            return forward(data)
        except BaseException as error:
            self._failure = error
            raise

    def _forward_by(self, whole: bytes) -> None:
        """Let the forwarder take what it can, and what it leaves go the exact way."""
        forwarder: Any = self._forwarder
        seen, at = self._seen, 0
        while True:
            out, at = forwarder.forward(whole, at)
            self._make_ready(out)
            if at == len(whole):
                return
            block, chunks = block_at(whole, at), seen.chunks
            left = self._forward_block(block)
            self._make_ready(left)
            if seen.last is not None:
                said = Tally()
                said.note(seen.last)
                is_chunk = seen.chunks > chunks
                forwarder.learn(is_chunk, not left, said.indexes, said.finish_reasons)
            at += len(block)

    def _forward_blocks(self, whole: bytes) -> None:
        for block in blocks(whole):
            self._make_ready(self._forward_block(block))

    def _make_ready(self, out: bytes) -> None:
        if out:
            self._ready.append(out)

    def _look_quickly(self, data: bytes | bytearray | memoryview) -> bytes | None:
        """Take a read of events of the usual shape, if a block begins where it does."""
        if not self._settled or type(data) is not bytes or len(data) > self._limit:
            return None
        plain = cut_plain(data)
        return None if plain is None else self._look(data, *plain)

    def _look(self, whole: bytes, found: list[bytes], ends: bytes) -> bytes:
        """Forward events of the usual shape; what came before an error is left for `close`."""
        read, observe, outgoing = self._read, self._seen.observe, self._outgoing
        left: list[bytes | None] = []
        try:
            for data in found:
                left.append(outgoing(data, read(data) or observe(data)))  # noqa: PERF401
        except BaseException as error:
            self._failure, self._settled = error, False
            self._ready.append(_framed(left, ends))
            raise
        self._seen.faults.clear()
        return whole if left == found else _framed(left, ends)

    def _forward_block(self, block: bytes) -> bytes:
        """Forward a block of any shape."""
        fields = parse_block(block)
        if fields.data is None:
            return self._still_marked(block)
        left = self._outgoing(fields.data, self._seen.observe(fields.data, fields.event))
        if left is None:
            return b""
        if left == fields.data:
            return self._still_marked(block)
        if block == b"data: %b\n\n" % fields.data:
            return b"data: %b\n\n" % one_line(left)
        return self._still_marked(_with_data(block, left))

    def _still_marked(self, block: bytes) -> bytes:
        """Return a block whose first line says to the client what it said here.

        The line of a byte order mark in the middle of a stream is no data line. If it opens the
        client's stream, where one mark is ignored, another one is put before it.
        """
        is_first = not (self._written or self._ready)
        return BOM + block if is_first and block.startswith(BOM) else block

    def _take_ready(self) -> bytes:
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    # --- one event ---

    def _outgoing(self, data: bytes, observed: Any) -> bytes | None:
        """Return an event's data as it leaves: itself if it is unchanged, None if withheld."""
        if observed is None:
            return data
        if self._on_chunk is not None and observed is not UNREADABLE:
            lists = lists_of(observed)
            answer = self._on_chunk(observed)
            if answer is DROP:
                return None
            if answer is observed:
                merged = merge(data, observed, lists)
                # A raw value that was put in may hold line ends, which would end the event.
                data = data if merged is data else one_line(merged)
            elif answer is not None:
                raise TypeError(
                    "on_chunk must return None, the chunk that it was given, or DROP, "
                    f"not {type(answer).__name__}"
                )
        if not self._changing:
            return data
        try:
            return self._changed(data)
        except InvalidChunk as error:  # nested deeper than the interpreter lets an edit go
            if observed is not UNREADABLE:
                self._seen.retract(error)
            return data

    def _changed(self, data: bytes) -> bytes | None:
        """Make the changes to a chunk event's data; None if all of it is to be withheld."""
        if self._values:
            data = edit_encoded(data, self._table, self._values)
        if self._strip_usage:
            if _is_usage(data):
                return None
            data = edit_encoded(data, _USAGE, [None])
        return data


@lru_cache(maxsize=256)
def _forwarder_table(changed: tuple[Path, ...], strip_usage: bool) -> Table | None:  # noqa: ARG001
    """Build the table of what is changed, and of what a forwarder decides by.

    None where a change concerns what it decides by, or where there are too many. Forwarders share
    what a table has learned, so those that withhold usage have one of their own.
    """
    paths = [*changed, *_ROLES]
    if len(set(paths)) < len(paths) or len(paths) > MAX_PATHS:
        return None
    return Table(paths, [*[PLAIN] * len(changed), *_ROLES.values()])


def _leave(_data: object) -> None:
    """Forward nothing quickly."""


def _is_usage(data: bytes) -> bool:
    """Tell whether a chunk is there for its usage only, as `wire`'s `is_usage` says."""
    try:
        facts = wire.decode_facts(data)
    except InvalidChunk:
        return False
    is_object = facts.usage is not UNSET and bytes(facts.usage)[:1] == b"{"
    return is_object and not facts.choices


def _checked(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Check what is to be set and dropped in every chunk."""
    if isinstance(names, str):
        raise TypeError("drop must be an iterable of keys, not a str")
    changes: dict[str, Any] = {**values, **dict.fromkeys(names, DROP)}
    for key in changes:
        if not isinstance(key, str):
            raise TypeError(f"a key of set or drop must be str, not {type(key).__name__}")
        if key.startswith("/"):
            raise ValueError("set and drop take top-level keys, not pointers")
    return changes


def _on_one_line(changes: Mapping[str, Any]) -> list[bytes | None]:
    values = encode_changes(changes)
    return [None if value is None else one_line(value) for value in values]


def _framed(left: list[bytes | None], ends: bytes) -> bytes:
    return b"".join([b"data: %b%b" % (data, ends) for data in left if data is not None])


def _with_data(block: bytes, data: bytes) -> bytes:
    """Put new data into a block: one data line in the first one's place, the other lines as is."""
    parts: list[bytes] = []
    placed = False
    for line, end in _LINE.findall(block):
        if line != b"data" and not line.startswith(b"data:"):
            if line + end == b"\n" and parts and parts[-1][-1:] == b"\r":
                parts[-1] = parts[-1][:-1] + b"\n"  # or the two would be one line end
            parts.append(line + end)
        elif not placed:
            placed = True
            space = b" " if line.startswith(b"data: ") else b""
            parts.append(b"data:%b%b%b" % (space, one_line(data), end))
    return b"".join(parts)
