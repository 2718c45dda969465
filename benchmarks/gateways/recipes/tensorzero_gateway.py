"""Start the HTTP gateway that TensorZero's Python package has in it.

In:  a file of its settings, and the name of a file.
Out: its URL in that file: it chooses its port itself.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import tensorzero

settings, url = sys.argv[1:]
gateway = tensorzero._start_http_gateway(  # noqa: SLF001
    config_file=settings,
    clickhouse_url=None,
    postgres_url=None,
    valkey_url=None,
    async_setup=False,
)
Path(url).write_text(gateway.base_url, "utf-8")
signal.pause()
