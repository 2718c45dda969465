"""FastAPI and httpx: each event's JSON is read, changed and written.

In:  the upstream's URL in UPSTREAM.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app = FastAPI()
client = httpx.AsyncClient(base_url=os.environ["UPSTREAM"], timeout=600)


@app.post("/v1/chat/completions")
async def complete(request: Request) -> StreamingResponse:
    """Stream an answer in which the model has the name that the client has asked for."""
    return StreamingResponse(_events(await request.json()), media_type="text/event-stream")


async def _events(asked: dict[str, Any]) -> AsyncIterator[str]:
    async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data: "):
                continue
            data = line[6:]
            if data == "[DONE]":
                yield "data: [DONE]\n\n"
                break
            chunk = json.loads(data)
            chunk["model"] = asked["model"]
            yield f"data: {json.dumps(chunk)}\n\n"
