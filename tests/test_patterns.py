"""Patterns in a text that grows, against `re` itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import fastchunk
from fastchunk.literals import UNDECIDED
from fastchunk.patterns import BoundedPattern

from .text_cases import pattern_spans, settled

ALPHABET = "ab-"
ATOMS = ("a", "b", "-", "[ab]", "[^a]", ".", r"\w", r"\W")
# Each can come true in the alphabet, and none contradicts what stands beside it.
LOOKING_AROUND = (
    r"\bab?\b",
    r"\Ba\B",
    r"\b(?:ab){1,2}",
    r"a\b-?",
    r"^ab|b\b",
    r"\Aa|ba",
    "(?<!a)b(?!a)",
    "(?<=a)b{1,2}?(?=-)",
    "(?:^|-)a{2}(?!b)",
    r"[ab]{2}(?<!b)-",
    r"[ab]{1,2}(?<=a)b",
    r"(?:a|b(?=a))-?",
    "(?i:A)b{0,2}(?![^-])",
    "(?:a(?!b)|b){2}",
)


def _repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    counts = st.sampled_from(["?", "{1,2}", "{2}", "{0,1}", "{0}"])
    return st.builds(
        lambda p, n, lazy: f"(?:{p}){n}{lazy}", inner, counts, st.sampled_from(("", "?"))
    )


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda *parts: "".join(parts), inner, inner),
        st.builds(lambda *ways: f"({'|'.join(ways)})", inner, inner),
        _repeated(inner),
    )


patterns = st.recursive(st.sampled_from(ATOMS), _grown, max_leaves=5)


def _undecided(pattern: BoundedPattern, text: str) -> int:
    """Return where the first place stands that is not decided."""
    at, end = 0, 0
    while end != UNDECIDED:
        begin, end = pattern.find(text, at)
        at = begin if end == UNDECIDED else end
    return at


@given(patterns, st.text(ALPHABET, max_size=5))
def test_what_more_text_may_change_is_undecided(written: str, text: str) -> None:
    pattern = re.compile(written)
    if pattern.fullmatch(""):
        with pytest.raises(ValueError, match="may match nothing"):
            BoundedPattern(pattern)
        return
    try:
        bounded = BoundedPattern(pattern, longest=4)  # as far as what could follow is tried
    except ValueError:
        reject()
    assert _undecided(bounded, text) == settled(pattern_spans(pattern), text, ALPHABET, 4)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("a{1,2}", (1, UNDECIDED)),
        ("a{1,2}?", (1, 2)),
        ("ab{0,2}?", (1, 2)),
        ("a(?:bc)?", (1, UNDECIDED)),
        ("a(?:bc)??", (1, 2)),
        ("a|ab", (1, 2)),
        ("ab|a", (1, UNDECIDED)),
        ("aa|a", (1, UNDECIDED)),
        (r"a\b", (1, UNDECIDED)),
        ("a(?!b)", (1, UNDECIDED)),
        ("(?<=-)a", (1, 2)),
        (r"\ba", (1, 2)),
        ("(?<!-)a", (2, UNDECIDED)),
        ("[a-]{2}", (0, 2)),
        ("-a", (0, 2)),
        ("-b", (2, UNDECIDED)),
    ],
)
def test_a_match_is_settled_as_soon_as_it_can_be(written: str, found: tuple[int, int]) -> None:
    assert BoundedPattern(re.compile(written)).find("-a", 0) == found


def test_a_pattern_that_contradicts_itself_is_found_out_one_character_later() -> None:
    """The character behind a boundary or a look-around is only known when it is there."""
    pattern = BoundedPattern(re.compile(r"a\bb"))
    assert pattern.find("a", 0) == (0, UNDECIDED)
    assert pattern.find("ab", 0) == (2, UNDECIDED)


@pytest.mark.parametrize("written", LOOKING_AROUND)
@given(text=st.text(ALPHABET, max_size=5))
def test_what_is_around_is_waited_for_no_longer_than_it_decides(written: str, text: str) -> None:
    pattern = re.compile(written)
    found = _undecided(BoundedPattern(pattern), text)
    assert found == settled(pattern_spans(pattern), text, ALPHABET, 5)


REFUSED = {
    "a+b": "without a bound",
    "a*b": "without a bound",
    "a{2,}": "without a bound",
    "(?:ab){1,}?c": "without a bound",
    "(?:a{1,3}){1,}": "without a bound",
    "a?": "may match nothing",
    "(?:a|)": "may match nothing",
    "a{0}": "may match nothing",
    r"\b": "may match nothing",
    "(?=a)": "may match nothing",
    "a$": "end of the text",
    r"a\Z": "end of the text",
    "(?:a$|b)": "end of the text",
    "(?<=ab)c": "exactly one character",
    "(?<!ab)c": "exactly one character",
    "a(?=bc)": "exactly one character",
    "a(?!bc)": "exactly one character",
    "a(?=b?)": "exactly one character",
    "a(?=)": "exactly one character",
    r"a(?=b\b)": "exactly one character",
    r"(a)\1": "refers back",
    "(?P<x>a)(?P=x)": "refers back",
    "(a)?(?(1)b|c)": "refers back",
}


@pytest.mark.parametrize("written", REFUSED)
def test_what_cannot_be_told_while_the_text_grows_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=f"^the pattern .*{REFUSED[written]}"):
        BoundedPattern(re.compile(written))


@pytest.mark.parametrize("written", ["(?>ab?)b", "ab?+b"])
def test_what_gives_nothing_back_is_refused(written: str) -> None:
    """`re` itself does so before Python 3.11."""
    with pytest.raises((ValueError, re.error), match=r"atomic|extension|multiple repeat"):
        BoundedPattern(re.compile(written))


def test_a_pattern_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="from a str, not from bytes"):
        BoundedPattern(re.compile(b"a"))  # type: ignore[arg-type]


def test_the_longest_match_is_computed() -> None:
    pattern = re.compile("(?:ab|c){2,3}(?=d)")
    assert BoundedPattern(pattern, 6).find("ababc", 0) == (0, UNDECIDED)
    with pytest.raises(ValueError, match="longest=5, but the pattern can match 6 characters"):
        BoundedPattern(pattern, 5)


@pytest.mark.parametrize(
    ("written", "looks_back"),
    [("a(?=b)", False), ("(?<!a)b", True), (r"a\b", True), ("^a", True), (r"\Aa", True)],
)
def test_only_some_patterns_look_back(written: str, looks_back: bool) -> None:
    assert BoundedPattern(re.compile(written)).looks_back == looks_back


def test_a_pattern_for_debugging_prints_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    pattern = re.compile("a", re.DEBUG)
    assert capsys.readouterr().out
    BoundedPattern(pattern)
    assert not capsys.readouterr().out


def test_a_place_where_no_match_can_begin_is_passed_without_a_look() -> None:
    """Where a match begins with a character, so does the search: the end is not met there."""
    for written in (r"\d{2}", r"\bab", "(?<!a)(?:b[c-d]?){1,4}", "(?:a|b)c"):
        assert BoundedPattern(re.compile(written)).search("x y z", 0) is None


def test_one_module_alone_uses_what_re_does_not_publish() -> None:
    modules = Path(fastchunk.__file__).parent.rglob("*.py")
    inside = re.compile(r"\b(?:sre_\w+|re\._\w+)\b")
    assert [m.name for m in modules if inside.search(m.read_text("utf-8"))] == ["patterns.py"]
