"""Reads that are decoded, and those that are shown to somebody who may change them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

from .alike import Alike, LookAlike
from .frame import Tally, cut_named, cut_plain, note_done

__all__ = ["Decode", "Look", "Looker", "Notes", "Reader", "guarded_decoder", "iterate", "raising"]

Notes: TypeAlias = "dict[type, Callable[[Any, Any], None] | None]"
"""By the type of an event what takes note, in a tally, of what it says of its stream; or None."""

Look: TypeAlias = "Callable[[bytes, Any], bytes | tuple[bytes, bytes | None] | None]"
"""Takes data and the chunk that it was decoded to; returns the data if it leaves as it came, other
data to take its place, or None to withhold it; or a pair of whole blocks that go before it and of
that."""
Decode = TypeVar("Decode", bound=Callable[..., Any])


def guarded_decoder(fast: Decode, otherwise: Decode) -> Decode:  # noqa: ARG001
    """Build a decode function; the compiled one lets `fast` decode what passes a cheap check."""
    return otherwise


class Reader:
    """Decodes chunks that ask for no decision, up to `[DONE]`."""

    def __init__(
        self,
        decode: Callable[[bytes], Any],
        tally: Tally,
        limit: int,
        notes: Notes | None = None,
    ) -> None:
        """Take a decode function for UTF-8, in which what is absent is `UNSET`.

        Events of a type that is not in `notes` ask for a decision. Without it, it decodes chunks.
        """
        self.ready = False
        """Whether a read begins with a block."""
        self._decode = decode
        self._tally = tally
        self._limit = limit
        self._notes = notes
        self._done: tuple[list[Any], int] = ([], 0)

    def feed(self, data: object) -> list[Any] | None:
        """Take a read of whole events and return its chunks; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes or len(data) > self._limit:
            return None
        plain = cut_plain(data)
        if plain is None:
            return None
        found, ends = plain
        chunks: list[Any] = []
        at = 0
        for event in found:
            chunk = self.read(event)
            if chunk is None:
                self.ready = False
                if note_done(event, self._tally):
                    return chunks  # nothing is looked at that comes behind it
                self._done = (chunks, at)
                return None
            chunks.append(chunk)
            if self._tally.done:
                self.ready = False
                return chunks
            at += len(event) + len(ends) + 6
        return chunks

    def rest(self) -> tuple[list[Any], int]:
        """Return the chunks that `feed` has decoded already, and how many bytes of the read."""
        done, self._done, self.ready = self._done, ([], 0), False
        return done

    def forward(self, whole: bytes, begin: int) -> tuple[list[Any], int]:
        """Decode events from `begin` up to one that asks for a decision."""
        chunks: list[Any] = []
        at = begin
        for data, _, end in cut_named(whole, begin):
            chunk = self.read(data)
            if chunk is None:
                return chunks, end if note_done(data, self._tally) else at
            chunks.append(chunk)
            at = end
            if self._tally.done:
                break
        return chunks, at

    def read(self, data: bytes) -> Any:
        """Decode one event's data; None if it asks for a decision."""
        try:
            if not data.isascii():
                data.decode()
            chunk = self._decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        if self._notes is not None:
            return self._noted(chunk, self._notes)
        if not _is_plain_chunk(chunk):
            return None
        self._tally.note(chunk)
        return chunk

    def _noted(self, event: Any, notes: Notes) -> Any:
        """Take note of what an event says; return it, or None if its type is not known."""
        if type(event) not in notes:
            return None
        note = notes[type(event)]
        if note is not None:
            try:
                note(event, self._tally)
            except msgspec.DecodeError:
                return None
        self._tally.chunks += 1
        return event


def iterate(
    reads: Iterator[Any],
    reader: Reader | None,
    take: Callable[[Any], list[Any]],
    end: Callable[[], list[Any]],
    tally: Tally,
) -> Iterator[Any]:
    """Iterate over the chunks of reads, up to where the tally says that the stream is done.

    `take` gets a read that the reader leaves, and `end` is called behind the last one. Both return
    lists of chunks; an error among them is raised in its place, and ends the iteration.
    """
    for data in reads:
        chunks = reader.feed(data) if reader else None
        yield from raising(take(data)) if chunks is None else chunks
        if tally.done:
            return
    yield from raising(end())


def raising(items: Iterable[Any]) -> Iterator[Any]:
    """Iterate over chunks, and raise an error among them in its place."""
    for item in items:
        if isinstance(item, BaseException):
            raise item
        yield item


class Looker:
    """Passes on what a function says of each chunk, and leaves what asks for another decision."""

    def __init__(
        self,
        reader: Reader,
        look: Look,
        limit: int,
        alike: Alike | None = None,
        look_alike: LookAlike | None = None,
    ) -> None:
        """Take what decodes events, and the function; and that for what `alike` recognizes."""
        self.ready = False
        """Whether a read begins with a block."""
        self._read = reader.read
        self._look = look
        self._alike = alike
        self._look_alike = look_alike
        self._limit = limit
        self._done = (b"", 0)

    def feed(self, data: object) -> bytes | None:
        """Take a read of whole events and return what leaves; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes or len(data) > self._limit:
            return None
        self.ready = False  # unless nothing is raised
        out, at = self.forward(data, 0)
        if at == len(data):
            self.ready = True
            return out
        self._done = out, at
        return None

    def rest(self) -> tuple[bytes, int]:
        """Return what has been passed on already, and how many bytes of the read that was."""
        done, self._done, self.ready = self._done, (b"", 0), False
        return done

    def forward(self, whole: bytes, begin: int) -> tuple[bytes, int]:
        """Pass events on from `begin` up to one that asks for a decision."""
        read, look = self._read, self._look
        alike: Any = self._alike
        look_alike: Any = self._look_alike
        parts: list[bytes] = []
        at = kept = begin
        try:
            for data, start, end in cut_named(whole, begin):
                left = None
                found = alike.find(data) if alike else None
                if found is not None:
                    said, text = found
                    left = look_alike(data, said, text)
                if left is None:
                    chunk = read(data)
                    if chunk is None:
                        break
                    left = look(data, chunk)
                else:
                    alike.note(data)
                if left is not data:
                    parts.append(whole[kept:at])
                    if isinstance(left, tuple):
                        before, left = left
                        parts.append(before)
                    kept = end
                    if left is not None:
                        parts += [whole[at:start], left, whole[start + len(data) : end]]
                at = end
        except BaseException:
            self._done = b"".join(parts) + whole[kept:at], 0
            raise
        if not parts:
            return (whole if at - begin == len(whole) else whole[begin:at]), at
        parts.append(whole[kept:at])
        return b"".join(parts), at


def _is_plain_chunk(chunk: Any) -> bool:
    """Tell whether an event is a chunk by its choices, and has no error."""
    return chunk.choices is not UNSET and (chunk.error is None or chunk.error is UNSET)
