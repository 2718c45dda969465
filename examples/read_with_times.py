"""Read streams as a benchmark's client does: each event with the time at which it arrived.

    fastchunk gateway --demo
    python examples/read_with_times.py

It prints the time to the first text, and between two.
"""

import asyncio
import os
import time
from itertools import pairwise
from statistics import median

import httpx

from fastchunk import ChunkStream, wire

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")
MESSAGES = [{"role": "user", "content": "Hi"}]
REQUEST = {"model": "demo", "messages": MESSAGES, "stream": True, "max_tokens": 10}
STREAMS = 8


async def read(client):
    """Ask once; return each chunk with the seconds from the request to its arrival."""
    stream = ChunkStream(wire)
    arrived = []
    begin = time.perf_counter()
    async with client.stream("POST", "/v1/chat/completions", json=REQUEST) as response:
        response.raise_for_status()
        async for data in response.aiter_bytes():
            now = time.perf_counter() - begin  # before its events are decoded, which takes time too
            arrived += [(now, chunk) for chunk in stream.feed(data)]
    stream.close()
    if stream.error or stream.truncated:
        raise RuntimeError(f"the stream failed: {stream.error or 'it was cut off'}")
    return arrived


def has_text(chunk):
    deltas = [choice.delta for choice in chunk.choices or () if choice.delta]
    return any(delta.text or delta.reasoning_text for delta in deltas)


async def main():
    async with httpx.AsyncClient(base_url=UPSTREAM, timeout=60) as client:
        streams = await asyncio.gather(*(read(client) for _ in range(STREAMS)))
    times = [[at for at, chunk in stream if has_text(chunk)] for stream in streams]
    gaps = [after - before for one in times for before, after in pairwise(one)]
    print(f"{STREAMS} streams, {sum(map(len, times))} events with text")
    print(f"to the first text: {median(one[0] for one in times) * 1000:.1f} ms (median)")
    print(f"between two texts: {median(gaps) * 1000:.1f} ms (median)")


if __name__ == "__main__":
    asyncio.run(main())
