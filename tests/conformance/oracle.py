"""The oracle: Ray Serve 2.46.0's real class, and the comparison of one input with it.

The ids and the times that both sides make up are fixed, on both sides in the same way; nothing
else of the oracle is touched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from pydantic import BaseModel, ValidationError
from ray.llm._internal.serve.configs import openai_api_models as ray_models
from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

from fastchunk import InvalidChunk, encode, models

Oracle = ChatCompletionStreamResponse

CLASSES: dict[str, type[BaseModel]] = {
    name: getattr(ray_models, name) for name in models.__all__ if name[0].isupper()
} | {"ChatCompletionStreamResponse": Oracle}

EXCLUSIONS: list[dict[str, Any]] = [
    {"exclude_none": True},
    {"exclude_defaults": True},
    {"exclude_none": True, "exclude_defaults": True, "indent": 3},
    {"indent": 2},
    {"indent": 0},
]


class Divergence(NamedTuple):
    """Where the two sides differ."""

    what: str
    oracle: str
    fastchunk: str


class Outcome(NamedTuple):
    value: Any
    errors: list[tuple[tuple[str | int, ...], str]] | None
    reason: str = ""


@contextmanager
def fixed_defaults() -> Iterator[None]:
    """Make ids and times the same on both sides: a made-up one is recognisable, and constant."""
    clock = SimpleNamespace(time=lambda: 1234567890.5)
    with (
        mock.patch.object(ray_models, "generate_request_id", return_value="fixed"),
        mock.patch.object(ray_models, "time", clock),
        mock.patch.object(models, "_make_request_id", return_value="fixed"),
        mock.patch.object(models, "time", clock),
    ):
        yield


def ask_oracle(call: Callable[[Any], Any], data: Any) -> Outcome:
    try:
        return Outcome(call(data), None)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return Outcome(None, [(e["loc"], e["type"]) for e in found], found[0]["msg"])


def ask_fastchunk(call: Callable[[Any], Any], data: Any) -> Outcome:
    try:
        return Outcome(call(data), None)
    except InvalidChunk as error:
        return Outcome(None, [(e["loc"], e["type"]) for e in error.errors()], str(error))


def compare(data: Any, oracle_data: Any = None, turn: int | None = None) -> Divergence | None:
    """Decode one document on both sides and compare the verdicts, the values and the bytes.

    `oracle_data` is the same document for the oracle where it does not take the type of `data`.
    Without a `turn` every question is asked of the results; with one, the first two and the one
    whose turn it is.
    """
    theirs = ask_oracle(Oracle.model_validate_json, data if oracle_data is None else oracle_data)
    return _compare(theirs, ask_fastchunk(models.decode, data), turn)


def compare_objects(value: Any, turn: int | None = None) -> Divergence | None:
    """Do the same for `model_validate`, with what `json.loads` returns."""
    theirs = ask_oracle(Oracle.model_validate, value)
    ours = ask_fastchunk(models.ChatCompletionStreamResponse.model_validate, value)
    return _compare(theirs, ours, turn)


def _compare(theirs: Outcome, ours: Outcome, turn: int | None) -> Divergence | None:
    if theirs.errors is not None or ours.errors is not None:
        if theirs.errors == ours.errors:
            return None
        return Divergence(
            "verdict",
            f"{theirs.errors} {theirs.reason}" if theirs.errors else repr(theirs.value),
            f"{ours.errors} {ours.reason}" if ours.errors else repr(ours.value),
        )
    return compare_values(theirs.value, ours.value, turn)


def compare_values(theirs: Any, ours: Any, turn: int | None = None) -> Divergence | None:
    """Compare two instances; `repr` tells types, NaN and -0.0 apart, which `==` does not."""
    rest = _QUESTIONS if turn is None else [_QUESTIONS[turn % len(_QUESTIONS)]]
    for what, call in [*_ALWAYS, *rest]:
        expected, answer = _answer(call, theirs), _answer(call, ours)
        if expected != answer:
            return Divergence(what, expected, answer)
    return None


def _answer(call: Callable[[Any], str], side: Any) -> str:
    try:
        return call(side)
    except ValueError:  # a lone surrogate, which model_validate lets in
        return "no UTF-8"


def _encoded(side: Any) -> str:
    return side.model_dump_json() if isinstance(side, BaseModel) else encode(side).decode()


def _json(options: dict[str, Any]) -> Callable[[Any], str]:
    return lambda side: str(side.model_dump_json(**options))


def _tree(options: dict[str, Any]) -> Callable[[Any], str]:
    return lambda side: repr(side.model_dump(**options))


_ALWAYS: list[tuple[str, Callable[[Any], str]]] = [("repr", repr), ("encode", _encoded)]
_QUESTIONS: list[tuple[str, Callable[[Any], str]]] = [
    ("str", str),
    ("model_dump", _tree({})),
    ("model_dump exclude_none", _tree({"exclude_none": True})),
    ("model_dump exclude_defaults", _tree({"exclude_defaults": True})),
    *((f"model_dump_json {options}", _json(options)) for options in EXCLUSIONS),
]


def loads(text: str) -> Any:
    """`json.loads`, or None for what it refuses."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
