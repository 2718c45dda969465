"""What has to be known of a family, so that its streams can be read, watched and changed.

Each family has a `Dialect`: how one event is decoded, what it says of its stream, where it writes
the model, and where the texts are that a stream writes in pieces. `ChunkStream` and `Relay` ask it,
and know no family by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from .codec import Data
from .edit import pointer
from .scan import Notes, Path, Tally, paths_of
from .text import Channel

__all__ = [
    "ARGUMENTS",
    "CONTENT",
    "REASONING",
    "REFUSAL",
    "TEXT_KEYS",
    "Dialect",
    "Edits",
    "Marks",
    "Place",
    "Script",
    "Text",
    "Unseen",
    "leaves_below",
    "list_in",
    "texts_below",
]

CONTENT: Final[Channel] = ("content", 0)
REASONING: Final[Channel] = ("reasoning", 0)
REFUSAL: Final[Channel] = ("refusal", 0)
ARGUMENTS: Final[Channel] = ("arguments", 0)

Place: TypeAlias = "tuple[str | int, ...]"
"""The keys and indices that lead to a value in an event."""
Edits: TypeAlias = "dict[Place, Any]"
"""Places in an event, each with its new value; `DROP` removes what is there."""


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
    tokens: Place | None = None
    """Where the tokens of the text are, which spell it out."""


class Marks:
    """What tells events apart for text rules: where two say the same, only their texts differ.

    `roles` are the paths, each with its role in a `scan.Table`; there are more of them where rules
    read the arguments of tool calls.
    """

    def __init__(
        self, facts: type[Struct], roles: dict[Path, int], for_arguments: dict[Path, int]
    ) -> None:
        self._roles = {**paths_of(facts), **roles}
        self._all_roles = {**self._roles, **for_arguments}

    def roles(self, *, with_arguments: bool) -> dict[Path, int]:
        """Return the paths and their roles."""
        return self._all_roles if with_arguments else self._roles


class Script(NamedTuple):
    """Where a family's events have their texts, and how a text is put into one."""

    marks: Marks
    """What decides where an event's texts are, and their copies."""
    paths: tuple[Path, ...]
    """What leads to the texts. Where one of these keys comes twice, an event is not as it seems."""
    texts: Callable[[Any, bool], list[Text]]
    """List the texts of an event, with those of tool calls or without; raises `Unseen`.

    A value that has texts below it is listed as an empty one: there, too, keys may come twice.
    """
    ended: Callable[[Any], list[Hashable]]
    """List the voices whose texts end with an event."""
    copies: Callable[[Any, Text], Edits]
    """Take out what else in an event spells a text out, or how long it is."""
    make: Callable[[bytes, Text, Channel, str], tuple[str, bytes]]
    """Make an event, its type and data, with nothing but that text: like the other text's event."""
    answer_texts: Callable[[Any, bool], list[Text]]
    """List the texts of an answer that is not streamed, a parsed document; raises `Unseen`."""
    errors: tuple[Place, ...] = (("error",),)
    """Where events have the server's errors, which may quote what the model has written."""
    put: Callable[[Text, Channel, str], Edits] | None = None
    """Write text on another channel of a text's voice; None where a voice has but one."""
    stop: Callable[[Any, Hashable, str], Edits] | None = None
    """Write the reason for which a voice was stopped; None where none can be stopped."""
    silence: Callable[[Any, Collection[Hashable]], Edits | None] | None = None
    """Take voices out of an event; None if nothing would be left of it."""
    passing: tuple[str, ...] = ()
    """Keys that differ from event to event, and that nobody reads."""
    rename: Callable[[bytes, str], bytes] | None = None
    """Write the reasoning under another name; None where it has but one."""


def _is_no_chunk(_data: bytes) -> bool:
    return False


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
    decode_usage: Callable[[bytes], Any]
    """Decode a usage object."""
    model: Path
    """Where an event writes the model's name, if it does."""
    script: Script
    notes: Notes | None = None
    """By the type of an event what takes note of what it says of its stream, or None if it says
    nothing; those of other types ask for a decision. Without notes, events are chunks."""
    is_chunk: Callable[[bytes], bool] = _is_no_chunk
    """Tell whether data is a chunk event although its facts could not be decoded: by default it is
    none, since what is a JSON object has facts."""
    has_usage_chunks: bool = False
    """Whether a client asks for usage, and gets it in chunks without choices."""


# --- where texts are ----------------------------------------------------------------------------

TEXT_KEYS = ("text", "thinking", "content", "reasoning", "summary", "refusal")
"""The keys that lead to the texts of parts."""
# What else parts hold: no text of the model's, or one that is encrypted.
_OTHER_KEYS = frozenset({"type", "id", "index", "format", "signature", "data", "annotations"})
_EXPECTED_KEYS = _OTHER_KEYS.union(TEXT_KEYS)
_CHANNELS = {
    "thinking": "reasoning",
    "reasoning": "reasoning",
    "summary": "reasoning",
    "refusal": "refusal",
}
NAMES = frozenset(
    "type id call_id item_id tool_use_id role status name signature data encrypted_content "
    "partial_image_b64 result url file_id".split()
)
"""The keys of what is no text: names, addresses, and what is encoded."""


def list_in(answer: Any, key: str) -> list[Any]:
    """Return the list under a key of an answer, what is no object in it as an empty one.

    An error need not have it. Raises `Unseen` for anything else: it may hold texts, and nobody
    knows where.
    """
    found = answer.get(key)
    if found is None and (key in answer or answer.get("error") is not None):
        return []
    if not isinstance(found, list) or any(isinstance(item, (str, list)) for item in found):
        raise Unseen(f"/{key}: it is to be a list of objects")
    return [item if isinstance(item, dict) else {} for item in found]


def texts_below(
    voice: Hashable, channel: Channel, value: Any, place: Place, *, is_whole: bool = False
) -> Iterator[Text]:
    """List the texts in a value: itself, or what the parts that it consists of hold.

    What consists of parts is listed before them, empty. Raises `Unseen` for a part that holds a
    text under another key.
    """
    if isinstance(value, (dict, list)):
        yield Text(voice, channel, "", place)
    pending: list[tuple[Any, Place, Channel]] = [(value, place, channel)]
    while pending:  # no recursion: the server decides how deep it goes
        value, place, channel = pending.pop()
        if isinstance(value, str):
            if value:
                yield Text(voice, channel, value, place, is_whole)
        elif isinstance(value, list):
            pending += [(item, (*place, n), channel) for n, item in reversed([*enumerate(value)])]
        elif isinstance(value, dict):
            unexpected = {key: value[key] for key in value.keys() - _EXPECTED_KEYS}
            if any(text.value for text in leaves_below(voice, channel, unexpected, place)):
                raise Unseen(f"{pointer(place)}: no text is expected in this shape")
            for key in reversed(TEXT_KEYS):
                if key in value:
                    pending.append((value[key], (*place, key), _channel_below(channel, key)))


def _channel_below(channel: Channel, key: str) -> Channel:
    """Tell what the parts of a content hold: it may be the reasoning, or a refusal."""
    if channel[0] == "content" and key in _CHANNELS:
        return _CHANNELS[key], channel[1]
    return channel


def leaves_below(
    voice: Hashable,
    channel: Channel,
    value: Any,
    place: Place,
    *,
    but: Collection[str] = NAMES,
) -> Iterator[Text]:
    """List every text in a value as a whole one, `but` for what stands under some keys.

    What consists of parts is listed before them, empty.
    """
    if isinstance(value, (dict, list)):
        yield Text(voice, channel, "", place)
    pending: list[tuple[Any, Place]] = [(value, place)]
    while pending:
        value, place = pending.pop()
        if isinstance(value, str) and value:
            yield Text(voice, channel, value, place, is_whole=True)
        elif isinstance(value, list):
            pending += [(item, (*place, n)) for n, item in enumerate(value)]
        elif isinstance(value, dict):
            pending += [(item, (*place, key)) for key, item in value.items() if key not in but]
