"""Single documents, which the oracle writes: Ray Serve's own Pydantic class.

Everything is seeded: the same documents in every run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

from .words import CREATED, FOREIGN, ID, MODEL, WORDS

SEED = 20250531
DELTA = "text delta"
_BATCH = 64


def _chunk(**fields: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "created": CREATED,
        "model": MODEL,
        "choices": [],
        **fields,
    }


def _delta(delta: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return _chunk(choices=[{"index": 0, "delta": delta, **fields}])


def _logprob(rng: random.Random) -> dict[str, Any]:
    token = f" {rng.choice(WORDS)}"
    return {"token": token, "logprob": -rng.expovariate(0.5), "bytes": list(token.encode())}


def _logprobs(rng: random.Random, alternatives: int) -> dict[str, Any]:
    top = [_logprob(rng) for _ in range(alternatives)]
    entry = {**top[0], "top_logprobs": top}
    return _delta({"content": entry["token"]}, logprobs={"content": [entry]})


def _tool_call(rng: random.Random) -> dict[str, Any]:
    call = {
        "id": "chatcmpl-tool-1",
        "index": 0,
        "function": {"arguments": f'"{rng.choice(WORDS)}'},
    }
    return _delta({"tool_calls": [call]})


def _usage(rng: random.Random) -> dict[str, Any]:
    prompt, completion = rng.randint(10, 9000), rng.randint(1, 4000)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 16},
    }
    return _chunk(usage=usage)


_MAKERS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    DELTA: lambda rng: _delta({"content": f" {rng.choice(WORDS)}"}),
    "sparse text delta": lambda rng: _delta({"content": f" {rng.choice(WORDS)}"}),
    "logprobs, 5 alternatives": lambda rng: _logprobs(rng, 5),
    "logprobs, 20 alternatives": lambda rng: _logprobs(rng, 20),
    "tool-call delta": _tool_call,
    "usage chunk": _usage,
    "non-ASCII delta": lambda rng: _delta({"content": rng.choice(FOREIGN)}),
}


def generated() -> dict[str, list[str]]:
    """Let the oracle write every kind of chunk, in Ray's style, and one as vLLM writes it."""
    rng = random.Random(SEED)
    return {
        name: [
            ChatCompletionStreamResponse.model_validate(make(rng)).model_dump_json(
                exclude_unset=name.startswith("sparse")
            )
            for _ in range(_BATCH)
        ]
        for name, make in _MAKERS.items()
    }


def text_deltas(events: int) -> list[str]:
    """Return a stream's documents: text deltas, over and over."""
    deltas = generated()[DELTA]
    return [deltas[n % len(deltas)] for n in range(events)]
