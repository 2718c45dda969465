"""The way to the upstream: the client session, and which headers cross.

In:  a client's request.
Out: the upstream's answer, its body not yet read; or a `Failure`.

A proxy is where requests get smuggled: nothing of the client's framing goes up. The body is framed
anew, the target is checked, header fields that a server could read in two ways are refused.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TypeAlias
from urllib.parse import quote, unquote

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from starlette.types import Scope
from yarl import URL

from ._failure import Failure
from .settings import Settings

__all__ = [
    "BREAKS",
    "Upstream",
    "broke_off",
    "encoded",
    "request_headers",
    "response_headers",
    "target",
    "watched",
]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

log = logging.getLogger("fastchunk.gateway")

# RFC 9110, 7.6.1, and the fields that RFC 9112 and older practice tie to one connection.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# The HTTP client and server write these themselves.
_OWN_TO_REQUESTS = _HOP_BY_HOP | {b"host", b"content-length", b"expect", b"accept-encoding"}
_OWN_TO_RESPONSES = _HOP_BY_HOP | {b"date", b"server"}
_DECODED = frozenset({"gzip", "deflate", "br", "zstd"})
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_QUOTE = re.compile(r"""[:'"\n]""")
_TARGET = re.compile(r"[!-~]*")
# Of one answer at most twice this waits in the client, then the upstream is no longer read from.
_READ_SIZE = 64 * 1024
# Under the five seconds after which many servers close an idle connection: a request that is sent
# just then would be lost, and a POST may not be sent again.
_IDLE = 4.0
LOOK = 5.0
"""The seconds between two looks at whether a connection is lost."""


class Upstream:
    """The server behind the gateway; connects at the first request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        body: bytes | AsyncIterable[bytes] | None,
    ) -> aiohttp.ClientResponse:
        """Send a request; return the answer once its head is there. Raises `Failure`."""
        if self._session is None:
            self._session = self._connect()
        url = URL(self._settings.upstream + target, encoded=True)
        data = BytesIO(body) if isinstance(body, bytes) else body
        try:
            upstream = await self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise _failed(error, 504, "upstream_unreachable", "cannot be reached") from error
        except aiohttp.ClientConnectorError as error:
            raise _failed(error, 502, "upstream_unreachable", "cannot be reached") from error
        except asyncio.TimeoutError as error:
            raise _failed(error, 504, "upstream_timeout", "did not answer in time") from error
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise _failed(error, 502, "upstream_broke_off", "gave no valid answer") from error
        odd = _oddity(upstream)
        if odd is not None:
            upstream.close()
            raise _failed(ValueError(odd), 502, "upstream_broke_off", "gave no valid answer")
        return upstream

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connect(self) -> aiohttp.ClientSession:
        settings = self._settings
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),  # one client's cookies are not another's
            read_bufsize=_READ_SIZE,
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
            ),
        )


def _oddity(upstream: aiohttp.ClientResponse) -> str | None:
    """Tell why a head that the HTTP client takes is none to go by."""
    if not 200 <= upstream.status <= 599:
        return f"the status is {upstream.status}"
    if len(upstream.headers.getall("content-encoding", [])) > 1:  # is it decompressed by now?
        return "it has more than one Content-Encoding"
    return None


def _failed(error: Exception, status: int, code: str, what: str) -> Failure:
    log.warning("the upstream %s: %s", what, _without_quotes(error))
    return Failure(status, code, f"the upstream {what}")


def _without_quotes(error: Exception) -> str:
    """Describe an error without what it quotes: a URL, or what the upstream sent, may be secret."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error)
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return _QUOTE.split(text)[0].strip() or type(error).__name__


def broke_off(error: Exception) -> Failure:
    """Tell what it means that an error ended the upstream's answer."""
    if isinstance(error, asyncio.TimeoutError):
        return Failure(504, "upstream_stalled", "the upstream has been silent for too long")
    return Failure(502, "upstream_broke_off", "the upstream broke off its answer")


BREAKS = (aiohttp.ClientError, asyncio.TimeoutError, HttpProcessingError)
"""What reading from the upstream raises."""


@contextmanager
def watched(upstream: aiohttp.ClientResponse) -> Iterator[None]:
    """See to it that who reads the answer is woken when the connection is gone.

    After chunked coding that is none, aiohttp's compiled parser closes the connection, but leaves
    the reader waiting, for ever: it also stops the clock of the time-out.
    """
    watching = asyncio.ensure_future(_watch(upstream))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(upstream: aiohttp.ClientResponse) -> None:
    was_lost = is_lost = False
    while not (was_lost and is_lost):  # twice: not just on its way to the reader
        await asyncio.sleep(LOOK)
        connection, content = upstream.connection, upstream.content
        was_lost = is_lost
        is_lost = connection is not None and connection.closed and content.exception() is None
    upstream.close()


def target(scope: Scope) -> str:
    """Return the path below the gateway's own, and the query, as the client spelled them.

    Raises `Failure` for a target that another server could take for a different one.
    """
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.decode("latin-1").removeprefix(quote(scope.get("root_path", "")))
    query = scope.get("query_string", b"").decode("latin-1")
    if not path.startswith("/v1/") or not _TARGET.fullmatch(path + query) or "#" in path + query:
        raise Failure(400, "invalid_target", "the path is not one that can be passed on")
    # Some servers decode twice, or leave out what follows a semicolon, before they resolve it.
    if {".", ".."} & {*re.split(r"[/\\;]", scope["path"] + "/" + unquote(scope["path"]))}:
        raise Failure(400, "invalid_target", "the path may not hold . or .. as a segment")
    return f"{path}?{query}" if query else path


def request_headers(headers: Headers, settings: Settings) -> list[tuple[str, str]]:
    """Choose the header fields that go up; in their order, duplicates too.

    Raises `Failure` for one that could be read in two ways.
    """
    headers = list(headers)
    own = _OWN_TO_REQUESTS | _named_in_connection(headers)
    if settings.upstream_key is not None or settings.client_key is not None:
        own |= {b"authorization"}
    sent = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Failure(400, "invalid_header", "a header field holds a control character")
        if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            message = "of transfer codings, only chunked is known here"
            raise Failure(501, "unknown_transfer_coding", message)
        if name.lower() not in own:
            try:
                sent.append((name.decode(), value.decode()))
            except UnicodeDecodeError as error:
                message = f"the header field {name.decode()} is not UTF-8"
                raise Failure(400, "invalid_header", message) from error
    if settings.upstream_key is not None:
        sent.append(("authorization", f"Bearer {settings.upstream_key}"))
    # What is compressed would only have to be decompressed again here.
    return [*sent, ("accept-encoding", "identity")]


def response_headers(
    upstream: aiohttp.ClientResponse, *, same_body: bool
) -> list[tuple[bytes, bytes]]:
    """Choose the header fields that come down; `same_body`: whether the length still holds."""
    headers = upstream.raw_headers
    own = _OWN_TO_RESPONSES | _named_in_connection(headers)
    if decoded(upstream):
        own |= {b"content-encoding", b"content-length"}
    elif not encoded(upstream):  # `identity` says nothing
        own |= {b"content-encoding"}
    if not same_body:
        own |= {b"content-length"}
    return [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in own and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    ]


def decoded(upstream: aiohttp.ClientResponse) -> bool:
    """Tell whether the answer came compressed, and the HTTP client decompresses it."""
    return _coding(upstream) in _DECODED


def encoded(upstream: aiohttp.ClientResponse) -> bool:
    """Tell whether the answer is encoded in a way that the HTTP client does not decode."""
    return _coding(upstream) not in {*_DECODED, "", "identity"}


def _coding(upstream: aiohttp.ClientResponse) -> str:
    coding: str = upstream.headers.get("content-encoding", "")
    return coding.strip().lower()


def _named_in_connection(headers: Headers) -> frozenset[bytes]:
    return frozenset(
        option.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for option in value.split(b",")
    )
