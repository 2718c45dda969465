"""The gateway as an ASGI application: its routes, and what each of them does.

In:  `Settings`, or the upstream's URL alone.
Out: a Starlette application, to run or to mount under a prefix.

    >>> app = create_app("http://127.0.0.1:8001")
    >>> [route.path for route in app.routes][:4]
    ['/v1/chat/completions', '/v1/completions', '/v1/messages', '/v1/responses']
    >>> [route.path for route in app.routes][4:]
    ['/v1/{path:path}', '/healthz', '/metrics']
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fastchunk.relay import OnInvalid, Reasoning
from fastchunk.text import Rule

from ._access import STATUS, AccessLog
from ._apis import APIS, Api
from ._client import ClientDisconnected
from ._failure import ErrorShape, Failure
from ._gateway import Call, Gateway
from ._passing import Passing
from ._service import Checks, MakeRelay, OnAnswer, Service
from ._texts import Texts
from .settings import Settings

__all__ = ["MakeRelay", "OnAnswer", "create_app"]

_CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that did not wait for the answer


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

    It reads what four APIs answer: `/v1/chat/completions`, `/v1/completions`, `/v1/messages` and
    `/v1/responses`. Every other request below `/v1/` is passed on as it is, and its answer too.

    `text`, `reasoning` and `on_invalid` are those of `fastchunk.Relay`, and hold for answers that
    are not streamed as well. In an error every string is looked at. What cannot be read, an answer
    that is no JSON object for one, is passed on if `on_invalid` is `"pass"`. Otherwise it is
    withheld, with status 502, and so is every other path, with status 404; but not `/v1/models`,
    `/v1/embeddings` and `/v1/messages/count_tokens`, whose answers hold no text of a model's. An
    API whose answers leave no room for a rule is not served, with status 404: `Stop` is for chat
    and completions, `Split` for chat.

    `relay` makes the object that a stream passes through. It is called once for each stream, with
    the keyword arguments `model`, `strip_usage` and `max_event_size` of `fastchunk.Relay`, which is
    the default; with `family` for other APIs than chat's; and with `text`, `reasoning` and
    `on_invalid` where they were given, so that what it makes has to apply them. To look at every
    chunk, or to change it, give `functools.partial(fastchunk.Relay, on_chunk=...)`.

    `on_answer` is called with the body of every answer that is not an event stream: a whole
    completion, or an error of the upstream, decompressed. It returns the body to send, to which the
    text rules then apply. Whatever it raises ends the request with status 500.

    A relay may be there to keep something from the client, and it sees streams alone. So with a
    `relay` and no `on_answer`, a request without `"stream": true` is refused with status 400, and
    any other answer that is not an event stream is withheld. `on_answer=lambda data: data` lets
    all of them pass.

    Raises `TypeError` for an `on_answer` without a `relay`: streams would pass it. Raises what
    `fastchunk.Relay` raises for `text`, `reasoning` and `on_invalid`.

    Mounted in another application, the gateway connects at the first request. To have its
    connections closed, enter `app.router.lifespan_context(app)` in the other one's lifespan.
    """
    if isinstance(settings, str):
        settings = Settings(upstream=settings)
    if on_answer is not None and relay is None:
        raise TypeError("on_answer sees no streams: give a relay too, if only fastchunk.Relay")
    gateway = Gateway(settings)
    rules = list(text)
    passing = Passing(gateway, fails_closed=on_invalid != "pass")
    app = _Application(
        routes=[
            *(
                _route(
                    gateway, api, Checks(Texts(api, rules, reasoning, on_invalid), relay, on_answer)
                )
                for api in APIS
            ),
            Route("/v1/{path:path}", _Endpoint(gateway, "/v1/*", passing.answer)),
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


class _Application(Starlette):
    """Runs what may stream without the two functions that Starlette puts around each `send`.

    Each would be one more coroutine for every write. They answer for exceptions that nobody has
    caught, as servers do too, and for HTTP errors, which no POST below `/v1/` raises here.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._made_of = self._parts()

    def build_middleware_stack(self) -> ASGIApp:
        """Build what a request goes through: all of Starlette, if a user has added anything."""
        whole = super().build_middleware_stack()
        if self._parts() != self._made_of:
            return whole
        streaming = AccessLog(self.router)

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            app = streaming if _may_stream(scope) else whole
            await app(scope, receive, send)

        return choose

    def _parts(self) -> tuple[Any, ...]:
        limit = getattr(self, "max_body_size", None)  # which older releases do not have
        return [*self.user_middleware], [*self.routes], dict(self.exception_handlers), limit


def _may_stream(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).startswith("/v1/")


def _route(gateway: Gateway, api: Api, checks: Checks) -> Route:
    service = Service(gateway, api, checks)
    endpoint = _Endpoint(gateway, api.path, service.answer, api.errors)
    return Route(api.path, endpoint, methods=["POST"])


class _Endpoint:
    """A route below `/v1/`: checks the key, counts the request, reports what went wrong."""

    def __init__(
        self,
        gateway: Gateway,
        route: str,
        answer: Callable[[Call], Awaitable[int]],
        errors: ErrorShape | None = None,
    ) -> None:
        self._gateway = gateway
        self._route = route
        self._answer = answer
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics = self._gateway.metrics
        status = 500
        try:
            self._gateway.authorize(scope)
            call = Call(scope, receive, send, asyncio.get_running_loop().time())
            status = await self._answer(call)
        except (ClientDisconnected, OSError):
            status = _CLIENT_CLOSED_REQUEST
        except Failure as failure:
            status = failure.status
            self._gateway.count_failure(failure)
            await failure.response(self._errors)(scope, receive, send)
        finally:
            scope[STATUS] = status
            metrics.requests.labels(self._route, str(status)).inc()


async def _show_health(_: Request) -> Response:
    return Response("ok\n", media_type="text/plain")


async def _show_http_error(_: Request, error: Exception) -> Response:
    http_error = cast(HTTPException, error)
    headers = dict(http_error.headers or {})  # a 405 lists the methods that are allowed
    text = http_error.detail
    return Failure(http_error.status_code, "not_served", text, headers).response()
