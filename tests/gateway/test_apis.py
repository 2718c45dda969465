"""Completions, Messages and Responses: served as chat completions are, to the official clients."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anthropic
import httpx
import openai
import pytest

from fastchunk import (
    DONE,
    Accumulator,
    Relay,
    completions,
    format_event,
    iter_chunks,
    messages,
    responses,
)
from fastchunk.gateway import _demo_answers as answers
from fastchunk.gateway import demo
from fastchunk.gateway._demo_answers import Plan
from fastchunk.gateway.server import running
from fastchunk.text import Replace, Split, Stop

from .harness import (
    JSON,
    PATIENCE,
    SSE,
    Client,
    Connection,
    gateway,
    metric,
    replying,
    through,
    unchunked,
    wait_for_metric,
)

CARD = "4111 1111"
COMPLETIONS, MESSAGES, RESPONSES = "/v1/completions", "/v1/messages", "/v1/responses"
EVENTS: dict[str, answers.Events] = {
    COMPLETIONS: answers.completion_events,
    MESSAGES: answers.message_events,
    RESPONSES: answers.response_events,
}
FAMILIES: dict[str, Any] = {COMPLETIONS: completions, MESSAGES: messages, RESPONSES: responses}
PATHS = list(EVENTS)
ASKED: list[Any] = [{"role": "user", "content": "Hi"}]
REDACT: dict[str, Any] = {
    "text": [Replace(CARD, "[card]", channels=("content", "reasoning", "refusal", "arguments"))],
    "on_invalid": "raise",
}


def ask(url: str, path: str, *, stream: bool = True, **fields: Any) -> httpx.Response:
    request = {"model": "m", "stream": stream, **fields}
    return httpx.post(url + path, json=request, timeout=PATIENCE)


def stream(path: str, plan: Plan | None = None) -> bytes:
    return b"".join(EVENTS[path](plan or Plan(model="m", words=2)))


# --- the official clients, in front of the demonstration -----------------------------------------


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    options: dict[str, Any] = {"aliases": {"fast": "demo"}, "strip_usage": True, "client_key": "k"}
    with (
        running(demo.create_app(events_per_second=0)) as upstream,
        gateway(upstream, **options) as own,
    ):
        yield own


@pytest.fixture
def oai(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        yield client


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
TOOL: Any = {"name": "weather", "input_schema": SCHEMA}


def test_completions(oai: openai.OpenAI) -> None:
    create: Any = partial(oai.completions.create, model="fast", prompt="Hi", max_tokens=3)
    chunks = list(create(stream=True))
    assert {chunk.model for chunk in chunks} == {"fast"}
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Every word of"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    *_, last = create(stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3
    whole = create()
    assert (whole.model, whole.choices[0].text) == ("fast", "Every word of")


def test_completions_asynchronously(url: str) -> None:
    async def run() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
            created = await client.completions.create(
                model="fast", prompt="Hi", max_tokens=2, stream=True
            )
            return [chunk.choices[0].text async for chunk in created]

    assert asyncio.run(run()) == ["Every", " word", ""]


def test_messages(claude: anthropic.Anthropic) -> None:
    options: dict[str, Any] = {"model": "fast", "max_tokens": 3, "messages": ASKED}
    with claude.messages.stream(**options) as events:
        assert list(events.text_stream) == ["Every", " word", " of"]
        streamed = events.get_final_message()
    whole = claude.messages.create(**options)
    for message in (streamed, whole):
        assert message.model == "fast"
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert message.stop_reason == "end_turn"
        assert (message.usage.input_tokens, message.usage.output_tokens) == (8, 3)


def test_messages_with_tools(claude: anthropic.Anthropic) -> None:
    options: dict[str, Any] = {"model": "fast", "max_tokens": 3, "tools": [TOOL]}
    with claude.messages.stream(messages=ASKED, **options) as events:
        message = events.get_final_message()
    assert message.stop_reason == "tool_use"
    call: Any = message.content[-1]
    assert (call.type, call.name, call.input) == ("tool_use", "weather", {"city": "demo"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "warm"}
    turns: Any = [*ASKED, {"role": "user", "content": [result]}]
    assert claude.messages.create(messages=turns, **options).stop_reason == "end_turn"


def test_messages_asynchronously(url: str) -> None:
    async def run() -> Any:
        async with (
            anthropic.AsyncAnthropic(base_url=url, api_key="k") as client,
            client.messages.stream(
                model="fast", max_tokens=3, messages=ASKED, tools=[TOOL]
            ) as events,
        ):
            return await events.get_final_message()

    message = asyncio.run(run())
    assert message.model == "fast"
    assert message.content[-1].input == {"city": "demo"}


def test_responses(oai: openai.OpenAI) -> None:
    options: dict[str, Any] = {"model": "fast", "input": "Hi", "max_output_tokens": 3}
    with oai.responses.stream(**options) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        streamed = events.get_final_response()
    assert deltas == ["Every", " word", " of"]
    whole = oai.responses.create(**options)
    for response in (streamed, whole):
        assert (response.model, response.output_text) == ("fast", "Every word of")
        assert response.usage is not None
        assert response.usage.output_tokens == 3


def test_responses_with_tools(oai: openai.OpenAI) -> None:
    options: dict[str, Any] = {"model": "fast", "tools": [FUNCTION]}
    with oai.responses.stream(input="Hi", **options) as events:
        call: Any = events.get_final_response().output[-1]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "demo"})
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "warm"}
    assert oai.responses.create(input=[result], **options).output_text.startswith("Every word")


def test_responses_asynchronously(url: str) -> None:
    async def run() -> Any:
        async with (
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client,
            client.responses.stream(model="fast", input="Hi", tools=[FUNCTION]) as events,
        ):
            return await events.get_final_response()

    response = asyncio.run(run())
    assert response.model == "fast"
    assert response.output[-1].name == "weather"


@pytest.mark.parametrize(
    ("path", "message"), [(COMPLETIONS, "prompt"), (MESSAGES, "messages"), (RESPONSES, "input")]
)
def test_the_demonstration_asks_for_what_an_api_requires(path: str, message: str, url: str) -> None:
    refused = httpx.post(url + path, json={"model": "m"}, headers={"x-api-key": "k"})
    assert refused.status_code == 400
    assert f"missing required field `{message}`" in refused.json()["error"]["message"]
    assert ("type" in refused.json()) == (path == MESSAGES)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("plan", [Plan(model="m"), Plan(model="m", tool="f", arguments='{"a":1}')])
def test_the_demonstration_says_the_same_streamed_and_not(path: str, plan: Plan) -> None:
    family = FAMILIES[path]
    accumulator: Accumulator[Any] = Accumulator(family)
    for chunk in iter_chunks(EVENTS[path](plan), family):
        accumulator.add(chunk)
    assert accumulator.finished
    whole = json.loads(answers.answer(plan, EVENTS[path]))
    assert whole["model"] == "m"


# --- models' names, usage, metrics ---------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_an_alias_is_rewritten_on_both_ways(path: str) -> None:
    body = stream(path)
    with replying(SSE, body=body) as server, gateway(server.url, aliases={"fast": "m"}) as url:
        assert ask(url, path, model="fast").content == body.replace(
            b'"model":"m"', b'"model":"fast"'
        )
        wait_for_metric(url, 1, "requests_total", route=path, status="200")
        count = len(EVENTS[path](Plan(model="m", words=2)))
        assert metric(url, "events_total", route=path) == count
        assert metric(url, "chunks_total", route=path) == count - (path == COMPLETIONS)
        assert metric(url, "received_bytes_total", route=path) == len(body)
        assert metric(url, "first_event_seconds_count", route=path) == 1
        assert metric(url, "events_total") == count
    assert server.received[0].json == {"model": "m", "stream": True}


@pytest.mark.parametrize("path", PATHS)
def test_an_unstreamed_answer_is_restamped(path: str) -> None:
    body = answers.answer(Plan(model="m"), EVENTS[path])
    with replying(JSON, body=body) as server, gateway(server.url, aliases={"fast": "m"}) as url:
        answer = ask(url, path, model="fast", stream=False)
    assert answer.content == body.replace(b'"model":"m"', b'"model":"fast"')


@pytest.mark.parametrize(
    ("path", "asks"), [(COMPLETIONS, True), (MESSAGES, False), (RESPONSES, False)]
)
def test_only_some_apis_are_asked_for_the_usage(path: str, asks: bool) -> None:
    body = stream(path, Plan(model="m", usage=True))
    with replying(SSE, body=body) as server, gateway(server.url, strip_usage=True) as url:
        answer = ask(url, path).content
    assert ("stream_options" in server.received[0].json) == asks
    assert answer == (stream(path, Plan(model="m")) if asks else body)


@pytest.mark.parametrize("path", PATHS)
def test_open_answers_of_every_api_count(path: str) -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(b": c\n\n")
        connection.wait_until_closed()

    with through(script, max_streams=1) as url:
        with httpx.stream("POST", url + path, json={"stream": True}) as answer:
            reads = answer.iter_raw()
            assert next(reads) == b": c\n\n"
            assert metric(url, "streams_open", route=path) == 1
            refused = ask(url, path)
        wait_for_metric(url, 0, "streams_open")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    expected = "overloaded_error" if path == MESSAGES else "server_error"
    assert refused.json()["error"]["type"] == expected


@pytest.mark.parametrize("path", PATHS)
def test_requests_are_limited(path: str) -> None:
    with gateway("http://127.0.0.1:1", max_request_size=10) as url:
        assert ask(url, path).status_code == 413


def test_a_key_is_taken_from_either_field() -> None:
    with replying(JSON, body=b"{}") as server, gateway(server.url, client_key="k") as url:
        for path in (MESSAGES, "/v1/models"):
            for fields, status in (
                ({"x-api-key": "k"}, 200),
                ({"authorization": "Bearer k"}, 200),
                ({"authorization": "Bearer k", "x-api-key": "other"}, 200),
                ({"x-api-key": "other"}, 401),
                ({"x-api-key": ""}, 401),
                ({"authorization": "k"}, 401),
                ({"authorization": "Basic k"}, 401),
                ({}, 401),
            ):
                answer = httpx.post(url + path, json={}, headers=fields)
                assert answer.status_code == status
    for received in server.received:
        assert received.values("authorization") == received.values("x-api-key") == []


BEARER = {"authorization": "Bearer u"}
API_KEY = {"x-api-key": "u"}


@pytest.mark.parametrize(
    ("path", "sent", "expected"),
    [
        (MESSAGES, {}, API_KEY),
        (MESSAGES, {"x-api-key": "c"}, API_KEY),
        (MESSAGES, {"authorization": "Bearer c"}, BEARER),
        (MESSAGES, {"authorization": "Bearer c", "x-api-key": "c"}, BEARER),
        ("/v1/messages/count_tokens", {}, API_KEY),
        ("/v1/models", {"x-api-key": "c"}, API_KEY),
        ("/v1/models", {}, BEARER),
        (RESPONSES, {}, BEARER),
    ],
)
def test_the_upstreams_key_is_sent_where_the_client_sends_its_own(
    path: str, sent: dict[str, str], expected: dict[str, str]
) -> None:
    with replying(JSON, body=b"{}") as server, gateway(server.url, upstream_key="u") as url:
        httpx.post(url + path, json={}, headers=sent)
    (received,) = server.received
    names = ("authorization", "x-api-key")
    assert {name: value for name in names for value in received.values(name)} == expected


def test_the_clients_own_key_goes_up_as_it_came() -> None:
    with replying(JSON, body=b"{}") as server, gateway(server.url) as url:
        httpx.post(url + MESSAGES, json={}, headers={"x-api-key": "c", "anthropic-version": "v"})
    assert server.received[0].values("x-api-key") == ["c"]
    assert server.received[0].values("anthropic-version") == ["v"]


# --- streams under trouble -----------------------------------------------------------------------


def dying(path: str) -> Callable[[Connection], None]:
    events = EVENTS[path](Plan(model="m"))

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(b"".join(events[:3]) + b"data: {")

    return script


def last_event(body: bytes) -> tuple[bytes, Any]:
    """Read the last event of a stream: the lines before its data, and its data."""
    head, _, data = body.removesuffix(b"\n\n").rpartition(b"data: ")
    return head.rpartition(b"\n\n")[2], json.loads(data)


@pytest.mark.parametrize("path", PATHS)
def test_an_upstream_that_dies_makes_an_error_event(path: str) -> None:
    with through(dying(path)) as url:
        body = ask(url, path).content
        wait_for_metric(url, 1, "upstream_errors_total", kind="upstream_broke_off")
    assert body.startswith(b"".join(EVENTS[path](Plan(model="m"))[:3]))
    head, data = last_event(body)
    message = "the upstream broke off its answer"
    if path == MESSAGES:
        error: dict[str, Any] = {"type": "api_error", "message": message}
        assert (head, data) == (b"event: error\n", {"type": "error", "error": error})
        return
    error = {
        "message": message,
        "type": "upstream_error",
        "param": None,
        "code": "upstream_broke_off",
    }
    if path == RESPONSES:
        assert (head, data) == (b"event: error\n", {"type": "error", "error": error})
    else:
        assert (head, data) == (b"", {"error": error})


def test_the_anthropic_client_raises_when_the_upstream_dies() -> None:
    with (
        through(dying(MESSAGES)) as url,
        anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=9, messages=ASKED) as events,
        pytest.raises(anthropic.APIStatusError, match="broke off"),
    ):
        events.get_final_message()


def test_the_openai_client_raises_when_the_upstream_dies() -> None:
    for path in (COMPLETIONS, RESPONSES):
        with (
            through(dying(path)) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
        ):
            events: Any
            if path == RESPONSES:
                events = client.responses.create(model="m", input="Hi", stream=True)
            else:
                events = client.completions.create(model="m", prompt="Hi", stream=True)
            with pytest.raises(openai.APIError, match="broke off"):
                list(events)


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_stops_too_early_is_truncated(path: str) -> None:
    events = EVENTS[path](Plan(model="m", words=1))
    whole = events[:-1] if path == RESPONSES else events[:-2]
    with replying(SSE, body=b"".join(whole)) as server, gateway(server.url) as url:
        body = ask(url, path).content
    assert body.startswith(b"".join(whole))
    assert "before it is complete" in last_event(body)[1]["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
def test_silence_is_filled_as_the_api_does_it(path: str) -> None:
    expected = b": keep-alive\n\n"
    if path == MESSAGES:
        expected = b'event: ping\ndata: {"type": "ping"}\n\n'
    go_on = threading.Event()
    events = EVENTS[path](Plan(model="m", words=1))

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(events[0])
        assert go_on.wait(PATIENCE)
        connection.chunk(b"".join(events[1:]))
        connection.end()

    with through(script, keep_alive=0.05) as url, Client(url) as client:
        client.ask(path=path)
        client.read_until(expected)
        go_on.set()
        body = unchunked(client.read_all())
    assert body.startswith(events[0] + expected)
    assert body.replace(expected, b"") == b"".join(events)


def test_the_anthropic_client_skips_what_fills_the_silence() -> None:
    events = answers.message_events(Plan(model="m", words=2))

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE, "connection: close")
        for event in events:
            connection.chunk(event)
            threading.Event().wait(0.02)
        connection.end()

    with (
        through(script, keep_alive=0.01) as url,
        anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=9, messages=ASKED) as found,
    ):
        assert found.get_final_text() == "Every word"


# --- text rules ----------------------------------------------------------------------------------


def read(path: str, body: bytes) -> str:
    """Put a stream together, and write it as JSON."""
    family = FAMILIES[path]
    accumulator: Accumulator[Any] = Accumulator(family)
    for chunk in iter_chunks([body], family):
        accumulator.add(chunk)
    return repr(accumulator.result())


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    """Give what the upstream of `redacting` answers, by path."""
    return {}


@pytest.fixture(scope="module")
def redacting(bodies: dict[str, bytes]) -> Iterator[str]:
    def script(connection: Connection) -> None:
        received = connection.receive()
        kind = SSE if received.json.get("stream") else JSON
        body = bodies[received.line.split()[1]]
        connection.answer(kind, "connection: close", body=body)

    with through(script, **REDACT) as url:
        yield url


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("at", range(1, len(CARD)))
def test_no_cut_hides_a_card(path: str, at: int, redacting: str, bodies: dict[str, bytes]) -> None:
    body = stream(path)
    for old, new in (
        ("Every word", f"It is {CARD}, yes"),  # where all of it is said once more
        ('"Every"', f'"It is {CARD[:at]}"'),
        ('" word"', f'"{CARD[at:]}, yes"'),
        ("The user wants to see a stream.", f"Is it {CARD}?"),
    ):
        body = body.replace(old.encode(), new.encode())
    bodies[path] = body
    answer = ask(redacting, path).content
    assert CARD.encode() not in answer
    assert "It is [card], yes" in read(path, answer)
    if path != COMPLETIONS:
        assert "Is it [card]?" in read(path, answer)


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
@pytest.mark.parametrize("right", range(8))
def test_no_cut_hides_a_card_in_arguments(
    path: str, right: int, redacting: str, bodies: dict[str, bytes]
) -> None:
    arguments = f'{{"":"{CARD}{"x" * right}"}}'
    plan = Plan(model="m", tool="pay", arguments=arguments)
    assert all(CARD not in piece for piece in plan.argument_pieces)
    bodies[path] = stream(path, plan)
    answer = ask(redacting, path).content
    assert CARD.encode() not in answer
    assert f"[card]{'x' * right}" in read(path, answer)


@pytest.mark.parametrize("path", PATHS)
def test_an_unstreamed_answer_is_redacted(
    path: str, redacting: str, bodies: dict[str, bytes]
) -> None:
    if path != COMPLETIONS:
        plan = Plan(model="m", tool="pay", arguments=json.dumps({"card": CARD}))
        bodies[path] = answers.answer(plan, EVENTS[path])
        answer = ask(redacting, path, stream=False).text
        assert "[card]" in answer
        assert CARD not in answer
    body = answers.answer(Plan(model="m", words=2), EVENTS[path])
    bodies[path] = body.replace(b"Every word", CARD.encode())
    assert ask(redacting, path, stream=False).content == body.replace(b"Every word", b"[card]")


@pytest.mark.parametrize("path", PATHS)
def test_what_cannot_be_decoded_ends_a_stream(
    path: str, redacting: str, bodies: dict[str, bytes]
) -> None:
    event = EVENTS[path](Plan(model="m"))[0]
    bodies[path] = event + f"data: {{{CARD}\n\n".encode() + stream(path)
    answer = ask(redacting, path).content
    assert answer.startswith(event)
    assert answer.count(b"data: ") == 2
    assert "cannot be checked" in last_event(answer)[1]["error"]["message"]


def test_completions_stop() -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(b"".join(answers.completion_events(Plan(model="m", words=5))[:5]))
        connection.wait_until_closed()
        closed.set()

    with through(script, text=[Stop(" of this")]) as url:
        body = ask(url, COMPLETIONS).content
        assert closed.wait(PATIENCE)
    assert body.endswith(format_event(DONE))
    assert "text='Every word'" in read(COMPLETIONS, body)


@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        (Stop("x"), [MESSAGES, RESPONSES]),
        (Split("<think>", "</think>"), PATHS),
        (Replace("x", "y"), []),
    ],
)
def test_an_api_that_a_rule_does_not_fit_is_not_served(rule: Any, refused: list[str]) -> None:
    with replying(JSON, body=b"{}") as server, gateway(server.url, text=[rule]) as url:
        for path in [*PATHS, "/v1/chat/completions"]:
            answer = ask(url, path, stream=False)
            assert answer.status_code == (404 if path in refused else 200)
            if path in refused:
                assert "do not go with this API" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
def test_the_name_of_the_reasoning_concerns_chat_alone(path: str) -> None:
    body = stream(path)
    with replying(SSE, body=body) as server, gateway(server.url, reasoning="both") as url:
        assert ask(url, path).content == body


# --- hooks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_relay_is_told_the_family(path: str) -> None:
    seen: list[Any] = []
    relay = partial(Relay, on_chunk=seen.append)
    body = stream(path)
    with replying(SSE, body=body) as server, gateway(server.url, relay=relay) as url:
        assert ask(url, path).content == body
        refused = ask(url, path, stream=False)
    assert refused.json()["error"]["message"].startswith("this gateway checks streamed answers")
    assert {type(chunk).__module__ for chunk in seen} == {FAMILIES[path].__name__}


@pytest.mark.parametrize("path", PATHS)
def test_on_answer_sees_every_api(path: str) -> None:
    hooks: dict[str, Any] = {"relay": Relay, "on_answer": bytes.upper}
    with replying(JSON, body=b'{"a":1}') as server, gateway(server.url, **hooks) as url:
        assert ask(url, path, stream=False).content == b'{"A":1}'
