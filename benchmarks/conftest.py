"""What a benchmark process is told: where the cases are; and the order: case by case, peer by peer.

The peers take turns within some tenths of a second, so that a machine whose speed drifts is as
slow for the one as for the other.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .accumulate_peers import ANSWER_PEERS, answer_streams
from .peers import PEERS, Case
from .stream_peers import EVENTS, READS, STREAM_PEERS, name_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that the runner sets."""
    parser.addoption("--cases", type=Path)


def _cases(config: pytest.Config) -> dict[str, Case]:
    cases: dict[str, Case] = json.loads(config.getoption("--cases").read_text("utf-8"))
    return cases


@pytest.fixture(scope="session")
def documents(pytestconfig: pytest.Config) -> list[str]:
    """Return a stream's documents: text deltas, over and over."""
    return _documents(pytestconfig)


def _documents(config: pytest.Config) -> list[str]:
    deltas = _cases(config)["text delta"]["documents"]
    return [deltas[n % len(deltas)] for n in range(EVENTS)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each benchmark over every case, and each case with every peer in turn."""
    if "run" in metafunc.fixturenames:
        _generate_streams(metafunc)
        return
    if "answer_peer" in metafunc.fixturenames:
        _generate_answers(metafunc)
        return
    if "case" in metafunc.fixturenames:
        cases = _cases(metafunc.config)
        metafunc.parametrize("case", cases.values(), ids=list(cases))
    metafunc.parametrize("peer", [make() for make in PEERS.values()], ids=list(PEERS))


def _generate_streams(metafunc: pytest.Metafunc) -> None:
    peers = STREAM_PEERS[metafunc.function.__name__.removeprefix("test_").replace("_", " ")]
    if "events" in metafunc.fixturenames:
        metafunc.parametrize("events", READS, ids=[name_of(events) for events in READS])
    metafunc.parametrize("run", [make() for make in peers.values()], ids=list(peers))


def _generate_answers(metafunc: pytest.Metafunc) -> None:
    streams = answer_streams(_documents(metafunc.config))
    metafunc.parametrize("answer_stream", streams.values(), ids=list(streams))
    peers = [make() for make in ANSWER_PEERS.values()]
    metafunc.parametrize("answer_peer", peers, ids=list(ANSWER_PEERS))
