"""Relays, framing, clients, edits, the producer: whole streams, checked and then timed.

Run by `python -m benchmarks`. A check that fails leaves no timing behind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .peers import ALIAS, BUILT, BUILT_MODEL
from .stream_peers import EVENTS, FAMILY_DOCUMENTS, REDACTED, RELAYS, Run, Work, reads_of

_TEXTS = [" the", " streaming", "日本", "\n", ' "quoted"', ""] * 8
_DONE = b"data: [DONE]\n\n"


def _time(benchmark: BenchmarkFixture, run: Run, inputs: Sequence[Any], calls: int) -> None:
    benchmark.extra_info["calls"] = calls
    benchmark(run, inputs)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _after(work: Work, document: str) -> str:
    """Say what becomes of a text delta, which has every key."""
    value = json.loads(document)
    if work.restamp:
        value["model"] = ALIAS
    if work.strip:
        del value["usage"]
    if work.redact:
        value["choices"][0]["delta"]["content"] = REDACTED
    return _dumped(value)


def _with_unknown_keys(document: str) -> str:
    value = json.loads(document)
    value["choices"][0]["delta"]["x_phase"] = "final"
    return _dumped({**value, "x_request": {"region": "eu", "attempt": 1}})


def _without_unknown_keys(event: bytes) -> bytes:
    """Return what is left of an event in the Pydantic model."""
    return event.replace(b',"x_phase":"final"', b"").replace(
        b',"x_request":{"region":"eu","attempt":1}', b""
    )


def _relay(
    benchmark: BenchmarkFixture, run: Run, work: Work, documents: list[str], events: int
) -> None:
    reads = reads_of(documents, events)
    written, seen = run(reads)
    changed = [_after(work, document) for document in documents]
    assert written[: len(reads)] == reads_of(changed, events)
    assert not b"".join(written[len(reads) :])
    contents = [json.loads(document)["choices"][0]["delta"]["content"] for document in documents]
    assert seen == (contents if work.look else [])
    _time(benchmark, run, reads, EVENTS)


def test_relay_identity(
    benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int
) -> None:
    """Pass everything on."""
    _relay(benchmark, run, RELAYS["relay identity"], documents, events)


def test_relay_restamp(
    benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int
) -> None:
    """Change the model's name in every chunk."""
    _relay(benchmark, run, RELAYS["relay restamp"], documents, events)


def test_relay_look(
    benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int
) -> None:
    """Look at every chunk and change nothing."""
    _relay(benchmark, run, RELAYS["relay look"], documents, events)


def test_relay_restamp_and_look(
    benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int
) -> None:
    """Look at every chunk and change the model's name in it."""
    _relay(benchmark, run, RELAYS["relay restamp and look"], documents, events)


def test_relay_strip_usage(
    benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int
) -> None:
    """Take the usage out of every chunk."""
    _relay(benchmark, run, RELAYS["relay strip usage"], documents, events)


def test_relay_redact(
    benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int
) -> None:
    """Replace the text of every chunk."""
    _relay(benchmark, run, RELAYS["relay redact"], documents, events)


def test_relay_redact_unknown_keys(
    benchmark: BenchmarkFixture,
    run: Run,
    documents: list[str],
    events: int,
    request: pytest.FixtureRequest,
) -> None:
    """Replace the text of every chunk that has keys of the provider's own: the model loses them."""
    work = RELAYS["relay redact unknown keys"]
    sent = list(map(_with_unknown_keys, documents))
    expected = reads_of([_after(work, document) for document in sent], events)
    if "Pydantic" in request.node.name:
        expected = list(map(_without_unknown_keys, expected))
    reads = reads_of(sent, events)
    written, _ = run(reads)
    assert written[: len(reads)] == expected
    _time(benchmark, run, reads, EVENTS)


def test_family_decode(benchmark: BenchmarkFixture, run: Run) -> None:
    """A chunk as vLLM writes it, in either family."""
    found = [chunk.choices[0].delta.content for chunk in run(FAMILY_DOCUMENTS)]
    assert found == [f" {n}" for n in range(len(FAMILY_DOCUMENTS))]
    _time(benchmark, run, FAMILY_DOCUMENTS, len(FAMILY_DOCUMENTS))


def test_family_both_ways(
    benchmark: BenchmarkFixture, run: Run, request: pytest.FixtureRequest
) -> None:
    """The same and back: `wire` gives back the bytes that came, the mirror every key of its own."""
    for document, written in zip(FAMILY_DOCUMENTS, run(FAMILY_DOCUMENTS), strict=True):
        value, expected = json.loads(written), json.loads(document)
        assert value["choices"][0]["delta"]["content"] == expected["choices"][0]["delta"]["content"]
        if "wire" in request.node.name:
            assert written == document
    _time(benchmark, run, FAMILY_DOCUMENTS, len(FAMILY_DOCUMENTS))


def test_framing(benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int) -> None:
    """Reads to events."""
    reads = reads_of(documents, events)
    found = [event.data for event in run(reads)]
    assert [d.decode() if isinstance(d, bytes) else d for d in found] == documents
    _time(benchmark, run, reads, EVENTS)


def test_clients(benchmark: BenchmarkFixture, run: Run, documents: list[str], events: int) -> None:
    """Reads to chunks, up to the event that ends the stream."""
    reads = [*reads_of(documents, events), _DONE]
    for chunk, document in zip(run(reads), documents, strict=True):
        value = json.loads(document)
        choice, expected = chunk.choices[0], value["choices"][0]
        assert len(chunk.choices) == len(value["choices"]) == 1
        assert [getattr(chunk, k) for k in ("id", "object", "created", "model", "usage")] == [
            value[k] for k in ("id", "object", "created", "model", "usage")
        ]
        assert [getattr(choice, k) for k in ("index", "finish_reason", "logprobs")] == [
            expected[k] for k in ("index", "finish_reason", "logprobs")
        ]
        assert [getattr(choice.delta, k) for k in ("role", "content", "tool_calls")] == [
            expected["delta"][k] for k in ("role", "content", "tool_calls")
        ]
    _time(benchmark, run, reads, EVENTS)


def test_edit(benchmark: BenchmarkFixture, run: Run, documents: list[str]) -> None:
    """Change the model's name in one document."""
    inputs = [document.encode() for document in documents]
    changed = [_after(Work(restamp=True), document).encode() for document in documents]
    assert run(inputs) == changed
    _time(benchmark, run, inputs, len(inputs))


def _written(text: str, *, every_key: bool) -> str:
    """Return a text's event with every key of the model, or with what was set alone."""
    delta: dict[str, Any] = {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    if every_key:
        delta = {"role": None, **delta, "reasoning_content": None, "tool_calls": []}
        choice |= {"delta": delta, "stop_reason": None}
    chunk = {
        "id": BUILT["id"],
        "object": "chat.completion.chunk",
        "created": BUILT["created"],
        "model": BUILT_MODEL,
        "choices": [choice],
        **({"usage": None} if every_key else {}),
    }
    return f"data: {_dumped(chunk)}\n\n"


def test_producer(benchmark: BenchmarkFixture, run: Run, request: pytest.FixtureRequest) -> None:
    """A text to an event: what a server does."""
    events = [event if isinstance(event, str) else event.decode() for event in run(_TEXTS)]
    every_key = "wire" not in request.node.name
    assert events == [_written(text, every_key=every_key) for text in _TEXTS]
    _time(benchmark, run, _TEXTS, len(_TEXTS))
