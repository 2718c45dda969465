"""The gateway as a server: uvicorn, uvloop where it is installed, and an orderly shutdown.

In:  settings or an application, and where to listen.
Out: a server that runs until SIGTERM or SIGINT, and then lets open streams finish.
"""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fastchunk.relay import OnInvalid, Reasoning
from fastchunk.text import Rule

from . import demo as demonstration
from ._failure import Failure
from ._gateway import Gateway
from .app import MakeRelay, OnAnswer, create_app
from .settings import Settings, with_keys

__all__ = ["running", "serve"]

log: logging.Logger = logging.getLogger("fastchunk.gateway")

_GRACE = 1  # seconds that a client gets to read the end of a stream that was cut short
# HTTP clients keep an idle connection for five seconds. The server keeps it longer, so that it
# closes none while a client sends a request into it.
_IDLE_TIMEOUT = 30
_MAX_HEAD = 64 * 1024
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b"
)
_BACKGROUND = "fastchunk-background"


def serve(  # noqa: PLR0913
    settings: Starlette | Settings | str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    demo: bool = False,
    text: Iterable[Rule] = (),
    reasoning: Reasoning | None = None,
    on_invalid: OnInvalid = "pass",
    relay: MakeRelay | None = None,
    on_answer: OnAnswer | None = None,
    log_level: str = "info",
) -> None:
    """Run the gateway until SIGTERM or SIGINT stops it; then return.

    `settings` are all options, or the upstream's URL alone; or an application that `create_app` has
    made from its own `text`, `relay` and so on. With `demo`, a built-in upstream answers, whatever
    `upstream` says. The arguments from `text` to `on_answer` are those of `create_app`.

    Keys that the settings do not hold come from the environment, see `with_keys`. After a signal,
    open streams may finish, for up to `shutdown_timeout`; a second SIGINT ends them at once.

    Raises `TypeError` for arguments that contradict each other, `ValueError` for a bad key in the
    environment, `SystemExit` if it cannot listen, after it has logged why; and what `create_app`
    raises.
    """
    text = list(text)
    if isinstance(settings, Starlette):
        gateway = getattr(settings.state, "gateway", None)
        if not isinstance(gateway, Gateway):
            raise TypeError("serve runs applications of create_app only; uvicorn runs any")
        if demo or text or reasoning or on_invalid != "pass" or relay or on_answer:
            raise TypeError("an application has its upstream and its checks from create_app")
        gateway.settings = with_keys(gateway.settings)
        _run(settings, gateway.settings.upstream, host, port, log_level)
        return
    if settings is None:
        if not demo:
            raise TypeError("serve needs an application, settings, an upstream's URL, or demo=True")
        settings = "http://demo.invalid"
    if isinstance(settings, str):
        settings = Settings(upstream=settings)
    settings = with_keys(settings)
    make = partial(
        create_app,
        text=text,
        reasoning=reasoning,
        on_invalid=on_invalid,
        relay=relay,
        on_answer=on_answer,
    )
    if not demo:
        _run(make(settings), settings.upstream, host, port, log_level)
        return
    with running(demonstration.create_app()) as url:
        _run(make(replace(settings, upstream=url)), "the demonstration", host, port, log_level)


def _run(app: Starlette, upstream: str, host: str, port: int, log_level: str) -> None:
    _raise_file_limit()
    gateway: Gateway = app.state.gateway
    config = _config(
        app,
        host=host,
        port=port,
        log_level=log_level,
        log_config=_log_config(log_level),
        timeout_graceful_shutdown=math.ceil(gateway.settings.shutdown_timeout) + 2 * _GRACE,
    )
    log.info("the upstream is %s", upstream)
    if not _has_uvloop():
        log.info("uvloop is not installed: the gateway runs on asyncio, which is slower")
    _Server(config, gateway).run()


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Run an ASGI application in a thread of its own, on a free port; give its URL."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    # What is accepted inherits it. asyncio sees to it alone only where a socket's protocol is set.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(_config(app, log_config=None, timeout_graceful_shutdown=_GRACE))
    options = {"sockets": [listening]}
    thread = threading.Thread(target=server.run, name=_BACKGROUND, kwargs=options)
    thread.start()
    # Told to stop while it starts, uvicorn 0.34 and older would leave its sockets open.
    while thread.is_alive() and not server.started:
        time.sleep(0.001)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class _Server(uvicorn.Server):
    """Ends streams that take too long, and returns when a signal has stopped it."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Remember a signal. uvicorn's own method would raise it again after the shutdown."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let open streams finish, and end those that are still open after the time-out."""
        loop, patience = asyncio.get_running_loop(), self._gateway.settings.shutdown_timeout
        loop.call_later(patience, self._gateway.end_streams)
        loop.call_later(patience + _GRACE, self._abort)
        await super().shutdown(sockets)
        if self.force_exit:
            # uvicorn has not waited for anything, and what still runs when the event loop closes
            # is cancelled, with a traceback in the log.
            self._abort()
            if self.server_state.tasks:
                await asyncio.wait(self.server_state.tasks, timeout=_GRACE)
            await self.lifespan.shutdown()

    def _abort(self) -> None:
        """Close every connection that is still open: its client does not read."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Protocol(HttpToolsProtocol):
    """Refuses endless heads and trailers: the parser would keep them while they grow.

    The limit belongs to this server. An application that another one runs has that one's limit.
    """

    _unparsed = 0

    def data_received(self, data: bytes) -> None:
        """Parse what was read, and count the bytes until the parser makes something of them."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > _MAX_HEAD and not self.transport.is_closing():
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
        if self.cycle is None or self.cycle.response_complete:  # or it would cut into an answer
            text = f"the request's head is larger than {_MAX_HEAD:,} bytes"
            body = Failure(431, "head_too_large", text).body()
            self.transport.write(_HEAD_TOO_LARGE % (len(body), body))
        self.transport.close()


def _config(app: ASGIApp, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop" if _has_uvloop() else "asyncio",
        http=_Protocol,
        ws="none",
        access_log=False,  # it would log the query; the gateway has its own
        server_header=False,
        timeout_keep_alive=_IDLE_TIMEOUT,
        **options,
    )


def _has_uvloop() -> bool:
    return importlib.util.find_spec("uvloop") is not None


class _Foreground(logging.Filter):
    """Drops what a server in the background has to say, short of a warning.

    Both servers of a demonstration log to `uvicorn.error`: every start-up line would come twice.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log a record."""
        return record.threadName != _BACKGROUND or record.levelno >= logging.WARNING


def _log_config(level: str) -> dict[str, Any]:
    """Configure logging: the gateway's logger writes as uvicorn's does."""
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    own = {"handlers": ["default"], "level": level.upper(), "propagate": False}
    config["loggers"]["fastchunk.gateway"] = own
    config["filters"] = {"foreground": {"()": _Foreground}}
    config["handlers"]["default"]["filters"] = ["foreground"]
    return config


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets a process have: a stream takes two."""
    with suppress(ImportError):  # Windows has no such limit
        import resource  # noqa: PLC0415

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
