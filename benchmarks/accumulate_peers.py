"""What is measured on putting whole answers together: fastchunk, and what a user would run instead.

Each peer reads a document into its library's own chunk, which is not timed, and makes an answer of
all chunks, which is; its library is imported when the peer is made.

`python -m benchmarks.accumulate_peers COUNT` adds so many chunks, and writes the bytes that
Python's allocators had handed out for each.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from .peers import BUILT, BUILT_MODEL
from .stream_peers import EVENTS

CALLS = 4
_USAGE = {"prompt_tokens": 9, "total_tokens": 9 + EVENTS, "completion_tokens": EVENTS}


class AnswerPeer(NamedTuple):
    """The way from documents to an answer, with what it answers under OpenAI's names."""

    read: Callable[[bytes], Any]
    answer: Callable[[Sequence[Any]], Any]


# --- streams ---


def _document(choices: list[dict[str, Any]], **fields: Any) -> str:
    value = {
        "id": BUILT["id"],
        "object": "chat.completion.chunk",
        "created": BUILT["created"],
        "model": BUILT_MODEL,
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
    pieces = (EVENTS - 3) // CALLS - 1
    for index in range(CALLS):
        begun = {**_piece(index, name=f"look_up_{index}", arguments=""), "type": "function"}
        events.append(_delta({"tool_calls": [{**begun, "id": f"call_{index}"}]}))
        events += [
            _delta({"tool_calls": [_piece(index, arguments=f'"{n}",')]}) for n in range(pieces)
        ]
    return [*events, *_end("tool_calls")]


def _end(finish_reason: str) -> list[str]:
    return [_delta({}, finish_reason), _document([], usage=_USAGE)]


def answer_streams(texts: Sequence[str]) -> dict[str, list[str]]:
    """Make the streams to put together; of the text deltas given, one that says how it ended."""
    return {
        "text": [_delta({"role": "assistant", "content": ""}), *texts[: EVENTS - 3], *_end("stop")],
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


# In the order in which they take turns. No name of a peer contains a hyphen.
ANSWER_PEERS: dict[str, Callable[[], AnswerPeer]] = {
    "fastchunk, wire": lambda: _fastchunk("wire"),
    "fastchunk, models": lambda: _fastchunk("models"),
    "openai": _openai,
    **({"litellm": _litellm} if find_spec("litellm") else {}),
}


# --- memory ---


def held(many: int) -> dict[str, float]:
    """Decode and add many chunks; return the bytes held per chunk on the way, by their number.

    That includes each chunk's text. Raises if what is held grows faster than the chunks do.
    """
    from fastchunk import Accumulator, wire

    texts = [f" {n} tokens" for n in range(64)]
    documents = [b'{"choices":[{"delta":{"content":"%b"}}]}' % text.encode() for text in texts]
    accumulator = Accumulator()
    taken = dict.fromkeys((many // 10, many), 0.0)
    gc.collect()
    tracemalloc.start()
    for n in range(1, many + 1):
        accumulator.add(wire.decode(documents[n % 64]))
        if n in taken:
            taken[n] = tracemalloc.get_traced_memory()[0] / n
    tracemalloc.stop()
    text = accumulator.result().choices[0].message.content
    expected = "".join(texts[n % 64] for n in range(1, many + 1))
    early, late = taken.values()
    if text != expected or late > early * 1.1:
        raise SystemExit(f"{many} chunks held {taken}")
    return {str(number): size for number, size in taken.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(held(int(sys.argv[1]))))
