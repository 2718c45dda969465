"""The `fastchunk` command, for looking at streams: `pip install 'fastchunk[cli]'`.

In:  a recorded or a piped stream.
Out: its text as it arrives, its chunks, its answer, its statistics; or everything odd about it.
Cost: `read` frames and decodes each event; `check` also parses it as plain JSON and sends it
through the mirror and back. Memory holds the unfinished event, and the answer where that is asked
for.

The command imports fastchunk as any user does; the rest of fastchunk does not know about it.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the process was given, and exit with its status."""
    # Imported here, not above: a missing extra and an early Ctrl-C get one line, not a traceback.
    try:
        import rich as _rich  # noqa: F401, PLC0415
        import typer as _typer  # noqa: F401, PLC0415

        from ._output import exit_cleanly  # noqa: PLC0415
        from .app import app  # noqa: PLC0415
    except ImportError as error:
        sys.exit(
            f"fastchunk: the command line needs more than fastchunk ({error}): "
            "python -m pip install 'fastchunk[cli]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)  # what `exit_cleanly`, not imported yet, would exit with
    # The commands exit cleanly by themselves; this is for the help, which nobody may be reading.
    with exit_cleanly():
        app(prog_name="fastchunk")
