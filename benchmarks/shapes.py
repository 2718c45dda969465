"""Streams of shapes that nobody tuned to, as servers write them; seeded, the same in every run.

Each begins with the role and ends with a finish reason and `[DONE]`. What differs is what has made
relays slow: which values change from event to event, and how the events are written.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import count, cycle, islice
from typing import Any

from .words import FOREIGN, WORDS

SEED = 20251124

Value = dict[str, Any]
Deltas = Callable[[random.Random], Iterator[Value]]

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _chunk(choices: list[Value], **fields: Any) -> Value:
    return {
        "id": "chatcmpl-BXq3mZ1f5Jt8Wd0aKcR7sNvU2yLpE",
        "object": "chat.completion.chunk",
        "created": 1_764_000_000,
        "model": "model-2025-11-24",
        "choices": choices,
        **fields,
    }


def _choice(delta: Value, index: int = 0, **fields: Any) -> Value:
    return {"index": index, "delta": delta, "finish_reason": None, **fields}


def _text(rng: random.Random) -> str:
    return f" {rng.choice(WORDS)}"


def _letters(rng: random.Random, number: int) -> str:
    return "".join(rng.choices(_ALPHABET, k=number))


def _two_choices(rng: random.Random) -> Iterator[Value]:
    for index in cycle((0, 1)):
        yield _chunk([_choice({"content": _text(rng)}, index)], system_fingerprint="fp_5f3c1a9e7d")


def _padded(rng: random.Random) -> Iterator[Value]:
    while True:
        yield _chunk(
            [_choice({"content": _text(rng)}, logprobs=None)],
            service_tier="default",
            system_fingerprint="fp_5f3c1a9e7d",
            usage=None,
            obfuscation=_letters(rng, rng.randint(1, 16)),
        )


def _tool_arguments(rng: random.Random) -> Iterator[Value]:
    function = {"name": "look_up", "arguments": ""}
    call = {"index": 0, "id": "call_9fQ2", "type": "function", "function": function}
    yield _chunk([_choice({"tool_calls": [call]})])
    while True:
        piece = {"index": 0, "function": {"arguments": f'"{rng.choice(WORDS)}": '}}
        yield _chunk([_choice({"tool_calls": [piece]})])


def _own_ids(rng: random.Random) -> Iterator[Value]:
    while True:
        own = {"id": _letters(rng, 24), "created": 1_764_000_000 + rng.randint(0, 9)}
        yield {**_chunk([_choice({"content": _text(rng)})]), **own}


def _logprobs(rng: random.Random) -> Iterator[Value]:
    def entry() -> Value:
        token = _text(rng)
        return {"token": token, "logprob": -rng.expovariate(0.5), "bytes": list(token.encode())}

    while True:
        top = [entry() for _ in range(5)]
        said = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
        yield _chunk([_choice({"content": top[0]["token"]}, logprobs=said)])


def _parts(rng: random.Random) -> Iterator[Value]:
    while True:
        text = {"type": "text", "text": _text(rng)}
        part = text if rng.random() < 0.5 else {"type": "thinking", "thinking": [text]}
        yield _chunk([_choice({"content": [part]})])


def _plain(rng: random.Random) -> Iterator[Value]:
    while True:
        yield _chunk([_choice({"content": _text(rng)})])


def _foreign(rng: random.Random) -> Iterator[Value]:
    while True:
        yield _chunk([_choice({"content": rng.choice(FOREIGN)})])


def _nulls(rng: random.Random) -> Iterator[Value]:
    while True:
        choice = {
            "index": 0,
            "delta": {"content": _text(rng), "reasoning": None},
            "logprobs": None,
            "finish_reason": None,
            "token_ids": None,
        }
        yield _chunk([choice], usage=None, prompt_token_ids=None, kv_transfer_params=None)


def _usage(rng: random.Random) -> Iterator[Value]:
    for tokens in count(1):
        usage = {"prompt_tokens": 31, "total_tokens": 31 + tokens, "completion_tokens": tokens}
        yield _chunk([_choice({"content": _text(rng)})], usage=usage)


_DELTAS: dict[str, Deltas] = {
    "two choices in turn": _two_choices,
    "padded text": _padded,
    "tool-call arguments": _tool_arguments,
    "an id per event": _own_ids,
    "logprobs": _logprobs,
    "content in parts": _parts,
    "CRLF line ends": _plain,
    "non-ASCII and escapes": _foreign,
    "vLLM's nulls": _nulls,
    "usage in every chunk": _usage,
}


def shapes(events: int) -> dict[str, bytes]:
    """Make each stream, of so many events, by its name."""
    return {name: _stream(name, deltas, events) for name, deltas in _DELTAS.items()}


def _stream(name: str, deltas: Deltas, events: int) -> bytes:
    rng = random.Random(f"{SEED} {name}")
    values = [_chunk([_choice({"role": "assistant", "content": ""})])]
    values += islice(deltas(rng), events - 3)
    values.append(_chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    end = "\r\n" if name == "CRLF line ends" else "\n"
    documents = [
        # Where texts are not ASCII, every other event spells them with escapes.
        json.dumps(value, ensure_ascii=n % 2 == 1, separators=(",", ":"))
        for n, value in enumerate(values)
    ]
    return "".join(f"data: {text}{end}{end}" for text in [*documents, "[DONE]"]).encode()
