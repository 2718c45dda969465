"""`python -m tests.conformance.providers --write | --check`: the README's table of providers.

Read are the recorded streams that `FASTCHUNK_STREAMS` names; a file's name begins with its
provider, up to two underscores. Where the variable is not set, nothing is written or checked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from msgspec import UNSET

from fastchunk import EventDecoder, InvalidChunk, Relay, encode, wire
from tests.streams import recorded

from .servers import spelled

README = Path(__file__).parents[2] / "README.md"
_BEGIN, _END = "<!-- streams:providers -->\n", "\n<!-- /streams -->"
_HEADER = [
    "provider",
    "streams",
    "events",
    "chunks",
    "decoded by `wire`",
    "given back without loss",
    "relayed byte for byte",
    "how they end",
]


@dataclass
class Tally:
    """What became of some streams."""

    streams: int = 1
    events: int = 0
    chunks: int = 0
    decoded: int = 0
    lossless: int = 0
    relayed: int = 0
    errors: int = 0
    recognised: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        names = [f.name for f in fields(self)]
        return Tally(*(getattr(self, name) + getattr(other, name) for name in names))


def examine(raw: bytes) -> Tally:
    """Decode every event of a stream, and relay the whole of it."""
    decoder, relay, tally = EventDecoder(), Relay(), Tally()
    for event in decoder.feed(raw) + decoder.feed(b"\n\n"):  # the last may lack its empty line
        tally.events += 1
        _examine_event(event.data, tally)
    tally.relayed = int(relay.feed(raw) + relay.close() == raw)
    tally.ends[_end_of(relay)] = 1
    return tally


def _examine_event(data: bytes, tally: Tally) -> None:
    """Count an event; whether it is a chunk or has an error, `json` says and not `wire`."""
    try:
        value = json.loads(data)
    except ValueError:
        return
    if not isinstance(value, dict):
        return
    is_chunk = "choices" in value or value.get("object") == "chat.completion.chunk"
    has_error = value.get("error") is not None
    tally.chunks += is_chunk
    tally.errors += has_error
    try:
        chunk = wire.decode(data)
    except InvalidChunk:
        return
    tally.decoded += is_chunk
    tally.lossless += is_chunk and spelled(json.loads(encode(chunk))) == spelled(value)
    tally.recognised += has_error and chunk.error is not UNSET and chunk.error == value["error"]


def _end_of(relay: Relay) -> str:
    if relay.truncated:
        return "cut"
    if relay.error is not None:
        return "error then [DONE]" if relay.done else "error"
    return "[DONE]" if relay.done else "finish only"


def by_provider(streams: Iterable[Path]) -> dict[str, Tally]:
    """Add up the streams of each provider, in the order of their names."""
    tallies: dict[str, Tally] = {}
    for path in streams:
        provider = path.name.partition("__")[0]
        tally = examine(path.read_bytes())
        tallies[provider] = tallies[provider] + tally if provider in tallies else tally
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    """Write a row for each provider, and one for all of them."""
    rows = [_HEADER, ["---"] * len(_HEADER), *(_row(*item) for item in tallies.items())]
    first, *rest = tallies.values()
    rows.append(_row("**sum**", sum(rest, first)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, t: Tally) -> list[str]:
    ends = [end if t.streams == 1 else f"{end} {n}" for end, n in t.ends.most_common()]
    shares = (
        _share(t.decoded, t.chunks),
        _share(t.lossless, t.chunks),
        _share(t.relayed, t.streams),
    )
    return [name, str(t.streams), f"{t.events:,}", f"{t.chunks:,}", *shares, " · ".join(ends)]


def _share(part: int, whole: int) -> str:
    return "all" if part == whole else f"{part:,} of {whole:,}"


def _filled(text: str, block: str) -> str:
    before, opened, rest = text.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if not (opened and closed):
        raise SystemExit(f"{README.name} has no block named streams:providers")
    return f"{before}{_BEGIN}{block}{_END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.providers")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the table into the README")
    action.add_argument("--check", action="store_true", help="fail if the README's is another")
    options = parser.parse_args()
    streams = recorded()
    if not streams:
        print("FASTCHUNK_STREAMS names no recorded streams: nothing is written or checked")
        return 0
    text = README.read_text("utf-8")
    fresh = _filled(text, table(by_provider(streams)))
    if options.write:
        README.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        print(f"{README.name} is stale: python -m tests.conformance.providers --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
