"""Legacy completions: the streamed chunks of `/v1/completions`, in three states.

In:  the JSON of one `text_completion` chunk from any OpenAI-compatible server.
Out: `CompletionStreamResponse`, in which every field is absent (`msgspec.UNSET`), null (`None`) or
a value; back to JSON, with only what was set; or all chunks as one `CompletionResponse`.
Cost: that of `wire`, for fewer fields.

The classes and their first fields are those of Ray Serve 2.46, in its order; vLLM's, SGLang's and
other servers' fields follow. There is no second family that mirrors Ray's defaults, as `models`
does for chat: a stream of completions has nobody who reads absent fields, and what Ray writes reads
the same here. `wire` says what becomes of unknown keys and of values of another type: only
`choices` must have its shape.

    >>> from fastchunk import completions, encode
    >>> chunk = completions.decode('{"id":"c","choices":[{"index":0,"text":"Hi","logprobs":null}]}')
    >>> chunk.choices[0].text, chunk.choices[0].finish_reason
    ('Hi', UNSET)
    >>> encode(chunk)
    b'{"id":"c","choices":[{"index":0,"text":"Hi","logprobs":null}]}'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import UNSET, Struct, UnsetType, json

from . import codec
from .choices import ChoicesAnswer
from .codec import Data
from .wire import Integer, Integers, Opaque, Text, UsageInfo

__all__ = [
    "Answer",
    "CompletionLogProbs",
    "CompletionResponse",
    "CompletionResponseChoice",
    "CompletionResponseStreamChoice",
    "CompletionStreamResponse",
    "decode",
    "decode_utf8",
]

T = TypeVar("T")


class CompletionLogProbs(Struct, kw_only=True, gc=False):
    """The tokens of a text and their log-probabilities, side by side in four lists."""

    text_offset: Integers = UNSET
    token_logprobs: list[float | None] | UnsetType | None = UNSET
    tokens: list[str] | UnsetType | None = UNSET
    top_logprobs: list[dict[str, float] | None] | UnsetType | None = UNSET


class CompletionResponseStreamChoice(Struct, kw_only=True, gc=False):
    """The next piece of one of the texts that are streamed side by side."""

    index: Integer = UNSET
    text: Text = UNSET
    logprobs: CompletionLogProbs | UnsetType | None = UNSET
    finish_reason: Text = UNSET
    stop_reason: int | str | UnsetType | None = UNSET
    prompt_logprobs: Opaque = UNSET
    prompt_token_ids: Integers = UNSET
    token_ids: Integers = UNSET
    matched_stop: int | str | UnsetType | None = UNSET
    hidden_states: Opaque = UNSET
    content_filter_results: Opaque = UNSET
    delta: Opaque = UNSET
    native_finish_reason: Opaque = UNSET
    reasoning: Opaque = UNSET

    def index_or(self, position: int) -> int:
        """Return the choice's index, or its position in the chunk if the server sends no index."""
        index = self.index
        return index if type(index) is int else position


class CompletionStreamResponse(Struct, kw_only=True, gc=False):
    """One chunk as servers send it, in three states, or the error that one sends in its place."""

    id: Text = UNSET
    object: Text = UNSET
    created: Integer = UNSET
    model: Text = UNSET
    choices: list[CompletionResponseStreamChoice] | UnsetType | None = UNSET
    usage: UsageInfo | UnsetType | None = UNSET
    system_fingerprint: Text = UNSET
    service_tier: Text = UNSET
    kv_transfer_params: Opaque = UNSET
    metadata: Opaque = UNSET
    sglext: Opaque = UNSET
    prompt_filter_results: Opaque = UNSET
    provider: Opaque = UNSET
    error: Any = UNSET
    """The server's error object, parsed."""

    @property
    def is_usage(self) -> bool:
        """Whether this is the chunk that `include_usage` asks for: a usage and no choices."""
        return not self.choices and isinstance(self.usage, UsageInfo)


class CompletionResponseChoice(Struct, kw_only=True, gc=False):
    """One of the texts, whole."""

    index: int
    text: str
    logprobs: CompletionLogProbs | UnsetType | None = UNSET
    finish_reason: str | None = None
    stop_reason: int | str | UnsetType | None = UNSET


class CompletionResponse(Struct, kw_only=True, gc=False):
    """A completion as it is returned when it is not streamed."""

    id: Text = UNSET
    object: str = "text_completion"
    created: Integer = UNSET
    model: Text = UNSET
    choices: list[CompletionResponseChoice]
    usage: UsageInfo | UnsetType | None = UNSET
    system_fingerprint: Text = UNSET
    service_tier: Text = UNSET


decode: Callable[[Data], CompletionStreamResponse] = codec.tolerant_decoder(
    CompletionStreamResponse, firm={CompletionResponseStreamChoice}
)
"""Decode one JSON document of any OpenAI-compatible server into a chunk.

Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to a buffer that may
change. Raises `InvalidChunk` for data that is no JSON object of this shape, `TypeError` for what is
no data.
"""

decode_utf8: Callable[[bytes], CompletionStreamResponse] = json.Decoder(
    CompletionStreamResponse
).decode
"""The bare decoder, for callers that have checked the UTF-8 of a whole read. It raises
`msgspec.DecodeError` for some data that `decode` accepts; those callers then ask `decode`."""


class Answer(ChoicesAnswer[CompletionResponse]):
    """Puts the chunks of one stream together. One object, one stream, one thread."""

    def __init__(self) -> None:
        super().__init__(CompletionResponse(choices=[]), _Choice)


class _Choice:
    """What is known of one choice; its text is the list of its pieces so far."""

    __slots__ = ("_logprobs", "_stop_reason", "_text", "finish_reason")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._logprobs: CompletionLogProbs | UnsetType | None = UNSET
        self.finish_reason: str | None = None
        self._stop_reason: int | str | UnsetType | None = UNSET

    def add(self, choice: CompletionResponseStreamChoice) -> None:
        text = choice.text
        if type(text) is str:
            self._text.append(text)
        logprobs = choice.logprobs
        if isinstance(logprobs, CompletionLogProbs):
            self._logprobs = _join_logprobs(self._logprobs or CompletionLogProbs(), logprobs)
        elif logprobs is None and not self._logprobs:
            self._logprobs = None
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        reason = choice.stop_reason
        if reason is not UNSET and (reason is not None or self._stop_reason is UNSET):
            self._stop_reason = reason

    def build(self, index: int) -> CompletionResponseChoice:
        """Build the choice as it is so far."""
        # The pieces stay joined, so that the next call joins only what is new.
        self._text[:] = ["".join(self._text)]
        logprobs = self._logprobs
        return CompletionResponseChoice(
            index=index,
            text=self._text[0],
            logprobs=_join_logprobs(CompletionLogProbs(), logprobs) if logprobs else logprobs,
            finish_reason=self.finish_reason,
            stop_reason=self._stop_reason,
        )


def _join_logprobs(known: CompletionLogProbs, more: CompletionLogProbs) -> CompletionLogProbs:
    """Append each list of a chunk to the one that came before; return what they were added to."""
    known.text_offset = _extend(known.text_offset, more.text_offset)
    known.token_logprobs = _extend(known.token_logprobs, more.token_logprobs)
    known.tokens = _extend(known.tokens, more.tokens)
    known.top_logprobs = _extend(known.top_logprobs, more.top_logprobs)
    return known


def _extend(
    known: list[T] | UnsetType | None, more: list[T] | UnsetType | None
) -> list[T] | UnsetType | None:
    """Append to a list that came before; without one, say what came last: null or empty."""
    if not isinstance(more, list):
        return None if more is None and not known else known
    if known:
        known += more
        return known
    return more[:]
