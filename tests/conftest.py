"""What tests of several modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.scanners import SCANNERS, scanning

settings.register_profile("any machine", deadline=None)  # timing decides no test
settings.load_profile("any machine")


@pytest.fixture(scope="module", params=SCANNERS)
def scanner(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the module's tests with each scanner: `pytestmark = usefixtures("scanner")`."""
    with scanning(request.param):
        yield request.param
