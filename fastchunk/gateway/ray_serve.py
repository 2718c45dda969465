r"""The gateway on Ray Serve, in as many replicas as are wanted: `pip install 'fastchunk[ray]'`.

In:  the arguments of `serve run`, or the `args` of an application in a config file of Serve.
Out: a Serve application, each replica of which is a gateway of its own.
Cost: what the gateway writes goes through Serve's proxy, which hands it from process to process.

    serve run fastchunk.gateway.ray_serve:build upstream=http://10.0.0.7:8000 num_replicas=2
    serve run fastchunk.gateway.ray_serve:build upstream=http://10.0.0.7:8000 \
        aliases=fast=llama-3.1-8b,large=llama-3.1-70b \
        'autoscaling_config={"max_replicas": 8, "target_ongoing_requests": 100}'
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from .app import create_app
from .server import with_keys
from .settings import Settings

try:
    from ray import serve
except ImportError as error:
    raise ImportError(
        f"fastchunk.gateway.ray_serve needs more than the gateway ({error}): "
        "python -m pip install 'fastchunk[ray]'"
    ) from error

__all__ = ["build"]


def build(args: Mapping[str, Any]) -> serve.Application:
    """Build the gateway as a Serve application, with Serve's own options among the gateway's.

    `args`: options of `Settings`, of which `upstream` is needed, and of `serve.deployment`. A text,
    which is all that a command line has, is read: `strip_usage=true`, `read_timeout=60`,
    `aliases=NAME=MODEL,NAME=MODEL`; for Serve as JSON, where it is JSON. The keys come from the
    environment of the process that builds: `FASTCHUNK_UPSTREAM_KEY` and `FASTCHUNK_CLIENT_KEY`.

    A replica takes `max_streams` requests at a time and has `shutdown_timeout` to finish them,
    unless Serve's `max_ongoing_requests` and `graceful_shutdown_timeout_s` are given.

    Raises `ValueError` or `TypeError` that names the option; for its own options Serve does.

        >>> build({"upstream": "http://127.0.0.1:8001", "strip_usage": "maybe"})
        Traceback (most recent call last):
        ...
        ValueError: strip_usage='maybe' cannot be read: it is neither true nor false
    """
    for name in args:
        _check_name(name)
    if "upstream" not in args:
        raise ValueError("upstream is missing: upstream=URL")
    own = {name: _read(name, value) for name, value in args.items() if name in _READERS}
    settings = with_keys(Settings(**own), os.environ)
    options = {
        "max_ongoing_requests": settings.max_streams,
        "graceful_shutdown_timeout_s": settings.shutdown_timeout,
        **{name: _json_or_text(value) for name, value in args.items() if name in _SERVES},
    }
    ingress = serve.ingress(_Application(settings))(Gateway)
    return serve.deployment(**options)(ingress).bind()


class Gateway:
    """The deployment; Serve adds the application, which does everything."""


class _Application(Starlette):
    """The gateway's application, which travels as its settings and is made anew where it arrives.

    Serve pickles it, and Ray 2.46 takes nothing but Starlette's own class or one below it.
    """

    def __init__(self, settings: Settings) -> None:
        gateway = create_app(settings)
        lifespan = gateway.router.lifespan_context
        super().__init__(routes=[Mount("", gateway)], lifespan=lifespan)
        self.settings = settings

    def __reduce__(self) -> tuple[type[_Application], tuple[Settings]]:
        return _Application, (self.settings,)


def _aliases(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("it is not of the form NAME=MODEL,NAME=MODEL")
    return {name: model for name, _, model in pairs}


def _bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("it is neither true nor false")
    return text.lower() == "true"


_BY_TYPE: dict[Any, Callable[[str], Any]] = {
    "str": str,
    "Mapping[str, str]": _aliases,
    "bool": _bool,
    "int": int,
    "float": float,
}
_KEYS = {"upstream_key", "client_key"}
_READERS = {one.name: _BY_TYPE[one.type] for one in fields(Settings) if one.name not in _KEYS}
# `user_config` is for deployments that can be reconfigured; the last two Serve refuses here.
_NOT_SERVES = {"_func_or_class", "user_config", "route_prefix", "version"}
_SERVES = set(inspect.signature(serve.deployment).parameters) - _NOT_SERVES


def _check_name(name: str) -> None:
    if name in _KEYS:
        variable = f"FASTCHUNK_{name.upper()}"
        raise ValueError(
            f"{name} is not taken from arguments, but from the environment: {variable}"
        )
    if name not in _READERS and name not in _SERVES:
        close = difflib.get_close_matches(name, [*_READERS, *_SERVES], n=1)
        hint = f": did you mean {close[0]}?" if close else "."
        raise ValueError(
            f"there is no option {name!r}{hint} The gateway has {_listed(_READERS)}; "
            f"Serve has {_listed(_SERVES)}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise ValueError(f"{name}={value!r} cannot be read: {error}") from error


def _json_or_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
