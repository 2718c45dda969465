"""Decode, encode, restamp, build, pickle: checked against the oracle's answers, then timed.

Run by `python -m benchmarks`. A check that fails leaves no timing behind.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from .peers import ALIAS, BUILT, BUILT_MODEL, Case, Peer

_TEXTS = [" the", " streaming", "日本", "\n", ' "quoted"', ""] * 8


def _time(benchmark: BenchmarkFixture, call: Callable[[Any], Any], inputs: list[Any]) -> None:
    """Time `call` over all inputs; the loop's own cost, some 5 ns a call, is the same for all."""

    def loop() -> None:
        for item in inputs:
            call(item)

    # CPython specialises a call site for what it calls: give each benchmark one of its own.
    loop.__code__ = loop.__code__.replace()
    benchmark.extra_info["calls"] = len(inputs)
    benchmark(loop)


def _inputs(case: Case) -> list[bytes]:
    return [document.encode() for document in case["documents"]]


def _same_json(peer: Peer, encoded: bytes | str, expected: str) -> bool:
    """Compare what was encoded: the model's bytes are the oracle's, a dict's keep the value."""
    text = encoded.decode() if isinstance(encoded, bytes) else encoded
    return text == expected if peer.typed else json.loads(text) == json.loads(expected)


def test_decode(benchmark: BenchmarkFixture, peer: Peer, case: Case) -> None:
    """Bytes to a chunk."""
    inputs = _inputs(case)
    for data, dump in zip(inputs, case["dumps"], strict=True):
        assert peer.dump(peer.decode(data)) == (dump if peer.typed else json.loads(data))
    _time(benchmark, peer.decode, inputs)


def test_encode(benchmark: BenchmarkFixture, peer: Peer, case: Case) -> None:
    """A chunk to bytes."""
    chunks = [peer.decode(data) for data in _inputs(case)]
    wanted = case["encoded"] if peer.typed else case["documents"]
    for chunk, expected in zip(chunks, wanted, strict=True):
        assert _same_json(peer, peer.encode(chunk), expected)
    _time(benchmark, peer.encode, chunks)


def test_restamp(benchmark: BenchmarkFixture, peer: Peer, case: Case) -> None:
    """Bytes to a chunk, the model's name changed, to bytes: what a proxy does."""
    inputs = _inputs(case)
    wanted = case["encoded"] if peer.typed else case["documents"]
    for data, expected in zip(inputs, wanted, strict=True):
        changed = json.dumps(
            json.loads(expected) | {"model": ALIAS}, ensure_ascii=False, separators=(",", ":")
        )
        restamped = peer.restamp(data)
        text = restamped.decode() if isinstance(restamped, bytes) else restamped
        assert json.loads(text) == json.loads(changed)
        assert list(json.loads(text)) == list(json.loads(changed))
    _time(benchmark, peer.restamp, inputs)


def test_build(benchmark: BenchmarkFixture, peer: Peer) -> None:
    """A new chunk to bytes: what a server does."""
    for text in _TEXTS:
        built = json.loads(peer.build(text))
        assert built["choices"][0]["delta"]["content"] == text
        assert (built["id"], built["created"], built["model"]) == (*BUILT.values(), BUILT_MODEL)
        assert len(built) == len(built["choices"][0]) + 1 == 6
    _time(benchmark, peer.build, _TEXTS)


def test_pickle(benchmark: BenchmarkFixture, peer: Peer, case: Case) -> None:
    """A chunk to another process and back."""
    chunks = [peer.decode(data) for data in _inputs(case)]

    def round_trip(chunk: Any) -> Any:
        return pickle.loads(pickle.dumps(chunk, pickle.HIGHEST_PROTOCOL))  # noqa: S301

    assert [peer.dump(round_trip(c)) for c in chunks] == [peer.dump(c) for c in chunks]
    _time(benchmark, round_trip, chunks)
