"""`fastchunk gateway`: the gateway's options as the options of a command.

In:  what was given on the command line; keys come from the environment, which `ps` does not show.
Out: a gateway that runs until it is told to stop.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from ._output import CANNOT_LISTEN, print_message
from ._redact import read_rules

__all__ = ["check_port", "parse_aliases", "run"]


def parse_aliases(pairs: Iterable[str]) -> dict[str, str]:
    """Turn every `NAME=MODEL` that was given into one mapping."""
    aliases = {}
    for pair in pairs:
        name, equals, model = pair.partition("=")
        if not (name and equals and model):
            raise typer.BadParameter(f"an alias is NAME=MODEL, not {pair!r}")
        aliases[name] = model
    return aliases


def check_port(port: int) -> int:
    """Refuse a number that is not a port; typer's own range would clutter the help."""
    if not 0 <= port <= 65535:
        raise typer.BadParameter(f"a port is a number from 0 to 65535, not {port}")
    return port


def run(
    upstream: str | None,
    options: dict[str, Any],
    *,
    demo: bool,
    redact: Path | None,
    host: str,
    **where: Any,
) -> None:
    """Run the gateway with `options`, which are fields of its `Settings`."""
    if demo == (upstream is not None):
        raise typer.BadParameter("give either --upstream URL or --demo")
    # Imported here: the other commands need neither the gateway's extra nor the time it takes.
    try:
        from fastchunk.gateway import Settings, serve, with_keys  # noqa: PLC0415
    except ImportError as error:
        sys.exit(f"fastchunk: {error}")
    try:
        settings = Settings(upstream=upstream or "http://demo.invalid", **options)
        settings = with_keys(settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    # What has to be redacted must not get past unread.
    checks: dict[str, Any] = {}
    if redact is not None:
        checks = {"text": read_rules(redact), "on_invalid": "raise"}
    _check_host(host)
    serve(settings, demo=demo, host=host, **checks, **where)


def _check_host(host: str) -> None:
    """Refuse what cannot be the name of a host: uvicorn would answer it with a traceback."""
    try:
        host.encode("idna")
    except UnicodeError as error:
        print_message(f"cannot listen on {host}: {error}")
        raise typer.Exit(CANNOT_LISTEN) from error
