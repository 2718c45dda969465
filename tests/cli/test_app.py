"""What belongs to no command: help, the version, and wrong usage."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import fastchunk
import fastchunk.gateway
from fastchunk import cli
from fastchunk.cli import main
from fastchunk.cli.app import app

from .harness import run

COMMANDS = Path(cli.__file__).parent


def test_the_version() -> None:
    assert run("--version").stdout == f"fastchunk {fastchunk.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_the_commands(arguments: list[str]) -> None:
    printed = run(*arguments).output
    assert all(command in printed for command in ("read", "check", "gateway"))


@pytest.mark.parametrize("command", ["read", "check", "gateway"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help", env={"COLUMNS": "100"})
    assert result.exit_code == 0
    assert re.search(rf"^ +fastchunk {command} .*$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("arguments", [[], ["read"], ["check"], ["gateway"]])
def test_help_says_what_a_value_is_and_not_its_type(arguments: list[str]) -> None:
    for columns in ("80", "200"):
        printed = run(*arguments, "--help", env={"COLUMNS": columns}).stdout
        assert not re.search(r"<(?!path>)|range|x<=|default: \(", printed)


@pytest.mark.parametrize("command", ["read", "check", "gateway"])
def test_help_where_output_is_ascii(command: str) -> None:
    result = CliRunner(charset="ascii").invoke(app, [command, "--help"])
    assert result.exception is None
    assert "Exit status" in result.stdout


def test_wrong_usage() -> None:
    for arguments in (["read"], ["read", "-", "--nope"], ["nope"], ["check", "a", "b"]):
        assert run(*arguments).exit_code == 2


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fastchunk", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("fastchunk", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("fastchunk ")


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of everything that a module takes from fastchunk."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module.startswith(("fastchunk", ".")):
                yield from ((module, alias.name) for alias in node.names)


def test_the_command_line_imports_public_names_alone() -> None:
    imported = {found for path in COMMANDS.glob("*.py") for found in imports_of(path)}
    assert ("fastchunk", "ChunkStream") in imported
    for name, what in imported:
        module = importlib.import_module(name, "fastchunk.cli")
        assert name.startswith(".") or "._" not in name
        assert what in module.__all__ or isinstance(getattr(module, what), ModuleType)


@pytest.mark.parametrize("missing", ["rich", "typer"])
def test_without_the_extra_one_line_says_what_to_do(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match=r"python -m pip install 'fastchunk\[cli\]'$") as caught:
        main()
    assert "\n" not in str(caught.value.code)
