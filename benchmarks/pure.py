"""The pure package, in a process of its own that takes turns with this one.

In:  lines `check JOB PEER`, `turn JOB PEER` and `hold still`, their words separated by tabs.
Out: for each, a line of JSON: what the turn returns, or null.

`python -m benchmarks.pure` runs it with `FASTCHUNK_PURE=1`. Both processes make the same jobs, so
that nothing but names and times goes through the pipe.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import fastchunk

from .catalog import jobs
from .job import Job
from .processes import Process, module
from .turns import Turn, hold_still, prepare

ENVIRONMENT = "FASTCHUNK_PURE"


class PurePackage:
    """The other process."""

    def __init__(self) -> None:
        self._process = Process(module("pure"), {ENVIRONMENT: "1"})
        self.close = self._process.close

    def prepare(self, job: Job, peer: str) -> Turn:
        """Check a peer there, and return what takes its turns."""
        self._ask("check", job.name, peer)
        return lambda: self._ask("turn", job.name, peer)

    def hold_still(self) -> None:
        """Let the garbage collector there run between turns alone."""
        self._ask("hold still")

    def _ask(self, *words: str) -> Any:
        return json.loads(self._process.ask("\t".join(words).encode()))


def _answer() -> None:
    if fastchunk.compiled:
        raise SystemExit(f"{ENVIRONMENT}=1 has not kept the compiled scanner out")
    known = {job.name: job for job in jobs()}
    turns: dict[tuple[str, str], Turn] = {}
    for line in sys.stdin:
        answer: Any = None
        match line.rstrip("\n").split("\t"):
            case ["check", name, peer]:
                turns[name, peer] = prepare(known[name], peer)
            case ["turn", name, peer]:
                answer = turns[name, peer]()
            case _:
                hold_still()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _answer()
