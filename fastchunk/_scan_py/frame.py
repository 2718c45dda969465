"""A stream's framing, and what it has said so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw

__all__ = [
    "DONE",
    "Made",
    "Tally",
    "cut_named",
    "cut_plain",
    "is_utf8",
    "note_done",
    "plain_events",
]

Made = TypeVar("Made")

DONE = b"[DONE]"
"""The data of the event that ends a stream of chunks."""

_LINE_FEED, _RETURN = 0x0A, 0x0D


class Tally:
    """What a stream has said so far: how many chunks and other events, and what was in them."""

    def __init__(self) -> None:
        self.chunks = self.others = 0
        self.done = False
        self.usage_data: bytes | None = None
        self.indexes: set[int] = set()
        self.finish_reasons: dict[int, str] = {}

    def note(self, chunk: Any) -> None:
        """Take note of a chunk: of its choices, of their finish reasons, and of its usage."""
        self.chunks += 1
        if chunk.choices:
            self._note_choices(chunk.choices)
        if chunk.usage is not UNSET and chunk.usage is not None:
            self._note_usage(chunk.usage)

    def _note_usage(self, usage: Any) -> None:
        # Whoever gets the chunk may change its usage, so it is not the Struct that is kept.
        data = bytes(usage) if type(usage) is Raw else msgspec.json.encode(usage)
        if data[:1] == b"{":
            self.usage_data = data

    def _note_choices(self, choices: list[Any]) -> None:
        for position, choice in enumerate(choices):
            index, reason = choice.index, choice.finish_reason
            if type(index) is not int:
                index = position
            self.indexes.add(index)
            if reason and type(reason) is str:
                self.finish_reasons[index] = reason


def cut_plain(whole: bytes) -> tuple[list[bytes], bytes] | None:
    """Cut whole blocks of the shape that servers write, `data: ...` and an empty line, into data.

    Returns each block's data, and the two line ends behind it, the same for all; None if there is
    a block of another shape.
    """
    if whole[:6] != b"data: ":
        return None
    if whole[-2:] == b"\n\n":
        ends, data = b"\n\n", whole[6:-2].split(b"\n\ndata: ")
        content = whole
    elif whole[-4:] == b"\r\n\r\n":
        ends, data = b"\r\n\r\n", whole[6:-4].split(b"\r\n\r\ndata: ")
        content = b"".join(data)
    else:
        return None
    # Looking for one byte takes a third of what counting it does.
    if _RETURN in content or _LINE_FEED in b"".join(data):
        return None
    return data, ends


def plain_events(whole: bytes, make: Callable[..., Made], last_id: str = "") -> list[Made] | None:
    """Make an event of each block's data; None if there is a block of another shape.

    `make` takes the data, and, where they are not the usual ones, the type, the id, and the block
    if its line ends are CRLF.
    """
    plain = cut_plain(whole)
    if plain is None:
        return None
    found, ends = plain
    if len(ends) == 4:
        return [make(data, "message", last_id, b"data: %b%b" % (data, ends)) for data in found]
    if last_id:
        return [make(data, "message", last_id) for data in found]
    return list(map(make, found))


_NAMED = re.compile(rb"(?:event: (?!error\r?\n)[^\r\n]*\r?\n)?data: ([^\r\n]*)(\r?\n\r?\n)")


def cut_named(whole: bytes, begin: int) -> Iterator[tuple[bytes, int, int]]:
    """Cut blocks of the usual shapes from `begin` on: the data, where it is, where its block ends.

    Such a block is one line of data, or two lines, of which the first names the event.
    """
    plain = None if begin else cut_plain(whole)
    if plain is not None:
        found, ends = plain
        for data in found:
            start = begin + 6
            begin = start + len(data) + len(ends)
            yield data, start, begin
        return
    match = _NAMED.match(whole, begin)
    while match:
        yield match[1], match.start(1), match.end()
        match = _NAMED.match(whole, match.end())


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def note_done(data: bytes, tally: Tally) -> bool:
    """Tell whether an event ends its stream, and take note of it."""
    if data != DONE:
        return False
    tally.others += 1
    tally.done = True
    return True
