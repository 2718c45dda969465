"""Makes Structs of parsed documents as Pydantic's lax mode does: the slow, exact path.

In:  what `json.loads` can return.
Out: the Struct, or the errors with Pydantic's own locations and codes.
Cost: some 10 µs for a chunk, against 0.4 µs on the fast path.

Pydantic accepts some documents that the fast decoder refuses: numbers in strings, `1.0` for an
integer, `NaN`, a bad value that a duplicate key replaces later. Such a document comes here. Each
field type has one small check, built once from what the Struct's type says of its fields. The
checks follow the rules of pydantic-core 2.50; how integers and floats are read from strings is in
its `input/shared.rs`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from msgspec import inspect

from fastchunk.errors import ErrorDetail, Loc, place
from fastchunk.field_types import describe, null_of

from .parse import MAX_DIGITS

__all__ = ["SURROGATE", "Check", "Problems", "Refused", "WideFloat", "checker"]

Check = Callable[[Any, Loc, "Problems"], Any]

INVALID: Any = object()
"""What a check returns for a value that it has reported."""


# Unicode's White_Space, which is str.strip() without U+001C to U+001F.
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_JSON_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
# One sign; zeros with underscores between them, which may hide a second minus; the digits, with
# single underscores between them; a fraction of zeros.
_LAX_INT = re.compile(
    r"(?:\+|(?P<minus>-))?(?:0[0_]*?(?P<hidden>-_?)?)?"
    r"(?P<digits>[1-9][0-9]*(?:_[0-9]+)*|0)(?:\.0+)?"
)
_FLOAT = re.compile(
    r"[+-]?(?:inf(?:inity)?|nan|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)",
    re.IGNORECASE | re.ASCII,
)
SURROGATE = re.compile("[\ud800-\udfff]")

_MESSAGES = {
    "finite_number": "expected a finite number",
    "float_parsing": "expected a number, and this string is not one",
    "float_type": "expected a number",
    "int_from_float": "expected an integer, got a number with a fraction",
    "int_parsing": "expected an integer, and this string is not one",
    "int_parsing_size": "expected an integer, and this number is too large",
    "int_type": "expected an integer",
    "list_type": "expected an array",
    "literal_error": "expected the one value that the model allows",
    "missing": "this field is required",
    "model_type": "expected an object",
    "string_type": "expected a string",
    "string_unicode": "a lone surrogate is not Unicode text",
}


class WideFloat(float):
    """A float of 1e16 or more: Pydantic writes `1e+16`, and so does its `repr`; msgspec `1e16`."""

    __slots__ = ()


class Refused(Exception):
    """Raised by `Problems` at the first error, unless all errors are wanted."""


class Problems:
    """The errors found so far; the first one ends the search, unless all are wanted."""

    __slots__ = ("found", "from_json", "want_all")

    def __init__(self, *, from_json: bool, want_all: bool = False) -> None:
        self.found: list[tuple[Loc, str]] = []
        self.from_json: bool = from_json
        self.want_all: bool = want_all

    def add(self, loc: Loc, kind: str) -> Any:
        """Note an error; return `INVALID` if all are wanted, else raise `Refused`."""
        self.found.append((loc, kind))
        if not self.want_all:
            raise Refused
        return INVALID

    def details(self) -> list[ErrorDetail]:
        """Describe the errors found so far."""
        return [
            {"type": kind, "loc": loc, "msg": f"{place(loc)}: {_MESSAGES[kind]}"}
            for loc, kind in self.found
        ]


# --- values, one check per type -----------------------------------------------------------------


def _check_str(value: Any, loc: Loc, problems: Problems) -> Any:
    return value if type(value) is str else problems.add(loc, "string_type")


def _check_int(value: Any, loc: Loc, problems: Problems) -> Any:
    kind = type(value)
    if kind is int:
        return value
    if kind is bool:
        return int(value)
    if kind is float:
        return _int_from_float(value, loc, problems)
    if kind is str:
        return _int_from_str(value, loc, problems)
    return problems.add(loc, "int_type")


def _int_from_float(value: float, loc: Loc, problems: Problems) -> Any:
    if not math.isfinite(value):
        return problems.add(loc, "finite_number")
    if value % 1.0:
        return problems.add(loc, "int_from_float")
    if not -(2.0**63) < value < 2.0**63:  # Pydantic goes through a 64-bit integer here
        return problems.add(loc, "int_parsing_size")
    return int(value)


def _int_from_str(value: str, loc: Loc, problems: Problems) -> Any:
    strict = _JSON_INT.match(value)
    # The error depends on whether the digits that are too many stand at the beginning.
    if strict and len(strict[0].lstrip("-")) > MAX_DIGITS:
        return problems.add(loc, "int_parsing_size")
    if strict and strict[0] == value:
        return _int_from_digits(value, loc, problems)
    lax = _LAX_INT.fullmatch(value.strip(_WHITE_SPACE))
    if lax is None or (lax["minus"] and lax["hidden"]):
        return problems.add(loc, _choose_kind(value, "int_parsing"))
    digits = lax["digits"].replace("_", "")
    if len(digits) > MAX_DIGITS:
        return problems.add(loc, "int_parsing")
    return _int_from_digits("-" * bool(lax["minus"] or lax["hidden"]) + digits, loc, problems)


def _int_from_digits(digits: str, loc: Loc, problems: Problems) -> Any:
    try:
        return int(digits)
    except ValueError:  # the interpreter was told to take fewer digits than usual
        return problems.add(loc, "int_parsing_size")


def _check_float(value: Any, loc: Loc, problems: Problems) -> Any:
    kind = type(value)
    if kind is float:
        number = value
    elif kind is int or kind is bool:
        number = _float_from_int(value, loc, problems)
    elif kind is str:
        number = _float_from_str(value, loc, problems)
    else:
        return problems.add(loc, "float_type")
    return WideFloat(number) if number is not INVALID and 1e16 <= abs(number) < math.inf else number


def _float_from_int(value: int, loc: Loc, problems: Problems) -> Any:
    try:
        return _round_as_jiter(value) if problems.from_json else float(value)
    except OverflowError:
        pass
    if problems.from_json:  # jiter makes an infinity of a literal, Python an error of an int
        return math.inf if value > 0 else -math.inf
    return problems.add(loc, "float_type")


def _round_as_jiter(value: int) -> float:
    """Round an integer literal to a float as jiter's big integers do.

    They keep the 64 highest bits and set the lowest of these if any bit below is set, so that the
    one rounding that follows is right. But they look only at part of each 64-bit digit below, as
    many low bits as the highest digit has, and so now and then miss one.
    """
    magnitude = abs(value)
    below = max(magnitude.bit_length() - 64, 0)
    high, low = magnitude >> below, magnitude & ((1 << below) - 1)
    seen = (1 << ((magnitude.bit_length() - 1) % 64 + 1)) - 1 if below else 0
    while low:
        high |= bool(low & seen)
        low >>= 64
    return math.copysign(math.ldexp(float(high), below), value)


def _float_from_str(value: str, loc: Loc, problems: Problems) -> Any:
    stripped = value.strip(_WHITE_SPACE)
    if _FLOAT.fullmatch(stripped):
        return float(stripped)
    plain = _remove_underscores(value)
    if plain != value and _FLOAT.fullmatch(plain):
        return float(plain)
    return problems.add(loc, _choose_kind(value, "float_parsing"))


def _remove_underscores(value: str) -> str:
    if value.startswith("_") or value.endswith("_") or "__" in value:
        return value
    return value.replace("_", "")


def _choose_kind(value: str, kind: str) -> str:
    return "string_unicode" if SURROGATE.search(value) else kind


def _check_int_or_str(value: Any, loc: Loc, problems: Problems) -> Any:
    """Check `int | str` as Pydantic's smart mode does: all but strings must do as integers."""
    if type(value) is str:
        return value
    number = _check_int(value, (*loc, "int"), problems)
    if number is INVALID:
        problems.add((*loc, "str"), "string_type")
    return number


def _build_literal_check(expected: Collection[str]) -> Check:
    def check(value: Any, loc: Loc, problems: Problems) -> Any:
        if type(value) is str:
            return (
                value
                if value in expected
                else problems.add(loc, _choose_kind(value, "literal_error"))
            )
        return problems.add(loc, "literal_error")

    return check


def _build_nullable_check(inner: Check, null: Any = None) -> Check:
    def check(value: Any, loc: Loc, problems: Problems) -> Any:
        return null if value is None else inner(value, loc, problems)

    return check


def _build_list_check(item: Check) -> Check:
    def check(value: Any, loc: Loc, problems: Problems) -> Any:
        if type(value) is not list:
            return problems.add(loc, "list_type")
        return [item(entry, (*loc, index), problems) for index, entry in enumerate(value)]

    return check


def _build_struct_check(info: inspect.StructType) -> Check:
    fields = [(f.encode_name, f.name, _build_check(f.type), f.required) for f in info.fields]
    build = info.cls

    def check(value: Any, loc: Loc, problems: Problems) -> Any:
        if type(value) is not dict:
            return problems.add(loc, "model_type")
        arguments = {}
        for key, name, field, required in fields:
            if key in value:
                arguments[name] = field(value[key], (*loc, key), problems)
            elif required:
                arguments[name] = problems.add((*loc, key), "missing")
        return build(**arguments)

    return check


def _build_check(info: inspect.Type) -> Check:
    if isinstance(info, inspect.Metadata):
        return _build_nullable_check(_build_check(info.type), null_of(info))
    if isinstance(info, inspect.UnionType):
        kinds = {type(t) for t in info.types}
        inner = [t for t in info.types if not isinstance(t, inspect.NoneType)]
        if {type(t) for t in inner} == {inspect.IntType, inspect.StrType}:
            check: Check = _check_int_or_str
        elif len(inner) == 1:
            check = _build_check(inner[0])
        else:
            raise TypeError(f"a union of {', '.join(map(_name_type, inner))} is not supported")
        return _build_nullable_check(check) if inspect.NoneType in kinds else check
    if isinstance(info, inspect.StructType):
        return _build_struct_check(info)
    if isinstance(info, inspect.ListType):
        return _build_list_check(_build_check(info.item_type))
    if isinstance(info, inspect.LiteralType):
        return _build_literal_check([str(value) for value in info.values])
    if type(info) not in _SCALARS:
        raise TypeError(f"a field of type {_name_type(info)} is not supported")
    return _SCALARS[type(info)]


def _name_type(info: inspect.Type) -> str:
    return type(info).__name__.removesuffix("Type").lower()


_SCALARS: dict[type, Check] = {
    inspect.StrType: _check_str,
    inspect.IntType: _check_int,
    inspect.FloatType: _check_float,
}


def checker(struct_type: type[msgspec.Struct]) -> Check:
    """Build the check of a Struct type.

    Its fields may be strings, integers, floats, literal strings, `int | str`, lists and Structs,
    nullable or not. Raises `TypeError` for any other.

    The check takes a parsed document, its location and `Problems`, and returns an instance. What
    is wrong it adds to the `Problems`; then its result means nothing.
    """
    return _build_check(describe(struct_type))
