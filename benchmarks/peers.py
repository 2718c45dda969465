"""What is measured: fastchunk, the floor below it, and what a user would pick instead.

Each peer is a set of plain functions; its library is imported when the peer is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict


class Case(TypedDict):
    """One kind of chunk: the documents, and what the oracle makes of each."""

    documents: list[str]
    dumps: list[Any]
    encoded: list[str]


class Peer(NamedTuple):
    """The four ways in and out of one library, over one document."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    restamp: Callable[[bytes], bytes]
    build: Callable[[str], bytes]
    dump: Callable[[Any], Any]
    """Turn what `decode` returns into dicts, to compare it."""
    typed: bool
    """Whether the result is the model, with its defaults, or just the JSON value."""


ALIAS = "alias"
BUILT = {"id": "chatcmpl-6cb5ba73-5b6e-4d2b-8d8c-0a3f2b1c9d7e", "created": 1_748_649_600}
BUILT_MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def _typed(
    classes: Any, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], dump: Any
) -> Peer:
    """Make a peer of anything with the model's three classes; all spend the same on the rest."""
    response = classes.ChatCompletionStreamResponse
    stream_choice = classes.ChatCompletionResponseStreamChoice
    message = classes.DeltaMessage
    made_id, made_at = BUILT["id"], BUILT["created"]

    def restamp(data: bytes) -> bytes:
        chunk = decode(data)
        chunk.model = ALIAS
        return encode(chunk)

    def build(text: str) -> bytes:
        choice = stream_choice(index=0, delta=message(content=text))
        return encode(response(id=made_id, created=made_at, model=BUILT_MODEL, choices=[choice]))

    return Peer(decode, encode, restamp, build, dump, typed=True)


def fastchunk() -> Peer:
    """Measure this library."""
    from fastchunk import decode, encode, models

    return _typed(models, decode, encode, lambda chunk: chunk.model_dump())


def msgspec() -> Peer:
    """Measure the floor: the same Structs without fastchunk's exact paths."""
    from msgspec import json, to_builtins

    from fastchunk import models

    decode = json.Decoder(models.ChatCompletionStreamResponse).decode
    return _typed(models, decode, json.Encoder().encode, to_builtins)


def _pydantic(decode: Callable[[bytes], Any]) -> Peer:
    from ray.llm._internal.serve.configs import openai_api_models

    # The router sends str; encoding it to bytes is the server's work, and not measured.
    return _typed(
        openai_api_models,
        decode,
        lambda chunk: chunk.model_dump_json(),
        lambda chunk: chunk.model_dump(),
    )


def pydantic() -> Peer:
    """Measure the oracle as Ray Serve uses it."""
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    return _pydantic(ChatCompletionStreamResponse.model_validate_json)


def pydantic_orjson() -> Peer:
    """Measure the oracle fed with what orjson parsed."""
    import orjson
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    loads, validate = orjson.loads, ChatCompletionStreamResponse.model_validate
    return _pydantic(lambda data: validate(loads(data)))


def _dicts(loads: Callable[[bytes], Any], dumps: Callable[[Any], bytes]) -> Peer:
    def restamp(data: bytes) -> bytes:
        chunk = loads(data)
        chunk["model"] = ALIAS
        return dumps(chunk)

    def build(text: str) -> bytes:
        choice = {
            "index": 0,
            "delta": {
                "role": None,
                "content": text,
                "reasoning_content": None,
                "tool_calls": [],
            },
            "logprobs": None,
            "finish_reason": None,
            "stop_reason": None,
        }
        return dumps(
            {
                "id": BUILT["id"],
                "object": "chat.completion.chunk",
                "created": BUILT["created"],
                "model": BUILT_MODEL,
                "choices": [choice],
                "usage": None,
            }
        )

    return Peer(loads, dumps, restamp, build, lambda chunk: chunk, typed=False)


def orjson() -> Peer:
    """Measure dicts, with orjson."""
    import orjson

    return _dicts(orjson.loads, orjson.dumps)


def json() -> Peer:
    """Measure dicts, with the standard library."""
    import json

    def dumps(value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    return _dicts(json.loads, dumps)


PEERS: dict[str, Callable[[], Peer]] = {  # in the order in which they take turns
    "fastchunk": fastchunk,
    "msgspec, same Structs": msgspec,
    "Pydantic model": pydantic,
    "Pydantic model + orjson": pydantic_orjson,
    "orjson, dicts": orjson,
    "json, dicts": json,
}
