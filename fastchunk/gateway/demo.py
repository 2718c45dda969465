r"""An upstream to try the gateway with: it needs no model and no network.

In:  requests for chat completions, as any client sends them.
Out: generated answers: reasoning and text, or a tool call where the request has `tools`; with
logprobs and usage where they are asked for. `max_tokens` is how many words the text has.
Cost: the events of requests that are alike are written once; an answer then costs its writes.

    >>> events = stream(Asked(model="demo", words=2))
    >>> len(events)  # the role, reasoning, two words, the finish reason, [DONE]
    6
    >>> events[-1]
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

from fastchunk import StreamEncoder, edit, wire

__all__ = ["MODEL", "Asked", "create_app", "message", "stream"]

MODEL = "demo"
"""The model that `/v1/models` lists; any other name is served as well."""

_ID = "chatcmpl-demo"
_THOUGHT = "The user wants to see a stream."
_TEXT = (
    "Every word of this answer is an event of its own. It was written by a demonstration, not by "
    "a model, and has come through the gateway as the very bytes that were sent. "
).split(" ")[:-1]
_PROMPT_TOKENS = 8
_MOST_WORDS = 100_000


class _Function(Struct, frozen=True):
    name: str = "function"
    parameters: Any = None


class _Tool(Struct):
    function: _Function = _Function()


class _Message(Struct):
    role: str = "user"


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Body(Struct):
    """What the demonstration looks at in a request."""

    model: str = MODEL
    messages: list[_Message] = []
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    logprobs: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """What the events of an answer depend on."""

    model: str
    words: int = len(_TEXT)
    tool: str | None = None
    """The name of the function to call instead of answering with a text."""
    arguments: str = "{}"
    logprobs: bool = False
    usage: bool = False

    @classmethod
    def of(cls, body: _Body) -> Asked:
        """Read it from a request."""
        words = body.max_completion_tokens or body.max_tokens or len(_TEXT)
        asked = cls(
            model=body.model,
            words=min(max(words, 1), _MOST_WORDS),
            logprobs=bool(body.logprobs),
            usage=body.stream_options is not None and bool(body.stream_options.include_usage),
        )
        was_called = bool(body.messages) and body.messages[-1].role == "tool"
        if not body.tools or was_called:
            return asked
        function = body.tools[0].function
        schema = function.parameters if isinstance(function.parameters, dict) else {}
        names = schema.get("properties")
        made_up = dict.fromkeys(names if isinstance(names, dict) else {}, MODEL)
        arguments = msgspec.json.encode(made_up).decode()
        return msgspec.structs.replace(asked, tool=function.name, arguments=arguments)

    @property
    def text(self) -> list[str]:
        """The words of the text, each with the space before it."""
        words = itertools.islice(itertools.cycle(_TEXT), self.words)
        return [word if n == 0 else f" {word}" for n, word in enumerate(words)]


def create_app(*, events_per_second: float = 20.0, events_per_write: int = 1) -> Starlette:
    """Make the demonstration's application.

    `events_per_second` is the pace of each stream, 0 for as fast as it goes; `events_per_write` is
    how many events are sent at once.
    """
    completions = _Completions(events_per_second, events_per_write)
    return Starlette(
        routes=[
            Route("/v1/models", _models),
            Route("/v1/chat/completions", completions, methods=["POST"]),
        ]
    )


class _Completions:
    """Answers requests for chat completions."""

    def __init__(self, events_per_second: float, events_per_write: int) -> None:
        self._pause = events_per_write / events_per_second if events_per_second else 0.0
        self._at_once = events_per_write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = msgspec.json.decode(await Request(scope, receive).body(), type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            refusal = {"message": str(error), "type": "invalid_request_error", "param": None}
            response = _json({"error": {**refusal, "code": None}}, 400)
            await response(scope, receive, send)
            return
        asked = Asked.of(body)
        if body.stream:
            await self._stream(_writes(asked, self._at_once), send)
        else:
            await _json(message(asked))(scope, receive, send)

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


@lru_cache(maxsize=8)
def stream(asked: Asked) -> list[bytes]:
    """Write the events of a streamed answer."""
    encoder = StreamEncoder(wire, model=asked.model, id=_ID)
    events = [encoder.role("assistant"), encoder.reasoning(_THOUGHT)]
    if asked.tool is not None:
        events.append(encoder.tool_call(0, id="call_demo", name=asked.tool, arguments=""))
        half = len(asked.arguments) // 2
        pieces = asked.arguments[:half], asked.arguments[half:]
        events += [encoder.tool_call(0, arguments=piece) for piece in pieces]
        events.append(encoder.finish("tool_calls"))
    else:
        for word in asked.text:
            event = encoder.content(word)
            events.append(_with_logprobs(event, word) if asked.logprobs else event)
        events.append(encoder.finish("stop"))
    if asked.usage:
        usage = encoder.usage(prompt_tokens=_PROMPT_TOKENS, completion_tokens=_completion(asked))
        events.append(usage)
    return [*events, encoder.done()]


def message(asked: Asked) -> dict[str, Any]:
    """Make the answer as it is when it is not streamed."""
    answer: dict[str, Any] = {"role": "assistant", "content": None, "reasoning": _THOUGHT}
    logprobs = None
    if asked.tool is not None:
        function = {"name": asked.tool, "arguments": asked.arguments}
        answer["tool_calls"] = [{"id": "call_demo", "type": "function", "function": function}]
    else:
        answer["content"] = "".join(asked.text)
        if asked.logprobs:
            logprobs = {"content": [_logprob(word) for word in asked.text]}
    reason = "stop" if asked.tool is None else "tool_calls"
    completion = _completion(asked)
    return {
        "id": _ID,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.model,
        "choices": [{"index": 0, "message": answer, "logprobs": logprobs, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": _PROMPT_TOKENS,
            "total_tokens": _PROMPT_TOKENS + completion,
            "completion_tokens": completion,
        },
    }


@lru_cache(maxsize=8)
def _writes(asked: Asked, at_once: int) -> list[bytes]:
    events = stream(asked)
    return [b"".join(events[n : n + at_once]) for n in range(0, len(events), at_once)]


def _completion(asked: Asked) -> int:
    return asked.words if asked.tool is None else 2


def _with_logprobs(event: bytes, word: str) -> bytes:
    logprobs = {"content": [_logprob(word)]}
    return b"data: %b\n\n" % edit(event[6:-2], {"/choices/0/logprobs": logprobs})


def _logprob(word: str) -> dict[str, Any]:
    token = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
    return {**token, "top_logprobs": [token]}


async def _models(_: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "fastchunk"}
    return _json({"object": "list", "data": [model]})


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
