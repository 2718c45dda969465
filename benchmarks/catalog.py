"""All jobs, in the order in which they are measured. Their names never change.

A name is OPERATION/CASE, or OPERATION/MIX/CASE where streams are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .job import Job
from .jobs import (
    answers,
    apis,
    codec,
    edits,
    families,
    framing,
    iterate,
    producer,
    ray_serve,
    relays,
    rules,
    sdks,
)

_SOURCES: tuple[Callable[[], Iterator[Job]], ...] = (
    relays.jobs,
    iterate.jobs,
    rules.jobs,
    apis.jobs,
    framing.jobs,
    edits.jobs,
    codec.jobs,
    families.jobs,
    producer.jobs,
    answers.jobs,
    ray_serve.jobs,
    sdks.jobs,
)


def jobs(only: str = "") -> list[Job]:
    """Make the jobs whose names contain a text."""
    return [job for make in _SOURCES for job in make() if only in job.name]
