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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from . import report
from .end_to_end_load import Load, Measured
from .end_to_end_peers import PEERS, expected
from .end_to_end_upstream import Answer


class Cell(NamedTuple):
    """So many streams at once, and how each is written."""

    streams: int
    answer: Answer

    @property
    def name(self) -> str:
        pace = f"{self.answer.pace:g} writes a second" if self.answer.pace else "full speed"
        return f"{self.streams} × {self.answer.batch}, {pace}"


class _Process:
    """A module of this package, running."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=report.ROOT
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
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit(f"{self._process.args} has ended")

    def memory(self, name: str) -> int:
        """Return a size from its status, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
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
        self._load = stack.enter_context(_Process("end_to_end_load"))
        stack.enter_context(_Process("end_to_end_upstream", str(upstream))).wait_for(upstream)
        self.gateways: dict[str, tuple[int, _Process]] = {}
        for peer in PEERS:
            port = _free_port()
            arguments = peer, str(port), f"http://127.0.0.1:{upstream}"
            gateway = stack.enter_context(_Process("end_to_end_peers", *arguments))
            self.gateways[peer] = port, gateway
        for port, gateway in self.gateways.values():
            gateway.wait_for(port)

    def measure(self, peer: str, cell: Cell) -> Measured:
        """Put a load on one gateway."""
        port, gateway = self.gateways[peer]
        load = Load(port, gateway.pid, cell.streams, cell.answer, *expected(peer))
        return msgspec.json.decode(self._load.ask(msgspec.json.encode(load)), type=Measured)
