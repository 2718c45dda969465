"""The scanner: one validating pass over a document that finds the values which a table names.

In:  one JSON document as bytes, and a table of paths.
Out: where each named value begins and ends; or the document with some of them changed.
Cost: compiled, about a nanosecond for a byte and a half; in Python, one msgspec decode and a search
for each value that is named.

There are two scanners with one interface. `_scan` is compiled, from Cython; where it was not built,
or where the environment variable `FASTCHUNK_PURE` is `1`, `_scan_py` takes its place. What one of
them says the other one says too, except that each may answer None, "this is not plain": an
interesting key that comes twice or is spelled with an escape, a number that may be out of range.
Then the caller's exact path decides.

Both also take reads of whole events: a `Forwarder` passes them on as bytes, a `Reader` decodes
them. They take what asks for no decision, and leave the rest to their caller. The compiled ones go
from event to event without returning to Python.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from . import _scan_py

__all__ = [
    "FACT",
    "IN_PLACE",
    "KIND",
    "LATEST",
    "MAX_PATHS",
    "PLAIN",
    "TEXT",
    "Alike",
    "Deltas",
    "Forwarder",
    "Looker",
    "Notes",
    "Path",
    "Reader",
    "Table",
    "Tally",
    "Value",
    "compiled",
    "cut_plain",
    "gatherer",
    "guarded_decoder",
    "is_plain",
    "iterate",
    "paths_of",
    "plain_events",
    "quick_editor",
    "scan",
    "splice",
]

Notes = _scan_py.Notes
Path = _scan_py.Path
Value = _scan_py.Value

PLAIN, FACT = _scan_py.PLAIN, _scan_py.FACT
LATEST, IN_PLACE = _scan_py.LATEST, _scan_py.IN_PLACE
KIND, TEXT = _scan_py.KIND, _scan_py.TEXT
MAX_PATHS = 32
"""The most paths that a `Forwarder` takes; a compiled table of more finds nothing plain."""

if TYPE_CHECKING:
    from ._scan import (
        Alike,
        Deltas,
        Forwarder,
        Looker,
        Reader,
        Table,
        Tally,
        cut_plain,
        gatherer,
        guarded_decoder,
        is_plain,
        iterate,
        plain_events,
        quick_editor,
        scan,
        splice,
    )

    compiled: bool
    """Whether the compiled scanner is in use."""
else:
    implementation: Any = _scan_py
    if os.environ.get("FASTCHUNK_PURE") != "1":
        # It may not have been built, or not for this interpreter.
        with suppress(ImportError):
            from . import _scan as implementation
    compiled = implementation is not _scan_py
    Alike = implementation.Alike
    Forwarder, Looker = implementation.Forwarder, implementation.Looker
    Reader, iterate = implementation.Reader, implementation.iterate
    Table, Tally = implementation.Table, implementation.Tally
    cut_plain = implementation.cut_plain
    Deltas, gatherer = implementation.Deltas, implementation.gatherer
    guarded_decoder, plain_events = implementation.guarded_decoder, implementation.plain_events
    scan, is_plain = implementation.scan, implementation.is_plain
    splice, quick_editor = implementation.splice, implementation.quick_editor


def paths_of(struct_type: type[msgspec.Struct]) -> dict[Path, int]:
    """List the paths to a Struct type's fields, and to those of the Structs below it, with roles.

    A field that holds raw JSON is one of which the latest is kept; any other is a fact.
    """
    found: dict[Path, int] = {}
    info = inspect.type_info(struct_type)
    assert isinstance(info, inspect.StructType)  # noqa: S101
    for field in info.fields:
        parts = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        is_raw = any(isinstance(part, inspect.RawType) for part in parts)
        found[field.encode_name,] = LATEST if is_raw else FACT
        for part in parts:
            is_list = isinstance(part, inspect.ListType)
            below = part.item_type if isinstance(part, inspect.ListType) else part
            steps: Path = (field.encode_name, None) if is_list else (field.encode_name,)
            if isinstance(below, inspect.StructType):
                found.update({(*steps, *path): role for path, role in paths_of(below.cls).items()})
    return found
