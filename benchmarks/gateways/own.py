"""This library's own gateways, as `fastchunk gateway` runs them.

`python -m benchmarks.gateways.own GATEWAY PORT UPSTREAM` runs one.
"""

from __future__ import annotations

import sys

from benchmarks.end_to_end import gateways
from benchmarks.words import ALIAS, MODEL

REFERENCE = "fastchunk, pass-through"
CONTROL = "fastchunk, pass-through, control"
DIRECT = "fastchunk, pass-through, direct"
RELAY = "fastchunk, changing the model"
RELAY_PURE = "fastchunk, changing the model, pure"
NAMES = (REFERENCE, CONTROL, DIRECT, RELAY, RELAY_PURE)
CHANGING = frozenset({RELAY, RELAY_PURE})
"""Those that give the model the name that the client has asked for; the others hand bytes on."""


def _serve(gateway: str, port: int, upstream: str) -> None:
    from fastchunk.gateway import Settings, serve

    settings = Settings(upstream=upstream, aliases={ALIAS: MODEL})
    relay = None if gateway in CHANGING else gateways.GATEWAYS[gateways.REFERENCE]()
    serve(settings, port=port, relay=relay, log_level="warning")


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
