"""What a benchmark process is told: where the cases are; and the order: case by case, peer by peer.

The peers take turns within some tenths of a second, so that a machine whose speed drifts is as
slow for the one as for the other.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .peers import PEERS, Case


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that the runner sets."""
    parser.addoption("--cases", type=Path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each benchmark over every case, and each case with every peer in turn."""
    cases: dict[str, Case] = json.loads(metafunc.config.getoption("--cases").read_text("utf-8"))
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases.values(), ids=list(cases))
    metafunc.parametrize("peer", [make() for make in PEERS.values()], ids=list(PEERS))
