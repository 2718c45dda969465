"""What is measured on whole streams: fastchunk, and what a user would run in its place.

Each peer is a function from a stream, or from single inputs, to all that came out of it; its
library is imported when the peer is made. A stream is a list of reads that hold whole events.

`python -m benchmarks.stream_peers` passes a million events through a relay, in a process of its
own, and writes the bytes that Python's allocators had handed out on the way.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, NamedTuple

from .peers import ALIAS, BUILT, BUILT_MODEL

Run = Callable[[Sequence[Any]], Any]

READS = (1, 4, 16, 64)
EVENTS = 256
LONG = 1_000_000
_MAY_GROW = 4096


class Work(NamedTuple):
    """What a relay does to every event."""

    restamp: bool = False
    look: bool = False
    strip: bool = False
    redact: bool = False


RELAYS = {
    "relay identity": Work(),
    "relay restamp": Work(restamp=True),
    "relay look": Work(look=True),
    "relay restamp and look": Work(restamp=True, look=True),
    "relay strip usage": Work(strip=True),
    "relay redact": Work(redact=True),
    "relay redact unknown keys": Work(redact=True),
}
REDACTED = "[redacted]"


def name_of(events: int) -> str:
    """Name the case in which every read holds so many events."""
    return f"{events} event{'s' * (events > 1)} a read"


def reads_of(documents: Sequence[str], events: int) -> list[bytes]:
    """Frame documents, so many to a read."""
    framed = [b"data: %b\n\n" % document.encode() for document in documents]
    return [b"".join(framed[i : i + events]) for i in range(0, len(framed), events)]


# --- relays: reads to what is written, one piece a read, and the contents that were looked at ---


def _relay_fastchunk(work: Work) -> Run:
    from fastchunk import Relay

    def run(reads: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
        seen: list[str] = []

        def look(chunk: Any) -> None:
            seen.append(chunk.choices[0].delta.content)

        def redact(chunk: Any) -> Any:
            chunk.choices[0].delta.content = REDACTED
            return chunk

        relay = Relay(
            set={"model": ALIAS} if work.restamp else None,
            strip_usage=work.strip,
            on_chunk=look if work.look else redact if work.redact else None,
        )
        written = [relay.feed(read) for read in reads]
        written.append(relay.close())
        return written, seen

    return run


def _relay_pydantic(work: Work) -> Run:
    """Do what Ray's router does, with the cheapest framing that these reads allow."""
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    validate = ChatCompletionStreamResponse.model_validate_json
    restamp, look, strip, redact = work
    exclude = {"usage"} if strip else None

    def run(reads: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
        written: list[bytes] = []
        seen: list[str] = []
        for read in reads:
            events = []
            for event in read.split(b"\n\n")[:-1]:
                chunk = validate(event[6:])
                if look:
                    seen.append(chunk.choices[0].delta.content)
                if redact:
                    chunk.choices[0].delta.content = REDACTED
                if restamp:
                    chunk.model = ALIAS
                if strip and chunk.usage and not chunk.choices:
                    continue
                events.append(f"data: {chunk.model_dump_json(exclude=exclude)}\n\n")
            written.append("".join(events).encode())
        return written, seen

    return run


def _relay_orjson(work: Work) -> Run:
    import orjson

    loads, dumps = orjson.loads, orjson.dumps
    restamp, look, strip, redact = work

    def run(reads: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
        written: list[bytes] = []
        seen: list[str] = []
        for read in reads:
            events = []
            for event in read.split(b"\n\n")[:-1]:
                chunk = loads(event[6:])
                if look:
                    seen.append(chunk["choices"][0]["delta"]["content"])
                if redact:
                    chunk["choices"][0]["delta"]["content"] = REDACTED
                if restamp:
                    chunk["model"] = ALIAS
                if strip and chunk.pop("usage", None) and not chunk["choices"]:
                    continue
                events.append(b"data: %b\n\n" % dumps(chunk))
            written.append(b"".join(events))
        return written, seen

    return run


# --- framing: reads to events ---


def _framing_fastchunk() -> Run:
    from fastchunk import EventDecoder

    def run(reads: Sequence[bytes]) -> list[Any]:
        decoder = EventDecoder()
        events = [event for read in reads for event in decoder.feed(read)]
        return events + decoder.close()

    return run


def _framing_openai() -> Run:
    from openai._streaming import SSEDecoder

    return lambda reads: list(SSEDecoder().iter_bytes(iter(reads)))


def _framing_httpx_sse() -> Run:
    import codecs

    from httpx_sse import EventSource

    def run(reads: Sequence[bytes]) -> list[Any]:
        response: Any = SimpleNamespace(
            headers={"content-type": "text/event-stream"},
            iter_text=lambda: codecs.iterdecode(reads, "utf-8"),
        )
        return list(EventSource(response).iter_sse())

    return run


# --- clients: reads to chunks ---


def _client_fastchunk() -> Run:
    from fastchunk import iter_chunks

    return lambda reads: list(iter_chunks(reads))


def _client_openai() -> Run:
    """Do what `openai.Stream` does with every event, but for its calls on the response."""
    from openai._models import construct_type
    from openai._streaming import SSEDecoder
    from openai.types.chat import ChatCompletionChunk

    def run(reads: Sequence[bytes]) -> list[Any]:
        chunks = []
        for event in SSEDecoder().iter_bytes(iter(reads)):
            if event.data.startswith("[DONE]"):
                break
            data = event.json()
            if data.get("error"):
                raise ValueError(data["error"])
            chunks.append(construct_type(type_=ChatCompletionChunk, value=data))
        return chunks

    return run


def _client_litellm() -> Run:
    """Make litellm's chunks, with the cheapest framing that these reads allow."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import downloads one
    os.environ.setdefault("LITELLM_LOG", "CRITICAL")
    make: Any = import_module("litellm").ModelResponseStream
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make()  # the first one completes the class, and warns of how it is written

    def run(reads: Sequence[bytes]) -> list[Any]:
        chunks = []
        for read in reads:
            for event in read.split(b"\n\n")[:-1]:
                if event[6:] == b"[DONE]":
                    break
                chunks.append(make(**json.loads(event[6:])))
        return chunks

    return run


# --- edit: documents to documents ---


def _edit_fastchunk() -> Run:
    from fastchunk import edit

    return lambda documents: [edit(document, {"model": ALIAS}) for document in documents]


def _edit_orjson() -> Run:
    from orjson import dumps, loads

    def run(documents: Sequence[bytes]) -> list[bytes]:
        edited = []
        for document in documents:
            chunk = loads(document)
            chunk["model"] = ALIAS
            edited.append(dumps(chunk))
        return edited

    return run


# --- producer: texts to events ---


def _encoder(family: str, model: str) -> Any:
    import fastchunk

    bound: dict[str, Any] = {"model": model, **BUILT}
    return fastchunk.StreamEncoder(import_module(f"fastchunk.{family}"), **bound)


def _produce_fastchunk(family: str) -> Run:
    encoder = _encoder(family, BUILT_MODEL)
    return lambda texts: [encoder.content(text) for text in texts]


def _produce_pydantic() -> Run:
    from ray.llm._internal.serve.configs import openai_api_models

    response = openai_api_models.ChatCompletionStreamResponse
    stream_choice = openai_api_models.ChatCompletionResponseStreamChoice
    message = openai_api_models.DeltaMessage
    made_id, made_at = BUILT["id"], BUILT["created"]

    # The router sends str; encoding it to bytes is the server's work, and not measured.
    def run(texts: Sequence[str]) -> list[str]:
        events = []
        for text in texts:
            choice = stream_choice(index=0, delta=message(content=text))
            chunk = response(id=made_id, created=made_at, model=BUILT_MODEL, choices=[choice])
            events.append(f"data: {chunk.model_dump_json()}\n\n")
        return events

    return run


# --- families: documents as vLLM writes them, to chunks and back ---

FAMILY_DOCUMENTS = [
    b'{"id":"chatcmpl-6cb5ba73-5b6e-4d2b-8d8c-0a3f2b1c9d7e","object":"chat.completion.chunk",'
    b'"created":1748649600,"model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,'
    b'"delta":{"content":" %d"},"logprobs":null,"finish_reason":null,"token_ids":null}],'
    b'"kv_transfer_params":null}' % n
    for n in range(64)
]


def _family(name: str, *, back: bool) -> Run:
    import fastchunk

    decode, encode = import_module(f"fastchunk.{name}").decode, fastchunk.encode
    if back:
        return lambda documents: [encode(decode(document)) for document in documents]
    return lambda documents: [decode(document) for document in documents]


_RELAY_PEERS: dict[str, Callable[[Work], Run]] = {
    "fastchunk": _relay_fastchunk,
    "Pydantic path": _relay_pydantic,
    "orjson dicts": _relay_orjson,
}
# By operation, in the order in which they take turns. No name of a peer contains a hyphen.
STREAM_PEERS: dict[str, dict[str, Callable[[], Run]]] = {
    **{
        operation: {peer: partial(make, work) for peer, make in _RELAY_PEERS.items()}
        for operation, work in RELAYS.items()
    },
    "family decode": {
        "models": partial(_family, "models", back=False),
        "wire": partial(_family, "wire", back=False),
    },
    "family both ways": {
        "models": partial(_family, "models", back=True),
        "wire": partial(_family, "wire", back=True),
    },
    "framing": {
        "fastchunk": _framing_fastchunk,
        "openai": _framing_openai,
        "httpx_sse": _framing_httpx_sse,
    },
    "clients": {
        "fastchunk": _client_fastchunk,
        "openai": _client_openai,
        **({"litellm": _client_litellm} if find_spec("litellm") else {}),
    },
    "edit": {"fastchunk": _edit_fastchunk, "orjson dicts": _edit_orjson},
    "producer": {
        "fastchunk": partial(_produce_fastchunk, "models"),
        "fastchunk, wire": partial(_produce_fastchunk, "wire"),
        "Pydantic path": _produce_pydantic,
    },
}


def flat(events: int = LONG) -> dict[str, Any]:
    """Pass one long stream through a restamping relay; raise if it holds more and more.

    Returns the bytes held after a hundredth of the events, after half, and after all of them.
    """
    from fastchunk import Relay

    def written(model: str) -> bytes:
        encoder = _encoder("models", model)
        return b"".join(encoder.content(f" {n}") for n in range(64))

    read, expected = written(BUILT_MODEL), written(ALIAS)
    relay = Relay(set={"model": ALIAS})
    total = events // 64
    held = dict.fromkeys((total // 100, total // 2, total), 0)
    gc.collect()
    tracemalloc.start()
    for n in range(1, total + 1):
        if relay.feed(read) != expected:
            raise SystemExit("the relay wrote something else")
        if n in held:
            held[n] = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    first, *rest = held.values()
    if relay.chunks != total * 64 or max(rest) - first > _MAY_GROW:
        raise SystemExit(f"{relay.chunks} chunks held {held}")
    return {"events": relay.chunks, "held": [first, *rest]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(flat()))
