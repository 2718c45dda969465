"""What tests of several modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fastchunk.stream import Observer
from tests.scanners import SCANNERS, forget_tables, scanning

# Neither timing nor a seed decides a test; `tests.fuzz` and `tests.fuzz_text` look for more.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Know pytest-cov's marker where there is no pytest-cov, too."""
    config.addinivalue_line("markers", "no_cover: leave this test out of the coverage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests of recorded streams out of the coverage, which makes them slow.

    They are many, and everything is covered without them.
    """
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec and any(isinstance(value, Path) for value in callspec.params.values()):
            item.add_marker("no_cover")


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
