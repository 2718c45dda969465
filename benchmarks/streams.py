"""The streams that are measured, and how they are cut into reads.

`recorded`: those in the folder that FASTCHUNK_STREAMS names, as they came.
`generated`: shapes that nobody tuned to, from `shapes`.
`text deltas`: what Ray Serve writes for a plain text, every key included.

Those of the other families lie in the folder `families` beside it. Some hold several answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .documents import text_deltas
from .shapes import shapes

RECORDED, GENERATED, TEXT = "recorded", "generated", "text deltas"
CUTS = {
    "1 event a read": 1,
    "4 events a read": 4,
    "16 events a read": 16,
    "all in one read": 0,
}
EVENTS = 256
LONG = 32
"""Of a stream of fewer events, what it costs to make a relay is a good part of the time."""

_BEGINNING = re.compile(rb'"type": ?"(?:message_start|response\.created)"')
_BLOCK = re.compile(rb".+?(?:\n\n|\r\n\r\n|\Z)", re.DOTALL)


class Stream(NamedTuple):
    """A stream: its name, and its bytes."""

    name: str
    raw: bytes


class Cut(NamedTuple):
    """A stream as reads, and the JSON documents in it."""

    stream: Stream
    reads: list[bytes]
    bodies: list[bytes]


@cache
def mixes() -> dict[str, list[Stream]]:
    """Return the streams by mix; without recordings, `recorded` is missing."""
    found = {
        RECORDED: recorded(),
        GENERATED: [Stream(name, raw) for name, raw in shapes(EVENTS).items()],
        TEXT: [Stream(TEXT, framed(text_deltas(EVENTS)))],
    }
    return {name: streams for name, streams in found.items() if streams}


def recorded() -> list[Stream]:
    """Read the recorded streams; none where the variable is not set."""
    folder = os.environ.get("FASTCHUNK_STREAMS")
    paths = sorted(Path(folder).glob("*.sse")) if folder else []
    return [Stream(path.stem, path.read_bytes()) for path in paths]


def framed(documents: Iterable[str]) -> bytes:
    """Write documents as a stream."""
    return b"".join(b"data: %b\n\n" % document.encode() for document in documents)


def cut(stream: Stream, blocks: int) -> Cut:
    """Cut a stream after every so many blocks, or nowhere (0)."""
    every = _BLOCK.findall(stream.raw)
    step = blocks or len(every)
    reads = [b"".join(every[n : n + step]) for n in range(0, len(every), step)]
    return Cut(stream, reads, [body for body in map(body_of, split(stream.raw)) if body])


def split(read: bytes) -> list[bytes]:
    """Split a read into blocks: the cheapest framing that is right for all streams here.

    Every peer but fastchunk uses it, so framing costs all of them the same. Reads hold whole
    blocks, and no line ends with a bare CR.
    """
    if 13 in read:
        read = read.replace(b"\r\n", b"\n")
    blocks = read.split(b"\n\n")
    if not blocks[-1]:  # behind the last blank line
        del blocks[-1]
    return blocks


def body_of(block: bytes) -> bytes:
    """Return the JSON object that is a block's one line of data; else nothing."""
    return block[6:] if block[:7] == b"data: {" else b""


class Answer(NamedTuple):
    """One answer of another family's: its name, its whole blocks, and the JSON documents in it."""

    name: str
    blocks: list[bytes]
    bodies: list[bytes]

    @property
    def raw(self) -> bytes:
        """The whole stream."""
        return b"".join(self.blocks)

    def cut(self, blocks: int) -> list[bytes]:
        """Cut the stream after every so many blocks, or nowhere (0)."""
        step = blocks or len(self.blocks)
        return [b"".join(self.blocks[n : n + step]) for n in range(0, len(self.blocks), step)]


def answers_of(family: str) -> list[Answer]:
    """Read the recorded answers of a family; none where the variable is not set."""
    folder = os.environ.get("FASTCHUNK_STREAMS")
    paths = sorted(Path(folder).parent.glob(f"families/{family}__*.sse")) if folder else []
    return [answer for path in paths for answer in _answers_in(path)]


def _answers_in(path: Path) -> Iterable[Answer]:
    found: list[list[bytes]] = [[]]
    for block in _BLOCK.findall(path.read_bytes().replace(b"\r\n", b"\n")):
        if _BEGINNING.search(block) and any(map(_data_of, found[-1])):
            found.append([])
        found[-1].append(block if block.endswith(b"\n\n") else block.rstrip(b"\n") + b"\n\n")
    for number, blocks in enumerate(found):
        bodies = [body for body in map(_data_of, blocks) if body]
        yield Answer(f"{path.stem}, {number + 1}" if number else path.stem, blocks, bodies)


def _data_of(block: bytes) -> bytes:
    """Return the JSON object that is the last line of a block."""
    return body_of(block[block.find(b"data: ") :].rstrip(b"\n"))
