r"""What the demonstration says, in the words of each API.

In:  a plan.
Out: the events of a streamed answer, or the answer that they add up to.
Cost: the events of equal plans are written once.

    >>> written = chat_events(Plan(model="demo", words=2))
    >>> len(written)  # the role, reasoning, two words, the finish reason, [DONE]
    6
    >>> written[-1]
    b'data: [DONE]\n\n'
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from fastchunk import (
    DONE,
    Accumulator,
    StreamEncoder,
    completions,
    edit,
    encode,
    format_event,
    iter_chunks,
    messages,
    responses,
    wire,
)

__all__ = [
    "MODEL",
    "Plan",
    "answer",
    "chat_events",
    "completion_events",
    "message_events",
    "response_events",
]

MODEL = "demo"
"""The model that is listed; any other name is served as well."""

_REASONING = "The user wants to see a stream."
_TEXT = (
    "Every word of this answer is an event of its own. It was written by a demonstration, not by "
    "a model, and has come through the gateway as the very bytes that were sent. "
).split(" ")[:-1]
_PROMPT_TOKENS = 8


class Plan(Struct, frozen=True, kw_only=True):
    """All that the events of an answer depend on."""

    model: str
    words: int = len(_TEXT)
    tool: str | None = None
    """The name of the function to call instead of writing a text."""
    arguments: str = "{}"
    logprobs: bool = False
    usage: bool = False
    """Whether chat and completions say what was used; the others always do."""

    @property
    def text(self) -> list[str]:
        """The words of the text, each with the space before it."""
        words = itertools.islice(itertools.cycle(_TEXT), self.words)
        return [word if n == 0 else f" {word}" for n, word in enumerate(words)]

    @property
    def argument_pieces(self) -> tuple[str, str]:
        """The arguments in two pieces."""
        half = len(self.arguments) // 2
        return self.arguments[:half], self.arguments[half:]

    @property
    def tokens(self) -> int:
        """How many tokens the answer is said to have."""
        return self.words if self.tool is None else 2


@lru_cache(maxsize=8)
def chat_events(plan: Plan) -> list[bytes]:
    """Write the events of a chat completion."""
    encoder = StreamEncoder(wire, model=plan.model, id="chatcmpl-demo")
    written = [encoder.role("assistant"), encoder.reasoning(_REASONING)]
    if plan.tool is not None:
        written.append(encoder.tool_call(0, id="call_demo", name=plan.tool, arguments=""))
        written += [encoder.tool_call(0, arguments=piece) for piece in plan.argument_pieces]
        written.append(encoder.finish("tool_calls"))
    else:
        for word in plan.text:
            event = encoder.content(word)
            written.append(_with_logprobs(event, word) if plan.logprobs else event)
        written.append(encoder.finish("stop"))
    if plan.usage:
        usage = encoder.usage(prompt_tokens=_PROMPT_TOKENS, completion_tokens=plan.tokens)
        written.append(usage)
    return [*written, encoder.done()]


def _with_logprobs(event: bytes, word: str) -> bytes:
    token = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
    logprobs = {"content": [{**token, "top_logprobs": [token]}]}
    return b"data: %b\n\n" % edit(event[6:-2], {"/choices/0/logprobs": logprobs})


@lru_cache(maxsize=8)
def completion_events(plan: Plan) -> list[bytes]:
    """Write the events of a legacy completion."""
    head = {"id": "cmpl-demo", "object": "text_completion", "created": int(time.time())}

    def event(choices: list[Any], **more: Any) -> bytes:
        return format_event(_json({**head, "model": plan.model, "choices": choices, **more}))

    def choice(text: str, reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    written = [event([choice(word)]) for word in plan.text]
    written.append(event([choice("", "stop")]))
    if plan.usage:
        total = _PROMPT_TOKENS + plan.words
        counts = {"prompt_tokens": _PROMPT_TOKENS, "completion_tokens": plan.words}
        written.append(event([], usage={**counts, "total_tokens": total}))
    return [*written, format_event(DONE)]


@lru_cache(maxsize=8)
def message_events(plan: Plan) -> list[bytes]:
    """Write the events of a message."""
    message: dict[str, Any] = {
        "id": "msg_demo",
        "type": "message",
        "role": "assistant",
        "model": plan.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": _PROMPT_TOKENS, "output_tokens": 1},
    }
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    thoughts = [
        {"type": "thinking_delta", "thinking": _REASONING},
        {"type": "signature_delta", "signature": "ZGVtbw=="},
    ]
    if plan.tool is None:
        block: dict[str, Any] = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": word} for word in plan.text]
    else:
        block = {"type": "tool_use", "id": "toolu_demo", "name": plan.tool, "input": {}}
        pieces = plan.argument_pieces
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    end = {"stop_reason": "end_turn" if plan.tool is None else "tool_use", "stop_sequence": None}
    return [
        _typed("message_start", message=message),
        *_block(0, thinking, thoughts),
        _typed("ping"),
        *_block(1, block, deltas),
        _typed("message_delta", delta=end, usage={"output_tokens": plan.tokens}),
        _typed("message_stop"),
    ]


def _block(index: int, block: dict[str, Any], deltas: list[dict[str, str]]) -> list[bytes]:
    return [
        _typed("content_block_start", index=index, content_block=block),
        *(_typed("content_block_delta", index=index, delta=delta) for delta in deltas),
        _typed("content_block_stop", index=index),
    ]


@lru_cache(maxsize=8)
def response_events(plan: Plan) -> list[bytes]:
    """Write the events of a response."""
    numbers = itertools.count()
    response: dict[str, Any] = {
        "id": "resp_demo",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": plan.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }
    usage = {
        "input_tokens": _PROMPT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": plan.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": _PROMPT_TOKENS + plan.tokens,
    }
    items = [_reasoning_item(), _message_item(plan) if plan.tool is None else _call_item(plan)]
    output = [item for item, _ in items]
    whole = {**response, "status": "completed", "output": output, "usage": usage}
    said = [
        ("created", {"response": response}),
        ("in_progress", {"response": response}),
        *(
            (kind, {"output_index": index, **fields})
            for index, (_, events) in enumerate(items)
            for kind, fields in events
        ),
        ("completed", {"response": whole}),
    ]
    return [
        _typed(f"response.{kind}", sequence_number=next(numbers), **fields) for kind, fields in said
    ]


Item = tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]
"""An item of a response, whole, and the events that say it: their types and fields."""


def _reasoning_item() -> Item:
    where = {"item_id": "rs_demo", "summary_index": 0}
    part = {"type": "summary_text", "text": _REASONING}
    item = {"type": "reasoning", "id": "rs_demo", "summary": [part]}
    return item, [
        ("output_item.added", {"item": {**item, "summary": []}}),
        ("reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}),
        ("reasoning_summary_text.delta", {**where, "delta": _REASONING}),
        ("reasoning_summary_text.done", {**where, "text": _REASONING}),
        ("reasoning_summary_part.done", {**where, "part": part}),
        ("output_item.done", {"item": item}),
    ]


def _message_item(plan: Plan) -> Item:
    text = "".join(plan.text)
    where = {"item_id": "msg_demo", "content_index": 0}
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"type": "message", "id": "msg_demo", "role": "assistant", "status": "completed"}
    begun = {**item, "status": "in_progress", "content": []}
    whole = {**item, "content": [part]}
    return whole, [
        ("output_item.added", {"item": begun}),
        ("content_part.added", {**where, "part": {**part, "text": ""}}),
        *(("output_text.delta", {**where, "delta": word, "logprobs": []}) for word in plan.text),
        ("output_text.done", {**where, "text": text, "logprobs": []}),
        ("content_part.done", {**where, "part": part}),
        ("output_item.done", {"item": whole}),
    ]


def _call_item(plan: Plan) -> Item:
    item = {"type": "function_call", "id": "fc_demo", "call_id": "call_demo", "name": plan.tool}
    begun = {**item, "arguments": "", "status": "in_progress"}
    whole = {**item, "arguments": plan.arguments, "status": "completed"}
    where = {"item_id": "fc_demo"}
    done = {**where, "name": plan.tool, "arguments": plan.arguments}
    return whole, [
        ("output_item.added", {"item": begun}),
        *(
            ("function_call_arguments.delta", {**where, "delta": piece})
            for piece in plan.argument_pieces
        ),
        ("function_call_arguments.done", done),
        ("output_item.done", {"item": whole}),
    ]


def _typed(kind: str, **fields: Any) -> bytes:
    return format_event(_json({"type": kind, **fields}), event=kind)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


Events = Callable[[Plan], list[bytes]]
"""Writes the events of an API."""
_FAMILIES: dict[Any, Any] = {
    chat_events: wire,
    completion_events: completions,
    message_events: messages,
    response_events: responses,
}


def answer(plan: Plan, events: Events) -> bytes:
    """Build the answer that is not streamed: what the streamed one adds up to, and the usage."""
    family = _FAMILIES[events]
    accumulator: Accumulator[Any] = Accumulator(family)
    for chunk in iter_chunks(events(msgspec.structs.replace(plan, usage=True)), family):
        accumulator.add(chunk)
    built = accumulator.result()
    for name in {"created", "created_at"}.intersection(built.__struct_fields__):
        setattr(built, name, int(time.time()))  # the events may have been written some time ago
    return encode(built)
