"""Strings in a text that grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastchunk.literals import UNDECIDED, Literals

from .text_cases import LETTERS, settled, some_strings, string_spans


@given(some_strings, st.text(LETTERS, max_size=8), st.integers(0, 8))
def test_the_first_string_is_found(strings: list[str], text: str, start: int) -> None:
    start = min(start, len(text))
    found = Literals(strings).find(text, start, True)
    expected = string_spans(strings)(text[start:])
    if expected:
        assert found == (start + expected[0][0], start + expected[0][1])
    else:
        assert found == (len(text), UNDECIDED)


@given(st.lists(st.text(LETTERS, min_size=1, max_size=3), min_size=1), st.text(LETTERS, max_size=6))
def test_what_more_text_may_change_is_undecided(strings: list[str], text: str) -> None:
    literals = Literals(strings)
    at, end = 0, 0
    while end != UNDECIDED:
        begin, end = literals.find(text, at)
        at = begin if end == UNDECIDED else end
    assert at == settled(string_spans(strings), text, LETTERS, max(map(len, strings)))


def test_of_many_strings_few_are_compared() -> None:
    compared: list[str] = []

    class Watched(str):
        __slots__ = ()

        def __gt__(self, other: str) -> bool:
            compared.append(other)
            return super().__gt__(other)

    literals = Literals(Watched(f"s{number:06}") for number in range(100_000))
    compared.clear()
    assert literals.find("s0, s1, s12345, but s012345", 0) == (20, 27)
    assert 0 < len(compared) < 40
