"""The two families side by side: a chunk as vLLM writes it, decoded, and written back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.job import OURS, Job, MakePeer, Part, Run, each, expect
from benchmarks.words import CREATED, ID, MODEL

DECODE, BACK = "family decode", "family both ways"
MIRROR, WIRE = f"{OURS}, models", f"{OURS}, wire"
_DOCUMENTS = [
    (
        f'{{"id":"{ID}","object":"chat.completion.chunk","created":{CREATED},"model":"{MODEL}",'
        f'"choices":[{{"index":0,"delta":{{"content":" {n}"}},"logprobs":null,'
        '"finish_reason":null,"token_ids":null}],"kv_transfer_params":null}'
    ).encode()
    for n in range(64)
]


def _peer(family: str, *, back: bool) -> Run:
    from fastchunk import encode

    decode = import_module(f"fastchunk.{family}").decode
    return each((lambda data: encode(decode(data))) if back else decode)


def _peers(*, back: bool) -> dict[str, MakePeer]:
    return {
        MIRROR: partial(_peer, "models", back=back),
        WIRE: partial(_peer, "wire", back=back),
    }


def _check_chunks(_peer: str, part: Part, chunks: list[Any]) -> None:
    contents = [chunk.choices[0].delta.content for chunk in chunks]
    expect(contents, [f" {n}" for n in range(len(part.given))])


def _check_data(peer: str, part: Part, written: list[bytes]) -> None:
    """`wire` gives back the bytes that came, the mirror every key of its own."""
    if peer == WIRE:
        expect(written, part.given)
    contents = [json.loads(data)["choices"][0]["delta"]["content"] for data in written]
    expect(contents, [f" {n}" for n in range(len(part.given))])


def jobs() -> Iterator[Job]:
    """Make both jobs."""
    parts = [Part("documents", _DOCUMENTS, len(_DOCUMENTS))]
    yield Job(f"{DECODE}/vLLM's chunk", parts, _peers(back=False), _check_chunks)
    yield Job(f"{BACK}/vLLM's chunk", parts, _peers(back=True), _check_data)
