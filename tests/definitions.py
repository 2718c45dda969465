"""Where the package's names are defined, and what their definitions say.

In:  a module's name and a name in it.
Out: the syntax of its definition, and its docstring: of an assignment, the string below it. Nothing
is imported, but to ask a function that another one has made for its docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import cleandoc, isroutine
from pathlib import Path
from typing import NamedTuple, TypeAlias

import fastchunk

_PACKAGE = Path(fastchunk.__file__).parent

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Assignment: TypeAlias = ast.Assign | ast.AnnAssign
Definition: TypeAlias = Function | ast.ClassDef | Assignment


class Found(NamedTuple):
    """A definition, and the module that it stands in."""

    module: str
    name: str
    nodes: list[Definition]
    """More than one for a name that has a definition in each branch of an `if` or `try`, and for a
    function with overloads, the last of which is the function itself."""
    doc: str | None


@cache
def source(module: str) -> tuple[str, ast.Module]:
    """Return the text of a module, and its syntax."""
    path = _path(module)
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    return text, ast.parse(text)


def _path(module: str) -> Path:
    return _PACKAGE.joinpath(*module.split(".")[1:])


def find(module: str, name: str) -> Found | None:
    """Find where a name of a module is defined; None if that is not in this package."""
    if module.partition(".")[0] != "fastchunk":
        return None
    nodes: list[Definition] = []
    doc = None
    for node, following in _with_following(source(module)[1].body):
        if isinstance(node, ast.ImportFrom) and name in _imported(node):
            return find(_origin(module, node), name)
        if isinstance(node, Definition) and name_of(node) == name:
            nodes.append(node)
            doc = (_string(following) if isinstance(node, Assignment) else docstring(node)) or doc
    return Found(module, name, nodes, doc or _doc_of_value(module, name)) if nodes else None


def _imported(node: ast.ImportFrom) -> list[str]:
    return [alias.asname or alias.name for alias in node.names]


def _origin(module: str, node: ast.ImportFrom) -> str:
    """Return the absolute name of the module that an import statement of `module` names."""
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    del parts[len(parts) - node.level + _path(module).is_dir() :]
    return ".".join([*parts, *([node.module] if node.module else [])])


def public_names(module: str) -> list[str]:
    """List a module's `__all__`, in the order in which it defines or imports the names."""
    named: list[str] = []
    listed: list[str] = []
    for node, _ in _with_following(source(module)[1].body):
        if isinstance(node, ast.ImportFrom):
            named += _imported(node)
        elif isinstance(node, Definition):
            named.append(name_of(node))
            if isinstance(node, ast.Assign) and named[-1] == "__all__":
                listed = ast.literal_eval(node.value)
    return [name for name in dict.fromkeys(named) if name in listed]


def name_of(node: Definition) -> str:
    """Return the name that a definition defines."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    return ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else node.name


def docstring(node: Function | ast.ClassDef) -> str | None:
    """Return the docstring of a function or class."""
    return ast.get_docstring(node)


def fields(node: ast.ClassDef) -> list[tuple[ast.AnnAssign, str | None]]:
    """List a class's annotated attributes, each with the string below it."""
    return [
        (member, _string(following))
        for member, following in _with_following(node.body)
        if isinstance(member, ast.AnnAssign)
    ]


def attributes(init: Function) -> list[tuple[str, str]]:
    """List the attributes that a constructor sets and documents, each with the string below it."""
    found = []
    for member, following in _with_following(init.body):
        doc = _string(following)
        if isinstance(member, Assignment) and doc:
            found.append((name_of(member).removeprefix("self."), doc))
    return found


def is_type_variable(found: Found) -> bool:
    """Tell whether a name is a type variable, which says nothing to a reader."""
    node = found.nodes[-1]
    value = node.value if isinstance(node, Assignment) else None
    return isinstance(value, ast.Call) and bool(re.search("TypeVar", ast.unparse(value.func)))


def _with_following(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    """Yield each statement with the one below it; of a `try` or an `if`, those in its branches."""
    for node, following in zip(body, [*body, None][1:], strict=True):
        yield node, following
        if isinstance(node, ast.Try):
            for branch in (node.body, *(handler.body for handler in node.handlers), node.orelse):
                yield from _with_following(branch)
        elif isinstance(node, ast.If):
            yield from _with_following(node.body)
            yield from _with_following(node.orelse)


def _string(node: ast.stmt | None) -> str | None:
    """Return what stands below an assignment to say what it is, if there is something."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return cleandoc(str(node.value.value))
    return None


def _doc_of_value(module: str, name: str) -> str | None:
    """Return the docstring of a function that another one has made."""
    value = getattr(import_module(module), name)
    return cleandoc(value.__doc__) if isroutine(value) and value.__doc__ else None
