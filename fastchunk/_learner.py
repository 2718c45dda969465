"""What a stream's template is cut from, and how its chunks are made.

In:  events that had to be decoded.
Out: the template of the newest one that can be a template.
Cost: a search, an edit and up to three decodes for an event that is looked at; as long as templates
are of no use, events are looked at more and more rarely.

The other half of the proof in `_template`:

1. A template has no finish reason, no usage and no error, so that nothing but the counts changes
   with an event like it.
2. Where chunks are to be made, the document was decoded with a mark in the text's place, and the
   mark was the text of the only choice's delta, under a key that is there once. Everything else
   is copied from that chunk, if there is nothing in it that could be shared by mistake.
3. What is to be changed in it is found out once, by changing the document with the marks. If they
   are then not there once, it is no template.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import chain
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from . import models, wire
from ._template import Cut, Make, Template, TextOf, template
from .edit import edit
from .errors import InvalidChunk

__all__ = ["MARK", "TEXTS", "Learner", "has_one"]

T = TypeVar("T")

MARK = b"fastchunk:%b" % os.urandom(16).hex().encode()
"""What stands in a text's place while it is found out what surrounds it: nobody else writes it."""
_PADDING_MARK = MARK[::-1]

_STRING = rb'"%b"[ \t]*:[ \t]*("[^"\\]*(?:\\.[^"\\]*)*")'
TEXTS = {
    name: re.compile(_STRING % name.encode())
    for name in ("content", "reasoning", "reasoning_content", "arguments")
}
"""What varies from event to event in a delta or its tool call, each with where its string is."""
_PADDING = re.compile(_STRING % b"(?:obfuscation|p)")
"""What OpenAI and Mistral send to hide how long a text is."""

_TOKENS = re.compile(rb'"logprobs"[ \t]*:[ \t]*\{[ \t]*"content"[ \t]*:[ \t]*[\[n]')
_BACKSLASH = 0x5C

_DECODES = (models.decode, wire.decode)
# What may be the value of two chunks at once, because it cannot be changed.
_IMMUTABLE = frozenset({str, int, float, Raw, UnsetType, type(None)})
_USELESS, _MOST_SKIPPED = 7, 256


class Learner(Generic[T]):
    """Keeps a stream's shortcut, and learns a new one when it is of no use any more.

    `use` makes the shortcut of a template. `decode` makes the chunks that are asked for, if any
    are; `change` makes what leaves out of what comes.
    """

    def __init__(
        self,
        use: Callable[[Template], Callable[[bytes], T | None]],
        decode: Callable[[bytes], Any] | None = None,
        change: Callable[[bytes], bytes | None] | None = None,
    ) -> None:
        self.shortcut: Callable[[bytes], T | None] | None = None
        """Takes a read of events that are like one before; returns None if they are not."""
        self._use = use
        self._decode = decode
        self._change = change
        self._skip = self._skipped = self._chunks = 0

    def repeated(self, whole: bytes) -> T | None:
        """Take whole blocks by the shortcut; None if there is none, or they are not like before."""
        return self.shortcut(whole) if whole and self.shortcut else None

    def learn(
        self, data: bytes, chunk: wire.ChatCompletionStreamResponse, chunks: int
    ) -> Callable[[bytes], T | None] | None:
        """Look at an event that had to be decoded; return the new shortcut, if there is one.

        `chunks` is how many came up to this one: if more than this one have come since the last
        call, the shortcut was of use.
        """
        if chunks > self._chunks + 1:
            self._skip = self._skipped = 0
        elif self._skip >= _USELESS:
            self.shortcut = None
        self._chunks = chunks
        self._skipped += 1
        if self._skipped <= self._skip:
            return None
        self._skip, self._skipped = min(2 * self._skip + 1, _MOST_SKIPPED), 0
        found = _cut(data, chunk)
        new = found and self._template_of(*found)
        if not new:
            return None
        self.shortcut = self._use(new)
        return self.shortcut

    def _template_of(self, name: str, came: Cut) -> Template | None:
        try:
            left = self._left(came)
            model = _model(self._decode, name, came) if self._decode else None
        except InvalidChunk:
            return None
        if left is None or (self._decode and not model):
            return None
        return template(came, left, *(_copier(name, *model) if model else (None, None)))

    def _left(self, came: Cut) -> Cut | None:
        """Cut the document as it leaves; None if the marks are not there once, and in order."""
        if not self._change:
            return came
        left = self._change(came.around(MARK, _PADDING_MARK))
        if left is None or left.count(MARK) != 1:
            return None
        before, _, after = left.partition(MARK)
        if not came.middle:
            return Cut(before, b"", after)
        if after.count(_PADDING_MARK) != 1:
            return None
        middle, _, after = after.partition(_PADDING_MARK)
        return Cut(before, middle, after)


def _cut(data: bytes, chunk: wire.ChatCompletionStreamResponse) -> tuple[str, Cut] | None:
    """Find the text that will vary, and cut the data around it; None if it is no template."""
    choices = chunk.choices
    if not choices or not choices[0].delta or b"\n" in data:
        return None
    if MARK in data or _PADDING_MARK in data:
        return None
    if chunk.usage or chunk.error not in (UNSET, None) or any(c.finish_reason for c in choices):
        return None
    delta = choices[0].delta
    for name, pattern in TEXTS.items():
        said = delta.tool_calls if name == "arguments" else getattr(delta, name)
        found = pattern.search(data) if said else None
        if found:
            begin, end = found.start(1) + 1, found.end(1) - 1
            padding = _PADDING.search(data, end + 1)
            if not padding:
                return name, Cut(data[:begin], b"", data[end:])
            middle = data[end : padding.start(1) + 1]
            return name, Cut(data[:begin], middle, data[padding.end(1) - 1 :])
    return None


def _model(decode: Callable[[bytes], Any], name: str, cut: Cut) -> tuple[Any, bool] | None:
    """Decode the document with a mark in the text's place; tell whether its chunk has the padding.

    None if chunks are not like it: if the text is not the only delta's or one of several under its
    key, if anything else could be changed, or if two decodes differ in more than the padding: the
    mirror makes up an id that is missing, and reads the clock where there is no time.
    """
    marked = cut.around(MARK, b"")
    if decode not in _DECODES or (decode is models.decode and not wire.decode(marked).created):
        return None
    model: Any = decode(marked)
    other: Any = decode(cut.around(MARK, _PADDING_MARK))
    padded = getattr(other, "obfuscation", None) == _raw(_PADDING_MARK)  # the mirror lacks it
    if padded:
        other.obfuscation = model.obfuscation
    is_like = (
        len(model.choices) == 1
        and getattr(model.choices[0].delta, name, None) == MARK.decode()  # the mirror lacks some
        and _is_copyable(model)
        and model == other
        and (
            has_one(marked, name)
            or edit(marked, {f"/choices/0/delta/{name}": ""}) == cut.around(b"", b"")
        )
    )
    return (model, padded) if is_like else None


def has_one(data: bytes, name: str) -> bool:
    r"""Tell whether it is plain that one key at most is that of the only choice's delta.

    Without a `\u`, a document spells a key in one way. With one such `choices` and one such `delta`
    there are no others that a reader could prefer, and a `content` right inside of `logprobs`, if
    it is no string, is neither the delta's own nor taken for it.
    """
    if _BACKSLASH in data and data.find(b"\\u") >= 0:
        return False
    if data.count(b'"choices"') != 1 or data.count(b'"delta"') != 1:
        return False
    count = data.count(b'"%b"' % name.encode())
    if count > 1 and name == "content":
        count -= len(_TOKENS.findall(data))
    return count == 1


def _is_copyable(model: Any) -> bool:
    """Tell whether nothing can be changed in it but the choices, the delta and an empty list."""
    choice = model.choices[0]
    values = chain(*map(msgspec.structs.astuple, (model, choice, choice.delta)))
    changeable = [value for value in values if type(value) not in _IMMUTABLE]
    is_empty = choice.delta.tool_calls == []
    return len(changeable) == (3 if is_empty else 2)


def _copier(name: str, model: Any, padded: bool) -> tuple[Make, TextOf]:
    """Build a template's `chunk` and `text` from the chunk that was decoded with a mark."""
    choice = model.choices[0]
    copy_chunk, copy_choice, copy_delta = (part.__copy__ for part in (model, choice, choice.delta))
    has_calls, mark = choice.delta.tool_calls == [], MARK.decode()

    def make(text: str, padding: bytes = b"") -> Any:
        delta = copy_delta()
        setattr(delta, name, text)
        if has_calls:
            delta.tool_calls = []
        choice = copy_choice()
        choice.delta = delta
        chunk = copy_chunk()
        chunk.choices = [choice]
        if padded:
            chunk.obfuscation = _raw(padding)
        return chunk

    def text_of(chunk: Any, choice: Any, padding: Any) -> str | None:
        expected = model
        if padded:
            expected = copy_chunk()
            expected.obfuscation = padding
        try:
            (found,) = chunk.choices
            delta = found.delta
            text = getattr(delta, name)
            setattr(delta, name, mark)
        except (AttributeError, TypeError, ValueError):
            return None  # not even the shape is left
        same = found is choice and chunk == expected
        setattr(delta, name, text)
        return text if same and type(text) is str else None

    return make, text_of


def _raw(inside: bytes) -> Raw:
    return Raw(b'"' + inside + b'"')
