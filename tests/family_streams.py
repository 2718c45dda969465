"""The recorded streams of the families other than chat, for the tests that read them.

They lie in the folder `families` beside the one that `FASTCHUNK_STREAMS` names. A file's name
begins with its family, up to `__`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastchunk.sse import BlockSplitter, blocks, parse_block

from .streams import documents

FAMILY_NAMES = ("completions", "messages", "responses")
_BEGINNINGS = (b'"type":"message_start"', b'"type": "message_start"', b'"type":"response.created"')


def recorded_of(family: str) -> list[Path]:
    """List the recorded streams of a family; none where the variable is not set."""
    folder = os.environ.get("FASTCHUNK_STREAMS")
    return sorted(Path(folder).parent.glob(f"families/{family}__*.sse")) if folder else []


def recorded_of_all() -> list[Path]:
    """List the recorded streams of every family."""
    return [path for family in FAMILY_NAMES for path in recorded_of(family)]


every_stream = pytest.mark.parametrize("stream", recorded_of_all(), ids=lambda path: path.stem)
"""Runs a test with each recorded stream."""


def family_name(stream: Path) -> str:
    """Tell a recorded stream's family."""
    return stream.stem.partition("__")[0]


def events_of(stream: Path) -> list[bytes]:
    """Take the data of a stream's events, without [DONE]."""
    return [data for data in documents(stream) if data != b"[DONE]"]


def blocks_of(stream: Path) -> list[bytes]:
    """Cut a stream into its blocks; one at the end that lacks its empty line gets one."""
    splitter = BlockSplitter(1 << 30)
    whole = splitter.feed(stream.read_bytes())
    more, rest = splitter.close()
    found = list(blocks(whole + more))
    return [*found, rest.rstrip(b"\n") + b"\n\n"] if rest else found


def answers_in(stream: Path) -> Iterator[list[bytes]]:
    """Yield the blocks of each answer: some files hold the streams of several requests."""
    found: list[bytes] = []
    for block in blocks_of(stream):
        is_next = any(beginning in block for beginning in _BEGINNINGS)
        if is_next and any(parse_block(one).data for one in found):
            yield found
            found = []
        found.append(block)
    yield found
