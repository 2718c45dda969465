"""Single chunks: decoded, encoded, changed, built, pickled.

fastchunk's mirror, the floor below it, and what a user would pick instead. The answers are the
oracle's, Ray Serve's own Pydantic class.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

from benchmarks.documents import generated
from benchmarks.job import OURS, Job, MakePeer, Part, Run, each, expect
from benchmarks.streams import body_of, recorded, split
from benchmarks.words import ALIAS, CREATED, ID, MODEL

from .peers import BARE, DICTS, MODEL_CLASS
from .producer import TEXTS

RECORDED = "recorded mix"
_EVERY = 20  # of the recorded chunks, so many make one document


class Case(NamedTuple):
    """One kind of chunk: the documents, and what the oracle makes of each."""

    documents: list[str]
    dumps: list[Any]
    encoded: list[str]


@cache
def cases() -> dict[str, Case]:
    """Return all cases with the oracle's answers; what the oracle refuses is left out."""
    from pydantic import ValidationError
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    found = {}
    for name, documents in {**generated(), RECORDED: _recorded()}.items():
        case = Case([], [], [])
        for document in documents:
            try:
                chunk = ChatCompletionStreamResponse.model_validate_json(document)
            except ValidationError:
                continue
            if chunk != ChatCompletionStreamResponse.model_validate_json(document):
                continue  # it lacks an id, which is made up at every decode
            case.documents.append(document)
            case.dumps.append(chunk.model_dump())
            case.encoded.append(chunk.model_dump_json())
        if case.documents:
            found[name] = case
    return found


def _recorded() -> list[str]:
    bodies = [body_of(block) for stream in recorded() for block in split(stream.raw)]
    return [body.decode() for body in bodies if body][::_EVERY]


# --- peers ---


class Library(NamedTuple):
    """The ways in and out of one library, over one document."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes | str]
    change: Callable[[bytes], bytes | str]
    build: Callable[[str], bytes | str]
    dump: Callable[[Any], Any]
    """Turn what `decode` returns into dicts, to compare it."""
    typed: bool
    """Whether the result is the model, with its defaults, or just the JSON value."""


def _typed(
    classes: Any, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], dump: Any
) -> Library:
    """Make a peer of anything with the model's three classes; all spend the same on the rest."""
    response = classes.ChatCompletionStreamResponse
    stream_choice = classes.ChatCompletionResponseStreamChoice
    message = classes.DeltaMessage

    def change(data: bytes) -> bytes:
        chunk = decode(data)
        chunk.model = ALIAS
        return encode(chunk)

    def build(text: str) -> bytes:
        choice = stream_choice(index=0, delta=message(content=text))
        return encode(response(id=ID, created=CREATED, model=MODEL, choices=[choice]))

    return Library(decode, encode, change, build, dump, typed=True)


def _fastchunk() -> Library:
    from fastchunk import decode, encode, models

    return _typed(models, decode, encode, lambda chunk: chunk.model_dump())


def _msgspec() -> Library:
    """Measure the floor: the same Structs without fastchunk's exact paths."""
    from msgspec import json as msgspec_json
    from msgspec import to_builtins

    from fastchunk import models

    decode = msgspec_json.Decoder(models.ChatCompletionStreamResponse).decode
    return _typed(models, decode, msgspec_json.Encoder().encode, to_builtins)


def _pydantic(decode: Callable[[bytes], Any]) -> Library:
    from ray.llm._internal.serve.configs import openai_api_models

    # The router sends str; encoding it to bytes is the server's work, and not measured.
    return _typed(
        openai_api_models,
        decode,
        lambda chunk: chunk.model_dump_json(),
        lambda chunk: chunk.model_dump(),
    )


def _pydantic_alone() -> Library:
    """Measure the oracle as Ray Serve uses it."""
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    return _pydantic(ChatCompletionStreamResponse.model_validate_json)


def _pydantic_orjson() -> Library:
    """Measure the oracle, given what orjson parsed."""
    import orjson
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    loads, validate = orjson.loads, ChatCompletionStreamResponse.model_validate
    return _pydantic(lambda data: validate(loads(data)))


def _dicts(loads: Callable[[bytes], Any], dumps: Callable[[Any], bytes]) -> Library:
    def change(data: bytes) -> bytes:
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
                "id": ID,
                "object": "chat.completion.chunk",
                "created": CREATED,
                "model": MODEL,
                "choices": [choice],
                "usage": None,
            }
        )

    return Library(loads, dumps, change, build, lambda chunk: chunk, typed=False)


def _orjson() -> Library:
    import orjson

    return _dicts(orjson.loads, orjson.dumps)


def _json() -> Library:
    def dumps(value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    return _dicts(json.loads, dumps)


LIBRARIES: dict[str, Callable[[], Library]] = {
    OURS: _fastchunk,
    BARE: _msgspec,
    MODEL_CLASS: _pydantic_alone,
    "Pydantic model + orjson": _pydantic_orjson,
    DICTS: _orjson,
    "json dicts": _json,
}


@cache
def _library(peer: str) -> Library:
    return LIBRARIES[peer]()


# --- what has to come out ---


def _written(peer: str, data: bytes | str, wanted: str) -> None:
    """Compare what was encoded: the model's bytes are the oracle's, a dict's keep the value."""
    text = data.decode() if isinstance(data, bytes) else data
    if _library(peer).typed:
        expect(text, wanted)
    else:
        expect(json.loads(text), json.loads(wanted))


def _check_decode(case: Case, peer: str, part: Part, chunks: list[Any]) -> None:
    library = _library(peer)
    for chunk, data, dump in zip(chunks, part.given, case.dumps, strict=True):
        expect(library.dump(chunk), dump if library.typed else json.loads(data))


def _check_encode(case: Case, peer: str, _part: Part, encoded: list[bytes | str]) -> None:
    wanted = case.encoded if _library(peer).typed else case.documents
    for data, one in zip(encoded, wanted, strict=True):
        _written(peer, data, one)


def _check_change(case: Case, peer: str, _part: Part, changed: list[bytes | str]) -> None:
    wanted = case.encoded if _library(peer).typed else case.documents
    for data, one in zip(changed, wanted, strict=True):
        value = json.loads(one) | {"model": ALIAS}
        expect(json.loads(data), value)
        expect(list(json.loads(data)), list(value))


def _check_pickle(case: Case, peer: str, _part: Part, chunks: list[Any]) -> None:
    library = _library(peer)
    for chunk, document in zip(chunks, case.documents, strict=True):
        expect(library.dump(chunk), library.dump(library.decode(document.encode())))


def _check_build(_peer: str, part: Part, built: list[bytes | str]) -> None:
    for data, text in zip(built, part.given, strict=True):
        value = json.loads(data)
        expect(value["choices"][0]["delta"]["content"], text)
        expect((value["id"], value["created"], value["model"]), (ID, CREATED, MODEL))
        expect((len(value), len(value["choices"][0])), (6, 5))


# --- jobs ---


def _decoded(peer: str, run: Run) -> Run:
    """Give a peer its own chunks in place of the documents.

    They are decoded in the first run, which is not timed.
    """
    chunks: list[Any] = []

    def run_chunks(documents: list[bytes]) -> Any:
        if not chunks:
            chunks.extend(map(_library(peer).decode, documents))
        return run(chunks)

    return run_chunks


def _decode(_: Case, peer: str) -> Run:
    return each(_library(peer).decode)


def _encode(_: Case, peer: str) -> Run:
    return _decoded(peer, each(_library(peer).encode))


def _change(_: Case, peer: str) -> Run:
    return each(_library(peer).change)


def _build(peer: str) -> Run:
    return each(_library(peer).build)


def _pickled(dumps: Callable[[Any, int], bytes], _: Case, peer: str) -> Run:
    loads, protocol = pickle.loads, pickle.HIGHEST_PROTOCOL
    return _decoded(peer, each(lambda chunk: loads(dumps(chunk, protocol))))


def _cloudpickled(case: Case, peer: str) -> Run:
    """Pickle as Ray does between its processes."""
    from ray import cloudpickle

    return _pickled(cloudpickle.dumps, case, peer)


DECODE, ENCODE, CHANGE, BUILD = "decode", "encode", "decode, change, encode", "build"
PICKLE, CLOUDPICKLE = "pickle", "cloudpickle"
Make = Callable[[Case, str], Run]
_OPERATIONS: dict[str, tuple[Make, Callable[[Case, str, Part, Any], None]]] = {
    DECODE: (_decode, _check_decode),
    ENCODE: (_encode, _check_encode),
    CHANGE: (_change, _check_change),
    PICKLE: (partial(_pickled, pickle.dumps), _check_pickle),
    CLOUDPICKLE: (_cloudpickled, _check_pickle),
}
_MAY_FAIL = frozenset({BARE})  # the floor refuses what the exact path accepts


def jobs() -> Iterator[Job]:
    """Make the jobs: operation by operation, case by case."""
    for operation, (make, check) in _OPERATIONS.items():
        for name, case in cases().items():
            documents = [document.encode() for document in case.documents]
            parts = [Part("documents", documents, len(documents))]
            peers: dict[str, MakePeer] = {peer: partial(make, case, peer) for peer in LIBRARIES}
            yield Job(f"{operation}/{name}", parts, peers, partial(check, case), _MAY_FAIL)
    builders: dict[str, MakePeer] = {peer: partial(_build, peer) for peer in LIBRARIES}
    yield Job(f"{BUILD}/text delta", [Part("texts", TEXTS, len(TEXTS))], builders, _check_build)
