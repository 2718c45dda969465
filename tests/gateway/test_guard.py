"""A relay that keeps something from the client: what would pass it is checked, or withheld."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import openai
import pytest

from fastchunk import Relay, StreamEncoder, wire
from fastchunk.gateway import create_app

from .harness import (
    ANSWER,
    JSON,
    PATIENCE,
    REQUEST,
    SSE,
    Connection,
    Received,
    ask,
    gateway,
    metric,
    replying,
    through,
)

CARD = b"4111-1111-1111-1111"
UNSTREAMED = {"model": "m", "messages": REQUEST["messages"]}
BODY = b'{"id": "c", "model" : "m", "choices":[{"message":{"content":"%b"}}]}' % CARD
CHECKED = BODY.replace(CARD, b"[card]")

_encoder = StreamEncoder(wire, model="m")
STREAM = _encoder.content(f"It is {CARD.decode()}.") + _encoder.finish("stop") + _encoder.done()


def redact(chunk: Any) -> Any:
    for choice in chunk.choices:
        if isinstance(choice.delta.content, str):
            choice.delta.content = re.sub(r"\d{4}(-\d{4}){3}", "[card]", choice.delta.content)
    return chunk


def redact_answer(data: bytes) -> bytes:
    return data.replace(CARD, b"[card]")


def encode(coding: str, data: bytes) -> bytes:
    if coding == "gzip":
        return gzip.compress(data)
    return zlib.compress(data) if coding == "deflate" else data


RELAY = partial(Relay, on_chunk=redact)
CHECKS: dict[str, Any] = {"relay": RELAY, "on_answer": redact_answer}


class Guarded:
    """A gateway whose upstream answers as it is told to."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.url = ""
        self._answer: dict[str, Any] = {}
        self.answer_with(JSON, body=BODY)

    def answer_with(self, *fields: str, body: bytes, status: str = "200 OK") -> None:
        self._fields = (*fields, "connection: close")
        self._answer = {"body": body, "status": status}

    def script(self, connection: Connection) -> None:
        self.received.append(connection.receive())
        connection.answer(*self._fields, **self._answer)

    @contextmanager
    def run(self, **options: Any) -> Iterator[Guarded]:
        with through(self.script, **options) as self.url:
            yield self


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with Guarded().run(relay=RELAY) as one:
        yield one


@pytest.fixture(scope="module")
def checking() -> Iterator[Guarded]:
    with Guarded().run(**CHECKS) as one:
        yield one


# --- without on_answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [{}, *({"stream": value} for value in (False, None, 1, "true"))])
def test_a_request_for_an_unstreamed_answer_is_refused(
    stream: dict[str, Any], guarded: Guarded
) -> None:
    before = len(guarded.received)
    refused = ask(guarded.url, {**UNSTREAMED, **stream})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "stream_required")
    assert '"stream": true' in error["message"]
    assert "on_answer" in error["message"]
    assert len(guarded.received) == before


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        gzip.compress(json.dumps(UNSTREAMED).encode()),
        json.dumps(REQUEST).encode(),
    ],
)
def test_an_answer_that_is_no_stream_is_withheld(body: bytes, guarded: Guarded) -> None:
    guarded.answer_with(JSON, body=BODY)
    withheld = ask(guarded.url, body)
    assert guarded.received[-1].body == body
    assert withheld.status_code == 502
    assert withheld.json()["error"]["code"] == "answer_withheld"
    assert CARD not in withheld.content


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "content-type: text/plain",
        "content-type: application/x-ndjson",
        "content-type: text/event-stream-like",
        "content-type: application/json, text/event-stream",
        "content-type: text/event-stream, application/json",
        "content-type: ",
        "x-none: x",
    ],
)
@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate", "x-odd"])
def test_no_content_type_and_no_coding_gets_past(
    content_type: str, coding: str, guarded: Guarded
) -> None:
    data = encode(coding, STREAM + BODY)
    guarded.answer_with(content_type, f"content-encoding: {coding}", body=data)
    withheld = ask(guarded.url)
    assert withheld.status_code == 502
    assert CARD not in withheld.content
    assert CARD not in str(withheld.headers).encode()


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
@pytest.mark.parametrize(
    "content_type", ["text/event-stream", "Text/Event-Stream", "text/event-stream ; charset=utf-8"]
)
def test_a_stream_is_recognised_and_checked(
    content_type: str, coding: str, guarded: Guarded
) -> None:
    fields = f"content-type: {content_type}", f"content-encoding: {coding}"
    guarded.answer_with(*fields, body=encode(coding, STREAM))
    assert ask(guarded.url).content == STREAM.replace(CARD, b"[card]")


@pytest.mark.parametrize(
    ("status", "arrives"),
    [("201 Created", 502), ("302 Found", 502), ("400 No", 400), ("429 No", 429), ("503 No", 503)],
)
def test_an_error_keeps_its_status_and_not_its_body(
    status: str, arrives: int, guarded: Guarded
) -> None:
    body = b'{"error":{"message":"no","failed_generation":"%b"}}' % CARD
    fields = JSON, "retry-after: 7", "x-should-retry: false", "x-other: 1"
    guarded.answer_with(*fields, body=body, status=status)
    counter = partial(metric, guarded.url, "upstream_errors_total", kind="answer_withheld")
    before = counter()
    withheld = ask(guarded.url)
    assert counter() - before == (arrives == 502)
    assert withheld.status_code == arrives
    assert withheld.json()["error"]["code"] == "answer_withheld"
    assert status[:3] in withheld.json()["error"]["message"]
    assert withheld.headers["retry-after"] == "7"
    assert withheld.headers["x-should-retry"] == "false"
    assert "x-other" not in withheld.headers
    assert CARD not in withheld.content


def test_the_openai_client_says_what_to_do() -> None:
    with (
        gateway("http://127.0.0.1:1", relay=RELAY) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match='ask with "stream": true'),
    ):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])


def test_other_requests_pass_unchecked(guarded: Guarded) -> None:
    guarded.answer_with(JSON, body=BODY)
    path = f"{guarded.url}/v1/files"
    assert httpx.post(path, json={"prompt": "x"}, timeout=PATIENCE).content == BODY


# --- with on_answer ------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
@pytest.mark.parametrize("request_body", [UNSTREAMED, REQUEST])
@pytest.mark.parametrize("status", ["200 OK", "400 No"])
def test_an_unstreamed_answer_is_checked(
    coding: str, request_body: Any, status: str, checking: Guarded
) -> None:
    fields = JSON, f"content-encoding: {coding}", "x-id: 7"
    checking.answer_with(*fields, body=encode(coding, BODY), status=status)
    answer = ask(checking.url, request_body)
    assert answer.status_code == int(status[:3])
    assert answer.content == CHECKED
    assert answer.headers["content-length"] == str(len(CHECKED))
    assert answer.headers["x-id"] == "7"
    assert "content-encoding" not in answer.headers


def test_a_stream_is_checked_by_the_relay_alone(checking: Guarded) -> None:
    checking.answer_with(SSE, body=STREAM)
    assert ask(checking.url, UNSTREAMED).content == STREAM.replace(CARD, b"[card]")


@pytest.mark.parametrize("kind", ["content-type: text/plain", "x-none: x"])
def test_an_answer_that_is_not_json_is_checked_too(kind: str, checking: Guarded) -> None:
    checking.answer_with(kind, body=CARD)
    assert ask(checking.url, UNSTREAMED).content == b"[card]"


def test_a_coding_that_cannot_be_decoded_is_refused(checking: Guarded) -> None:
    checking.answer_with(JSON, "content-encoding: x-odd", body=BODY)
    refused = ask(checking.url, UNSTREAMED)
    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "upstream_encoded"


def test_the_hook_sees_the_upstreams_name_and_the_client_its_own() -> None:
    seen = []

    def look(data: bytes) -> bytes:
        seen.append(data)
        return data

    options: dict[str, Any] = {"aliases": {"fast": "m"}, "relay": RELAY, "on_answer": look}
    with replying(JSON, body=BODY) as server, gateway(server.url, **options) as url:
        answer = ask(url, {**UNSTREAMED, "model": "fast"})
    assert seen == [BODY]
    assert answer.content == BODY.replace(b'"m"', b'"fast"')


def test_an_answer_without_a_body_has_nothing_to_check() -> None:
    def fail(data: bytes) -> bytes:
        raise AssertionError(data)

    options: dict[str, Any] = {"relay": RELAY, "on_answer": fail}
    with replying(JSON) as server, gateway(server.url, **options) as url:
        answer = ask(url, UNSTREAMED)
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_answer_may_be_too_large_to_check() -> None:
    with (
        replying(JSON, body=BODY) as server,
        gateway(server.url, max_event_size=9, **CHECKS) as url,
    ):
        assert ask(url, UNSTREAMED).json()["error"]["code"] == "answer_too_large"


def failing(data: bytes) -> bytes:
    raise ZeroDivisionError(len(data))


@pytest.mark.parametrize(
    ("hook", "logged"), [(failing, "ZeroDivisionError"), (bytes.decode, "must return bytes, not")]
)
def test_a_hook_that_fails_lets_nothing_pass(
    hook: Any, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"relay": RELAY, "on_answer": hook}
    with replying(JSON, body=BODY) as server, gateway(server.url, **options) as url:
        failed = ask(url, UNSTREAMED)
    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "on_answer_failed"
    assert CARD not in failed.content
    assert logged in caplog.text


def test_answers_can_be_let_through_unchecked() -> None:
    options: dict[str, Any] = {"relay": RELAY, "on_answer": lambda data: data}
    with replying(JSON, body=BODY) as server, gateway(server.url, **options) as url:
        assert ask(url, UNSTREAMED).content == BODY


def test_on_answer_alone_would_let_streams_pass() -> None:
    with pytest.raises(TypeError, match="give a relay too"):
        create_app("http://h", on_answer=redact_answer)


def test_without_a_relay_of_ones_own_nothing_is_refused() -> None:
    with replying(JSON, body=ANSWER) as server, gateway(server.url) as url:
        assert ask(url, UNSTREAMED).content == ANSWER
        assert ask(url).content == ANSWER
