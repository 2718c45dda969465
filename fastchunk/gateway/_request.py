"""A client's request for a chat completion, and what the gateway makes of it.

In:  the request's body, and the settings.
Out: the body to send up, the model's name to write into the answer, and whether to strip the usage.

What is not to be changed stays byte for byte; a body that is no JSON object goes up as it is, for
the upstream to judge. One that a lenient server may take, but that cannot be changed, is refused.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from fastchunk import InvalidChunk, edit

from ._failure import Failure
from .settings import Settings

__all__ = ["Completion", "completion", "restamped"]


class Completion(NamedTuple):
    """A request for a chat completion, as it goes up, and what its answer needs."""

    body: bytes
    model: str | None
    """The name to write into the answer; None: the upstream's own."""
    strip_usage: bool


class _Body(msgspec.Struct, gc=False):
    """The keys of a request that matter here."""

    model: Any = None
    stream: Any = None
    stream_options: Any = None


class _Named(msgspec.Struct, gc=False):
    model: Any = UNSET


# msgspec raises UnicodeDecodeError, a ValueError, for a string that is not UTF-8.
_NOT_EDITABLE = (msgspec.DecodeError, ValueError, RecursionError)
_decode = msgspec.json.Decoder(_Body).decode
_decode_named = msgspec.json.Decoder(_Named).decode


def completion(body: bytes, settings: Settings) -> Completion:
    """Rewrite a request: the alias to the upstream's name, and the usage asked for."""
    try:
        asked = _asked(body)
    except _NOT_EDITABLE:
        return Completion(body, None, strip_usage=False)
    changes: dict[str, Any] = {}
    alias = None
    if isinstance(asked.model, str) and asked.model in settings.aliases:
        alias = asked.model
        changes["model"] = settings.aliases[alias]
    strip_usage = settings.strip_usage and asked.stream is True
    if strip_usage:
        add = _asking_for_usage(asked.stream_options)
        strip_usage = bool(add)
        changes |= add
    try:
        return Completion(edit(body, changes) if changes else body, alias, strip_usage)
    except InvalidChunk as error:
        text = "the request is not JSON that can be changed, as it has to be for this model"
        raise Failure(400, "invalid_request", text) from error


def _asked(body: bytes) -> _Body:
    """Read a request as strictly as can be, and as laxly as servers written in Python do."""
    try:
        return _decode(body)
    except _NOT_EDITABLE:
        return msgspec.convert(json.loads(body), _Body)  # it may hold NaN, or half a surrogate pair


def _asking_for_usage(options: Any) -> dict[str, Any]:
    """Return the change that asks for the usage; none if the client does, or cannot be meant."""
    if options is None:
        return {"stream_options": {"include_usage": True}}
    if isinstance(options, dict) and not options.get("include_usage"):
        return {"/stream_options/include_usage": True}
    return {}


def restamped(body: bytes, model: str) -> bytes:
    """Write the model's name into an unstreamed answer, if it is an object that has one."""
    try:
        if _decode_named(body).model is UNSET:
            return body
        return edit(body, {"model": model})
    except _NOT_EDITABLE:
        return body
