"""Record a stream with its pace, and serve it again.

    fastchunk gateway --demo
    python examples/record_and_replay.py record stream.jsonl
    python examples/record_and_replay.py replay stream.jsonl

http://127.0.0.1:8080 then answers every chat completion with the recording, event by event.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from fastchunk import EventDecoder

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")
PORT = int(os.environ.get("PORT", "8080"))
MESSAGES = [{"role": "user", "content": "Hi"}]
REQUEST = {"model": "demo", "messages": MESSAGES, "stream": True, "max_tokens": 10}


def record(path):
    decoder = EventDecoder()
    lines = []
    begin = time.perf_counter()
    with httpx.stream("POST", f"{UPSTREAM}/v1/chat/completions", json=REQUEST) as response:
        response.raise_for_status()
        for data in response.iter_bytes():
            seconds = round(time.perf_counter() - begin, 4)
            lines += [json.dumps([seconds, event.raw.decode()]) for event in decoder.feed(data)]
    path.write_text("\n".join(lines))


def replay(path):
    async def events():
        begin = time.perf_counter()
        for line in path.read_text().splitlines():
            seconds, event = json.loads(line)
            await asyncio.sleep(begin + seconds - time.perf_counter())
            yield event

    def answer(_):
        return StreamingResponse(events(), media_type="text/event-stream")

    route = Route("/v1/chat/completions", answer, methods=["POST"])
    uvicorn.run(Starlette(routes=[route]), port=PORT)


if __name__ == "__main__":
    {"record": record, "replay": replay}[sys.argv[1]](Path(sys.argv[2]))
