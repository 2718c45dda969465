r"""`fastchunk check`: everything odd about a stream.

In:  the items of a stream.
Out: one line for each oddity. Problems are what some client fails at or loses something by, and
are written as they are found, each for itself. Notes are what clients ought to take in their
stride, and come at the end, each with its first place and its count.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Struct

from fastchunk import models, wire
from fastchunk.codec import encode
from fastchunk.errors import EventTooLarge, InvalidChunk, TruncatedStream, UpstreamError
from fastchunk.sse import BOM, DONE

from ._document import NotJSON, parse, round_trip_losses, unknown_keys
from ._input import reads
from ._output import Output, one_line
from ._reading import Item, Reading
from ._tally import Tally, times

__all__ = ["Check", "Oddity", "show"]

_FIELDS = {b"", b"data", b"event", b"id", b"retry"}
_LINE_END = re.compile(rb"\r\n|\n|\r")
_POSITION = re.compile(r"\[\d+\]")
_KINDS = {
    EventTooLarge: "too-large",
    TruncatedStream: "truncated",
    UpstreamError: "error-event",
    InvalidChunk: "invalid-chunk",
}


def show(path: str, *, as_json: bool) -> Check:
    """Report on the stream at `path`, as it comes; return what was counted."""
    out, reading = Output(), Reading()
    check = Check(out, path, as_json=as_json)
    for item in reading.items(reads(path, before=out.flush)):
        check.take(item, reading)
    check.end(reading)
    out.flush()
    return check


class Oddity(Struct):
    """One line of the report."""

    level: Literal["problem", "note"]
    kind: str
    event: int | None
    offset: int
    count: int
    message: str

    def line(self, name: str) -> str:
        """Write it for people."""
        place = Item(self.offset, self.event).place
        message = f"{self.message}{times(self.count)}"
        return one_line(f"{name}: {place}: {self.level}: {self.kind}: {message}")


class Check:
    """Looks at one stream, item by item."""

    def __init__(self, out: Output, name: str, *, as_json: bool) -> None:
        self._out = out
        self._name = name
        self._as_json = as_json
        self._notes: Tally[tuple[str, str]] = Tally()
        self._done = False
        self._continues = False  # whether something after [DONE] was reported
        self.problems = 0

    @property
    def notes(self) -> int:
        """How many different notes there are."""
        return len(self._notes.entries) + (self._notes.others is not None)

    def take(self, item: Item, reading: Reading) -> None:
        """Look at the next item."""
        after_done, self._done = self._done, reading.seen.done
        if item.block and item.block is reading.unfinished:
            self._note(item, "no-empty-line", "the input ends in a block without its empty line")
        if after_done:
            self._take_after_done(item)
            return
        self._take_lines(item)
        if item.data is not None and item.data != DONE:
            self._take_data(item, item.data)
        elif item.fault:
            self._problem(item, _KINDS[type(item.fault)], str(item.fault))

    def end(self, reading: Reading) -> None:
        """Report the end, and what was noted."""
        if not self._done and not reading.truncated:
            self._problem(Item(reading.size), "no-done", "the stream ends without [DONE]")
        for (kind, message), found in self._notes.entries.items():
            self._report(Oddity("note", kind, found.event, found.offset, found.count, message))
        if rest := self._notes.others:
            message = "there is more, and too much of it to count it apart"
            self._report(Oddity("note", "more", rest.event, rest.offset, rest.count, message))

    def _take_after_done(self, item: Item) -> None:
        if not self._continues and any(map(_says_something, _lines(item.block))):
            self._continues = True
            message = "the input goes on after [DONE]; this and what follows was not looked at"
            self._problem(item, "after-done", message)

    def _take_lines(self, item: Item) -> None:
        if item.offset == 0 and item.block.startswith(BOM):
            self._note(item, "bom", "the stream begins with a byte order mark")
        if b"\r" in item.block:
            self._note(item, "carriage-return", "lines end with CRLF or CR")
        block = item.block.removeprefix(BOM) if item.offset == 0 else item.block
        if any(line.partition(b":")[0] not in _FIELDS for line in _lines(block)):
            self._note(item, "ignored-line", "a line that is no field of an event is ignored")

    def _take_data(self, item: Item, data: bytes) -> None:
        try:
            self._take_document(item, data)
        except NotJSON as error:
            if item.fault is None or isinstance(item.fault, InvalidChunk):
                self._problem(item, "invalid-json", str(error))
                return
        except RecursionError:
            self._problem(item, "too-deep", "nested too deeply to be looked at")
        if item.fault is not None:
            self._problem(item, _KINDS[type(item.fault)], str(item.fault))

    def _take_document(self, item: Item, data: bytes) -> None:
        document = parse(data)
        for name in dict.fromkeys(document.constants):
            self._problem(item, "invalid-json", f"{name} is not JSON")
        for key in dict.fromkeys(document.repeated):
            self._problem(item, "duplicate-key", f"{key} comes more than once in an object")
        if item.chunk is not None:
            for struct, place in unknown_keys(document.value, wire.ChatCompletionStreamResponse):
                self._note(item, "unknown-key", f"wire's {struct} does not know {place}")
            self._take_mirrored(item, data, document.value)
        elif item.fault is None:
            self._note(item, "no-chunk", "an event that is neither a chunk nor an error")

    def _take_mirrored(self, item: Item, data: bytes, value: object) -> None:
        try:
            chunk = models.decode(data)
        except InvalidChunk as error:
            for detail in error.errors():
                self._note(item, "mirror-rejects", _POSITION.sub("[]", detail["msg"]))
            return
        for verb, place in round_trip_losses(value, parse(encode(chunk)).value):
            self._note(item, f"mirror-{verb}", f"the mirror {verb} {place}")

    def _note(self, item: Item, kind: str, message: str) -> None:
        self._notes.add((kind, message), item)

    def _problem(self, item: Item, kind: str, message: str) -> None:
        self.problems += 1
        self._report(Oddity("problem", kind, item.event, item.offset, 1, message))

    def _report(self, oddity: Oddity) -> None:
        if self._as_json:
            self._out.document(msgspec.json.encode(oddity))
        else:
            self._out.line(oddity.line(self._name), "bold" if oddity.level == "problem" else "")


def _lines(block: bytes) -> list[bytes]:
    return _LINE_END.split(block)


def _says_something(line: bytes) -> bool:
    """Tell whether a line is more than an end or a comment."""
    return line[:1] not in {b"", b":"}
