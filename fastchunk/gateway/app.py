"""The gateway as an ASGI application: its routes, and what each of them does.

In:  `Settings`, or the upstream's URL alone.
Out: a Starlette application, to run or to mount under a prefix.

    >>> app = create_app("http://127.0.0.1:8001")
    >>> [route.path for route in app.routes]
    ['/v1/chat/completions', '/v1/{path:path}', '/healthz', '/metrics']
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, cast

import aiohttp
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fastchunk import Relay

from ._client import ClientLeft, Upload, left, read_body, while_connected
from ._failure import Failure
from ._request import Completion, completion, restamped
from ._stream import RelayLike, Stream, pass_on, read_answer, start
from ._upstream import Upstream, encoded, request_headers, target, watched
from .metrics import CONTENT_TYPE, Metrics
from .settings import Settings

__all__ = ["Gateway", "create_app"]

log = logging.getLogger("fastchunk.gateway")

_LEFT = 499  # what nginx logs for a client that closed its connection before the answer


def create_app(
    settings: Settings | str, *, relay: Callable[..., RelayLike] | None = None
) -> Starlette:
    """Make the gateway's application. `settings`: all options, or the upstream's URL.

    `relay` is called for each stream with the keyword arguments `set`, `strip_usage` and
    `max_event_size` of `fastchunk.Relay`, which is the default; to look at every chunk, or change
    it, give `functools.partial(fastchunk.Relay, on_chunk=...)`.

    Mounted in another application, it connects at the first request; to have its connections
    closed, enter `app.router.lifespan_context(app)` in the other one's lifespan.
    """
    if isinstance(settings, str):
        settings = Settings(upstream=settings)
    gateway = Gateway(settings, Relay if relay is None else relay)
    chat_completions = _Endpoint(gateway, "/v1/chat/completions", gateway.chat_completions)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/{path:path}", _Endpoint(gateway, "/v1/*", gateway.other)),
            Route("/healthz", _health),
            Route("/metrics", gateway.page),
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=gateway.lifespan,
    )
    app.router.redirect_slashes = False
    app.state.gateway = gateway
    return app


class _Call(NamedTuple):
    """One request, as ASGI hands it over."""

    scope: Scope
    receive: Receive
    send: Send
    began: float


class Gateway:
    """What all requests of one application share."""

    def __init__(self, settings: Settings, relay: Callable[..., RelayLike]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._upstream = Upstream(settings)
        self._relay = relay
        self._open = 0
        self._streams: set[Stream] = set()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Close the connections to the upstream at the end."""
        try:
            yield
        finally:
            await self._upstream.close()

    def end_streams(self) -> None:
        """End every open stream with an error event: the server will not wait any longer."""
        for stream in self._streams:
            stream.fail(Failure(503, "shutting_down", "the gateway is shutting down"))

    def note(self, failure: Failure | None) -> None:
        """Count a failure, if there was one and it was the upstream's."""
        if failure is not None and failure.is_upstreams:
            self.metrics.failures.labels(failure.code).inc()

    async def page(self, _: Request) -> Response:
        """Answer with the metrics."""
        return Response(self.metrics.page(), headers={"content-type": CONTENT_TYPE})

    def authorize(self, scope: Scope) -> None:
        """Raise `Failure` unless the client has sent the key that it has to send."""
        key = self.settings.client_key
        if key is None:
            return
        given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        scheme, _, token = b",".join(given).partition(b" ")
        is_known = secrets.compare_digest(token.strip(), key.encode())
        if scheme.lower() != b"bearer" or not is_known:
            text = "the Authorization header does not hold the gateway's key as a Bearer token"
            raise Failure(401, "invalid_api_key", text, {"www-authenticate": "Bearer"})

    async def chat_completions(self, call: _Call) -> int:
        """Answer a request for a chat completion; return the status."""
        settings = self.settings
        body = await read_body(call.receive, settings.max_request_size, settings.request_timeout)
        asked = completion(body, settings)
        with self._counted():
            return await while_connected(left(call.receive), self._complete(call, asked))

    async def other(self, call: _Call) -> int:
        """Pass any other request on, and its answer; return the status."""
        if call.scope["method"] in {"CONNECT", "TRACE"}:  # the one tunnels, the other shows the key
            raise Failure(405, "method_not_allowed", "this method is not passed on")
        upload = Upload(call.scope, call.receive, self.settings.read_timeout)
        if upload.length == 0:
            return await while_connected(left(call.receive), self._pass(call, None))
        return await while_connected(upload.left(), self._pass(call, upload))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        limit = self.settings.max_streams
        if self._open >= limit:
            # 503, not 429: it is the gateway that is full, not this client that asks too often.
            # OpenAI's clients try both again, and wait as long as they are told to.
            text = f"{limit:,} chat completions are open, and no more are taken"
            raise Failure(503, "too_many_streams", text, {"retry-after": "1"})
        self._open += 1
        self.metrics.streams_open.inc()
        try:
            yield
        finally:
            self._open -= 1
            self.metrics.streams_open.dec()

    @asynccontextmanager
    async def _answered(
        self, call: _Call, body: bytes | Upload | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the upstream's answer to a request; what is not read of it is not waited for."""
        scope = call.scope
        headers = request_headers(scope["headers"], self.settings)
        if isinstance(body, Upload) and body.length is not None:
            headers.append(("content-length", str(body.length)))
        upstream = await self._upstream.request(scope["method"], target(scope), headers, body)
        try:
            with watched(upstream):
                yield upstream
        finally:
            upstream.close()

    async def _complete(self, call: _Call, asked: Completion) -> int:
        async with self._answered(call, asked.body) as upstream:
            if upstream.content_type == "text/event-stream":
                _refuse_encoded(upstream)
                await self._stream(call, upstream, asked)
            elif asked.model is not None and upstream.content_type == "application/json":
                _refuse_encoded(upstream)
                await self._restamp(call, upstream, asked.model)
            else:
                self.note(await pass_on(upstream, call.send))
        return upstream.status

    async def _pass(self, call: _Call, body: Upload | None) -> int:
        async with self._answered(call, body) as upstream:
            self.note(await pass_on(upstream, call.send))
        return upstream.status

    async def _stream(
        self, call: _Call, upstream: aiohttp.ClientResponse, asked: Completion
    ) -> None:
        settings = self.settings
        relay = self._relay(
            set=None if asked.model is None else {"model": asked.model},
            strip_usage=asked.strip_usage,
            max_event_size=settings.max_event_size,
        )
        stream = Stream(upstream, relay, call.send, keep_alive=settings.keep_alive)
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)
            self._add_up(call, upstream, relay, stream)

    def _add_up(
        self, call: _Call, upstream: aiohttp.ClientResponse, relay: Any, stream: Stream
    ) -> None:
        metrics = self.metrics
        metrics.events.inc(getattr(relay, "events", 0))
        metrics.chunks.inc(getattr(relay, "chunks", 0))
        metrics.invalid.inc(getattr(relay, "invalid", 0))
        metrics.received.inc(upstream.content.total_bytes)
        if stream.first is not None:
            metrics.first_event.observe(stream.first - call.began)
        self.note(stream.failure)

    async def _restamp(self, call: _Call, upstream: aiohttp.ClientResponse, model: str) -> None:
        """Answer with an unstreamed answer, once all of it is there."""
        body = restamped(await read_answer(upstream, self.settings.max_event_size), model)
        begin = start(upstream, same_body=False)
        if upstream.status != 204:  # RFC 9110, 8.6: it has none
            begin["headers"].append((b"content-length", b"%d" % len(body)))
        await call.send(begin)
        await call.send({"type": "http.response.body", "body": body})


class _Endpoint:
    """A route under `/v1/`: lets in who may, counts, and answers with what went wrong."""

    def __init__(
        self, gateway: Gateway, route: str, answer: Callable[[_Call], Awaitable[int]]
    ) -> None:
        self._gateway = gateway
        self._route = route
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics = self._gateway.metrics
        status = 500
        try:
            self._gateway.authorize(scope)
            call = _Call(scope, receive, send, asyncio.get_running_loop().time())
            status = await self._answer(call)
        except (ClientLeft, OSError):
            status = _LEFT
        except Failure as failure:
            status = failure.status
            self._gateway.note(failure)
            await failure.response()(scope, receive, send)
        finally:
            metrics.requests.labels(self._route, str(status)).inc()


def _refuse_encoded(upstream: aiohttp.ClientResponse) -> None:
    """Raise `Failure` if the answer cannot be read, and so would get past the relay."""
    if encoded(upstream):
        text = "the upstream's answer is encoded in a way that was not asked for"
        raise Failure(502, "upstream_encoded", text)


async def _health(_: Request) -> Response:
    return Response("ok\n", media_type="text/plain")


async def _refused(_: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    headers = dict(refusal.headers or {})  # a 405 names the methods that are allowed
    return Failure(refusal.status_code, "not_served", refusal.detail, headers).response()
