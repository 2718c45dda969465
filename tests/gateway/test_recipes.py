"""The code of the gateway's page, run as a reader would paste it, against strict servers."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from fastchunk import Accumulator, StreamEncoder, iter_chunks, wire
from fastchunk.gateway import demo
from fastchunk.gateway.server import running

from .harness import PATIENCE, Client
from .test_server import free_port, wait_until_listening

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
BLOCKS = re.findall(r"(?ms)^```python([^\n]*)\n(.*?)^```$", PAGE.read_text("utf-8"))
FILES = {info.removeprefix(" file="): code for info, code in BLOCKS if " file=" in info}
RELAYS = ["relay_starlette.py", "relay_aiohttp.py"]

MESSAGES = [{"role": "user", "content": "Hi"}]
REQUEST: dict[str, Any] = {"model": "m", "messages": MESSAGES, "stream": True}
CARD = "4111-1111-1111-1111"


# --- a server that is as strict as vLLM, SGLang and Ray are --------------------------------------


def write_events() -> list[bytes]:
    encoder = StreamEncoder(wire, model="m", id="c", created=1)
    words = ["Hello", ", ", "日本", " 😀\n", CARD[:7], CARD[7:], "."]
    return [
        encoder.role("assistant"),
        encoder.reasoning(f"Is it {CARD}?"),
        *map(encoder.content, words),
        encoder.tool_call(0, id="t", name="pay", arguments=f'{{"card":"{CARD}"}}'),
        b'data: {"model":"m","choices":[],"unknown":1e2}\n\n',
        encoder.finish("stop"),
        b": keep-alive\n\n",
        encoder.done(),
    ]


EVENTS = write_events()
ANSWER = b"".join(EVENTS)
UNDECODABLE = EVENTS[0] + f"data: {{undecodable {CARD}\n\n".encode() + ANSWER


class Body(BaseModel):
    model: str
    messages: list[dict[str, Any]]
    stream: bool = False


class Server:
    """A FastAPI application, and what it has seen."""

    def __init__(self) -> None:
        self.accepts: list[str | None] = []
        self.ports: list[int] = []
        self.closed = threading.Event()
        self.app = FastAPI()
        self.app.post("/v1/chat/completions", response_model=None)(self.complete)
        self.app.get("/v1/models")(self.list_models)

    async def list_models(self) -> dict[str, Any]:
        return {"object": "list", "data": []}

    async def complete(
        self, request: Request, body: Body, authorization: Annotated[str | None, Header()] = None
    ) -> dict[str, Any] | StreamingResponse:
        self.accepts.append(request.headers.get("accept"))
        assert request.client is not None
        self.ports.append(request.client.port)
        if authorization != "Bearer k":
            raise HTTPException(401, f"no such key, {CARD}", {"www-authenticate": "Bearer"})
        if body.stream:
            data = UNDECODABLE if body.model == "undecodable" else ANSWER
            events = self.wait() if body.model == "wait" else self.stream(data)
            return StreamingResponse(events, media_type="text/event-stream")
        return {"model": "m", "choices": [{"message": {"content": CARD}}]}

    async def stream(self, data: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(data), 50):  # cut anywhere, as networks do
            yield data[at : at + 50]
            await asyncio.sleep(0)

    async def wait(self) -> AsyncIterator[bytes]:
        try:
            yield EVENTS[0]
            await asyncio.get_running_loop().create_future()
        finally:
            self.closed.set()


@contextmanager
def run(name: str, upstream: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a file of the page as the page says; the addresses alone are others."""
    port = free_port()
    code = FILES[name].replace("http://127.0.0.1:8000", upstream).replace("8080", str(port))
    assert upstream in code
    (folder / name).write_text(code, "utf-8")
    command = [sys.executable, "-W", "error"]
    if "__main__" in code:
        command.append(name)
    else:
        command += ["-m", "uvicorn", f"{name.removesuffix('.py')}:app", "--port", str(port)]
    popen = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        wait_until_listening(port)
        yield f"http://127.0.0.1:{port}", popen
    finally:
        popen.send_signal(signal.SIGINT)
        try:
            popen.communicate(timeout=PATIENCE)
        finally:
            popen.kill()


def ask(url: str, request: Any = REQUEST, key: str = "k", **headers: str) -> httpx.Response:
    fields = {"authorization": f"Bearer {key}", **headers}
    path = f"{url}/v1/chat/completions"
    return httpx.post(path, json=request, headers=fields, timeout=PATIENCE)


# --- the relays ----------------------------------------------------------------------------------


class Relayed:
    """A recipe that runs in front of a server."""

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self.server = server


@pytest.fixture(scope="module", params=RELAYS)
def relayed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Relayed]:
    server = Server()
    folder = tmp_path_factory.mktemp("recipe")
    with running(server.app) as upstream, run(request.param, upstream, folder) as (url, _):
        yield Relayed(url, server)


def test_a_stream_is_relayed(relayed: Relayed) -> None:
    answer = ask(relayed.url, accept="text/event-stream")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.content == ANSWER.replace(b'"model":"m"', b'"model":"alias"')
    assert relayed.server.accepts[-1] == "text/event-stream"


def test_an_unstreamed_answer_is_passed_on(relayed: Relayed) -> None:
    answer = ask(relayed.url, {**REQUEST, "stream": False})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["choices"][0]["message"]["content"] == CARD


@pytest.mark.parametrize(
    ("request_body", "key", "status"), [(REQUEST, "wrong", 401), ({"model": "m"}, "k", 422)]
)
def test_an_error_is_passed_on(request_body: Any, key: str, status: int, relayed: Relayed) -> None:
    answer = ask(relayed.url, request_body, key)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert "detail" in answer.json()


def test_a_large_request_is_passed_on(relayed: Relayed) -> None:
    messages = [{"role": "user", "content": "x" * 5_000_000}]
    assert ask(relayed.url, {**REQUEST, "messages": messages}).status_code == 200


def test_the_connection_to_the_upstream_is_kept(relayed: Relayed) -> None:
    for _ in range(3):
        assert ask(relayed.url).status_code == 200
    assert len(set(relayed.server.ports[-3:])) == 1


def test_when_the_client_leaves_the_upstream_is_closed(relayed: Relayed) -> None:
    relayed.server.closed.clear()
    with Client(relayed.url) as client:
        client.ask({**REQUEST, "model": "wait"}, authorization="Bearer k")
        client.read_until(b"assistant")
    assert relayed.server.closed.wait(PATIENCE)


@pytest.mark.parametrize("name", FILES)
def test_every_file_relays_the_demonstration(name: str, tmp_path: Path) -> None:
    with (
        running(demo.create_app(events_per_second=0)) as upstream,
        run(name, upstream, tmp_path) as (url, _),
    ):
        answer = ask(url, {**REQUEST, "max_tokens": 2})
    assert answer.status_code == 200
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert b'"content":"Every"' in answer.content


def test_the_functions_do_for_fastapi(tmp_path: Path) -> None:
    (fragment,) = [code for info, code in BLOCKS if info == " fragment"]
    with running(Server().app) as upstream:
        code = FILES["relay_starlette.py"].replace("http://127.0.0.1:8000", upstream)
        path = tmp_path / "relay_fastapi.py"
        path.write_text(f"{code}\n\nfrom fastapi import FastAPI\n\n{fragment}", "utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert isinstance(module.app, FastAPI)
        with running(module.app) as url:
            assert ask(url).content == ANSWER.replace(b'"model":"m"', b'"model":"alias"')


# --- gateways ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redacting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("recipe")
    with running(Server().app) as upstream, run("redact.py", upstream, folder) as (url, _):
        yield url


def test_no_card_gets_past_in_a_stream(redacting: str) -> None:
    answer = ask(redacting).content
    accumulator = Accumulator()
    for chunk in iter_chunks([answer]):
        accumulator.add(chunk)
    message: Any = accumulator.result().choices[0].message
    assert message.content == "Hello, 日本 😀\n[card]."
    assert message.reasoning_content == "Is it [card]?"
    assert message.tool_calls[0].function.arguments == '{"card":"[card]"}'
    untouched = [EVENTS[0], *EVENTS[2:6], *EVENTS[-4:]]
    assert [event for event in untouched if event not in answer] == []


def test_no_card_gets_past_in_what_cannot_be_decoded(redacting: str) -> None:
    answer = ask(redacting, {**REQUEST, "model": "undecodable"}).content
    assert answer.startswith(EVENTS[0] + b'data: {"error":')
    assert CARD.encode() not in answer
    assert answer.count(b"data: ") == 2


def test_no_card_gets_past_in_an_unstreamed_answer(redacting: str) -> None:
    answer = ask(redacting, {**REQUEST, "stream": False})
    assert answer.json()["choices"][0]["message"]["content"] == "[card]"


def test_no_card_gets_past_in_an_error(redacting: str) -> None:
    answer = ask(redacting, key="wrong")
    assert answer.status_code == 401
    assert answer.json() == {"detail": "no such key, [card]"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/chat/completions", 404),
        ("GET", "/v1/chat/completions/c", 404),
        ("POST", "/v1/completions", 404),
        ("POST", "/v1/responses", 404),
        ("POST", "/v1//chat/completions", 404),
        ("POST", "/v1/Chat/Completions", 404),
        ("POST", "/v1/chat/completions;x", 404),
    ],
)
def test_nothing_unchecked_is_served(method: str, path: str, status: int, redacting: str) -> None:
    answer = httpx.request(method, redacting + path, json={}, timeout=PATIENCE)
    assert answer.status_code == status


def test_the_program_serves_the_application_that_it_has_made(tmp_path: Path) -> None:
    request = {"model": "fast", "messages": MESSAGES, "max_tokens": 1}
    with (
        running(demo.create_app(events_per_second=0)) as upstream,
        run("my_gateway.py", upstream, tmp_path) as (url, popen),
    ):
        whole = ask(url, request)
        assert popen.stdout is not None
        assert popen.stdout.readline().startswith("an answer of ")
        streamed = ask(url, {**request, "stream": True})
        assert popen.stdout.readline() == "demo finished: stop\n"
    assert whole.json()["model"] == "fast"
    assert b'"model":"fast"' in streamed.content


# --- the page ------------------------------------------------------------------------------------


def test_the_other_code_of_the_page_runs() -> None:
    code = "".join(code for info, code in BLOCKS if not info)
    with running(demo.create_app(events_per_second=0)) as upstream:
        names: dict[str, Any] = {}
        exec(code.replace("http://127.0.0.1:8000", upstream), names)  # noqa: S102
    assert names["answer"].choices[0].message.content == "Every word of"


def test_the_request_of_the_page_is_answered() -> None:
    text = PAGE.read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("curl ")]
    found = re.search(r"(http\S+) -H '([\w-]+): (\S+)' -d '(.*)'$", line)
    assert found is not None
    with running(demo.create_app(events_per_second=0)) as upstream:
        url = found[1].replace("http://127.0.0.1:8000", upstream)
        answer = httpx.post(url, content=found[4], headers={found[2]: found[3]})
    assert answer.status_code == 200
    assert json.loads(found[4])["stream"] is True
    assert answer.content.endswith(b"data: [DONE]\n\n")


def test_every_file_is_tested() -> None:
    assert set(FILES) == {*RELAYS, "redact.py", "my_gateway.py"}
