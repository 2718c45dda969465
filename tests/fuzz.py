"""`python -m tests.fuzz --seconds N --seed S`: mutated streams through every part, for a while.

Checked for each: nothing but `FastchunkError` escapes; an identity relay returns what it was fed,
but for a first byte order mark; the output is whole blocks, as many events as came in, and depends
neither on the cuts nor on what the relay has learned nor on which scanner there is; the scanners
agree with the exact edit; no buffer outgrows its bound.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress

from fastchunk import (
    DROP,
    ChunkStream,
    EventDecoder,
    FastchunkError,
    InvalidChunk,
    Relay,
    completions,
    edit,
    encode,
    messages,
    models,
    responses,
    text,
    wire,
)
from fastchunk.edit import _edit_exactly, encode_changes, table_of
from fastchunk.producer import StreamEncoder
from fastchunk.sse import BOM, BlockSplitter, blocks

from .family_streams import recorded_of
from .scanners import MODULES, exact_relay, scanning
from .streams import recorded

_LIMIT = 4096
FRAGMENTS = [
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"data: ", b"data:", b": c\n", b"event: error\n", b"id: 1\n"),
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"\xff", b"\xef\xbb\xbf"),
    *(b'"model":"evil"', b'"usage":{"a":1}', b'"choices":[]', b'"error":{}', b"[DONE]", b"1e999"),
    *(b"data: [DONE]\n\n", b"data: null\n\n", b'"content":null', b"\\ud800", b"\x00", b"9" * 50),
    *(b"\ndata: ", b"\\/", b"\\u0063", b'"content":["S"],', b'"c\\u006fntent":"S",'),
    *(b'"content":"S",', b'"delta":{"content":"S"},', b'"choices":[{"delta":{"content":"S"}}],'),
    *(b'"logprobs":{"content":[', b'"id":"another",', b'"index":1,', b'"finish_reason":"stop",'),
    *(
        b'"object":1,',
        b'"usage":[1],',
        b'"usage":null,',
        b'"seed":18446744073709551616,',
        b" ",
        b"\t",
    ),
    *(
        "é".encode(),
        b"\\ud83d\\ude00",
        b"event\n",
        b"event: ping\n",
        b"-1.5e-7",
        b'"x":{"y":["z"]},',
    ),
]


def generated(rng: random.Random) -> bytes:
    """Write a stream as a server does."""
    encoder = StreamEncoder(rng.choice([wire, models]), model="m", id="c", created=1)
    choices = rng.randint(1, 3)
    events = [encoder.role("assistant", choice=n) for n in range(choices)]
    texts = (f" token {n} é\n" for n in range(rng.randint(1, 12)))
    events += [encoder.content(text, choice=n % choices) for n, text in enumerate(texts)]
    events += [encoder.tool_call(0, id="t", name="f"), encoder.tool_call(0, arguments="{}")]
    if rng.randint(0, 1):  # as OpenAI hides how long a text is
        events = [edit(event[6:-2], {"obfuscation": "x" * rng.randint(0, 9)}) for event in events]
        events = [b"data: %b\n\n" % event for event in events]
    events += [encoder.finish("stop", choice=n) for n in range(choices)]
    events += [encoder.usage(prompt_tokens=1, completion_tokens=2)]
    if rng.randint(0, 2) == 0:  # as some servers do: an id for each event
        events = [event.replace(b'"id":"c"', b'"id":"c%d"' % n) for n, event in enumerate(events)]
    if rng.randint(0, 3) == 0:
        events = [event.replace(b"\n", b"\r\n") for event in events]
    return b"".join([*events, encoder.done()])


def mutated(rng: random.Random, raw: bytes, fragments: Sequence[bytes] = FRAGMENTS) -> bytes:
    """Change a stream in a few places."""
    data = bytearray(raw)
    for _ in range(rng.randint(0, 4)):
        at = rng.randint(0, len(data))
        action = rng.randint(0, 4)
        if action == 0:
            data[at:at] = rng.choice(fragments)
        elif action == 1:
            del data[at : at + rng.randint(1, 40)]
        elif action == 2 and at < len(data):
            data[at] = rng.randrange(256)
        elif action == 3:
            other = rng.randint(0, len(data))
            data[at:at] = data[other : other + rng.randint(1, 300)]
        else:
            del data[at:]
    return bytes(data)


FAMILY_FRAGMENTS = [
    *(b'"type":"error",', b'"type":"new.delta",', b'"type":"message_stop",', b'"index":[1],'),
    *(b'"type":"response.completed",', b'"output_index":{},', b'"usage":{"x":1e999},'),
    *(
        b'"message":{"model":"evil","usage":{}},',
        b'"response":{"model":"evil"},',
        b'"delta":["S"],',
    ),
    *(
        b'"content_block":{"type":"text","text":"S"},',
        b'"delta":"S",',
        b'"text":"S",',
        b'"item":[],',
    ),
    *(b"event: error\ndata: {}\n\n", b"event: ping\ndata: {}\n\n", b'"error":{"a":1},'),
]


def generated_of(rng: random.Random, family: Any) -> bytes:
    """Write a stream as a server does; without a family, one of chat's."""
    if family is None:
        return generated(rng)
    texts = [f" token {n} é\n" for n in range(rng.randint(1, 12))]
    events = _WRITERS[family](texts)
    if family is completions:
        blocks_ = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
    else:
        blocks_ = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    end = "\r\n" if rng.randint(0, 3) == 0 else "\n"
    return "".join(blocks_).replace("\n", end).encode()


def _completion_events(texts: list[str]) -> list[dict[str, Any]]:
    choices = [{"index": 0, "text": text, "finish_reason": None} for text in texts]
    choices.append({"index": 0, "text": "", "finish_reason": "stop"})
    usage = {"model": "m", "choices": [], "usage": {"prompt_tokens": 1}}
    return [{"model": "m", "choices": [choice]} for choice in choices] + [usage]


def _message_events(texts: list[str]) -> list[dict[str, Any]]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    return [
        {"type": "message_start", "message": {"model": "m", "content": [], "usage": usage}},
        block,
        {"type": "ping"},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            }
            for text in texts
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop"},
    ]


def _response_events(texts: list[str]) -> list[dict[str, Any]]:
    place = {"output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "".join(texts), "logprobs": [{"token": texts[0]}]}
    response = {
        "model": "m",
        "status": "completed",
        "output": [{"type": "message", "content": [part]}],
    }
    return [
        {"type": "response.created", "response": {"model": "m", "status": "in_progress"}},
        *({"type": "response.output_text.delta", **place, "delta": text} for text in texts),
        {"type": "response.output_text.done", **place, "text": "".join(texts)},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.completed", "response": {**response, "usage": {"input_tokens": 1}}},
    ]


_WRITERS: dict[Any, Callable[[list[str]], list[dict[str, Any]]]] = {
    completions: _completion_events,
    messages: _message_events,
    responses: _response_events,
}
FAMILIES = tuple(_WRITERS)


def cut(rng: random.Random, raw: bytes) -> list[bytes]:
    """Cut a stream into reads."""
    places = sorted(rng.randint(0, len(raw)) for _ in range(rng.randint(0, 12)))
    return [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]


def run(part: Any, reads: list[bytes]) -> list[Any]:
    """Feed a part and close it; an error of fastchunk's own is part of the outcome."""
    out: list[Any] = []
    for call, arguments in [*((part.feed, (read,)) for read in reads), (part.close, ())]:
        try:
            out.append(call(*arguments))
        except FastchunkError as error:
            out.append(type(error).__name__)
    return out


def redact(chunk: wire.ChatCompletionStreamResponse) -> Any:
    """Change the text of a chunk, in every second one."""
    for choice in chunk.choices or ():
        if choice.delta and isinstance(choice.delta.content, str) and len(choice.delta.content) % 2:
            choice.delta.content = "[redacted]"
    return chunk


def check(rng: random.Random, raw: bytes) -> None:
    """Put one stream of chat's through every part, whole and in pieces."""
    reads = cut(rng, raw)
    _check_relays(
        raw,
        reads,
        [
            {"set": {"model": "alias"}, "drop": ["id"]},
            {"strip_usage": True},
            {"on_chunk": lambda chunk: chunk, "set": {"model": "alias"}},
            {"on_chunk": redact},
            {"set": {"x": {"y": ["z"]}, "object": "o"}, "max_event_size": 400},
        ],
    )
    for family in (wire, models):
        _check_reading(family, raw, reads)
    _check_limit(reads)
    for event in EventDecoder().feed(raw):
        _check_edits(event.data)


def check_of(rng: random.Random, raw: bytes, family: Any) -> None:
    """Put one stream through every part; without a family, one of chat's."""
    if family is None:
        check(rng, raw)
        return
    reads = cut(rng, raw)
    _check_relays(
        raw,
        reads,
        [
            {"family": family, "model": "alias"},
            {"family": family, "on_chunk": lambda chunk: chunk, "model": "alias"},
        ],
    )
    _check_reading(family, raw, reads)
    rules = [text.Replace(["token 1 é", "S", "oken"], "[x]", channels=("content", "arguments"))]
    whole, pieces = Relay(family, text=rules), Relay(family, text=rules)
    written = b"".join(map(bytes, run(whole, [raw])))
    assert written == b"".join(map(bytes, run(pieces, reads))), "the cuts matter"
    with scanning("pure"):
        assert written == b"".join(map(bytes, run(Relay(family, text=rules), [raw]))), (
            "the scanner matters"
        )


def _check_relays(raw: bytes, reads: list[bytes], all_options: list[dict[str, Any]]) -> None:
    identity = run(Relay(all_options[0].get("family", wire)), reads)
    # A second mark at the beginning opens a line that is no data line; the first one stays with it.
    kept = raw if raw.startswith(BOM * 2) else raw.removeprefix(BOM)
    assert b"".join(identity) in (kept, raw.removeprefix(BOM)), (
        "an identity relay changed something"
    )
    for out in identity[:-1]:
        assert b"".join(blocks(out)) == out, "half a block was written"
    events = len(EventDecoder().feed(raw))
    for options in all_options:
        whole, pieces, exact = Relay(**options), Relay(**options), exact_relay(**options)
        out = run(whole, [raw])
        parts = [run(pieces, reads), run(exact, reads)]
        with scanning("pure"):
            pure = Relay(**options)
            parts.append(run(pure, [raw]))
        if "max_event_size" not in options:
            written = b"".join(out)
            assert written == b"".join(parts[0]), "the cuts matter"
            assert written == b"".join(parts[1]), "what was learned matters"
            assert "strip_usage" in options or len(EventDecoder().feed(written)) == events, (
                "misframed"
            )
        assert out == parts[2], "the scanner matters"
        for name in ("events", "chunks", "invalid", "done", "truncated", "error", "usage"):
            for other in (pieces, exact, pure):
                assert getattr(whole, name) == getattr(other, name), f"{name} differs"


def _check_reading(family: Any, raw: bytes, reads: list[bytes]) -> None:
    taken = _taken(family, [raw])
    assert taken == _taken(family, reads), "the cuts matter"
    with scanning("pure"):
        assert taken == _taken(family, reads), "the scanner matters"


_CHANGES: list[dict[str, Any]] = [
    {"model": "alias", "/choices/0/delta/content": "x"},
    {"new": 1, "usage": DROP, "id": DROP},
    {"/choices/0/delta": DROP},
    {},
]


def _check_edits(data: bytes) -> None:
    for changes in _CHANGES:
        paths, values = table_of(tuple(changes)).paths, encode_changes(changes)
        try:
            expected = _edit_exactly(data, MODULES[-1].Table(paths), values)
        except InvalidChunk:
            expected = None
        for module in MODULES:
            spliced = module.splice(data, module.Table(paths), values)
            assert spliced in (None, expected), "a quick edit is not the exact one"
    for paths in _PATHS:
        *quick, exact = (module.scan(data, module.Table(paths)) for module in MODULES)
        assert all(found in (None, exact) for found in quick), "the scanners find different values"


_PATHS: list[list[tuple[str | None, ...]]] = [
    [("model",), ("usage",), ("choices",), ("choices", None, "delta", "content")],
    [("choices", "0", "delta"), ("choices", "1", "index")],
]


def _taken(family: Any, reads: list[bytes]) -> list[Any]:
    stream: ChunkStream[Any] = ChunkStream(family)
    items: list[Any] = []
    for read in reads:
        items += stream.take(read)
    items += stream.end()
    said = stream.done, stream.truncated, stream.invalid, repr(stream.error)
    return [*map(_described, items), *said]


def _described(item: Any) -> Any:
    """Make items comparable: the mirror makes up ids and a time, and NaN is not itself."""
    if isinstance(item, models.ChatCompletionStreamResponse):
        return [choice.delta.content for choice in item.choices]
    if isinstance(item, msgspec.Struct):
        try:
            return encode(item)
        except InvalidChunk as error:
            return str(error)
    return repr(item)


def _check_limit(reads: list[bytes]) -> None:
    splitter = BlockSplitter(_LIMIT)
    for read in reads:
        run_out = run(splitter, [read])[0]
        assert len(splitter.pending) <= _LIMIT, "a buffer has outgrown its bound"
        if isinstance(run_out, bytes):
            assert all(len(block) <= _LIMIT for block in blocks(run_out)), "a block is too large"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="CASE", help="repeat one case of the seed")
    options = parser.parse_args()
    found = {family: recorded_of(family.__name__.rpartition(".")[2]) for family in FAMILIES}
    sources = {
        family: [path.read_bytes()[:20_000] for path in paths]
        for family, paths in {None: recorded(), **found}.items()
    }
    counts: Counter[str] = Counter()
    end = time.monotonic() + options.seconds
    case = 0 if options.only is None else options.only
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("fuzzing", total=options.seconds)
        while time.monotonic() < end:
            rng = random.Random(options.seed * 1_000_000_007 + case)
            family = ([None] * len(FAMILIES) + [*FAMILIES])[case % 6]
            recordings = sources[family]
            kind = "recorded" if recordings and case % 5 == 0 else "generated"
            made = rng.choice(recordings) if kind == "recorded" else generated_of(rng, family)
            raw = mutated(rng, made, FRAGMENTS if family is None else FRAGMENTS + FAMILY_FRAGMENTS)
            try:
                check_of(rng, raw, family)
            except BaseException:
                print(f"case {case}: {raw!r}")
                print(f"repeat: python -m tests.fuzz --seed {options.seed} --only {case}")
                raise
            counts[kind] += 1
            if options.only is not None:
                break
            case += 1
            progress.update(bar, completed=options.seconds - (end - time.monotonic()))
    print(f"{sum(counts.values()):,} streams, {dict(counts)}, seed {options.seed}: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
