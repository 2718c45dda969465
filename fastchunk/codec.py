"""Builds decode functions from Struct types, and encodes Structs.

In:  one JSON document, or a Struct.
Out: a Struct, or compact JSON.
Cost: decoding adds to msgspec's own time one Python call and two looks at the data, and where that
is longer than 402 bytes a count of its brackets; encoding adds a look at every choice.

This module knows no family of Structs. A family says what it wants beyond msgspec: a field with
`Meta(extra={"null": value})` reads and writes null as that value; a function `respell` writes a
document that the fast decoder refuses in a way that it may take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial
from reprlib import repr as short_repr
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
from msgspec import inspect

from . import lenient
from .errors import ErrorDetail, InvalidChunk, Loc, place
from .exact import coerce, parse
from .exact.parse import MAX_DEPTH, MAX_DIGITS, MAX_FLAT
from .field_types import fields, has_null_rule, null_of
from .scan import guarded_decoder

__all__ = [
    "Data",
    "UnknownEvent",
    "decoder",
    "dump",
    "encode",
    "encode_event",
    "encode_plainly",
    "encode_tree",
    "guard",
    "guarded",
    "guarded_tolerantly",
    "one_line",
    "to_builtins",
    "tolerant_decoder",
    "validator",
]

Data: TypeAlias = bytes | bytearray | memoryview | str
"""What the decode functions take: one JSON document, UTF-8 if it is bytes."""

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

_STR = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_REFUSALS = (msgspec.DecodeError, RecursionError, ValueError, AttributeError, TypeError)


class UnknownEvent(msgspec.Struct, kw_only=True, gc=False):
    """An event of a type that its family does not know."""

    type: str | msgspec.UnsetType | None = msgspec.UNSET
    """What the event has under `type`; if that is no text, as it was parsed."""
    data: msgspec.Raw
    """The event's whole data, as it came in."""


def _unchanged(value: T) -> T:
    return value


# --- in -----------------------------------------------------------------------------------------


def guard(data: bytes) -> bool:
    """Tell whether the fast decoder may decide what becomes of `data`.

    msgspec skips the values of unknown keys, and so misses what the exact path refuses in them:
    invalid UTF-8, a value that is nested too deeply, a number that is too long. The answer False
    and a `ValueError` both leave the decision to the exact path. For what is no JSON the answer
    does not matter.
    """
    if not data.isascii():
        data.decode()
    size = len(data)
    if size > MAX_FLAT:
        # Deleting a byte is several times as fast as `count`. An array takes at least two bytes,
        # and an object that holds something five, `{"":}`. In most documents so few objects fit
        # that arrays would have to make up the depth; then only arrays are counted.
        arrays = size - len(data.replace(b"]", b""))
        if size >= 5 * MAX_DEPTH - 3 * arrays:
            objects = size - len(data.replace(b"}", b""))
            if arrays + objects > MAX_DEPTH and parse.nests_deeper(data, MAX_DEPTH):
                return False
    return size <= MAX_DIGITS or not parse.has_long_number(data)


def guarded(fast: Callable[[Data], S], exact: Callable[[Data], S]) -> Callable[[Data], S]:
    """Build a decode function: `fast` decodes what the guard lets through, `exact` the rest.

    `exact` also gets what `fast` refuses, and what is not data at all.
    """

    def decode(data: Any) -> S:
        """Decode one JSON document.

        Takes bytes, a bytearray, a memoryview or a str, and keeps no reference to it. Raises
        `InvalidChunk` for data that is not a chunk, `TypeError` for anything else.
        """
        try:
            # Most chunks are so short that only their UTF-8 can be amiss.
            if (len(data) <= MAX_FLAT and (data.isascii() or data.decode())) or guard(data):
                return fast(data)
        except _REFUSALS:
            pass  # `exact` is called below, so that its error has no misleading context
        return exact(data)

    return guarded_decoder(fast, decode)


def decoder(
    struct_type: type[S], *, respell: Callable[[str], str] = _unchanged
) -> Callable[[Data], S]:
    """Build the decode function of a Struct type whose fields `coerce.checker` knows.

    `respell` gets the text that the fast decoder refused and returns an equivalent one that it may
    take. What it refuses again goes to the exact, slow path.
    """
    fast = msgspec.json.Decoder(struct_type).decode
    check = coerce.checker(struct_type)

    def decode_exactly(data: Data) -> S:
        if isinstance(data, (bytearray, memoryview)):
            return decode(bytes(data))
        text = _read_text(data)
        try:
            if len(text) <= MAX_FLAT or guard(text.encode()):
                return fast(respell(text))
        except (msgspec.DecodeError, RecursionError, ValueError):
            pass
        chunk: S = _parse_and_check(check, text)
        return chunk

    decode = guarded(fast, decode_exactly)
    return decode


def tolerant_decoder(
    struct_type: type[S], *, firm: Collection[type[msgspec.Struct]] = ()
) -> Callable[[Data], S]:
    """Build the decode function of a Struct type that models what servers send, not what is right.

    It reads a number in a string as that number, a float without a fraction as an integer, and
    `NaN` and `Infinity`, which JSON does not have, as null. A field whose value has another type
    holds that value as it was parsed; only the document and Structs of the `firm` types must have
    their shape. `lenient` explains this.
    """
    fast = msgspec.json.Decoder(struct_type).decode
    lax = msgspec.json.Decoder(struct_type, strict=False).decode
    firm_types = frozenset(firm)

    def decode_tolerantly(data: Data) -> S:
        text = _read_text(bytes(data) if isinstance(data, memoryview) else data)
        try:
            document = parse.replace_nan(text).encode()
            try:
                return lax(document)
            except msgspec.ValidationError:
                pass
            chunk: S = lenient.reader(struct_type, firm_types)(document, ())
        except RecursionError as error:
            raise _no_document("json_invalid", "nested too deeply", text) from error
        except lenient.Misshapen as error:
            message = f"{place(error.loc)}: {error.reason}"
            raise InvalidChunk.single("wrong_type", error.loc, message, _excerpt(text)) from error
        except (msgspec.DecodeError, ValueError) as error:
            raise _no_document("json_invalid", str(error), text) from error
        return chunk

    return guarded_tolerantly(fast, decode_tolerantly)


def guarded_tolerantly(
    fast: Callable[[Data], S], tolerant: Callable[[Data], S]
) -> Callable[[Data], S]:
    """Build a decode function: `fast` decodes what is UTF-8, `tolerant` what it refuses."""

    def decode(data: Any) -> S:
        """Decode one JSON document.

        Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to a buffer
        that may change. Raises `InvalidChunk` for data that is no JSON object, or that has not the
        shape of its type; `TypeError` for anything else.
        """
        try:
            # msgspec does not look at the UTF-8 of the values that it skips.
            if not data.isascii():
                data.decode()
            if type(data) is not bytearray:  # a Raw would lock it
                return fast(data)
        except _REFUSALS:
            pass  # read below, so that its error has no misleading context
        return tolerant(data)

    return guarded_decoder(fast, decode)


def validator(struct_type: type[S]) -> Callable[[object], S]:
    """Build the function that makes an instance from what `json.loads` returns."""
    check = coerce.checker(struct_type)

    def validate(value: object) -> S:
        _refuse_foreign(value)
        try:
            return msgspec.convert(value, struct_type)
        except (msgspec.ValidationError, OverflowError, UnicodeError):
            pass
        made: S = _apply(check, value, from_json=False, data=_describe(value))
        return made

    return validate


def _read_text(data: Data) -> str:
    if isinstance(data, str):
        surrogate = coerce.SURROGATE.search(data)
        if surrogate:
            reason = f"a lone surrogate at offset {surrogate.start()}"
            raise _no_document("string_unicode", reason, data)
        return str(data)
    if not isinstance(data, (bytes, bytearray)):
        raise TypeError(
            f"data must be bytes, bytearray, memoryview or str, not {type(data).__name__}"
        )
    received = bytes(data)
    try:
        return received.decode()
    except UnicodeDecodeError as error:
        reason = f"invalid UTF-8 at offset {error.start}"
    # Raised only here: the UnicodeDecodeError as its context would keep all of the data alive.
    raise _no_document("json_invalid", reason, received)


def _parse_and_check(check: coerce.Check, text: str) -> Any:
    try:
        document = parse.parse(text)
    except parse.Malformed as error:
        reason = f"{error.reason} at offset {len(text[: error.position].encode())}"
    else:
        return _apply(check, document, from_json=True, data=_excerpt(text))
    raise _no_document("json_invalid", reason, text)


def _excerpt(text: str) -> bytes:
    """Return what an error shows of a document; encoding all of a large one would take long."""
    return text[:256].encode()


def _describe(value: object) -> bytes:
    try:
        return short_repr(value).encode(errors="replace")
    except ValueError:  # an integer with more digits than the interpreter writes
        return type(value).__name__.encode()


def _apply(check: coerce.Check, value: object, *, from_json: bool, data: bytes) -> Any:
    problems = coerce.Problems(from_json=from_json)
    try:
        return check(value, (), problems)
    except coerce.Refused:
        pass

    def list_errors() -> list[ErrorDetail]:
        everything = coerce.Problems(from_json=from_json, want_all=True)
        check(value, (), everything)
        return everything.details()

    # The caller may change the object later, so its errors are listed now.
    listed = list_errors if from_json else partial(list, list_errors())
    raise InvalidChunk(problems.details()[0]["msg"], data, listed)


def _no_document(kind: str, reason: str, data: bytes | str) -> InvalidChunk:
    message = f"not a JSON document: {reason}"
    received = data.encode(errors="replace") if isinstance(data, str) else data
    return InvalidChunk.single(kind, (), message, received)


def _refuse_foreign(value: object) -> None:
    """Raise `TypeError` for a value, at any depth, that JSON has no type for."""
    pending, seen = [[value]], set()
    while pending:  # no recursion: the caller decides how deep the value is
        container: Any = pending.pop()
        if type(container) is dict:
            if not set(map(type, container)) <= _STR:
                raise TypeError("expected what json.loads returns, found a key that is no string")
            container = container.values()
        for item in container:
            kind = type(item)
            if kind in _SCALARS:
                continue
            if kind is not dict and kind is not list:
                raise TypeError(f"expected what json.loads returns, found {kind.__name__}")
            if id(item) not in seen:  # a container may hold itself
                seen.add(id(item))
                pending.append(item)


# --- out ----------------------------------------------------------------------------------------


def _encode_other(value: object) -> msgspec.Raw:
    if isinstance(value, coerce.WideFloat):
        return msgspec.Raw(repr(value).encode())
    raise TypeError(f"{type(value).__name__} has no JSON form")


encode_plainly: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=_encode_other).encode
"""Encode a value as it stands; raises what msgspec raises."""


def encode(chunk: msgspec.Struct) -> bytes:
    """Encode a Struct as compact JSON, and an `UnknownEvent` as the data that came in.

    For a Struct of the mirror this is what Pydantic's `model_dump_json()` writes, byte for byte.
    Raises `InvalidChunk` for a string with a lone surrogate, which UTF-8 cannot hold, and
    `TypeError` for what is no Struct or holds what JSON has no form for.
    """
    held: Any = chunk
    try:
        # A null content is the only null that the mirror writes as something else.
        for choice in held.choices:
            if choice.delta.content is None:
                break
        else:
            return encode_plainly(chunk)
    except (AttributeError, TypeError, UnicodeEncodeError):
        pass  # another Struct, or a chunk with something amiss
    return _encode_exactly(chunk)


def encode_event(chunk: msgspec.Struct) -> bytes:
    """Encode a Struct as a complete server-sent event: `data: `, JSON on one line, an empty line.

    Raises what `encode` raises.
    """
    return b"data: %b\n\n" % one_line(encode(chunk))


def one_line(data: bytes) -> bytes:
    """Remove the line ends from a JSON document, where they are white space between its tokens.

    Only a `msgspec.Raw` brings any, or a document that came in several data lines.
    """
    if 10 in data or 13 in data:  # LF, CR: `in` finds a number ten times as fast as a bytes object
        return data.translate(None, b"\r\n")
    return data


def encode_tree(tree: Any) -> bytes:
    """Encode what `dump` returns, or a Struct whose nulls stay nulls; raises what `encode` does."""
    try:
        return encode_plainly(tree)
    except UnicodeEncodeError as error:
        loc = _find_surrogate(dump(tree), ())
        message = f"{place(loc)}: a lone surrogate has no UTF-8 form"
        raise InvalidChunk.single("string_unicode", loc, message, b"") from error


def _encode_exactly(chunk: msgspec.Struct) -> bytes:
    if not isinstance(chunk, msgspec.Struct):
        raise TypeError(f"chunk must be a Struct, not {type(chunk).__name__}")
    if isinstance(chunk, UnknownEvent):
        return bytes(chunk.data)
    return encode_tree(dump(chunk) if has_null_rule(type(chunk)) else chunk)


def to_builtins(value: Any) -> Any:
    """Turn a Struct, or what `dump` returns, into dicts, lists and plain scalars."""
    tree = value if _writes_as_is(value) else dump(value)
    return msgspec.to_builtins(tree, enc_hook=float)


def _writes_as_is(value: Any) -> bool:
    """Tell whether msgspec writes a value as `dump` would: no null in it means something else."""
    try:
        return all(choice.delta.content is not None for choice in value.choices)
    except (AttributeError, TypeError):
        return not (isinstance(value, msgspec.Struct) and has_null_rule(type(value)))


def dump(value: Any, *, exclude_none: bool = False, exclude_defaults: bool = False) -> Any:
    """Turn a Struct into dicts and lists, as Pydantic's `model_dump` does.

    `exclude_defaults` leaves out a field that equals its default, or what its default's factory
    makes now. Floats keep their type, and with it their spelling.
    """
    if isinstance(value, list):
        return [
            dump(item, exclude_none=exclude_none, exclude_defaults=exclude_defaults)
            for item in value
        ]
    if not isinstance(value, msgspec.Struct):
        return value
    tree = {}
    for key, name, null, default in _dumped_fields(type(value)):
        item = getattr(value, name)
        if item is msgspec.UNSET:
            continue
        if item is None:
            item = null
        if (exclude_none and item is None) or (exclude_defaults and item == default()):
            continue
        tree[key] = dump(item, exclude_none=exclude_none, exclude_defaults=exclude_defaults)
    return tree


@cache
def _dumped_fields(
    struct_type: type[msgspec.Struct],
) -> list[tuple[str, str, object, Callable[[], object]]]:
    """List each field's key, its name, what its null is written as, and its default's maker."""
    return [
        (field.encode_name, field.name, null_of(field.type), _default_maker(field))
        for field in fields(struct_type)
    ]


def _default_maker(field: inspect.Field) -> Callable[[], object]:
    if field.required or null_of(field.type) is not None:
        return object  # equal to nothing, so never excluded
    if field.default_factory is not msgspec.NODEFAULT:
        return cast(Callable[[], object], field.default_factory)
    return partial(_unchanged, field.default)


def _find_surrogate(value: Any, loc: Loc) -> Loc:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (dict, list)):
            found = _find_surrogate(item, (*loc, key))
            if found:
                return found
        elif isinstance(item, str) and coerce.SURROGATE.search(item):
            return (*loc, key)
    return ()
