"""Ray's own LLM code with the mirror in it: called as Ray calls it, and in a real, local Serve."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import Any

import openai
import pytest
from ray import cloudpickle
from ray.llm._internal.serve.configs import openai_api_models
from ray.llm._internal.serve.deployments.llm import llm_server
from ray.llm._internal.serve.deployments.routers import router
from ray.serve import context

from fastchunk import models
from fastchunk.integrations import ray_serve_llm
from tests.gateway.harness import PATIENCE
from tests.pages import ROOT, blocks

from .engine import ANSWERS, TEXTS, generate

PAGE = ROOT / "docs" / "where-it-fits.md"


# --- Ray's own functions -------------------------------------------------------------------------


@pytest.fixture
def installed() -> Iterator[None]:
    ray_serve_llm.install()
    yield
    ray_serve_llm.uninstall()


@pytest.fixture(autouse=True)
def request_at_one_second(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give all chunks one id and one time, as a request has in a replica."""
    monkeypatch.setattr(time, "time", lambda: 1.0)
    token = context._serve_request_context.set(context._RequestContext(request_id="r"))
    yield
    context._serve_request_context.reset(token)


async def _list(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def chunks(message: str) -> list[Any]:
    """Return what Ray's server makes of the engine's answer."""
    process = llm_server.ResponsePostprocessor().process_chat
    return asyncio.run(_list(process("m", generate(message), stream=True)))


async def _hop(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for item in items:
        yield cloudpickle.loads(cloudpickle.dumps(item, protocol=5))


def events(message: str) -> list[str]:
    """Return what Ray's router writes when it gets those chunks from another process."""

    async def route() -> list[str]:
        process = llm_server.ResponsePostprocessor().process_chat
        sent = _hop(process("m", generate(message), stream=True))
        _, framed = await router._peek_at_openai_json_generator(sent)
        return await _list(framed)

    return asyncio.run(route())


@pytest.mark.parametrize("message", ANSWERS)
def test_events(message: str) -> None:
    expected = events(message)
    ray_serve_llm.install()
    assert events(message) == expected
    ray_serve_llm.uninstall()
    assert expected[-1] == "data: [DONE]\n\n"


def test_events_are_of_every_kind() -> None:
    text = "".join(events("text"))
    for written in (
        '"role":"assistant"',
        '"content":"日本"',
        '"usage":{"',
        '"finish_reason":"stop"',
    ):
        assert written in text
    assert '"top_logprobs":[{"token":" 日","logprob":-0.0,' in "".join(events("logprobs"))
    assert '"code":429' in events("error")[0]
    assert '"content":"Hello"' in events("error after text")[1]
    assert '"code":429' in events("error after text")[2]
    assert '"code":500' in events("failure after text")[-2]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("message", ["text", "logprobs", "no text"])
def test_chunks_are_the_mirrors(message: str) -> None:
    assert {type(chunk) for chunk in chunks(message)} == {models.ChatCompletionStreamResponse}


@pytest.mark.usefixtures("installed")
def test_chunks_travel_as_bytes() -> None:
    for chunk in chunks("text"):
        [data] = chunk.__reduce__()[1]
        assert type(data) is bytes


def answers() -> list[Any]:
    """Return what is not a streamed chat: whole answers, and legacy completions."""

    async def process() -> list[Any]:
        postprocessor = llm_server.ResponsePostprocessor()
        return [
            response
            for message in ("text", "logprobs")
            for process, stream in (
                (postprocessor.process_chat, False),
                (postprocessor.process_completions, False),
                (postprocessor.process_completions, True),
            )
            for response in await _list(process("m", generate(message), stream=stream))
        ]

    return asyncio.run(process())


def test_other_answers_are_rays_own() -> None:
    expected = answers()
    ray_serve_llm.install()
    assert answers() == expected
    ray_serve_llm.uninstall()
    assert {type(answer).__name__ for answer in expected} == {
        "ChatCompletionResponse",
        "CompletionResponse",
        "CompletionStreamResponse",
    }


def test_the_mirror_in_rays_module_would_break_those() -> None:
    with pytest.raises(ValueError, match="instance of UsageInfo"):
        openai_api_models.ChatCompletionResponse(model="m", choices=[], usage=models.UsageInfo())


# --- in and out ----------------------------------------------------------------------------------

BUILD = "ResponsePostprocessor._chat_completions_wrapper"
FRAME = "_apply_openai_json_format"


def replaced() -> tuple[Any, Any]:
    return attrgetter(BUILD)(llm_server), attrgetter(FRAME)(router)


def test_uninstall_puts_back_what_was_there() -> None:
    before = replaced()
    ray_serve_llm.install()
    during = replaced()
    ray_serve_llm.install()
    assert replaced() == during
    assert not set(during) & set(before)
    ray_serve_llm.uninstall()
    assert replaced() == before
    ray_serve_llm.uninstall()
    assert replaced() == before
    assert type(chunks("text")[0]) is openai_api_models.ChatCompletionStreamResponse


@pytest.mark.usefixtures("installed")
def test_the_function_is_still_rays() -> None:
    build, _ = replaced()
    assert (build.__module__, build.__qualname__) == (llm_server.__name__, BUILD)
    # As of an instance, which Ray calls it on.
    assert llm_server.ResponsePostprocessor()._chat_completions_wrapper is build


class Proxy:
    """Shows a function as its own, as tracing libraries do."""

    def __init__(self, function: Any) -> None:
        self.__wrapped__ = function
        self.__code__ = function.__code__

    def __call__(self, *args: Any) -> Any:
        return self.__wrapped__(*args)


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


def without_source(_: Any) -> Any:
    return FunctionType(compile("''", "nowhere", "eval"), {})


def subclass(model: Any) -> Any:
    class Patched(model):  # type: ignore[misc]
        more: str = ""

    return Patched


PLACES = [
    (llm_server, BUILD),
    (llm_server, "ResponsePostprocessor.process_chat"),
    (router, FRAME),
    (router, "_openai_json_wrapper"),
    (router, "_peek_at_openai_json_generator"),
    (router, "LLMRouter.chat"),
]
CLASSES = [name for name in models.__all__ if name in vars(llm_server)]


def patch(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, change: Any) -> None:
    path, _, last = name.rpartition(".")
    owner = attrgetter(path)(module) if path else module
    made = change(getattr(owner, last))
    monkeypatch.setattr(owner, last, staticmethod(made) if name == BUILD else made)


def assert_refused(module: ModuleType, name: str) -> None:
    before = replaced()
    with pytest.raises(RuntimeError, match=r"Ray 2\.46\.0; this is Ray .*Nothing") as caught:
        ray_serve_llm.install()
    assert f": {module.__name__}.{name}. " in str(caught.value)
    assert replaced() == before


@pytest.mark.parametrize("change", [Proxy, wrapped, without_source])
@pytest.mark.parametrize(("module", "name"), PLACES)
def test_patched_functions_are_refused(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, change: Callable[[Any], Any]
) -> None:
    patch(monkeypatch, module, name, change)
    assert_refused(module, name)


@pytest.mark.parametrize("name", CLASSES)
def test_patched_classes_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    patch(monkeypatch, llm_server, name, subclass)
    assert_refused(llm_server, name)


def test_what_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(router, "_openai_json_wrapper")
    assert_refused(router, "_openai_json_wrapper")


def test_every_class_that_ray_builds_is_known() -> None:
    assert len(CLASSES) == 7
    assert set(CLASSES) == set(ray_serve_llm._CLASSES)


def test_without_rays_code_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, llm_server.__name__, None)
        patched.delattr(sys.modules[llm_server.__package__], "llm_server")
        with pytest.raises(ImportError, match=r"pip install 'ray\[llm\]==2\.46\.0'"):
            importlib.reload(ray_serve_llm)
    importlib.reload(ray_serve_llm)


# --- a real Serve --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def applications(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """Serve Ray's application and the page's; give where they are, and what their servers send."""
    code = tmp_path_factory.mktemp("code")
    [block] = [one for one in blocks(PAGE.read_text("utf-8")) if one.info.endswith("llm_app.py")]
    (code / "llm_app.py").write_text(block.code, "utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(code)]),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAYLLM_ROUTER_RAY_ACTOR_OPTIONS": '{"num_cpus": 0.2}',
        "RAYLLM_VLLM_ENGINE_CLS": "tests.integrations.engine.Engine",
    }
    with (
        # The paths of the sockets in it may not be long.
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            [sys.executable, "-m", "tests.integrations.llm_serving", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "Serve did not start"
            yield json.loads(line)
            process.communicate(timeout=PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def clients(applications: dict[str, Any]) -> Iterator[list[openai.OpenAI]]:
    made = [
        openai.OpenAI(base_url=application["url"], api_key="-", max_retries=0, timeout=PATIENCE)
        for application in applications.values()
    ]
    yield made
    for client in made:
        client.close()


def test_the_server_with_the_mirror_sends_its_chunks(applications: dict[str, Any]) -> None:
    sent = {name: application["chunks"] for name, application in applications.items()}
    assert sent == {"ray": openai_api_models.__name__, "fastchunk": models.__name__}


def read(call: Callable[..., Any], *, stream: bool, **options: Any) -> list[Any]:
    """Ask, and return all that comes but when it was made; an error as its status and its body."""
    try:
        answer = call(model="m", stream=stream, extra_headers={"x-request-id": "r"}, **options)
    except openai.APIStatusError as error:
        return [error.status_code, error.body]
    return [{**one.model_dump(), "created": 0} for one in (answer if stream else [answer])]


@pytest.mark.parametrize("message", ANSWERS)
def test_streamed_chats(clients: list[openai.OpenAI], message: str) -> None:
    messages = [{"role": "user", "content": message}]
    own, mirrored = [
        read(client.chat.completions.create, stream=True, messages=messages) for client in clients
    ]
    assert mirrored == own
    if message == "text":
        written = [chunk["choices"][0]["delta"]["content"] for chunk in own]
        assert "".join(written) == "".join(TEXTS)
        assert own[-1]["usage"]["completion_tokens"] == len(ANSWERS["text"]())
    if message == "error":
        assert own[0] == 429


@pytest.mark.parametrize("message", ["text", "logprobs", "error"])
def test_other_answers(clients: list[openai.OpenAI], message: str) -> None:
    messages = [{"role": "user", "content": message}]
    own, mirrored = [
        [
            read(client.chat.completions.create, stream=False, messages=messages),
            read(client.completions.create, stream=False, prompt=message),
            read(client.completions.create, stream=True, prompt=message),
        ]
        for client in clients
    ]
    assert mirrored == own
    assert all(own)
