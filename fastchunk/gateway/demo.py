r"""An upstream to try the gateway with: it needs no model and no network.

In:  requests to `/v1/chat/completions`, `/v1/completions`, `/v1/messages` and `/v1/responses`, as
any client sends them.
Out: generated answers: reasoning and text, or a tool call where the request has `tools`; logprobs
and usage where it asks for them. `max_tokens` is the number of words in the text.
Cost: the events of equal requests are written once; after that, an answer costs its writes.

It is as strict as vLLM, which answers with status 400 if the content type is not
`application/json`, the body is not JSON, or what the API requires is missing; a missing `model` is
fine.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from . import _demo_answers as answers
from ._client import ClientDisconnected, read_body, until_disconnect, while_connected
from ._demo_answers import MODEL, Plan
from ._failure import MESSAGES, OPENAI, ErrorShape, Failure

__all__ = ["create_app"]

_MAX_WORDS = 100_000
_MAX_REQUEST_SIZE = 64 * 1024 * 1024
_REQUEST_TIMEOUT = 60.0


# --- what the demonstration reads of a request ---------------------------------------------------


class _Common(Struct):
    """The keys that requests to all APIs have."""

    model: str | None = None
    stream: bool | None = None


class _Function(Struct, frozen=True):
    name: str = "function"
    parameters: Any = None
    input_schema: Any = None


class _Tool(Struct):
    function: _Function = _Function()


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Message(Struct):
    role: str
    content: Any = None


class _ChatBody(_Common, kw_only=True):
    messages: list[_Message]
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    logprobs: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    def plan(self) -> Plan:
        plan = _plan(
            self,
            words=self.max_completion_tokens or self.max_tokens,
            logprobs=bool(self.logprobs),
            usage=bool(self.stream_options and self.stream_options.include_usage),
        )
        has_result = bool(self.messages) and self.messages[-1].role == "tool"
        if not self.tools or has_result:
            return plan
        function = self.tools[0].function
        return _calling(plan, function, function.parameters)


class _CompletionBody(_Common, kw_only=True):
    prompt: Any
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None

    def plan(self) -> Plan:
        usage = bool(self.stream_options and self.stream_options.include_usage)
        return _plan(self, words=self.max_tokens, usage=usage)


class _MessageBody(_Common, kw_only=True):
    messages: list[_Message]
    max_tokens: int
    tools: list[_Function] | None = None

    def plan(self) -> Plan:
        plan = _plan(self, words=self.max_tokens)
        last = self.messages[-1].content if self.messages else None
        if not self.tools or _has_item(last, "tool_result"):
            return plan
        return _calling(plan, self.tools[0], self.tools[0].input_schema)


class _ResponseBody(_Common, kw_only=True):
    input: Any
    tools: list[_Function] | None = None
    max_output_tokens: int | None = None

    def plan(self) -> Plan:
        plan = _plan(self, words=self.max_output_tokens)
        if not self.tools or _has_item(self.input, "function_call_output"):
            return plan
        return _calling(plan, self.tools[0], self.tools[0].parameters)


_Body: TypeAlias = _ChatBody | _CompletionBody | _MessageBody | _ResponseBody


def _plan(body: _Common, *, words: int | None, logprobs: bool = False, usage: bool = False) -> Plan:
    plan = Plan(model=body.model or MODEL, logprobs=logprobs, usage=usage)
    if not words:
        return plan
    return msgspec.structs.replace(plan, words=min(max(words, 1), _MAX_WORDS))


def _calling(plan: Plan, function: _Function, schema: Any) -> Plan:
    """Call a function in place of a text, with made-up arguments."""
    names = schema.get("properties") if isinstance(schema, dict) else None
    made_up = dict.fromkeys(names if isinstance(names, dict) else {}, MODEL)
    arguments = msgspec.json.encode(made_up).decode()
    return msgspec.structs.replace(plan, tool=function.name, arguments=arguments)


def _has_item(content: Any, kind: str) -> bool:
    """Tell whether the result of a tool is among the last things that were said."""
    items = content if isinstance(content, list) else []
    return any(isinstance(item, dict) and item.get("type") == kind for item in items)


# --- the application -----------------------------------------------------------------------------


class _Api(NamedTuple):
    path: str
    body: type[_Body]
    events: answers.Events
    errors: ErrorShape = OPENAI


_APIS = (
    _Api("/v1/chat/completions", _ChatBody, answers.chat_events),
    _Api("/v1/completions", _CompletionBody, answers.completion_events),
    _Api("/v1/messages", _MessageBody, answers.message_events, MESSAGES),
    _Api("/v1/responses", _ResponseBody, answers.response_events),
)


def create_app(*, events_per_second: float = 20.0, events_per_write: int = 1) -> Starlette:
    """Make the demonstration's application.

    `events_per_second` is the pace of each stream, 0 for full speed; `events_per_write` is how many
    events each write holds.
    """
    pause = events_per_write / events_per_second if events_per_second else 0.0
    return Starlette(
        routes=[
            Route("/v1/models", _list_models),
            *(
                Route(api.path, _Answers(api, pause, events_per_write), methods=["POST"])
                for api in _APIS
            ),
        ]
    )


class _Answers:
    """Answers the requests to one API."""

    def __init__(self, api: _Api, pause: float, events_per_write: int) -> None:
        self._api = api
        self._pause = pause
        self._events_per_write = events_per_write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _check_content_type(scope)
            data = await read_body(receive, _MAX_REQUEST_SIZE, _REQUEST_TIMEOUT)
            body = _decode(data, self._api.body)
            plan = body.plan()
            if body.stream:
                writes = _writes(self._api.events, plan, self._events_per_write)
                # Without the watch, an answer would go on to nobody, and hold a shutdown up.
                await while_connected(self._stream(writes, send), until_disconnect(receive))
            else:
                answer = answers.answer(plan, self._api.events)
                await _json_response(answer)(scope, receive, send)
        except (ClientDisconnected, OSError):
            pass  # nobody is there to answer
        except Failure as failure:
            await failure.response(self._api.errors)(scope, receive, send)

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


def _decode(data: bytes, body: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(data, type=body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(400, "invalid_request", str(error)) from error


@lru_cache(maxsize=8)
def _writes(events: answers.Events, plan: Plan, size: int) -> list[bytes]:
    written = events(plan)
    return [b"".join(written[n : n + size]) for n in range(0, len(written), size)]


async def _list_models(_: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "fastchunk"}
    return _json_response(msgspec.json.encode({"object": "list", "data": [model]}))


def _json_response(body: bytes) -> Response:
    return Response(body, media_type="application/json")
