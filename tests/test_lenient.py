"""The lenient reader on Structs of its own; what `wire` makes of it is in `test_wire.py`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fastchunk import InvalidChunk, codec


class Leaf(msgspec.Struct, rename={"name": "full-name"}):
    name: str
    count: int = 0
    raw: msgspec.Raw = msgspec.Raw(b"null")


class Tree(msgspec.Struct):
    leaf: Leaf | None = None
    leaves: list[Leaf] | None = None
    inner: Tree | None = None
    plain: Leaf = msgspec.field(default_factory=lambda: Leaf("default"))


soft = codec.tolerant_decoder(Tree)
firm = codec.tolerant_decoder(Tree, firm={Leaf})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"leaf":{"full-name":1,"count":"7"}}', Tree(leaf=Leaf(1, 7))),  # type: ignore[arg-type]
        (
            '{"inner":{"inner":{"leaf":{"full-name":[]}}}}',
            Tree(inner=Tree(inner=Tree(leaf=Leaf([])))),  # type: ignore[arg-type]
        ),
        ('{"leaves":[{"full-name":"a"},{"full-name":{}}]}', Tree(leaves=[Leaf("a"), Leaf({})])),  # type: ignore[arg-type]
        ('{"plain":{"full-name":{},"name":"b"},"x":[1e999]}', Tree(plain=Leaf({}))),  # type: ignore[arg-type]
    ],
)
def test_leaves_may_be_anything(data: str, expected: Tree) -> None:
    assert soft(data) == firm(data) == expected


@pytest.mark.parametrize(
    ("data", "loc", "reason"),
    [
        ('{"leaf":[1]}', ("leaf",), "expected `object | null`, got `array`"),
        ('{"leaf":{"count":1}}', ("leaf", "full-name"), "this field is required"),
        ('{"leaves":{"full-name":"a"}}', ("leaves",), "expected `array | null`, got `object`"),
        ('{"leaves":[{"full-name":1},null]}', ("leaves", 1), "expected `object`, got `null`"),
        ('{"plain":null}', ("plain",), "expected `object`, got `null`"),
        ('{"inner":{"leaf":7}}', ("inner", "leaf"), "expected `object | null`, got `int`"),
    ],
)
def test_firm_structs_keep_their_shape_and_others_are_as_parsed(
    data: str, loc: tuple[Any, ...], reason: str
) -> None:
    with pytest.raises(InvalidChunk) as caught:
        firm(data)
    assert caught.value.errors()[0]["loc"] == loc
    assert caught.value.errors()[0]["msg"].endswith(f": {reason}")
    found, document = soft(data), msgspec.json.decode(data)
    if found.inner:
        found, document = found.inner, document["inner"]
    (name,) = document
    assert getattr(found, name) == document[name]


@pytest.mark.parametrize(
    ("data", "loc"),
    [
        ('{"leaf":{"full-name":1,"count":1e999}}', ("leaf", "count")),
        ('{"leaf":{"full-name":{"deep":[1e999]}}}', ("leaf", "full-name")),
        ('{"inner":1e999}', ("inner",)),
    ],
)
def test_a_number_that_python_cannot_hold_is_named(data: str, loc: tuple[Any, ...]) -> None:
    for decode in (soft, firm):
        with pytest.raises(InvalidChunk, match="out of range") as caught:
            decode(data)
        assert caught.value.errors()[0]["loc"] == loc


def test_a_raw_value_beside_a_strange_one_is_kept_to_the_byte() -> None:
    tree = soft('{"leaf":{"raw": {"a" : 1.50} ,"full-name":1}}')
    assert tree.leaf
    assert bytes(tree.leaf.raw) == b'{"a" : 1.50}'


def test_the_document_itself_is_an_object() -> None:
    for decode in (soft, firm):
        for data in ("[]", "1", "null", '"x"'):
            with pytest.raises(InvalidChunk, match="the document: expected `object`"):
                decode(data)
