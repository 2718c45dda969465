"""The two scanners, so that the tests of what scans can run with each of them in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest

from fastchunk import Relay, _scan_py, compiled
from fastchunk.edit import table_of

SCANNERS = ("compiled", "pure") if compiled else ("pure",)
"""Those that there are: the compiled one may not have been built."""

_USED = {
    "edit": ("Table", "splice"),
    "merge": ("splice",),
    "producer": ("Table", "scan"),
    "sse": ("cut_plain",),
    "stream": ("cut_plain",),
    "relay": ("Forwarder", "Table", "cut_plain"),
}


@contextmanager
def scanning(scanner: str) -> Iterator[None]:
    """Let everything that scans use the scanner of that name.

    The tables that were built at import stay: the functions in Python read no more than the paths.
    """
    with pytest.MonkeyPatch.context() as patch:
        if scanner == "pure":
            for name, functions in _USED.items():
                module = import_module(f"fastchunk.{name}")
                for function in functions:
                    patch.setattr(module, function, getattr(_scan_py, function, None))
        table_of.cache_clear()
        yield
    table_of.cache_clear()


def exact_relay(**options: object) -> Relay:
    """Return a relay that decodes every event."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastchunk.relay.Forwarder", None)
        return Relay(**options)  # type: ignore[arg-type]
