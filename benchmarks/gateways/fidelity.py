"""What a gateway loses, adds and changes: recorded streams, as sent and as received.

Both sides are read here, with nothing but `json`, and compared as a whole: a gateway may cut events
otherwise, and need not keep one event for one.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.end_to_end.load import Target, connect, request_for
from benchmarks.end_to_end.upstream import Answer
from benchmarks.streams import recorded

STREAMS = {
    "mid-stream error": "openrouter__midstream-error",
    "reasoning": "deepseek__reasoning-stream",
    "tool calls": "openai__parallel-tool-calls-2",
    "content filter": "azure__content-filter-1",
    "parts": "mistral__magistral-thinking",
    "padding": "openai__tool-call-obfuscation",
}
_PATIENCE = 20  # seconds

Loss = dict[str, Any]
"""What differs, by kind; where nothing does, only whether the bytes are the same."""


class Said(NamedTuple):
    """What a stream says: its comments, other fields than data, documents, and whether it ends."""

    comments: int
    fields: Counter[str]
    documents: list[Any]
    done: bool


def read(stream: bytes) -> Said:
    """Read a stream. Raises `ValueError` for data that is neither JSON nor `[DONE]`."""
    comments, done = 0, False
    fields: Counter[str] = Counter()
    documents = []
    for block in stream.replace(b"\r\n", b"\n").decode().split("\n\n"):
        data = []
        for line in block.splitlines():
            name, _, value = line.partition(":")
            if not name:
                comments += 1
            elif name == "data":
                data.append(value.removeprefix(" "))
            else:
                fields[line] += 1
        text = "\n".join(data)
        done = done or text == "[DONE]"
        if data and text != "[DONE]":
            documents.append(json.loads(text))
    return Said(comments, fields, documents, done)


def compare(sent: bytes, received: bytes) -> Loss:
    """Say what of a stream is lost, added and changed on its way.

    A key is its path. A value is the same if the texts of all events make one text, or if the
    values are the same ones, however often each comes.
    """
    if sent == received:
        return {"same bytes": True}
    ours, theirs = read(sent), read(received)
    before, after = _leaves(ours.documents), _leaves(theirs.documents)
    found: Loss = {
        "same bytes": False,
        "events": len(ours.documents) - len(theirs.documents),
        "comments": ours.comments - theirs.comments,
        "fields": [*(ours.fields - theirs.fields)],
        "done": ours.done and not theirs.done,
        "lost": [path for path in before if path not in after],
        "added": [
            path for path in after if path not in before and any(one is not None for one in after[path])
        ],
        "nulls": [
            path for path in after if path not in before and all(one is None for one in after[path])
        ],
        "changed": [path for path in before if path in after and _differ(before[path], after[path])],
    }
    return {"same bytes": False} | {kind: what for kind, what in found.items() if what}


def _leaves(documents: list[Any]) -> dict[str, list[Any]]:
    """Return all values that are no containers, by path, in order."""
    found: dict[str, list[Any]] = {}
    for document in documents:
        for path, value in _walk(document, ""):
            found.setdefault(path, []).append(value)
    return found


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _walk(inner, f"{path}[]")
    else:
        yield path, value


def _differ(before: list[Any], after: list[Any]) -> bool:
    return _text(before) != _text(after) and not (_kinds(before) == _kinds(after))


def _text(values: list[Any]) -> str:
    return "".join(one if isinstance(one, str) else json.dumps(one) for one in values if one is not None)


def _kinds(values: list[Any]) -> set[str]:
    return {json.dumps(one) for one in values if one is not None}


def measure(port: int, target: Target) -> dict[str, Loss]:
    """Let all streams through a gateway; nothing where the recordings are not there."""
    by_name = {stream.name: stream.raw for stream in recorded()}
    return {
        title: _through(port, target, name, by_name[name])
        for title, name in STREAMS.items()
        if name in by_name
    }


def _through(port: int, target: Target, name: str, sent: bytes) -> Loss:
    try:
        return compare(sent, asyncio.run(_ask(port, target, Answer(0, recorded=name))))
    except (ValueError, OSError, asyncio.TimeoutError) as error:
        return {"same bytes": False, "failed": str(error) or type(error).__name__}


async def _ask(port: int, target: Target, answer: Answer) -> bytes:
    client = await connect(port)
    reply, ended = client.ask(answer, request_for(answer, target))
    await asyncio.wait_for(ended, _PATIENCE)
    client.transport.close()
    _, payloads = reply.body()
    return b"".join(payload for payload, _ in payloads)
