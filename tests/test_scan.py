"""The scanners against each other, against the exact way, and against the standard library."""

from __future__ import annotations

import gc
import importlib.util
import json
import random
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

import fastchunk
from fastchunk import DROP, EventTooLarge, InvalidChunk, Relay, _scan_py, messages, scan, wire
from fastchunk.dialects import chat
from fastchunk.edit import _edit_exactly
from fastchunk.sse import BOM, BlockSplitter, Event, are_blocks, blocks, parse_block
from tests.fuzz import FRAGMENTS, cut, generated, mutated
from tests.scanners import MODULES, SCANNERS, exact_relay, scanning
from tests.streams import documents, recorded

SEVERAL = settings(max_examples=200, deadline=None)

# --- documents and tables -----------------------------------------------------------------------

_SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t \r\n"])
_KEYS = st.sampled_from(
    ["a", "b", "model", "é", "", "0", "1", "aa", 'x\\"a', "\\u0061", "\\/", "日", "a" * 20]
)
_ODD = ["\\ud800", "\\ud83d\\ude00", "\\udc00\\ud800", "\\n\\\\", "\\u00e9", "😀", "\x7f", "\u2028"]
_TEXTS = st.sampled_from(['"a":', "", "x", "text that is longer than a word", "é", *_ODD])
_NUMBERS = st.sampled_from(
    "0 -0 -1.50 1e5 1E+05 2e-7 1e99 1e999 -1e400 0.1 NaN -Infinity 01 1. - 1e +1 .5".split()
)
_LONG_NUMBERS = st.sampled_from(["9" * 18, "9" * 19, "9" * 400, "1." + "0" * 60])
_SCALARS = st.one_of(
    st.sampled_from(["null", "true", "false", "[]", "{}", "[ ]", "{\n}"]),
    _NUMBERS,
    _LONG_NUMBERS,
    _TEXTS.map('"{}"'.format),
)


def _members(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds('{}"{}"{}:{}{}{}'.format, _SPACE, _KEYS, _SPACE, _SPACE, values, _SPACE)
    return st.lists(member, max_size=4).map(lambda found: "{" + ",".join(found) + "}")


def _items(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    item = st.builds("{}{}{}".format, _SPACE, values, _SPACE)
    return st.lists(item, max_size=4).map(lambda found: "[" + ",".join(found) + "]")


_VALUES = st.recursive(_SCALARS, lambda inner: _members(inner) | _items(inner), max_leaves=12)


@st.composite
def documents_of_all_kinds(draw: st.DrawFn) -> bytes:
    data = draw(st.builds("{}{}{}".format, _SPACE, _members(_VALUES), _SPACE)).encode()
    if draw(st.integers(0, 2)):
        return data
    at = draw(st.integers(0, len(data)))
    gone = draw(st.integers(0, 3))
    return data[:at] + draw(st.sampled_from([b"", b"\x00", *FRAGMENTS])) + data[at + gone :]


_STEPS = st.sampled_from(["a", "b", "model", "é", "", "0", "1", "aa", 'x"a', "/", "日", "a" * 20])
_NAMED = st.lists(_STEPS, min_size=1, max_size=3).map(tuple)


def _conflict(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[: len(other)] == other[: len(one)]


@st.composite
def tables(draw: st.DrawFn, *, each: bool) -> list[tuple[str | None, ...]]:
    """Paths; where `each` is set, also to all items of arrays, and to what others lead through."""
    paths: list[tuple[str | None, ...]] = []
    for path in draw(st.lists(_NAMED, max_size=6, unique=True)):
        if each:
            # Below one step is either an index or all of the items.
            paths.append(tuple(None if step in {"0", "1"} else step for step in path))
        elif not any(_conflict(path, other) for other in paths):
            paths.append(path)
    return list(dict.fromkeys(paths))


# --- scan ---------------------------------------------------------------------------------------


def _is_in_range(data: bytes) -> bool:
    """Tell whether a document holds nothing that the compiled scanner may leave for its size."""
    odd = rb"\\u[dD][89a-fA-F]|\d{19}|\.\d{20}|[eE][+-]?\d{3}"
    return not re.search(odd, data) and data.count(b"[") + data.count(b"{") < 40


def _found_by_the_library(data: bytes, paths: list[tuple[str | None, ...]]) -> Any:
    """Find values as the standard library reads them; None for what is no object."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        text = data.decode()
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return [_at(value, path) for path in paths]


def _at(value: Any, path: tuple[str | None, ...]) -> list[Any]:
    if not path:
        return [value]
    step, *rest = path
    if isinstance(value, dict):
        return _at(value[step], tuple(rest)) if step in value else []
    if not isinstance(value, list):
        return []
    items = dict(enumerate(value))
    if step is not None:
        items = {index: item for index, item in items.items() if str(index) == step}
    return [found for item in items.values() for found in _at(item, tuple(rest))]


@SEVERAL
@given(documents_of_all_kinds(), tables(each=True) | tables(each=False))
@example(b'{"a":1}', [("a",)] * 1)
@example(b'{"a":[[1],[2]],"b":{"a":[3]}}', [("a",), ("a", None), ("a", None, None), ("b", "a")])
@example(b"[" * 70 + b"]" * 70, [])
@example(b'{"a":' * 70 + b"1" + b"}" * 70, [("a", "a")])
@example(b'{"a":\xed\xa0\x80}', [])
@example(b'{"a":"\xed\xa0\x80\xc0\x80\xf5"}', [])
def test_scanners_find_what_the_library_finds(
    data: bytes, paths: list[tuple[str | None, ...]]
) -> None:
    expected = _found_by_the_library(data, paths)
    results = [module.scan(data, module.Table(paths)) for module in MODULES]
    for found in results:
        assert found in (None, results[-1])
        if expected is None:
            assert found is None
        if found is None:
            continue
        values: list[list[Any]] = [[] for _ in paths]
        for number, begin, end in found:
            values[number].append(json.loads(data[begin:end], parse_int=str, parse_float=str))
        assert values == expected
    if _is_in_range(data):
        assert len({found is None for found in results}) == 1


@pytest.mark.parametrize("module", MODULES)
def test_what_is_not_plain(module: ModuleType) -> None:
    table = module.Table([("a",), ("b", None, "c")])
    for data in (
        b'{"a":1,"a":2}',
        b'{"\\u0061":1}',
        b'{"b":[{"c":1,"c":2}]}',
        b'{"b":[{"\\u0063":1}]}',
        *(b"", b" ", b"[]", b"1", b'"a"', b'{"a":1}x', b'{"a":1', b"{'a':1}", b'{"a":}', b"{,}"),
    ):
        assert module.scan(data, table) is None
    assert module.scan(b'{"x":1,"x":2,"z":{"a":1,"a":2}}', table) == []
    assert module.scan(b'{"b":[{"c":1},2,{"c":[]}],"a":{}}', table) == [
        *((1, 11, 12), (1, 21, 23), (0, 30, 32))
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_table_of_any_number_of_paths(module: ModuleType) -> None:
    names = [f"k{n}" for n in range(100)]
    table = module.Table([(name,) for name in names])
    data = json.dumps(dict.fromkeys(names, 1)).encode()
    found = module.scan(data, table)
    assert found is None or len(found) == 100
    spliced = module.splice(data, table, [b"2"] * 100)
    assert spliced in (None, data.replace(b" 1", b" 2"))


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
def test_scanners_agree_on_recorded_events(path: Path) -> None:
    paths = [*scan.paths_of(chat.Facts), ("model",), ("choices", None, "delta", "content")]
    for data in documents(path):
        results = [module.scan(data, module.Table(paths)) for module in MODULES]
        assert (results[-1] is None) is (_found_by_the_library(data, []) is None)
        # Some have numbers of 19 digits.
        assert results[0] == results[-1] or (results[0] is None and not _is_in_range(data))


# --- splice -------------------------------------------------------------------------------------


@SEVERAL
@given(documents_of_all_kinds(), tables(each=False), st.data())
def test_scanners_splice_as_the_exact_way_does(
    data: bytes, paths: list[tuple[str, ...]], draw: st.DataObject
) -> None:
    values = [draw.draw(st.sampled_from([None, ..., b"1", b'"new"'])) for _ in paths]
    changes = {path: value for path, value in zip(paths, values, strict=True) if value is not ...}
    try:
        expected = _edit_exactly(data, MODULES[-1].Table(changes), changes.values())
    except InvalidChunk:
        expected = None
    for module in MODULES:
        spliced = module.splice(data, module.Table(paths), values)
        assert spliced in (None, expected)
        assert spliced is data or spliced != data


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    ("data", "paths", "values", "expected"),
    [
        (b'{"a":1,"b":2}', ["a"], [b"1"], b'{"a":1,"b":2}'),
        (b'{"a":1,"b":2}', ["a"], [b"3"], b'{"a":3,"b":2}'),
        (b'{"a":1,"b":2}', ["a"], [...], b'{"a":1,"b":2}'),
        (b'{"a":1,"b":2}', ["c"], [None], b'{"a":1,"b":2}'),
        (b'{"a":1,"b":2}', ["a"], [None], b'{"b":2}'),
        (b'{"a":1,"b":2}', ["b"], [None], b'{"a":1}'),
        (b'{"a":1,"b":2,"c":3}', ["b", "c"], [None, None], b'{"a":1}'),
        (b'{"a":1}', ["c", "b"], [b"3", b"2"], b'{"a":1,"c":3,"b":2}'),
        (b'{"a":{"b":[0,{"c":1}]}}', ["a/b/1/c"], [b"2"], b'{"a":{"b":[0,{"c":2}]}}'),
        (b'{"a":1}', [], [], b'{"a":1}'),
        (b"[]", [], [], None),
        (b'{"a":1', [], [], None),
        (b'{"a":"\xff"}', ["a"], [b"1"], None),
        (b"[]", ["a"], [b"1"], None),
        (b'{"a":1,"a":2}', ["a"], [b"3"], None),
        (b'{"\\u0061":1}', ["a"], [b"3"], None),
        (b"{}", ["a"], [b"3"], None),
        (b"{ }", ["a"], [b"3"], None),
        (b"{}", ["a/b"], [b"3"], None),
        (b'{"a":[1]}', ["a/7/b"], [b"3"], None),
        (b'{"a":[{"b":1}]}', ["a/7/b"], [b"3"], None),
        (b'{"a":{}}', ["a/b"], [b"3"], None),
        (b'{"a":{"b":1 },"c":2}', ["a/d"], [b"3"], b'{"a":{"b":1 ,"d":3},"c":2}'),
        (b'{"a":[{"b":1}]}', ["a/0/d", "a/0/c"], [b"3", b"2"], b'{"a":[{"b":1,"d":3,"c":2}]}'),
        (b'{"a":{"b":1}}', ["a/c", "a/d"], [None, ...], b'{"a":{"b":1}}'),
        (b'{"a":{"b":1}}', ["a/b", "a/c"], [None, b"3"], None),
        (b'{"a":[[' + b"[" * 5000, ["a"], [b"3"], None),
    ],
)
def test_splice(
    module: ModuleType, data: bytes, paths: list[str], values: list[Any], expected: bytes | None
) -> None:
    table = module.Table([tuple(path.split("/")) for path in paths])
    spliced = module.splice(data, table, values)
    assert spliced == expected or (module is MODULES[-1] and "/" in "".join(paths) and not spliced)
    assert spliced is data or spliced != data


@pytest.mark.parametrize("module", MODULES[-1:])
@pytest.mark.parametrize(
    ("data", "path", "value"),
    [
        (b'{"x\\"a":1,"a":2}', ("a",), b"3"),  # the key's text stands in another key, too
        (b'{"x":"a","a":2}', ("a",), b"3"),
        (b'{"a" :1}', ("a",), b"3"),
        (b'{"b":{"a":1},"x":"b"}', ("b", "a"), b"3"),
        (b'{"b":{"a":1}}', ("b", "a"), None),
        (b'{"b":1, "a":1 }', ("a",), None),
        (b'{"b":[1]}', ("b", "0"), b"3"),
        (b'{"a":{"a":1}}', ("a", "a"), b"3"),
        (b'{"a/b":1}', ("a/b",), b"3"),
        (b'{"x\\"a":{"a":1}}', ('x"a', "a"), b"3"),
    ],
)
def test_what_a_search_for_a_keys_text_could_take_for_another_is_left(
    module: ModuleType, data: bytes, path: tuple[str, ...], value: bytes | None
) -> None:
    expected = _edit_exactly(data, MODULES[-1].Table([path]), [value])
    assert module.splice(data, module.Table([path]), [value]) is None
    assert MODULES[0].splice(data, MODULES[0].Table([path]), [value]) in (None, expected)


# --- framing ------------------------------------------------------------------------------------

_LINES = st.sampled_from(
    [b"data: ", b"data:", b"x", b"\n", b"\n\n", b"\r\n\r\n", b"\r\n", b"\r", b": c\n", b"data: x"]
)


@SEVERAL
@given(st.lists(_LINES, max_size=12).map(b"".join))
def test_scanners_cut_alike(stream: bytes) -> None:
    for whole in (stream, BlockSplitter().feed(stream)):
        results = [module.cut_plain(whole) for module in MODULES]
        assert results == results[:1] * len(results)
    parts = blocks(whole)
    for ends in (b"\n\n", b"\r\n\r\n"):
        if parts and all(re.fullmatch(rb"data: [^\r\n]*" + ends, part) for part in parts):
            assert results[0] == ([part[6 : -len(ends)] for part in parts], ends)
            return
    assert results[0] is None


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    "whole", [b"", b"\n\n", b"data: ", b"data: \n", b"data: x\n\r\n", b"data:"]
)
def test_what_is_no_plain_block(module: ModuleType, whole: bytes) -> None:
    assert module.cut_plain(whole) is None


_BLOCKS = st.sampled_from(
    ["data: x", "data: x", "data:", "data:  x", "data: \u00e9", ": c", "event: ping\ndata: x",
     "event: x", "event:\ndata: x", "data: x\n: c", "data: x\nevent: \u00e9", "data: a\ndata: b",
     "id: 1\ndata: x", "retry: 5", "data", "event", "x: y\ndata: x", "data: x\ry", "", "\ufeff"]
).map(str.encode)  # fmt: skip
_BLOCK_ENDS = st.sampled_from([b"\n\n"] * 4 + [b"\r\n\r\n", b"\n", b"\n\r\n", b"\r\r"])


def by_block(whole: bytes, last_id: str) -> list[Event] | None:
    """Make the events of whole blocks one by one; None where one has an id or a `retry`."""
    events = []
    for block in blocks(whole):
        fields = parse_block(block)
        if fields.id is not None or fields.retry is not None:
            return None
        if fields.data is not None:
            is_usual = block == b"data: %b\n\n" % fields.data
            own = b"" if is_usual else block
            events.append(Event(fields.data, fields.event, last_id, own))
    return events


@SEVERAL
@given(
    st.lists(st.tuples(_BLOCKS, _BLOCK_ENDS).map(b"".join), max_size=6).map(b"".join),
    st.sampled_from(["", "7"]),
)
def test_scanners_make_the_events_that_single_blocks_make(sent: bytes, last_id: str) -> None:
    for module in MODULES:
        events = module.plain_events(sent, Event, last_id)
        assert events is None or (are_blocks(sent) and events == by_block(sent, last_id))


@pytest.mark.parametrize(
    "sent",
    [
        b"event: ping\ndata: {}\n\ndata: x\n\n",
        b": keep-alive\n\ndata: x\n\n",
        b"data: x\r\n\r\nevent: y\r\ndata: z\r\n\r\n",
        b"data:x\n\n",
    ],
)
def test_the_compiled_scanner_takes_named_events_and_comments(sent: bytes) -> None:
    for module in MODULES[: len(SCANNERS) - 1]:
        assert module.plain_events(sent, Event, "7") == by_block(sent, "7")


# --- the forwarder ------------------------------------------------------------------------------


def event(
    content: str = '"x"', *, index: int = 0, head: str = '"id":"c","model":"m"', tail: str = ""
) -> bytes:
    choice = f'{{"index":{index},"delta":{{"content":{content}}},"finish_reason":null}}'
    return f'data: {{{head},"choices":[{choice}]{tail}}}\n\n'.encode()


def state(relay: Relay) -> tuple[Any, ...]:
    return (
        *(relay.events, relay.chunks, relay.invalid, relay.done),
        *(relay.truncated, relay.error, relay.usage, relay.finish_reasons),
    )


def outcome(relay: Relay, reads: list[bytes]) -> tuple[bytes, str, tuple[Any, ...]]:
    """Relay reads: what leaves, how it fails, and what the relay knows then."""
    out, failure = b"", ""
    for read in reads:
        try:
            out += relay.feed(read)
        except EventTooLarge:
            failure = "too large"
    try:
        out += relay.close()
    except EventTooLarge:
        failure = "too large"
    return out, failure, state(relay)


_TOOL = event().replace(
    b'"content":"x"', b'"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\""}}]'
)
_LOGPROBS = event().replace(
    b'"finish_reason"', b'"logprobs":{"content":[{"token":"x","logprob":-1.5}]},"finish_reason"'
)
_FINISH = event().replace(b'"finish_reason":null', b'"finish_reason":"stop"')
VALID = [
    *(event(), event('"y"'), event('""'), event('"é日😀"'), event(r'"\"\\\u00e9\ud83d\ude00"')),
    *(event(index=1), event("null"), event('[{"type":"text","text":"t"}]'), _TOOL, _LOGPROBS),
    *(event(head=f'"id":"id-{n}","created":{n},"model":"m"') for n in (1, 22, 10**17)),
    *(event(tail=f',"obfuscation":"{pad}"') for pad in ("", "a", "abc")),
    *(event(tail=f',"usage":{{"prompt_tokens":{n}}}') for n in (1, 234)),
    *(event(tail=',"usage":null'), event(tail=',"x":[1.5,{"model":"n"},true,false]')),
    *(event().replace(b"\n", b"\r\n"), event().replace(b'":', b'" : '), b"id: 1\n" + event()),
    *(b"event: x\n" + event(), event()[:6] + b" " + event()[6:], b"data:" + event()[6:]),
    *(b": c\n" + event(), event()[:-1] + b": c\n\n", b": c\n\n", b"id: 5\n\n", b"\n"),
    *(b'data: {"choices":[],"usage":{"prompt_tokens":5}}\n\n', b'data: {"choices":[]}\n\n'),
    *(b'data: {"object":"chat.completion.chunk"}\n\n', b'event: ping\ndata: {"type":"ping"}\n\n'),
    *(b'data: {"x":1}\n\n', _FINISH, b"data: null\n\n", b"data: [DONE]\n\n"),
    *(b'data: {"choices":null,"model":"m"}\n\n', event().replace(b'"index":0,', b"")),
    event(tail=f',"x":"{"y" * 9000}"'),
    event(tail=f',"x":[{",".join(f"{n}" for n in range(60))}]'),
]
INVALID = [
    *(
        event('"\\ud800"'),
        event("NaN"),
        event("1e999"),
        event("9" * 400),
        event("[" * 70 + "]" * 70),
    ),
    *(event("1"), event('{"a":1}'), event('"\xff"').replace("\xff".encode(), b"\xff")),
    *(event(tail=',"model":"second"'), event(head='"m\\u006fdel":"m"'), event(tail=',"usage":5')),
    *(event(tail=',"usage":[1]'), event(tail=',"usage":{"prompt_tokens":"x"}')),
    *(event().replace(b'"index":0', b'"index":"0"'), event().replace(b"null}", b"5}")),
    *(b'data: {"error":{"message":"no"}}\n\n', event(tail=',"error":{"code":5}')),
    *(b'event: error\ndata: {"x":1}\n\n', b'event: error\nevent\ndata: {"x":1}\n\n'),
    *(b"event: a\nevent: b\n" + event(), event()[:-1] + b"data: 1\n\n", b"data\n\n", b"event\n\n"),
    *(b"data: {\n\n", b"data: \n\n", b"data: [1]\n\n", b'data: {"choices":5}\n\n'),
    *(b'data: {"choices":[5]}\n\n', b'data: {"choices":{"index":0}}\n\n', event()[:30]),
    *(event().replace(b"\n", b"\r"), event()[:20] + b"\r" + event()[20:]),
    *(event(tail=f',"x":{n}') for n in ("01", "1.", "-", "1e5", "-0.0", "tru")),
    b"\xef\xbb\xbf" + event(),
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"set": {"model": "alias"}},
    {"set": {"z": [1], "object": "o", "model": "a"}, "drop": ["id", "x"]},
    {"strip_usage": True},
    {"strip_usage": True, "set": {"model": "alias", "x": {"model": "n"}}},
    {"drop": ["choices", "usage"]},
    {"set": {"usage": {"prompt_tokens": 1}, "choices": [{"index": 0}]}},
]


def _cut(raw: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(min(place, len(raw)) for place in places)
    return [raw[a:b] for a, b in zip([0, *ends], [*ends, len(raw)], strict=True)]


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(VALID + INVALID), max_size=14),
    st.sampled_from(OPTIONS),
    st.lists(st.integers(0, 3000), max_size=6),
    st.sampled_from([{}, {"max_event_size": 150}]),
)
def test_a_relay_forwards_what_an_exact_one_forwards(
    pieces: list[bytes], options: dict[str, Any], places: list[int], limit: dict[str, Any]
) -> None:
    raw = b"".join(pieces)
    expected = outcome(exact_relay(**options, **limit), [raw])
    for reads in (pieces, [raw], _cut(raw, places)):
        assert outcome(Relay(**options, **limit), reads) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(VALID), max_size=14),
    st.sampled_from(OPTIONS),
    st.lists(st.integers(0, 3000), max_size=6),
)
def test_a_relay_knows_what_one_knows_that_decodes_chunks(
    pieces: list[bytes], options: dict[str, Any], places: list[int]
) -> None:
    raw = b"".join(pieces)
    expected = outcome(Relay(**options, on_chunk=lambda _: None), [raw])
    assert outcome(Relay(**options), _cut(raw, places)) == expected


@pytest.mark.parametrize("options", OPTIONS)
def test_mutated_streams_leave_as_from_an_exact_relay(options: dict[str, Any]) -> None:
    sources = [path.read_bytes()[:8000] for path in recorded()]
    for seed in range(150):
        rng = random.Random(seed)
        raw = rng.choice(sources) if sources and seed % 2 else generated(rng)
        raw = mutated(rng, raw)
        expected = outcome(exact_relay(**options), [raw])
        assert outcome(Relay(**options), [raw]) == expected
        assert outcome(Relay(**options), cut(rng, raw)) == expected


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
def test_recorded_streams_leave_as_from_an_exact_relay(path: Path, options: dict[str, Any]) -> None:
    raw = path.read_bytes()
    expected = outcome(exact_relay(**options), [raw])
    for reads in ([raw], blocks(raw), [b"".join(blocks(raw)[n : n + 4]) for n in range(0, 9, 4)]):
        if b"".join(reads) == raw:
            assert outcome(Relay(**options), reads) == expected


@pytest.mark.parametrize(("shapes", "again"), [(2, 0), (272, 0), (273, 17)])
def test_as_many_shapes_in_turn_are_known_as_there_is_room_for(
    shapes: int, again: int, observed: list[bytes]
) -> None:
    """256 are shared with other relays, and 16 are a relay's own."""
    relay = Relay(set={"model": "alias"})
    read = b"".join(event(index=n) for n in range(shapes))
    for _ in range(5):
        assert relay.feed(read) == read.replace(b'"m"', b'"alias"')
    assert relay.chunks == 5 * shapes
    assert len(observed) == (shapes + 4 * again if "compiled" in SCANNERS else 0)
    other = Relay(set={"model": "alias"})
    del observed[:]
    assert other.feed(read) == read.replace(b'"m"', b'"alias"')
    assert other.feed(event(index=0)).startswith(b"data: ")
    assert len(observed) == (max(0, shapes - 256) if "compiled" in SCANNERS else 0)


@pytest.mark.parametrize(
    "tail",
    [
        f',"x":"{"y" * 9000}"',
        f',"x":{[1] * 60}',
        f',"x":{json.dumps([*"ABCDEFGHIJKLM"])}',
        f',"x":{json.dumps({f"k{n}": n for n in range(1, 20)})}',
    ],
    ids=["long", "many-values", "many-texts", "many-numbers"],
)
def test_events_that_are_too_much_to_compare_are_scanned(tail: str, observed: list[bytes]) -> None:
    relay = Relay(set={"model": "alias"})
    relay.feed(event())
    del observed[:]
    for n in range(1, 4):
        other = re.sub(r'([A-Zy1-9]+)(["\],}])', rf"\g<1>{'1' * n}\2", tail)
        read = event(tail=tail) + event(tail=other) * 2
        assert relay.feed(read) == read.replace(b'"m"', b'"alias"')
    assert relay.chunks == 10
    assert not observed or "compiled" not in SCANNERS


@pytest.mark.parametrize("scanner", SCANNERS)
def test_a_number_that_begins_as_an_earlier_one_is_replaced_whole(scanner: str) -> None:
    with scanning(scanner):
        relay = Relay(set={"created": 5})
        for number in ("1", "12", "1", "1.5", "1e3"):
            for read in (event(head=f'"created":{number}'), event(head=f'"created":{number} ')):
                assert relay.feed(read) == read.replace(f":{number}".encode(), b":5", 1)


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("options", [{}, {"set": {"model": "alias"}}, {"drop": ["model"]}])
def test_two_events_may_be_cut_anywhere(options: dict[str, Any], scanner: str) -> None:
    two = event().replace(b"\n", b"\ndata: 1\n", 1) + b": c\n\n" + event()
    with scanning(scanner):
        for at in range(len(two)):
            reads = [event()] * 3 + [two[:at], two[at:], event()]
            assert outcome(Relay(**options), reads) == outcome(exact_relay(**options), reads)


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize(
    "options",
    [{}, {"set": {"model": "alias"}}, {"strip_usage": True}, {"on_chunk": lambda _chunk: DROP}],
)
@pytest.mark.parametrize("first", [b"", b": c\n\n", b"\n", BOM[:1], event(), event() + b"data"])
def test_a_mark_is_one_at_the_very_beginning_alone(
    first: bytes, options: dict[str, Any], scanner: str
) -> None:
    usage = b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n'
    for other in (event(), usage):
        reads = [first, BOM[1:] if first == BOM[:1] else BOM, BOM + other, other]
        with scanning(scanner):
            assert outcome(Relay(**options), reads) == outcome(exact_relay(**options), reads)
            assert outcome(Relay(**options), reads[::2]) == outcome(
                exact_relay(**options), reads[::2]
            )


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("before", [[], [event()]])
def test_what_leaves_before_an_error_in_the_same_read_is_not_lost(
    before: list[bytes], scanner: str
) -> None:
    def look(chunk: Any) -> None:
        if chunk.usage:
            raise KeyError(chunk.usage)

    refused = b'data: {"choices":[],\ndata: "usage":{"total_tokens":1}}\n\n'
    with scanning(scanner):
        relay = Relay(on_chunk=look)
        written = list(map(relay.feed, before))
        with pytest.raises(KeyError):
            relay.feed(event() + event('"y"') + refused)
        assert b"".join([*written, relay.close()]) == b"".join([*before, event(), event('"y"')])


_USUAL_HEADS = ['{{"model":"m",{}}}', '{{{},"model":"m"}}', '{{"x":1,"model":"m",{}}}']
_USUAL_TAILS = ['"choices":[]', '"choices":[{"index":0,"delta":{"content":"\\"model\\":"}}]']
_HEADS = [*_USUAL_HEADS * 3, "{{{}}}", "{}", "[DONE]", '{{"model": "m", {}}}', '{{"model":"n",{}}}']
_TAILS = [
    *_USUAL_TAILS * 3,
    '"q":{"z":1,"model":"m","y":2},"choices":[]', '"q":{"x":1,"y":1},"choices":[]',
    '"choices":[],"model":"m"', '"choices":[],"mod\\u0065l":"m"', '"choices":[],"x":"model"',
    '"choices":null', '"choices":[{"delta":{"content":"\\u00e9\\u003c"}}]',
    '"error":{"z":1,"model":"m","y":2}',
]  # fmt: skip
_READS = st.lists(st.tuples(st.sampled_from(_HEADS), st.sampled_from(_TAILS)), min_size=1).map(
    lambda read: b"".join(f"data: {head.format(tail)}\n\n".encode() for head, tail in read)
)
_USUAL = b'data: {"x":1,"model":"m","choices":[]}\n\n'


@SEVERAL
@given(
    st.lists(_READS, min_size=1, max_size=4),
    st.sampled_from(
        [
            {},
            {"model": "alias"},
            {"set": {"model": "alias"}},
            {"set": {"model": "m"}},
            {"drop": ["model"]},
            {"set": {"model": "alias", "x": "model"}, "drop": ["z"]},
            {"model": "alias", "drop": ["x"]},
            {"model": "alias", "strip_usage": True},
        ]
    ),
)
@example(
    [_USUAL.replace(b'"c', b'"q":{"z":1,"model":"m","y":2},"c') + b'data: {"choices":[]}\n\n'],
    {"model": "alias"},
)
@example(
    [_USUAL.replace(b'"c', b'"q":{"z":1,"model":"m","y":2},"c') + b"data: [DONE]\n\n" * 2],
    {"model": "alias"},
)
def test_events_whose_members_come_again_are_changed_as_single_ones(
    reads: list[bytes], options: dict[str, Any]
) -> None:
    sent = [_USUAL, *reads]  # what it has learned of the first one must not deceive it
    expected = outcome(exact_relay(**options), sent)
    for scanner in SCANNERS:
        with scanning(scanner):
            assert outcome(Relay(**options), sent) == expected


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("key", [": ", ":{", ",", "]", "} ", " :"])
def test_a_key_that_reads_like_structure(key: str, scanner: str) -> None:
    reads = [
        event(tail=f',"{key}":{value}') for value in ("1", '":1,"', f'{{"{key}":1}}', "1", '"x"')
    ]
    expected = outcome(exact_relay(set={key: 5}), reads)
    with scanning(scanner):
        assert outcome(Relay(set={key: 5}), reads) == expected


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize(
    "key",
    ["x-y", "a b", "", "1", "x.y", "\u2028", 'a"b', "a\\b", "__init__", "__dict__", "changed_0"],
)
def test_any_key_is_set_and_dropped(key: str, scanner: str) -> None:
    member = f",{json.dumps(key, ensure_ascii=False)}:"
    reads = [event(tail=tail) for tail in (f'{member}"old"', "", f'{member}"other"') * 2]
    for options in ({"set": {key: "new"}}, {"drop": [key]}):
        expected = outcome(exact_relay(**options), reads)
        with scanning(scanner):
            assert outcome(Relay(**options), reads) == expected


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("options", [{}, {"set": {"model": "alias"}}])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"index":0', f'"index":{index}')
        for index in ("1.0", "1e0", "-0", "null", "true", '"1"', "9" * 20, "1.5", "[]")
    ]
    + [("null}", f"{reason}}}") for reason in ("5", "false", "0", "{}", '""', '"a"')],
)
def test_indexes_and_reasons_of_all_kinds(
    old: str, new: str, options: dict[str, Any], scanner: str
) -> None:
    finished = event().replace(b"null}", b'"stop"}')
    reads = [finished, event(tail=',"x":1').replace(old.encode(), new.encode()), finished]
    with scanning(scanner):
        assert outcome(Relay(**options), reads) == outcome(exact_relay(**options), reads)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_what_an_odd_event_says_is_not_learned_of_the_one_before_it(scanner: str) -> None:
    """The error's facts take as many bytes of a signature as those of the known events."""
    plain = b'data: {"choices":[{"index":0}]%b}\n\n'
    error = b'data: {"error":"%b"}\n\n' % (b"x" * 16)
    odd = b'data: {"choices":[{"index":0,\ndata: "finish_reason":"stop"}]}\n\n'
    with scanning(scanner):
        relay = Relay()
        for read in (plain % b"", error, odd + plain % b',"x":true' + odd):
            relay.feed(read)
        other = Relay()
        other.feed(plain % b"" + error)
        assert (other.chunks, other.error, other.finish_reasons) == (1, "x" * 16, {})


@pytest.mark.parametrize("path", ["object", "usage"])
def test_long_facts_are_never_learned(path: str) -> None:
    relay, exact = Relay(), exact_relay()
    reads = [event(tail=f',"{path}":"{"o" * n}"') for n in (10, 255, 256, 300, 300, 10)]
    assert outcome(relay, reads) == outcome(exact, reads)


@pytest.mark.parametrize("choices", [20, 200])
def test_many_choices_in_an_event(choices: int) -> None:
    one = '{"index":%d,"delta":{"content":"x"},"finish_reason":null}'
    many = ",".join(one % n for n in range(choices))
    read = f'data: {{"model":"m","choices":[{many}]}}\n\n'.encode()
    relay = Relay(set={"model": "alias"})
    for _ in range(3):
        assert relay.feed(read * 3) == read.replace(b'"m"', b'"alias"') * 3
    assert relay.chunks == 9


@pytest.mark.parametrize("options", [{}, {"set": {"model": "alias"}}])
def test_one_event_over_the_limit_in_a_read_after_good_ones(options: dict[str, Any]) -> None:
    long = event('"' + "x" * 200 + '"')
    relay = Relay(max_event_size=200, **options)
    good = relay.feed(event())
    assert relay.feed(event() * 3 + long + event()) == good * 3
    for read in (event(), event(), b""):
        with pytest.raises(EventTooLarge):
            relay.feed(read)
    with pytest.raises(EventTooLarge):
        relay.close()
    assert (relay.events, relay.chunks) == (4, 4)
    relay = Relay(max_event_size=200, **options)
    relay.feed(event())
    for read in (long, event(), event() * 2):
        with pytest.raises(EventTooLarge):
            relay.feed(read)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_an_event_over_the_limit_behind_one_that_is_withheld(scanner: str) -> None:
    usage = event(tail=',"usage":{}').replace(b'"choices":[{', b'"choices":[],"x":[{')
    with scanning(scanner):
        relay = Relay(strip_usage=True, max_event_size=200)
        relay.feed(event())
        relay.feed(usage)
        assert relay.feed(usage + event(f'"{"x" * 300}"')) == b""
        for _ in range(2):
            with pytest.raises(EventTooLarge):
                relay.feed(event())


def test_the_latest_usage_is_kept_wherever_it_stands() -> None:
    for usage, kept in (("5", None), ("[1]", None), ('"x"', None), ("true", None)):
        relay = Relay()
        for _ in range(3):
            relay.feed(event(tail=f',"usage":{usage}'))
        assert relay.usage is kept
    relay = Relay(strip_usage=True)
    for n in (1, 22, 333, 4, 55555):
        tail = f',"x":"{"y" * n}","n":{n},"usage":{{"prompt_tokens":{n}}},"z":{n}'.replace(
            "y" * 55555, "y"
        )
        read = event(tail=tail) * 2
        assert relay.feed(read) == re.sub(rb',"usage":{[^}]*}', b"", read)
        assert relay.usage == wire.UsageInfo(prompt_tokens=n)


# --- what the implementations refuse ------------------------------------------------------------

COMPILED = MODULES[:-1]


@pytest.mark.parametrize("module", MODULES)
def test_a_tally_begins_with_nothing(module: ModuleType) -> None:
    tally = module.Tally()
    assert (tally.chunks, tally.others, tally.usage_data) == (0, 0, None)


@pytest.mark.parametrize("module", MODULES)
def test_a_guarded_decoder_leaves_to_the_other_one_what_is_not_harmless(module: ModuleType) -> None:
    decode = module.guarded_decoder(json.loads, lambda data: ("otherwise", data))
    for data in (b"\xff", b"{", bytearray(b"{}"), None, b"[" * 500, "é"):
        assert decode(data) == ("otherwise", data)
    for data in (b"[1]", "[1]", b"[1]"):
        assert decode(data) in ([1], ("otherwise", data))


_PIECES = {messages.TextDelta: "text", messages.ThinkingDelta: "thinking"}


@pytest.mark.parametrize("module", MODULES)
def test_a_gatherer_appends_a_piece_or_leaves_the_event(module: ModuleType) -> None:
    known: Any = messages.ContentBlockDeltaEvent
    lists: Any = {0: ["a"], 1: "no list", 2: []}, {0: []}
    left: list[Any] = []
    quiet = {messages.PingEvent}
    add = module.gatherer(module.Deltas(known, _PIECES, quiet), lists, left.append)
    text, thought = messages.TextDelta(text="b"), messages.ThinkingDelta(thinking="c")
    taken = [known(index=0, delta=text), known(index=0, delta=thought), known(index=2, delta=text)]
    others = [
        *(known(index=index, delta=text) for index in (1, 3, -1, 0.0, False, None, "0", [0])),
        *(known(index=0, delta=delta) for delta in (None, "text", messages.SignatureDelta())),
        *(known(), known(delta=text), messages.MessageStopEvent(), text, None, "event", {}),
    ]
    for event in [
        *taken,
        *others,
        messages.PingEvent(),
        known(index=0, delta=messages.TextDelta()),
    ]:
        add(event)
    if module is _scan_py:
        assert left[: len(taken)] == taken
        assert len(left) == len(taken) + len(others) + 2
        left = left[len(taken) : -2]
    else:
        assert lists == ({0: ["a", "b", UNSET], 1: "no list", 2: ["b"]}, {0: ["c"]})
    assert all(a is b for a, b in zip(left, others, strict=True))


def test_the_compiled_gatherer_checks_its_arguments() -> None:
    module: Any
    for module in COMPILED:
        deltas = module.Deltas(messages.ContentBlockDeltaEvent, _PIECES)
        with pytest.raises(ValueError, match="lists for each type of delta"):
            module.gatherer(deltas, ({},), print)
        wrong: Any
        for wrong in ((None, ({}, {})), (deltas, None), (deltas, [{}, {}]), (deltas, ({}, []))):
            with pytest.raises(TypeError):
                module.gatherer(*wrong, print)
        with pytest.raises(OverflowError, match="more than 4 types of delta"):
            module.Deltas(messages.PingEvent, dict.fromkeys(map(str, range(5)), "text"))


def test_the_compiled_gatherer_leaves_events_whose_fields_are_no_slots() -> None:
    class Event:
        index, delta = 0, messages.TextDelta(text="a")

    module: Any
    for module in COMPILED:
        left: list[Any] = []
        add = module.gatherer(module.Deltas(Event, {}), (), left.append)
        add(Event())
        assert len(left) == 1


@pytest.mark.parametrize("module", MODULES)
def test_there_is_one_value_a_path(module: ModuleType) -> None:
    table = module.Table([("a",), ("b",)])
    for values in ([b"1"], [b"1", b"2", b"3"]):
        with pytest.raises(ValueError, match=r"one value a path|shorter|longer"):
            module.splice(b'{"a":1,"b":2}', table, values)


def test_the_compiled_scanner_checks_its_arguments() -> None:
    module: Any
    for module in COMPILED:
        for wrong in (None, "text", bytearray(b"{}"), 5):
            for function, *arguments in (
                (module.scan, wrong, module.Table([])),
                (module.scan, b"{}", wrong),
                (module.splice, wrong, module.Table([]), []),
                (module.cut_plain, wrong),
            ):
                with pytest.raises(TypeError):
                    function(*arguments)
        many = module.Table([(f"k{n}",) for n in range(33)])
        with pytest.raises(OverflowError, match="more than 32 paths"):
            module.Forwarder(many, [...] * 33, module.Tally(), 100)
        forwarder = module.Forwarder(module.Table([]), [], module.Tally(), 100)
        for begin in (-1, 2):
            with pytest.raises(IndexError):
                forwarder.forward(b"x", begin)
        assert forwarder.forward(b"", 0) == (b"", 0)
        assert forwarder.feed(b"") is None
        forwarder.ready = True
        assert forwarder.feed(bytearray()) is None
        assert forwarder.feed(b"") == b""
        forwarder.learn(True, False, set(), {})  # nothing was left
        assert forwarder.forward(b"data: {}\n\n", 0) == (b"", 0)
        forwarder.learn(False, False, set(), {})
        with pytest.raises(TypeError):
            module.splice(b"{}", module.Table([("a",)]), ["text"])
        with pytest.raises(AttributeError):
            module.Table([(5,)])


def test_tallies_take_note_of_the_same() -> None:
    documents = [
        b'{"choices":[{"index":0,"finish_reason":null}],"usage":null}',
        b'{"choices":[{"index":1,"finish_reason":"stop"},{"finish_reason":""}]}',
        b'{"choices":[{"finish_reason":"length"},{"index":1}],"usage":{"prompt_tokens":1}}',
        b'{"choices":[],"usage":{"prompt_tokens":2,"cost":1.10}}',
        b'{"choices":null,"usage":[]}',
        b'{"object":"chat.completion.chunk","usage":5}',
        b'{"choices":[{"index":[2],"finish_reason":{"no":"text"}}]}',
    ]
    for decode in (wire.decode, chat.decode_facts):
        found = []
        for module in MODULES:
            tally = module.Tally()
            for document in documents:
                tally.note(decode(document))
            usage = chat.DIALECT.decode_usage(tally.usage_data)
            assert usage.prompt_tokens == 2
            cost = msgspec.json.encode(usage.cost)
            found.append((tally.chunks, tally.indexes, tally.finish_reasons, cost))
            assert (tally.others, tally.done) == (0, False)
        assert found == [(7, {0, 1}, {0: "length", 1: "stop"}, b"1.10")] * len(MODULES)


class Below(msgspec.Struct):
    value: int


class Above(msgspec.Struct):
    one: Below | None = msgspec.field(name="ONE")
    raw: msgspec.Raw | None = None


def test_paths_are_those_of_the_structs() -> None:
    assert scan.paths_of(chat.Facts) == {
        ("object",): scan.FACT,
        ("choices",): scan.FACT,
        ("choices", None, "index"): scan.FACT,
        ("choices", None, "finish_reason"): scan.FACT,
        ("usage",): scan.LATEST,
        ("error",): scan.FACT,
    }

    assert scan.paths_of(Above) == {
        ("ONE",): scan.FACT,
        ("ONE", "value"): scan.FACT,
        ("raw",): scan.LATEST,
    }


# --- which scanner is in use --------------------------------------------------------------------


def _loaded_again() -> Any:
    spec = importlib.util.spec_from_file_location("fastchunk.again", scan.__file__)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_environment_and_the_build_decide_which_scanner_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FASTCHUNK_PURE", raising=False)
    for value in ("0", "", "yes"):
        monkeypatch.setenv("FASTCHUNK_PURE", value)
        again = _loaded_again()
        is_built = importlib.util.find_spec("fastchunk._scan") is not None
        assert again.compiled is is_built
        module = importlib.import_module("fastchunk._scan") if is_built else MODULES[-1]
        assert again.scan is module.scan
    monkeypatch.setenv("FASTCHUNK_PURE", "1")
    pure = _loaded_again()
    monkeypatch.delenv("FASTCHUNK_PURE")
    monkeypatch.delattr(fastchunk, "_scan", raising=False)
    monkeypatch.setitem(sys.modules, "fastchunk._scan", None)
    for again in (pure, _loaded_again()):
        assert again.compiled is False
        for name in ("Forwarder", "Reader", "Table", "Tally", "cut_plain", "scan", "splice"):
            assert getattr(again, name) is getattr(MODULES[-1], name)


# --- no leaks -----------------------------------------------------------------------------------


def _growth(work: Any, times: int) -> int:
    """Return by how many blocks of memory the interpreter grows while the work is repeated."""
    for _ in range(3):
        work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        work()
    gc.collect()
    return sys.getallocatedblocks() - before


@pytest.mark.parametrize("options", [{}, {"set": {"model": "alias"}, "drop": ["x"]}])
def test_a_million_events_leave_nothing_behind(options: dict[str, Any]) -> None:
    if not COMPILED:
        return
    relay = Relay(**options)
    read = (
        event() + event('"é"', tail=',"x":1') + event(tail=',"usage":{"prompt_tokens":1}')
    ) * 400
    assert _growth(lambda: relay.feed(read), 420) < 50
    assert relay.chunks == 423 * 1200


def test_the_functions_of_the_scanners_leave_nothing_behind() -> None:
    data, read = event()[6:-2], event() * 5
    paths = [("model",), ("choices", "0", "delta", "content"), ("new",)]
    for module in MODULES:
        table = module.Table(paths)

        def work(module: Any = module, table: Any = table) -> None:
            for values in ([b"1", b"2", b"3"], [None, ..., None], [..., ..., ...]):
                module.splice(data, table, values)
            module.splice(b'{"model":', table, [b"1", ..., ...])
            module.scan(data, table)
            module.scan(b'{"model":1,"model":2}', table)
            module.cut_plain(read)
            module.cut_plain(b"data: x\n\ndata: y\n\nx")
            module.Table(paths)

        assert _growth(work, 3000) < 50


def test_relays_that_end_leave_nothing_behind() -> None:
    read = b"".join(VALID + INVALID[:-6])

    def work() -> None:
        relay = Relay(set={"model": "alias"}, strip_usage=True)
        relay.feed(read[:500])
        relay.feed(read[500:])
        relay.feed(read)
        relay.close()

    assert _growth(work, 60) < 200


def test_the_editor_in_python_is_the_one_that_it_is_given() -> None:
    assert MODULES[-1].quick_editor(None, None, None, len) is len
