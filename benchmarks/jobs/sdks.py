"""The SDKs' own streams: a response's reads to what the SDK yields, or what fastchunk does.

An SDK's real client gets the response from a transport in memory, so every peer pays for httpx. To
make the request is not measured: it is the same for all, and no part of an event. `httpx alone`
takes the reads and does nothing with them: what nobody can go below.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from benchmarks.job import OURS, Job, MakePeer, Part, Run, expect, expect_each
from benchmarks.streams import CUTS, RECORDED, TEXT, Cut, Stream, cut, mixes
from benchmarks.words import MODEL, WORDS

OPENAI, ANTHROPIC = "openai-python", "anthropic"
SDK, HTTP = "the SDK's own", "httpx alone"
MIXES = (TEXT, RECORDED)
_EVENTS = 256
_SHORTEST = 32
"""Of a stream of fewer events, what it costs to open it is a good part of the time."""


class _Client(NamedTuple):
    """What is used of an SDK."""

    http: str
    """The httpx that it uses."""
    client: str
    event: str
    """Where the type of what it yields is, as `module:name`."""
    drop_in: str
    """Where fastchunk's function is."""


_CLIENTS = {
    OPENAI: _Client("httpx", "OpenAI", "openai.types.chat:ChatCompletionChunk", "openai:chunks"),
    ANTHROPIC: _Client(
        "httpx2", "Anthropic", "anthropic.types:RawMessageStreamEvent", "anthropic:events"
    ),
}


def _peer(sdk: str, peer: str) -> Run:
    used = _CLIENTS[sdk]
    http, module = import_module(used.http), import_module(sdk.partition("-")[0])
    logging.getLogger(used.http).setLevel(logging.WARNING)  # it logs every request
    event = _find(used.event)

    class Body(http.SyncByteStream):  # type: ignore[misc,name-defined]
        def __init__(self, reads: list[bytes]) -> None:
            self.reads = reads

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.reads)

    reads: list[list[bytes]] = [[]]
    transport = http.MockTransport(lambda _: http.Response(200, stream=Body(reads[0])))
    client = getattr(module, used.client)(
        api_key="-", http_client=(sender := http.Client(transport=transport))
    )
    request = sender.build_request("POST", "http://localhost/")

    def stream(given: Cut) -> Any:
        reads[0] = given.reads
        response = sender.send(request, stream=True)
        return module.Stream(cast_to=event, response=response, client=client)

    if peer == HTTP:
        return lambda given: list(stream(given).response.iter_bytes())
    if peer == SDK:
        return lambda given: list(stream(given))
    drop_in = _find(f"fastchunk.integrations.{used.drop_in}")
    return lambda given: list(drop_in(stream(given)))


def _find(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _peers(sdk: str) -> dict[str, MakePeer]:
    return {peer: partial(_peer, sdk, peer) for peer in (OURS, SDK, HTTP)}


# --- what has to come ---


def _check_chunks(peer: str, part: Part, items: list[Any]) -> None:
    if peer == HTTP:
        expect(items, part.given.reads)
    else:
        wanted = [_told(json.loads(body)) for body in part.given.bodies]
        expect_each([*map(_said, items)], wanted)


def _told(source: Any) -> list[Any]:
    """Return what a chunk's JSON tells, as far as every server's chunks have it."""
    usage = source.get("usage")
    return [
        source.get("id"),
        source.get("model"),
        [
            (
                choice.get("index"),
                choice["delta"].get("content"),
                choice["delta"].get("reasoning_content"),
                [
                    (call.get("id"), (call.get("function") or {}).get("arguments"))
                    for call in choice["delta"].get("tool_calls") or ()
                ],
                choice.get("finish_reason"),
            )
            for choice in source["choices"]
        ],
        usage and usage.get("total_tokens"),
    ]


def _said(chunk: Any) -> list[Any]:
    usage = chunk.usage
    return [
        chunk.id,
        chunk.model,
        [
            (
                choice.index,
                choice.delta.content,
                getattr(choice.delta, "reasoning_content", None),
                [
                    (call.id, call.function and call.function.arguments)
                    for call in choice.delta.tool_calls or ()
                ],
                choice.finish_reason,
            )
            for choice in chunk.choices
        ],
        usage and usage.total_tokens,
    ]


def _check_events(peer: str, part: Part, items: list[Any]) -> None:
    if peer == HTTP:
        expect(items, part.given.reads)
        return
    kinds = [item.type for item in items]
    deltas = ["content_block_delta"] * _EVENTS
    expect(kinds, ["message_start", "content_block_start", *deltas, *_LAST])
    expect([item.delta.text for item in items[2:-3]], _TEXTS)


_LAST = ["content_block_stop", "message_delta", "message_stop"]
_TEXTS = [f" {WORDS[n % len(WORDS)]}" for n in range(_EVENTS)]


def _messages() -> Stream:
    """Write the stream of a text, as Anthropic's API does."""
    usage = {"input_tokens": 12, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            }
            for text in _TEXTS
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": _EVENTS},
        },
        {"type": "message_stop"},
    ]
    raw = "".join(
        f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n"
        for event in events
    )
    return Stream(TEXT, raw.encode())


def _is_fit(given: Cut) -> bool:
    """Tell whether a stream is long enough, and one of chunks that the SDK does not refuse."""
    sources = [*map(json.loads, given.bodies)]
    data = given.stream.raw.count(b"data:") - given.stream.raw.count(b"[DONE]")
    return data == len(sources) >= _SHORTEST and not any(
        source.get("error")
        or not isinstance(source.get("choices"), list)
        or any(not choice.get("delta") for choice in source["choices"])
        for source in sources
    )


def jobs() -> Iterator[Job]:
    """Make the jobs: for openai-python mix by mix, for anthropic a text."""
    cases = {case: CUTS[case] for case in tuple(CUTS)[:3]}
    for mix in MIXES:
        for case, blocks in cases.items():
            cuts = [cut(stream, blocks) for stream in mixes().get(mix, ())]
            parts = [Part(one.stream.name, one, len(one.bodies)) for one in cuts if _is_fit(one)]
            if parts:
                yield Job(f"{OPENAI}/{mix}/{case}", parts, _peers(OPENAI), _check_chunks)
    for case, blocks in cases.items():
        given = cut(_messages(), blocks)
        part = Part(TEXT, given, _EVENTS + 5)
        yield Job(f"{ANTHROPIC}/{TEXT}/{case}", [part], _peers(ANTHROPIC), _check_events)
