"""`python -m benchmarks`: measure everything, write `bench_results/`, rewrite the README's tables.

`--quick` measures one short pass, checks every result and prints the tables, and writes nothing.
`--end-to-end` measures gateways in processes of their own instead, with sockets on both sides.
`--check` says whether the README shows the newest results of both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

from . import end_to_end, report
from .measure import IMPORTS, import_time
from .peers import PEERS

# The floor refuses what the exact path accepts, and is then shown without a figure.
_MAY_FAIL = f"[recorded mix-{report.FLOOR}]"

_PACKAGES = (
    *("msgspec", "pydantic", "pydantic-core", "ray", "orjson", "openai", "httpx-sse", "litellm"),
    "pytest-benchmark",
)
_END_TO_END_PACKAGES = (
    *("msgspec", "pydantic", "pydantic-core", "ray", "orjson", "openai"),
    *("aiohttp", "starlette", "uvicorn", "uvloop", "httptools"),
)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=report.ROOT, check=False)


def _time_all(cases: Path, seconds: float) -> dict[str, dict[str, float]]:
    """Time all peers once, case by case in turn: nanoseconds a call by operation/case and peer."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        finished = _run(
            *("-m", "pytest", "-q", "benchmarks/bench_codec.py", "benchmarks/bench_stream.py"),
            "benchmarks/bench_accumulate.py",
            *("-p", "no:cacheprovider"),
            *("-o", "python_files=bench_*.py", "-o", "addopts=", "--cases", str(cases)),
            *(f"--benchmark-json={out}", f"--benchmark-max-time={seconds}"),
            *("--benchmark-min-rounds=5", "--benchmark-disable-gc"),
            *("--benchmark-warmup=on", "--benchmark-warmup-iterations=3"),
        )
        failed = re.findall(r"^FAILED \S+?::(.*?)(?: - |$)", finished.stdout, re.MULTILINE)
        ran = finished.returncode in {0, 1} and out.exists()  # 1: a check failed, and is looked at
        if not ran or not all(name.endswith(_MAY_FAIL) for name in failed):
            raise SystemExit(f"a check failed\n{finished.stdout}\n{finished.stderr}")
        taken: dict[str, dict[str, float]] = {}
        for benchmark in json.loads(out.read_text("utf-8"))["benchmarks"]:
            function = benchmark["name"].partition("[")[0]
            operation = function.removeprefix("test_").replace("_", " ")
            case, _, peer = benchmark["param"].rpartition("-")
            nanoseconds = benchmark["stats"]["median"] / benchmark["extra_info"]["calls"] * 1e9
            taken.setdefault(f"{operation}/{case or 'text delta'}", {})[peer] = nanoseconds
        return taken


def measure(*, quick: bool) -> report.Results:
    """Measure all peers in turn, several times over."""
    passes, seconds, held, many = (1, 0.002, 500, 100_000) if quick else (7, 0.03, 5_000, 1_000_000)
    imports: dict[str, list[float]] = {name: [] for name in ("nothing", *IMPORTS)}
    taken, memory = [], {}
    progress = Progress(console=Console(stderr=True))
    with progress, tempfile.TemporaryDirectory() as folder:
        bar = progress.add_task("writing the cases", total=3 + 2 * passes + len(PEERS))

        def step(description: str) -> None:
            progress.update(bar, description=description, advance=1)

        cases = Path(folder) / "cases.json"
        written = _run("-m", "benchmarks.cases", str(cases))
        if written.returncode:
            raise SystemExit(written.stderr)
        for n in range(passes):
            step(f"pass {n + 1} of {passes}")
            taken.append(_time_all(cases, seconds))
            step("imports")
            for name, times in imports.items():
                times.append(import_time(IMPORTS.get(name, "pass")))
        for peer in PEERS:
            step(f"memory: {peer}")
            finished = _run("-m", "benchmarks.measure", peer, str(cases), str(held))
            memory[peer] = json.loads(finished.stdout)
        step("memory: a million events")
        flat = _run("-m", "benchmarks.stream_peers")
        step("memory: an answer's chunks")
        accumulated = _run("-m", "benchmarks.accumulate_peers", str(many))
        for finished in (flat, accumulated):
            if finished.returncode:
                raise SystemExit(finished.stderr)
        step("done")
    return {
        **_circumstances(_PACKAGES),
        "passes": passes,
        "peers": list(PEERS),
        "timings": {
            key: {peer: [one[key].get(peer) for one in taken] for peer in peers}
            for key, peers in taken[0].items()
        },
        "memory": memory,
        "flat": json.loads(flat.stdout),
        "accumulated": json.loads(accumulated.stdout),
        "imports": imports,
    }


def _circumstances(packages: Iterable[str]) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        capture_output=True,
        text=True,
        cwd=report.ROOT,
        check=False,
    )
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"CPython": platform.python_version(), **_versions(packages)},
        "recorded": "FASTCHUNK_STREAMS" in os.environ,
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short pass; writes nothing")
    parser.add_argument("--end-to-end", action="store_true", help="measure gateways with sockets")
    parser.add_argument("--check", action="store_true", help="fail if the README is stale")
    options = parser.parse_args()
    if options.check:
        found = report.stale()
        print("\n".join(f"stale: {name}" for name in found) or "the README shows the newest run")
        return bool(found)
    run = _end_to_end if options.end_to_end else _codec
    filled = run(quick=options.quick)
    Console(width=None if sys.stdout.isatty() else 200).print(
        Markdown("\n\n".join(filled.values()))
    )
    return 0


def _codec(*, quick: bool) -> dict[str, str]:
    results = measure(quick=quick)
    if not quick:
        report.write(_save(results, ""))
    blocks = report.blocks(results)
    del blocks["plot"]
    return blocks


def _end_to_end(*, quick: bool) -> dict[str, str]:
    results = {**_circumstances(_END_TO_END_PACKAGES), **end_to_end.measure(quick=quick)}
    if not quick:
        report.write_end_to_end(_save(results, "end-to-end-"))
    blocks = report.end_to_end_blocks(results)
    del blocks["end-to-end-plot"]
    return blocks


def _save(results: report.Results, kind: str) -> Path:
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H%M")
    path = report.RESULTS / f"{kind}{stamp}-{results['commit']}.json"
    report.RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
