"""Pickle gives back what it was given, to the type, whether a chunk is carried as bytes or not."""

from __future__ import annotations

import copy
import enum
import json
import pickle
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw, inspect

from fastchunk import InvalidChunk, models, wire
from fastchunk.field_types import fields
from tests.streams import documents, recorded

FAMILIES = {"models": models, "wire": wire}


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Items(list[Any]):
    pass


class Mapped(dict[str, Any]):
    pass


class Reason(str, enum.Enum):
    STOP = "stop"
    OBJECT = "chat.completion.chunk"


class Number(enum.IntEnum):
    ONE = 1


class Delta(models.DeltaMessage):
    pass


class WireDelta(wire.DeltaMessage):
    pass


class Chunk(models.ChatCompletionStreamResponse):
    pass


class WireChunk(wire.ChatCompletionStreamResponse):
    more: str = ""


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are of one type and one value, at every level."""
    if type(one) is not type(other):
        return False
    if isinstance(one, msgspec.Struct):
        return all(_same(getattr(one, n), getattr(other, n)) for n in type(one).__struct_fields__)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return _same(list(one), list(other)) and _same(list(one.values()), list(other.values()))
    if isinstance(one, float):
        return repr(one) == repr(other)  # which tells -0.0 and NaN
    return bool(one == other)


def _chunk(family: Any) -> Any:
    """Make a chunk in which every Struct of the family is, each field that may be so, a value."""
    token = {"token": "t", "logprob": -0.5, "bytes": [116]}
    call = {"id": "a", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    document = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "delta": {
                    "role": "assistant",
                    "content": "x",
                    "reasoning_content": "y",
                    "tool_calls": [call],
                    "function_call": call["function"],
                },
                "logprobs": {"content": [{**token, "top_logprobs": [token]}]},
                "finish_reason": "stop",
                "stop_reason": 7,
            }
        ],
        "usage": {
            "prompt_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 1},
            "cost": 1.50,
        },
        "x_groq": {"id": "r"},
    }
    return family.decode(json.dumps(document))


def _structs(value: Any) -> Iterator[msgspec.Struct]:
    """Yield a Struct, and those below it."""
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from _structs(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from _structs(item)


def _is_carried(chunk: Any) -> bool:
    return bool(chunk.__reduce__()[0].__name__ == "_restore")


ODD: dict[str, Any] = {
    "none": None,
    "unset": UNSET,
    "true": True,
    "integer": 1,
    "zero": 0,
    "negative": -(2**63),
    "big": 2**70,
    "huge": 10**4000,  # protocol 0 writes no more than 4300 digits
    "float": 1.0,
    "minus-zero": -0.0,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "wide": 1e300,
    "text": "text",
    "empty": "",
    "function": "function",
    "surrogate": "\ud800",
    "number-in-text": "1",
    "text-of-a-subclass": Text("stop"),
    "enum": Reason.STOP,
    "enum-of-the-literal": Reason.OBJECT,
    "integer-of-a-subclass": Whole(1),
    "integer-enum": Number.ONE,
    "float-of-a-subclass": Real(0.5),
    "list": [],
    "list-of-integers": [1, 2],
    "list-of-booleans": [True],
    "list-of-enums": [Number.ONE],
    "list-of-floats": [1.0],
    "list-of-texts": ["a", Text("a")],
    "list-of-none": [None],
    "list-of-a-subclass": Items(),
    "list-of-a-subclass-with-items": Items([1]),
    "tuple": (),
    "tuple-of-integers": (1, 2),
    "object": {},
    "object-of-a-subclass": {"a": Mapped(b=[1])},
    "object-with-numbers-for-keys": {1: 2},
    "object-with-odd-keys": {Text("a"): 1},
    "object-with-keys-spelled-alike": {1: 2, "1": 3},
    "object-with-values": {"a": [1.5, {"b": None}, -0.0], "c": "d"},
    "bytes": b"x",
    "uuid": UUID(int=1),
    "decimal": Decimal("1.5"),
    "set": {1},
    "delta": models.DeltaMessage(),
    "deltas": [models.DeltaMessage(), Delta()],
    "delta-of-wire": wire.DeltaMessage(),
    "deltas-of-wire": [wire.DeltaMessage(), WireDelta()],
    "usage": models.UsageInfo(),
    "usage-of-wire": wire.UsageInfo(),
    "raw": Raw(b'{ "a":[1.50] }'),
    "raw-none": Raw(b"null"),
    "raw-empty": Raw(b""),
    "raw-with-space": Raw(b" 1"),
    "raw-of-two": Raw(b'1,"model":"n"'),
    "raw-no-json": Raw(b"{"),
    "raw-no-utf8": Raw(b'"\xff"'),
    "raw-deep": Raw(b"[" * 400 + b"]" * 400),
    "raw-long-number": Raw(b"1" * 5000),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_field_comes_back_whatever_is_in_it(family: Any, odd: Any) -> None:
    chunk, tried = _chunk(family), set()
    for found in list(_structs(chunk)):
        for name in found.__struct_fields__:
            kept = getattr(found, name)
            setattr(found, name, odd)
            assert _same(chunk, pickle.loads(pickle.dumps(chunk))), (type(found), name)
            setattr(found, name, kept)
            tried.add((type(found), name))
    assert tried == set(_fields_below(family.ChatCompletionStreamResponse))


def _fields_below(struct_type: type[msgspec.Struct]) -> Iterator[tuple[type[msgspec.Struct], str]]:
    for field in fields(struct_type):
        yield struct_type, field.name
        for inner in _struct_types(field.type):
            yield from _fields_below(inner)


def _struct_types(info: inspect.Type) -> list[type[msgspec.Struct]]:
    if isinstance(info, inspect.UnionType):
        return [inner for part in info.types for inner in _struct_types(part)]
    if isinstance(info, inspect.ListType):
        return _struct_types(info.item_type)
    return [info.cls] if isinstance(info, inspect.StructType) else []


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_was_decoded_is_carried(family: Any) -> None:
    chunk = _chunk(family)
    assert _is_carried(chunk)
    carried, spelled_out = pickle.dumps(chunk), pickle.dumps(msgspec.Struct.__reduce__(chunk))
    assert len(carried) < len(spelled_out) / 1.5
    chunk.choices[0].finish_reason = Reason.STOP
    assert not _is_carried(chunk)


STREAMS = {path.stem: path for path in recorded()}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_what_servers_send_is_carried(stream: Path) -> None:
    carried = others = 0
    for data in documents(stream):
        for family in FAMILIES.values():
            try:
                chunk: Any = family.decode(data)
            except InvalidChunk:
                continue
            assert _same(chunk, pickle.loads(pickle.dumps(chunk)))
            carried += _is_carried(chunk)
            others += not _is_carried(chunk)
    assert carried > 0
    assert others == 0


def _value(info: inspect.Type) -> st.SearchStrategy[Any]:
    """Make values of a field's type: not only those that the decoder takes."""
    if isinstance(info, inspect.Metadata):
        return _value(info.type)
    if isinstance(info, inspect.UnionType):
        return st.one_of([_value(part) for part in info.types])
    if isinstance(info, inspect.StructType):
        return _struct(info.cls)
    if isinstance(info, inspect.ListType):
        return st.lists(_value(info.item_type), max_size=2)
    if isinstance(info, inspect.LiteralType):
        return st.sampled_from([str(value) for value in info.values])
    return st.deferred(lambda: VALUES[type(info)])


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=3,
)
VALUES: dict[type, st.SearchStrategy[Any]] = {
    inspect.StrType: st.text(max_size=4) | st.just("\ud800"),
    inspect.IntType: st.integers(),
    inspect.FloatType: st.floats(),
    inspect.NoneType: st.none(),
    inspect.RawType: st.sampled_from(
        [Raw(b"{}"), *(odd for odd in ODD.values() if type(odd) is Raw)]
    ),
    inspect.AnyType: _json,
    inspect.DictType: st.dictionaries(st.text(max_size=2), _json, max_size=2),
}


def _struct(struct_type: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    described = {field.name: field for field in msgspec.structs.fields(struct_type)}
    made = {}
    for field in fields(struct_type):
        value = _value(field.type)
        if described[field.name].default is UNSET:
            value = st.just(UNSET) | value
        made[field.name] = value
    return st.fixed_dictionaries(made).map(lambda values: struct_type(**values))


CHUNKS = {name: _struct(family.ChatCompletionStreamResponse) for name, family in FAMILIES.items()}


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(st.data(), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_any_chunk_comes_back(family: str, data: Any, protocol: int) -> None:
    chunk = data.draw(CHUNKS[family])
    assert _same(chunk, pickle.loads(pickle.dumps(chunk, protocol)))
    holder = data.draw(st.sampled_from(list(_structs(chunk))))
    name = data.draw(st.sampled_from(holder.__struct_fields__))
    setattr(holder, name, data.draw(st.sampled_from(list(ODD.values()))))
    assert _same(chunk, pickle.loads(pickle.dumps(chunk, protocol)))
    assert _same(chunk, copy.deepcopy(chunk))
    assert _same(chunk, copy.copy(chunk))


# --- what is for pickle's own way, and what is no matter of pickle -------------------------------


@pytest.mark.parametrize("chunk_type", [Chunk, WireChunk])
def test_an_instance_of_a_subclass_keeps_its_class(chunk_type: Any) -> None:
    chunk = chunk_type(model="m", choices=[])
    assert _same(chunk, pickle.loads(pickle.dumps(chunk)))
    assert _same(chunk, copy.deepcopy(chunk))


def test_an_object_that_holds_itself_comes_back() -> None:
    error: list[Any] = []
    error.append(error)
    chunk = pickle.loads(pickle.dumps(wire.ChatCompletionStreamResponse(error=error)))
    assert chunk.error[0] is chunk.error


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_chunk_without_one_of_its_fields_fails_as_any_struct_does(family: Any) -> None:
    chunk = _chunk(family)
    del chunk.choices[0].delta.role
    with pytest.raises(AttributeError):
        pickle.dumps(chunk)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_deep_copy_shares_what_its_original_shared(family: Any) -> None:
    chunk = _chunk(family)
    chunk.choices.append(chunk.choices[0])
    copied, choices = copy.deepcopy((chunk, chunk.choices))
    assert copied.choices is choices
    assert choices[0] is choices[1] is not chunk.choices[0]
    assert _same(copied, chunk)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_stood_in_two_places_comes_back_as_two(family: Any) -> None:
    chunk = _chunk(family)
    chunk.choices.append(chunk.choices[0])
    twin = pickle.loads(pickle.dumps(chunk))
    assert _same(chunk, twin)
    assert twin.choices[0] is not twin.choices[1]
