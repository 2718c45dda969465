"""The routes: what is rewritten, what is passed on, who is let in, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from fastchunk.gateway import Settings, _client, create_app
from fastchunk.gateway.server import running

from .harness import (
    ANSWER,
    EVENTS,
    JSON,
    PATIENCE,
    REQUEST,
    SSE,
    USAGE,
    Client,
    Connection,
    ask,
    gateway,
    metric,
    replying,
    through,
    wait_for_metric,
)

STATUS_200 = {"route": "/v1/chat/completions", "status": "200"}


# --- models' names -------------------------------------------------------------------------------


def test_an_alias_is_rewritten_on_both_ways() -> None:
    body = b'{ "model" : "fast", "x": 1e5, "stream":true,"x": null }'
    with replying(SSE, body=ANSWER) as server, gateway(server.url, aliases={"fast": "m"}) as url:
        assert ask(url, body).content == ANSWER.replace(b'"model":"m"', b'"model":"fast"')
    assert server.received[0].body == b'{ "model" : "m", "x": 1e5, "stream":true,"x": null }'
    assert server.received[0].line == "POST /v1/chat/completions HTTP/1.1"


@pytest.mark.parametrize(
    "rest",
    [
        b'"messages":[{"content":"\\ud83d"}]',
        b'"temperature":NaN',
        b'"temperature":Infinity,"x":"\\udc00"',
    ],
)
def test_what_lenient_servers_take_is_rewritten_too(rest: bytes) -> None:
    body = b'{ "model" : "fast", %b }' % rest
    with replying(JSON, body=b"{}") as server, gateway(server.url, aliases={"fast": "m"}) as url:
        assert ask(url, body).status_code == 200
    assert server.received[0].body == body.replace(b"fast", b"m")


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
def test_what_cannot_be_rewritten_is_refused(coding: str) -> None:
    body = '{"model":"fast"}'.encode(coding)
    with replying(JSON, body=b"{}") as server, gateway(server.url, aliases={"fast": "m"}) as url:
        refused = ask(url, body)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "invalid_request"
        assert ask(url, '{"model":"other"}'.encode(coding)).status_code == 200
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{ "model" : "other", "stream": true, "\\u0061": 1.0}',
        b'{"model": ["fast"]}',
        b"{}",
        b"[]",
        b"{",
        b"",
        b'{"model":"\xff"}',
        b"\x1f\x8b\x08",
        b'{"model":"fast","x":%s%s}' % (b"[" * 100_000, b"]" * 100_000),
    ],
)
def test_other_requests_go_up_as_they_are(body: bytes) -> None:
    with (
        replying(SSE, body=ANSWER) as server,
        gateway(server.url, aliases={"fast": "m"}, strip_usage=True) as url,
    ):
        if b'"stream"' in body:
            body = body.replace(b"}", b',"stream_options":{"include_usage":true}}')
        assert ask(url, body).content == ANSWER
    assert server.received[0].body == body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id": "c", "model" : "m","x":1e5}', b'{"id": "c", "model" : "fast","x":1e5}'),
        (b'{"id": "c"}', b'{"id": "c"}'),
        (b"{", b"{"),
        (b"[1]", b"[1]"),
    ],
)
def test_an_unstreamed_answer_is_restamped(body: bytes, expected: bytes) -> None:
    with (
        replying(JSON, "x-id: 1", "x-id: 2", body=body) as server,
        gateway(server.url, aliases={"fast": "m"}) as url,
    ):
        response = ask(url, {"model": "fast"})
    assert response.content == expected
    assert response.headers["content-length"] == str(len(expected))
    assert response.headers.get_list("x-id") == ["1", "2"]


def test_an_unstreamed_answer_may_be_encoded() -> None:
    fields = JSON, "content-encoding: x-odd"
    with replying(*fields, body=b"odd") as server, gateway(server.url, aliases={"a": "m"}) as url:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=REQUEST) as response:
            assert b"".join(response.iter_raw()) == b"odd"
        assert ask(url, {**REQUEST, "model": "a"}).status_code == 502


def test_an_answer_without_content_has_no_length() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 204 No\r\ncontent-type: application/json\r\n\r\n")

    with through(script, aliases={"a": "m"}) as url:
        response = ask(url, {**REQUEST, "model": "a"})
    assert response.status_code == 204
    assert "content-length" not in response.headers


def test_without_an_alias_an_unstreamed_answer_is_passed_on() -> None:
    with replying(JSON, body=b'{"model" : "m"}') as server, gateway(server.url) as url:
        assert ask(url, {"model": "m"}).content == b'{"model" : "m"}'


def test_an_unstreamed_answer_may_be_too_large() -> None:
    with (
        replying(JSON, body=b" " * 2000) as server,
        gateway(server.url, aliases={"fast": "m"}, max_event_size=1000) as url,
    ):
        response = ask(url, {"model": "fast"})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "answer_too_large"


def test_an_unstreamed_answer_may_break_off() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(JSON)
        connection.chunk(b'{"model"')

    with through(script, aliases={"fast": "m"}) as url:
        response = ask(url, {"model": "fast"})
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "upstream_broke_off"
        assert metric(url, "upstream_errors_total", kind="upstream_broke_off") == 1


# --- usage ---------------------------------------------------------------------------------------

WITH_USAGE = b"".join([*EVENTS[:-1], USAGE, EVENTS[-1]])


@pytest.mark.parametrize(
    ("options", "sent", "stripped"),
    [
        ({}, {"include_usage": True}, True),
        ({"stream_options": None}, {"include_usage": True}, True),
        ({"stream_options": {}}, {"include_usage": True}, True),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}, True),
        (
            {"stream_options": {"include_usage": None, "x": 1}},
            {"include_usage": True, "x": 1},
            True,
        ),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}, False),
        ({"stream_options": "odd"}, "odd", False),
    ],
)
def test_usage_is_asked_for_and_stripped(options: Any, sent: Any, stripped: bool) -> None:
    with replying(SSE, body=WITH_USAGE) as server, gateway(server.url, strip_usage=True) as url:
        content = ask(url, {**REQUEST, **options}).content
    assert content == (ANSWER if stripped else WITH_USAGE)
    assert server.received[0].json == {**REQUEST, "stream_options": sent}


def test_usage_is_left_alone_without_strip_usage() -> None:
    with replying(SSE, body=WITH_USAGE) as server, gateway(server.url) as url:
        assert ask(url).content == WITH_USAGE
    assert server.received[0].json == REQUEST


def test_usage_is_not_asked_for_where_nothing_is_streamed() -> None:
    request = {"model": "m", "stream": False}
    with replying(JSON, body=b"{}") as server, gateway(server.url, strip_usage=True) as url:
        ask(url, request)
    assert server.received[0].json == request


# --- everything else under /v1/ ------------------------------------------------------------------


def test_other_requests_are_passed_on() -> None:
    with (
        replying("content-type: text/x", "etag: 1", body=b"abc", status="207 Odd") as server,
        gateway(server.url) as url,
    ):
        for method in ("GET", "POST", "DELETE", "PATCH", "PUT", "OPTIONS"):
            body = b"" if method == "GET" else method.encode() * 100_000
            path = "/v1/files/a%2Fb?c=%20d&c=e"
            response = httpx.request(method, url + path, content=body, timeout=PATIENCE)
            assert (response.status_code, response.content) == (207, b"abc")
            assert response.headers["content-type"] == "text/x"
            assert server.received[-1].line == f"{method} {path} HTTP/1.1"
            assert server.received[-1].body == body


def test_a_body_of_unknown_length_is_passed_on() -> None:
    with replying(body=b"abc") as server, gateway(server.url) as url:
        pieces = iter([b"a" * 10, b"b" * 10])
        assert httpx.post(f"{url}/v1/x", content=pieces, timeout=PATIENCE).content == b"abc"
    assert server.received[0].body == b"a" * 10 + b"b" * 10


def test_a_head_request_keeps_the_length() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n")

    with through(script) as url:
        response = httpx.head(f"{url}/v1/models", timeout=PATIENCE)
    assert response.headers["content-length"] == "5"


def test_bodies_are_passed_on_piece_by_piece_both_ways() -> None:
    def script(connection: Connection) -> None:
        connection.receive_head()
        assert connection.read(10) == b"5\r\nfirst\r\n"
        connection.begin("connection: close")
        connection.chunk(b"one")
        assert connection.read(14) == b"4\r\nlast\r\n0\r\n\r\n"
        connection.chunk(b"two")
        connection.end()

    with through(script) as url, Client(url) as client:
        head = b"POST /v1/audio HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
        client.send(head + b"5\r\nfirst\r\n")
        client.read_until(b"one")
        client.send(b"4\r\nlast\r\n0\r\n\r\n")
        client.read_until(b"two")


def test_when_the_client_leaves_in_its_upload_the_upstream_is_closed() -> None:
    up, closed = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        connection.receive_head()
        up.set()
        connection.wait_until_closed()
        closed.set()

    with through(script) as url:
        with Client(url) as client:
            client.send(b"POST /v1/audio HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nfirst")
            assert up.wait(PATIENCE)
        assert closed.wait(PATIENCE)
        wait_for_metric(url, 1, "requests_total", route="/v1/*", status="499")


@pytest.mark.parametrize("answering", [False, True])
def test_when_the_client_leaves_in_an_upload_that_is_not_taken_the_upstream_is_closed(
    answering: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_client, "CHECK_INTERVAL", 0.01)
    left, closed = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        connection.receive_head()
        if answering:
            connection.begin("connection: close")
        assert left.wait(PATIENCE)
        connection.wait_until_closed()
        closed.set()

    with through(script) as url:
        with Client(url) as client:
            client.send(b"POST /v1/files HTTP/1.1\r\nhost: h\r\ncontent-length: 50000000\r\n\r\n")
            for _ in range(100):
                client.send(b"x" * 100_000)
        left.set()
        assert closed.wait(PATIENCE)
        wait_for_metric(url, 1, "requests_total", route="/v1/*", status="499")


def test_an_upload_that_is_not_taken_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "CHECK_INTERVAL", 0.01)

    def script(connection: Connection) -> None:
        connection.receive_head()
        given_up.wait(PATIENCE)

    given_up = threading.Event()
    with through(script, read_timeout=0.05) as url:
        pieces = (b"x" * 1_000_000 for _ in range(100))
        with contextlib.suppress(httpx.WriteError):  # or it reads the answer
            response = httpx.post(f"{url}/v1/files", content=pieces, timeout=PATIENCE)
            assert response.json()["error"]["code"] == "upstream_stalled"
        wait_for_metric(url, 1, "requests_total", route="/v1/*", status="504")
        given_up.set()


def test_a_request_that_does_not_come_takes_nobodys_place() -> None:
    with (
        replying(SSE, body=ANSWER) as server,
        gateway(server.url, max_streams=1, request_timeout=0.2) as url,
        Client(url) as client,
    ):
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n{")
        assert ask(url).content == ANSWER
        answer = client.read_all()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


def test_when_the_client_leaves_before_all_is_asked_nothing_is_sent() -> None:
    with replying() as server, gateway(server.url) as url:
        with Client(url) as client:
            client.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n{"
            )
        wait_for_metric(url, 1, "requests_total", route="/v1/chat/completions", status="499")
        assert server.received == []


def test_a_redirect_is_the_clients_to_follow() -> None:
    with (
        replying("location: http://elsewhere.invalid/", status="302 Found") as server,
        gateway(server.url) as url,
    ):
        response = httpx.get(f"{url}/v1/models", timeout=PATIENCE)
    assert response.status_code == 302
    assert response.headers["location"] == "http://elsewhere.invalid/"


def test_one_clients_cookies_are_not_anothers() -> None:
    with replying("set-cookie: a=1", "set-cookie: b=2") as server, gateway(server.url) as url:
        response = httpx.get(f"{url}/v1/models", timeout=PATIENCE)
        httpx.get(f"{url}/v1/models", timeout=PATIENCE)
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert server.received[1].values("cookie") == []


def test_nothing_else_is_served() -> None:
    with replying() as server, gateway(server.url) as url:
        for path in ("/", "/v1", "/v2/x", "/v1/%0Ax", "/chat"):
            response = httpx.get(url + path, timeout=PATIENCE)
            assert response.status_code == 404
            assert response.json()["error"]["code"] == "not_served"
        assert server.received == []


# --- keys ----------------------------------------------------------------------------------------


def test_who_has_no_key_is_not_let_in() -> None:
    wrong = ["", "Bearer", "Bearer wrong", "Bearer right2", "Basic right", "right", "Bearer righ"]
    with replying() as server, gateway(server.url, client_key="right") as url:
        for headers in ({}, *({"authorization": sent} for sent in wrong)):
            for path in ("/v1/chat/completions", "/v1/models"):
                response = httpx.post(url + path, headers=headers, json={}, timeout=PATIENCE)
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
                error = response.json()["error"]
                assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
        assert httpx.get(f"{url}/healthz", timeout=PATIENCE).text == "ok\n"
        assert server.received == []


@pytest.mark.parametrize(
    ("options", "client", "arrives"),
    [
        ({}, "Bearer own", ["Bearer own"]),
        ({"upstream_key": "up"}, "Bearer own", ["Bearer up"]),
        ({"client_key": "right"}, "bearer right", []),
        ({"client_key": "right", "upstream_key": "up"}, "Bearer right", ["Bearer up"]),
    ],
)
def test_which_key_arrives(options: Any, client: str, arrives: list[str]) -> None:
    with replying(SSE, body=ANSWER) as server, gateway(server.url, **options) as url:
        assert ask(url, authorization=client).status_code == 200
    assert server.received[0].values("authorization") == arrives


# --- limits --------------------------------------------------------------------------------------


def test_no_more_streams_than_allowed() -> None:
    go_on = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE, "connection: close")
        connection.chunk(EVENTS[0])
        assert go_on.wait(PATIENCE)
        connection.chunk(EVENTS[-1])
        connection.end()

    with through(script, max_streams=1) as url:
        with Client(url) as client:
            client.ask()
            client.read_until(EVENTS[0])
            assert metric(url, "streams_open") == 1
            refused = ask(url)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["code"] == "too_many_streams"
            assert refused.json()["error"]["type"] == "server_error"
            go_on.set()
            client.read_all()
        wait_for_metric(url, 0, "streams_open")
        assert ask(url).content == EVENTS[0] + EVENTS[-1]


def test_a_full_gateway_is_tried_again_by_the_openai_client() -> None:
    first, second = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        request = connection.receive()
        connection.begin(SSE, "connection: close")
        connection.chunk(ANSWER)
        if request.json["model"] == "first":
            first.set()
            assert second.wait(PATIENCE)
        connection.end()

    with through(script, max_streams=1) as url, Client(url) as blocking:
        blocking.ask({**REQUEST, "model": "first"})
        assert first.wait(PATIENCE)

        def refused(response: httpx.Response) -> None:
            if response.status_code == 503:
                second.set()

        with (
            httpx.Client(event_hooks={"response": [refused]}) as http,
            openai.OpenAI(base_url=f"{url}/v1", api_key="k", http_client=cast(Any, http)) as client,
        ):
            text = [
                chunk.choices[0].delta.content
                for chunk in client.chat.completions.create(**REQUEST)
            ]
        assert "".join(filter(None, text)) == "Hello, 日本 😀\n"
        assert second.is_set()


def test_a_large_request_goes_up_whole() -> None:
    body = b'{"model":"m","x":"%s"}' % (b"x" * 5_000_000)
    with replying(SSE, body=ANSWER) as server, gateway(server.url) as url:
        assert ask(url, body).content == ANSWER
    assert server.received[0].body == body
    assert server.received[0].values("content-length") == [str(len(body))]


def test_a_request_may_be_too_large() -> None:
    with replying(SSE, body=ANSWER) as server, gateway(server.url, max_request_size=1000) as url:
        assert ask(url, b" " * 1000).status_code == 200
        refused = ask(url, b" " * 1001)
        assert refused.status_code == 413
        assert refused.json()["error"] == {
            "message": "the request is larger than 1,000 bytes",
            "type": "invalid_request_error",
            "param": None,
            "code": "request_too_large",
        }
        assert len(server.received) == 1


# --- mounting, metrics ---------------------------------------------------------------------------


@pytest.mark.parametrize("entered", [True, False])
def test_it_can_be_mounted_under_a_prefix(entered: bool) -> None:
    async def run(server_url: str) -> None:
        inner = create_app(server_url)

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with inner.router.lifespan_context(inner):
                yield

        app = Starlette(routes=[Mount("/llm", app=inner)], lifespan=lifespan if entered else None)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://g") as client,
        ):
            answer = await client.post("/llm/v1/chat/completions", json=REQUEST)
            assert answer.content == ANSWER
            assert (await client.get("/llm/v1/models?x=1")).content == ANSWER
            assert (await client.get("/llm/healthz")).text == "ok\n"
        async with inner.router.lifespan_context(inner):
            pass  # closes the connections, if the other one's has not

    with replying(SSE, body=ANSWER) as server:
        asyncio.run(run(server.url))
    assert server.received[1].line == "GET /v1/models?x=1 HTTP/1.1"


def test_metrics() -> None:
    with replying(SSE, body=ANSWER) as server, gateway(server.url) as url:
        ask(url)
        httpx.get(f"{url}/v1/models", timeout=PATIENCE)
        wait_for_metric(url, 1, "requests_total", **STATUS_200)
        wait_for_metric(url, 1, "requests_total", route="/v1/*", status="200")
        page = httpx.get(f"{url}/metrics", timeout=PATIENCE)
    assert page.headers["content-type"].startswith("text/plain; version=")
    samples = [line.split()[0] for line in page.text.splitlines() if not line.startswith("#")]
    assert all(name.startswith("fastchunk_gateway_") for name in samples)
    assert 'fastchunk_gateway_chunks_total{route="/v1/chat/completions"} 6.0' in page.text


def test_two_applications_count_apart() -> None:
    with (
        replying(SSE, body=ANSWER) as server,
        gateway(server.url) as one,
        gateway(server.url) as other,
    ):
        ask(one)
        wait_for_metric(one, 1, "requests_total", **STATUS_200)
        assert metric(other, "requests_total", **STATUS_200) == 0


def test_a_relay_of_ones_own_needs_no_counters() -> None:
    class Plain:
        def __init__(self, **options: Any) -> None:
            assert options == {"model": None, "strip_usage": False, "max_event_size": 77}

        def feed(self, data: bytes) -> bytes:
            return data

        def close(self) -> bytes:
            return b""

    with (
        replying(SSE, body=b"any") as server,
        gateway(server.url, relay=Plain, max_event_size=77) as url,
    ):
        assert ask(url).content == b"any"
        assert metric(url, "received_bytes_total") == 3
        assert metric(url, "events_total") == 0


def test_a_relay_that_cannot_be_made_is_a_server_error(caplog: pytest.LogCaptureFixture) -> None:
    def broken(**_: Any) -> Any:
        raise ZeroDivisionError

    with replying(SSE, body=ANSWER) as server, gateway(server.url, relay=broken) as url:
        assert ask(url).status_code == 500
        status = {"route": "/v1/chat/completions", "status": "500"}
        wait_for_metric(url, 1, "requests_total", **status)
    assert "ZeroDivisionError" in caplog.text


def test_a_url_is_enough() -> None:
    app = create_app("http://127.0.0.1:1")
    assert app.state.gateway.settings == Settings(upstream="http://127.0.0.1:1")
    with running(app) as url:
        assert ask(url).status_code == 502


def test_a_405_names_what_is_allowed() -> None:
    with gateway("http://127.0.0.1:1") as url:
        response = httpx.post(f"{url}/metrics", timeout=PATIENCE)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD" or response.headers["allow"] == "HEAD, GET"
    assert response.json()["error"]["code"] == "not_served"
