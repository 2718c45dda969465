"""The decode and encode functions, seen from outside; parity itself is in `conformance/`."""

from __future__ import annotations

import re
import sys
from typing import Any, Literal

import msgspec
import pytest

import fastchunk
from fastchunk import InvalidChunk, codec, encode_event, models, wire
from fastchunk.exact import parse

CHUNK = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"llama",'
    b'"choices":[{"index":0,"delta":{"role":null,"content":"Hi","reasoning_content":null,'
    b'"tool_calls":[]},"logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}'
)


def _exact_path_is_closed(*_: object) -> None:
    pytest.fail("the exact path was taken")


@pytest.mark.parametrize(
    "data",
    [
        CHUNK,
        CHUNK.replace(b'"Hi"', b'"Hi","refusal":null,"annotations":[]'),
        CHUNK.replace(b"Hi", "日本語 😀".encode()),
        CHUNK.replace(b'"Hi"', b"null"),
        CHUNK.replace(b'"content":"Hi"', b'"content": null'),
        CHUNK.replace(b"Hi", b"long " * 4000),
    ],
    ids=["plain", "unknown-keys", "non-ascii", "null-content", "null-content-spaced", "long"],
)
def test_the_exact_path_is_not_taken(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "parse", _exact_path_is_closed)
    for given in (data, bytearray(data), memoryview(data), data.decode()):
        assert models.decode(given).model == "llama"


@pytest.mark.parametrize(
    "data",
    [
        CHUNK,
        CHUNK.replace(b'"Hi"', b'"Hi","refusal":null,"annotations":[]'),
        CHUNK.replace(b"Hi", "日本語 😀".encode()),
        CHUNK.replace(b"Hi", b"long " * 4000),
        bytearray(CHUNK),
        CHUNK.decode(),
    ],
    ids=["plain", "unknown-keys", "non-ascii", "long", "bytearray", "str"],
)
def test_the_fast_path_is_taken_at_the_first_try(data: bytes) -> None:
    def respell(_: str) -> str:
        pytest.fail("the fast decoder was asked twice")

    decode = codec.decoder(models.ChatCompletionStreamResponse, respell=respell)
    assert decode(data).model == "llama"


@pytest.mark.parametrize(
    "data", [CHUNK.replace(b"1700000000", b'"12"'), CHUNK.replace(b"0,", b"0.0,", 1)]
)
def test_the_exact_path_is_taken(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "parse", lambda _: {"model": "asked", "choices": []})
    assert models.decode(data).model == "asked"


def _arrays(levels: int, innermost: bytes = b"1") -> bytes:
    return b"[" * levels + innermost + b"]" * levels


def _objects(levels: int) -> bytes:
    return b'{"":' * levels + b"1" + b"}" * levels


GUARDED: dict[str, tuple[bytes, bool]] = {
    "short": (b"[1]", True),
    "short-non-ascii": ("é".encode(), True),
    "short-no-utf8": (b"\xc3", False),
    "long": (b"a" * 9000, True),
    "long-non-ascii": (("é" * 9000).encode(), True),
    "long-no-utf8": (b"a" * 9000 + b"\xed\xa0\x80", False),
    "arrays-200": (_arrays(200), True),
    "arrays-201": (_arrays(201), False),
    "arrays-201-empty": (_arrays(200, b"[ ]"), True),
    "arrays-201-and-text": (_arrays(201, b'"' + b"a" * 4000 + b'"'), False),
    "objects-200": (_objects(200), True),
    "objects-201": (_objects(201), False),
    "objects-100-arrays-101": (_objects(100).replace(b"1", _arrays(101)), False),
    "brackets-in-text": (b'["' + b"]" * 300 + b'"]', True),
    "brackets-in-text-behind-quotes": (rb'["\\\"' + b"]" * 300 + b'"]', True),
    "brackets-closed-in-text": (_arrays(201, b'"' + b"]" * 201 + b'"'), False),
    "many-side-by-side": (b"[" + b'{"a":[1]},' * 300 + b"1]", True),
    "digits-4300": (b"[" + b"1" * 4300 + b"]", True),
    "digits-4301": (b"[" + b"1" * 4301 + b"]", False),
}
"""What to guard against, and whether the fast decoder may have it."""


@pytest.mark.parametrize(("data", "expected"), GUARDED.values(), ids=GUARDED)
def test_guard(data: bytes, expected: bool) -> None:
    try:
        answer = codec.guard(data)
    except ValueError:
        answer = False
    assert answer is expected


def test_decode_and_encode_give_the_bytes_back() -> None:
    chunk = fastchunk.decode(CHUNK)
    assert fastchunk.encode(chunk) == CHUNK
    assert fastchunk.encode_event(chunk) == b"data: " + CHUNK + b"\n\n"


def test_a_decoded_chunk_keeps_no_hold_on_a_buffer() -> None:
    buffer = bytearray(CHUNK)
    chunk = fastchunk.decode(buffer)
    viewed = fastchunk.decode(memoryview(buffer))
    buffer[:] = b"x" * 1000  # a live export would make this fail
    assert chunk == viewed == fastchunk.decode(CHUNK)


@pytest.mark.parametrize("data", [None, 1, {}, [], object(), 1.5, models.UsageInfo()])
def test_decode_refuses_other_types(data: Any) -> None:
    with pytest.raises(TypeError, match="data must be bytes, bytearray, memoryview or str"):
        fastchunk.decode(data)


@pytest.mark.parametrize("value", [None, {}, b"{}", "x", object()])
def test_encode_refuses_what_is_no_struct(value: Any) -> None:
    with pytest.raises(TypeError, match="chunk must be a Struct"):
        fastchunk.encode(value)


def test_encode_refuses_what_json_has_no_form_for() -> None:
    chunk = fastchunk.decode(CHUNK)
    chunk.usage = object()  # type: ignore[assignment]
    with pytest.raises(TypeError, match="object has no JSON form"):
        fastchunk.encode(chunk)


def test_encode_names_the_place_of_a_lone_surrogate() -> None:
    chunk = fastchunk.decode(CHUNK)
    chunk.choices[0].delta.content = "x\ud83d"
    with pytest.raises(InvalidChunk, match=re.escape("choices[0].delta.content")) as caught:
        fastchunk.encode(chunk)
    assert [e["type"] for e in caught.value.errors()] == ["string_unicode"]
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)


def test_a_str_subclass_is_a_str() -> None:
    class Text(str):
        __slots__ = ()

    assert fastchunk.decode(Text(CHUNK.decode())) == fastchunk.decode(CHUNK)


def test_a_lone_surrogate_in_a_str_is_an_invalid_chunk() -> None:
    with pytest.raises(InvalidChunk, match="lone surrogate at offset 1") as caught:
        fastchunk.decode('"\ud800"')
    assert caught.value.errors()[0]["type"] == "string_unicode"


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 10_000_000,
        b'{"a":' * 1_000_000,
        b'{"model":"' + b"x" * 100_000_000,
        b'{"model":1,"choices":"' + b"x" * 100_000_000 + b'"}',
        b'{"model":"m","choices":[],"created":"' + b"1" * 10_000_000 + b'"}',
        b'{"model":"m","choices":[' + b"1," * 1_000_000 + b"1]}",
        b'{"model":"m","choices":[{"index":0,"delta":{},"logprobs":{"content":[{"token":"t",'
        b'"logprob":"' + b"1" * 5_000_000 + b'x"}]}}]}',
        b'{"model":"m","choices":[{"index":0,"delta":{},"logprobs":{"content":[{"token":"t",'
        b'"logprob":"' + b"1_" * 2_000_000 + b'x"}]}}]}',
        b"\xff" * 10_000_000,
    ],
    ids=[
        "arrays",
        "objects",
        "cut-string",
        "long-string",
        "digits",
        "many-errors",
        "float",
        "float-underscores",
        "no-utf8",
    ],
)
def test_hostile_sizes_are_refused_and_nothing_else_escapes(data: bytes) -> None:
    with pytest.raises(InvalidChunk) as caught:
        fastchunk.decode(data)
    assert len(str(caught.value)) < 300
    assert len(caught.value.data) <= 256


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JSON document: Expecting value at offset 0"),
        ("é{".encode(), "not a JSON document: Expecting value at offset 0"),
        ('{"é":}'.encode(), "not a JSON document: Expecting value at offset 6"),
        (b'{"a":"\xff"}', "not a JSON document: invalid UTF-8 at offset 6"),
        (b"[]", "the document: expected an object"),
        (b'{"choices":[]}', "model: this field is required"),
        (
            b'{"model":"m","choices":[{"index":"x","delta":{}}]}',
            "choices[0].index: expected an integer, and this string is not one",
        ),
    ],
)
def test_the_message_names_the_place(data: bytes, message: str) -> None:
    with pytest.raises(InvalidChunk) as caught:
        fastchunk.decode(data)
    assert str(caught.value) == message
    assert caught.value.errors()[0]["msg"] == message


def test_rejecting_stops_at_the_first_error_until_all_are_wanted() -> None:
    with pytest.raises(InvalidChunk) as caught:
        fastchunk.decode(b'{"model":1,"choices":[1,2]}')
    assert str(caught.value) == "model: expected a string"
    assert [e["loc"] for e in caught.value.errors()] == [("model",), ("choices", 0), ("choices", 1)]


def test_the_error_has_no_misleading_context() -> None:
    with pytest.raises(InvalidChunk) as caught:
        fastchunk.decode(b'{"model":1,"choices":[]}')
    assert caught.value.__context__ is None


def test_an_interpreter_that_takes_fewer_digits_refuses_them_as_any_other_input() -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        for created in (b"1" * 700, b'"' + b"1" * 700 + b'"', b'"1","x":' + b"1" * 700):
            with pytest.raises(InvalidChunk):
                fastchunk.decode(b'{"model":"m","choices":[],"created":' + created + b"}")
        with pytest.raises(InvalidChunk):
            wire.decode(b'{"created":' + b"1" * 700 + b"}")
    finally:
        sys.set_int_max_str_digits(limit)


@pytest.mark.parametrize("annotation", [bool, dict[str, int], str | list[int], int | float | str])
def test_a_decoder_for_fields_that_it_does_not_know_is_refused(annotation: Any) -> None:
    struct = msgspec.defstruct("Struct", [("x", annotation)])
    with pytest.raises(TypeError, match="is not supported"):
        codec.decoder(struct)


def test_an_invalid_chunk_does_not_keep_the_data_alive() -> None:
    for data in (b"[" + b"x" * 1000, b"\xff" * 1000):
        with pytest.raises(InvalidChunk) as caught:
            fastchunk.decode(data)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


def test_a_decoder_for_any_struct() -> None:
    class Point(msgspec.Struct, rename="upper"):
        x: int
        y: float | None = None
        z: Literal["a", "b"] = "a"

    decode = codec.decoder(Point)
    assert decode('{"X":"1","Y":true,"Z":"b"}') == Point(1, 1.0, "b")
    assert codec.validator(Point)({"X": 1, "Y": None}) == Point(1)
    assert codec.dump(Point(1)) == {"X": 1, "Y": None, "Z": "a"}
    assert codec.encode(Point(1)) == b'{"X":1,"Y":null,"Z":"a"}'


def test_an_event_is_one_line_whatever_it_holds() -> None:
    chunk = wire.decode(b'{"choices":[],"x_groq":{\r\n"id": "a\\n"\n}}')
    assert encode_event(chunk) == b'data: {"choices":[],"x_groq":{"id": "a\\n"}}\n\n'
