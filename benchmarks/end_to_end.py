"""A gateway's whole cost, in a process of its own with sockets on both sides, peer by peer.

An upstream, one gateway for each peer and the clients are processes on the loopback interface. In
every pass the gateways take turns at every cell: so many streams, so many events a write.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress

from . import report
from .end_to_end_load import Load
from .end_to_end_peers import PEERS, RESTAMP, expected
from .end_to_end_upstream import Answer


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
    Cell(16, Answer(512, 8, pace=100), 7),
    Cell(1, Answer(256, 1, pace=400), 3),
    Cell(128, Answer(128, 1, pace=50), 2),
)
FULL = (
    Cell(1, Answer(8192, 1), 4),
    Cell(16, Answer(1024, 1), 4),
    Cell(16, Answer(1024, 8), 4),
    Cell(128, Answer(128, 1), 4),
    Cell(128, Answer(128, 8), 4),
)
_QUICK = (Cell(16, Answer(32, 1, pace=100), 1), Cell(16, Answer(64, 8, pace=50), 1))
_QUICK_FULL = (Cell(16, Answer(64, 8), 1),)
# A slow client's stream is larger than what the kernel's buffers on its way hold.
_MANY, _SLOW = Answer(100, 1), Answer(80_000, 8)
_STREAMS, _SLOW_STREAMS = 500, 10
_MAY_HOLD = 64 * 1024 * 1024


class _Process:
    """A module of this package, running."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=report.ROOT,
        )
        self.pid = self._process.pid

    def ask(self, line: bytes) -> str:
        """Write a line to it, and return the line that it answers."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line.decode() + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise SystemExit("the load failed")
        return answer

    def wait_for(self, port: int) -> None:
        """Wait until it listens."""
        while self._process.poll() is None:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                return
            time.sleep(0.05)
        raise SystemExit(f"{' '.join(self._command)} has ended")

    def memory(self, name: str) -> int:
        """Return a size from its status, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Begin a new peak of memory (proc(5): clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", "utf-8")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Bench:
    """The processes, and what can be asked of them."""

    def __init__(self, stack: ExitStack) -> None:
        upstream = _free_port()
        self._load = stack.enter_context(closing(_Process("end_to_end_load")))
        replaying = stack.enter_context(closing(_Process("end_to_end_upstream", str(upstream))))
        replaying.wait_for(upstream)
        self._gateways: dict[str, tuple[int, _Process]] = {}
        for peer in PEERS:
            port = _free_port()
            arguments = peer, str(port), f"http://127.0.0.1:{upstream}"
            gateway = stack.enter_context(closing(_Process("end_to_end_peers", *arguments)))
            self._gateways[peer] = port, gateway
        for port, gateway in self._gateways.values():
            gateway.wait_for(port)

    def resting(self) -> dict[str, int]:
        """Return the memory that each gateway has now, in bytes."""
        return {peer: gateway.memory("VmRSS") for peer, (_, gateway) in self._gateways.items()}

    def measure(self, peer: str, streams: int, answer: Answer, *slow: Any) -> dict[str, float]:
        """Put a load on one gateway; return what it took."""
        port, gateway = self._gateways[peer]
        load = Load(port, gateway.pid, streams, answer, *expected(peer), *slow)
        gateway.forget_peak()
        answered = self._load.ask(msgspec.json.encode(load))
        measured: dict[str, float] = msgspec.json.decode(answered)
        return {**measured, "memory": gateway.memory("VmHWM")}

    def many(self) -> dict[str, float]:
        """Open very many streams, some of them to slow clients; raise if the memory has no bound.

        That the slow ones hold the upstream back, and that nothing is lost or out of order, is
        checked where the streams are read.
        """
        before = self.resting()[RESTAMP]
        fast = _STREAMS - _SLOW_STREAMS
        held = self.measure(RESTAMP, fast, _MANY, _SLOW_STREAMS, _SLOW)["memory"] - before
        if held > _MAY_HOLD:
            raise SystemExit(f"{_STREAMS} streams held {held:,} bytes")
        events = fast * _MANY.events + _SLOW_STREAMS * _SLOW.events
        return {"streams": _STREAMS, "slow": _SLOW_STREAMS, "events": events, "held": held}


Timings = dict[str, dict[str, list[dict[str, float]]]]


def _passes(bench: Bench, cells: Sequence[Cell], step: Callable[[str], None]) -> Timings:
    """Measure cells: in each pass all peers in turn, of which another one begins each time."""
    peers = [*PEERS]
    taken: Timings = {cell.name: {peer: [] for peer in peers} for cell in cells}
    for n in range(max(cell.passes for cell in cells)):
        turn = n % len(peers)
        for cell in cells:
            if n >= cell.passes:
                continue
            step(f"pass {n + 1}: {cell.name}")
            for peer in peers[turn:] + peers[:turn]:
                measured = bench.measure(peer, cell.streams, cell.answer)
                taken[cell.name][peer].append(measured)
    return taken


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure all cells; every stream that comes out is checked."""
    paced, full = (_QUICK, _QUICK_FULL) if quick else (PACED, FULL)
    total = sum(cell.passes for cell in paced + full) + 3
    with Progress(console=Console(stderr=True)) as progress, ExitStack() as stack:
        bar = progress.add_task("starting the gateways", total=total)

        def step(description: str) -> None:
            progress.update(bar, description=description, advance=1)

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
