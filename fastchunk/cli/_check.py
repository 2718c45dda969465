r"""`fastchunk check`: everything odd about a stream.

In:  the items of a stream.
Out: one line for each oddity. A problem is what fastchunk itself cannot read, and what `fastchunk
read` reports in the same words; it is written as soon as it is found, each one by itself. A note is
what other clients may trip over; notes come at the end, each with its first place and its count.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Struct

from fastchunk import DONE, InvalidChunk, encode, models
from fastchunk.codec import UnknownEvent
from fastchunk.sse import BOM

from ._document import find_losses, find_unknown_keys, parse
from ._family import CHAT, Kind
from ._input import read_input
from ._output import Output, escape_line, standard_output
from ._reading import FIELD_NAMES, Item, Reading, format_place, split_lines
from ._tally import Tally, format_count

__all__ = ["Check", "Oddity", "report"]

_POSITION = re.compile(r"\[\d+\]")


def report(path: str, *, as_json: bool) -> Check:
    """Report on the stream at `path`, as it comes; return the check with its counts."""
    with standard_output() as out:
        reading, check = Reading(), Check(out, path, as_json=as_json)
        for item in reading.items(read_input(path, before=out.flush)):
            check.take(item, reading)
        check.end(reading)
    return check


class Oddity(Struct):
    """One line of the report."""

    level: Literal["problem", "note"]
    kind: str
    event: int | None
    offset: int
    count: int
    message: str

    def format_line(self, name: str) -> str:
        """Write it for people."""
        place = format_place(self.offset, self.event)
        message = f"{self.message}{format_count(self.count)}"
        return escape_line(f"{name}: {place}: {self.level}: {self.kind}: {message}")


class Check:
    """Looks at one stream, item by item."""

    def __init__(self, out: Output, name: str, *, as_json: bool) -> None:
        self.problems = 0
        self._out = out
        self._name = name
        self._as_json = as_json
        self._notes: Tally[tuple[str, str]] = Tally()
        self._was_done = False
        self._goes_on = False  # whether what follows the end was noted

    @property
    def notes(self) -> int:
        """How many different notes there are."""
        return len(self._notes.entries) + (self._notes.others is not None)

    def take(self, item: Item, reading: Reading) -> None:
        """Look at the next item."""
        was_done, self._was_done = self._was_done, reading.stream.done
        if item.unfinished:
            self._note(item, "no-empty-line", "the input ends in a block without its empty line")
        if was_done:
            self._take_after_done(item, reading.kind)
            return
        self._take_lines(item)
        if item.data is not None and item.data != DONE:
            self._take_data(item, item.data, reading.kind)
        if item.fault:
            self.problems += 1
            kind, message = item.fault
            self._report(Oddity("problem", kind, item.event, item.offset, 1, message))

    def end(self, reading: Reading) -> None:
        """Note how the stream ended, and report the notes."""
        # An error ends a message or a response; chat's [DONE] may come behind it.
        failed = reading.stream.error is not None and not reading.kind.has_choices
        if not (reading.stream.done or reading.truncated or failed):
            message = f"the stream is complete without {reading.kind.end}"
            self._note(Item(reading.size), "no-done", message)
        for (kind, message), found in self._notes.entries.items():
            self._report(Oddity("note", kind, found.event, found.offset, found.count, message))
        if rest := self._notes.others:
            message = "there are more different notes than are counted one by one"
            self._report(Oddity("note", "more", rest.event, rest.offset, rest.count, message))

    def _take_after_done(self, item: Item, kind: Kind) -> None:
        # An empty line or a comment after the end is harmless, and so is a [DONE] that the API does
        # not ask for. A fault is an endless event: it is no problem here, because no client reads
        # that far.
        if item.data == DONE and not kind.has_choices:
            return
        if not self._goes_on and (item.fault or any(map(_has_content, split_lines(item.block)))):
            self._goes_on = True
            message = f"the input goes on after {kind.end}; nothing from here on was checked"
            self._note(item, "after-done", message)

    def _take_lines(self, item: Item) -> None:
        block = item.block
        if item.offset == 0 and block.startswith(BOM):
            block = block.removeprefix(BOM)
            self._note(item, "bom", "the stream begins with a byte order mark")
        if b"\r" in block:
            self._note(item, "carriage-return", "lines end with CRLF or CR")
        if any(map(_is_ignored, split_lines(block))):
            self._note(item, "ignored-line", "a line is not a field of an event, and is ignored")

    def _take_data(self, item: Item, data: bytes, kind: Kind) -> None:
        try:
            self._take_document(item, data, kind)
        except RecursionError:
            self._note(item, "too-deep", "nested too deeply for check to look inside")

    def _take_document(self, item: Item, data: bytes, kind: Kind) -> None:
        try:
            document = parse(data)
        except ValueError:  # not JSON: the item's fault says so, or its text is the server's error
            return
        for name in dict.fromkeys(document.constants):
            self._note(item, "not-a-number", f"{name} is not JSON")
        for key in dict.fromkeys(document.repeated):
            self._note(item, "duplicate-key", f"{key} comes more than once in an object")
        if isinstance(item.chunk, UnknownEvent):
            self._note(item, "unknown-type", f"{kind.name} does not know {item.chunk.type}")
        elif item.chunk is not None:
            for struct, place in find_unknown_keys(document.value, type(item.chunk)):
                self._note(item, "unknown-key", f"{kind.name}'s {struct} does not know {place}")
            if kind == CHAT:
                self._take_mirrored(item, data, document.value)
        elif item.fault is None:
            self._note(item, "no-chunk", "an event is neither a chunk nor an error")

    def _take_mirrored(self, item: Item, data: bytes, value: object) -> None:
        """Note what a program loses that reads the chunk into the mirror and writes it again."""
        try:
            chunk = models.decode(data)
        except InvalidChunk as error:
            for detail in error.errors():
                # Without its positions, what every chunk has is one note and not many.
                self._note(item, "mirror-rejects", _POSITION.sub("[]", detail["msg"]))
            return
        for verb, place in find_losses(value, parse(encode(chunk)).value):
            self._note(item, f"mirror-{verb}", f"the mirror {verb} {place}")

    def _note(self, item: Item, kind: str, message: str) -> None:
        self._notes.add((kind, message), item)

    def _report(self, oddity: Oddity) -> None:
        if self._as_json:
            self._out.write_document(msgspec.json.encode(oddity))
        else:
            style = "bold" if oddity.level == "problem" else ""
            self._out.write_line(oddity.format_line(self._name), style)


def _has_content(line: bytes) -> bool:
    """Tell whether a line is more than a comment."""
    return bool(line) and line[:1] != b":"


def _is_ignored(line: bytes) -> bool:
    """Tell whether a line has content, but is not a field that the standard knows."""
    return _has_content(line) and line.partition(b":")[0] not in FIELD_NAMES
