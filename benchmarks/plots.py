"""Plots: SVG that is the same for the same results, and says which results it shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from .runs import shown_in_plot


@contextmanager
def drawn(
    path: Path, results: Path, width: float, height: float, columns: int = 1
) -> Iterator[Any]:
    """Give out the axes to draw on; then write the plot of a results' file, without a date."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fastchunk"
    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained")
    yield axes
    for one in figure.axes:
        one.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None, "Description": shown_in_plot(results)})
    plt.close(figure)
