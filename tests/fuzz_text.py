"""`python -m tests.fuzz_text --cases N --seed S`: random text rules, texts and cuts, for a while.

Checked for each: a rule gives what `re`'s own `sub` and the naive rules give, whatever the cuts;
rules in a row, over channels that take turns, give the same for every cut; and nothing is held
that no continuation could make part of a match.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from fastchunk.text import Channel, Piece, Replace, Rule, Rules, Split, Stop

from .text_cases import (
    Late,
    chained,
    cut,
    cut_off,
    filtered,
    pattern_spans,
    replaced,
    settled,
    split,
    string_spans,
)

ALPHABET = "aabbcA1-\n"
MARKED = "aab<>c"
FLAGS = (0, 0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.ASCII, re.VERBOSE)
CHARACTERS = (*"abcA1-.", "[ab]", "[^a]", "[b-c]", r"\w", r"\W", r"\d", r"\n", r"[^\W\d]")
AROUND = (
    *(r"\b", r"\B", "^", r"\A", "(?<!a)", "(?<=b)", "(?<=[ab])"),
    *("(?!a)", "(?=b)", "(?![^b])", r"(?=\w)", r"(?<!\d)"),
)
COUNTS = ("?", "{0}", "{1}", "{2}", "{0,1}", "{0,2}", "{1,2}", "{1,3}", "{2,3}")
GROUPS = ("(?:", "(", "(?i:", "(?s:", "(?m:")
PUT: tuple[Any, ...] = (
    "#",
    "",
    "a",
    r"[\g<0>]",
    lambda match: f"<{match[0].upper()}{match.groups()}>",
)


def pattern(
    rng: random.Random, characters: Sequence[str], around: Sequence[str], depth: int = 0
) -> str:
    """Write a pattern."""

    def inner() -> str:
        return pattern(rng, characters, around, depth + 1)

    kind = rng.choices("character sequence ways repeat around".split(), (34, 21, 15, 18, 12))[0]
    if kind == "around" and around:
        return rng.choice(around)
    if depth > 3 or kind in {"character", "around"}:
        return rng.choice(characters)
    if kind == "sequence":
        return "".join(inner() for _ in range(rng.randint(2, 3)))
    if kind == "ways":
        ways = [inner() if rng.random() < 0.9 else "" for _ in range(rng.randint(1, 3))]
        return f"{rng.choice(GROUPS)}{'|'.join(ways)})"
    return f"(?:{inner()}){rng.choice(COUNTS)}{rng.choice(('', '?'))}"


def replacing(rng: random.Random, **options: Any) -> tuple[Replace, re.Pattern[str], Any]:
    """Make a rule of a random pattern that is not refused, which few are."""
    while True:
        put = rng.choice(PUT)
        with suppress(re.error, ValueError):
            compiled = re.compile(pattern(rng, CHARACTERS, AROUND), rng.choice(FLAGS))
            return Replace(compiled, put, **options), compiled, put


def text(rng: random.Random, alphabet: str, longest: int) -> str:
    return "".join(rng.choices(alphabet, k=rng.randint(0, longest)))


def some(rng: random.Random, alphabet: str, longest: int) -> list[str]:
    return [rng.choice(alphabet) + text(rng, alphabet, longest) for _ in range(rng.randint(1, 4))]


def cuts(rng: random.Random, whole: str) -> list[list[str]]:
    places = [rng.randint(0, len(whole)) for _ in range(rng.randint(0, 5))]
    return [[whole], list(whole), cut(whole, *places)]


def check_pattern(rng: random.Random) -> None:
    rule, compiled, put = replacing(rng)
    for _ in range(4):
        whole = text(rng, ALPHABET, 12)
        for pieces in cuts(rng, whole):
            found = filtered([rule], pieces)
            assert found == compiled.sub(put, whole), (compiled, put, pieces, found)


def check_strings(rng: random.Random) -> None:
    strings, whole = some(rng, "aab", 3), text(rng, "aabc", 20)
    begin, end = some(rng, "ab", 1)[0], some(rng, "ab", 1)[0]
    for pieces in cuts(rng, whole):
        found = filtered([Replace(strings, "#")], pieces)
        assert found == replaced(whole, string_spans(strings)(whole), "#"), (strings, pieces)
        assert filtered([Stop(*strings)], pieces) == cut_off(whole, strings), (strings, pieces)
        moved = chained([Split(begin, end)], [(("content", 0), piece) for piece in pieces])
        names = ("content", "reasoning")
        expected = split(whole, begin, end)
        assert [moved.get((name, 0), "") for name in names] == list(expected), (begin, end, pieces)


def check_hold(rng: random.Random) -> None:
    """Compare what has left with what is settled, whatever follows.

    The characters are those that can follow; what looks around may contradict what stands there.
    """
    strings, so_far = some(rng, "ab", 2), text(rng, "ab-", 5)
    rules = [(string_spans(strings), Replace(strings, "#"))]
    compiled = re.compile(pattern(rng, (*"abc-.", "[ab]", "[^a]", r"\w", r"\W"), ()))
    with suppress(ValueError):
        rules.append((pattern_spans(compiled), Replace(compiled, "#", longest=3)))
    for spans, rule in rules:
        place = settled(spans, so_far, "abc-", 3)
        before = [span for span in spans(so_far) if span[1] <= place]
        chain = Rules([rule]).start()
        left = "".join(piece for _, piece in chain.feed(("content", 0), so_far))
        assert left == replaced(so_far[:place], before, "#"), (compiled, strings, so_far, left)


def any_rule(rng: random.Random) -> Rule:
    """Make any rule, with marks and strings that meet often."""
    names = rng.choice([("content", "reasoning", "refusal"), ("content",), ("reasoning",)])
    kind = rng.choices("strings pattern stop split own".split(), (30, 25, 12, 25, 8))[0]
    if kind == "strings":
        return Replace(some(rng, MARKED, 3), text(rng, MARKED, 2), channels=names)
    if kind == "pattern":
        return replacing(rng, channels=names)[0]
    if kind == "stop":
        return Stop(*some(rng, MARKED, 2), finish_reason=text(rng, MARKED, 3))
    if kind == "split":
        return Split(some(rng, MARKED, 1)[0], some(rng, MARKED, 1)[0])
    return Late


def _run(rules: list[Rule], fed: Iterable[Piece]) -> tuple[dict[Channel, str], str | None]:
    chain = Rules(rules).start()
    left: dict[Channel, str] = {}
    for pieces in (*(chain.feed(*piece) for piece in fed), chain.close()):
        for channel, piece in pieces:
            assert piece, "an empty piece has left"
            left[channel] = left.get(channel, "") + piece
    assert not any(map(chain.holds, left)), "something is held after the end"
    return left, chain.stopped


def check_rules(rng: random.Random) -> None:
    rules = [any_rule(rng) for _ in range(rng.randint(1, 5))]
    channels: list[Channel] = [("content", 0)] * 4
    channels += [("reasoning", 0), ("arguments", 1), ("refusal", 0)]
    turns = [(rng.choice(channels), text(rng, MARKED, 8)) for _ in range(rng.randint(1, 5))]
    at_once = _run(rules, turns)
    ways = [cuts(rng, whole) for _, whole in turns]
    for way in range(3):
        fed = [
            (channel, piece)
            for (channel, _), pieces in zip(turns, ways, strict=True)
            for piece in pieces[way]
        ]
        assert _run(rules, fed) == at_once, ([vars(rule) for rule in rules], fed, at_once)


CHECKS = (check_pattern, check_pattern, check_strings, check_rules, check_rules, check_hold)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_text", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="CASE", help="repeat one case of the seed")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    only = options.only
    for case in range(options.cases) if only is None else [only]:
        check = CHECKS[case % len(CHECKS)]
        try:
            check(random.Random(options.seed * 1_000_000_007 + case))
        except BaseException:
            print(f"repeat: python -m tests.fuzz_text --seed {options.seed} --only {case}")
            raise
        counts[check.__name__] += 1
    print(f"{sum(counts.values()):,} cases, {dict(counts)}, seed {options.seed}: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
