r"""The relay: what a gateway calls once per read, bytes in and bytes out.

In:  what was read from the server.
Out: what to write to the client now, in whole blocks.
Cost: for a stream that repeats itself, a search, a slice and a share of one decode an event, and
three copies of a Struct for each chunk that is looked at; else one decode an event, and one edit
where something is to be changed.

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
from functools import partial
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from . import wire
from ._learner import Learner
from ._template import MOST_RESTS, Make, Template, TextOf, forwarder
from ._typed import Lists, keep, lists_of
from .codec import encode_tree, one_line, tolerant_decoder
from .edit import DROP, Drop, edit
from .errors import InvalidChunk
from .sse import BOM, MAX_EVENT_SIZE, BlockParser, BlockSplitter, blocks, parse_block, plain_data
from .stream import Observer, is_whole

__all__ = ["Relay"]

Chunk = wire.ChatCompletionStreamResponse
OnChunk = Callable[[Chunk], "Chunk | Drop | None"]

_NO_CHOICES = re.compile(rb"\[[ \t\n\r]*\]|null")
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")


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
        self.truncated = False
        """Whether the stream ended where it should not have; known after `close`."""
        if on_chunk is not None and not callable(on_chunk):
            raise TypeError(f"on_chunk must be callable, not {type(on_chunk).__name__}")
        self._changes = _encoded(set or {}, drop)
        self._strip_usage = strip_usage
        self._changing = bool(self._changes) or strip_usage
        self._on_chunk: Any = on_chunk
        self._limit = max_event_size
        self._splitter = BlockSplitter(max_event_size)
        self._seen = Observer()
        self._parser = BlockParser()
        self._learner: Learner[bytes] = (
            Learner(self._looker, wire.decode, self._changed)
            if on_chunk
            else Learner(partial(forwarder, counts=self._seen), None, self._changed)
        )
        self._written = False  # whether anything has left yet
        # The learner's, where nothing is pending: then a read needs no splitting.
        self._shortcut: Callable[[bytes], bytes | None] | None = None
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
        shortcut = self._shortcut
        if shortcut is not None and type(data) is bytes and len(data) <= self._limit:
            out = shortcut(data)
            if out is not None:
                return out
        self._shortcut = None
        if self._failure is not None:
            raise self._failure
        whole = self._splitter.feed(data)
        out = self._learner.repeated(whole) if whole is not data else None
        if out is None:
            out = self._forward(whole) if whole else b""
        self._written = self._written or bool(out)
        if self._splitter.idle and self._written:
            self._shortcut = self._learner.shortcut
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
                out = self._forward_rest(rest)
            else:
                self.truncated = True
                out = rest
        self.truncated = self.truncated or not self._seen.complete
        return out

    def _forward_rest(self, rest: bytes) -> bytes:
        try:
            return self._forward_block(rest)
        except BaseException as error:
            self._fail(error)
            raise

    def _take_ready(self) -> bytes:
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    def _looker(self, template: Template) -> Callable[[bytes], bytes | None]:
        """Build the function that forwards a read of events like the template, chunk by chunk."""
        match, unchanged = template.match, template.unchanged
        make: Make = template.chunk
        text_of: TextOf = template.text
        seen, on_chunk = self._seen, self._on_chunk

        def look(data: bytes) -> bytes | None:
            matched = match(data)
            if matched is None:
                return None
            spans, texts, paddings = matched
            leaving = template.leaving(spans) if template.moved else spans
            ready: list[bytes] = []  # what is no longer like the template, and what came before it
            begin = position = 0  # from here up to there, only texts may have changed
            same = unchanged
            try:
                for position, came in enumerate(texts):
                    seen.chunks += 1
                    padding = paddings[position] if paddings else b""
                    chunk = make(came, padding)
                    choice, obfuscation = chunk.choices[0], chunk.obfuscation
                    answer = on_chunk(chunk)
                    if answer is None:
                        continue
                    text = text_of(chunk, choice, obfuscation) if answer is chunk else None
                    if text is None:
                        lists = Lists({("choices",): [choice]})
                        left = self._answered(answer, chunk, template.data(spans[position]), lists)
                        ready += template.events(leaving[begin:position]), _framed(left)
                        begin = position + 1
                    elif text != came:
                        leaving[position] = template.span(text, padding)
                        same = False
            except BaseException as error:
                self._ready += *ready, template.events(leaving[begin:position])
                self._fail(error)
                raise
            if not ready:
                return data if same else template.events(leaving)
            return b"".join((*ready, template.events(leaving[begin:])))

        return look

    def _forward(self, whole: bytes) -> bytes:
        """Go through whole blocks one by one; return `whole` itself if none was changed."""
        plain = plain_data(whole)
        try:
            if plain is None:
                changed = self._forward_blocks(blocks(whole))
            else:
                changed = self._forward_plain(whole, plain)
        except BaseException as error:
            self._fail(error)
            raise
        ready = self._take_ready()
        return ready if changed else whole

    def _forward_plain(self, whole: bytes, plain: list[bytes]) -> bool:
        """Forward events of the usual shape; tell whether anything changed."""
        observe = self._seen.observe_utf8 if _is_utf8(whole) else self._seen.observe
        learner, changed, begin, rests = self._learner, False, 0, MOST_RESTS
        self._parser.started = True
        for data in plain:
            end = begin + len(data) + 8
            block, begin = whole[begin:end], end
            shortcut = learner.shortcut
            forwarded = shortcut(block) if shortcut else None
            if forwarded is None:
                left = self._left(data, observe(data))
                forwarded = block if left is data else _framed(left)
            self._ready.append(forwarded)
            changed = changed or forwarded is not block
            new = learner.shortcut
            if rests and new is not None and new is not shortcut:
                rests -= 1
                rest = whole[begin:]
                forwarded = new(rest)
                if forwarded is not None:
                    self._ready.append(forwarded)
                    return changed or forwarded is not rest
        return changed

    def _forward_blocks(self, found: list[bytes]) -> bool:
        """Forward blocks of any shape; tell whether anything changed."""
        changed = False
        for block in found:
            forwarded = self._forward_block(block)
            self._ready.append(forwarded)
            changed = changed or forwarded is not block
        return changed

    def _forward_block(self, block: bytes) -> bytes:
        is_first, bare = not self._parser.started, self._parser.without_bom(block)
        fields = self._parser.parse(block)
        if fields.data is None:
            return block if is_first else self._still_marked(block)
        left = self._left(fields.data, self._seen.observe(fields.data, fields.event))
        if left is fields.data:
            return block
        return b"" if left is None else block.removesuffix(bare) + _with_data(bare, left)

    def _still_marked(self, block: bytes) -> bytes:
        """Return a later block that is no event; a byte order mark may be what keeps it from it.

        If all before it was withheld, it is what the client's stream begins with, and one mark is
        ignored there: it gets another one.
        """
        is_first_out = not (self._written or any(self._ready))
        return BOM + block if is_first_out and block.startswith(BOM) else block

    def _left(self, data: bytes, chunk: Chunk | None) -> bytes | None:
        """Return an event's data as it leaves: itself if it is unchanged, None if withheld."""
        if chunk is None:
            return data
        self._learner.learn(data, chunk, self._seen.chunks)
        if self._on_chunk is None:
            left = self._changed_safely(data)
        else:
            lists = lists_of(chunk)
            left = self._answered(self._on_chunk(chunk), chunk, data, lists)
        return data if left == data else left

    def _fail(self, error: BaseException) -> None:
        self._failure, self._shortcut = error, None

    def _answered(self, answer: object, chunk: Chunk, data: bytes, lists: Lists) -> bytes | None:
        """Return the data of a chunk after `on_chunk`'s answer and all changes; None: withheld."""
        if answer is DROP:
            return None
        if answer is chunk:
            data = keep(data, chunk, lists)
        elif answer is not None:
            raise TypeError(
                "on_chunk must return None, the chunk that it was given, or DROP, "
                f"not {type(answer).__name__}"
            )
        return self._changed_safely(data)

    def _changed_safely(self, data: bytes) -> bytes | None:
        """Make the changes to a chunk's data, or count it as invalid; None if it is withheld."""
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
            usage = _decode_usage(data)
            if usage.is_all:
                return None
            if usage.usage is not UNSET:
                data = edit(data, {"usage": DROP})
        return data


class _Usage(Struct):
    """What `strip_usage` needs to know of a chunk, whatever else is in it by then."""

    choices: Raw | UnsetType = UNSET
    usage: Raw | UnsetType = UNSET

    @property
    def is_all(self) -> bool:
        """Whether the chunk is there for its usage only, as `wire`'s `is_usage` says."""
        is_object = self.usage is not UNSET and bytes(self.usage)[:1] == b"{"
        return is_object and (
            self.choices is UNSET or bool(_NO_CHOICES.fullmatch(bytes(self.choices)))
        )


_decode_usage = tolerant_decoder(_Usage)


def _encoded(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Check what is to be set and dropped in every chunk, and encode the values once."""
    if isinstance(names, str):
        raise TypeError("drop must be an iterable of keys, not a str")
    changes: dict[str, Any] = {**values, **dict.fromkeys(names, DROP)}
    for key, value in changes.items():
        if not isinstance(key, str):
            raise TypeError(f"a key of set or drop must be str, not {type(key).__name__}")
        if key.startswith("/"):
            raise ValueError("set and drop take top-level keys, not pointers")
        key.encode()  # raises a ValueError for a lone surrogate
        if value is not DROP:
            changes[key] = Raw(one_line(encode_tree(value)))
    return changes


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _framed(data: bytes | None) -> bytes:
    return b"" if data is None else b"data: " + one_line(data) + b"\n\n"


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
