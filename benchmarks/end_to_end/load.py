"""The clients: many streams at once, at as little cost as can be, each checked after the last.

In:  a line of JSON for each `Load`.
Out: a line of JSON with its `Measured`, or an error that ends the process.

`python -m benchmarks.end_to_end.load` runs it.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from time import perf_counter_ns

import msgspec
import uvloop

from benchmarks.words import ALIAS

from .upstream import Answer

_LAST = 0.02  # seconds in which a gateway puts a stream's things away
_SMALL = 16 * 1024


class Load(msgspec.Struct):
    """What is asked of a gateway, and what is to come out of it."""

    port: int
    pid: int
    streams: int
    answer: Answer
    model: str
    mark: str
    slow: int = 0
    """How many more clients there are that read nothing until the others have read all."""
    slow_answer: Answer = Answer(0)


class Measured(msgspec.Struct):
    """What a load took."""

    cpu: float
    """The processor's time of the gateway's process, all threads, in nanoseconds an event."""
    rate: float
    """Events a second."""
    p50: float
    """From the upstream's write to the client's read, in nanoseconds, the median of all events."""
    p99: float
    """The same, of the hundredth that takes longest the least."""


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    model: str
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Chunk).decode


class Client(asyncio.Protocol):
    """Asks for one stream, and keeps what comes and when."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        body = b'{"model":"%b","stream":true,"messages":[%b]}'
        body %= ALIAS.encode(), msgspec.json.encode(answer)
        self._request = (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.times: list[int] = []
        self.reads: list[bytes] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self.times.append(perf_counter_ns())
        self.reads.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end."""
        self.ended.set_result(error)

    def check(self, load: Load) -> list[int]:
        """Return each text's latency; raise unless the stream is what it has to be."""
        head, _, body = b"".join(self.reads).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a gateway answered {head!r} {body!r}")
        arrivals = list(accumulate(map(len, self.reads), initial=-len(head) - 4))[1:]
        texts = [*_texts(body, load.model)]
        numbers = [f"{n:06} " for n in range(self._answer.events)]
        if [text[:7] for text, _ in texts] != numbers or any(
            text[26:] != load.mark for text, _ in texts
        ):
            raise SystemExit(f"a stream is not what it has to be: {texts[:3]} … {texts[-3:]}")
        times = self.times
        return [times[bisect_left(arrivals, end)] - int(text[7:26]) for text, end in texts]


def _texts(body: bytes, model: str) -> Iterator[tuple[str, int]]:
    """Yield each text, and where in the body it was complete; check what is around the texts."""
    rest, last = b"", b""
    finished = []
    for payload, end in _unchunked(body):
        *events, rest = (rest + payload).split(b"\n\n")
        for last in events:
            if last == b"data: [DONE]":
                continue
            chunk = _decode(last[6:])
            finished.append(chunk.choices[0].finish_reason)
            if chunk.model != model:
                raise SystemExit(f"the model is {chunk.model}, not {model}")
            if chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content, end
    if rest or last != b"data: [DONE]" or finished[-1] != "stop" or any(finished[:-1]):
        raise SystemExit(f"a stream ended with {last!r} {rest!r}")


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
        raise SystemExit("something follows a stream's end")


def _cpu(pid: int) -> int:
    """Return a process's processor time: of all threads, in nanoseconds (clock_getcpuclockid)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


async def _open(answers: list[Answer], port: int, *, slow: bool = False) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients = []
    for answer in answers:
        connection = socket.socket()
        if slow:  # or the kernel reads in the client's place
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        _, client = await loop.create_connection(partial(Client, answer), sock=connection)
        clients.append(client)
        if slow:
            client.transport.pause_reading()
    return clients


async def _measure(load: Load) -> Measured:
    """Open all streams at once, evenly out of step, and wait for the last one's end."""
    answer, count = load.answer, load.streams
    between = 1 / answer.pace / count if answer.pace else 0
    answers = [msgspec.structs.replace(answer, wait=n * between) for n in range(count)]
    before, began = _cpu(load.pid), perf_counter_ns()
    slow = await _open([load.slow_answer] * load.slow, load.port, slow=True)
    clients = await _open(answers, load.port)
    await asyncio.gather(*(client.ended for client in clients))
    await _catch_up(slow, load)
    took = perf_counter_ns() - began
    await asyncio.sleep(_LAST)
    used = _cpu(load.pid) - before
    latencies = sorted(latency for client in clients for latency in client.check(load))
    events = len(latencies)
    p50, p99 = (latencies[int(events * share)] for share in (0.5, 0.99))
    return Measured(used / events, events / took * 1e9, p50, p99)


async def _catch_up(slow: list[Client], load: Load) -> None:
    """Read what slow clients have left; raise unless the upstream was held back until now."""
    now = perf_counter_ns()
    for client in slow:
        client.transport.resume_reading()
    await asyncio.gather(*(client.ended for client in slow))
    for client in slow:
        *_, latency = client.check(load)
        if client.times[-1] - latency < now:
            raise SystemExit("the upstream had written all before a slow client read")


def main() -> None:
    """Answer to each line."""
    gc.disable()  # nothing here has cycles that matter, and its pauses would count as latency
    for line in sys.stdin:
        measured = uvloop.run(_measure(msgspec.json.decode(line, type=Load)))
        sys.stdout.write(msgspec.json.encode(measured).decode() + "\n")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    main()
