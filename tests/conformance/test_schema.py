"""The Structs' schema is the real class's, key for key; and a Struct that is not, is noticed."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from fastchunk import models

from . import oracle
from .generate import CLASSES, Generator
from .schema import class_schemas, schema_of

ORACLE_SCHEMA = class_schemas(oracle.Oracle.model_json_schema())
SOURCE = inspect.getsource(models)
FIELD = re.compile(r"^    (?P<name>\w+): (?P<type>[^=\n]+?)(?: = (?P<default>.+))?$", re.MULTILINE)


def test_schema_is_the_oracles() -> None:
    assert schema_of(models.ChatCompletionStreamResponse) == ORACLE_SCHEMA


def test_every_class_of_the_schema_is_public() -> None:
    assert {*ORACLE_SCHEMA, "decode"} == set(models.__all__)


def _class_source(name: str) -> str:
    match = re.search(rf"^class {name}\(.*?(?=^\S)", SOURCE, re.MULTILINE | re.DOTALL)
    assert match
    return match[0]


def _mutations(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield each field's mutations: what is done, the lines before, the lines after."""
    fields = list(FIELD.finditer(_class_source(name)))
    for match, following in zip(fields, [*fields[1:], None], strict=True):
        line, field = match[0], match["name"]
        yield f"rename-{field}", line, line.replace(field, f"{field}_", 1)
        other = "int" if match["type"] == "Logprob" else "float"
        yield f"type-{field}", line, line.replace(f": {match['type']}", f": {other}", 1)
        if match["default"] is None:
            yield f"default-{field}", line, f'{line} = "mutant"'
        elif match["default"] == '""':
            yield f"default-{field}", line, line.replace('""', '"mutant"')
        else:
            yield f"default-{field}", line, line[: line.index(" = ")] + ' = "mutant"'
        if following:
            yield f"order-{field}", f"{line}\n{following[0]}", f"{following[0]}\n{line}"


MUTANTS = {
    f"{name}-{what}": (name, before, after)
    for name in ORACLE_SCHEMA
    for what, before, after in _mutations(name)
}


def _mutant(name: str, before: str, after: str) -> ModuleType:
    original = _class_source(name)
    assert original.count(before) == 1
    source = SOURCE.replace(original, original.replace(before, after))
    module = ModuleType("fastchunk._mutant")
    module.__package__ = "fastchunk"
    sys.modules[module.__name__] = module  # where msgspec looks the annotations up
    exec(compile(source, "mutant", "exec"), vars(module))  # noqa: S102
    return module


def _suite_fails(candidate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the schema comparison and a hundred generated documents against `candidate`."""
    if schema_of(candidate.ChatCompletionStreamResponse) != ORACLE_SCHEMA:
        return True
    monkeypatch.setattr(oracle, "models", candidate)
    generator = Generator(1)
    with oracle.fixed_defaults():
        return any(oracle.compare(generator.case(CLASSES[i % 2])) for i in range(100))


def test_the_suite_passes_for_the_structs_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    unchanged = _mutant("UsageInfo", "    prompt_tokens: int = 0", "    prompt_tokens: int = 0")
    assert not _suite_fails(unchanged, monkeypatch)


@pytest.mark.parametrize(("name", "before", "after"), MUTANTS.values(), ids=MUTANTS)
def test_the_suite_fails_for_a_mutant(
    name: str, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastchunk._mutant", models)  # restored afterwards
    assert _suite_fails(_mutant(name, before, after), monkeypatch)


def test_every_class_has_mutants_of_every_kind() -> None:
    for name in ORACLE_SCHEMA:
        kinds = {"rename", "type", "default"}
        if len(FIELD.findall(_class_source(name))) > 1:
            kinds.add("order")
        assert kinds == {key.split("-")[1] for key in MUTANTS if key.startswith(f"{name}-")}
