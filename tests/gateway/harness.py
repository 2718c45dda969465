"""Both ends of a gateway under test: upstreams that follow a script, and clients that see bytes."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import httpx

from fastchunk import StreamEncoder, wire
from fastchunk.gateway import Settings, create_app
from fastchunk.gateway.server import running

PATIENCE = 30.0  # seconds until a test that hangs fails

REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
}
SSE = "content-type: text/event-stream"
JSON = "content-type: application/json"

CHECKS = ("text", "reasoning", "on_invalid", "relay", "on_answer")
"""The arguments of `create_app` that are no settings."""

_encoder = StreamEncoder(wire, model="m", id="c", created=1)
EVENTS = [
    _encoder.role("assistant"),
    *map(_encoder.content, ["Hello", ", ", "日本", " 😀\n"]),
    _encoder.finish("stop"),
    _encoder.done(),
]
USAGE = _encoder.usage(prompt_tokens=1, completion_tokens=4)
ANSWER = b"".join(EVENTS)


class Received(NamedTuple):
    """A request as it came out of the gateway."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """The upstream's end of one connection; blocking, as a script reads best."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.settimeout(PATIENCE)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = accepted
        self._file = accepted.makefile("rb")

    def receive(self) -> Received:
        line, headers = self.receive_head()
        fields = dict(headers)
        body = b""
        if "chunked" in fields.get("transfer-encoding", ""):
            while size := int(self._line(), 16):
                body += self._file.read(size)
                self._line()
            self._line()
        elif "content-length" in fields:
            body = self._file.read(int(fields["content-length"]))
        return Received(line, headers, body)

    def receive_head(self) -> tuple[str, list[tuple[str, str]]]:
        line = self._line().decode().rstrip()
        headers = []
        while field := self._line().decode().rstrip("\r\n"):
            name, _, value = field.partition(": ")
            headers.append((name.lower(), value))
        return line, headers

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line:
            raise ConnectionError("closed before all of a request came")
        return line

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def begin(self, *headers: str, status: str = "200 OK") -> None:
        lines = [f"HTTP/1.1 {status}", *headers, "transfer-encoding: chunked", "", ""]
        self.send("\r\n".join(lines).encode())

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def answer(self, *headers: str, body: bytes = b"", status: str = "200 OK") -> None:
        self.begin(*headers, status=status)
        if body:
            self.chunk(body)
        self.end()

    def wait_until_closed(self) -> None:
        try:
            while self._file.read(1):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        self._file.close()
        self.socket.close()


Script = Callable[[Connection], object]


class Upstream:
    """A server that runs a script for each connection, in a thread of its own."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._closing = False
        self.received: list[Received] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            accepted, _ = self._listening.accept()
            if self._closing:
                accepted.close()
                return
            thread = threading.Thread(target=self._serve, args=(Connection(accepted),))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: Connection) -> None:
        try:
            self._script(connection)
        except ConnectionError:
            pass  # the gateway has closed it: what the script waits for
        finally:
            connection.close()

    def close(self) -> None:
        port = self._listening.getsockname()[1]
        self._closing = True
        socket.create_connection(("127.0.0.1", port)).close()
        self._accepting.join()
        self._listening.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def upstream(script: Script) -> Iterator[Upstream]:
    """Run an upstream; the script gets each connection."""
    server = Upstream(script)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def replying(*headers: str, body: bytes = b"", status: str = "200 OK") -> Iterator[Upstream]:
    """Run an upstream that gives every request the same answer, and keeps the requests."""

    def script(connection: Connection) -> None:
        server.received.append(connection.receive())
        connection.answer(*headers, "connection: close", body=body, status=status)

    with upstream(script) as server:
        yield server


@contextmanager
def gateway(url: str, **options: Any) -> Iterator[str]:
    """Run a gateway with options of `Settings` and of `create_app`; give its URL."""
    checks = {name: options.pop(name) for name in CHECKS if name in options}
    with running(create_app(Settings(upstream=url, **options), **checks)) as own:
        yield own


@contextmanager
def through(script: Script, **options: Any) -> Iterator[str]:
    """Run a gateway in front of an upstream that follows a script."""
    with upstream(script) as server, gateway(server.url, **options) as url:
        yield url


def ask(url: str, request: Any = REQUEST, **headers: str) -> httpx.Response:
    """Ask for a chat completion and take all of the answer."""
    path = f"{url}/v1/chat/completions"
    content = request if isinstance(request, bytes) else json.dumps(request).encode()
    fields = {"content-type": "application/json", **headers}
    return httpx.post(path, content=content, headers=fields, timeout=PATIENCE)


def error_of(data: bytes) -> dict[str, Any]:
    """Read the error of an error event at the end of a stream."""
    event = data[data.rindex(b"data: ") :]
    assert event.endswith(b"\n\n")
    error: dict[str, Any] = json.loads(event[6:])["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


class Client(AbstractContextManager["Client"]):
    """A client that sees every byte and reads when it is told to."""

    def __init__(self, url: str, *, buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        host, _, port = url.removeprefix("http://").partition(":")
        try:
            self.socket.connect((host, int(port)))
        except OSError:
            self.socket.close()
            raise
        self.read = bytearray()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(
        self, request: Any = REQUEST, *, path: str = "/v1/chat/completions", **headers: str
    ) -> None:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        fields = {"host": "h", "connection": "close", "content-type": "application/json", **headers}
        lines = [f"{name}: {value}" for name, value in fields.items()]
        head = [
            f"POST {path} HTTP/1.1",
            *lines,
            f"content-length: {len(body)}",
            "",
            "",
        ]
        self.send("\r\n".join(head).encode() + body)

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read_until(self, needle: bytes) -> bytes:
        while needle not in self.read:
            data = self.socket.recv(65536)
            assert data, f"the gateway closed the connection after {bytes(self.read)!r}"
            self.read += data
        return bytes(self.read)

    def read_all(self) -> bytes:
        while data := self.socket.recv(1 << 20):
            self.read += data
        return bytes(self.read)


def unchunked(data: bytes) -> bytes:
    """Take the body out of an answer in chunked coding."""
    parts: list[bytes] = []
    at = data.index(b"\r\n\r\n") + 4
    while True:
        begin = data.index(b"\r\n", at) + 2
        end = begin + int(data[at:begin], 16)
        assert data[end : end + 2] == b"\r\n"
        if begin == end:
            assert end + 2 == len(data)
            return b"".join(parts)
        parts.append(data[begin:end])
        at = end + 2


def metric(url: str, name: str, **labels: str) -> float:
    """Read one metric, added up over the labels that are not given; 0 if it is not there."""
    page = httpx.get(f"{url}/metrics", timeout=PATIENCE).text
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    samples = re.findall(rf"(?m)^fastchunk_gateway_{name}(?:{{(.*)}})? (.*)$", page)
    return sum(float(value) for found, value in samples if wanted <= set(found.split(",")))


def wait_for_metric(url: str, value: float, name: str, **labels: str) -> None:
    """Wait until a metric has a value: it is counted after the last byte was sent."""
    until = time.monotonic() + PATIENCE
    while (last := metric(url, name, **labels)) != value:
        assert time.monotonic() < until, f"{name} is {last}, not {value}"
