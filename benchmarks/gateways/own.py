"""This library's own gateways, as `fastchunk gateway` runs them.

`python -m benchmarks.gateways.own GATEWAY PORT UPSTREAM` runs one.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from benchmarks.end_to_end import gateways
from benchmarks.words import ALIAS, MODEL

REFERENCE = "ordinary pass-through"
CONTROL = "ordinary pass-through, control"
DIRECT = "fastchunk, pass-through"
RELAY = "fastchunk, changing the model"
RELAY_PURE = "fastchunk, changing the model, pure"
NAMES = (REFERENCE, CONTROL, DIRECT, RELAY, RELAY_PURE)
CHANGING = frozenset({RELAY, RELAY_PURE})
"""Those that give the model the name that the client has asked for; the others hand bytes on."""


def _serve(gateway: str, port: int, upstream: str) -> None:
    from fastchunk.gateway import Settings, serve

    if gateway in {REFERENCE, CONTROL}:
        _take_the_ordinary_way()
    settings = Settings(upstream=upstream, aliases={ALIAS: MODEL})
    relay = None if gateway in CHANGING else gateways.GATEWAYS[gateways.REFERENCE]()
    serve(settings, port=port, relay=relay, log_level="warning")


def _take_the_ordinary_way() -> None:
    """Let the stream's task wait for each read and each write, with all of Starlette between them.

    It is how one writes a gateway on aiohttp and Starlette, and how this one was until 0.2.
    """
    from starlette.applications import Starlette

    from fastchunk.gateway import _reading, app

    whole = Starlette.build_middleware_stack
    patch.object(_reading, "tap", lambda _: None).start()
    patch.object(app._Application, "build_middleware_stack", whole).start()  # noqa: SLF001


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
