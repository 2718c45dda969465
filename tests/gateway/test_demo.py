"""The demonstration upstream, and the real openai client through a gateway in front of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fastchunk import Accumulator, ChunkStream, encode, iter_chunks, wire
from fastchunk.gateway import demo
from fastchunk.gateway._demo_answers import Plan
from fastchunk.gateway.server import running

from .harness import PATIENCE, Client, gateway

MESSAGES: list[Any] = [{"role": "user", "content": "Hi"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ARGUMENTS = {"city": "demo"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with running(demo.create_app(events_per_second=0)) as url:
        yield url


@pytest.fixture(scope="module")
def url(upstream: str) -> Iterator[str]:
    aliases = {"fast": "demo"}
    with gateway(upstream, aliases=aliases, strip_usage=True, client_key="k") as own:
        yield f"{own}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as one:
        yield one


def test_text(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="fast", messages=MESSAGES, stream=True, max_tokens=40)
    )
    assert {chunk.model for chunk in chunks} == {"fast"}
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(text.split(" ")) == 40
    assert text.startswith("Every word of this answer is an event")
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert "stream" in chunks[1].choices[0].delta.model_dump()["reasoning"]


def test_text_asynchronously(url: str) -> None:
    async def run() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="fast", messages=MESSAGES, stream=True
            )
            return [chunk async for chunk in stream]

    chunks = asyncio.run(run())
    assert {chunk.model for chunk in chunks} == {"fast"}
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_usage(client: openai.OpenAI) -> None:
    *chunks, last = list(
        client.chat.completions.create(
            model="fast",
            messages=MESSAGES,
            stream=True,
            max_completion_tokens=3,
            stream_options={"include_usage": True},
        )
    )
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3
    assert last.usage.total_tokens == last.usage.prompt_tokens + 3


def test_logprobs(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(
        model="fast", messages=MESSAGES, stream=True, max_tokens=2, logprobs=True
    )
    found = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
    tokens = [token for one in found for token in one.content or ()]
    assert [token.token for token in tokens] == ["Every", " word"]
    assert bytes(tokens[1].bytes or ()) == b" word"
    assert tokens[0].top_logprobs[0].logprob == -0.25


def test_tools(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="fast", messages=MESSAGES, tools=[TOOL]) as stream:
        answer = stream.get_final_completion()
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert (call.id, call.function.name) == ("call_demo", "weather")
    assert json.loads(call.function.arguments) == ARGUMENTS


def test_tools_asynchronously(url: str) -> None:
    async def run() -> Any:
        async with (
            openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client,
            client.chat.completions.stream(model="fast", messages=MESSAGES, tools=[TOOL]) as stream,
        ):
            return await stream.get_final_completion()

    (call,) = asyncio.run(run()).choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == ARGUMENTS


def test_after_the_tools_result_comes_a_text(client: openai.OpenAI) -> None:
    messages = [*MESSAGES, {"role": "tool", "tool_call_id": "call_demo", "content": "warm"}]
    answer = client.chat.completions.create(model="fast", messages=messages, tools=[TOOL])
    assert answer.choices[0].finish_reason == "stop"


def test_unstreamed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="fast", messages=MESSAGES, max_tokens=2, logprobs=True
    )
    assert answer.model == "fast"
    assert answer.choices[0].message.content == "Every word"
    assert answer.choices[0].logprobs is not None
    assert [token.token for token in answer.choices[0].logprobs.content or ()] == ["Every", " word"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2
    called = client.chat.completions.create(model="x", messages=MESSAGES, tools=[TOOL])
    assert called.choices[0].message.tool_calls is not None
    assert not called.choices[0].message.content
    assert called.model == "x"


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]


def test_a_wrong_key(url: str) -> None:
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="Bearer token"),
    ):
        client.models.list()


def test_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"max_tokens"):
        client.chat.completions.create(
            model="fast",
            messages=MESSAGES,
            max_tokens="many",  # type: ignore[call-overload]
        )


def test_the_pace_and_the_writes() -> None:
    request = {"messages": [], "stream": True, "max_tokens": 6}
    app = demo.create_app(events_per_second=200, events_per_write=4)
    stream = ChunkStream(wire)
    with (
        running(app) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=request) as response,
    ):
        reads = list(response.iter_raw())
    chunks = [chunk for read in reads for chunk in stream.feed(read)]
    assert (len(chunks), stream.done, stream.invalid) == (9, True, 0)
    assert all(read.endswith(b"\n\n") for read in reads)
    assert max(read.count(b"data: ") for read in reads) >= 4


def test_words_are_bounded() -> None:
    assert len(Plan(model="m", words=1).text) == 1
    with running(demo.create_app(events_per_second=0)) as url:
        for words, expected in ((-5, 1), (0, 34), (10**9, 100_000)):
            request = {"messages": [], "max_tokens": words}
            answer = httpx.post(f"{url}/v1/chat/completions", json=request, timeout=PATIENCE).json()
            assert answer["usage"]["completion_tokens"] == expected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_tokens": 3, "logprobs": True},
        {"tools": [TOOL]},
        {"model": "other", "max_completion_tokens": 1},
    ],
)
def test_the_unstreamed_answer_is_what_the_streamed_one_adds_up_to(
    upstream: str, options: dict[str, Any]
) -> None:
    request = {"messages": MESSAGES, **options}
    url = f"{upstream}/v1/chat/completions"
    whole = httpx.post(url, json=request, timeout=PATIENCE).json()
    request |= {"stream": True, "stream_options": {"include_usage": True}}
    accumulator = Accumulator()
    for chunk in iter_chunks([httpx.post(url, json=request, timeout=PATIENCE).content]):
        accumulator.add(chunk)
    added_up = json.loads(encode(accumulator.result()))
    assert whole.pop("created") >= added_up.pop("created")
    assert whole == added_up
    assert whole["usage"]["prompt_tokens"] == 8


def post(url: str, body: bytes, content_type: str | None = "application/json") -> httpx.Response:
    headers = {} if content_type is None else {"content-type": content_type}
    path = f"{url}/v1/chat/completions"
    return httpx.post(path, content=body, headers=headers, timeout=PATIENCE)


BODY = json.dumps({"messages": MESSAGES}).encode()


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (BODY, None, "must be application/json"),
        (BODY, "application/x-www-form-urlencoded", "must be application/json"),
        (BODY, "text/plain; x=application/json", "must be application/json"),
        (b"", "application/json", "truncated"),
        (b"{", "application/json", "truncated"),
        (b"[]", "application/json", "Expected `object`"),
        (b'{"model":"m"}', "application/json", "missing required field `messages`"),
        (b'{"messages":[{}]}', "application/json", "missing required field `role`"),
        (b'{"messages":"Hi"}', "application/json", "Expected `array`"),
        (b'{"messages":[],"model":"\xff"}', "application/json", ""),
        (b'{"x":%b%b}' % (b"[" * 100_000, b"]" * 100_000), "application/json", ""),
    ],
)
def test_it_is_as_strict_as_a_real_server(
    upstream: str, body: bytes, content_type: str | None, message: str
) -> None:
    refused = post(upstream, body, content_type)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json;charset=utf-8", "Application/JSON ; charset=utf-8"],
)
def test_it_is_no_stricter(upstream: str, content_type: str) -> None:
    answer = post(upstream, BODY, content_type)
    assert answer.status_code == 200
    assert answer.json()["model"] == "demo"


@pytest.mark.parametrize(
    "tool",
    [
        b'{"type":"custom","custom":{"name":"c"}}',
        *(
            b'{"function":{"name":"f","parameters":%b}}' % schema
            for schema in (b"null", b"5", b'{"properties":5}', b'{"properties":[[1]]}', b"{}")
        ),
    ],
)
def test_odd_tools_are_called(upstream: str, tool: bytes) -> None:
    answer = post(upstream, b'{"messages":[],"tools":[%b]}' % tool)
    assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"


def test_an_answer_stops_when_the_client_disconnects(caplog: pytest.LogCaptureFixture) -> None:
    with running(demo.create_app(events_per_second=1)) as url, Client(url) as client:
        client.ask({"messages": [], "stream": True})
        client.read_until(b"data: ")
    assert not errors(caplog)  # an answer that goes on would be cancelled, with a traceback


def test_a_request_may_break_off(caplog: pytest.LogCaptureFixture) -> None:
    with running(demo.create_app()) as url, Client(url) as client:
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n"
            b"content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        )
    assert not errors(caplog)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
