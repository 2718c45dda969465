r"""The gateway on Ray Serve, in as many replicas as you want: `pip install 'fastchunk[ray]'`.

In:  the arguments of `serve run`, or the `args` of an application in a Serve config file.
Out: a Serve application. Each of its replicas is a gateway of its own.
Cost: Serve's proxy hands every write of a gateway from process to process.

    serve run fastchunk.gateway.ray_serve:build upstream=http://10.0.0.7:8000 num_replicas=2
    serve run fastchunk.gateway.ray_serve:build upstream=http://10.0.0.7:8000 \
        aliases=fast=llama-3.1-8b,large=llama-3.1-70b \
        'autoscaling_config={"max_replicas": 8, "target_ongoing_requests": 100}'
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from .app import create_app
from .settings import Settings, with_keys

try:
    from ray import serve
except ImportError as _error:
    raise ImportError(
        f"fastchunk.gateway.ray_serve needs more than the gateway ({_error}): "
        "python -m pip install 'fastchunk[ray]'"
    ) from _error

__all__ = ["build"]


def build(args: Mapping[str, Any]) -> serve.Application:
    """Build the gateway as a Serve application.

    `args` mixes the options of `Settings`, of which `upstream` is required, with those of
    `serve.deployment`. A string is parsed, since a command line has nothing else:
    `strip_usage=true`, `read_timeout=60`, `aliases=NAME=MODEL,NAME=MODEL`; for an option of Serve
    as JSON, if it is JSON. The keys come from the environment of the process that builds, see
    `fastchunk.gateway.with_keys`.

    A replica takes `max_streams` requests at a time and has `shutdown_timeout` to finish them,
    unless `args` has Serve's `max_ongoing_requests` and `graceful_shutdown_timeout_s`.

    Raises `ValueError` or `TypeError` that names the option. Serve checks its own options.

        >>> build({"upstream": "http://127.0.0.1:8001", "strip_usage": "maybe"})
        Traceback (most recent call last):
        ...
        ValueError: strip_usage='maybe' cannot be parsed: it is neither true nor false
    """
    for name in args:
        _check_name(name)
    if "upstream" not in args:
        raise ValueError("upstream is missing: upstream=URL")
    own = {name: _parse(name, value) for name, value in args.items() if name in _PARSERS}
    settings = with_keys(Settings(**own))
    options = {
        "max_ongoing_requests": settings.max_streams,
        "graceful_shutdown_timeout_s": settings.shutdown_timeout,
        **{name: _parse_json(value) for name, value in args.items() if name in _SERVE_OPTIONS},
    }
    ingress = serve.ingress(_Application(settings))(Gateway)
    return serve.deployment(**options)(ingress).bind()


class Gateway:
    """The deployment. Serve adds the application, which does all the work."""


class _Application(Starlette):
    """The gateway's application, pickled as its settings and made again in each replica.

    Serve pickles an application, and Ray 2.46 accepts only a Starlette or a subclass of it.
    """

    def __init__(self, settings: Settings) -> None:
        gateway = create_app(settings)
        lifespan = gateway.router.lifespan_context
        super().__init__(routes=[Mount("", gateway)], lifespan=lifespan)
        self.settings = settings

    def __reduce__(self) -> tuple[type[_Application], tuple[Settings]]:
        return _Application, (self.settings,)


def _parse_aliases(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("it is not of the form NAME=MODEL,NAME=MODEL")
    return {name: model for name, _, model in pairs}


def _parse_bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("it is neither true nor false")
    return text.lower() == "true"


_BY_TYPE: dict[Any, Callable[[str], Any]] = {
    "str": str,
    "Mapping[str, str]": _parse_aliases,
    "bool": _parse_bool,
    "int": int,
    "float": float,
}
_KEYS = {"upstream_key", "client_key"}
_PARSERS = {one.name: _BY_TYPE[one.type] for one in fields(Settings) if one.name not in _KEYS}
# `user_config` needs a deployment that can be reconfigured; Serve refuses the last two here.
_NOT_SERVE_OPTIONS = {"_func_or_class", "user_config", "route_prefix", "version"}
_SERVE_OPTIONS = set(inspect.signature(serve.deployment).parameters) - _NOT_SERVE_OPTIONS


def _check_name(name: str) -> None:
    if name in _KEYS:
        variable = f"FASTCHUNK_{name.upper()}"
        raise ValueError(f"{name} is not read from arguments but from the environment: {variable}")
    if name not in _PARSERS and name not in _SERVE_OPTIONS:
        close = difflib.get_close_matches(name, [*_PARSERS, *_SERVE_OPTIONS], n=1)
        hint = f": did you mean {close[0]}?" if close else "."
        raise ValueError(
            f"there is no option {name!r}{hint} The gateway has {_join_names(_PARSERS)}; "
            f"Serve has {_join_names(_SERVE_OPTIONS)}"
        )


def _join_names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _parse(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return _PARSERS[name](value)
    except ValueError as error:
        raise ValueError(f"{name}={value!r} cannot be parsed: {error}") from error


def _parse_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
