"""The three-state family: chunks as today's servers write them, for gateways in front of anybody's.

In:  the JSON of one chunk from any OpenAI-compatible server.
Out: `ChatCompletionStreamResponse`, in which every field is absent (`msgspec.UNSET`), null (`None`)
or a value; and back to JSON, with only what was set.
Cost: about that of the mirror, with three times as many fields.

The fields are those that vLLM 0.33, SGLang 0.5.23, openai 3.54 and Ray 2.46 declare, in vLLM's
order, and those that streams of other providers have. A value that only its provider understands
stays as it came in, unparsed (`msgspec.Raw`), and keeps the received data alive. Keys without a
field are ignored: to keep them, forward the received bytes, or edit those.

Any key may one day come with a value of another type; an Envoy gateway sent
`"reasoning_content":{"text":"…"}`. A chunk must not go unseen because of a key that nobody asked
about, so its field holds such a value as it was parsed, and encodes to the same JSON. The same goes
for `usage` and `logprobs`, and for what is in them: code that must not fail on such a chunk asks
`isinstance(chunk.usage, UsageInfo)` first. Only what leads to the texts must have its shape, or the
chunk is invalid: a reader that finds `delta` to be a string would take the chunk for one that says
nothing. `choices`, `delta`, `tool_calls`, `function` and `function_call` are absent, null, an
object, or a list of objects.

    >>> from fastchunk import encode, wire
    >>> chunk = wire.decode('{"id":"c","choices":[{"delta":{"content":null}}],"x_groq":{"id":"r"}}')
    >>> chunk.choices[0].delta.content is None, chunk.choices[0].delta.role
    (True, UNSET)
    >>> encode(chunk)
    b'{"id":"c","choices":[{"delta":{"content":null}}],"x_groq":{"id":"r"}}'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from msgspec import UNSET, Raw, Struct, UnsetType, json

from . import codec, pickling
from .codec import Data

__all__ = [
    "ChatCompletionLogProb",
    "ChatCompletionLogProbs",
    "ChatCompletionLogProbsContent",
    "ChatCompletionResponse",
    "ChatCompletionResponseChoice",
    "ChatCompletionResponseStreamChoice",
    "ChatCompletionStreamResponse",
    "ChatMessage",
    "CompletionTokenUsageInfo",
    "DeltaFunctionCall",
    "DeltaMessage",
    "DeltaToolCall",
    "FunctionCall",
    "PromptTokenUsageInfo",
    "ToolCall",
    "UsageInfo",
    "decode",
]

S = TypeVar("S", bound=Struct)
Text: TypeAlias = str | None | UnsetType
Integer: TypeAlias = int | None | UnsetType
Number: TypeAlias = float | None | UnsetType
Integers: TypeAlias = list[int] | None | UnsetType
Opaque: TypeAlias = Raw | UnsetType
"""JSON as it came in; a null is `Raw(b"null")`."""


class ChatCompletionLogProb(Struct, kw_only=True, gc=False):
    """One token that the model might have put here, and its log-probability."""

    token: Text = UNSET
    logprob: Number = UNSET
    bytes: Integers = UNSET


class ChatCompletionLogProbsContent(ChatCompletionLogProb, kw_only=True, gc=False):
    """The token that the model did put here, and the likeliest others."""

    top_logprobs: list[ChatCompletionLogProb] | UnsetType | None = UNSET


class ChatCompletionLogProbs(Struct, kw_only=True, gc=False):
    """The log-probabilities of a delta's tokens; SGLang's older shape is opaque."""

    content: list[ChatCompletionLogProbsContent] | UnsetType | None = UNSET
    refusal: list[ChatCompletionLogProbsContent] | UnsetType | None = UNSET
    reasoning_content: list[ChatCompletionLogProbsContent] | UnsetType | None = UNSET
    text_offset: Opaque = UNSET
    token_logprobs: Opaque = UNSET
    tokens: Opaque = UNSET
    top_logprobs: Opaque = UNSET


class DeltaFunctionCall(Struct, kw_only=True, gc=False):
    """The function's name, and the next piece of its arguments: text, or an object at once."""

    name: Text = UNSET
    arguments: str | dict[str, Any] | UnsetType | None = UNSET


class DeltaToolCall(Struct, kw_only=True, gc=False):
    """The next piece of the tool call at `index`."""

    id: Text = UNSET
    type: Text = UNSET
    index: Integer = UNSET
    function: DeltaFunctionCall | UnsetType | None = UNSET
    custom: Opaque = UNSET


class DeltaMessage(Struct, kw_only=True, gc=False):
    """The next piece of a choice's message."""

    role: Text = UNSET
    content: str | list[Any] | UnsetType | None = UNSET
    reasoning: Text = UNSET
    tool_calls: list[DeltaToolCall] | UnsetType | None = UNSET
    reasoning_content: Text = UNSET
    refusal: Text = UNSET
    function_call: DeltaFunctionCall | UnsetType | None = UNSET
    annotations: Opaque = UNSET
    audio: Opaque = UNSET
    channel: Opaque = UNSET
    executed_tools: Opaque = UNSET
    hidden_states: Opaque = UNSET
    reasoning_details: Opaque = UNSET
    token_id: Opaque = UNSET

    @property
    def text(self) -> str:
        """The text of `content`, whatever its shape: a string, parts, null or absent."""
        content = self.content
        return content if isinstance(content, str) else _join_parts(content, "text")

    @property
    def reasoning_text(self) -> str:
        """The reasoning under either name, or in the `thinking` parts of `content`."""
        found = self.reasoning or self.reasoning_content or _join_parts(self.content, "thinking")
        return found if isinstance(found, str) else _join_parts(found, "text")


def _join_parts(parts: object, kind: str) -> str:
    """Join what a part, or the parts of a list, hold under `kind`: a string, or again parts."""
    if not isinstance(parts, (dict, list)):
        return ""
    found: list[str] = []
    pending: list[tuple[Any, str]] = [(parts, kind)]
    while pending:  # no recursion: the server decides how deep it goes
        value, key = pending.pop()
        if isinstance(value, dict):
            pending.append((value.get(key), "text"))
        elif isinstance(value, list):
            pending += [(part, key) for part in reversed(value) if isinstance(part, dict)]
        elif isinstance(value, str):
            found.append(value)
    return "".join(found)


class ChatCompletionResponseStreamChoice(Struct, kw_only=True, gc=False):
    """One of the answers that are streamed side by side."""

    index: Integer = UNSET
    delta: DeltaMessage | UnsetType | None = UNSET
    logprobs: ChatCompletionLogProbs | UnsetType | None = UNSET
    finish_reason: Text = UNSET
    stop_reason: int | str | UnsetType | None = UNSET
    token_ids: Integers = UNSET
    weight_versions: Opaque = UNSET
    matched_stop: int | str | UnsetType | None = UNSET
    content_filter_offsets: Opaque = UNSET
    content_filter_results: Opaque = UNSET
    message: Opaque = UNSET
    native_finish_reason: Opaque = UNSET
    seed: Opaque = UNSET
    text: Opaque = UNSET

    def index_or(self, position: int) -> int:
        """Return the choice's index, or its position in the chunk if the server sends no index."""
        index = self.index
        return index if type(index) is int else position


class PromptTokenUsageInfo(Struct, kw_only=True, gc=False):
    """What the prompt's tokens are made of."""

    cached_tokens: Integer = UNSET
    created_cache_tokens: Integer = UNSET
    multimodal_tokens: Opaque = UNSET
    audio_tokens: Integer = UNSET
    cache_write_tokens: Integer = UNSET
    image_tokens: Integer = UNSET
    text_tokens: Integer = UNSET
    video_tokens: Integer = UNSET


class CompletionTokenUsageInfo(Struct, kw_only=True, gc=False):
    """What the answer's tokens are made of."""

    reasoning_tokens: Integer = UNSET
    accepted_prediction_tokens: Integer = UNSET
    audio_tokens: Integer = UNSET
    image_tokens: Integer = UNSET
    rejected_prediction_tokens: Integer = UNSET
    text_tokens: Integer = UNSET


class UsageInfo(Struct, kw_only=True, gc=False):
    """Tokens used so far."""

    prompt_tokens: Integer = UNSET
    total_tokens: Integer = UNSET
    completion_tokens: Integer = UNSET
    prompt_tokens_details: PromptTokenUsageInfo | UnsetType | None = UNSET
    completion_tokens_details: CompletionTokenUsageInfo | UnsetType | None = UNSET
    reasoning_tokens: Integer = UNSET
    cache_creation_input_tokens: Integer = UNSET
    cache_read_input_tokens: Integer = UNSET
    cached_tokens: Integer = UNSET
    completion_time: Number = UNSET
    cost: Opaque = UNSET
    cost_details: Opaque = UNSET
    cost_in_usd_ticks: Opaque = UNSET
    is_byok: Opaque = UNSET
    num_sources_used: Opaque = UNSET
    prompt_cache_hit_tokens: Integer = UNSET
    prompt_cache_miss_tokens: Integer = UNSET
    prompt_time: Number = UNSET
    queue_time: Number = UNSET
    search_context_size: Opaque = UNSET
    total_time: Number = UNSET


class ChatCompletionStreamResponse(Struct, kw_only=True, gc=False):
    """One chunk as servers send it, in three states, or the error that one sends in its place."""

    id: Text = UNSET
    object: Text = UNSET
    created: Integer = UNSET
    model: Text = UNSET
    choices: list[ChatCompletionResponseStreamChoice] | UnsetType | None = UNSET
    usage: UsageInfo | UnsetType | None = UNSET
    system_fingerprint: Text = UNSET
    prompt_token_ids: Integers = UNSET
    prompt_text: Text = UNSET
    metrics: Opaque = UNSET
    kv_transfer_params: Opaque = UNSET
    sglext: Opaque = UNSET
    service_tier: Text = UNSET
    moderation: Opaque = UNSET
    obfuscation: Opaque = UNSET
    error: Any = UNSET
    """The server's error object, parsed: OpenRouter sends it in a chunk, others on its own."""
    citations: Opaque = UNSET
    p: Opaque = UNSET
    prompt_filter_results: Opaque = UNSET
    provider: Opaque = UNSET
    search_results: Opaque = UNSET
    timings: Opaque = UNSET
    x_groq: Opaque = UNSET

    @property
    def is_usage(self) -> bool:
        """Whether this is the chunk that `include_usage` asks for: a usage and no choices."""
        return not self.choices and isinstance(self.usage, UsageInfo)

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Pickle would write out every absent field, and most fields are absent.
        data = None
        if type(self) is ChatCompletionStreamResponse:
            data = pickling.carry(self, _to_json, decode_utf8)
        return Struct.__reduce__(self) if data is None else (_restore, (data,))

    def __deepcopy__(self: S, memo: dict[int, Any]) -> S:
        return pickling.deepcopy(self, memo)


class FunctionCall(Struct, kw_only=True, gc=False):
    """The function to call, and its arguments as JSON text."""

    name: str = ""
    arguments: str = ""


class ToolCall(Struct, kw_only=True, gc=False):
    """One whole tool call."""

    id: Text = UNSET
    type: str = "function"
    function: FunctionCall


class ChatMessage(Struct, kw_only=True, gc=False):
    """A choice's whole message."""

    role: str = "assistant"
    content: str | None = None
    reasoning_content: Text = UNSET
    refusal: Text = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatCompletionResponseChoice(Struct, kw_only=True, gc=False):
    """One of the answers, whole."""

    index: int
    message: ChatMessage
    logprobs: ChatCompletionLogProbs | UnsetType | None = UNSET
    finish_reason: str | None = None
    stop_reason: int | str | UnsetType | None = UNSET


class ChatCompletionResponse(Struct, kw_only=True, gc=False):
    """A chat completion as it is returned when it is not streamed."""

    id: Text = UNSET
    object: str = "chat.completion"
    created: Integer = UNSET
    model: Text = UNSET
    choices: list[ChatCompletionResponseChoice]
    usage: UsageInfo | UnsetType | None = UNSET
    system_fingerprint: Text = UNSET
    service_tier: Text = UNSET


decode: Callable[[Data], ChatCompletionStreamResponse] = codec.tolerant_decoder(
    ChatCompletionStreamResponse,
    firm={
        ChatCompletionResponseStreamChoice,
        DeltaMessage,
        DeltaToolCall,
        DeltaFunctionCall,
    },
)
"""Decode one JSON document of any OpenAI-compatible server into the three-state chunk.

Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to a buffer that may
change. Raises `InvalidChunk` for data that is no JSON object of this shape, `TypeError` for what is
no data.
"""

decode_utf8: Callable[[bytes], ChatCompletionStreamResponse] = json.Decoder(
    ChatCompletionStreamResponse
).decode
"""The bare decoder, for callers that have checked the UTF-8 of a whole read. It raises
`msgspec.DecodeError` for some data that `decode` accepts; those callers then ask `decode`."""


_to_json = json.Encoder().encode


def _restore(data: bytes) -> ChatCompletionStreamResponse:
    """Make the chunk that was pickled as these bytes."""
    return decode_utf8(data)
