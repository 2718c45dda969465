"""What a stream of Anthropic Messages events says: of the family `messages`.

In:  an event, or its facts.
Out: its stop reason, usage and error; and the texts in it, with their places.
Cost: a look at the event's type.

A text is that of a content block, its thinking, or the arguments of a tool call. An event, a block
or a delta of an unknown type may hold texts, too: each of its strings is a whole one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Final

from msgspec import UNSET, Raw, json

from fastchunk import messages
from fastchunk.dialect import (
    ARGUMENTS,
    CONTENT,
    REASONING,
    Dialect,
    Edits,
    Marks,
    Place,
    Script,
    Text,
    leaves_below,
    list_in,
    texts_below,
)
from fastchunk.edit import edit, pointer
from fastchunk.scan import FACT, KIND, TEXT, Tally
from fastchunk.text import Channel

__all__ = ["DIALECT"]


def _note(facts: messages.Facts, tally: Tally) -> bool:
    kind = facts.type
    if type(kind) is not str or kind == "error":
        return False
    tally.chunks += 1
    if kind == "message_start":
        _note_start(facts, tally)
    elif kind == "message_delta":
        _note_end(facts, tally)
    elif kind == "message_stop":
        _note_stop(facts, tally)
    return True


def _note_start(event: Any, tally: Tally) -> None:
    """Take note of what a message begins with: an event's, or its facts'."""
    _note_usage(getattr(event.message, "usage", None), tally)
    tally.indexes.add(0)


def _note_end(event: Any, tally: Tally) -> None:
    _note_usage(event.usage, tally)  # which comes first, as it may raise
    reason = getattr(event.delta, "stop_reason", None)
    if isinstance(reason, str):
        tally.indexes.add(0)
        tally.finish_reasons[0] = reason


def _note_stop(_event: Any, tally: Tally) -> None:
    tally.done = True


def _note_usage(usage: Any, tally: Tally) -> None:
    """Add what a usage object says to what is known; what it leaves out has not changed."""
    if isinstance(usage, messages.Usage):
        usage = json.decode(json.encode(usage))
    if isinstance(usage, dict):
        known = {} if tally.usage_data is None else json.decode(tally.usage_data)
        said = {key: value for key, value in usage.items() if value is not None}
        tally.usage_data = json.encode({**usage, **known, **said})


def _find_error(facts: messages.Facts) -> Any:
    error = None if facts.error is UNSET else facts.error
    if facts.type == "error":
        return {} if error is None else error  # whatever it was, the message is not complete
    return None if type(facts.type) is str else error


_PLACES: dict[type, tuple[str, Channel]] = {
    messages.TextDelta: ("text", CONTENT),
    messages.TextBlock: ("text", CONTENT),
    messages.CompactionContentBlockDelta: ("content", CONTENT),
    messages.CompactionBlock: ("content", CONTENT),
    messages.ThinkingDelta: ("thinking", REASONING),
    messages.ThinkingBlock: ("thinking", REASONING),
    messages.InputJSONDelta: ("partial_json", ARGUMENTS),
}
"""Where a block and its deltas have their text."""


_PARTS: dict[type, str] = {
    messages.ContentBlockDeltaEvent: "delta",
    messages.ContentBlockStartEvent: "content_block",
}


def _texts(event: Any, with_arguments: bool) -> list[Text]:
    kind = type(event)
    if kind in _PARTS:
        key = _PARTS[kind]
        return _part_texts(_voice(event), getattr(event, key), (key,), with_arguments)
    if kind is messages.MessageStartEvent:
        found: list[Text] = []
        content = getattr(event.message, "content", None)
        for index, block in enumerate(content if isinstance(content, list) else ()):
            found += _part_texts(index, block, ("message", "content", index), with_arguments)
        return found
    if kind is messages.UnknownEvent:
        return list(leaves_below(None, CONTENT, json.decode(event.data), ()))
    return []


def _voice(event: Any) -> Hashable:
    """Return a block's index; what a server sends in the place of one tells no blocks apart."""
    return event.index if type(event.index) is int else None


def _part_texts(voice: Hashable, part: Any, place: Place, with_arguments: bool) -> list[Text]:
    """List the texts of a block, or of its delta; what is of an unknown type has whole ones."""
    if type(part) in _PLACES:
        key, channel = _PLACES[type(part)]
        value = getattr(part, key)
        if channel is ARGUMENTS and not with_arguments:
            return []
        return list(texts_below(voice, channel, value, (*place, key)))
    if isinstance(part, Raw | dict):  # parsed, where a message has it
        value = json.decode(part) if isinstance(part, Raw) else part
        return list(leaves_below(voice, CONTENT, value, place))
    if isinstance(part, messages.CitationsDelta) and isinstance(part.citation, Raw):
        citation = json.decode(part.citation)
        return list(leaves_below(voice, CONTENT, citation, (*place, "citation")))
    if isinstance(part, messages.UseBlock) and with_arguments:
        return list(leaves_below(voice, ARGUMENTS, part.input, (*place, "input"), but=()))
    return []


def _answer_texts(answer: Any, with_arguments: bool) -> list[Text]:
    found: list[Text] = []
    for index, block in enumerate(list_in(answer, "content")):
        found += _block_texts(index, block, with_arguments)
    return found


def _block_texts(index: int, block: dict[str, Any], with_arguments: bool) -> Iterator[Text]:
    """List the texts of a whole block."""
    place = ("content", index)
    for key, channel in (("text", CONTENT), ("thinking", REASONING), ("citations", CONTENT)):
        yield from leaves_below(index, channel, block.get(key), (*place, key))
    if block.get("type") == "compaction":
        yield from leaves_below(index, CONTENT, block.get("content"), (*place, "content"))
    if with_arguments:
        yield from leaves_below(index, ARGUMENTS, block.get("input"), (*place, "input"), but=())


def _ended(event: Any) -> list[Hashable]:
    return [_voice(event)] if type(event) is messages.ContentBlockStopEvent else []


def _copies(_event: Any, _text: Text) -> Edits:
    return {}


_DELTAS = {"content": ("text_delta", "text"), "reasoning": ("thinking_delta", "thinking")}


def _make(data: bytes, text: Text, channel: Channel, value: str) -> tuple[str, bytes]:
    if text.place[0] == "delta":
        return "content_block_delta", edit(data, {pointer(text.place): value})
    kind, key = _DELTAS.get(channel[0], ("input_json_delta", "partial_json"))
    delta = {"type": kind, key: value}
    event = {"type": "content_block_delta", "index": text.voice, "delta": delta}
    return "content_block_delta", json.encode(event)


DIALECT: Final = Dialect(
    decode=messages.decode,
    decode_utf8=messages.decode_utf8,
    facts=messages.Facts,
    decode_facts=messages.decode_facts,
    note=_note,
    find_error=_find_error,
    decode_usage=messages.decode_usage,
    model=("message", "model"),
    script=Script(
        marks=Marks(
            messages.Facts,
            {
                ("index",): FACT,
                ("delta", "type"): FACT,
                ("content_block", "type"): FACT,
                ("delta", "citation"): KIND,
                **{("delta", key): TEXT for key in ("text", "thinking", "content")},
                **{("content_block", key): TEXT for key in ("text", "thinking", "content")},
            },
            {("delta", "partial_json"): TEXT, ("content_block", "input"): TEXT},
        ),
        paths=(
            ("type",),
            ("index",),
            *(("delta", key) for key in ("type", "text", "thinking", "partial_json", "content")),
            *(("content_block", key) for key in ("type", "text", "thinking", "input", "content")),
            ("message", "content"),
        ),
        texts=_texts,
        ended=_ended,
        copies=_copies,
        make=_make,
        answer_texts=_answer_texts,
    ),
    notes={
        messages.MessageStartEvent: _note_start,
        messages.ContentBlockStartEvent: None,
        messages.ContentBlockDeltaEvent: None,
        messages.ContentBlockStopEvent: None,
        messages.MessageDeltaEvent: _note_end,
        messages.MessageStopEvent: _note_stop,
        messages.PingEvent: None,
    },
)
"""How a stream of events is read. The finish reason is the `stop_reason`, under the index 0."""
