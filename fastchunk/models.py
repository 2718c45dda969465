"""The mirror: Ray Serve 2.46.0's streamed chat completion response as msgspec Structs.

In:  the JSON of one `chat.completion.chunk`.
Out: `ChatCompletionStreamResponse`, with the class names, field names, order and defaults of
`ray.serve.llm.openai_api_models.ChatCompletionStreamResponse`, and its Pydantic methods.
Cost: a fifth of the Pydantic model's time and of its memory for a text delta, a quarter to a third
for one with logprobs; `bench_results/` has the figures.

As in the real class, an absent field reads as its default, unknown keys are ignored, and a null
`content` reads `""`. Use `fastchunk.wire` to tell absent, null and a value apart.

    >>> from fastchunk import models
    >>> chunk = models.decode('{"model":"llama","choices":[{"index":0,"delta":{"content":"Hi"}}]}')
    >>> chunk.choices[0].delta.content
    'Hi'
    >>> chunk.usage is None
    True
"""

from __future__ import annotations

import copy
import copyreg
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, field, json, msgpack

from . import codec, pickling
from .codec import Data
from .field_types import has_null_rule

__all__ = [
    "ChatCompletionLogProb",
    "ChatCompletionLogProbs",
    "ChatCompletionLogProbsContent",
    "ChatCompletionResponseStreamChoice",
    "ChatCompletionStreamResponse",
    "DeltaFunctionCall",
    "DeltaMessage",
    "DeltaToolCall",
    "PromptTokenUsageInfo",
    "UsageInfo",
    "decode",
]

M = TypeVar("M", bound="Model")

Logprob = Annotated[float, Meta(gt=-1e16, lt=1e16)]
"""A float that msgspec spells as Pydantic does. The bounds send a larger one to the exact path,
which keeps Pydantic's spelling."""

Content = Annotated[str, Meta(extra={"null": ""})]
"""The real class turns a null or absent content into an empty string after validation."""


class Model(Struct, kw_only=True, gc=False):
    """What all classes of the mirror share: Pydantic's methods, with Pydantic's results.

    The garbage collector does not track these Structs, which makes them cheap; it does not free a
    reference cycle that somebody builds through one.
    """

    @classmethod
    def model_validate_json(cls: type[M], data: Data) -> M:
        """Decode one JSON document; takes and raises what `decode` does."""
        decoded: M = _decoder(cls)(data)
        return decoded

    @classmethod
    def model_validate(cls: type[M], obj: object) -> M:
        """Make an instance from what `json.loads` returns.

        Raises `InvalidChunk` for a value of another shape, `TypeError` for a type that
        `json.loads` does not return.
        """
        made: M = _validator(cls)(obj)
        return made

    def model_dump_json(
        self,
        *,
        indent: int | None = None,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
    ) -> str:
        """Encode as JSON text, compact or with `indent` spaces a level.

        Raises what `codec.encode` raises, and `TypeError` for `exclude_unset`.
        """
        _refuse_exclude_unset(exclude_unset)
        if exclude_defaults or exclude_none:
            tree = codec.dump(self, exclude_none=exclude_none, exclude_defaults=exclude_defaults)
            data = codec.encode_tree(tree)
        else:
            data = codec.encode(self)
        return (data if indent is None else _indent(data, indent)).decode()

    def model_dump(
        self,
        *,
        mode: Literal["python", "json"] = "python",  # noqa: ARG002
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
    ) -> dict[str, Any]:
        """Turn into dicts, lists and scalars; in both modes the same, as with Pydantic's fields.

        Raises `TypeError` for `exclude_unset`.
        """
        _refuse_exclude_unset(exclude_unset)
        tree: Any = self
        if exclude_none or exclude_defaults:
            tree = codec.dump(self, exclude_none=exclude_none, exclude_defaults=exclude_defaults)
        plain: dict[str, Any] = codec.to_builtins(tree)
        return plain

    def model_copy(self: M, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> M:
        """Copy, shallow unless `deep`, and set the fields in `update`, unvalidated.

        Raises `AttributeError` for a name that is no field.
        """
        made = copy.deepcopy(self) if deep else copy.copy(self)
        for name, value in (update or {}).items():
            setattr(made, name, value)
        return made

    def __str__(self) -> str:
        return " ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__)


def _refuse_exclude_unset(asked: bool) -> None:
    if asked:
        raise TypeError(
            "exclude_unset: the mirror does not know which fields were set; "
            "decode with fastchunk.wire, which encodes only what was"
        )


def _indent(data: bytes, indent: int) -> bytes:
    if indent < 0:
        raise ValueError(f"indent must be 0 or more, not {indent}")
    if indent:
        return json.format(data, indent=indent)
    # msgspec takes 0 for "one line"; Pydantic for lines without indentation. A line feed in the
    # formatted text is never inside a string: JSON escapes those.
    return re.sub(rb"\n +", b"\n", json.format(data, indent=1))


def _make_request_id() -> str:
    # As Ray Serve makes them: from `random`, which is cheaper than the system's entropy.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


class ChatCompletionLogProb(Model, kw_only=True):
    """One token that the model might have put here, and its log-probability."""

    token: str
    logprob: Logprob = -9999.0
    bytes: list[int] | None = None


class ChatCompletionLogProbsContent(ChatCompletionLogProb, kw_only=True):
    """The token that the model did put here, and the likeliest others."""

    top_logprobs: list[ChatCompletionLogProb] = []


class ChatCompletionLogProbs(Model, kw_only=True):
    """The log-probabilities of a delta's tokens."""

    content: list[ChatCompletionLogProbsContent] | None = None


class DeltaFunctionCall(Model, kw_only=True):
    """The function's name, and the next piece of its arguments."""

    name: str | None = None
    arguments: str | None = None


class DeltaToolCall(Model, kw_only=True):
    """The next piece of the tool call at `index`."""

    id: str = field(default_factory=lambda: f"chatcmpl-tool-{_make_request_id()}")
    type: Literal["function"] = "function"
    index: int
    function: DeltaFunctionCall | None = None


class DeltaMessage(Model, kw_only=True):
    """The next piece of a choice's message. A null `content` reads and encodes as `""`."""

    role: str | None = None
    content: Content = ""
    reasoning_content: str | None = None
    tool_calls: list[DeltaToolCall] = []


class ChatCompletionResponseStreamChoice(Model, kw_only=True):
    """One of the answers that are streamed side by side."""

    index: int
    delta: DeltaMessage
    logprobs: ChatCompletionLogProbs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class PromptTokenUsageInfo(Model, kw_only=True):
    """How many of the prompt's tokens came from a cache."""

    cached_tokens: int | None = None


class UsageInfo(Model, kw_only=True):
    """Tokens used so far."""

    prompt_tokens: int = 0
    total_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: PromptTokenUsageInfo | None = None


class ChatCompletionStreamResponse(Model, kw_only=True):
    """One chunk of a streamed chat completion, in the mirror of Ray Serve's model."""

    id: str = field(default_factory=lambda: f"chatcmpl-{_make_request_id()}")
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = field(default_factory=lambda: int(time.time()))
    model: str
    choices: list[ChatCompletionResponseStreamChoice]
    usage: UsageInfo | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Ray sends chunks between processes by pickle, which is slow for Structs in Structs.
        try:
            if _is_exact_chunk(self):
                return _restore, (_to_msgpack(self),)
        except pickling.NOT_CARRIED:
            pass  # pickle's own way takes what has no bytes
        return Struct.__reduce__(self)

    def __deepcopy__(self: M, memo: dict[int, Any]) -> M:
        return pickling.deepcopy(self, memo)


def _replace_null_content(text: str) -> str:
    r"""Write a null `content` as an empty string, which is what it reads as.

    This is sound for any text. In a valid document the quote after `content` closes a string, so
    the match is a key, or the end of one (`"x\"content"`), and its value. If it is the delta's key,
    both values mean the same; if it is the one of `logprobs`, the decoder refuses a string and the
    exact path decides; the decoder skips the values of all other keys. An invalid document stays
    invalid, because a value takes the place of a value.
    """
    parts = text.split('"content":null')
    if len(parts) == 1:
        parts = text.split('"content": null')
    return '"content":""'.join(parts)


@cache
def _decoder(model: type[M]) -> Callable[[Data], M]:
    return codec.decoder(model, respell=_replace_null_content if has_null_rule(model) else str)


@cache
def _validator(model: type[M]) -> Callable[[object], M]:
    return codec.validator(model)


decode: Callable[[Data], ChatCompletionStreamResponse] = _decoder(ChatCompletionStreamResponse)
"""Decode one JSON document into the mirror's chunk, as Pydantic's lax mode does.

Takes bytes, a bytearray, a memoryview or a str, and keeps no reference to it. Raises `InvalidChunk`
for data that is not a chunk, `TypeError` for anything else.
"""


# --- pickle -------------------------------------------------------------------------------------

# Tells field by field whether decoding a chunk's bytes gives the same chunk. To decode them and
# compare, as `pickling` does, would take five times as long.

_TEXT = frozenset({str, type(None)})
_INTEGER = frozenset({int, type(None)})
_REASON = frozenset({int, str, type(None)})
_are_integers = frozenset({int}).issuperset
_to_msgpack = msgpack.Encoder().encode
_from_msgpack = msgpack.Decoder(ChatCompletionStreamResponse).decode


def _restore(data: bytes) -> ChatCompletionStreamResponse:
    """Make the chunk that was pickled as these bytes."""
    return _from_msgpack(data)


# cloudpickle looks for every type in a chain of tables, of which this is the last. To miss there
# costs it as much as encoding the chunk.
copyreg.pickle(ChatCompletionStreamResponse, ChatCompletionStreamResponse.__reduce__)


def _is_exact_chunk(chunk: ChatCompletionStreamResponse) -> bool:
    return (
        type(chunk) is ChatCompletionStreamResponse
        and type(chunk.id) is str
        and type(chunk.object) is str
        and chunk.object == "chat.completion.chunk"
        and type(chunk.created) is int
        and type(chunk.model) is str
        and type(chunk.choices) is list
        and all(map(_is_exact_choice, chunk.choices))
        and (chunk.usage is None or _is_exact_usage(chunk.usage))
    )


def _is_exact_choice(choice: ChatCompletionResponseStreamChoice) -> bool:
    return (
        type(choice) is ChatCompletionResponseStreamChoice
        and type(choice.index) is int
        and _is_exact_delta(choice.delta)
        and (choice.logprobs is None or _are_exact_logprobs(choice.logprobs))
        and type(choice.finish_reason) in _TEXT
        and type(choice.stop_reason) in _REASON
    )


def _is_exact_delta(delta: DeltaMessage) -> bool:
    return (
        type(delta) is DeltaMessage
        and type(delta.role) in _TEXT
        and type(delta.content) is str
        and type(delta.reasoning_content) in _TEXT
        and type(delta.tool_calls) is list
        and all(map(_is_exact_call, delta.tool_calls))
    )


def _is_exact_call(call: DeltaToolCall) -> bool:
    function = call.function
    return (
        type(call) is DeltaToolCall
        and type(call.id) is str
        and type(call.type) is str
        and call.type == "function"
        and type(call.index) is int
        and (
            function is None
            or (
                type(function) is DeltaFunctionCall
                and type(function.name) in _TEXT
                and type(function.arguments) in _TEXT
            )
        )
    )


def _are_exact_logprobs(logprobs: ChatCompletionLogProbs) -> bool:
    return type(logprobs) is ChatCompletionLogProbs and (
        logprobs.content is None
        or (type(logprobs.content) is list and all(map(_is_exact_entry, logprobs.content)))
    )


def _is_exact_entry(entry: ChatCompletionLogProbsContent) -> bool:
    if type(entry) is not ChatCompletionLogProbsContent or not _is_exact_logprob(entry):
        return False
    if type(entry.top_logprobs) is not list:
        return False
    return all(
        type(other) is ChatCompletionLogProb and _is_exact_logprob(other)
        for other in entry.top_logprobs
    )


def _is_exact_logprob(entry: ChatCompletionLogProb) -> bool:
    return (
        type(entry.token) is str
        and type(entry.logprob) is float
        and -1e16 < entry.logprob < 1e16
        and (
            entry.bytes is None
            or (type(entry.bytes) is list and _are_integers(map(type, entry.bytes)))
        )
    )


def _is_exact_usage(usage: UsageInfo) -> bool:
    details = usage.prompt_tokens_details
    return (
        type(usage) is UsageInfo
        and type(usage.prompt_tokens) is int
        and type(usage.total_tokens) is int
        and type(usage.completion_tokens) in _INTEGER
        and (
            details is None
            or (type(details) is PromptTokenUsageInfo and type(details.cached_tokens) in _INTEGER)
        )
    )
