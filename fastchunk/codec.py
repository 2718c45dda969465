"""Bytes to Structs and back: builds decode functions from Struct types, and encodes.

In:  one JSON document, or a Struct.
Out: a Struct, or compact JSON.
Cost: a decode adds one Python call and a scan for non-ASCII bytes to msgspec's own time; an encode
adds one look at every choice.

This module knows no family of Structs. What a family wants beyond msgspec it says itself: with
`Meta(extra={"null": value})`, a field whose null is read and written as that value; with `respell`,
another spelling of a document that the fast decoder refuses.
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

__all__ = [
    "Data",
    "decoder",
    "dump",
    "encode",
    "encode_event",
    "encode_tree",
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


def _same(value: T) -> T:
    return value


def guard(data: bytes) -> bool:
    """Tell whether the fast decoder may decide about a document, if it is one.

    msgspec skips over the values of unknown keys, and so over what the exact path refuses there:
    invalid UTF-8, a value that is nested too deeply, a number that is too long. False, or an error,
    leaves the document to the exact path.
    """
    if not data.isascii():
        data.decode()
    size = len(data)
    if size > MAX_FLAT:
        # Deleting a byte counts it several times faster than `count` does. An array takes two
        # bytes and an object that holds something five, `{"":}`: where so few objects fit in that
        # arrays must make up the depth, there is no need to count them.
        arrays = size - len(data.replace(b"]", b""))
        if size >= 5 * MAX_DEPTH - 3 * arrays:
            objects = size - len(data.replace(b"}", b""))
            if arrays + objects > MAX_DEPTH and parse.is_higher(data, MAX_DEPTH):
                return False
    return size <= MAX_DIGITS or not parse.has_long_number(data)


def guarded(fast: Callable[[Data], S], exact: Callable[[Data], S]) -> Callable[[Data], S]:
    """Build the function that has a document decoded fast where the guard allows it, else exactly.

    `exact` is given what `fast` refuses, too, and whatever is no document at all.
    """

    def decode(data: Any) -> S:
        """Decode one JSON document.

        Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to it.
        Raises `InvalidChunk` for data that is not a chunk, `TypeError` for anything else.
        """
        try:
            # Most chunks are short, so that there is nothing to guard against but bad UTF-8.
            if (len(data) <= MAX_FLAT and (data.isascii() or data.decode())) or guard(data):
                return fast(data)
        except _REFUSALS:
            pass  # decided below, so that its error has no misleading context
        return exact(data)

    return decode


# --- in -----------------------------------------------------------------------------------------


def decoder(struct_type: type[S], *, respell: Callable[[str], str] = _same) -> Callable[[Data], S]:
    """Build the decode function of a Struct type whose fields `coerce.checker` knows.

    `respell` is given the text that the fast decoder refused and returns an equivalent one that it
    may take; what it then still refuses goes to the exact, slow path.
    """
    fast = msgspec.json.Decoder(struct_type).decode
    check = coerce.checker(struct_type)

    def decode_exactly(data: Data) -> S:
        if isinstance(data, (bytearray, memoryview)):
            return decode(bytes(data))
        text = _text(data)
        try:
            if len(text) <= MAX_FLAT or guard(text.encode()):
                return fast(respell(text))
        except (msgspec.DecodeError, RecursionError, ValueError):
            pass
        chunk: S = _checked(check, text)
        return chunk

    decode = guarded(fast, decode_exactly)
    return decode


def tolerant_decoder(
    struct_type: type[S], *, firm: Collection[type[msgspec.Struct]] = ()
) -> Callable[[Data], S]:
    """Build the decode function of a Struct type that models what servers send, not what is right.

    Numbers written as strings and integers written as floats are taken for what they mean; `NaN`
    and `Infinity`, which JSON does not have, for null. A value of another type than its field's is
    kept as it was parsed, as `lenient` explains, but for those in the place of the document itself
    and of `firm` Structs.
    """
    fast = msgspec.json.Decoder(struct_type).decode
    lax = msgspec.json.Decoder(struct_type, strict=False).decode
    firm_types = frozenset(firm)

    def decode(data: Any) -> S:
        """Decode one JSON document.

        Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to a buffer
        that may change. Raises `InvalidChunk` for data that is no JSON object of this shape,
        `TypeError` for anything else.
        """
        try:
            # msgspec skips over the values of unknown keys without looking at their UTF-8.
            if not data.isascii():
                data.decode()
            if type(data) is not bytearray:  # which a Raw would lock
                return fast(data)
        except _REFUSALS:
            pass
        return decode_tolerantly(data)

    def decode_tolerantly(data: Data) -> S:
        text = _text(bytes(data) if isinstance(data, memoryview) else data)
        try:
            document = parse.null_for_nan(text).encode()
            try:
                return lax(document)
            except msgspec.ValidationError:
                pass
            chunk: S = lenient.reader(struct_type, firm_types)(document, ())
        except RecursionError as error:
            raise _unreadable("json_invalid", "nested too deeply", text) from error
        except lenient.Misshapen as error:
            message = f"{place(error.loc)}: {error.reason}"
            refused = text[:256].encode()
            raise InvalidChunk.single("wrong_type", error.loc, message, refused) from error
        except (msgspec.DecodeError, ValueError) as error:
            raise _unreadable("json_invalid", str(error), text) from error
        return chunk

    return decode


def validator(struct_type: type[S]) -> Callable[[object], S]:
    """Build the function that makes an instance from what `json.loads` returns."""
    check = coerce.checker(struct_type)

    def validate(value: object) -> S:
        _refuse_foreign(value)
        try:
            return msgspec.convert(value, struct_type)
        except (msgspec.ValidationError, OverflowError, UnicodeError):
            pass
        made: S = _run(check, value, from_json=False, data=_shown(value))
        return made

    return validate


def _text(data: Data) -> str:
    if isinstance(data, str):
        surrogate = coerce.SURROGATE.search(data)
        if surrogate:
            reason = f"a lone surrogate at offset {surrogate.start()}"
            raise _unreadable("string_unicode", reason, data)
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
    # Raised here and not there: the error's context would keep all of the data alive.
    raise _unreadable("json_invalid", reason, received)


def _checked(check: coerce.Check, text: str) -> Any:
    try:
        document = parse.parse(text)
    except parse.Malformed as error:
        reason = f"{error.reason} at offset {len(text[: error.position].encode())}"
    else:
        return _run(check, document, from_json=True, data=text[:256].encode())
    raise _unreadable("json_invalid", reason, text)


def _shown(value: object) -> bytes:
    try:
        return short_repr(value).encode(errors="replace")
    except ValueError:  # an integer with more digits than the interpreter writes
        return type(value).__name__.encode()


def _run(check: coerce.Check, value: object, *, from_json: bool, data: bytes) -> Any:
    problems = coerce.Problems(from_json=from_json)
    try:
        return check(value, (), problems)
    except coerce.Refused:
        pass

    def list_errors() -> list[ErrorDetail]:
        everything = coerce.Problems(from_json=from_json, want_all=True)
        check(value, (), everything)
        return everything.details()

    # The caller may change an object of its own, so its errors are listed now.
    listed = list_errors if from_json else partial(list, list_errors())
    raise InvalidChunk(problems.details()[0]["msg"], data, listed)


def _unreadable(kind: str, reason: str, data: bytes | str) -> InvalidChunk:
    message = f"not a JSON document: {reason}"
    received = data.encode(errors="replace") if isinstance(data, str) else data
    return InvalidChunk.single(kind, (), message, received)


def _refuse_foreign(value: object) -> None:
    """Raise `TypeError` for what JSON has no type for, at any depth, without recursion."""
    pending, seen = [[value]], set()
    while pending:
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


_encode = msgspec.json.Encoder(enc_hook=_encode_other).encode


def encode(chunk: msgspec.Struct) -> bytes:
    """Encode a Struct as compact JSON.

    Of the mirror, what Pydantic's `model_dump_json()` writes, byte for byte. Raises `InvalidChunk`
    for a string with a lone surrogate, which UTF-8 cannot hold, and `TypeError` for what is no
    Struct or holds what JSON has no form for.
    """
    held: Any = chunk
    try:
        for choice in held.choices:
            if choice.delta.content is None:
                break
        else:
            return _encode(chunk)
    except (AttributeError, TypeError, UnicodeEncodeError):
        pass  # no chunk, or one with something amiss
    return _encode_exactly(chunk)


def encode_event(chunk: msgspec.Struct) -> bytes:
    """Encode a Struct as a whole server-sent event: `data: `, the JSON on one line, an empty line.

    Raises what `encode` raises.
    """
    return b"data: %b\n\n" % one_line(encode(chunk))


def one_line(data: bytes) -> bytes:
    """Return a JSON document without its line ends; between its tokens they are white space.

    Only what was taken over as `msgspec.Raw`, or came in several data lines, has any.
    """
    if 10 in data or 13 in data:  # LF and CR: a number is found ten times as fast as bytes
        return data.translate(None, b"\r\n")
    return data


def encode_tree(tree: Any) -> bytes:
    """Encode a Struct as it stands, or what `dump` returns; raises what `encode` raises."""
    try:
        return _encode(tree)
    except UnicodeEncodeError as error:
        loc = _find_surrogate(dump(tree), ())
        message = f"{place(loc)}: a lone surrogate has no UTF-8 form"
        raise InvalidChunk.single("string_unicode", loc, message, b"") from error


def _encode_exactly(chunk: msgspec.Struct) -> bytes:
    if not isinstance(chunk, msgspec.Struct):
        raise TypeError(f"chunk must be a Struct, not {type(chunk).__name__}")
    return encode_tree(dump(chunk) if has_null_rule(type(chunk)) else chunk)


def to_builtins(value: Any) -> Any:
    """Turn a Struct, or what `dump` returns, into dicts, lists and plain scalars."""
    tree = value if _stands(value) else dump(value)
    return msgspec.to_builtins(tree, enc_hook=float)


def _stands(value: Any) -> bool:
    """Tell whether a value is written as it stands: no null in it that means something else."""
    try:
        return all(choice.delta.content is not None for choice in value.choices)
    except (AttributeError, TypeError):
        return not (isinstance(value, msgspec.Struct) and has_null_rule(type(value)))


def dump(value: Any, *, exclude_none: bool = False, exclude_defaults: bool = False) -> Any:
    """Turn a Struct into dicts and lists, as Pydantic's `model_dump` does.

    A field is excluded as a default when it equals its default, or what the default's factory
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
    for key, name, null, default in _layout(type(value)):
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
def _layout(
    struct_type: type[msgspec.Struct],
) -> list[tuple[str, str, object, Callable[[], object]]]:
    """List each field's key and name, what its null is written as, and what makes its default."""
    return [
        (field.encode_name, field.name, null_of(field.type), _default_of(field))
        for field in fields(struct_type)
    ]


def _default_of(field: inspect.Field) -> Callable[[], object]:
    if field.required or null_of(field.type) is not None:
        return object  # equal to nothing, so never excluded
    if field.default_factory is not msgspec.NODEFAULT:
        return cast(Callable[[], object], field.default_factory)
    return partial(_same, field.default)


def _find_surrogate(value: Any, loc: Loc) -> Loc:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (dict, list)):
            found = _find_surrogate(item, (*loc, key))
            if found:
                return found
        elif isinstance(item, str) and coerce.SURROGATE.search(item):
            return (*loc, key)
    return ()
