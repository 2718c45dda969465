"""How results are shown: Markdown tables, and plots that are the same for the same results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

__all__ = ["begin_plots", "save_plot", "table"]


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    cells = [list(header), *map(list, rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def begin_plots() -> None:
    """Draw SVG, with names in it that do not change from run to run."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fastchunk"


def save_plot(figure: Figure, path: Path, description: str) -> None:
    """Write a plot, with a description that says which results it shows, and no date."""
    figure.savefig(path, metadata={"Date": None, "Description": description})
    plt.close(figure)
