r"""What commands print: UTF-8, styled on a terminal and only there, and safe to show there.

In:  text and documents, which servers wrote.
Out: bytes on standard output, messages on standard error, and the exit status of a command that
could not go on.

    >>> escape_controls("a\x1b[2J\r\n")
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
    "FAILED",
    "INTERRUPTED",
    "PIPE_CLOSED",
    "PROBLEM",
    "Output",
    "escape_controls",
    "escape_line",
    "exit_cleanly",
    "print_message",
    "standard_output",
]

PROBLEM, FAILED, CANNOT_LISTEN, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141
"""Exit statuses; the last two are those of a shell for SIGINT and SIGPIPE."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_ENDS = re.compile("[\t\n\u2028\u2029]")


def escape_controls(text: str) -> str:
    """Write control characters as escapes, so that no server's text can steer a terminal."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}".replace("\\x0d", "\\r"), text)


def escape_line(text: str) -> str:
    """Do what `escape_controls` does, and write line ends and tabs as escapes too."""
    return escape_controls(_LINE_ENDS.sub(lambda match: repr(match[0])[1:-1], text))


class Output:
    """Standard output, which knows whether its last line is still open."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        console = Console(file=sys.stdout)
        self._file = sys.stdout.buffer
        self._is_terminal = sys.stdout.isatty()
        self._is_styled = console.color_system is not None and not console.legacy_windows
        self._takes_messages = _is_standard_error_too(sys.stdout)
        self._line_is_open = False

    def write(self, text: str, style: str = "") -> None:
        """Write a piece of text."""
        self._line_is_open = not text.endswith("\n")
        if self._is_terminal:
            text = escape_controls(text)
        if style and self._is_styled:
            text = Style.parse(style).render(text)
        # A lone surrogate, which a server may send as an escape, has no UTF-8 form.
        self._file.write(text.encode(errors="backslashreplace"))

    def write_line(self, text: str, style: str = "") -> None:
        """Write a line of its own."""
        self.end_line()
        self.write(text, style)
        self.end_line()

    def write_document(self, data: bytes) -> None:
        """Write a JSON document on a line of its own; on a terminal, too, it stays JSON."""
        text = data.decode()
        if self._is_terminal:
            text = _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
        self.write_line(text)

    def end_line(self) -> None:
        """Go to the next line, if one is open."""
        if self._line_is_open:
            self.write("\n")

    def flush(self) -> None:
        """Show what was written."""
        self._file.flush()

    def print_message(self, message: str) -> None:
        """Print a message on standard error, never in the middle of a line of the text."""
        self.make_room()
        self.flush()  # or the message would overtake the text that it is about
        print_message(message)

    def make_room(self) -> None:
        """End the open line where messages appear in the same place as the text.

        Where they do not, the text goes on unbroken: a file gets what the server said, exactly.
        """
        if self._takes_messages:
            self.end_line()


@contextmanager
def standard_output() -> Iterator[Output]:
    """Give standard output to write to, and show at the end what was written."""
    out = Output()
    try:
        yield out
    except (KeyboardInterrupt, Unreadable):
        out.make_room()  # a message comes next, or a shell's prompt
        out.flush()
        raise
    out.flush()


def _is_standard_error_too(stdout: TextIO) -> bool:
    """Tell whether standard error leads to the same terminal, file or pipe."""
    if sys.stderr is None:
        return False
    if stdout.isatty() and sys.stderr.isatty():
        return True
    try:
        return os.path.sameopenfile(stdout.fileno(), sys.stderr.fileno())
    except OSError:  # a stream in memory has no descriptor
        return False


def print_message(message: str) -> None:
    """Print a message on standard error, if anybody reads it."""
    with suppress(OSError):
        typer.echo(f"fastchunk: {escape_line(message)}", err=True)
    _flush(sys.stderr)


@contextmanager
def exit_cleanly() -> Iterator[None]:
    """Turn what ends a command early into its message and its exit status."""
    try:
        yield
    except KeyboardInterrupt:
        _exit(INTERRUPTED)
    except BrokenPipeError:
        _exit(PIPE_CLOSED)
    except Unreadable as error:
        print_message(str(error))
        _exit(FAILED)
    except OSError as error:
        print_message(error.strerror or str(error))
        _exit(FAILED)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich and typer turn it into status 1
            _exit(PIPE_CLOSED)
        raise


def _exit(status: int) -> NoReturn:
    _flush(sys.stdout)
    _flush(sys.stderr)
    raise SystemExit(status)


def _flush(file: TextIO | None) -> None:
    """Write what is pending; drop it where nobody reads it.

    Python flushes once more as it exits, and prints a traceback of its own if that fails.
    """
    if file is not None:
        try:
            file.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
