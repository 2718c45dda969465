r"""What commands print: UTF-8, styled on a terminal and only there, and safe to show there.

In:  text and documents, which servers wrote.
Out: bytes on standard output, messages on standard error, and the exit status of a command that
could not go on.

    >>> visible("a\x1b[2J\r\n")
    'a\\x1b[2J\\r\n'
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

import typer
from rich.console import Console
from rich.style import Style

from ._input import Unreadable

__all__ = [
    "CANNOT_LISTEN",
    "INTERRUPTED",
    "ODD",
    "PIPE_CLOSED",
    "UNUSABLE",
    "Output",
    "complain",
    "guarded",
    "one_line",
    "visible",
]

ODD, UNUSABLE, CANNOT_LISTEN, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141
"""Exit statuses; the last two are those of a shell for SIGINT and SIGPIPE."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_ENDS = re.compile("[\t\n\u2028\u2029]")


def visible(text: str) -> str:
    """Write control characters as escapes, so that no text can steer a terminal."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}".replace("\\x0d", "\\r"), text)


def one_line(text: str) -> str:
    """Do what `visible` does, and write line ends and tabs as escapes too."""
    return visible(_LINE_ENDS.sub(lambda match: repr(match[0])[1:-1], text))


class Output:
    """Standard output, with a memory of whether a line is begun."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        console = Console(file=sys.stdout)
        self._file = sys.stdout.buffer
        self._is_terminal = sys.stdout.isatty()
        self._is_styled = console.color_system is not None and not console.legacy_windows
        self._in_line = False

    def text(self, text: str, style: str = "") -> None:
        """Write a piece of text."""
        self._in_line = not text.endswith("\n")
        if self._is_terminal:
            text = visible(text)
        if style and self._is_styled:
            text = Style.parse(style).render(text)
        self._file.write(text.encode(errors="backslashreplace"))

    def line(self, text: str, style: str = "") -> None:
        """Write a line of its own."""
        self.end_line()
        self.text(text, style)
        self.end_line()

    def document(self, data: bytes) -> None:
        """Write a JSON document on a line of its own; on a terminal, too, it stays JSON."""
        text = data.decode()
        if self._is_terminal:
            text = _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
        self.line(text)

    def end_line(self) -> None:
        """Go to the next line, unless none is begun."""
        if self._in_line:
            self.text("\n")

    def flush(self) -> None:
        """Show what was written."""
        self._file.flush()

    def complain(self, message: str) -> None:
        """Write a message on standard error, where it does not fall into a line of the text."""
        if self._is_terminal:
            self.end_line()
        self.flush()
        complain(message)


def complain(message: str) -> None:
    """Write a message on standard error, if anybody takes it."""
    with suppress(OSError):
        typer.echo(f"fastchunk: {one_line(message)}", err=True)
    _flush(sys.stderr)


@contextmanager
def guarded() -> Iterator[None]:
    """Turn what ends a command early into its message and its exit status."""
    try:
        yield
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    except BrokenPipeError:
        _leave(PIPE_CLOSED)
    except Unreadable as error:
        complain(str(error))
        _leave(UNUSABLE)
    except OSError as error:
        complain(error.strerror or str(error))
        _leave(UNUSABLE)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich and typer make it a 1
            _leave(PIPE_CLOSED)
        raise


def _leave(status: int) -> NoReturn:
    _flush(sys.stdout)
    _flush(sys.stderr)
    raise SystemExit(status)


def _flush(file: TextIO | None) -> None:
    """Write what is pending; drop it where nobody takes it, as Python's end would fail at it."""
    if file is not None:
        try:
            file.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
