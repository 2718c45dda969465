"""Lossless edits: what is named changes, what is not keeps its bytes."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastchunk import DROP, InvalidChunk, edit
from fastchunk.edit import _edit_exactly, encode_changes, table_of
from tests.streams import documents, recorded

pytestmark = pytest.mark.usefixtures("scanner")


def exactly(data: bytes, changes: dict[str, Any]) -> bytes:
    return _edit_exactly(data, table_of(tuple(changes)), encode_changes(changes))


CASES: dict[str, tuple[bytes, dict[str, Any], bytes]] = {
    # one top-level key
    "replace": (b'{"a":1,"model":"m"}', {"model": "x"}, b'{"a":1,"model":"x"}'),
    "replace-first": (b'{"model":"m","a":1}', {"model": "x"}, b'{"model":"x","a":1}'),
    "replace-with-null": (b'{"a":1}', {"a": None}, b'{"a":null}'),
    "replace-object": (b'{"a":{"b":[1, 2]},"c":3}', {"a": 0}, b'{"a":0,"c":3}'),
    "add": (b'{"a":1}', {"b": [1, "x"]}, b'{"a":1,"b":[1,"x"]}'),
    "add-to-empty": (b"{}", {"b": 1}, b'{"b":1}'),
    "add-escaped-key": (b'{"a":1}', {'q"': 1}, b'{"a":1,"q\\"":1}'),
    "drop": (b'{"a":1,"b":2,"c":3}', {"b": DROP}, b'{"a":1,"c":3}'),
    "drop-first": (b'{"a":1,"b":2}', {"a": DROP}, b'{"b":2}'),
    "drop-last": (b'{"a":1,"b":2}', {"b": DROP}, b'{"a":1}'),
    "drop-only": (b'{"a":1}', {"a": DROP}, b"{}"),
    "drop-missing": (b'{"a":1}', {"b": DROP}, b'{"a":1}'),
    "several": (b'{"a":1,"b":2}', {"a": 3, "b": DROP, "c": 4}, b'{"a":3,"c":4}'),
    "nothing": (b'{ "a" : 1 }', {}, b'{ "a" : 1 }'),
    # what looks like the key and is not
    "in-a-value": (b'{"x":"model","model":1}', {"model": 2}, b'{"x":"model","model":2}'),
    "in-content": (
        b'{"content":"\\"model\\":1","model":1}',
        {"model": 2},
        b'{"content":"\\"model\\":1","model":2}',
    ),
    "nested-before": (b'{"x":{"model":1},"model":1}', {"model": 2}, b'{"x":{"model":1},"model":2}'),
    "nested-alone": (b'{"x":{"model":1}}', {"model": 2}, b'{"x":{"model":1},"model":2}'),
    "nested-alone-dropped": (b'{"x":{"model":1}}', {"model": DROP}, b'{"x":{"model":1}}'),
    "written-with-escapes": (b'{"m\\u006fdel":1}', {"model": 2}, b'{"m\\u006fdel":2}'),
    # duplicates
    "duplicate": (b'{"a":1,"b":2,"a":3}', {"a": 4}, b'{"b":2,"a":4}'),
    "duplicate-escaped": (b'{"model":1,"m\\u006fdel":2}', {"model": 3}, b'{"m\\u006fdel":3}'),
    "duplicate-dropped": (b'{"a":1,"b":2,"a":3}', {"a": DROP}, b'{"b":2}'),
    "duplicate-parent": (b'{"a":{"b":1},"a":{"b":2}}', {"/a/b": 3}, b'{"a":{"b":3}}'),
    "duplicate-untouched": (b'{"a":1,"a":2,"b":3}', {"b": 4}, b'{"a":1,"a":2,"b":4}'),
    # pointers
    "pointer": (b'{"a":{"b":[0,{"c":1}]}}', {"/a/b/1/c": 2}, b'{"a":{"b":[0,{"c":2}]}}'),
    "pointer-add": (b'{"a":{}}', {"/a/b": 1}, b'{"a":{"b":1}}'),
    "pointer-drop": (b'{"a":{"b":1,"c":2}}', {"/a/b": DROP}, b'{"a":{"c":2}}'),
    "pointer-item": (b'{"a":[1,2,3]}', {"/a/1": "x"}, b'{"a":[1,"x",3]}'),
    "pointer-drop-item": (b'{"a":[1,2,3]}', {"/a/1": DROP}, b'{"a":[1,3]}'),
    "pointer-drop-missing-item": (b'{"a":[1]}', {"/a/7": DROP}, b'{"a":[1]}'),
    "pointer-escapes": (b'{"a/b":{"~":1}}', {"/a~1b/~0": 2}, b'{"a/b":{"~":2}}'),
    "pointer-empty-key": (b'{"":1}', {"/": 2}, b'{"":2}'),
    "pointer-top-level": (b'{"a":1}', {"/a": 2}, b'{"a":2}'),
    "pointer-two-in-one": (b'{"a":{"b":1,"c":2}}', {"/a/b": 3, "/a/c": 4}, b'{"a":{"b":3,"c":4}}'),
    # what is kept
    "spellings": (
        b'{"a":1e5,"b":1.0,"c":12345678901234567890,"d":"\\u00e9\\/","m":0}',
        {"m": 1},
        b'{"a":1e5,"b":1.0,"c":12345678901234567890,"d":"\\u00e9\\/","m":1}',
    ),
    "white-space": (b' { "a" : [ 1 ] , "m" : 0 } ', {"m": 1}, b' { "a" : [ 1 ] , "m" : 1 } '),
    "white-space-added": (b'{ "a" : 1 }', {"m": 1}, b'{ "a" : 1 ,"m":1}'),
    "white-space-dropped": (b'{ "a" : 1 , "b" : 2 }', {"a": DROP}, b'{ "b" : 2 }'),
    "white-space-empty": (b"{ }", {"a": 1}, b'{"a":1}'),
    "long-number": (
        b'{"a":' + b"9" * 5000 + b',"b":"\\n","m":0}',
        {"m": 1},
        b'{"a":' + b"9" * 5000 + b',"b":"\\n","m":1}',
    ),
    "not-a-number": (b'{"a":NaN,"m":0}', {"m": 1}, b'{"a":NaN,"m":1}'),
    "non-ascii": ('{"a":"é","m":0}'.encode(), {"m": "日"}, '{"a":"é","m":"日"}'.encode()),
    "raw": (b'{"m":0}', {"m": msgspec.Raw(b"[1.50]")}, b'{"m":[1.50]}'),
}


@pytest.mark.parametrize(("data", "changes", "expected"), CASES.values(), ids=CASES)
def test_edit(data: bytes, changes: dict[str, Any], expected: bytes) -> None:
    assert edit(data, changes) == expected
    assert edit(bytearray(data), changes) == expected
    assert edit(memoryview(data), changes) == expected
    assert edit(data, MappingProxyType(changes)) == expected
    assert exactly(data, changes) == expected


@pytest.mark.parametrize("count", [32, 33, 100])
def test_any_number_of_changes(count: int) -> None:
    names = [f"k{n}" for n in range(count)]
    data = json.dumps(dict.fromkeys(names, 0)).encode()
    changes: dict[str, Any] = {name: DROP if n % 2 else n for n, name in enumerate(names)}
    expected = {name: value for name, value in changes.items() if value is not DROP}
    assert json.loads(edit(data, changes)) == expected


BAD_DOCUMENTS = {
    "empty": b"",
    "array": b"[]",
    "number": b"1",
    "cut": b'{"a":1',
    "trailing": b'{"a":1}x',
    "two": b'{"a":1}{}',
    "bad-utf8": b'{"a":"\xff"}',
    "deep": b'{"a":' * 100_000,
    "missing-value": b'{"a":}',
    "single-quotes": b"{'a':1}",
}


@pytest.mark.parametrize("data", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    changes: Any
    for changes in ({"a": 2}, {"b": 2}, {"/a": DROP}, {}):
        with pytest.raises(InvalidChunk, match="the document: ") as caught:
            edit(data, changes)
        assert caught.value.errors()[0]["loc"] == ()


@pytest.mark.parametrize(
    ("data", "pointer", "message"),
    [
        (b"{}", "/a/b", "a: it is missing"),
        (b'{"a":[]}', "/a/0", "a.0: it is missing"),
        (b'{"a":[1]}', "/a/-", "a: '-' is no index of an array"),
        (b'{"a":[1]}', "/a/01", "a: '01' is no index of an array"),
        (b'{"a":1}', "/a/b", "a: expected an object or an array"),
        (b'{"a":{"b":null}}', "/a/b/c", "a.b: expected an object or an array"),
    ],
)
def test_a_missing_parent_is_an_error_that_names_it(
    data: bytes, pointer: str, message: str
) -> None:
    with pytest.raises(InvalidChunk) as caught:
        edit(data, {pointer: 1})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "changes",
    [{"/a~": 1}, {"/a~2": 1}, {"a": 1, "/a": 2}, {"/a": 1, "/a/b": 2}, {"/a/b": 1, "/a": 2}],
)
def test_bad_changes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"JSON Pointer|another change"):
        edit(b'{"a":{"b":"\\\\"}}', changes)


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="data must be bytes-like"):
        edit("{}", {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a key of changes must be str"):
        edit(b"{}", {1: 2})  # type: ignore[dict-item]
    for changes in (None, [("a", 1)], 5, "a"):
        with pytest.raises(TypeError, match="changes must be a mapping"):
            edit(b"{}", changes)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="object has no JSON form"):
        edit(b'{"a":1}', {"a": object()})
    with pytest.raises(InvalidChunk, match="lone surrogate"):
        edit(b'{"a":1}', {"a": {"b": ["\ud800"]}})


@pytest.mark.parametrize("key", ["\ud800", "/a/\udfff"])
def test_a_key_that_no_document_holds_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="lone surrogate, which no JSON document holds"):
        edit(b"{}", {key: 1})


@pytest.mark.parametrize("depth", [1, 100_000])
def test_a_value_without_an_end_is_the_values_fault(depth: int) -> None:
    value: list[Any] = []
    if depth == 1:
        value.append(value)
    for _ in range(depth):
        value = [value]
    with pytest.raises(InvalidChunk, match=r"^/a: the new value is nested too deeply") as caught:
        edit(b'{"a":1}', {"b": 1, "/a": value})
    assert caught.value.errors()[0]["loc"] == ("/a",)


def test_drop_is_one_of_a_kind() -> None:
    assert repr(DROP) == "DROP"
    assert copy.deepcopy(DROP) is pickle.loads(pickle.dumps(DROP)) is DROP


_KEYS = st.sampled_from(["model", "a", "m\\u006fdel", 'x\\"model', "é"])
_SPACE = st.sampled_from(["", "", "", " ", "\n\t"])
_SCALARS = st.sampled_from(
    ["1", "1e5", "null", '"model"', r'"\n"', r'"\"model\":"', '"\\\\"', '"é"', "[]", "{}", '":"']
)


def _object(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds('{}"{}"{}:{}{}{}'.format, _SPACE, _KEYS, _SPACE, _SPACE, values, _SPACE)
    return st.lists(member, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


_VALUES = st.recursive(_SCALARS, lambda inner: _object(inner) | inner.map("[{}]".format))


@settings(max_examples=200)
@given(_object(_VALUES), st.sampled_from([DROP, "new", {"a": 1}, None]))
def test_an_edit_says_what_was_asked_for(document: str, value: Any) -> None:
    data = document.encode()
    exact = exactly(data, {"model": value})
    assert edit(data, {"model": value}) == exact
    expected = json.loads(document)
    expected.pop("model", None) if value is DROP else expected.update(model=value)
    assert json.loads(exact) == expected


@given(_object(_VALUES))
def test_an_edit_and_its_reverse_give_the_bytes_back(document: str) -> None:
    data = document.encode()
    keys = [key for key, _ in json.loads(document, object_pairs_hook=list)]
    for key in set(keys):
        if keys.count(key) == 1:
            raw = msgspec.json.decode(data, type=dict[str, msgspec.Raw])[key]
            pointer = "/" + key.replace("~", "~0").replace("/", "~1")
            assert edit(edit(data, {pointer: 7}), {pointer: raw.copy()}) == data


def test_the_quick_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[edit.__module__]
    monkeypatch.setattr(module, "_edit_exactly", lambda *_: pytest.fail("the exact way was taken"))
    data = b'{"id":"x","model":"m","choices":[{"delta":{"content":"\\n"}}],"usage":null}'
    assert json.loads(edit(data, {"model": "a", "usage": DROP, "new": 1})) == {
        "id": "x",
        "model": "a",
        "choices": [{"delta": {"content": "\n"}}],
        "new": 1,
    }
    assert (
        edit('{"model":"m","x":"é\\""}'.encode(), {"model": 1}) == '{"model":1,"x":"é\\""}'.encode()
    )


@pytest.mark.parametrize("stream", recorded(), ids=lambda path: path.stem)
def test_recorded_events_change_in_one_place(stream: Path) -> None:
    for data in documents(stream):
        if data[:1] != b"{":
            continue
        value = json.loads(data)
        changed = edit(data, {"model": "ALIAS", "usage": DROP})
        expected = {k: v for k, v in value.items() if k != "usage"} | {"model": "ALIAS"}
        assert json.loads(changed) == expected
        if "model" in value:
            raw = msgspec.json.decode(data, type=dict[str, msgspec.Raw])["model"]
            assert edit(edit(data, {"model": "ALIAS"}), {"model": raw}) == data
        if value.get("choices") and value["choices"][0].get("delta", {}).get("content"):
            redacted = edit(data, {"/choices/0/delta/content": "[redacted]"})
            value["choices"][0]["delta"]["content"] = "[redacted]"
            assert json.loads(redacted) == value


@pytest.mark.parametrize("data", [b"{ }", b"{}", b" {\n} ", b'{"a": { }}'])
def test_what_is_empty_keeps_its_white_space(data: bytes) -> None:
    assert edit(data, {"x": DROP}) == edit(data, {"/x": DROP}) == data
    assert edit(b'{"a": [ ], "b": 1}', {"/b": DROP}) == b'{"a": [ ]}'


def test_a_value_that_changes_the_changes_as_it_is_encoded() -> None:
    @dataclass
    class Value:
        x: int = 1

    def replace_one(_: Value) -> int:
        if len(names) < 1000:
            del changes[names[-1]]
            names.append(f"n{len(names)}")
            changes[names[-1]] = value
        return 1

    value, names = Value(), ["k"]
    Value.x = property(replace_one)  # type: ignore[assignment]
    changes: dict[str, Any] = dict.fromkeys(map(str, range(2000)))  # so that there is room
    for name in list(changes):
        del changes[name]
    changes["k"] = value
    assert edit(b'{"a":1}', changes) == b'{"a":1,"k":{"x":1}}'


# --- thousands of changes -----------------------------------------------------------------------


def _calls_to_edit(items: int) -> int:
    """Count the functions that are called to change something in so many items of a document."""
    data = json.dumps({"items": [{"text": "x", "n": 1.0} for _ in range(items)]}).encode()
    changes = {f"/items/{number}/text": "y" for number in range(items)}
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    before = table_of.cache_info()
    sys.setprofile(count)
    try:
        edited = edit(data, changes)
    finally:
        sys.setprofile(None)
    assert edited == data.replace(b'"x"', b'"y"')
    assert table_of.cache_info() == before  # nobody makes the same thousands of changes again
    return calls


def test_thousands_of_changes_cost_as_much_each_as_hundreds() -> None:
    assert _calls_to_edit(4000) < 11 * _calls_to_edit(400)


@pytest.mark.parametrize("other", ["/7", "7", "/7/a/b"])
def test_thousands_of_changes_are_in_conflict_as_two_are(other: str) -> None:
    changes = {f"/{number}/a": 1 for number in range(100)}
    with pytest.raises(ValueError, match=f"'{other}' changes what another change"):
        edit(b"{}", {**changes, other: 2})
