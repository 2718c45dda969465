"""Parses JSON as jiter does, Pydantic's parser.

In:  text.
Out: what `json.loads` returns, with `NaN` and `Infinity` as numbers and the last of duplicate keys;
or `Malformed`, for bad syntax, lone surrogates in escapes, a value below 200 levels of arrays and
objects, and numbers with more than 4300 digits before the point.
Cost: that of msgspec, which takes less than jiter and reads what it takes in the same way. What it
refuses, and what is so long or deep that it may take too much, costs what `json.loads` does, and
another pass where the text may hold one of the last three.

The fast decoder skips values that jiter looks into. Two functions here tell from a document's bytes
whether jiter might refuse it for one of those.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_FLAT",
    "Malformed",
    "has_long_number",
    "nests_deeper",
    "parse",
    "replace_nan",
]

MAX_DIGITS = 4300  # CPython's default limit for int(str), which jiter shares
MAX_DEPTH = 200
"""How many arrays and objects, one in the other, may hold something; jiter's limit."""
MAX_FLAT = 2 * (MAX_DEPTH + 1)
"""How many bytes a document can have and not exceed that: an array or object takes two."""

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_STRUCTURE = re.compile(r'\\.|\[[ \t\n\r]*\]|\{[ \t\n\r]*\}|["\[\]{}]', re.DOTALL)
_DIGIT_RUN = re.compile(rb"[0-9]*")
_ALL_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Malformed(Exception):
    """The text is no JSON document; carries the reason, and the index of the character at fault."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position


def has_long_number(data: bytes | bytearray) -> bool:
    """Tell whether `data` holds a run of more than 4300 digits, which may be a number.

    Such a run covers an index that is a multiple of 4300, so that one byte in 4300 is enough to
    find it. (A run at the very beginning need not; but no object begins with a digit.)
    """
    return any(
        48 <= data[i] <= 57 and _digits_around(data, i) > MAX_DIGITS
        for i in range(MAX_DIGITS, len(data), MAX_DIGITS)
    )


def _digits_around(data: bytes | bytearray, i: int) -> int:
    before = data[i - MAX_DIGITS : i]
    after = _DIGIT_RUN.match(data, i)
    return len(before) - len(before.rstrip(b"0123456789")) + (after.end() - i if after else 0)


def nests_deeper(data: bytes, limit: int) -> bool:
    """Tell whether a valid document has a value below more than `limit` arrays and objects.

    For what is no valid document the answer does not matter. Costs some 2 ns a byte, and for each
    level another pass over the brackets.
    """
    # Without escaped quotes, every other piece between quotes is the text of a string.
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b'"'.join(data.split(b'"')[::2]).translate(None, b" \t\n\r")
    # An empty array or object may be one level deeper, like any other value.
    outside = outside.replace(b"[]", b"0").replace(b"{}", b"0")
    brackets = outside.translate(_ALL_AS_ARRAYS, _NO_BRACKETS)
    for _ in range(limit):
        brackets = brackets.replace(b"[]", b"")  # takes off the innermost level
        if not brackets:
            break
    return bool(brackets)


def parse(text: str) -> Any:
    """Parse a JSON document; `NaN` and `Infinity` are numbers, and the last of equal keys counts.

    Raises `Malformed` for what jiter refuses too: bad syntax, lone surrogates in escapes, a value
    below 200 levels of arrays and objects, and integers of more than 4300 digits.
    """
    deep = len(text) > MAX_FLAT and text.count("[") + text.count("{") > MAX_DEPTH
    long = len(text) > MAX_DIGITS
    if not (deep or long):
        try:
            return _parse_plainly(text)
        except (msgspec.DecodeError, RecursionError, ValueError):
            pass  # below it is either taken, or refused with its place
    try:
        document = (_GUARDED if long else _DECODER).decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(error.msg, error.pos) from None
    except RecursionError:
        raise Malformed("nested too deeply", 0) from None
    except ValueError:  # the interpreter's limit of digits is set lower than usual
        raise Malformed("number out of range", 0) from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(text)
    if deep:
        _refuse_deep_nesting(text)
    return document


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise json.JSONDecodeError("number out of range", "", 0)
    return int(digits)


def _parse_float(digits: str) -> float:
    if len(digits.lstrip("-").partition(".")[0].lower().partition("e")[0]) > MAX_DIGITS:
        raise json.JSONDecodeError("number out of range", "", 0)
    return float(digits)


_parse_plainly = msgspec.json.Decoder().decode
_DECODER = json.JSONDecoder()
_GUARDED = json.JSONDecoder(parse_int=_parse_int, parse_float=_parse_float)


def _refuse_lone_surrogates(text: str) -> None:
    start, low_due = 0, -1  # low_due: where the low half of a begun pair must stand
    for match in _ESCAPE.finditer(text):
        start, code = match.start(), int(match[1] or "0", 16)
        is_low = 0xDC00 <= code <= 0xDFFF
        if is_low != (low_due == start) or start > low_due >= 0:
            raise Malformed("lone surrogate in an escape", start)
        low_due = match.end() if 0xD800 <= code <= 0xDBFF else -1
    if low_due >= 0:
        raise Malformed("lone surrogate in an escape", start)


def _refuse_deep_nesting(text: str) -> None:
    depth, in_string = 0, False
    for match in _STRUCTURE.finditer(text):
        mark = match[0]
        if mark == '"':
            in_string = not in_string
        elif in_string or len(mark) > 1:  # an escape, or an empty container, which may be deeper
            continue
        elif mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed("nested too deeply", match.start())
        else:
            depth -= 1


_NOT_A_NUMBER = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def replace_nan(text: str) -> str:
    """Replace `NaN` and the infinities, which some servers send and JSON does not have, by null."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _NOT_A_NUMBER.sub(lambda match: match[1] or "null", text)
