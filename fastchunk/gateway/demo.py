r"""An upstream to try the gateway with: it needs no model and no network.

In:  requests for chat completions, as any client sends them.
Out: generated answers: reasoning and text, or a tool call where the request has `tools`; logprobs
and usage where it asks for them. `max_tokens` is the number of words in the text.
Cost: the events of equal requests are written once; after that, an answer costs its writes.

It is as strict as vLLM, which answers with status 400 if the content type is not
`application/json`, the body is not JSON, or `messages` is missing; a missing `model` is fine.

    >>> written = events(Plan(model="demo", words=2))
    >>> len(written)  # the role, reasoning, two words, the finish reason, [DONE]
    6
    >>> written[-1]
    b'data: [DONE]\n\n'
"""

from __future__ import annotations

import asyncio
import itertools
import time
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fastchunk import Accumulator, StreamEncoder, edit, encode, iter_chunks, wire

from ._client import ClientDisconnected, read_body, until_disconnect, while_connected
from ._failure import Failure

__all__ = ["MODEL", "Plan", "answer", "create_app", "events"]

MODEL = "demo"
"""The model that `/v1/models` lists; any other name is served as well."""

_ID = "chatcmpl-demo"
_REASONING = "The user wants to see a stream."
_TEXT = (
    "Every word of this answer is an event of its own. It was written by a demonstration, not by "
    "a model, and has come through the gateway as the very bytes that were sent. "
).split(" ")[:-1]
_PROMPT_TOKENS = 8
_MAX_WORDS = 100_000
_MAX_REQUEST_SIZE = 64 * 1024 * 1024
_REQUEST_TIMEOUT = 60.0


class _Function(Struct, frozen=True):
    name: str = "function"
    parameters: Any = None


class _Tool(Struct):
    function: _Function = _Function()


class _Message(Struct):
    role: str


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Body(Struct):
    """The keys of a request that the demonstration reads."""

    messages: list[_Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    logprobs: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """All that the events of an answer depend on."""

    model: str
    words: int = len(_TEXT)
    tool: str | None = None
    """The name of the function to call instead of writing a text."""
    arguments: str = "{}"
    logprobs: bool = False
    usage: bool = False

    @classmethod
    def of(cls, body: _Body) -> Plan:
        """Plan the answer to a request."""
        words = body.max_completion_tokens or body.max_tokens or len(_TEXT)
        plan = cls(
            model=body.model or MODEL,
            words=min(max(words, 1), _MAX_WORDS),
            logprobs=bool(body.logprobs),
            usage=body.stream_options is not None and bool(body.stream_options.include_usage),
        )
        has_result = bool(body.messages) and body.messages[-1].role == "tool"
        if not body.tools or has_result:
            return plan
        function = body.tools[0].function
        schema = function.parameters if isinstance(function.parameters, dict) else {}
        names = schema.get("properties")
        made_up = dict.fromkeys(names if isinstance(names, dict) else {}, MODEL)
        arguments = msgspec.json.encode(made_up).decode()
        return msgspec.structs.replace(plan, tool=function.name, arguments=arguments)

    @property
    def text(self) -> list[str]:
        """The words of the text, each with the space before it."""
        words = itertools.islice(itertools.cycle(_TEXT), self.words)
        return [word if n == 0 else f" {word}" for n, word in enumerate(words)]


def create_app(*, events_per_second: float = 20.0, events_per_write: int = 1) -> Starlette:
    """Make the demonstration's application.

    `events_per_second` is the pace of each stream, 0 for full speed; `events_per_write` is how many
    events each write holds.
    """
    completions = _Completions(events_per_second, events_per_write)
    return Starlette(
        routes=[
            Route("/v1/models", _list_models),
            Route("/v1/chat/completions", completions, methods=["POST"]),
        ]
    )


class _Completions:
    """Answers requests for chat completions."""

    def __init__(self, events_per_second: float, events_per_write: int) -> None:
        self._pause = events_per_write / events_per_second if events_per_second else 0.0
        self._events_per_write = events_per_write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _check_content_type(scope)
            body = _decode(await read_body(receive, _MAX_REQUEST_SIZE, _REQUEST_TIMEOUT))
            plan = Plan.of(body)
            if body.stream:
                writes = _writes(plan, self._events_per_write)
                # Without the watch, an answer would go on to nobody, and hold a shutdown up.
                await while_connected(self._stream(writes, send), until_disconnect(receive))
            else:
                await _json_response(encode(answer(plan)))(scope, receive, send)
        except (ClientDisconnected, OSError):
            pass  # nobody is there to answer
        except Failure as failure:
            await failure.response()(scope, receive, send)

    async def _stream(self, writes: list[bytes], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        clock = asyncio.get_running_loop().time
        due = clock()
        for data in writes:
            if self._pause:
                due += self._pause
                await asyncio.sleep(due - clock())
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _check_content_type(scope: Scope) -> None:
    fields = {name.lower(): value for name, value in scope["headers"]}
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        text = "the Content-Type of a request must be application/json"
        raise Failure(400, "unsupported_media_type", text)


def _decode(data: bytes) -> _Body:
    try:
        return msgspec.json.decode(data, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(400, "invalid_request", str(error)) from error


@lru_cache(maxsize=8)
def events(plan: Plan) -> list[bytes]:
    """Write the events of a streamed answer."""
    encoder = StreamEncoder(wire, model=plan.model, id=_ID)
    written = [encoder.role("assistant"), encoder.reasoning(_REASONING)]
    if plan.tool is not None:
        written.append(encoder.tool_call(0, id="call_demo", name=plan.tool, arguments=""))
        half = len(plan.arguments) // 2
        pieces = plan.arguments[:half], plan.arguments[half:]
        written += [encoder.tool_call(0, arguments=piece) for piece in pieces]
        written.append(encoder.finish("tool_calls"))
    else:
        for word in plan.text:
            event = encoder.content(word)
            written.append(_with_logprobs(event, word) if plan.logprobs else event)
        written.append(encoder.finish("stop"))
    if plan.usage:
        completion_tokens = plan.words if plan.tool is None else 2
        usage = encoder.usage(prompt_tokens=_PROMPT_TOKENS, completion_tokens=completion_tokens)
        written.append(usage)
    return [*written, encoder.done()]


def answer(plan: Plan) -> wire.ChatCompletionResponse:
    """Build the answer that is not streamed: what the streamed one adds up to, and the usage."""
    accumulator = Accumulator()
    for chunk in iter_chunks(events(msgspec.structs.replace(plan, usage=True))):
        accumulator.add(chunk)
    built = accumulator.result()
    built.created = int(time.time())  # the events may have been written some time ago
    return built


@lru_cache(maxsize=8)
def _writes(plan: Plan, size: int) -> list[bytes]:
    written = events(plan)
    return [b"".join(written[n : n + size]) for n in range(0, len(written), size)]


def _with_logprobs(event: bytes, word: str) -> bytes:
    token = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
    logprobs = {"content": [{**token, "top_logprobs": [token]}]}
    return b"data: %b\n\n" % edit(event[6:-2], {"/choices/0/logprobs": logprobs})


async def _list_models(_: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "fastchunk"}
    return _json_response(msgspec.json.encode({"object": "list", "data": [model]}))


def _json_response(body: bytes) -> Response:
    return Response(body, media_type="application/json")
