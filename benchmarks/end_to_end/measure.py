"""The processes, and the passes in which the gateways take turns at every cell.

An upstream, the gateways and the clients run on the loopback interface. A cell is so many streams,
so many events a write.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, NamedTuple

from benchmarks.processes import Process, free_port, listens, module
from benchmarks.pure import ENVIRONMENT
from benchmarks.steps import Step, steps

from .gateways import GATEWAYS, PURE, RELAY, expected
from .load import Load, LoadFailed, put
from .upstream import Answer


class Cell(NamedTuple):
    """So many streams at once, how each is written, and in how many passes."""

    streams: int
    answer: Answer
    passes: int

    @property
    def name(self) -> str:
        """Name it as the README's tables do."""
        return f"{_count(self.streams, 'stream')}, {_count(self.answer.batch, 'event')} a write"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"


# The differences at 16 streams are what is judged, so they have the most passes. Not measured: 8
# events a write at 1 stream, and at 128 paced ones.
PACED = (
    Cell(16, Answer(256, 1, pace=400), 13),
    Cell(16, Answer(512, 8, pace=100), 9),
    Cell(1, Answer(256, 1, pace=400), 5),
    Cell(128, Answer(64, 1, pace=50), 5),
)
FULL = (
    Cell(1, Answer(8192, 1), 5),
    Cell(16, Answer(1024, 1), 5),
    Cell(16, Answer(1024, 8), 5),
    Cell(128, Answer(128, 1), 5),
    Cell(128, Answer(128, 8), 5),
)
_QUICK = (Cell(16, Answer(32, 1, pace=100), 1), Cell(16, Answer(64, 8, pace=50), 1))
_QUICK_FULL = (Cell(16, Answer(64, 8), 1),)
# A slow client's stream is larger than what the kernel's buffers on its way hold.
_MANY, _SLOW = Answer(100, 1), Answer(80_000, 8)
_STREAMS, _SLOW_STREAMS = 500, 10
_MAY_HOLD = 64 * 1024 * 1024


def start_ends(stack: ExitStack) -> tuple[Process, int]:
    """Start the clients, and an upstream; return the clients' process and the upstream's port."""
    port = free_port()
    clients = stack.enter_context(closing(Process(module("end_to_end.load"))))
    upstream = Process(module("end_to_end.upstream", str(port)))
    stack.enter_context(closing(upstream)).wait_for(partial(listens, port))
    return clients, port


class Bench:
    """The processes, and what can be asked of them."""

    def __init__(self, stack: ExitStack) -> None:
        self._load, upstream = start_ends(stack)
        self._gateways: dict[str, tuple[int, Process]] = {}
        for name in GATEWAYS:
            port = free_port()
            arguments = name, str(port), f"http://127.0.0.1:{upstream}"
            environment = {ENVIRONMENT: "1"} if name in PURE else None
            process = Process(module("end_to_end.gateways", *arguments), environment)
            self._gateways[name] = port, stack.enter_context(closing(process))
        for port, gateway in self._gateways.values():
            gateway.wait_for(partial(listens, port))

    def resting(self) -> dict[str, int]:
        """Return the memory that each gateway has now, in bytes."""
        return {name: gateway.memory("VmRSS") for name, (_, gateway) in self._gateways.items()}

    def measure(self, name: str, streams: int, answer: Answer, *slow: Any) -> dict[str, float]:
        """Put a load on one gateway; return what it took."""
        port, gateway = self._gateways[name]
        load = Load(port, gateway.pid, streams, answer, *expected(name), *slow)
        gateway.forget_peak()
        try:
            measured = put(self._load, load)
        except LoadFailed as error:
            raise SystemExit(f"{name}: {error}") from error
        return {**measured, "memory": gateway.memory("VmHWM")}

    def many(self) -> dict[str, float]:
        """Open very many streams, some of them to slow clients; raise if the memory has no bound.

        That the slow ones hold the upstream back, and that nothing is lost or out of order, is
        checked where the streams are read.
        """
        before = self.resting()[RELAY]
        fast = _STREAMS - _SLOW_STREAMS
        held = self.measure(RELAY, fast, _MANY, _SLOW_STREAMS, _SLOW)["memory"] - before
        if held > _MAY_HOLD:
            raise SystemExit(f"{_STREAMS} streams held {held:,} bytes")
        events = fast * _MANY.events + _SLOW_STREAMS * _SLOW.events
        return {"streams": _STREAMS, "slow": _SLOW_STREAMS, "events": events, "held": held}


Timings = dict[str, dict[str, list[dict[str, float]]]]


def _passes(bench: Bench, cells: Sequence[Cell], step: Step) -> Timings:
    """Measure cells: in each pass all gateways in turn, of which another one begins each time."""
    names = [*GATEWAYS]
    taken: Timings = {cell.name: {name: [] for name in names} for cell in cells}
    for n in range(max(cell.passes for cell in cells)):
        turn = n % len(names)
        for cell in cells:
            if n >= cell.passes:
                continue
            step(f"pass {n + 1}: {cell.name}")
            for name in names[turn:] + names[:turn]:
                measured = bench.measure(name, cell.streams, cell.answer)
                taken[cell.name][name].append(measured)
    return taken


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure all cells; every stream that comes out is checked."""
    paced, full = (_QUICK, _QUICK_FULL) if quick else (PACED, FULL)
    total = sum(cell.passes for cell in paced + full) + 3
    with steps(total) as step, ExitStack() as stack:
        bench = Bench(stack)
        resting = bench.resting()
        step("warming up")
        _passes(bench, _QUICK_FULL, lambda _: None)
        step(f"{_STREAMS} streams")
        many = bench.many()
        results = {
            "paced": _passes(bench, paced, step),
            "full": _passes(bench, full, step),
        }
        step("done")
    return {**results, "resting": resting, "many": many}
