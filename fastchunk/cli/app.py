"""The commands: what they take, and what they exit with.

In:  the arguments of a process.
Out: what `_read` and `_check` make of a stream; or a running gateway.
"""

from __future__ import annotations

from typing import Annotated

import typer

import fastchunk

from . import _read
from ._check import Check
from ._input import reads
from ._output import ODD, Output, guarded
from ._reading import Reading

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
    str, typer.Argument(metavar="FILE|-", help="A recorded stream; - is what is piped in.")
]


@app.callback(invoke_without_command=True)
def fastchunk_command(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"fastchunk {fastchunk.__version__}")


@app.command()
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
        typer.Option(
            "--stats", help="Print what the stream consists of, and the keys that wire lacks."
        ),
    ] = False,
) -> None:
    """Show a stream: its text as it comes, or one of the other views.

    Reading ends at [DONE]. Errors in the stream are reported on standard error.

    [bold]Examples[/bold]

      curl -N … | fastchunk read -
      fastchunk read --json stream.sse | jq .choices
      fastchunk read --answer stream.sse
      fastchunk read --stats stream.sse

    [bold]Exit status[/bold]

      0  the stream is whole
      1  it carries an error, holds an event that cannot be decoded, or is truncated
      2  wrong usage, or a file that cannot be read
    """
    if as_json + answer + stats > 1:
        raise typer.BadParameter("--json, --answer and --stats exclude each other")
    with guarded():
        out, reading = Output(), Reading()
        view: _read.View = _read.Text(out)
        if as_json:
            view = _read.Documents(out)
        elif answer:
            view = _read.Answer(out)
        elif stats:
            view = _read.Stats(out)
        failed = False
        for item in reading.items(reads(file, before=out.flush)):
            view.take(item)
            if item.fault:
                failed = True
                out.complain(f"{item.place}: {item.fault}")
            if reading.seen.done:
                break
        view.end(reading)
        out.flush()
    raise typer.Exit(ODD if failed else 0)


@app.command()
def check(
    file: File,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line, for scripts.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for notes too.")] = False,
) -> None:
    """Report everything odd about a stream, one line each."""
    with guarded():
        out, reading = Output(), Reading()
        report = Check(out, file, as_json=as_json)
        for item in reading.items(reads(file, before=out.flush)):
            report.take(item, reading)
        report.end(reading)
        out.flush()
    raise typer.Exit(ODD if report.problems or (strict and report.notes) else 0)
