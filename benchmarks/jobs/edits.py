"""Edits: one key of a document changed."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.job import OURS, Job, MakePeer, Part, Run, each, expect
from benchmarks.words import ALIAS

from .codec import Case, cases
from .peers import DICTS

EDIT = "edit"


def _fastchunk() -> Run:
    from fastchunk import edit

    return each(lambda document: edit(document, {"model": ALIAS}))


def _orjson() -> Run:
    from orjson import dumps, loads

    def change(document: bytes) -> bytes:
        chunk = loads(document)
        chunk["model"] = ALIAS
        changed: bytes = dumps(chunk)
        return changed

    return each(change)


_PEERS: dict[str, MakePeer] = {OURS: _fastchunk, DICTS: _orjson}


def _check(peer: str, part: Part, edited: list[bytes]) -> None:
    for data, document in zip(edited, part.given, strict=True):
        value = json.loads(document) | {"model": ALIAS}
        expect(json.loads(data), value)
        expect(list(json.loads(data)), list(value))
        if peer == OURS:  # and not a byte besides
            old = json.dumps(json.loads(document)["model"]).encode()
            expect(len(data), len(document) - len(old) + len(ALIAS) + 2)


def jobs() -> Iterator[Job]:
    """Make a job for each kind of document."""
    for name, case in cases().items():
        yield Job(f"{EDIT}/{name}", _parts(case), _PEERS, _check)


def _parts(case: Case) -> list[Part]:
    documents = [document.encode() for document in case.documents]
    return [Part("documents", documents, len(documents))]
