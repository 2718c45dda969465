"""The client's side where a server does not behave as uvicorn does."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from starlette.applications import Starlette

from fastchunk import Relay
from fastchunk.gateway import Settings, create_app
from fastchunk.gateway._client import ClientDisconnected, until_disconnect, while_connected

from .harness import ANSWER, EVENTS, PATIENCE, SSE, Connection, replying, upstream

KEEP_ALIVE = b": keep-alive\n\n"

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/chat/completions",
    "headers": [(b"content-type", b"application/json")],
}


class Receive:
    """A request, and then nothing: the client stays."""

    def __init__(self) -> None:
        self._messages = [{"type": "http.request", "body": b'{"stream":true}'}]

    async def __call__(self) -> Any:
        if self._messages:
            return self._messages.pop()
        return await asyncio.get_running_loop().create_future()


def test_a_send_that_fails_means_that_the_client_has_left() -> None:
    async def send(message: Any) -> None:
        if message.get("body"):
            raise BrokenPipeError

    async def run(url: str) -> bytes:
        app = create_app(url)
        async with app.router.lifespan_context(app):
            await app(SCOPE, Receive(), send)
        page: bytes = app.state.gateway.metrics.page()
        return page

    with replying(SSE, body=ANSWER) as server:
        page = asyncio.run(run(server.url))
    assert b'requests_total{route="/v1/chat/completions",status="499"} 1.0' in page


def commenting(script: Any, comment: Any) -> list[bytes]:
    """Answer with what a script sends, to a client that takes its time for the first comment."""
    written: list[bytes] = []
    writing = 0

    async def send(message: Any) -> None:
        nonlocal writing
        assert not writing
        writing += 1
        body = message.get("body", b"")
        try:
            if body.startswith(b":"):
                await comment(app)
        finally:
            writing -= 1
        written.append(body)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            await app(SCOPE, Receive(), send)

    with upstream(script) as server:
        app = create_app(Settings(upstream=server.url, keep_alive=0.02))
        asyncio.run(run())
    return written


def test_an_event_waits_for_the_comment_that_is_being_written() -> None:
    commented = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[0])
        assert commented.wait(PATIENCE)
        connection.chunk(EVENTS[-1])
        connection.end()

    async def slowly(app: Starlette) -> None:
        commented.set()
        (stream,) = app.state.gateway.watch.streams
        while EVENTS[-1] not in fed:  # the event has been read, and waits
            await asyncio.sleep(0)
        assert stream.failure is None

    fed: list[bytes] = []
    feed = Relay.feed

    def watched(relay: Relay, data: bytes) -> bytes:
        fed.append(data)
        return feed(relay, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Relay, "feed", watched)
        written = commenting(script, slowly)
    assert [one for one in written if one != KEEP_ALIVE] == [b"", EVENTS[0], EVENTS[-1], b""]
    assert KEEP_ALIVE in written


def test_the_end_waits_for_the_comment_and_a_comment_that_fails_says_nothing() -> None:
    commented = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[0] + EVENTS[-1])
        assert commented.wait(PATIENCE)
        connection.end()

    async def failing(_: Starlette) -> None:
        commented.set()
        while not closed:  # nothing is left but to write the end
            await asyncio.sleep(0)
        raise BrokenPipeError

    closed: list[bytes] = []
    close = Relay.close

    def watched(relay: Relay) -> bytes:
        closed.append(close(relay))
        return closed[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Relay, "close", watched)
        written = commenting(script, failing)
    assert written == [b"", EVENTS[0] + EVENTS[-1], b""]


def test_a_comment_is_not_written_any_more_when_the_client_has_left() -> None:
    cancelled = []

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.wait_until_closed()

    async def run(url: str) -> None:
        left = asyncio.Event()
        messages = [{"type": "http.request", "body": b"{}"}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message.get("body"):
                left.set()
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    cancelled.append(message["body"])
                    raise

        app = create_app(Settings(upstream=url, keep_alive=0.02))
        async with app.router.lifespan_context(app):
            await app(SCOPE, receive, send)

    with upstream(script) as server:
        asyncio.run(run(server.url))
    assert cancelled == [KEEP_ALIVE]


def test_work_that_is_cancelled_from_outside_is_cancelled() -> None:
    async def run() -> None:
        ended = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()

        async def receive() -> Any:
            return await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(while_connected(work(), until_disconnect(receive)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()

    asyncio.run(run())


def test_work_is_cancelled_when_the_client_leaves() -> None:
    async def run() -> None:
        async def receive() -> Any:
            return {"type": "http.disconnect"}

        with pytest.raises(ClientDisconnected):
            await while_connected(asyncio.sleep(1000), until_disconnect(receive))

    asyncio.run(run())
