r"""`fastchunk read`: a stream's text, chunks, answer or statistics.

In:  the items of a stream.
Out: one of the four views, written as the items come or at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import msgspec
from msgspec import Raw

from fastchunk import wire
from fastchunk.accumulate import Accumulator
from fastchunk.codec import encode
from fastchunk.errors import UpstreamError

from ._document import NotJSON, parse, unknown_keys
from ._input import reads
from ._output import Output, one_line
from ._reading import Item, Reading
from ._tally import Tally, times

__all__ = ["Answer", "Documents", "Stats", "Text", "View", "show"]


def show(path: str, view_of: Callable[[Output], View]) -> bool:
    """Show the stream at `path` up to `[DONE]`, as it comes; tell whether nothing was wrong."""
    out, reading, whole = Output(), Reading(), True
    view = view_of(out)
    for item in reading.items(reads(path, before=out.flush)):
        view.take(item)
        if item.fault:
            sender = "the server's error: " if isinstance(item.fault, UpstreamError) else ""
            out.complain(f"{item.place}: {sender}{item.fault}")
            whole = False
        if reading.seen.done:
            break
    view.end(reading)
    out.flush()
    return whole


class View(Protocol):
    """What is shown of a stream."""

    def take(self, item: Item) -> None:
        """Take the next item."""

    def end(self, reading: Reading) -> None:
        """Take note that no more comes."""


class Text:
    """The text of the deltas, live.

    A section is what one choice says in one way: its answer, its reasoning, one tool call. Each
    begins on a line of its own with a label, but for the first, if that is the only answer's text.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self._section: tuple[int, str] | None = None
        self._call_id = ""
        self._several = False
        self._begun = False

    def take(self, item: Item) -> None:
        """Show what a chunk adds."""
        choices = item.chunk.choices if item.chunk else None
        for position, choice in enumerate(choices or ()):
            index = choice.index if isinstance(choice.index, int) else position
            self._several = self._several or index != 0
            if choice.delta:
                self._show(index, choice.delta)

    def end(self, reading: Reading) -> None:  # noqa: ARG002
        """End the last line."""
        self._out.end_line()

    def _show(self, index: int, delta: wire.DeltaMessage) -> None:
        self._piece(index, "reasoning", delta.reasoning_text, "dim")
        self._piece(index, "answer", delta.text)
        self._piece(index, "refusal", delta.refusal or "")
        if delta.function_call:
            self._call(index, "function call", delta.function_call)
        for position, call in enumerate(delta.tool_calls or ()):
            kind = f"tool call {call.index if isinstance(call.index, int) else position}"
            if call.function:
                if call.function.name and call.id and call.id != self._call_id:
                    self._call_id, self._section = call.id, None  # another one, whatever its index
                self._call(index, kind, call.function)
            if call.custom and call.custom != Raw(b"null"):
                self._piece(index, kind, bytes(call.custom).decode())

    def _call(self, index: int, kind: str, function: wire.DeltaFunctionCall) -> None:
        if function.name and self._section != (index, kind):
            self._begin(index, kind, f"{kind}: {function.name}")
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        self._piece(index, kind, arguments)

    def _piece(self, index: int, kind: str, text: str, style: str = "") -> None:
        if not text:
            return
        if self._section != (index, kind):
            self._begin(index, kind, kind)
        self._out.text(text, style)

    def _begin(self, index: int, kind: str, label: str) -> None:
        self._out.end_line()
        choice = f"choice {index}" if self._several else ""
        if kind == "answer" and not self._begun:
            label = ""
        if shown := ", ".join(filter(None, (choice, label))):
            self._out.text(f"[{one_line(shown)}] ", "bold")
        self._section, self._begun = (index, kind), True


class Documents:
    """Every chunk's JSON document as it was received, one a line."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def take(self, item: Item) -> None:
        """Write a chunk; a line end in a document is white space between its tokens."""
        if item.chunk is not None and item.data is not None:
            self._out.document(item.data.replace(b"\n", b" "))

    def end(self, reading: Reading) -> None:
        """Do nothing: all is written."""


class Answer:
    """The whole answer, as a server returns it that does not stream."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._answer = Accumulator()

    def take(self, item: Item) -> None:
        """Add a chunk."""
        if item.chunk is not None:
            self._answer.add(item.chunk)

    def end(self, reading: Reading) -> None:  # noqa: ARG002
        """Write what the chunks add up to."""
        self._out.document(encode(self._answer.result()))


class Stats:
    """What a stream consists of, and what it says about itself."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._unknown: Tally[tuple[str, str]] = Tally()

    def take(self, item: Item) -> None:
        """Count the keys that `wire` does not know."""
        if item.chunk is None or item.data is None:
            return
        with suppress(NotJSON, RecursionError):  # what only `wire` can read has no keys to count
            value = parse(item.data).value
            for found in unknown_keys(value, wire.ChatCompletionStreamResponse):
                self._unknown.add(found, item)

    def end(self, reading: Reading) -> None:
        """Write it all."""
        seen = reading.seen
        self._row("bytes", str(reading.size))
        self._row("events", str(reading.events))
        self._row("chunks", str(seen.chunks))
        self._row("invalid", str(seen.invalid))
        self._row("ended", reading.how_it_ended)
        for index, reason in sorted(seen.finish_reasons.items()):
            self._row("finish reason", f"choice {index}: {reason}")
        if seen.usage:
            self._row("usage", encode(seen.usage).decode())
        for (struct, place), found in self._unknown.entries.items():
            self._row("unknown key", f"{struct}: {place}{times(found.count)}")
        if rest := self._unknown.others:
            self._row("unknown key", f"others{times(rest.count)}")

    def _row(self, name: str, value: str) -> None:
        self._out.text(f"{name:<15}", "dim")
        self._out.text(one_line(value))
        self._out.end_line()
