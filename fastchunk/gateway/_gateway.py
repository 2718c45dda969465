"""What all requests of one gateway share: its upstream, its metrics, its open streams, its key.

In:  `Settings`.
Out: responses of the upstream; failures, counted.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ._client import Upload
from ._failure import Failure
from ._upstream import Upstream, request_headers, request_target
from ._watch import Watch
from .metrics import CONTENT_TYPE, Metrics
from .settings import Settings

__all__ = ["Call", "Gateway"]


class Call(NamedTuple):
    """One request, as ASGI hands it over."""

    scope: Scope
    receive: Receive
    send: Send
    began: float


class Gateway:
    """What all requests of one application share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics: Metrics = Metrics()
        self._upstream = Upstream(settings)
        self._open = 0
        self.watch: Watch = Watch(min(1.0, settings.keep_alive / 2, settings.read_timeout / 2))

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Close the connections to the upstream at the end."""
        try:
            yield
        finally:
            await self._upstream.close()

    def end_streams(self) -> None:
        """End every open stream with an error event: the server waits no longer."""
        for stream in self.watch.streams:
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
        scheme, _, token = _field(scope, b"authorization").partition(b" ")
        is_known = secrets.compare_digest(token.strip(), key.encode())
        is_known_otherwise = secrets.compare_digest(_field(scope, b"x-api-key"), key.encode())
        if not (is_known_otherwise or (is_known and scheme.lower() == b"bearer")):
            text = (
                "the gateway's key is neither in Authorization, as a Bearer token, nor in x-api-key"
            )
            raise Failure(401, "invalid_api_key", text, {"www-authenticate": "Bearer"})

    @contextmanager
    def hold_place(self, route: str) -> Iterator[None]:
        """Count one open answer. Raises `Failure` if `max_streams` are open."""
        limit = self.settings.max_streams
        if self._open >= limit:
            # 503, not 429: the gateway is full, this client has not asked too often. OpenAI's
            # clients retry both, after the time that they are told.
            text = f"{limit:,} answers are open, which is the most this gateway takes"
            raise Failure(503, "too_many_streams", text, {"retry-after": "1"})
        streams_open = self.metrics.streams_open.labels(route)
        self._open += 1
        streams_open.inc()
        try:
            yield
        finally:
            self._open -= 1
            streams_open.dec()

    @asynccontextmanager
    async def ask_upstream(
        self, call: Call, body: bytes | Upload | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the upstream's response. On exit it is closed, and its unread rest is dropped."""
        scope = call.scope
        target = request_target(scope)
        headers = request_headers(scope["headers"], self.settings, target)
        if isinstance(body, Upload) and body.length is not None:
            headers.append(("content-length", str(body.length)))
        response = await self._upstream.request(scope["method"], target, headers, body)
        try:
            yield response
        finally:
            response.close()


def _field(scope: Scope, wanted: bytes) -> bytes:
    """Return the value of a header field; several make one, as RFC 9110, 5.3, reads them."""
    return b",".join(value for name, value in scope["headers"] if name.lower() == wanted)
