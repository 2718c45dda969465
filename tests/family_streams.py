"""The recorded streams of the families other than chat, for the tests that read them.

They lie in the folder `families` beside the one that `FASTCHUNK_STREAMS` names. A file's name
begins with its family, up to `__`.
"""

from __future__ import annotations

import os
from pathlib import Path

from .streams import documents


def recorded_of(family: str) -> list[Path]:
    """List the recorded streams of a family; none where the variable is not set."""
    folder = os.environ.get("FASTCHUNK_STREAMS")
    return sorted(Path(folder).parent.glob(f"families/{family}__*.sse")) if folder else []


def events_of(stream: Path) -> list[bytes]:
    """Take the data of a stream's events, without [DONE]."""
    return [data for data in documents(stream) if data != b"[DONE]"]
