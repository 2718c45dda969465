"""The two scanners, so that the tests of what scans can run with each of them in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from fastchunk import Relay, _scan_py, compiled, scan
from fastchunk.stream import Declining

SCANNERS = ("compiled", "pure") if compiled else ("pure",)
"""Those that there are: the compiled one may not have been built."""

MODULES = [import_module("fastchunk._scan"), _scan_py] if compiled else [_scan_py]

_USERS = [
    import_module(f"fastchunk.{name}")
    for name in "edit merge producer relay rewrite sse stream".split()
]
_NAMES = (
    *("Alike", "Forwarder", "Looker", "Reader", "Table"),
    *("cut_plain", "is_plain", "iterate", "plain_events", "scan", "splice"),
)


@contextmanager
def scanning(scanner: str) -> Iterator[None]:
    """Let everything that scans use the scanner of that name."""
    with pytest.MonkeyPatch.context() as patch:
        if scanner == "pure":
            for module in _USERS:
                for name, value in _replacements(module).items():
                    patch.setattr(module, name, value)
        forget_tables()
        yield
    forget_tables()


def forget_tables() -> None:
    """Forget the tables that were built, and with them what relays have learned."""
    for module in _USERS:
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def _replacements(module: ModuleType) -> dict[str, Any]:
    """List what a module has of the compiled scanner's, with what the one in Python has for it."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name in _NAMES:
            found[name] = getattr(_scan_py, name, None)
        elif isinstance(value, scan.Table):
            found[name] = _scan_py.Table(value.paths, value.roles)
    return found


def exact_relay(**options: Any) -> Relay:
    """Return a relay that decodes every event by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Relay, "_new_taker", lambda *_: Declining(bytes))
        return Relay(**options)
