"""The SDKs' own clients, over a transport that answers with a body from memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

Ask = Callable[[Any], Any]
"""Makes a request with a client, and returns the SDK's stream or an awaitable of it."""
Wrap = Callable[[Any], Any]


class Heard(NamedTuple):
    """What came of a stream."""

    items: list[Any]
    error: Exception | None
    taken: int
    """How many reads of the body were taken."""
    closed: bool
    """Whether the response was closed then."""


class Sdk:
    """An SDK, its clients, and the httpx that they use."""

    def __init__(self, http: str, client: Any, async_client: Any) -> None:
        self.http: Any = import_module(http)
        self.client = client
        self.async_client = async_client

    def body(self, reads: Sequence[bytes], fail: Exception | None = None) -> Any:
        """Make a body of these reads, which then fails or ends; whoever reads it again goes on."""
        remaining = iter(reads)

        class Body(self.http.SyncByteStream, self.http.AsyncByteStream):  # type: ignore[misc,name-defined]
            taken = 0
            closed = False

            def __iter__(self) -> Iterator[bytes]:
                for data in remaining:
                    self.taken += 1
                    yield data
                if fail:
                    raise fail

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for data in self:
                    yield data

            def close(self) -> None:
                self.closed = True

            async def aclose(self) -> None:
                self.closed = True

        return Body()

    def answer(self, body: Any, version: bytes = b"HTTP/1.1") -> Any:
        """Make a transport that answers with a body."""
        extensions = {"http_version": version}
        return self.http.MockTransport(
            lambda _: self.http.Response(200, stream=body, extensions=extensions)
        )

    def connect(self, body: Any) -> Any:
        """Make a client that gets a body."""
        client = self.http.Client(transport=self.answer(body))
        return self.client(api_key="-", http_client=client, max_retries=0)

    def aconnect(self, body: Any, version: bytes = b"HTTP/1.1") -> Any:
        """Make an asynchronous client that gets a body."""
        client = self.http.AsyncClient(transport=self.answer(body, version))
        return self.async_client(api_key="-", http_client=client, max_retries=0)

    def hear(self, body: Any, ask: Ask, wrap: Wrap) -> Heard:
        """Read a wrapped stream with a client."""
        return hear(wrap(ask(self.connect(body))), body)

    def ahear(self, body: Any, ask: Ask, wrap: Wrap, version: bytes = b"HTTP/1.1") -> Heard:
        """Read a wrapped stream with an asynchronous client."""

        async def read() -> Heard:
            return await ahear(wrap(await ask(self.aconnect(body, version))), body)

        return asyncio.run(read())


def hear(stream: Any, body: Any) -> Heard:
    """Read a stream to its end."""
    items, error = [], None
    try:
        for item in stream:
            items.append(item)  # noqa: PERF402 # what came before an error is wanted, too
    except Exception as raised:  # noqa: BLE001
        error = raised
    return Heard(items, error, body.taken, body.closed)


async def ahear(stream: Any, body: Any) -> Heard:
    """Read an asynchronous stream to its end."""
    items, error = [], None
    try:
        async for item in stream:
            items.append(item)  # noqa: PERF401
    except Exception as raised:  # noqa: BLE001
        error = raised
    return Heard(items, error, body.taken, body.closed)


def cut(data: bytes, size: int = 700) -> list[bytes]:
    """Cut a body into reads that end anywhere."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def as_is(stream: Any) -> Any:
    """Leave the SDK's stream as it is."""
    return stream
