"""What a stream of OpenAI Responses events says: of the family `responses`.

In:  an event, or its facts.
Out: its finish reason, usage and error; and the texts in it, with their places.
Cost: a look at a delta; an event that spells out what deltas have said is parsed whole.

A text is a part of an item of the output, the summary of a reasoning, or a call's arguments. What
has said it in pieces is followed by three or four events that spell it out once more: each of them
is a whole text. An event of an unknown type has texts, too: if it is called a delta, a piece of
one, and else whole ones.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, NamedTuple, get_args

from msgspec import UNSET, Raw, json, structs

from fastchunk import responses
from fastchunk.dialect import (
    ARGUMENTS,
    CONTENT,
    NAMES,
    REASONING,
    REFUSAL,
    Dialect,
    Edits,
    Marks,
    Place,
    Script,
    Text,
    leaves_below,
    list_in,
    texts_below,
)
from fastchunk.edit import DROP, edit, pointer
from fastchunk.scan import FACT, KIND, TEXT, Tally
from fastchunk.text import Channel

__all__ = ["DIALECT"]


def _note(facts: responses.Facts, tally: Tally) -> bool:
    kind, response = facts.type, facts.response
    if type(kind) is not str or kind == "error":
        return False
    tally.chunks += 1
    tally.indexes.add(0)
    if isinstance(response, responses.ResponseFacts):
        if isinstance(response.usage, Raw) and bytes(response.usage)[:1] == b"{":
            tally.usage_data = bytes(response.usage)
        if kind in _TERMINAL:
            tally.done = True
            tally.finish_reasons[0] = _reason(response, kind)
    return True


_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


def _reason(response: responses.ResponseFacts, kind: str) -> str:
    """Return why the response is incomplete, or else its status."""
    details = response.incomplete_details
    reason = details.get("reason") if isinstance(details, dict) else None
    if isinstance(reason, str):
        return reason
    return response.status if isinstance(response.status, str) else kind.partition(".")[2]


def _find_error(facts: responses.Facts) -> Any:
    return facts.failure


class _Piece(NamedTuple):
    """Where an event has its text, and which of the output's texts that is."""

    key: str
    channel: Channel
    part: str
    """The field that tells the texts of an item apart; empty if it has but one."""
    ends: bool = False
    """Whether it is the whole text, once more."""


_PIECES: dict[type, _Piece] = {
    responses.ResponseTextDeltaEvent: _Piece("delta", CONTENT, "content_index"),
    responses.ResponseTextDoneEvent: _Piece("text", CONTENT, "content_index", ends=True),
    responses.ResponseRefusalDeltaEvent: _Piece("delta", REFUSAL, "content_index"),
    responses.ResponseRefusalDoneEvent: _Piece("refusal", REFUSAL, "content_index", ends=True),
    responses.ResponseReasoningTextDeltaEvent: _Piece("delta", REASONING, "content_index"),
    responses.ResponseReasoningTextDoneEvent: _Piece("text", REASONING, "content_index", ends=True),
    responses.ResponseReasoningSummaryTextDeltaEvent: _Piece("delta", REASONING, "summary_index"),
    responses.ResponseReasoningSummaryTextDoneEvent: _Piece(
        "text", REASONING, "summary_index", ends=True
    ),
    responses.ResponseFunctionCallArgumentsDeltaEvent: _Piece("delta", ARGUMENTS, ""),
    responses.ResponseFunctionCallArgumentsDoneEvent: _Piece("arguments", ARGUMENTS, "", ends=True),
    responses.ResponseCustomToolCallInputDeltaEvent: _Piece("delta", ARGUMENTS, ""),
    responses.ResponseCustomToolCallInputDoneEvent: _Piece("input", ARGUMENTS, "", ends=True),
    responses.ResponseMcpCallArgumentsDeltaEvent: _Piece("delta", ARGUMENTS, ""),
    responses.ResponseMcpCallArgumentsDoneEvent: _Piece("arguments", ARGUMENTS, "", ends=True),
    responses.ResponseCodeInterpreterCallCodeDeltaEvent: _Piece("delta", ARGUMENTS, ""),
    responses.ResponseCodeInterpreterCallCodeDoneEvent: _Piece("code", ARGUMENTS, "", ends=True),
}
_PARTS: dict[type, str] = {
    responses.ResponseContentPartAddedEvent: "part",
    responses.ResponseContentPartDoneEvent: "part",
    responses.ResponseReasoningSummaryPartAddedEvent: "part",
    responses.ResponseReasoningSummaryPartDoneEvent: "part",
    responses.ResponseOutputItemAddedEvent: "item",
    responses.ResponseOutputItemDoneEvent: "item",
    responses.ResponseOutputTextAnnotationAddedEvent: "annotation",
}
"""The events that spell out what others have said in pieces, and where."""


def _voice(event: Any, piece: _Piece) -> Hashable:
    part = _number(getattr(event, piece.part)) if piece.part else None
    return _number(event.output_index), piece.channel[0], piece.part, part


def _number(index: Any) -> int | None:
    """Return an index; what a server sends in the place of one tells no texts apart."""
    return index if type(index) is int else None


def _texts(event: Any, with_arguments: bool) -> list[Text]:
    piece = _PIECES.get(type(event))
    if piece is not None:
        if piece.channel is ARGUMENTS and not with_arguments:
            return []
        return _own_texts(event, piece)
    if type(event) in _PARTS:
        key = _PARTS[type(event)]
        said = getattr(event, key)
        return _whole_texts(json.decode(said), (key,), with_arguments) if said else []
    if isinstance(event, responses.LifeCycleEvent):
        response = json.decode(event.response) if event.response else None
        place = ("response",)
        return _response_texts(response, place, with_arguments)
    if isinstance(event, responses.UnknownEvent):
        return _unknown_texts(str(event.type), json.decode(event.data), with_arguments)
    return []


def _own_texts(event: Any, piece: _Piece) -> list[Text]:
    """List the texts of an event that has nothing but a text: nearly every one is a piece."""
    value, voice, place = getattr(event, piece.key), _voice(event, piece), (piece.key,)
    tokens = None if getattr(event, "logprobs", UNSET) in _NO_TOKENS else ("logprobs",)
    if type(value) is str:
        return [Text(voice, piece.channel, value, place, piece.ends, None, tokens)] if value else []
    found = texts_below(voice, piece.channel, value, place, is_whole=piece.ends)
    return [structs.replace(text, tokens=tokens) for text in found]


_NO_TOKENS = (UNSET, Raw(b"[]"), Raw(b"null"))


def _unknown_texts(kind: str, event: dict[str, Any], with_arguments: bool) -> list[Text]:
    """List the texts of an event of an unknown type: a piece of one, if it is called a delta."""
    if kind.endswith(".audio.delta"):
        return []  # a sound, encoded
    if not (kind.endswith(".delta") and isinstance(event.get("delta"), str)):
        return _whole_texts(event, (), with_arguments)
    channel = _channel_of(kind, CONTENT)
    if channel is ARGUMENTS and not with_arguments:
        return []
    tokens = ("logprobs",) if event.get("logprobs") else None
    voice = _unknown_voice(kind, event)
    return [Text(voice, channel, event["delta"], ("delta",), tokens=tokens)]


def _unknown_voice(kind: str, event: dict[str, Any]) -> Hashable:
    """Tell a text from others by what its events are called, and by all their indices."""
    indices = [(key, _number(value)) for key, value in event.items() if key.endswith("_index")]
    return kind.rpartition(".")[0], *sorted(indices)


def _response_texts(response: Any, place: Place, with_arguments: bool) -> list[Text]:
    if not isinstance(response, dict):
        return []
    return [
        text
        for key in ("output", "output_text")
        for text in _whole_texts(response.get(key), (*place, key), with_arguments)
    ]


_LABELS = NAMES.union(
    "logprobs obfuscation tools phase execution namespace server_label size quality background "
    "output_format".split()
)
"""The keys of what is no text: what the API says of an item or of its tokens, and what the client
or a server of tools has said."""
_CHANNELS = {
    "refusal": REFUSAL,
    **dict.fromkeys(("reasoning", "summary"), REASONING),
    **dict.fromkeys(("arguments", "input", "code", "action", "operation"), ARGUMENTS),
    **dict.fromkeys(("output", "outputs", "results"), CONTENT),
}
"""What the keys say of the texts below them."""


def _whole_texts(value: Any, place: Place, with_arguments: bool) -> list[Text]:
    """List the texts of an item, of a part, or of what is of an unknown type."""
    found = []
    for text in leaves_below(None, CONTENT, value, place, but=_LABELS):
        channel, tokens = _look_up(value, text.place, len(place))
        if with_arguments or channel is not ARGUMENTS:
            found.append(structs.replace(text, channel=channel, tokens=tokens))
    return found


def _look_up(value: Any, place: Place, begin: int) -> tuple[Channel, Place | None]:
    """Tell the channel of a text by the types and the keys on the way to it; find its tokens.

    The way begins at the value, and that at a step of the place. What comes last on it counts.
    """
    channel, tokens = CONTENT, None
    for at in range(begin, len(place)):
        step = place[at]
        if isinstance(value, dict):
            channel = _channel_of(str(value.get("type")), channel)
            channel = _CHANNELS.get(str(step), channel)
            tokens = (*place[:at], "logprobs") if value.get("logprobs") else None
        value = value[step]
    return channel, tokens


def _channel_of(kind: str, known: Channel) -> Channel:
    """Tell a channel by the type of an event, an item or a part; by default, what is known."""
    if "reasoning" in kind or kind == "summary_text":
        return REASONING
    if "_call" in kind:
        return CONTENT if "_output" in kind else ARGUMENTS
    return known


def _answer_texts(answer: Any, with_arguments: bool) -> list[Text]:
    list_in(answer, "output")
    return _response_texts(answer, (), with_arguments)


def _ended(event: Any) -> list[Hashable]:
    piece = _PIECES.get(type(event))
    if piece is not None:
        return [_voice(event, piece)] if piece.ends else []
    if isinstance(event, responses.UnknownEvent) and str(event.type).endswith(".done"):
        return [_unknown_voice(str(event.type), json.decode(event.data))]
    return []


def _copies(event: Any, text: Text) -> Edits:
    """Empty the tokens of a text, which clients expect to be there, and drop the padding."""
    edits: Edits = {} if text.tokens is None else {text.tokens: []}
    is_unknown = isinstance(event, responses.UnknownEvent)
    if is_unknown or getattr(event, "obfuscation", UNSET) is not UNSET:
        edits["obfuscation",] = DROP
    return edits


def _make(data: bytes, text: Text, _channel: Channel, value: str) -> tuple[str, bytes]:
    changes = {pointer(text.place): value, "obfuscation": DROP}
    if text.tokens is not None:
        changes[pointer(text.tokens)] = []
    return str(responses.decode(data).type), edit(data, changes)


_SILENT = [
    kind
    for kind in get_args(responses.KnownEvent)
    if not issubclass(kind, (responses.LifeCycleEvent, responses.ResponseErrorEvent))
]

DIALECT: Final = Dialect(
    decode=responses.decode,
    decode_utf8=responses.decode_utf8,
    facts=responses.Facts,
    decode_facts=responses.decode_facts,
    note=_note,
    find_error=_find_error,
    decode_usage=responses.decode_usage,
    model=("response", "model"),
    script=Script(
        marks=Marks(
            responses.Facts,
            {
                **{(key,): TEXT for key in ("delta", "text", "refusal")},
                **{(f"{key}_index",): FACT for key in ("output", "content", "summary")},
                **{
                    (key,): KIND
                    for key in ("logprobs", "obfuscation", "part", "item", "annotation")
                },
            },
            {(key,): TEXT for key in ("arguments", "input")},
        ),
        paths=(
            *((key,) for key in ("type", "delta", "text", "refusal", "arguments", "input", "code")),
            *((key,) for key in ("output_index", "content_index", "summary_index")),
            ("part", "text"),
            ("item", "content"),
            ("response", "output"),
        ),
        texts=_texts,
        ended=_ended,
        copies=_copies,
        make=_make,
        answer_texts=_answer_texts,
        errors=(("response", "error"),),
        passing=("sequence_number", "obfuscation"),
    ),
    notes=dict.fromkeys(_SILENT),
)
"""How a stream of events is read.

The finish reason, under the index 0, is why the response is incomplete, or else its status.
"""
