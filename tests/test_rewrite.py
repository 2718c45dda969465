"""Text rules in the relay: the law, what leaves untouched, and attempts to get text past them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastchunk import Relay
from fastchunk.text import Replace, Rule, Split, Stop
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
RULES = [Replace(CARD, "[card]")]
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
REWRITTEN = [Replace(CARD, "[card]", channels=ALL)]


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
