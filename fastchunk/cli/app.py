"""The commands: what they take, and what they exit with.

In:  the arguments of a process.
Out: what `_read` and `_check` make of a stream, or a running gateway; and an exit status.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated

import typer

import fastchunk

from . import _check, _gateway, _help, _read
from ._output import PROBLEM, Output, exit_cleanly

__all__ = ["app"]

app = typer.Typer(
    help="Look at streamed chat completions, and relay them.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[
    str, typer.Argument(metavar="FILE", help="A recorded stream, or - for what is piped in.")
]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fastchunk {fastchunk.__version__}")
        raise typer.Exit


@app.callback()
def fastchunk_itself(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Take what is no command's own option."""


@app.command(help=_help.READ)
def read(
    file: File,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every chunk as it was received, one a line.")
    ] = False,
    answer: Annotated[
        bool, typer.Option("--answer", help="Print what the chunks add up to, as JSON.")
    ] = False,
    stats: Annotated[
        bool,
        typer.Option("--stats", help="Print what it consists of, and the keys that wire lacks."),
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
        problems = _read.show(file, view)
    raise typer.Exit(PROBLEM if problems else 0)


@app.command(help=_help.CHECK)
def check(
    file: File,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, for scripts.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for notes, too.")] = False,
) -> None:
    """Run `fastchunk check`."""
    with exit_cleanly():
        found = _check.report(file, as_json=as_json)
    raise typer.Exit(PROBLEM if found.problems or (strict and found.notes) else 0)


class LogLevel(str, Enum):
    """How much the gateway logs."""

    error = "error"
    warning = "warning"
    info = "info"
    debug = "debug"


@app.command(help=_help.GATEWAY)
def gateway(  # noqa: PLR0913, PLR0917
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The server's base URL, up to and without /v1."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Answer from a built-in upstream; needs no network.")
    ] = False,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL", help="Serve the upstream's MODEL as NAME; may be given again."
        ),
    ] = None,
    strip_usage: Annotated[
        bool | None,
        typer.Option("--strip-usage", help="Ask for every usage; pass it on to who asked."),
    ] = None,
    connect_timeout: Annotated[
        float | None,
        typer.Option(show_default="10", help="Seconds that connecting upstream may take."),
    ] = None,
    read_timeout: Annotated[
        float | None,
        typer.Option(show_default="600", help="Seconds that the upstream may be silent."),
    ] = None,
    request_timeout: Annotated[
        float | None,
        typer.Option(show_default="60", help="Seconds that a client may be silent in a request."),
    ] = None,
    keep_alive: Annotated[
        float | None,
        typer.Option(show_default="15", help="Seconds of silence, then a comment to the client."),
    ] = None,
    max_streams: Annotated[
        int | None,
        typer.Option(show_default="1000", help="Chat completions that may be open at once."),
    ] = None,
    max_event_size: Annotated[
        int | None,
        typer.Option(show_default="16777216", help="Bytes that an event of a stream may have."),
    ] = None,
    max_request_size: Annotated[
        int | None,
        typer.Option(show_default="67108864", help="Bytes that a request may have."),
    ] = None,
    shutdown_timeout: Annotated[
        float | None,
        typer.Option(show_default="30", help="Seconds for open answers once it is to end."),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What is logged at least.")] = LogLevel.info,
) -> None:
    """Run `fastchunk gateway`."""
    options = {
        "aliases": _gateway.aliases_of(alias or ()),
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
    _gateway.run(upstream, options, demo=demo, host=host, port=port, log_level=log_level.value)
