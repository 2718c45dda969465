"""Accumulate: the chunks of a stream to the whole answer, checked and then timed.

Run by `python -m benchmarks`. A check that fails leaves no timing behind.
"""

from __future__ import annotations

import json
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from .accumulate_peers import AnswerPeer


def _told(documents: list[str]) -> dict[str, Any]:
    """Say what a stream tells, from its JSON."""
    values = [json.loads(document) for document in documents]
    choices = [choice for value in values for choice in value["choices"]]
    calls: dict[int, list[Any]] = {}
    for choice in choices:
        for piece in choice["delta"].get("tool_calls", ()):
            name, arguments = piece["function"].get("name"), piece["function"]["arguments"]
            calls.setdefault(piece["index"], [piece.get("id"), name, ""])[2] += arguments
    return {
        **{key: values[0][key] for key in ("id", "created", "model")},
        "content": "".join(choice["delta"].get("content") or "" for choice in choices),
        "tool_calls": [calls[index] for index in sorted(calls)],
        "finish_reason": choices[-1]["finish_reason"],
        "usage": list(values[-1]["usage"].values()),
    }


def _answered(answer: Any) -> dict[str, Any]:
    (choice,) = answer.choices
    usage, message = answer.usage, choice.message
    assert message.role == "assistant"
    return {
        **{key: getattr(answer, key) for key in ("id", "created", "model")},
        "content": message.content or "",
        "tool_calls": [
            [call.id, call.function.name, call.function.arguments]
            for call in message.tool_calls or ()
        ],
        "finish_reason": choice.finish_reason,
        "usage": [usage.prompt_tokens, usage.total_tokens, usage.completion_tokens],
    }


def test_accumulate(
    benchmark: BenchmarkFixture, answer_peer: AnswerPeer, answer_stream: list[str]
) -> None:
    """Chunks to the whole answer."""
    chunks = [answer_peer.read(document.encode()) for document in answer_stream]
    told = _told(answer_stream)
    assert _answered(answer_peer.answer(chunks)) == told
    benchmark.extra_info["calls"] = len(chunks)
    assert _answered(benchmark(answer_peer.answer, chunks)) == told
