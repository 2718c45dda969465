"""Imports: what a fresh interpreter takes for one, its own start taken off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

from .pages import ROOT
from .pure import ENVIRONMENT

NOTHING = "nothing"
_STATEMENTS = {
    NOTHING: "pass",
    "fastchunk": "import fastchunk",
    "fastchunk, pure": "import fastchunk",
    "msgspec": "import msgspec",
    "orjson": "import orjson",
}
_SLOW = {
    "Pydantic model": "from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse",
}
_SLOW_RUNS = 5

Times = dict[str, list[float]]


def measure(runs: int, step: Callable[[str], None]) -> Times:
    """Time every import so many times in turn; return seconds, the interpreter's start included."""
    taken: Times = {name: [] for name in (*_STATEMENTS, *_SLOW)}
    for statement in _STATEMENTS.values():
        _time(statement, pure=False)  # writes the bytecode that every later import reads
    for n in range(runs):
        step(f"imports, {n + 1} of {runs}")
        for name, statement in {**_STATEMENTS, **(_SLOW if n < _SLOW_RUNS else {})}.items():
            taken[name].append(_time(statement, pure=name.endswith("pure")))
    return taken


def own(times: Times, name: str) -> float:
    """Return an import's own time in seconds: the median, less that of an empty program."""
    return median(times[name]) - median(times[NOTHING])


def _time(statement: str, *, pure: bool) -> float:
    environment = {**os.environ, **({ENVIRONMENT: "1"} if pure else {})}
    # Compiling the sources anew each time takes longer than all else.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT, env=environment)
    return perf_counter() - begin
