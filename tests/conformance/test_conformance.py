"""The mirror against the oracle: hand-written cases, generated ones, and recorded streams."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fastchunk import models
from tests.streams import documents, recorded

from . import __main__ as command
from .nasties import INNERMOST, NASTIES, NASTY_OBJECTS, NESTED_AT, nested
from .oracle import (
    CLASSES,
    Oracle,
    ask_fastchunk,
    ask_oracle,
    compare,
    compare_objects,
    compare_values,
    fixed_defaults,
)


@pytest.fixture(autouse=True)
def _same_defaults() -> Any:
    with fixed_defaults():
        yield


@pytest.mark.parametrize("data", NASTIES.values(), ids=NASTIES)
def test_nasty_document(data: bytes) -> None:
    assert compare(data) is None


@pytest.mark.parametrize("data", NASTIES.values(), ids=NASTIES)
def test_nasty_document_as_str(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert compare(text) is None


@pytest.mark.parametrize("data", NASTIES.values(), ids=NASTIES)
def test_nasty_document_in_a_buffer(data: bytes) -> None:
    around = b'{"' + data + b'"}'
    assert compare(bytearray(data)) is None
    assert compare(memoryview(data), data) is None
    assert compare(memoryview(around)[2:-2], data) is None
    assert compare(memoryview(bytearray(around))[2:-2], data) is None


@pytest.mark.parametrize("value", NASTY_OBJECTS.values(), ids=NASTY_OBJECTS)
def test_nasty_object(value: object) -> None:
    assert compare_objects(value) is None


@pytest.mark.parametrize("kinds", ["[", "{", "[{", "[[{"])
@pytest.mark.parametrize("where", NESTED_AT)
def test_nesting_around_the_limit(where: str, kinds: str) -> None:
    refused = set()
    for levels in range(194, 203):
        for innermost in INNERMOST:
            data = nested(where, kinds, levels, innermost)
            assert compare(data, turn=0) is None
            answers = {
                str(ask_fastchunk(models.decode, given).errors)
                for given in (data, data.decode(), bytearray(data), memoryview(data))
            }
            assert len(answers) == 1
            refused.add("json_invalid" in answers.pop())
    assert refused == ({True} if where == "no-document" else {True, False})


@pytest.mark.parametrize("seed", range(60))
def test_nesting_around_the_limit_among_other_values(seed: int) -> None:
    random = Random(seed)
    value, others = "1", ["2", '"[[["', r'"\"}]\\"', "[]", "{ }", "[[3]]", '{"b":[{}]}', "null"]
    for _ in range(random.randint(196, 202)):
        before, after = (random.choices(others, k=random.choice([0, 0, 0, 1, 3])) for _ in range(2))
        if random.random() < 0.5:
            value = f"[{', '.join([*before, value, *after])}]"
        else:
            items = [f'"{n}": {item}' for n, item in enumerate([*before, value, *after])]
            value = f"{{{', '.join(items)}}}"
    for where in ("unknown", "unknown-and-lax"):
        data = (NESTED_AT[where] % value).encode()
        assert compare(data, turn=0) is None
        assert compare(data.decode(), turn=0) is None


def test_every_prefix_and_every_missing_byte() -> None:
    data = Oracle.model_validate_json(NASTIES["content-null"]).model_dump_json().encode()
    for i in range(len(data)):
        assert compare(data[:i], turn=0) is None
        assert compare(data[:i] + data[i + 1 :], turn=0) is None


@pytest.mark.parametrize(
    ("name", "field", "alphabet", "length"),
    [
        ("UsageInfo", "prompt_tokens", "01_-.+ ", 5),
        ("UsageInfo", "prompt_tokens", "0_-1", 6),
        ("ChatCompletionLogProb", "logprob", "01_.e-+ ", 4),
        ("ChatCompletionLogProb", "logprob", "1_.einfa", 4),
    ],
)
def test_every_short_string_for_a_number(name: str, field: str, alphabet: str, length: int) -> None:
    ours, theirs = getattr(models, name), CLASSES[name]
    for size in range(length + 1):
        for letters in itertools.product(alphabet, repeat=size):
            value = {"token": "t", field: "".join(letters)}
            answer = ask_fastchunk(ours.model_validate, value)
            expected = ask_oracle(theirs.model_validate, value)
            assert (repr(answer.value), answer.errors) == (repr(expected.value), expected.errors)


def test_generated_documents(capsys: pytest.CaptureFixture[str]) -> None:
    counts, reports = command.run(cases=7_000, seed=20, only=None)
    capsys.readouterr()
    assert reports == []
    assert sum(counts.values()) == 14_000


def test_a_divergence_says_how_to_repeat_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "decode", lambda _: models.UsageInfo())
    monkeypatch.setattr("sys.argv", ["conformance", "--cases", "7", "--seed", "4"])
    assert command.main() == 1
    printed = capsys.readouterr().out
    assert "python -m tests.conformance --seed 4 --only 0" in printed
    for word in ("input", "oracle", "fastchunk", "schema"):
        assert word in printed


@pytest.mark.parametrize("stream", recorded(), ids=lambda path: path.stem)
def test_recorded_stream(stream: Path) -> None:
    assert documents(stream)
    for data in documents(stream):
        assert compare(data) is None
        assert compare(memoryview(b"data: " + data + b"\n\n")[6:-2], data, turn=0) is None
        assert compare(bytearray(data), turn=0) is None
        assert compare(data.decode(), turn=0) is None
        assert compare_objects(json.loads(data) if data != b"[DONE]" else None) is None


def test_constructed_instances_dump_alike() -> None:
    """An instance built by hand, with every field once left out and once given."""
    for theirs, ours in _built_alike():
        assert compare_values(theirs, ours) is None


def _built_alike() -> list[tuple[Any, Any]]:
    built: list[tuple[Any, Any]] = []
    for side in (CLASSES, vars(models)):
        made = _build(side)
        built = made if not built else list(zip(built, made, strict=True))
    return built


def _build(c: Any) -> list[Any]:
    entry = c["ChatCompletionLogProb"](token="t", logprob=-0.5, bytes=[116])
    content = c["ChatCompletionLogProbsContent"](token="t", top_logprobs=[entry])
    function = c["DeltaFunctionCall"](name="f", arguments="{}")
    call = c["DeltaToolCall"](index=0, function=function)
    deltas = [
        c["DeltaMessage"](),
        c["DeltaMessage"](content=None),
        c["DeltaMessage"](role="assistant", content="x", reasoning_content="y", tool_calls=[call]),
    ]
    choices = [
        c["ChatCompletionResponseStreamChoice"](
            index=i,
            delta=delta,
            logprobs=c["ChatCompletionLogProbs"](content=[content]),
            finish_reason="stop",
            stop_reason=7,
        )
        for i, delta in enumerate(deltas[::2])
    ]
    usage = c["UsageInfo"](prompt_tokens_details=c["PromptTokenUsageInfo"](cached_tokens=3))
    return [
        entry,
        content,
        function,
        call,
        deltas[0],
        deltas[2],
        *choices,
        usage,
        c["ChatCompletionStreamResponse"](model="m", choices=choices, usage=usage),
        c["ChatCompletionStreamResponse"](model="m", choices=[]),
    ]


def test_a_none_content_encodes_as_the_oracle_does() -> None:
    encoded = []
    for c in (CLASSES, vars(models)):
        delta = c["DeltaMessage"](content=None)
        choice = c["ChatCompletionResponseStreamChoice"](index=0, delta=delta)
        chunk = c["ChatCompletionStreamResponse"](model="m", choices=[choice])
        encoded.append([x.model_dump_json() for x in (delta, choice, chunk)])
        encoded.append([x.model_dump() for x in (delta, choice, chunk)])
    assert encoded[:2] == encoded[2:]
