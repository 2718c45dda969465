"""How the streams of each family are read: one module a family, imported when it is asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from fastchunk.dialect import Dialect

__all__ = ["dialect_of"]

_MODULES = {
    "fastchunk.completions": "completions",
    "fastchunk.messages": "messages",
    "fastchunk.responses": "responses",
}


def dialect_of(family: Any) -> Dialect:
    """Return how a family's events are read; of one that is not listed, as chat's chunks.

    Raises `TypeError` for what is no family.
    """
    if not callable(getattr(family, "decode", None)):
        raise TypeError(f"family must be a module with a decode function, not {family!r}")
    return _load(_MODULES.get(getattr(family, "__name__", ""), "chat"))


@cache
def _load(name: str) -> Dialect:
    dialect: Dialect = import_module(f".{name}", __name__).DIALECT
    return dialect
