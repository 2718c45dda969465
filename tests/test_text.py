"""Text rules: the same result for every cut, and nothing held for longer than it must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastchunk
from fastchunk import wire
from fastchunk.text import Channel, Filter, Piece, Replace, Rule, Rules, Split, Stop

from .streams import recorded
from .text_cases import (
    CARD,
    CASES,
    LETTERS,
    Late,
    all_cuts,
    chained,
    cut_off,
    cuts,
    filtered,
    joined,
    pattern_spans,
    pieces,
    replaced,
    settled,
    some_strings,
    split,
    string_spans,
)

CONTENT: Channel = ("content", 0)
REASONING: Channel = ("reasoning", 0)
REFUSAL: Channel = ("refusal", 0)
ARGUMENTS: Channel = ("arguments", 0)

SOME_PATTERNS = (
    "a{1,2}b?",
    "a|ab|abc",
    "(?:ab?){1,2}c",
    r"\ba(?:b|c)",
    "(?<!a)b{1,2}(?!c)",
    "(?:a|b(?=[bc])){2}",
    "c{1,2}?a",
    "^[ab]|bc",
)


# The law: what comes out, joined, is the rule applied to the whole text.


@pytest.mark.parametrize("name", CASES)
def test_case_in_every_cut(name: str) -> None:
    case = CASES[name]
    for cut in all_cuts(case.text):
        assert filtered(case.rules, cut) == case.result, cut


@given(some_strings, cuts(st.text(LETTERS, max_size=20)))
def test_strings_in_any_cut(strings: list[str], text: tuple[str, list[str]]) -> None:
    whole, cut = text
    assert filtered([Replace(strings, "#")], cut) == replaced(
        whole, string_spans(strings)(whole), "#"
    )


@given(
    st.sampled_from(SOME_PATTERNS),
    st.sampled_from(["#", "", r"[\g<0>]", "a", lambda match: match[0].upper()]),
    cuts(st.text(LETTERS, max_size=20)),
)
def test_patterns_in_any_cut(written: str, put: Any, text: tuple[str, list[str]]) -> None:
    whole, cut = text
    pattern = re.compile(written)
    assert filtered([Replace(pattern, put)], cut) == pattern.sub(put, whole)


@given(some_strings, cuts(st.text(LETTERS, max_size=20)))
def test_stop_in_any_cut(strings: list[str], text: tuple[str, list[str]]) -> None:
    whole, cut = text
    stream = Filter([Stop(*strings)])
    left = "".join(map(stream.feed, cut)) + stream.close()
    assert left == cut_off(whole, strings)
    assert stream.stopped == (left != whole)


def test_nothing_comes_after_a_stop() -> None:
    stream = Filter([Stop("ab")])
    assert (stream.feed("xa"), stream.stopped) == ("x", False)
    assert (stream.feed("bc"), stream.stopped) == ("", True)
    assert stream.feed("more") == stream.close() == ""


marks = st.text("ab", min_size=1, max_size=3)


@given(marks, marks, cuts(st.text(LETTERS, max_size=20)))
def test_split_in_any_cut(begin: str, end: str, text: tuple[str, list[str]]) -> None:
    whole, cut = text
    content, reasoning = split(whole, begin, end)
    left = chained([Split(begin, end)], [(CONTENT, piece) for piece in cut])
    assert left == {c: t for c, t in ((CONTENT, content), (REASONING, reasoning)) if t}


replacing = st.builds(Replace, some_strings, st.text(LETTERS, max_size=2)) | st.builds(
    lambda written, put: Replace(re.compile(written), put),
    st.sampled_from(SOME_PATTERNS),
    st.text(LETTERS, max_size=2),
)
stopping = st.builds(lambda strings: Stop(*strings), some_strings)
any_rule = replacing | stopping | st.builds(Split, marks, marks) | st.just(Late)


@given(st.lists(any_rule, max_size=4), cuts(st.text(LETTERS, max_size=20)))
def test_rules_in_a_row_in_any_cut(rules: list[Rule], text: tuple[str, list[str]]) -> None:
    whole, cut = text
    at_once = chained(rules, [(CONTENT, whole)])
    assert chained(rules, [(CONTENT, piece) for piece in cut]) == at_once
    assert chained(rules, [(CONTENT, character) for character in whole]) == at_once
    assert filtered(rules, cut) == at_once.get(CONTENT, "")


@given(st.lists(replacing, min_size=1, max_size=3), pieces)
def test_a_rule_reads_what_the_one_before_puts_out(rules: list[Rule], cut: list[str]) -> None:
    whole = "".join(cut)
    for rule in rules:
        whole = filtered([rule], [whole])
    assert filtered(rules, cut) == whole


channels = st.sampled_from([CONTENT, REASONING, REFUSAL, ARGUMENTS, ("arguments", 1)])


@given(
    st.lists(replacing, max_size=2),
    st.lists(st.tuples(channels, st.text(LETTERS, max_size=3)), max_size=12),
)
def test_channels_never_join(rules: list[Rule], fed: list[Piece]) -> None:
    left = chained(rules, fed)
    for channel in {channel for channel, _ in fed}:
        read = rules if channel[0] != "arguments" else []
        alone = filtered(read, [piece for other, piece in fed if other == channel])
        assert left.get(channel, "") == alone


# What is held is what more text could still make part of a match, and no more.


def _left_while_it_grows(rule: Rule, text: str) -> Iterator[tuple[str, str]]:
    stream = Filter([rule])
    left = ""
    for end, character in enumerate(text, 1):
        left += stream.feed(character)
        yield text[:end], left


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1), st.text("abc", max_size=7))
def test_strings_hold_no_more_than_could_match(strings: list[str], text: str) -> None:
    spans, longest = string_spans(strings), max(map(len, strings))
    for so_far, left in _left_while_it_grows(Replace(strings, "#"), text):
        decided = so_far[: settled(spans, so_far, "abc", longest)]
        assert left == replaced(decided, spans(decided), "#")


@pytest.mark.parametrize("written", SOME_PATTERNS)
@given(text=st.text(LETTERS, max_size=6))
def test_patterns_hold_no_more_than_could_match(written: str, text: str) -> None:
    pattern = re.compile(written)
    spans = pattern_spans(pattern)
    for so_far, left in _left_while_it_grows(Replace(pattern, "#"), text):
        place = settled(spans, so_far, LETTERS, 5)
        before = [span for span in spans(so_far) if span[1] <= place]
        assert left == replaced(so_far[:place], before, "#")


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1), st.text("abc", max_size=7))
def test_stop_holds_no_more_than_could_be_its_string(strings: list[str], text: str) -> None:
    longest = max(map(len, strings))
    for so_far, left in _left_while_it_grows(Stop(*strings), text):
        ends = [
            cut_off(so_far + "".join(more), strings)
            for length in range(longest + 1)
            for more in product("abc", repeat=length)
        ]
        assert left == so_far[: min(map(len, ends))]


@given(marks, marks, st.text(LETTERS, max_size=8))
def test_split_holds_no_more_than_could_be_a_mark(begin: str, end: str, text: str) -> None:
    chain = Rules([Split(begin, end)]).start()
    for fed in range(1, len(text) + 1):
        chain = Rules([Split(begin, end)]).start()
        left = joined(chain.feed(CONTENT, text[:fed]))
        more = [
            split(text[:fed] + "".join(more), begin, end)
            for length in range(max(len(begin), len(end)) + 1)
            for more in product(LETTERS, repeat=length)
        ]
        for number, channel in enumerate((CONTENT, REASONING)):
            shortest = min(len(each[number]) for each in more)
            assert left.get(channel, "") == split(text[:fed], begin, end)[number][:shortest]


# The chain.


def test_what_nobody_changes_is_the_very_piece() -> None:
    rules = Rules(
        [
            Split("<think>", "</think>"),
            Replace(["secret", "hidden"], "#"),
            Replace(re.compile(CARD), "#"),
            Replace(re.compile("[a-z]{2}4"), "#"),
            lambda: Filter([]),
            Stop("\n\nUser:"),
        ]
    )
    chain = rules.start()
    for text in ("Hello, ", "se creter", " <t hs 12.", "xy z"):
        piece = "".join([*text, "!"])
        (left,) = chain.feed(CONTENT, piece)
        assert left == (CONTENT, piece)
        assert left[1] is piece
        assert not chain.holds(CONTENT)


def test_what_was_held_is_not_taken_for_the_piece_that_equals_it() -> None:
    first, second = ("".join(["x", "y"]) for _ in range(2))
    for rule in (Replace("xyxyz", "#"), lambda: Filter([Replace("xyxyz", "#")])):
        chain = Rules([rule]).start()
        assert chain.feed(CONTENT, first + second) == []
        (left,) = chain.feed(CONTENT, second)
        assert left == (CONTENT, second)
        assert left[1] is not second


def test_of_what_has_left_one_character_is_kept() -> None:
    lengths = []

    def put(match: re.Match[str]) -> str:
        lengths.append(len(match.string))
        return "#"

    stream = Filter([Replace(re.compile(r"\bab\b"), put)])
    assert "".join(map(stream.feed, ["ab "] * 100)) == "# " * 100
    assert max(lengths) <= 5


@pytest.mark.parametrize("rule", [Replace("ab", "#"), Split("a", "b"), Late])
def test_a_channel_that_no_rule_reads_passes(rule: Rule) -> None:
    chain = Rules([rule, Stop("ab")]).start()
    assert chain.feed(ARGUMENTS, "ab") == [(ARGUMENTS, "ab")]
    assert not chain.holds(ARGUMENTS)
    assert chain.close() == []


def test_arguments_are_read_when_they_are_named() -> None:
    named = Replace("ab", "#", channels=["arguments"])
    assert not Rules([Replace("ab", "#"), Late]).reads_arguments
    assert Rules([Late, named]).reads_arguments
    chain = Rules([named]).start()
    assert chain.feed(ARGUMENTS, "a") == []
    assert chain.feed(("arguments", 1), "b") == [(("arguments", 1), "b")]
    assert chain.feed(CONTENT, "ab") == [(CONTENT, "ab")]
    assert chain.feed(ARGUMENTS, "b") == [(ARGUMENTS, "#")]


def test_it_is_known_what_is_held() -> None:
    chain = Rules([Replace("ab", "#")]).start()
    assert not chain.holds(CONTENT)
    assert chain.feed(CONTENT, "xa") == [(CONTENT, "x")]
    assert (chain.holds(CONTENT), chain.holds(REASONING)) == (True, False)
    assert chain.feed(CONTENT, "") == []
    assert chain.feed(CONTENT, "c") == [(CONTENT, "ac")]
    assert not chain.holds(CONTENT)
    assert chain.feed(CONTENT, "a") == []
    assert chain.close() == [(CONTENT, "a")]
    assert not chain.holds(CONTENT)
    assert chain.close() == []


def test_what_is_held_where_it_was_moved_to_is_held() -> None:
    chain = Rules([Split("<", ">"), Replace("ab", "#")]).start()
    assert chain.feed(CONTENT, "x<a") == [(CONTENT, "x")]
    assert (chain.holds(CONTENT), chain.holds(REASONING)) == (True, True)
    assert chain.feed(CONTENT, "b>a") == [(REASONING, "#")]
    assert (chain.holds(CONTENT), chain.holds(REASONING)) == (True, False)
    assert chain.close() == [(CONTENT, "a")]


def test_what_is_held_before_it_is_moved_to_is_no_content() -> None:
    chain = Rules([Replace("ab", "#", channels=["reasoning"]), Split("<", ">")]).start()
    assert chain.feed(CONTENT, "x<y>") == [(CONTENT, "x"), (REASONING, "y")]
    assert chain.feed(REASONING, "a") == []
    assert (chain.holds(CONTENT), chain.holds(REASONING)) == (False, True)


def test_the_rest_of_one_rule_is_the_next_ones_text_before_it_closes() -> None:
    rules: list[Rule] = [Replace("abc", "#"), Replace("aba", "!"), Late]
    assert filtered(rules, ["xa", "b", "a", "b"]) == "X!B."
    assert filtered([*rules, Stop("B")], ["xa", "b", "a", "b"]) == "X!"


def test_a_stop_releases_what_was_held_before_it() -> None:
    rules: list[Rule] = [
        Replace("abc", "#"),
        Split("<", ">"),
        Stop("||", finish_reason="length"),
        Replace("ab", "!"),
    ]
    chain = Rules(rules).start()
    assert chain.feed(REASONING, "xab") == [(REASONING, "x")]
    assert chain.feed(REFUSAL, "a") == []
    assert chain.feed(CONTENT, "<ya>za|") == [(REASONING, "y"), (CONTENT, "z")]
    assert chain.stopped is None
    left = chain.feed(CONTENT, "|ab<c>ab")
    assert joined(left) == {CONTENT: "a", REASONING: "a!", REFUSAL: "a"}
    assert chain.stopped == "length"
    assert chain.feed(CONTENT, "more") == chain.feed(REASONING, "more") == chain.close() == []
    assert not chain.holds(CONTENT)


def test_what_was_moved_behind_a_stop_does_not_leave() -> None:
    rules: list[Rule] = [Split("<t>", "</t>"), Stop("||")]
    for cut in all_cuts("a||<t>b</"):
        assert chained(rules, [(CONTENT, piece) for piece in cut]) == {CONTENT: "a"}


def test_a_stop_does_not_wait_for_a_longer_string() -> None:
    stream = Filter([Stop("abc", "ab")])
    assert (stream.feed("xab"), stream.stopped) == ("x", True)


def test_the_stop_that_comes_first_in_the_text_counts() -> None:
    chain = Rules([Stop("d", finish_reason="late"), Stop("b", "cx", finish_reason="early")]).start()
    assert chain.feed(CONTENT, "abcd") == [(CONTENT, "a")]
    assert chain.stopped == "early"
    chain = Rules(
        [Stop("d", finish_reason="late"), Replace("cc", "#"), Stop("c", finish_reason="early")]
    ).start()
    assert chain.feed(CONTENT, "acd") == [(CONTENT, "a")]
    assert chain.stopped == "early"


def test_a_stop_may_come_with_the_end_of_the_text() -> None:
    chain = Rules([Stop("abcd", "bc")]).start()
    assert chain.feed(CONTENT, "xabc") == [(CONTENT, "x")]
    assert chain.close() == [(CONTENT, "a")]
    assert chain.stopped == "stop"


# Rules of the user's own.


def test_a_users_rule_is_made_for_each_channel_that_has_a_text() -> None:
    made = []

    def make() -> Late:
        made.append(Late())
        return made[-1]

    chain = Rules([Replace("a", ""), make]).start()
    assert chain.feed(CONTENT, "a") == []
    assert not made
    assert chain.feed(REASONING, "bc") == [(REASONING, "B")]
    assert chain.feed(ARGUMENTS, "bc") == [(ARGUMENTS, "bc")]
    assert chain.holds(REASONING)
    assert joined(chain.close()) == {REASONING: "C."}
    assert chain.close() == []
    assert len(made) == 1


def test_a_users_rule_names_its_channels() -> None:
    class Loud(Late):
        channels = ("arguments",)

    rules = Rules([Loud])
    assert rules.reads_arguments
    chain = rules.start()
    assert chain.feed(CONTENT, "ab") == [(CONTENT, "ab")]
    assert chain.feed(ARGUMENTS, "ab") == [(ARGUMENTS, "A")]


def test_a_users_rule_that_passes_a_piece_may_hold_nothing() -> None:
    chain = Rules([lambda: Filter([Replace("ab", "#")])]).start()
    assert chain.feed(CONTENT, "xyz") == [(CONTENT, "xyz")]
    assert not chain.holds(CONTENT)
    assert chain.feed(CONTENT, "xa") == [(CONTENT, "x")]
    assert chain.feed(CONTENT, "x") == [(CONTENT, "ax")]
    assert chain.holds(CONTENT)  # nobody but the rule knows


def test_a_users_rule_that_returns_something_else_is_told() -> None:
    class Wrong(Late):
        def close(self) -> Any:
            return None

    stream = Filter([Wrong])
    assert stream.feed("ab") == "A"
    with pytest.raises(TypeError, match="return a str, not NoneType"):
        stream.close()


def test_a_users_exception_passes() -> None:
    def fail(_match: re.Match[str]) -> str:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        Filter([Replace(re.compile("a"), fail)]).feed("a")


# What makes no rule.

MISTAKES: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    "no-string": (ValueError, "at least one string", lambda: Replace([], "#")),
    "empty-string": (ValueError, "none is empty", lambda: Replace(["a", ""], "#")),
    "empty": (ValueError, "none is empty", lambda: Replace("", "#")),
    "bytes": (TypeError, "not for int", lambda: Replace(b"ab", "#")),  # type: ignore[arg-type]
    "bytes-among": (TypeError, "not for bytes", lambda: Replace([b"ab"], "#")),  # type: ignore[list-item]
    "longest": (ValueError, "longest=2", lambda: Replace(["a", "abc"], "#", longest=2)),
    "function-for-strings": (TypeError, "is a str", lambda: Replace("a", lambda _: "#")),
    "no-replacement": (
        TypeError,
        "or a function",
        lambda: Replace(re.compile("a"), None),  # type: ignore[arg-type]
    ),
    "group": (ValueError, "no template", lambda: Replace(re.compile("a"), r"\1")),
    "group-name": (ValueError, "no template", lambda: Replace(re.compile("a"), r"\g<x>")),
    "unbounded": (ValueError, "without a bound", lambda: Replace(re.compile("a+"), "#")),
    "too-long": (ValueError, "longest=1", lambda: Replace(re.compile("ab"), "#", longest=1)),
    "channel": (ValueError, "'text'", lambda: Replace("a", "#", channels=["text"])),
    "channels": (TypeError, "several names", lambda: Replace("a", "#", channels="content")),
    "stop-nowhere": (ValueError, "at least one string", Stop),
    "stop-empty": (ValueError, "none is empty", lambda: Stop("a", "")),
    "stop-list": (TypeError, "not for list", lambda: Stop(["a"])),  # type: ignore[arg-type]
    "stop-reason": (TypeError, "finish reason", lambda: Stop("a", finish_reason=None)),  # type: ignore[arg-type]
    "split-empty": (ValueError, "none is empty", lambda: Split("<", "")),
    "rule": (TypeError, "not str", lambda: Rules(["a"])),  # type: ignore[list-item]
    "made-rule": (TypeError, "not Late", lambda: Filter([Late()])),  # type: ignore[list-item]
    "piece": (TypeError, "not as bytes", lambda: Filter([]).feed(b"a")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_when_it_is_made(name: str) -> None:
    error, message, make = MISTAKES[name]
    with pytest.raises(error, match=message):
        make()


def test_a_limit_that_is_no_less_than_the_longest_is_taken() -> None:
    assert filtered([Replace(["a", "abc"], "#", longest=3)], ["ab", "cab"]) == "##b"


# Real texts.


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
def test_a_recorded_text_in_its_real_cuts(path: Path) -> None:
    chunks = fastchunk.ChunkStream(wire).feed(path.read_bytes())
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices or ()]
    contents = [delta.content for delta in deltas if delta]
    cut = [content for content in contents if isinstance(content, str)]
    whole = "".join(cut)
    # What is looked for lies across the real cuts.
    across = {(one + other)[-6:] for one, other in pairwise(cut)} - {""} or {"none"}
    spans = string_spans(across)(whole)
    assert filtered([Replace(across, "[#]")], cut) == replaced(whole, spans, "[#]")
    assert filtered([Stop(min(across))], cut) == cut_off(whole, [min(across)])
    words = re.compile(r"\b\w{3,5} (?:[a-z]{2}|\W{1,2})(?!\w)")
    assert filtered([Replace(words, "[#]")], cut) == words.sub("[#]", whole)
