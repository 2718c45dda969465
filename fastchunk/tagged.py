"""Decodes events that are one of several Structs, told apart by the text under `type`.

In:  the Struct types of a family's events, each with its tag.
Out: a function from one JSON document to the Struct of its type, or to an `UnknownEvent`.
Cost: msgspec's own time and one Python call. Where an event's type is unknown, and where a value
has another type than its field, the event is read once or twice more.

A stream may bring events, and parts of events, of types that did not exist when this was written.
They are no errors: such an event is kept as it came in, and so is such a part, as `msgspec.Raw` in
the place of the Struct that it would be. What holds for the values of fields is told in `lenient`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any, get_args

from msgspec import UNSET, DecodeError, Raw, Struct, json, structs

from . import lenient
from .codec import Data, UnknownEvent, guarded_tolerantly, tolerant_decoder
from .errors import InvalidChunk, Loc, place
from .exact.parse import replace_nan
from .lenient import Misshapen, Read

__all__ = ["Tagged", "UnknownEvent", "tagged_decoder"]


class Tagged(Struct, kw_only=True, gc=False, tag_field="type"):
    """An object whose `type` says which keys it has; subclasses name theirs with `tag=`."""

    @property
    def type(self) -> str:
        """The text under `type`."""
        return str(self.__struct_config__.tag)


class _Kind(Struct, gc=False):
    """What tells an object's type; the rest is skipped."""

    type: Any = UNSET


_read_kind = tolerant_decoder(_Kind)
_decode_kind = json.Decoder(_Kind).decode
_decode_members = json.Decoder(dict[str, Raw]).decode


def tagged_decoder(events: Any, *, firm: Collection[type[Struct]] = ()) -> Callable[[Data], Any]:
    """Build the decode function of events, given the union of their types, which are `Tagged`.

    It is as forgiving as that of `codec.tolerant_decoder`, and `firm` means the same. A field of an
    event may be a union of `Tagged` Structs and `msgspec.Raw`, of which all are firm or none.
    """
    fast = json.Decoder(events).decode
    types = _by_tag(get_args(events))
    firm_types = frozenset(firm)

    def decode_tolerantly(data: Data) -> Any:
        kind = _read_kind(data).type
        document = data.encode() if isinstance(data, str) else bytes(data)
        event_type = _find(kind, types)
        if event_type is None:
            return UnknownEvent(type=kind, data=Raw(document))
        return _read_document(_event_reader(event_type, firm_types), document)

    return guarded_tolerantly(fast, decode_tolerantly)


def _read_document(read: Read, document: bytes) -> Any:
    try:
        return read(replace_nan(document.decode()).encode(), ())
    except Misshapen as error:
        message = f"{place(error.loc)}: {error.reason}"
        raise InvalidChunk.single("wrong_type", error.loc, message, document) from error
    except (DecodeError, RecursionError) as error:
        message = f"not a JSON document: {error}"
        raise InvalidChunk.single("json_invalid", (), message, document) from error


@cache  # built where one is needed first: most programs never read so
def _event_reader(event_type: type[Struct], firm: frozenset[type[Struct]]) -> Read:
    """Build the function that reads an event: its unions here, all else as `lenient` does."""
    read_rest = lenient.reader(event_type, firm)
    unions = {
        field.encode_name: (field.name, _by_tag(types))
        for field in structs.fields(event_type)
        if (types := [part for part in get_args(field.type) if _is_tagged(part)])
    }

    def read(data: bytes | Raw, loc: Loc) -> Any:
        members, found = _decode_members(data), {}
        for key, (name, types) in unions.items():
            # What is no object stays among the members: it is wrong, or kept as it was parsed.
            if bytes(members.get(key, b"")).startswith(b"{"):
                found[name] = _read_part(members.pop(key), (*loc, key), types, firm)
        return structs.replace(read_rest(json.encode(members), loc), **found)

    return read if unions else read_rest


def _read_part(
    data: Raw, loc: Loc, types: dict[str, type[Struct]], firm: frozenset[type[Struct]]
) -> Any:
    part_type = _find(_decode_kind(data).type, types)
    return Raw(bytes(data)) if part_type is None else lenient.reader(part_type, firm)(data, loc)


def _by_tag(types: Collection[type[Struct]]) -> dict[str, type[Struct]]:
    return {str(kind.__struct_config__.tag): kind for kind in types}


def _find(kind: object, types: dict[str, type[Struct]]) -> type[Struct] | None:
    return types.get(kind) if isinstance(kind, str) else None


def _is_tagged(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, Tagged)
