"""The documents that the benchmarks read: streams that the oracle writes, and recorded ones.

`python -m benchmarks.cases FILE` writes them. Everything is seeded: the same documents in every
run.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

from .peers import Case

BATCH = 64
SEED = 20250531

_WORDS = (
    "the of and to in is that for it as was with be by on not he his but at are this have from "
    "or had an they which one you were all her she there would their we him been has when who "
    "def return import class print(x) {} , . : ; 42 2024 tokens streaming gateway"
).split()
_FOREIGN = ["日本", "語の", "文章", "です", "。", "привет", " мир", "é", "ñ", "😀", "中文", "流式"]


def _chunk(**fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-6cb5ba73-5b6e-4d2b-8d8c-0a3f2b1c9d7e",
        "created": 1_748_649_600,
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "choices": [],
        **fields,
    }


def _delta(delta: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return _chunk(choices=[{"index": 0, "delta": delta, **fields}])


def _logprob(rng: random.Random) -> dict[str, Any]:
    token = f" {rng.choice(_WORDS)}"
    return {"token": token, "logprob": -rng.expovariate(0.5), "bytes": list(token.encode())}


def _logprobs(rng: random.Random, alternatives: int) -> dict[str, Any]:
    top = [_logprob(rng) for _ in range(alternatives)]
    entry = {**top[0], "top_logprobs": top}
    return _delta({"content": entry["token"]}, logprobs={"content": [entry]})


def _tool_call(rng: random.Random) -> dict[str, Any]:
    call = {
        "id": "chatcmpl-tool-1",
        "index": 0,
        "function": {"arguments": f'"{rng.choice(_WORDS)}'},
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


def generated() -> dict[str, list[str]]:
    """Let the oracle write every kind of chunk, in Ray's style, and one as vLLM writes it."""
    rng = random.Random(SEED)
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "text delta": lambda: _delta({"content": f" {rng.choice(_WORDS)}"}),
        "sparse text delta": lambda: _delta({"content": f" {rng.choice(_WORDS)}"}),
        "logprobs, 5 alternatives": lambda: _logprobs(rng, 5),
        "logprobs, 20 alternatives": lambda: _logprobs(rng, 20),
        "tool-call delta": lambda: _tool_call(rng),
        "usage chunk": lambda: _usage(rng),
        "non-ASCII delta": lambda: _delta({"content": rng.choice(_FOREIGN)}),
    }
    return {
        name: [
            ChatCompletionStreamResponse.model_validate(make()).model_dump_json(
                exclude_unset=name.startswith("sparse")
            )
            for _ in range(BATCH)
        ]
        for name, make in makers.items()
    }


def recorded() -> list[str]:
    """Take every 20th event of the recorded streams; nothing where there are none."""
    folder = os.environ.get("FASTCHUNK_STREAMS")
    lines = [
        line[6:]
        for path in sorted(Path(folder).glob("*.sse") if folder else [])
        for line in path.read_text(encoding="utf-8").split("\n")
        if line.startswith("data: {")
    ]
    return [line.rstrip("\r") for line in lines[::20]]


def write(target: Path) -> None:
    """Write all cases with the oracle's answers; what the oracle refuses is left out."""
    cases: dict[str, Case] = {}
    for name, documents in {**generated(), "recorded mix": recorded()}.items():
        case: Case = {"documents": [], "dumps": [], "encoded": []}
        for document in documents:
            try:
                chunk = ChatCompletionStreamResponse.model_validate_json(document)
            except ValidationError:
                continue
            if chunk != ChatCompletionStreamResponse.model_validate_json(document):
                continue  # it lacks an id, which is made up at every decode
            case["documents"].append(document)
            case["dumps"].append(chunk.model_dump())
            case["encoded"].append(chunk.model_dump_json())
        if case["documents"]:
            cases[name] = case
    target.write_text(json.dumps(cases), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
