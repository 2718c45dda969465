"""Other processes: started, asked line by line, ended with all that they have started.

Their processor time and memory are those of the whole tree: workers and children count.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .pages import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A command that runs in a session of its own, until it is closed."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
        log: Path | None = None,
    ) -> None:
        """Start it; what it has to say goes to `log`, if there is one, instead of the terminal."""
        self._command = command
        with (log or Path(os.devnull)).open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output if log else subprocess.PIPE,
                stderr=subprocess.STDOUT if log else None,
                text=True,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
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
        if not answer:  # it has said on stderr why
            raise SystemExit(f"{' '.join(self._command)} has ended")
        return answer

    def wait_for(self, is_ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until it is ready. Raises `ChildProcessError` if it ends, `TimeoutError`."""
        until = time.monotonic() + seconds
        while not is_ready():
            if self._process.poll() is not None:
                raise ChildProcessError(f"it ended with status {self._process.returncode}")
            if time.monotonic() > until:
                raise TimeoutError(f"it was not ready after {seconds:.0f} s")
            time.sleep(0.05)

    def memory(self, name: str) -> int:
        """Return a size from its own status, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Begin a new peak of memory (proc(5): clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", "utf-8")

    def close(self) -> None:
        """End it, and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate()


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of the benchmarks."""
    return [sys.executable, "-m", f"benchmarks.{name}", *arguments]


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def processor_time(pid: int) -> int:
    """Return the processor time of a process and its descendants, all threads, in nanoseconds.

    Of those that live it is exact (clock_getcpuclockid); of those that ended, in ticks.
    """
    return sum(_own_time(one) for one in _tree(pid))


def _own_time(pid: int) -> int:
    try:
        own = time.clock_gettime_ns((~pid << 3) | 2)
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:  # it has just ended, and counts with its parent
        return 0
    user, system = stat.rpartition(")")[2].split()[13:15]
    return own + (int(user) + int(system)) * 10**9 // _TICKS


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found.extend(map(int, children.read_text("ascii").split()))
    return found
