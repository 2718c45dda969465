"""The clients: many streams at once, at as little cost as can be, each checked after the last.

In:  a line of JSON for each `Load`.
Out: a line of JSON with its `Measured`, or with its `Unmet`.

`python -m benchmarks.end_to_end.load` runs it.
"""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import sys
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from time import perf_counter_ns
from typing import Any

import msgspec
import uvloop

from benchmarks.processes import Process, processor_time
from benchmarks.words import ALIAS

from .upstream import Answer

_LAST = 0.02  # seconds in which a gateway puts a stream's things away
_PATIENCE = 60  # seconds
_SMALL = 16 * 1024
_END = b"\r\n0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Target(msgspec.Struct, frozen=True):
    """How a gateway wants to be asked."""

    model: str = ALIAS
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = {}


class Load(msgspec.Struct):
    """What is asked of a gateway, and what is to come out of it."""

    port: int
    pid: int
    streams: int
    answer: Answer
    model: str = ""
    """The model's name that every chunk has to have; none: any."""
    mark: str = ""
    """What has to follow each text."""
    slow: int = 0
    """How many more clients there are that read nothing until the others have read all."""
    slow_answer: Answer = Answer(0)
    requests: int = 1
    """How many streams each client asks for, one after the other, on a connection that lasts."""
    target: Target = Target()


class Measured(msgspec.Struct):
    """What a load took."""

    cpu: float
    """Processor time of the gateway, all processes and threads, in nanoseconds an event."""
    rate: float
    """Events a second."""
    p50: float
    """From the upstream's write to the client's read, in nanoseconds, the median of all events."""
    p99: float
    """The same, of the hundredth that takes longest the least."""


class Unmet(msgspec.Struct):
    """Why what came out is not what it has to be."""

    reason: str


class LoadFailed(Exception):
    """What came out of a gateway is not what it has to be."""


def put(process: Process, load: Load) -> dict[str, float]:
    """Let the process of the clients put a load on a gateway. Raises `LoadFailed`."""
    found = msgspec.json.decode(process.ask(msgspec.json.encode(load)))
    if "reason" in found:
        raise LoadFailed(found["reason"])
    measured: dict[str, float] = found
    return measured


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    model: str
    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Chunk).decode


def request_for(
    answer: Answer, target: Target, *, close: bool = True, usage: bool = False
) -> bytes:
    """Write a request for a stream."""
    message = {"role": "user", "content": msgspec.json.encode(answer).decode()}
    asked: dict[str, Any] = {"model": target.model, "stream": True, "messages": [message]}
    if usage:
        asked["stream_options"] = {"include_usage": True}
    body = msgspec.json.encode(asked)
    headers = {
        "host": "127.0.0.1",
        "connection": "close" if close else "keep-alive",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **target.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Reply:
    """What a gateway answers to one request: reads, and when they came."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.times: list[int] = []
        self.reads: list[bytes] = []

    def body(self) -> tuple[int, Iterator[tuple[bytes, int]]]:
        """Return the head's size, and the payloads with where each ends in the body.

        Raises `ValueError` unless it is a success.
        """
        head, _, body = b"".join(self.reads).partition(b"\r\n\r\n")
        if not re.match(rb"HTTP/1\.[01] 200", head):
            shown = (head[:60] + b" ... " + body[:200]).decode("utf-8", "replace")
            raise ValueError(f"it answered {shown!r}")
        chunked = b"\r\ntransfer-encoding: chunked" in head.lower()
        return len(head) + 4, _unchunked(body) if chunked else iter([(body, len(body))])

    def check(self, load: Load) -> list[int]:
        """Return each text's latency. Raises `ValueError` unless the stream is as it must be."""
        before, payloads = self.body()
        arrivals = list(accumulate(map(len, self.reads), initial=-before))[1:]
        texts = [*_texts(payloads, load.model)]
        numbers = [f"{n:06} " for n in range(self._answer.events)]
        if [text[:7] for text, _ in texts] != numbers or any(
            text[26:] != load.mark for text, _ in texts
        ):
            raise ValueError(f"a stream is not what it has to be: {texts[:3]} … {texts[-3:]}")
        times = self.times
        return [times[bisect_left(arrivals, end)] - int(text[7:26]) for text, end in texts]


class Client(asyncio.Protocol):
    """A connection on which one stream after the other is asked for."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.lost = False

    def ask(self, answer: Answer, request: bytes) -> tuple[Reply, asyncio.Future[None]]:
        """Send a request; return its reply, and what is done when all of it is there."""
        self._reply, self._received, self._until, self._tail = Reply(answer), 0, -1, b""
        self._ended = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._reply, self._ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        reply = self._reply
        reply.times.append(perf_counter_ns())
        reply.reads.append(data)
        if len(reply.reads) == 1:
            self._learn_length(data)
        self._received += len(data)
        self._tail = (self._tail + data)[-7:] if len(data) < 7 else data[-7:]
        if (self._tail == _END or self._received == self._until) and not self._ended.done():
            self._ended.set_result(None)

    def _learn_length(self, data: bytes) -> None:
        head, _, _ = data.partition(b"\r\n\r\n")
        if length := _LENGTH.search(head):
            self._until = len(head) + 4 + int(length[1])

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Note the end."""
        self.lost = True
        if not self._ended.done():
            self._ended.set_result(None)


def _texts(payloads: Iterator[tuple[bytes, int]], model: str) -> Iterator[tuple[str, int]]:
    """Yield each text, and where in the body it was complete; check what is around the texts.

    How the events are cut and what else is in them, gateways may choose.
    """
    rest, last = b"", b""
    finished = []
    for payload, end in payloads:
        *events, rest = (rest + payload).split(b"\n\n")
        for event in events:
            if event.startswith(b":"):
                continue
            last = event.removeprefix(b"data:").strip()
            if last == b"[DONE]":
                continue
            chunk = _decode(last)
            if model and chunk.model != model:
                raise ValueError(f"the model is {chunk.model}, not {model}")
            for choice in chunk.choices:
                finished.append(choice.finish_reason)
                if choice.delta.content:
                    yield choice.delta.content, end
    if rest or last != b"[DONE]" or [*filter(None, finished)] != ["stop"]:
        raise ValueError(f"a stream ended with {last!r} {rest!r}")


def _unchunked(body: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield what each HTTP chunk holds, and where it ends."""
    begin = 0
    while True:
        line = body.index(b"\r\n", begin)
        size = int(body[begin:line], 16)
        begin = line + 4 + size
        if not size:
            break
        yield body[line + 2 : begin - 2], begin
    if begin != len(body):
        raise ValueError("something follows a stream's end")


async def connect(port: int, *, slow: bool = False) -> Client:
    """Connect to a gateway; a slow client reads nothing until it is told to."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    if slow:  # or the kernel reads in the client's place
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
    connection.setblocking(False)
    await loop.sock_connect(connection, ("127.0.0.1", port))
    _, client = await loop.create_connection(Client, sock=connection)
    if slow:
        client.transport.pause_reading()
    return client


async def _converse(load: Load, answer: Answer, client: Client) -> list[Reply]:
    """Ask for one stream after the other, on a new connection where the gateway closed the last."""
    request = request_for(answer, load.target, close=load.requests == 1)
    replies = []
    for _ in range(load.requests):
        if client.lost or client.transport.is_closing():
            client = await connect(load.port)
        reply, ended = client.ask(answer, request)
        await ended
        replies.append(reply)
    client.transport.close()
    return replies


async def _measure(load: Load) -> Measured:
    """Open all streams at once, evenly out of step, and wait for the last one's end."""
    answer, count = load.answer, load.streams
    between = 1 / answer.pace / count if answer.pace else 0
    before, began = processor_time(load.pid), perf_counter_ns()
    slow = [await _open_slow(load) for _ in range(load.slow)]
    conversations = []
    for n in range(count):
        client = await connect(load.port)
        waiting = msgspec.structs.replace(answer, wait=n * between)
        conversations.append(asyncio.create_task(_converse(load, waiting, client)))
    replies = [reply for each in await asyncio.gather(*conversations) for reply in each]
    await _catch_up(slow, load)
    took = perf_counter_ns() - began
    await asyncio.sleep(_LAST)
    used = processor_time(load.pid) - before
    latencies = sorted(latency for reply in replies for latency in reply.check(load))
    events = len(latencies)
    p50, p99 = (latencies[int(events * share)] for share in (0.5, 0.99))
    return Measured(used / events, events / took * 1e9, p50, p99)


_Slow = tuple[Client, Reply, "asyncio.Future[None]"]


async def _open_slow(load: Load) -> _Slow:
    client = await connect(load.port, slow=True)
    return client, *client.ask(load.slow_answer, request_for(load.slow_answer, load.target))


async def _catch_up(slow: list[_Slow], load: Load) -> None:
    """Read what slow clients have left; raise unless the upstream was held back until now."""
    now = perf_counter_ns()
    for client, _, _ in slow:
        client.transport.resume_reading()
    for client, reply, ended in slow:
        await ended
        client.transport.close()
        *_, latency = reply.check(load)
        if reply.times[-1] - latency < now:
            raise ValueError("the upstream had written all before a slow client read")


async def _attempt(load: Load) -> Measured | Unmet:
    try:
        return await asyncio.wait_for(_measure(load), _PATIENCE)
    except asyncio.TimeoutError:
        return Unmet(f"its streams had not ended after {_PATIENCE} s")
    except (ValueError, OSError) as error:  # also what cannot be decoded
        return Unmet(str(error))


def main() -> None:
    """Answer to each line."""
    gc.disable()  # nothing here has cycles that matter, and its pauses would count as latency
    for line in sys.stdin:
        found = uvloop.run(_attempt(msgspec.json.decode(line, type=Load)))
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    main()
