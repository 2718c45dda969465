"""Clients: reads to chunks.

`bare msgspec` is the floor: msgspec's own decoder for the same Structs, given the chunks' bodies
without any framing.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.job import (
    OURS,
    Job,
    MakePeer,
    Mismatch,
    Part,
    Run,
    expect,
    expect_each,
    with_own_code,
)
from benchmarks.streams import CUTS, TEXT, Cut, Stream, body_of, cut, mixes, split

from .peers import BARE, DICTS, ROUTER

ITERATE = "iterate"
OPENAI, LITELLM = "openai", "litellm"


def _fastchunk() -> Run:
    from fastchunk import iter_chunks

    return lambda given: list(iter_chunks(given.reads))


def _pydantic() -> Run:
    """Frame, and validate each chunk."""
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    return _framed(ChatCompletionStreamResponse.model_validate_json)


def _orjson() -> Run:
    from orjson import loads

    return _framed(loads)


def _framed(decode: Callable[[bytes], Any]) -> Run:
    def run(given: Cut) -> list[Any]:
        chunks = []
        for read in given.reads:
            for block in split(read):
                if block[:7] == b"data: {":  # no comprehension, as in `each`
                    chunks.append(decode(block[6:]))  # noqa: PERF401
        return chunks

    return with_own_code(run)


def _bare() -> Run:
    from msgspec.json import Decoder

    from fastchunk import wire

    decode = Decoder(wire.ChatCompletionStreamResponse).decode
    return lambda given: [decode(body) for body in given.bodies]


def _openai() -> Run:
    """Do what `openai.Stream` does with every event, but for its calls on the response."""
    from openai._models import construct_type
    from openai._streaming import SSEDecoder
    from openai.types.chat import ChatCompletionChunk

    def run(given: Cut) -> list[Any]:
        chunks = []
        for event in SSEDecoder().iter_bytes(iter(given.reads)):
            if event.data.startswith("[DONE]"):
                break
            data = event.json()
            if data.get("error"):
                raise ValueError(data["error"])
            chunks.append(construct_type(type_=ChatCompletionChunk, value=data))
        return chunks

    return run


def _litellm() -> Run:
    """Frame, and make litellm's chunks."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import downloads one
    os.environ.setdefault("LITELLM_LOG", "CRITICAL")
    make: Any = import_module("litellm").ModelResponseStream
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make()  # the first one completes the class, and warns of how it is written
    return _framed(lambda body: make(**json.loads(body)))


_PEERS: dict[str, MakePeer] = {OURS: _fastchunk, ROUTER: _pydantic, DICTS: _orjson, BARE: _bare}
_TEXT_PEERS: dict[str, MakePeer] = {
    OPENAI: _openai,
    **({LITELLM: _litellm} if find_spec("litellm") else {}),
}


def check_chunks(chunks: list[Any], bodies: list[bytes]) -> None:
    """Compare `wire` chunks with what came: nothing in them is made up, and nothing known lost."""
    from fastchunk import encode, wire

    known = frozenset(wire.ChatCompletionStreamResponse.__struct_fields__)
    expect(len(chunks), len(bodies))
    for chunk, body in zip(chunks, bodies, strict=True):
        value, source = json.loads(encode(chunk)), json.loads(body)
        expect(value.keys(), source.keys() & known)
        if not _within(value, source):
            raise Mismatch(f"{value} is not in {source}")


def _within(value: Any, source: Any) -> bool:
    """Tell whether a value is a part of another: `wire` drops the keys that it does not know."""
    if isinstance(value, dict) and isinstance(source, dict):
        return all(key in source and _within(value[key], source[key]) for key in value)
    if isinstance(value, list) and isinstance(source, list):
        return len(value) == len(source) and all(map(_within, value, source))
    return bool(value == source)


def _told(source: Any) -> list[Any]:
    """Return what a chunk's JSON tells, as far as every library's chunk has it."""
    return [
        source["model"],
        [
            (choice["index"], choice["delta"].get("content") or "", choice.get("finish_reason"))
            for choice in source["choices"]
        ],
    ]


def _said(chunk: Any) -> list[Any]:
    return [
        chunk.model,
        [
            (choice.index, choice.delta.content or "", choice.finish_reason)
            for choice in chunk.choices
        ],
    ]


def _check(peer: str, part: Part, chunks: list[Any]) -> None:
    bodies = part.given.bodies
    if peer.startswith(OURS) or peer == BARE:
        check_chunks(chunks, bodies)
    elif peer == DICTS:
        expect_each(chunks, [*map(json.loads, bodies)])
    else:
        expect_each([*map(_said, chunks)], [_told(json.loads(body)) for body in bodies])


def _has_error(stream: Stream) -> bool:
    """Tell whether a stream ends in an error, which `iter_chunks` raises."""
    return any(
        json.loads(body).get("error") is not None for body in map(_data, split(stream.raw)) if body
    )


def _data(block: bytes) -> bytes:
    return body_of(block[block.find(b"data: ") :])


def jobs() -> Iterator[Job]:
    """Make the jobs: mix by mix, cut by cut."""
    for mix, streams in mixes().items():
        peers = {**_PEERS, **_TEXT_PEERS} if mix == TEXT else _PEERS
        complete = [stream for stream in streams if not _has_error(stream)]
        for case, blocks in CUTS.items():
            cuts = [_done(stream, cut(stream, blocks)) for stream in complete]
            parts = [Part(one.stream.name, one, len(one.bodies)) for one in cuts]
            may_fail = frozenset({ROUTER, BARE})
            yield Job(f"{ITERATE}/{mix}/{case}", parts, peers, _check, may_fail)


def _done(stream: Stream, given: Cut) -> Cut:
    """Add the event that ends a stream where it has none, or `iter_chunks` would raise."""
    if b"[DONE]" in stream.raw or b'finish_reason":"' in stream.raw:
        return given
    return given._replace(reads=[*given.reads, b"data: [DONE]\n\n"])
