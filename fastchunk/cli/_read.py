r"""`fastchunk read`: a stream's text, chunks, answer or statistics.

In:  the items of a stream.
Out: one of the four views, written as the items come or at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from msgspec import Raw, UnsetType

from fastchunk import Accumulator, InvalidChunk, encode, wire
from fastchunk.codec import UnknownEvent, encode_tree
from fastchunk.dialects import dialect_of
from fastchunk.stream import Observer

from ._document import find_unknown_keys, parse
from ._faults import describe_error
from ._input import read_input
from ._output import Output, escape_line, standard_output
from ._pieces import Piece, pieces_of
from ._reading import Item, Reading, format_place
from ._tally import Tally, format_count

__all__ = ["Answer", "Documents", "Stats", "Text", "View", "show"]


def show(path: str, make_view: Callable[[Output], View]) -> int:
    """Show the stream at `path` up to its end, as it comes; return how many problems it has."""
    problems = 0
    with standard_output() as out:
        reading, view = Reading(), make_view(out)
        for item in reading.items(read_input(path, before=out.flush)):
            view.take(item, reading)
            if item.fault:
                problems += 1
                out.print_message(_describe(item))
            if reading.stream.done:
                break
        try:
            view.end(reading)
        except InvalidChunk as error:  # of what a stream carries unparsed up to its end
            problems += 1
            out.print_message(describe_error(error).message)
    return problems


def _describe(item: Item) -> str:
    """Write an item's fault with its place, unless that is just the beginning of the input."""
    message = item.fault.message if item.fault else ""
    if item.event is None and item.offset == 0:
        return message
    return f"{format_place(item.offset, item.event)}: {message}"


class View(Protocol):
    """What is shown of a stream."""

    def take(self, item: Item, reading: Reading) -> None:
        """Take the next item."""

    def end(self, reading: Reading) -> None:
        """Take note that no more comes."""


class Text:
    """The text of the deltas, live.

    A section is what one choice says in one channel: its answer, its reasoning, one tool call. Each
    section begins on a new line with a label, except the first one if it is choice 0's answer: most
    streams are nothing else, and their text needs no label.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self._section: tuple[int, str] | None = None
        self._call_id = ""
        self._several = False  # whether a choice other than 0 has come
        self._begun = False

    def take(self, item: Item, reading: Reading) -> None:  # noqa: ARG002
        """Show what a chunk adds."""
        if not isinstance(item.chunk, wire.ChatCompletionStreamResponse):
            for piece in pieces_of(item.chunk):
                self._show_other(piece)
            return
        for position, choice in enumerate(item.chunk.choices or ()):
            index = choice.index_or(position)
            self._several = self._several or index != 0
            if choice.delta:
                self._show(index, choice.delta)

    def end(self, reading: Reading) -> None:  # noqa: ARG002
        """End the last line."""
        self._out.end_line()

    def _show(self, index: int, delta: wire.DeltaMessage) -> None:
        self._show_piece(index, "reasoning", delta.reasoning_text, "dim")
        self._show_piece(index, "answer", delta.text)
        self._show_piece(index, "refusal", _text_in(delta.refusal))
        if delta.function_call:
            self._show_call(index, "function call", delta.function_call)
        for position, call in enumerate(delta.tool_calls or ()):
            channel = f"tool call {call.index if isinstance(call.index, int) else position}"
            if call.function:
                # Some servers give every call the index 0: a new id with a name is a new call.
                call_id = _text_in(call.id)
                if call.function.name and call_id not in {"", self._call_id}:
                    self._call_id, self._section = call_id, None
                self._show_call(index, channel, call.function)
            if call.custom and call.custom != Raw(b"null"):
                self._show_piece(index, channel, bytes(call.custom).decode())

    def _show_other(self, piece: Piece) -> None:
        self._several = self._several or piece.choice != 0
        if piece.tool:
            self._begin_section(piece.choice, piece.channel, f"{piece.channel}: {piece.tool}")
        style = "dim" if piece.channel == "reasoning" else ""
        self._show_piece(piece.choice, piece.channel, piece.text, style)

    def _show_call(self, index: int, channel: str, function: wire.DeltaFunctionCall) -> None:
        # Some servers repeat the name in every piece: it begins a section only once.
        if (name := _text_in(function.name)) and self._section != (index, channel):
            self._begin_section(index, channel, f"{channel}: {name}")
        arguments = function.arguments
        if isinstance(arguments, (str, UnsetType)) or arguments is None:
            arguments = arguments or ""
        else:  # an object at once
            arguments = encode_tree(arguments).decode()
        self._show_piece(index, channel, arguments)

    def _show_piece(self, index: int, channel: str, text: str, style: str = "") -> None:
        if not text:
            return
        if self._section != (index, channel):
            self._begin_section(index, channel, channel)
        self._out.write(text, style)

    def _begin_section(self, index: int, channel: str, label: str) -> None:
        self._out.end_line()
        choice = f"choice {index}" if self._several else ""
        if channel == "answer" and not self._begun:
            label = ""
        if heading := ", ".join(filter(None, (choice, label))):
            self._out.write(f"[{escape_line(heading)}] ", "bold")
        self._section, self._begun = (index, channel), True


class Documents:
    """Every chunk's JSON document as it was received, one a line."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def take(self, item: Item, reading: Reading) -> None:  # noqa: ARG002
        """Write a chunk's document."""
        if item.chunk is not None and item.data is not None:
            # JSON has no line end inside a string: one in the data is space between tokens.
            self._out.write_document(item.data.replace(b"\n", b" "))

    def end(self, reading: Reading) -> None:
        """Do nothing: every document is written already."""


class Answer:
    """The whole answer, as a server returns it that does not stream."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._answer: Accumulator[Any] | None = None

    def take(self, item: Item, reading: Reading) -> None:
        """Add a chunk."""
        if item.chunk is not None:
            self._answer = self._answer or Accumulator(reading.kind.family)
            self._answer.add(item.chunk)

    def end(self, reading: Reading) -> None:
        """Write what the chunks add up to."""
        answer = self._answer or Accumulator(reading.kind.family)
        self._out.write_document(encode(answer.result()))


class Stats:
    """What a stream consists of, and what it says about itself."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._seen: Observer | None = None
        self._unknown: Tally[tuple[str, str]] = Tally()

    def take(self, item: Item, reading: Reading) -> None:
        """Count a chunk, and what its family does not know of it."""
        if item.chunk is None or item.data is None:
            return
        self._seen = self._seen or Observer(dialect_of(reading.kind.family))
        self._seen.observe(item.data)
        if isinstance(item.chunk, UnknownEvent):
            self._unknown.add(("type", str(item.chunk.type)), item)
            return
        with suppress(RecursionError):  # an unknown value is skipped however deeply it is nested
            value = parse(item.data).value
            for struct, place in find_unknown_keys(value, type(item.chunk)):
                self._unknown.add(("key", f"{struct}: {place}"), item)

    def end(self, reading: Reading) -> None:
        """Write it all."""
        seen = self._seen or Observer()
        self._write_row("bytes", str(reading.size))
        self._write_row("events", str(reading.events))
        self._write_row("chunks", str(seen.chunks))
        self._write_row("invalid", str(reading.invalid))
        self._write_row("ended", _describe_end(reading))
        for index, reason in sorted(seen.finish_reasons.items()):
            choice = f"choice {index}: " if reading.kind.has_choices else ""
            self._write_row("finish reason", f"{choice}{reason}")
        if seen.usage:
            self._write_row("usage", encode(seen.usage).decode())
        for (what, name), found in self._unknown.entries.items():
            self._write_row(f"unknown {what}", f"{name}{format_count(found.count)}")
        if rest := self._unknown.others:
            self._write_row("unknown key", f"others{format_count(rest.count)}")

    def _write_row(self, name: str, value: str) -> None:
        self._out.write(f"{name:<15}", "dim")
        self._out.write(escape_line(value))
        self._out.end_line()


def _describe_end(reading: Reading) -> str:
    if reading.truncated:
        return "truncated"
    end = reading.kind.end
    done = end if reading.stream.done else f"without {end}"
    return done if reading.stream.error is None else f"an error, {done}"


def _text_in(value: object) -> str:
    """Return a text of a chunk; `wire` holds whatever a server sends in its place."""
    return value if isinstance(value, str) else ""
