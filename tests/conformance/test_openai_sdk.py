"""OpenAI's client as the oracle: which fields there are, and what the events add up to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types import Completion
from openai.types.responses import Response, ResponseStreamEvent

from fastchunk import InvalidChunk, completions, encode, responses
from tests.family_streams import events_of, recorded_of

from . import openai_sdk
from .openai_sdk import EVENT_MODELS, EVENT_STRUCTS, MODELS, fields_of
from .servers import structs_in
from .values import Values

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")

# --- fields -------------------------------------------------------------------------------------


def test_the_client_has_no_field_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert openai_sdk.main() == 0
    assert ": none of its fields missing\n" in capsys.readouterr().out


def test_a_field_that_is_missing_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(openai_sdk, "MODELS", [(Completion, completions.CompletionLogProbs)])
    assert openai_sdk.main() == 1
    assert "  Completion.system_fingerprint\n" in capsys.readouterr().out


KEPT_WHOLE = (
    *("response.audio", "response.code_interpreter_call", "response.file_search_call"),
    *("response.image_generation_call", "response.mcp_", "response.web_search_call"),
)


def test_the_events_that_carry_text_have_structs() -> None:
    assert EVENT_STRUCTS.keys() <= EVENT_MODELS.keys()
    whole = EVENT_MODELS.keys() - EVENT_STRUCTS.keys()
    assert all(kind.startswith(KEPT_WHOLE) for kind in whole)


@pytest.mark.parametrize(("model", "struct"), MODELS, ids=lambda side: side.__name__)
def test_the_fields_stand_in_the_clients_order(model: Any, struct: type[msgspec.Struct]) -> None:
    if model is Completion:  # its Struct has Ray's order
        assert all(known for _, known in fields_of(model, struct))
        return
    theirs = [name for name in model.model_fields if name != "type"]
    assert list(structs_in(struct))[: len(theirs)] == theirs


def _decode(model: Any, data: str) -> Any:
    if model is Completion:
        return completions.decode(data)
    if model is not Response:
        return responses.decode(data)
    event: Any = responses.decode(f'{{"type":"response.created","response":{data}}}')
    return event.parsed()


@pytest.mark.parametrize(("model", "struct"), MODELS, ids=lambda side: side.__name__)
def test_what_the_models_accept_comes_back(model: Any, struct: type[msgspec.Struct]) -> None:
    schema = model.model_json_schema()
    for seed in range(30):
        value = Values(schema, seed).some(schema)
        decoded = _decode(model, json.dumps(value))
        assert isinstance(decoded, struct)
        assert json.loads(encode(decoded)) == value


# --- what the events add up to ------------------------------------------------------------------

RAISES: dict[str, type[Exception]] = {
    # It finds items by counting them, and the server has left out a number.
    "responses__ai-openai-openai-phase-1": IndexError,
    # The first event is no JSON.
    "responses__ai-openai-parallel-tool-call-wrapper-1": json.JSONDecodeError,
}
"""The recorded streams that the client cannot put together."""

SAID_AT_THE_END_ONLY: dict[str, str] = {
    # Two of the items are never done.
    "responses__pydantic-a-test-openai-responses-model-mcp-list-tools-strea": "tools",
    # The server gives its reasoning a new id.
    "responses__pydantic-a-test-openai-responses-raw-cot-stream-openrouter": "id",
}
"""What the last event of a recorded stream has in an item that no other event had."""


def _responses_in(stream: Path) -> Iterator[list[bytes]]:
    """Yield the events of each response: some files hold the streams of several requests."""
    found: list[bytes] = []
    for data in events_of(stream):
        if b'"type":"response.created"' in data and found:
            yield found
            found = []
        found.append(data)
    yield found


def _decode_those_that_are_json(events: list[bytes]) -> Iterator[responses.Event]:
    for data in events:
        try:
            yield responses.decode(data)
        except InvalidChunk:
            continue


class _Client:
    """The client's own accumulation."""

    def __init__(self) -> None:
        self._state: Any = ResponseStreamState(input_tools=omit, text_format=omit)

    def add(self, data: bytes) -> None:
        event: Any = construct_type(type_=ResponseStreamEvent, value=json.loads(data))
        self._state.handle_event(event)

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the output so far: for an event that it does not know, the client only says it."""
        output: list[dict[str, Any]] = self._state.accumulate_event(_Unknown()).to_dict()["output"]
        return output

    def response(self) -> Any:
        """Return the whole response, without what the client itself has parsed in it."""
        value = self._state._completed_response.to_dict()
        for item in value["output"]:
            item.pop("parsed_arguments", None)
            for part in item.get("content") or ():
                part.pop("parsed", None)
        return value


class _Unknown:
    type = "unknown"


def _texts(output: list[dict[str, Any]]) -> list[Any]:
    """List what the client adds up: texts of messages, arguments of calls; and all other types."""
    found: list[Any] = []
    for item in output:
        if item["type"] == "message":
            found.append([part["text"] for part in item["content"] if "text" in part])
        else:
            found.append(item["arguments"] if item["type"] == "function_call" else item["type"])
    return found


RECORDED = recorded_of("responses")


@pytest.mark.parametrize("stream", RECORDED, ids=lambda path: path.stem)
def test_after_every_event_the_texts_are_those_of_the_clients_snapshot(stream: Path) -> None:
    for events in _responses_in(stream):
        client, answer = _Client(), responses.Answer()
        try:
            for data in events:
                client.add(data)
                event = responses.decode(data)
                if not str(event.type).endswith(".done"):  # which the client does not read
                    answer.add(event)
                if not answer.finished:
                    assert _texts(answer.build().output or []) == _texts(client.snapshot())
        except (IndexError, ValueError) as error:
            assert type(error) is RAISES[stream.stem]  # noqa: PT017 - most streams raise nothing


@pytest.mark.parametrize("stream", RECORDED, ids=lambda path: path.stem)
def test_recorded_events_add_up_to_the_clients_response(stream: Path) -> None:
    for events in _responses_in(stream):
        client, answer = _Client(), responses.Answer()
        raised = None
        for event in _decode_those_that_are_json(events):
            answer.add(event)
        try:
            for data in events:
                client.add(data)
        except (IndexError, ValueError) as error:
            raised = type(error)
        assert raised is RAISES.get(stream.stem)
        if b"response.failed" in events[-1]:  # where the client has nothing to return
            last = json.loads(events[-1])["response"]
            assert json.loads(encode(answer.build())) == last
        elif not raised:
            assert json.loads(encode(answer.build())) == client.response()
        assert answer.finished == (raised is not json.JSONDecodeError)


@pytest.mark.parametrize("stream", RECORDED, ids=lambda path: path.stem)
def test_without_the_last_event_the_others_add_up_to_its_output(stream: Path) -> None:
    # A server encrypts the same reasoning anew.
    unstable = {"encrypted_content", SAID_AT_THE_END_ONLY.get(stream.stem)}

    def stable(answer: responses.Answer) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in item.items() if key not in unstable}
            for item in answer.build().output or ()
        ]

    for events in _responses_in(stream):
        whole, before = responses.Answer(), responses.Answer()
        for event in _decode_those_that_are_json(events):
            whole.add(event)
            if not whole.finished:
                before.add(event)
        assert stable(before) == stable(whole)
