"""What an event says that a person would read.

In:  an event of completions, Messages or Responses.
Out: its pieces of text, each with the place that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fastchunk import completions, messages, responses

__all__ = ["Piece", "pieces_of"]


class Piece(NamedTuple):
    """The next piece of a text, or the beginning of a tool call."""

    channel: str
    """What it is: `answer`, `reasoning`, `refusal`, or `tool call` and its number."""
    text: str
    choice: int = 0
    tool: str = ""
    """The name of the tool whose call begins here."""


def pieces_of(event: Any) -> Iterator[Piece]:
    """List the pieces of an event; what repeats others is none."""
    if isinstance(event, completions.CompletionStreamResponse):
        for position, choice in enumerate(event.choices or ()):
            yield Piece("answer", _text_in(choice.text), choice.index_or(position))
    elif isinstance(event, messages.ContentBlockStartEvent):
        yield from _begun(event)
    elif isinstance(event, messages.ContentBlockDeltaEvent):
        channel, key = _DELTAS.get(type(event.delta), ("", ""))
        if channel:
            text = _text_in(getattr(event.delta, key))
            yield Piece(_numbered(channel, event.index), text)
    elif isinstance(event, responses.ResponseOutputItemAddedEvent):
        name = _name_in(event.item)
        if name:
            yield Piece(_numbered(_CALL, event.output_index), "", tool=name)
    elif type(event) in _CHANNELS:
        yield Piece(_numbered(_CHANNELS[type(event)], event.output_index), _text_in(event.delta))


def _begun(event: messages.ContentBlockStartEvent) -> Iterator[Piece]:
    """List what a content block begins with."""
    block = event.content_block
    if isinstance(block, messages.UseBlock):
        yield Piece(_numbered(_CALL, event.index), "", tool=_text_in(block.name))
    elif isinstance(block, messages.TextBlock):
        yield Piece("answer", _text_in(block.text))
    elif isinstance(block, messages.ThinkingBlock):
        yield Piece("reasoning", _text_in(block.thinking))


_CALL = "tool call"
_DELTAS: dict[type, tuple[str, str]] = {
    messages.TextDelta: ("answer", "text"),
    messages.ThinkingDelta: ("reasoning", "thinking"),
    messages.InputJSONDelta: (_CALL, "partial_json"),
}
_CHANNELS: dict[type, str] = {
    responses.ResponseTextDeltaEvent: "answer",
    responses.ResponseRefusalDeltaEvent: "refusal",
    responses.ResponseReasoningTextDeltaEvent: "reasoning",
    responses.ResponseReasoningSummaryTextDeltaEvent: "reasoning",
    responses.ResponseFunctionCallArgumentsDeltaEvent: _CALL,
    responses.ResponseCustomToolCallInputDeltaEvent: _CALL,
    responses.ResponseMcpCallArgumentsDeltaEvent: _CALL,
    responses.ResponseCodeInterpreterCallCodeDeltaEvent: _CALL,
}


def _numbered(channel: str, index: object) -> str:
    """Name a tool call by its number; other texts need none."""
    return f"{channel} {index}" if channel == _CALL and isinstance(index, int) else channel


class _Named(Struct):
    name: Any = None


_decode_named = msgspec.json.Decoder(_Named).decode


def _name_in(item: Any) -> str:
    """Return the name of the tool that an unparsed item calls; "" if it calls none."""
    try:
        return _text_in(_decode_named(item or b"{}").name)
    except msgspec.DecodeError:  # it is no object
        return ""


def _text_in(value: object) -> str:
    return value if isinstance(value, str) else ""
