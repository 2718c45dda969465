"""Streams under trouble: what the client sees, and what becomes of the upstream."""

from __future__ import annotations

import asyncio
import gzip
import json
import select
import socket
import threading
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from fastchunk import Relay
from fastchunk.gateway import _reading, _upstream, server
from fastchunk.gateway.server import running

from .harness import (
    ANSWER,
    EVENTS,
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

DONE = EVENTS[-1]


@pytest.fixture(autouse=True, params=["uvloop", "asyncio", "uvloop, read in the task"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test on both event loops, and with a body that cannot be read in callbacks."""
    if request.param == "asyncio":
        monkeypatch.setattr(server, "_has_uvloop", lambda: False)
    elif request.param != "uvloop":
        monkeypatch.setattr(_reading, "tap", lambda _: None)


# --- a stream as it should be --------------------------------------------------------------------


def test_what_nobody_changed_arrives_as_it_was_sent() -> None:
    raw = b": c\n\nevent: x\r\nid: 7\r\ndata: {\r\n\r\n" + ANSWER
    with replying(SSE, body=raw) as server, gateway(server.url) as url:
        response = ask(url)
        assert response.content == raw
        assert response.headers["content-type"] == "text/event-stream"
        assert "content-length" not in response.headers
        assert metric(url, "events_total") == len(EVENTS) + 1
        assert metric(url, "chunks_total") == len(EVENTS) - 1
        assert metric(url, "invalid_events_total") == 1
        assert metric(url, "received_bytes_total") == len(raw)
        assert metric(url, "first_event_seconds_count") == 1


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_cut_gives_the_same_bytes(end: bytes) -> None:
    raw = b"".join([b": c\n", *EVENTS[:2], EVENTS[3], *EVENTS[-2:]]).replace(b"\n", end)
    renamed = raw.replace(b'"model":"m"', b'"model":"alias"')
    fed = threading.Semaphore(0)
    position = iter(range(1, len(raw), 3))

    class Watched(Relay):
        def feed(self, data: Any) -> bytes:
            try:
                return super().feed(data)
            finally:
                fed.release()

    def script(connection: Connection) -> None:
        connection.receive()
        at = next(position)
        connection.begin(SSE, "connection: close")
        for part in (raw[:at], raw[at:]):
            connection.chunk(part)
            assert fed.acquire(timeout=PATIENCE)  # so that each part is a read of its own
        connection.end()

    options: dict[str, Any] = {"aliases": {"alias": "m"}, "relay": Watched}
    with through(script, **options) as url, httpx.Client() as client:
        for _ in range(1, len(raw), 3):
            request = {**REQUEST, "model": "alias"}
            response = client.post(f"{url}/v1/chat/completions", json=request, timeout=PATIENCE)
            assert response.content == renamed


def test_a_compressed_stream_is_decompressed() -> None:
    packed = gzip.compress(ANSWER)
    with replying(SSE, "content-encoding: gzip", body=packed) as server:
        with gateway(server.url, aliases={"alias": "m"}) as url:
            response = ask(url, {**REQUEST, "model": "alias"})
        assert response.content == ANSWER.replace(b'"model":"m"', b'"model":"alias"')
        assert "content-encoding" not in response.headers
        assert server.received[0].values("accept-encoding") == ["identity"]


@pytest.mark.parametrize("coding", ["identity", "", "Identity "])
def test_a_stream_that_is_not_encoded_may_say_so(coding: str) -> None:
    with (
        replying(SSE, f"content-encoding: {coding}", body=ANSWER + USAGE) as server,
        gateway(server.url, aliases={"alias": "m"}, strip_usage=True) as url,
    ):
        response = ask(url, {**REQUEST, "model": "alias"})
    assert response.content == ANSWER.replace(b'"model":"m"', b'"model":"alias"')
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("coding", ["x-odd", "x-gzip", "gzip, identity", "gzip, gzip"])
def test_a_stream_that_cannot_be_decoded_does_not_get_past_the_relay(coding: str) -> None:
    with (
        replying(SSE, f"content-encoding: {coding}", body=b"odd") as server,
        gateway(server.url) as url,
    ):
        refused = ask(url)
    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "upstream_encoded"


def test_comments_are_not_the_first_event() -> None:
    with replying(SSE, body=b": c\n\n") as server, gateway(server.url) as url:
        assert ask(url).content.startswith(b": c\n\n")
        assert metric(url, "first_event_seconds_count") == 0


def test_every_chunk_can_be_looked_at_and_changed() -> None:
    def shout(chunk: Any) -> Any:
        for choice in chunk.choices:
            if isinstance(choice.delta.content, str):
                choice.delta.content = choice.delta.content.upper()
        return chunk

    relay = partial(Relay, on_chunk=shout)
    with replying(SSE, body=ANSWER) as server, gateway(server.url, relay=relay) as url:
        assert ask(url).content == ANSWER.replace(b"Hello", b"HELLO")


def test_500_streams_at_once_arrive_whole_and_in_order() -> None:
    count, slow = 500, range(0, 500, 25)
    events = [f'data: {{"model":"m","choices":[],"n":{n}}}\n\n'.encode() for n in range(40)]
    open_streams, all_open = 0, asyncio.Event()

    async def completions(request: Request) -> StreamingResponse:
        who = (await request.json())["who"]

        async def body() -> Any:
            nonlocal open_streams
            yield f"data: {{{who}\n\n".encode() + b"".join(events[:20])
            open_streams += 1
            if open_streams == count:
                all_open.set()
            await all_open.wait()
            for event in events[20:]:
                yield event
            yield b"data: [DONE]\n\n"

        return StreamingResponse(body(), media_type="text/event-stream")

    async def stream(url: str, who: int, others: asyncio.Event) -> bytes:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        sent = json.dumps({"model": "alias", "who": who}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
        writer.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(sent), sent))
        if who in slow:
            await others.wait()
        answer = await reader.read()
        writer.close()
        return answer

    async def all_streams(url: str) -> list[bytes]:
        others = asyncio.Event()
        tasks = [asyncio.create_task(stream(url, who, others)) for who in range(count)]
        await asyncio.gather(*(task for who, task in enumerate(tasks) if who not in slow))
        others.set()
        return await asyncio.gather(*tasks)

    app = Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"])])
    with running(app) as server, gateway(server, aliases={"alias": "m"}) as url:
        answers = asyncio.run(all_streams(url))
        wait_for_metric(url, 0, "streams_open")
    renamed = b"".join(events).replace(b'"m"', b'"alias"') + b"data: [DONE]\n\n"
    for who, answer in enumerate(answers):
        assert unchunked(answer) == f"data: {{{who}\n\n".encode() + renamed


# --- clients in trouble --------------------------------------------------------------------------


def test_when_the_client_leaves_the_upstream_is_closed() -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[0])
        connection.wait_until_closed()
        closed.set()

    with through(script) as url:
        with Client(url) as client:
            client.ask()
            client.read_until(EVENTS[0])
        assert closed.wait(PATIENCE)
        status = {"route": "/v1/chat/completions", "status": "499"}
        wait_for_metric(url, 1, "requests_total", **status)
        assert metric(url, "streams_open") == 0
        assert metric(url, "events_total") == 1


def test_when_the_client_leaves_before_the_answer_the_upstream_is_closed() -> None:
    asked, closed = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        asked.set()
        connection.wait_until_closed()
        closed.set()

    with through(script) as url:
        with Client(url) as client:
            client.ask()
            assert asked.wait(PATIENCE)
        assert closed.wait(PATIENCE)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_slow_client_stops_the_reading_from_the_upstream(chunked: bool) -> None:
    event = b'data: {"model":"m","choices":[],"x":"%s"}\n\n' % (b"x" * 1000)
    total = 64_000  # far more than the kernel buffers on the way, however it sizes them
    stuck, finished = threading.Event(), threading.Event()
    sent = 0

    def script(connection: Connection) -> None:
        nonlocal sent
        connection.receive()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        if chunked:
            connection.begin(SSE, "connection: close")
            send = connection.chunk
        else:
            connection.send(f"HTTP/1.1 200 OK\r\n{SSE}\r\nconnection: close\r\n\r\n".encode())
            send = connection.send
        for _ in range(total // 16):
            if not select.select([], [connection.socket], [], 0.5)[1]:
                stuck.set()
            send(event * 16)
            sent += 16
        send(DONE)
        if chunked:
            connection.end()
        finished.set()
        stuck.set()

    with through(script) as url, Client(url, buffer=65536) as client:
        client.ask()
        assert stuck.wait(PATIENCE)
        assert not finished.is_set()
        assert sent < total / 2  # most of it in the buffers of the two connections
        body = unchunked(client.read_all())
    assert body == event * total + DONE


def around_a_comment(before: bytes, after: bytes) -> bytes:
    """Relay an answer that pauses until a comment was sent; return all that the client gets."""
    heard = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE, "connection: close")
        if before:
            connection.chunk(before)
        assert heard.wait(PATIENCE)
        connection.chunk(after)
        connection.end()

    with through(script, keep_alive=0.05) as url, Client(url) as client:
        client.ask()
        client.read_until(b": keep-alive")
        heard.set()
        return unchunked(client.read_all())


def test_a_byte_order_mark_behind_a_comment_is_none() -> None:
    body = around_a_comment(b"", b"\xef\xbb\xbf" + ANSWER)
    assert body.replace(b": keep-alive\n\n", b"") == ANSWER


def test_a_byte_order_mark_at_the_start_is_removed() -> None:
    body = b"\xef\xbb\xbf" + ANSWER
    with replying(SSE, body=body) as server, gateway(server.url) as url:
        assert ask(url).content == ANSWER


def test_keep_alives_are_sent_while_the_upstream_is_silent() -> None:
    body = around_a_comment(EVENTS[0] + EVENTS[1][:20], EVENTS[1][20:] + DONE)
    assert body.replace(b": keep-alive\n\n", b"") == EVENTS[0] + EVENTS[1] + DONE
    assert body.startswith(EVENTS[0] + b": keep-alive\n\n")


# --- upstreams in trouble ------------------------------------------------------------------------


def _dying(connection: Connection) -> None:
    connection.receive()
    connection.begin(SSE)
    connection.chunk(EVENTS[1] + EVENTS[2][:-10])


def test_an_upstream_that_dies_makes_an_error_event() -> None:
    with through(_dying) as url:
        body = ask(url).content
        assert body.startswith(EVENTS[1] + b"data: ")
        assert body.count(b"data: ") == 2
        assert error_of(body)["code"] == "upstream_broke_off"
        assert metric(url, "upstream_errors_total", kind="upstream_broke_off") == 1


def test_the_openai_client_raises_when_the_upstream_dies() -> None:
    with through(_dying) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
        chunks = client.chat.completions.create(**REQUEST)
        assert next(chunks).choices[0].delta.content == "Hello"
        with pytest.raises(openai.APIError, match="broke off") as caught:
            next(chunks)
        assert caught.value.code == "upstream_broke_off"
        client.close()


def test_an_upstream_that_falls_silent_makes_an_error_event() -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[1] + b"data: ")
        connection.wait_until_closed()
        closed.set()

    with through(script, read_timeout=0.2) as url:
        body = ask(url).content
        assert body.startswith(EVENTS[1])
        assert error_of(body)["code"] == "upstream_stalled"
        assert closed.wait(PATIENCE)


def test_an_endless_event_makes_an_error_event() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[1] + b"data: ")
        while True:  # until the gateway closes
            connection.chunk(b"x" * 1000)

    with through(script, max_event_size=10_000) as url:
        body = ask(url).content
    assert body.startswith(EVENTS[1])
    assert error_of(body)["code"] == "event_too_large"
    assert "10,000 bytes" in error_of(body)["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        EVENTS[1],
        EVENTS[1] + EVENTS[2][:-9],
        EVENTS[1] + b"data: " + b"x" * 1_000_000,
        b": c\r",
    ],
)
def test_an_answer_that_ends_too_early_makes_an_error_event(raw: bytes) -> None:
    with replying(SSE, body=raw) as server, gateway(server.url) as url:
        body = ask(url).content
    whole = EVENTS[1] if raw[:1] == b"d" else raw
    assert body.startswith(whole + b"data: {")
    assert error_of(body)["code"] == "upstream_truncated"


@pytest.mark.parametrize(
    "raw",
    [
        EVENTS[1] + b'data: {"error":{"message":"no"}}\n\n',
        b"data: {\n\ndata: \xff\n\nnull\n\n" + ANSWER,
        ANSWER + b": c\n\n" + EVENTS[1],
        ANSWER[:-2],
        ANSWER.replace(b"\n", b"\r"),
    ],
)
def test_oddities_pass(raw: bytes) -> None:
    with replying(SSE, body=raw) as server, gateway(server.url) as url:
        assert ask(url).content == raw


def test_what_goes_wrong_after_the_end_is_no_error() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(ANSWER + b"data: tr")

    with through(script) as url:
        assert ask(url).content == ANSWER


def test_framing_that_breaks_makes_an_error_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_upstream, "CHECK_INTERVAL", 0.05)
    begun = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[1])
        assert begun.wait(PATIENCE)
        connection.send(b"no size at all\r\n")
        connection.wait_until_closed()

    with through(script) as url, Client(url) as client:
        client.ask()
        client.read_until(EVENTS[1])
        begun.set()
        body = unchunked(client.read_all())
    assert body.startswith(EVENTS[1])
    assert error_of(body)["code"] == "upstream_broke_off"


@pytest.mark.parametrize("end", [EVENTS[2] + EVENTS[3], EVENTS[2][:-1]])
@pytest.mark.parametrize("kind", [ZeroDivisionError, ConnectionError])
def test_a_hook_that_fails_makes_an_error_event(
    end: bytes, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(chunk: Any) -> None:
        if chunk.choices[0].delta.content == ", ":
            raise kind("in the hook")

    relay = partial(Relay, on_chunk=fail)
    raw = EVENTS[0] + EVENTS[1] + end
    with replying(SSE, body=raw) as server, gateway(server.url, relay=relay) as url:
        body = ask(url).content
        wait_for_metric(url, 1, "requests_total", route="/v1/chat/completions", status="200")
    assert body.startswith(EVENTS[0] + EVENTS[1] + b"data: {")
    assert error_of(body) == {
        "message": "the gateway failed while it relayed the answer",
        "type": "server_error",
        "param": None,
        "code": "relay_failed",
    }
    assert "in the hook" in caplog.text


def test_an_event_that_is_too_large_may_be_the_last() -> None:
    raw = EVENTS[1] + b"data: " + b"x" * 10_000
    with replying(SSE, body=raw) as server, gateway(server.url, max_event_size=1000) as url:
        body = ask(url).content
    assert body.startswith(EVENTS[1] + b"data: {")
    assert error_of(body)["code"] == "event_too_large"


def test_an_answer_passed_on_ends_short_when_the_upstream_dies() -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin("content-type: text/plain")
        connection.chunk(b"half")

    with through(script) as url:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{url}/v1/files", timeout=PATIENCE)
        assert metric(url, "upstream_errors_total", kind="upstream_broke_off") == 1
