"""How far a run has come, shown on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import Progress

__all__ = ["Step", "steps"]

Step: TypeAlias = Callable[[str], None]
"""Says what comes next, and counts it."""


@contextmanager
def steps(total: int | None) -> Iterator[Step]:
    """Show how many steps are done; None if nobody knows how many there are."""
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("starting", total=total)
        yield lambda description: progress.update(bar, description=description, advance=1)
