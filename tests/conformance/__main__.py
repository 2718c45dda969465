"""`python -m tests.conformance --cases N --seed S`: ask the oracle about N generated documents."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from rich.console import Console
from rich.progress import track
from rich.table import Table

from .generate import CLASSES, Generator
from .oracle import Divergence, compare, compare_objects, fixed_defaults, loads

_SHOWN = 20


def run(
    cases: int, seed: int, only: int | None = None
) -> tuple[Counter[tuple[str, str, str]], list[str]]:
    """Compare `cases` documents; return what was counted and a report of each divergence.

    Case number `i` of a seed depends on both alone: `only` repeats a single one.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    reports = []
    numbers = range(cases) if only is None else [only]
    with fixed_defaults():
        for i in track(numbers, "asking the oracle", console=Console(stderr=True)):
            kind = CLASSES[i % len(CLASSES)]
            data = Generator(seed * 1_000_000_007 + i).case(kind)
            for way, found in zip(("decode", "model_validate"), _divergences(data, i), strict=True):
                counts[kind, way, "DIFFERENT" if found else "same"] += 1
                if found:
                    reports.append(_report(i, seed, way, data, found))
    return counts, reports


def _divergences(data: bytes, i: int) -> tuple[Divergence | None, Divergence | None]:
    value = loads(data.decode("utf-8", "replace"))
    turn = i // len(CLASSES)
    return compare(data, turn=turn), compare_objects(value, turn)


def _report(i: int, seed: int, way: str, data: bytes, found: Divergence) -> str:
    return (
        f"case {i}, {way}: {found.what} differs\n  input     {data!r}\n"
        f"  oracle    {found.oracle}\n  fastchunk {found.fastchunk}\n"
        f"  repeat    python -m tests.conformance --seed {seed} --only {i}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="CASE", help="repeat one case of the seed")
    options = parser.parse_args()
    counts, reports = run(options.cases, options.seed, options.only)
    for report in reports[:_SHOWN]:
        print(report)
    table = Table("class of case", "asked through", "same", "DIFFERENT")
    for kind in CLASSES:
        for way in ("decode", "model_validate"):
            row = [counts[kind, way, name] for name in ("same", "DIFFERENT")]
            table.add_row(kind, way, *(f"{n:,}" for n in row))
    Console().print(table)
    print(
        f"{sum(counts.values()):,} comparisons, {len(reports):,} divergences, seed {options.seed}"
    )
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
