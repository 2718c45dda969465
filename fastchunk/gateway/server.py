"""The gateway as a server: uvicorn, with uvloop where it exists, and an orderly end.

In:  settings, and where to listen.
Out: a server that runs until SIGTERM or SIGINT, then lets open streams finish.
"""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from . import demo as demonstration
from ._failure import Failure
from ._stream import RelayLike
from .app import Gateway, create_app
from .settings import Settings

__all__ = ["running", "serve", "with_keys"]

log = logging.getLogger("fastchunk.gateway")

_GRACE = 1  # seconds: after an open stream was told to end, for its client to take the end
# Over the five seconds that HTTP clients keep an idle connection: they close first, and no request
# is sent into a connection that is just being closed.
_IDLE = 30
_MOST_HEAD = 64 * 1024
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b"
)
_UPSTREAM_KEY = "FASTCHUNK_UPSTREAM_KEY"
_CLIENT_KEY = "FASTCHUNK_CLIENT_KEY"


def serve(  # noqa: PLR0913
    settings: Settings | str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    demo: bool = False,
    relay: Callable[..., RelayLike] | None = None,
    log_level: str = "info",
) -> None:
    """Run the gateway until it is told to end by SIGTERM or SIGINT; then return.

    Open streams may finish first, for up to `shutdown_timeout`; a second SIGINT ends at once. Keys
    that the settings do not hold are taken from the environment: `FASTCHUNK_UPSTREAM_KEY` and
    `FASTCHUNK_CLIENT_KEY`. With `demo`, a built-in upstream answers, whatever `upstream` says.

    Raises `SystemExit` if it cannot listen, with a message in the log.
    """
    if settings is None:
        if not demo:
            raise TypeError("serve needs settings, or the URL of an upstream, or demo=True")
        settings = "http://demo.invalid"
    if isinstance(settings, str):
        settings = Settings(upstream=settings)
    settings = with_keys(settings, os.environ)
    _allow_many_files()
    with running(demonstration.create_app()) if demo else nullcontext(settings.upstream) as url:
        app = create_app(replace(settings, upstream=url), relay=relay)
        config = _config(
            app,
            host=host,
            port=port,
            log_level=log_level,
            log_config=_log_config(log_level),
            timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout) + 2 * _GRACE,
        )
        log.info("requests go on to %s", "the demonstration" if demo else url)
        if not _has_uvloop():
            log.info("uvloop is not installed: running on asyncio, which is slower")
        _Server(config, app.state.gateway).run()


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Run an ASGI application in a thread of its own, on a free port; give its URL."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(_config(app, log_config=None, timeout_graceful_shutdown=_GRACE))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class _Server(uvicorn.Server):
    """Ends streams that take too long, and the process with status 0 when it is told to end."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take note of a signal; uvicorn's own way would raise it again at the end."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let open streams finish, and end those that are still open after the time-out."""
        loop, patience = asyncio.get_running_loop(), self._gateway.settings.shutdown_timeout
        loop.call_later(patience, self._gateway.end_streams)
        loop.call_later(patience + _GRACE, self._abort)
        await super().shutdown(sockets)

    def _abort(self) -> None:
        """Close what is still open: its clients do not read."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Protocol(HttpToolsProtocol):
    """Refuses heads and trailers without an end, which the parser would keep as they grow.

    The limit is this server's: behind another one, that one has to have its own.
    """

    _unparsed = 0

    def data_received(self, data: bytes) -> None:
        """Parse what was read, and count it until something comes of it."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > _MOST_HEAD and not self.transport.is_closing():
            self._refuse()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a request's body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unparsed = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        if self.cycle is None or self.cycle.response_complete:  # no answer is being written
            text = f"the request's head is larger than {_MOST_HEAD:,} bytes"
            body = Failure(431, "head_too_large", text).body()
            self.transport.write(_HEAD_TOO_LARGE % (len(body), body))
        self.transport.close()


def _config(app: ASGIApp, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop" if _has_uvloop() else "asyncio",
        http=_Protocol,
        ws="none",
        access_log=False,  # a query may hold what is not for a log
        server_header=False,
        timeout_keep_alive=_IDLE,
        **options,
    )


def _has_uvloop() -> bool:
    return importlib.util.find_spec("uvloop") is not None


def _log_config(level: str) -> dict[str, Any]:
    """Log what the gateway has to say as uvicorn logs what it has."""
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    own = {"handlers": ["default"], "level": level.upper(), "propagate": False}
    config["loggers"]["fastchunk.gateway"] = own
    return config


def with_keys(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Take the keys that are not set from the environment; an empty one is none."""
    return replace(
        settings,
        upstream_key=settings.upstream_key or environment.get(_UPSTREAM_KEY) or None,
        client_key=settings.client_key or environment.get(_CLIENT_KEY) or None,
    )


def _allow_many_files() -> None:
    """Raise the limit of open files as far as the system lets a process: a stream takes two."""
    with suppress(ImportError):  # Windows has no such limit
        import resource  # noqa: PLC0415

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
