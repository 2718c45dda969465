"""What has to be known of a family, so that its streams can be read, watched and changed.

Each family has a `Dialect`: how one event is decoded, what it says of its stream, where it writes
the model, and where the texts are that a stream writes in pieces. `ChunkStream` and `Relay` ask it,
and know no family by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any, NamedTuple, TypeAlias

from msgspec import Struct

from .codec import Data
from .scan import Path, Tally
from .text import Channel

__all__ = ["Dialect", "Place", "Script", "Text", "Unseen"]

Place: TypeAlias = "tuple[str | int, ...]"
"""The keys and indices that lead to a value in an event."""


class Unseen(Exception):
    """An event has text in a shape in which nobody looks for it."""


class Text(Struct, frozen=True, gc=False):
    """A piece of text in an event."""

    voice: Hashable
    """Whose text it is: a choice or a block. Rules join no texts of two voices."""
    channel: Channel
    value: str
    place: Place
    is_whole: bool = False
    """Whether it is all of a text, and no piece of one."""
    also: Place | None = None
    """Where the same text stands a second time."""


class Script(NamedTuple):
    """Where a family's events have their texts, and how a text is put into one."""

    paths: tuple[Path, ...]
    """What leads to the texts. Where one of these keys comes twice, an event is not as it seems."""
    texts: Callable[[Any, bool], list[Text]]
    """List the texts of an event, with those of tool calls or without; raises `Unseen`."""
    ended: Callable[[Any], list[Hashable]]
    """List the voices whose texts end with an event."""
    copies: Callable[[Any, Text], list[Place]]
    """List what else in an event spells a text out, or how long it is."""
    put: Callable[[Text, Channel, str], dict[Place, Any]]
    """Write text on a channel into the event that has another text of the same voice."""
    make: Callable[[bytes, Text, Channel, str], tuple[str, bytes]]
    """Make an event, its type and data, with nothing but that text: like the other text's event."""
    answer_texts: Callable[[Any, bool], list[Text]]
    """List the texts of an answer that is not streamed, a parsed document; raises `Unseen`."""
    stop: Callable[[Any, Hashable, str], dict[Place, Any]] | None = None
    """Write the reason for which a voice was stopped; None where none can be stopped."""
    silence: Callable[[Any, Collection[Hashable]], dict[Place, Any] | None] | None = None
    """Take voices out of an event; None if nothing would be left of it."""
    rename: Callable[[bytes, str], bytes] | None = None
    """Write the reasoning under another name; None where it has but one."""
    splits: bool = False
    """Whether text can be moved to another channel of its voice."""


class Dialect(NamedTuple):
    """How a family's events are read."""

    decode: Callable[[Data], Any]
    """Decode an event's data in three states; raises `InvalidChunk`."""
    decode_utf8: Callable[[bytes], Any]
    """Do the same with data whose UTF-8 is known to be valid; may raise msgspec's own errors."""
    facts: type[Struct]
    """What a relay has to know of an event; the paths that the scanner looks for are made of it."""
    decode_facts: Callable[[Data], Any]
    """Decode an event's facts."""
    note: Callable[[Any, Tally], bool]
    """Take note of what an event's facts say, and tell whether it is a chunk event."""
    find_error: Callable[[Any], Any]
    """Return the error that is among an event's facts, or None."""
    is_chunk: Callable[[bytes], bool]
    """Tell whether data is a chunk event although its facts could not be decoded."""
    decode_usage: Callable[[bytes], Any]
    """Decode a usage object."""
    model: Path
    """Where an event writes the model's name, if it does."""
    script: Script
    silent: frozenset[type] | None = None
    """The types of events that say nothing a stream has to know; None: it is to be looked at."""
    has_usage_chunks: bool = False
    """Whether a client asks for usage, and gets it in chunks without choices."""
