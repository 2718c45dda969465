"""Producers: a text to an event, as a server does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.job import OURS, Job, MakePeer, Part, Run, each, expect
from benchmarks.words import CREATED, ID, MODEL

from .peers import ROUTER

PRODUCE = "produce"
TEXTS = [" the", " streaming", "日本", "\n", ' "quoted"', ""] * 8
_WIRE = f"{OURS}, wire"


def encoder(family: str, model: str) -> Any:
    """Make an encoder that writes what the other peers write."""
    import fastchunk

    module: Any = import_module(f"fastchunk.{family}")
    return fastchunk.StreamEncoder(module, model=model, id=ID, created=CREATED)


def _fastchunk(family: str) -> Run:
    return each(encoder(family, MODEL).content)


def _pydantic() -> Run:
    from ray.llm._internal.serve.configs import openai_api_models

    response = openai_api_models.ChatCompletionStreamResponse
    stream_choice = openai_api_models.ChatCompletionResponseStreamChoice
    message = openai_api_models.DeltaMessage

    # The router sends str; encoding it to bytes is the server's work, and not measured.
    def produce(text: str) -> str:
        choice = stream_choice(index=0, delta=message(content=text))
        chunk = response(id=ID, created=CREATED, model=MODEL, choices=[choice])
        return f"data: {chunk.model_dump_json()}\n\n"

    return each(produce)


_PEERS: dict[str, MakePeer] = {
    OURS: partial(_fastchunk, "models"),
    _WIRE: partial(_fastchunk, "wire"),
    ROUTER: _pydantic,
}


def _check(peer: str, part: Part, events: list[Any]) -> None:
    written = [event if isinstance(event, str) else event.decode() for event in events]
    expect(written, [_event(text, every_key=peer != _WIRE) for text in part.given])


def _event(text: str, *, every_key: bool) -> str:
    """Return a text's event with every key of the model, or with what was set alone."""
    delta: dict[str, Any] = {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    if every_key:
        delta = {"role": None, **delta, "reasoning_content": None, "tool_calls": []}
        choice |= {"delta": delta, "stop_reason": None}
    chunk = {
        "id": ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice],
        **({"usage": None} if every_key else {}),
    }
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n"


def jobs() -> Iterator[Job]:
    """Make the one job."""
    check: Callable[[str, Part, Any], None] = _check
    yield Job(f"{PRODUCE}/text delta", [Part("texts", TEXTS, len(TEXTS))], _PEERS, check)
