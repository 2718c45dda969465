"""`fastchunk gateway`: from options to settings."""

from __future__ import annotations

import inspect
import re
import sys
import urllib.request
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import fastchunk
import fastchunk.gateway
from fastchunk.gateway import Settings
from fastchunk.text import Filter

from .harness import KEYS, PATIENCE, process, run


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, dict[str, Any]]]:
    calls: list[tuple[Settings, dict[str, Any]]] = []
    monkeypatch.setattr(
        fastchunk.gateway, "serve", lambda settings, **options: calls.append((settings, options))
    )
    return calls


STREAMED = b'{"model":"demo","messages":[],"stream":true}'
UNSTREAMED = b'{"model":"demo","messages":[]}'
Served = list[tuple[Settings, dict[str, Any]]]


def test_the_gateway_has_its_own_defaults(served: Served) -> None:
    assert run("gateway", "--upstream", "http://h/").exit_code == 0
    settings, options = served[0]
    assert settings == Settings(upstream="http://h")
    assert options == {"host": "127.0.0.1", "port": 8000, "demo": False, "log_level": "info"}
    signature = inspect.signature(fastchunk.gateway.server.serve)
    assert all(signature.parameters[name].default == value for name, value in options.items())


def test_every_option_of_the_gateway(served: Served) -> None:
    result = run(
        "gateway", "--upstream", "http://h", "--host", "::1", "--port", "0", "--log-level", "error",
        "--alias", "fast=llama=8b", "--alias", "a=b", "--strip-usage", "--connect-timeout", "1",
        "--read-timeout", "2", "--keep-alive", "3.5", "--max-streams", "4", "--max-event-size", "5",
        "--max-request-size", "6", "--shutdown-timeout", "7", "--request-timeout", "8",
    )  # fmt: skip
    assert result.exit_code == 0
    settings, options = served[0]
    assert settings == Settings(
        upstream="http://h", aliases={"fast": "llama=8b", "a": "b"}, strip_usage=True,
        connect_timeout=1, read_timeout=2, keep_alive=3.5, max_streams=4, max_event_size=5,
        max_request_size=6, shutdown_timeout=7, request_timeout=8,
    )  # fmt: skip
    assert options == {"host": "::1", "port": 0, "demo": False, "log_level": "error"}


def test_the_demonstration(served: Served) -> None:
    assert run("gateway", "--demo").exit_code == 0
    assert served[0][1]["demo"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --upstream URL or --demo"),
        (["--demo", "--upstream", "http://h"], "either --upstream URL or --demo"),
        (["--upstream", "h:80"], "upstream must begin with"),
        (["--demo", "--alias", "a"], "an alias is NAME=MODEL"),
        (["--demo", "--alias", "=a"], "an alias is NAME=MODEL"),
        (["--demo", "--keep-alive", "0"], "keep_alive must be more than 0"),
        (["--demo", "--port", "70000"], "a port is a number from 0 to 65535, not 70000"),
        (["--demo", "--port", "-1"], "a port is a number from 0 to 65535, not -1"),
    ],
)
def test_options_that_cannot_be_meant(arguments: list[str], message: str, served: Served) -> None:
    result = run("gateway", *arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", result.stderr)
    assert not served


@pytest.mark.parametrize("key", KEYS)
def test_keys_that_cannot_be_meant(key: str, served: Served) -> None:
    result = run("gateway", "--demo", env={key: "a b"})
    assert result.exit_code == 2
    assert f"{key.removeprefix('FASTCHUNK_').lower()} must be printable ASCII" in result.stderr
    assert not served


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\udcff"])
def test_a_host_that_no_name_can_be(host: str, served: Served) -> None:
    result = run("gateway", "--demo", "--host", host)
    assert result.exit_code == 3
    assert result.stderr.startswith("fastchunk: cannot listen on ")
    assert result.stderr.count("\n") == 1
    assert not served


def test_help_states_the_defaults_of_the_gateway() -> None:
    printed = run("gateway", "--help", env={"COLUMNS": "200"}).stdout
    optional = [f for f in fields(Settings) if f.type in {"int", "float"}]
    assert len(optional) == 8
    for field in optional:
        option = field.name.replace("_", "-")
        line = next(line for line in printed.splitlines() if f"--{option} " in line)
        assert re.search(rf"\[default: {field.default:.0f}\]", line)


def test_without_the_gateways_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastchunk.gateway", None)
    result = run("gateway", "--demo")
    assert result.exit_code == 1
    assert "fastchunk.gateway" in result.output


def ask_the_real_gateway(*bodies: bytes, options: tuple[str, ...] = ()) -> list[bytes]:
    """Run the demonstration; return its answers to requests."""
    with process("gateway", "--demo", "--port", "0", *options) as popen:
        assert popen.stderr is not None
        log = b""
        while not (running := re.search(rb"running on (http://\S+)", log)):
            more = popen.stderr.read(65536)
            assert more, f"the log ended after {log!r}"
            log += more
        url = f"{running[1].decode()}/v1/chat/completions"
        answers = []
        for body in bodies:
            request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
                answers.append(response.read())
        popen.terminate()
        assert popen.wait(PATIENCE) == 0
    return answers


def test_the_real_gateway() -> None:
    (stream,) = ask_the_real_gateway(STREAMED)
    assert "[answer] " in run("read", "-", data=stream).stdout
    assert run("check", "-", data=stream).exit_code == 0


def test_the_real_gateway_redacts(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("this answer is => it is\n/EVENT of/i\n")
    stream, answer = ask_the_real_gateway(STREAMED, UNSTREAMED, options=("--redact", str(path)))
    redacted = "Every word of it is an [redacted] its own."
    assert redacted in run("read", "-", data=stream).stdout
    assert redacted in answer.decode()


def test_what_is_to_be_redacted(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("a => b\n")
    assert run("gateway", "--demo", "--redact", str(path)).exit_code == 0
    options = served[0][1]
    assert options["on_invalid"] == "raise"
    assert Filter(options["text"]).feed("bad") == "bbd"


@pytest.mark.parametrize(
    ("lines", "message"),
    [("a\n/b*/", "rules.txt, line 2: the pattern repeats"), ("", "rules.txt: there is nothing")],
)
def test_what_cannot_be_redacted(lines: str, message: str, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text(lines)
    arguments = "gateway", "--demo", "--redact", str(path)
    result = run(*arguments, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert message in result.stderr
    assert not served
