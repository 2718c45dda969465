r"""The producer: writes the events of a streamed answer, for servers.

In:  one piece of the answer a call: a text, a piece of a tool call, a finish reason, the usage.
Out: the bytes of one whole event, the same that `encode_event` makes of the family's chunk.
Cost: a text costs encoding one string; what surrounds it is encoded once.

    >>> from fastchunk import wire
    >>> encoder = StreamEncoder(wire, model="m", id="c", created=1)
    >>> print(encoder.content("Hi").decode()[:60])
    data: {"id":"c","object":"chat.completion.chunk","created":1
    >>> encoder.done()
    b'data: [DONE]\n\n'
"""

from __future__ import annotations

import time
import uuid
from types import ModuleType
from typing import Any

import msgspec

from . import models, wire
from .codec import encode_event
from .scan import Table, scan
from .sse import DONE, format_event

__all__ = ["StreamEncoder"]

_BEFORE = len(b"data: ")

_encode = msgspec.json.Encoder().encode


class StreamEncoder:
    """Writes the events of one streamed answer, one whole event a call.

    With `fastchunk.models` an event has every key, nulls included, as Ray Serve writes them. With
    `fastchunk.wire` it has what was set, and a null `logprobs` and `finish_reason`, as vLLM writes
    them. The constructor and every method raise `TypeError` for a value of another type; the
    methods raise `InvalidChunk` for a string with a lone surrogate, which UTF-8 cannot hold.

        >>> from fastchunk import StreamEncoder, models
        >>> encoder = StreamEncoder(models, model="llama-3.1-8b")
        >>> events = [encoder.role("assistant"), encoder.content("Hi"), encoder.finish("stop")]
        >>> events += [encoder.usage(prompt_tokens=3, completion_tokens=1), encoder.done()]
        >>> len(events)
        5
    """

    def __init__(
        self,
        family: ModuleType,
        *,
        model: str,
        id: str | None = None,  # noqa: A002
        created: int | None = None,
    ) -> None:
        """Take what all chunks of the answer share.

        `id` is made up if it is not given; `created` is in seconds since the epoch, and now if it
        is not given.
        """
        if family not in (models, wire):
            raise TypeError("family must be fastchunk.models or fastchunk.wire")
        self._family: Any = family
        self._bound: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4()}" if id is None else _checked(id, str, "id"),
            "object": "chat.completion.chunk",
            "created": int(time.time()) if created is None else _checked(created, int, "created"),
            "model": _checked(model, str, "model"),
        }
        self._contents: dict[int, tuple[bytes, bytes]] = {}
        self._reasonings: dict[int, tuple[bytes, bytes]] = {}
        self._called: set[tuple[int, int]] = set()

    def role(self, role: str, *, choice: int = 0) -> bytes:
        """Write the first chunk of a choice: its role, and an empty content."""
        return self._delta(choice, role=_checked(role, str, "role"), content="")

    def content(self, text: str, *, choice: int = 0) -> bytes:
        """Write a piece of the text."""
        around = self._contents.get(choice)
        if around is not None and type(text) is str and type(choice) is int:
            try:
                return around[0] + _encode(text) + around[1]
            except UnicodeEncodeError:
                pass  # `_text` raises it again, with the place
        return self._text("content", text, choice, self._contents)

    def reasoning(self, text: str, *, choice: int = 0) -> bytes:
        """Write a piece of the reasoning, under the key that the family's servers use.

        That is `reasoning` in `fastchunk.wire` and `reasoning_content` in `fastchunk.models`.
        """
        name = "reasoning" if self._family is wire else "reasoning_content"
        return self._text(name, text, choice, self._reasonings)

    def tool_call(
        self,
        index: int,
        *,
        id: str | None = None,  # noqa: A002
        name: str | None = None,
        arguments: str | None = None,
        choice: int = 0,
    ) -> bytes:
        """Write a piece of the tool call at `index`; give `id` and `name` with the first piece.

        `arguments` is a piece of JSON text. In `fastchunk.models` an id cannot be absent: later
        pieces carry an empty one, and a first piece without one gets one that is made up.
        """
        function: dict[str, Any] = {}
        if name is not None:
            function["name"] = _checked(name, str, "name")
        if arguments is not None:
            function["arguments"] = _checked(arguments, str, "arguments")
        call: dict[str, Any] = {"index": _checked(index, int, "index")}
        first = (choice, index) not in self._called
        if id is not None:
            call["id"] = _checked(id, str, "id")
        elif self._family is models and not first:
            call["id"] = ""
        if self._family is wire and id is not None:
            call["type"] = "function"
        self._called.add((choice, index))
        family = self._family
        call["function"] = family.DeltaFunctionCall(**function)
        return self._delta(choice, tool_calls=[family.DeltaToolCall(**call)])

    def finish(self, reason: str, *, choice: int = 0) -> bytes:
        """Write the last chunk of a choice: why it finished (`stop`, `length`, `tool_calls`, …)."""
        return self._choice(choice, {}, finish_reason=_checked(reason, str, "reason"))

    def usage(
        self,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        total_tokens: int | None = None,
        cached_tokens: int | None = None,
    ) -> bytes:
        """Write the usage chunk, which has no choices. Unless it is given, the total is the sum."""
        prompt = _checked(prompt_tokens, int, "prompt_tokens")
        completion = _checked(completion_tokens, int, "completion_tokens")
        fields: dict[str, Any] = {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion
            if total_tokens is None
            else _checked(total_tokens, int, "total_tokens"),
            "completion_tokens": completion,
        }
        if cached_tokens is not None:
            fields["prompt_tokens_details"] = self._family.PromptTokenUsageInfo(
                cached_tokens=_checked(cached_tokens, int, "cached_tokens")
            )
        usage = self._family.UsageInfo(**fields)
        return self._event(choices=[], usage=usage)

    def error(
        self,
        message: str,
        *,
        type: str = "internal_error",  # noqa: A002
        code: int | str | None = None,
        param: str | None = None,
    ) -> bytes:
        """Write an error in OpenAI's shape. Clients take it for the end of the answer."""
        error = {
            "message": _checked(message, str, "message"),
            "type": _checked(type, str, "type"),
            "param": None if param is None else _checked(param, str, "param"),
            "code": None if code is None else _checked(code, (int, str), "code"),
        }
        return encode_event(wire.ChatCompletionStreamResponse(error=error))

    def done(self) -> bytes:
        """Write `[DONE]`, the event that ends the stream."""
        return format_event(DONE)

    def _text(
        self, name: str, text: str, choice: int, known: dict[int, tuple[bytes, bytes]]
    ) -> bytes:
        """Write a delta of one string: encode the string, and reuse what surrounds it."""
        around = known.get(_checked(choice, int, "choice"))
        if around is None:
            around = known[choice] = _around(self._delta(choice, **{name: ""}), name)
        try:
            return around[0] + _encode(_checked(text, str, "text")) + around[1]
        except UnicodeEncodeError:
            return self._delta(choice, **{name: text})  # raises, and names the place

    def _delta(self, choice: int, **delta: Any) -> bytes:
        return self._choice(choice, delta, finish_reason=None)

    def _choice(self, choice: int, delta: dict[str, Any], finish_reason: str | None) -> bytes:
        family = self._family
        made = family.ChatCompletionResponseStreamChoice(
            index=_checked(choice, int, "choice"),
            delta=family.DeltaMessage(**delta),
            logprobs=None,
            finish_reason=finish_reason,
        )
        return self._event(choices=[made])

    def _event(self, **fields: Any) -> bytes:
        return encode_event(self._family.ChatCompletionStreamResponse(**self._bound, **fields))


def _checked(value: Any, kind: type | tuple[type, ...], name: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(each.__name__ for each in kinds)
        raise TypeError(f"{name} must be {expected}, not {type(value).__name__}")
    return value


def _around(event: bytes, name: str) -> tuple[bytes, bytes]:
    """Cut a text delta's event around its text."""
    table = Table([("choices", "0", "delta", name)])
    ((_, begin, end),) = scan(event[_BEFORE:-2], table) or []
    return event[: _BEFORE + begin], event[_BEFORE + end :]
