"""An upstream that costs as little as it can: it writes streams at a pace, or at full speed.

In:  requests for chat completions; the last message's text is the JSON of the `Answer` that is
     asked for. Every GET is answered with a list of one model, which passes for being healthy, too.
Out: a stream of numbered text deltas, each with the time at which it was written in its text; or a
     recorded stream, an event a write.
Cost: a write is one formatted HTTP chunk; nothing is parsed but the request's body.

`python -m benchmarks.end_to_end.upstream PORT` runs it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from time import perf_counter_ns

import msgspec
import uvloop

from benchmarks.streams import cut, recorded
from benchmarks.words import MODEL


class Answer(msgspec.Struct, frozen=True):
    """How an answer is written."""

    events: int
    """How many text deltas it has."""
    batch: int = 1
    """How many of them make one write."""
    pace: float = 0
    """How many writes there are in a second; 0: as many as are taken."""
    wait: float = 0
    """How many seconds pass before the first text."""
    recorded: str = ""
    """The name of a recorded stream that is written instead of texts."""


class _Part(msgspec.Struct):
    text: str


class _Message(msgspec.Struct):
    content: str | list[_Part]


class _Request(msgspec.Struct):
    messages: list[_Message]


def _asked_for(body: bytes) -> Answer:
    """Return what a body asks for. Raises `msgspec.DecodeError` for half a body."""
    content = msgspec.json.decode(body, type=_Request).messages[-1].content
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return msgspec.json.decode(text, type=Answer)


_BEFORE = (
    b'data: {"id":"chatcmpl-6cb5ba73-5b6e-4d2b-8d8c-0a3f2b1c9d7e","object":"chat.completion.chunk",'
    b'"created":1748649600,"model":"%b","choices":[{"index":0,"delta":' % MODEL.encode()
)
_TEXT = b'%b{"content":"%%06d %%019d"},"logprobs":null,"finish_reason":null}]}\n\n' % _BEFORE
_ROLE = b'%b{"role":"assistant"},"logprobs":null,"finish_reason":null}]}\n\n' % _BEFORE
_FINISH = b'%b{},"logprobs":null,"finish_reason":"stop"}]}\n\n' % _BEFORE
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_MODELS = b'{"object":"list","data":[{"id":"%b","object":"model"}]}' % MODEL.encode()
_LISTED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_MODELS),
    _MODELS,
)
# Or the kernel's buffers, which grow to tens of megabytes, hide whether a gateway still reads.
_SEND_BUFFER = 128 * 1024
_BETWEEN = 0.002  # seconds between the events of a recorded stream
_TURN = 32  # writes of one stream at full speed, before the others have their turn


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Connection(asyncio.Protocol):
    """Answers one request after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._timer: asyncio.Handle | None = None
        self._paused = False

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        if head.startswith(b"GET "):
            self._received = body
            self._transport.write(_LISTED)
            return
        try:
            answer = _asked_for(body)
        except msgspec.DecodeError:  # not all of it is here yet
            return
        self._received = b""
        if answer.recorded:
            self._replay(answer.recorded)
        else:
            self._begin(answer)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self._answer.pace and self._written < self._answer.events:
            self._hurry()

    def _begin(self, answer: Answer) -> None:
        self._answer, self._written = answer, 0
        self._write = self._transport.write
        size = len(_TEXT % (0, 0)) * answer.batch
        self._format = b"%x\r\n%b\r\n" % (size, _TEXT * answer.batch)
        self._write(_HEAD + _framed(_ROLE))
        if answer.pace:
            self._next = self._loop.time() + answer.wait
            self._timer = self._loop.call_at(self._next, self._walk)
        else:
            self._hurry()

    def _replay(self, name: str) -> None:
        """Write a recorded stream, one event after the other."""
        (stream,) = (one for one in recorded() if one.name == name)
        self._transport.write(_HEAD)
        self._replay_next(iter(cut(stream, 1).reads))

    def _replay_next(self, reads: Iterator[bytes]) -> None:
        read = next(reads, b"")
        self._transport.write(_framed(read))  # an empty HTTP chunk is the end
        if read:
            self._timer = self._loop.call_later(_BETWEEN, self._replay_next, reads)

    def _write_texts(self) -> bool:
        """Write the next texts; tell whether there are more."""
        now, first, batch = perf_counter_ns(), self._written, self._answer.batch
        values = [value for n in range(first, first + batch) for value in (n, now)]
        self._write(self._format % tuple(values))
        self._written += batch
        return self._written < self._answer.events

    def _walk(self) -> None:
        if self._write_texts():
            self._next += 1 / self._answer.pace
            self._timer = self._loop.call_at(self._next, self._walk)
        else:
            self._end()

    def _hurry(self) -> None:
        for _ in range(_TURN):
            if not self._write_texts():
                self._end()
                return
            if self._paused:
                return
        self._timer = self._loop.call_soon(self._hurry)

    def _end(self) -> None:
        self._write(_framed(_FINISH) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
