"""Anthropic's SDK as the oracle: which fields there are, and what the events add up to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import anthropic
import httpx2
import jiter
import pytest
from anthropic._models import construct_type_unchecked
from anthropic.lib.streaming import _beta_messages, _messages
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaRawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fastchunk import encode, messages
from tests.family_streams import events_of, recorded_of

from . import anthropic_sdk
from .anthropic_sdk import SCHEMAS, places
from .servers import branches, structs_in
from .values import Values

RECORDED = recorded_of("messages")
stream_of = pytest.mark.parametrize("stream", RECORDED, ids=lambda path: path.stem)

# --- fields -------------------------------------------------------------------------------------


def test_the_sdk_has_nothing_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert anthropic_sdk.main() == 0
    assert capsys.readouterr().out.count(": none of ") == len(SCHEMAS)


def test_what_is_missing_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = json.loads(json.dumps(SCHEMAS["Messages"]))
    schema["$defs"]["TextDelta"]["properties"]["mood"] = {"type": "string"}
    schema["$defs"]["Usage"]["properties"]["cost"] = {"type": "number"}
    schema["$defs"]["ToolUseBlock"]["properties"]["type"]["const"] = "tool_abuse"
    schema["$defs"]["RawMessageStopEvent"]["properties"]["type"]["const"] = "message_end"
    monkeypatch.setattr(anthropic_sdk, "SCHEMAS", {"Messages": schema})
    assert anthropic_sdk.main() == 1
    assert sorted(capsys.readouterr().out.splitlines()[1:]) == [
        "  .message_end",
        "  content_block_delta.delta.text_delta.mood",
        "  content_block_start.content_block.tool_abuse",
        "  message_start.message.content.tool_abuse",
        "  message_start.message.usage.cost",
    ]


def test_the_walk_reaches_every_level() -> None:
    assert {place for place, _ in places(SCHEMAS["beta Messages"])} >= {
        "message_start.message.usage.cache_creation.ephemeral_1h_input_tokens",
        "message_start.message.content.fallback.from.model",
        "content_block_start.content_block.mcp_tool_result.is_error",
        "content_block_delta.delta.compaction_delta.encrypted_content",
        "message_delta.delta.stop_details.category",
    }


MODELS: dict[str, Any] = {
    "Messages": RawMessageStreamEvent,
    "beta Messages": BetaRawMessageStreamEvent,
}


@pytest.mark.parametrize("api", MODELS)
def test_the_fields_stand_in_the_sdks_order(api: str) -> None:
    for events in get_args(get_args(MODELS[api])[0]):
        (kind,) = get_args(events.model_fields["type"].annotation)
        (struct,) = [
            struct
            for struct in get_args(messages.KnownEvent)
            if struct.__struct_config__.tag == kind
        ]
        theirs = [name for name in events.model_fields if name != "type"]
        assert [name for name in structs_in(struct) if name in theirs] == theirs


@pytest.mark.parametrize("api", MODELS)
def test_what_the_models_accept_comes_back(api: str) -> None:
    schema, model = SCHEMAS[api], TypeAdapter(MODELS[api])
    for branch in branches(schema, schema):
        for seed in range(60):
            value = Values(schema, seed).some(branch)
            if "message" not in value:  # the generator makes no time, and a container has one
                model.validate_python(_without_container(value))
            event = messages.decode(json.dumps(value))
            assert not isinstance(event, messages.UnknownEvent)
            assert json.loads(encode(event)) == value


def _without_container(value: Any) -> Any:
    if isinstance(value.get("delta"), dict):
        return {**value, "delta": {**value["delta"], "container": None}}
    return value


# --- what the events add up to ------------------------------------------------------------------


class _Sdk:
    """The accumulation of the SDK's beta API, which knows all that the other one does."""

    _model: Any = BetaRawMessageStreamEvent

    def __init__(self) -> None:
        self._snapshot: Any = None
        self._arguments: dict[int, bytes] = {}

    def add(self, data: bytes) -> None:
        value = json.loads(data)
        if value["type"] != "ping":  # the client drops it
            event: Any = construct_type_unchecked(type_=self._model, value=value)
            self._snapshot = self._accumulate(event)

    def _accumulate(self, event: Any) -> Any:
        return _beta_messages.accumulate_event(
            event=event,
            current_snapshot=self._snapshot,
            json_bufs=self._arguments,
            request_headers=httpx2.Headers(),
        )

    def message(self) -> Any:
        return _plain(self._snapshot)


class _StableSdk(_Sdk):
    _model = RawMessageStreamEvent

    def _accumulate(self, event: Any) -> Any:
        return _messages.accumulate_event(
            event=event, current_snapshot=self._snapshot, json_bufs=self._arguments
        )


def _plain(message: Any) -> Any:
    """Return the JSON value of a message of the SDK, which writes times in a way of its own."""
    return _with_times(json.loads(message.model_dump_json(exclude_unset=True, by_alias=True)))


def _with_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_times(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_times(item) for item in value]
    return value.replace("+00:00", "Z") if isinstance(value, str) else value


def _ours(answer: messages.Answer) -> Any:
    return _with_times(json.loads(encode(answer.build())))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@stream_of
def test_after_every_event_the_message_is_the_sdks_snapshot(stream: Path) -> None:
    sdk, answer = _Sdk(), messages.Answer()
    for data in events_of(stream):
        sdk.add(data)
        answer.add(messages.decode(data))
        assert _ours(answer) == sdk.message()
    assert answer.finished


KNOWN_TO_BETA: dict[str, set[str]] = {
    "messages__ai-anthropic-anthropic-clear-thinking-1": {"context_management"},
    "messages__ai-anthropic-anthropic-compaction-1": {"content", "context_management", "usage"},
    "messages__ai-anthropic-anthropic-mcp-1": {"content"},
    "messages__pydantic-a-test-anthropic-advisor-tool-stream": {"usage"},
    "messages__pydantic-a-test-anthropic-compaction-usage-with-cache-stream": {
        *("content", "context_management", "usage"),
    },
}
"""What the SDK's stable API loses of a recorded stream, because it came with a beta."""


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@stream_of
def test_the_sdks_stable_api_makes_the_same_but_for_what_it_does_not_know(stream: Path) -> None:
    sdk, answer = _StableSdk(), messages.Answer()
    for data in events_of(stream):
        sdk.add(data)
        answer.add(messages.decode(data))
    ours, theirs = _ours(answer), sdk.message()
    differing = {key for key in ours | theirs if ours.get(key) != theirs.get(key)}
    assert differing == KNOWN_TO_BETA.get(stream.stem, set())


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@stream_of
def test_the_real_client_returns_the_same_message(stream: Path) -> None:
    answer = messages.Answer()
    for data in events_of(stream):
        answer.add(messages.decode(data))

    def respond(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, content=stream.read_bytes())

    transport = httpx2.MockTransport(respond)
    with (
        httpx2.Client(transport=transport) as http_client,
        anthropic.Anthropic(api_key="none", http_client=http_client) as client,
        client.beta.messages.stream(model="m", max_tokens=1, messages=[]) as events,
    ):
        assert _ours(answer) == _plain(events.get_final_message())


# --- arguments that break off -------------------------------------------------------------------

ARGUMENTS = [
    '{"city": "Paris", "days": [1, 22, -3.5e-2, 0], "metric": true, "note": null}',
    '{"a":{"b":[{},[],[[]],{"c":"\\"}],{\\\\"}]},"":false}',
    '{"é€\U0001f600": "\\u00e9\\ud83d\\ude00\\n", "x" : [ "" , "y" ] }',
    '[{"a": 1}, 2]',
    '{"a":NaN,"b":-Infinity}',
    "{}",
]


def _add_arguments(*pieces: str) -> Any:
    """Return what a tool call has as its input after these pieces of JSON."""
    answer = messages.Answer()
    start = {"type": "content_block_start", "content_block": {"type": "tool_use", "input": {}}}
    answer.add(messages.decode(json.dumps(start)))
    for piece in pieces:
        delta = {"type": "input_json_delta", "partial_json": piece}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        answer.add(messages.decode(json.dumps(event)))
    content: Any = answer.build().content
    return content[0].input


def _same_as_jiter(text: str) -> None:
    """Check that a beginning of arguments is read as the SDK's parser reads it."""
    expected = jiter.from_json(text.encode(), partial_mode=True)
    assert repr(_add_arguments(text)) == repr(expected)


@pytest.mark.parametrize("text", ARGUMENTS)
def test_arguments_cut_anywhere_are_those_of_the_sdk(text: str) -> None:
    for end in range(1, len(text) + 1):
        _same_as_jiter(text[:end])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.integers(0), st.booleans())
def test_generated_arguments_cut_anywhere(value: Any, cut: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    _same_as_jiter(text[: 1 + cut % len(text)])


@pytest.mark.parametrize("rest", ["}", " x", '{"b":2}', ",", "]", '"'])
def test_what_follows_the_arguments_is_left_out(rest: str) -> None:
    assert jiter.from_json(f'{{"a":[1]}}{rest}'.encode(), partial_mode=True) == {"a": [1]}
    assert _add_arguments('{"a":', f"[1]}}{rest}") == {"a": [1]}


NO_JSON = [
    '{"a":01}',
    '{"a" 1}',
    "{a:1}",
    '{"a":]',
    "[1,]",
    '{"a":"\n"}',
    '{"a":"\\x"}',
    "tru",
    "}",
]


@pytest.mark.parametrize("text", NO_JSON)
def test_what_is_no_json_stays_text_where_the_sdk_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"at line \d column \d"):
        jiter.from_json(text.encode(), partial_mode=True)
    assert _add_arguments(text) == text
