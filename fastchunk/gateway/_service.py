"""One API: how its requests are answered, streamed or not.

In:  a request, and the checks that answers have to pass.
Out: the upstream's answer: relayed, changed as a whole, or passed on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import aiohttp

from fastchunk import InvalidChunk, Relay

from ._apis import Api
from ._client import read_body, until_disconnect, while_connected
from ._failure import Failure
from ._gateway import Call, Gateway
from ._request import ModelRequest, rename_model, rewrite
from ._stream import RelayLike, Stream, forward, read_answer, response_start
from ._texts import Texts
from ._upstream import is_encoded

__all__ = ["Checks", "MakeRelay", "OnAnswer", "Service"]

MakeRelay: TypeAlias = Callable[..., RelayLike]
"""Makes the relay of one stream; its keyword arguments are those of `fastchunk.Relay`."""
OnAnswer: TypeAlias = Callable[[bytes], bytes]
"""Takes the body of an answer that is not streamed; returns the body to send."""

log = logging.getLogger("fastchunk.gateway")

# What a client has to know to try again, or to try something else.
_RETRY_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "www-authenticate")


class Checks(NamedTuple):
    """What the answers of an API pass through."""

    texts: Texts
    make_relay: MakeRelay | None
    on_answer: OnAnswer | None

    @property
    def see_streams_only(self) -> bool:
        """Whether what is not streamed would pass a relay that may have something to hide."""
        return self.make_relay is not None and self.on_answer is None

    @property
    def may_stop(self) -> bool:
        """Whether a stream may end before the upstream ends it."""
        return self.texts.can_stop or self.make_relay is not None


class Service:
    """Answers the requests to one API."""

    def __init__(self, gateway: Gateway, api: Api, checks: Checks) -> None:
        self._gateway = gateway
        self._api = api
        self._checks = checks

    async def answer(self, call: Call) -> int:
        """Answer a request; return the status."""
        if self._checks.texts.refusal is not None:
            text = (
                f"this gateway's text rules do not go with this API: {self._checks.texts.refusal}"
            )
            raise Failure(404, "not_checked", text)
        settings = self._gateway.settings
        body = await read_body(call.receive, settings.max_request_size, settings.request_timeout)
        request = rewrite(body, settings, asks_for_usage=self._api.asks_for_usage)
        if self._checks.see_streams_only and request.stream is False:
            text = (
                'this gateway checks streamed answers only: ask with "stream": true (its operator '
                "can allow other answers with on_answer of fastchunk.gateway.create_app)"
            )
            raise Failure(400, "stream_required", text)
        with self._gateway.hold_place(self._api.path):
            return await while_connected(
                self._complete(call, request), until_disconnect(call.receive)
            )

    async def _complete(self, call: Call, request: ModelRequest) -> int:
        checks = self._checks
        async with self._gateway.ask_upstream(call, request.body) as response:
            content_type = response.content_type
            changes_model = request.model is not None and content_type == "application/json"
            if content_type == "text/event-stream":
                _refuse_encoded(response)
                await self._relay_stream(call, response, request)
            elif checks.see_streams_only:
                raise _withheld(response, "no stream, which nothing checks here")
            elif checks.on_answer or checks.texts or changes_model:
                _refuse_encoded(response)
                await self._send_changed(call, response, request)
            else:
                self._gateway.count_failure(await forward(response, call.send))
        return response.status

    async def _relay_stream(
        self, call: Call, response: aiohttp.ClientResponse, request: ModelRequest
    ) -> None:
        settings, checks = self._gateway.settings, self._checks
        relay = (checks.make_relay or Relay)(
            model=request.model,
            strip_usage=request.strip_usage,
            max_event_size=settings.max_event_size,
            **self._api.relay_options,
            **checks.texts.relay_options,
        )
        stream = Stream(
            response,
            relay,
            call.send,
            api=self._api,
            settings=settings,
            watch=self._gateway.watch,
            may_stop=checks.may_stop and not request.awaits_more,
        )
        try:
            await stream.run()
        finally:
            self._count_stream(call, response, relay, stream)

    def _count_stream(
        self, call: Call, response: aiohttp.ClientResponse, relay: Any, stream: Stream
    ) -> None:
        metrics, route = self._gateway.metrics, self._api.path
        metrics.events.labels(route).inc(getattr(relay, "events", 0))
        metrics.chunks.labels(route).inc(getattr(relay, "chunks", 0))
        metrics.invalid.labels(route).inc(getattr(relay, "invalid", 0))
        metrics.received.labels(route).inc(response.content.total_bytes)
        if stream.first_event_at is not None:
            metrics.first_event.labels(route).observe(stream.first_event_at - call.began)
        self._gateway.count_failure(stream.failure)

    async def _send_changed(
        self, call: Call, response: aiohttp.ClientResponse, request: ModelRequest
    ) -> None:
        """Send an answer that is not a stream, once all of it is there and was changed."""
        body = await read_answer(response, self._gateway.settings.max_event_size)
        if body:  # without a body there is nothing to check
            body = self._check(body, response)
        if request.model is not None:
            body = rename_model(body, request.model)
        start = response_start(response, same_body=False)
        if response.status != 204:  # RFC 9110, 8.6: a 204 has no Content-Length
            start["headers"].append((b"content-length", b"%d" % len(body)))
        await call.send(start)
        await call.send({"type": "http.response.body", "body": body})

    def _check(self, body: bytes, response: aiohttp.ClientResponse) -> bytes:
        """Let the hook and the text rules change an answer that is not a stream."""
        texts, on_answer = self._checks.texts, self._checks.on_answer
        if on_answer is not None:
            body = _run_hook(on_answer, body)
        if not texts:
            return body
        try:
            return texts.rewrite(body, is_error=response.status >= 400)
        except InvalidChunk as error:
            if texts.fails_closed:
                raise _withheld(response, "a body that no text rule can read") from error
            return body
        except Exception as error:
            raise _explain_hook_error("text", error) from error


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
