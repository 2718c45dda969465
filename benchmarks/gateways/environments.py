"""Where other gateways are installed: each in an environment of its own, in a folder that is kept.

FASTCHUNK_GATEWAYS names the folder; by default it is in the user's cache. What was installed, and
when, or why not, is kept beside it, so that measuring never installs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_VARIABLE = "FASTCHUNK_GATEWAYS"
_VERSIONS = (
    "import json, sys; from importlib.metadata import version;"
    "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
)


def folder() -> Path:
    """Return the folder that all environments are in."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(_VARIABLE) or Path(cache, "fastchunk", "gateways")).absolute()


@dataclass(frozen=True)
class Environment(ABC):
    """Something to install."""

    name: str
    packages: tuple[str, ...]
    """What is installed, each with its version where the index keeps it."""

    @property
    def path(self) -> Path:
        """Its own folder."""
        return folder() / self.name

    @abstractmethod
    def _install(self) -> dict[str, str]:
        """Install everything into an empty folder; return the versions."""

    def install(self) -> None:
        """Install it anew unless it is there; note the versions, or the reason why not."""
        if self._noted().get("versions"):
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        noted: dict[str, Any] = {"packages": self.packages}
        try:
            noted["versions"] = self._install()
        except subprocess.CalledProcessError as error:
            noted["reason"] = _last_line(error.stderr)
        except OSError as error:
            noted["reason"] = str(error)
        noted["date"] = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        self._notes.write_text(json.dumps(noted), "utf-8")

    @property
    def _notes(self) -> Path:
        return folder() / f"{self.name}.json"

    def _noted(self) -> dict[str, Any]:
        """Return what was noted of these very packages."""
        if not self._notes.exists():
            return {}
        noted: dict[str, Any] = json.loads(self._notes.read_text("utf-8"))
        return noted if tuple(noted["packages"]) == self.packages else {}

    def versions(self) -> dict[str, str]:
        """Return the versions of what is installed, and the date; nothing where it is not."""
        noted = self._noted()
        versions: dict[str, str] = noted.get("versions", {})
        return {**versions, "installed": noted["date"]} if versions else {}

    def missing(self) -> str:
        """Say why it cannot be used; nothing where it can."""
        noted = self._noted()
        if noted.get("versions"):
            return ""
        return f"cannot be installed: {noted['reason']}" if noted else "is not installed"


@dataclass(frozen=True)
class PythonEnvironment(Environment):
    """Python packages, in a virtual environment."""

    @property
    def bin(self) -> Path:
        """The folder of its commands."""
        return self.path / "bin"

    def _install(self) -> dict[str, str]:
        _run(sys.executable, "-m", "venv", str(self.path))
        python = str(self.bin / "python")
        _run(python, "-m", "pip", "install", "--quiet", *self.packages)
        names = [package.partition("==")[0].partition("[")[0] for package in self.packages]
        versions: dict[str, str] = json.loads(_run(python, "-c", _VERSIONS, *names))
        return versions


@dataclass(frozen=True)
class NpmEnvironment(Environment):
    """npm packages; the exact versions of all that are named count for what they depend on, too."""

    def _install(self) -> dict[str, str]:
        first, *others = (package.rsplit("@", 1) for package in self.packages)
        manifest = {
            "private": True,
            "dependencies": dict([first]),
            "overrides": dict(others),
        }
        (self.path / "package.json").write_text(json.dumps(manifest), "utf-8")
        _run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", folder=self.path)
        return {"Node.js": _run("node", "--version").strip().removeprefix("v"), **dict([first])}


@dataclass(frozen=True)
class DebianEnvironment(Environment):
    """A Debian package of the same name, and libraries; the system stays as it is."""

    def _install(self) -> dict[str, str]:
        _run("apt-get", "download", "--quiet", *self.packages, folder=self.path)
        for package in self.path.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(self.path))
        (package,) = self.path.glob(f"{self.name}_*.deb")
        return {self.name: _run("dpkg-deb", "-f", str(package), "Version").strip()}

    @property
    def executable(self) -> str:
        """The command."""
        (found,) = self.path.glob(f"usr/*bin/{self.name}")
        return str(found)

    @property
    def libraries(self) -> dict[str, str]:
        """Name the shared libraries that were unpacked, for the environment of the command."""
        found = sorted({str(one.parent) for one in self.path.glob("usr/lib/**/*.so.*")})
        return {"LD_LIBRARY_PATH": ":".join(found)} if found else {}


def _run(*command: str, folder: Path | None = None) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    return finished.stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[-1]
