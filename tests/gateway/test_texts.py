"""Text rules: nothing that they look for arrives, streamed or not, however it was cut."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import openai
import pytest

from fastchunk import Relay, StreamEncoder, wire
from fastchunk.gateway import create_app
from fastchunk.text import Replace, Split, Stop

from .harness import (
    JSON,
    PATIENCE,
    REQUEST,
    SSE,
    USAGE,
    Client,
    Connection,
    ask,
    error_of,
    gateway,
    metric,
    replying,
    through,
    unchunked,
    wait_for_metric,
)

CARD = "4111 1111"
EVERYWHERE = ("content", "reasoning", "refusal", "arguments")
REDACT: dict[str, Any] = {
    "text": [Replace(CARD, "[card]", channels=EVERYWHERE)],
    "on_invalid": "raise",
}
UNSTREAMED = {"model": "m", "messages": REQUEST["messages"]}

encoder = StreamEncoder(wire, model="m", id="c", created=1)
DONE = encoder.done()


class Answering:
    """A gateway whose upstream answers as it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.answer_with(JSON, body=b"{}")

    def answer_with(self, *headers: str, body: bytes, status: str = "200 OK") -> None:
        self._headers, self._body, self._status = headers, body, status

    def script(self, connection: Connection) -> None:
        connection.receive()
        fields = *self._headers, "connection: close"
        connection.answer(*fields, body=self._body, status=self._status)

    @contextmanager
    def run(self, **options: Any) -> Iterator[Answering]:
        with through(self.script, **options) as self.url:
            yield self

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="k", max_retries=0)


@pytest.fixture(scope="module")
def redacting() -> Iterator[Answering]:
    with Answering().run(**REDACT) as one:
        yield one


# --- streams -------------------------------------------------------------------------------------


def read(client: openai.OpenAI, **options: Any) -> dict[str, str]:
    """Take a stream as the official client reads it; join each of its texts."""
    joined = dict.fromkeys(["content", "reasoning", "arguments"], "")
    reasons = []
    with client.chat.completions.create(**REQUEST, **options) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                for name in joined:
                    joined[name] += getattr(choice.delta, name, None) or ""
                for call in choice.delta.tool_calls or ():
                    assert call.function is not None
                    joined["arguments"] += call.function.arguments or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
    return {"finish_reason": ",".join(reasons)} | {
        name: text for name, text in joined.items() if text
    }


def call(arguments: str) -> bytes:
    return encoder.tool_call(0, arguments=arguments)


@pytest.mark.parametrize("at", range(1, len(CARD)))
def test_no_cut_hides_a_card_in_a_stream(at: int, redacting: Answering) -> None:
    pieces = f"It is {CARD[:at]}", f"{CARD[at:]}, yes"
    arguments = f'{{"card":"{CARD[:at]}', f'{CARD[at:]}"}}'
    events = [encoder.role("assistant"), encoder.tool_call(0, id="t", name="pay", arguments="")]
    for content, argument in zip(pieces, arguments, strict=True):
        events += [encoder.content(content), encoder.reasoning(content), call(argument)]
    body = b": c\n\n".join([*events, encoder.finish("tool_calls"), DONE])
    redacting.answer_with(SSE, body=body)
    with redacting.client as client:
        assert read(client) == {
            "finish_reason": "tool_calls",
            "content": "It is [card], yes",
            "reasoning": "It is [card], yes",
            "arguments": '{"card":"[card]"}',
        }


def test_every_other_byte_is_as_it_came(redacting: Answering) -> None:
    events = [encoder.role("assistant"), encoder.content("Hi"), encoder.finish("stop"), DONE]
    body = b": c\n\n".join(events).replace(b"{", b"{ ")
    redacting.answer_with(SSE, body=body)
    assert ask(redacting.url).content == body


UNDECODABLE = b'data: {"choices":[{"delta":{"content":"4111 1111"}}]\n\n'


@pytest.mark.parametrize(
    "event",
    [
        UNDECODABLE,
        UNDECODABLE.replace(b"]\n", b"]}\n").replace(b'"4111 1111"', b'{"x":"4111 1111"}'),
    ],
)
def test_an_event_that_cannot_be_read_ends_a_stream(event: bytes, redacting: Answering) -> None:
    first = encoder.content("Hi")
    redacting.answer_with(SSE, body=first + event + DONE)
    before = metric(redacting.url, "upstream_errors_total", kind="event_withheld")
    body = ask(redacting.url).content
    assert body.startswith(first + b"data: ")
    assert error_of(body)["code"] == "event_withheld"
    assert CARD.encode() not in body
    wait_for_metric(redacting.url, before + 1, "upstream_errors_total", kind="event_withheld")


@pytest.mark.parametrize(("on_invalid", "left"), [("pass", UNDECODABLE), ("drop", b"")])
def test_an_event_that_cannot_be_read_may_pass_or_be_dropped(on_invalid: str, left: bytes) -> None:
    body = UNDECODABLE + DONE
    options = {**REDACT, "on_invalid": on_invalid}
    with replying(SSE, body=body) as server, gateway(server.url, **options) as url:
        assert ask(url).content == left + DONE


def test_what_is_held_leaves_before_an_error_of_the_gateways() -> None:
    body = encoder.content("41")
    with replying(SSE, body=body) as server, gateway(server.url, **REDACT) as url:
        answer = ask(url).content
    assert answer.count(b"data: ") == 3
    assert b'"content":"41"' in answer
    assert error_of(answer)["code"] == "upstream_truncated"


def test_a_rule_that_fails_ends_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Any:
        raise ZeroDivisionError

    with (
        replying(SSE, body=encoder.content(CARD)) as server,
        gateway(server.url, text=[fail]) as url,
    ):
        body = ask(url).content
    assert error_of(body)["code"] == "relay_failed"
    assert CARD.encode() not in body
    assert "ZeroDivisionError" in caplog.text


# --- answers that are not streamed ---------------------------------------------------------------


def completion(**message: Any) -> bytes:
    message = {"role": "assistant", "content": None, **message}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    return json.dumps({"id": "c", "created": 1, "model": "m", "choices": choices}).encode()


def test_an_unstreamed_answer_is_redacted(redacting: Answering) -> None:
    function = {"name": "pay", "arguments": json.dumps({"card": CARD})}
    tool_calls = [{"id": "t", "type": "function", "function": function}]
    texts = dict.fromkeys(("content", "reasoning_content", "refusal"), f"It is {CARD}.")
    redacting.answer_with(JSON, body=completion(**texts, tool_calls=tool_calls))
    with redacting.client as client:
        answer = client.chat.completions.create(model="m", messages=[])
    message: Any = answer.choices[0].message
    assert [message.content, message.refusal, message.reasoning_content] == ["It is [card]."] * 3
    assert message.tool_calls[0].function.arguments == '{"card": "[card]"}'


def test_an_answer_in_which_nothing_is_found_is_as_it_came(redacting: Answering) -> None:
    body = completion(content="Hi").replace(b"{", b"{ ")
    redacting.answer_with(JSON, body=body)
    assert ask(redacting.url, UNSTREAMED).content == body


def test_a_renamed_answer_is_redacted_too() -> None:
    body = completion(content=CARD)
    options = {"aliases": {"fast": "m"}, **REDACT}
    with replying(JSON, body=body) as server, gateway(server.url, **options) as url:
        answer = ask(url, {**UNSTREAMED, "model": "fast"}).json()
    assert answer["model"] == "fast"
    assert answer["choices"][0]["message"]["content"] == "[card]"


def test_a_hook_comes_before_the_rules() -> None:
    seen = []

    def look(data: bytes) -> bytes:
        seen.append(data)
        return data.replace(b"public", CARD.encode())

    body = completion(content="public")
    options = {**REDACT, "relay": lambda **_: None, "on_answer": look}
    with replying(JSON, body=body) as server, gateway(server.url, **options) as url:
        assert ask(url, UNSTREAMED).json()["choices"][0]["message"]["content"] == "[card]"
    assert seen == [body]


UNREADABLE = [b"4111 1111", b"[]", b'{"choices":[{"message":{"content":{"x":"4111 1111"}}}]}']


@pytest.mark.parametrize(
    ("status", "arrives", "body"),
    [
        *(("200 OK", 502, body) for body in UNREADABLE),
        *(("429 No", 429, body) for body in UNREADABLE[:2]),  # of an error any string is read
    ],
)
def test_an_answer_that_cannot_be_read_is_withheld(
    body: bytes, status: str, arrives: int, redacting: Answering
) -> None:
    redacting.answer_with("content-type: text/html", "retry-after: 7", body=body, status=status)
    answer = ask(redacting.url, UNSTREAMED)
    assert answer.status_code == arrives
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["code"] == "answer_withheld"
    assert "no text rule can read" in answer.json()["error"]["message"]
    assert CARD not in answer.text


@pytest.mark.parametrize("body", UNREADABLE)
def test_an_answer_that_cannot_be_read_may_pass(body: bytes) -> None:
    options = {**REDACT, "on_invalid": "pass"}
    with replying(JSON, body=body) as server, gateway(server.url, **options) as url:
        assert ask(url, UNSTREAMED).content == body


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("400 No", {"error": {"message": f"no {CARD}", "failed_generation": CARD, "code": 1}}),
        ("422 No", {"detail": [{"loc": ["body", 0], "input": {"a": [CARD], "b": None}}]}),
        ("200 OK", {"error": {"message": CARD}, "choices": []}),
        ("200 OK", {"error": CARD}),
    ],
)
def test_every_string_of_an_error_is_redacted(status: str, body: Any, redacting: Answering) -> None:
    data = json.dumps(body).encode()
    redacting.answer_with(JSON, body=data, status=status)
    answer = ask(redacting.url)
    assert answer.status_code == int(status[:3])
    assert answer.content == data.replace(CARD.encode(), b"[card]")


def test_no_duplicate_smuggles_a_card_into_an_error(redacting: Answering) -> None:
    body = b'{"error":{"message":"4111 1111","message":"no"}}'
    redacting.answer_with(JSON, body=body, status="400 No")
    assert ask(redacting.url).json() == {"error": {"message": "no"}}


def test_an_error_is_not_cut_short_by_a_stop() -> None:
    body = json.dumps({"error": {"message": f"<think>no, {CARD}"}}).encode()
    text = [Stop("no"), Split("<think>", "</think>"), *REDACT["text"]]
    with (
        replying(JSON, body=body, status="400 No") as server,
        gateway(server.url, text=text) as url,
    ):
        assert ask(url).content == body.replace(CARD.encode(), b"[card]")


def test_where_a_stop_is_all_an_error_is_as_it_came() -> None:
    body = b'{"error":{"message":"no"}}'
    with (
        replying(JSON, body=body, status="400 No") as server,
        gateway(server.url, text=[Stop("no")]) as url,
    ):
        assert ask(url).content == body


def test_a_rule_that_fails_lets_no_answer_pass(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Any:
        raise ZeroDivisionError

    with (
        replying(JSON, body=completion(content=CARD)) as server,
        gateway(server.url, text=[fail]) as url,
    ):
        answer = ask(url, UNSTREAMED)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "text_failed"
    assert CARD not in answer.text
    assert "ZeroDivisionError" in caplog.text


# --- other paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "completions/c",
        "responses/r",
        "messages/batches",
        "chat/completions/c",
        "Chat/Completions",
        "/chat/completions",
        "modelsx",
        "embeddings/x",
        "",
    ],
)
def test_what_cannot_be_checked_is_not_served(path: str, redacting: Answering) -> None:
    redacting.answer_with(JSON, body=completion(content=CARD))
    for method in ("GET", "POST"):
        answer = httpx.request(method, f"{redacting.url}/v1/{path}", timeout=PATIENCE)
        assert answer.status_code == 404
        assert CARD not in answer.text


@pytest.mark.parametrize(
    "path", ["models", "models/a/b", "models?a=b", "embeddings", "messages/count_tokens"]
)
def test_what_has_no_text_is_served(path: str, redacting: Answering) -> None:
    redacting.answer_with(JSON, body=b"[]")
    answer = httpx.post(f"{redacting.url}/v1/{path}", timeout=PATIENCE)
    assert (answer.status_code, answer.content) == (200, b"[]")


def test_other_paths_are_passed_on_where_what_cannot_be_read_may_pass() -> None:
    options = {**REDACT, "on_invalid": "pass"}
    with replying(JSON, body=b"[]") as server, gateway(server.url, **options) as url:
        assert httpx.get(f"{url}/v1/files", timeout=PATIENCE).content == b"[]"


# --- Stop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest", [b"", b": c\n\n", encoder.content(" on"), b'data: {"cho', b"data: [DONE]"]
)
def test_when_a_rule_has_stopped_every_choice_the_upstream_is_cancelled(rest: bytes) -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(encoder.content("Yes.\nUs"))
        connection.chunk(encoder.content("er: why") + rest)
        connection.wait_until_closed()
        closed.set()

    with through(script, text=[Stop("\nUser:")]) as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
            assert read(client) == {"finish_reason": "stop", "content": "Yes."}
        assert closed.wait(PATIENCE)
        wait_for_metric(url, 0, "streams_open")


@pytest.mark.parametrize("rest", [b'data: {"cho', b"data: [DONE]", DONE])
def test_a_stream_that_was_stopped_is_ended_as_it_should_be(rest: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(encoder.content("a|") + rest)
        if rest == DONE:
            connection.end()
        connection.wait_until_closed()

    with through(script, text=[Stop("|")]) as url, Client(url) as client:
        client.ask()
        body = unchunked(client.read_all())
    assert body.endswith(b"\n\ndata: [DONE]\n\n")
    assert body.count(b"data: ") == 2


@pytest.mark.parametrize(
    ("request_body", "strips"),
    [
        ({**REQUEST, "stream_options": {"include_usage": True}}, False),
        ({**REQUEST, "stream_options": {"include_usage": True}}, True),
        (REQUEST, True),
        ({**REQUEST, "n": 2}, False),
        (b"which nobody can read", False),
    ],
)
def test_a_stopped_stream_goes_on_where_more_may_come(request_body: Any, strips: bool) -> None:
    stopped = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(encoder.content("a|secret"))
        assert stopped.wait(PATIENCE)
        connection.chunk(encoder.content("secret") + encoder.finish("stop") + USAGE + DONE)
        connection.end()

    with through(script, text=[Stop("|")], strip_usage=strips) as url, Client(url) as client:
        client.ask(request_body)
        client.read_until(b'"finish_reason":"stop"')
        stopped.set()
        body = unchunked(client.read_all())
        wait_for_metric(url, 5, "events_total")
    is_stripped = request_body == REQUEST
    assert body.endswith((b"" if is_stripped else USAGE) + DONE)
    assert body.count(b"data: ") == 3 - is_stripped
    assert b"secret" not in body


def test_a_relay_of_ones_own_may_stop_too() -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(encoder.content("a|"))
        connection.wait_until_closed()
        closed.set()

    with through(script, relay=partial(Relay, text=[Stop("|")])) as url:
        assert ask(url).content.endswith(b"\n\ndata: [DONE]\n\n")
        assert closed.wait(PATIENCE)


def test_other_choices_go_on() -> None:
    events = [encoder.content("a|", choice=0), encoder.content("b", choice=1)]
    ends = [encoder.finish("stop", choice=0), encoder.finish("length", choice=1)]
    body = b"".join([events[1], *events, *ends, DONE])
    with replying(SSE, body=body) as server, gateway(server.url, text=[Stop("|")]) as url:
        answer = ask(url).content
    assert answer.count(b'"content":"b"') == 2
    assert answer.endswith(ends[1] + DONE)


# --- the name of the reasoning -------------------------------------------------------------------


def test_the_reasoning_is_renamed_streamed_and_not() -> None:
    stream = encoder.reasoning("Hm") + encoder.finish("stop") + DONE
    with (
        replying(SSE, body=stream) as server,
        gateway(server.url, reasoning="reasoning_content") as url,
    ):
        assert ask(url).content == stream.replace(b'"reasoning"', b'"reasoning_content"')
    body = completion(reasoning_content="Hm")
    with (
        replying(JSON, body=body) as server,
        gateway(server.url, reasoning="both") as url,
    ):
        message = ask(url, UNSTREAMED).json()["choices"][0]["message"]
    assert message["reasoning"] == message["reasoning_content"] == "Hm"


# --- what a gateway is made of -------------------------------------------------------------------


def test_a_relay_of_ones_own_is_told_what_was_asked_for() -> None:
    told: list[dict[str, Any]] = []

    class Plain:
        def __init__(self, **options: Any) -> None:
            told.append(options)

        def feed(self, data: bytes) -> bytes:
            return data

        def close(self) -> bytes:
            return b""

    usual = {"model": "fast", "strip_usage": False, "max_event_size": 77}
    options = {"aliases": {"fast": "m"}, "max_event_size": 77, "relay": Plain}
    rule = Stop("x")
    for asked in ({}, {"text": [rule]}, {"reasoning": "both"}, {"on_invalid": "drop"}):
        with replying(SSE, body=DONE) as server, gateway(server.url, **options, **asked) as url:
            assert ask(url, {**REQUEST, "model": "fast"}).content == DONE
        assert told.pop() == {**usual, **asked}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"text": ["x"]}, TypeError, "a rule is a Replace"),
        ({"reasoning": "thoughts"}, ValueError, "reasoning must be"),
        ({"on_invalid": "stop"}, ValueError, "on_invalid must be"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_app("http://h", **arguments)
