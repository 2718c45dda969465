"""The generated pages: Markdown tables, whole files and marked blocks, written or compared.

In:  what a page or a block has to say.
Out: files that say it, or the names of those that say something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Page(NamedTuple):
    """A file, and the whole text that it has to have."""

    path: Path
    text: str


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    cells = [list(header), *map(list, rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def with_block(path: Path, name: str, block: str) -> Page:
    """Return the page that is `path` with another text between a block's two markers.

    The markers are `<!-- benchmarks:NAME -->` and `<!-- /benchmarks -->`, on lines of their own.
    Raises `SystemExit` where the file lacks them.
    """
    begin, end = f"<!-- benchmarks:{name} -->\n", "<!-- /benchmarks -->"
    before, opened, rest = path.read_text("utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise SystemExit(f"{_shown(path)} has no block named benchmarks:{name}")
    return Page(path, f"{before}{begin}{block}\n{end}{after}")


def write(pages: Iterable[Page]) -> list[str]:
    """Write the pages; return their names, relative to the checkout."""
    written = []
    for path, text in pages:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(_shown(path))
    return written


def stale(pages: Iterable[Page]) -> list[str]:
    """Return the names of the pages whose files are missing or say something else."""
    return [
        _shown(path) for path, text in pages if not path.exists() or path.read_text("utf-8") != text
    ]


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
