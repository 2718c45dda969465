"""FastAPI and the openai client: its chunks are changed and written.

In:  the upstream's URL in UPSTREAM.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

app = FastAPI()
client = AsyncOpenAI(base_url=f"{os.environ['UPSTREAM']}/v1", api_key="none")


@app.post("/v1/chat/completions")
async def complete(request: Request) -> StreamingResponse:
    """Stream an answer in which the model has the name that the client has asked for."""
    return StreamingResponse(_events(await request.json()), media_type="text/event-stream")


async def _events(asked: dict[str, Any]) -> AsyncIterator[str]:
    async for chunk in await client.chat.completions.create(**asked):
        chunk.model = asked["model"]
        yield f"data: {chunk.model_dump_json()}\n\n"
    yield "data: [DONE]\n\n"
