"""Which API a stream is of.

In:  the data of an event.
Out: the family that its events belong to, and what the commands have to say about it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fastchunk import completions, messages, responses, wire

__all__ = ["CHAT", "COMPLETIONS", "MESSAGES", "RESPONSES", "Kind", "recognise"]


class Kind(NamedTuple):
    """A kind of stream."""

    family: Any
    """The module that reads it."""
    end: str
    """What says that the stream is done."""

    @property
    def name(self) -> str:
        """The family's name."""
        return str(self.family.__name__).rpartition(".")[2]

    @property
    def has_choices(self) -> bool:
        """Whether an answer consists of choices, and a stream ends with `[DONE]`."""
        return self in {CHAT, COMPLETIONS}


CHAT = Kind(wire, "[DONE]")
COMPLETIONS = Kind(completions, "[DONE]")
MESSAGES = Kind(messages, "message_stop")
RESPONSES = Kind(responses, "the whole response")


class _Choice(Struct):
    text: Any = None
    delta: Any = None


class _Head(Struct):
    """What tells the kind of an event."""

    type: Any = None
    object: Any = None
    choices: list[_Choice] | None = None


_decode = msgspec.json.Decoder(_Head).decode
_MESSAGES_PREFIXES = ("message_", "content_block_", "ping")


def recognise(data: bytes) -> Kind | None:
    """Tell the kind of a stream by the data of one of its events; None if that does not say."""
    try:
        head = _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    kind = head.type
    if isinstance(kind, str):
        if kind.startswith("response."):
            return RESPONSES
        if kind.startswith(_MESSAGES_PREFIXES):
            return MESSAGES
    if head.object == "text_completion":
        return COMPLETIONS
    if head.choices:
        has_texts = any(choice.text is not None for choice in head.choices)
        has_deltas = any(choice.delta is not None for choice in head.choices)
        return COMPLETIONS if has_texts and not has_deltas else CHAT
    return None
