r"""The shortcut: events that differ from one that was decoded in one string alone.

In:  an event that was decoded, to learn from; then reads.
Out: the strings in which a read's events differ, their chunks, and their bytes as they leave; None
where a read is not proven to be like the event learned from.
Cost: for each event one search, a slice, and a share of one join and of one decode; for each chunk
three copies of a Struct.

A stream repeats itself: after its first chunk, most events differ in one string. A template is an
event cut around the text between that string's quotes: prefix, text, suffix. Why a read that
matches is proven to be events like it, which decode as it does, but for that text:

1. The texts are what a search for the suffix's first bytes finds, at the distances that prefix and
   suffix leave. Nothing depends on the search: with prefix and suffix around them, the texts are
   put together again and compared with the read, byte for byte.
2. Each text is proven to be the inside of exactly one JSON string: all are put in quotes and
   decoded as one array, with a raw line feed between them. No JSON string contains a raw line
   feed, so none spans two texts, so each text has at least one; as many strings as texts means
   that each is exactly one.
3. So each event is the template's document with another string in the same place, and that is
   valid wherever the template is. When the template was learned, a document with a mark in that
   place was decoded: where chunks are to be made, the mark was the delta's text and everything
   else is copied from there; a chunk is made only if nothing in it can be shared by mistake.
4. A template has no finish reason, no usage and no error, so that nothing but the counts changes
   with an event like it. What is to be changed in it is found out once, by changing the document
   with the mark; if the mark is then not there once, it is no template.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from . import models, wire
from .edit import edit
from .errors import InvalidChunk

__all__ = ["MARK", "MOST_RESTS", "TEXTS", "Learner", "Make", "Matched", "Template", "TextOf"]

MARK = b"fastchunk:%b" % os.urandom(16).hex().encode()
"""What stands in a text's place while it is found out what surrounds it: nobody else writes it."""

MOST_RESTS = 4
"""On how much of one read a new template is tried at once: on all that follows, so many times."""

_DATA, _END = b"data: ", b"\n\n"
_TAIL = 5
TEXTS = {
    name: re.compile(rb'"%b"[ \t]*:[ \t]*("[^"\\]*(?:\\.[^"\\]*)*")' % name.encode())
    for name in ("content", "reasoning", "reasoning_content")
}
"""The delta's fields that vary from event to event, each with where its string is found."""

_DECODES = (models.decode, wire.decode)
# What may be the value of two chunks at once, because it cannot be changed.
_IMMUTABLE = frozenset({str, int, float, Raw, UnsetType, type(None)})
_USELESS, _MOST_SKIPPED = 7, 256

_decode_string = msgspec.json.Decoder(str).decode
_decode_strings = msgspec.json.Decoder(list[str]).decode

Matched: TypeAlias = tuple[list[bytes], list[str]]
Match: TypeAlias = Callable[[bytes], "Matched | None"]
Make: TypeAlias = Callable[[str], Any]
TextOf: TypeAlias = Callable[[Any, Any], "str | None"]


class Template(msgspec.Struct, frozen=True, gc=False):
    """An event cut around the text that varies, as it comes and as it leaves."""

    match: Match
    """Return the texts of a read, as they came and decoded.

    None if it is not whole events that are all like the template.
    """
    before: bytes
    after: bytes
    """The data around the text, the quotes included, as it comes."""
    new_prefix: bytes
    new_suffix: bytes
    new_between: bytes
    """The same as it leaves."""
    unchanged: bool
    """Whether it leaves as it comes."""
    chunk: Make | None
    """Make the chunk of the event with this string; None where no chunks are to be made."""
    text: TextOf | None
    """Return a chunk's string, if it differs from the template's chunk in nothing else.

    The second argument is the choice that the chunk was made with, and still has to hold.
    """

    def changed(self, texts: list[bytes]) -> bytes:
        """Return the events with these texts, as they leave."""
        if not texts:
            return b""
        return self.new_prefix + self.new_between.join(texts) + self.new_suffix

    def data(self, text: bytes) -> bytes:
        """Return the data of the event with this text, as it came."""
        return self.before + text + self.after


def _matcher(prefix: bytes, suffix: bytes) -> Match:
    """Build a template's `match` from what surrounds the text in its event."""
    between, begin = suffix + prefix, len(prefix)
    step, after = len(between), len(suffix)
    tail = suffix[:_TAIL]  # in a JSON string they could only stand with an escape

    def match(data: bytes) -> Matched | None:
        last = len(data) - after
        try:
            if last < begin + step:  # one event
                text = data[begin:last]
                if prefix + text + suffix != data:
                    return None
                return [text], [_decode_string(b'"' + text + b'"')]
            if not data.endswith(suffix):
                return None
            texts, at, index = [], begin, data.index
            while at <= last:
                end = index(tail, at)
                texts.append(data[at:end])
                at = end + step
            if prefix + between.join(texts) + suffix != data:
                return None
            strings = _decode_strings(b'["' + b'",\n"'.join(texts) + b'"]')
        except ValueError:  # not found, or no UTF-8, or no JSON
            return None
        return (texts, strings) if len(strings) == len(texts) else None

    return match


class Learner:
    """Keeps a stream's template, and learns a new one when it is of no use any more.

    `decode` makes the chunks that are asked for, if any are; `change` makes what leaves out of what
    comes. An event is looked at more and more rarely, as long as no template is of any use.
    """

    def __init__(
        self,
        decode: Callable[[bytes], Any] | None = None,
        change: Callable[[bytes], bytes | None] | None = None,
    ) -> None:
        self.template: Template | None = None
        self._decode = decode
        self._change = change
        self._skip = self._skipped = self._chunks = 0

    def learn(self, data: bytes, chunk: wire.ChatCompletionStreamResponse, chunks: int) -> bool:
        """Look at an event that had to be decoded; tell whether there is a new template.

        `chunks` is how many came up to this one: if more than this one have come since the last
        call, the template was of use.
        """
        if chunks > self._chunks + 1:
            self._skip = self._skipped = 0
        elif self._skip >= _USELESS:
            self.template = None
        self._chunks = chunks
        self._skipped += 1
        if self._skipped <= self._skip:
            return False
        self._skip, self._skipped = min(2 * self._skip + 1, _MOST_SKIPPED), 0
        cut = _cut(data, chunk)
        template = cut and self._template_of(*cut)
        if template:
            self.template = template
        return bool(template)

    def _template_of(self, name: str, before: bytes, after: bytes) -> Template | None:
        marked = before + MARK + after
        try:
            changed = self._change(marked) if self._change else marked
            made = _maker(self._decode, marked, name) if self._decode else (None, None)
        except InvalidChunk:
            return None
        if changed is None or changed.count(MARK) != 1 or b"\n" in changed:
            return None
        if made is None:
            return None
        new_before, _, new_after = changed.partition(MARK)
        new_prefix, new_suffix = _DATA + new_before, new_after + _END
        return Template(
            match=_matcher(_DATA + before, after + _END),
            before=before,
            after=after,
            new_prefix=new_prefix,
            new_suffix=new_suffix,
            new_between=new_suffix + new_prefix,
            unchanged=changed == marked,
            chunk=made[0],
            text=made[1],
        )


def _cut(data: bytes, chunk: wire.ChatCompletionStreamResponse) -> tuple[str, bytes, bytes] | None:
    """Find the text that will vary, and cut the data around it; None if it is no template."""
    choices = chunk.choices
    if not choices or not choices[0].delta or MARK in data or b"\n" in data:
        return None
    if chunk.usage or chunk.error not in (UNSET, None) or any(c.finish_reason for c in choices):
        return None
    for name, pattern in TEXTS.items():
        found = pattern.search(data) if getattr(choices[0].delta, name) else None
        if found:
            return name, data[: found.start(1) + 1], data[found.end(1) - 1 :]
    return None


def _maker(decode: Callable[[bytes], Any], marked: bytes, name: str) -> tuple[Make, TextOf] | None:
    """Build a template's `chunk` and `text` from its document with a mark in the text's place.

    None if the text is not the first delta's or one of several with its key, if anything else in
    the chunk could be changed, or if two decodes differ: the mirror makes up an id that is missing.
    """
    if decode not in _DECODES:
        return None
    model: Any = decode(marked)
    mark = MARK.decode()
    if len(model.choices) != 1 or model != decode(marked):
        return None
    choice = model.choices[0]
    delta = choice.delta
    if getattr(delta, name, None) != mark:  # the mirror lacks some
        return None
    has_calls = delta.tool_calls == []
    parts = [*_mutable(model), *_mutable(choice), *_mutable(delta)]
    if len(parts) != 2 + has_calls:  # the choices and the delta, which are copied
        return None
    if edit(marked, {f"/choices/0/delta/{name}": ""}) != marked.replace(MARK, b""):
        return None
    copy_chunk, copy_choice, copy_delta = model.__copy__, choice.__copy__, delta.__copy__

    def make(string: str) -> Any:
        delta = copy_delta()
        setattr(delta, name, string)
        if has_calls:
            delta.tool_calls = []
        choice = copy_choice()
        choice.delta = delta
        chunk = copy_chunk()
        chunk.choices = [choice]
        return chunk

    def text_of(chunk: Any, choice: Any) -> str | None:
        try:
            (found,) = chunk.choices
            delta = found.delta
            text = getattr(delta, name)
            setattr(delta, name, mark)
        except (AttributeError, TypeError, ValueError):
            return None  # not even the shape is left
        same = found is choice and chunk == model
        setattr(delta, name, text)
        return text if same and type(text) is str else None

    return make, text_of


def _mutable(struct: msgspec.Struct) -> list[Any]:
    return [value for value in msgspec.structs.astuple(struct) if type(value) not in _IMMUTABLE]
