"""Under other ASGI servers, and behind other people's middleware, a stream arrives whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastchunk.gateway import Settings, create_app
from fastchunk.gateway.server import running

from .harness import ANSWER, EVENTS, PATIENCE, REQUEST, SSE, Connection, replying, upstream
from .test_server import free_port, wait_until_served

_SENT = [*EVENTS[:-2] * 200, *EVENTS[-2:]]
_ALIAS = {**REQUEST, "model": "alias"}


def _send_event_by_event(connection: Connection) -> None:
    connection.receive()
    connection.begin(SSE, "connection: close")
    for event in _SENT:
        connection.chunk(event)
    connection.end()


def _check_streams(url: str) -> None:
    """Ask for several streams at once; check that each arrives whole, with its model renamed."""

    async def ask_all() -> list[bytes]:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            asked = (client.post(f"{url}/v1/chat/completions", json=_ALIAS) for _ in range(16))
            return [response.content for response in await asyncio.gather(*asked)]

    renamed = b"".join(_SENT).replace(b'"model":"m"', b'"model":"alias"')
    assert asyncio.run(ask_all()) == [renamed] * 16


def _make_app(url: str) -> Starlette:
    return create_app(Settings(upstream=url, aliases={"alias": "m"}))


# --- other servers -------------------------------------------------------------------------------


@contextmanager
def _on_hypercorn(app: ASGIApp) -> Iterator[str]:
    config = Config()
    config.bind = [f"127.0.0.1:{free_port()}"]
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()
    serving: Any = serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    yield f"http://{config.bind[0]}"
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@contextmanager
def _on_granian(app: ASGIApp) -> Iterator[str]:
    port = free_port()
    loop = asyncio.new_event_loop()
    server = Server(app, port=port, interface=Interfaces.ASGI, websockets=False)
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    yield f"http://127.0.0.1:{port}"
    loop.call_soon_threadsafe(server.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("on_server", [_on_hypercorn, _on_granian])
def test_other_servers_stream_it_whole(on_server: Callable[[ASGIApp], Any]) -> None:
    with upstream(_send_event_by_event) as origin, on_server(_make_app(origin.url)) as url:
        wait_until_served(url)
        _check_streams(url)


# --- other people's code -------------------------------------------------------------------------


class _PassingOn(BaseHTTPMiddleware):
    """Has the stream run in a task of its own, and its writes wait for another one to take them."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-added"] = "1"
        return response


class _Stamping:
    """Gives way to other tasks before each write."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamp(message: Message) -> None:
            await asyncio.sleep(0)
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-added", b"1"))
            await send(message)

        await self._app(scope, receive, stamp)


@pytest.mark.parametrize("kind", [_PassingOn, _Stamping])
@pytest.mark.parametrize("mounted", [False, True])
def test_middleware_keeps_its_place(kind: Any, mounted: bool) -> None:
    with upstream(_send_event_by_event) as origin:
        app = _make_app(origin.url)
        prefix = "/llm" if mounted else ""
        outer = app
        if mounted:
            enter: Any = app.router.lifespan_context
            outer = Starlette(routes=[Mount(prefix, app=app)], lifespan=lambda _: enter(app))
        outer.add_middleware(kind)
        with running(outer) as url:
            _check_streams(url + prefix)
            response = httpx.post(f"{url}{prefix}/v1/chat/completions", json=_ALIAS)
    assert response.headers["x-added"] == "1"


def test_what_a_user_adds_to_the_application_is_asked() -> None:
    async def explain(_: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), 418)

    def fail(**_: Any) -> Any:
        raise ZeroDivisionError("no relay")

    with replying(SSE, body=ANSWER) as origin:
        app = create_app(origin.url, relay=fail, on_answer=bytes)
        app.add_exception_handler(ZeroDivisionError, explain)
        with running(app) as url:
            response = httpx.post(f"{url}/v1/chat/completions", json=REQUEST, timeout=PATIENCE)
    assert (response.status_code, response.text) == (418, "no relay")
