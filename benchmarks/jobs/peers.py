"""The names of the peers: what a user would run instead, and the floors. None has a slash."""

from __future__ import annotations

ROUTER = "Pydantic path"
DICTS = "orjson dicts"
BARE = "bare msgspec"
MODEL_CLASS = "Pydantic model"
