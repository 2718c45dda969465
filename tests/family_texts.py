"""What the events of each family write in pieces, read from their JSON by a second, simple hand.

It knows nothing of dialects: what a relay does to texts is compared with what this finds.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from fastchunk.sse import parse_block

Voice = Hashable
Piece = tuple[Voice, str]

_INDEXES = ("output_index", "content_index", "summary_index", "command_index")


def parsed(block: bytes) -> dict[str, Any]:
    """Parse a block's event; what is no JSON object is an empty one."""
    try:
        value = json.loads(parse_block(block).data or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def pieces_of(event: dict[str, Any]) -> list[Piece]:
    """List the pieces of texts in an event of any family."""
    return [(voice, text) for voice, text in _pieces(event) if isinstance(text, str)]


def _pieces(event: dict[str, Any]) -> Iterator[tuple[Voice, Any]]:
    kind = event.get("type")
    if kind is None:
        for position, choice in enumerate(event.get("choices") or ()):
            yield choice.get("index", position), choice.get("text")
    elif kind in ("content_block_start", "content_block_delta"):
        part = event.get("content_block") or event.get("delta") or {}
        for key in ("text", "thinking", "partial_json"):
            yield (event["index"], key), part.get(key)
        if part["type"].startswith("compaction"):
            yield (event["index"], "compaction"), part.get("content")
    elif kind.startswith("response.") and kind.endswith(".delta"):
        yield (kind, *map(event.get, _INDEXES)), event["delta"]


def joined(events: Iterable[dict[str, Any]]) -> dict[Voice, str]:
    """Join the pieces of every text."""
    found: dict[Voice, str] = {}
    for event in events:
        for voice, text in pieces_of(event):
            found[voice] = found.get(voice, "") + text
    return {voice: text for voice, text in found.items() if text}


def across_cuts(events: Iterable[dict[str, Any]]) -> list[str]:
    """List strings that begin in one piece of a text and end in the next one."""
    last: dict[Voice, str] = {}
    found = []
    for event in events:
        for voice, text in pieces_of(event):
            before = last.get(voice, "")
            if before and text:
                found.append(before[-3:] + text[:3])
            last[voice] = text
    return found


def spelled_out(event: dict[str, Any]) -> list[str]:
    """List the texts that an event of Responses spells out once more."""
    response = event.get("response") or {}
    items = [*(response.get("output") or ()), event.get("item"), event.get("part"), event]
    return [text for item in items if item for text in _texts_of(item)]


def _texts_of(item: dict[str, Any]) -> Iterator[str]:
    parts = [*(item.get("content") or ()), *(item.get("summary") or ()), item]
    for part in parts:
        for key in ("text", "refusal", "arguments", "input", "code"):
            if isinstance(part.get(key), str):
                yield part[key]


def differences(one: Any, other: Any, place: tuple[str | int, ...] = ()) -> Iterator[Any]:
    """Yield every place at which two JSON values differ, with both values there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one | other:
            yield from differences(one.get(key), other.get(key), (*place, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, (*place, index))
    elif one != other:
        yield place, one, other
