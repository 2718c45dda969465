"""Lets pickle carry a whole chunk as one byte string, where the same chunk comes out of it.

In:  a Struct, and the functions that encode and decode its type.
Out: the bytes, or None where they would give another Struct.
Cost: that of encoding, decoding and comparing; what is left to pickle takes 2 µs for any chunk.

Anything may be put into a Struct, and pickle keeps all of it: a `str` of a subclass, a tuple in the
place of a list, an integer in that of a float, NaN, text with a lone surrogate. So a Struct is
carried only if it is, type by type, what the decoder makes of its bytes; all else is left to
pickle's own way. What pickle keeps and bytes cannot is that one object stands in two places: two
equal ones come back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from msgspec import MsgspecError, Raw, Struct, structs

from .codec import guard

__all__ = ["NOT_CARRIED", "carry", "deepcopy"]

S = TypeVar("S", bound=Struct)

NOT_CARRIED = (MsgspecError, AttributeError, OverflowError, RecursionError, TypeError, ValueError)
"""What encoding raises, and decoding, for a Struct that has no such bytes."""

_COMPARED = frozenset({str, int, float, Raw})


def carry(struct: S, encode: Callable[[S], bytes], decode: Callable[[bytes], S]) -> bytes | None:
    """Encode a Struct for pickle; None if `decode` would not give the same one back."""
    try:
        data = encode(struct)
        # Whoever unpickles may be deeper in calls, and so have less room to decode a deep value.
        same = guard(data) and _are_same((struct,), (decode(data),))
    except NOT_CARRIED:
        return None
    return data if same else None


def _are_same(given: Collection[Any], made: Collection[Any]) -> bool:
    """Tell whether values are, at every level, of the types and values of decoded ones."""
    if len(given) != len(made):
        return False
    for one, other in zip(given, made, strict=True):
        if one is other:  # absent or null, as most fields of a Struct are
            continue
        kind = type(other)
        if type(one) is not kind:
            return False
        if kind in _COMPARED:
            same = one == other
        elif kind is list:
            same = _are_same(one, other)
        elif kind is dict:
            same = _are_same(one, other) and _are_same(one.values(), other.values())
        else:
            same = _are_same(structs.astuple(one), structs.astuple(other))
        if not same:
            return False
    return True


def deepcopy(struct: S, memo: dict[int, Any]) -> S:
    """Copy a Struct as the `copy` module copies one whose type does not define `__reduce__`."""
    reduced: Any = Struct.__reduce__(struct)
    rebuild, arguments = reduced
    copied: S = rebuild(*copy.deepcopy(arguments, memo))
    return copied
