"""OpenAI Responses: the events that `/v1/responses` streams.

In:  the JSON of one event.
Out: a Struct of the event's type; an `UnknownEvent` for a type that has no Struct. Back to JSON,
with only what was set. Or all events of a stream as one `Response`.
Cost: that of msgspec. The `response` of a life-cycle event and the items and parts of the output
stay unparsed (`msgspec.Raw`) until they are asked for, so an event of megabytes costs one pass.

The Structs and their fields are those of openai 2.54, in its order; what other servers add follows.
Every field is absent (`msgspec.UNSET`), null (`None`) or a value. Keys without a field are ignored:
to keep them, forward the received bytes, or edit those. A field whose value has another type than
expected holds that value as it was parsed.

    >>> from fastchunk import encode, responses
    >>> event = responses.decode(
    ...     '{"type":"response.output_text.delta","output_index":0,"delta":"Hi"}'
    ... )
    >>> event.type, event.delta, event.content_index
    ('response.output_text.delta', 'Hi', UNSET)
    >>> encode(event)
    b'{"type":"response.output_text.delta","delta":"Hi","output_index":0}'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from msgspec import UNSET, Raw, Struct, UnsetType, field, json

from . import codec
from .codec import Data
from .tagged import Tagged, UnknownEvent, tagged_decoder
from .wire import Integer, Integers, Opaque, Text

__all__ = [
    "Answer",
    "Event",
    "Facts",
    "IncompleteDetails",
    "InputTokensDetails",
    "LifeCycleEvent",
    "OutputTokensDetails",
    "Response",
    "ResponseCodeInterpreterCallCodeDeltaEvent",
    "ResponseCodeInterpreterCallCodeDoneEvent",
    "ResponseCompletedEvent",
    "ResponseContentPartAddedEvent",
    "ResponseContentPartDoneEvent",
    "ResponseCreatedEvent",
    "ResponseCustomToolCallInputDeltaEvent",
    "ResponseCustomToolCallInputDoneEvent",
    "ResponseErrorEvent",
    "ResponseFacts",
    "ResponseFailedEvent",
    "ResponseFunctionCallArgumentsDeltaEvent",
    "ResponseFunctionCallArgumentsDoneEvent",
    "ResponseInProgressEvent",
    "ResponseIncompleteEvent",
    "ResponseMcpCallArgumentsDeltaEvent",
    "ResponseMcpCallArgumentsDoneEvent",
    "ResponseOutputItemAddedEvent",
    "ResponseOutputItemDoneEvent",
    "ResponseOutputTextAnnotationAddedEvent",
    "ResponseQueuedEvent",
    "ResponseReasoningSummaryPartAddedEvent",
    "ResponseReasoningSummaryPartDoneEvent",
    "ResponseReasoningSummaryTextDeltaEvent",
    "ResponseReasoningSummaryTextDoneEvent",
    "ResponseReasoningTextDeltaEvent",
    "ResponseReasoningTextDoneEvent",
    "ResponseRefusalDeltaEvent",
    "ResponseRefusalDoneEvent",
    "ResponseTextDeltaEvent",
    "ResponseTextDoneEvent",
    "ResponseUsage",
    "UnknownEvent",
    "decode",
    "decode_facts",
    "decode_utf8",
]

Number: TypeAlias = int | float | None | UnsetType
"""A number that keeps its type, and with it its spelling."""


# --- the response -------------------------------------------------------------------------------


class IncompleteDetails(Struct, kw_only=True, gc=False):
    """Why the response is incomplete."""

    reason: Text = UNSET


class InputTokensDetails(Struct, kw_only=True, gc=False):
    """What the input's tokens are made of."""

    cache_write_tokens: Integer = UNSET
    cached_tokens: Integer = UNSET
    input_tokens_per_turn: Integers = UNSET
    cached_tokens_per_turn: Integers = UNSET


class OutputTokensDetails(Struct, kw_only=True, gc=False):
    """What the output's tokens are made of."""

    reasoning_tokens: Integer = UNSET
    tool_output_tokens: Integer = UNSET
    output_tokens_per_turn: Integers = UNSET
    tool_output_tokens_per_turn: Integers = UNSET


class ResponseUsage(Struct, kw_only=True, gc=False):
    """Tokens used so far."""

    input_tokens: Integer = UNSET
    input_tokens_details: InputTokensDetails | UnsetType | None = UNSET
    output_tokens: Integer = UNSET
    output_tokens_details: OutputTokensDetails | UnsetType | None = UNSET
    total_tokens: Integer = UNSET
    context_details: Opaque = UNSET
    cost: Opaque = UNSET
    cost_details: Opaque = UNSET
    cost_in_usd_ticks: Opaque = UNSET
    is_byok: Opaque = UNSET
    num_server_side_tools_used: Opaque = UNSET
    num_sources_used: Opaque = UNSET
    server_side_tool_usage_details: Opaque = UNSET


class Response(Struct, kw_only=True, gc=False):
    """A whole response, as it is returned when it is not streamed; or what is known of it."""

    id: Text = UNSET
    created_at: Number = UNSET
    error: Any = UNSET
    """The server's error object, parsed."""
    incomplete_details: IncompleteDetails | UnsetType | None = UNSET
    instructions: Opaque = UNSET
    metadata: Opaque = UNSET
    model: Text = UNSET
    object: Text = UNSET
    output: list[dict[str, Any]] | UnsetType | None = UNSET
    """The items as they were parsed: their types are many, and servers add to them."""
    parallel_tool_calls: bool | UnsetType | None = UNSET
    temperature: Number = UNSET
    tool_choice: Opaque = UNSET
    tools: Opaque = UNSET
    top_p: Number = UNSET
    background: bool | UnsetType | None = UNSET
    completed_at: Number = UNSET
    conversation: Opaque = UNSET
    max_output_tokens: Integer = UNSET
    max_tool_calls: Integer = UNSET
    moderation: Opaque = UNSET
    previous_response_id: Text = UNSET
    prompt: Opaque = UNSET
    prompt_cache_key: Text = UNSET
    prompt_cache_options: Opaque = UNSET
    prompt_cache_retention: Text = UNSET
    reasoning: Opaque = UNSET
    safety_identifier: Text = UNSET
    service_tier: Text = UNSET
    status: Text = UNSET
    text: Opaque = UNSET
    top_logprobs: Integer = UNSET
    truncation: Text = UNSET
    usage: ResponseUsage | UnsetType | None = UNSET
    user: Text = UNSET
    content_filters: Opaque = UNSET
    frequency_penalty: Number = UNSET
    input_messages: Opaque = UNSET
    output_messages: Opaque = UNSET
    presence_penalty: Number = UNSET
    sent_output_text: Text = field(name="output_text", default=UNSET)
    """What OpenRouter sends as `output_text`, a name that OpenAI's client has for a property."""
    store: bool | UnsetType | None = UNSET
    tool_usage: Opaque = UNSET

    @property
    def output_text(self) -> str:
        """The texts of all `output_text` parts of the output's messages, joined."""
        messages = _objects_in(self.output, "message")
        parts = [
            part for item in messages for part in _objects_in(item.get("content"), "output_text")
        ]
        texts = [part.get("text") for part in parts]
        return "".join(text for text in texts if isinstance(text, str))


def _objects_in(value: object, kind: str) -> list[dict[str, Any]]:
    """List the objects of a type in a list; a server may send anything in the place of either."""
    found = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return [item for item in found if item.get("type") == kind]


_decode_response: Callable[[Data], Response] = codec.tolerant_decoder(Response)


# --- the events ---------------------------------------------------------------------------------


class ResponseTextDeltaEvent(Tagged, kw_only=True, gc=False, tag="response.output_text.delta"):
    """The next piece of a text."""

    content_index: Integer = UNSET
    delta: Text = UNSET
    item_id: Text = UNSET
    logprobs: Opaque = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseTextDoneEvent(Tagged, kw_only=True, gc=False, tag="response.output_text.done"):
    """A whole text."""

    content_index: Integer = UNSET
    item_id: Text = UNSET
    logprobs: Opaque = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    text: Text = UNSET


class ResponseOutputTextAnnotationAddedEvent(
    Tagged, kw_only=True, gc=False, tag="response.output_text.annotation.added"
):
    """A citation, or another note to a text."""

    annotation: Opaque = UNSET
    annotation_index: Integer = UNSET
    content_index: Integer = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET


class ResponseRefusalDeltaEvent(Tagged, kw_only=True, gc=False, tag="response.refusal.delta"):
    """The next piece of a refusal."""

    content_index: Integer = UNSET
    delta: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseRefusalDoneEvent(Tagged, kw_only=True, gc=False, tag="response.refusal.done"):
    """A whole refusal."""

    content_index: Integer = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    refusal: Text = UNSET
    sequence_number: Integer = UNSET


class ResponseReasoningTextDeltaEvent(
    Tagged, kw_only=True, gc=False, tag="response.reasoning_text.delta"
):
    """The next piece of a reasoning."""

    content_index: Integer = UNSET
    delta: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseReasoningTextDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.reasoning_text.done"
):
    """A whole reasoning."""

    content_index: Integer = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    text: Text = UNSET


class ResponseReasoningSummaryTextDeltaEvent(
    Tagged, kw_only=True, gc=False, tag="response.reasoning_summary_text.delta"
):
    """The next piece of the summary of a reasoning."""

    delta: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    summary_index: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseReasoningSummaryTextDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.reasoning_summary_text.done"
):
    """The whole text of a part of a summary."""

    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    summary_index: Integer = UNSET
    text: Text = UNSET


class ResponseReasoningSummaryPartAddedEvent(
    Tagged, kw_only=True, gc=False, tag="response.reasoning_summary_part.added"
):
    """A part of a summary begins."""

    item_id: Text = UNSET
    output_index: Integer = UNSET
    part: Opaque = UNSET
    sequence_number: Integer = UNSET
    summary_index: Integer = UNSET


class ResponseReasoningSummaryPartDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.reasoning_summary_part.done"
):
    """A part of a summary, whole."""

    item_id: Text = UNSET
    output_index: Integer = UNSET
    part: Opaque = UNSET
    sequence_number: Integer = UNSET
    summary_index: Integer = UNSET
    status: Text = UNSET


class ResponseFunctionCallArgumentsDeltaEvent(
    Tagged, kw_only=True, gc=False, tag="response.function_call_arguments.delta"
):
    """The next piece of the arguments of a function call."""

    delta: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseFunctionCallArgumentsDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.function_call_arguments.done"
):
    """The whole arguments of a function call."""

    arguments: Text = UNSET
    item_id: Text = UNSET
    name: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET


class ResponseCustomToolCallInputDeltaEvent(
    Tagged, kw_only=True, gc=False, tag="response.custom_tool_call_input.delta"
):
    """The next piece of the input of a custom tool."""

    delta: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseCustomToolCallInputDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.custom_tool_call_input.done"
):
    """The whole input of a custom tool."""

    input: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET


class ResponseMcpCallArgumentsDeltaEvent(
    Tagged, kw_only=True, gc=False, tag="response.mcp_call_arguments.delta"
):
    """The next piece of the arguments of a call of an MCP tool."""

    delta: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseMcpCallArgumentsDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.mcp_call_arguments.done"
):
    """The whole arguments of a call of an MCP tool."""

    arguments: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET


class ResponseCodeInterpreterCallCodeDeltaEvent(
    Tagged, kw_only=True, gc=False, tag="response.code_interpreter_call_code.delta"
):
    """The next piece of the code for the interpreter."""

    delta: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET
    obfuscation: Opaque = UNSET


class ResponseCodeInterpreterCallCodeDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.code_interpreter_call_code.done"
):
    """The whole code for the interpreter."""

    code: Text = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET


class ResponseContentPartAddedEvent(
    Tagged, kw_only=True, gc=False, tag="response.content_part.added"
):
    """A part of an item begins."""

    content_index: Integer = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    part: Opaque = UNSET
    sequence_number: Integer = UNSET


class ResponseContentPartDoneEvent(
    Tagged, kw_only=True, gc=False, tag="response.content_part.done"
):
    """A part of an item, whole."""

    content_index: Integer = UNSET
    item_id: Text = UNSET
    output_index: Integer = UNSET
    part: Opaque = UNSET
    sequence_number: Integer = UNSET


class ResponseOutputItemAddedEvent(
    Tagged, kw_only=True, gc=False, tag="response.output_item.added"
):
    """An item of the output begins."""

    item: Opaque = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET


class ResponseOutputItemDoneEvent(Tagged, kw_only=True, gc=False, tag="response.output_item.done"):
    """An item of the output, whole."""

    item: Opaque = UNSET
    output_index: Integer = UNSET
    sequence_number: Integer = UNSET


class LifeCycleEvent(Tagged, kw_only=True, gc=False):
    """What the events that carry the response have in common."""

    response: Opaque = UNSET
    """The response as far as the server knows it, unparsed."""
    sequence_number: Integer = UNSET

    def parsed(self) -> Response:
        """Decode the response. Raises `InvalidChunk` where it is no object."""
        received = self.response
        return _decode_response(b"null" if isinstance(received, UnsetType) else bytes(received))


class ResponseCreatedEvent(LifeCycleEvent, kw_only=True, gc=False, tag="response.created"):
    """The response begins."""


class ResponseQueuedEvent(LifeCycleEvent, kw_only=True, gc=False, tag="response.queued"):
    """The response waits for its turn."""


class ResponseInProgressEvent(LifeCycleEvent, kw_only=True, gc=False, tag="response.in_progress"):
    """The response is being made."""


class ResponseCompletedEvent(LifeCycleEvent, kw_only=True, gc=False, tag="response.completed"):
    """The whole response, and the end of the stream."""


class ResponseFailedEvent(LifeCycleEvent, kw_only=True, gc=False, tag="response.failed"):
    """The response has failed: its `error` says why. The stream ends."""


class ResponseIncompleteEvent(LifeCycleEvent, kw_only=True, gc=False, tag="response.incomplete"):
    """The response as far as it came: `incomplete_details` says why. The stream ends."""


class ResponseErrorEvent(Tagged, kw_only=True, gc=False, tag="error"):
    """An error. OpenAI describes it in the event itself, but sends it in `error`."""

    code: Any = UNSET
    message: Any = UNSET
    param: Any = UNSET
    sequence_number: Integer = UNSET
    error: Any = UNSET


KnownEvent: TypeAlias = (
    ResponseTextDeltaEvent
    | ResponseTextDoneEvent
    | ResponseOutputTextAnnotationAddedEvent
    | ResponseRefusalDeltaEvent
    | ResponseRefusalDoneEvent
    | ResponseReasoningTextDeltaEvent
    | ResponseReasoningTextDoneEvent
    | ResponseReasoningSummaryTextDeltaEvent
    | ResponseReasoningSummaryTextDoneEvent
    | ResponseReasoningSummaryPartAddedEvent
    | ResponseReasoningSummaryPartDoneEvent
    | ResponseFunctionCallArgumentsDeltaEvent
    | ResponseFunctionCallArgumentsDoneEvent
    | ResponseCustomToolCallInputDeltaEvent
    | ResponseCustomToolCallInputDoneEvent
    | ResponseMcpCallArgumentsDeltaEvent
    | ResponseMcpCallArgumentsDoneEvent
    | ResponseCodeInterpreterCallCodeDeltaEvent
    | ResponseCodeInterpreterCallCodeDoneEvent
    | ResponseContentPartAddedEvent
    | ResponseContentPartDoneEvent
    | ResponseOutputItemAddedEvent
    | ResponseOutputItemDoneEvent
    | ResponseCreatedEvent
    | ResponseQueuedEvent
    | ResponseInProgressEvent
    | ResponseCompletedEvent
    | ResponseFailedEvent
    | ResponseIncompleteEvent
    | ResponseErrorEvent
)
"""An event of a type that has a Struct here."""
Event: TypeAlias = KnownEvent | UnknownEvent
"""What `decode` returns."""

decode: Callable[[Data], Event] = tagged_decoder(KnownEvent)
"""Decode one JSON document into the Struct of its `type`, or into an `UnknownEvent`.

Takes bytes, a bytearray, a memoryview or a str; the result keeps no reference to a buffer that may
change. Raises `InvalidChunk` for data that is no JSON object, `TypeError` for what is no data.
"""

decode_utf8: Callable[[bytes], Event] = json.Decoder(KnownEvent).decode
"""The bare decoder, for callers that have checked the UTF-8 of a whole read. It raises
`msgspec.DecodeError` for some data that `decode` accepts, an event of an unknown type among it;
those callers then ask `decode`."""


# --- what a relay has to know -------------------------------------------------------------------


class ResponseFacts(Struct, gc=False):
    """What a relay has to know of the response in a life-cycle event."""

    status: Any = UNSET
    usage: Opaque = UNSET
    error: Any = UNSET
    incomplete_details: Any = UNSET


class Facts(Struct, gc=False):
    """What a relay has to know of an event: nothing of the texts that it passes on unread."""

    type: Any = UNSET
    response: ResponseFacts | UnsetType | None = UNSET
    code: Any = UNSET
    message: Any = UNSET
    param: Any = UNSET
    error: Any = UNSET

    @property
    def failure(self) -> Any:
        """The error that the event reports, parsed; None if it reports none.

        An `error` event describes it in the event itself, as the API says, or in `error`, as the
        server does it; other servers send `error` without a type, and a response that has failed
        has one of its own.
        """
        if self.error:
            return self.error
        if self.type == "error":
            described = {"code": self.code, "message": self.message, "param": self.param}
            return {key: value for key, value in described.items() if value is not UNSET}
        response = self.response
        return (response.error or None) if isinstance(response, ResponseFacts) else None


decode_facts: Callable[[Data], Facts] = codec.tolerant_decoder(Facts)
"""Decode an event's facts alone; raises what `decode` raises."""

decode_usage: Callable[[Data], ResponseUsage] = codec.tolerant_decoder(ResponseUsage)


# --- the answer ---------------------------------------------------------------------------------


class Answer:
    """Puts the events of one stream together. One object, one stream, one thread.

    A stream ends with the whole response; until it comes, the answer is what the events so far add
    up to: an item or a part that an event brings whole, and the texts that have come since.
    """

    def __init__(self) -> None:
        self._response = Raw(b"{}")  # of the last life-cycle event
        self._items: dict[int, _Node] = {}
        self._finished = False

    def add(self, event: Event) -> None:
        """Add the next event. What follows the whole response changes nothing."""
        if self._finished:
            return
        # Nearly every event is a piece of a text, so that is asked first.
        slot = _SLOTS.get(type(event))
        if slot is not None:
            text = getattr(event, slot.source)
            if type(text) is str:
                self._find(event, slot).write(slot.key, text, whole=slot.whole)
        elif isinstance(event, LifeCycleEvent):
            self._take_response(event)
        elif isinstance(event, _ITEMS):
            self._take_item(event)
        elif isinstance(event, _PARTS):
            self._take_part(event, _TEXT)
        elif isinstance(event, _SUMMARY_PARTS):
            self._take_part(event, _SUMMARY)
        elif isinstance(event, ResponseOutputTextAnnotationAddedEvent):
            self._take_annotation(event)

    @property
    def finished(self) -> bool:
        """Whether the event with the whole response has come: completed, failed or incomplete."""
        return self._finished

    def build(self) -> Response:
        """Build the response so far; what is added later does not change it.

        Raises `InvalidChunk` where a part that events carry unparsed cannot be parsed: it is nested
        too deeply, or holds a number that is out of range.
        """
        response = _decode_response(bytes(self._response))
        if not self._finished:
            output = response.output if isinstance(response.output, list) else []
            for index, item in sorted(self._items.items()):
                item.put_into(output, index)
            response.output = output
        return response

    def _take_response(self, event: LifeCycleEvent) -> None:
        # What is no object says nothing; what came before still stands.
        if _is_object(event.response):
            self._response = event.response
            self._finished = isinstance(event, _ENDS)

    def _take_item(self, event: Any) -> None:
        if _is_object(event.item):
            self._items[_read_index(event.output_index)] = _Node({}, event.item)

    def _take_part(self, event: Any, slot: _Slot) -> None:
        if _is_object(event.part):
            parts = self._find_item(event, slot).parts
            parts[slot.list, slot.index_in(event)] = _Node({}, event.part)

    def _take_annotation(self, event: ResponseOutputTextAnnotationAddedEvent) -> None:
        if isinstance(event.annotation, Raw):
            self._find(event, _TEXT).annotations.append(event.annotation)

    def _find_item(self, event: Any, slot: _Slot) -> _Node:
        index = _read_index(event.output_index)
        item = self._items.get(index)
        if item is None:  # whoever resumes a stream may not see where an item begins
            known = {"id": event.item_id} if isinstance(event.item_id, str) else {}
            item = self._items[index] = _Node({**known, "type": slot.item})
        return item

    def _find(self, event: Any, slot: _Slot) -> _Node:
        item = self._find_item(event, slot)
        if not slot.list:
            return item
        place = slot.list, slot.index_in(event)
        part = item.parts.get(place)
        if part is None:
            part = item.parts[place] = _Node({"type": slot.part})
        return part


class _Slot(NamedTuple):
    """Where the text belongs that an event type brings."""

    item: str
    """The type of the item."""
    list: str
    """The item's list of parts that it belongs to; empty if it belongs to the item itself."""
    part: str
    """The type of the part."""
    key: str
    """The text's key in the item or part."""
    source: str = "delta"
    """The text's key in the event."""
    whole: bool = False
    """Whether the event brings the whole text, and not its next piece."""

    def index_in(self, event: Any) -> int:
        """Return the position of the part that the event names."""
        return _read_index(getattr(event, self.list + "_index"))


class _Node:
    """An item of the output, or a part of one: as it came, and what was written into it since."""

    __slots__ = ("_begun", "_key", "_pieces", "_received", "_whole", "annotations", "parts")

    def __init__(self, begun: dict[str, Any], received: Raw | None = None) -> None:
        self._begun = begun  # what it is made of if it never came whole
        self._received = received
        self._key = ""
        self._pieces: list[str] = []
        self._whole = False  # whether the pieces replace the text that it came with
        self.annotations: list[Raw] = []
        self.parts: dict[tuple[str, int], _Node] = {}

    def write(self, key: str, text: str, *, whole: bool) -> None:
        """Add a piece to the text under `key`, or replace the text."""
        # A part has one text. If a server changes its mind about which, the last one counts.
        if whole or key != self._key:
            self._key, self._pieces, self._whole = key, [], whole
        self._pieces.append(text)

    def build(self, found: object = None) -> dict[str, Any]:
        """Build the object as it is so far; `found` is what stands in its place already."""
        made = found if isinstance(found, dict) else self._begun.copy()
        if self._received is not None:
            made = _parse(self._received)
        if self._key:
            # The pieces stay joined, so that the next call joins only what is new.
            self._pieces[:] = ["".join(self._pieces)]
            before = "" if self._whole else made.get(self._key)
            made[self._key] = (before if isinstance(before, str) else "") + self._pieces[0]
        if self.annotations:
            _list_in(made, "annotations").extend(map(_parse, self.annotations))
        for (name, index), part in sorted(self.parts.items()):
            part.put_into(_list_in(made, name), index)
        return made

    def put_into(self, listed: list[Any], index: int) -> None:
        """Put the object where its list has its index, or at the end of a list that is shorter."""
        if 0 <= index < len(listed):
            listed[index] = self.build(listed[index])
        else:
            listed.append(self.build())


def _list_in(made: dict[str, Any], name: str) -> list[Any]:
    """Return the list under a name; what is no list gives way to one."""
    if not isinstance(made.get(name), list):
        made[name] = []
    found: list[Any] = made[name]
    return found


def _is_object(value: Opaque) -> TypeGuard[Raw]:
    return isinstance(value, Raw) and bytes(memoryview(value)[:1]) == b"{"


def _read_index(value: object) -> int:
    """Return an index; where a server sends none, the first is meant."""
    return value if type(value) is int else 0


class _Holder(Struct, gc=False):
    """Lets the tolerant decoder, which makes Structs, parse a value of any kind."""

    value: Any


_decode_holder = codec.tolerant_decoder(_Holder)


def _parse(value: Raw) -> Any:
    return _decode_holder(b'{"value":%b}' % bytes(value)).value


_TEXT = _Slot("message", "content", "output_text", "text")
_REFUSAL = _Slot("message", "content", "refusal", "refusal")
_REASONING = _Slot("reasoning", "content", "reasoning_text", "text")
_SUMMARY = _Slot("reasoning", "summary", "summary_text", "text")
_ARGUMENTS = _Slot("function_call", "", "", "arguments")
_INPUT = _Slot("custom_tool_call", "", "", "input")
_MCP_ARGUMENTS = _Slot("mcp_call", "", "", "arguments")
_CODE = _Slot("code_interpreter_call", "", "", "code")

_TEXTS: list[tuple[type[Tagged], type[Tagged], _Slot]] = [
    (ResponseTextDeltaEvent, ResponseTextDoneEvent, _TEXT),
    (ResponseRefusalDeltaEvent, ResponseRefusalDoneEvent, _REFUSAL),
    (ResponseReasoningTextDeltaEvent, ResponseReasoningTextDoneEvent, _REASONING),
    (ResponseReasoningSummaryTextDeltaEvent, ResponseReasoningSummaryTextDoneEvent, _SUMMARY),
    (ResponseFunctionCallArgumentsDeltaEvent, ResponseFunctionCallArgumentsDoneEvent, _ARGUMENTS),
    (ResponseCustomToolCallInputDeltaEvent, ResponseCustomToolCallInputDoneEvent, _INPUT),
    (ResponseMcpCallArgumentsDeltaEvent, ResponseMcpCallArgumentsDoneEvent, _MCP_ARGUMENTS),
    (ResponseCodeInterpreterCallCodeDeltaEvent, ResponseCodeInterpreterCallCodeDoneEvent, _CODE),
]
_SLOTS: dict[type[Struct], _Slot] = {delta: slot for delta, _, slot in _TEXTS}
_SLOTS |= {done: slot._replace(source=slot.key, whole=True) for _, done, slot in _TEXTS}

_ITEMS = (ResponseOutputItemAddedEvent, ResponseOutputItemDoneEvent)
_PARTS = (ResponseContentPartAddedEvent, ResponseContentPartDoneEvent)
_SUMMARY_PARTS = (ResponseReasoningSummaryPartAddedEvent, ResponseReasoningSummaryPartDoneEvent)
_ENDS = (ResponseCompletedEvent, ResponseFailedEvent, ResponseIncompleteEvent)
