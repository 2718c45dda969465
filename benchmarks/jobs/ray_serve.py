"""Ray Serve's own LLM code: an engine's responses in the server to the events in the router.

Ray's functions run as they are, with fastchunk in them or without. Between the two each chunk is
pickled and unpickled as Ray does it. What Ray does besides, between the processes and in front of
the client, is not measured: it is the same for both.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import cache, partial
from typing import Any, TypeVar

from benchmarks.job import OURS, Job, MakePeer, Part, Run, expect, with_own_code
from benchmarks.words import MODEL

STREAM = "Ray Serve's LLM code"
RAY = "Ray's own"
TEXT, LOGPROBS = "text", "logprobs"
_RESPONSES = 400
_BATCH = 8  # responses that come within 50 ms, which Ray's engine hands on together
_TOP = 5

T = TypeVar("T")


@cache
def _batches(case: str) -> list[Any]:
    """Make what Ray's engine for vLLM gives to the server; once for all peers."""
    from ray.llm._internal.serve.configs.server_models import BatchedLLMRawResponse

    responses = [_response(case, n) for n in range(_RESPONSES)]
    return [
        BatchedLLMRawResponse.merge_stream(*responses[start : start + _BATCH])
        for start in range(0, _RESPONSES, _BATCH)
    ]


def _response(case: str, n: int) -> Any:
    from ray.llm._internal.serve.configs.server_models import LLMRawResponse, LogProb, LogProbs

    top = [LogProb(token=f" {n}", logprob=-0.25 * k, bytes=[32, 48]) for k in range(_TOP)]
    return LLMRawResponse(
        generated_text=f" {n}",
        logprobs=[LogProbs.create(top, top_logprobs=_TOP)] if case == LOGPROBS else None,
        num_input_tokens=31,
        num_generated_tokens=1,
        finish_reason="stop" if n == _RESPONSES - 1 else None,
    )


# --- peers ---


async def _iterate(items: list[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


async def _hop(chunks: AsyncIterator[Any], dumps: Any, loads: Any) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield loads(dumps(chunk, protocol=5))


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing; an event loop would be measured with it."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("it waits for something")


def _peer(*, install: bool) -> Run:
    from ray import cloudpickle
    from ray.llm._internal.serve.deployments.llm import llm_server
    from ray.llm._internal.serve.deployments.routers import router
    from ray.serve import context

    from fastchunk.integrations import ray_serve_llm

    processor = llm_server.ResponsePostprocessor
    request = context._RequestContext(request_id="request")  # noqa: SLF001

    def place() -> tuple[Any, Any]:
        return processor._chat_completions_wrapper, router._apply_openai_json_format  # noqa: SLF001

    if install:
        ray_serve_llm.install()
    build, frame = place()
    ray_serve_llm.uninstall()

    async def serve(batches: list[Any]) -> list[str]:
        sent = processor().process_chat(MODEL, _iterate(batches), stream=True)
        received = _hop(sent, cloudpickle.dumps, cloudpickle.loads)
        _, events = await router._peek_at_openai_json_generator(received)  # noqa: SLF001
        return [event async for event in events]

    def run(case: str) -> list[str]:
        # To install takes longer than a run; so what it replaced is put there, and Ray's back.
        own = place()
        processor._chat_completions_wrapper = staticmethod(build)  # noqa: SLF001
        router._apply_openai_json_format = frame  # noqa: SLF001
        token = context._serve_request_context.set(request)  # noqa: SLF001
        events = _run(serve(_batches(case)))
        context._serve_request_context.reset(token)  # noqa: SLF001
        processor._chat_completions_wrapper = staticmethod(own[0])  # noqa: SLF001
        router._apply_openai_json_format = own[1]  # noqa: SLF001
        return events

    return with_own_code(run)


_PEERS: dict[str, MakePeer] = {
    OURS: partial(_peer, install=True),
    RAY: partial(_peer, install=False),
}


def _check(_peer: str, part: Part, events: list[str]) -> None:
    *chunks, done = [event.removeprefix("data: ").removesuffix("\n\n") for event in events]
    expect(done, "[DONE]")
    first, *middle, last = [{**json.loads(chunk), "created": 0} for chunk in chunks]
    delta: dict[str, Any] = {
        "role": None,
        "content": "",
        "reasoning_content": None,
        "tool_calls": [],
    }
    role = {"delta": {**delta, "role": "assistant"}, "logprobs": {"content": []}}
    expect(first, _chunk(role))
    expected = [
        _chunk({"delta": {**delta, "content": f" {n}"}, "logprobs": _logprobs(part.given, n)})
        for n in range(_RESPONSES)
    ]
    expect(middle, expected)
    usage = {
        "prompt_tokens": 31,
        "total_tokens": 31 + _RESPONSES,
        "completion_tokens": _RESPONSES,
        "prompt_tokens_details": None,
    }
    expect(last, _chunk({"delta": delta, "finish_reason": "stop"}, usage=usage))


def _chunk(choice: dict[str, Any], usage: object = None) -> dict[str, Any]:
    defaults = {"index": 0, "logprobs": None, "finish_reason": None, "stop_reason": None}
    return {
        "id": f"{MODEL}-request",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": MODEL,
        "choices": [{**defaults, **choice}],
        "usage": usage,
    }


def _logprobs(case: str, n: int) -> object:
    if case == TEXT:
        return None
    top = [{"token": f" {n}", "logprob": -0.25 * k, "bytes": [32, 48]} for k in range(_TOP)]
    return {"content": [{**top[0], "top_logprobs": top}]}


def jobs() -> Iterator[Job]:
    """Make the jobs, one for each kind of response."""
    check: Callable[[str, Part, Any], None] = _check
    for case in (TEXT, LOGPROBS):
        # The role's chunk, the usage's, and the end come on top of the responses.
        yield Job(f"{STREAM}/{case}", [Part(case, case, _RESPONSES + 3)], _PEERS, check)
