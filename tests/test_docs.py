"""The README and `docs/`: their code runs, their commands exist, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fastchunk
from fastchunk import gateway, models, wire
from fastchunk.cli.app import app
from fastchunk.gateway import demo
from fastchunk.gateway.server import running

from . import api_reference, pages
from .pages import PAGES, README, ROOT, WrongComment

_SERVER = "127.0.0.1:8000"
"""Where the demonstration listens, for a reader; in the tests it takes a free port."""
_EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture(scope="module")
def demonstration() -> Iterator[str]:
    with running(demo.create_app(events_per_second=0)) as url:
        yield url.removeprefix("http://")


# --- the pages ---


@_EVERY_PAGE
def test_code_runs_as_a_reader_pastes_it(page: Path, demonstration: str) -> None:
    pages.run(page.read_text("utf-8").replace(_SERVER, demonstration), page.name)


@_EVERY_PAGE
def test_every_block_says_what_it_is(page: Path) -> None:
    infos = {block.info for block in pages.blocks(page.read_text("utf-8"))}
    assert {info for info in infos if not pages.INFOS.fullmatch(info)} == set()
    assert page.name == "api.md" or "pycon" not in infos


@_EVERY_PAGE
def test_commands_exist(page: Path) -> None:
    for block in pages.blocks(page.read_text("utf-8")):
        if block.info == "sh":
            assert [fault for line in block.code.splitlines() for fault in _faults(line)] == []


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(pages.dead_links(page)) == []


def test_the_readme_is_short_and_reads_well_from_a_package_index() -> None:
    text = README.read_text("utf-8")
    assert text.count("\n") <= 150
    targets = pages.links(text)
    assert [target for target in targets if not target.startswith("https://")] == []
    for page in PAGES[1:]:
        assert any(target.endswith(f"/docs/{page.name}") for target in targets), page.name


def test_the_api_reference_is_fresh_and_has_every_public_name() -> None:
    text = api_reference.PAGE.read_text("utf-8")
    assert text == api_reference.reference()
    for module in (fastchunk, models, wire, gateway):
        for name in module.__all__:
            assert f"\n### {module.__name__}.{name}\n" in text


def test_a_stale_api_reference_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api_reference, "PAGE", tmp_path / "api.md")
    monkeypatch.setattr("sys.argv", ["api_reference", "--check"])
    assert api_reference.main() == 1
    assert "api.md is stale: python -m tests.api_reference --write" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["api_reference", "--write"])
    assert api_reference.main() == 0
    monkeypatch.setattr("sys.argv", ["api_reference", "--check"])
    assert api_reference.main() == 0


def test_the_design_names_every_module_and_no_other() -> None:
    text = (ROOT / "docs" / "design.md").read_text("utf-8")
    house = text.partition("\n## The house\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"(?m)^\| `([\w./]+)` \|", house))
    sources = {name for name in named if name.endswith((".pyx", ".pxi"))}
    package = Path(fastchunk.__file__).parent
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert named - sources == modules | folders
    # A wheel does not carry what the scanner is compiled from.
    found = {path.name for kind in ("pyx", "pxi") for path in package.glob(f"*.{kind}")}
    assert found in (sources, set())


def test_every_guarantee_is_pinned_by_a_test() -> None:
    _, *sections = re.split(r"(?m)^## ", (ROOT / "docs" / "parity.md").read_text("utf-8"))
    assert sections
    for section in sections:
        pins = re.findall(r"`(tests/\S+\.py)::(\w+)`", section)
        assert pins, section.partition("\n")[0]
        for path, name in pins:
            assert re.search(rf"(?m)^def {name}\(", (ROOT / path).read_text("utf-8")), name


# --- the commands of a page ---


def _faults(line: str) -> Iterator[str]:
    """Yield what a line of commands names that does not exist."""
    declared = set(re.findall(r"(?m)^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text("utf-8")))
    for extras in re.findall(r"(?:fastchunk|\.)\[([\w,-]+)\]", line):
        yield from sorted(set(extras.split(",")) - declared)
    for command in re.split(r"&&|\|", line):
        words = shlex.split(command)
        if words[:1] == ["fastchunk"]:
            result = CliRunner().invoke(app, [*words[1:], "--help"])
            if result.exit_code:
                yield result.output
        for flag, module in pairwise(words):
            if flag == "-m" and importlib.util.find_spec(module) is None:
                yield module


@pytest.mark.parametrize(
    "line",
    [
        "fastchunk gateway --no-such-option",
        "fastchunk listen",
        'pip install "fastchunk[cli,nothing]"',
        "curl x | python -m tests.nothing",
    ],
)
def test_a_command_that_does_not_exist_is_a_fault(line: str) -> None:
    assert list(_faults(line))


# --- the tools that the tests above rely on ---


def _page(code: str) -> str:
    return f"# A page\n\n```python\n{code}\n```\n"


@pytest.mark.parametrize(
    "code",
    [
        "1 + 1  # 2",
        "b'{\"a\":1}'  # b'{…}'",
        "print('a', 1)  # a 1",
        "sum(\n    [1, 2],  # prose\n)  # 3",
        "value = 1  # prose",
        "try:\n    int('x')\nexcept ValueError as error:\n    print(error)  # invalid literal…",
    ],
)
def test_true_comments(code: str) -> None:
    pages.run(_page(code), "page")


@pytest.mark.parametrize(
    "code",
    [
        "1 + 1  # 3",
        "'a'  # a",
        "print('a')  # b",
        "def call():\n    len('a')  # 1",
        "b'{\"a\":1}'  # b'[…]'",
    ],
)
def test_wrong_comments(code: str) -> None:
    with pytest.raises(WrongComment, match=r"page:\d+ |were not reached"):
        pages.run(_page(code), "page")


def test_blocks_share_one_namespace_and_fragments_do_not_run() -> None:
    page = _page("value = 1") + "```python fragment\nvalue = 2\n```\n" + _page("value += 10")
    assert pages.run(page, "page")["value"] == 11


def test_an_error_names_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pages.run(_page("1\n1 / 0"), "page")
    assert caught.traceback[-1].lineno == 4  # counted from 0


@pytest.mark.parametrize(
    ("link", "is_dead"),
    [
        ("README.md", False),
        ("README.md#a-page-with-code", False),
        ("#a-page-with-code", False),
        ("#a-page", True),
        ("missing.md", True),
        ("https://example.org/anything", False),
        ("https://github.com/fastchunk/fastchunk/blob/main/LICENSE", False),
        ("https://github.com/fastchunk/fastchunk/blob/main/docs/nothing.md", True),
    ],
)
def test_dead_links(tmp_path: Path, link: str, is_dead: bool) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# A page, with `code`\n\nA [link]({link}).\n", encoding="utf-8")
    assert list(pages.dead_links(page)) == [link] * is_dead
