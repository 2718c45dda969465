"""The gateway on Ray Serve: how its arguments are read, and what happens in a real, local Serve."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ray import cloudpickle, serve

from fastchunk.gateway import Settings, ray_serve
from fastchunk.gateway.server import running

from .harness import (
    ANSWER,
    EVENTS,
    PATIENCE,
    REQUEST,
    SSE,
    Client,
    Connection,
    Received,
    ask,
    replying,
    unchunked,
    upstream,
)

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:1"


# --- arguments -----------------------------------------------------------------------------------


class Built(NamedTuple):
    settings: Settings
    deployment: Any


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Built]:
    """Build an application with an upstream; give what went into it."""
    applications: list[Any] = []
    ingress = serve.ingress

    def noted(application: Any) -> Any:
        applications.append(application)
        return ingress(application)

    def build(**args: Any) -> Built:
        application = ray_serve.build({"upstream": URL, **args})
        return Built(applications[-1].settings, application._bound_deployment)

    monkeypatch.setattr(serve, "ingress", noted)
    return build


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ({"upstream": "https://h/openai/"}, {"upstream": "https://h/openai"}),
        ({"aliases": "a=b"}, {"aliases": {"a": "b"}}),
        ({"aliases": "a=b:8b,c/d=e=f"}, {"aliases": {"a": "b:8b", "c/d": "e=f"}}),
        ({"aliases": {"a,b": "c"}}, {"aliases": {"a,b": "c"}}),
        ({"strip_usage": "true"}, {"strip_usage": True}),
        ({"strip_usage": "False"}, {"strip_usage": False}),
        ({"strip_usage": True}, {"strip_usage": True}),
        ({"max_streams": "7", "max_event_size": "8"}, {"max_streams": 7, "max_event_size": 8}),
        ({"read_timeout": "1.5", "keep_alive": "2"}, {"read_timeout": 1.5, "keep_alive": 2.0}),
        ({"connect_timeout": 3}, {"connect_timeout": 3}),
        ({"max_request_size": "9"}, {"max_request_size": 9}),
    ],
)
def test_options_of_the_gateway(
    build: Callable[..., Built], text: dict[str, Any], value: dict[str, Any]
) -> None:
    assert build(**text).settings == Settings(**{"upstream": URL, **value})


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        ("num_replicas", "2", 2),
        ("num_replicas", 3, 3),
        ("max_ongoing_requests", "7", 7),
        ("max_queued_requests", "8", 8),
        ("name", "llm", "llm"),
        ("ray_actor_options", '{"num_cpus": 0.2}', {"num_cpus": 0.2}),
        ("ray_actor_options", {"num_cpus": 0.5}, {"num_cpus": 0.5}),
    ],
)
def test_options_of_serve(build: Callable[..., Built], option: str, given: Any, value: Any) -> None:
    assert getattr(build(**{option: given}).deployment, option) == value


def test_autoscaling(build: Callable[..., Built]) -> None:
    given = '{"max_replicas": 8, "target_ongoing_requests": 100}'
    config = build(autoscaling_config=given).deployment._deployment_config.autoscaling_config
    assert (config.max_replicas, config.target_ongoing_requests) == (8, 100)
    automatic = build(num_replicas="auto").deployment._deployment_config
    assert automatic.autoscaling_config is not None


def test_what_serve_takes_from_the_gateways_options(build: Callable[..., Built]) -> None:
    def limits(**args: Any) -> tuple[int, float]:
        config = build(**args).deployment._deployment_config
        return config.max_ongoing_requests, config.graceful_shutdown_timeout_s

    assert limits() == (1000, 30.0)
    assert limits(max_streams="5", shutdown_timeout="6") == (5, 6.0)
    own = {"max_ongoing_requests": "7", "graceful_shutdown_timeout_s": "8"}
    assert limits(max_streams="5", shutdown_timeout="6", **own) == (7, 8.0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"num_replica": "2"},
            r"'num_replica': did you mean num_replicas\? The gateway has aliases",
        ),
        ({"zzz": "2"}, "'zzz'. The gateway has aliases, .*; Serve has .*ray_actor_options"),
        ({"user_config": "{}"}, "no option 'user_config'"),
        ({"_func_or_class": "x"}, "no option '_func_or_class'"),
        (
            {"upstream_key": "secret"},
            "upstream_key is not read .* environment: FASTCHUNK_UPSTREAM_KEY",
        ),
        ({"client_key": "secret"}, "client_key is not read .* environment: FASTCHUNK_CLIENT_KEY"),
        ({"aliases": "a=b,c"}, "aliases='a=b,c' cannot be parsed: .* NAME=MODEL,NAME=MODEL"),
        ({"aliases": "a="}, "aliases must map names to names"),
        ({"strip_usage": "1"}, "strip_usage='1' cannot be parsed: it is neither true nor false"),
        ({"max_streams": "1.5"}, "max_streams='1.5' cannot be parsed: invalid literal"),
        ({"max_streams": "0"}, "max_streams must be more than 0"),
        ({"read_timeout": "1m"}, "read_timeout='1m' cannot be parsed: could not convert"),
        ({"keep_alive": "nan"}, "keep_alive must be more than 0 and finite"),
        ({"upstream": "h:80"}, "upstream must begin with http"),
        ({"num_replicas": "two"}, "num_replicas"),
        ({"ray_actor_options": '{"num_cpu": 1}'}, "'num_cpu' in ray_actor_options"),
    ],
)
def test_errors_name_the_option(
    build: Callable[..., Built], args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(**args)
    assert "secret" not in str(caught.value)


def test_without_an_upstream() -> None:
    with pytest.raises(ValueError, match="upstream is missing"):
        ray_serve.build({"num_replicas": "2"})


def test_keys_come_from_the_environment(
    build: Callable[..., Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCHUNK_UPSTREAM_KEY", "up")
    monkeypatch.setenv("FASTCHUNK_CLIENT_KEY", "own")
    assert build().settings == Settings(upstream=URL, upstream_key="up", client_key="own")


def test_what_travels_to_a_replica_is_the_gateway() -> None:
    with replying(SSE, body=ANSWER) as origin:
        settings = Settings(upstream=origin.url, aliases={"alias": "m"}, upstream_key="up")
        sent = cloudpickle.dumps(ray_serve._Application(settings))
        with running(cloudpickle.loads(sent)) as url:
            answer = ask(url, {**REQUEST, "model": "alias"})
    assert answer.content == ANSWER.replace(b'"model":"m"', b'"model":"alias"')
    assert origin.received[0].json["model"] == "m"
    assert origin.received[0].values("authorization") == ["Bearer up"]


def test_without_the_extra_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(ImportError, match=r"pip install 'fastchunk\[ray\]'"):
            importlib.reload(ray_serve)
    importlib.reload(ray_serve)


# --- a real Serve, with two replicas -------------------------------------------------------------

Script = Callable[[Connection, Received], None]


class Replica(NamedTuple):
    id: str
    pid: int
    ongoing: int


class Serving:
    """Ray Serve in a process of its own, and the upstream behind it."""

    def __init__(self, process: subprocess.Popen[str], scripts: dict[str, Script]) -> None:
        self._process = process
        self.scripts = scripts
        """What the upstream does, by the request's `user`."""
        self.url = self._line()
        assert self.url, "Serve did not start"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip()

    def wait_for_replicas(self, ongoing: int) -> list[Replica]:
        """Wait until the replicas have so many requests: one that has just ended still counts."""
        until = time.monotonic() + PATIENCE
        while True:
            replicas = self._replicas()
            if sum(one.ongoing for one in replicas) == ongoing:
                return replicas
            assert time.monotonic() < until, f"not {ongoing} requests: {replicas}"

    def _replicas(self) -> list[Replica]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return [Replica(**one) for one in json.loads(self._line())]


@contextmanager
def process(**options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start Serve; end it, and then whatever is left of its session."""
    environment = {
        **os.environ,
        "FASTCHUNK_UPSTREAM_KEY": "up",
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with (
        # The paths of the sockets in it may not be long.
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.serving", folder, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        ) as popen,
    ):
        try:
            yield popen
            popen.communicate(timeout=PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    scripts: dict[str, Script] = {}

    def script(connection: Connection) -> None:
        received = connection.receive()
        scripts[received.json["user"]](connection, received)

    options = {
        "aliases": "alias=m",
        "num_replicas": "2",
        "ray_actor_options": '{"num_cpus": 0.2}',
        "max_ongoing_requests": "3",
    }
    with upstream(script) as origin, process(upstream=origin.url, **options) as popen:
        yield Serving(popen, scripts)


def request(user: str) -> dict[str, Any]:
    return {**REQUEST, "user": user}


def test_events_come_through_as_they_are_sent(serving: Serving) -> None:
    read = threading.Semaphore(0)
    seen = []

    def script(connection: Connection, received: Received) -> None:
        seen.append(received)
        connection.begin(SSE, "connection: close")
        for event in EVENTS:
            connection.chunk(event)
            assert read.acquire(timeout=PATIENCE)
        connection.end()

    serving.scripts["steps"] = script
    with Client(serving.url) as client:
        client.ask({**request("steps"), "model": "alias"})
        aliased = [event.replace(b'"model":"m"', b'"model":"alias"') for event in EVENTS]
        for event in aliased:
            client.read_until(event)
            read.release()
        assert unchunked(client.read_all()) == b"".join(aliased)
    assert seen[0].json["model"] == "m"
    assert seen[0].values("authorization") == ["Bearer up"]


def test_a_client_that_leaves_ends_its_request_to_the_upstream(serving: Serving) -> None:
    closed = threading.Event()

    def script(connection: Connection, _: Received) -> None:
        connection.begin(SSE)
        connection.chunk(EVENTS[0])
        connection.wait_until_closed()
        closed.set()

    serving.scripts["leaves"] = script
    with Client(serving.url) as client:
        client.ask(request("leaves"))
        client.read_until(EVENTS[0])
    assert closed.wait(PATIENCE)


def test_when_a_replica_dies_the_other_goes_on(serving: Serving) -> None:
    died = threading.Event()

    def script(connection: Connection, _: Received) -> None:
        connection.begin(SSE, "connection: close")
        connection.chunk(EVENTS[0])
        assert died.wait(PATIENCE)
        connection.chunk(b"".join(EVENTS[1:]))
        connection.end()

    def answer(connection: Connection, _: Received) -> None:
        connection.answer(SSE, "connection: close", body=ANSWER)

    serving.scripts.update(old=script, new=answer)
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(serving.url)) for _ in range(4)]
        for client in clients:  # one more than a replica takes
            client.ask(request("old"))
            client.read_until(EVENTS[0])
        one, other = serving.wait_for_replicas(ongoing=4)
        assert one.id != other.id
        assert one.ongoing
        assert other.ongoing
        os.kill(one.pid, signal.SIGKILL)
        for _ in range(4):
            assert ask(serving.url, request("new")).content == ANSWER
        died.set()
        received = [client.read_all() for client in clients]
    complete = [data for data in received if data.endswith(b"\r\n0\r\n\r\n")]
    assert [unchunked(data) for data in complete] == [ANSWER] * other.ongoing
    for data in received:  # what was lost does not look complete
        assert (data in complete) == (b"[DONE]" in data)
