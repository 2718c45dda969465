"""Every example, run as it is beside `fastchunk gateway --demo`; the addresses alone are others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastchunk import Accumulator, EventDecoder, encode, iter_chunks

from .gateway.harness import PATIENCE
from .gateway.test_server import free_port, wait_until_listening

EXAMPLES = Path(__file__).parents[1] / "examples"
REQUEST: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}


@contextmanager
def serving(*command: str, port: int, **environment: str) -> Iterator[str]:
    """Run a server until the block ends; give its address."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", *command], env={**os.environ, **environment}
    ) as process:
        try:
            wait_until_listening(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    port = free_port()
    with serving("-m", "fastchunk", "gateway", "--demo", "--port", str(port), port=port) as url:
        yield url


@contextmanager
def example(name: str, upstream: str, *arguments: str, **environment: str) -> Iterator[str]:
    port = free_port()
    addresses = {"UPSTREAM": upstream, "PORT": str(port), **environment}
    with serving(str(EXAMPLES / name), *arguments, port=port, **addresses) as url:
        yield url


def run(name: str, upstream: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        env={**os.environ, "UPSTREAM": upstream},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    ).stdout


def ask(url: str, **options: Any) -> httpx.Response:
    body = {**REQUEST, **options}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=PATIENCE).raise_for_status()


def streamed(url: str, **options: Any) -> Any:
    """Return what a streamed answer adds up to."""
    answer = Accumulator()
    for chunk in iter_chunks([ask(url, stream=True, **options).content]):
        answer.add(chunk)
    assert answer.finished
    return answer.result()


def test_redacting_proxy(demo: str) -> None:
    with example("redacting_proxy.py", demo) as url:
        answers = [streamed(url), json.loads(ask(url).content)]
        with_logprobs = ask(url, stream=True, logprobs=True).text
    text = answers[0].choices[0].message.content
    assert "written by a [redacted], not by a model, and has come through the [redacted]" in text
    assert answers[1]["choices"][0]["message"]["content"] == text
    assert "Every" in with_logprobs
    assert "demonstration" not in with_logprobs


def metered(port: int) -> list[float]:
    """Return the dollars that the meter exports, which are none before it has counted any."""
    page = httpx.get(f"http://127.0.0.1:{port}", timeout=PATIENCE).text
    name = 'llm_spent_dollars_total{model="demo"} '
    return [float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name)]


def test_cost_meter(demo: str) -> None:
    port = free_port()
    cost = (8 * 0.5 + 2 * 2.0) / 1e6
    with example("cost_meter.py", demo, METRICS_PORT=str(port)) as url:
        assert b"usage" not in ask(url, stream=True, max_tokens=2).content
        assert metered(port) == [pytest.approx(cost)]
        asked = streamed(url, max_tokens=2, stream_options={"include_usage": True})
        usage = json.loads(encode(asked))["usage"]
        assert usage["completion_tokens"] == 2
        assert usage["cost"] == pytest.approx(cost)
        whole = json.loads(ask(url, max_tokens=2).content)
        assert whole["usage"]["cost"] == pytest.approx(cost)
        assert metered(port) == [pytest.approx(3 * cost)]


def test_an_error_costs_nothing(demo: str) -> None:
    port = free_port()
    with example("cost_meter.py", demo, METRICS_PORT=str(port)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json={"model": "demo"}, timeout=PATIENCE)
        assert answer.status_code == 400
        assert "messages" in answer.text
        assert metered(port) == []


def test_record_and_replay(demo: str, tmp_path: Path) -> None:
    file = str(tmp_path / "stream.jsonl")
    run("record_and_replay.py", demo, "record", file)
    lines = [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]
    recorded = "".join(event for _, event in lines)
    assert recorded.endswith("data: [DONE]\n\n")
    assert len(EventDecoder().feed(recorded.encode())) == len(lines)
    times = [seconds for seconds, _ in lines]
    assert times == sorted(times)
    assert times[-1] > times[0]
    with example("record_and_replay.py", demo, "replay", file) as url:
        assert ask(url).text == recorded
        assert ask(url).text == recorded


def test_read_with_times(demo: str) -> None:
    first, second, third = run("read_with_times.py", demo).splitlines()
    assert first == f"8 streams, {8 * (1 + 10)} events with text"  # the reasoning, and ten words
    for line, what in ((second, "to the first text"), (third, "between two texts")):
        assert line.startswith(f"{what}: ")
        assert line.endswith(" ms (median)")
        assert float(line.split()[-3]) > 0


def test_fastapi_server(demo: str) -> None:
    with example("fastapi_server.py", demo) as url:
        answer = streamed(url)
    assert answer.model == "capitals"
    assert answer.choices[0].message.content == "EVERY WORD OF THIS ANSWER IS AN EVENT OF ITS"
    assert answer.choices[0].finish_reason == "stop"


def test_fastapi_server_without_its_model() -> None:
    with example("fastapi_server.py", f"http://127.0.0.1:{free_port()}") as url:
        text = ask(url, stream=True).text
    assert "the model failed: " in text
    assert text.endswith("data: [DONE]\n\n")


def test_every_example_is_short_and_run() -> None:
    source = Path(__file__).read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) < 60
        assert f'"{path.name}"' in source
