"""A gateway that writes into the usage of each answer what it cost, and exports what was spent.

    fastchunk gateway --demo
    python examples/cost_meter.py

Ask http://127.0.0.1:8080 what you would ask the server. Prometheus reads what was spent at
http://127.0.0.1:9090. Clients need not ask for the usage.
"""

import os
from contextlib import suppress

from prometheus_client import Counter, start_http_server

from fastchunk import InvalidChunk, Relay, edit, wire
from fastchunk.gateway import Settings, serve

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")
PORT = int(os.environ.get("PORT", "8080"))
PRICES = {"demo": (0.5, 2.0)}  # dollars for a million tokens of prompts, of completions
SPENT = Counter("llm_spent_dollars", "What chat completions have cost", ["model"])


def cost_of(answer):
    prices = PRICES.get(answer.model, (0, 0))
    tokens = answer.usage.prompt_tokens or 0, answer.usage.completion_tokens or 0
    return sum(price * number for price, number in zip(prices, tokens, strict=True)) / 1e6


class Meter(Relay):
    def __init__(self, **options):
        super().__init__(on_chunk=self.stamp_usage, **options)
        self._last = None  # some servers write the usage so far into every chunk

    def stamp_usage(self, chunk):
        if not chunk.usage:
            return None
        chunk.usage.cost = cost_of(chunk)
        self._last = chunk
        return chunk

    def close(self):
        if self._last:
            SPENT.labels(self._last.model).inc(self._last.usage.cost)
        return super().close()


def stamp(data):
    with suppress(InvalidChunk):  # what the server says of an error need not be JSON
        answer = wire.decode(data)
        if answer.usage:
            SPENT.labels(answer.model).inc(cost_of(answer))
            return edit(data, {"/usage/cost": cost_of(answer)})
    return data


if __name__ == "__main__":
    start_http_server(int(os.environ.get("METRICS_PORT", "9090")))
    serve(Settings(upstream=UPSTREAM, strip_usage=True), port=PORT, relay=Meter, on_answer=stamp)
