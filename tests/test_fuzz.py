"""A little of the fuzzing in every run, and proof that it would notice."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest

from fastchunk import Relay

from . import fuzz


def test_streams_of_a_hundred_seeds() -> None:
    for seed in range(100):
        rng = random.Random(seed)
        fuzz.check(rng, fuzz.mutated(rng, fuzz.generated(rng)))


@pytest.mark.parametrize("family", fuzz.FAMILIES, ids=lambda family: family.__name__)
def test_streams_of_other_families(family: Any) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        fragments = fuzz.FRAGMENTS + fuzz.FAMILY_FRAGMENTS
        fuzz.check_of(rng, fuzz.mutated(rng, fuzz.generated_of(rng, family), fragments), family)


def test_the_command_reports_what_it_finds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--only", "5"])
    assert fuzz.main() == 0
    assert "nothing found" in capsys.readouterr().out
    monkeypatch.setattr(Relay, "close", lambda _: b"lost")
    with pytest.raises(AssertionError, match="an identity relay changed something"):
        fuzz.main()
    assert "python -m tests.fuzz --seed 1 --only 5" in capsys.readouterr().out
