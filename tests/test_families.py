"""Relays, streams and accumulators of the families other than chat."""

from __future__ import annotations

import random
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fastchunk import DROP, Relay, edit, encode, text
from fastchunk.sse import BOM, blocks, parse_block
from tests.family_streams import (
    answers_in,
    blocks_of,
    every_stream,
    family_name,
    recorded_of_all,
)
from tests.family_texts import across_cuts, differences, joined, parsed, pieces_of, spelled_out
from tests.scanners import exact_relay

pytestmark = pytest.mark.usefixtures("scanner")

ALIAS = "an alias"
CHANNELS = ("content", "reasoning", "refusal", "arguments")


def family_of(stream: Path) -> Any:
    return import_module(f"fastchunk.{family_name(stream)}")


def cut(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def relayed(reads: list[bytes], relay: Relay) -> bytes:
    return b"".join([*map(relay.feed, reads), relay.close()])


def state(relay: Relay) -> tuple[Any, ...]:
    return (
        *(relay.events, relay.chunks, relay.invalid, relay.done),
        *(relay.truncated, relay.error, relay.usage, relay.finish_reasons),
    )


def with_data(block: bytes, data: bytes) -> bytes:
    """Put new data into a block of one data line."""
    old = parse_block(block).data
    assert old is not None
    assert block.count(old) == 1
    return block.replace(old, data)


BEGINNING = 8_000  # bytes of a stream, of which some are long; so much is fed by ones and threes


# --- unchanged means untouched ------------------------------------------------------------------


@every_stream
def test_recorded_streams_pass_at_awkward_cuts(stream: Path) -> None:
    raw, family = stream.read_bytes(), family_of(stream)
    exact = exact_relay(family=family)
    assert relayed([raw], exact) == raw.removeprefix(BOM)
    for size in (1021, len(raw)):
        relay = Relay(family)
        assert relayed(cut(raw, size), relay) == raw.removeprefix(BOM)
        assert state(relay) == state(exact)
    begun = raw[:BEGINNING]
    for size in (1, 3):
        assert relayed(cut(begun, size), Relay(family)) == begun.removeprefix(BOM)


@every_stream
def test_recorded_events_leave_as_the_very_objects_that_came(stream: Path) -> None:
    relay = Relay(family_of(stream))
    for block in blocks_of(stream):
        assert relay.feed(block) is block


DECIDED = {
    *("message_start", "message_delta", "message_stop", "error"),
    *("response.completed", "response.failed", "response.incomplete"),
}
"""The types of events that each says something of its own."""


@pytest.mark.skipif(not recorded_of_all(), reason="no recorded streams are given")
def test_only_events_that_say_something_are_decoded(scanner: str, observed: list[bytes]) -> None:
    kinds: dict[str, set[Any]] = {}
    for _ in ("to learn", "to know"):
        observed.clear()
        for stream in recorded_of_all():
            before = len(observed)
            relayed(blocks_of(stream), Relay(family_of(stream), model=ALIAS))
            found = [parsed(b"data: %b\n\n" % data).get("type") for data in observed[before:]]
            kinds.setdefault(family_name(stream), set()).update(found)
        decided, kinds = kinds, {}
    assert decided["completions"] == set()
    if scanner == "compiled":
        assert decided["messages"] <= DECIDED
        assert decided["responses"] <= {*DECIDED, None}


# --- the model ----------------------------------------------------------------------------------

MODELS = {"completions": "/model", "messages": "/message/model", "responses": "/response/model"}


def restamped(block: bytes, pointer: str) -> bytes:
    """Change the model in a block's event, if it has one."""
    value: Any = parsed(block)
    for key in pointer[1:].split("/"):
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return block
    return with_data(block, edit(parse_block(block).data or b"", {pointer: ALIAS}))


@every_stream
def test_the_model_is_changed_where_it_stands_and_nowhere_else(stream: Path) -> None:
    found = blocks_of(stream)
    raw = b"".join(found)
    wanted = b"".join(restamped(block, MODELS[family_name(stream)]) for block in found)
    exact = exact_relay(family=family_of(stream))
    relayed([raw], exact)
    for size in (1, 1021, len(raw)):
        relay = Relay(family_of(stream), model=ALIAS)
        assert relayed(cut(raw, size), relay) == wanted
        assert state(relay) == state(exact)


# --- on_chunk -----------------------------------------------------------------------------------


def texts_in(chunk: Any) -> list[tuple[Any, str]]:
    """List the objects in an event that have a text, each with its attribute."""
    holders = getattr(chunk, "choices", None) or [getattr(chunk, "delta", None), chunk]
    return [
        (holder, name)
        for holder in holders
        for name in ("text", "thinking", "delta")
        if isinstance(getattr(holder, name, None), str)
    ]


def shout(chunk: Any) -> Any:
    for holder, name in texts_in(chunk):
        setattr(holder, name, getattr(holder, name).upper())
    return chunk


PLACES = ("text", "delta", "delta/text", "delta/thinking", "choices/0/text")
KEPT_WHOLE = "response.shell_call"
"""How the types of those recorded deltas begin that have no Struct."""


def shouted(block: bytes) -> bytes:
    """Do to a block what `shout` does, by its JSON."""
    changes = {}
    for place in PLACES:
        value: Any = parsed(block)
        if value.get("type", "").startswith(KEPT_WHOLE):
            return block
        for key in place.split("/"):
            if isinstance(value, list):
                value = value[int(key)] if value else None
            else:
                value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            changes[f"/{place}"] = value.upper()
    return with_data(block, edit(parse_block(block).data or b"", changes)) if changes else block


@every_stream
def test_on_chunk_that_changes_nothing_sees_each_chunk(stream: Path) -> None:
    family = family_of(stream)
    seen: list[Any] = []
    relay = Relay(family, on_chunk=seen.append)
    for block in blocks_of(stream):
        assert relay.feed(block) is block
    relay.close()
    assert len(seen) == relay.chunks
    for block in blocks_of(stream):
        value = parsed(block)
        if value.get("type") != "error" and ("type" in value or "choices" in value):
            assert encode(family.decode(parse_block(block).data)) == encode(seen.pop(0))
    assert seen == []


@every_stream
def test_on_chunk_changes_what_it_changes_and_nothing_else(stream: Path) -> None:
    found = blocks_of(stream)
    raw = b"".join(found)
    for size in (1021, len(raw)):
        relay = Relay(family_of(stream), on_chunk=shout)
        assert relayed(cut(raw, size), relay) == b"".join(map(shouted, found))


@every_stream
def test_on_chunk_drops(stream: Path) -> None:
    found = blocks_of(stream)
    relay = Relay(family_of(stream), on_chunk=lambda chunk: DROP if texts_in(chunk) else None)
    left = list(blocks(relayed([b"".join(found)], relay)))
    decode = family_of(stream).decode
    assert left == [
        block
        for block in found
        if not parsed(block) or not texts_in(decode(parse_block(block).data))
    ]


# --- text rules ---------------------------------------------------------------------------------


def needles_of(found: list[bytes]) -> list[str]:
    """Choose a few strings that an answer's real cuts go through."""
    events = map(parsed, found)
    harmless = [one for one in across_cuts(events) if not set(one) & set('"\\{}[]:,0123456789')]
    return sorted(set(random.Random(7).sample(harmless, min(4, len(harmless)))))


@every_stream
def test_text_rules_hit_across_real_cuts(stream: Path) -> None:
    hits = 0
    for found in answers_in(stream):
        needles = needles_of(found)
        if not needles:
            continue
        pattern = re.compile("|".join(map(re.escape, needles)))
        rule = text.Replace(pattern, "Q", channels=CHANNELS)
        relay = Relay(family_of(stream), text=[rule])
        left = [list(blocks(relay.feed(block))) for block in found]
        left.append(list(blocks(relay.close())))
        came, leaving = [*map(parsed, found)], [parsed(one) for some in left for one in some]
        wanted = {voice: pattern.sub("Q", said) for voice, said in joined(came).items()}
        assert joined(leaving) == {voice: said for voice, said in wanted.items() if said}
        hits += wanted != joined(came)
        for block, event, some in zip(found, came, left, strict=False):
            check_one(block, event, some, pattern)
        for some in left:
            check_made(some, family_name(stream))
        whole = Relay(family_of(stream), text=[rule])
        assert relayed([b"".join(found)], whole) == b"".join(b"".join(some) for some in left)
        assert state(whole) == state(relay)
        plain = Relay(family_of(stream))
        plain.feed(b"".join(found))
        assert relay.invalid == plain.invalid
    assert hits or not any(map(needles_of, answers_in(stream)))


def check_one(
    block: bytes, event: dict[str, Any], left: list[bytes], pattern: re.Pattern[str]
) -> None:
    """Check that in an event nothing but its texts has changed, and what spells them out."""
    own = parsed(left[-1])
    changed = list(differences(event, own))
    if not changed:
        assert left[-1] == block
    spelled = {said for said in spelled_out(event) if pattern.search(said)}
    assert not spelled & set(spelled_out(own))
    pieces = [said for _, said in pieces_of(event)]
    for place, before, after in changed:
        if place[-1] in ("obfuscation", "logprobs"):
            assert not after
        elif before not in pieces:
            assert after == pattern.sub("Q", before)


def check_made(left: list[bytes], family: str) -> None:
    """Check that every event that was made says its type."""
    for block in left[:-1]:
        kind = "message" if family == "completions" else parsed(block)["type"]
        assert parse_block(block).event == kind


@every_stream
def test_rules_that_nothing_matches_leave_the_very_objects_that_came(stream: Path) -> None:
    relay = Relay(family_of(stream), text=[text.Replace("\0", "", channels=CHANNELS)])
    for block in blocks_of(stream):
        assert relay.feed(block) is block
    assert relay.close() == b""


@every_stream
def test_text_rules_at_awkward_cuts(stream: Path) -> None:
    for found in answers_in(stream):
        rules = [text.Replace(needles_of(found) or ["e"], "Q"), text.Replace("a", "")]
        whole = b"".join(found)
        for raw, sizes in ((whole, (1021, len(whole))), (whole[:BEGINNING], (1, 3, BEGINNING))):
            outs = {
                relayed(cut(raw, size), Relay(family_of(stream), text=rules, model=ALIAS))
                for size in sizes
            }
            assert len(outs) == 1


@every_stream
def test_text_rules_go_on_with_the_next_answer(stream: Path) -> None:
    rules = [text.Replace(["e t", "in", "a"], "Q", channels=CHANNELS)]
    alone = [relayed(found, Relay(family_of(stream), text=rules)) for found in answers_in(stream)]
    assert relayed(blocks_of(stream), Relay(family_of(stream), text=rules)) == b"".join(alone)
