"""What `on_chunk` changes leaves changed, and every other byte as it came."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from fastchunk import (
    DROP,
    ChunkStream,
    InvalidChunk,
    Relay,
    completions,
    edit,
    messages,
    wire,
)
from fastchunk.merge import handed_of, merge
from fastchunk.sse import EventDecoder
from tests.streams import recorded

pytestmark = pytest.mark.usefixtures("scanner")

Chunk = wire.ChatCompletionStreamResponse
Change = Callable[[Chunk], Any]

RICH = (
    b'{"x_first":1.0,"id":"c","choices":[{"y":[1e5,null],"index":0,"delta":{"zz":"\\u00e9",'
    b'"content":"secret","tool_calls":[{"index":0,"u":1,"id":"a","function":{"w":1e2,"name":"f"}},'
    b'{"index":1,"u":2,"id":"b","function":{"arguments":"{}"}}]},"logprobs":{"content":[{"token":"a"'
    b',"logprob":-1.50,"bytes":null,"q":1,"top_logprobs":[{"token":"t","r":1.00}]},{"token":"b","q":2}]'
    b',"l":0.0}},{"index":1,"second":2e0,"delta":{"content":"other"}}],"x_last":12345678901234567890123,'
    b'"usage":{"prompt_tokens":1,"cost":1.10,"k":[ ]},"model":"m"}'
)
TOOLS = "/choices/0/delta/tool_calls"
TOKENS = "/choices/0/logprobs/content"


def changed(data: bytes, change: Change) -> bytes:
    chunk = wire.decode(data)
    handed = handed_of(chunk)
    change(chunk)
    return merge(data, chunk, handed)


def _part(data: bytes, pointer: str) -> bytes:
    """Return the bytes of one value: what is left when it is moved to the outside."""
    return bytes(_raw(data, pointer))


def _raw(data: bytes, pointer: str) -> Any:
    value: Any = msgspec.Raw(data)
    for step in pointer.split("/")[1:]:
        kind: Any = list[msgspec.Raw] if step.isdigit() else dict[str, msgspec.Raw]
        value = msgspec.json.decode(value, type=kind)[int(step) if step.isdigit() else step]
    return value


def _items(data: bytes, pointer: str) -> list[bytes]:
    return [
        bytes(item) for item in msgspec.json.decode(_raw(data, pointer), type=list[msgspec.Raw])
    ]


def _joined(*items: bytes) -> Any:
    return msgspec.Raw(b"[" + b",".join(items) + b"]")


def _assign(path: str, value: Any) -> Change:
    """Return a change that assigns to a field: `choices.0.delta.content`."""
    *steps, last = path.split(".")

    def change(chunk: Chunk) -> None:
        owner: Any = chunk
        for step in steps:
            owner = owner[int(step)] if step.isdigit() else getattr(owner, step)
        setattr(owner, last, value)

    return change


# a field: what is assigned to it, and the edit that says the same
FIELDS: dict[str, tuple[str, Any]] = {
    "content": ("choices.0.delta.content", "[x]"),
    "content-of-the-second": ("choices.1.delta.content", "é\n"),
    "content-to-null": ("choices.0.delta.content", None),
    "content-to-parts": ("choices.0.delta.content", [{"type": "text", "text": "p"}]),
    "added": ("choices.0.delta.role", "assistant"),
    "finish-reason": ("choices.1.finish_reason", "stop"),
    "model": ("model", "alias"),
    "id-to-null": ("id", None),
    "arguments": ("choices.0.delta.tool_calls.1.function.arguments", '{"a":1}'),
    "name": ("choices.0.delta.tool_calls.0.function.name", "g"),
    "logprob": ("choices.0.logprobs.content.0.logprob", -2.0),
    "alternative": ("choices.0.logprobs.content.0.top_logprobs.0.token", "s"),
    "usage": ("usage.prompt_tokens", 2),
    "usage-to-null": ("usage", None),
    "delta-to-null": ("choices.1.delta", None),
    "logprobs-to-null": ("choices.0.logprobs", None),
    "choices-to-none": ("choices", None),
    "error": ("error", {"message": "blocked"}),
}


@pytest.mark.parametrize(("path", "value"), FIELDS.values(), ids=FIELDS)
def test_a_field_changes_and_nothing_else(path: str, value: Any) -> None:
    out = changed(RICH, _assign(path, value))
    assert out == edit(RICH, {"/" + path.replace(".", "/"): value})
    assert out != RICH


@pytest.mark.parametrize(
    "path", ["choices.0.delta.content", "usage", "model", "choices.0.logprobs"]
)
def test_what_is_unset_is_removed(path: str) -> None:
    out = changed(RICH, _assign(path, UNSET))
    assert out == edit(RICH, {"/" + path.replace(".", "/"): DROP})


def test_a_chunk_that_is_equal_to_what_came_is_the_same_object() -> None:
    assert changed(RICH, lambda _: None) is RICH
    plain = b'{"choices":[{"delta":{"content":"x"}}]}'
    assert changed(plain, lambda _: None) is plain
    assert changed(plain, _assign("choices.0.delta.content", "x")) is plain


def test_a_text_in_place_of_a_number_that_is_no_number_is_no_change() -> None:
    """The text is read as a number that is not equal to itself, and that JSON does not have."""
    data = b'{"choices":[{"delta":{},"logprobs":{"content":[{"token":"a","logprob":"NaN"}]}}]}'
    assert changed(data, lambda _: None) == data
    out = changed(data, _assign("choices.0.delta.content", "x"))
    assert out == data.replace(b"{}", b'{"content":"x"}')


def test_a_struct_that_is_replaced_keeps_what_it_stands_for() -> None:
    def change(chunk: Chunk) -> None:
        assert chunk.choices
        chunk.choices[0].delta = wire.DeltaMessage(content="new")

    out = json.loads(changed(RICH, change))
    assert out["choices"][0]["delta"] == {"zz": "é", "content": "new"}
    assert list(out) == list(json.loads(RICH))


# Items of lists: which ones are left, in which order


def _calls(chunk: Chunk) -> list[wire.DeltaToolCall]:
    assert chunk.choices
    assert chunk.choices[0].delta
    assert chunk.choices[0].delta.tool_calls
    return chunk.choices[0].delta.tool_calls


def test_a_removed_choice_takes_its_bytes_with_it() -> None:
    def change(chunk: Chunk) -> None:
        assert chunk.choices
        del chunk.choices[0]

    second = _part(RICH, "/choices/1")
    assert changed(RICH, change) == edit(RICH, {"/choices": _joined(second)})


def test_a_choice_that_is_put_in_is_encoded() -> None:
    def change(chunk: Chunk) -> None:
        assert chunk.choices
        chunk.choices.insert(1, wire.ChatCompletionResponseStreamChoice(index=7))

    first, second = _items(RICH, "/choices")
    assert changed(RICH, change) == edit(RICH, {"/choices": _joined(first, b'{"index":7}', second)})


def test_choices_in_another_order_keep_their_bytes() -> None:
    def change(chunk: Chunk) -> None:
        assert chunk.choices
        chunk.choices = chunk.choices[::-1]  # another list, the same items
        _assign("choices.1.delta.content", "[x]")(chunk)

    first, second = _items(RICH, "/choices")
    first = edit(first, {"/delta/content": "[x]"})
    assert changed(RICH, change) == edit(RICH, {"/choices": _joined(second, first)})


def test_a_tool_call_is_removed_and_another_one_changed() -> None:
    def change(chunk: Chunk) -> None:
        calls = _calls(chunk)
        del calls[0]
        calls[0].id = "B"

    second = edit(_part(RICH, f"{TOOLS}/1"), {"id": "B"})
    assert changed(RICH, change) == edit(RICH, {TOOLS: _joined(second)})


def test_an_item_that_is_there_twice_and_an_empty_list() -> None:
    first, second = _items(RICH, TOOLS)
    out = changed(RICH, lambda chunk: _calls(chunk).append(_calls(chunk)[0]))
    assert out == edit(RICH, {TOOLS: _joined(first, second, first)})
    assert changed(RICH, lambda chunk: _calls(chunk).clear()) == edit(RICH, {TOOLS: []})


def test_lists_in_items_that_moved() -> None:
    def change(chunk: Chunk) -> None:
        assert chunk.choices
        chunk.choices.reverse()
        del _at(chunk).top_logprobs[0]  # type: ignore[union-attr]

    def _at(chunk: Chunk) -> wire.ChatCompletionLogProbsContent:
        assert chunk.choices
        logprobs = chunk.choices[1].logprobs
        assert logprobs
        assert logprobs.content
        return logprobs.content[0]

    first, second = _items(RICH, "/choices")
    first = edit(first, {"/logprobs/content/0/top_logprobs": []})
    assert changed(RICH, change) == edit(RICH, {"/choices": _joined(second, first)})


def test_a_token_is_removed() -> None:
    def change(chunk: Chunk) -> None:
        assert chunk.choices
        assert chunk.choices[0].logprobs
        chunk.choices[0].logprobs.content = chunk.choices[0].logprobs.content[1:]  # type: ignore[index]

    assert changed(RICH, change) == edit(RICH, {TOKENS: _joined(_part(RICH, f"{TOKENS}/1"))})


@pytest.mark.parametrize("calls", [False, True])
def test_lists_in_many_items_are_gone_through_once_a_level(
    calls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = b'{"token":"a","top_logprobs":[{"token":"b","z":1},{"token":"c","z":2}]}'
    choice = b'{"delta":{"tool_calls":[{"u":1,"id":"a"},{"u":2,"id":"b"}]}}'
    tokens = b'{"choices":[{"logprobs":{"content":[%b]}}]}' % b",".join([token] * 200)
    data = b'{"choices":[%b]}' % b",".join([choice] * 200) if calls else tokens
    gone_through = 0
    items_at = sys.modules[merge.__module__].items_at

    def counted(data: bytes, path: Any) -> Any:
        nonlocal gone_through
        gone_through += len(data)
        return items_at(data, path)

    def change(chunk: Chunk) -> None:
        assert chunk.choices
        for choice in chunk.choices:
            if calls:
                assert choice.delta
                del choice.delta.tool_calls[0]  # type: ignore[union-attr]
            else:
                assert choice.logprobs
                for one in choice.logprobs.content or ():
                    del one.top_logprobs[0]  # type: ignore[union-attr]

    monkeypatch.setattr("fastchunk.merge.items_at", counted)
    gone = b'{"u":1,"id":"a"},' if calls else b'{"token":"b","z":1},'
    assert changed(data, change) == data.replace(gone, b"")
    assert gone_through <= 3 * len(data)


# The quick way, and attempts to mislead it

_MISLEADING = {
    "unknown-before": b'{"x":{"content":"u"},"choices":[{"delta":{"content":"d"}}]}',
    "unknown-alone": b'{"x":{"content":"u"},"choices":[{"delta":{"role":"r"}}]}',
    "spaced": b'{"choices":[{"delta":{"content" : "d"}}],"x":{"content":"u"}}',
    "escaped-key": b'{"x":{"content":"u"},"choices":[{"delta":{"c\\u006fntent":"d"}}]}',
    "escaped-quote": b'{"choices":[{"delta":{"x\\"content":"u","content":"d"}}]}',
    "escaped-quote-alone": b'{"choices":[{"delta":{"x\\"content":"u"}}]}',
    "twice": b'{"choices":[{"delta":{"content":"d","content":"e"}}]}',
    "as-a-value": b'{"choices":[{"delta":{"type":"content","content":"d"}}]}',
    "tokens": b'{"choices":[{"logprobs":{"content":[]},"delta":{"content":"d"}}]}',
    "tokens-alone": b'{"choices":[{"logprobs":{"content":[]},"delta":{}}]}',
    "escapes": b'{"choices":[{"delta":{"content":"\\"content\\":\\"\\\\"}}]}',
    "null": b'{"choices":[{"delta":{"content":null}}],"x":{"content":"u"}}',
    "message": b'{"choices":[{"delta":{"content":"d"},"message":{"content":"u"}}]}',
    "parts": b'{"choices":[{"delta":{"content":["p"]}}],"x":{"content":"u"}}',
    "two-choices": b'{"choices":[{"delta":{"content":"d"}},{"delta":{"content":"d"}}]}',
    "no-delta": b'{"choices":[{"index":0}],"x":{"content":"u"}}',
    "no-choices": b'{"choices":[],"x":{"content":"u"}}',
    "spaces": b'{ "choices" : [ { "delta" : { "content" : "d" } } ] , "x" : 1.0 }',
}


@pytest.mark.parametrize("data", _MISLEADING.values(), ids=_MISLEADING)
@pytest.mark.parametrize("text", ["u", "d", "new", '"', "é\n"])
@pytest.mark.parametrize("other", [False, True], ids=["alone", "and-the-model"])
def test_the_quick_way_is_the_exact_way(
    data: bytes, text: str, other: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(chunk: Chunk) -> None:
        if chunk.choices:
            chunk.choices[0].delta = chunk.choices[0].delta or wire.DeltaMessage()
            chunk.choices[0].delta.content = text
        if other:
            chunk.model = "m"

    for one in (change, lambda _: None):
        quick = changed(data, one)
        with monkeypatch.context() as patch:
            patch.setattr("fastchunk.merge._with_content", lambda *_: None)
            assert changed(data, one) == quick
    assert changed(data, lambda _: None) is data


def test_what_only_lenient_parsers_take_is_kept() -> None:
    data = b'{"choices":[{"index":0,"x":NaN},{"index":"1","y":-Infinity}],"z":[Infinity]}'

    def change(chunk: Chunk) -> None:
        assert chunk.choices
        del chunk.choices[0]

    expected = b'{"choices":[{"index":"1","y":-Infinity}],"z":[Infinity]}'
    assert changed(data, change) == expected
    assert changed(data, _assign("choices.0.index", 2)) == data.replace(b"0", b"2")


@pytest.mark.parametrize("path", ["choices.0.delta.content", "choices"])
def test_no_depth_loses_the_change(path: str) -> None:
    value = (
        "[x]" if path.endswith("content") else [wire.ChatCompletionResponseStreamChoice(index=9)]
    )
    written = b'"[x]"' if path.endswith("content") else b'[{"index":9}]'
    kept = set()
    for depth in [10, *range(900, 1010), 5_000]:
        nested = b"[" * depth + b"]" * depth
        data = b'{"choices":[{"delta":{"content":null}}],"x":' + nested + b"}"
        try:
            out = changed(data, _assign(path, value))
        except InvalidChunk:  # too deep to be decoded at all
            continue
        assert written in out
        kept.add(out.endswith(nested + b"}"))
    assert True in kept


@pytest.mark.parametrize("data", [RICH, b'{"choices":[{"delta":{"content":"x"}}]}'])
def test_what_has_no_json_form_is_an_error(data: bytes) -> None:
    with pytest.raises(InvalidChunk, match="lone surrogate"):
        changed(data, _assign("choices.0.delta.content", "\ud800"))


# In a relay


def _events(*data: bytes) -> list[bytes]:
    return [b"data: " + item + b"\n\n" for item in data]


def test_a_relay_keeps_what_the_structs_do_not_know() -> None:
    def redact(chunk: Chunk) -> Chunk:
        assert chunk.choices
        for choice in chunk.choices:
            assert choice.delta
            choice.delta.content = "[x]"
        return chunk

    event = b'{"x":1.0,"choices":[{"delta":{"content":"secret","y":1e5},"z":[ ]}],"model":"m"}'
    relay = Relay(on_chunk=redact, set={"model": "alias"})
    expected = event.replace(b'"secret"', b'"[x]"').replace(b'"m"', b'"alias"')
    for read in (_events(event), _events(event, event), _events(RICH), _events(event)):
        out = b"".join(relay.feed(block) for block in read)
        for got, came in zip(EventDecoder().feed(out), read, strict=True):
            data = came[6:-2]
            if data == event:
                assert got.data == expected
            else:
                wanted = {"/choices/0/delta/content": "[x]", "/choices/1/delta/content": "[x]"}
                assert got.data == edit(data, {**wanted, "model": "alias"})


def _redact(chunk: Chunk) -> Chunk:
    for choice in chunk.choices or ():
        if choice.delta and choice.delta.content:
            choice.delta.content = "[redacted]"
    return chunk


def _finish(chunk: Chunk) -> Chunk:
    for choice in chunk.choices or ():
        choice.finish_reason = "stopped"
    return chunk


def _no_calls(chunk: Chunk) -> Chunk:
    for choice in chunk.choices or ():
        if choice.delta and choice.delta.tool_calls:
            del choice.delta.tool_calls[0]
    return chunk


def _rename(chunk: Chunk) -> Chunk:
    chunk.system_fingerprint = "fp"
    return chunk


def _expected(value: Any, change: Any) -> Any:
    """Do to a parsed document what a change does to its chunk."""
    for choice in value.get("choices") or ():
        delta = choice.get("delta") or {}
        if change is _redact and delta.get("content"):
            delta["content"] = "[redacted]"
        if change is _finish:
            choice["finish_reason"] = "stopped"
        if change is _no_calls and delta.get("tool_calls"):
            del delta["tool_calls"][0]
    if change is _rename:
        value["system_fingerprint"] = "fp"
    return value


def _made_up() -> bytes:
    texts = [f'{{"choices":[{{"delta":{{"content":"{n}","q":1.0}}}}],"z":1e2}}' for n in range(5)]
    return b"".join(_events(*(text.encode() for text in texts), RICH, b"[DONE]"))


STREAMS = {"made-up": None, **{path.stem: path for path in recorded()}}


@pytest.mark.parametrize("path", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("change", [_redact, _finish, _no_calls, _rename])
def test_recorded_streams_change_in_one_place(path: Path | None, change: Any) -> None:
    raw = path.read_bytes() if path else _made_up()
    relay = Relay(on_chunk=change)
    third = len(raw) // 3
    out = relay.feed(raw[:third]) + relay.feed(raw[third:]) + relay.close()
    before, after = EventDecoder().feed(raw), EventDecoder().feed(out)
    for came, left in zip(before, after, strict=True):
        try:
            value = json.loads(came.data, parse_float=str, parse_int=str)
        except ValueError:
            assert left == came
            continue
        if not ChunkStream(wire).feed(came.raw):
            assert left == came
            continue
        got = json.loads(left.data, parse_float=str, parse_int=str)
        assert got == _expected(value, change)
        assert list(_keys(got)) == list(_keys(value))
        if got == json.loads(came.data, parse_float=str, parse_int=str):
            assert left == came


def _keys(value: Any) -> Any:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield key
        if isinstance(item, (dict, list)):
            yield from _keys(item)


# Any change of any document

_CHANGES = st.sampled_from([*((path, value) for path, value in FIELDS.values()), None])


@settings(max_examples=150)
@given(st.lists(_CHANGES, max_size=3, unique_by=repr), st.booleans())
def test_changes_together_are_the_edits_together(wanted: list[Any], spaced: bool) -> None:
    value = json.loads(RICH)
    data = json.dumps(value).encode() if spaced else RICH
    done: dict[str, Any] = {}
    for item in wanted:
        if item and not any(_overlap(item[0], path) for path in done):
            done[item[0]] = item[1]

    def change(chunk: Chunk) -> None:
        for path, value in done.items():
            _assign(path, value)(chunk)

    edits = {"/" + path.replace(".", "/"): value for path, value in done.items()}
    assert json.loads(changed(data, change)) == json.loads(edit(data, edits))
    if not spaced:
        assert sorted(changed(data, change)) == sorted(edit(data, edits))


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


@pytest.mark.parametrize("path", ["choices", "choices.0.delta", "choices.0.finish_reason", "usage"])
@pytest.mark.parametrize("value", [None, UNSET])
def test_a_learned_stream_changes_as_any_other(path: str, value: Any) -> None:
    event = b'{"x":1.0,"choices":[{"index":0,"delta":{"content":"a"},"q":[ ]}],"usage":null}'

    def change(chunk: Chunk) -> Chunk:
        _assign(path, value)(chunk)
        return chunk

    relay = Relay(on_chunk=change)
    expected = changed(event, change)
    for _ in range(3):
        (left,) = EventDecoder().feed(relay.feed(_events(event)[0]))
        assert left.data == expected


# --- other families -----------------------------------------------------------------------------


def test_an_event_without_choices_that_is_returned_as_it_came_leaves_untouched() -> None:
    block = b'data: {"type":"message_start","message":{"model":"m","content":[]}}\n\n'
    assert Relay(messages, on_chunk=lambda event: event).feed(block) == block


def test_a_completions_choices_keep_what_their_structs_do_not_know() -> None:
    def change(chunk: Any) -> Any:
        first, second = chunk.choices
        first.text = "a"
        chunk.choices = [second, first]
        return chunk

    came = b'data: {"choices":[{"index":0,"text":"x","k":1.0},{"index":1,"text":"y","l":2.00}]}\n\n'
    left = b'data: {"choices":[{"index":1,"text":"y","l":2.00},{"index":0,"text":"a","k":1.0}]}\n\n'
    assert Relay(completions, on_chunk=change).feed(came) == left


def test_an_event_of_an_unknown_type_is_written_as_its_data() -> None:
    data = b'{"type":"new","x":1e2}'
    event = messages.decode(data)
    assert isinstance(event, messages.UnknownEvent)
    assert merge(data, event, handed_of(event), messages.decode) is data
    event.data = msgspec.Raw(b'{"type":"new","x":2}')
    assert merge(data, event, handed_of(event), messages.decode) == b'{"type":"new","x":2}'
