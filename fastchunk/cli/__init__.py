"""The command line, for looking at streams: `pip install 'fastchunk[cli]'`.

In:  a recorded or a piped stream.
Out: its text as it comes, its chunks, its answer, its statistics; or everything odd about it.
Cost: some 5 µs an event to read, 25 µs to check. Held is what is unfinished, and the answer where
it is asked for.

It imports fastchunk as any user does; the rest of fastchunk does not know about it.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the process was given, and exit with its status."""
    try:
        import rich as _rich  # noqa: F401, PLC0415
        import typer as _typer  # noqa: F401, PLC0415

        from ._output import guarded  # noqa: PLC0415
        from .app import app  # noqa: PLC0415
    except ImportError as error:
        sys.exit(
            f"fastchunk: the command line needs more than fastchunk ({error}): "
            "python -m pip install 'fastchunk[cli]'"
        )
    except KeyboardInterrupt:  # `guarded` is not there yet
        sys.exit(130)
    with guarded():
        app(prog_name="fastchunk")
