"""What belongs to no command: help, the version, and wrong usage."""

from __future__ import annotations

import re
import runpy
import sys

import pytest
from typer.testing import CliRunner

import fastchunk
import fastchunk.gateway
from fastchunk.cli import main
from fastchunk.cli.app import app

from .harness import (
    run,
)


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


@pytest.mark.parametrize("missing", ["rich", "typer"])
def test_without_the_extra_one_line_says_what_to_do(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match=r"python -m pip install 'fastchunk\[cli\]'$") as caught:
        main()
    assert "\n" not in str(caught.value.code)
