"""Text rules on chat's streams: reads to what a gateway writes, each text as the rule leaves it.

The Pydantic path and the dicts do no redacting at all: they show what a relay costs that could. To
apply a rule to each chunk on its own is cheaper, and wrong wherever the text is cut in a match: how
many streams it gets right is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.job import OURS, Job, MakePeer, Part, Run, expect
from benchmarks.streams import CUTS, RECORDED, TEXT, Cut, Stream, body_of, cut, mixes, split

from . import relays
from .peers import DICTS, ROUTER
from .relays import Work

STRINGS = (
    *("San Francisco", "weather", "temperature", "Paris", "password", "4111 1111 1111 1111"),
    *("Hello", "user", "streaming", "secret"),
)
CARD = re.compile(r"\b\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}\b")
TEN, PATTERN, STOP, SPLIT = "ten strings", "a card's pattern", "stop", "split"
RULES = (TEN, PATTERN, STOP, SPLIT)
REPLACE, ALONE = "text rule", "text rule, each chunk alone"
EACH = "each chunk on its own"
SHOWN = tuple(CUTS)[:3]
_END = "\n\nUser:"
_BEGIN_THOUGHT, _END_THOUGHT = "<think>", "</think>"
_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
TEN_STRINGS = re.compile("|".join(map(re.escape, sorted(STRINGS, key=len, reverse=True))))

Texts = dict[tuple[int, str], str]
"""By a choice's index, and the name under which a text stands."""


# --- peers ---


def _rules(rule: str) -> list[Any]:
    from fastchunk import text

    made: dict[str, Callable[[], Any]] = {
        TEN: lambda: text.Replace(STRINGS, "…"),
        PATTERN: lambda: text.Replace(CARD, "[card]"),
        STOP: lambda: text.Stop(_END),
        SPLIT: lambda: text.Split(_BEGIN_THOUGHT, _END_THOUGHT),
    }
    return [made[rule]()]


def _fastchunk(rule: str) -> Run:
    from fastchunk import Relay

    rules = _rules(rule)

    def run(given: Cut) -> list[bytes]:
        relay = Relay(text=rules)
        written = [relay.feed(read) for read in given.reads]
        written.append(relay.close())
        return written

    return run


def _chunk_by_chunk(rule: str) -> Run:
    """Apply the rule to the text of each chunk by itself."""
    from orjson import dumps, loads

    pattern, replacement = (TEN_STRINGS, "…") if rule == TEN else (CARD, "[card]")

    def run(given: Cut) -> list[bytes]:
        written = []
        for read in given.reads:
            events = []
            for block in split(read):
                if block[:7] != b"data: {":
                    events.append(b"%b\n\n" % block)
                    continue
                chunk = loads(block[6:])
                for choice in chunk.get("choices") or ():
                    delta = choice.get("delta") or {}
                    for name in _NAMES:
                        if isinstance(delta.get(name), str):
                            delta[name] = pattern.sub(replacement, delta[name])
                events.append(b"data: %b\n\n" % dumps(chunk))
            written.append(b"".join(events))
        return written

    return run


# --- what has to come out ---

_NAMES = ("content", "reasoning", "reasoning_content", "refusal")


def _texts(raw: bytes) -> Texts:
    """Join each choice's texts, whatever shape they have."""
    found: Texts = {}
    for block in split(raw):
        body = body_of(block[block.find(b"data: ") :])
        for position, choice in enumerate((json.loads(body) if body else {}).get("choices") or ()):
            delta = choice.get("delta") or {}
            for name in _NAMES:
                text = choice.get("index", position), name
                found[text] = found.get(text, "") + _said(delta.get(name))
    return {text: said for text, said in found.items() if said}


def _said(value: Any) -> str:
    if isinstance(value, list):
        return "".join(_said(part.get("text")) for part in value)
    return value if isinstance(value, str) else ""


def _after(rule: str, texts: Texts) -> Texts:
    """Apply a rule to whole texts. No stream here has what the stop looks for."""
    if rule == TEN:
        texts = {text: TEN_STRINGS.sub("…", said) for text, said in texts.items()}
    elif rule == PATTERN:
        texts = {text: CARD.sub("[card]", said) for text, said in texts.items()}
    elif rule == SPLIT:
        texts = _split(texts)
    return {text: said for text, said in texts.items() if said}


def _split(texts: Texts) -> Texts:
    left = dict(texts)
    for (index, name), said in texts.items():
        if name == "content":
            thoughts = "".join(match[1] for match in _THOUGHT.finditer(said))
            left[index, name] = _THOUGHT.sub("", said)
            left[index, "reasoning_content"] = left.get((index, "reasoning_content"), "") + thoughts
    return left


def _check(rule: str, peer: str, part: Part, written: list[bytes]) -> None:
    if peer.startswith(OURS) or peer == EACH:
        came = _texts(part.given.stream.raw)
        expect(_texts(b"".join(written)), _after(rule, came))
    else:
        relays.check(Work(), peer, part, written)


# --- jobs ---


def jobs() -> Iterator[Job]:
    """Make every rule's jobs: mix by mix, cut by cut; and those that show what is wrong."""
    for mix in (RECORDED, TEXT):
        streams = [stream for stream in mixes().get(mix, []) if _has_plain_texts(stream)]
        for case in SHOWN if streams else ():
            cuts = [cut(stream, CUTS[case]) for stream in streams]
            parts = [Part(one.stream.name, one, len(one.bodies)) for one in cuts]
            yield from _of_parts(f"{mix}/{case}", parts)


def _of_parts(case: str, parts: list[Part]) -> Iterator[Job]:
    for rule in RULES:
        peers: dict[str, MakePeer] = {
            OURS: partial(_fastchunk, rule),
            ROUTER: partial(relays.pydantic, Work()),
            DICTS: partial(relays.orjson, Work()),
        }
        check = partial(_check, rule)
        yield Job(f"{REPLACE}, {rule}/{case}", parts, peers, check, frozenset({ROUTER}))
    # In a job of its own: ratios are over the streams that all peers of a job get right.
    peers = {OURS: partial(_fastchunk, TEN), EACH: partial(_chunk_by_chunk, TEN)}
    yield Job(f"{ALONE}/{case}", parts, peers, partial(_check, TEN), frozenset({EACH}))


def _has_plain_texts(stream: Stream) -> bool:
    """Tell whether no rule sees a text elsewhere, which the check would have to know, too."""
    return b'"reasoning_details"' not in stream.raw and _END.encode() not in stream.raw
