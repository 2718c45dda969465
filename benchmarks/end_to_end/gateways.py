"""What a gateway puts a stream through: all that differs between the compared gateways.

Each makes objects with `feed` and `close`, one a stream, as `fastchunk.gateway` takes them; its
library is imported when it is made.

`python -m benchmarks.end_to_end.gateways GATEWAY PORT UPSTREAM` runs one.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.words import ALIAS, MODEL

MARK = "*"
"""What a gateway that changes every chunk adds to its text."""

Factory = Callable[..., Any]


class _PassThrough:
    """Hands on the bytes that came."""

    def __init__(self, **_: Any) -> None:
        pass

    def feed(self, data: bytes, /) -> bytes:
        return data

    def close(self) -> bytes:
        return b""


class _Rewriting:
    """Frames events, and writes each one's data anew; with the cheapest framing that is right."""

    def __init__(self, rewrite: Callable[[bytes], bytes], **_: Any) -> None:
        self._rewrite = rewrite
        self._rest = b""

    def feed(self, data: bytes, /) -> bytes:
        rewrite = self._rewrite
        *events, self._rest = (self._rest + data).split(b"\n\n")
        return b"".join([b"data: %b\n\n" % rewrite(event[6:]) for event in events])

    def close(self) -> bytes:
        return self._rest


def _relay(on_chunk: Callable[[Any], Any] | None = None) -> Factory:
    from fastchunk import Relay

    return partial(Relay, on_chunk=on_chunk)


def _looking() -> Factory:
    from fastchunk import Relay

    def looking(**_: Any) -> Relay:
        return Relay(on_chunk=_look)  # and nothing else, whatever the gateway would set

    return looking


def _look(chunk: Any) -> None:
    if "forbidden" in (chunk.choices[0].delta.content or ""):
        raise ValueError("the text is forbidden")


def _mark(chunk: Any) -> Any:
    delta = chunk.choices[0].delta
    if delta.content:
        delta.content += MARK
    return chunk


def _pydantic() -> Factory:
    """Do what Ray's router does with the chunks of the model's server."""
    from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse

    validate = ChatCompletionStreamResponse.model_validate_json

    def rewrite(data: bytes) -> bytes:
        if data == b"[DONE]":
            return data
        chunk = validate(data)
        chunk.model = ALIAS
        written: bytes = chunk.model_dump_json().encode()
        return written

    return partial(_Rewriting, rewrite)


def _orjson() -> Factory:
    from orjson import dumps, loads

    def rewrite(data: bytes) -> bytes:
        if data == b"[DONE]":
            return data
        chunk = loads(data)
        chunk["model"] = ALIAS
        written: bytes = dumps(chunk)
        return written

    return partial(_Rewriting, rewrite)


def _openai() -> Factory:
    """Do what `openai.AsyncStream` does with every event, and write the chunk again."""
    from openai._models import construct_type
    from openai._streaming import SSEDecoder
    from openai.types.chat import ChatCompletionChunk

    class Client:
        def __init__(self, **_: Any) -> None:
            self._decoder = SSEDecoder()
            self._rest = b""

        def feed(self, data: bytes, /) -> bytes:
            whole, separator, self._rest = (self._rest + data).rpartition(b"\n\n")
            written = []
            for event in self._decoder.iter_bytes(iter((whole + separator,))):
                if event.data.startswith("[DONE]"):
                    written.append("data: [DONE]\n\n")
                    continue
                chunk: Any = construct_type(type_=ChatCompletionChunk, value=event.json())
                chunk.model = ALIAS
                written.append(f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n")
            return "".join(written).encode()

        def close(self) -> bytes:
            return self._rest

    return Client


REFERENCE = "pass-through"
CONTROL = "pass-through, control"
RELAY = "Relay, changing the model"
RELAY_PURE = "Relay, changing the model, pure"
LOOK = "Relay, looking"
CHANGE = "Relay, changing text and model"
PYDANTIC = "Pydantic path"
# In the order in which they take turns. The control is the reference once more, and shows how well
# differences are measured.
GATEWAYS: dict[str, Callable[[], Factory]] = {
    REFERENCE: lambda: _PassThrough,
    RELAY: _relay,
    RELAY_PURE: _relay,
    LOOK: _looking,
    CHANGE: partial(_relay, _mark),
    CONTROL: lambda: _PassThrough,
    PYDANTIC: _pydantic,
    "orjson dicts": _orjson,
    "openai client": _openai,
}
PURE = frozenset({RELAY_PURE})
"""Those that run the pure package."""


def expected(gateway: str) -> tuple[str, str]:
    """Return the model's name that a gateway's chunks have, and what follows each text."""
    model = MODEL if gateway in {REFERENCE, CONTROL, LOOK} else ALIAS
    return model, MARK if gateway == CHANGE else ""


def _serve(gateway: str, port: int, upstream: str) -> None:
    from fastchunk.gateway import Settings, serve

    settings = Settings(upstream=upstream, aliases={ALIAS: MODEL})
    relay = GATEWAYS[gateway]()
    gc.collect()
    gc.freeze()  # or the collector walks what was imported, which is not the stream's cost
    serve(settings, port=port, relay=relay, log_level="warning")


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
