from __future__ import annotations

import copy
import pickle

import pytest

import fastchunk
from fastchunk import (
    EventTooLarge,
    FastchunkError,
    InvalidChunk,
    TruncatedStream,
    UpstreamError,
)
from fastchunk.errors import ErrorDetail
from fastchunk.models import ChatCompletionStreamResponse

BAD = b'{"model":1,"choices":{}}'


def _error(data: bytes = BAD) -> InvalidChunk:
    with pytest.raises(InvalidChunk) as caught:
        fastchunk.decode(data)
    return caught.value


def test_the_hierarchy() -> None:
    assert issubclass(InvalidChunk, FastchunkError)
    assert issubclass(InvalidChunk, ValueError)
    assert issubclass(FastchunkError, Exception)


def test_errors_are_listed_once_and_handed_out_as_copies() -> None:
    error = _error()
    first = error.errors()
    assert first == [
        {"type": "string_type", "loc": ("model",), "msg": "model: expected a string"},
        {"type": "list_type", "loc": ("choices",), "msg": "choices: expected an array"},
    ]
    first.clear()
    assert len(error.errors()) == 2


def test_errors_are_listed_when_they_are_asked_for_and_once() -> None:
    calls = []

    def list_errors() -> list[ErrorDetail]:
        calls.append(1)
        return [{"type": "t", "loc": (), "msg": "m"}]

    error = InvalidChunk("m", b"", list_errors)
    assert calls == []
    assert error.errors() == error.errors()
    assert calls == [1]


def test_the_errors_of_an_object_are_those_it_had() -> None:
    value: dict[str, object] = {"model": 1, "choices": [], "x": 10**5000}
    with pytest.raises(InvalidChunk) as caught:
        ChatCompletionStreamResponse.model_validate(value)
    value["model"] = "m"
    assert [e["loc"] for e in caught.value.errors()] == [("model",)]


def test_the_data_is_cut_to_a_readable_length() -> None:
    assert _error().data == BAD
    assert _error(b"x" * 1000).data == b"x" * 256


@pytest.mark.parametrize("data", [BAD, b"", b"\xff", b"[" * 1000])
def test_errors_cross_process_boundaries(data: bytes) -> None:
    error = _error(data)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is InvalidChunk
        assert str(twin) == str(error)
        assert twin.data == error.data
        assert twin.errors() == error.errors()


@pytest.mark.parametrize(
    "error",
    [
        EventTooLarge(4096),
        TruncatedStream("the stream ended", b"data: {"),
        UpstreamError({"message": "no", "code": 500}, b"{}"),
    ],
)
def test_stream_errors_cross_process_boundaries(error: FastchunkError) -> None:
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))
