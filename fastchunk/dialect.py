"""What has to be known of a family, so that its streams can be read, watched and changed.

Each family's module has a `DIALECT`: how one event is decoded, what it says of its stream, and
where it writes the model. `ChunkStream` and `Relay` ask it, and know no family by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct

from .codec import Data
from .scan import Path, Tally

__all__ = ["Dialect"]


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
    silent: frozenset[type] | None = None
    """The types of events that say nothing a stream has to know; None: it is to be looked at."""
    has_usage_chunks: bool = False
    """Whether a client asks for usage, and gets it in chunks without choices."""
