"""A FastAPI server that writes a stream of its own: a model's answer in capital letters.

    fastchunk gateway --demo
    python examples/fastapi_server.py

Ask http://127.0.0.1:8080 as you would ask any OpenAI-compatible server.
"""

import os

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from fastchunk import FastchunkError, StreamEncoder, aiter_chunks, wire

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")
PORT = int(os.environ.get("PORT", "8080"))

app = FastAPI()


async def ask(messages):
    """Yield the pieces of the model's text."""
    request = {"model": "demo", "messages": messages, "stream": True, "max_tokens": 10}
    async with (
        httpx.AsyncClient(base_url=UPSTREAM, timeout=60) as client,
        client.stream("POST", "/v1/chat/completions", json=request) as response,
    ):
        response.raise_for_status()
        async for chunk in aiter_chunks(response.aiter_bytes()):
            for choice in chunk.choices or ():
                if choice.delta and choice.delta.text:
                    yield choice.delta.text


async def write(messages):
    """Yield the events of the answer."""
    encoder = StreamEncoder(wire, model="capitals")
    yield encoder.role("assistant")
    try:
        async for piece in ask(messages):
            yield encoder.content(piece.upper())
    except (httpx.HTTPError, FastchunkError) as error:
        yield encoder.error(f"the model failed: {error}")  # the status was sent long ago
    else:
        yield encoder.finish("stop")
    yield encoder.done()


@app.post("/v1/chat/completions")
async def complete(request: Request):
    body = await request.json()
    return StreamingResponse(write(body["messages"]), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, port=PORT)
