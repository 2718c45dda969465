"""An engine for Ray's `LLMServer` that answers without a model, and what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from ray.llm._internal.serve.configs.openai_api_models import OpenAIHTTPException
from ray.llm._internal.serve.configs.server_models import (
    BatchedLLMRawResponse,
    FinishReason,
    LLMRawResponse,
    LogProb,
    LogProbs,
)
from ray.llm._internal.serve.deployments.llm.llm_engine import LLMEngine
from ray.llm._internal.serve.deployments.utils.server_utils import get_response_for_error

BATCH = 3  # responses, which Ray's engine for vLLM hands on together when they come within 50 ms
TEXTS = ["Hello", ", ", "日本", " 😀\n", '"\\/\u2028', "", "."]


def _response(text: str, **fields: Any) -> LLMRawResponse:
    return LLMRawResponse(generated_text=text, num_input_tokens=5, num_generated_tokens=1, **fields)


def _error() -> LLMRawResponse:
    error = OpenAIHTTPException(429, "too many", type="Busy", internal_message="the queue is full")
    return get_response_for_error(error, "r")


def _text() -> list[LLMRawResponse]:
    return [*map(_response, TEXTS), _response("", finish_reason=FinishReason.STOP)]


def _logprobs() -> list[LLMRawResponse]:
    values = [-0.0, -1e-7, -12.5, float("-inf"), -1 / 3]
    top = [LogProb(token=" 日", logprob=value, bytes=[32, 230]) for value in values]
    entries = [LogProbs.create(top, top_logprobs=number) for number in (0, 1, 5)]
    found = [_response("日", logprobs=entries[:number]) for number in (0, 1, 2, 3)]
    return [*found, _response("", finish_reason=FinishReason.LENGTH)]


ANSWERS: dict[str, Callable[[], list[LLMRawResponse]]] = {
    "text": _text,
    "logprobs": _logprobs,
    "no text": lambda: [LLMRawResponse(finish_reason="stop")],
    "error": lambda: [_error()],
    "error after text": lambda: [_response("Hello"), _error(), _response("never seen")],
    "failure after text": _text,
}
"""What is answered to a message. At "failure after text" the engine itself fails at last."""


async def generate(message: str) -> AsyncIterator[LLMRawResponse]:
    """Yield the answer to a message in batches."""
    responses = ANSWERS[message]()
    for start in range(0, len(responses), BATCH):
        yield BatchedLLMRawResponse.merge_stream(*responses[start : start + BATCH])
    if message == "failure after text":
        raise RuntimeError("the engine died")


class Engine(LLMEngine):  # type: ignore[misc]
    """Answers the last message of a chat, or the prompt of a completion."""

    async def start(self) -> None:
        pass

    async def prepare_request(self, request_id: str, prompt: Any, stream: bool, **_: Any) -> str:  # noqa: ARG002
        given = prompt.prompt
        message: str = given if isinstance(given, str) else given[-1].content
        return message

    def generate(self, request: str) -> AsyncIterator[LLMRawResponse]:
        return generate(request)
