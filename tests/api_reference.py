"""`python -m tests.api_reference --write | --check`: the API reference, from the docstrings.

In:  the source files of the package.
Out: `docs/api.md`: every public name with its signature, its docstring, its fields and methods, and
the types that its signature names.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from inspect import cleandoc

from .definitions import (
    Assignment,
    Found,
    Function,
    attributes,
    docstring,
    fields,
    find,
    is_type_variable,
    name_of,
    public_names,
    source,
)
from .pages import ROOT

PAGE = ROOT / "docs" / "api.md"

_WIDTH = 88  # of a code block on a page
_HEAD = """\
# API reference

Every public name, with its signature and its docstring. This page is generated:
`python -m tests.api_reference --write` writes it, and a test fails when it is stale.

Importing `fastchunk` needs msgspec alone. One object reads or writes one stream, in one thread;
module functions are thread-safe. Data that cannot be read raises an error below
[`FastchunkError`](#fastchunkfastchunkerror) and nothing else; an argument of a wrong type raises
`TypeError`.
"""
_SECTIONS = {
    "fastchunk": "The names that most programs need.",
    "fastchunk.models": "Ray Serve's response model. `fastchunk.decode` is its `decode`.",
    "fastchunk.wire": "What any server sends. An absent field is `UNSET`, a null is `None`.",
    "fastchunk.text": "Rules for text that spans events. [Their page](text.md) explains them.",
    "fastchunk.completions": "Legacy completions, in three states.",
    "fastchunk.messages": "Anthropic Messages, in three states.",
    "fastchunk.responses": "OpenAI Responses, in three states.",
    "fastchunk.sdk": "Chat's chunks for code written for OpenAI's SDK: what is absent is None.",
    "fastchunk.gateway": "Needs the extra `gateway`. [Its page](gateway.md) tells how to use it.",
    "fastchunk.gateway.ray_serve": "Needs the extra `ray`.",
    "fastchunk.integrations.openai": "Needs openai; tested with 2.54.0 and 3.57.0.",
    "fastchunk.integrations.anthropic": "Needs anthropic; tested with 2.13.0.",
    "fastchunk.integrations.ray_serve_llm": "Needs `ray[llm]==2.46.0`. "
    "[Where it fits](where-it-fits.md#ray-serve) has an application that uses it.",
}
_DOCS = {"__version__": "The version of fastchunk that is imported."}


class Reference:
    """Writes entries, and takes note of the names in their signatures."""

    def __init__(self) -> None:
        self._documented: set[tuple[str, str]] = set()
        self._mentioned: dict[tuple[str, str], Found] = {}

    def page(self) -> str:
        """Write the whole page."""
        parts = [_HEAD]
        for module, introduction in _SECTIONS.items():
            found = list(self._public(module))
            contents = " · ".join(_link(module, one.name) for one in found)
            parts += [f"## {module}\n", f"{introduction}\n", f"{contents}\n"]
            parts += [self._entry(module, one) for one in found]
        return "\n".join([*parts, "## Names in the signatures\n", *self._mentions()])

    def _public(self, module: str) -> Iterator[Found]:
        """Yield a module's public names, each class behind the base that it shares with others."""
        for name in public_names(module):
            found = find(module, name)
            if found is None:
                raise SystemExit(f"{module}.{name} is public and not to be found")
            node = found.nodes[0]
            for base in node.bases if isinstance(node, ast.ClassDef) else []:
                written = base.value if isinstance(base, ast.Subscript) else base
                shared = find(found.module, ast.unparse(written))
                if shared and not self._is_known(shared):
                    yield shared
            self._is_known(found)
            yield found

    def _is_known(self, found: Found) -> bool:
        """Tell whether a definition has its entry, or gets one as a public name; now it has."""
        key = found.module, found.name
        is_public = any(found.name in public_names(module) for module in _SECTIONS)
        is_known = key in self._documented or is_public
        self._documented.add(key)
        return is_known

    def _mentions(self) -> Iterator[str]:
        """Write the types that signatures name, and those that these name in turn."""
        while new := sorted(self._mentioned.keys() - self._documented):
            self._documented.update(new)
            yield from [self._entry(module, self._mentioned[module, name]) for module, name in new]

    def _entry(self, module: str, found: Found) -> str:
        node, members = found.nodes[-1], []
        if isinstance(node, ast.ClassDef):
            code = self._class(found.module, node)
            members = list(self._members(found, node))
        elif isinstance(node, Assignment):
            code = self._assignment(found, node)
        else:
            functions = [one for one in found.nodes if isinstance(one, Function)]
            overloads = functions[:-1] or functions
            code = "\n".join(self._signature(found.module, one) for one in overloads)
        doc = _DOCS.get(found.name, found.doc)
        if not doc and found.name in public_names(module):
            raise SystemExit(f"{found.module}.{found.name} has no docstring")
        parts = [f"### {module}.{found.name}\n", f"```python fragment\n{code}\n```\n"]
        return "\n".join([*parts, *([f"{_markdown(doc)}\n"] if doc else []), *members])

    def _assignment(self, found: Found, node: Assignment) -> str:
        annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
        varies = isinstance(node.value, ast.Call) or found.name in _DOCS or len(found.nodes) > 1
        shown = None if varies else node.value
        hint = f": {self._text(found.module, annotation)}" if annotation else ""
        return found.name + hint + (f" = {self._text(found.module, shown)}" if shown else "")

    def _class(self, module: str, node: ast.ClassDef) -> str:
        """Write a class's head, and its fields."""
        bases = ", ".join(map(ast.unparse, node.bases))
        head = f"class {node.name}({bases})" if bases else f"class {node.name}"
        init = _constructor(node)
        if init and not re.search("Error|Exception", bases):  # those, nobody else makes
            head = self._signature(module, init, head=f"class {node.name}")
        lines = []
        for field, _ in fields(node):
            default = f" = {self._text(module, field.value)}" if field.value else ""
            lines.append(f"    {name_of(field)}: {self._text(module, field.annotation)}{default}")
        return "\n".join([f"{head}:", *lines] if lines else [head])

    def _members(self, found: Found, node: ast.ClassDef) -> Iterator[str]:
        """Write what the constructor takes, the documented fields, the properties and methods."""
        init = _constructor(node)
        doc = docstring(init) if init else None
        if doc:
            yield f"{_markdown(doc)}\n"
        for field, about in fields(node):
            if about:
                yield _item(name_of(field), about)
        for name, about in attributes(init) if init else []:
            yield _item(name, about)
        for member in node.body:
            if isinstance(member, Function) and not member.name.startswith("_"):
                yield self._member(found.module, f"{found.name}.{member.name}", member)

    def _member(self, module: str, name: str, member: Function) -> str:
        doc = docstring(member)
        if not doc:
            raise SystemExit(f"{module}.{name} has no docstring")
        if "property" in map(ast.unparse, member.decorator_list):
            return _item(f"{member.name}: {self._text(module, member.returns)}", doc)
        return _item(self._signature(module, member, width=sys.maxsize), doc)

    def _signature(
        self, module: str, node: Function, *, head: str = "", width: int = _WIDTH
    ) -> str:
        """Write a signature: on one line, or with a line for each parameter if it is too long."""
        parameters = list(self._parameters(module, node.args))
        if parameters and re.match(r"(self|cls)\b", parameters[0]):
            del parameters[: 1 + (parameters[1:2] == ["/"])]
        returns = f" -> {self._text(module, node.returns)}" if node.returns and not head else ""
        line = f"{head or node.name}({', '.join(parameters)}){returns}"
        if len(line) <= width:
            return line
        inside = "".join(f"    {parameter},\n" for parameter in parameters)
        return f"{head or node.name}(\n{inside}){returns}"

    def _parameters(self, module: str, given: ast.arguments) -> Iterator[str]:
        positional = [*given.posonlyargs, *given.args]
        defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
        for number, (one, default) in enumerate(zip(positional, defaults, strict=True), 1):
            yield self._parameter(module, one, default)
            if number == len(given.posonlyargs):
                yield "/"
        if given.vararg:
            yield f"*{self._parameter(module, given.vararg, None)}"
        elif given.kwonlyargs:
            yield "*"
        for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            yield self._parameter(module, one, default)
        if given.kwarg:
            yield f"**{self._parameter(module, given.kwarg, None)}"

    def _parameter(self, module: str, one: ast.arg, default: ast.expr | None) -> str:
        hint = f": {self._text(module, one.annotation)}" if one.annotation else ""
        return one.arg + hint + (f" = {self._text(module, default)}" if default else "")

    def _text(self, module: str, node: ast.expr | None) -> str:
        """Write an expression as the source does, on one line; take note of the names in it."""
        if node is None:
            return ""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and not inner.id.startswith("_"):
                found = find(module, inner.id)
                if found and not is_type_variable(found):
                    self._mentioned[found.module, found.name] = found
        flat = re.sub(r"\s+", " ", ast.get_source_segment(source(module)[0], node) or "")
        return re.sub(r"(?<=[\[(]) |,? (?=[\])])", "", flat)


def _constructor(node: ast.ClassDef) -> Function | None:
    members = [member for member in node.body if isinstance(member, Function)]
    return next((member for member in members if member.name == "__init__"), None)


def _link(module: str, name: str) -> str:
    return f"[`{name}`](#{module.replace('.', '')}{name.lower()})"


def _item(title: str, doc: str) -> str:
    lines = [f"- `{title}`", "", *(f"  {line}".rstrip() for line in _markdown(doc).split("\n"))]
    return "".join(f"{line}\n" for line in lines)


def _markdown(doc: str) -> str:
    """Return a docstring with its examples in blocks."""
    parts: list[str] = []
    for paragraph in cleandoc(doc).split("\n\n"):
        is_example = paragraph.lstrip().startswith(">>> ")
        parts.append(f"```pycon\n{cleandoc(paragraph)}\n```" if is_example else paragraph)
    return "\n\n".join(parts)


def reference() -> str:
    """Write the page."""
    return Reference().page()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.api_reference")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the page")
    action.add_argument("--check", action="store_true", help="fail if the page is stale")
    options = parser.parse_args()
    fresh = reference()
    if options.write:
        PAGE.write_text(fresh, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != fresh:
        print(f"{PAGE.name} is stale: python -m tests.api_reference --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
