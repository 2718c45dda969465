r"""Server-sent events, without I/O: the block splitter, the event decoder, and the formatter.

In:  bytes, cut anywhere.
Out: whole blocks, or the events that they dispatch.
Cost: for a read that holds whole events as servers write them, `data: …` and an empty line, one
look for a carriage return and one split; compiled, also for named events and comments. Everything
else takes the exact path, line by line. Both are linear in the bytes fed.

The grammar and the dispatch rules are those of the WHATWG HTML standard, 9.2.5 and 9.2.6.

    >>> decoder = EventDecoder()
    >>> events = decoder.feed(b"data: one\n\nda") + decoder.feed(b"ta: two\r\n\r\n")
    >>> [event.data for event in events]
    [b'one', b'two']
"""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Struct

from ._scan_py import DONE
from .errors import EventTooLarge, TruncatedStream
from .scan import cut_plain, plain_events

__all__ = [
    "BOM",
    "DONE",
    "MAX_EVENT_SIZE",
    "BlockSplitter",
    "Event",
    "EventDecoder",
    "Fields",
    "are_blocks",
    "block_at",
    "blocks",
    "format_event",
    "parse_block",
]

MAX_EVENT_SIZE = 16 * 1024 * 1024
"""The default limit: far above any chunk seen (the largest are whole tool calls and base64 images,
some megabytes), and far below what a process that carries hundreds of streams could not hold."""

BOM = b"\xef\xbb\xbf"
"""The byte order mark, which a stream may begin with."""

_COLON, _RETURN = 0x3A, 0x0D
_MAX_RETRY_DIGITS = 15  # some thirty thousand years
_UNSAFE = re.compile("[\r\n\0]")
_LINE_END = re.compile(rb"\r\n|\n|\r")
# A carriage return at the very end may be half of a CRLF: it ends no line yet.
_SURE_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")
# A comment line that opens a block, or all lines up to and including an empty one.
_BLOCK = re.compile(
    rb":[^\r\n]*(?:\r\n|\n|\r(?!\n))|(?:[^\r\n]+(?:\r\n|\n|\r(?!\n)))*(?:\r\n|\n|\r(?!\n))"
)


class Event(Struct, frozen=True, gc=False):
    """One server-sent event."""

    data: bytes
    """The data, its lines joined with LF; not decoded."""
    event: str = "message"
    """The event's type."""
    id: str = ""
    """The last event id, which persists until another one is sent."""
    block: bytes = b""
    """The event's own block, if it is of another shape than `data: …` and an empty line."""

    @property
    def raw(self) -> bytes:
        """The event's own block as it was received, its empty line included."""
        return self.block or b"data: %b\n\n" % self.data


class BlockSplitter:
    """Holds back what is unfinished, and passes on the rest.

    What `feed` and `close` return, joined, is what was fed, but for a byte order mark at the very
    start: "one leading U+FEFF BYTE ORDER MARK character must be ignored" (9.2.5). It is no part of
    an event, and in the middle of what a caller writes it would hide one. A comment line that opens
    a block is complete at its line end, so that keep-alives neither wait nor pile up.

    Operations on what is pending: append, look for the end of the block, drop the front. It is a
    bytearray, appended to and searched from where the last search ended, so that an event that
    comes byte by byte costs no more than one that comes at once. As long as it holds no carriage
    return, only two line feeds in a row can end a block, and they are looked for in the new bytes
    and across the seam. From the first one on, it is gone through line by line.
    """

    def __init__(self, max_event_size: int = MAX_EVENT_SIZE) -> None:
        self._limit = max_event_size
        self.pending: bytearray = bytearray()
        """The unfinished block."""
        self._by_lines = False  # whether the pending bytes are gone through line by line
        self._line = 0  # where in them the line begins that is not complete yet
        self._searched = 0  # before here is no line end that is not known
        self._opening = True  # whether that line is the first of its block
        self._started = False  # whether it is known if the stream begins with a byte order mark
        self.settled: bool = False
        """Whether a read begins with a block, and nothing special is going on."""
        self.failed: bool = False
        """Whether a block was too large, so that the next call raises."""

    @property
    def idle(self) -> bool:
        """Whether nothing is pending and nothing has failed."""
        return not (self.pending or self.failed)

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take the next bytes; return the blocks that are now whole, joined.

        Returns `data` itself where it is whole blocks and nothing was pending. Raises
        `EventTooLarge` where a block exceeds the limit; if whole blocks come before it, they are
        returned first and the next call raises.
        """
        if (
            self.settled
            and type(data) is bytes
            and data[-2:] == b"\n\n"
            and len(data) <= self._limit
            and _RETURN not in data
        ):
            return data
        return self._feed(data)

    def start(self) -> None:
        """Take note that the stream has begun with blocks, and without a byte order mark."""
        self._started = True

    def _feed(self, data: bytes | bytearray | memoryview) -> bytes:
        self.settled = False
        if self.failed:
            raise EventTooLarge(self._limit)
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
            data = bytes(data)
        if not self._started:
            data = self._without_mark(data)
        if self._by_lines or _RETURN in data:
            whole = data if self._is_whole_crlf(data) else self._cut_by_lines(data)
        elif not self.pending and data[-2:] == b"\n\n":
            whole = data
        else:
            whole = self._cut_by_line_feeds(data)
        if not self.pending and len(whole) == len(data):
            whole = data  # nothing was pending before: the very bytes that came
        if len(whole) > self._limit or len(self.pending) > self._limit:
            whole = self._within_limit(whole)
        self.settled = self._started and self.idle
        return whole

    def close(self) -> tuple[bytes, bytes]:
        """End the stream; return the block that its end completes, and the unfinished one.

        One of the two is empty: a last carriage return no longer waits for a line feed.
        """
        if self.failed:
            raise EventTooLarge(self._limit)
        rest = bytes(self.pending)
        self.pending.clear()
        self.settled = False
        return (rest, b"") if _BLOCK.fullmatch(rest) else (b"", rest)

    def _without_mark(self, data: bytes) -> bytes:
        """Return the stream's beginning without its mark; nothing while that may yet be one."""
        data = bytes(self.pending) + data
        self._started = not BOM.startswith(data)
        self.pending[:] = b"" if self._started else data
        if data == BOM:
            self._started = True
            self.pending.clear()
        return data.removeprefix(BOM) if self._started else b""

    def _is_whole_crlf(self, data: bytes) -> bool:
        """Tell whether nothing is pending and these are whole blocks with CRLF at each line's end.

        All line feeds and all carriage returns are in pairs, so that none is half of one.
        """
        if self.pending or data[-4:] != b"\r\n\r\n":
            return False
        pairs = data.count(b"\r\n")
        return pairs == data.count(b"\n") == data.count(b"\r")

    def _cut_by_line_feeds(self, data: bytes) -> bytes:
        pending = self.pending
        end = data.rfind(b"\n\n") + 2
        if end == 1:  # none: but one may lie across the seam
            end = 1 if data[:1] == b"\n" and pending[-1:] == b"\n" else 0
        whole = b""
        if end:
            whole = bytes(pending) + data[:end]
            pending.clear()
            self._searched = 0
        pending += data[end:]
        if bytes(pending[:1]) in {b":", b"\n"}:
            whole += self._openers()
        return whole

    def _openers(self) -> bytes:
        """Cut off the empty lines and the comment lines at the front."""
        pending, end = self.pending, 0
        while bytes(pending[end : end + 1]) in {b":", b"\n"}:
            line_end = pending.find(b"\n", max(end, self._searched))
            if line_end < 0:
                break
            end = line_end + 1
        cut = bytes(pending[:end])
        del pending[:end]
        self._searched = len(pending)
        return cut

    def _cut_by_lines(self, data: bytes) -> bytes:
        pending, end = self.pending, 0
        pending += data
        if not self._by_lines:
            self._by_lines, self._line, self._searched, self._opening = True, 0, 0, True
        for match in _SURE_LINE_END.finditer(pending, self._searched):
            if match.start() == self._line:
                self._opening, end = True, match.end()
            elif self._opening and pending[self._line] == _COLON:
                end = match.end()
            else:
                self._opening = False
            self._line = match.end()
        whole = bytes(pending[:end])
        del pending[:end]
        self._line -= end
        self._searched = max(self._line, len(pending) - 1)  # a last carriage return is undecided
        self._by_lines = bool(pending)
        return whole

    def _within_limit(self, whole: bytes) -> bytes:
        """Cut `whole` before the first block that is too large, and fail from then on."""
        end = 0
        for block in blocks(whole):
            if len(block) > self._limit:
                break
            end += len(block)
        else:
            if len(self.pending) <= self._limit:
                return whole
        self.failed = True
        self.pending.clear()
        if end == 0:
            raise EventTooLarge(self._limit)
        return whole[:end]


def blocks(whole: bytes) -> list[bytes]:
    """Cut whole blocks, joined, into single ones, exactly and at leisure."""
    return _BLOCK.findall(whole)


def are_blocks(data: bytes) -> bool:
    """Tell whether bytes are whole blocks and nothing else."""
    end = 0
    # `blocks` would look for a block at every byte behind the last one.
    while match := _BLOCK.match(data, end):
        end = match.end()
    return end == len(data)


def block_at(whole: bytes, begin: int) -> bytes:
    """Return the block that begins there; `whole` is whole blocks."""
    match = _BLOCK.match(whole, begin)
    assert match is not None  # noqa: S101
    return match[0]


class Fields(NamedTuple):
    """What the lines of one block say."""

    data: bytes | None
    """The data lines joined with LF; None if there is none, so that nothing is dispatched."""
    event: str
    id: str | None
    retry: int | None


def parse_block(block: bytes) -> Fields:
    """Interpret a block's lines as WHATWG HTML 9.2.6 says."""
    plain = cut_plain(block)
    if plain is not None:
        return Fields(plain[0][0], "message", None, None)
    data: list[bytes] = []
    event, last_id, retry = "", None, None
    for line in _LINE_END.split(block):
        name, _, value = line.partition(b":")
        if value[:1] == b" ":  # "If value starts with a U+0020 SPACE character, remove it"
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            last_id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            digits = value.lstrip(b"0") or b"0"
            if len(digits) <= _MAX_RETRY_DIGITS:
                retry = int(digits)
    return Fields(b"\n".join(data) if data else None, event or "message", last_id, retry)


class EventDecoder:
    """From bytes to events: feed what was read, take the events that it completes.

    One decoder decodes one stream, in one thread. It does no I/O and has no clock.
    """

    def __init__(self, *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        """Take the largest size that a block may have, in bytes."""
        self.retry: int | None = None
        """The reconnection time that the server asked for, in milliseconds; None if it did not."""
        self._splitter = BlockSplitter(max_event_size)
        self._last_id = ""
        self._failure: TruncatedStream | None = None
        self._limit = max_event_size
        self._plain = False  # whether a read begins with a block

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take the next bytes of the stream; return the events that they complete.

        Raises `EventTooLarge`; if events come before the one that is too large, they are returned
        first and the next call raises.
        """
        if self._plain and type(data) is bytes and len(data) <= self._limit:
            events = plain_events(data, Event, self._last_id)
            if events is not None:
                return events
        self._plain = False
        if self._failure is not None:
            raise self._failure
        events = self._events(self._splitter.feed(data))
        self._plain = self._splitter.settled
        return events

    def close(self) -> list[Event]:
        """End the stream; return the event that a last carriage return has completed.

        Raises `TruncatedStream`, which carries the bytes, if half an event is pending.
        """
        self._plain = False
        if self._failure is not None:
            raise self._failure
        whole, rest = self._splitter.close()
        if not rest:
            return self._events(whole)
        *lines, last = _LINE_END.split(rest)
        retry = parse_block(b"\n".join(lines)).retry
        self.retry = self.retry if retry is None else retry
        if any(line[:1] not in {b"", b":"} for line in [*lines, last]):
            self._failure = TruncatedStream("the stream ended in the middle of an event", rest)
            raise self._failure
        return self._events(whole)

    def _events(self, whole: bytes) -> list[Event]:
        events = plain_events(whole, Event, self._last_id) if whole else []
        return self._events_by_block(whole) if events is None else events

    def _events_by_block(self, whole: bytes) -> list[Event]:
        events = []
        for block in blocks(whole):
            fields = parse_block(block)
            if fields.retry is not None:
                self.retry = fields.retry
            if fields.id is not None:
                self._last_id = fields.id
            if fields.data is not None:
                is_usual = block == b"data: %b\n\n" % fields.data
                events.append(
                    Event(fields.data, fields.event, self._last_id, b"" if is_usual else block)
                )
        return events


def format_event(
    data: bytes | bytearray | memoryview | str,
    event: str | None = None,
    id: str | None = None,  # noqa: A002
) -> bytes:
    """Write one event; `data` becomes one `data` line for each of its lines.

    Raises `ValueError` for a line end or a NUL in `event` or `id`, which could not be read back.
    """
    lines = []
    for name, value in (("event", event), ("id", id)):
        if value is not None:
            if not isinstance(value, str):
                raise TypeError(f"{name} must be str, not {type(value).__name__}")
            if _UNSAFE.search(value):
                raise ValueError(f"{name} may not hold a line end or a NUL: {value!r}")
            lines.append(f"{name}: {value}".encode())
    if not isinstance(data, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"data must be bytes-like or str, not {type(data).__name__}")
    content = data.encode() if isinstance(data, str) else bytes(data)
    lines += [b"data: " + line for line in _LINE_END.split(content)]
    return b"\n".join(lines) + b"\n\n"
