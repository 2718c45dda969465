"""The file of `fastchunk gateway --redact`: what is replaced in every answer.

In:  the path of a text file in UTF-8, one rule a line.
Out: text rules, in the order of the file.

A line is a string, or a pattern between slashes with flags behind the second one, as in `/…/i`.
What follows an arrow (` => `) takes its place. Lines that begin with `#` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from itertools import groupby
from operator import or_
from pathlib import Path
from typing import TypeAlias

import typer

from fastchunk.text import Replace

__all__ = ["read_rules"]

_REPLACEMENT = "[redacted]"
_ARROW = re.compile(r"(?:^|\s+)=>(?:\s+|$)")
# Lazy, so that slashes may stand in the replacement; and in the pattern, as no flags follow them.
_PATTERN = re.compile(r"/(.+?)/([a-z]*)(?:\s+=>\s*(.*))?")
_FLAGS = {letter: re.RegexFlag[letter.upper()] for letter in "aimsx"}
_CHANNELS = ("content", "reasoning", "refusal", "arguments")

_Entry: TypeAlias = tuple[str, str] | Replace
"""A line: a string and what replaces it, or the rule that a pattern makes."""


def read_rules(path: Path) -> list[Replace]:
    """Read the rules of a file. Raises `typer.BadParameter` that names the file and the line.

    Strings with one replacement, line after line, make one rule: a hundred thousand of them cost no
    more than a few, and of those that match at one place the longest counts.
    """
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
    rules: list[Replace] = []
    for replacement, entries in groupby(_entries(path, data), _replacement_of):
        if replacement is None:
            rules += [entry for entry in entries if isinstance(entry, Replace)]
        else:
            strings = [entry[0] for entry in entries if isinstance(entry, tuple)]
            rules.append(Replace(strings, replacement, channels=_CHANNELS))
    if not rules:
        raise typer.BadParameter(f"{path}: there is nothing to redact in it")
    return rules


def _replacement_of(entry: _Entry) -> str | None:
    return entry[1] if isinstance(entry, tuple) else None


def _entries(path: Path, data: bytes) -> Iterator[_Entry]:
    for number, line in enumerate(data.split(b"\n"), 1):
        entry = _parse(line, f"{path}, line {number}")
        if entry is not None:
            yield entry


def _parse(line: bytes, where: str) -> _Entry | None:
    """Parse a line; None if it says nothing."""
    try:
        text = line.decode().strip()
        if not text or text.startswith("#"):
            return None
        return _parse_pattern(text) if text.startswith("/") else _parse_string(text)
    # `re` raises the last two for a repetition or a nesting that is too much for it.
    except (ValueError, re.error, OverflowError, RecursionError) as error:
        raise typer.BadParameter(f"{where}: {error}") from error


def _parse_string(text: str) -> tuple[str, str]:
    string, *replacement = _ARROW.split(text, maxsplit=1)
    if not string:
        raise ValueError("nothing stands before the arrow")
    return string, replacement[0] if replacement else _REPLACEMENT


def _parse_pattern(text: str) -> Replace:
    parts = _PATTERN.fullmatch(text)
    if parts is None:
        raise ValueError("a pattern stands between two slashes, and flags alone follow the second")
    pattern, letters, replacement = parts.groups(_REPLACEMENT)
    unknown = sorted(set(letters) - _FLAGS.keys())
    if unknown:
        raise ValueError(f"there is no flag {unknown[0]!r}: there are {', '.join(_FLAGS)}")
    flags = reduce(or_, (_FLAGS[letter] for letter in letters), re.RegexFlag(0))
    return Replace(re.compile(pattern, flags), replacement, channels=_CHANNELS)
