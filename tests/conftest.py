"""What tests of several modules share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from fastchunk.stream import Observer
from tests.scanners import SCANNERS, forget_tables, scanning

# Neither timing nor a seed decides a test; `tests.fuzz` and `tests.fuzz_text` look for more.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


@pytest.fixture(scope="module", params=SCANNERS)
def scanner(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the module's tests with each scanner: `pytestmark = usefixtures("scanner")`."""
    with scanning(request.param):
        yield request.param


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the data of the events that are decoded one by one, with nothing learned before."""
    found: list[bytes] = []
    observe = Observer.observe

    def noted(self: Observer, data: bytes, *arguments: Any) -> Any:
        found.append(data)
        return observe(self, data, *arguments)

    monkeypatch.setattr(Observer, "observe", noted)
    forget_tables()
    return found
