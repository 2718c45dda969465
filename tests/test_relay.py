"""The relay's rules, one group of tests each, and attempts to mislead its fast path."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from fastchunk import DROP, EventDecoder, EventTooLarge, InvalidChunk, Relay, edit, encode, wire
from fastchunk.sse import BOM, blocks
from tests.scanners import exact_relay
from tests.streams import AWKWARD, recorded

pytestmark = pytest.mark.usefixtures("scanner")


def chunk(content: str = '"x"', *, head: str = '"id":"c","model":"m"', tail: str = "") -> bytes:
    choice = f'{{"index":0,"delta":{{"content":{content}}},"finish_reason":null}}'
    return f'data: {{{head},"choices":[{choice}]{tail}}}\n\n'.encode()


FINISH = (
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)
USAGE = b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def relayed(reads: list[bytes], **options: Any) -> tuple[bytes, Relay]:
    relay = Relay(**options)
    return b"".join([*map(relay.feed, reads), relay.close()]), relay


def state(relay: Relay) -> tuple[Any, ...]:
    return (
        *(relay.events, relay.chunks, relay.invalid, relay.done),
        *(relay.truncated, relay.error, relay.usage, relay.finish_reasons),
    )


def plainly(raw: bytes, **options: Any) -> tuple[bytes, Relay]:
    """Relay one event at a time, each in a relay that has learned nothing yet."""
    out = [relayed([block], **options)[0] for block in blocks(raw)]
    relay = exact_relay()
    relay.feed(raw)
    relay.close()
    return b"".join(out), relay


# --- 1. unchanged means untouched ---------------------------------------------------------------


def test_unchanged_means_the_same_object() -> None:
    relay = Relay()
    for read in (chunk('"é"'), chunk('"y"') * 5, chunk(), KEEP_ALIVE, FINISH, USAGE, DONE):
        assert relay.feed(read) is read
    assert relay.close() == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"event: x\nid: 7\n" + chunk(),
        chunk().replace(b"\n", b"\r\n"),
        chunk().replace(b"\n", b"\r"),
        b"data: {\n\ndata: \xff\n\n" + chunk() + DONE,
        b"\xef\xbb\xbf" + chunk() + chunk(),
        b"\xef\xbb\xbf\xef\xbb\xbf" + chunk() + b"\xef\xbb\xbf" + chunk(),
        b"data:" + chunk()[6:],
        b"\n\n\n: c\n\ndata\n\n",
        b'data: {"choices":[],\ndata: "model":"m"}\n\n',
        bytes(range(256)) * 3,
        b"",
    ],
)
@pytest.mark.parametrize("look", [None, lambda _: None, lambda c: c])
def test_any_bytes_pass_an_identity_relay(raw: bytes, look: Any) -> None:
    # A second mark opens a line that is no data line, nor may it become one for the client.
    expected = raw if raw.startswith(BOM * 2) else raw.removeprefix(BOM)
    assert relayed([raw], on_chunk=look)[0] == expected
    assert relayed([raw[i : i + 1] for i in range(len(raw))], on_chunk=look)[0] == expected


@given(st.lists(st.binary(max_size=12) | st.sampled_from([chunk(), DONE, b"\n", b"data: ", BOM])))
def test_any_garbage_passes_an_identity_relay(reads: list[bytes]) -> None:
    raw = b"".join(reads)
    out = relayed(reads)[0]
    assert out in (raw, raw.removeprefix(BOM))
    assert EventDecoder().feed(out) == EventDecoder().feed(raw)
    assert raw.startswith(BOM * 2) or out == raw.removeprefix(BOM)


FREE = [
    chunk('"\\u00e9 \\" text"', tail=',"usage":null'),
    chunk("[1.5]", head='"id":"another","created":17,"model":"m"', tail=',"usage":null'),
    chunk(tail=',"usage":null,"obfuscation":"Q7","obfuscation":"twice"'),
    chunk(tail=',"usage":null,"x":[{"model":"nested"}]').replace(b'"content"', b'"reasoning"'),
    chunk(tail=',"usage":null').replace(b'"x"', b'"x","tool_calls":[{"index":0}]'),
    chunk(tail=',"usage":null').replace(b'":', b'" : '),
    chunk(tail=',"usage":null').replace(b"\n", b"\r\n"),
    b"id: 7\n: c\n" + chunk(tail=',"usage":null'),
    chunk(tail=',"usage":null')[:-2].replace(b"data: ", b"data:") + b"\nretry: 1\n\n",
    chunk('"x"', head='"m\\u006fdel":1,"model":"m"', tail=',"usage":null').replace(
        b'"m\\u006fdel":1,', b""
    ),
]


@pytest.mark.parametrize("options", [{}, {"set": {"model": "a"}}, {"strip_usage": True}])
def test_no_event_that_says_nothing_new_is_decoded(
    options: dict[str, Any], scanner: str, observed: list[bytes]
) -> None:
    relay = Relay(**options)
    relay.feed(chunk('"first"', tail=',"usage":null'))
    for event in FREE:
        for count in (1, 4, 16):
            assert len(EventDecoder().feed(relay.feed(event * count))) == count
    assert (relay.events, relay.chunks) == (211, 211)
    if scanner == "compiled":
        assert len(observed) == 1
    usual = chunk('"usual"', tail=',"usage":null')
    relay.feed(usual)
    assert usual[6:-2] not in observed


def test_no_event_that_says_nothing_new_is_decoded_wherever_reads_are_cut(
    scanner: str, observed: list[bytes]
) -> None:
    relays = [Relay(), Relay(set={"model": "alias"})]
    for relay in relays:
        relay.feed(chunk('"first"'))
    raw = chunk('"text"') * 10
    for relay in relays:
        for size in (7, 100, 250, len(raw)):
            out = b"".join(relay.feed(raw[i : i + size]) for i in range(0, len(raw), size))
            assert out.count(b'"text"') == 10
        assert (relay.events, relay.chunks) == (41, 41)
    assert len(observed) == (2 if scanner == "compiled" else 0)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_what_is_withheld_and_what_is_no_chunk_is_learned_too(
    end: bytes, scanner: str, observed: list[bytes]
) -> None:
    read = (chunk() + b'event: ping\ndata: {"type":"ping"}\n\n' + USAGE).replace(b"\n", end)
    relay = Relay(strip_usage=True)
    for count in (1, 2, 5):
        expected = (chunk() + b'event: ping\ndata: {"type":"ping"}\n\n').replace(b"\n", end)
        assert relay.feed(read * count) == expected * count
    assert (relay.events, relay.chunks, relay.invalid) == (24, 16, 0)
    assert relay.usage == wire.UsageInfo(prompt_tokens=3)
    assert len(observed) == (3 if scanner == "compiled" else 24)


@pytest.mark.parametrize(
    "event", [b'data: {"error":{"message":"no"}}\n\n', b"data: {\n\n", b"data: null\n\n"]
)
def test_an_event_that_is_no_plain_chunk_is_decoded(event: bytes, observed: list[bytes]) -> None:
    relay = Relay()
    relay.feed(chunk())
    del observed[:]
    assert relay.feed(chunk() + event + chunk()) == chunk() + event + chunk()
    assert observed == [event[6:-2]]


def test_what_one_relay_learns_the_next_one_knows(scanner: str, observed: list[bytes]) -> None:
    stream = chunk() + chunk().replace(b'"index":0', b'"index":1') + FINISH + USAGE + DONE
    for learned in (4 if scanner == "compiled" else 0, 0):
        relay = Relay(set={"model": "a" * (learned + 1)})
        out = relay.feed(stream)
        assert out == stream.replace(b'"m"', b'"%b"' % (b"a" * (learned + 1)))
        assert relay.usage == wire.UsageInfo(prompt_tokens=3)
        assert (relay.finish_reasons, relay.done) == ({0: "stop"}, True)
        assert (relay.events, relay.chunks) == (5, 4)
        assert len(observed) == learned
        del observed[:]


@pytest.mark.parametrize("event", [USAGE, USAGE + chunk()])
def test_what_is_withheld_for_one_relay_is_not_for_another(event: bytes) -> None:
    for _ in range(2):
        assert Relay(strip_usage=True).feed(event) == event.removeprefix(USAGE)
        assert Relay().feed(event) == event


# --- 2. whole blocks only -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"set": {"model": "a"}}, {"on_chunk": lambda c: c}])
def test_after_any_feed_the_output_ends_a_block(options: dict[str, Any]) -> None:
    raw = KEEP_ALIVE + chunk() + b": c\n" + chunk() * 3 + b"event: x\n" + chunk() + FINISH + DONE
    relay = Relay(**options)
    for at in range(len(raw)):
        out = relay.feed(raw[at : at + 1])
        assert b"".join(blocks(out)) == out
        assert out == b"" or out[-1:] == b"\n"
    assert relay.close() == b""


def test_comment_lines_are_not_held() -> None:
    relay = Relay()
    assert relay.feed(b": keep-") == b""
    assert relay.feed(b"alive\n") == b": keep-alive\n"
    assert relay.feed(b"data: x") == b""
    assert relay.feed(b"\n: inside\n") == b""
    assert relay.feed(b"\n") == b"data: x\n: inside\n\n"


@pytest.mark.parametrize(
    ("rest", "out", "truncated"),
    [
        (FINISH[:-2], FINISH[:-2].replace(b'"m"', b'"alias"'), False),
        (FINISH[:-1], FINISH[:-1].replace(b'"m"', b'"alias"'), False),
        (DONE[:-2], DONE[:-2], False),
        (chunk()[:30], chunk()[:30], True),
        (b'data: {"error":"x"}', b'data: {"error":"x"}', True),
        (b": comm", b": comm", True),
        (b"event: x", b"event: x", True),
    ],
)
def test_close_returns_the_unfinished_block(rest: bytes, out: bytes, truncated: bool) -> None:
    relay = Relay(set={"model": "alias"})
    assert relay.feed(chunk() + rest) == chunk().replace(b'"m"', b'"alias"')
    assert relay.close() == out
    assert relay.truncated is truncated


def test_a_first_byte_order_mark_leaves_the_stream() -> None:
    relay = Relay()
    assert relay.feed(BOM + KEEP_ALIVE) == KEEP_ALIVE
    assert relay.feed(KEEP_ALIVE) is KEEP_ALIVE
    assert relay.feed(chunk()) == chunk()
    relay = Relay()
    assert [relay.feed(BOM[at : at + 1]) for at in range(3)] == [b""] * 3
    assert relay.feed(b": c") + relay.feed(b"\n\n") == b": c\n\n"
    assert relayed([BOM[:2]])[0] == BOM[:2]


def test_close_drops_an_unfinished_usage_chunk() -> None:
    relay = Relay(strip_usage=True)
    relay.feed(FINISH + USAGE[:-2])
    assert relay.close() == b""
    assert relay.usage == wire.UsageInfo(prompt_tokens=3)


def test_close_completes_a_block_whose_last_return_waited() -> None:
    relay = Relay(set={"model": "alias"})
    assert relay.feed(FINISH.replace(b"\n", b"\r")) == b""
    assert relay.close() == FINISH.replace(b"\n", b"\r").replace(b'"m"', b'"alias"')
    assert not relay.truncated


# --- 3. the output does not depend on the cuts --------------------------------------------------

_OPTIONS: list[dict[str, Any]] = [
    {},
    {"set": {"model": "alias"}},
    {"set": {"model": "alias", "new": [1]}, "drop": ["system_fingerprint", "id"]},
    {"strip_usage": True},
    {"on_chunk": lambda c: DROP if c.is_usage else c, "set": {"model": "alias"}},
    {"on_chunk": lambda _: None, "set": {"model": "alias"}},
    {"on_chunk": lambda _: None, "set": {"model": "m"}},
]


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "options", _OPTIONS, ids=["same", "set", "both", "usage", "look", "look-set", "look-same"]
)
def test_recorded_streams_at_awkward_cuts(path: Path, options: dict[str, Any]) -> None:
    raw = path.read_bytes()
    events = re.split(rb"(?<=\n\n)", raw)
    expected, plain = relayed([raw], **options)
    cuts = sorted(random.Random(1).sample(range(1, len(raw)), min(50, len(raw) - 1)))
    pairs = zip([0, *cuts], [*cuts, len(raw)], strict=True)
    for reads in (events, [raw[a:b] for a, b in pairs]):
        out, relay = relayed(reads, **options)
        assert out == expected
        assert state(relay) == state(plain)
    if not options:
        assert expected == raw
    begun = raw[:AWKWARD]
    expected, plain = relayed([begun], **options)
    out, relay = relayed([begun[i : i + 3] for i in range(0, len(begun), 3)], **options)
    assert out == expected
    assert state(relay) == state(plain)


# --- 4. set and drop ----------------------------------------------------------------------------


def test_set_and_drop_touch_top_level_keys_of_chunks_only() -> None:
    raw = (
        b'data: {"model":"m","error":{"model":"m"}}\n\n'
        b'data: {"model":"m"}\n\n'
        b'event: x\ndata: {"object":"chat.completion.chunk","model":"m","x":{"model":"m"}}\n\n'
        b'data: {"choices":[{"model":"m"}]}\n\n' + DONE
    )
    out, relay = relayed([raw], set={"model": "alias"}, drop=["x"])
    assert out == (
        b'data: {"model":"m","error":{"model":"m"}}\n\n'
        b'data: {"model":"m"}\n\n'
        b'event: x\ndata: {"object":"chat.completion.chunk","model":"alias"}\n\n'
        b'data: {"choices":[{"model":"m"}],"model":"alias"}\n\n' + DONE
    )
    assert (relay.events, relay.chunks) == (5, 2)


def test_choices_that_are_replaced_are_still_observed() -> None:
    out, relay = relayed([chunk(), chunk('"y"')], set={"choices": []})
    assert out == b'data: {"id":"c","model":"m","choices":[]}\n\n' * 2
    assert relay.chunks == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"set": {"/choices/0": 1}}, ValueError, "top-level keys"),
        ({"drop": ["/id"]}, ValueError, "top-level keys"),
        ({"set": {"model": "\ud800"}}, InvalidChunk, "lone surrogate"),
        ({"set": {"\ud800": 1}}, ValueError, "lone surrogate"),
        ({"set": {"model": object()}}, TypeError, "object"),
        ({"set": {1: 2}}, TypeError, "must be str, not int"),
        ({"drop": [3]}, TypeError, "must be str, not int"),
        ({"drop": "usage"}, TypeError, "not a str"),
        ({"on_chunk": 5}, TypeError, "on_chunk must be callable"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Relay(**options)


@pytest.mark.parametrize("value", [5, None, ["a"], {"a": 1}])
def test_any_value_may_be_set(value: Any) -> None:
    raw = chunk(tail=',"usage":null') * 2 + USAGE
    written = json.dumps(value).replace(" ", "").encode()
    for reads in (blocks(raw), [raw]):
        out, relay = relayed(reads, set={"model": value, "created": "now"}, strip_usage=True)
        expected = chunk().replace(b'"m"', written)[:-3] + b',"created":"now"}\n\n'
        assert out == expected * 2
        assert (relay.chunks, relay.invalid) == (3, 0)


@pytest.mark.parametrize("count", [20, 32, 33, 100])
def test_any_number_of_values_may_be_set(count: int) -> None:
    changes = {f"k{n}": n for n in range(count)}
    added = "".join(f',"k{n}":{n}' for n in range(count))
    assert relayed([chunk()] * 3, set=changes, drop=["id"])[0] == (
        chunk(head='"model":"m"', tail=added) * 3
    )


def test_keys_are_added_in_the_order_in_which_they_were_named() -> None:
    relay = Relay(set={"z": 1, "object": "o", "error": None, "a": 2})
    for _ in range(3):
        expected = chunk(tail=',"z":1,"object":"o","error":null,"a":2')
        assert relay.feed(chunk()) == expected


@pytest.mark.parametrize("value", [{"a": "same"}, ["same"], "same"])
def test_a_value_that_is_already_there_says_nothing_of_the_next_one(value: Any) -> None:
    written = json.dumps(value).replace(" ", "")
    events = [chunk(tail=f',"y":{written}') for _ in range(4)]
    others = [event.replace(b"same", b"other") for event in events]
    for reads in ([*events, *others, *events], [b"".join([*events, *others, *events])]):
        assert relayed(reads, set={"y": value})[0] == events[0] * 12
    choices = [{"index": 0, "x": "same"}]
    event = b'data: {"choices":[{"index":0,"x":"same"}]}\n\n'
    for reads in ([event] * 4 + [event.replace(b"same", b"other")],):
        assert relayed(reads, set={"choices": choices})[0] == event * 5


def test_a_value_is_written_as_it_was_when_it_was_given() -> None:
    value = {"k": 1}
    relay = Relay(set={"meta": value})
    first = relay.feed(chunk())
    value["k"] = 2
    assert relay.feed(chunk()) == first


def test_strip_usage_follows_what_was_set() -> None:
    for changes, left in (
        ({"usage": {"a": 1}}, USAGE[:0]),
        ({"usage": 5}, USAGE.replace(b',"usage":{"prompt_tokens":3}', b"")),
        (
            {"choices": [1]},
            USAGE.replace(b"[]", b"[1]").replace(b',"usage":{"prompt_tokens":3}', b""),
        ),
        ({"choices": None}, USAGE[:0]),
        (
            {"choices": [[]]},
            USAGE.replace(b"[]", b"[[]]").replace(b',"usage":{"prompt_tokens":3}', b""),
        ),
    ):
        assert relayed([USAGE], set=changes, strip_usage=True)[0] == left
    assert relayed([USAGE], drop=["choices"], strip_usage=True)[0] == b""
    assert relayed([USAGE], drop=["usage"], strip_usage=True)[0] != b""
    odd = USAGE.replace(b"[]", b"[ ]").replace(b"}}", b'},"x":NaN}')
    assert relayed([odd], strip_usage=True)[0] == b""


# --- 5. on_chunk --------------------------------------------------------------------------------


def test_on_chunk_sees_what_was_received_before_anything_is_changed() -> None:
    seen: list[Any] = []
    raw = chunk() + USAGE + b"data: {\n\n" + b'data: {"error":1}\n\n' + DONE
    relayed([raw], set={"model": "alias"}, strip_usage=True, on_chunk=seen.append)
    assert [(c.model, c.is_usage) for c in seen] == [("m", False), ("m", True)]


def test_on_chunk_changes_and_drops() -> None:
    def redact(c: wire.ChatCompletionStreamResponse) -> Any:
        assert c.choices
        delta = c.choices[0].delta
        assert delta
        if delta.content == "secret":
            delta.content = "[redacted]"
        return DROP if delta.content == "drop" else c

    raw = chunk() + chunk('"secret"') + chunk('"drop"') + chunk('"y"')
    for reads in ([raw], blocks(raw)):
        out, relay = relayed(reads, on_chunk=redact, set={"model": "a"})
        expected = raw.replace(chunk('"drop"'), b"").replace(b"secret", b"[redacted]")
        assert out == expected.replace(b'"m"', b'"a"')
        assert relay.chunks == 4


def test_bad_utf8_in_one_event_of_a_read_is_that_events_own() -> None:
    raw = chunk() + chunk('"\xff"').replace("\xff".encode(), b"\xff") + chunk('"é"')
    out, relay = relayed([raw], set={"model": "a"})
    assert out.count(b'"model":"a"') == 2
    assert (relay.chunks, relay.invalid) == (2, 1)


@pytest.mark.parametrize(
    "document",
    [
        '{"x":{"logprobs":{"content":"str"}},"choices":[{"delta":{"content":"Hi"}}]}',
        '{"choices":[{"delta":{"logprobs":{"content":"str"},"content":"Hi"}}]}',
        '{"choices":[{"delta":{"content":"Hi"},"logprobs":{"content":[]}}]}',
    ],
)
def test_no_other_content_is_taken_for_the_text(document: str) -> None:
    event = f"data: {document}\n\n".encode()
    for reads in ([event] * 2, [event * 2], [chunk(), event * 2]):
        assert relayed(reads, on_chunk=lambda one: one)[0] == b"".join(reads)
        changed = event.replace(b'"Hi"', b'"[x]"')
        assert relayed(reads, on_chunk=_redacted)[0].endswith(changed * 2)


def test_a_chunk_returned_as_it_came_leaves_untouched() -> None:
    odd = b'data: { "choices" : [ ] , "unknown" : 1e5 , "model":"m"}\n\n'
    relay = Relay(on_chunk=lambda c: c)
    assert relay.feed(odd) is odd


def test_mutating_and_returning_none_forwards_the_original() -> None:
    def mutate(c: wire.ChatCompletionStreamResponse) -> None:
        c.model = "mutated"

    assert relayed([chunk()], on_chunk=mutate)[0] == chunk()


@pytest.mark.parametrize("answer", [True, {}, wire.ChatCompletionStreamResponse()])
def test_another_answer_is_a_type_error(answer: Any) -> None:
    with pytest.raises(TypeError, match="on_chunk must return None"):
        Relay(on_chunk=lambda _: answer).feed(chunk())


@pytest.mark.parametrize(
    "wrap", [lambda b: b, lambda b: b"event: x\n" + b], ids=["lines", "blocks"]
)
@pytest.mark.parametrize("change", [None, {"model": "a"}])
def test_its_exceptions_pass_and_close_has_what_was_ready(wrap: Any, change: Any) -> None:
    error = KeyError("mine")

    def fail(c: wire.ChatCompletionStreamResponse) -> None:
        if '"y"' in encode(c).decode():
            raise error

    relay = Relay(on_chunk=fail, set=change)
    ready = relay.feed(wrap(chunk()))
    for read in (wrap(chunk()) + wrap(chunk('"y"')) + wrap(chunk()), wrap(chunk())):
        with pytest.raises(KeyError) as caught:
            relay.feed(read)
        assert caught.value is error
    assert relay.close() == ready
    assert relay.close() == b""


def test_what_it_raises_at_the_end_is_raised_again() -> None:
    def fail(_: object) -> None:
        raise KeyError("mine")

    relay = Relay(on_chunk=fail)
    assert relay.feed(chunk()[:-1]) == b""
    for call in (relay.close, lambda: relay.feed(chunk())):
        with pytest.raises(KeyError, match="mine"):
            call()
    assert relay.close() == b""


def _redacted(one: wire.ChatCompletionStreamResponse) -> Any:
    assert one.choices
    assert one.choices[0].delta
    one.choices[0].delta.content = "[x]"
    return one


_DUPLICATES = [
    *(
        f'{{"choices":[{{"index":0,"delta":{{{twice}}}}}]}}'
        for twice in (
            '"content":["S"],"content":"S"',
            '"content":"S","content":"S"',
            '"c\\u006fntent":"S","content":"S"',
            '"content":"S","c\\u006fntent":"S"',
        )
    ),
    '{"choices":[{"delta":{"content":"S"}}],"choices":[{"index":0,"delta":{"content":"S"}}]}',
    '{"choices":[{"delta":{"content":"S"}}],"choices":[],"choices":[{"delta":{"content":"S"}}]}',
    '{"ch\\u006fices":[{"delta":{"content":"S"}}],"choices":[{"delta":{"content":"S"}}]}',
    '{"choices":[{"delta":{"content":"S"},"delta":{"content":"S"}}]}',
    '{"choices":[{"delta":{"logprobs":{"content":null},"content":"S"}}]}',
    '{"choices":[{"d\\u0065lta":{"content":"S"},"delta":{"content":"S"}}]}',
]


@pytest.mark.parametrize("document", _DUPLICATES)
def test_no_duplicate_key_smuggles_a_text_past_a_change(document: str) -> None:
    event = f"data: {document}\n\n".encode()
    expected = edit(document.encode(), {"/choices/0/delta/content": "[x]"})
    assert b'"S"' not in expected
    for reads in ([event] * 3, [event * 3], [chunk(), event, event * 2]):
        out = relayed(reads, on_chunk=_redacted)[0]
        assert out.endswith(b"data: %b\n\n" % expected * 3)


@pytest.mark.parametrize(
    "member", ['"x\\"content":"S"', '"logprobs":{"content":["S"]}', '"x":{"content":"S"}']
)
def test_what_is_no_duplicate_stays(member: str) -> None:
    document = f'{{"choices":[{{"delta":{{{member},"content":"t"}}}}]}}'
    event = f"data: {document}\n\n".encode()
    expected = event.replace(b'"t"', b'"[x]"')
    for reads in ([event] * 3, [event * 3], [chunk(), event, event * 2]):
        assert relayed(reads, on_chunk=_redacted)[0].endswith(expected * 3)


@pytest.mark.parametrize("text", [r"a\/b", r"\u0041", r"\u00e9\/", r"\u000a"])
def test_a_text_spelled_otherwise_is_no_change(text: str) -> None:
    event = chunk(f'"{text}"')
    for reads in ([event] * 3, [event * 3], [chunk(), event * 2], [event + chunk()]):
        assert relayed(reads, on_chunk=lambda one: one)[0] == b"".join(reads)


@pytest.mark.parametrize("text", ["new", "t"])
@pytest.mark.parametrize("escape", ["", r"\u0041"])
def test_a_choice_that_takes_anothers_place_is_written_the_same_at_any_cut(
    text: str, escape: str
) -> None:
    def replace(one: wire.ChatCompletionStreamResponse) -> Any:
        delta = wire.DeltaMessage(content=text)
        one.choices = [wire.ChatCompletionResponseStreamChoice(index=0, delta=delta)]
        return one

    document = f'{{"choices":[{{"q":1,"index":0,"delta":{{"content":"t{escape}"}}}}]}}'
    event = f"data: {document}\n\n".encode()
    alone = relayed([event], on_chunk=replace)[0]
    for reads in ([event] * 3, [event * 3]):
        assert relayed(reads, on_chunk=replace)[0] == alone * 3


@pytest.mark.parametrize("put", [{"content": "x"}, [], 5, None])
def test_a_delta_of_another_type_is_written_as_it_is(put: Any) -> None:
    def change(one: wire.ChatCompletionStreamResponse) -> Any:
        assert one.choices
        one.choices[0].delta = put
        return one

    expected = edit(chunk()[6:-2], {"/choices/0/delta": put})
    for reads in ([chunk()] * 2, [chunk() * 2]):
        assert relayed(reads, on_chunk=change)[0] == b"data: %b\n\n" % expected * 2


def test_no_depth_of_nesting_makes_a_looking_relay_fail() -> None:
    for depth in [10, 300, *range(900, 1010), 5_000]:
        nested = "[" * depth + "]" * depth
        event = chunk(tail=f',"y":{nested}')
        for answer in (lambda one: one, _redacted):
            relay = Relay(on_chunk=answer)
            out = relay.feed(event + chunk())
            assert out.count(b"data: ") == 2
            assert relay.events == relay.chunks + relay.invalid == 2
            assert answer is not _redacted or (b'"x"' in out) is bool(relay.invalid)


# --- 6. strip_usage -----------------------------------------------------------------------------


def test_strip_usage() -> None:
    raw = (
        chunk(tail=',"usage":null')
        + chunk(tail=',"usage":{"prompt_tokens":1},"x_groq":{"usage":{"a":1}}')
        + b'data: {"choices":[],"prompt_filter_results":[]}\n\n'
        + b'data: {"choices":[],"usage":null,"model":"m"}\n\n'
        + USAGE
        + b'data: {"usage":{"a":1}}\n\n'
        + DONE
    )
    out, relay = relayed([raw], strip_usage=True)
    assert out == (
        chunk()
        + chunk(tail=',"x_groq":{"usage":{"a":1}}')
        + b'data: {"choices":[],"prompt_filter_results":[]}\n\n'
        + b'data: {"choices":[],"model":"m"}\n\n'
        + b'data: {"usage":{"a":1}}\n\n'
        + DONE
    )
    assert relay.usage == wire.UsageInfo(prompt_tokens=3)


# --- 7. in an edited event only the data lines change -------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            b'event: x\ndata: {"choices":[],\nid: 7\ndata: "model":"m"}\n: c\n\n',
            b'event: x\ndata: {"choices":[],"model":"a"}\nid: 7\n: c\n\n',
        ),
        (
            b'data: {"choices":\r\ndata:[\r\ndata: ],"model":"m"}\r\n\r\n',
            b'data: {"choices":[],"model":"a"}\r\n\r\n',
        ),
        (b'data:{"choices":[],"model":"m"}\n\n', b'data:{"choices":[],"model":"a"}\n\n'),
        (
            b'id: 1\r\ndata: {"choices":[],"model":"m"}\r\n\r\n',
            b'id: 1\r\ndata: {"choices":[],"model":"a"}\r\n\r\n',
        ),
        (
            b'data: {"choices":[],\rdata: "model":"m"}\n\n',
            b'data: {"choices":[],"model":"a"}\n\n',
        ),
        (
            b'data: {"choices":[],"model":"m"}\rdata:\nid: 5\n\n',
            b'data: {"choices":[],"model":"a"}\rid: 5\n\n',
        ),
        (
            b'data: {"choices":[],"model":"m"}\rdata:\r\r',
            b'data: {"choices":[],"model":"a"}\r\r',
        ),
        (
            b'data: {"choices":[],"model":"m"}\rid: 5\n\n',
            b'data: {"choices":[],"model":"a"}\rid: 5\n\n',
        ),
        (
            b'data: {"choices":[],"model":"m"}\r\n\n',
            b'data: {"choices":[],"model":"a"}\r\n\n',
        ),
        (
            b': x\n\xef\xbb\xbfdata: foo\ndata: {"choices":[],"model":"m"}\n\n',
            b': x\n\xef\xbb\xbfdata: foo\ndata: {"choices":[],"model":"a"}\n\n',
        ),
        (
            b'\xef\xbb\xbf\xef\xbb\xbfdata: x\ndata: {"choices":[],"model":"m"}\n\n',
            b'\xef\xbb\xbf\xef\xbb\xbfdata: x\ndata: {"choices":[],"model":"a"}\n\n',
        ),
        (
            b'\xef\xbb\xbfdata: {"choices":[],"model":"m"}\n\n',
            b'data: {"choices":[],"model":"a"}\n\n',
        ),
    ],
)
def test_only_the_data_lines_change(before: bytes, after: bytes) -> None:
    def change(one: wire.ChatCompletionStreamResponse) -> Any:
        one.model = "a"
        return one

    assert relayed([before], set={"model": "a"})[0] == after
    assert relayed([before], on_chunk=change)[0] == after
    assert relayed([before[:-1], before[-1:]], on_chunk=change)[0] == after


@pytest.mark.parametrize("at", [0, 1])
def test_a_raw_value_brings_no_line_ends(at: int) -> None:
    value = Raw(b"[1,\r\n\n2\r]")

    def change(one: wire.ChatCompletionStreamResponse) -> Any:
        one.error = value
        return one

    for options in ({"set": {"error": value}}, {"on_chunk": change}):
        relay = Relay(**options)
        out = [relay.feed(chunk()) for _ in range(2)]
        assert out[at] == chunk(tail=',"error":[1,2]')


# --- 8. the fast path proves the whole event ----------------------------------------------------

_LIKE = chunk('"learned"', tail=',"system_fingerprint":null')
_BREAKS = {
    "unparsable": b'"x\\"',
    "closed-early": b'"a","b":"c"',
    "second-model": b'"a"},"x":null}],"model":"evil","choices":[{"delta":{"content":"b"',
    "two-strings": b'"a","b"',
    "number": b"1",
    "null": b"null",
    "object": b'{"a":"b"}',
    "array": b'["a"]',
    "empty": b"",
    "one-quote": b'"',
    "escaped-end": b'"x\\\\"',
    "lone-surrogate": b'"\\ud800"',
    "bad-utf8": b'"\xff"',
    "raw-tab": b'"\t"',
    "raw-return": b'"\r"',
    "event-inside": b'"a"}}]}\n\ndata: {"choices":[{"delta":{"content":"b"',
    "model-in-content": b'"\\"model\\":\\"m\\""',
    "spaces": b' "x" ',
}


@pytest.mark.parametrize("literal", _BREAKS.values(), ids=_BREAKS)
@pytest.mark.parametrize(
    "options", _OPTIONS, ids=["same", "set", "both", "usage", "look", "look-set", "look-same"]
)
def test_what_only_looks_like_the_event_before_is_told_apart(
    literal: bytes, options: dict[str, Any]
) -> None:
    odd = _LIKE.replace(b'"learned"', literal)
    for reads in (
        [_LIKE, odd, _LIKE],
        [_LIKE, _LIKE + odd + _LIKE * 2, odd * 2],
        [_LIKE, odd + _LIKE],
    ):
        out, relay = relayed(reads, **options)
        expected, plain = plainly(b"".join(reads), **options)
        assert out == expected
        assert state(relay) == state(plain)


def test_strings_cannot_lend_each_other_what_they_lack() -> None:
    """One event has a string too many and the next one too few: as many as there are events."""
    odd = _LIKE.replace(b"learned", b'a","b'), _LIKE.replace(b"learned", b"x\\")
    out, relay = relayed([_LIKE, odd[0] + odd[1] + _LIKE], set={"model": "alias"})
    expected, plain = plainly(_LIKE + odd[0] + odd[1] + _LIKE, set={"model": "alias"})
    assert (out, state(relay)) == (expected, state(plain))
    assert relay.invalid == 2


_PIECES = st.sampled_from(
    [
        _LIKE,
        chunk(),
        chunk('"y"', head='"id":"d","model":"m"'),
        chunk('"y"', head='"model":"m","id":"c"'),
        chunk('"y"', tail=',"model":"second"'),
        chunk('"y"', tail=',"x":{"model":"nested"}'),
        chunk('"\\"model\\":\\"m\\""'),
        chunk(head='"id":"c","m\\u006fdel":"m"'),
        chunk().replace(b'"index":0', b'"index":1'),
        chunk().replace(b'"content"', b'"reasoning"'),
        chunk().replace(b'":', b'": '),
        chunk().replace(b"\n", b"\r\n"),
        b"event: x\n" + chunk(),
        *(_LIKE.replace(b'"learned"', literal) for literal in _BREAKS.values()),
        *(chunk(tail=f',"usage":null,"obfuscation":"{padding}"') for padding in ("a", "bc")),
        chunk('"y"', tail=',"usage":null,"obfuscation":"d","obfuscation":"e"'),
        chunk('"y"', tail=',"usage":{"a":1},"obfuscation":"d"'),
        FINISH,
        USAGE,
        KEEP_ALIVE,
        DONE,
        b"data: null\n\n",
        b'data: {"error":{"message":"no"}}\n\n',
    ]
)


@settings(max_examples=300)
@given(st.lists(_PIECES, max_size=12), st.data())
def test_any_stream_leaves_as_if_each_event_were_decoded(pieces: list[bytes], data: Any) -> None:
    raw = b"".join(pieces)
    options = data.draw(st.sampled_from(_OPTIONS))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pairs = zip([0, *cuts], [*cuts, len(raw)], strict=True)
    expected, plain = plainly(raw, **options)
    for reads in ([raw[a:b] for a, b in pairs], pieces):
        out, relay = relayed(reads, **options)
        assert out == expected
        assert state(relay) == state(plain)


@settings(max_examples=300)
@given(st.lists(_PIECES, max_size=12))
def test_on_chunk_sees_what_it_would_if_each_event_were_decoded(pieces: list[bytes]) -> None:
    seen: list[Any] = []
    relay, plain = Relay(on_chunk=seen.append), exact_relay(on_chunk=seen.append)
    for piece in pieces:
        relay.feed(piece)
    after, seen[:] = seen[:], []
    plain.feed(b"".join(pieces))
    assert after == seen
    assert list(map(encode, after)) == list(map(encode, seen))


# Two strings that vary: a text and a padding


def padded(
    content: str = '"x"', padding: str = '"Q7"', *, middle: str = '"usage":null', end: str = ""
) -> bytes:
    return chunk(content, tail=f',{middle},"obfuscation":{padding}{end}')


ARGUMENTS = chunk().replace(
    b'"content":"x"', b'"tool_calls":[{"index":0,"function":{"arguments":"x"}}]'
)


_UNSEEN: list[dict[str, Any]] = [{}, {"set": {"model": "alias"}}, {"strip_usage": True}]
_SEEN: list[dict[str, Any]] = [
    {"on_chunk": lambda _: None},
    {"on_chunk": _redacted},
    {"on_chunk": _redacted, "set": {"model": "alias"}, "strip_usage": True},
]


@pytest.mark.parametrize(
    ("event", "options"),
    [
        *((padded(), options) for options in (*_UNSEEN, *_SEEN)),
        *((padded(middle='"z":1'), options) for options in (*_UNSEEN, *_SEEN)),
        *((chunk(tail=',"p":"Q7"'), options) for options in (*_UNSEEN, *_SEEN)),
        *((chunk(tail=',"y":{"p":"Q7"},"p":"a"'), options) for options in (*_UNSEEN, *_SEEN)),
        *((ARGUMENTS, options) for options in _UNSEEN),
    ],
)
def test_paddings_and_arguments_differ_freely(
    event: bytes, options: dict[str, Any], scanner: str, observed: list[bytes]
) -> None:
    others = [event.replace(b'"x"', text) for text in (b'"\\u00e9"', b'"y"', b'""')]
    others = [other.replace(b'"Q7"', f'"{n}"'.encode()) for n, other in enumerate(others)]
    expected = b"".join(plainly(other, **options)[0] for other in others)
    relay = Relay(**options)
    relay.feed(event)
    del observed[:]
    assert relay.feed(b"".join(others)) == expected
    assert b"".join(map(relay.feed, others)) == expected
    assert relay.chunks == 7
    if scanner == "compiled" and "on_chunk" not in options:
        assert not observed


@pytest.mark.parametrize("literal", _BREAKS.values(), ids=_BREAKS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"set": {"model": "alias"}},
        {"strip_usage": True},
        {"drop": ["obfuscation"]},
        {"on_chunk": lambda one: one},
        {"on_chunk": _redacted, "strip_usage": True},
    ],
)
def test_what_only_looks_like_a_padded_event_is_told_apart(
    literal: bytes, options: dict[str, Any]
) -> None:
    learned = padded('"learned"', '"too"')
    texts, paddings = (learned.replace(b'"%b"' % old, literal) for old in (b"learned", b"too"))
    lost = learned.replace(b'","finish', b',"finish')
    for odd in (texts, paddings, learned.replace(b',"usage":null', b""), lost):
        for reads in ([learned, odd, learned], [learned, learned + odd + learned * 2, odd * 2]):
            out, relay = relayed(reads, **options)
            expected, plain = plainly(b"".join(reads), **options)
            assert out == expected
            assert state(relay) == state(plain)


def test_a_text_and_a_padding_cannot_lend_each_other_what_they_lack() -> None:
    learned = padded()
    odd = [
        padded('"a","b":"c"', '"x\\"'),
        padded('"x\\"', '"a","b":"c"'),
        padded().replace(b'"usage":null,', b'"usage":null,"obfuscation":"a","usage":null,'),
        padded().replace(b'"},"finish_reason":null}],"usage":null,"obfuscation":"', b""),
    ]
    for one in odd:
        for other in odd:
            reads = [learned, one + other, one, other + learned]
            out, relay = relayed(reads, set={"model": "alias"})
            expected, plain = plainly(b"".join(reads), set={"model": "alias"})
            assert (out, state(relay)) == (expected, state(plain))


def test_on_chunk_sees_the_padding_and_may_change_it() -> None:
    def change(one: wire.ChatCompletionStreamResponse) -> Any:
        seen.append(encode(one))
        if one.obfuscation == Raw(b'"b"'):
            one.obfuscation = Raw(b'"B"')
        if one.obfuscation == Raw(b'"c"'):
            return DROP
        return one

    events = [padded(padding=f'"{name}"') for name in "abcd"]
    for reads in (events, [b"".join(events)]):
        seen: list[bytes] = []
        out = relayed(reads, on_chunk=change, strip_usage=True)[0]
        assert seen == [encode(wire.decode(event[6:])) for event in events]
        left = [events[0], events[1].replace(b'"b"', b'"B"'), events[3]]
        assert out == b"".join(left).replace(b'"usage":null,', b"")


@pytest.mark.parametrize(
    "event",
    [
        padded(end=',"obfuscation":"p"'),
        padded(end=',"obfuscation":null'),
        chunk(tail=',"y":{"obfuscation":"Q7"}'),
        chunk(tail=',"y":{"obfuscation":"Q7"},"obfuscation":"a"'),
        chunk(tail=',"p":"Q7"'),
    ],
)
def test_a_padding_that_is_not_the_chunks_is_not_put_into_it(event: bytes) -> None:
    events = [event.replace(b"Q7", padding) for padding in (b"a", b"bc", b"")]
    seen: list[Any] = []
    relay = Relay(on_chunk=seen.append)
    relay.feed(event)
    assert relay.feed(b"".join(events)) == b"".join(events)
    assert seen == [wire.decode(one[6:]) for one in (event, *events)]


def test_chunks_share_nothing_that_can_be_changed() -> None:
    event = chunk(head='"id":"c","system_fingerprint":"f"').replace(
        b'"finish_reason"', b'"logprobs":null,"finish_reason"'
    )
    event = event.replace(b'"delta":{', b'"delta":{"tool_calls":[],')
    seen: list[Any] = []
    relay = Relay(on_chunk=seen.append)
    relay.feed(event)
    relay.feed(event * 2)
    for one in seen:
        one.choices[0].delta.tool_calls.append(wire.DeltaToolCall())
        one.choices[0].delta.role = one.choices[0].finish_reason = one.id = "changed"
        one.choices.append(wire.ChatCompletionResponseStreamChoice())
    relay.feed(event)
    assert seen[-1] == wire.decode(event[6:])
    assert len({id(part) for c in seen for part in (c, c.choices, *c.choices)}) == 4 * 3 + 3


@pytest.mark.parametrize(
    "extra",
    [
        b'"tool_calls":[{"index":0}],',
        b'"content":"twice",',
        b'"function_call":{"name":"f"},',
    ],
)
def test_on_chunk_sees_what_holds_more_than_a_text(extra: bytes) -> None:
    event = chunk().replace(b'"delta":{', b'"delta":{' + extra)
    seen: list[Any] = []
    relay = Relay(on_chunk=seen.append)
    relay.feed(event * 3)
    assert seen == [wire.decode(event[6:])] * 3


def test_on_chunk_sees_two_choices_in_one_event() -> None:
    event = chunk().replace(b'"choices":[', b'"choices":[{"index":1},')
    event = event.replace(b'{"index":1},', b"").replace(b"}]}", b'},{"index":1}]}')
    seen: list[Any] = []
    relay = Relay(on_chunk=seen.append)
    relay.feed(event * 2)
    assert [len(one.choices) for one in seen] == [2, 2]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_what_on_chunk_raises_in_the_middle_of_a_read(at: int) -> None:
    calls = 0

    def look(one: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 + at:
            raise LookupError("mine")
        return one

    relay = Relay(on_chunk=look, set={"model": "a"})
    first = relay.feed(chunk())
    with pytest.raises(LookupError, match="mine"):
        relay.feed(chunk() * 5)
    assert relay.close() == first * at
    assert (relay.events, relay.chunks) == (2 + at, 2 + at)


def test_answers_in_one_read() -> None:
    def answer(one: Any) -> Any:
        content = one.choices[0].delta.content
        if content == "drop":
            return DROP
        if content == "change":
            one.choices[0].delta.content = "changed"
            return one
        return one if content == "same" else None

    names = ["x", "same", "change", "x", "drop", "same"]
    events = [chunk(json.dumps(name)) for name in names]
    expected = [
        event.replace(b'"change"', b'"changed"') for event in events if b"drop" not in event
    ]
    relay = Relay(on_chunk=answer)
    assert relay.feed(events[0]) == events[0]
    assert relay.feed(b"".join(events)) == b"".join(expected)
    relay = Relay(on_chunk=answer, set={"model": "a"})
    relay.feed(events[0])
    restamped = b"".join(expected).replace(b'"model":"m"', b'"model":"a"')
    assert relay.feed(b"".join(events)) == restamped


@pytest.mark.parametrize("options", [{"set": {"model": "a"}}, {"strip_usage": True}])
def test_no_depth_of_nesting_makes_the_relay_fail(options: dict[str, Any]) -> None:
    outcomes = set()
    for depth in [10, 300, *range(900, 1010), 5_000, 100_000]:
        nested = "[" * depth + "]" * depth
        event = chunk(r'"\n"', tail=f',"usage":null,"x":{nested}')
        relay = Relay(**options)
        out = relay.feed(event + chunk())
        assert (out.startswith(event)) is (relay.invalid == 1)
        assert relay.events == relay.chunks + relay.invalid == 2
        outcomes.add(relay.invalid)
    assert outcomes == {0, 1}


def test_a_chunk_that_cannot_be_edited_is_forwarded_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> bytes:
        raise InvalidChunk("nested too deeply", b"", list)

    monkeypatch.setattr("fastchunk.relay.edit_encoded", refuse)
    unreadable = b'data: {"choices":5,"model":"m"}\n\n'
    for event in (chunk(), unreadable):
        relay = exact_relay(set={"model": "a"})
        for count in (1, 2, 3):
            assert relay.feed(event) == event
            assert (relay.events, relay.chunks, relay.invalid) == (count, 0, count)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"model":"m","choices":[]}\n\n',
        b'data: {"model":"m","choices":[{"index":0}]}\n\n',
        b'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',
        b'data: {"model":"m","choices":[{"index":0,"delta":{"content":["part"]}}]}\n\n',
        chunk('"fastchunk:varies"'),
    ],
)
def test_chunks_without_a_text_are_changed(event: bytes) -> None:
    out, relay = relayed([event, event, event * 3], set={"model": "a"})
    assert out == event.replace(b'"model":"m"', b'"model":"a"') * 5
    assert relay.chunks == 5


@pytest.mark.parametrize("withheld", [chunk(), USAGE, chunk() * 3])
def test_no_mark_becomes_the_first_one_because_what_came_before_was_withheld(
    withheld: bytes,
) -> None:
    hidden = b"\xef\xbb\xbf" + chunk('"hidden"')
    raw = withheld + hidden + hidden + b"event: x\n\n"
    for reads in ([raw], blocks(raw)):
        for options in ({"on_chunk": lambda _: DROP}, {"strip_usage": True}):
            out, relay = relayed(reads, **options)
            events = len(EventDecoder().feed(out))
            assert events == (0 if "on_chunk" in options else relay.events - (withheld == USAGE))
            assert out.endswith(hidden * 2 + b"event: x\n\n")
    assert relayed([chunk() + hidden])[0] == chunk() + hidden


def test_no_depth_of_an_error_makes_the_relay_fail() -> None:
    for depth in [10, *range(100, 1100, 50), 100_000]:
        event = b'data: {"error":' + b"[" * depth + b"]" * depth + b"}\n\n"
        for looking in (None, lambda _: None):
            relay = Relay(on_chunk=looking)
            assert relay.feed(event + chunk()) == event + chunk()
            assert (relay.events, relay.chunks) == (2, 1)


def test_withheld_events_are_not_gone_through_again() -> None:
    seen: list[Any] = []

    def hide(found: Any) -> Any:
        seen.append(found)
        return DROP

    relay = Relay(on_chunk=hide)
    assert relay.feed((b": c\nevent: x\n" + chunk()) * 9) == b": c\n" * 9
    assert len(seen) == 9


def test_a_dropped_first_block_takes_its_byte_order_mark_along() -> None:
    raw = b"\xef\xbb\xbf" + chunk() + chunk()
    assert relayed([raw], on_chunk=lambda _: DROP)[0] == b""


def test_a_usage_that_cannot_be_read_is_none() -> None:
    raw = USAGE.replace(b"3", b"3e999")
    out, relay = relayed([raw, raw, raw * 2], set={"model": "alias"})
    assert out == raw.replace(b'"m"', b'"alias"') * 4
    assert (relay.chunks, relay.usage) == (4, None)


def test_what_on_chunk_does_to_usage_and_error_is_not_what_came() -> None:
    def hide(one: wire.ChatCompletionStreamResponse) -> None:
        assert one.usage
        assert one.usage.prompt_tokens_details
        one.usage.prompt_tokens = one.usage.prompt_tokens_details.cached_tokens = 0
        one.error.clear()

    raw = USAGE.replace(
        b'{"prompt_tokens":3}',
        b'{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1}},"error":{"code":5}',
    )
    out, relay = relayed([raw], on_chunk=hide)
    details = wire.PromptTokenUsageInfo(cached_tokens=1)
    assert out == raw
    assert relay.usage == wire.UsageInfo(prompt_tokens=3, prompt_tokens_details=details)
    assert relay.error == {"code": 5}


# --- limits -------------------------------------------------------------------------------------


def test_an_event_over_the_limit_fails_after_what_came_before() -> None:
    relay = Relay(max_event_size=200)
    long = chunk('"' + "x" * 300 + '"')
    assert relay.feed(chunk() + long) == chunk()
    for _ in range(2):
        with pytest.raises(EventTooLarge, match="200 bytes"):
            relay.feed(chunk())


@pytest.mark.parametrize("count", [1, 3])
def test_the_fast_path_keeps_the_limit(count: int) -> None:
    relay = Relay(max_event_size=len(chunk()) + 10)
    relay.feed(chunk())
    assert relay.feed(chunk() * 3) == chunk() * 3
    with pytest.raises(EventTooLarge):
        relay.feed(chunk('"' + "x" * 500 + '"') * count)


def test_a_buffer_is_copied() -> None:
    relay = Relay()
    relay.feed(chunk())
    buffer = bytearray(chunk())
    out = relay.feed(buffer)
    buffer[:] = b"x" * 500
    assert out == chunk()
    assert relay.feed(memoryview(chunk())) == chunk()


def test_a_stream_of_many_events_keeps_nothing() -> None:
    relay = Relay(set={"model": "alias"})
    for n in range(2_000):
        relay.feed(chunk(json.dumps(f"token {n}")) + KEEP_ALIVE)
    assert (relay.events, relay.chunks) == (2_000, 2_000)
    assert not relay._intake._splitter.pending
    assert not relay._ready


def test_a_failure_that_is_raised_at_once__sticky() -> None:
    relay = Relay(max_event_size=300)
    relay.feed(chunk())
    for read in (chunk('"' + "x" * 1000 + '"'), chunk(), chunk()):
        with pytest.raises(EventTooLarge):
            relay.feed(read)


def test_an_event_of_several_data_lines_is_one_document() -> None:
    several = b'data: {"choices":\ndata: [{"delta":{"content":"a"}}]}\n\n'
    relay = Relay()
    relay.feed(several)
    relay.feed(several.replace(b"\ndata: [", b"\n["))
    assert (relay.chunks, relay.invalid) == (1, 1)
