"""Anthropic Messages: the events of a streamed message, in three states.

In:  the JSON of one event from Anthropic, or from a server that speaks its Messages API.
Out: the Struct of the event's type, in which every field is absent (`msgspec.UNSET`), null (`None`)
or a value; back to JSON, with only what was set; or all events as one `Message`.
Cost: msgspec's own time and one Python call.

The classes and fields are those of Anthropic's SDK, release 2.13, with what its beta API adds. What
`wire` says of values of another type, and of keys without a field, holds here too: only `message`,
`content_block` and a content block's `delta` must be objects. `tagged` says what becomes of events,
content blocks and deltas of a type that has no Struct here.

    >>> from fastchunk import encode, messages
    >>> data = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}'
    >>> event = messages.decode(data)
    >>> event.delta
    TextDelta(text='Hi')
    >>> encode(event)
    b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"},"index":0}'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from msgspec import UNSET, Raw, Struct, UnsetType, field, json, structs

from . import codec
from .codec import Data
from .exact import parse
from .scan import Deltas, gatherer
from .tagged import Tagged, UnknownEvent, tagged_decoder
from .wire import Integer, Opaque, Text

__all__ = [
    "AdvisorToolResultBlock",
    "Answer",
    "BashCodeExecutionToolResultBlock",
    "CacheCreation",
    "CitationsDelta",
    "CodeExecutionToolResultBlock",
    "CompactionBlock",
    "CompactionContentBlockDelta",
    "ContainerUploadBlock",
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
    "KnownEvent",
    "MCPToolListingBlock",
    "MCPToolResultBlock",
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
    "TextEditorCodeExecutionToolResultBlock",
    "ThinkingBlock",
    "ThinkingDelta",
    "ToolResultBlock",
    "ToolSearchToolResultBlock",
    "ToolUseBlock",
    "UnknownEvent",
    "Usage",
    "UseBlock",
    "WebFetchToolResultBlock",
    "WebSearchToolResultBlock",
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


class UseBlock(Tagged, kw_only=True, gc=False):
    """A tool call: what those of all kinds have."""

    id: Text = UNSET
    input: Any = UNSET
    """The arguments, parsed: an object. Text that is no JSON stays text."""
    name: Text = UNSET


class ToolUseBlock(UseBlock, tag="tool_use", kw_only=True, gc=False):
    """A call of one of the client's tools."""

    caller: Opaque = UNSET
    toolset_name: Text = UNSET


class ServerToolUseBlock(UseBlock, tag="server_tool_use", kw_only=True, gc=False):
    """A call of one of the API's own tools."""

    caller: Opaque = UNSET


class MCPToolUseBlock(UseBlock, tag="mcp_tool_use", kw_only=True, gc=False):
    """A call of a tool of an MCP server."""

    server_name: Text = UNSET


class ToolResultBlock(Tagged, kw_only=True, gc=False):
    """What a tool of the API's own has returned: what those of all kinds have."""

    content: Opaque = UNSET
    tool_use_id: Text = UNSET


class WebSearchToolResultBlock(
    ToolResultBlock, tag="web_search_tool_result", kw_only=True, gc=False
):
    """What a web search has found."""

    caller: Opaque = UNSET


class WebFetchToolResultBlock(ToolResultBlock, tag="web_fetch_tool_result", kw_only=True, gc=False):
    """What was at a URL."""

    caller: Opaque = UNSET


class AdvisorToolResultBlock(ToolResultBlock, tag="advisor_tool_result", kw_only=True, gc=False):
    """What another model advises."""


class CodeExecutionToolResultBlock(
    ToolResultBlock, tag="code_execution_tool_result", kw_only=True, gc=False
):
    """What a program has written."""


class BashCodeExecutionToolResultBlock(
    ToolResultBlock, tag="bash_code_execution_tool_result", kw_only=True, gc=False
):
    """What a shell command has written."""


class TextEditorCodeExecutionToolResultBlock(
    ToolResultBlock, tag="text_editor_code_execution_tool_result", kw_only=True, gc=False
):
    """What the text editor has shown or changed."""


class ToolSearchToolResultBlock(
    ToolResultBlock, tag="tool_search_tool_result", kw_only=True, gc=False
):
    """What tools a search has found."""


class MCPToolResultBlock(Tagged, tag="mcp_tool_result", kw_only=True, gc=False):
    """What a tool of an MCP server has returned."""

    content: Opaque = UNSET
    is_error: bool | UnsetType | None = UNSET
    tool_use_id: Text = UNSET


class ContainerUploadBlock(Tagged, tag="container_upload", kw_only=True, gc=False):
    """A file that was written in the container."""

    file_id: Text = UNSET


class MCPToolListingBlock(Tagged, tag="mcp_tool_listing", kw_only=True, gc=False):
    """The tools of an MCP server."""

    mcp_server_name: Text = UNSET
    tools: Opaque = UNSET


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
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | AdvisorToolResultBlock
    | CodeExecutionToolResultBlock
    | BashCodeExecutionToolResultBlock
    | TextEditorCodeExecutionToolResultBlock
    | ToolSearchToolResultBlock
    | MCPToolUseBlock
    | MCPToolResultBlock
    | ContainerUploadBlock
    | CompactionBlock
    | FallbackBlock
    | MCPToolListingBlock
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
    """In an event, all of it is as it was parsed if a block has a type without a Struct."""
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

    estimated_tokens: Integer = UNSET
    thinking: Text = UNSET


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
"""An event of a type that has a Struct here."""
Event: TypeAlias = KnownEvent | UnknownEvent
"""What `decode` returns."""

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
"""Decode a usage object by itself; raises what `decode` raises."""


class MessageFacts(Struct, gc=False):
    """What a relay has to know of a message that begins."""

    usage: Any = UNSET


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
    usage: Any = UNSET
    error: Any = UNSET


decode_facts: Callable[[Data], Facts] = codec.tolerant_decoder(Facts)
"""Decode an event's facts alone; raises what `decode` raises."""


# --- the whole message --------------------------------------------------------------------------


def merge_usage(known: Usage, later: Usage) -> Usage:
    """Return a usage that says what the later one says, and else what was known.

    The counts of a `message_delta` are totals; what it leaves out has not changed since
    `message_start`.
    """
    merged = structs.replace(known)
    _take(merged, later, later.__struct_fields__)
    return merged


class Answer:
    """Puts the events of one stream together, as Anthropic's SDK does. One object, one stream.

    A block is known by its position, and what comes behind the end of a message goes on with it.
    Arguments of a tool call that break off are read up to the last value that is complete; those
    that are no JSON stay text.
    """

    def __init__(self) -> None:
        self._message = Message()
        # By their position, the blocks as they began, and what has been added to each.
        self._blocks: dict[Any, Any] = {}
        self._texts: _Pieces = {}
        self._arguments: _Pieces = {}
        self._thoughts: _Pieces = {}
        self._citations: dict[Any, list[Any]] = {}
        self._started = False
        self._finished = False

    @property
    def adder(self) -> Callable[[Event], None]:
        """A function that does what `add` does, compiled where the scanner is."""
        return gatherer(_DELTAS, (self._texts, self._arguments, self._thoughts), self.add)

    def add(self, event: Event) -> None:
        """Add the next event; one that says nothing about the message changes nothing.

        Raises `TypeError` for what is no event of this family.
        """
        if type(event) is ContentBlockDeltaEvent:
            # Nearly every event is a piece, so no other function is called for those.
            delta = event.delta
            try:
                if type(delta) is TextDelta:
                    self._texts[event.index].append(delta.text)
                elif type(delta) is InputJSONDelta:
                    self._arguments[event.index].append(delta.partial_json)
                else:
                    self._add_other(event.index, delta)
            except (KeyError, TypeError):
                return  # there is no such block, or the index is no number
        elif type(event) in _QUIET:
            pass
        elif type(event) is ContentBlockStartEvent:
            self._add_block(event.content_block)
        elif type(event) is MessageStartEvent:
            self._start(event.message)
        elif type(event) is MessageDeltaEvent:
            self._end(event)
        elif type(event) is MessageStopEvent:
            self._finished = True
        else:
            raise TypeError(f"event must be one of messages.Event, not {type(event).__name__}")

    @property
    def finished(self) -> bool:
        """Whether the message was closed."""
        return self._finished

    def build(self) -> Message:
        """Build the message as it is so far; what is added later does not change it.

        What was not added to, its usage among it, is the events' own objects, not copies.
        """
        content = self._blocks.copy()
        for index, pieces in self._texts.items():
            content[index] = structs.replace(content[index], text=_join(pieces))
        for index, citations in self._citations.items():
            block = content[index]
            known = block.citations if isinstance(block.citations, list) else []
            content[index] = structs.replace(block, citations=known + citations)
        for index, pieces in self._arguments.items():
            text = _join(pieces)
            if text:
                content[index] = structs.replace(content[index], input=_read_arguments(text))
        for index, pieces in self._thoughts.items():
            content[index] = structs.replace(content[index], thinking=_join(pieces))
        return structs.replace(self._message, content=list(content.values()))

    def _start(self, message: Any) -> None:
        if self._started or not isinstance(message, Message):
            return
        self._started = True
        self._message = structs.replace(message)
        for block in message.content if isinstance(message.content, list) else ():
            self._add_block(block)

    def _add_block(self, block: Any) -> None:
        index = len(self._blocks)
        self._blocks[index] = None if block is UNSET else block
        if type(block) is TextBlock:
            self._texts[index] = [block.text]
        elif type(block) in _USES:
            self._arguments[index] = []
        elif type(block) is ThinkingBlock:
            self._thoughts[index] = [block.thinking]
        elif type(block) is FallbackBlock and isinstance(block.to, FallbackInfo):
            self._message.model = block.to.model  # the one that answers from here on

    def _add_other(self, index: Any, delta: Any) -> None:
        """Add a delta; one that does not belong to a block of this type changes nothing."""
        block = self._blocks[index]
        if type(delta) is ThinkingDelta:
            self._thoughts[index].append(delta.thinking)
        elif type(delta) is CitationsDelta:
            if type(block) is TextBlock and delta.citation is not UNSET:
                self._citations.setdefault(index, []).append(delta.citation)
        elif type(delta) is SignatureDelta:
            if type(block) is ThinkingBlock:
                self._blocks[index] = structs.replace(block, signature=delta.signature)
        elif type(delta) is CompactionContentBlockDelta and type(block) is CompactionBlock:
            content, encrypted = _or_null(delta.content), _or_null(delta.encrypted_content)
            self._blocks[index] = structs.replace(
                block, content=content, encrypted_content=encrypted
            )

    def _end(self, event: MessageDeltaEvent) -> None:
        message, delta = self._message, event.delta
        if isinstance(delta, MessageDelta):
            message.stop_details = _or_null(delta.stop_details)
            message.stop_reason = _or_null(delta.stop_reason)
            message.stop_sequence = _or_null(delta.stop_sequence)
            _take(message, delta, ("container",))
        _take(message, event, ("context_management", "input_transformations"))
        if isinstance(event.usage, Usage):
            known = message.usage if isinstance(message.usage, Usage) else Usage()
            message.usage = merge_usage(known, event.usage)


def _take(known: Struct, later: Struct, names: tuple[str, ...]) -> None:
    """Take over the fields that say something: what is absent or null does not."""
    for name in names:
        said = getattr(later, name)
        if said is not UNSET and said is not None and said != _NULL:
            setattr(known, name, said)


_Pieces: TypeAlias = "dict[Any, list[Text]]"
_NULL = Raw(b"null")
_QUIET = frozenset({ContentBlockStopEvent, PingEvent, ErrorEvent, UnknownEvent})
"""The events that say nothing about the message."""
_USES = frozenset({ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock})
_DELTAS = Deltas(
    ContentBlockDeltaEvent,
    {TextDelta: "text", InputJSONDelta: "partial_json", ThinkingDelta: "thinking"},
    _QUIET,
)


def _or_null(value: Any) -> Any:
    return None if value is UNSET else value


def _join(pieces: list[Any]) -> str:
    """Join the pieces, and keep them joined, so that the next call joins only what is new.

    What stands in the place of a piece and is no text says nothing.
    """
    try:
        joined = "".join(pieces)
    except TypeError:
        joined = "".join(piece for piece in pieces if isinstance(piece, str))
    pieces[:] = [joined]
    return joined


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
