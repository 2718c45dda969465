"""Text rules in the relay: the law, what leaves untouched, and attempts to get text past them."""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from types import FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastchunk import DROP, InvalidChunk, Relay, encode, messages, wire
from fastchunk.dialect import Text
from fastchunk.dialects import dialect_of
from fastchunk.edit import without_duplicates
from fastchunk.rewrite import Rewriter
from fastchunk.scan import Tally
from fastchunk.text import Replace, Rule, Rules, Split, Stop
from tests.chat_streams import (
    DONE,
    Said,
    Texts,
    chunk,
    events,
    finishing,
    reasons,
    saying,
    stream,
    texts,
)
from tests.streams import recorded
from tests.text_cases import cut_off, replaced, split, string_spans

pytestmark = pytest.mark.usefixtures("scanner")

CARD = "4111 1111"
RULES: list[Rule] = [Replace(CARD, "[card]")]
ALL = ("content", "reasoning", "refusal", "arguments")


def relayed(raw: bytes, **options: Any) -> tuple[bytes, Relay]:
    """Relay a stream in one read."""
    relay = Relay(**options)
    out = relay.feed(raw)
    return out + relay.close(), relay


def by_event(raw: bytes, **options: Any) -> tuple[list[bytes], Relay]:
    """Relay a stream event by event; list what leaves with each, and at the end."""
    relay = Relay(**options)
    end = b"\r\n\r\n" if b"\r" in raw else b"\n\n"
    fed = [relay.feed(block + end) for block in raw.split(end)[:-1]]
    return [*fed, relay.close()], relay


# --- the law ------------------------------------------------------------------------------------


class Late:
    """A rule of a user's own: capitals, each a character late, and a mark at the end."""

    def __init__(self) -> None:
        self._last = ""

    def feed(self, piece: str) -> str:
        text = self._last + piece.upper()
        self._last = text[-1:]
        return text[:-1]

    def close(self) -> str:
        return self._last + "!"


class Appending:
    """One that changes nothing before the end."""

    def feed(self, piece: str) -> str:
        return piece

    def close(self) -> str:
        return "?"


Naive = Callable[[dict[str, str]], dict[str, str]]


def naively(rule: Rule, names: Iterable[str], change: Callable[[str], str]) -> tuple[Rule, Naive]:
    """Pair a rule with what it does to whole texts, told naively."""

    def apply(said: dict[str, str]) -> dict[str, str]:
        return {
            name: change(text) if name.split()[0] in names and text else text
            for name, text in said.items()
        }

    return rule, apply


def _split(said: dict[str, str]) -> dict[str, str]:
    content, reasoning = split(said.get("content", ""), "<", ">")
    return {**said, "content": content, "reasoning": said.get("reasoning", "") + reasoning}


PROSE = ("content", "reasoning", "refusal")
RUN = re.compile("a{1,3}b|😀(?=a)")
ONES = [
    naively(Replace("ab", "X"), PROSE, lambda t: t.replace("ab", "X")),
    naively(
        Replace(["ab", "abb", "ba"], "b", channels=ALL),
        ALL,
        lambda t: replaced(t, string_spans(["ab", "abb", "ba"])(t), "b"),
    ),
    naively(Replace(RUN, r"[\g<0>]"), PROSE, lambda t: RUN.sub(r"[\g<0>]", t)),
    naively(
        Replace("bé", "", channels=["refusal", "arguments"]),
        ("refusal", "arguments"),
        lambda t: t.replace("bé", ""),
    ),
    naively(Late, PROSE, lambda t: t.upper() + "!"),
    naively(Appending, PROSE, lambda t: t + "?"),
]
SPLIT = (Split("<", ">"), _split)
STOPS = [
    naively(Stop("bb"), ("content",), lambda t: cut_off(t, ["bb"])),
    naively(
        Stop("abé", "ba", finish_reason="x"), ("content",), lambda t: cut_off(t, ["abé", "ba"])
    ),
]

pieces = st.text("aab<>bé😀", max_size=4)
names = st.sampled_from(["content", "reasoning_content", "refusal", "arguments 0", "arguments 1"])
said = st.lists(st.builds(Said, st.integers(0, 1), names, pieces), max_size=14)
OTHERS = [
    ": keep-alive",
    chunk(),
    chunk(usage={"prompt_tokens": 1}),
    '{"type":"ping"}',
    "{no JSON",
    chunk({"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}),
]


@st.composite
def streams(draw: st.DrawFn, given_said: list[Said]) -> bytes:
    """Write what is said into a stream, in events with others between them."""
    datas = []
    ends = {each.choice: position for position, each in enumerate(given_said)}
    for position, each in enumerate(given_said):
        datas += draw(st.lists(st.sampled_from(OTHERS), max_size=1))
        is_end = ends[each.choice] == position
        kind = draw(st.sampled_from(["in it", "after it", "never"])) if is_end else "never"
        datas.append(saying(*each, "length" if kind == "in it" else None))
        if kind == "after it":
            datas.append(finishing(each.choice, "length"))
    datas += draw(st.sampled_from([[], [DONE], [OTHERS[2], DONE]]))
    raw = stream(*datas, end=draw(st.sampled_from(["\n", "\r\n"])))
    return raw if draw(st.booleans()) or b"\xf0" in raw else raw.replace(b"\xc3\xa9", b"\\u00e9")


def whole_texts(given_said: Iterable[Said]) -> dict[int, dict[str, str]]:
    """Join what each choice says."""
    found: dict[int, dict[str, str]] = {}
    for choice, given_name, piece in given_said:
        name = given_name.removesuffix("_content")
        voice = found.setdefault(choice, {})
        voice[name] = voice.get(name, "") + piece
    return found


def flat(whole: dict[int, dict[str, str]]) -> Texts:
    found: Texts = {}
    for choice, voice in whole.items():
        for name, text in voice.items():
            kind, *index = name.split()
            if text:
                found[(choice, kind, *map(int, index))] = text
    return found


def ruled(given_said: Iterable[Said], rules: Iterable[tuple[Rule, Naive]]) -> Texts:
    """Apply rules naively to what each choice says."""
    whole = whole_texts(given_said)
    for _, apply in rules:
        whole = {choice: apply(voice) for choice, voice in whole.items()}
    return flat(whole)


@given(st.data(), said, st.lists(st.sampled_from(ONES), max_size=3))
def test_the_output_is_the_rule_applied_to_the_whole_text(
    data: st.DataObject, given_said: list[Said], rules: list[tuple[Rule, Naive]]
) -> None:
    raw = data.draw(streams(given_said))
    out, relay = relayed(raw, text=[rule for rule, _ in rules])
    assert texts(out) == ruled(given_said, rules)
    assert reasons(out) == reasons(raw) == relay.finish_reasons
    if not rules:
        assert out == raw


@given(st.data(), said, st.lists(st.sampled_from(ONES), max_size=2))
def test_what_is_split_is_reasoning(
    data: st.DataObject, given_said: list[Said], rules: list[tuple[Rule, Naive]]
) -> None:
    given_said = [each for each in given_said if each.name != "reasoning_content"]
    raw = data.draw(streams(given_said))
    every = [SPLIT, *rules] if data.draw(st.booleans()) else [*rules[:1], SPLIT]
    out, _ = relayed(raw, text=[rule for rule, _ in every])
    assert texts(out) == ruled(given_said, every)


@given(st.data(), said, st.lists(st.sampled_from(ONES), max_size=1), st.sampled_from(STOPS))
def test_nothing_of_a_choice_comes_after_its_stop(
    data: st.DataObject,
    given_said: list[Said],
    rules: list[tuple[Rule, Naive]],
    stop: tuple[Rule, Naive],
) -> None:
    raw = data.draw(streams(given_said))
    every = [*rules, stop] if data.draw(st.booleans()) else [stop, *rules]
    out, relay = relayed(raw, text=[rule for rule, _ in every])
    expected = ruled(given_said, every)
    found = texts(out)
    for (choice, name, *_), text in expected.items():
        if name == "content":
            assert found.get((choice, name), "") == text
    stopped = {
        choice
        for choice, voice in whole_texts(given_said).items()
        if _reads_stop(voice.get("content", ""), every)
    }
    assert {c for c, reason in reasons(out).items() if reason != "length"} == stopped
    assert reasons(out) == relay.finish_reasons
    for place, text in expected.items():
        if place[0] not in stopped:
            assert found.get(place) == text
    _nothing_after(out, stopped)


def _reads_stop(content: str, rules: list[tuple[Rule, Naive]]) -> bool:
    said = {"content": content}
    for rule, apply in rules:
        before, said = said, apply(said)
        if isinstance(rule, Stop):
            return said != before
    raise AssertionError


def _nothing_after(out: bytes, stopped: Iterable[int]) -> None:
    said = [c for event in events(out) if isinstance(event, dict) for c in event.get("choices", ())]
    for choice in stopped:
        own = [c for c in said if c["index"] == choice]
        assert [c for c in own if c["finish_reason"]] == own[-1:]


@settings(max_examples=60)
@given(st.data(), said, st.lists(st.sampled_from([*ONES, SPLIT, *STOPS]), max_size=3))
def test_the_output_does_not_depend_on_reads(
    data: st.DataObject, given_said: list[Said], rules: list[tuple[Rule, Naive]]
) -> None:
    raw = data.draw(streams(given_said))
    options: dict[str, Any] = {"text": [rule for rule, _ in rules]}
    expected, whole = relayed(raw, **options)
    size = data.draw(st.integers(1, 60))
    relay = Relay(**options)
    out = []
    for begin in range(0, len(raw), size):
        out.append(relay.feed(raw[begin : begin + size]))
        events(b"".join(out))  # whole blocks only
    assert b"".join([*out, relay.close()]) == expected
    assert state(relay) == state(whole)


def state(relay: Relay) -> tuple[Any, ...]:
    return (
        *(relay.events, relay.chunks, relay.invalid, relay.done, relay.truncated, relay.error),
        *(relay.usage, relay.finish_reasons, relay.stopped),
    )


# --- an attacker's table ------------------------------------------------------------------------


def said_in(choice: int = 0, **said: Any) -> str:
    """Write the data of a chunk with a delta of any shape."""
    return chunk({"index": choice, "delta": said, "finish_reason": None})


def beside(**others: Any) -> str:
    """Write the data of a chunk with an empty delta, and texts beside it."""
    return chunk({"index": 0, "delta": {}, "finish_reason": None, **others})


def called(number: int, piece: Any, kind: str = "function", key: str = "arguments") -> str:
    return said_in(tool_calls=[{"index": number, kind: {key: piece}}])


def parts(*pieces: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": piece} for piece in pieces]


def thinking(*pieces: str) -> dict[str, Any]:
    return {"content": [{"type": "thinking", "thinking": parts(*pieces)}]}


def details(*pieces: str) -> list[dict[str, Any]]:
    return [{"type": "reasoning.text", "text": piece, "index": 0} for piece in pieces]


def escaped(data: str) -> str:
    """Spell every digit with an escape."""
    return re.sub(r"\d(?=[\d ]*\")", lambda match: f"\\u{ord(match[0]):04x}", data)


BEFORE, AFTER = "no. 4111", " 1111."
ATTACKS: dict[str, list[str]] = {
    "content": [said_in(content=BEFORE), said_in(content=AFTER)],
    "in-one-event": [said_in(content=BEFORE + AFTER)],
    "comments-between": [said_in(content=BEFORE), ": 4111", said_in(content=AFTER)],
    "other-events-between": [said_in(content=BEFORE), '{"type":"ping"}', said_in(content=AFTER)],
    "usage-between": [said_in(content=BEFORE), chunk(usage={}), said_in(content=AFTER)],
    "empty-pieces-between": [
        said_in(content=BEFORE),
        said_in(content=""),
        said_in(content=None),
        said_in(content=AFTER),
    ],
    "escapes": [escaped(said_in(content=BEFORE)), escaped(said_in(content=AFTER))],
    "with-the-finish-reason": [said_in(content=BEFORE), saying(0, "content", AFTER, "stop")],
    "after-the-finish-reason": [finishing(0), said_in(content=BEFORE), said_in(content=AFTER)],
    "an-undecodable-event-between": [said_in(content=BEFORE), "{", said_in(content=AFTER)],
    "reasoning": [said_in(reasoning=BEFORE), said_in(reasoning=AFTER)],
    "reasoning-content": [said_in(reasoning_content=BEFORE), said_in(reasoning_content=AFTER)],
    "reasoning-changes-its-name": [said_in(reasoning=BEFORE), said_in(reasoning_content=AFTER)],
    "reasoning-twice": [
        said_in(reasoning=BEFORE, reasoning_content=BEFORE),
        said_in(reasoning=AFTER, reasoning_content=AFTER),
    ],
    "two-reasonings": [
        said_in(reasoning="Hm", reasoning_content=BEFORE),
        said_in(reasoning="!", reasoning_content=AFTER),
    ],
    "reasoning-is-an-object": [
        said_in(reasoning_content={"text": BEFORE}),
        said_in(reasoning_content={"text": AFTER}),
    ],
    "details": [said_in(reasoning_details=details(p)) for p in (BEFORE, AFTER)],
    "details-in-one-event": [said_in(reasoning_details=details(BEFORE, AFTER))],
    "details-are-a-copy": [
        said_in(reasoning=p, reasoning_details=details(p)) for p in (BEFORE, AFTER)
    ],
    "details-are-no-copy": [
        said_in(reasoning="Hm", reasoning_details=details(p)) for p in (BEFORE, AFTER)
    ],
    "details-are-a-summary": [
        said_in(reasoning_details=[{"type": "reasoning.summary", "summary": p}])
        for p in (BEFORE, AFTER)
    ],
    "refusal": [said_in(refusal=BEFORE), said_in(refusal=AFTER)],
    "arguments": [called(0, BEFORE), called(0, AFTER)],
    "arguments-are-an-object": [called(0, {"a": [BEFORE + AFTER], "n": 1})],
    "function-call": [said_in(function_call={"arguments": p}) for p in (BEFORE, AFTER)],
    "custom-tool": [called(0, p, "custom", "input") for p in (BEFORE, AFTER)],
    "custom-tool-with-an-object": [called(0, {"a": BEFORE + AFTER}, "custom", "input")],
    "parts": [said_in(content=parts(BEFORE)), said_in(content=parts(AFTER))],
    "parts-of-one-event": [said_in(content=parts(BEFORE, AFTER))],
    "parts-then-a-text": [said_in(content=parts(BEFORE)), said_in(content=AFTER)],
    "a-part-is-a-refusal": [
        said_in(content=[{"type": "refusal", "refusal": p}]) for p in (BEFORE, AFTER)
    ],
    "thinking": [said_in(**thinking(BEFORE)), said_in(**thinking(AFTER))],
    "thinking-is-a-text": [
        said_in(content=[{"type": "thinking", "thinking": p}]) for p in (BEFORE, AFTER)
    ],
    "transcript": [said_in(audio={"transcript": p, "data": "00"}) for p in (BEFORE, AFTER)],
    "text": [beside(text=BEFORE), beside(text=AFTER)],
    "text-is-a-copy": [
        chunk({"index": 0, "delta": {"content": p}, "text": p}) for p in (BEFORE, AFTER)
    ],
    "text-is-no-copy": [
        chunk({"index": 0, "delta": {"content": "Hm"}, "text": p}) for p in (BEFORE, AFTER)
    ],
    "message": [beside(message={"content": BEFORE + AFTER})],
    "message-of-parts": [beside(message={"content": parts(BEFORE, AFTER)})],
    "message-reasoning": [
        beside(message={"reasoning": BEFORE + AFTER, "reasoning_content": BEFORE + AFTER})
    ],
    "message-details": [beside(message={"reasoning_details": details(BEFORE, AFTER)})],
    "message-details-are-a-copy": [
        beside(message={"reasoning": BEFORE + AFTER, "reasoning_details": details(BEFORE, AFTER)})
    ],
    "message-refusal": [beside(message={"refusal": BEFORE + AFTER})],
    "message-arguments": [
        beside(message={"tool_calls": [{"id": "t", "function": {"arguments": BEFORE + AFTER}}]})
    ],
    "message-custom": [
        beside(message={"tool_calls": [{"id": "t", "custom": {"input": BEFORE + AFTER}}]})
    ],
    "message-function-call": [beside(message={"function_call": {"arguments": BEFORE + AFTER}})],
    "message-transcript": [beside(message={"audio": {"transcript": BEFORE + AFTER}})],
    "message-beside-a-delta": [
        chunk({"index": 0, "delta": {"content": p}, "message": {"content": said}})
        for p, said in ((BEFORE, BEFORE), (AFTER, BEFORE + AFTER))
    ],
    "message-is-a-copy": [
        chunk({"index": 0, "delta": {"content": p}, "message": {"content": p, "refusal": None}})
        for p in (BEFORE, AFTER)
    ],
    "no-index": [chunk({"delta": {"content": p}}) for p in (BEFORE, AFTER)],
    "an-index-is-a-string": [
        chunk({"index": "0", "delta": {"content": p}}) for p in (BEFORE, AFTER)
    ],
    "twice-one-choice": [
        chunk({"index": 0, "delta": {"content": BEFORE}}, {"index": 0, "delta": {"content": AFTER}})
    ],
    "a-call-without-index": [
        said_in(tool_calls=[{"function": {"arguments": p}}]) for p in (BEFORE, AFTER)
    ],
    "with-an-error": [
        saying(0, "content", BEFORE),
        saying(0, "content", AFTER, error={"message": "overloaded"}),
    ],
    "after-an-error": ['{"error":{}}', said_in(content=BEFORE), said_in(content=AFTER)],
    "after-done": [DONE, said_in(content=BEFORE), said_in(content=AFTER)],
    # The key comes twice, and one client reads the first one, another the last.
    "content-twice": ['{"choices":[{"delta":{"content":"4111 1111","content":"x"}}]}'],
    "content-twice-the-last": ['{"choices":[{"delta":{"content":"x","content":"4111 1111"}}]}'],
    "content-twice-one-null": ['{"choices":[{"delta":{"content":"4111 1111","content":null}}]}'],
    "content-escaped": ['{"choices":[{"delta":{"cont\\u0065nt":"4111 1111"}}]}'],
    "content-twice-one-escaped": [
        '{"choices":[{"delta":{"cont\\u0065nt":"4111 1111","content":"x"}}]}'
    ],
    "delta-twice": ['{"choices":[{"delta":{"content":"4111 1111"},"delta":{}}]}'],
    "delta-twice-one-escaped": ['{"choices":[{"d\\u0065lta":{"content":"4111 1111"},"delta":{}}]}'],
    "choices-twice": ['{"choices":[{"delta":{"content":"4111 1111"}}],"choices":[]}'],
    "index-twice": [
        '{"choices":[{"index":1,"index":0,"delta":{"content":"4111"}}]}',
        '{"choices":[{"index":0,"index":1,"delta":{"content":"x"}}]}',
        '{"choices":[{"index":0,"delta":{"content":" 1111"}}]}',
    ],
    "tool-calls-twice": [
        '{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"4111 1111"}}],'
        '"tool_calls":[]}}]}'
    ],
    "function-twice": [
        '{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"4111 1111"},'
        '"function":{}}]}}]}'
    ],
    "custom-twice": [
        '{"choices":[{"delta":{"tool_calls":[{"index":0,"custom":{"input":"4111 1111"},'
        '"custom":{}}]}}]}'
    ],
    "custom-input-twice": [
        '{"choices":[{"delta":{"tool_calls":[{"index":0,"custom":{"input":"4111 1111",'
        '"input":"x"}}]}}]}'
    ],
    "details-twice": [
        '{"choices":[{"delta":{"reasoning_details":[{"text":"4111 1111","text":"x"}]}}]}'
    ],
    "audio-twice": ['{"choices":[{"delta":{"audio":{"transcript":"4111 1111","transcript":""}}}]}'],
    "part-twice": ['{"choices":[{"delta":{"content":[{"text":"4111 1111","text":"x"}]}}]}'],
    "thinking-twice": [
        '{"choices":[{"delta":{"content":[{"thinking":"4111 1111","thinking":"x"}]}}]}'
    ],
    "message-twice": ['{"choices":[{"message":{"content":"4111 1111","content":"x"}}]}'],
    "text-twice": ['{"choices":[{"text":"4111 1111","text":"x"}]}'],
    "an-arguments-object-twice": [
        '{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":{"a":"4111 1111","a":""}}}]}}'
        "]}"
    ],
    "logprobs": [
        chunk({"index": 0, "delta": {"content": p}, "logprobs": {"content": [{"token": p}]}})
        for p in (BEFORE, AFTER)
    ],
    "token-ids": [
        chunk({"index": 0, "delta": {"content": p, "token_id": 7}, "token_ids": [4111]})
        for p in (BEFORE, AFTER)
    ],
    "paddings": [saying(0, "content", p, obfuscation=p, p=p) for p in (BEFORE, AFTER)],
}
REWRITTEN: list[Rule] = [Replace(CARD, "[card]", channels=ALL)]


def leaves(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """List the strings in an event with the way to each, whatever its position."""
    if isinstance(value, str):
        yield way, value
    elif isinstance(value, list):
        for position, item in enumerate(value):
            index = item.get("index", position) if isinstance(item, dict) else position
            yield from leaves(item, (*way, index if way[-1:] != ("content",) else 0))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*way, key))


def readable(out: bytes) -> set[str]:
    """List what a client can read: each string, and those in one place joined."""
    joined: dict[tuple[Any, ...], str] = {}
    for event in events(out):
        for way, text in leaves(event):
            joined[way] = joined.get(way, "") + text
    return {*joined.values(), *map(str, texts(out).values())}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_no_text_gets_past_a_rule(name: str, end: str) -> None:
    raw = stream(*ATTACKS[name], finishing(0), DONE, end=end)
    out, relay = relayed(raw, text=REWRITTEN)
    assert not [text for text in readable(out) if CARD in text], out
    assert relay.invalid == (name == "an-undecodable-event-between")
    assert "[card]" in " ".join(readable(out)) or "-twice" in name
    assert b"".join(by_event(raw, text=REWRITTEN)[0]) == out


# --- recorded streams ---------------------------------------------------------------------------

RECORDED = {path.stem: path.read_bytes() for path in recorded()}
_TEXT = re.compile(rb'("(?:content|reasoning|reasoning_content|refusal)":\s*)"(?:[^"\\]|\\.)*"')


def cut_strings(raw: bytes) -> list[str]:
    """List strings that the stream's deltas cut: the end of one and the beginning of the next."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for event in events(raw):
        for place, piece in texts(stream(json.dumps(event))).items():
            found.setdefault(place, []).append(piece)
    return [
        before[-2:] + after[:2] for pieces in found.values() for before, after in pairwise(pieces)
    ]


def whole_blocks(raw: bytes) -> list[bytes]:
    """Cut a stream into its blocks, each up to its empty line; an unfinished one is left out."""
    return re.findall(rb"(?:[^\r\n]+(?:\r\n|\n))*(?:\r\n|\n)", raw)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_stream_that_no_rule_concerns_leaves_as_it_came(name: str) -> None:
    blocks = whole_blocks(RECORDED[name])
    raw = b"".join(blocks)
    rules = [Replace(["\0", "\1\2"], "x", channels=ALL), Replace(re.compile("\0{1,9}"), "")]
    assert relayed(raw, text=[*rules, Stop("\0"), Split("\0", "\1")])[0] == raw
    relay = Relay(text=rules)
    left = [relay.feed(block) for block in blocks]
    assert left == blocks
    assert sum(out is block for out, block in zip(left[1:], blocks[1:], strict=True)) >= sum(
        block.startswith(b"data: ") and block.count(b"\n") == 2 for block in blocks[1:]
    )


@pytest.mark.parametrize("name", RECORDED)
def test_what_recorded_deltas_cut_is_found(name: str) -> None:
    raw = b"".join(whole_blocks(RECORDED[name]))
    strings = cut_strings(raw)
    for string in strings[:: max(len(strings) // 3, 1)][:4]:
        rules = [Replace(string, "[cut]", channels=ALL)]
        out = relayed(raw, text=rules)[0]
        assert texts(out) == {
            place: text.replace(string, "[cut]") for place, text in texts(raw).items()
        }
        assert "[cut]" in "".join(texts(out).values())


@pytest.mark.parametrize("name", RECORDED)
def test_whatever_is_no_text_of_a_recorded_stream_is_as_it_came(name: str) -> None:
    blocks = whole_blocks(RECORDED[name])
    strings = cut_strings(b"".join(blocks)) or ["nothing"]
    relay = Relay(text=[Replace(strings[len(strings) // 2], "[cut]")])
    for block in blocks:
        out = relay.feed(block)
        if out != block:
            left, came = whole_blocks(out)[-1], block
            if _COPIED.search(block):
                assert _members(left) == _members(came)
            else:
                assert _TEXT.sub(rb'\1""', left) == _TEXT.sub(rb'\1""', came)
    assert relay.close() == b""


_COPIES = ("logprobs", "obfuscation", "p", "text", "token_id", "reasoning_details")
_CHANGED = ("content", "reasoning", "reasoning_content", "refusal", "thinking", *_COPIES)
_COPIED = re.compile(rb'"(?:logprobs":\{|(?:obfuscation|p|text|message|reasoning_details)":)')


def _members(block: bytes) -> Any:
    """List what a block says but for its texts: in order, with numbers as they are spelled."""
    data = block[block.index(b"{") :]
    return _but_texts(json.loads(data, parse_int=str, parse_float=str, object_pairs_hook=tuple))


def _but_texts(value: Any) -> Any:
    if isinstance(value, tuple):
        return [(key, _but_texts(item)) for key, item in value if key not in _CHANGED]
    return [_but_texts(item) for item in value] if isinstance(value, list) else value


# --- in what, and when --------------------------------------------------------------------------


def test_what_is_held_leaves_with_the_next_piece_and_silence_is_an_empty_text() -> None:
    raw = stream(*(saying(0, "content", piece) for piece in ("a 41", "11", " 22", " b")))
    left, _ = by_event(raw, text=RULES)
    assert [texts(out).get((0, "content"), "") for out in left] == ["a ", "", "4111 22", " b", ""]
    assert [len(events(out)) for out in left] == [1, 1, 1, 1, 0]


def test_what_is_held_leaves_before_the_finish_reason_in_an_event_like_its_own() -> None:
    held = saying(0, "content", "no. 4", usage={"prompt_tokens": 1}, x=1e400, created=7)
    raw = stream(held.replace("Infinity", "1.50"), chunk(), finishing(0), DONE)
    left, _ = by_event(raw, text=RULES)
    made, finish = left[2].split(b"\n\n", 1)
    assert made == (
        b'data: {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": '
        b'[{"index":0,"delta":{"content":"4"},"finish_reason":null}], "x": 1.50, "created": 7}'
    )
    assert finish == stream(finishing(0))


def test_what_is_held_leaves_in_the_event_that_has_the_finish_reason_and_a_text() -> None:
    raw = stream(saying(0, "content", "no. 4"), saying(0, "content", "11", "stop"))
    assert events(by_event(raw, text=RULES)[0][1]) == events(
        stream(saying(0, "content", "411", "stop"))
    )


def test_of_two_channels_each_gets_what_was_held_of_it() -> None:
    raw = stream(
        said_in(content="4", reasoning="41"),
        said_in(refusal="411"),
        chunk({"index": 0, "delta": {"reasoning": "11 1"}, "finish_reason": "stop"}),
    )
    out, _ = relayed(raw, text=RULES)
    assert texts(out) == {
        (0, "content"): "4",
        (0, "reasoning"): "4111 1",
        (0, "refusal"): "411",
    }
    assert events(out)[-1]["choices"][0]["finish_reason"] == "stop"
    assert [list(event["choices"][0]["delta"]) for event in events(out)][2:] == [
        ["reasoning", "content", "refusal"]
    ]


LIKE_THEIR_OWN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"content": "4"}, {"content": "4"}),
    ({"content": parts("4")}, {"content": "4"}),
    (
        thinking("4"),
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "4"}]}]},
    ),
    ({"reasoning": "4"}, {"reasoning": "4"}),
    ({"reasoning_content": "4"}, {"reasoning_content": "4"}),
    ({"reasoning": "4", "reasoning_content": "4"}, {"reasoning": "4", "reasoning_content": "4"}),
    ({"reasoning_content": {"text": "4"}}, {"reasoning_content": "4"}),
    ({"reasoning_details": details("4")}, {"reasoning_content": "4"}),
    ({"refusal": "4"}, {"refusal": "4"}),
    ({"audio": {"transcript": "4"}}, {"audio": {"transcript": "4"}}),
    ({"function_call": {"name": "f", "arguments": "4"}}, {"function_call": {"arguments": "4"}}),
    (
        {"tool_calls": [{"index": 3, "id": "t", "function": {"name": "f", "arguments": "4"}}]},
        {"tool_calls": [{"index": 3, "function": {"arguments": "4"}}]},
    ),
    (
        {"tool_calls": [{"index": 3, "id": "t", "custom": {"name": "f", "input": "4"}}]},
        {"tool_calls": [{"index": 3, "custom": {"input": "4"}}]},
    ),
]


@pytest.mark.parametrize(("delta", "made"), LIKE_THEIR_OWN)
def test_an_event_that_is_made_has_its_text_where_the_last_one_had_it(
    delta: dict[str, Any], made: dict[str, Any]
) -> None:
    out, _ = relayed(stream(said_in(2, **delta), finishing(2)), text=REWRITTEN)
    assert [event["choices"] for event in events(out)[1:]] == [
        [{"index": 2, "delta": made, "finish_reason": None}],
        [{"index": 2, "delta": {}, "finish_reason": "stop"}],
    ]


def test_a_text_beside_a_delta_is_made_beside_one() -> None:
    out, _ = relayed(stream(beside(text="4"), finishing(0)), text=REWRITTEN)
    assert events(out)[1]["choices"] == [
        {"index": 0, "delta": {}, "finish_reason": None, "text": "4"}
    ]


COPIES: dict[str, dict[str, Any]] = {
    "logprobs": {"logprobs": {"content": [{"token": "4", "bytes": [52]}]}},
    "token_ids": {"token_ids": [52]},
}


@pytest.mark.parametrize("key", COPIES)
@pytest.mark.parametrize("piece", ["4", "no. 4", CARD])
def test_what_spells_out_a_text_that_is_held_or_changed_is_removed(key: str, piece: str) -> None:
    def said(text: str) -> str:
        return chunk({"index": 0, "delta": {"content": text}, **COPIES[key]})

    raw = stream(said("a"), said("b"), said(piece), said("x"), said("y"))
    left = [json.loads(out[6:]) for out in by_event(raw, text=RULES)[0][:-1]]
    has_copies = [key in event["choices"][0] for event in left]
    assert has_copies == [True, True, False, piece == CARD, True]


@pytest.mark.parametrize("pieces", [["4", "4", "4111 1111"], ["no", "4", "x"], ["44", "4", "4"]])
def test_a_padding_is_gone_from_what_is_held_or_changed(pieces: list[str]) -> None:
    paddings = {"obfuscation": "Yx8", "p": "abc"}
    raw = stream(*(saying(0, "content", piece, **paddings) for piece in ["a", "b", *pieces]))
    for out, block in zip(by_event(raw, text=RULES)[0], raw.split(b"\n\n"), strict=False):
        assert out == block + b"\n\n" or (b"Yx8" not in out and b"abc" not in out)
    assert CARD not in "".join(texts(relayed(raw, text=RULES)[0]).values())


def test_a_character_that_is_held_is_not_taken_for_the_one_before_it() -> None:
    raw = stream(*(saying(0, "content", p, obfuscation="Yx8") for p in ("a", "b", "4", "4", "4")))
    left, _ = by_event(raw, text=RULES)
    assert [b"Yx8" in out for out in left] == [True, True, False, False, False, False]
    # Of some strings of one character there is only one object, also where it is another one's.
    rewriter = Rewriter(Rules(RULES), dialect_of(wire), Tally())
    given = wire.decode(chunk({"index": 0, "delta": {"content": "4"}, "logprobs": [4]}))
    assert given.choices
    for _ in range(2):
        given.choices[0].delta = wire.DeltaMessage(content="4")
        data = rewriter.rewrite(encode(given), given)
        assert data is not None
        assert b"logprobs" not in data


def test_events_in_which_nothing_is_changed_are_the_very_ones() -> None:
    relay = Relay(text=RULES)
    plain = stream(saying(0, "content", "a"))
    relay.feed(plain)
    for read in (plain, plain * 4, stream(saying(0, "content", "b", logprobs={"content": []}))):
        assert relay.feed(read) is read


def test_two_choices_are_two_texts() -> None:
    raw = stream(saying(0, "content", "4111"), saying(1, "content", " 1111"))
    out, _ = relayed(raw, text=RULES)
    assert texts(out) == texts(raw)


def test_two_tool_calls_are_two_texts() -> None:
    raw = stream(called(0, "4111"), called(1, " 1111"), called(0, " 1111"))
    out, _ = relayed(raw, text=REWRITTEN)
    assert texts(out) == {(0, "arguments", 0): "[card]", (0, "arguments", 1): " 1111"}


def test_content_and_reasoning_are_two_texts() -> None:
    raw = stream(said_in(content="4111"), said_in(reasoning=" 1111"), said_in(content=" 1111"))
    assert texts(relayed(raw, text=RULES)[0]) == {
        (0, "content"): "[card]",
        (0, "reasoning"): " 1111",
    }


def test_arguments_are_read_only_where_a_rule_names_them() -> None:
    for datas in (
        [called(0, CARD)],
        [called(0, {"a": CARD})],
        [called(0, CARD, "custom", "input")],
    ):
        raw = stream(*datas)
        assert relayed(raw, text=RULES)[0] == raw
    raw = stream(beside(message={"tool_calls": [{"id": CARD, "function": {"arguments": CARD}}]}))
    assert relayed(raw, text=RULES)[0] == raw
    assert (
        relayed(raw, text=REWRITTEN)[0]
        == raw[::-1].replace(CARD[::-1].encode(), b"]drac[", 1)[::-1]
    )


def test_what_is_no_text_is_not_read() -> None:
    raw = stream(
        *(said_in(0, **{key: value}) for key in ("role", "x") for value in (CARD, [CARD])),
        said_in(reasoning_details=[{"type": "reasoning.encrypted", "data": CARD, "id": CARD}]),
        said_in(reasoning_details=None, audio=None, tool_calls=[{"index": 0, "custom": None}]),
        said_in(audio={"data": CARD}, tool_calls=[{"index": 0, "custom": CARD}]),
        said_in(tool_calls=[{"index": 0}], function_call={"name": "f"}),
        beside(message="none", text=7),
        chunk({"index": 0}),
        chunk({"index": 0, "delta": None}),
        '{"choices":null}',
    )
    assert relayed(raw, text=REWRITTEN)[0] == raw


UNSEEN = {
    "another-key-of-a-part": said_in(content=[{"type": "text", "words": CARD}]),
    "far-below-another-key": said_in(content=[{"type": "x", "words": [{"a": [CARD]}]}]),
    "out-of-range": '{"choices":[{"delta":{"content":"4111 1111","reasoning_details":[1e999]}}]}',
    "half-a-character": '{"choices":[{"delta":{"content":"4111 1111\\ud83d"}}]}',
    "no-list": '{"choices":[{"delta":{"content":"4111 1111","tool_calls":1}}]}',
    "too-deep": '{"x":%s,"choices":[{"delta":{"content":"4111 1111"}}]}'
    % ("[" * 100_000 + "]" * 100_000),
    "no-json": '{"choices":[{"delta":{"content":"4111 1111"}}]',
}


if sys.version_info < (3, 12):  # later ones have room for an edit there
    UNSEEN["quite-deep"] = '{"x":%s,"choices":[{"delta":{"content":"4111 1111"}}]}' % (
        "[" * 985 + "]" * 985
    )


@pytest.mark.parametrize("name", UNSEEN)
def test_a_text_that_no_rule_sees_makes_an_event_undecodable(name: str) -> None:
    raw = stream(saying(0, "content", "a 4"), UNSEEN[name], saying(0, "content", "11"), DONE)
    passed, relay = relayed(raw, text=RULES)
    assert relay.invalid == 1
    assert stream(UNSEEN[name]) in passed
    dropped, relay = relayed(raw, text=RULES, on_invalid="drop")
    assert relay.invalid == 1
    assert passed == dropped.replace(b"\n\n", b"\n\n" + stream(UNSEEN[name]), 1)
    assert texts(dropped) == {(0, "content"): "a 411"}
    failing = Relay(text=RULES, on_invalid="raise")
    with pytest.raises(InvalidChunk):
        failing.feed(raw)
    left = failing.close()
    assert left.startswith(stream(saying(0, "content", "a ")))
    assert texts(left) == {(0, "content"): "a 4"}
    with pytest.raises(InvalidChunk):
        failing.feed(raw)


def test_an_event_that_cannot_be_edited_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise InvalidChunk("nested too deeply", b"", list)

    monkeypatch.setattr("fastchunk.relay.edit_encoded", refuse)
    raw = stream(saying(0, "content", "a"))
    relay = Relay(text=RULES, set={"x": 1})
    assert (relay.feed(raw), relay.invalid) == (raw, 1)
    relay = Relay(text=RULES, set={"x": 1}, on_invalid="drop")
    assert (relay.feed(raw), relay.invalid) == (b"", 1)


def test_an_undecodable_event_that_is_whole_at_the_end_fails_a_relay_that_is_to_raise() -> None:
    relay = Relay(text=RULES, on_invalid="raise")
    relay.feed(stream(saying(0, "content", "a"), UNSEEN["another-key-of-a-part"])[:-1])
    with pytest.raises(InvalidChunk):
        relay.close()
    assert relay.close() == b""


def test_an_undecodable_event_that_is_whole_at_the_end_is_dropped_too() -> None:
    for last in (UNSEEN["no-json"], UNSEEN["another-key-of-a-part"]):
        raw = stream(saying(0, "content", "a"), last).rstrip(b"\n")
        out, _ = relayed(raw, text=RULES, on_invalid="drop")
        assert out == stream(saying(0, "content", "a"))


def test_the_last_unterminated_block_is_read_or_withheld() -> None:
    whole = stream(saying(0, "content", "4111"), saying(0, "content", " 1111"))
    out, relay = relayed(whole.rstrip(b"\n"), text=RULES)
    assert texts(out + b"\n\n") == {(0, "content"): "[card]"}
    out, relay = relayed(whole[:-9], text=RULES)
    assert texts(out) == {(0, "content"): "4111"}
    assert relay.truncated
    out, _ = relayed(stream(saying(0, "content", "4111"))[:-1], text=RULES)
    assert texts(out) == {(0, "content"): "4111"}


@pytest.mark.parametrize("place", range(len(CARD) + 1))
@pytest.mark.parametrize("name", ["content", "reasoning", "refusal", "arguments 0"])
def test_a_text_cut_at_every_place_is_found(name: str, place: int) -> None:
    whole = f"a {CARD} b"
    pieces = [whole[: place + 2], whole[place + 2 :]]
    for others in ((), (": c",), ("{",), (saying(1, name, "4"),)):
        raw = stream(saying(0, name, pieces[0]), *others, saying(0, name, pieces[1]))
        assert "a [card] b" in texts(relayed(raw, text=REWRITTEN)[0]).values()
    for number in range(2, 6):
        cut = [whole[at : at + number] for at in range(place, len(whole), number)]
        raw = stream(*(saying(0, name, piece) for piece in (whole[:place], *cut)))
        assert "a [card] b" in texts(relayed(raw, text=REWRITTEN)[0]).values()


# --- events that are alike ----------------------------------------------------------------------

ALIKE = st.sampled_from(
    [
        lambda piece: saying(0, "content", piece),
        lambda piece: saying(1, "content", piece),
        lambda piece: saying(0, "content", piece, obfuscation="x" * len(piece)),
        lambda piece: saying(0, "content", piece, p=len(piece)),
        lambda piece: saying(0, "reasoning", piece, created=len(piece)),
        lambda piece: said_in(content=piece, token_id=len(piece)),
        lambda piece: said_in(reasoning=piece, reasoning_content=piece),
        lambda piece: said_in(reasoning=piece, reasoning_details=details(piece)),
        lambda piece: chunk({"index": 0, "delta": {"content": piece}, "text": piece}),
        lambda piece: chunk(
            {"index": 0, "delta": {"content": piece}, "message": {"content": piece}}
        ),
        lambda piece: said_in(role="b", content=piece),
        lambda piece: saying(0, "content", piece, "stop"),
        lambda piece: saying(0, "content", piece, usage={"prompt_tokens": 1}),
        lambda piece: said_in(content=parts(piece)),
        lambda piece: called(0, piece),
        lambda piece: json.dumps(json.loads(saying(0, "content", piece))),
    ]
)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(ALIKE, st.lists(pieces, min_size=1, max_size=6)), max_size=6),
    st.lists(st.sampled_from([*ONES, SPLIT, *STOPS]), max_size=2),
    st.sampled_from([{}, {"model": "alias"}, {"drop": ["usage"], "reasoning": "both"}]),
)
def test_events_that_are_alike_are_read_as_if_they_were_not(
    said: list[tuple[Callable[[str], str], list[str]]],
    rules: list[tuple[Rule, Naive]],
    options: dict[str, Any],
) -> None:
    raw = stream(*(data(piece) for data, pieces in said for piece in pieces))
    given_rules = [rule for rule, _ in rules]
    out, relay = relayed(raw, text=given_rules, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rewriter, "rewrite_alike", lambda *_: None)
        one_by_one, other = relayed(raw, text=given_rules, **options)
    assert [*map(json.dumps, events(out))] == [*map(json.dumps, events(one_by_one))]
    assert state(relay) == state(other)


def test_what_is_alike_need_not_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    rewrite = Rewriter.rewrite

    def noted(self: Rewriter, data: bytes, *given: Any, **options: Any) -> Any:
        seen.append(data)
        return rewrite(self, data, *given, **options)

    monkeypatch.setattr(Rewriter, "rewrite", noted)
    kinds: list[Callable[[str], str]] = [
        lambda piece: saying(0, "content", piece),
        lambda piece: saying(0, "reasoning", piece, obfuscation="x" * len(piece)),
        lambda piece: said_in(reasoning=piece, reasoning_details=details(piece)),
        lambda piece: chunk(
            {"index": 0, "delta": {"content": piece}, "message": {"content": piece}}
        ),
    ]
    for kind in kinds:
        seen.clear()
        raw = stream(*(kind(piece) for piece in ("a", "b", "4", "11", "c", CARD, "\n", "d")))
        out, _ = relayed(raw, text=RULES)
        assert len(seen) <= 2
        assert list(texts(out).values()) == ["ab411c[card]\nd"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
            {"type": "ping", "index": 0, "delta": {"type": "text_delta"}},
        ),
        (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "4"}},
        ),
    ],
)
def test_an_event_of_another_kind_is_not_alike(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    raw = stream(
        *(
            json.dumps({**event, "delta": {**event["delta"], "text": text}})
            for event in (first, first, second, second)
            for text in (event["type"], event["delta"]["type"], "4")
        )
    )
    out = relayed(raw, family=messages, text=RULES)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rewriter, "rewrite_alike", lambda *_: None)
        assert relayed(raw, family=messages, text=RULES)[0] == out


@pytest.mark.parametrize("key", ["id", "created"])
def test_events_that_differ_in_what_nobody_reads_are_alike_in_the_end(key: str) -> None:
    relay = Relay(text=RULES)
    datas = [saying(0, "content", "a").replace("{", f'{{"{key}": {n},', 1) for n in range(40)]
    datas = [data.replace('"id": "c", ', "") if key == "id" else data for data in datas]
    raw = stream(*datas)
    assert relay.feed(raw) + relay.close() == raw
    assert relay.chunks == 40


# --- stops --------------------------------------------------------------------------------------

STOP = Stop("\n\nUser:")
USAGE = chunk(usage={"prompt_tokens": 3, "completion_tokens": 5})


@pytest.mark.parametrize("place", range(1, 7))
def test_a_stop_ends_its_choice_there_and_then(place: int) -> None:
    said = "Yes.\n\nUser: no"
    raw = stream(
        saying(0, "content", said[: 4 + place]),
        saying(1, "content", "other"),
        saying(0, "content", said[4 + place :]),
        saying(0, "content", " more"),
        saying(1, "content", " choice"),
        finishing(0, "length"),
        finishing(1, "length"),
        USAGE,
        DONE,
    )
    left, relay = by_event(raw, text=[STOP])
    out = b"".join(left)
    assert texts(out) == {(0, "content"): "Yes.", (1, "content"): "other choice"}
    assert reasons(out) == {0: "stop", 1: "length"} == relay.finish_reasons
    assert reasons(left[2]) == {0: "stop"}
    assert [bool(part) for part in left] == [1, 1, 1, 0, 1, 0, 1, 1, 1, 0]
    assert out.endswith(stream(USAGE, DONE))
    assert relay.usage == wire.UsageInfo(prompt_tokens=3, completion_tokens=5)
    assert relay.done
    assert not relay.truncated


def test_a_gateway_may_cancel_what_has_stopped() -> None:
    relay = Relay(text=[STOP])
    assert not relay.stopped
    relay.feed(stream(saying(0, "content", "a"), saying(1, "content", "b")))
    relay.feed(stream(saying(0, "content", "\n\nUser:")))
    assert not relay.stopped
    relay.feed(stream(finishing(1)))
    assert relay.stopped
    relay.close()
    assert not relay.truncated
    other, _ = Relay(text=[STOP]), None
    other.feed(stream(saying(0, "content", "a"), finishing(0)))
    assert not other.stopped
    assert not Relay().stopped


def test_what_is_cut_before_every_choice_has_stopped_is_truncated() -> None:
    raw = stream(saying(0, "content", "\n\nUser:"), saying(1, "content", "b"))
    assert relayed(raw, text=[STOP])[1].truncated
    assert not relayed(stream(saying(0, "content", "\n\nUser:")), text=[STOP])[1].truncated


@pytest.mark.parametrize(
    "others",
    [{"usage": {"prompt_tokens": 3}}, {"error": {"message": "x"}}, {"x_groq": {"usage": {}}}],
)
def test_what_a_withheld_event_says_of_the_stream_is_not_lost(others: dict[str, Any]) -> None:
    raw = stream(saying(0, "content", "a\n\nUser:"), saying(0, "content", "b", "length", **others))
    out = by_event(raw, text=[STOP])[0][1]
    assert events(out) == [json.loads(chunk(**others))]


def test_of_an_event_of_two_choices_the_one_that_goes_on_is_left() -> None:
    both = chunk(
        {"index": 0, "delta": {"content": "x"}, "message": {"content": "x"}},
        {"index": 1, "delta": {"content": "y"}},
    )
    raw = stream(saying(0, "content", "a\n\nUser:"), both)
    out = by_event(raw, text=[STOP])[0][1]
    assert events(out)[0]["choices"] == [{"index": 1, "delta": {"content": "y"}}]


def test_a_stop_ends_what_the_same_event_says_after_it() -> None:
    said = {
        "content": parts("a\n\nUser:", " b"),
        "refusal": "c",
        "tool_calls": [{"index": 0, "function": {"arguments": "d"}}],
        "function_call": {"name": "f"},
    }
    data = chunk({"index": 0, "delta": said, "finish_reason": "tool_calls"})
    for rules in ([STOP], [STOP, *REWRITTEN]):
        (event,) = events(relayed(stream(data), text=rules)[0])
        assert event["choices"] == [
            {
                "index": 0,
                "delta": {"content": parts("a", ""), "refusal": ""},
                "finish_reason": "stop",
            }
        ]


def test_a_stop_releases_what_other_channels_have_said_before() -> None:
    raw = stream(
        said_in(reasoning="4"),
        called(0, "41"),
        said_in(refusal="411"),
        said_in(content="a\n\nUser:"),
    )
    out, _ = relayed(raw, text=[*REWRITTEN, STOP])
    assert texts(out) == {
        (0, "reasoning"): "4",
        (0, "arguments", 0): "41",
        (0, "refusal"): "411",
        (0, "content"): "a",
    }
    assert events(out)[-1]["choices"][0]["finish_reason"] == "stop"


def test_what_is_held_before_a_stop_leaves_before_it() -> None:
    raw = stream(saying(0, "content", "4111 "), saying(0, "content", "\n\nUser:"))
    out, _ = relayed(raw, text=[*RULES, STOP])
    assert texts(out) == {(0, "content"): "4111 "}


def test_a_stop_reads_what_rules_before_it_put_out_and_of_two_the_first_counts() -> None:
    raw = stream(saying(0, "content", f"a {CARD} b"))
    out, _ = relayed(raw, text=[*RULES, Stop("[card]", finish_reason="x")])
    assert (texts(out), reasons(out)) == ({(0, "content"): "a "}, {0: "x"})
    rules = [Stop("b", finish_reason="late"), Stop("a", finish_reason="early")]
    assert reasons(relayed(stream(saying(0, "content", "xab")), text=rules)[0]) == {0: "early"}


def test_a_stop_that_the_end_of_the_text_decides_gives_its_finish_reason() -> None:
    rules = [Stop("abcd", "bc", finish_reason="x")]
    for last in (finishing(0, "length"), saying(0, "content", "c", "length")):
        piece = "xab" if "content" in last else "xabc"
        out, relay = relayed(stream(saying(0, "content", piece), last), text=rules)
        assert (texts(out), reasons(out)) == ({(0, "content"): "xa"}, {0: "x"})
        assert relay.finish_reasons == {0: "x"}
    for last_data in ((), (DONE,), ('{"error":{}}',)):
        out, relay = relayed(stream(saying(0, "content", "xabc"), *last_data), text=rules)
        assert (texts(out), reasons(out)) == ({(0, "content"): "xa"}, {0: "x"})
        assert relay.stopped
        assert events(out)[-len(last_data) :][: len(last_data)] == events(stream(*last_data))


def test_a_stop_in_a_message_beside_a_delta_is_none_of_the_choice() -> None:
    raw = stream(beside(message={"content": parts("a\n\nUser:", "b")}), saying(0, "content", "c"))
    out, relay = relayed(raw, text=[STOP])
    assert events(out)[0]["choices"][0]["message"]["content"] == parts("a", "")
    assert texts(out) == {(0, "content"): "c"}
    assert relay.finish_reasons == {}
    raw = stream(beside(message={"content": "xabc"}))  # only its end tells
    out, relay = relayed(raw, text=[Stop("abcd", "bc")])
    assert events(out)[0]["choices"][0]["message"]["content"] == "xa"
    assert relay.finish_reasons == {}


# --- errors and ends ----------------------------------------------------------------------------

ERRORS = {
    "its-own-event": stream('{"error":{"message":"overloaded"}}'),
    "an-error-event": b"event: error\n" + stream('{"message":"overloaded"}'),
    "an-error-event-that-is-no-json": b"event: error\n" + stream("overloaded"),
    "null-choices": stream('{"choices":null,"error":{"message":"overloaded"}}'),
    "in-a-chunk": stream(chunk(error={"message": "overloaded"})),
    "in-an-undecodable-chunk": stream('{"choices":[{"delta":7}],"error":{}}'),
    "in-an-unseen-chunk": stream(
        chunk({"index": 1, "delta": {"content": [{"words": "x"}]}}, error={"message": "overloaded"})
    ),
    "the-end": stream(DONE),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_held_leaves_before_an_error(name: str) -> None:
    before, after = stream(saying(0, "content", "no. 41")), stream(saying(0, "content", "11"))
    out, relay = relayed(before + ERRORS[name] + after + after, text=RULES)
    made = stream(saying(0, "content", "41")).replace(b'"choices": ', b'"choices": ')
    assert events(out) == [
        *events(stream(saying(0, "content", "no. "))),
        *events(made),
        *events(ERRORS[name]),
        *events(after + after),
    ]
    assert ERRORS[name] in out
    assert (relay.error is not None) == (name != "the-end")


def test_an_error_beside_a_text_comes_with_all_of_the_text() -> None:
    raw = stream(
        saying(0, "content", "41"),
        saying(1, "content", "4111"),
        saying(0, "content", "11 1", error={"message": "overloaded"}),
    )
    left, _ = by_event(raw, text=RULES)
    assert texts(left[2]) == {(0, "content"): "4111 1", (1, "content"): "4111"}
    assert "error" in events(left[2])[-1]


def test_an_error_that_is_withheld_ends_texts_all_the_same() -> None:
    raw = stream(
        saying(0, "content", "41"), chunk(error={"message": "x"}), saying(0, "content", "11")
    )
    relay = Relay(text=RULES, on_chunk=lambda c: DROP if c.error else None)
    assert texts(relay.feed(raw)) == {(0, "content"): "4111"}
    assert [choice["delta"] for event in events(raw[:0]) for choice in event["choices"]] == []


def test_a_rule_that_raises_fails_the_relay() -> None:
    class Failing:
        def feed(self, piece: str) -> str:
            if piece == "bad":
                raise KeyError(piece)
            return piece

        def close(self) -> str:
            raise KeyError("close")

    good = stream(saying(0, "content", "good"))
    relay = Relay(text=[Failing])
    with pytest.raises(KeyError, match="bad"):
        relay.feed(good + stream(saying(0, "content", "bad")))
    assert relay.close() == good
    relay = Relay(text=[Failing])
    assert relay.feed(good) == good
    with pytest.raises(KeyError, match="close"):
        relay.close()
    relay = Relay(text=[Failing])
    assert relay.feed(good) == good
    relay.feed(stream(saying(0, "content", "x"))[:-1])
    with pytest.raises(KeyError, match="close"):
        relay.close()
    assert texts(relay.close() + b"\n\n") == {(0, "content"): "x"}


def test_a_rule_that_puts_out_what_json_cannot_hold_lets_nothing_pass() -> None:
    relay = Relay(text=[Replace("4", "\ud83d")])
    relay.feed(stream(saying(0, "content", "a")))
    with pytest.raises(InvalidChunk):
        relay.feed(stream(saying(0, "content", "no. 4", x=1)))
    assert relay.close() == b""


# --- with the other options ---------------------------------------------------------------------


def test_text_rules_read_what_on_chunk_has_changed() -> None:
    def look(given: wire.ChatCompletionStreamResponse) -> Any:
        for choice in given.choices or ():
            if choice.delta and choice.delta.content == "drop":
                return DROP
            if choice.delta and choice.delta.content == "change":
                choice.delta.content = CARD
                return given
            if choice.delta:
                choice.delta = None  # which is not what it returns
        return None

    raw = stream(*(saying(0, "content", p) for p in ("change", "drop", CARD, "4111", " 1111", "b")))
    out, _ = relayed(raw, text=RULES, on_chunk=look)
    assert texts(out) == {(0, "content"): "[card][card][card]b"}


def test_what_on_chunk_makes_undecodable_is_undecodable() -> None:
    def look(given: Any) -> Any:
        given.choices = CARD
        return given

    out, relay = relayed(stream(saying(0, "content", "a")), text=RULES, on_chunk=look)
    assert (events(out)[0]["choices"], relay.invalid) == (CARD, 1)
    relay = Relay(text=RULES, on_chunk=look, on_invalid="drop")
    assert relay.feed(stream(saying(0, "content", "a"))) == b""


def test_the_options_apply_in_their_order() -> None:
    seen = []
    raw = stream(
        saying(0, "content", "4111", usage=None),
        saying(0, "content", " 1111 4", usage=None),
        finishing(0),
        USAGE,
        DONE,
    )
    for text in (RULES, [*RULES, STOP]):
        relay = Relay(
            text=text,
            on_chunk=lambda given: seen.append(given.model),
            model="alias",
            set={"x": CARD},
            drop=["id"],
            strip_usage=True,
        )
        out = relay.feed(raw)
        assert relay.close() == b""
        assert texts(out) == {(0, "content"): "[card] 4"}
        chunks = [event for event in events(out) if event != DONE]
        assert len(chunks) == 4
        for event in chunks:
            assert list(event) == ["object", "model", "choices", "x"]
            assert (event["model"], event["x"]) == ("alias", CARD)
        assert relay.usage.completion_tokens == 5
    assert set(seen) == {"m"}


def test_a_stopped_choices_usage_is_stripped_like_any_other() -> None:
    raw = stream(
        saying(0, "content", "\n\nUser:"),
        saying(0, "content", "b", "length", usage={"prompt_tokens": 3}),
    )
    left, relay = by_event(raw, text=[STOP], strip_usage=True)
    assert left[1] == b""
    assert relay.usage == wire.UsageInfo(prompt_tokens=3)


def test_a_name_of_an_unsupported_rule_or_option_is_refused() -> None:
    with pytest.raises(ValueError, match="on_invalid"):
        Relay(text=RULES, on_invalid="ignore")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a rule is"):
        Relay(text=["4111"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="strip_usage"):
        Relay(messages, strip_usage=True)
    with pytest.raises(ValueError, match="so does set"):
        Relay(model="a", set={"model": "b"})
    with pytest.raises(TypeError, match="model must be"):
        Relay(model=5)  # type: ignore[arg-type]


# --- memory -------------------------------------------------------------------------------------


def test_what_is_kept_does_not_grow_with_the_stream() -> None:
    relay = Relay(text=[*REWRITTEN, Split("<a>", "</a>"), STOP])
    datas = [
        saying(0, "content", "4"),
        said_in(reasoning="41", token_id=1),
        called(0, "411"),
        saying(1, "content", "<a", obfuscation="x"),
        said_in(refusal="4", reasoning_details=details("4")),
    ]
    reads = [stream(data) for data in datas]
    for read in reads * 40:
        relay.feed(read)
    before = size_of(relay)
    for read in reads * 200:
        relay.feed(read)
    assert size_of(relay) <= before


def size_of(value: Any) -> int:
    """Count the bytes and characters that an object holds on to, directly or not."""
    seen: set[int] = set()
    pending, size = [value], 0
    while pending:
        item = pending.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | FunctionType):
            continue
        seen.add(id(item))
        if isinstance(item, bytes | bytearray | str):
            size += len(item)
        pending += gc.get_referents(item)
        if isinstance(item, Text):
            pending += [item.value, item.place]
    return size


# --- at the edges -------------------------------------------------------------------------------


def test_a_text_that_ends_where_it_was_held_keeps_its_copies() -> None:
    held = {"index": 0, "delta": {"content": "no. 4"}, **COPIES["logprobs"]}
    raw = stream(chunk({**held, "finish_reason": "stop"}))
    assert relayed(raw, text=RULES)[0] == raw


def test_a_text_that_is_replaced_by_itself_is_as_it_came() -> None:
    raw = stream(*(saying(0, "content", p, obfuscation="x") for p in ("x", "y", "ab", "z")))
    assert relayed(raw, text=[Replace("ab", "ab")])[0] == raw


def test_what_is_split_where_there_is_no_room_is_made() -> None:
    raw = stream(*(beside(text=piece) for piece in ("a", "b<c", "d", ">", "e")))
    out, _ = relayed(raw, text=[Split("<", ">")])
    assert texts(out) == {(0, "reasoning"): "cd"}
    assert "".join(event["choices"][0].get("text", "") for event in events(out)) == "abe"


def test_a_stop_leaves_another_choice_of_its_event() -> None:
    data = chunk(
        {"index": 0, "delta": {"content": "a\n\nUser:", "refusal": "x"}},
        {"index": 1, "delta": {"content": "b"}},
    )
    assert texts(relayed(stream(data), text=[STOP])[0]) == {
        (0, "content"): "a",
        (1, "content"): "b",
    }


def test_a_choice_that_finishes_twice_in_an_event_ends_once() -> None:
    twice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    raw = stream(saying(0, "content", "4"), chunk(twice, twice))
    left, _ = by_event(raw, text=RULES)
    assert texts(left[1]) == {(0, "content"): "4"}


QUOTING = [
    '{"error":{"message":"4111 1111","failed_generation":["4111 1111"]},"x":1e2}',
    '{"other":"4111 1111"}',
    '{"other":"x","other":"4111 1111"}',
    '{"choices":[],"error":{"message":"4111 1111"}}',
]


@pytest.mark.parametrize("data", QUOTING)
@pytest.mark.parametrize("kind", [b"", b"event: error\n"])
def test_what_an_error_quotes_is_rewritten_too(data: str, kind: bytes) -> None:
    raw = kind + b"data: " + data.encode() + b"\n\n" + stream(DONE)
    out, relay = relayed(raw, text=[*RULES, Stop("4"), Split("4", "1")], on_invalid="raise")
    assert b"4111 1111" not in out
    assert b"[card]" in out
    assert relay.invalid == 0
    unended, _ = relayed(raw, text=[Stop("4"), Split("4", "1")])
    assert unended == raw.replace(b'"other":"x",', b"")


def test_what_is_no_chunk_and_has_nothing_to_be_replaced_is_untouched() -> None:
    raw = b'data: {"other":"4111"}\n\ndata: ["4111 1111"]\n\ndata: 4111 1111\n\n'
    assert relayed(raw, text=RULES)[0] == raw


DUPLICATES = {
    b'{"a":1}': b'{"a":1}',
    b'{"a":1,"a":2}': b'{"a":2}',
    b' { "a" : 1 , "b":2,\t"a":[ 3 ] } ': b' { "b":2,\t"a":[ 3 ] } ',
    b'{"a":1,"\\u0061":2,"a":3}': b'{"a":3}',
    b'{"a":{"b":1,"b":2},"a":{"b":3,"c":4,"b":5}}': b'{"a":{"c":4,"b":5}}',
    b'{"a":[{"x":1,"x":"}],\\""},"x","x"]}': b'{"a":[{"x":"}],\\""},"x","x"]}',
    b'{"a":{},"a":[],"a":"","":1,"":2}': b'{"a":"","":2}',
    b'{"a":1,"b":' + b"[" * 5000 + b"]" * 5000 + b',"a":2}': b'{"b":'
    + b"[" * 5000
    + b"]" * 5000
    + b',"a":2}',
}


@pytest.mark.parametrize("raw", DUPLICATES)
def test_of_members_of_one_name_the_last_is_left(raw: bytes) -> None:
    assert without_duplicates(raw) == DUPLICATES[raw]


def test_a_deep_event_is_read_like_any_other() -> None:
    deep = '{"x":%s,"choices":[{"delta":{"content":"%s"}}]}'
    raw = stream(*(deep % ("[" * 450 + "]" * 450, piece) for piece in ("no. 4111", " 1111")))
    out, relay = relayed(raw, text=RULES)
    assert (texts(out), relay.invalid) == ({(0, "content"): "no. [card]"}, 0)
