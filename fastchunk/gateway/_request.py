"""A client's request to a model, and what the gateway changes in it.

In:  the request's body, and the settings.
Out: the body to send upstream, and what its answer needs: the model's name to write into it,
whether to strip the usage, and whether somebody waits for it.

What needs no change stays byte for byte. A body that is not a JSON object is sent as it is: the
upstream rejects it better than the gateway could. A body that needs a change, but that only a
lenient parser accepts, is refused.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from fastchunk import InvalidChunk, edit

from ._failure import Failure
from .settings import Settings

__all__ = ["ModelRequest", "rename_model", "rewrite"]


class ModelRequest(NamedTuple):
    """A request to a model as it is sent upstream, and what its answer needs."""

    body: bytes
    model: str | None = None
    """The name to write into the answer; None keeps the upstream's own."""
    strip_usage: bool = False
    stream: bool | None = None
    """Whether it asks for a stream; None if the body cannot be read."""
    awaits_more: bool = True
    """Whether somebody may wait for more than the choices that have come: usage, or others."""


class _Body(msgspec.Struct, gc=False):
    """The keys of a request that the gateway reads."""

    model: Any = None
    stream: Any = None
    stream_options: Any = None
    n: Any = None


class _Named(msgspec.Struct, gc=False):
    model: Any = UNSET


# msgspec raises UnicodeDecodeError, a ValueError, for a string that is not UTF-8.
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
_decode = msgspec.json.Decoder(_Body).decode
_decode_named = msgspec.json.Decoder(_Named).decode


def rewrite(body: bytes, settings: Settings, *, asks_for_usage: bool) -> ModelRequest:
    """Replace an alias by the upstream's name of the model, and ask for the usage if need be.

    `asks_for_usage`: whether a stream of this API has its usage only if it is asked for. Raises
    `Failure` for a body that needs a change and cannot be edited.
    """
    try:
        asked = _read(body)
    except _UNREADABLE:
        return ModelRequest(body)
    changes: dict[str, Any] = {}
    alias = None
    if isinstance(asked.model, str) and asked.model in settings.aliases:
        alias = asked.model
        changes["model"] = settings.aliases[alias]
    stream = asked.stream is True
    usage = {}
    has_one_choice = asked.n is None or asked.n == 1
    if settings.strip_usage and asks_for_usage and stream:
        usage = _usage_change(asked.stream_options)
    changes |= usage
    try:
        body = edit(body, changes) if changes else body
    except InvalidChunk as error:
        text = "the request has to be changed for this model, but it is not strict JSON"
        raise Failure(400, "invalid_request", text) from error
    return ModelRequest(
        body,
        alias,
        strip_usage=bool(usage),
        stream=stream,
        awaits_more=bool(usage) or _asks_for_usage(asked.stream_options) or not has_one_choice,
    )


def _read(body: bytes) -> _Body:
    """Decode a request: strictly, or else as leniently as servers written in Python do."""
    try:
        return _decode(body)
    except _UNREADABLE:
        # json also takes NaN and half a surrogate pair.
        return msgspec.convert(json.loads(body), _Body)


def _usage_change(options: Any) -> dict[str, Any]:
    """Return the change that asks for the usage; {} if the client asks, or sends nonsense."""
    if options is None:
        return {"stream_options": {"include_usage": True}}
    if isinstance(options, dict) and not _asks_for_usage(options):
        return {"/stream_options/include_usage": True}
    return {}


def _asks_for_usage(options: Any) -> bool:
    return isinstance(options, dict) and bool(options.get("include_usage"))


def rename_model(body: bytes, model: str) -> bytes:
    """Write the model's name into an unstreamed answer, if it is an object that names one."""
    try:
        if _decode_named(body).model is UNSET:
            return body
        return edit(body, {"model": model})
    except _UNREADABLE:
        return body
