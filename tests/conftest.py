"""What tests of several modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scanners import SCANNERS, scanning


@pytest.fixture(scope="module", params=SCANNERS)
def scanner(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the module's tests with each scanner: `pytestmark = usefixtures("scanner")`."""
    with scanning(request.param):
        yield request.param
