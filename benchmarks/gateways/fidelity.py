"""What a gateway loses, adds and changes: recorded streams, as sent and as received.

Both sides are read here, with nothing but `json`, and compared as a whole: a gateway may cut events
otherwise, and need not keep one event for one. The model's name is left out, because some gateways
are there to change it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
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
BYTES, MODEL_ONLY, JSON = "the same bytes", "the same bytes but for the model", "the same JSON"
"""How much alike what is received can be, where nothing is lost."""
_PATIENCE = 20  # seconds
_MODEL = re.compile(rb'"model": ?"[^"]*"')

Loss = dict[str, Any]
"""What differs, by kind; or under `same`, how much alike the two streams are."""


class Said(NamedTuple):
    """What a stream says."""

    comments: int
    fields: Counter[str]
    """Lines that are neither data nor comments."""
    documents: list[Any]
    done: bool
    """Whether it has a `[DONE]`."""


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
        if text == "[DONE]":
            done = True
        elif data:
            documents.append(json.loads(text))
    return Said(comments, fields, documents, done)


def compare(sent: bytes, received: bytes) -> Loss:
    """Say what of a stream is lost, added and changed on its way.

    A key is its path. Values are the same if the texts of all events make one text, or if they are
    the same ones, however often each comes. Raises `ValueError` for data that is no JSON.
    """
    if sent == received:
        return {"same": BYTES}
    if _MODEL.sub(b"", sent) == _MODEL.sub(b"", received):
        return {"same": MODEL_ONLY}
    ours, theirs = read(sent), read(received)
    before, after = _values(ours.documents), _values(theirs.documents)
    kinds: Loss = {
        "events": len(ours.documents) - len(theirs.documents),
        "comments": ours.comments - theirs.comments,
        "fields": [*(ours.fields - theirs.fields)],
        "done": ours.done and not theirs.done,
        "lost": _topmost(path for path, values in before.items() if values and not after.get(path)),
        "added": _topmost(path for path, values in after.items() if values and path not in before),
        "nulls": _topmost(
            path for path, values in after.items() if not values and path not in before
        ),
        "changed": [
            path
            for path, values in before.items()
            if path in after and _differ(values, after[path])
        ],
    }
    return {kind: found for kind, found in kinds.items() if found} or {"same": JSON}


def is_loss(loss: Loss) -> bool:
    """Tell whether anything differs but bytes and the model."""
    return "same" not in loss


def _values(documents: list[Any]) -> dict[str, list[Any]]:
    """Return all values by path, in order; null is none, and an object stands for itself."""
    found: dict[str, list[Any]] = {}
    for document in documents:
        for path, value in _walk(document, ""):
            values = found.setdefault(path, [])
            if value is not None:
                values.append(value)
    found.pop("model", None)
    return found


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        inner = ((f"{path}.{key}" if path else key, one) for key, one in value.items())
    elif isinstance(value, list):
        inner = ((f"{path}[]", one) for one in value)
    else:
        yield path, value
        return
    if path:
        yield path, "{}"
    for name, one in inner:
        yield from _walk(one, name)


def _topmost(paths: Iterable[str]) -> list[str]:
    """Leave out what is within another one."""
    found: list[str] = []
    for path in paths:
        if not any(path.startswith((f"{one}.", f"{one}[]")) for one in found):
            found.append(path)
    return found


def _differ(before: list[Any], after: list[Any]) -> bool:
    """Tell whether both have values, and not the same ones."""
    if not before or not after:
        return False
    return "".join(map(str, before)) != "".join(map(str, after)) and set(before) != set(after)


def measure(gateways: Mapping[str, tuple[int, Target]]) -> dict[str, dict[str, Loss]]:
    """Let all streams through all gateways; nothing where the recordings are not there."""
    by_name = {stream.name: stream.raw for stream in recorded()}
    if not by_name:
        return {}
    sent = {title: (name, by_name[name]) for title, name in STREAMS.items()}
    return asyncio.run(_measure(gateways, sent))


async def _measure(
    gateways: Mapping[str, tuple[int, Target]], sent: Mapping[str, tuple[str, bytes]]
) -> dict[str, dict[str, Loss]]:
    asked = [
        _through(*gateway, *stream) for gateway in gateways.values() for stream in sent.values()
    ]
    losses = iter(await asyncio.gather(*asked))
    return {gateway: {title: next(losses) for title in sent} for gateway in gateways}


async def _through(port: int, target: Target, name: str, sent: bytes) -> Loss:
    answer = Answer(0, recorded=name)
    try:
        client = await connect(port)
        reply, ended = client.ask(answer, request_for(answer, target, usage=True))
        await asyncio.wait_for(ended, _PATIENCE)
        client.transport.close()
        _, payloads = reply.body()
        return _compare_payloads(sent, payloads)
    except (ValueError, OSError, asyncio.TimeoutError) as error:
        return {"failed": str(error) or type(error).__name__}


def _compare_payloads(sent: bytes, payloads: Iterator[tuple[bytes, int]]) -> Loss:
    received = []
    whole = False
    with suppress(ValueError):
        for payload, _ in payloads:
            received.append(payload)
        whole = True
    found = compare(sent, b"".join(received))
    return found if whole else {"cut": True, **found}
