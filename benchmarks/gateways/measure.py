"""The passes in which all gateways take turns, before one upstream; and what each one loses.

A cell is a kind of load. All gateways run from the beginning to the end, each in processes of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.end_to_end.load import Load, LoadFailed, Target, put
from benchmarks.end_to_end.measure import Timings, start_ends
from benchmarks.end_to_end.upstream import Answer
from benchmarks.processes import Process, free_port, listens
from benchmarks.steps import Step, steps

from . import fidelity
from .peers import PEERS, UNAVAILABLE, Peer, Place


class Cell(NamedTuple):
    """A kind of load: so many clients, each asking for so many streams, one after the other."""

    name: str
    clients: int
    answer: Answer
    requests: int = 1

    @property
    def about(self) -> str:
        """Describe it."""
        if self.requests > 1:
            return f"{self.clients} clients, each asking for {self.requests} streams of one text"
        batch, pace = self.answer.batch, self.answer.pace
        each = "1 event" if batch == 1 else f"{batch} events"
        return (
            f"{self.clients} streams, {each} a write, {self.clients * batch * pace:,.0f} a second"
        )


CELLS = (
    Cell("A", 16, Answer(256, 1, pace=400)),
    Cell("B", 16, Answer(512, 8, pace=100)),
    Cell("C", 16, Answer(512, 1, pace=900)),
    Cell("D", 16, Answer(1024, 8, pace=300)),
    Cell("R", 16, Answer(1), requests=32),
)
_QUICK = (
    Cell("A", 4, Answer(32, 1, pace=200)),
    Cell("B", 4, Answer(64, 8, pace=50)),
    Cell("R", 4, Answer(1), requests=4),
)
_PASSES, _SLOW_PASSES = 7, 3
_START = 90  # seconds


class Gateway:
    """A gateway that has been started."""

    def __init__(self, peer: Peer, upstream: int, clients: Process, folder: Path) -> None:
        self.peer = peer
        self._clients = clients
        self._folder = folder
        self._log = folder / "log"
        self.port = free_port()
        command = peer.start(Place(self.port, upstream, folder))
        self.target: Target = command.target
        self._chooses_port = command.chooses_port
        self._process = Process(command.arguments, command.environment, folder, self._log)
        self.close = self._process.close

    def load(self, clients: int, answer: Answer, requests: int = 1) -> Load:
        """Return a load for it."""
        return Load(
            self.port,
            self._process.pid,
            clients,
            answer,
            self.peer.model,
            requests=requests,
            target=self.target,
        )

    def wait(self) -> None:
        """Wait until it answers. Raises `LoadFailed`."""
        try:
            self._process.wait_for(self._is_ready, _START)
        except (ChildProcessError, TimeoutError) as error:
            raise LoadFailed(f"{error}: {self._last_words()}") from error

    def _is_ready(self) -> bool:
        if self._chooses_port:
            url = self._folder / "url"
            if not (url.exists() and url.read_text("utf-8")):
                return False
            self.port = urlsplit(url.read_text("utf-8")).port or 0
        if not listens(self.port):
            return False
        try:
            put(self._clients, self.load(1, Answer(1)))
        except LoadFailed:
            return False
        return True

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it wrote nothing"

    def measure(self, cell: Cell) -> dict[str, float]:
        """Put a load on it; return what it took. Raises `LoadFailed`."""
        return put(self._clients, self.load(cell.clients, cell.answer, cell.requests))


class Bench:
    """All gateways that can be started; why the others cannot."""

    def __init__(self, stack: ExitStack) -> None:
        self.absent: dict[str, str] = {}
        self.running: dict[str, Gateway] = {}
        self._clients, upstream = start_ends(stack)
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for n, peer in enumerate(PEERS):
            if reason := peer.missing():
                self.absent[peer.name] = reason
                continue
            own = folder / str(n)
            own.mkdir()
            gateway = Gateway(peer, upstream, self._clients, own)
            self.running[peer.name] = stack.enter_context(closing(gateway))

    def wait(self) -> None:
        """Wait until all answer."""
        for gateway in [*self.running.values()]:
            with self.excusing(gateway):
                gateway.wait()

    @contextmanager
    def excusing(self, gateway: Gateway) -> Iterator[None]:
        """Take a gateway out that fails, with the reason; where it is our own, end."""
        name = gateway.peer.name
        try:
            yield
        except LoadFailed as error:
            if gateway.peer.environment is None:
                raise SystemExit(f"{name}: {error}") from error
            self.absent[name] = str(error)
            self.running.pop(name).close()

    def losses(self) -> dict[str, dict[str, fidelity.Loss]]:
        """Let the recorded streams through all; nothing where there are no recordings."""
        asked = {name: (one.port, one.target) for name, one in self.running.items()}
        found = fidelity.measure(asked)
        for name, losses in found.items():
            peer = self.running[name].peer
            if peer.environment is None and any(map(fidelity.is_loss, losses.values())):
                raise SystemExit(f"{name} is not without loss: {losses}")
        return found

    def passes(self, cells: tuple[Cell, ...], passes: int, step: Step) -> Timings:
        """Measure cells: in each pass all gateways in turn, of which another begins each time."""
        taken: Timings = {cell.name: {name: [] for name in self.running} for cell in cells}
        for n in range(passes):
            for cell in cells:
                step(f"pass {n + 1}: {cell.name}")
                running = self.running.values()
                order = [one for one in running if n < _SLOW_PASSES or not one.peer.slow]
                turn = n % len(order)
                for gateway in order[turn:] + order[:turn]:
                    with self.excusing(gateway):
                        taken[cell.name][gateway.peer.name].append(gateway.measure(cell))
        return {
            cell: {name: each for name, each in gateways.items() if name in self.running}
            for cell, gateways in taken.items()
        }


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure all gateways that are there; every stream that comes out is checked."""
    cells, passes = (_QUICK, 1) if quick else (CELLS, _PASSES)
    with steps(passes * len(cells) + 3) as step, ExitStack() as stack:
        bench = Bench(stack)
        bench.wait()
        step("recorded streams")
        losses = bench.losses()
        if not quick:
            step("warming up")
            bench.passes(_QUICK, 1, lambda _: None)
        taken = bench.passes(cells, passes, step)
        step("done")
    return {
        "passes": passes,
        "cells": taken,
        "about": {cell.name: cell.about for cell in cells},
        "losses": losses,
        "absent": {**bench.absent, **UNAVAILABLE},
        "peers": {
            name: {"about": gateway.peer.about, "versions": gateway.peer.versions()}
            for name, gateway in bench.running.items()
        },
    }
