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
from functools import cache, lru_cache
from typing import Any, Literal, TypeVar

from msgspec import UNSET, Struct

from . import wire
from .codec import one_line
from .dialect import Dialect, Unseen
from .dialects import dialect_of
from .edit import DROP, Drop, edit_encoded, encode_changes, table_of
from .errors import InvalidChunk, UpstreamError
from .merge import handed_of, merge
from .rewrite import Rewriter, rules_for
from .scan import (
    IN_PLACE,
    LATEST,
    MAX_PATHS,
    PLAIN,
    Forwarder,
    Looker,
    Path,
    Reader,
    Table,
    Tally,
    Value,
    paths_of,
)
from .sse import BOM, MAX_EVENT_SIZE, block_at, parse_block
from .stream import UNREADABLE, Declining, Family, Intake, Observer, Taker, is_complete
from .text import Rule

__all__ = ["Relay"]

T = TypeVar("T")
OnChunk = Callable[[Any], "Any | Drop | None"]
OnInvalid = Literal["pass", "drop", "raise"]
Reasoning = Literal["reasoning", "reasoning_content", "both"]

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
_USAGE = table_of(("usage",))


class Relay:
    """Passes a stream on, and looks at it or changes it on the way.

    `family` is the module of the stream's events. `model` is written wherever an event has the
    model's name. `set` names top-level keys and their new values, `drop` top-level keys to remove,
    in every chunk. `strip_usage` takes out the usage that the gateway asked for and the client did
    not. `text` are rules for the texts, in the order in which they apply. `reasoning` is the name
    that chat's reasoning is to have, or "both". `on_chunk` is called with each chunk as it was
    received; it returns None if it changed nothing, the chunk it was given, or `DROP`. An event
    that counts as invalid passes, or `on_invalid` drops it or raises its `InvalidChunk`.
    `max_event_size` is in bytes. One object, one stream, one thread.

    Raises `InvalidChunk` for a value that has no JSON form; `ValueError` for a JSON Pointer, and
    for what the family has no room for; `TypeError` for arguments of other types.
    """

    def __init__(  # noqa: PLR0913
        self,
        family: Family[Any] = wire,
        *,
        model: str | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002
        drop: Iterable[str] = (),
        strip_usage: bool = False,
        text: Iterable[Rule] = (),
        reasoning: Reasoning | None = None,
        on_chunk: OnChunk | None = None,
        on_invalid: OnInvalid = "pass",
        max_event_size: int = MAX_EVENT_SIZE,
    ) -> None:
        max_event_size = min(max_event_size, sys.maxsize)  # which is as good as no limit
        self.truncated: bool = False
        """Whether the stream stopped before it was complete; known after `close`."""
        if on_chunk is not None and not callable(on_chunk):
            raise TypeError(f"on_chunk must be callable, not {type(on_chunk).__name__}")
        if on_invalid not in ("pass", "drop", "raise"):
            raise ValueError(f"on_invalid must be 'pass', 'drop' or 'raise', not {on_invalid!r}")
        self._dialect = dialect = dialect_of(family)
        if strip_usage and not dialect.has_usage_chunks:
            raise ValueError("strip_usage is for families whose clients have to ask for usage")
        self._table, self._values = _changes_of(dialect.model, model, set or {}, drop)
        self._strip_usage = strip_usage
        self._changes = bool(self._values) or strip_usage or reasoning is not None
        self._on_chunk: Any = on_chunk
        self._on_invalid = on_invalid
        rules = rules_for(dialect.script, text)
        self._reasoning = _checked_name(reasoning, dialect)
        self._seen = Observer(dialect)
        self._rewriter = Rewriter(rules, dialect, self._seen) if rules else None
        self._looks = on_chunk is not None or self._rewriter is not None
        self._read: Callable[[bytes], Any] = _leave
        self._taker: Any = self._new_taker(max_event_size)
        self._intake: Intake[bytes] = Intake(self._taker, max_event_size)
        self._take = self._intake.take
        self._was_done = False
        self._written = False  # whether anything has left yet
        self._ready: list[bytes] = []  # what has been forwarded of the read that is being taken
        self._failure: BaseException | None = None
        self._refused = False  # whether it has failed because of `on_invalid`

    def _new_taker(self, max_event_size: int) -> Taker[bytes]:
        """Build what takes the events that ask for no decision of ours."""
        dialect = self._dialect
        if self._looks:
            reader = Reader(dialect.decode_utf8, self._seen, max_event_size, dialect.notes)
            self._read = reader.read
            if self._rewriter is None:
                look = self._left_of if self._changes else self._look_at
                return Looker(reader, look, max_event_size)
            self._rewriter.alike.passes = not self._changes
            alike = self._rewriter.alike if self._on_chunk is None else None
            return Looker(reader, self._look, max_event_size, alike, self._look_alike)
        table = _forwarder_table(dialect.facts, self._table, self._strip_usage)
        if table is None or self._reasoning is not None:
            return Declining(bytes)
        values: list[Value] = [*self._values]
        values += [...] * (len(table.paths) - len(values))
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
    def usage(self) -> Any:
        """What the last usage object said, also if it was stripped; None if none came.

        It is a Struct of the family's, for chat a `wire.UsageInfo`.
        """
        return self._seen.usage

    @property
    def finish_reasons(self) -> dict[int, str]:
        """The finish reason of each choice that has one, by the choice's index."""
        reasons: dict[Any, str] = self._seen.finish_reasons
        return reasons if self._rewriter is None else {**reasons, **self._rewriter.stopped}

    @property
    def stopped(self) -> bool:
        """Whether every choice has ended, one by a `text.Stop` at least: the client gets no more.

        A choice that has said nothing yet is not known: ask for one, or count them. Usage and
        `[DONE]` may still come. A gateway that does without them can close the upstream.
        """
        return (
            self._rewriter is not None
            and bool(self._rewriter.stopped)
            and self._seen.indexes <= self.finish_reasons.keys()
        )

    # --- the path ---

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take what was read; return what to write now: whole blocks, or nothing.

        Raises `EventTooLarge`, after what came before has been returned; what `on_chunk` raises,
        and `InvalidChunk` where `on_invalid` is `"raise"`, with what came before it left for
        `close`; and the same again after that.
        """
        try:
            out = self._take(data)
        except BaseException as error:
            self._fail(error)
            raise
        return self._feed(data) if out is None else out

    def close(self) -> bytes:
        """End the stream; return what is left, the unfinished block included.

        An unfinished block that is a whole chunk or `[DONE]` is treated as one. Any other leaves as
        it came, with `truncated` set; but where there are text rules, it does not leave: no rule
        has seen it, and a client dispatches no event that is not whole.
        """
        if self._failure is not None:
            ready = self._take_ready()
            return ready + self._end_texts(b"") if self._refused and self._rewriter else ready
        whole, rest = self._intake.close()
        out = self._forward(whole) if whole else b""
        if rest:
            data = parse_block(rest).data
            if data is not None and is_complete(data, self._dialect):
                out = self._failing(self._forward_block, rest)
            else:
                self.truncated = True
                out = b"" if self._rewriter else rest
        if self._rewriter is not None:
            held = self._end_texts(out)
            out = out + b"\n\n" + held if out and rest and held else out + held
        self.truncated = self.truncated or not (self._seen.complete or self.stopped)
        return out

    def _feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take a read that was not taken at once, or only up to some place in it."""
        if self._failure is not None:
            raise self._failure
        out = None if self._intake.begun else self._failing(self._intake.begin, data)
        if out is None:
            begun, whole = self._intake.cut(data)
            self._make_ready(begun)
            out = self._forward(whole) if whole else self._take_ready()
        self._written = self._written or bool(out)
        self._intake.settle(usable=self._written)
        return out

    def _forward(self, whole: bytes) -> bytes:
        """Go through whole blocks; return `whole` itself if none was changed."""
        self._failing(self._forward_all, whole)
        out = self._take_ready()
        return whole if out == whole else out

    def _end_texts(self, out: bytes) -> bytes:
        """Return what text rules still hold; if one of them raises, `out` is left for `close`."""
        self._make_ready(out)
        self._failing(self._end)
        self._ready.clear()
        return self._take_made(b"\n")

    def _failing(self, call: Callable[..., T], *arguments: object) -> T:
        """Call something; if that raises, the relay has failed for good."""
        try:
            return call(*arguments)
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        """Fail for good; what was forwarded before is left for `close`."""
        self._make_ready(self._taker.rest()[0])
        self._failure = error

    def _forward_all(self, whole: bytes) -> None:
        """Let the taker pass on what it can, and let what it leaves go the exact way."""
        taker, seen, at = self._taker, self._seen, 0
        while True:
            out, at = taker.forward(whole, at)
            self._make_ready(out)
            if at == len(whole):
                return
            block = block_at(whole, at)
            left = self._forward_block(block)
            self._make_ready(left)
            if seen.last is not None and not self._looks:
                self._learn(seen.last, is_withheld=not left)
            at += len(block)

    def _learn(self, facts: Any, *, is_withheld: bool) -> None:
        """Let the taker pass on what has these facts, if they are all that it says."""
        said = Tally()
        is_chunk = self._dialect.note(facts, said)
        keeps_usage = LATEST in _roles_of(self._dialect.facts).values()
        if not said.done and (said.usage_data is None or keeps_usage):
            self._taker.learn(is_chunk, is_withheld, said.indexes, said.finish_reasons)

    def _make_ready(self, out: bytes) -> None:
        if out:
            self._ready.append(out)

    def _forward_block(self, block: bytes) -> bytes:
        """Forward a block of any shape."""
        fields = parse_block(block)
        if fields.data is None:
            return self._still_marked(block)
        chunk = None if fields.event == "error" else self._read(fields.data)
        if chunk is None:
            left = self._observed(fields.data, fields.event)
        else:
            left = self._left_of(fields.data, chunk, is_last=self._is_now_done())
        made = self._take_made(b"\r\n" if block.endswith(b"\r\n") else b"\n")
        if left is None:
            return made
        if left == fields.data:
            return made + self._still_marked(block)
        if block == b"data: %b\n\n" % fields.data:
            return b"%bdata: %b\n\n" % (made, one_line(left))
        return made + self._still_marked(_with_data(block, left))

    def _take_made(self, line_end: bytes) -> bytes:
        """Return the events that were made for what text rules had held."""
        if self._rewriter is None or not self._rewriter.made:
            return b""
        parts: list[bytes] = []
        for event, data in self._rewriter.made:
            changed: Any = self._changed(data, is_readable=False)  # it has a text, so it leaves
            name = b"" if event == "message" else b"event: %b%b" % (event.encode(), line_end)
            parts += [name, b"data: ", changed, line_end, line_end]
        self._rewriter.made.clear()
        return b"".join(parts)

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

    def _look(self, data: bytes, chunk: Any) -> bytes | tuple[bytes, bytes | None] | None:
        """Return what leaves of a chunk that asks for no decision but the text rules'."""
        left = self._left_of(data, chunk, is_last=self._is_now_done(), is_usual=True)
        made = self._take_made(b"\n")
        return (made, left) if made else left

    def _look_alike(
        self, data: bytes, like: Any, text: str
    ) -> bytes | tuple[bytes, bytes | None] | None:
        """Do the same with an event that is like one before; None where it is to be decoded."""
        rewriter: Any = self._rewriter
        left: bytes | None = rewriter.rewrite_alike(data, like, text)
        if left is None:
            return None
        if self._changes:
            left = self._changed(left, is_readable=True)
        return (self._take_made(b"\n"), left) if rewriter.made or left is None else left

    def _observed(self, data: bytes, event: str) -> bytes | None:
        """Take note of an event of which nothing was read; return its data as it leaves."""
        facts = self._seen.observe(data, event)
        is_last = self._is_now_done() or self._has_failed()
        chunk = None
        if facts is not None and facts is not UNREADABLE and self._looks:
            chunk = self._decode(data)
        if chunk is None and is_last:
            self._end()
        if self._seen.faults and self._is_refused():
            return None
        if facts is None:
            return data if self._rewriter is None else self._rewriter.rewrite_other(data)
        if chunk is None:
            is_readable = facts is not UNREADABLE and not self._looks
            return self._changed(data, is_readable=is_readable)
        if self._rewriter is not None and self._seen.error is not None:
            data = self._rewriter.rewrite_errors(data)
        return self._left_of(data, chunk, is_last=is_last)

    def _is_now_done(self) -> bool:
        """Tell whether the stream has said that it is done since this was asked before."""
        was_done, self._was_done = self._was_done, self._seen.done
        return self._was_done and not was_done

    def _has_failed(self) -> bool:
        """Tell whether the event that was just observed has an error."""
        return any(isinstance(fault, UpstreamError) for fault in self._seen.faults)

    def _left_of(
        self, data: bytes, chunk: Any, *, is_last: bool = False, is_usual: bool = False
    ) -> bytes | None:
        """Return a chunk's data as it leaves: itself if it is unchanged, None if withheld.

        With the last one every text ends; a usual one says nothing of its stream but its texts.
        """
        if self._on_chunk is not None:
            looked_at = self._look_at(data, chunk)
            if looked_at is None:
                if is_last:
                    self._end()
                return None
            data = looked_at
        if self._rewriter is not None:
            rewritten = self._rewrite(data, chunk, is_last=is_last, is_usual=is_usual)
            if rewritten is None:
                return None
            data = rewritten
        return self._changed(data, is_readable=True) if self._changes else data

    def _end(self) -> None:
        """Let everything leave that text rules hold, where a stream ends or fails."""
        if self._rewriter is not None:
            self._rewriter.end()

    def _decode(self, data: bytes) -> Any:
        """Decode a chunk of which the facts could be decoded; None if the rest cannot."""
        try:
            return self._dialect.decode(data)
        except InvalidChunk as error:
            self._seen.retract(error)
            return None

    def _rewrite(self, data: bytes, chunk: Any, *, is_last: bool, is_usual: bool) -> bytes | None:
        """Apply the text rules to a chunk; return its data as it is then, None if withheld."""
        rewriter: Any = self._rewriter
        if self._on_chunk is not None:
            # The chunk is the caller's now, and need not say what the data does.
            chunk, is_usual = self._decode(data), False
        try:
            if chunk is not None:
                rewritten: bytes | None = rewriter.rewrite(
                    data, chunk, is_last=is_last, is_usual=is_usual
                )
                return rewritten
        except Unseen as error:
            self._seen.retract(InvalidChunk.single("text_unseen", (), str(error), data))
        if is_last:
            rewriter.end()
        return None if self._is_refused() else data

    def _is_refused(self) -> bool:
        """Tell whether the event that was just observed is not to leave.

        Raises its `InvalidChunk` where that is what `on_invalid` asks for.
        """
        invalid = [fault for fault in self._seen.faults if isinstance(fault, InvalidChunk)]
        self._seen.faults.clear()
        if invalid and self._on_invalid == "raise":
            self._refused = True
            raise invalid[0]
        return bool(invalid) and self._on_invalid == "drop"

    def _look_at(self, data: bytes, chunk: Any) -> bytes | None:
        """Let `on_chunk` look at a chunk; return its data as it is then, None if withheld."""
        handed = handed_of(chunk)
        answer = self._on_chunk(chunk)
        if answer is None:
            return data
        if answer is DROP:
            return None
        if answer is not chunk:
            raise TypeError(
                "on_chunk must return None, the chunk that it was given, or DROP, "
                f"not {type(answer).__name__}"
            )
        merged = merge(data, chunk, handed, self._dialect.decode)
        # A raw value that was put in may hold line ends, which would end the event.
        return data if merged is data else one_line(merged)

    def _changed(self, data: bytes, *, is_readable: bool) -> bytes | None:
        """Make the changes to a chunk event's data; None if all of it is to be withheld."""
        try:
            if self._reasoning is not None:
                data = self._rename(data)
            if self._values:
                data = edit_encoded(data, self._table, self._values)
            if self._strip_usage:
                if self._is_usage(data):
                    return None
                data = edit_encoded(data, _USAGE, [None])
        except InvalidChunk as error:  # nested deeper than the interpreter lets an edit go
            if is_readable:
                self._seen.retract(error)
                if self._is_refused():
                    return None
        return data

    def _rename(self, data: bytes) -> bytes:
        rename: Any = self._dialect.script.rename
        renamed: bytes = rename(data, self._reasoning)
        return renamed

    def _is_usage(self, data: bytes) -> bool:
        """Tell whether a chunk is there for its usage only, as `wire`'s `is_usage` says."""
        try:
            facts = self._dialect.decode_facts(data)
        except InvalidChunk:
            return False
        is_object = facts.usage is not UNSET and bytes(facts.usage)[:1] == b"{"
        return is_object and not facts.choices


def _changes_of(
    place: Path, model: str | None, values: Mapping[str, Any], names: Iterable[str]
) -> tuple[Table, list[bytes | None]]:
    """Build the table of what is changed in every chunk, and list the new values."""
    changes = _checked(values, names)
    if model is None:
        return table_of(tuple(changes)), _on_one_line(changes)
    if not isinstance(model, str):
        raise TypeError(f"model must be str, not {type(model).__name__}")
    table = _table_with_model(place, tuple(changes))
    return table, [*_on_one_line({"model": model}), *_on_one_line(changes)]


@lru_cache(maxsize=256)
def _table_with_model(place: Path, names: tuple[str, ...]) -> Table:
    paths = table_of(names).paths
    if place[:1] in paths:
        raise ValueError(f"model changes {place[0]!r}, and so does set or drop")
    return Table([place, *paths], [IN_PLACE, *[PLAIN] * len(paths)])


@cache
def _roles_of(facts: type[Struct]) -> dict[Path, int]:
    return paths_of(facts)


@lru_cache(maxsize=256)
def _forwarder_table(
    facts: type[Struct],
    changed: Table,
    strip_usage: bool,  # noqa: ARG001
) -> Table | None:
    """Build the table of what is changed, and of what a forwarder decides by.

    None where a change concerns what it decides by, or where there are too many. Forwarders share
    what a table has learned, so those that withhold usage have one of their own.
    """
    roles = _roles_of(facts)
    paths = [*changed.paths, *roles]
    if len(set(paths)) < len(paths) or len(paths) > MAX_PATHS:
        return None
    return Table(paths, [*changed.roles, *roles.values()])


def _leave(_data: object) -> None:
    """Read nothing."""


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


def _checked_name(reasoning: str | None, dialect: Dialect) -> str | None:
    """Check the name that the reasoning is to have."""
    if reasoning is not None:
        if reasoning not in ("reasoning", "reasoning_content", "both"):
            raise ValueError(f"reasoning must be one of its names, or 'both', not {reasoning!r}")
        if dialect.script.rename is None:
            raise ValueError("reasoning has two names in chat alone")
    return reasoning


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
