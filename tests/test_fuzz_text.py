"""A little of the fuzzing of text rules in every run, and proof that it would notice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from fastchunk import literals, patterns
from fastchunk.literals import UNDECIDED

from . import fuzz_text


def _hasty(find: Callable[..., tuple[int, int]]) -> Callable[..., tuple[int, int]]:
    def found(self: Any, text: str, start: int, *_: Any) -> tuple[int, int]:
        return find(self, text, start, True)  # as if no more text came

    return found


def _lazy(_self: Any, _text: str, start: int, *_: Any) -> tuple[int, int]:
    return start, UNDECIDED


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fuzz_text", *arguments])
    return fuzz_text.main()


def test_some_cases(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, "--cases", "600") == 0
    assert "600 cases" in capsys.readouterr().out


@pytest.mark.parametrize("finder", [literals.Literals, patterns.BoundedPattern])
@pytest.mark.parametrize("wrong", ["hasty", "lazy"])
def test_a_finder_that_is_wrong_is_found_out(
    finder: Any, wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(finder, "find", _hasty(finder.find) if wrong == "hasty" else _lazy)
    with pytest.raises(AssertionError):
        _run(monkeypatch, "--cases", "600")
    assert "repeat: python -m tests.fuzz_text --seed 1 --only " in capsys.readouterr().out


def test_one_case_is_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "--only", "3") == 0
    assert "1 cases, {'check_rules': 1}" in capsys.readouterr().out
