"""The gateway's metrics, in Prometheus' text format.

In:  one call when a request ends.
Out: the page at `/metrics`.
Cost: nothing per read; a stream's own counters are added when it ends.
"""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one gateway.

    They have a registry of their own, so that two gateways in one process count separately.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.streams_open: Gauge = Gauge(
            "fastchunk_gateway_streams_open",
            "Requests to models that are being answered",
            ["route"],
            registry=self._registry,
        )
        self.requests: Counter = self._counter(
            "requests", "Requests by route and status", "route", "status"
        )
        self.events: Counter = self._counter("events", "Events of streams that have ended", "route")
        self.chunks: Counter = self._counter("chunks", "Chunks among them", "route")
        self.invalid: Counter = self._counter(
            "invalid_events", "Events that could not be decoded", "route"
        )
        self.received: Counter = self._counter(
            "received_bytes", "Bytes of streams that have ended", "route"
        )
        self.failures: Counter = self._counter(
            "upstream_errors", "Answers that the upstream failed to give, by kind", "kind"
        )
        self.first_event: Histogram = Histogram(
            "fastchunk_gateway_first_event_seconds",
            "Time from a request to the first event of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def page(self) -> bytes:
        """Render the page."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"fastchunk_gateway_{name}", text, labels, registry=self._registry)
