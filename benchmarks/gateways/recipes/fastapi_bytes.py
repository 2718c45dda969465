"""FastAPI and httpx: the bytes that come are handed on.

In:  the upstream's URL in UPSTREAM.
"""

from __future__ import annotations

import os

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

app = FastAPI()
client = httpx.AsyncClient(base_url=os.environ["UPSTREAM"], timeout=600)


@app.post("/v1/chat/completions")
async def complete(request: Request) -> StreamingResponse:
    """Pass a request and its answer on."""
    asked = client.build_request(
        "POST",
        "/v1/chat/completions",
        content=await request.body(),
        headers={"content-type": "application/json"},
    )
    response = await client.send(asked, stream=True)
    return StreamingResponse(
        response.aiter_bytes(),
        status_code=response.status_code,
        media_type=response.headers["content-type"],
        background=BackgroundTask(response.aclose),
    )
