"""The commands: what they take, and what they exit with.

In:  the arguments of a process.
Out: what `_read` and `_check` make of a stream, or a running gateway; and an exit status.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import fastchunk
from fastchunk.sse import MAX_EVENT_SIZE

from . import _check, _gateway, _help, _read
from ._output import PROBLEM, Output, exit_cleanly

__all__ = ["app"]

_FLAG = ""  # the value that the help shows for an option that takes none; typer's is `<bool>`


def _show_as_flag(option: Any) -> Any:
    """Change the help option, which typer makes by itself."""
    option.metavar = _FLAG
    return option


class _Command(TyperCommand):
    def get_help_option(self, ctx: Any) -> Any:
        return _show_as_flag(super().get_help_option(ctx))


class _Group(TyperGroup):
    def get_help_option(self, ctx: Any) -> Any:
        return _show_as_flag(super().get_help_option(ctx))


app: typer.Typer = typer.Typer(
    cls=_Group,
    help="Read and check what models stream, or relay it.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        readable=False,  # opening it says why it cannot be read, in one line
        help="A recorded stream, or - for standard input.",
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fastchunk {fastchunk.__version__}")
        raise typer.Exit


@app.callback()
def take_own_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar=_FLAG,
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Take the options of `fastchunk` itself."""


@app.command(cls=_Command, help=_help.READ)
def read(
    file: File,
    as_json: Annotated[
        bool,
        typer.Option("--json", metavar=_FLAG, help="Print each chunk as received, one a line."),
    ] = False,
    answer: Annotated[
        bool,
        typer.Option("--answer", metavar=_FLAG, help="Print the whole answer, as JSON."),
    ] = False,
    stats: Annotated[
        bool,
        typer.Option(
            "--stats",
            metavar=_FLAG,
            help="Print counts, how it ended, its usage, and the keys that wire does not know.",
        ),
    ] = False,
) -> None:
    """Run `fastchunk read`."""
    if as_json + answer + stats > 1:
        raise typer.BadParameter("--json, --answer and --stats exclude each other")
    view: Callable[[Output], _read.View] = _read.Text
    if as_json:
        view = _read.Documents
    elif answer:
        view = _read.Answer
    elif stats:
        view = _read.Stats
    with exit_cleanly():
        problems = _read.show(str(file), view)
    raise typer.Exit(PROBLEM if problems else 0)


@app.command(cls=_Command, help=_help.CHECK)
def check(
    file: File,
    as_json: Annotated[
        bool,
        typer.Option("--json", metavar=_FLAG, help="Print JSON for scripts, one object a line."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", metavar=_FLAG, help="Exit with 1 for notes, too.")
    ] = False,
) -> None:
    """Run `fastchunk check`."""
    with exit_cleanly():
        found = _check.report(str(file), as_json=as_json)
    raise typer.Exit(PROBLEM if found.problems or (strict and found.notes) else 0)


class LogLevel(str, Enum):
    """How much the gateway logs."""

    error = "error"
    warning = "warning"
    info = "info"
    debug = "debug"


# The defaults are those of the gateway's `Settings`, written out: importing it needs its extra.
@app.command(cls=_Command, help=_help.GATEWAY)
def gateway(  # noqa: PLR0913, PLR0917
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="The server's base URL, without /v1.")
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", metavar=_FLAG, help="Answer from a built-in upstream; needs no network."
        ),
    ] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            callback=_gateway.check_port,
            help="The port to listen on; 0 takes a free one.",
        ),
    ] = 8000,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL", help="Serve the upstream's MODEL as NAME; repeat it for more."
        ),
    ] = None,
    strip_usage: Annotated[
        bool,
        typer.Option(
            "--strip-usage",
            metavar=_FLAG,
            help="Ask for usage in every request; remove it for clients that did not ask.",
        ),
    ] = False,
    redact: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            help="Replace in every answer what FILE lists; see above.",
        ),
    ] = None,
    connect_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How long connecting to the upstream may take."),
    ] = 10,
    read_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long the upstream may be silent.")
    ] = 600,
    request_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How long a client may be silent in a request."),
    ] = 60,
    keep_alive: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="The silence after which a client gets a comment."),
    ] = 15,
    max_streams: Annotated[
        int,
        typer.Option(metavar="COUNT", help="How many answers may be open at once."),
    ] = 1000,
    max_event_size: Annotated[
        int, typer.Option(metavar="BYTES", help="The largest event of a stream.")
    ] = MAX_EVENT_SIZE,
    max_request_size: Annotated[
        int, typer.Option(metavar="BYTES", help="The largest request.")
    ] = 64 * 1024 * 1024,
    shutdown_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How long open answers may take to finish."),
    ] = 30,
    log_level: Annotated[
        LogLevel,
        typer.Option(metavar="LEVEL", help="The lowest level to log: error, warning, info, debug."),
    ] = LogLevel.info,
) -> None:
    """Run `fastchunk gateway`."""
    options = {
        "aliases": _gateway.parse_aliases(alias or ()),
        "strip_usage": strip_usage,
        "connect_timeout": connect_timeout,
        "read_timeout": read_timeout,
        "request_timeout": request_timeout,
        "keep_alive": keep_alive,
        "max_streams": max_streams,
        "max_event_size": max_event_size,
        "max_request_size": max_request_size,
        "shutdown_timeout": shutdown_timeout,
    }
    _gateway.run(
        upstream,
        options,
        demo=demo,
        redact=redact,
        host=host,
        port=port,
        log_level=log_level.value,
    )
