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
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeAlias, cast

import aiohttp
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fastchunk import InvalidChunk, Relay
from fastchunk.relay import OnInvalid, Reasoning
from fastchunk.text import Rule

from ._access import STATUS, AccessLog
from ._client import ClientDisconnected, Upload, read_body, until_disconnect, while_connected
from ._failure import Failure
from ._request import CompletionRequest, rename_model, rewrite
from ._stream import RelayLike, Stream, forward, read_answer, response_start
from ._texts import Texts
from ._upstream import Upstream, is_encoded, request_headers, request_target, watch_connection
from .metrics import CONTENT_TYPE, Metrics
from .settings import Settings

__all__ = ["Gateway", "MakeRelay", "OnAnswer", "create_app"]

MakeRelay: TypeAlias = Callable[..., RelayLike]
"""Makes the relay of one stream; its keyword arguments are those of `fastchunk.Relay`."""
OnAnswer: TypeAlias = Callable[[bytes], bytes]
"""Takes the body of an answer that is not streamed; returns the body to send."""

log: logging.Logger = logging.getLogger("fastchunk.gateway")

_CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that did not wait for the answer
# What a client has to know to try again, or to try something else.
_RETRY_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "www-authenticate")
# Whose answers hold no text of a model's.
_TEXTLESS = re.compile(r"/v1/(models(/[^?]*)?|embeddings)(\?.*)?")


def create_app(  # noqa: PLR0913
    settings: Settings | str,
    *,
    text: Iterable[Rule] = (),
    reasoning: Reasoning | None = None,
    on_invalid: OnInvalid = "pass",
    relay: MakeRelay | None = None,
    on_answer: OnAnswer | None = None,
) -> Starlette:
    """Make the gateway's application from its settings, or from the upstream's URL alone.

    `text`, `reasoning` and `on_invalid` are those of `fastchunk.Relay`, and hold for answers that
    are not streamed as well. In an error every string is looked at. What cannot be read, an answer
    that is no JSON object for one, is passed on if `on_invalid` is `"pass"`. Otherwise it is
    withheld, with status 502, and so are other paths than `/v1/chat/completions`, with status 404;
    `/v1/models` and `/v1/embeddings` are served, since their answers hold no text of a model's.

    `relay` makes the object that a stream passes through. It is called once for each stream, with
    the keyword arguments `model`, `strip_usage` and `max_event_size` of `fastchunk.Relay`, which is
    the default; and with `text`, `reasoning` and `on_invalid` where they were given, so that what
    it makes has to apply them. To look at every chunk, or to change it, give
    `functools.partial(fastchunk.Relay, on_chunk=...)`.

    `on_answer` is called with the body of every answer to a chat completion that is not an event
    stream: a whole completion, or an error of the upstream, decompressed. It returns the body to
    send, to which the text rules then apply. Whatever it raises ends the request with status 500.

    A relay may be there to keep something from the client, and it sees streams alone. So with a
    `relay` and no `on_answer`, a request without `"stream": true` is refused with status 400, and
    any other answer that is not an event stream is withheld. `on_answer=lambda data: data` lets
    all of them pass. Both see chat completions only: other requests below `/v1/` are passed on.

    Raises `TypeError` for an `on_answer` without a `relay`: streams would pass it. Raises what
    `fastchunk.Relay` raises for `text`, `reasoning` and `on_invalid`.

    Mounted in another application, the gateway connects at the first request. To have its
    connections closed, enter `app.router.lifespan_context(app)` in the other one's lifespan.
    """
    if isinstance(settings, str):
        settings = Settings(upstream=settings)
    if on_answer is not None and relay is None:
        raise TypeError("on_answer sees no streams: give a relay too, if only fastchunk.Relay")
    gateway = Gateway(settings, Texts(text, reasoning, on_invalid), relay, on_answer)
    chat_completions = _Endpoint(gateway, "/v1/chat/completions", gateway.answer_completion)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/{path:path}", _Endpoint(gateway, "/v1/*", gateway.answer_other)),
            Route("/healthz", _show_health),
            Route("/metrics", gateway.show_metrics),
        ],
        middleware=[Middleware(AccessLog)],
        exception_handlers={HTTPException: _show_http_error},
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

    def __init__(
        self,
        settings: Settings,
        texts: Texts,
        relay: MakeRelay | None,
        on_answer: OnAnswer | None,
    ) -> None:
        self.settings = settings
        self.metrics: Metrics = Metrics()
        self._upstream = Upstream(settings)
        self._texts = texts
        self._make_relay = relay or Relay
        self._may_stop = texts.can_stop or relay is not None
        self._on_answer = on_answer
        self._streams_only = relay is not None and on_answer is None
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
        """End every open stream with an error event: the server waits no longer."""
        for stream in self._streams:
            stream.fail(Failure(503, "shutting_down", "the gateway is shutting down"))

    def count_failure(self, failure: Failure | None) -> None:
        """Count a failure, if there was one and the upstream caused it."""
        if failure is not None and failure.is_upstreams:
            self.metrics.failures.labels(failure.code).inc()

    async def show_metrics(self, _: Request) -> Response:
        """Answer with the metrics."""
        return Response(self.metrics.page(), headers={"content-type": CONTENT_TYPE})

    def authorize(self, scope: Scope) -> None:
        """Raise `Failure` unless the client has sent the key that the settings ask for."""
        key = self.settings.client_key
        if key is None:
            return
        given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        scheme, _, token = b",".join(given).partition(b" ")
        is_known = secrets.compare_digest(token.strip(), key.encode())
        if scheme.lower() != b"bearer" or not is_known:
            text = "the Authorization header does not hold the gateway's key as a Bearer token"
            raise Failure(401, "invalid_api_key", text, {"www-authenticate": "Bearer"})

    async def answer_completion(self, call: _Call) -> int:
        """Answer a request for a chat completion; return the status."""
        settings = self.settings
        body = await read_body(call.receive, settings.max_request_size, settings.request_timeout)
        request = rewrite(body, settings)
        if self._streams_only and request.stream is False:
            text = (
                'this gateway checks streamed answers only: ask with "stream": true (its operator '
                "can allow other answers with on_answer of fastchunk.gateway.create_app)"
            )
            raise Failure(400, "stream_required", text)
        with self._hold_place():
            return await while_connected(
                self._complete(call, request), until_disconnect(call.receive)
            )

    async def answer_other(self, call: _Call) -> int:
        """Pass any other request on, and its answer back; return the status."""
        # CONNECT would open a tunnel, and TRACE would show the client the upstream's key.
        if call.scope["method"] in {"CONNECT", "TRACE"}:
            raise Failure(405, "method_not_allowed", "this method is not passed on")
        if self._texts.fails_closed and not _TEXTLESS.fullmatch(request_target(call.scope)):
            raise Failure(404, "not_checked", "this gateway does not serve what it cannot check")
        upload = Upload(call.scope, call.receive, self.settings.read_timeout)
        if upload.length == 0:
            return await while_connected(self._pass_on(call, None), until_disconnect(call.receive))
        return await while_connected(self._pass_on(call, upload), upload.receive())

    @contextmanager
    def _hold_place(self) -> Iterator[None]:
        """Count one open chat completion. Raises `Failure` if `max_streams` are open."""
        limit = self.settings.max_streams
        if self._open >= limit:
            # 503, not 429: the gateway is full, this client has not asked too often. OpenAI's
            # clients retry both, after the time that they are told.
            text = f"{limit:,} chat completions are open, which is the most this gateway takes"
            raise Failure(503, "too_many_streams", text, {"retry-after": "1"})
        self._open += 1
        self.metrics.streams_open.inc()
        try:
            yield
        finally:
            self._open -= 1
            self.metrics.streams_open.dec()

    @asynccontextmanager
    async def _ask_upstream(
        self, call: _Call, body: bytes | Upload | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the upstream's response. On exit it is closed, and its unread rest is dropped."""
        scope = call.scope
        headers = request_headers(scope["headers"], self.settings)
        if isinstance(body, Upload) and body.length is not None:
            headers.append(("content-length", str(body.length)))
        target = request_target(scope)
        response = await self._upstream.request(scope["method"], target, headers, body)
        try:
            with watch_connection(response):
                yield response
        finally:
            response.close()

    async def _complete(self, call: _Call, request: CompletionRequest) -> int:
        async with self._ask_upstream(call, request.body) as response:
            content_type = response.content_type
            if content_type == "text/event-stream":
                _refuse_encoded(response)
                await self._relay_stream(call, response, request)
            elif self._streams_only:
                raise _withheld(response, "no stream, which nothing checks here")
            elif (
                self._on_answer
                or self._texts
                or (request.model and content_type == "application/json")
            ):
                _refuse_encoded(response)
                await self._send_changed(call, response, request)
            else:
                self.count_failure(await forward(response, call.send))
        return response.status

    async def _pass_on(self, call: _Call, body: Upload | None) -> int:
        async with self._ask_upstream(call, body) as response:
            self.count_failure(await forward(response, call.send))
        return response.status

    async def _relay_stream(
        self, call: _Call, response: aiohttp.ClientResponse, request: CompletionRequest
    ) -> None:
        settings = self.settings
        relay = self._make_relay(
            model=request.model,
            strip_usage=request.strip_usage,
            max_event_size=settings.max_event_size,
            **self._texts.relay_options,
        )
        may_stop = self._may_stop and not request.awaits_usage
        stream = Stream(
            response, relay, call.send, keep_alive=settings.keep_alive, may_stop=may_stop
        )
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)
            self._count_stream(call, response, relay, stream)

    def _count_stream(
        self, call: _Call, response: aiohttp.ClientResponse, relay: Any, stream: Stream
    ) -> None:
        metrics = self.metrics
        metrics.events.inc(getattr(relay, "events", 0))
        metrics.chunks.inc(getattr(relay, "chunks", 0))
        metrics.invalid.inc(getattr(relay, "invalid", 0))
        metrics.received.inc(response.content.total_bytes)
        if stream.first_event_at is not None:
            metrics.first_event.observe(stream.first_event_at - call.began)
        self.count_failure(stream.failure)

    async def _send_changed(
        self, call: _Call, response: aiohttp.ClientResponse, request: CompletionRequest
    ) -> None:
        """Send an answer that is not a stream, once all of it is there and was changed."""
        body = await read_answer(response, self.settings.max_event_size)
        if body and self._on_answer is not None:  # without a body there is nothing to check
            body = _run_hook(self._on_answer, body)
        if body and self._texts:
            body = self._rewrite_texts(body, response)
        if request.model is not None:
            body = rename_model(body, request.model)
        start = response_start(response, same_body=False)
        if response.status != 204:  # RFC 9110, 8.6: a 204 has no Content-Length
            start["headers"].append((b"content-length", b"%d" % len(body)))
        await call.send(start)
        await call.send({"type": "http.response.body", "body": body})

    def _rewrite_texts(self, body: bytes, response: aiohttp.ClientResponse) -> bytes:
        """Apply the text rules to an answer that is not a stream. Raises `Failure`."""
        try:
            return self._texts.rewrite(body, is_error=response.status >= 400)
        except InvalidChunk as error:
            if self._texts.fails_closed:
                raise _withheld(response, "a body that no text rule can read") from error
            return body
        except Exception as error:
            raise _explain_hook_error("text", error) from error


class _Endpoint:
    """A route below `/v1/`: checks the key, counts the request, reports what went wrong."""

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
        except (ClientDisconnected, OSError):
            status = _CLIENT_CLOSED_REQUEST
        except Failure as failure:
            status = failure.status
            self._gateway.count_failure(failure)
            await failure.response()(scope, receive, send)
        finally:
            scope[STATUS] = status
            metrics.requests.labels(self._route, str(status)).inc()


def _refuse_encoded(response: aiohttp.ClientResponse) -> None:
    """Raise `Failure` for an answer that cannot be read, and so would pass the relay unseen."""
    if is_encoded(response):
        text = "the upstream's answer is in a content coding that the gateway did not ask for"
        raise Failure(502, "upstream_encoded", text)


def _withheld(response: aiohttp.ClientResponse, what: str) -> Failure:
    """Build the failure that stands in for an answer that nothing checks.

    The status of an error stays, since clients act on it. Its body does not: some servers quote
    there what the model has written (Groq's `failed_generation`).
    """
    status = response.status
    text = f"the upstream answered with status {status} and {what}"
    headers = {name: response.headers[name] for name in _RETRY_HEADERS if name in response.headers}
    return Failure(status if status >= 400 else 502, "answer_withheld", text, headers)


def _run_hook(on_answer: OnAnswer, body: bytes) -> bytes:
    try:
        changed = on_answer(body)
    except Exception as error:
        raise _explain_hook_error("on_answer", error) from error
    if not isinstance(changed, bytes):
        kind = type(changed).__name__
        text = f"on_answer must return bytes, not {kind}"
        raise _explain_hook_error("on_answer", TypeError(text))
    return changed


def _explain_hook_error(hook: str, error: Exception) -> Failure:
    log.error("%s failed", hook, exc_info=error)
    return Failure(500, f"{hook}_failed", "the gateway failed while it checked the answer")


async def _show_health(_: Request) -> Response:
    return Response("ok\n", media_type="text/plain")


async def _show_http_error(_: Request, error: Exception) -> Response:
    http_error = cast(HTTPException, error)
    headers = dict(http_error.headers or {})  # a 405 lists the methods that are allowed
    text = http_error.detail
    return Failure(http_error.status_code, "not_served", text, headers).response()
