"""Streams of chat chunks, written and read naively: nothing here is the package's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

Texts = dict[tuple[Any, ...], str]
"""Joined texts: by choice and name, and for arguments by the tool call's index, too."""

DONE = "[DONE]"


class Said(NamedTuple):
    """A piece of a text that a choice says."""

    choice: int
    name: str
    piece: str


def delta(name: str, piece: str) -> dict[str, Any]:
    """Write the delta that says a piece; a tool call's arguments are named `arguments 0`."""
    if name.startswith("arguments"):
        index = int(name.removeprefix("arguments "))
        return {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    return {name: piece}


def chunk(*choices: dict[str, Any], **others: Any) -> str:
    """Write a chunk's data."""
    head = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    return json.dumps({**head, "choices": list(choices), **others}, ensure_ascii=False)


def saying(choice: int, name: str, piece: str, reason: str | None = None, **others: Any) -> str:
    """Write the data of a chunk in which one choice says something."""
    said = {"index": choice, "delta": delta(name, piece), "finish_reason": reason}
    return chunk(said, **others)


def finishing(choice: int, reason: str = "stop") -> str:
    """Write the data of a chunk that ends a choice."""
    return chunk({"index": choice, "delta": {}, "finish_reason": reason})


def stream(*datas: str, end: str = "\n") -> bytes:
    """Write events; what begins with a colon is a comment."""
    blocks = [data if data.startswith(":") else f"data: {data}" for data in datas]
    return "".join(block + end + end for block in blocks).encode()


def events(out: bytes) -> list[Any]:
    """Read the events of whole blocks: parsed data, or text where it is no JSON."""
    text = out.decode().replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = text.split("\n\n")
    assert not rest.lstrip("\n") or (rest.endswith("\n") and rest.lstrip("\n").startswith(":"))
    found = []
    for block in blocks:
        lines = [line for line in block.split("\n") if line.startswith("data:")]
        if lines:
            data = "\n".join(line[5:].removeprefix(" ") for line in lines)
            try:
                found.append(json.loads(data, object_pairs_hook=_without_duplicates))
            except json.JSONDecodeError:
                found.append(data)
    return found


def _without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found = list(pairs)
    assert len(dict(found)) == len(found)
    return dict(found)


def texts(out: bytes) -> Texts:
    """Join what each choice says, by name; nothing is said in vain."""
    found: Texts = {}
    for event in events(out):
        choices = event.get("choices") if isinstance(event, dict) else None
        for position, choice in enumerate(choices or ()):
            _add(found, int(choice.get("index", position)), choice.get("delta") or {})
    return {place: text for place, text in found.items() if text}


def _add(found: Texts, choice: int, delta: dict[str, Any]) -> None:
    for name in ("content", "refusal", "reasoning", "reasoning_content"):
        if name == "reasoning_content" and delta.get("reasoning") == delta.get(name):
            continue  # the same under two names is said once
        for key, piece in _strings(name.removesuffix("_content"), delta.get(name)):
            found[choice, key] = found.get((choice, key), "") + piece
    calls = [(call.get("index", at), call) for at, call in enumerate(delta.get("tool_calls") or ())]
    if delta.get("function_call"):
        calls.append((-1, {"function": delta["function_call"]}))
    for index, call in calls:
        piece = call.get("function", {}).get("arguments") or call.get("custom", {}).get("input")
        place = (choice, "arguments", index)
        found[place] = found.get(place, "") + (piece if isinstance(piece, str) else "")


def _strings(name: str, value: Any) -> Iterable[tuple[str, str]]:
    """List the strings in a text or in its parts; those in thinking parts are reasoning."""
    if isinstance(value, str):
        yield name, value
    for item in value if isinstance(value, list) else ():
        yield from _strings(name, item)
    if isinstance(value, dict):
        yield from _strings("reasoning", value.get("thinking"))
        yield from _strings(name, value.get("text"))


def reasons(out: bytes) -> dict[int, str]:
    """List the finish reason of each choice; there is one at most."""
    found: dict[int, str] = {}
    for event in events(out):
        for choice in (event.get("choices") or ()) if isinstance(event, dict) else ():
            if choice.get("finish_reason"):
                assert choice["index"] not in found
                found[choice["index"]] = choice["finish_reason"]
    return found
