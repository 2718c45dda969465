"""What is recognized as alike: each scanner by itself, and relays that read nothing twice."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

from fastchunk import DROP, InvalidChunk, Relay, completions, messages, relay, responses, wire
from fastchunk.edit import edit
from fastchunk.rewrite import Rewriter
from fastchunk.scan import FACT, KIND, LATEST, TEXT
from fastchunk.text import Replace, Rule, Split, Stop
from tests.scanners import MODULES

# --- a scanner by itself ------------------------------------------------------------------------

PATHS = {
    ("kind",): FACT,
    ("text",): TEXT,
    ("copy",): TEXT,
    ("padding",): KIND,
    ("usage",): LATEST,
}
BASE = {"kind": "a", "text": "one", "padding": "x", "n": 1}


class Plan:
    """Drops a copy, if there is one, and writes the text."""

    def __init__(self, *, is_simple: bool) -> None:
        self.is_simple = is_simple

    def edit(self, data: bytes, text: str) -> bytes:
        return edit(data, {"text": text} if self.is_simple else {"text": text, "copy": DROP})


SIMPLE, DROPPING = Plan(is_simple=True), Plan(is_simple=False)


def alike_of(module: ModuleType) -> tuple[Any, Any]:
    """Return what recognizes events, and the tally that it notes them in."""
    tally = module.Tally()
    table = module.Table(list(PATHS), list(PATHS.values()), ("text",))
    return module.Alike(table, tally, ("kind",), ("n",)), tally


def written(**changes: Any) -> bytes:
    return json.dumps({**BASE, **changes}, separators=(",", ":")).encode()


def learned(module: ModuleType, **changes: Any) -> tuple[Any, Any]:
    """Let one event be learned."""
    alike, tally = alike_of(module)
    data = written(**changes)
    assert alike.find(data) is None
    assert alike.asks
    alike.learn("said", module.Tally(), data, "one", {"padding"})
    return alike, tally


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("text", ["two", "a longer one", 'é\n"', ""])
def test_an_event_with_another_text_is_recognized(module: ModuleType, text: str) -> None:
    alike, tally = learned(module)
    data = written(text=text, padding="yy")
    found = alike.find(data)
    if text or module is not MODULES[0] or len(MODULES) == 1:
        assert found == ("said", text)
        alike.note(data)
        assert (tally.chunks, tally.others) == (1, 0)
        assert json.loads(alike.rewrite(data, b'"new"', SIMPLE)) == json.loads(
            written(text="new", padding="yy")
        )
    else:
        assert found is None  # an event without a text is another one


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    "changes",
    [{"kind": "b"}, {"text": 1}, {"text": None}, {"padding": None}, {"usage": {}}, {"copy": "x"}],
)
def test_an_event_that_says_something_else_is_not(
    module: ModuleType, changes: dict[str, Any]
) -> None:
    alike, _ = learned(module)
    assert alike.find(written(**changes)) is None
    assert alike.find(b"[1]") is None


@pytest.mark.parametrize("module", MODULES)
def test_a_copy_of_the_text_has_to_be_one(module: ModuleType) -> None:
    alike, _ = learned(module, copy="one")
    data = written(text="two", copy="two")
    assert alike.find(data) == ("said", "two")
    assert alike.rewrite(data, b'"new"', SIMPLE) is None
    assert alike.find(written(text="two", copy="three")) is None
    assert alike.find(written(text="two", copy="")) is None


COMPILED = [module for module in MODULES if module.__name__.endswith("._scan")]


@pytest.mark.parametrize("module", COMPILED)
def test_the_compiled_scanner_looks_at_nothing_that_has_no_mark(module: ModuleType) -> None:
    alike, _ = learned(module)
    for data in (
        written(text="two", n=22, more=[{"a": None}]),
        b'{ "n": [], "padding": "", "text": "two", "kind": "a" }',
    ):
        assert alike.find(data) is None or b"more" in data
    padded = written(text="two")[:-1]
    for spaces in (b"  ", b"    ", b""):  # the second and third are compared with the first
        assert alike.find(padded + spaces + b"}") == ("said", "two")


@pytest.mark.parametrize("module", COMPILED)
def test_a_text_in_parts_has_all_else_in_its_signature(module: ModuleType) -> None:
    alike, _ = learned(module, text=[{"type": "t", "n": 1, "on": True, "text": "one"}, "one"])
    parts = [{"type": "t", "n": 1, "on": True, "text": "two"}, "two"]
    assert alike.find(written(text=parts)) == ("said", "two")
    for key, value in (("type", "u"), ("n", 2), ("on", False), ("text", "x"), ("more", None)):
        assert alike.find(written(text=[{**parts[0], key: value}, "two"])) is None  # type: ignore[dict-item]
    assert alike.find(written(text=parts[:1])) is None
    assert alike.find(written(text=["one"] * 9)) is None  # which are too many
    assert not alike.asks


@pytest.mark.parametrize("module", COMPILED)
def test_what_is_to_be_read_is_never_found(module: ModuleType) -> None:
    alike, _ = alike_of(module)
    for _ in range(2):
        assert alike.find(written()) is None
        if alike.asks:
            alike.learn(None, module.Tally(), written(), "one", ())
    assert not alike.asks


@pytest.mark.parametrize("module", COMPILED)
def test_what_an_event_says_is_noted_with_it(module: ModuleType) -> None:
    alike, tally = alike_of(module)
    data = written(usage={"a": 1}, text=None)
    assert alike.find(data) is None
    said = module.Tally()
    said.indexes, said.finish_reasons = {3}, {3: "stop"}
    alike.learn("said", said, data, "", ())
    for number in (1, 22):
        later = written(usage={"a": number}, text=None)
        assert alike.find(later) == ("said", "")
        alike.note(later)
        assert json.loads(tally.usage_data) == {"a": number}
    assert (tally.chunks, tally.indexes, tally.finish_reasons) == (2, {3}, {3: "stop"})


@pytest.mark.parametrize("module", COMPILED)
def test_the_compiled_scanner_checks_its_arguments(module: ModuleType) -> None:
    with pytest.raises(OverflowError):
        module.Alike(module.Table([(str(n),) for n in range(99)]), module.Tally())
    with pytest.raises(OverflowError):
        module.Table([], [], [str(n) for n in range(99)])
    alike, _ = learned(module)
    assert alike.find(written(text="a longer one")) is not None
    with pytest.raises(ValueError, match="found last"):
        alike.rewrite(b"{}", b'"new"', SIMPLE)


# --- in a relay ---------------------------------------------------------------------------------


def saying(**delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}


def block(kind: str, **event: Any) -> dict[str, Any]:
    return {"type": kind, "index": 0, **event}


T = "a text"  # in place of which others are put
SAMPLES: dict[Any, list[dict[str, Any]]] = {
    wire: [
        saying(role="assistant", content=""),
        saying(content=T),
        {**saying(content=T), "usage": None, "obfuscation": "x"},
        {**saying(content=T), "usage": {"prompt_tokens": 1}},
        saying(reasoning=T, reasoning_content=T),
        saying(reasoning=T, reasoning_details=[{"type": "reasoning.text", "text": T, "index": 0}]),
        saying(content=[{"type": "thinking", "thinking": [{"type": "text", "text": T}]}]),
        saying(content=[{"type": "text", "text": T}]),
        saying(tool_calls=[{"index": 0, "function": {"arguments": T}}]),
        saying(function_call={"arguments": T}),
        saying(audio={"transcript": T, "data": "AA"}),
        {"choices": [{"index": 1, "text": T, "delta": {"content": T, "token_id": 5}}]},
        {"choices": [{"index": 0, "delta": {"content": T}, "message": {"content": T}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "delta": {"content": T}, "logprobs": {"content": [1]}}]},
        {"choices": [], "usage": {"prompt_tokens": 2}},
    ],
    completions: [
        {"object": "text_completion", "choices": [{"index": 0, "text": T, "logprobs": None}]},
        {"choices": [{"index": 0, "text": T, "logprobs": {"tokens": ["a"]}}], "usage": None},
        {"choices": [{"text": "", "delta": {"content": T}, "finish_reason": None}]},
        {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
    ],
    messages: [
        {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1}}},
        block("content_block_start", content_block={"type": "text", "text": ""}),
        block("content_block_start", content_block={"type": "tool_use", "input": {}}),
        block("content_block_start", content_block={"type": "new", "said": T}),
        block("content_block_delta", delta={"type": "text_delta", "text": T}),
        block("content_block_delta", delta={"type": "thinking_delta", "thinking": T}),
        block("content_block_delta", delta={"type": "input_json_delta", "partial_json": T}),
        block("content_block_delta", delta={"type": "citations_delta", "citation": {"title": T}}),
        block("content_block_delta", delta={"type": "new_delta", "said": T}),
        block("content_block_stop"),
        {"type": "message_delta", "delta": {"stop_reason": "end"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
        {"type": "ping"},
        {"type": "new", "said": T},
    ],
    responses: [
        block("response.output_text.delta", delta=T, output_index=0, logprobs=[], obfuscation="x"),
        block("response.output_text.delta", delta=T, output_index=1, logprobs=[{"token": "a"}]),
        block("response.output_text.done", text=T, output_index=0),
        block("response.refusal.delta", delta=T, output_index=0),
        block("response.function_call_arguments.delta", delta=T, output_index=2),
        block("response.content_part.added", part={"type": "output_text", "text": ""}),
        block("response.content_part.done", part={"type": "output_text", "text": T}),
        block("response.output_item.done", item={"content": [{"text": T}]}),
        block("response.new.delta", delta=T),
        {"type": "response.completed", "response": {"output": [{"content": [{"text": T}]}]}},
    ],
}
VALUES = [
    *(None, "", "ab", 1, 2.5, True, [], {}, ["ab"], {"text": "ab"}, [{"text": "ab"}], "stop"),
    *([5], [{"function": {"arguments": "ab"}}], {"content": "ab"}, {"transcript": "ab"}),
]
TEXTS = ["a", "b", "4", "11", "4111 1111", "ab", "", "a\n", 'é"', " ", "\\"]


class Adds:
    """A rule of a user's own that holds nothing, and has something to add at the end."""

    def feed(self, piece: str) -> str:
        return piece

    def close(self) -> str:
        return "!"


ANY: list[list[Rule]] = [
    [Replace(["4111 1111", "ab"], "#")],
    [Replace("ab", "<x>", channels=("content", "reasoning", "arguments"))],
    [Replace(["a", "ab"], "")],
    [Adds],
]
RULES_OF: dict[Any, list[list[Rule]]] = {
    wire: [*ANY, [Stop("b4", "ab")], [Split("a", "b")], [Split("4", "ab"), Replace("11", "_")]],
    completions: [*ANY, [Stop("b4", "ab")]],
    messages: ANY,
    responses: ANY,
}


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """List an event's objects."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)):
            yield from objects_in(item)


def mutated(rng: random.Random, family: Any) -> dict[str, Any]:
    """Make an event of a family's, with something amiss more often than not."""
    event = copy.deepcopy(rng.choice(SAMPLES[family]))
    keys = [key for sample in SAMPLES[family] for part in objects_in(sample) for key in part]
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        part = rng.choice(list(objects_in(event)))
        part[rng.choice([*part, rng.choice(keys)])] = copy.deepcopy(rng.choice(VALUES))
        if part and rng.random() < 0.2:
            del part[rng.choice(list(part))]
    return event


def said(rng: random.Random, family: Any) -> bytes:
    """Make a stream in which some events come again and again, with other texts."""
    out = []
    for _ in range(rng.randint(1, 5)):
        event = mutated(rng, family)
        for _ in range(rng.randint(1, 5)):
            text = json.dumps(rng.choice(TEXTS))
            data = json.dumps(event, separators=rng.choice([None, (",", ":")]))
            data = data.replace(json.dumps(T), text).replace('"ab"', text)
            out.append(f"data: {data[:-1]}{' ' * rng.choice((0, 0, 0, 1, 5))}}}\n\n")
    return "".join(out).encode()


def outcome(family: Any, rules: list[Rule], raw: bytes, options: dict[str, Any]) -> list[Any]:
    """Relay a stream; return what leaves, parsed, and what is known in the end."""
    passed, refused = Relay(family, text=rules, **options), ""
    out = b""
    try:
        out = passed.feed(raw)
    except InvalidChunk as error:
        refused = str(error)
    out += passed.close()
    lines = [line[6:] if line[:6] == b"data: " else line for line in out.split(b"\n")]
    parsed = [json.loads(line) if line[:1] == b"{" else line for line in lines]
    usage = None if passed.usage is None else msgspec.json.encode(passed.usage)
    return [
        *(parsed, refused, passed.chunks, passed.events, passed.invalid, usage),
        *(passed.finish_reasons, passed.done, passed.truncated, passed.stopped),
    ]


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("family", SAMPLES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_relays_do_what_those_do_that_read_every_event(family: Any, seed: int) -> None:
    rng = random.Random(seed)
    recognized = 0

    def counted(*given: Any) -> Any:
        nonlocal recognized
        recognized += 1
        return rewrite_alike(*given)

    rewrite_alike: Callable[..., Any] = Rewriter.rewrite_alike
    looker: Any = vars(relay)["Looker"]
    for _ in range(300):
        raw, rules = said(rng, family), rng.choice(RULES_OF[family])
        options: dict[str, Any] = rng.choice([{}, {}, {"model": "alias"}, {"drop": ["usage"]}])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Rewriter, "rewrite_alike", counted)
            found = outcome(family, rules, raw, options)
            patch.setattr(relay, "Looker", lambda *given: looker(*given[:3]))
            assert found == outcome(family, rules, raw, options), raw.decode()
    assert recognized > 20
