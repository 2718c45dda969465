"""What a stream of OpenAI Responses events says: of the family `responses`.

In:  an event, or its facts.
Out: its finish reason, usage and error; and the texts in it, with their places.
Cost: a look at a delta; an event that spells out what deltas have said is parsed whole.

A text is a part of an item of the output, the summary of a reasoning, or a call's arguments. What
has said it in pieces is followed by three or four events that spell it out once more: each of them
is a whole text.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, NamedTuple, get_args

from msgspec import UNSET, Raw, json, structs

from fastchunk import responses
from fastchunk.codec import encode
from fastchunk.dialect import Dialect, Edits, Place, Script, Text, leaves_below, texts_below
from fastchunk.edit import DROP, edit, pointer
from fastchunk.scan import Tally
from fastchunk.text import Channel

__all__ = ["DIALECT"]

_CONTENT: Channel = ("content", 0)
_REASONING: Channel = ("reasoning", 0)
_REFUSAL: Channel = ("refusal", 0)
_ARGUMENTS: Channel = ("arguments", 0)


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


def _is_chunk(_data: bytes) -> bool:
    return False  # what is a JSON object has facts


class _Piece(NamedTuple):
    """Where an event has its text, and which of the output's texts that is."""

    key: str
    channel: Channel
    part: str
    """The field that tells the texts of an item apart; empty if it has but one."""
    ends: bool = False
    """Whether it is the whole text, once more."""


_PIECES: dict[type, _Piece] = {
    responses.ResponseTextDeltaEvent: _Piece("delta", _CONTENT, "content_index"),
    responses.ResponseTextDoneEvent: _Piece("text", _CONTENT, "content_index", ends=True),
    responses.ResponseRefusalDeltaEvent: _Piece("delta", _REFUSAL, "content_index"),
    responses.ResponseRefusalDoneEvent: _Piece("refusal", _REFUSAL, "content_index", ends=True),
    responses.ResponseReasoningTextDeltaEvent: _Piece("delta", _REASONING, "content_index"),
    responses.ResponseReasoningTextDoneEvent: _Piece(
        "text", _REASONING, "content_index", ends=True
    ),
    responses.ResponseReasoningSummaryTextDeltaEvent: _Piece("delta", _REASONING, "summary_index"),
    responses.ResponseReasoningSummaryTextDoneEvent: _Piece(
        "text", _REASONING, "summary_index", ends=True
    ),
    responses.ResponseFunctionCallArgumentsDeltaEvent: _Piece("delta", _ARGUMENTS, ""),
    responses.ResponseFunctionCallArgumentsDoneEvent: _Piece(
        "arguments", _ARGUMENTS, "", ends=True
    ),
    responses.ResponseCustomToolCallInputDeltaEvent: _Piece("delta", _ARGUMENTS, ""),
    responses.ResponseCustomToolCallInputDoneEvent: _Piece("input", _ARGUMENTS, "", ends=True),
    responses.ResponseMcpCallArgumentsDeltaEvent: _Piece("delta", _ARGUMENTS, ""),
    responses.ResponseMcpCallArgumentsDoneEvent: _Piece("arguments", _ARGUMENTS, "", ends=True),
    responses.ResponseCodeInterpreterCallCodeDeltaEvent: _Piece("delta", _ARGUMENTS, ""),
    responses.ResponseCodeInterpreterCallCodeDoneEvent: _Piece("code", _ARGUMENTS, "", ends=True),
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
    part = getattr(event, piece.part) if piece.part else None
    return event.output_index, piece.channel[0], piece.part, part


def _texts(event: Any, with_arguments: bool) -> list[Text]:
    piece = _PIECES.get(type(event))
    if piece is not None:
        if piece.channel is _ARGUMENTS and not with_arguments:
            return []
        value, voice = getattr(event, piece.key), _voice(event, piece)
        place = (piece.key,)
        return list(texts_below(voice, piece.channel, value, place, is_whole=piece.ends))
    if type(event) in _PARTS:
        key = _PARTS[type(event)]
        said = getattr(event, key)
        return _whole_texts(json.decode(said), (key,), with_arguments) if said else []
    if isinstance(event, responses.LifeCycleEvent):
        response = json.decode(event.response) if event.response else None
        place = ("response",)
        return _response_texts(response, place, with_arguments)
    if isinstance(event, responses.UnknownEvent):
        return _whole_texts(json.decode(event.data), (), with_arguments)
    return []


def _response_texts(response: Any, place: Place, with_arguments: bool) -> list[Text]:
    if not isinstance(response, dict):
        return []
    return [
        text
        for key in ("output", "output_text")
        for text in _whole_texts(response.get(key), (*place, key), with_arguments)
    ]


_CHANNELS = {"refusal": _REFUSAL, "reasoning": _REASONING, "summary": _REASONING}


def _whole_texts(value: Any, place: Place, with_arguments: bool) -> list[Text]:
    """List the texts of an item, of a part, or of what is of an unknown type."""
    found = []
    for text in leaves_below(None, _CONTENT, value, place):
        channel = _channel_at(value, text.place[len(place) :])
        if with_arguments or channel is not _ARGUMENTS:
            found.append(structs.replace(text, channel=channel))
    return found


def _channel_at(value: Any, place: Place) -> Channel:
    """Tell the channel of a text in an item by the keys and the types on the way to it."""
    channel = _CONTENT
    for step in place:
        if isinstance(value, dict) and "reasoning" in str(value.get("type")):
            channel = _REASONING
        if step in ("arguments", "input", "code", "action"):
            return _ARGUMENTS
        channel = _CHANNELS.get(str(step), channel)
        value = value[step]
    return channel


def _answer_texts(answer: Any, with_arguments: bool) -> list[Text]:
    return _response_texts(answer, (), with_arguments)


def _ended(event: Any) -> list[Hashable]:
    piece = _PIECES.get(type(event))
    return [_voice(event, piece)] if piece is not None and piece.ends else []


def _copies(event: Any, text: Text) -> Edits:
    """Empty the tokens beside a text, which clients expect to be there, and drop the padding."""
    edits: Edits = {}
    if getattr(event, "obfuscation", UNSET) is not UNSET:
        edits["obfuscation",] = DROP
    beside = (*text.place[:-1], "logprobs")
    document = event if isinstance(event, dict) else json.decode(encode(event))
    for step in text.place[:-1]:
        document = document[step]
    if isinstance(document, dict) and document.get("logprobs"):
        edits[beside] = []
    return edits


def _make(data: bytes, text: Text, _channel: Channel, value: str) -> tuple[str, bytes]:
    made = edit(data, {pointer(text.place): value, "obfuscation": DROP})
    event = responses.decode(made)
    if getattr(event, "logprobs", UNSET) is not UNSET:
        made = edit(made, {"logprobs": []})
    return str(event.type), made


_SILENT = frozenset(
    kind
    for kind in get_args(responses.KnownEvent)
    if not issubclass(kind, (responses.LifeCycleEvent, responses.ResponseErrorEvent))
)

DIALECT: Final = Dialect(
    decode=responses.decode,
    decode_utf8=responses.decode_utf8,
    facts=responses.Facts,
    decode_facts=responses.decode_facts,
    note=_note,
    find_error=_find_error,
    is_chunk=_is_chunk,
    decode_usage=responses.decode_usage,
    model=("response", "model"),
    script=Script(
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
    ),
    silent=_SILENT,
)
"""How a stream of events is read.

The finish reason, under the index 0, is why the response is incomplete, or else its status.
"""
