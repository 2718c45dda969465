r"""The relay: what a gateway calls once per read, bytes in and bytes out.

In:  what was read from the server.
Out: what to write to the client now, in whole blocks.
Cost: for a stream that repeats itself, one split a read, and a slice and a share of one decode an
event; else one decode an event, and one edit where something is to be changed.

The whole order of the path is here: split into blocks, look (`on_chunk`), change (`set`, `drop`,
`strip_usage`), put back into the block. What nobody changed leaves as the bytes that came in.

The shortcut
------------
A stream repeats itself: after its first chunk, most events differ in one string alone. A template
is an event that was decoded, cut around that string: `prefix`, the string, `suffix`. An event that
begins with the prefix and ends with the suffix is taken without being decoded. Why that is sound:

1. What was cut out is a JSON string that is the value of a key. The text `"content":"` can stand
   only there in a valid document: inside a string the quote after `content` would be escaped.
2. What is between prefix and suffix is proven, by decoding it, to be exactly one JSON string. So
   the event is a valid document that differs from the template in this value alone, and the family
   decodes it: it took a string there once.
3. For many events at once, the strings are joined with a raw line feed between them and decoded as
   one array of strings. No JSON string contains a raw line feed, so none spans two events, so each
   event has at least one; as many strings as events means that each has exactly one.
4. That every event has the prefix and the suffix is proven by putting all together again and
   comparing it with what was read.
5. A template has no finish reason, no usage and no error, so that nothing but the counts changes
   with an event like it. What `set`, `drop` and `strip_usage` do to it is found out once, by doing
   it to the template; they touch top-level keys, and the string lies below `choices`.

    >>> relay = Relay(set={"model": "alias"})
    >>> relay.feed(b'data: {"model":"m","choices":[{"delta":{"content":"Hi"}}]}\n\n')
    b'data: {"model":"alias","choices":[{"delta":{"content":"Hi"}}]}\n\n'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from . import wire
from .codec import encode
from .edit import DROP, Drop, edit
from .sse import MAX_EVENT_SIZE, BlockSplitter, blocks, data_lines, parse_block
from .stream import Observer, is_whole

__all__ = ["Relay"]

Chunk = wire.ChatCompletionStreamResponse
OnChunk = Callable[[Chunk], "Chunk | Drop | None"]

_LINE_FEED = 0x0A
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
_JSON_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_VARYING = ("content", "reasoning", "reasoning_content")
_MARK = b'"fastchunk:varies:7c1f0d"'
_MOST_SKIPPED = 64

_decode_string = msgspec.json.Decoder(str).decode
_decode_strings = msgspec.json.Decoder(list[str]).decode


class _Template(msgspec.Struct, frozen=True, gc=False):
    """An event cut around the string that varies, as it comes and as it leaves."""

    prefix: bytes
    suffix: bytes
    """With the empty line."""
    line_suffix: bytes
    """Without it."""
    between: bytes
    """From one event's string to the next one's: the suffix and the prefix."""
    begin: int
    end: int
    line_end: int
    """Where the string begins and ends, counted from behind, in an event and in its line."""
    new: tuple[bytes, bytes, bytes] | None
    """The prefix, what is between, and the suffix as they leave; None if they leave unchanged."""


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
        self._started = False
        self._template: _Template | None = None
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
            shortened = self._by_template(template, data)
            if shortened is not None:
                return shortened
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
            data = parse_block(self._without_bom(rest)).data
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
        self._started = True
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
            spliced = _spliced(self._template, line)
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

    def _without_bom(self, block: bytes) -> bytes:
        return block if self._started else block.removeprefix(_BOM)

    def _forward_block(self, block: bytes) -> bytes | None:
        """Return the block, itself if it is unchanged, or None if it is withheld."""
        fields = parse_block(self._without_bom(block))
        self._started = True
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
        return self._changed(data) if self._changing else data

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

    # --- the shortcut, as the module's docstring explains it ---

    def _by_template(self, template: _Template, data: bytes) -> bytes | None:  # noqa: PLR0911
        """Forward events that are all like the template; None if one is not."""
        if not (data.startswith(template.prefix) and data.endswith(template.suffix)):
            return None
        begin, end = template.begin, template.end
        strings = [data[begin:end]]
        count = 1
        try:
            if _LINE_FEED not in strings[0]:
                _decode_string(strings[0])
            else:
                line_end = template.line_end
                strings = [line[begin:line_end] for line in data.split(b"\n")[:-1:2]]
                count = len(strings)
                if template.between.join(strings) != data[begin:end]:
                    return None
                if len(_decode_strings(b"[%b]" % b",\n".join(strings))) != count:
                    return None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if len(data) > self._limit:
            return None
        seen = self._seen
        seen.events += count
        seen.chunks += count
        if template.new is None:
            return data
        new_prefix, new_between, new_suffix = template.new
        return b"".join((new_prefix, new_between.join(strings), new_suffix))

    def _template_missed(self, lines: list[bytes]) -> bool:
        """Tell whether to learn a new template: more and more rarely, while they are of no use."""
        if self._on_chunk is not None and not self._changing:
            return False
        if self._template is not None and _spliced(self._template, lines[-1]) is not None:
            self._skip = 0
            return False
        self._skipped += 1
        if self._skipped <= self._skip:
            return False
        self._skip, self._skipped = min(2 * self._skip + 1, _MOST_SKIPPED), 0
        return True

    def _learn(self, line: bytes) -> None:
        """Make a template of an event, if it can be one."""
        cut = _cut_around_string(line)
        if cut is None:
            return
        prefix, suffix = cut
        changed = self._changed(prefix[6:] + _MARK + suffix)
        if changed is None or changed.count(_MARK) != 1:
            return
        before, _, after = changed.partition(_MARK)
        self._template = _template(prefix, suffix + b"\n\n", b"data: " + before, after + b"\n\n")


def _template(prefix: bytes, suffix: bytes, new_prefix: bytes, new_suffix: bytes) -> _Template:
    unchanged = new_prefix == prefix and new_suffix == suffix
    return _Template(
        prefix=prefix,
        suffix=suffix,
        begin=len(prefix),
        end=-len(suffix),
        line_end=2 - len(suffix),
        line_suffix=suffix[:-2],
        between=suffix + prefix,
        new=None if unchanged else (new_prefix, new_suffix + new_prefix, new_suffix),
    )


def _spliced(template: _Template, line: bytes) -> bytes | None:
    """Return one event's line as it leaves; None if it is not like the template."""
    begin, end = template.begin, template.line_end
    if not (line.startswith(template.prefix) and line.endswith(template.line_suffix)):
        return None
    string = line[begin:end]
    try:
        _decode_string(string)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if template.new is None:
        return line
    return b"".join((template.new[0], string, template.new[2][:-2]))


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cut_around_string(line: bytes) -> tuple[bytes, bytes] | None:
    """Cut an event in two around the string that will vary; None if it is no template."""
    probe = Observer()
    chunk = probe.observe(line[6:])
    if chunk is None or probe.finish_reasons or probe.usage or probe.error is not None:
        return None
    if not chunk.choices or not chunk.choices[0].delta or _MARK in line:
        return None
    for name in _VARYING:
        value = getattr(chunk.choices[0].delta, name)
        if isinstance(value, str) and value:
            key = b'"%b":' % name.encode()
            begin = line.find(key + b'"') + len(key)
            string = _JSON_STRING.match(line, begin)
            if begin >= len(key) and string:
                return line[:begin], line[string.end() :]
    return None


def _with_data(block: bytes, data: bytes) -> bytes:
    """Put new data into a block: one data line in the first one's place, the other lines as is."""
    parts, placed = [], False
    for line, end in _LINE.findall(block):
        start = 3 if line.startswith(_BOM) else 0
        if line[start:] != b"data" and not line.startswith(b"data:", start):
            parts.append(line + end)
        elif not placed:
            placed = True
            space = b" " if line.startswith(b"data: ", start) else b""
            parts.append(b"%bdata:%b%b%b" % (line[:start], space, data, end))
    return b"".join(parts)
