"""What a stream of legacy completions says: of the family `completions`.

In:  a chunk, or its facts, which are those of chat's.
Out: whether it is one, its finish reasons, usage and error; and the texts in it, with their places.
Cost: a look at every choice.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, json

from fastchunk import codec, completions, wire
from fastchunk.dialect import (
    CONTENT,
    REASONING,
    Dialect,
    Edits,
    Marks,
    Script,
    Text,
    list_in,
    texts_below,
)
from fastchunk.edit import DROP, edit
from fastchunk.scan import KIND, TEXT, Tally
from fastchunk.text import Channel

from . import chat
from .chat import Facts, decode_facts

__all__ = ["DIALECT"]


def _texts(chunk: completions.CompletionStreamResponse, _: bool) -> list[Text]:
    found: list[Text] = []
    for position, choice in enumerate(chunk.choices or ()):
        voice, place = choice.index_or(position), ("choices", position)
        if choice.text:
            found += texts_below(voice, CONTENT, choice.text, (*place, "text"))
        if choice.reasoning:
            reasoning = json.decode(choice.reasoning)
            found += texts_below(voice, REASONING, reasoning, (*place, "reasoning"))
        if choice.delta:
            delta = json.decode(choice.delta)
            found += texts_below(voice, ("content", 1), delta, (*place, "delta"))
    return found


def _answer_texts(answer: Any, _: bool) -> list[Text]:
    found: list[Text] = []
    for position, choice in enumerate(list_in(answer, "choices")):
        place = ("choices", position, "text")
        found += texts_below(position, CONTENT, choice.get("text"), place, is_whole=True)
    return found


def _copies(event: Any, text: Text) -> Edits:
    position = text.place[1]
    said = event["choices"][position] if isinstance(event, dict) else event.choices[position]
    keys = [key for key in ("logprobs", "token_ids") if chat.says(said, key)]
    return {("choices", position, key): DROP for key in keys}


def _make(data: bytes, text: Text, _channel: Channel, value: str) -> tuple[str, bytes]:
    key = text.place[2]
    said = {"content": value} if key == "delta" else value
    choice = {"index": text.voice, key: said, "finish_reason": None, "logprobs": None}
    return "message", edit(data, {"choices": [choice], "usage": DROP})


def _note(facts: Facts, tally: Tally) -> bool:
    if facts.choices is UNSET and facts.object != "text_completion":
        return False
    tally.note(facts)
    return True


DIALECT: Final = Dialect(
    decode=completions.decode,
    decode_utf8=completions.decode_utf8,
    facts=Facts,
    decode_facts=decode_facts,
    note=_note,
    find_error=chat.find_error,
    is_chunk=chat.is_chunk_event,
    decode_usage=codec.tolerant_decoder(wire.UsageInfo),
    model=("model",),
    script=Script(
        marks=Marks(
            Facts,
            {
                **{("choices", None, key): TEXT for key in ("text", "reasoning", "delta")},
                **{("choices", None, key): KIND for key in ("logprobs", "token_ids")},
            },
            {},
        ),
        paths=(
            *(("choices", None, key) for key in ("index", "finish_reason", "text", "reasoning")),
        ),
        texts=_texts,
        ended=chat.ended,
        copies=_copies,
        make=_make,
        answer_texts=_answer_texts,
        stop=chat.stop,
        silence=chat.silence,
    ),
    has_usage_chunks=True,
)
"""How a stream of completions is read."""
