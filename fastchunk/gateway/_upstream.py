"""The upstream's side of a request: the HTTP client, and which header fields it passes on.

In:  a client's request.
Out: the upstream's response, its body not yet read; or a `Failure`.

A proxy is where requests get smuggled, so the client's framing ends here: the body is framed
again, the target is checked, and a header field that two servers could read in two ways is refused.
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
    "READ_ERRORS",
    "Upstream",
    "explain_read_error",
    "is_decoded",
    "is_encoded",
    "request_headers",
    "request_target",
    "response_headers",
    "watch_connection",
]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

log = logging.getLogger("fastchunk.gateway")

# RFC 9110, 7.6.1, and the fields that RFC 9112 and older practice tie to one connection.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# The HTTP client and the server write these themselves.
_OWN_TO_REQUESTS = _HOP_BY_HOP | {b"host", b"content-length", b"expect", b"accept-encoding"}
_OWN_TO_RESPONSES = _HOP_BY_HOP | {b"date", b"server"}
_KEYS = frozenset({b"authorization", b"x-api-key"})
_DECODED_CODINGS = frozenset({"gzip", "deflate", "br", "zstd"})
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_QUOTE = re.compile(r"""[:'"\n]""")
_TARGET = re.compile(r"[!-~]*")
# The HTTP client buffers at most twice this of a response before it stops reading.
_READ_SIZE = 64 * 1024
# Many servers close a connection after five idle seconds. A request sent just then would be lost,
# and a POST may not be sent again: so the gateway closes first.
_IDLE_TIMEOUT = 4.0
CHECK_INTERVAL = 5.0
"""The gateway checks every so many seconds whether it has lost the upstream's connection."""


class Upstream:
    """The server behind the gateway. The first request connects."""

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
        """Send a request; return the response as soon as its head is there. Raises `Failure`."""
        if self._session is None:
            self._session = self._open_session()
        url = URL(self._settings.upstream + target, encoded=True)
        data = BytesIO(body) if isinstance(body, bytes) else body
        try:
            response = await self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise _logged(error, 504, "upstream_unreachable", "cannot be reached") from error
        except aiohttp.ClientConnectorError as error:
            raise _logged(error, 502, "upstream_unreachable", "cannot be reached") from error
        except asyncio.TimeoutError as error:
            raise _logged(error, 504, "upstream_timeout", "did not answer in time") from error
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise _logged(error, 502, "upstream_broke_off", "gave no valid answer") from error
        oddity = _find_oddity(response)
        if oddity is not None:
            response.close()
            raise _logged(ValueError(oddity), 502, "upstream_broke_off", "gave no valid answer")
        return response

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        settings = self._settings
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),  # or one client would send another's cookies
            read_bufsize=_READ_SIZE,
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
            ),
        )


def _find_oddity(response: aiohttp.ClientResponse) -> str | None:
    """Say what makes a head unreliable that the HTTP client has accepted; None if nothing does."""
    if not 200 <= response.status <= 599:
        return f"the status is {response.status}"
    # Which one counts? A client could read as JSON what the gateway relays as events.
    if len(response.headers.getall("content-type", [])) > 1:
        return "it has more than one Content-Type"
    # Which ones has the HTTP client decoded?
    if len(response.headers.getall("content-encoding", [])) > 1:
        return "it has more than one Content-Encoding"
    # The HTTP client decodes none of these codings, and what they hide would pass the relay.
    if response.headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        return "it has a Transfer-Encoding other than chunked"
    return None


def _logged(error: Exception, status: int, code: str, what: str) -> Failure:
    log.warning("the upstream %s: %s", what, _describe_without_quotes(error))
    return Failure(status, code, f"the upstream {what}")


def _describe_without_quotes(error: Exception) -> str:
    """Describe an error without the URL or the bytes that it quotes: they may hold a secret."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error)
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return _QUOTE.split(text)[0].strip() or type(error).__name__


READ_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, HttpProcessingError)
"""The exceptions that reading a response raises."""


def explain_read_error(error: Exception) -> Failure:
    """Turn an exception that ended a response early into the failure to report."""
    if isinstance(error, asyncio.TimeoutError):
        return Failure(504, "upstream_stalled", "the upstream has been silent for too long")
    return Failure(502, "upstream_broke_off", "the upstream broke off its answer")


@contextmanager
def watch_connection(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Wake whoever reads the response when its connection is lost.

    On broken chunked framing, aiohttp's compiled parser closes the connection and stops the clock
    of the time-out, but leaves the reader waiting for ever.
    """
    watching = asyncio.ensure_future(_close_when_lost(response))
    try:
        yield
    finally:
        watching.cancel()


async def _close_when_lost(response: aiohttp.ClientResponse) -> None:
    was_lost = is_lost = False
    # Twice in a row: once, the news may still be on its way to the reader.
    while not (was_lost and is_lost):
        await asyncio.sleep(CHECK_INTERVAL)
        connection, content = response.connection, response.content
        was_lost = is_lost
        is_lost = connection is not None and connection.closed and content.exception() is None
    response.close()


def request_target(scope: Scope) -> str:
    """Return the path below the gateway's own, and the query, as the client spelled them.

    Raises `Failure` for a target that another server could resolve to a different one.
    """
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.decode("latin-1").removeprefix(quote(scope.get("root_path", "")))
    query = scope.get("query_string", b"").decode("latin-1")
    if not path.startswith("/v1/") or not _TARGET.fullmatch(path + query) or "#" in path + query:
        raise Failure(400, "invalid_target", "this path cannot be passed on")
    # Some servers decode a path twice, or drop what follows a semicolon, before they resolve it.
    if {".", ".."} & {*re.split(r"[/\\;]", scope["path"] + "/" + unquote(scope["path"]))}:
        raise Failure(400, "invalid_target", "no segment of the path may be . or ..")
    return f"{path}?{query}" if query else path


def request_headers(headers: Headers, settings: Settings, target: str) -> list[tuple[str, str]]:
    """Choose the header fields to send upstream, in their order, duplicates included.

    The upstream's key takes the place of the client's, or the place that is usual for the target.
    Raises `Failure` for a field that two servers could read in two ways.
    """
    headers = list(headers)
    own = _OWN_TO_REQUESTS | _names_in_connection(headers)
    if settings.upstream_key is not None or settings.client_key is not None:
        own |= _KEYS
    chosen = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Failure(400, "invalid_header", "a header field holds a control character")
        if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            message = "the only transfer coding that is understood here is chunked"
            raise Failure(501, "unknown_transfer_coding", message)
        if name.lower() not in own:
            try:
                chosen.append((name.decode(), value.decode()))
            except UnicodeDecodeError as error:
                message = f"the header field {name.decode()} is not UTF-8"
                raise Failure(400, "invalid_header", message) from error
    if settings.upstream_key is not None:
        sent = _KEYS.intersection(name.lower() for name, _ in headers)
        is_messages = target.startswith("/v1/messages")
        if sent == {b"x-api-key"} or (is_messages and not sent):
            chosen.append(("x-api-key", settings.upstream_key))
        else:
            chosen.append(("authorization", f"Bearer {settings.upstream_key}"))
    # The relay reads the answer: a compressed one would only have to be decompressed first.
    return [*chosen, ("accept-encoding", "identity")]


def response_headers(
    response: aiohttp.ClientResponse, *, same_body: bool
) -> list[tuple[bytes, bytes]]:
    """Choose the header fields to send to the client; `same_body`: whether the length still holds.

    The content coding goes if the HTTP client has undone it, or if it says nothing (`identity`).
    """
    headers = response.raw_headers
    own = _OWN_TO_RESPONSES | _names_in_connection(headers)
    if is_decoded(response):
        own |= {b"content-encoding", b"content-length"}
    elif not is_encoded(response):
        own |= {b"content-encoding"}
    if not same_body:
        own |= {b"content-length"}
    return [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in own and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    ]


def is_decoded(response: aiohttp.ClientResponse) -> bool:
    """Tell whether the body arrives compressed, and the HTTP client decompresses it."""
    return _content_coding(response) in _DECODED_CODINGS


def is_encoded(response: aiohttp.ClientResponse) -> bool:
    """Tell whether the body is in a coding that the HTTP client cannot decode."""
    return _content_coding(response) not in {*_DECODED_CODINGS, "", "identity"}


def _content_coding(response: aiohttp.ClientResponse) -> str:
    coding: str = response.headers.get("content-encoding", "")
    return coding.strip().lower()


def _names_in_connection(headers: Headers) -> frozenset[bytes]:
    return frozenset(
        option.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for option in value.split(b",")
    )
