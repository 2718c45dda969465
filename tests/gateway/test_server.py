"""The server: how it starts, how it ends, and what it logs."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

import fastchunk.gateway
from fastchunk import Relay
from fastchunk.gateway import Settings, create_app, serve, server
from fastchunk.text import Stop

from .harness import (
    ANSWER,
    EVENTS,
    PATIENCE,
    SSE,
    Client,
    Connection,
    ask,
    error_of,
    gateway,
    replying,
    through,
    unchunked,
    upstream,
)

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def wait_until_served(url: str) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            httpx.get(f"{url}/healthz", timeout=PATIENCE)
        except httpx.ConnectError:
            assert time.monotonic() < until, "the gateway does not listen"
        else:
            return


def wait_until_listening(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until, "the server does not listen"
        time.sleep(0.01)


# --- in a process of its own: signals ------------------------------------------------------------


class Process:
    """A gateway in a process of its own."""

    def __init__(self, settings: str, **options: Any) -> None:
        self.url = f"http://127.0.0.1:{options.setdefault('port', free_port())}"
        program = f"from fastchunk.gateway import *; serve({settings}, **{options!r})"
        command = [sys.executable, "-W", "error", "-c", program]
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen(command, stderr=pipe, text=True, cwd=ROOT)
        self.log = ""
        """What it has logged, as far as it was read."""
        wait_until_served(self.url)

    def wait_for_log(self, text: str) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.log += line
            if text in line:
                return
        raise AssertionError(f"{text!r} was not logged")

    def wait(self) -> int:
        assert self.popen.stderr is not None
        self.log += self.popen.stderr.read()
        return self.popen.wait(PATIENCE)


@contextmanager
def process(settings: str, **options: Any) -> Iterator[Process]:
    one = Process(settings, **options)
    try:
        yield one
    finally:
        one.popen.kill()
        one.popen.wait()
        assert one.popen.stderr is not None
        one.popen.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_open_streams_finish(number: signal.Signals) -> None:
    told = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE, "connection: close")
        connection.chunk(EVENTS[0])
        assert told.wait(PATIENCE)
        connection.chunk(b"".join(EVENTS[1:]))
        connection.end()

    with upstream(script) as origin, process(repr(origin.url)) as gateway:
        with Client(gateway.url) as client:
            client.ask()
            client.read_until(EVENTS[0])
            gateway.popen.send_signal(number)
            gateway.wait_for_log("Shutting down")
            told.set()
            assert unchunked(client.read_all()) == ANSWER
        assert gateway.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            Client(gateway.url)


def test_streams_that_take_too_long_are_ended() -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[0] + b"data: half")
        connection.wait_until_closed()
        closed.set()

    with upstream(script) as origin:
        settings = f"Settings(upstream={origin.url!r}, shutdown_timeout=0.2)"
        with process(settings) as gateway, Client(gateway.url) as client:
            client.ask()
            client.read_until(EVENTS[0])
            gateway.popen.send_signal(signal.SIGTERM)
            body = unchunked(client.read_all())
            assert body.startswith(EVENTS[0])
            assert error_of(body)["code"] == "shutting_down"
            assert closed.wait(PATIENCE)
            assert gateway.wait() == 0


def test_ctrl_c_after_a_client_has_left_shows_no_traceback() -> None:
    with process("None", demo=True) as gateway:
        with Client(gateway.url) as client:
            client.ask({"messages": [], "stream": True, "max_tokens": 10_000})
            client.read_until(b"data: ")
        gateway.wait_for_log(" 499 ")
        gateway.popen.send_signal(signal.SIGINT)
        assert gateway.wait() == 0
    assert "Finished server process" in gateway.log
    assert "Traceback" not in gateway.log
    assert "ERROR" not in gateway.log


def test_a_second_ctrl_c_ends_open_streams_at_once() -> None:
    with process("None", demo=True) as gateway, Client(gateway.url) as client:
        client.ask({"messages": [], "stream": True, "max_tokens": 100_000})
        client.read_until(b"data: ")
        gateway.popen.send_signal(signal.SIGINT)
        gateway.wait_for_log("Waiting for connections to close")
        gateway.popen.send_signal(signal.SIGINT)
        assert gateway.wait() == 0
    assert "Application shutdown complete" in gateway.log
    assert "Traceback" not in gateway.log
    assert "ERROR" not in gateway.log


@pytest.mark.parametrize("busy", [False, True])
def test_two_signals_end_a_server_at_once(busy: bool, caplog: pytest.LogCaptureFixture) -> None:
    def script(connection: Connection) -> None:
        connection.receive()
        connection.begin(SSE)
        connection.chunk(EVENTS[0])
        connection.wait_until_closed()

    with upstream(script) as origin:
        app = create_app(origin.url)
        config = server._config(app, port=free_port(), log_config=None)
        one = server._Server(config, app.state.gateway)
        thread = threading.Thread(target=one.run)
        thread.start()
        url = f"http://127.0.0.1:{config.port}"
        wait_until_served(url)
        with Client(url) as client:
            if busy:
                client.ask()
                client.read_until(EVENTS[0])
            for _ in range(2):
                one.handle_exit(signal.SIGINT, None)
            thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# --- clients that never come to an end -----------------------------------------------------------

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: h\r\n"


@pytest.mark.parametrize("before", [b"GET /", HEAD + b"x: "])
def test_an_endless_head_is_refused(before: bytes) -> None:
    with gateway("http://127.0.0.1:1") as url, Client(url) as client:
        client.send(before + b"x" * 66_000)
        answer = client.read_until(b"head_too_large")
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_an_endless_trailer_is_cut_off() -> None:
    begun = threading.Event()

    def script(connection: Connection) -> None:
        connection.receive_head()
        begun.set()
        connection.wait_until_closed()

    with through(script) as url, Client(url) as client:
        client.send(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        assert begun.wait(PATIENCE)
        client.send(b"0\r\nx: " + b"x" * 66_000)
        assert client.read_all() == b""


# --- in this process -----------------------------------------------------------------------------


@pytest.fixture
def _logging() -> Iterator[None]:
    """Leave logging as it was; `serve` sets it up for a process of its own."""
    loggers = [
        logging.getLogger(name)
        for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access", "fastchunk.gateway")
    ]
    before = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    loggers[0].handlers.clear()  # other libraries put theirs there as they are imported
    yield
    for one, state in zip(loggers, before, strict=True):
        one.handlers[:], one.propagate = state[0], state[2]
        one.setLevel(state[1])


@contextmanager
def told_to_end_after(check: Any) -> Iterator[None]:
    """Run a check beside `serve`, which wants the main thread, and then end it."""
    failures = []

    def run() -> None:
        try:
            check()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
    for failure in failures:
        raise failure


@pytest.mark.usefixtures("_logging")
def test_the_demonstration_needs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def check() -> None:
        wait_until_served(url)
        answer = ask(url, {"stream": True, "model": "m", "messages": [], "max_tokens": 1})
        assert answer.text.endswith("data: [DONE]\n\n")

    with told_to_end_after(check):
        serve(demo=True, port=port)
    logged = capfd.readouterr().err
    assert "the upstream is the demonstration" in logged
    for line in (f"Uvicorn running on {url}", "Started server", "startup complete", "Shutting"):
        assert logged.count(line) == 1


@pytest.mark.usefixtures("_logging")
def test_keys_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTCHUNK_UPSTREAM_KEY", "secret-up")
    monkeypatch.setenv("FASTCHUNK_CLIENT_KEY", "secret-own")
    monkeypatch.setattr(server, "_has_uvloop", lambda: False)
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def check() -> None:
        wait_until_served(url)
        assert ask(url).status_code == 401
        assert ask(url, authorization="Bearer secret-own").content == ANSWER

    with replying(SSE, body=ANSWER) as origin, told_to_end_after(check):
        serve(Settings(upstream=origin.url), port=port)
    assert origin.received[0].values("authorization") == ["Bearer secret-up"]
    logged = capfd.readouterr().err
    assert f"the upstream is {origin.url}" in logged
    assert "uvloop is not installed" in logged
    assert "secret" not in logged


@pytest.mark.usefixtures("_logging")
def test_clients_that_do_not_read_do_not_keep_the_server(
    capfd: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    clients = []
    event = b"data: %b\n\n" % (b"x" * 100_000)

    def script(connection: Connection) -> None:
        silent = "silent" in connection.receive().json
        connection.begin(SSE)
        connection.chunk(event)
        while not silent:  # until the gateway closes
            connection.chunk(event)
        connection.wait_until_closed()

    def check() -> None:
        wait_until_served(url)
        for request in ({"silent": True}, {}):
            clients.append(Client(url, buffer=65536))
            clients[-1].ask(request)
            clients[-1].read_until(b"data: x")

    with upstream(script) as origin, told_to_end_after(check):
        serve(Settings(upstream=origin.url, shutdown_timeout=0.1), port=port)
    with clients[0] as reading, clients[1]:
        assert error_of(unchunked(reading.read_all()))["code"] == "shutting_down"
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.usefixtures("_logging")
def test_an_application_is_served_as_it_was_made(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTCHUNK_CLIENT_KEY", "secret-own")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    seen: list[Any] = []

    def check() -> None:
        wait_until_served(url)
        assert ask(url).status_code == 401
        assert ask(url, authorization="Bearer secret-own").content == ANSWER

    with replying(SSE, body=ANSWER) as origin, told_to_end_after(check):
        serve(create_app(origin.url, relay=partial(Relay, on_chunk=seen.append)), port=port)
    assert len(seen) == len(EVENTS) - 1
    logged = capfd.readouterr().err
    assert f"the upstream is {origin.url}" in logged
    assert "secret" not in logged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "demo=True"),
        ({"settings": Starlette()}, "uvicorn runs any"),
        ({"settings": create_app("http://h"), "demo": True}, "from create_app"),
        ({"settings": create_app("http://h"), "relay": Relay}, "from create_app"),
        ({"settings": create_app("http://h"), "on_answer": bytes}, "from create_app"),
        ({"settings": create_app("http://h"), "text": [Stop("x")]}, "from create_app"),
        ({"settings": create_app("http://h"), "reasoning": "both"}, "from create_app"),
        ({"settings": create_app("http://h"), "on_invalid": "drop"}, "from create_app"),
        ({"settings": "http://h", "text": ["x"]}, "a rule is a Replace"),
        ({"settings": "http://h", "on_answer": bytes}, "give a relay too"),
    ],
)
def test_what_cannot_be_served(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        serve(**arguments)


@pytest.mark.usefixtures("_logging")
def test_a_port_that_is_taken(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            serve("http://127.0.0.1:1", port=port)
    assert caught.value.code not in {0, None}
    assert "address already in use" in capfd.readouterr().err


def test_where_files_are_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    server._raise_file_limit()


def test_without_the_extra_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("aiohttp", "prometheus_client", "starlette", "uvicorn"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(ImportError, match=r"pip install 'fastchunk\[gateway\]'"):
                importlib.reload(fastchunk.gateway)
    importlib.reload(fastchunk.gateway)
