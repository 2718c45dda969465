"""How a body is read: in callbacks where aiohttp is as it is known, and in the task elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp.client_proto import ResponseHandler

from fastchunk.gateway._reading import InCallbacks, InTask, open_reading
from fastchunk.gateway._tap import tap
from fastchunk.gateway._upstream import READ_ERRORS

from .harness import PATIENCE

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n%b\r\n"
PLAIN = HEAD % b""
END = b"0\r\n\r\n"
PIECES = [b"one", b"two", b"three" * 1000]

on_both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def run(main: Coroutine[Any, Any, None], loop: str = "asyncio") -> None:
    """Run a coroutine on one of the event loops; on asyncio's, if there is no other."""
    new: asyncio.AbstractEventLoop = asyncio.new_event_loop()
    if loop == "uvloop" and importlib.util.find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415

        new.close()
        new = uvloop.new_event_loop()
    try:
        new.run_until_complete(asyncio.wait_for(main, PATIENCE))
        new.run_until_complete(new.shutdown_asyncgens())
    finally:
        new.close()


class Upstream:
    """Lets a test write what a client reads."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.asked: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._url = url
        self._session = session

    @asynccontextmanager
    async def ask(self, head: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for an answer, and begin it; `write` goes on with it."""
        asking = asyncio.ensure_future(self._session.get(self._url))
        self._writer = await self.asked.get()
        self.write(head)
        async with await asking as response:
            yield response

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def serving(authority: trustme.CA | None = None) -> AsyncIterator[Upstream]:
    closed = asyncio.Event()
    trusted = context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE)
    connector = aiohttp.TCPConnector(ssl=trusted or True)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                upstream.asked.put_nowait(writer)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        upstream = Upstream(f"{'https' if context else 'http'}://127.0.0.1:{port}", session)
        yield upstream
    server.close()
    await closed.wait()


class Collector:
    """Takes a body; with each piece it does the work that a test wants."""

    def __init__(self, work: Callable[[bytes], Awaitable[None] | None] = lambda _: None) -> None:
        self.is_served = False
        self.body = b""
        self._work = work

    def take(self, data: bytes, /) -> Awaitable[None] | None:
        self.body += data
        return self._work(data)

    async def has(self, body: bytes) -> None:
        while self.body != body:
            await asyncio.sleep(0.001)


# --- in callbacks --------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
@on_both_loops
def test_the_installed_aiohttp_is_as_it_is_known(loop: str, secure: bool) -> None:
    async def main() -> None:
        async with serving(trustme.CA() if secure else None) as upstream:
            for _ in range(2):  # over one connection, which is afterwards as it was
                async with upstream.ask(PLAIN) as response:
                    await read(upstream, response)
            assert upstream.asked.empty()

    async def read(upstream: Upstream, response: aiohttp.ClientResponse) -> None:
        assert response.connection is not None
        protocol = response.connection.protocol
        assert protocol is not None
        assert protocol._read_timeout_handle is not None
        collector = Collector(lambda _: written(protocol))
        reading = open_reading(response, collector)
        assert isinstance(reading, InCallbacks)
        running = asyncio.create_task(reading.run())
        for n in range(len(PIECES)):
            upstream.write(chunk(PIECES[n]))
            await collector.has(b"".join(PIECES[: n + 1]))
        upstream.write(END)
        await running
        assert response.content.total_bytes == len(b"".join(PIECES))
        assert response.content.is_eof()

    async def written(protocol: ResponseHandler) -> None:
        assert protocol._read_timeout_handle is None  # no read has set a timer

    run(main(), loop)


def test_work_is_done_in_the_callback_until_it_waits_and_then_the_rest_in_the_task() -> None:
    async def main() -> None:
        free = asyncio.Event()
        done: list[bytes] = []

        async def work(data: bytes) -> None:
            assert asyncio.current_task() is running
            if data == b"two":
                await free.wait()
            done.append(data)

        async with serving() as upstream, upstream.ask(PLAIN) as response:
            collector = Collector(work)
            reading = open_reading(response, collector)
            assert reading.is_at_work
            running = asyncio.create_task(reading.run())
            upstream.write(chunk(b"one"))
            await collector.has(b"one")
            assert done == [b"one"]
            assert not reading.is_at_work
            upstream.write(chunk(b"two"))
            await collector.has(b"onetwo")
            assert reading.is_at_work
            # What comes now waits, and what comes then stays in the kernel's buffers.
            upstream.write(chunk(b"three"))
            while not response.content._buffer:
                await asyncio.sleep(0.001)
            upstream.write(chunk(b"four"))
            await asyncio.sleep(0.05)
            assert [*response.content._buffer] == [b"three"]
            free.set()
            await collector.has(b"onetwothreefour")
            upstream.write(END)
            await running
            assert b"".join(done) == collector.body

    run(main())


@on_both_loops
def test_what_came_with_the_head_is_read_however_much_it_is(loop: str) -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(PLAIN + chunk(b"x")) as response:
            for _ in range(64):  # more than aiohttp takes before it stops reading
                upstream.write(chunk(b"y" * 65_536))
            await asyncio.sleep(0.1)
            collector = Collector()
            running = asyncio.create_task(open_reading(response, collector).run())
            upstream.write(END)
            await running
            assert collector.body == b"x" + b"y" * 65_536 * 64

    run(main(), loop)


def test_who_is_served_gets_no_more() -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(PLAIN) as response:
            collector = Collector()

            async def work(_: bytes) -> None:
                collector.is_served = True

            collector._work = work
            running = asyncio.create_task(open_reading(response, collector).run())
            upstream.write(chunk(b"one"))
            await running
            assert collector.body == b"one"

    run(main())


@pytest.mark.parametrize("end", [b"", b"no size at all\r\n", b"5\r\nhal"])
@on_both_loops
def test_what_came_before_a_broken_end_is_handed_over(loop: str, end: bytes) -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(PLAIN) as response:
            collector = Collector()
            running = asyncio.create_task(open_reading(response, collector).run())
            await asyncio.sleep(0)
            upstream.write(chunk(b"one") + end)
            upstream.close()
            with pytest.raises(READ_ERRORS):
                await running
            assert collector.body.startswith(b"one")

    run(main(), loop)


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
def test_what_the_work_raises_ends_the_reading(error: type[BaseException]) -> None:
    async def main() -> None:
        async def work(_: bytes) -> None:
            raise error

        async with serving() as upstream, upstream.ask(PLAIN) as response:
            running = asyncio.create_task(open_reading(response, Collector(work)).run())
            await asyncio.sleep(0)
            upstream.write(chunk(b"one"))
            with pytest.raises(error):
                await running

    run(main())


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_work_may_cancel_its_own_task(error: type[Exception] | None) -> None:
    async def main() -> None:
        async def work(_: bytes) -> None:
            own = asyncio.current_task()
            assert own is not None
            own.cancel()
            if error is not None:
                raise error
            await asyncio.sleep(PATIENCE)

        async with serving() as upstream, upstream.ask(PLAIN) as response:
            running = asyncio.create_task(open_reading(response, Collector(work)).run())
            await asyncio.sleep(0)
            upstream.write(chunk(b"one"))
            with pytest.raises(asyncio.CancelledError):
                await running

    run(main())


def test_a_reading_that_is_cancelled_leaves_the_connection_as_it_was() -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(PLAIN) as response:
            assert response.connection is not None
            transport = response.connection.transport
            assert transport is not None
            before = transport.get_protocol()
            running = asyncio.create_task(open_reading(response, Collector()).run())
            await asyncio.sleep(0)
            assert transport.get_protocol() is not before
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert transport.get_protocol() is before

    run(main())


def test_aiohttp_hears_of_all_that_its_connection_says() -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(PLAIN) as response:
            assert response.connection is not None
            protocol = response.connection.protocol
            assert protocol is not None
            tapped = tap(response)
            assert tapped is not None
            tapped.pause_writing()
            assert protocol._paused
            tapped.resume_writing()
            assert not protocol._paused

    run(main())


def test_a_connection_that_is_closing_is_left_alone() -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(PLAIN) as response:
            tapped = tap(response)
            assert tapped is not None
            tapped.open(lambda: None)
            tapped.pause()
            response.close()
            tapped.resume()
            tapped.pause()
            tapped.close()
            with pytest.raises(aiohttp.ClientConnectionError):
                tapped.is_over()

    run(main())


# --- in the task ---------------------------------------------------------------------------------


def _other_reader(response: aiohttp.ClientResponse) -> None:
    response.content.__class__ = type("Other", (aiohttp.StreamReader,), {"__slots__": ()})


def _other_protocol(response: aiohttp.ClientResponse) -> None:
    assert response.connection is not None
    protocol = response.connection.protocol
    assert protocol is not None
    protocol.__class__ = type("Other", (ResponseHandler,), {})


class Between(asyncio.Protocol):
    """Stands where somebody else's tap would."""

    def __init__(self, protocol: ResponseHandler) -> None:
        self._protocol = protocol

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)


def _other_connection(response: aiohttp.ClientResponse) -> None:
    assert response.connection is not None
    transport, protocol = response.connection.transport, response.connection.protocol
    assert transport is not None
    assert protocol is not None

    transport.set_protocol(Between(protocol))


@pytest.mark.parametrize(
    ("begin", "change"),
    [
        (PLAIN, _other_reader),
        (PLAIN, _other_protocol),
        (PLAIN, _other_connection),
        (HEAD % b"content-encoding: gzip\r\n", lambda _: None),
    ],
)
def test_where_anything_is_otherwise_the_task_reads(
    begin: bytes, change: Callable[[aiohttp.ClientResponse], None]
) -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(begin) as response:
            change(response)
            free = asyncio.Event()

            async def work(_: bytes) -> None:
                await free.wait()

            collector = Collector(work)
            reading = open_reading(response, collector)
            assert isinstance(reading, InTask)
            running = asyncio.create_task(reading.run())
            body = b"".join(PIECES)
            upstream.write(chunk(gzip.compress(body) if b"gzip" in begin else body) + END)
            await collector.has(body)
            assert reading.is_at_work
            free.set()
            await running
            assert not reading.is_at_work

    run(main())


def test_a_body_that_is_there_already_is_read_in_the_task() -> None:
    async def main() -> None:
        async with serving() as upstream, upstream.ask(PLAIN + chunk(b"all") + END) as response:
            collector = Collector()
            reading = open_reading(response, collector)
            assert isinstance(reading, InTask)
            await reading.run()
            assert collector.body == b"all"

    run(main())
