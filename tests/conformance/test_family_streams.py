"""The official clients as the oracles of whole streams: what they read, and what they accept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from anthropic.types.beta import BetaRawMessageStreamEvent
from openai.types import Completion
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

from fastchunk import FastchunkError, Relay, encode, iter_chunks, text
from fastchunk.sse import blocks
from tests.family_streams import answers_in, every_stream, family_name
from tests.family_texts import across_cuts, parsed

pytestmark = [
    pytest.mark.usefixtures("scanner"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]

HEADERS = {"content-type": "text/event-stream"}
ALIAS = "an alias"


def client_reads(family: str, raw: bytes) -> Iterator[Any]:
    """Let the family's official client read a stream."""
    if family == "messages":
        return _anthropic_reads(raw)
    return _openai_reads(family, raw)


def _anthropic_reads(raw: bytes) -> Iterator[Any]:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=HEADERS, content=raw))
    with (
        httpx2.Client(transport=transport) as http,
        anthropic.Anthropic(api_key="none", http_client=http) as client,
    ):
        yield from client.beta.messages.create(model="m", max_tokens=1, messages=[], stream=True)


def _openai_reads(family: str, raw: bytes) -> Iterator[Any]:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=HEADERS, content=raw))
    with (
        httpx.Client(transport=transport) as http,
        openai.OpenAI(api_key="none", http_client=http) as client,
    ):
        if family == "completions":
            yield from client.completions.create(model="m", prompt="p", stream=True)
        else:
            yield from client.responses.create(model="m", input="i", stream=True)


def outcome(events: Iterator[Any]) -> tuple[list[Any], str]:
    """Read a stream to its end, or up to what ends it before that."""
    found = []
    try:
        for event in events:
            found.append(event)  # noqa: PERF402 - what came before an exception is kept
    except (anthropic.APIError, openai.APIError):
        return found, "error"
    except json.JSONDecodeError:
        return found, "invalid"
    except FastchunkError as error:
        return found, {"UpstreamError": "error", "InvalidChunk": "invalid"}[type(error).__name__]
    return found, "done"


def within(value: Any, source: Any) -> bool:
    """Tell whether a value is a part of another: Structs drop the keys that they do not know."""
    if isinstance(value, dict) and isinstance(source, dict):
        return all(key in source and within(value[key], source[key]) for key in value)
    if isinstance(value, list) and isinstance(source, list):
        return len(value) == len(source) and all(map(within, value, source))
    return bool(value == source)


@every_stream
def test_the_official_client_reads_the_same_events(stream: Path) -> None:
    family = family_name(stream)
    for answer in answers_in(stream):
        raw = b"".join(answer)
        theirs, their_end = outcome(client_reads(family, raw))
        ours, our_end = outcome(iter_chunks([raw], import_module(f"fastchunk.{family}")))
        told = [event for event in ours if getattr(event, "type", "") != "ping"]
        assert len(told) == len(theirs)
        for event, other in zip(told, theirs, strict=True):
            assert getattr(event, "type", None) == getattr(other, "type", None)
            assert within(json.loads(encode(event)), _json_of(other))
        assert our_end == their_end


def _json_of(event: Any) -> Any:
    return json.loads(json.dumps(event.to_dict(mode="json", exclude_unset=True), default=str))


ERROR = '{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'


@pytest.mark.parametrize(
    ("family", "block"),
    [
        ("messages", f"event: error\ndata: {ERROR}\n\n"),
        ("responses", f"event: error\ndata: {ERROR}\n\n"),
        ("responses", f"data: {ERROR}\n\n"),
        ("completions", f"data: {ERROR}\n\n"),
        ("completions", 'data: {"error":{"message":"busy","code":500}}\n\n'),
        ("responses", 'data: {"error":{"message":"busy","code":500}}\n\n'),
    ],
)
def test_what_the_client_raises_is_an_upstream_error(family: str, block: str) -> None:
    raw = block.encode()
    assert outcome(client_reads(family, raw)) == ([], "error")
    assert outcome(iter_chunks([raw], import_module(f"fastchunk.{family}"))) == ([], "error")
    relay = Relay(import_module(f"fastchunk.{family}"), model=ALIAS)
    assert relay.feed(raw) == raw
    assert relay.error["message"] == "busy"


# --- what a relay sends -------------------------------------------------------------------------

MODELS: dict[str, Any] = {
    "completions": TypeAdapter(Completion),
    "messages": TypeAdapter(BetaRawMessageStreamEvent),
    "responses": TypeAdapter(ResponseStreamEvent),
}


def refused(family: str, event: dict[str, Any]) -> set[str]:
    """List where the client's model refuses an event."""
    try:
        MODELS[family].validate_python(event, strict=False)
    except ValidationError as error:
        return {re.sub(r"\d+", "#", str(one["loc"])) + one["type"] for one in error.errors()}
    return set()


def _rules(answer: list[bytes]) -> list[text.Replace]:
    strings = [one for one in across_cuts(map(parsed, answer)) if one.isalpha()]
    return [text.Replace(strings or "e", "Q"), text.Replace("a", "")]


@every_stream
def test_the_client_accepts_what_a_relay_has_changed(stream: Path) -> None:
    family = family_name(stream)
    for answer in answers_in(stream):
        options: dict[str, Any] = {"model": ALIAS, "text": _rules(answer)}
        relay = Relay(import_module(f"fastchunk.{family}"), **options)
        for block in answer:
            before = refused(family, parsed(block))
            for left in blocks(relay.feed(block)):
                assert refused(family, parsed(left)) <= before
        assert relay.close() == b""
        _check_the_client_reads_on(family, b"".join(answer), options)


def _check_the_client_reads_on(family: str, raw: bytes, options: dict[str, Any]) -> None:
    """Check that the client ends as it does without the relay, and sees the model's new name."""
    relay = Relay(import_module(f"fastchunk.{family}"), **options)
    relayed = relay.feed(raw) + relay.close()
    found, end = outcome(client_reads(family, relayed))
    assert end == outcome(client_reads(family, raw))[1]
    holders = [
        holder
        for event in found
        for holder in (event, getattr(event, "message", None), getattr(event, "response", None))
    ]
    models = {getattr(holder, "model", ALIAS) for holder in holders if holder is not None}
    assert models <= {ALIAS}
