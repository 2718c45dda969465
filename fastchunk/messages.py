"""Anthropic Messages: the events of a streamed message, in three states.

In:  the JSON of one event from Anthropic, or from a server that speaks its Messages API.
Out: the Struct of the event's type, in which every field is absent (`msgspec.UNSET`), null (`None`)
or a value; back to JSON, with only what was set; or all events as one `Message`.
Cost: msgspec's own time and one Python call.

The classes and fields are those of Anthropic's SDK, release 2.13, with what its beta API adds. What
`wire` says of values of another type, and of keys without a field, holds here too: only `message`,
`content_block` and a content block's `delta` must be objects. `tagged` says what becomes of events,
content blocks and deltas of a type that has no Struct here. The results of the API's own tools have
none: a message can be put together without a look into them.

    >>> from fastchunk import encode, messages
    >>> data = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}'
    >>> event = messages.decode(data)
    >>> event.delta
    TextDelta(text='Hi')
    >>> encode(event) == data.encode()
    True
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from msgspec import UNSET, Raw, Struct, UnsetType, field, json, structs

from . import codec
from .codec import Data
from .exact import parse
from .tagged import Tagged, UnknownEvent, tagged_decoder
from .wire import Integer, Opaque, Text

__all__ = [
    "Answer",
    "CacheCreation",
    "CitationsDelta",
    "CompactionBlock",
    "CompactionContentBlockDelta",
    "ContentBlock",
    "ContentBlockDelta",
    "ContentBlockDeltaEvent",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "ErrorEvent",
    "Event",
    "Facts",
    "FallbackBlock",
    "FallbackInfo",
    "InputJSONDelta",
    "MCPToolUseBlock",
    "Message",
    "MessageDelta",
    "MessageDeltaEvent",
    "MessageStartEvent",
    "MessageStopEvent",
    "OutputTokensDetails",
    "PingEvent",
    "RedactedThinkingBlock",
    "RefusalStopDetails",
    "ServerToolUsage",
    "ServerToolUseBlock",
    "SignatureDelta",
    "TextBlock",
    "TextDelta",
    "ThinkingBlock",
    "ThinkingDelta",
    "ToolUseBlock",
    "UnknownEvent",
    "Usage",
    "decode",
    "decode_facts",
    "decode_usage",
    "decode_utf8",
    "merge_usage",
]


# --- what a message is made of ------------------------------------------------------------------


class TextBlock(Tagged, tag="text", kw_only=True, gc=False):
    """Text for the user, and where it is from."""

    citations: list[Raw] | UnsetType | None = UNSET
    text: Text = UNSET


class ThinkingBlock(Tagged, tag="thinking", kw_only=True, gc=False):
    """The model's reasoning, and the signature that proves it to be so."""

    signature: Text = UNSET
    thinking: Text = UNSET


class RedactedThinkingBlock(Tagged, tag="redacted_thinking", kw_only=True, gc=False):
    """Reasoning that only the API can read."""

    data: Text = UNSET


class _UseBlock(Tagged, kw_only=True, gc=False):
    """A tool call."""

    id: Text = UNSET
    input: Any = UNSET
    """The arguments, parsed: an object. Text that is no JSON stays text."""
    name: Text = UNSET


class ToolUseBlock(_UseBlock, tag="tool_use", kw_only=True, gc=False):
    """A call of one of the client's tools."""

    caller: Opaque = UNSET
    toolset_name: Text = UNSET


class ServerToolUseBlock(_UseBlock, tag="server_tool_use", kw_only=True, gc=False):
    """A call of one of the API's own tools."""

    caller: Opaque = UNSET


class MCPToolUseBlock(_UseBlock, tag="mcp_tool_use", kw_only=True, gc=False):
    """A call of a tool of an MCP server."""

    server_name: Text = UNSET


class CompactionBlock(Tagged, tag="compaction", kw_only=True, gc=False):
    """The summary that takes the place of what came before it."""

    content: Text = UNSET
    encrypted_content: Text = UNSET
    signature: Text = UNSET
    tool_changes: Opaque = UNSET


class FallbackInfo(Struct, kw_only=True, gc=False):
    """A model that a request falls back from, or to."""

    model: Text = UNSET


class FallbackBlock(Tagged, tag="fallback", kw_only=True, gc=False):
    """Says that another model goes on, and why."""

    from_: FallbackInfo | UnsetType | None = field(default=UNSET, name="from")
    to: FallbackInfo | UnsetType | None = UNSET
    trigger: Opaque = UNSET


# `Raw` adds nothing to what msgspec takes here; it says what stands for a block of another type.
ContentBlock: TypeAlias = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | MCPToolUseBlock
    | CompactionBlock
    | FallbackBlock
    | Raw
)
"""A part of a message's content; one of a type that has no Struct is raw JSON."""


class RefusalStopDetails(Struct, kw_only=True, gc=False):
    """Why the API refused to go on."""

    category: Text = UNSET
    explanation: Text = UNSET
    fallback_credit_token: Text = UNSET
    fallback_has_prefill_claim: bool | UnsetType | None = UNSET
    recommended_model: Text = UNSET
    type: Text = UNSET


class CacheCreation(Struct, kw_only=True, gc=False):
    """Tokens written to the cache, by how long they stay."""

    ephemeral_1h_input_tokens: Integer = UNSET
    ephemeral_5m_input_tokens: Integer = UNSET


class OutputTokensDetails(Struct, kw_only=True, gc=False):
    """What the output's tokens are made of."""

    thinking_tokens: Integer = UNSET


class ServerToolUsage(Struct, kw_only=True, gc=False):
    """How often the API's own tools were used."""

    web_fetch_requests: Integer = UNSET
    web_search_requests: Integer = UNSET


class Usage(Struct, kw_only=True, gc=False):
    """Tokens used so far."""

    cache_creation: CacheCreation | UnsetType | None = UNSET
    cache_creation_input_tokens: Integer = UNSET
    cache_read_input_tokens: Integer = UNSET
    fallback_credit: Opaque = UNSET
    inference_geo: Text = UNSET
    input_tokens: Integer = UNSET
    iterations: Opaque = UNSET
    output_tokens: Integer = UNSET
    output_tokens_details: OutputTokensDetails | UnsetType | None = UNSET
    server_tool_use: ServerToolUsage | UnsetType | None = UNSET
    service_tier: Text = UNSET
    speed: Text = UNSET


class Message(Struct, kw_only=True, gc=False):
    """A message: without its content when it begins, whole at its end."""

    id: Text = UNSET
    container: Opaque = UNSET
    content: list[ContentBlock] | UnsetType | None = UNSET
    context_management: Opaque = UNSET
    diagnostics: Opaque = UNSET
    model: Text = UNSET
    role: Text = UNSET
    stop_details: RefusalStopDetails | UnsetType | None = UNSET
    stop_reason: Text = UNSET
    stop_sequence: Text = UNSET
    type: Text = UNSET
    usage: Usage | UnsetType | None = UNSET
    input_transformations: Opaque = UNSET


# --- the events ---------------------------------------------------------------------------------


class TextDelta(Tagged, tag="text_delta", kw_only=True, gc=False):
    """The next piece of a text."""

    text: Text = UNSET


class InputJSONDelta(Tagged, tag="input_json_delta", kw_only=True, gc=False):
    """The next piece of a tool call's arguments, which are JSON only when put together."""

    partial_json: Text = UNSET


class CitationsDelta(Tagged, tag="citations_delta", kw_only=True, gc=False):
    """Where the text so far is from."""

    citation: Opaque = UNSET


class ThinkingDelta(Tagged, tag="thinking_delta", kw_only=True, gc=False):
    """The next piece of the reasoning."""

    thinking: Text = UNSET
    estimated_tokens: Integer = UNSET


class SignatureDelta(Tagged, tag="signature_delta", kw_only=True, gc=False):
    """The signature of a thinking block, whole."""

    signature: Text = UNSET


class CompactionContentBlockDelta(Tagged, tag="compaction_delta", kw_only=True, gc=False):
    """The content of a compaction block, whole."""

    content: Text = UNSET
    encrypted_content: Text = UNSET


ContentBlockDelta: TypeAlias = (
    TextDelta
    | InputJSONDelta
    | CitationsDelta
    | ThinkingDelta
    | SignatureDelta
    | CompactionContentBlockDelta
    | Raw
)
"""What a content block goes on with; a delta of a type that has no Struct is raw JSON."""


class MessageStartEvent(Tagged, tag="message_start", kw_only=True, gc=False):
    """Opens the message, and says what its input has used."""

    message: Message | UnsetType | None = UNSET


class ContentBlockStartEvent(Tagged, tag="content_block_start", kw_only=True, gc=False):
    """Opens the content block at `index`."""

    content_block: ContentBlock | UnsetType | None = UNSET
    index: Integer = UNSET


class ContentBlockDeltaEvent(Tagged, tag="content_block_delta", kw_only=True, gc=False):
    """Goes on with the content block at `index`."""

    delta: ContentBlockDelta | UnsetType | None = UNSET
    index: Integer = UNSET


class ContentBlockStopEvent(Tagged, tag="content_block_stop", kw_only=True, gc=False):
    """Closes the content block at `index`."""

    index: Integer = UNSET


class MessageDelta(Struct, kw_only=True, gc=False):
    """What is known of a message only at its end."""

    container: Opaque = UNSET
    stop_details: RefusalStopDetails | UnsetType | None = UNSET
    stop_reason: Text = UNSET
    stop_sequence: Text = UNSET


class MessageDeltaEvent(Tagged, tag="message_delta", kw_only=True, gc=False):
    """Says why the message ends, and what it has used in all."""

    context_management: Opaque = UNSET
    delta: MessageDelta | UnsetType | None = UNSET
    usage: Usage | UnsetType | None = UNSET
    input_transformations: Opaque = UNSET


class MessageStopEvent(Tagged, tag="message_stop", kw_only=True, gc=False):
    """Closes the message."""


class PingEvent(Tagged, tag="ping", kw_only=True, gc=False):
    """Keeps the connection alive."""


class ErrorEvent(Tagged, tag="error", kw_only=True, gc=False):
    """Says that the message will not be complete."""

    error: Any = UNSET
    """The server's error object, parsed."""
    request_id: Text = UNSET


KnownEvent: TypeAlias = (
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageDeltaEvent
    | MessageStopEvent
    | PingEvent
    | ErrorEvent
)
Event: TypeAlias = KnownEvent | UnknownEvent

decode: Callable[[Data], Event] = tagged_decoder(
    KnownEvent,
    firm={Message, *get_args(ContentBlock), *get_args(ContentBlockDelta)},
)
"""Decode one JSON document of any server that speaks the Messages API.

Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to a buffer that may
change. Raises `InvalidChunk` for data that is no JSON object, or that has not the shape of its
type; `TypeError` for what is no data.
"""

decode_utf8: Callable[[bytes], KnownEvent] = json.Decoder(KnownEvent).decode
"""The bare decoder, for callers that have checked the UTF-8 of a whole read. It raises
`msgspec.DecodeError` for some data that `decode` accepts; those callers then ask `decode`."""

decode_usage: Callable[[Data], Usage] = codec.tolerant_decoder(Usage)


class MessageFacts(Struct, gc=False):
    """What a relay has to know of a message that begins."""

    model: Text = UNSET
    usage: Opaque = UNSET


class DeltaFacts(Struct, gc=False):
    """What a relay has to know of a message that ends; other deltas have none of it."""

    stop_reason: Text = UNSET


class Facts(Struct, gc=False):
    """What a relay has to know of an event of any type: all of it may have another shape.

    The paths that the scanner looks for are made from this type.
    """

    type: Any = UNSET
    message: MessageFacts | UnsetType | None = UNSET
    delta: DeltaFacts | UnsetType | None = UNSET
    usage: Opaque = UNSET
    error: Any = UNSET


decode_facts: Callable[[Data], Facts] = codec.tolerant_decoder(Facts)


# --- the whole message --------------------------------------------------------------------------


def merge_usage(known: Usage, later: Usage) -> Usage:
    """Return a usage that says what the later one says, and else what was known.

    The counts of a `message_delta` are totals; what it leaves out has not changed since
    `message_start`.
    """
    said = {name: getattr(later, name) for name in later.__struct_fields__}
    return structs.replace(known, **{name: item for name, item in said.items() if _says(item)})


class Answer:
    """Puts the events of one stream together, as Anthropic's SDK does. One object, one stream.

    A block is known by its position, and what comes behind the end of a message goes on with it.
    Arguments of a tool call that break off are read up to the last value that is complete; those
    that are no JSON stay text.
    """

    def __init__(self) -> None:
        self._message = Message()
        self._blocks: list[_Block] = []
        self._started = False
        self._finished = False

    def add(self, event: Event) -> None:
        """Add the next event; one that says nothing about the message changes nothing.

        Raises `TypeError` for what is no event of this family.
        """
        if type(event) is ContentBlockDeltaEvent:
            index = event.index
            if type(index) is int and 0 <= index < len(self._blocks):
                self._blocks[index].add(event.delta)
        elif isinstance(event, ContentBlockStartEvent):
            self._start_block(event.content_block)
        elif isinstance(event, MessageStartEvent):
            self._start(event.message)
        elif isinstance(event, MessageDeltaEvent):
            self._end(event)
        elif isinstance(event, MessageStopEvent):
            self._finished = True
        elif not isinstance(event, _EVENTS):
            raise TypeError(f"event must be one of messages.Event, not {type(event).__name__}")

    @property
    def finished(self) -> bool:
        """Whether the message was closed."""
        return self._finished

    def build(self) -> Message:
        """Build the message as it is so far; what is added later does not change it."""
        blocks = [block.build() for block in self._blocks]
        return structs.replace(self._message, content=blocks)

    def _start(self, message: Any) -> None:
        if self._started or not isinstance(message, Message):
            return
        self._started = True
        self._message = structs.replace(message)
        if isinstance(message.content, list):
            self._blocks += map(_build_on, message.content)

    def _start_block(self, block: Any) -> None:
        self._blocks.append(_build_on(block))
        if isinstance(block, FallbackBlock) and isinstance(block.to, FallbackInfo):
            self._message.model = block.to.model  # the one that answers from here on

    def _end(self, event: MessageDeltaEvent) -> None:
        message, delta = self._message, event.delta
        if isinstance(delta, MessageDelta):
            for name in ("stop_details", "stop_reason", "stop_sequence"):
                said = getattr(delta, name)
                setattr(message, name, None if said is UNSET else said)
            _take(message, delta, "container")
        _take(message, event, "context_management")
        _take(message, event, "input_transformations")
        if isinstance(event.usage, Usage):
            known = message.usage if isinstance(message.usage, Usage) else Usage()
            message.usage = merge_usage(known, event.usage)


def _take(message: Message, source: Struct, name: str) -> None:
    said = getattr(source, name)
    if _says(said):
        setattr(message, name, said)


def _says(value: object) -> bool:
    """Tell whether a field has a value: it is neither absent nor null."""
    return value is not UNSET and value is not None and value != _NULL


_NULL = Raw(b"null")
_EVENTS = (*get_args(KnownEvent), UnknownEvent)


class _Block:
    """A content block that nothing is added to: its deltas are none, or unknown."""

    def __init__(self, block: Any) -> None:
        self._block = block

    def add(self, delta: Any) -> None:
        """Add a delta; one that does not belong to a block of this type changes nothing."""

    def build(self) -> Any:
        return self._block


class _Text(_Block):
    def __init__(self, block: TextBlock) -> None:
        super().__init__(block)
        self._pieces = _texts(block.text)
        self._citations = list(block.citations) if isinstance(block.citations, list) else []

    def add(self, delta: Any) -> None:
        if type(delta) is TextDelta:
            self._pieces += _texts(delta.text)
        elif isinstance(delta, CitationsDelta) and delta.citation is not UNSET:
            self._citations.append(delta.citation)

    def build(self) -> TextBlock:
        block: TextBlock = structs.replace(self._block)
        if self._pieces:
            block.text = _join(self._pieces)
        if self._citations:
            block.citations = self._citations[:]
        return block


class _Thinking(_Block):
    def __init__(self, block: ThinkingBlock) -> None:
        super().__init__(block)
        self._pieces = _texts(block.thinking)
        self._signature = block.signature

    def add(self, delta: Any) -> None:
        if type(delta) is ThinkingDelta:
            self._pieces += _texts(delta.thinking)
        elif isinstance(delta, SignatureDelta):
            self._signature = delta.signature

    def build(self) -> ThinkingBlock:
        block: ThinkingBlock = structs.replace(self._block, signature=self._signature)
        if self._pieces:
            block.thinking = _join(self._pieces)
        return block


class _Use(_Block):
    def __init__(self, block: _UseBlock) -> None:
        super().__init__(block)
        self._pieces: list[str] = []

    def add(self, delta: Any) -> None:
        if type(delta) is InputJSONDelta:
            self._pieces += _texts(delta.partial_json)

    def build(self) -> _UseBlock:
        block: _UseBlock = structs.replace(self._block)
        text = _join(self._pieces)
        if text:
            block.input = _read_arguments(text)
        return block


class _Compaction(_Block):
    def add(self, delta: Any) -> None:
        if isinstance(delta, CompactionContentBlockDelta):
            content, encrypted = delta.content, delta.encrypted_content
            self._block = structs.replace(
                self._block,
                content=None if content is UNSET else content,
                encrypted_content=None if encrypted is UNSET else encrypted,
            )


_BUILDERS: dict[type, type[Any]] = {
    TextBlock: _Text,
    ThinkingBlock: _Thinking,
    ToolUseBlock: _Use,
    ServerToolUseBlock: _Use,
    MCPToolUseBlock: _Use,
    CompactionBlock: _Compaction,
}


def _build_on(block: Any) -> _Block:
    builder: _Block = _BUILDERS.get(type(block), _Block)(block)
    return builder


def _texts(value: object) -> list[str]:
    """List the text, if it is one and says something."""
    return [value] if isinstance(value, str) and value else []


def _join(pieces: list[str]) -> str:
    """Join the pieces, and keep them joined, so that the next call joins only what is new."""
    pieces[:] = ["".join(pieces)]
    return pieces[0]


# --- arguments that break off -------------------------------------------------------------------

_PIECE = re.compile(
    r'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<opener>[\[{])|(?P<closer>[\]}])|(?P<mark>[:,])'
    r'|(?P<scalar>[^\s\[\]{}:,"]+)|(?P<unclosed>")',
    re.DOTALL,
)
_SCALAR = re.compile(
    r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity"
)


def _read_arguments(text: str) -> Any:
    try:
        return parse.parse(text)
    except parse.Malformed:
        pass
    try:
        return parse.parse(_complete(text))
    except parse.Malformed:
        return text


def _complete(text: str) -> str:
    """Close what is open behind the last complete value, and leave out all that follows it.

    It is JSON if `text` is a beginning of it; a parser is to tell.
    """
    end, closers, before = 0, [""], ""
    for match in _PIECE.finditer(text):
        piece, kind = match[0], match.lastgroup
        if kind == "opener":
            closers.append("]" if piece == "[" else "}")
        elif kind == "closer":
            if closers.pop() != piece:
                return text
        elif kind == "unclosed" or (
            kind == "scalar" and match.end() == len(text) and not _SCALAR.fullmatch(piece)
        ):
            break
        elif kind == "mark" or (closers[-1] == "}" and before != ":"):  # or a key
            before = piece
            continue
        end, before = match.end(), piece
        if len(closers) == 1:
            break
    return text[:end] + "".join(reversed(closers))
