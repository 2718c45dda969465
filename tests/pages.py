"""The pages of the documentation: their code, run as a reader would paste it, and their links.

In:  the README and the files of `docs/`.
Out: the blocks of a page, what its code prints and returns where a comment says so, and the links
that lead nowhere.

A fenced block says with its info string what it is:

- `python` runs, top to bottom, in one namespace a page.
- `python fragment` is shown and not run.
- `python file=NAME.py` is a whole file; the test that is named after its page runs it.
- `sh` holds commands; their options, extras and modules must exist.
- `pycon` comes from a docstring, where it is a doctest.
- `json`, `text` and `yaml` are data.

In a `python` block the comment behind an expression is its value, and the comment behind a call of
`print` is what it prints; `…` stands for what is left out.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

INFOS = re.compile(r"python( fragment| file=\w+\.py)?|sh|pycon|json|text|yaml")

_HOME = "https://github.com/fastchunk/fastchunk/blob/main/"
_RAW = "https://raw.githubusercontent.com/fastchunk/fastchunk/main/"
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"\s*```")


class Block(NamedTuple):
    """A fenced block of a page."""

    info: str
    line: int
    """The number of the line before its first one."""
    code: str


def blocks(text: str) -> list[Block]:
    """List the fenced blocks of a page, whatever their info strings say."""
    found: list[Block] = []
    begin = None
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not _FENCE.match(line):
            continue
        if begin is None:
            begin = number
        else:
            code = "".join(f"{inner}\n" for inner in lines[begin + 1 : number])
            found.append(Block(lines[begin].strip()[3:], begin + 1, code))
            begin = None
    return found


def prose(text: str) -> str:
    """Return a page without its blocks."""
    return "".join(re.split(r"(?ms)^```.*?^```$", text))


# --- code ---


class WrongComment(AssertionError):
    """A comment says what is not so, or the line that it stands behind is not reached."""


class _Results:
    """Compares what a page's comments say with what its lines return or print."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pending: set[int] = set()

    def instrument(self, block: Block) -> ast.Module:
        """Parse a block, and have every expression with a comment behind it compared."""
        tree = ast.parse(block.code)
        comments = {
            token.start[0]: token.string.removeprefix("#").strip()
            for token in tokenize.generate_tokens(io.StringIO(block.code).readline)
            if token.type == tokenize.COMMENT
        }
        ast.increment_lineno(tree, block.line)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Expr) or node.end_lineno is None:
                continue
            comment = comments.get(node.end_lineno - block.line)
            if comment is not None:
                self._pending.add(node.end_lineno)
                node.value = _compared(node.value, comment, node.end_lineno)
        return ast.fix_missing_locations(tree)

    def compare(self, line: int, comment: str, shown: str) -> None:
        """Raise `WrongComment` if a comment is not what is shown."""
        self._pending.discard(line)
        pattern = ".*".join(map(re.escape, comment.split("…")))
        if not re.fullmatch(pattern, shown, re.DOTALL):
            raise WrongComment(f"{self._name}:{line} says {comment}, and it is {shown}")

    def finish(self) -> None:
        """Raise `WrongComment` if a line with a comment was not reached."""
        if self._pending:
            raise WrongComment(f"{self._name}: lines {sorted(self._pending)} were not reached")


def _compared(value: ast.expr, comment: str, line: int) -> ast.expr:
    """Wrap an expression so that its value, or what it prints, is compared with a comment."""
    is_print = (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "print"
    )
    arguments = value.args if isinstance(value, ast.Call) and is_print else [value]
    show = ast.Name("_printed" if is_print else "_returned", ast.Load())
    where: list[ast.expr] = [ast.Constant(line), ast.Constant(comment)]
    return ast.copy_location(ast.Call(show, [*where, *arguments], []), value)


def run(text: str, name: str) -> dict[str, Any]:
    """Run a page's code from top to bottom, and return the namespace that is left."""
    results = _Results(name)

    def returned(line: int, comment: str, value: object) -> None:
        results.compare(line, comment, repr(value))

    def printed(line: int, comment: str, *values: object) -> None:
        results.compare(line, comment, " ".join(map(str, values)))

    names: dict[str, Any] = {"__name__": "page", "_returned": returned, "_printed": printed}
    for block in blocks(text):
        if block.info == "python":
            code = compile(results.instrument(block), name, "exec", dont_inherit=True)
            exec(code, names)  # noqa: S102
    results.finish()
    return names


# --- links ---


def links(text: str) -> list[str]:
    """List the targets of a page's links and pictures."""
    return _LINK.findall(prose(text))


def dead_links(page: Path) -> Iterator[str]:
    """Yield the links of a page to files of this project, or to places in them, that are not."""
    for link in links(page.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        for base in (_HOME, _RAW):
            if target.startswith(base):
                target = str(ROOT / target.removeprefix(base))
        if target.startswith("https://"):
            continue
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in _anchors(path.read_text("utf-8"))):
            yield link


def _anchors(text: str) -> set[str]:
    """List what a page's headings are called in links, as GitHub does it."""
    seen: Counter[str] = Counter()
    found = set()
    for title in re.findall(r"(?m)^#+ (.*)$", prose(text)):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
