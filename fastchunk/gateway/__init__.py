"""A streaming gateway in front of an OpenAI-compatible server: `pip install 'fastchunk[gateway]'`.

In:  `Settings`.
Out: an ASGI application (`create_app`), or a running server (`serve`).
Cost: for each read from the upstream, one call of `Relay.feed` and one write to the client. A
stream has no queue and no lock of its own.

The gateway imports fastchunk as any user does; the rest of fastchunk does not know about it.
"""

try:
    import aiohttp as _aiohttp  # noqa: F401
    import prometheus_client as _prometheus_client  # noqa: F401
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f"fastchunk.gateway needs more than fastchunk ({_error}): "
        "python -m pip install 'fastchunk[gateway]'"
    ) from _error

from .app import create_app
from .server import serve
from .settings import Settings, with_keys

__all__ = ["Settings", "create_app", "serve", "with_keys"]
