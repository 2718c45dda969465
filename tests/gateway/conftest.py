"""Servers that end when they are told to: most of the time here would be waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn.server


def _sleep_less(seconds: float) -> Coroutine[Any, Any, None]:
    return asyncio.sleep(seconds / 20)


@pytest.fixture(autouse=True, scope="package")
def _prompt_servers() -> Iterator[None]:
    """Let uvicorn look each 5 ms whether it is to end, and not each 100 ms."""
    hasty = SimpleNamespace(**{**vars(asyncio), "sleep": _sleep_less})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.server, "asyncio", hasty)
        yield
