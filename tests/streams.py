"""The recorded streams that `FASTCHUNK_STREAMS` names, for the tests that read them."""

from __future__ import annotations

import os
from pathlib import Path

AWKWARD = 20_000
"""How many bytes of a recorded stream are read by threes: the long ones go on as they begin."""


def recorded() -> list[Path]:
    """List the recorded streams; none where the variable is not set."""
    folder = os.environ.get("FASTCHUNK_STREAMS")
    return sorted(Path(folder).glob("*.sse")) if folder else []


def documents(stream: Path) -> list[bytes]:
    """Take the data lines of a recorded stream; [DONE] and all that is no JSON included."""
    lines = stream.read_bytes().replace(b"\r\n", b"\n").split(b"\n")
    return [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
