"""What text rules do to whole texts, told naively; and a table of cases.

The naive rules share nothing with the package: strings are looked for at every place, one after
the other, patterns are `re`'s own `sub`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise, product
from typing import NamedTuple

from hypothesis import strategies as st

from fastchunk.text import Channel, Filter, Piece, Replace, Rule, Rules, Split, Stop

Spans = list[tuple[int, int]]
LETTERS = "abc"


class Case(NamedTuple):
    rules: list[Rule]
    text: str
    result: str


def strings(*strings: str, put: str = "#") -> list[Rule]:
    return [Replace(strings, put)]


def pattern(pattern: str, put: str = "#", flags: int = 0) -> list[Rule]:
    return [Replace(re.compile(pattern, flags), put)]


CARD = r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)"

CASES = {
    # Strings: the leftmost counts, and of those that begin at one place the longest.
    "nothing": Case([], "ab", "ab"),
    "no-text": Case(strings("a"), "", ""),
    "none": Case(strings("abc"), "ab ab ac", "ab ab ac"),
    "one": Case(strings("b"), "abc", "a#c"),
    "at-the-beginning": Case(strings("ab"), "abc", "#c"),
    "at-the-end": Case(strings("bc"), "abc", "a#"),
    "whole-text": Case(strings("abc"), "abc", "#"),
    "touching": Case(strings("ab"), "abab", "##"),
    "overlapping-itself": Case(strings("aa"), "aaaaa", "##a"),
    "overlap": Case(strings("abc", "cd"), "abcd", "#d"),
    "leftmost-not-longest": Case(strings("ab", "bcde"), "abcde", "#cde"),
    "leftmost-fails-late": Case(strings("abcdx", "bc"), "abcdy", "a#dy"),
    "prefix-of-another": Case(strings("ab", "abcd"), "abcd abc ab", "# #c #"),
    "prefix-of-a-prefix": Case(strings("a", "abc", "abcde"), "abcd abcde", "#d #"),
    "suffix-of-another": Case(strings("b", "ab"), "ab b", "# #"),
    "inside-another": Case(strings("b", "abc"), "abc abd", "# a#d"),
    "strings-between-in-order": Case(strings("a", "abb", "abc"), "abd", "#bd"),
    "begins-anew-inside": Case(strings("aab"), "aaab", "a#"),
    "removed": Case(strings("b", put=""), "abc", "ac"),
    "no-template": Case(strings("b", put=r"\1\g<0>"), "abc", r"a\1\g<0>c"),
    "no-pattern": Case(strings("a.c", "(", "^"), "abc a.c (^", "abc # ##"),
    "case": Case(strings("ab"), "AB Ab ab", "AB Ab #"),
    # What was put in is not looked at again.
    "put-in-is-a-match": Case(strings("ab", put="ab"), "abab", "abab"),
    "put-in-begins-a-match": Case(strings("b", "aac", put="a"), "bac bb", "aac aa"),
    "put-in-completes-a-match": Case(strings("bb", "abc", put="bc"), "abb", "abc"),
    "put-in-by-the-rule-before": Case([Replace("b", "x"), Replace("axc", "#")], "abc axc", "# #"),
    "two-rules-one-after-the-other": Case(
        [Replace("ab", "b"), Replace("bb", "c"), Replace("cc", "#")], "abababb", "#"
    ),
    # Characters are code points: str, as it is.
    "surrogate-pair-in-halves": Case(strings("x"), "\ud83d\ude00x", "\ud83d\ude00#"),
    "lone-surrogate": Case(strings("\ud83d"), "a\ud83db", "a#b"),
    "halves-are-a-string": Case(strings("\ud83d\ude00"), "a\ud83d\ude00b", "a#b"),
    "halves-are-not-the-character": Case(strings("\U0001f600"), "\ud83d\ude00", "\ud83d\ude00"),
    "astral": Case(strings("\U0001f600"), "a\U0001f600b", "a#b"),
    "combining-after": Case(strings("e"), "e\u0301", "#\u0301"),
    "combining-whole": Case(strings("e\u0301"), "e e\u0301", "e #"),
    "composed-is-another": Case(strings("e\u0301"), "\u00e9", "\u00e9"),
    "line-ends": Case(strings("\r\n", "\u2028"), "a\r\nb\u2028c\n", "a#b#c\n"),
    "nul": Case(strings("\0"), "a\0b", "a#b"),
    # Patterns: as `pattern.sub`.
    "pattern": Case(pattern(r"\d{2,3}"), "a1 12 123 1234", "a1 # # #4"),
    "pattern-shorter-first": Case(pattern("ab|abc"), "abc", "#c"),
    "pattern-longer-first": Case(pattern("abc|ab"), "abc ab", "# #"),
    "pattern-lazy": Case(pattern("a{1,3}?"), "aaa", "###"),
    "pattern-lazy-then": Case(pattern("a{1,3}?b"), "aaaab", "a#"),
    "pattern-optional": Case(pattern("ab?c?"), "a ab abc ac", "# # # #"),
    "pattern-zero-times": Case(pattern("ab{0}c"), "ac abc", "# abc"),
    "pattern-template": Case(pattern(r"(\d)-(?P<n>\d)", r"\2+\g<n>+\1"), "1-2", "2+2+1"),
    "pattern-group-without-match": Case(pattern("(a)|b", r"[\1]"), "ab", "[a][]"),
    "pattern-group-when-the-text-ends": Case(pattern("(a)b?", r"[\1]"), "ca", "c[a]"),
    "pattern-group-repeated": Case(pattern("(?:(a)|(b)){2}c", r"[\1\2]"), "abc", "[ab]"),
    "pattern-ignorecase": Case(pattern("stra\u00dfe", flags=re.IGNORECASE), "STRA\u1e9eE", "#"),
    "pattern-flag-inside": Case(pattern("a(?i:b)c"), "aBc ABc", "# ABc"),
    "pattern-ascii": Case(pattern(r"\d", flags=re.ASCII), "1\u0661", "#\u0661"),
    "pattern-unicode": Case(pattern(r"\d"), "1\u0661", "##"),
    "pattern-dotall": Case(pattern("a.", flags=re.DOTALL), "a\na", "#a"),
    "pattern-no-dotall": Case(pattern("a."), "a\nab", "a\n#"),
    "pattern-verbose": Case(pattern("a  # one\n b", flags=re.VERBOSE), "ab a b", "# a b"),
    "pattern-words": Case(pattern(r"\bab\b"), "ab abc cab ab", "# abc cab #"),
    "pattern-inside-words": Case(pattern(r"\Bb\B"), "b ab abc", "b ab a#c"),
    "pattern-at-the-beginning": Case(pattern(r"\Aa|^b"), "abab", "#bab"),
    "pattern-at-the-beginning-of-lines": Case(
        pattern("^a", flags=re.MULTILINE), "aa\naa", "#a\n#a"
    ),
    "pattern-behind": Case(pattern("(?<=a)b"), "b ab bb", "b a# bb"),
    "pattern-behind-sees-what-was-there": Case(pattern("(?<=a)b|a"), "abb", "##b"),
    "pattern-not-behind": Case(pattern("(?<!a)b"), "bbab", "##ab"),
    "pattern-behind-in-the-middle": Case(pattern(r"\w{2}(?<!b)c"), "abc bac", "abc #"),
    "pattern-ahead": Case(pattern("a(?=b)"), "ab a aab", "#b a a#b"),
    "pattern-not-ahead": Case(pattern("a(?!b)"), "ab a aab", "ab # #ab"),
    "pattern-ahead-is-free-to-match": Case(pattern("a(?=b)|b"), "ab", "##"),
    "pattern-card": Case(
        pattern(CARD, "[card]"),
        "no. 4111 1111-1111 1111, 41111111111111111111",
        "no. [card], 41111111111111111111",
    ),
    # Stop: the text before the string, wherever the rest comes.
    "stop": Case([Stop("b")], "abcb", "a"),
    "stop-none": Case([Stop("abc")], "ab", "ab"),
    "stop-at-once": Case([Stop("ab")], "abc", ""),
    "stop-leftmost": Case([Stop("abcd", "bc")], "xabcd", "x"),
    "stop-longest-does-not-matter": Case([Stop("ab", "abc")], "xab", "x"),
    "stop-shorter-after-longer-fails": Case([Stop("abcd", "bc")], "xabce", "xa"),
    "stop-shorter-when-the-text-ends": Case([Stop("abcd", "bc")], "xabc", "xa"),
    "stop-after-replacing": Case([Replace("b", "c"), Stop("cc")], "abc", "a"),
    "stop-before-replacing": Case([Stop("bc"), Replace("ab", "#")], "aabc", "aa"),
    "stop-ends-what-is-replaced": Case([Stop("cc"), Replace(re.compile("ab?"), "#")], "acc", "#"),
    "stop-twice": Case([Stop("d"), Stop("b")], "abcd", "a"),
    # Split: only the content is told here.
    "split": Case([Split("<t>", "</t>")], "a<t>b</t>c", "ac"),
    "split-again": Case([Split("<t>", "</t>")], "<t>b</t><t>b</t>c<t>", "c"),
    "split-marks-are-the-same": Case([Split("|", "|")], "a|b|c|d", "ac"),
    "split-does-not-end": Case([Split("<t>", "</t>")], "a<t>b</t", "a"),
    "split-does-not-begin": Case([Split("<t>", "</t>")], "a</t>b<t", "a</t>b<t"),
    "split-begins-within": Case([Split("<t>", "</t>")], "<t><t>b</t>c</t>", "c</t>"),
    "split-joins-what-is-around": Case([Split("<", ">"), Replace("ac", "#")], "a<b>c", "#"),
    "split-then-stop": Case([Split("<", ">"), Stop("ac")], "xa<b>c<d>e", "x"),
}


class Late:
    """A rule of a user's own: gives each character only when the next one has come, in capitals."""

    def __init__(self) -> None:
        self.waiting = ""

    def feed(self, piece: str) -> str:
        text = self.waiting + piece
        self.waiting = text[-1]
        return text[:-1].upper()

    def close(self) -> str:
        return self.waiting.upper() + "."


def cut(text: str, *places: int) -> list[str]:
    """Cut a text at places."""
    return [text[begin:end] for begin, end in pairwise((0, *sorted(places), len(text)))]


def all_cuts(text: str) -> Iterator[list[str]]:
    """Cut a text in every way; where there are too many, in two everywhere, and in characters."""
    if len(text) <= 8:
        for chosen in product((False, True), repeat=max(len(text) - 1, 0)):
            yield cut(text, *(place for place, taken in enumerate(chosen, 1) if taken))
    else:
        yield from (cut(text, place) for place in range(len(text) + 1))
    yield list(text)
    yield ["", *(piece for character in text for piece in (character, ""))]


def filtered(rules: Iterable[Rule], pieces: Iterable[str]) -> str:
    """Feed a text in pieces to a filter."""
    stream = Filter(rules)
    return "".join(map(stream.feed, pieces)) + stream.close()


def joined(leaving: Iterable[Piece]) -> dict[Channel, str]:
    """Join the pieces of each channel."""
    found: dict[Channel, str] = {}
    for channel, piece in leaving:
        assert piece
        found[channel] = found.get(channel, "") + piece
    return found


def chained(rules: Iterable[Rule], fed: Iterable[Piece]) -> dict[Channel, str]:
    """Feed pieces to a chain; return what leaves on each channel."""
    chain = Rules(rules).start()
    leaving = [piece for channel, text in fed for piece in chain.feed(channel, text)]
    return joined([*leaving, *chain.close()])


def string_spans(strings: Iterable[str]) -> Callable[[str], Spans]:
    """Look for strings at every place of a text, the longest first."""
    longest_first = sorted(strings, key=len, reverse=True)

    def spans(text: str) -> Spans:
        found: Spans = []
        at = 0
        while at < len(text):
            length = next((len(s) for s in longest_first if text.startswith(s, at)), 0)
            if length:
                found.append((at, at + length))
            at += length or 1
        return found

    return spans


def pattern_spans(pattern: re.Pattern[str]) -> Callable[[str], Spans]:
    """Look for a pattern in a text."""
    return lambda text: [match.span() for match in pattern.finditer(text)]


def replaced(text: str, spans: Spans, put: str) -> str:
    """Put something in the place of spans of a text."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return put.join(text[begin:end] for begin, end in list(pairwise(edges))[::2])


def cut_off(text: str, strings: Iterable[str]) -> str:
    """Return what stands before the first of some strings."""
    return text[: min((at for s in strings if (at := text.find(s)) >= 0), default=len(text))]


def split(text: str, begin: str, end: str) -> tuple[str, str]:
    """Return what stands outside of marks, and what stands within."""
    outside, _, rest = text.partition(begin)
    within = ""
    while rest:
        inside, _, rest = rest.partition(end)
        within += inside
        more, _, rest = rest.partition(begin)
        outside += more
    return outside, within


def settled(spans: Callable[[str], Spans], text: str, alphabet: str, longest: int) -> int:
    """Return how much of a text is decided, having tried all that could follow.

    That is the furthest place of which every continuation says: no match goes across it, and the
    matches before it are these.
    """
    follow = ["".join(c) for n in range(longest + 1) for c in product(alphabet, repeat=n)]
    found = [spans(text + continuation) for continuation in follow]
    place = len(text)
    while not (
        all(not begin < place < end for each in found for begin, end in each)
        and len({tuple(s for s in each if s[0] < place) for each in found}) == 1
    ):
        place -= 1
    return place


texts = st.text(LETTERS, max_size=12)
pieces = st.lists(st.text(LETTERS, max_size=4), max_size=8)
some_strings = st.lists(st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=5)


@st.composite
def cuts(draw: st.DrawFn, of: st.SearchStrategy[str]) -> tuple[str, list[str]]:
    """Draw a text and a way to cut it."""
    lengths = draw(st.lists(st.integers(0, 5), max_size=8))
    text = draw(of)
    return text, cut(text, *(place for place in accumulate(lengths) if place <= len(text)))
