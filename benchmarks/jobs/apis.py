"""The other APIs: recorded streams of completions, Messages and Responses, beside their own SDKs.

The SDK's path is what the official client does with every event: frame, `json.loads`, make its
model of it without validation. A relay dumps that again. Where text is replaced it dumps it as it
came: a rule for texts that span events is nobody's but fastchunk's, which is given ten strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache, partial
from importlib import import_module
from itertools import chain
from typing import Any, NamedTuple

from benchmarks.job import OURS, Job, MakePeer, Mismatch, Part, Run, each, expect, expect_each
from benchmarks.streams import CUTS, Answer, answers_of
from benchmarks.words import ALIAS

from .peers import DICTS
from .rules import STRINGS, TEN_STRINGS

SDK = "the SDK's path"
FAMILIES = ("completions", "messages", "responses")
DECODE, ITERATE, ACCUMULATE = "decode events", "iterate over events", "accumulate events"
IDENTITY, MODEL, TEXT = "pass events on", "change the events' model", "replace text in events"
RELAYS = (IDENTITY, MODEL, TEXT)
SHOWN = ("1 event a read", "16 events a read")
_HOLDERS = {"messages": "message", "responses": "response"}


class Read(NamedTuple):
    """An answer's stream, cut into reads."""

    answer: Answer
    reads: list[bytes]


# --- the SDKs ---


class Sdk(NamedTuple):
    """What an SDK does with a stream, step by step."""

    events: Callable[[list[bytes]], Iterator[Any]]
    """Frame reads."""
    make: Callable[[Any], Any]
    """Make the SDK's own event of a parsed one."""


def _sdk(family: str) -> Sdk:
    return _anthropic() if family == "messages" else _openai(family)


def _anthropic() -> Sdk:
    from anthropic._models import construct_type
    from anthropic._streaming import SSEDecoder
    from anthropic.types.beta import BetaRawMessageStreamEvent

    return Sdk(
        lambda reads: SSEDecoder().iter_bytes(iter(reads)),
        partial(_construct, construct_type, BetaRawMessageStreamEvent),
    )


def _openai(family: str) -> Sdk:
    from openai._models import construct_type
    from openai._streaming import SSEDecoder
    from openai.types import Completion
    from openai.types.responses import ResponseStreamEvent

    kind: Any = Completion if family == "completions" else ResponseStreamEvent
    return Sdk(
        lambda reads: SSEDecoder().iter_bytes(iter(reads)),
        partial(_construct, construct_type, kind),
    )


def _construct(construct: Callable[..., Any], kind: Any, value: Any) -> Any:
    return construct(type_=kind, value=value)


# --- single events ---


def _decode(family: str) -> Run:
    return each(import_module(f"fastchunk.{family}").decode)


def _decode_by_sdk(family: str) -> Run:
    make = _sdk(family).make
    return each(lambda data: make(json.loads(data)))


def _check_events(_peer: str, part: Part, events: Sequence[Any]) -> None:
    """Compare events with what came: nothing in them is made up, and their type is right."""
    from fastchunk import encode

    bodies = part.given.answer.bodies if isinstance(part.given, Read) else part.given
    expect(len(events), len(bodies))
    for event, body in zip(events, bodies, strict=True):
        source = json.loads(body)
        expect(getattr(event, "type", None), source.get("type"))
        if hasattr(event, "model_dump"):
            expect(event.model_dump(exclude_unset=True, mode="json").keys(), source.keys())
        else:
            value = json.loads(encode(event))
            expect(_known(value, source), value)


def _known(value: Any, source: Any) -> Any:
    """Return of a source what a value has: the Structs drop the keys that they do not know."""
    if isinstance(value, dict) and isinstance(source, dict):
        return {key: _known(value[key], source[key]) for key in value if key in source}
    if isinstance(value, list) and isinstance(source, list) and len(value) == len(source):
        return [_known(*pair) for pair in zip(value, source, strict=True)]
    return source


# --- clients ---


def _iterate(family: str) -> Run:
    from fastchunk import iter_chunks

    module = import_module(f"fastchunk.{family}")
    return lambda given: list(iter_chunks(given.reads, module))


def _iterate_by_sdk(family: str) -> Run:
    """Do what the SDK's `Stream` does with every event, but for its calls on the response."""
    frame, make = _sdk(family)

    def run(given: Read) -> list[Any]:
        found = []
        for event in frame(given.reads):
            if event.data.startswith("[DONE]"):
                break
            data = event.json()
            if data.get("error"):
                raise ValueError(data["error"])
            found.append(make(data))
        return found

    return run


# --- relays ---


def _relay(family: str, work: str) -> Run:
    from fastchunk import Relay, text

    module = import_module(f"fastchunk.{family}")
    options: dict[str, Any] = {}
    if work == MODEL:
        options["model"] = ALIAS
    elif work == TEXT:
        options["text"] = [text.Replace(STRINGS, "…", channels=("content", "reasoning"))]

    def run(given: Read) -> list[bytes]:
        relay = Relay(module, **options)
        written = [relay.feed(read) for read in given.reads]
        written.append(relay.close())
        return written

    return run


def _relay_by_sdk(family: str, work: str) -> Run:
    frame, make = _sdk(family)
    holder = _HOLDERS.get(family)

    def run(given: Read) -> list[bytes]:
        written = []
        for event in frame(given.reads):
            if event.data.startswith("[DONE]"):
                written.append(b"data: [DONE]\n\n")
                continue
            made = make(event.json())
            if work == MODEL:
                changed = getattr(made, holder, None) if holder else made
                if changed is not None:
                    changed.model = ALIAS
            data = made.model_dump_json(exclude_unset=True, by_alias=True)
            name = f"event: {made.type}\n" if holder else ""
            written.append(f"{name}data: {data}\n\n".encode())
        return written

    return run


def _relay_by_orjson(family: str, work: str) -> Run:
    """Cut at blank lines, load, change, dump: without any model."""
    from orjson import dumps, loads

    holder = _HOLDERS.get(family)

    def run(given: Read) -> list[bytes]:
        written = []
        for read in given.reads:
            events = []
            for block in read.split(b"\n\n"):
                head, mark, body = block.partition(b"data: ")
                if body[:1] != b"{":
                    events.append(block)
                    continue
                value = loads(body)
                changed = value.get(holder) if holder else value
                if work == MODEL and changed is not None:
                    changed["model"] = ALIAS
                events.append(head + mark + dumps(value))
            written.append(b"\n\n".join(events))
        return written

    return run


def _check_relay(family: str, work: str, peer: str, part: Part, written: list[bytes]) -> None:
    joined = b"".join(written)
    came = [json.loads(body) for body in part.given.answer.bodies]
    if work == IDENTITY and peer.startswith(OURS):
        expect(joined, part.given.answer.raw)
    found = [json.loads(line[6:]) for line in joined.split(b"\n") if line[:7] == b"data: {"]
    if work == TEXT and peer.startswith(OURS):
        expect(
            _texts(found), {text: TEN_STRINGS.sub("…", said) for text, said in _texts(came).items()}
        )
    elif peer == SDK:  # which writes times and numbers in its own way
        expect([event.keys() for event in found], [event.keys() for event in came])
    else:
        holder = _HOLDERS.get(family)
        expect_each(
            found, [_restamped(event, holder) if work == MODEL else event for event in came]
        )
    if work == MODEL:
        holder = _HOLDERS.get(family)
        models = [
            (event.get(holder, {}) if holder else event).get("model", ALIAS) for event in found
        ]
        expect(set(models), {ALIAS})


def _restamped(event: dict[str, Any], holder: str | None) -> dict[str, Any]:
    if holder is None:
        return {**event, "model": ALIAS}
    if holder not in event:
        return event
    changed: dict[str, Any] = {**event[holder], "model": ALIAS}
    return {**event, holder: changed}


def _texts(events: list[dict[str, Any]]) -> dict[Hashable, str]:
    """Join the pieces of the texts that the rule is for."""
    found: dict[Hashable, str] = {}
    for event in events:
        for text, said in _pieces(event):
            found[text] = found.get(text, "") + said
    return {text: said for text, said in found.items() if said}


def _pieces(event: dict[str, Any]) -> Iterator[tuple[Hashable, str]]:
    kind = event.get("type")
    if kind is None:
        for choice in event["choices"]:
            yield choice.get("index", 0), choice.get("text", "")
    elif kind in {"content_block_start", "content_block_delta"}:
        part = event.get("delta") or event["content_block"]
        for key in ("text", "thinking"):
            yield (event["index"], key), part.get(key, "")
    elif re.fullmatch(r"response\.(output_text|refusal|reasoning.*)\.delta", kind):
        indices = [event.get(f"{name}_index") for name in ("output", "content", "summary")]
        yield (kind, *indices), event["delta"]


# --- accumulators ---


def _accumulate(family: str) -> Run:
    from fastchunk import Accumulator

    module = import_module(f"fastchunk.{family}")

    def run(events: Sequence[Any]) -> Any:
        answer: Any = Accumulator(module)
        for event in events:
            answer.add(event)
        return answer.result()

    return _with_events(module.decode, run)


def _accumulate_by_sdk(family: str) -> Run:
    make = _sdk(family).make
    add_up = _add_up_messages if family == "messages" else _add_up_responses
    return _with_events(lambda body: make(json.loads(body)), add_up)


def _add_up_messages(events: Sequence[Any]) -> Any:
    from anthropic.lib.streaming._beta_messages import accumulate_event
    from httpx2 import Headers

    headers = Headers()
    snapshot: Any = None
    arguments: dict[int, bytes] = {}
    for event in events:
        if event.type != "ping":
            snapshot = accumulate_event(
                event=event,
                current_snapshot=snapshot,
                json_bufs=arguments,
                request_headers=headers,
            )
    return snapshot


def _add_up_responses(events: Sequence[Any]) -> Any:
    from openai import omit
    from openai.lib.streaming.responses._responses import ResponseStreamState

    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    try:
        for event in events:
            state.handle_event(event)
    except IndexError as error:
        raise Mismatch("the client finds items by counting them") from error
    return state._completed_response  # noqa: SLF001 - it is what the client returns


def _with_events(make: Callable[[bytes], Any], add_up: Callable[[Sequence[Any]], Any]) -> Run:
    """Make each answer's events once, which is not timed, and an answer of them, which is."""
    made: dict[int, list[Any]] = {}

    def run(bodies: list[bytes]) -> Any:
        events = made.get(id(bodies))
        if events is None:
            events = made[id(bodies)] = [make(body) for body in bodies]
        return add_up(events)

    return run


def _check_answer(family: str, _peer: str, part: Part, answer: Any) -> None:
    came = [json.loads(body) for body in part.given]
    if family == "responses":
        expect(answer.output_text, _said_whole(came[-1]["response"]["output"]))
        expect(answer.usage.output_tokens, came[-1]["response"]["usage"]["output_tokens"])
        return
    texts = [block.text for block in answer.content if getattr(block, "type", "") == "text"]
    said = _texts(came)
    expect(texts, [said.get((index, "text"), "") for index in _text_blocks(came)])
    expect(answer.usage.output_tokens, _last_usage(came)["output_tokens"])


def _said_whole(output: list[dict[str, Any]]) -> str:
    parts = chain.from_iterable(item["content"] for item in output if item["type"] == "message")
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


def _text_blocks(events: list[dict[str, Any]]) -> list[int]:
    starts = [event for event in events if event["type"] == "content_block_start"]
    return [start["index"] for start in starts if start["content_block"]["type"] == "text"]


def _last_usage(events: list[dict[str, Any]]) -> dict[str, Any]:
    starts = [event["message"]["usage"] for event in events if event["type"] == "message_start"]
    ends = [event["usage"] for event in events if event["type"] == "message_delta"]
    usage: dict[str, Any] = [*starts, *ends][-1]
    return usage


# --- jobs ---


@cache
def _answers(family: str) -> list[Answer]:
    """Take the answers that every peer can read to their end."""
    return [answer for answer in answers_of(family) if all(map(_is_good, answer.bodies))]


def _is_good(body: bytes) -> bool:
    try:
        return not json.loads(body).get("error")
    except ValueError:
        return False


def jobs() -> Iterator[Job]:
    """Make every family's jobs; none without recordings."""
    for family in FAMILIES:
        answers = _answers(family)
        if answers:
            yield from _of_events(family, answers)
            for case in SHOWN:
                yield from _of_reads(family, answers, case)


def _of_events(family: str, answers: list[Answer]) -> Iterator[Job]:
    parts = [Part(one.name, one.bodies, len(one.bodies)) for one in answers]
    peers: dict[str, MakePeer] = {
        OURS: partial(_decode, family),
        SDK: partial(_decode_by_sdk, family),
    }
    yield Job(f"{DECODE}/{family}", parts, peers, _check_events)
    if family != "completions":  # for which the client adds nothing up
        whole = [part for part in parts if _is_whole(part.given[-1])]
        peers = {OURS: partial(_accumulate, family), SDK: partial(_accumulate_by_sdk, family)}
        check = partial(_check_answer, family)
        # There are answers that the client cannot put together.
        yield Job(f"{ACCUMULATE}/{family}", whole, peers, check, frozenset({SDK}))


def _is_whole(body: bytes) -> bool:
    return json.loads(body)["type"] in {"message_stop", "response.completed"}


def _of_reads(family: str, answers: list[Answer], case: str) -> Iterator[Job]:
    parts = [Part(one.name, Read(one, one.cut(CUTS[case])), len(one.bodies)) for one in answers]
    for work in RELAYS:
        peers: dict[str, MakePeer] = {
            OURS: partial(_relay, family, work),
            SDK: partial(_relay_by_sdk, family, work),
            DICTS: partial(_relay_by_orjson, family, work),
        }
        yield Job(f"{work}/{family}/{case}", parts, peers, partial(_check_relay, family, work))
    complete = [part for part in parts if _ends(part.given.answer)]
    peers = {OURS: partial(_iterate, family), SDK: partial(_iterate_by_sdk, family)}
    yield Job(f"{ITERATE}/{family}/{case}", complete, peers, _check_events)


def _ends(answer: Answer) -> bool:
    """Tell whether a stream is complete, or `iter_chunks` would raise."""
    return b"[DONE]" in answer.raw or _is_whole(answer.bodies[-1])
