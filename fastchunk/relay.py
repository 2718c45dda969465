r"""The relay: what a gateway calls once per read, bytes in and bytes out.

In:  what was read from the server.
Out: what to write to the client now, in whole blocks.
Cost: for a stream that repeats itself, one split a read, and a slice and a share of one decode an
event; else one decode an event, and one edit where something is to be changed.

The whole order of the path is here: split into blocks, look (`on_chunk`), change (`set`, `drop`,
`strip_usage`), put back into the block. What nobody changed leaves as the bytes that came in.

The shortcut for a stream's own repetition, and its proof, are in `_template`.

    >>> relay = Relay(set={"model": "alias"})
    >>> relay.feed(b'data: {"model":"m","choices":[{"delta":{"content":"Hi"}}]}\n\n')
    b'data: {"model":"alias","choices":[{"delta":{"content":"Hi"}}]}\n\n'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import UNSET

from . import wire
from ._template import MARK, Template, cut_around_string
from .codec import encode
from .edit import DROP, Drop, edit
from .errors import InvalidChunk
from .sse import BOM, MAX_EVENT_SIZE, BlockParser, BlockSplitter, blocks, data_lines, parse_block
from .stream import Observer, is_whole

__all__ = ["Relay"]

Chunk = wire.ChatCompletionStreamResponse
OnChunk = Callable[[Chunk], "Chunk | Drop | None"]

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
_MOST_SKIPPED = 64


class Relay:
    """Passes a stream on, and looks at it or changes it on the way.

    `set` names top-level keys and their new values, `drop` top-level keys to remove, in every
    chunk. `strip_usage` takes out the usage that the gateway asked for and the client did not.
    `on_chunk` is called with each chunk as it was received; it returns None if it changed nothing,
    the chunk it was given, or `DROP`. One object, one stream, one thread.
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
        self.truncated = False
        """Whether the stream ended where it should not have; known after `close`."""
        self._changes: dict[str, Any] = {**(set or {}), **dict.fromkeys(drop, DROP)}
        if any(key.startswith("/") for key in self._changes):
            raise ValueError("set and drop take top-level keys, not pointers")
        self._strip_usage = strip_usage
        self._changing = bool(self._changes) or strip_usage
        self._on_chunk = on_chunk
        self._limit = max_event_size
        self._splitter = BlockSplitter(max_event_size)
        self._seen = Observer()
        self._parser = BlockParser()
        self._template: Template | None = None
        self._skip = self._skipped = 0
        self._ready: list[bytes] = []
        self._failure: BaseException | None = None

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
        """How many could not be decoded. They are forwarded, and `on_chunk` did not see them."""
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
        """The last usage that came, also if it was stripped."""
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
        template = self._template
        if (
            template is not None
            and self._on_chunk is None
            and type(data) is bytes
            and not self._splitter.pending
        ):
            shortened = template.forward(data)
            if shortened is not None and len(data) <= self._limit:
                out, count = shortened
                self._seen.events += count
                self._seen.chunks += count
                return out
        if self._failure is not None:
            raise self._failure
        whole = self._splitter.feed(data)
        out = self._forward(whole) if whole else b""
        if self._splitter.failed:
            self._template = None  # so that the next call comes here again
        return out

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
            data = parse_block(self._parser.without_bom(rest)).data
            if data is not None and is_whole(data):
                out += self._forward_block(rest) or b""
            else:
                self.truncated = True
                out += rest
        self.truncated = self.truncated or not self._seen.complete
        return out

    def _take_ready(self) -> bytes:
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    def _forward(self, whole: bytes) -> bytes:
        """Go through whole blocks one by one; return `whole` itself if none was changed."""
        lines = data_lines(whole)
        try:
            if lines is None:
                return self._forward_blocks(whole)
            out = self._forward_lines(whole, lines)
        except BaseException as error:
            self._failure, self._template = error, None
            raise
        if self._template_missed(lines):
            self._learn(lines[-1])
        return out

    def _forward_lines(self, whole: bytes, lines: list[bytes]) -> bytes:
        """Forward events that are one data line each, the usual shape."""
        self._parser.started = True
        observe, on_chunk, changing = self._observer(whole), self._on_chunk, self._changing
        out: list[bytes] | None = None  # the lines to write, from the first change on
        position = 0
        try:
            for position, line in enumerate(lines):
                forwarded: bytes | None = line
                chunk = observe(line[6:])
                if chunk is not None:
                    answer = None if on_chunk is None else on_chunk(chunk)
                    if changing or answer is not None:
                        forwarded = self._changed_line(line, chunk, answer)
                        if forwarded is not line and out is None:
                            out = lines[:position]
                if out is not None and forwarded is not None:
                    out.append(forwarded)
        except BaseException:
            self._ready = [line + b"\n\n" for line in (lines[:position] if out is None else out)]
            raise
        if out is None:
            return whole
        out.append(b"")
        return b"\n\n".join(out)

    def _observer(self, whole: bytes) -> Callable[[bytes], Chunk | None]:
        """Choose how to decode a read's events: the check for UTF-8 may be made for all at once."""
        return self._seen.observe_utf8 if _is_utf8(whole) else self._seen.observe

    def _changed_line(self, line: bytes, chunk: Chunk, answer: object) -> bytes | None:
        """Return a data line with what is to be changed, itself if nothing; None: withheld."""
        if answer is None and self._template is not None:
            spliced = self._template.forward_line(line)
            if spliced is not None:
                return spliced
        data = line[6:]
        changed = self._answered(answer, chunk, data)
        return line if changed == data else changed and b"data: " + changed

    def _forward_blocks(self, whole: bytes) -> bytes:
        """Forward blocks of any shape."""
        changed = False
        for block in blocks(whole):
            forwarded = self._forward_block(block)
            changed = changed or forwarded is not block
            self._ready.append(forwarded or b"")
        out = self._take_ready()
        return out if changed else whole

    def _forward_block(self, block: bytes) -> bytes | None:
        """Return the block, itself if it is unchanged, or None if it is withheld."""
        fields = self._parser.parse(block)
        chunk = None if fields.data is None else self._seen.observe(fields.data, fields.event)
        if fields.data is None or chunk is None:
            return block
        answer = None if self._on_chunk is None else self._on_chunk(chunk)
        data = self._answered(answer, chunk, fields.data)
        if data == fields.data:
            return block
        return None if data is None else _with_data(block, data)

    def _answered(self, answer: object, chunk: Chunk, data: bytes) -> bytes | None:
        """Return the data of a chunk after `on_chunk`'s answer and all changes; None: withheld."""
        if answer is DROP:
            return None
        if answer is not None:
            if answer is not chunk:
                raise TypeError(
                    "on_chunk must return None, the chunk that it was given, or DROP, "
                    f"not {type(answer).__name__}"
                )
            if chunk != wire.decode(data):
                data = encode(chunk)
        if not self._changing:
            return data
        try:
            return self._changed(data)
        except InvalidChunk as error:  # nested deeper than the interpreter lets an edit go
            self._seen.take_back(error)
            return data

    def _changed(self, data: bytes) -> bytes | None:
        """Make the changes to a chunk's data; None if all of it is to be withheld."""
        if self._changes:
            data = edit(data, self._changes)
        if self._strip_usage:
            chunk = wire.decode(data)
            if chunk.is_usage:
                return None
            if chunk.usage is not UNSET:
                data = edit(data, {"usage": DROP})
        return data

    # --- learning the shortcut that `_template` explains ---

    def _template_missed(self, lines: list[bytes]) -> bool:
        """Tell whether to learn a new template: more and more rarely, while they are of no use."""
        if self._on_chunk is not None and not self._changing:
            return False
        if self._template is not None and self._template.resembles(lines[-1]):
            self._skip = 0
            return False
        self._skipped += 1
        if self._skipped <= self._skip:
            return False
        self._skip, self._skipped = min(2 * self._skip + 1, _MOST_SKIPPED), 0
        return True

    def _learn(self, line: bytes) -> None:
        """Make a template of an event, if it can be one."""
        cut = cut_around_string(line)
        try:
            changed = cut and self._changed(cut[0] + MARK + cut[1])
        except InvalidChunk:
            return
        if cut and changed and changed.count(MARK) == 1:
            before, _, after = changed.partition(MARK)
            self._template = Template.of(*cut, before, after)


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _with_data(block: bytes, data: bytes) -> bytes:
    """Put new data into a block: one data line in the first one's place, the other lines as is."""
    parts, placed = [], False
    for line, end in _LINE.findall(block):
        start = 3 if line.startswith(BOM) else 0
        if line[start:] != b"data" and not line.startswith(b"data:", start):
            parts.append(line + end)
        elif not placed:
            placed = True
            space = b" " if line.startswith(b"data: ", start) else b""
            parts.append(b"%bdata:%b%b%b" % (line[:start], space, data, end))
    return b"".join(parts)
