"""What a build makes of the compiled scanner: it is optional, and never a stale one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTENSION = f"_scan{EXTENSION_SUFFIXES[0]}"

_COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cl")[0]
CAN_COMPILE = bool(
    shutil.which(_COMPILER) and Path(sysconfig.get_path("include"), "Python.h").is_file()
)
"""Without a compiler, these tests say that the package is a pure one."""


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python, with what a build takes from the environment only if it is given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CFLAGS", "LDFLAGS", "PYTHONPATH") and not name.startswith("FASTCHUNK_")
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def build_wheel(tree: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    pip = ["-m", "pip", "wheel", "--verbose", "--no-build-isolation", "--no-deps", "--no-index"]
    return run(*pip, "--wheel-dir", str(folder), str(tree), cwd=tree, **environment)


def only_wheel(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def scanner_files(wheel: Path) -> set[str]:
    """List what of the scanner a wheel carries."""
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name).name for name in archive.namelist()]
    return {name for name in names if name.startswith("_scan") or name.endswith(".pxi")}


PURE_FILES = {"_scan.pyi"}


def uses_compiled(wheel: Path, folder: Path, **environment: str) -> bool:
    """Tell whether the package uses a compiled scanner; it has to work in any case."""
    shutil.unpack_archive(wheel, folder, format="zip")
    code = (
        "import fastchunk; print(fastchunk.__file__); print(fastchunk.compiled);"
        """assert fastchunk.edit(b'{"model":"a"}', {"model": "b"}) == b'{"model":"b"}'"""
    )
    ran = run("-c", code, cwd=folder, PYTHONPATH=str(folder), **environment)
    file, compiled = ran.stdout.split()
    assert Path(file).is_relative_to(folder)
    return compiled == "True"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the source distribution, and put a stale scanner into it."""
    folder = tmp_path_factory.mktemp("source")
    built = run("-m", "hatchling", "build", "-t", "sdist", "-d", str(folder), cwd=ROOT)
    assert not built.returncode, built.stdout
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    assert {path.suffix for path in unpacked.rglob("*")}.isdisjoint({".c", ".pyd", ".so"})
    (unpacked / "fastchunk" / EXTENSION).write_bytes(b"stale")
    return unpacked


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel with what there is on this machine."""
    folder = tmp_path_factory.mktemp("wheel")
    before = set(tree.rglob("*"))
    demand = "require" if CAN_COMPILE else ""
    built = build_wheel(
        tree, folder, FASTCHUNK_BUILD=demand, CFLAGS="-O0"
    )  # the sooner it is built
    assert not built.returncode, built.stdout
    assert set(tree.rglob("*")) == before
    return only_wheel(folder)


def test_a_wheel_is_compiled_where_a_compiler_is(wheel: Path, tmp_path: Path) -> None:
    assert uses_compiled(wheel, tmp_path) == CAN_COMPILE
    if CAN_COMPILE:
        assert scanner_files(wheel) == {*PURE_FILES, EXTENSION}
        *_, python, abi, platform = wheel.stem.split("-")
        version = "".join(map(str, sys.version_info[:2]))
        assert python == f"cp{version}"
        assert abi.startswith(python)
        assert platform != "any"
    else:
        assert scanner_files(wheel) == PURE_FILES


def test_the_environment_can_keep_the_compiled_scanner_out(wheel: Path, tmp_path: Path) -> None:
    assert not uses_compiled(wheel, tmp_path, FASTCHUNK_PURE="1")


@pytest.fixture(scope="module")
def no_headers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a compiler that does not find Python's headers."""
    script = tmp_path_factory.mktemp("compiler") / "cc"
    script.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file' >&2\nexit 1\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("compiler", ["false", "/there/is/no/cc", "no headers"])
def test_without_a_compiler_that_works_the_package_is_pure(
    compiler: str, tree: Path, no_headers: str, tmp_path: Path
) -> None:
    name = no_headers if compiler == "no headers" else compiler
    built = build_wheel(tree, tmp_path, CC=name)
    assert not built.returncode, built.stdout
    (reason,) = [line for line in built.stdout.splitlines() if "without its compiled" in line]
    assert name in reason
    wheel = only_wheel(tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert scanner_files(wheel) == PURE_FILES
    assert not uses_compiled(wheel, tmp_path)


def test_a_build_that_has_to_succeed_fails_with_the_reason(tree: Path, tmp_path: Path) -> None:
    built = build_wheel(tree, tmp_path, CC="false", FASTCHUNK_BUILD="require")
    assert built.returncode
    assert "fastchunk's compiled scanner cannot be built: " in built.stdout
    assert "false'" in built.stdout


def test_a_misspelled_demand_is_an_error(tree: Path, tmp_path: Path) -> None:
    built = build_wheel(tree, tmp_path, FASTCHUNK_BUILD="required")
    assert built.returncode
    assert "FASTCHUNK_BUILD is 'require' or not set, not 'required'" in (built.stdout)


def test_an_editable_install_builds_beside_the_source_and_leaves_nothing_stale(
    tree: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    build = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    for settings, compiles in ({"CFLAGS": "-O0"}, CAN_COMPILE), ({"CC": "false"}, False):
        built = run("-c", build, cwd=copy, **settings)
        assert not built.returncode, built.stdout
        assert ("without its compiled scanner" in built.stdout) != compiles
        found = {path.name for path in copy.rglob("*") if path.suffix in (".c", ".pyd", ".so")}
        assert found == ({EXTENSION} if compiles else set())
        ran = run("-c", "import fastchunk; print(fastchunk.compiled)", cwd=copy)
        assert ran.stdout == f"{compiles}\n"


_SECOND_INTERPRETER = """
try:
    from _interpreters import create, exec as execute
    second = create("legacy")  # it shares the first one's lock, without which msgspec goes nowhere
except ImportError:
    from _xxsubinterpreters import create, run_string as execute
    second = create()
code = "import fastchunk; print(fastchunk.compiled, fastchunk.edit(b'{}', {'a': 1}), flush=True)"
exec(code)
assert execute(second, code) is None
"""

if sys.version_info[:2] != (3, 12):  # there msgspec itself may crash in a second interpreter

    def test_a_second_interpreter_uses_the_scanner_in_python(wheel: Path, tmp_path: Path) -> None:
        assert uses_compiled(wheel, tmp_path) == CAN_COMPILE
        ran = run("-c", _SECOND_INTERPRETER, cwd=tmp_path, PYTHONPATH=str(tmp_path))
        edited = """b'{"a":1}'"""
        assert ran.stdout.splitlines() == [f"{CAN_COMPILE} {edited}", f"False {edited}"]
