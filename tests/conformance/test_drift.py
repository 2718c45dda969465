"""The drift report: what a made-up server has that `wire` has not is named, and nothing else."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from . import drift
from .servers import PACKAGES, schema_files

MODEL = """
from __future__ import annotations
from pydantic import BaseModel

class Call(BaseModel):
    index: int
    result: str | None = None

class Delta(BaseModel):
    content: str
    thoughts: list[str] = []
    tool_calls: list[Call] | None = None

class Choice(BaseModel):
    mood: str
    delta: Delta

class Chunk(BaseModel):
    model: str
    choices: list[Choice]
    colour: str = "red"
    metrics: dict[str, float] = {}
"""
ASKED = dict(PACKAGES)
DRIFTED = """4 of 11 fields missing from wire
  ChatCompletionResponseStreamChoice: choices[].mood
  DeltaMessage: choices[].delta.thoughts
  DeltaToolCall: choices[].delta.tool_calls[].result
  ChatCompletionStreamResponse: colour
"""


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Leave no package to ask, and a folder to import others from."""
    for package in list(PACKAGES):
        monkeypatch.delitem(PACKAGES, package)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["drift", *map(str, arguments)])
    return drift.main()


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("package", ["openai", "ray"])
def test_the_packages_of_the_tests_have_nothing_that_wire_has_not(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PACKAGES, package, ASKED[package])
    assert _run(monkeypatch) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{package} {version(package)}: none of ")


def test_the_packages_asked() -> None:
    assert list(ASKED) == ["openai", "ray", "sglang", "vllm"]


def test_a_model_that_drifts(
    packages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (packages / "made_up_server.py").write_text(MODEL)
    modules = ("made_up_server.moved_since", "made_up_server")
    monkeypatch.setitem(PACKAGES, "made_up_server", ("Chunk", modules))
    assert _run(monkeypatch) == 1
    assert capsys.readouterr().out == f"made_up_server of unknown version: {DRIFTED}"


BROKEN = ["Chunk = None", "", "import nothing_of_this_name", "raise OSError"]


@pytest.mark.parametrize(("number", "source"), list(enumerate(BROKEN)))
def test_a_model_that_cannot_be_imported(
    number: int,
    source: str,
    packages: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"made_up_broken_{number}"
    (packages / f"{name}.py").write_text(source)
    monkeypatch.setitem(PACKAGES, name, ("Chunk", (name,)))
    assert _run(monkeypatch) == 1
    assert "its chunk model cannot be imported" in capsys.readouterr().out


@pytest.mark.usefixtures("packages")
def test_a_package_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PACKAGES, "no_such_server", ("Chunk", ("no_such_server",)))
    assert _run(monkeypatch) == 0
    assert capsys.readouterr().out == "no_such_server: not installed\n"


def _object(**properties: Any) -> Any:
    return {"type": "object", "properties": properties}


def test_schemas_given_as_files(
    packages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logprobs = {"oneOf": [_object(content={}), _object(entropy={"type": "number"})]}
    choice = {"allOf": [_object(logprobs=logprobs, index={"type": "integer"})]}
    chunk = _object(
        choices={"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/C"}}, {"type": "null"}]},
        usage=True,
    )
    drifted, same = packages / "drifted.json", packages / "same.json"
    drifted.write_text(json.dumps({"$ref": "#/$defs/S", "$defs": {"S": chunk, "C": choice}}))
    same.write_text(json.dumps(_object(model={"type": "string"})))
    assert _run(monkeypatch, drifted, same) == 1
    assert capsys.readouterr().out == (
        f"{drifted}: 1 of 6 fields missing from wire\n"
        "  ChatCompletionLogProbs: choices[].logprobs.entropy\n"
        f"{same}: none of 1 fields missing from wire\n"
    )
    assert _run(monkeypatch, same, *schema_files()) == 0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"type":"string"}',
        '{"properties":[]}',
        '{"$ref":"#/$defs/S"}',
        '{"$ref":"#"}',
        '{"properties":{"usage":{"$ref":"#/properties/usage/0"}}}',
        "[" * 10**5,
        None,
    ],
)
def test_what_is_no_schema_is_a_usage_error(
    content: str | None,
    packages: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = packages / "schema.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as caught:
        _run(monkeypatch, path)
    assert caught.value.code == 2
    assert f"error: {path}: " in capsys.readouterr().err
