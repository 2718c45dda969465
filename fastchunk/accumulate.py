"""Puts the chunks of a stream together to the answer that an unstreamed request returns.

In:  chunks of a family, in order.
Out: the family's whole answer, at any time: for chat a `wire.ChatCompletionResponse`, else what its
module's `Answer` builds.
Cost: a few looks and one append a chunk; a snapshot joins what has come since the last one. Chunks
of the mirror are encoded and decoded once more on the way.

Servers disagree on what a delta repeats. The accumulator takes an id, a model, a role, a type or a
name once, however often it comes, and joins texts and arguments. A piece of a tool call belongs to
the call with its `index`; but with another id and a name it begins a new call. Where pieces have no
index, their id says which call they belong to, and a piece without an id belongs to the last one.

    >>> from fastchunk import Accumulator, wire
    >>> answer = Accumulator()
    >>> answer.add(wire.decode('{"choices":[{"index":0,"delta":{"content":"Hel"}}]}'))
    >>> answer.add(wire.decode('{"choices":[{"index":0,"delta":{"content":"lo"}}]}'))
    >>> answer.snapshot().choices[0].message.content, answer.finished
    ('Hello', False)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, overload

from msgspec import UNSET, UnsetType

from . import models, wire
from .choices import ChoicesAnswer
from .codec import encode, encode_tree
from .dialects import dialect_of
from .stream import Family
from .wire import ChatCompletionResponse
from .wire import ChatCompletionStreamResponse as Chunk

__all__ = ["Accumulator"]

A = TypeVar("A")
Tokens: TypeAlias = list[wire.ChatCompletionLogProbsContent] | UnsetType | None


class Answer(Protocol):
    """What a family puts its chunks together with."""

    def add(self, chunk: Any, /) -> None:
        """Add the next chunk."""

    def build(self) -> Any:
        """Build the answer so far; what is added later does not change it."""

    @property
    def finished(self) -> bool:
        """Whether the answer is complete."""


class Accumulator(Generic[A]):
    """Puts the chunks of one stream together. One object, one stream, one thread."""

    @overload
    def __init__(self: Accumulator[ChatCompletionResponse]) -> None: ...
    @overload
    def __init__(self: Accumulator[Any], family: Family[Any]) -> None: ...
    def __init__(self, family: Family[Any] = wire) -> None:
        """Take the family of the chunks. Raises `TypeError` for what is no family."""
        dialect_of(family)
        self._answer: Answer = getattr(family, "Answer", _ChatAnswer)()
        self.add: Callable[[Any], None] = getattr(self._answer, "adder", self._answer.add)
        """Add the next chunk. Of chat's, only usage and the tokens of logprobs are kept.

        Raises `TypeError` for what is no chunk of the family, `InvalidChunk` for a chunk of the
        mirror that has no JSON form.
        """

    @property
    def finished(self) -> bool:
        """Whether the answer is complete: for chat, whether each choice has its finish reason."""
        return self._answer.finished

    def snapshot(self) -> A:
        """Return the answer so far; what is added later does not change it.

        Its usage and the tokens of its logprobs are the chunks' own objects, not copies. Raises
        `InvalidChunk` where the response of a Responses event, which is parsed only now, is none.
        """
        answer: A = self._answer.build()
        return answer

    def result(self) -> A:
        """Return the answer at the end of the stream; `finished` says whether it is complete."""
        return self.snapshot()


class _ChatAnswer(ChoicesAnswer[ChatCompletionResponse]):
    """Puts the chunks of `wire` together, and those of the mirror."""

    def __init__(self) -> None:
        super().__init__(ChatCompletionResponse(choices=[]), _Choice)

    def add(self, chunk: Any) -> None:
        """Add the next chunk, of either family."""
        super().add(chunk if type(chunk) is Chunk else _to_wire(chunk))


def _to_wire(chunk: Any) -> Chunk:
    if isinstance(chunk, Chunk):
        return chunk
    if isinstance(chunk, models.ChatCompletionStreamResponse):
        return wire.decode(encode(chunk))
    raise TypeError(f"chunk must be a ChatCompletionStreamResponse, not {type(chunk).__name__}")


class _Choice:
    """What is known of one choice; each text is the list of its pieces so far."""

    __slots__ = (
        "_calls", "_content", "_known", "_logprobs", "_reasoning", "_refusal", "_role",
        "_stop_reason", "finish_reason",
    )  # fmt: skip

    def __init__(self) -> None:
        self._role = ""
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []
        self._known: dict[int | str, _Call] = {}  # the last call of each index, or of each id
        self._logprobs: wire.ChatCompletionLogProbs | UnsetType | None = UNSET
        self.finish_reason: str | None = None
        self._stop_reason: int | str | UnsetType | None = UNSET

    def add(self, choice: wire.ChatCompletionResponseStreamChoice) -> None:
        delta = choice.delta
        if delta:
            self._add_delta(delta)
        logprobs = choice.logprobs
        if logprobs:
            self._add_logprobs(logprobs)
        elif logprobs is None and not self._logprobs:
            self._logprobs = None
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        reason = choice.stop_reason
        if reason is not UNSET and (reason is not None or self._stop_reason is UNSET):
            self._stop_reason = reason

    def build(self, index: int) -> wire.ChatCompletionResponseChoice:
        """Build the choice as it is so far."""
        calls = sorted(self._calls, key=lambda call: call.index)
        message = wire.ChatMessage(
            role=self._role or "assistant",
            content=_join(self._content) if self._content else None,
            reasoning_content=_join(self._reasoning) if self._reasoning else UNSET,
            refusal=_join(self._refusal) if self._refusal else UNSET,
            tool_calls=[call.build() for call in calls] or UNSET,
        )
        return wire.ChatCompletionResponseChoice(
            index=index,
            message=message,
            logprobs=_copy_logprobs(self._logprobs),
            finish_reason=self.finish_reason,
            stop_reason=self._stop_reason,
        )

    def _add_delta(self, delta: wire.DeltaMessage) -> None:
        content = delta.content
        reasoning = delta.reasoning or delta.reasoning_content
        if type(content) is str:
            self._content.append(content)
        elif content:  # parts, and some of them may be reasoning
            self._content.append(delta.text)
            reasoning = delta.reasoning_text
        if reasoning and type(reasoning) is not str:  # an object that holds the text
            reasoning = delta.reasoning_text
        if reasoning:
            self._reasoning.append(reasoning)
        if delta.role and not self._role:
            self._role = _read_text(delta.role)
        if delta.refusal and isinstance(delta.refusal, str):
            self._refusal.append(delta.refusal)
        for piece in delta.tool_calls or ():
            self._find_call(piece).add(piece)

    def _find_call(self, piece: wire.DeltaToolCall) -> _Call:
        """Find the call that a piece belongs to, or begin one."""
        key = piece.index if type(piece.index) is int else _read_text(piece.id)
        known = self._known.get(key)
        if known is None and type(key) is not int and self._calls:
            known = self._calls[-1]
        if known is None or _begins_call(piece, known):
            known = _Call(key if type(key) is int else len(self._calls))
            self._calls.append(known)
        if key != "":
            self._known[key] = known
        return known

    def _add_logprobs(self, logprobs: wire.ChatCompletionLogProbs) -> None:
        if not isinstance(logprobs, wire.ChatCompletionLogProbs):
            return  # a server may send anything in their place
        known = self._logprobs or wire.ChatCompletionLogProbs()
        known.content = _extend(known.content, logprobs.content)
        known.refusal = _extend(known.refusal, logprobs.refusal)
        known.reasoning_content = _extend(known.reasoning_content, logprobs.reasoning_content)
        self._logprobs = known


def _begins_call(piece: wire.DeltaToolCall, known: _Call) -> bool:
    """Tell whether a piece begins a call of its own instead of continuing a known one.

    A piece continues if it has no name, or the same id. To begin a call, a piece with an index
    needs another id; a piece without one needs only its name.
    """
    if not (piece.function and _read_text(piece.function.name)):
        return False
    call = _read_text(piece.id)
    if type(piece.index) is int:
        return bool(call and known.id and call != known.id)
    return not call or call != known.id


class _Call:
    """What is known of one tool call."""

    __slots__ = ("_arguments", "_name", "_type", "id", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self._type = ""
        self._name: list[str] = []
        self._arguments: list[str] = []

    def add(self, piece: wire.DeltaToolCall) -> None:
        self.id = self.id or _read_text(piece.id)
        self._type = self._type or _read_text(piece.type)
        function = piece.function
        if not function:
            return
        name = _read_text(function.name)
        if name and name != "".join(self._name[-1:]):  # some servers repeat it in each piece
            self._name.append(name)
        arguments = function.arguments
        if isinstance(arguments, str):
            self._arguments.append(arguments)
        elif arguments is not None and arguments is not UNSET:  # an object at once
            self._arguments.append(encode_tree(arguments).decode())

    def build(self) -> wire.ToolCall:
        name = "".join(self._name)
        function = wire.FunctionCall(name=name, arguments=_join(self._arguments))
        return wire.ToolCall(id=self.id or UNSET, type=self._type or "function", function=function)


def _read_text(value: object) -> str:
    """Return a text; what a server sent in the place of one counts as no text."""
    return value if isinstance(value, str) else ""


def _join(pieces: list[str]) -> str:
    """Join the pieces, and keep them joined, so that the next call joins only what is new."""
    pieces[:] = ["".join(pieces)]
    return pieces[0]


def _extend(known: Tokens, more: Tokens) -> Tokens:
    """Append to the tokens that came before; without any, say what came last: null or empty."""
    if known and isinstance(more, list):
        known += more
        return known
    if isinstance(more, list):
        return list(more)
    return None if more is None and not known else known


def _copy_logprobs(
    logprobs: wire.ChatCompletionLogProbs | UnsetType | None,
) -> wire.ChatCompletionLogProbs | UnsetType | None:
    if not logprobs:
        return logprobs
    return wire.ChatCompletionLogProbs(
        content=_extend(UNSET, logprobs.content),
        refusal=_extend(UNSET, logprobs.refusal),
        reasoning_content=_extend(UNSET, logprobs.reasoning_content),
    )
