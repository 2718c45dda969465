"""Relays: reads to what a gateway writes.

The Pydantic path is what Ray's router does with every chunk: frame, validate, change, dump, frame.
Ray dumps a chunk also where nothing was changed. With dicts one would not, so where a relay just
looks, the dicts' one forwards the read as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

from benchmarks.job import OURS, Job, MakePeer, Mismatch, Part, Run, expect, expect_each
from benchmarks.streams import CUTS, TEXT, Cut, body_of, cut, mixes, split
from benchmarks.words import ALIAS

from .peers import DICTS, ROUTER

REDACTED = "[redacted]"
IDENTITY, CHANGE, LOOK = "pass on", "change the model", "look"
STRIP = "change the model, strip the usage"

# The model makes an id up for each piece of a tool call that lacks one.
_MADE_UP_CALL = re.compile(rb'"chatcmpl-tool-[0-9a-f]{8}-[0-9a-f-]{27}"')


class Work(NamedTuple):
    """What a relay does to every chunk."""

    change: bool = False
    look: bool = False
    strip: bool = False
    redact: bool = False


WORKS = {
    CHANGE: Work(change=True),
    IDENTITY: Work(),
    LOOK: Work(look=True),
    STRIP: Work(change=True, strip=True),
}
TEXT_WORKS = {
    "look, change the model": Work(change=True, look=True),
    "replace the text": Work(redact=True),
}
"""What is measured on text deltas alone."""


def _look(chunk: Any) -> None:
    """See a chunk, and change nothing."""


# --- peers: a cut stream to all that was written ---


def _fastchunk(work: Work, look: Callable[[Any], Any] = _look) -> Run:
    from fastchunk import Relay

    def redact(chunk: Any) -> Any:
        chunk.choices[0].delta.content = REDACTED
        return chunk

    def run(given: Cut) -> list[bytes]:
        relay = Relay(
            set={"model": ALIAS} if work.change else None,
            strip_usage=work.strip,
            on_chunk=look if work.look else redact if work.redact else None,
        )
        written = [relay.feed(read) for read in given.reads]
        written.append(relay.close())
        return written

    return run


def pydantic(work: Work) -> Run:
    """Do what Ray's router does with every chunk."""
    from pydantic import ValidationError
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    validate = ChatCompletionStreamResponse.model_validate_json
    change, look, strip, redact = work
    exclude = {"usage"} if strip else None

    def run(given: Cut) -> list[bytes]:
        written = []
        for read in given.reads:
            events = []
            for block in split(read):
                if block[:7] != b"data: {":
                    events.append(f"{block.decode()}\n\n")
                    continue
                try:
                    chunk = validate(block[6:])
                except ValidationError:
                    events.append(f"{block.decode()}\n\n")
                    continue
                if look:
                    _look(chunk)
                if redact:
                    chunk.choices[0].delta.content = REDACTED
                if change:
                    chunk.model = ALIAS
                if strip and chunk.usage and not chunk.choices:
                    continue
                events.append(f"data: {chunk.model_dump_json(exclude=exclude)}\n\n")
            written.append("".join(events).encode())
        return written

    return run


def orjson(work: Work) -> Run:
    """Load, change, dump: without a model."""
    from orjson import dumps, loads

    change, look, strip, redact = work
    untouched = look and not change

    def run(given: Cut) -> list[bytes]:
        written = []
        for read in given.reads:
            events = []
            for block in split(read):
                if block[:7] != b"data: {":
                    events.append(b"%b\n\n" % block)
                    continue
                chunk = loads(block[6:])
                if look:
                    _look(chunk)
                if untouched:
                    continue
                if redact:
                    chunk["choices"][0]["delta"]["content"] = REDACTED
                if change and "choices" in chunk:
                    chunk["model"] = ALIAS
                if strip and chunk.pop("usage", None) and not chunk.get("choices", True):
                    continue
                events.append(b"data: %b\n\n" % dumps(chunk))
            written.append(read if untouched else b"".join(events))
        return written

    return run


# --- what has to come out ---


def _is_chunk(value: Any) -> bool:
    return "choices" in value or value.get("object") == "chat.completion.chunk"


def after(work: Work, value: dict[str, Any]) -> dict[str, Any] | None:
    """Return what becomes of an event's JSON, or None if it is withheld."""
    if not _is_chunk(value):
        return value
    value = dict(value)
    if work.change:
        value["model"] = ALIAS
    usage = value.pop("usage", None) if work.strip else None
    if isinstance(usage, dict) and value.get("choices") == []:
        return None
    if work.redact:
        value["choices"][0]["delta"]["content"] = REDACTED
    return value


@cache
def _expected(given_raw: bytes, work: Work, oracle: bool) -> list[Any]:
    """Return each block that has to come out: its JSON object, or itself where it has none."""
    return list(_blocks_after(given_raw, work, _as_the_oracle if oracle else json.loads))


def _blocks_after(raw: bytes, work: Work, read: Callable[[bytes], Any]) -> Iterator[Any]:
    for block in split(raw):
        body = body_of(block)
        value = after(work, read(body)) if body else block.strip()  # one ends with a single LF
        if value:
            yield value


def _as_the_oracle(body: bytes) -> Any:
    """Read a body as the Pydantic model does; raise `Mismatch` where it refuses it."""
    from pydantic import ValidationError
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    try:
        chunk = ChatCompletionStreamResponse.model_validate_json(body)
    except ValidationError as error:
        raise Mismatch("the model refuses an event") from error
    value = json.loads(_MADE_UP_CALL.sub(b'"made up"', chunk.model_dump_json().encode()))
    return _without_made_up(value, json.loads(body))


def _without_made_up(value: Any, source: Any) -> Any:
    """Take out the id and the time that the model makes up at every decode."""
    return {k: v for k, v in value.items() if k not in {"id", "created"} or k in source}


def _found(written: bytes) -> list[Any]:
    blocks = [block.strip() for block in split(written) if block.strip()]
    return [json.loads(body_of(block)) if body_of(block) else block for block in blocks]


def check(work: Work, peer: str, part: Part, written: list[bytes]) -> None:
    """Compare what was written: of fastchunk's byte for byte or in order, of others' by value."""
    raw = part.given.stream.raw
    joined = b"".join(written)
    if peer == ROUTER:
        joined = _MADE_UP_CALL.sub(b'"made up"', joined)
    found = _found(joined)
    if peer.startswith(OURS):
        if not (work.change or work.strip or work.redact):
            expect(joined, raw)
        wanted = _expected(raw, work, oracle=False)
        expect_each(found, wanted)
        expect_each([*map(list, found)], [*map(list, wanted)])
        if work.look:
            _check_look(part.given)
    elif peer == ROUTER:
        wanted = _expected(raw, work, oracle=True)
        expect(len(found), len(wanted))
        for value, one in zip(found, wanted, strict=True):
            expect(_without_made_up(value, one) if isinstance(value, dict) else value, one)
    else:
        expect_each(found, _expected(raw, work, oracle=False))


def _check_look(given: Cut) -> None:
    """Compare the chunks that `on_chunk` sees with those that came."""
    from .iterate import check_chunks

    seen: list[Any] = []
    _fastchunk(Work(look=True), seen.append)(given)
    check_chunks(seen, [body for body in given.bodies if _is_chunk(json.loads(body))])


# --- jobs ---

_PEERS: dict[str, Callable[[Work], Run]] = {
    OURS: _fastchunk,
    ROUTER: pydantic,
    DICTS: orjson,
}


def _peers(work: Work) -> dict[str, MakePeer]:
    return {peer: partial(make, work) for peer, make in _PEERS.items()}


def jobs() -> Iterator[Job]:
    """Make every work's jobs: mix by mix, cut by cut."""
    for mix, streams in mixes().items():
        works = {**WORKS, **TEXT_WORKS} if mix == TEXT else WORKS
        for case, blocks in CUTS.items():
            cuts = [cut(stream, blocks) for stream in streams]
            parts = [Part(one.stream.name, one, len(one.bodies)) for one in cuts]
            for title, work in works.items():
                name = f"{title}/{mix}/{case}"
                yield Job(name, parts, _peers(work), partial(check, work), frozenset({ROUTER}))
