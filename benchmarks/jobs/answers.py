"""Accumulators: a stream's chunks to the whole answer.

Each peer reads the documents into its library's own chunks, which is not timed, and makes an
answer of them, which is.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from benchmarks.documents import text_deltas
from benchmarks.job import OURS, Job, MakePeer, Part, Run, expect
from benchmarks.streams import EVENTS
from benchmarks.words import CREATED, ID, MODEL

from .iterate import LITELLM, OPENAI

ACCUMULATE = "accumulate"
_CALLS = 4
_USAGE = {"prompt_tokens": 9, "total_tokens": 9 + EVENTS, "completion_tokens": EVENTS}


class AnswerPeer(NamedTuple):
    """The way from documents to an answer, with what it answers under OpenAI's names."""

    read: Callable[[bytes], Any]
    answer: Callable[[Sequence[Any]], Any]


# --- streams ---


def _document(choices: list[dict[str, Any]], **fields: Any) -> str:
    value = {
        "id": ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "choices": choices,
        **fields,
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _document([choice])


def _piece(index: int, **function: str) -> dict[str, Any]:
    return {"index": index, "function": function}


def _tool_calls() -> list[str]:
    """Write parallel tool calls as OpenAI does: id and name first, then pieces of the arguments."""
    events = [_delta({"role": "assistant", "content": None})]
    pieces = (EVENTS - 3) // _CALLS - 1
    for index in range(_CALLS):
        begun = {**_piece(index, name=f"look_up_{index}", arguments=""), "type": "function"}
        events.append(_delta({"tool_calls": [{**begun, "id": f"call_{index}"}]}))
        events += [
            _delta({"tool_calls": [_piece(index, arguments=f'"{n}",')]}) for n in range(pieces)
        ]
    return [*events, *_end("tool_calls")]


def _end(finish_reason: str) -> list[str]:
    return [_delta({}, finish_reason), _document([], usage=_USAGE)]


def _streams() -> dict[str, list[str]]:
    """Make the streams to put together: a plain text, and parallel tool calls."""
    role = _delta({"role": "assistant", "content": ""})
    return {
        "text": [role, *text_deltas(EVENTS - 3), *_end("stop")],
        "tool calls": _tool_calls(),
    }


# --- peers ---


def _fastchunk(family: str) -> AnswerPeer:
    from fastchunk import Accumulator

    def answer(chunks: Sequence[Any]) -> Any:
        accumulator = Accumulator()
        for chunk in chunks:
            accumulator.add(chunk)
        return accumulator.result()

    return AnswerPeer(import_module(f"fastchunk.{family}").decode, answer)


def _openai() -> AnswerPeer:
    from openai._models import construct_type
    from openai.lib.streaming.chat import ChatCompletionStreamState
    from openai.types.chat import ChatCompletionChunk

    def read(data: bytes) -> Any:
        return construct_type(type_=ChatCompletionChunk, value=json.loads(data))

    def answer(chunks: Sequence[Any]) -> Any:
        state: Any = ChatCompletionStreamState()
        for chunk in chunks:
            state.handle_chunk(chunk)
        return state.current_completion_snapshot

    return AnswerPeer(read, answer)


def _litellm() -> AnswerPeer:
    """Give litellm a usage to take, or it would count the tokens itself."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import downloads one
    os.environ.setdefault("LITELLM_LOG", "CRITICAL")
    litellm: Any = import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    make = litellm.ModelResponseStream
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The first ones complete the classes, and warn of how they are written.
        litellm.stream_chunk_builder([make()])
    return AnswerPeer(lambda data: make(**json.loads(data)), litellm.stream_chunk_builder)


_PEERS: dict[str, Callable[[], AnswerPeer]] = {
    f"{OURS}, wire": partial(_fastchunk, "wire"),
    f"{OURS}, models": partial(_fastchunk, "models"),
    OPENAI: _openai,
    **({LITELLM: _litellm} if find_spec("litellm") else {}),
}


def _make(peer: str, documents: list[str]) -> Run:
    """Give a peer the chunks that it reads from the documents."""
    read, answer = _PEERS[peer]()
    chunks = [read(document.encode()) for document in documents]
    return lambda _: answer(chunks)


# --- what has to come out ---


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
        "role": "assistant",
        **{key: values[0][key] for key in ("id", "created", "model")},
        "content": "".join(choice["delta"].get("content") or "" for choice in choices),
        "tool_calls": [calls[index] for index in sorted(calls)],
        "finish_reason": choices[-1]["finish_reason"],
        "usage": list(values[-1]["usage"].values()),
    }


def _answered(answer: Any) -> dict[str, Any]:
    (choice,) = answer.choices
    usage, message = answer.usage, choice.message
    return {
        "role": message.role,
        **{key: getattr(answer, key) for key in ("id", "created", "model")},
        "content": message.content or "",
        "tool_calls": [
            [call.id, call.function.name, call.function.arguments]
            for call in message.tool_calls or ()
        ],
        "finish_reason": choice.finish_reason,
        "usage": [usage.prompt_tokens, usage.total_tokens, usage.completion_tokens],
    }


def _check(_peer: str, part: Part, answer: Any) -> None:
    expect(_answered(answer), _told(part.given))


def jobs() -> Iterator[Job]:
    """Make a job for each stream."""
    for name, documents in _streams().items():
        peers: dict[str, MakePeer] = {peer: partial(_make, peer, documents) for peer in _PEERS}
        parts = [Part("chunks", documents, len(documents))]
        yield Job(f"{ACCUMULATE}/{name}", parts, peers, _check)
