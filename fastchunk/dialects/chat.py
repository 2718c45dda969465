"""What a stream of chat chunks says: of the families `wire` and `models`.

In:  a chunk of `wire`, or its facts.
Out: whether it is one, its finish reasons, usage and error; and the texts in it, with their places.
Cost: a look at every choice.

A text is the `content`, the reasoning (`reasoning` or `reasoning_content`) or the `refusal` of a
choice, or the arguments of one of its tool calls. `content` may also be a list of parts, and
reasoning an object that holds the text. What a server writes there in any other shape is `Unseen`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from fastchunk import codec, wire
from fastchunk.codec import Data
from fastchunk.dialect import (
    CONTENT,
    REASONING,
    REFUSAL,
    Dialect,
    Edits,
    Marks,
    Place,
    Script,
    Text,
    Unseen,
    leaves_below,
    list_in,
    texts_below,
)
from fastchunk.edit import DROP, edit, pointer
from fastchunk.errors import InvalidChunk
from fastchunk.scan import FACT, KIND, TEXT, Path, Tally
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

# What a server says beside them in another place, and that is no copy.
_SECOND_CONTENT: Channel = ("content", 1)
_SECOND_REASONING: Channel = ("reasoning", 1)
_THIRD_REASONING: Channel = ("reasoning", 2)

_NAMES = ("reasoning", "reasoning_content")
_PADDINGS = ("obfuscation", "p")
# What an event that is made does not say once more.
_ONCE: dict[str, Any] = dict.fromkeys(
    (
        *("usage", "error", "prompt_token_ids", "prompt_text", "prompt_filter_results", "metrics"),
        *("kv_transfer_params", "sglext", "moderation", "citations", "search_results", "timings"),
        *("x_groq", *_PADDINGS),
    ),
    DROP,
)


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
            found += _strays(voice, choice, ("choices", position), with_arguments, found)
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
            found.append(Text(voice, CONTENT, content, (*place, "content")))
    elif content:
        found += texts_below(voice, CONTENT, content, (*place, "content"))
    if delta.refusal:
        found += texts_below(voice, REFUSAL, delta.refusal, (*place, "refusal"))
    if delta.audio is not UNSET:
        found += _spoken(voice, msgspec.json.decode(delta.audio), place)
    if with_arguments:
        found += _arguments(voice, delta, place)
    return found


def _spoken(voice: Hashable, audio: Any, place: Place) -> Iterator[Text]:
    """List what is said in an audio, in writing."""
    if isinstance(audio, dict):
        yield Text(voice, _SECOND_CONTENT, "", (*place, "audio"))
        at = (*place, "audio", "transcript")
        yield from texts_below(voice, _SECOND_CONTENT, audio.get("transcript"), at)


def _reasoning_texts(voice: Hashable, delta: wire.DeltaMessage, place: Place) -> Iterator[Text]:
    yield from _reasoning(voice, place, delta.reasoning, delta.reasoning_content)
    if delta.reasoning_details is not UNSET:
        said = delta.reasoning or delta.reasoning_content
        yield from _details(voice, msgspec.json.decode(delta.reasoning_details), said, place)


def _details(voice: Hashable, details: Any, said: Any, place: Place) -> Iterator[Text]:
    """List the texts of the reasoning's details, if they are no copy of what is said."""
    channel = _THIRD_REASONING if said else REASONING
    texts = list(texts_below(voice, channel, details, (*place, "reasoning_details")))
    yield from _but_copies(texts, said)


def _but_copies(texts: list[Text], said: Any) -> Iterator[Text]:
    """List texts, unless they spell out, all together, what is said elsewhere."""
    is_copy = _joined(texts) == said
    return (text for text in texts if not (is_copy and text.value))


def _joined(texts: Iterable[Text]) -> str:
    return "".join([text.value for text in texts])


def _reasoning(voice: Hashable, place: Place, one: Any, other: Any) -> Iterator[Text]:
    """List the reasoning, which may stand under two names: the same text, as a rule."""
    if one and one == other and type(one) is str:
        yield Text(voice, REASONING, one, (*place, _NAMES[0]), also=(*place, _NAMES[1]))
        return
    channels = (REASONING, _SECOND_REASONING if one and other else REASONING)
    for name, value, channel in zip(_NAMES, (one, other), channels, strict=True):
        if value:
            yield from texts_below(voice, channel, value, (*place, name))


def _arguments(voice: Hashable, delta: wire.DeltaMessage, place: Place) -> Iterator[Text]:
    for position, call in enumerate(delta.tool_calls or ()):
        number = call.index if type(call.index) is int else position
        at = (*place, "tool_calls", position)
        if call.function:
            arguments = call.function.arguments
            yield from _argument(voice, number, arguments, (*at, "function", "arguments"))
        if call.custom is not UNSET:
            custom = msgspec.json.decode(call.custom)
            if isinstance(custom, dict):
                yield Text(voice, ("arguments", number), "", (*at, "custom"))
                yield from _argument(voice, number, custom.get("input"), (*at, "custom", "input"))
    if delta.function_call:
        at, arguments = (*place, "function_call", "arguments"), delta.function_call.arguments
        yield from _argument(voice, -1, arguments, at)


def _argument(voice: Hashable, number: int, value: Any, place: Place) -> Iterator[Text]:
    """List a call's arguments: the next piece of a text, or an object at once."""
    if type(value) is not str:
        yield from leaves_below(voice, ("arguments", number), value, place, but=())
    elif value:
        yield Text(voice, ("arguments", number), value, place)


def _strays(
    voice: Hashable, choice: Choice, place: Place, with_arguments: bool, found: list[Text]
) -> Iterator[Text]:
    """List the texts beside a delta that are no copies: `text`, and those of a `message`."""
    if choice.text:
        content = choice.delta.content if choice.delta else None
        yield from _stray(voice, msgspec.json.decode(choice.text), content, place)
    message = _parsed(choice.message)
    if isinstance(message, dict):
        said = {(text.channel, text.value) for text in found if text.voice == voice}
        at = (*place, "message")
        for text in _message_texts(("message", voice), message, at, with_arguments):
            if not text.value or (text.channel, text.value) not in said:
                yield text


def _stray(voice: Hashable, value: Any, content: Any, place: Place) -> Iterator[Text]:
    channel = _SECOND_CONTENT if content else CONTENT
    texts = list(texts_below(voice, channel, value, (*place, "text")))
    yield from _but_copies(texts, content)


def _message_texts(
    voice: Hashable, message: dict[str, Any], place: Place, with_arguments: bool
) -> Iterator[Text]:
    """List the texts of a whole message."""
    yield Text(voice, CONTENT, "", place)
    one, other = message.get("reasoning"), message.get("reasoning_content")
    yield from _reasoning(voice, place, one, other)
    yield from _details(voice, message.get("reasoning_details"), one or other, place)
    for name, channel in (("content", CONTENT), ("refusal", REFUSAL)):
        yield from texts_below(voice, channel, message.get(name), (*place, name))
    yield from _spoken(voice, message.get("audio"), place)
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
    for position, choice in enumerate(list_in(answer, "choices")):
        index = choice.get("index")
        voice, place = index if type(index) is int else position, ("choices", position)
        message, content = choice.get("message"), None
        if message is not None:
            if not isinstance(message, dict):
                raise Unseen(f"{pointer((*place, 'message'))}: it is to be an object")
            at, content = (*place, "message"), message.get("content")
            found += _message_texts(voice, message, at, with_arguments)
        found += _stray(voice, choice.get("text"), content, place)
    return found


def ended(chunk: Any) -> list[Hashable]:
    """List the choices that have a finish reason."""
    return [
        choice.index_or(position)
        for position, choice in enumerate(chunk.choices or ())
        if choice.finish_reason
    ]


def _ended(chunk: Chunk) -> list[Hashable]:
    """List the choices that have a finish reason, and the messages, which come whole."""
    found = ended(chunk)
    for position, choice in enumerate(chunk.choices or ()):
        if choice.message:
            found.append(("message", choice.index_or(position)))
    return found


def _position(event: Any, voice: Hashable) -> int | None:
    """Find a choice in a chunk, or in an answer."""
    for position, choice in enumerate(_get(event, "choices") or ()):
        index = _get(choice, "index")
        if (index if type(index) is int else position) == voice:
            return position
    return None


def _copies(event: Any, text: Text) -> Edits:
    """Take out what spells out a text: its tokens, a copy, a padding that tells its length."""
    at, inner = text.place[:2], str(text.place[2])
    choice = _get(event, "choices")[text.place[1]]
    message = _get(choice, inner)
    if isinstance(message, Raw):
        message = msgspec.json.decode(message)
    copies: list[Place] = [(key,) for key in _PADDINGS if says(event, key)]
    copies += [(*at, key) for key in ("logprobs", "token_ids") if says(choice, key)]
    if says(message, "token_id"):
        copies.append((*at, inner, "token_id"))
    if "audio" in text.place:
        copies.append((*at, inner, "audio", "data"))
    if text.channel == REASONING and "reasoning_details" not in text.place:
        details = _parsed(_get(message, "reasoning_details"))
        if details and not any(t.value for t in _details(None, details, text.value, ())):
            copies.append((*at, inner, "reasoning_details"))
    if text.channel == CONTENT and inner != "text":
        said = _parsed(_get(choice, "text"))
        if said and not any(t.value for t in _stray(None, said, _get(message, "content"), ())):
            copies.append((*at, "text"))
    if inner == "delta":
        copies += _copies_in_message(_parsed(choice.message), text)
    return dict.fromkeys(copies, DROP)


def _copies_in_message(message: Any, text: Text) -> list[Place]:
    """List the places in a message that say what a delta says."""
    if not isinstance(message, dict):
        return []
    at = (*text.place[:2], "message")
    found = _message_texts(None, message, at, with_arguments=text.channel[0] == "arguments")
    return [
        said.place for said in found if (said.channel, said.value) == (text.channel, text.value)
    ]


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else getattr(value, key, None)


def _parsed(value: Any) -> Any:
    """Return what a raw value is; what is absent is null."""
    if value is UNSET:
        return None
    return msgspec.json.decode(value) if isinstance(value, Raw) else value


def says(value: Any, key: str) -> bool:
    """Tell whether there is anything under a key but null."""
    said = _get(value, key)
    return said is not None and said is not UNSET and said != _NULL


_NULL = Raw(b"null")


def _name_of(channel: Channel) -> str:
    return "reasoning_content" if channel[0] == "reasoning" else channel[0]


def _put(text: Text, channel: Channel, value: str) -> Edits:
    if text.place[2] == "text" or channel[0] == "arguments":
        return {}
    return {(*text.place[:3], _name_of(channel)): value}


def _make(data: bytes, text: Text, channel: Channel, value: str) -> tuple[str, bytes]:
    like = text if text.channel == channel else None
    choice: dict[str, Any] = {"index": text.voice, "delta": {}, "finish_reason": None}
    if like is not None and like.place[2] == "text":
        choice["text"] = value
    elif channel[0] == "arguments":
        choice["delta"] = _call(like, channel[1], value)
    else:
        choice["delta"] = _delta(like, channel, value)
    return "message", edit(data, {"choices": [choice], **_ONCE})


def _delta(like: Text | None, channel: Channel, value: str) -> dict[str, Any]:
    """Write a delta with a text in the place where the other one has it."""
    if like is not None and like.also is not None:
        return dict.fromkeys(_NAMES, value)
    key = "" if like is None else like.place[3]
    if key == "audio":
        return {key: {"transcript": value}}
    if key == "content" and channel[0] == "reasoning":
        return {key: [{"type": "thinking", "thinking": [{"type": "text", "text": value}]}]}
    return {key if key in _NAMES else _name_of(channel): value}


def _call(like: Text | None, number: int, value: str) -> dict[str, Any]:
    """Write a delta with the next piece of a tool call's arguments."""
    if number < 0:
        return {"function_call": {"arguments": value}}
    if like is not None and "custom" in like.place:
        return {"tool_calls": [{"index": number, "custom": {"input": value}}]}
    return {"tool_calls": [{"index": number, "function": {"arguments": value}}]}


def stop(event: Any, voice: Hashable, reason: str) -> Edits:
    """Write a choice's finish reason, and take out what follows its content."""
    position = _position(event, voice)
    if position is None:
        return {}
    at = ("choices", position)
    choice = _get(event, "choices")[position]
    edits: Edits = {(*at, "finish_reason"): reason}
    for inner in ("delta", "message"):
        for key in ("tool_calls", "function_call"):
            if says(_get(choice, inner), key):
                edits[(*at, inner, key)] = DROP
    return edits


def silence(chunk: Any, voices: Collection[Hashable]) -> Edits | None:
    """Take choices out of a chunk; None if nothing is left that says something."""
    choices = chunk.choices or []
    silent = [n for n, choice in enumerate(choices) if choice.index_or(n) in voices]
    if not silent:
        return {}
    if len(silent) < len(choices):
        return {("choices", position): DROP for position in silent}
    says_more = isinstance(chunk.usage, wire.UsageInfo) or says(chunk, "error")
    return {("choices",): []} if says_more or says(chunk, "x_groq") else None


# --- the name of the reasoning ------------------------------------------------------------------


class _Names(Struct, gc=False):
    reasoning: wire.Opaque = UNSET
    reasoning_content: wire.Opaque = UNSET


class _Named(Struct, gc=False):
    delta: _Names | UnsetType | None = UNSET
    message: _Names | UnsetType | None = UNSET


class _NamedChoices(Struct, gc=False):
    choices: list[_Named] | UnsetType | None = UNSET


_decode_names = codec.tolerant_decoder(_NamedChoices)


def _rename(data: bytes, name: str) -> bytes:
    """Give the reasoning the name that is asked for, or both; its value keeps its bytes."""
    if b"reasoning" not in data and b"\\u" not in data:
        return data
    changes: dict[str, Any] = {}
    choices = _decode_names(data).choices
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        for key in ("delta", "message"):
            names = _get(choice, key)
            if isinstance(names, _Names):
                changes |= _renamed(names, name, pointer(("choices", position, key)))
    return edit(data, changes) if changes else data


def _renamed(names: _Names, name: str, within: str) -> dict[str, Any]:
    values = {key: getattr(names, key) for key in _NAMES}
    found = [value for value in values.values() if value is not UNSET]
    said = [value for value in found if value not in (_NULL, _EMPTY)] or found
    if not said or said.count(said[0]) < len(said):
        return {}  # two texts that differ are no matter of names
    changes: dict[str, Any] = {}
    for key, value in values.items():
        wanted = said[0] if name in (key, "both") else UNSET
        if wanted != value:
            changes[f"{within}/{key}"] = DROP if wanted is UNSET else wanted
    return changes


_EMPTY = Raw(b'""')


_TEXTS = ("content", "reasoning", "reasoning_content", "refusal", "reasoning_details")
_OTHERS = ("audio", "token_id", "tool_calls", "function_call")


def _in_delta(*keys: str) -> list[Path]:
    return [("choices", None, "delta", key) for key in keys]


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
        marks=Marks(
            Facts,
            {
                **dict.fromkeys(_in_delta(*_TEXTS), TEXT),
                **{("choices", None, key): TEXT for key in ("text", "message")},
                **dict.fromkeys(_in_delta(*_OTHERS), KIND),
                **{("choices", None, key): KIND for key in ("logprobs", "token_ids")},
                **{(key,): KIND for key in _PADDINGS},
                ("choices", None, "delta", "tool_calls", None): KIND,
                ("choices", None, "delta", "tool_calls", None, "function"): KIND,
            },
            {
                ("choices", None, "delta", "tool_calls", None, "index"): FACT,
                ("choices", None, "delta", "tool_calls", None, "function", "arguments"): TEXT,
                ("choices", None, "delta", "tool_calls", None, "custom"): KIND,
                ("choices", None, "delta", "function_call", "arguments"): TEXT,
            },
        ),
        paths=(
            *(("choices", None, key) for key in ("index", "finish_reason", "text", "message")),
            *(
                ("choices", None, "delta", key)
                for key in ("content", "reasoning", "reasoning_content", "refusal")
            ),
            *(("choices", None, "delta", key) for key in ("reasoning_details", "audio")),
            ("choices", None, "delta", "content", None, "text"),
            ("choices", None, "delta", "tool_calls", None, "index"),
            ("choices", None, "delta", "tool_calls", None, "function", "arguments"),
            ("choices", None, "delta", "tool_calls", None, "custom"),
            ("choices", None, "delta", "function_call", "arguments"),
        ),
        texts=_texts,
        ended=_ended,
        copies=_copies,
        put=_put,
        make=_make,
        answer_texts=_answer_texts,
        stop=stop,
        silence=silence,
        passing=("id", "created"),
        rename=_rename,
    ),
    has_usage_chunks=True,
)
"""How chat's chunks are read."""
