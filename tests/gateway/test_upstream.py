"""What crosses between client and upstream, and upstreams that cannot be asked."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from typing import Any

import httpx
import pytest

from fastchunk.gateway import create_app

from .harness import (
    ANSWER,
    JSON,
    PATIENCE,
    REQUEST,
    SSE,
    Client,
    Connection,
    ask,
    gateway,
    metric,
    replying,
    through,
)

# --- header fields -------------------------------------------------------------------------------


def test_which_header_fields_go_up() -> None:
    sent = [
        ("X-One", "1"),
        ("x-one", "2"),
        ("User-Agent", "test"),
        ("Accept", "text/event-stream"),
        ("Accept-Encoding", "gzip, br"),
        ("Connection", "keep-alive, X-Mine"),
        ("X-Mine", "hop"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Trailer", "x"),
        ("Upgrade", "h2c"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Utf", "naïve"),
    ]
    with replying(SSE, body=ANSWER) as server, gateway(server.url) as url:
        fields = [(name.encode(), value.encode()) for name, value in sent]
        httpx.post(f"{url}/v1/chat/completions", headers=fields, json=REQUEST, timeout=PATIENCE)
    received = server.received[0]
    assert sorted(received.headers) == sorted(
        [
            ("host", server.url.removeprefix("http://")),
            ("x-one", "1"),
            ("x-one", "2"),
            ("user-agent", "test"),
            ("accept", "text/event-stream"),
            ("accept-encoding", "identity"),
            ("x-utf", "naïve"),
            ("content-type", "application/json"),
            ("content-length", str(len(received.body))),
        ]
    )


def test_which_header_fields_come_down() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-One: 1\r\nX-One: 2\r\n"
            b"Connection: close, X-Mine\r\nX-Mine: hop\r\nKeep-Alive: timeout=5\r\nServer: s\r\n"
            b"Date: never\r\nUpgrade: h2c\r\nX-Latin: \xe9\r\nContent-Length: 2\r\n\r\nok"
        )

    with through(script) as url, Client(url) as client:
        client.send(b"GET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        head, _, body = client.read_all().partition(b"\r\n\r\n")
    assert body == b"ok"
    fields = head.split(b"\r\n")[1:]
    assert sorted(field for field in fields if not field.startswith(b"date: ")) == [
        b"connection: close",
        b"content-length: 2",
        b"content-type: text/plain",
        b"x-latin: \xe9",
        b"x-one: 1",
        b"x-one: 2",
    ]
    assert b"date: never" not in fields


def test_a_compressed_answer_is_decompressed() -> None:
    packed = gzip.compress(b'{"a":1}')
    with (
        replying(JSON, "content-encoding: gzip", body=packed) as server,
        gateway(server.url) as url,
    ):
        response = httpx.get(f"{url}/v1/models", timeout=PATIENCE)
    assert response.content == b'{"a":1}'
    assert not {"content-encoding", "content-length"} & response.headers.keys()


# --- smuggling -----------------------------------------------------------------------------------

INNER = b"GET /v1/inner HTTP/1.1\r\nhost: h\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"content-length: 0\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 0\r\n",
        b"content-length: 0\r\ncontent-length: 36\r\n",
        b"content-length: +0\r\n",
        b"content-length: 0, 0\r\n",
        b"content-length : 0\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"x: y\rtransfer-encoding: chunked\r\n",
        b"x: a\x00b\r\n",
        b" x: folded\r\n",
        b"x y: z\r\n",
    ],
)
def test_smuggling_is_refused(fields: bytes, shared: tuple[str, list[Any]]) -> None:
    url, received = shared
    with Client(url) as client:
        client.send(b"POST /v1/outer HTTP/1.1\r\nhost: h\r\n" + fields + b"\r\n0\r\n\r\n" + INNER)
        assert client.read_all().startswith(b"HTTP/1.1 400 ")
    assert received == []


@pytest.fixture(scope="module")
def shared() -> Any:
    """Serve a gateway whose upstream keeps every request: none is to arrive."""
    with replying() as server, gateway(server.url) as url:
        yield url, server.received


@pytest.mark.parametrize("path", ["chat/completions", "outer"])
def test_a_coding_that_would_be_lost_is_refused(path: str, shared: tuple[str, list[Any]]) -> None:
    url, received = shared
    with Client(url) as client:
        client.send(
            f"POST /v1/{path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n".encode()
            + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        assert client.read_all().startswith(b"HTTP/1.1 501 ")
    assert received == []


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("POST", b"x" * 100_000, {"content-length": "100000"}),
        ("GET", b"x", {"content-length": "1"}),
        ("GET", b"", {}),
        ("POST", b"", {"content-length": "0"}),
    ],
)
def test_a_length_that_is_known_goes_up(method: str, body: bytes, framing: dict[str, str]) -> None:
    with replying(body=b"ok") as server, gateway(server.url) as url:
        fields = {"content-length": str(len(body))}
        response = httpx.request(method, f"{url}/v1/x", content=body, headers=fields)
    assert response.content == b"ok"
    fields = dict(server.received[0].headers)
    assert server.received[0].body == body
    assert {
        name: fields[name] for name in ("content-length", "transfer-encoding") if name in fields
    } == framing


def test_the_body_is_framed_anew() -> None:
    with replying(body=b"ok") as server, gateway(server.url) as url, Client(url) as client:
        client.send(
            b"POST /v1/x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n"
            b"connection: close, content-length\r\n\r\n"
            b"%x;extension\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
        )
        assert client.read_all().startswith(b"HTTP/1.1 200 ")
    assert [received.line for received in server.received] == ["POST /v1/x HTTP/1.1"]
    assert server.received[0].body == INNER


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/../admin",
        b"/v1/%2e%2e/admin",
        b"/v1/..%2fadmin",
        b"/v1/..%5cadmin",
        b"/v1/./models",
        b"/v1/a/..",
        b"/v1/..;/admin",
        b"/v1/%252e%252e/admin",
        b"/v1/..%253bx/admin",
    ],
)
def test_no_path_leads_out(target: bytes, shared: tuple[str, list[Any]]) -> None:
    url, received = shared
    with Client(url) as client:
        client.send(b"GET %b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n" % target)
        assert client.read_all().startswith(b"HTTP/1.1 400 ")
    assert received == []


def test_trace_would_show_the_key(shared: tuple[str, list[Any]]) -> None:
    url, received = shared
    response = httpx.request("TRACE", f"{url}/v1/models", timeout=PATIENCE)
    assert response.status_code == 405
    assert received == []


@pytest.mark.parametrize(
    "change",
    [
        {"headers": [(b"x", b"a\r\nb: c")]},
        {"headers": [(b"x", b"a\nb")]},
        {"headers": [(b"x", b"a\0b")]},
        {"headers": [(b"x: y\r\nz", b"a")]},
        {"headers": [(b"", b"a")]},
        {"headers": [(b"x", b"\xe9")]},
        {"raw_path": b"/v1/models HTTP/1.1\r\nx: y"},
        {"raw_path": b"/v1/models#x"},
        {"raw_path": b"/admin"},
        {"raw_path": b"/v1/\xc3\xa9"},
        {"query_string": b"a\r\nb"},
        {"query_string": b"a b"},
    ],
)
def test_other_servers_may_let_more_through(change: dict[str, Any]) -> None:
    app = create_app("http://127.0.0.1:1")
    sent: list[Any] = []

    async def receive() -> Any:
        return await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": [], **change}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert b"invalid_" in sent[1]["body"]


# --- upstreams that cannot be asked --------------------------------------------------------------


def test_an_upstream_that_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with gateway(f"http://127.0.0.1:{port}") as url:
        response = ask(url)
        assert response.status_code == 502
        assert response.json()["error"] == {
            "message": "the upstream cannot be reached",
            "type": "upstream_error",
            "param": None,
            "code": "upstream_unreachable",
        }
        assert metric(url, "upstream_errors_total", kind="upstream_unreachable") == 1


def test_an_upstream_that_does_not_accept() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:  # until the queue is full
            client.setblocking(False)
            client.connect_ex(address)
        with gateway(f"http://127.0.0.1:{address[1]}", connect_timeout=0.2) as url:
            response = ask(url)
        for client in waiting:
            client.close()
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "upstream_unreachable"


def test_an_upstream_that_does_not_answer() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.wait_until_closed()

    with through(script, read_timeout=0.2) as url:
        response = ask(url)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "upstream_timeout"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-type: text/event-stream\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_an_upstream_that_gives_no_valid_answer(answer: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(answer)

    with through(script) as url:
        response = ask(url)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_broke_off"


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "429 No", "500 Odd", "503 X"]
)
def test_the_upstreams_own_errors_are_passed_on(status: str) -> None:
    body = b'{"error" : {"message":"m","code":"x"}}'
    with (
        replying(JSON, "retry-after: 7", body=body, status=status) as server,
        gateway(server.url, aliases={"alias": "m"}) as url,
    ):
        response = ask(url, {**REQUEST, "model": "alias"})
    assert response.status_code == int(status[:3])
    assert response.content == body
    assert response.headers["retry-after"] == "7"


def test_no_key_is_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"

    def dying(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)

    def garbled(connection: Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 garbled\r\n\r\n")

    def quoting(connection: Connection) -> None:
        (key,) = connection.receive().values("authorization")
        connection.send(b"HTTP/1.1 401 No\r\n%b\r\n\r\n" % key.encode())

    def trailing(connection: Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}the secret text\r\n\r\n")

    options = {"upstream_key": "secret-up", "client_key": "secret-own"}
    with replying(SSE, body=ANSWER) as server, gateway(server.url, **options) as url:
        for key in ("secret-own", "secret-wrong"):
            ask(f"{url}", authorization=f"Bearer {key}")
            httpx.get(f"{url}/v1/x?key=secret-query", headers={"api-key": "secret-header"})
    with gateway(dead, **options) as url:
        ask(url, authorization="Bearer secret-own")
    with through(dying, **options) as url:
        ask(url, authorization="Bearer secret-own")
    with through(garbled, **options) as url:
        path = f"{url}/v1/x?key=secret-query"
        response = httpx.get(path, headers={"authorization": "Bearer secret-own"})
        assert response.status_code == 502
    for script in (quoting, trailing):
        with through(script, **options) as url:
            ask(url, authorization="Bearer secret-own")
    own = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert any("cannot be reached" in record.getMessage() for record in own)
    assert not [record for record in own if "secret" in record.getMessage()]
    assert "secret" not in "".join(capfd.readouterr())
