"""Runs: under what circumstances results were taken, and the files that hold them.

The newest file of each kind is what the generated pages show.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import fastchunk

from .pages import ROOT
from .streams import recorded

FOLDER = ROOT / "bench_results"
LIBRARY, END_TO_END, GATEWAYS = "library", "end-to-end", "gateways"

Results = dict[str, Any]


def circumstances(packages: Iterable[str]) -> Results:
    """Say when, where and with which versions a run was made."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"CPython": platform.python_version(), **_versions(packages)},
        "recorded": len(recorded()),
        "compiled": fastchunk.compiled,
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    installed = {
        distribution.metadata["Name"].lower().replace("_", "-"): distribution.version
        for distribution in distributions()
    }
    return {package: installed[package] for package in packages if package in installed}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()


def save(results: Results, kind: str) -> Path:
    """Write a run's results; return the file."""
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H%M")
    path = FOLDER / f"{kind}-{stamp}-{results['commit']}.json"
    FOLDER.mkdir(exist_ok=True)
    path.write_text(_compact(results) + "\n", encoding="utf-8")
    return path


def _compact(results: Results) -> str:
    """Write JSON in which a list or an object that holds no other takes one line."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    innermost = r"\[[^\[\]{}]*\]|\{[^\[\]{}]*\}"
    return re.sub(innermost, lambda found: re.sub(r"\n *", " ", found[0]), text)


def newest(kind: str) -> Path:
    """Return the file of the newest run; fail where there is none."""
    path = max(FOLDER.glob(f"{kind}-[0-9]*.json"), default=None)
    if path is None:
        raise SystemExit(f"{FOLDER.name}/ holds no run of kind {kind}")
    return path


def load(path: Path) -> Results:
    """Read a run's results."""
    results: Results = json.loads(path.read_text("utf-8"))
    return results


def shown_in_plot(path: Path) -> str:
    """Return what a plot says of itself, to tell which results it shows."""
    return f"results {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
