"""`fastchunk gateway`: the options of the gateway as the options of a command.

In:  what was given on the command line; keys come from the environment, where `ps` does not show
them.
Out: a gateway that runs until it is told to end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import typer

from ._output import CANNOT_LISTEN, print_message

__all__ = ["aliases_of", "run"]


def aliases_of(pairs: Iterable[str]) -> dict[str, str]:
    """Turn `NAME=MODEL`, as often as it was given, into a mapping."""
    aliases = {}
    for pair in pairs:
        name, equals, model = pair.partition("=")
        if not (name and equals and model):
            raise typer.BadParameter(f"an alias is NAME=MODEL, not {pair!r}")
        aliases[name] = model
    return aliases


def run(
    upstream: str | None, options: dict[str, Any], *, demo: bool, host: str, **where: Any
) -> None:
    """Run the gateway; options that are None were not given, and have the gateway's defaults."""
    if demo == (upstream is not None):
        raise typer.BadParameter("give either --upstream URL or --demo")
    try:
        from fastchunk.gateway import Settings, serve  # noqa: PLC0415
        from fastchunk.gateway.server import with_keys  # noqa: PLC0415
    except ImportError as error:
        sys.exit(f"fastchunk: {error}")
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(upstream=upstream or "http://demo.invalid", **given)
        settings = with_keys(settings, os.environ)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    _check_host(host)
    serve(settings, demo=demo, host=host, **where)


def _check_host(host: str) -> None:
    """Refuse what no host can be named, which uvicorn would pass on as an exception."""
    try:
        host.encode("idna")
    except UnicodeError as error:
        print_message(f"cannot listen on {host}: {error}")
        raise typer.Exit(CANNOT_LISTEN) from error
