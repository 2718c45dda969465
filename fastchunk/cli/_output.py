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
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.style import Style

from ._input import Unreadable

__all__ = [
    "INTERRUPTED",
    "ODD",
    "PIPE_CLOSED",
    "UNUSABLE",
    "Output",
    "guarded",
    "one_line",
    "visible",
]

ODD, UNUSABLE, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141
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
        self._is_terminal = console.is_terminal
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

    def document(self, text: str) -> None:
        """Write a JSON document on a line of its own, still JSON where a terminal is to see it."""
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
        _complain(message)


def _complain(message: str) -> None:
    if sys.stderr is not None:  # it may be closed
        typer.echo(f"fastchunk: {one_line(message)}", err=True)


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
        _complain(str(error))
        _leave(UNUSABLE)
    except OSError as error:
        _complain(error.strerror or str(error))
        _leave(UNUSABLE)


def _leave(status: int) -> NoReturn:
    """Exit, with what is pending written; or dropped where nobody takes it, as Python would say."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(status)
