"""The command `python -m benchmarks`: measure, print, and with `--write` record."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from . import goals, imports, memory, pages, runs, turns
from .catalog import jobs
from .end_to_end import measure as sockets
from .gateways import measure as gateways
from .gateways.peers import environments
from .job import Job
from .pure import PurePackage
from .report import end_to_end, page
from .report import gateways as side_by_side
from .steps import steps

_DESCRIPTION = """\
Measure fastchunk beside what one would use instead: in some 5 minutes the library itself; with
--end-to-end what is left of that in a gateway with sockets; with --gateways whole gateways side by
side, those that --install has put into a folder that FASTCHUNK_GATEWAYS names. Every result is
checked before it is timed. The tables are printed; with --write the run is also recorded.
FASTCHUNK_STREAMS names a folder of recorded streams (*.sse) to measure too."""
_SHARED = ("msgspec", "pydantic", "pydantic-core", "ray", "orjson", "openai")
_PACKAGES = (*_SHARED, "httpx-sse", "litellm")
_END_TO_END_PACKAGES = (*_SHARED, "aiohttp", "starlette", "uvicorn", "uvloop", "httptools")
_PASSES, _IMPORTS, _HELD, _MANY = 15, 20, 5_000, 1_000_000
_QUICK_MANY = 100_000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=_DESCRIPTION)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--end-to-end", action="store_true", help="measure gateways with sockets")
    what.add_argument("--gateways", action="store_true", help="measure gateways side by side")
    what.add_argument("--targets", action="store_true", help="measure what each release must hold")
    what.add_argument("--check", action="store_true", help="fail if a page or plot is stale")
    what.add_argument("--render", action="store_true", help="write pages and plots, without a run")
    parser.add_argument("--only", metavar="TEXT", help="just the jobs whose names contain a text")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="check every result, and time none")
    how.add_argument("--install", action="store_true", help="install the gateways to measure")
    how.add_argument("--write", action="store_true", help="record the run; rewrite pages and plots")
    return parser


def main() -> int:
    """Run the command."""
    parser = _parser()
    options = parser.parse_args()
    if options.install and not options.gateways:
        parser.error("--install goes with --gateways")
    if options.only is not None and (options.write or options.end_to_end or options.gateways):
        parser.error("--only is for runs of the library that are just printed")
    alone = options.targets or options.check or options.render
    if alone and (options.only is not None or options.quick or options.write):
        parser.error("--targets, --check and --render go with no other option")
    if options.check:
        return _check()
    if options.render:
        _render()
    elif options.targets:
        _targets()
    elif options.end_to_end:
        _end_to_end(quick=options.quick, write=options.write)
    elif options.install:
        _install()
    elif options.gateways:
        _gateways(quick=options.quick, write=options.write)
    else:
        _library_or_quick(options, parser)
    return 0


def _library_or_quick(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    chosen = jobs(options.only or "")
    if not chosen:
        parser.error(f"no job's name contains {options.only!r}")
    if options.quick:
        _quick(chosen)
    else:
        _library(chosen, partly=options.only is not None, write=options.write)


# --- what is run ---


def _quick(chosen: list[Job]) -> None:
    with steps(len(chosen) + 2) as step, closing(PurePackage()) as pure:
        lines = turns.check(chosen, pure, step)
        memory.bounds(_QUICK_MANY, step)
    print("\n".join(lines))
    print("Every result is what it has to be. Nothing was timed.")


def _measure(chosen: list[Job]) -> dict[str, Any]:
    with steps((1 + _PASSES) * len(chosen)) as step, closing(PurePackage()) as pure:
        return turns.measure(chosen, pure, _PASSES, step)


def _library(chosen: list[Job], *, partly: bool, write: bool) -> None:
    results = {**runs.circumstances(_PACKAGES), "passes": _PASSES, "jobs": _measure(chosen)}
    if not partly:
        with steps(None) as step:
            results["imports"] = imports.measure(_IMPORTS, step)
            results["bounds"] = memory.bounds(_MANY, step)
            results["held"] = memory.decoded_by_peer(_HELD, step)
    _show(page.shown(results))
    _record(results, runs.LIBRARY, write=write)


def _end_to_end(*, quick: bool, write: bool) -> None:
    measured = sockets.measure(quick=quick)
    if quick:
        print("Every stream is what it has to be. What was timed is too little to be shown.")
        return
    results = {**runs.circumstances(_END_TO_END_PACKAGES), **measured}
    _show(end_to_end.section(results))
    _record(results, runs.END_TO_END, write=write)


def _install() -> None:
    chosen = environments()
    with steps(len(chosen)) as step:
        for environment in chosen:
            step(environment.name)
            environment.install()
    for environment in chosen:
        versions = ", ".join(" ".join(one) for one in environment.versions().items())
        print(f"{environment.name}: {versions or environment.missing()}")


def _gateways(*, quick: bool, write: bool) -> None:
    measured = gateways.measure(quick=quick)
    if quick:
        print(f"Every stream is what it has to be: {', '.join(measured['peers'])}.")
        print("\n".join(f"{name}: {why}" for name, why in measured["absent"].items()))
        return
    results = {**runs.circumstances(_END_TO_END_PACKAGES), **measured}
    _show(side_by_side.section(results))
    _record(results, runs.GATEWAYS, write=write)


def _targets() -> None:
    chosen = [job for job in jobs() if job.name in goals.jobs()]
    results = {
        **runs.circumstances(_PACKAGES),
        "passes": _PASSES,
        "jobs": _measure(chosen),
    }
    with steps(None) as step:
        results["imports"] = imports.measure(_IMPORTS, step)
    _show(f"{page.intro(results)}\n\n{goals.table_of(results)}")


# --- what becomes of it ---


def _show(text: str) -> None:
    width = None if sys.stdout.isatty() else 200
    Console(width=width).print(Markdown(text))


def _record(results: dict[str, Any], kind: str, *, write: bool) -> None:
    if not write:
        print("Nothing was written. --write records a run, and rewrites the pages and plots.")
        return
    print(f"wrote {runs.save(results, kind).relative_to(pages.ROOT)}")
    _render()


def _render() -> None:
    for name in (*pages.write(page.pages()), *page.draw()):
        print(f"wrote {name}")


def _check() -> int:
    stale = [*pages.stale(page.pages()), *page.stale_plots()]
    for name in stale:
        print(f"stale: {name}: python -m benchmarks --render")
    if not stale:
        print("the pages and plots show the newest runs")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
