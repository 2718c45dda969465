"""The access log: one line a request, and nothing secret in it."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from fastchunk.gateway import Settings, create_app
from fastchunk.gateway.server import running

from .harness import (
    ANSWER,
    EVENTS,
    JSON,
    PATIENCE,
    REQUEST,
    SSE,
    Client,
    Connection,
    ask,
    gateway,
    replying,
    through,
    wait_for_metric,
)

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Give the lines of the log, once their requests have ended; seconds read as `T`."""
    caplog.set_level(logging.INFO, "fastchunk.gateway.access")

    def lines() -> list[str]:
        found = [one for one in caplog.records if one.name == "fastchunk.gateway.access"]
        assert {one.levelno for one in found} <= {logging.INFO}
        return [re.sub(r"\d+\.\d{3} s$", "T", one.getMessage()) for one in found]

    return lines


def test_every_request_is_one_line(lines: Lines) -> None:
    with replying(SSE, body=ANSWER) as server, gateway(server.url, client_key="k") as url:
        ask(f"{url}", authorization="Bearer k")
        httpx.get(f"{url}/v1/x?key=secret", headers={"authorization": "Bearer k"})
        refused = ask(url)
        health = httpx.get(f"{url}/healthz?secret")
        missing = httpx.get(f"{url}/nowhere?secret")
        # The server has ended: every request has.
    assert lines() == [
        f"POST /v1/chat/completions 200 {len(ANSWER)} bytes T",
        f"GET /v1/x 200 {len(ANSWER)} bytes T",
        f"POST /v1/chat/completions 401 {len(refused.content)} bytes T",
        f"GET /healthz 200 {len(health.content)} bytes T",
        f"GET /nowhere 404 {len(missing.content)} bytes T",
    ]


def test_a_client_that_leaves_is_a_499(lines: Lines) -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[0])
        connection.wait_until_closed()
        closed.set()

    with through(script) as url, Client(url) as client:
        client.ask()
        client.read_until(EVENTS[0])
        client.socket.close()
        assert closed.wait(PATIENCE)
    assert lines() == [f"POST /v1/chat/completions 499 {len(EVENTS[0])} bytes T"]


def test_an_exception_is_a_500(lines: Lines) -> None:
    def broken(**_: Any) -> Any:
        raise ZeroDivisionError

    with replying(SSE, body=ANSWER) as server, gateway(server.url, relay=broken) as url:
        assert ask(url).status_code == 500
    assert lines() == ["POST /v1/chat/completions 500 0 bytes T"]


def test_the_seconds_are_those_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastchunk.gateway.access")
    waited = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        waited.wait(0.2)
        connection.answer(JSON, "connection: close", body=b"{}")

    with through(script) as url:
        ask(url)
    (record,) = [one for one in caplog.records if one.name == "fastchunk.gateway.access"]
    seconds = float(record.getMessage().split()[-2])
    assert 0.2 <= seconds < PATIENCE


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/v1/x%0AGET%20/fake", "/v1/x%0AGET%20/fake"),
        ("/v1/%1b%5b31m", "/v1/%1B%5B31m"),
        ("/v1/x%3Fa", "/v1/x%3Fa"),
        ("/v1/" + "x" * 500, "/v1/" + "x" * 196 + "…"),
    ],
)
def test_no_path_fakes_a_line(path: str, logged: str, lines: Lines) -> None:
    with replying() as server, gateway(server.url) as url:
        httpx.get(url + path, timeout=PATIENCE)
    (line,) = lines()
    assert line.startswith(f"GET {logged} ")


def test_nothing_is_logged_below_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastchunk.gateway.access")
    with replying(SSE, body=ANSWER) as server, gateway(server.url) as url:
        assert ask(url).content == ANSWER
    assert not caplog.records


def test_a_mounted_gateway_logs_the_whole_path(lines: Lines) -> None:
    async def run(server_url: str) -> None:
        inner = create_app(server_url)
        app = Starlette(routes=[Mount("/llm", app=inner)])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://g") as client:
            await client.post("/llm/v1/chat/completions", json=REQUEST)
        async with inner.router.lifespan_context(inner):
            pass  # closes the connections

    with replying(SSE, body=ANSWER) as server:
        asyncio.run(run(server.url))
    assert lines() == [f"POST /llm/v1/chat/completions 200 {len(ANSWER)} bytes T"]


def test_no_key_no_query_no_header_and_no_body_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"authorization": "Bearer secret-1", "cookie": "secret-2", "user-agent": "secret-3"}
    settings = Settings(upstream="http://h", upstream_key="secret-up", client_key="secret-own")
    with replying(SSE, "x-secret: secret-4", body=b"data: secret-5\n\n" + ANSWER) as server:
        app = create_app(server.url)
        app.state.gateway.settings = settings
        with running(app) as url:
            for authorization in ("Bearer secret-own", "Bearer secret-wrong"):
                request = {**REQUEST, "user": "secret-6"}
                ask(url, request, **{**secret, "authorization": authorization})
                httpx.get(f"{url}/v1/x?key=secret-7", headers=secret)
            wait_for_metric(url, 2, "requests_total", route="/v1/*", status="401")
    own = [one for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    assert len(own) >= 4
    assert not [one for one in own if "secret" in one.getMessage()]
