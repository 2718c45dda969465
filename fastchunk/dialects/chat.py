"""What a stream of chat chunks says: of the families `wire` and `models`.

In:  a chunk of `wire`, or its facts.
Out: whether it is one, its finish reasons, usage and error; and the texts in it, with their places.
Cost: a look at every choice.

A text is the `content`, the reasoning (`reasoning` or `reasoning_content`) or the `refusal` of a
choice, or the arguments of one of its tool calls. `content` may also be a list of parts, and
reasoning an object that holds the text. What a server writes there in any other shape is `Unseen`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from fastchunk import codec, wire
from fastchunk.codec import Data
from fastchunk.dialect import Dialect, Edits, Place, Script, Text, leaves_below, texts_below
from fastchunk.edit import DROP, edit, pointer
from fastchunk.errors import InvalidChunk
from fastchunk.scan import Tally
from fastchunk.text import Channel

__all__ = [
    "DIALECT",
    "ChoiceFacts",
    "Facts",
    "decode_facts",
    "ended",
    "find_error",
    "is_chunk_event",
    "says",
    "silence",
    "stop",
]

Chunk = wire.ChatCompletionStreamResponse
Choice = wire.ChatCompletionResponseStreamChoice

# --- facts --------------------------------------------------------------------------------------


class ChoiceFacts(Struct, gc=False):
    """What a relay has to know of a choice."""

    index: wire.Integer = UNSET
    finish_reason: wire.Text = UNSET


class Facts(Struct, gc=False):
    """What a relay has to know of an event: a chunk without what it can pass on unread.

    The paths that the scanner looks for are made from this type.
    """

    object: Any = UNSET
    choices: list[ChoiceFacts] | UnsetType | None = UNSET
    usage: wire.Opaque = UNSET
    error: Any = UNSET


decode_facts: Callable[[Data], Facts] = codec.tolerant_decoder(Facts, firm={ChoiceFacts})


class _Shape(Struct, gc=False):
    """What tells a chunk event from others, whatever is in it."""

    choices: wire.Opaque = UNSET
    object: Any = UNSET


_decode_shape = codec.tolerant_decoder(_Shape)


def _is_chunk(decoded: Facts | _Shape) -> bool:
    return decoded.choices is not UNSET or decoded.object == "chat.completion.chunk"


def is_chunk_event(data: bytes) -> bool:
    """Tell whether data is a chunk event, whatever else is in it."""
    try:
        return _is_chunk(_decode_shape(data))
    except InvalidChunk:
        return False


def _note(facts: Facts, tally: Tally) -> bool:
    if not _is_chunk(facts):
        return False
    tally.note(facts)
    return True


def find_error(facts: Facts) -> Any:
    """Return the error of an event, or None."""
    return None if facts.error is UNSET else facts.error


# --- texts --------------------------------------------------------------------------------------

_CONTENT: Channel = ("content", 0)
_REASONING: Channel = ("reasoning", 0)
_SECOND_REASONING: Channel = ("reasoning", 1)
_REFUSAL: Channel = ("refusal", 0)

_PADDINGS = ("obfuscation", "p")


def _texts(chunk: Chunk, with_arguments: bool) -> list[Text]:
    found: list[Text] = []
    for position, choice in enumerate(chunk.choices or ()):
        delta, voice = choice.delta, choice.index
        if type(voice) is not int:
            voice = position
        if delta:
            place = ("choices", position, "delta")
            found += _delta_texts(voice, delta, place, with_arguments)
        if choice.text or choice.message:
            found += _strays(voice, choice, position, found)
    return found


def _delta_texts(
    voice: Hashable, delta: wire.DeltaMessage, place: Place, with_arguments: bool
) -> list[Text]:
    found: list[Text] = []
    if delta.reasoning or delta.reasoning_content or delta.reasoning_details:
        found += _reasoning_texts(voice, delta, place)
    content = delta.content
    if type(content) is str:
        if content:
            found.append(Text(voice, _CONTENT, content, (*place, "content")))
    elif content:
        found += texts_below(voice, _CONTENT, content, (*place, "content"))
    if delta.refusal:
        found += texts_below(voice, _REFUSAL, delta.refusal, (*place, "refusal"))
    if with_arguments:
        found += _arguments(voice, delta, place)
    return found


def _reasoning_texts(voice: Hashable, delta: wire.DeltaMessage, place: Place) -> Iterator[Text]:
    if delta.reasoning or delta.reasoning_content:
        yield from _reasoning(voice, place, delta.reasoning, delta.reasoning_content)
    else:
        details = msgspec.json.decode(cast(Raw, delta.reasoning_details))
        yield from texts_below(voice, _REASONING, details, (*place, "reasoning_details"))


def _reasoning(voice: Hashable, place: Place, one: Any, other: Any) -> Iterator[Text]:
    """List the reasoning, which may stand under two names: the same text, as a rule."""
    names = ("reasoning", "reasoning_content")
    if one and one == other and type(one) is str:
        yield Text(voice, _REASONING, one, (*place, names[0]), also=(*place, names[1]))
        return
    channels = (_REASONING, _SECOND_REASONING if one and other else _REASONING)
    for name, value, channel in zip(names, (one, other), channels, strict=True):
        if value:
            yield from texts_below(voice, channel, value, (*place, name))


def _arguments(voice: Hashable, delta: wire.DeltaMessage, place: Place) -> Iterator[Text]:
    for position, call in enumerate(delta.tool_calls or ()):
        number = call.index if type(call.index) is int else position
        at = (*place, "tool_calls", position)
        if call.function:
            yield from _argument(voice, number, call.function, (*at, "function"))
        if call.custom is not UNSET:
            custom = msgspec.json.decode(call.custom)
            if isinstance(custom, dict) and isinstance(custom.get("input"), str):
                yield Text(voice, ("arguments", number), custom["input"], (*at, "custom", "input"))
    if delta.function_call:
        yield from _argument(voice, -1, delta.function_call, (*place, "function_call"))


def _argument(
    voice: Hashable, number: int, function: wire.DeltaFunctionCall, place: Place
) -> Iterator[Text]:
    """List a call's arguments: the next piece of a text, or an object at once."""
    arguments, at = function.arguments, (*place, "arguments")
    if type(arguments) is str:
        if arguments:
            yield Text(voice, ("arguments", number), arguments, at)
    else:
        yield from leaves_below(voice, ("arguments", number), arguments, at, but=())


def _strays(voice: Hashable, choice: Choice, position: int, found: list[Text]) -> Iterator[Text]:
    """List the texts beside a delta: a copy of it in `text`, or a whole `message`."""
    place = ("choices", position)
    if choice.text and not any(text.voice == voice for text in found):
        yield from texts_below(voice, _CONTENT, msgspec.json.decode(choice.text), (*place, "text"))
    if choice.message:
        message = msgspec.json.decode(choice.message)
        if isinstance(message, dict):
            yield from _message_texts(voice, message, (*place, "message"), with_arguments=True)


def _message_texts(
    voice: Hashable, message: dict[str, Any], place: Place, *, with_arguments: bool
) -> Iterator[Text]:
    """List the texts of a whole message."""
    one, other = message.get("reasoning"), message.get("reasoning_content")
    for text in _reasoning(voice, place, one, other):
        yield structs.replace(text, is_whole=True)
    for name, channel in (
        ("content", _CONTENT),
        ("refusal", _REFUSAL),
        ("reasoning_details", _REASONING),
    ):
        yield from texts_below(voice, channel, message.get(name), (*place, name), is_whole=True)
    if with_arguments:
        calls = message.get("tool_calls")
        for number, call in enumerate(calls if isinstance(calls, list) else ()):
            yield from _call_texts(voice, number, call, (*place, "tool_calls", number))
        call = {"function": message.get("function_call")}
        for text in _call_texts(voice, -1, call, place):
            at = (*place, "function_call", *text.place[len(place) + 1 :])
            yield structs.replace(text, place=at)


def _call_texts(voice: Hashable, number: int, call: Any, place: Place) -> Iterator[Text]:
    """List the texts of a whole tool call: its arguments, or the input of a custom tool."""
    for kind, key in (("function", "arguments"), ("custom", "input")):
        called = call.get(kind) if isinstance(call, dict) else None
        if isinstance(called, dict):
            at = (*place, kind, key)
            yield from leaves_below(voice, ("arguments", number), called.get(key), at, but=())


def _answer_texts(answer: Any, with_arguments: bool) -> list[Text]:
    found: list[Text] = []
    choices = answer.get("choices")
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        if not isinstance(choice, dict):
            continue
        index = choice.get("index")
        voice, place = index if type(index) is int else position, ("choices", position)
        message = choice.get("message")
        if isinstance(message, dict):
            at = (*place, "message")
            found += _message_texts(voice, message, at, with_arguments=with_arguments)
        found += texts_below(voice, _CONTENT, choice.get("text"), (*place, "text"), is_whole=True)
    return found


def ended(chunk: Any) -> list[Hashable]:
    """List the choices that have a finish reason."""
    return [
        choice.index_or(position)
        for position, choice in enumerate(chunk.choices or ())
        if choice.finish_reason
    ]


def _position(event: Any, voice: Hashable) -> int:
    """Find a choice in a chunk, or in an answer."""
    choices = event["choices"] if isinstance(event, dict) else event.choices
    for position, choice in enumerate(choices):
        index = choice.get("index") if isinstance(choice, dict) else choice.index
        if (index if type(index) is int else position) == voice:
            return position
    raise LookupError(voice)


def _copies(event: Any, text: Text) -> Edits:
    """List what spells out a text: its tokens, other spellings, a padding that tells its length."""
    choice, inner = text.place[:2], text.place[2]
    if isinstance(event, dict):
        said = event["choices"][choice[1]]
        message = said.get("message") or {}
    else:
        said = event.choices[choice[1]]
        message = said.delta or {}
    copies: list[Place] = [(key,) for key in _PADDINGS if says(event, key)]
    copies += [(*choice, key) for key in ("logprobs", "token_ids") if says(said, key)]
    copies += [(*choice, inner, key) for key in ("token_id",) if says(message, key)]
    if text.channel[0] == "content" and inner != "text" and says(said, "text"):
        copies.append((*choice, "text"))
    if text.channel[0] == "reasoning" and "reasoning_details" not in text.place:
        copies += [(*choice, inner, key) for key in ("reasoning_details",) if says(message, key)]
    return dict.fromkeys(copies, DROP)


def says(value: Any, key: str) -> bool:
    """Tell whether there is anything under a key but null."""
    said = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
    return said is not None and said is not UNSET and said != _NULL


_NULL = Raw(b"null")


def _name_of(channel: Channel) -> str:
    return "reasoning_content" if channel[0] == "reasoning" else channel[0]


def _put(text: Text, channel: Channel, value: str) -> Edits:
    return {(*text.place[:3], _name_of(channel)): value}


def _make(data: bytes, text: Text, channel: Channel, value: str) -> tuple[str, bytes]:
    choice = {"index": text.voice, "delta": _delta(text, channel, value), "finish_reason": None}
    dropped = dict.fromkeys(("usage", *_PADDINGS), DROP)
    return "message", edit(data, {"choices": [choice], **dropped})


def _delta(text: Text, channel: Channel, value: str) -> dict[str, Any]:
    name, number = channel
    if name == "arguments":
        function = {"arguments": value}
        if number < 0:
            return {"function_call": function}
        return {"tool_calls": [{"index": number, "function": function}]}
    places = (text.place, text.also) if channel == text.channel else ()
    names = [str(place[3]) for place in places if place and place[2] == "delta"]
    named = [name for name in names if name != "reasoning_details"]
    return dict.fromkeys(named or [_name_of(channel)], value)


def stop(event: Any, voice: Hashable, reason: str) -> Edits:
    """Write a choice's finish reason."""
    return {("choices", _position(event, voice), "finish_reason"): reason}


def silence(chunk: Any, voices: Collection[Hashable]) -> Edits | None:
    """Take choices out of a chunk; None if nothing is left that says something."""
    choices = chunk.choices or []
    silent = [n for n, choice in enumerate(choices) if choice.index_or(n) in voices]
    if not silent:
        return {}
    if len(silent) < len(choices):
        return {("choices", position): DROP for position in silent}
    return {("choices",): []} if isinstance(chunk.usage, wire.UsageInfo) else None


# --- the name of the reasoning ------------------------------------------------------------------


class _Names(Struct, gc=False):
    reasoning: wire.Opaque = UNSET
    reasoning_content: wire.Opaque = UNSET


class _Named(Struct, gc=False):
    delta: _Names | UnsetType | None = UNSET
    message: _Names | UnsetType | None = UNSET


class _NamedChoices(Struct, gc=False):
    choices: list[_Named] | UnsetType | None = UNSET


_decode_names = msgspec.json.Decoder(_NamedChoices).decode


def _rename(data: bytes, name: str) -> bytes:
    """Give the reasoning the name that is asked for, or both; its value keeps its bytes."""
    if b"reasoning" not in data and b"\\u" not in data:
        return data
    changes: dict[str, Any] = {}
    for position, choice in enumerate(_decode_names(data).choices or ()):
        for key in ("delta", "message"):
            names = getattr(choice, key)
            if names:
                changes |= _renamed(names, name, pointer(("choices", position, key)))
    return edit(data, changes) if changes else data


def _renamed(names: _Names, name: str, within: str) -> dict[str, Any]:
    values = {key: getattr(names, key) for key in ("reasoning", "reasoning_content")}
    said = [value for value in values.values() if value is not UNSET and value != Raw(b"null")]
    if not said:
        said = [value for value in values.values() if value is not UNSET]
    if not said:
        return {}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        wanted = said[0] if name in (key, "both") else UNSET
        if wanted != value:
            changes[f"{within}/{key}"] = DROP if wanted is UNSET else wanted
    return changes


DIALECT: Final = Dialect(
    decode=wire.decode,
    decode_utf8=wire.decode_utf8,
    facts=Facts,
    decode_facts=decode_facts,
    note=_note,
    find_error=find_error,
    is_chunk=is_chunk_event,
    decode_usage=codec.tolerant_decoder(wire.UsageInfo),
    model=("model",),
    script=Script(
        paths=(
            *(("choices", None, key) for key in ("index", "finish_reason", "text", "message")),
            *(
                ("choices", None, "delta", key)
                for key in ("content", "reasoning", "reasoning_content", "refusal")
            ),
            ("choices", None, "delta", "content", None, "text"),
            ("choices", None, "delta", "tool_calls", None, "index"),
            ("choices", None, "delta", "tool_calls", None, "function", "arguments"),
            ("choices", None, "delta", "function_call", "arguments"),
        ),
        texts=_texts,
        ended=ended,
        copies=_copies,
        put=_put,
        make=_make,
        answer_texts=_answer_texts,
        stop=stop,
        silence=silence,
        rename=_rename,
    ),
    has_usage_chunks=True,
)
"""How chat's chunks are read."""
