"""The paths that a scanner looks for, and how msgspec finds each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property, lru_cache
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

__all__ = ["FACT", "IN_PLACE", "KIND", "LATEST", "PLAIN", "TEXT", "Path", "Table", "Value", "Way"]

Path: TypeAlias = "tuple[str | None, ...]"
"""The keys and decimal indices that lead to a value; None stands for each item of an array."""

Value: TypeAlias = "bytes | EllipsisType | None"
"""What becomes of the value at the end of a path: a new one, encoded; `...`: it stays; None: it is
removed."""


class Way(NamedTuple):
    """How a path's value is found."""

    decode: Callable[[bytes], Any]
    steps: list[int | None]
    """From the decoded document to the raw value: an index, or None for the attribute `value`."""
    parents: tuple[bytes, ...]
    token: bytes


PLAIN, FACT, LATEST, IN_PLACE, KIND, TEXT = range(6)
"""What a path's value is to its table: nothing special; a fact, so that a `Forwarder` leaves events
with other facts to its caller; something of which the latest object is kept, with only its kind as
a fact; something that is changed where it is, and never added; something of which only the kind is
a fact; a text, or what consists of texts, in which all else is a fact."""


class Table:
    """Paths to look for."""

    def __init__(
        self,
        paths: Iterable[Path],
        roles: Sequence[int] | None = None,
        text_keys: Collection[str] = (),  # noqa: ARG002
    ) -> None:
        """Take the paths, and the role of each; without roles all of them are `PLAIN`.

        Where a text consists of parts, the `text_keys` of these lead to it.
        """
        self.paths = list(paths)
        self.roles = list(roles or [PLAIN] * len(self.paths))
        self.ways = [_way_to(path) for path in self.paths]
        """How `splice` finds each path; None where it does not try."""
        self.names = [
            f"changed_{number}" if role in {PLAIN, IN_PLACE} else str(path[0])
            for number, (path, role) in enumerate(zip(self.paths, self.roles, strict=True))
        ]
        """What a `Forwarder` calls each path's first key: those that it changes are any strings."""
        keys = {step for path in self.paths for step in path if step is not None}
        self.tokens = [msgspec.json.encode(key) for key in keys]
        """Every key of the paths, as a document spells it."""
        self._letters = frozenset("".join(keys))

    @cached_property
    def escapes(self) -> re.Pattern[bytes]:
        r"""What spells a letter of a key with a `\u`."""
        codes = "|".join(f"{ord(letter):04x}" for letter in self._letters if letter <= "\uffff")
        return re.compile(rf"\\u(?:{codes}|d[89ab])".encode(), re.IGNORECASE)


@lru_cache(maxsize=256)
def _way_to(path: Path) -> Way | None:
    r"""Build what finds a path's raw value, and the texts of its keys.

    None for a path that does not end in a key, and for keys that JSON may spell in two ways
    without a `\u`.
    """
    keys = [step for step in path if step is not None and not step.isdigit()]
    if not keys or keys[-1] != path[-1] or len(set(keys)) < len(keys):
        return None
    if None in path or not all(map(_is_plain, keys)):
        return None
    *parents, token = map(msgspec.json.encode, keys)
    shape, steps = _shape_of(path)
    return Way(msgspec.json.Decoder(shape).decode, steps, tuple(parents), token)


def _is_plain(key: str) -> bool:
    # One that begins like what follows a string could lie between two strings, too.
    follows = key.lstrip()[:1] in {":", ",", "]", "}"}
    return key.isprintable() and not follows and not set(key) & {"/", '"', "\\"}


def _shape_of(path: Path) -> tuple[Any, list[int | None]]:
    """Build the type that has a path's value at the end of its steps: an index, or an attribute."""
    shape: Any = Raw
    steps: list[int | None] = []
    for step in reversed(path):
        if step is not None and step.isdigit():
            shape = list[shape]
            steps.insert(0, int(step))
        else:
            fields = [("value", shape | UnsetType, UNSET)]
            shape = msgspec.defstruct("Shape", fields, rename={"value": str(step)}, gc=False)
            steps.insert(0, None)
    return shape, steps
