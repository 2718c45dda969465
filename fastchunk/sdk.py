"""Chat's chunks as OpenAI's SDK reads them: what a server did not send is None.

In:  the JSON of one chunk from any OpenAI-compatible server.
Out: `ChatCompletionChunk`, in which every field is a value or None, for code that was written for
the class of that name in `openai.types.chat`: its attributes, `is None`, `model_dump`.
Cost: that of `wire`.

The fields are those of `wire`, in its order, read as forgivingly. msgspec knows no way to inherit a
field with another default, so the Structs are written out, under the SDK's names. What only its
provider understands `wire` keeps unparsed; here it is parsed, as the SDK's extra attributes are.
Such an attribute is None where the SDK's object has none, and keys without a field are ignored.

Absent and null are one here: to forward a chunk, or to tell the two apart, take `wire`. There is
one exception. An event is a chunk because it has `choices`, so a chunk without that key, which the
SDK's class does not allow, has `UNSET` in it; this, too, is false.

    >>> from fastchunk import encode, sdk
    >>> chunk = sdk.decode('{"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}')
    >>> chunk.choices[0].delta.content, chunk.choices[0].delta.tool_calls, chunk.usage
    ('Hi', None, None)
    >>> encode(chunk)
    b'{"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct, UnsetType, json

from . import codec
from .codec import Data

__all__ = [
    "ChatCompletionChunk",
    "ChatCompletionTokenLogprob",
    "Choice",
    "ChoiceDelta",
    "ChoiceDeltaFunctionCall",
    "ChoiceDeltaToolCall",
    "ChoiceDeltaToolCallFunction",
    "ChoiceLogprobs",
    "CompletionTokensDetails",
    "CompletionUsage",
    "Moderation",
    "ModerationPart",
    "ModerationResult",
    "PromptTokensDetails",
    "TopLogprob",
    "decode",
    "decode_utf8",
]


class _Model(Struct, kw_only=True, gc=False, omit_defaults=True):
    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """Turn into dicts, lists and scalars.

        `exclude_none` leaves out what is None. Otherwise there is a null for every field, where the
        SDK has one for those that it declares.
        """
        tree: dict[str, Any] = codec.dump(self, exclude_none=exclude_none)
        return tree


class TopLogprob(_Model, kw_only=True, gc=False):
    """One token that the model might have put here, and its log-probability."""

    token: str | None = None
    logprob: float | None = None
    bytes: list[int] | None = None


class ChatCompletionTokenLogprob(TopLogprob, kw_only=True, gc=False):
    """The token that the model did put here, and the likeliest others."""

    top_logprobs: list[TopLogprob] | None = None


class ChoiceLogprobs(_Model, kw_only=True, gc=False):
    """The log-probabilities of a delta's tokens; SGLang's older shape is parsed JSON."""

    content: list[ChatCompletionTokenLogprob] | None = None
    refusal: list[ChatCompletionTokenLogprob] | None = None
    reasoning_content: Any = None
    text_offset: Any = None
    token_logprobs: Any = None
    tokens: Any = None
    top_logprobs: Any = None


class ChoiceDeltaFunctionCall(_Model, kw_only=True, gc=False):
    """The function's name, and the next piece of its arguments: text, or an object at once."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ChoiceDeltaToolCallFunction(ChoiceDeltaFunctionCall, kw_only=True, gc=False):
    """The same, of a tool call."""


class ChoiceDeltaToolCall(_Model, kw_only=True, gc=False):
    """The next piece of the tool call at `index`."""

    id: str | None = None
    type: str | None = None
    index: int | None = None
    function: ChoiceDeltaToolCallFunction | None = None
    custom: Any = None


class ChoiceDelta(_Model, kw_only=True, gc=False):
    """The next piece of a choice's message."""

    role: str | None = None
    content: str | list[Any] | None = None
    reasoning: str | None = None
    tool_calls: list[ChoiceDeltaToolCall] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    function_call: ChoiceDeltaFunctionCall | None = None
    annotations: Any = None
    audio: Any = None
    channel: Any = None
    executed_tools: Any = None
    hidden_states: Any = None
    reasoning_details: Any = None
    token_id: Any = None


class Choice(_Model, kw_only=True, gc=False):
    """One of the answers that are streamed side by side."""

    index: int | None = None
    delta: ChoiceDelta | None = None
    logprobs: ChoiceLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    weight_versions: Any = None
    matched_stop: int | str | None = None
    content_filter_offsets: Any = None
    content_filter_results: Any = None
    message: Any = None
    native_finish_reason: Any = None
    seed: Any = None
    text: Any = None


class PromptTokensDetails(_Model, kw_only=True, gc=False):
    """What the prompt's tokens are made of."""

    cached_tokens: int | None = None
    created_cache_tokens: int | None = None
    multimodal_tokens: Any = None
    audio_tokens: int | None = None
    cache_write_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None
    video_tokens: int | None = None


class CompletionTokensDetails(_Model, kw_only=True, gc=False):
    """What the answer's tokens are made of."""

    reasoning_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    text_tokens: int | None = None


class CompletionUsage(_Model, kw_only=True, gc=False):
    """Tokens used so far."""

    prompt_tokens: int | None = None
    total_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    reasoning_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cached_tokens: int | None = None
    completion_time: float | None = None
    cost: Any = None
    cost_details: Any = None
    cost_in_usd_ticks: Any = None
    is_byok: Any = None
    num_sources_used: Any = None
    prompt_cache_hit_tokens: int | None = None
    prompt_cache_miss_tokens: int | None = None
    prompt_time: float | None = None
    queue_time: float | None = None
    search_context_size: Any = None
    total_time: float | None = None


class ModerationResult(_Model, kw_only=True, gc=False):
    """What the moderation model says of one text."""

    type: str | None = None
    model: str | None = None
    flagged: bool | None = None
    categories: dict[str, bool] | None = None
    category_scores: dict[str, float] | None = None
    category_applied_input_types: dict[str, list[str]] | None = None


class ModerationPart(_Model, kw_only=True, gc=False):
    """What was found in the input or in the output, or the error in its place, as `type` says."""

    type: str | None = None
    model: str | None = None
    results: list[ModerationResult] | None = None
    code: str | None = None
    message: str | None = None


class Moderation(_Model, kw_only=True, gc=False):
    """What moderation found."""

    input: ModerationPart | None = None
    output: ModerationPart | None = None

    def model_dump(self, *, exclude_none: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Turn into dicts, lists and scalars, without what is None.

        A part has the fields of two of the SDK's classes, each of which requires all of its own.
        """
        return _Model.model_dump(self, exclude_none=True)


class ChatCompletionChunk(_Model, kw_only=True, gc=False):
    """One chunk as servers send it, or the error that one sends in its place."""

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[Choice] | UnsetType | None = UNSET
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None
    prompt_token_ids: list[int] | None = None
    prompt_text: str | None = None
    metrics: Any = None
    kv_transfer_params: Any = None
    sglext: Any = None
    service_tier: str | None = None
    moderation: Moderation | None = None
    obfuscation: Any = None
    error: Any = None
    """The server's error object, parsed: OpenRouter sends it in a chunk, others on its own."""
    citations: Any = None
    p: Any = None
    prompt_filter_results: Any = None
    provider: Any = None
    search_results: Any = None
    timings: Any = None
    x_groq: Any = None


decode: Callable[[Data], ChatCompletionChunk] = codec.tolerant_decoder(
    ChatCompletionChunk,
    firm={
        Choice,
        ChoiceDelta,
        ChoiceDeltaFunctionCall,
        ChoiceDeltaToolCall,
        ChoiceDeltaToolCallFunction,
    },
)
"""Decode one JSON document of any OpenAI-compatible server into a chunk.

Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to a buffer that may
change. Raises `InvalidChunk` for data that is no JSON object of this shape, `TypeError` for what is
no data.
"""

decode_utf8: Callable[[bytes], ChatCompletionChunk] = json.Decoder(ChatCompletionChunk).decode
"""The bare decoder, for callers that have checked the UTF-8 of a whole read. It raises
`msgspec.DecodeError` for some data that `decode` accepts; those callers then ask `decode`."""
