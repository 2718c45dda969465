"""A seeded generator of the values that a JSON Schema accepts."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from .generate import STRINGS
from .servers import Schema, branches

_SCALARS: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "string": STRINGS,
    "integer": [0, 1, 7, -1, 1700000000, 2**53 + 1, 2**63, -(2**63), 2**64, 10**25],
    "number": [0.0, -0.0, -0.5, -9999.0, 0.1, 1e-7, -1.5e-7, 5e-324, 1e15, 1e16, 1.5e300],
}
_ANYTHING = [
    *(values[-1] for values in _SCALARS.values()),
    [],
    [None, "a", {}],
    {},
    {"a": [1.5, 2**64, -(10**25), 1e16], "content": None},
]


class Values:
    """What the schemas of one document accept, the same for the same seed."""

    def __init__(self, root: Schema, seed: int) -> None:
        self.root = root
        self.random = Random(seed)

    def every(self, schema: Schema) -> Iterator[Any]:
        """Yield values of every branch: all there are, or few, many and none inside."""
        for branch in branches(schema, self.root):
            pool = _pool(branch)
            if pool:
                yield from pool
            else:
                yield from (self._made(branch, size) for size in (0, 1, 3))
                yield self._varied(branch)

    def some(self, schema: Schema) -> Any:
        """Return one value."""
        branch = self.random.choice(list(branches(schema, self.root)))
        pool = _pool(branch)
        if pool:
            return self.random.choice(pool)
        return self._made(branch, self.random.choice([0, 1, 3]))

    def _made(self, branch: Schema, size: int) -> Any:
        """Make a list of `size` items, or an object with `size` thirds of what is optional."""
        if branch["type"] == "array":
            return [self.some(branch["items"]) for _ in range(size)]
        if "properties" not in branch:
            return {f"k{i}": self.some(_values_of(branch)) for i in range(size)}
        required = branch.get("required", [])
        return {
            name: self.some(field)
            for name, field in branch["properties"].items()
            if name in required or self.random.random() < size / 3
        }

    def _varied(self, branch: Schema) -> Any:
        """Make a list, or a mapping, of all that `every` yields for its items."""
        if branch["type"] == "array":
            return list(self.every(branch["items"]))
        if "properties" not in branch:
            return {f"k{i}": value for i, value in enumerate(self.every(_values_of(branch)))}
        return self._made(branch, 2)


def _pool(branch: Schema) -> list[Any]:
    """Return the values of a schema that has no others inside."""
    if "const" in branch:
        return [branch["const"]]
    if "enum" in branch:
        return list(branch["enum"])
    return _SCALARS.get(branch["type"], []) if "type" in branch else _ANYTHING


def _values_of(branch: Schema) -> Schema:
    """Return the schema of a mapping's values; `true` stands for any."""
    values = branch["additionalProperties"]
    return {} if values is True else dict(values)
