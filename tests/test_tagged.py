"""The decoder of tagged events, on Structs of its own; the families have tests of theirs."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw, UnsetType

from fastchunk import InvalidChunk
from fastchunk.tagged import Tagged, UnknownEvent, tagged_decoder


class Words(Tagged, tag="words", kw_only=True):
    words: str | UnsetType = UNSET


class Sum(Tagged, tag="sum", kw_only=True):
    total: int | UnsetType = UNSET
    terms: Raw | UnsetType = UNSET


class Said(Tagged, tag="said", kw_only=True):
    part: Words | Sum | Raw | UnsetType | None = UNSET
    volume: int | UnsetType = UNSET


class Begun(Tagged, tag="begun", kw_only=True):
    at: int | UnsetType = UNSET


soft = tagged_decoder(Said | Begun)
firm = tagged_decoder(Said | Begun, firm={Words, Sum})
FORMS = [bytes, bytearray, memoryview, lambda data: data.decode()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"type":"begun","at":7}', Begun(at=7)),
        ('{"at":7,"type":"begun"}', Begun(at=7)),
        ('{"type":"begun","at":"7"}', Begun(at=7)),
        ('{"type":"begun","at":NaN}', Begun(at=None)),  # type: ignore[arg-type]
        ('{"type":"begun","at":["é"]}', Begun(at=["é"])),  # type: ignore[arg-type]
        ('{"type":"said","type":"begun","at":7}', Begun(at=7)),
        ('{"type":"said"}', Said()),
        ('{"type":"said","part":null}', Said(part=None)),
        ('{"type":"said","part":{"type":"words","words":"é"}}', Said(part=Words(words="é"))),
        (
            '{"type":"said","part":{"type":"words","words":[1]},"volume":"9"}',
            Said(part=Words(words=[1]), volume=9),  # type: ignore[arg-type]
        ),
    ],
)
def test_an_event_is_the_struct_of_its_type(form: Any, data: str, expected: Tagged) -> None:
    for decode in (soft, firm):
        found = decode(form(data.encode()))
        assert found == expected
        assert found.type == type(expected).__struct_config__.tag


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ('{"type":"ended","part":{"é":[1.50]}}', "ended"),
        (' { "part" : 1e400, "type" : "ended" }\n', "ended"),
        ('{"type":"begun","type":"ended"}', "ended"),
        ('{"v":NaN,"type":"ended"}', "ended"),
        ('{"type":"words","words":"a part is no event"}', "words"),
        ('{"type":null}', None),
        ('{"type":7}', 7),
        ('{"type":{"type":["begun"]}}', {"type": ["begun"]}),
        ("{}", UNSET),
    ],
)
def test_an_event_of_an_unknown_type_is_kept(form: Any, data: str, kind: Any) -> None:
    for decode in (soft, firm):
        buffer = form(data.encode())
        found = decode(buffer)
        if isinstance(buffer, bytearray):
            buffer[:] = bytes(len(buffer))  # not locked, and not looked at any more
        assert isinstance(found, UnknownEvent)
        assert found.type == kind
        assert bytes(found.data) == data.encode()


@pytest.mark.parametrize(
    "part", ['{"type":"song","total":1.50}', '{ "total" : [] }', '{"type":1}', '{"type":{}}']
)
def test_a_part_of_an_unknown_type_is_kept(part: str) -> None:
    data = '{"type":"said","part":%s,"volume":3}' % part  # noqa: UP031 - full of braces
    for decode in (soft, firm):
        found = decode(data)
        assert isinstance(found, Said)
        assert isinstance(found.part, Raw)
        assert bytes(found.part) == part.encode()
        assert found.volume == 3
        assert msgspec.json.encode(found) == data.encode()


def test_a_raw_value_in_a_part_is_kept_to_the_byte() -> None:
    found = soft('{"type":"said","volume":"1","part":{"terms": [1.50] ,"type":"sum"}}')
    assert isinstance(found, Said)
    assert isinstance(found.part, Sum)
    assert isinstance(found.part.terms, Raw)
    assert bytes(found.part.terms) == b"[1.50]"


@pytest.mark.parametrize("part", ['"text"', "[]", "7", "false"])
def test_what_is_no_object_is_refused_in_the_place_of_a_firm_part(part: str) -> None:
    data = '{"type":"said","part":%s}' % part  # noqa: UP031 - full of braces
    assert soft(data) == Said(part=msgspec.json.decode(part))
    with pytest.raises(InvalidChunk, match=r"part: expected `object \| null`") as caught:
        firm(data)
    assert caught.value.errors()[0]["loc"] == ("part",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a JSON document"),
        (b'{"type":"begun"', "not a JSON document"),
        (b'{"type":"begun","x":"\xff"}', "not a JSON document"),
        (b'{"type":"ended","x":"\xff"}', "not a JSON document"),
        (b'{"type":"begun","at":"\\ud800"}', "not a JSON document"),
        (b'{"type":"said","part":{"type":1e999}}', "not a JSON document"),
        (b'{"type":1e999}', "type: number out of range"),
        (b'{"type":"begun","at":1e999}', "at: number out of range"),
        (b'{"type":"said","part":{"type":"sum","total":1e999}}', "part.total: number out of range"),
        (b"[]", "the document: expected `object`"),
        (b"null", "the document: expected `object`"),
        ('{"type":"begun","at":"\ud800"}', "surrogate"),
    ],
)
def test_no_event(data: bytes | str, reason: str) -> None:
    for decode in (soft, firm):
        with pytest.raises(InvalidChunk, match=reason):
            decode(data)


@pytest.mark.parametrize("kind", ["said", "ended"])
@pytest.mark.parametrize("key", ["part", "type", "volume", "x"])
def test_depth_is_no_recursion_error(kind: str, key: str) -> None:
    depth = 200_000
    for inside in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(InvalidChunk):
            firm(f'{{"type":"{kind}","{key}":{inside}}}')


def test_no_depth_between_is_a_recursion_error() -> None:
    """Some depths are too much for one of the readers, and not for the one before it."""
    limit = sys.getrecursionlimit()
    for depth in range(limit - 200, limit + 10):
        for value in ("[" * depth + "]" * depth, '{"type":' * depth + "1" + "}" * depth):
            try:
                found = firm(f'{{"type":"said","part":{value},"volume":"1"}}')
            except InvalidChunk:
                continue
            assert found.type == "said"


@pytest.mark.parametrize("data", [None, 7, ["{}"], {"type": "begun"}])
def test_what_is_no_data_is_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError, match="data must be bytes"):
        soft(data)
