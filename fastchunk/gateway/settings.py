"""Every option of the gateway, in one frozen object.

In:  keyword arguments, and the environment for the keys.
Out: `Settings`, checked.

    >>> settings = Settings(upstream="http://127.0.0.1:8001", aliases={"fast": "llama-3.1-8b"})
    >>> settings.read_timeout
    600.0
    >>> Settings(upstream="127.0.0.1:8001")
    Traceback (most recent call last):
    ...
    ValueError: upstream must begin with http:// or https:// and name a host, not '127.0.0.1:8001'
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from urllib.parse import urlsplit

from fastchunk.sse import MAX_EVENT_SIZE

__all__ = ["Settings", "with_keys"]

_KEY = re.compile(r"[!-~]+")  # what a header field can hold behind `Bearer `
_UPSTREAM_KEY = "FASTCHUNK_UPSTREAM_KEY"
_CLIENT_KEY = "FASTCHUNK_CLIENT_KEY"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The gateway's options. Durations are in seconds, sizes in bytes.

    Raises `ValueError` or `TypeError` for a value that makes no sense. Its `repr` omits the keys.
    """

    upstream: str
    """The server's base URL, without the `/v1` at its end."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The name of a model that clients use, and the upstream's name for it. The gateway replaces
    one in the request, and the other in the answer."""
    strip_usage: bool = False
    """Ask the upstream for the usage of every stream of chat or completions, and remove it for
    clients that did not ask for it. Messages and Responses always have it."""
    upstream_key: str | None = field(default=None, repr=False)
    """The key that the gateway sends to the upstream, in place of the client's."""
    client_key: str | None = field(default=None, repr=False)
    """The key that clients must send, in `Authorization` or `x-api-key`; the gateway never passes
    it on. Without it everybody is let in, and the client's own key is passed on unless there is an
    `upstream_key`."""
    connect_timeout: float = 10.0
    """How long connecting to the upstream may take."""
    read_timeout: float = 600.0
    """How long the upstream may be silent, before its answer or in the middle of it."""
    request_timeout: float = 60.0
    """How long a client may be silent while it sends a request to a model."""
    keep_alive: float = 15.0
    """Once a stream has begun, the client is sent a comment after at most this much silence; for
    Messages, a `ping`."""
    max_streams: int = 1000
    """How many answers of models may be open at once, streamed or not."""
    max_event_size: int = MAX_EVENT_SIZE
    """The largest event of a stream; also the largest unstreamed answer that is changed or
    checked."""
    max_request_size: int = 64 * 1024 * 1024
    """The largest request to a model."""
    shutdown_timeout: float = 30.0
    """How long open answers may take to finish after the server was told to stop."""

    def __post_init__(self) -> None:
        """Check every value, and freeze the aliases."""
        _check_url(self.upstream)
        object.__setattr__(self, "upstream", self.upstream.rstrip("/"))
        object.__setattr__(self, "aliases", MappingProxyType(_checked_aliases(self.aliases)))
        for option in fields(self):
            value = getattr(self, option.name)
            if option.type in {"int", "float"}:
                _check_number(option.name, value, integer=option.type == "int")
            elif option.type == "bool" and not isinstance(value, bool):
                raise TypeError(f"{option.name} must be bool, not {type(value).__name__}")
            elif option.name.endswith("_key") and value is not None:
                _check_key(option.name, value)


def _check_url(url: str) -> None:
    if not isinstance(url, str):
        raise TypeError(f"upstream must be str, not {type(url).__name__}")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("upstream must not hold a user or a password: use upstream_key")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f"upstream must begin with http:// or https:// and name a host, not {url!r}"
        )
    if parts.query or parts.fragment or not _KEY.fullmatch(url):
        raise ValueError(f"upstream must be a plain URL without query or fragment, not {url!r}")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError(f"upstream must not include /v1: {url!r}")
    try:
        parts.port  # noqa: B018
    except ValueError as error:
        raise ValueError(f"upstream has no valid port: {url!r}") from error
    try:
        parts.hostname.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"upstream names no valid host: {url!r}") from error


def _checked_aliases(aliases: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(aliases, Mapping):
        raise TypeError(f"aliases must be a mapping, not {type(aliases).__name__}")
    for name in (*aliases, *aliases.values()):
        if not isinstance(name, str) or not name:
            raise ValueError(f"aliases must map names to names, and {name!r} is not a name")
    return dict(aliases)


def _check_number(name: str, value: object, *, integer: bool) -> None:
    kinds = int if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} must be {'int' if integer else 'a number'}, not {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be more than 0 and finite, not {value!r}")


def _check_key(name: str, key: object) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"{name} must be printable ASCII without spaces")


def with_keys(settings: Settings, environment: Mapping[str, str] | None = None) -> Settings:
    """Return settings in which the keys that were not given come from the environment.

    The variables are `FASTCHUNK_UPSTREAM_KEY` and `FASTCHUNK_CLIENT_KEY`; an empty one is no key.
    `environment` is the process's own if it is None. Raises `ValueError` for a key that cannot be
    sent in a header field.
    """
    if environment is None:
        environment = os.environ
    return replace(
        settings,
        upstream_key=settings.upstream_key or environment.get(_UPSTREAM_KEY) or None,
        client_key=settings.client_key or environment.get(_CLIENT_KEY) or None,
    )
