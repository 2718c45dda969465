"""The APIs whose answers the gateway reads, and what is different in each.

In:  nothing.
Out: a table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastchunk import completions, format_event, messages, responses, wire

from ._failure import MESSAGES, OPENAI, RESPONSES, ErrorShape

__all__ = ["APIS", "KEEP_ALIVE", "Api"]

KEEP_ALIVE = b": keep-alive\n\n"


class Api(NamedTuple):
    """One API."""

    path: str
    family: Any
    """The module that knows the events of its streams."""
    errors: ErrorShape = OPENAI
    keep_alive: bytes = KEEP_ALIVE
    """What the client of a silent stream is sent."""
    asks_for_usage: bool = False
    """Whether a stream has its usage only if the request asks for it."""

    @property
    def relay_options(self) -> dict[str, Any]:
        """What a relay is told of it. For chat that is nothing, since chat is what relays take."""
        return {} if self.family is wire else {"family": self.family}


APIS = (
    Api("/v1/chat/completions", wire, asks_for_usage=True),
    Api("/v1/completions", completions, asks_for_usage=True),
    # Its clients count on an event now and then, as Anthropic's own server sends it.
    Api("/v1/messages", messages, MESSAGES, format_event(b'{"type": "ping"}', event="ping")),
    Api("/v1/responses", responses, RESPONSES),
)
