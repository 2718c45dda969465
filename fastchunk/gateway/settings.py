"""Every option of the gateway, in one frozen object.

In:  keyword arguments.
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

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from urllib.parse import urlsplit

from fastchunk.sse import MAX_EVENT_SIZE

__all__ = ["Settings"]

_KEY = re.compile(r"[!-~]+")  # what can stand in a header after `Bearer `


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The gateway's options. Durations are in seconds, sizes in bytes.

    Raises `ValueError` or `TypeError` for a value that cannot be meant. The keys are not part of
    its `repr`.
    """

    upstream: str
    """The base URL of the server, up to and without `/v1`."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """From the model's name that clients use to the name that the upstream knows. It holds for
    chat completions: requests are rewritten to the one, answers to the other."""
    strip_usage: bool = False
    """Ask the upstream for the usage of every streamed answer, and take it out again for clients
    that did not ask."""
    upstream_key: str | None = field(default=None, repr=False)
    """The key that is sent to the upstream, in place of what the client sends."""
    client_key: str | None = field(default=None, repr=False)
    """The key that clients have to send; it is never passed on. Without one, everybody is let in,
    and what the client sends is passed on unless there is an `upstream_key`."""
    connect_timeout: float = 10.0
    """How long connecting to the upstream may take."""
    read_timeout: float = 600.0
    """How long the upstream may be silent, before its answer and in it."""
    request_timeout: float = 60.0
    """How long a client may be silent while it sends a request for a chat completion."""
    keep_alive: float = 15.0
    """The longest time a client waits, once a stream has begun, without being sent a comment."""
    max_streams: int = 1000
    """How many chat completions may be open at once, streamed or not."""
    max_event_size: int = MAX_EVENT_SIZE
    """The largest event of a stream; also the largest unstreamed answer that is rewritten."""
    max_request_size: int = 64 * 1024 * 1024
    """The largest request for a chat completion."""
    shutdown_timeout: float = 30.0
    """How long open answers may still take once the server is told to end."""

    def __post_init__(self) -> None:
        """Check every value, and keep the aliases from being changed."""
        _check_url(self.upstream)
        object.__setattr__(self, "upstream", self.upstream.rstrip("/"))
        object.__setattr__(self, "aliases", MappingProxyType(_checked_aliases(self.aliases)))
        for option in fields(self):
            value = getattr(self, option.name)
            if option.type in {"int", "float"}:
                _check_number(option.name, value, whole=option.type == "int")
            elif option.type == "bool" and not isinstance(value, bool):
                raise TypeError(f"{option.name} must be bool, not {type(value).__name__}")
            elif option.name.endswith("_key") and value is not None:
                _check_key(option.name, value)


def _check_url(url: str) -> None:
    if not isinstance(url, str):
        raise TypeError(f"upstream must be str, not {type(url).__name__}")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("upstream may not hold a user or a password: use upstream_key")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f"upstream must begin with http:// or https:// and name a host, not {url!r}"
        )
    if parts.query or parts.fragment or not _KEY.fullmatch(url):
        raise ValueError(f"upstream must be a plain URL without query or fragment, not {url!r}")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError(f"upstream ends before /v1, not {url!r}")
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
            raise ValueError(f"aliases must map names to names, and {name!r} is none")
    return dict(aliases)


def _check_number(name: str, value: object, *, whole: bool) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} must be {'int' if whole else 'a number'}, not {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be more than 0 and finite, not {value!r}")


def _check_key(name: str, key: object) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"{name} must be printable ASCII without spaces")
