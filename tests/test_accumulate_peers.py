"""The accumulator against openai-python's and litellm's, on every stream that there is.

Each field of the answer is equal, or its difference is a row of `DIFFERENCES`, which says who is
right and why, and what the difference is. A row whose difference no longer happens fails too. The
table is true of the releases in `VERSIONS`: who raises them in pyproject.toml reads it again.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

import pytest
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

import fastchunk
from fastchunk import Accumulator, StreamEncoder, wire
from tests.streams import documents, recorded

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import downloads one
os.environ.setdefault("LITELLM_LOG", "CRITICAL")
with warnings.catch_warnings():  # its import warns of how its classes are written
    warnings.simplefilter("ignore")
    litellm: Any = import_module("litellm")
litellm.suppress_debug_info = True
litellm.disable_hf_tokenizer_download = True

Json = dict[str, Any]


# --- the streams ---


def _events(encoder: StreamEncoder) -> Iterator[bytes]:
    """Write what servers agree on: reasoning, a text, parallel tool calls, a usage."""
    yield encoder.role("assistant")
    yield from map(encoder.reasoning, ["The user", " greets", "."])
    yield from map(encoder.content, ["Hello", ", ", "日本", " 😀\n"])
    for index, call in enumerate("ab"):
        yield encoder.tool_call(index, id=call, name=f"get_{call}")
        for arguments in ('{"x"', ":1}"):
            yield encoder.tool_call(index, arguments=arguments)
    yield encoder.finish("tool_calls")
    yield encoder.usage(prompt_tokens=5, completion_tokens=9)


def _written() -> list[Json]:
    encoder = StreamEncoder(wire, model="m", id="c", created=1)
    return [json.loads(event.removeprefix(b"data: ")) for event in _events(encoder)]


def _repeating() -> list[Json]:
    """Repeat the role, and a tool call's id and name, in every delta."""
    chunks = _written()
    calls: dict[int, Json] = {}
    for delta in (choice["delta"] for chunk in chunks for choice in chunk["choices"]):
        delta["role"] = "assistant"
        for piece in delta.get("tool_calls", ()):
            known = calls.setdefault(piece["index"], piece)
            piece["id"] = known["id"]
            piece["function"]["name"] = known["function"]["name"]
    return chunks


def _interleaved() -> list[Json]:
    """Give every choice a twin, and the usage before the end."""
    chunks = _written()
    usage = chunks.pop()
    for chunk in chunks:
        chunk["choices"].append({**chunk["choices"][0], "index": 1})
    return [*chunks[:-1], usage, chunks[-1]]


def _read(data: list[bytes]) -> list[Json]:
    """Take the chunks, as a client does: no [DONE], and no errors on their own."""
    values = [json.loads(one) for one in data if one != b"[DONE]"]
    return [value for value in values if "choices" in value]


STREAMS: dict[str, list[Json]] = {
    "written": _written(),
    "written-repeating": _repeating(),
    "written-two-choices": _interleaved(),
    **{path.stem: _read(documents(path)) for path in recorded()},
}


# --- three ways to put one together ---


def _fastchunk(chunks: list[Json]) -> Json:
    made = Accumulator()
    for chunk in chunks:
        made.add(wire.decode(json.dumps(chunk)))
    answer: Json = json.loads(fastchunk.encode(made.result()))
    return answer


def _openai(chunks: list[Json]) -> Json:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks:
        made: Any = construct_type(type_=ChatCompletionChunk, value=chunk)
        state.handle_chunk(made)
    return state.current_completion_snapshot.to_dict()


def _litellm(chunks: list[Json]) -> Json:
    made = [litellm.ModelResponseStream(**chunk) for chunk in chunks]
    answer: Json = litellm.stream_chunk_builder(made).model_dump()
    return answer


PEERS: dict[str, Callable[[list[Json]], Json]] = {"openai": _openai, "litellm": _litellm}


# --- what is compared ---

_TOP = ("id", "created", "model", "usage", "system_fingerprint", "service_tier")
_MESSAGE = ("role", "content", "refusal")


def _set(value: Any) -> Any:
    """Leave out what is null, as deep as it goes: two of the three do not tell it from absent."""
    if not isinstance(value, dict):
        return value
    kept = {key: _set(inner) for key, inner in value.items()}
    return {key: inner for key, inner in kept.items() if inner is not None and inner != {}}


def _fields(answer: Json) -> dict[str, Any]:
    found = {name: answer.get(name) for name in _TOP}
    found["usage"] = _set(answer.get("usage"))
    found["choices"] = [choice["index"] for choice in answer["choices"]]
    for choice in answer["choices"]:
        message = choice["message"]
        fields = {name: message.get(name) for name in _MESSAGE}
        fields["reasoning"] = message.get("reasoning_content") or message.get("reasoning")
        fields["tool_calls"] = _calls(message) or None
        fields["logprobs"] = _set(choice.get("logprobs")) or None
        fields["finish_reason"] = choice.get("finish_reason")
        found |= {f"{choice['index']}.{name}": value for name, value in fields.items()}
    return found


def _calls(message: Json) -> list[tuple[Any, ...]]:
    return [
        (call.get("id"), call.get("type"), *map(call["function"].get, ("name", "arguments")))
        for call in message.get("tool_calls") or ()
    ]


def _differences(name: str, peer: str) -> dict[str, tuple[Any, Any]]:
    """Return what differs: the field, of whatever choice, what fastchunk says, what they say."""
    ours = _fields(_fastchunk(STREAMS[name]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that their classes do not expect
        try:
            theirs = _fields(PEERS[peer](STREAMS[name]))
        except Exception as error:  # noqa: BLE001
            return {"raises": (None, error)}
    both = ours.keys() & theirs.keys()  # one that lacks a choice differs in `choices`
    return {
        re.sub(r"^\d\.", "", field): (ours[field], theirs[field])
        for field in sorted(both)
        if ours[field] != theirs[field]
    }


# --- the table ---


def _known(usage: Json) -> Any:
    """Return what `wire` knows of a usage."""
    return _set(json.loads(fastchunk.encode(wire.decode(json.dumps({"usage": usage})))))["usage"]


def _times(ours: str, theirs: str) -> bool:
    return len(theirs) > len(ours) and theirs == ours * (len(theirs) // len(ours))


_NO_FIELD = frozenset(
    "cached_tokens completion_time cost_details cost_in_usd_ticks is_byok num_sources_used "
    "prompt_cache_hit_tokens prompt_cache_miss_tokens prompt_time queue_time reasoning_tokens "
    "search_context_size total_time".split()
)
"""What litellm's usage has no field for, and drops."""


def _kept(usage: Json) -> Json:
    return {key: value for key, value in usage.items() if key not in _NO_FIELD}


def _dropped(ours: Json, theirs: Json) -> bool:
    return _kept(ours) == theirs


def _estimated(ours: Json, theirs: Json) -> bool:
    """Tell whether the details of the completion alone differ, and add up to what was given."""
    given, made = _details(ours), _details(theirs)
    text = ours["completion_tokens"] - made["reasoning_tokens"]
    rest = [{**usage, "completion_tokens_details": 0} for usage in (_kept(ours), theirs)]
    return made == {**made, **given, "text_tokens": text} and rest[0] == rest[1]


def _details(usage: Json) -> Json:
    details: Json = usage.get("completion_tokens_details", {})
    return details


def _without_reasoning(ours: Json, theirs: Json) -> bool:
    reasoning = _details(ours)["reasoning_tokens"]
    return {**theirs, "total_tokens": theirs["total_tokens"] + reasoning} == _kept(ours)


def _counted(ours: Json, theirs: Json) -> bool:
    """Tell whether the prompt's details alone have more, and all of it is of the cache."""
    given, made = ours["prompt_tokens_details"], theirs["prompt_tokens_details"]
    added = made.keys() - given.keys()
    return (
        added <= {"cache_creation_tokens", "cache_write_tokens"}
        and given == {key: made.get(key) for key in given}
        and _kept(ours) == {**theirs, "prompt_tokens_details": given}
    )


class Row(NamedTuple):
    """One difference."""

    peer: str
    field: str
    right: str
    why: str
    streams: str
    is_it: Callable[[Any, Any], bool]
    """Whether what fastchunk says and what the peer says differ in just this way."""


NOTHING = "an empty text says nothing, and no later chunk says more; absent, or as it came"

DIFFERENCES = [
    Row(
        "openai", "role", "fastchunk", "a role that every delta repeats is one role",
        "cerebras__structured-output-tools localproxy5002__gpt35-full ollama__qwen3-thinking "
        "openrouter__advisor-tool openrouter__cache-usage openrouter__midstream-error "
        "openrouter__reasoning-details-tool-call perplexity__citations snowflake-cortex__text "
        "together-hf__deepseek-r1-thinking together__llama33-text writer__multiple-choices "
        "zai__glm-thinking written-repeating mistral__tools-rig-1 openrouter__reasoning-rig-1 "
        "perplexity__text-rig-1 perplexity__text-ruby_llm-1",
        _times,
    ),
    Row(
        "openai", "role", "fastchunk", "no delta names the role; the answer's is the assistant",
        "gpustack-llamabox__qwen3-text groq__compound-web-search",
        lambda ours, theirs: (ours, theirs) == ("assistant", None),
    ),
    Row(
        "openai", "tool_calls", "fastchunk", "an id and a name that every delta repeats are one",
        "written-repeating",
        lambda ours, theirs: theirs == [(i * 3, t, n * 3, a) for i, t, n, a in ours],
    ),
    Row(
        "openai", "tool_calls", "fastchunk", "two ids and two names at one index are two calls",
        "cerebras__structured-output-tools",
        lambda ours, theirs: len(ours) == 2
        and theirs == [(ours[0][0] + ours[1][0], "function", ours[0][2] * 2, "{}{}")],
    ),
    Row(
        "openai", "tool_calls", "fastchunk",
        "no delta gives the call's type or name; an answer's call has both, of type str",
        "ray260gen__pydantic-object-path",
        lambda ours, theirs: (ours, theirs)
        == ([(None, "function", "", "{}")], [(None, None, None, "{}")]),
    ),
    Row(
        "openai", "raises", "fastchunk", "the indices of the tool calls start at 1",
        "anthropic-compat__fallback-tool-call",
        lambda _, error: isinstance(error, IndexError),
    ),
    Row(
        "openai", "raises", "fastchunk", "the tool call has no index",
        "mistral__tool-call-ai",
        lambda _, error: isinstance(error, TypeError),
    ),
    Row(
        "openai", "raises", "fastchunk", "the annotations have no index",
        "openrouter__web-search-annotations",
        lambda _, error: isinstance(error, RuntimeError) and "url_citation" in str(error),
    ),
    Row(
        "openai", "raises", "fastchunk", "a choice has no delta",
        "azure__text-semantic-kerne-1",
        lambda _, error: isinstance(error, AttributeError) and "'to_dict'" in str(error),
    ),
    Row(
        "openai", "raises", "fastchunk", "the tool call has no type",
        "writer__tools-openllmetry-1",
        lambda _, error: isinstance(error, AssertionError),
    ),
    *(
        Row(
            "openai", field, "fastchunk", "the first chunk, of the prompt's filter, has no heading",
            "azure__content-filter-1 azure__reasoning-fantasy-1",
            lambda ours, theirs: ours and not theirs,
        )
        for field in ("id", "created", "model")
    ),
    Row(
        "openai", "service_tier", "fastchunk", "the first chunk does not have it",
        "azure__reasoning-fantasy-1 openai__tools-fantasy-1",
        lambda ours, theirs: (ours, theirs) == ("default", None),
    ),
    Row(
        "openai", "logprobs", "fastchunk", "openai drops the reasoning's",
        "deepseek__reasoning-rig-1",
        lambda ours, theirs: ours.keys() == {"reasoning_content"} and theirs is None,
    ),
    Row(
        "openai", "usage", "openai", "wire knows no such keys of a usage",
        "alibaba-qwen__reasoning-rig-1 anthropic__reasoning-fantasy-1 gemini__reasoning-fantasy-1 "
        "gpustack-llamabox__qwen3-text mistral__hybrid-thinking mistral__tools-rig-1 "
        "openai__tools-fantasy-1 openrouter__advisor-tool",
        lambda ours, theirs: _known(theirs) == ours,
    ),
    Row(
        "openai", "usage", "fastchunk", "a chunk without usage takes back none",
        "openai__moderation vllm033gen__continuous-usage written-two-choices",
        lambda ours, theirs: ours and theirs is None,
    ),
    Row(
        "openai", "content", "fastchunk", "the content was first parts, then a text",
        "mistral__hybrid-thinking",
        lambda ours, theirs: (ours, theirs) == ("144", "44"),
    ),
    Row(
        "openai", "reasoning", "fastchunk", "the reasoning is in parts of the content",
        "mistral__hybrid-thinking mistral__magistral-thinking",
        lambda ours, theirs: ours and theirs is None,
    ),
    *(
        Row("openai", field, "both", NOTHING, streams, lambda *both: both == (None, ""))
        for field, streams in {
            "system_fingerprint": "novita-hf__text-short openai__web-search-annotations "
            "snowflake-cortex__text",
            "service_tier": "snowflake-cortex__text",
            "refusal": "snowflake-cortex__text",
        }.items()
    ),
    Row(
        "litellm", "usage", "fastchunk", "the server gave none; litellm counts some of it itself",
        "anthropic-compat__fallback-tool-call azure__content-filter-1 groq__compound-web-search "
        "groq__midstream-error-after-text groq__reasoning-long-2 openai__gpt35-parallel-tools "
        "openai__gpt5-nano-text nvidia-nim__mixtral-text openai__web-search-annotations "
        "vllm033gen__midstream-error-jsondumps-keepalive vllm__opt125m-text "
        "azure__text-semantic-kerne-1",
        lambda ours, theirs: ours is None and theirs["prompt_tokens"] == 0,
    ),
    Row(
        "litellm", "usage", "fastchunk",
        "litellm counts the reasoning itself, and puts text_tokens beside it",
        "azure__deepseek-reasoning deepseek__chat-v3-long deepseek__text deepseek__v4-text "
        "localproxy5002__gpt35-full mistral__hybrid-thinking mistral__magistral-thinking "
        "mistral__text-ai novita-hf__text-short ollama__gpt-oss-text ollama__qwen3-thinking "
        "perplexity__citations sglang0523gen__reasoning-text together-hf__deepseek-r1-thinking "
        "together__llama33-text vllm-crusoe__text-usage vllm033gen__continuous-usage "
        "vllm033gen__reasoning writer__multiple-choices written written-repeating "
        "written-two-choices alibaba-qwen__reasoning-rig-2 alibaba-qwen__text-rig-1 "
        "deepseek__text-crush-1 mistral__tools-rig-1 perplexity__text-rig-1 "
        "perplexity__text-ruby_llm-1",
        _estimated,
    ),
    Row(
        "litellm", "usage", "fastchunk", "the server's total includes the reasoning",
        "xai__text-compat xai__tool-call-compat",
        _without_reasoning,
    ),
    Row(
        "litellm", "usage", "fastchunk", "litellm drops keys, and counts of the cache are added",
        "openrouter__advisor-tool openrouter__cache-usage openai__tools-fantasy-1 "
        "openrouter__reasoning-details-tool-call openrouter__web-search-annotations "
        "openrouter__reasoning-rig-1 alibaba-qwen__reasoning-rig-1 "
        "anthropic__reasoning-fantasy-1 gemini__reasoning-fantasy-1",
        _counted,
    ),
    Row(
        "litellm", "usage", "fastchunk", "litellm drops keys that it has no field for",
        "azure__grok-tool-call deepseek__reasoning-rig-1 deepseek__reasoning-stream "
        "groq__gpt-oss-text groq__reasoning-ai groq__tool-call-ai openrouter__midstream-error",
        _dropped,
    ),
    Row(
        "litellm", "created", "fastchunk", "the first chunk, of the prompt's filter, has none",
        "azure__content-filter-1 azure__reasoning-fantasy-1 azure__text-semantic-kerne-1",
        lambda ours, theirs: ours and theirs == 0,
    ),
    Row(
        "litellm", "tool_calls", "fastchunk", "two ids and two names at one index are two calls",
        "cerebras__structured-output-tools",
        lambda ours, theirs: len(ours) == 2 and theirs == [(*ours[1][:3], "{}{}")],
    ),
    Row(
        "litellm", "tool_calls", "fastchunk", "litellm drops a call that was never named",
        "ray260gen__pydantic-object-path",
        lambda ours, theirs: ours == [(None, "function", "", "{}")] and theirs is None,
    ),
    Row(
        "litellm", "choices", "fastchunk", "litellm knows one choice",
        "openai__n2-choices writer__multiple-choices written-two-choices",
        lambda ours, theirs: (ours, theirs) == ([0, 1], [0]),
    ),
    *(
        Row(
            "litellm", field, "fastchunk", "litellm joins the choices into one",
            streams,
            lambda ours, theirs: len(theirs) > len(ours),
        )
        for field, streams in {
            "content": "openai__n2-choices writer__multiple-choices written-two-choices",
            "reasoning": "written-two-choices",
            "tool_calls": "written-two-choices",
        }.items()
    ),
    Row(
        "litellm", "content", "fastchunk", "the content was first parts, then a text",
        "mistral__hybrid-thinking",
        lambda ours, theirs: (ours, theirs) == ("144", "44"),
    ),
    Row(
        "litellm", "content", "fastchunk", "there was no content, but a null",
        "openai__refusal-logprobs alibaba-qwen__reasoning-rig-1",
        lambda ours, theirs: (ours, theirs) == (None, ""),
    ),
    Row(
        "litellm", "reasoning", "fastchunk", "the reasoning is in parts of the content",
        "mistral__hybrid-thinking mistral__magistral-thinking",
        lambda ours, theirs: ours and theirs is None,
    ),
    *(
        Row(
            "litellm", field, "fastchunk", "litellm drops it", streams,
            lambda ours, theirs: ours and theirs is None,
        )
        for field, streams in {
            "refusal": "openai__refusal-logprobs",
            "logprobs": "openai__refusal-logprobs deepseek__reasoning-rig-1 "
            "openrouter__reasoning-rig-1",
        }.items()
    ),
    Row(
        "litellm", "finish_reason", "fastchunk", "the stream ended without one; litellm says stop",
        "groq__midstream-error-after-text snowflake-cortex__text "
        "vllm033gen__midstream-error-jsondumps-keepalive",
        lambda ours, theirs: (ours, theirs) == (None, "stop"),
    ),
    Row(
        "litellm", "system_fingerprint", "fastchunk", "the first chunk does not have it",
        "ray260gen__pydantic-object-path vllm-crusoe__text-usage vllm033gen__reasoning "
        "vllm033gen__tools azure__text-semantic-kerne-1",
        lambda ours, theirs: ours and theirs is None,
    ),
    Row(
        "litellm", "system_fingerprint", "both", NOTHING,
        "novita-hf__text-short openai__web-search-annotations snowflake-cortex__text",
        lambda ours, theirs: (ours, theirs) == (None, ""),
    ),
]  # fmt: skip


VERSIONS = {"openai": "2.54.0", "litellm": "1.106.12"}
"""What the table is true of."""


def _rows(name: str, peer: str) -> dict[str, Row]:
    return {
        row.field: row for row in DIFFERENCES if row.peer == peer and name in row.streams.split()
    }


@pytest.mark.parametrize("peer", PEERS)
def test_the_table_is_of_the_releases_that_are_installed(peer: str) -> None:
    assert version(peer) == VERSIONS[peer]


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", STREAMS)
def test_equal_but_for_the_rows_of_the_table(name: str, peer: str) -> None:
    found, rows = _differences(name, peer), _rows(name, peer)
    assert found.keys() == rows.keys(), found
    for field, (ours, theirs) in found.items():
        assert rows[field].is_it(ours, theirs), (rows[field].why, ours, theirs)


@pytest.mark.parametrize("peer", PEERS)
def test_the_table_has_one_row_for_a_field_of_a_stream(peer: str) -> None:
    rows = [row for row in DIFFERENCES if row.peer == peer]
    keys = [(row.field, name) for row in rows for name in row.streams.split()]
    assert len(keys) == len(set(keys))
    unknown = {name for _, name in keys} - STREAMS.keys()
    assert not (unknown and recorded())
