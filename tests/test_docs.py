"""The README's recipes, run against a real server on the loopback interface."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from fastchunk import StreamEncoder, wire

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
RECIPES = dict(re.findall(r"```python\n# recipe: (\w+)\n(.*?)```", README, re.DOTALL))
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
CARD = "4111-1111-1111-1111"
WORDS = ["Hello", ", ", "日本", " 😀\n", CARD]


def _events() -> list[bytes]:
    encoder = StreamEncoder(wire, model="m", id="c", created=1)
    events = [encoder.role("assistant"), *map(encoder.content, WORDS), encoder.finish("stop")]
    return [*events, b": keep-alive\n\n", encoder.done()]


async def _completions(request: Request) -> StreamingResponse:
    assert (await request.json())["stream"] is True

    async def body() -> AsyncIterator[bytes]:
        raw = b"".join(_events())
        for at in range(0, len(raw), 50):  # cut anywhere, as networks do
            yield raw[at : at + 50]
            await asyncio.sleep(0)

    return StreamingResponse(body(), media_type="text/event-stream")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def _served(app: Any) -> Iterator[str]:
    """Serve an ASGI application on the loopback interface, in a thread."""
    port = _free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="warning", ws="none", loop="asyncio")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def _served_by_aiohttp(app: web.Application) -> Iterator[str]:
    loop, port = asyncio.new_event_loop(), _free_port()
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _wait_for(port: int) -> None:
    for _ in range(1000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    pytest.fail("the server did not start")


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    route = Route("/v1/chat/completions", _completions, methods=["POST"])
    with _served(Starlette(routes=[route])) as url:
        yield url


def _run(name: str, upstream: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"UPSTREAM": upstream, "REQUEST": REQUEST}
    exec(compile(RECIPES[name], f"README, {name}", "exec"), namespace)  # noqa: S102
    return namespace


def _restamped(gateway: str) -> None:
    answer = httpx.post(f"{gateway}/v1/chat/completions", json=REQUEST)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == b"".join(_events()).replace(b'"model":"m"', b'"model":"alias"')


def test_starlette(upstream: str) -> None:
    with _served(_run("starlette", upstream)["app"]) as gateway:
        _restamped(gateway)


def test_aiohttp(upstream: str) -> None:
    with _served_by_aiohttp(_run("aiohttp", upstream)["app"]) as gateway:
        _restamped(gateway)


def test_redact(upstream: str) -> None:
    with _served(_run("redact", upstream)["app"]) as gateway:
        answer = httpx.post(f"{gateway}/v1/chat/completions", json=REQUEST)
    expected = b"".join(_events()).replace(CARD.encode(), b"[card]")
    assert answer.content == expected


@pytest.mark.parametrize("name", ["httpx", "openai", "answer"])
def test_clients(name: str, upstream: str) -> None:
    assert _run(name, upstream)["text"] == "".join(WORDS)


def test_every_recipe_is_run() -> None:
    assert set(RECIPES) == {"starlette", "aiohttp", "httpx", "openai", "answer", "redact"}


def test_the_example_of_use_runs() -> None:
    example = README.split("## Use it")[1].split("```python\n")[1].split("```")[0]
    namespace: dict[str, Any] = {}
    exec(example, namespace)  # noqa: S102
    assert json.loads(namespace["fastchunk"].encode(namespace["chunk"]))["model"] == "alias"
