"""
What is counted, once: C{/metrics} and C{/stats} both read these objects.

This is the one home of prometheus_client. An increment costs half a microsecond, so it is
paid once an event or once a connection, never once a delivery.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

LATENCY_BUCKETS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)

MAX_NAMES = 100
"""
Event names are the publishers' choice and so without bound; past this many, the rest are
counted together as C{other}, or a mistaken publisher could fill our memory and Prometheus'.
"""


class Metrics:
    """
    The counters of one gateway instance.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._process = ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._names: dict[str, Counter] = {}
        self._events = Counter(
            "gatewayd_events",
            "Events heard on the bus, by name.",
            ["event"],
            registry=registry,
        )
        self.deliveries = Counter(
            "gatewayd_deliveries", "Events written to a client's socket.", registry=registry
        )
        self.delivered_bytes = Counter(
            "gatewayd_delivered_bytes", "Bytes of events written to clients.", registry=registry
        )
        self.latency = Histogram(
            "gatewayd_delivery_latency_seconds",
            "From taking an event from its source to writing it to the last client's socket.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.canary = Histogram(
            "gatewayd_canary_delay_seconds",
            "From publishing an event of our own to hearing it on the bus.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.closes = Counter(
            "gatewayd_closes", "Connections closed, by close code.", ["code"], registry=registry
        )
        self.refusals = Counter(
            "gatewayd_handshakes_refused",
            "WebSocket handshakes answered with an HTTP error, by status.",
            ["status"],
            registry=registry,
        )
        self.denials = Counter(
            "gatewayd_guild_denials", "Guilds asked for and denied.", ["reason"], registry=registry
        )
        self.resumes = Counter(
            "gatewayd_resumes", "Resumes served, by outcome.", ["recovered"], registry=registry
        )
        self.replayed = Counter(
            "gatewayd_replayed_events", "Events replayed to resuming clients.", registry=registry
        )
        self.slow = Counter(
            "gatewayd_slow_consumer_closes",
            "Connections closed for unsent data over the limit.",
            registry=registry,
        )
        self.rate_limited = Counter(
            "gatewayd_rate_limit_hits", "Clients over a rate limit.", registry=registry
        )
        self.client_errors = Counter(
            "gatewayd_client_errors",
            "Error messages sent to clients, by code.",
            ["code"],
            registry=registry,
        )
        self.rejected = Counter(
            "gatewayd_events_rejected",
            "Messages from a source that could not become an event.",
            registry=registry,
        )
        self.published = Counter(
            "gatewayd_events_published",
            "Events this instance published to all, those of its own among them.",
            registry=registry,
        )

    def event(self, name: str) -> None:
        """
        Count one event heard.
        """
        counter = self._names.get(name)
        if counter is None:
            if len(self._names) >= MAX_NAMES:
                name = "other"
            counter = self._names[name] = self._events.labels(name)
        counter.inc()

    def gauge(self, name: str, doc: str, value: Callable[[], float]) -> None:
        """
        Export C{value()}, asked for at each scrape, as the gauge C{gatewayd_NAME}.
        """
        Gauge(f"gatewayd_{name}", doc, registry=self.registry).set_function(value)

    def exposition(self) -> bytes:
        """
        Everything, in Prometheus' text format.
        """
        return generate_latest(self.registry)


def value(counter: Counter) -> int:
    """
    What a counter without labels stands at.
    """
    return sum(int(s.value) for m in counter.collect() for s in m.samples if _is_total(s.name))


def by_label(counter: Counter) -> dict[str, int]:
    """
    What a counter with one label stands at, by the label's values.
    """
    return {
        next(iter(s.labels.values())): int(s.value)
        for m in counter.collect()
        for s in m.samples
        if _is_total(s.name)
    }


def usage(metrics: Metrics) -> tuple[float, int]:
    """
    What this process has used: seconds of CPU, and bytes of memory that it occupies now.
    """
    found = {s.name: s.value for m in metrics._process.collect() for s in m.samples}
    return (
        found.get("process_cpu_seconds_total", 0.0),
        int(found.get("process_resident_memory_bytes", 0)),
    )


def _is_total(name: str) -> bool:
    return name.endswith("_total")


def events_by_name(metrics: Metrics) -> dict[str, int]:
    """
    Events heard, by name.
    """
    return by_label(metrics._events)


def quantiles(histogram: Histogram, wanted: tuple[float, ...]) -> list[float | None]:
    """
    Estimates from a histogram's buckets, linear within a bucket: Prometheus' own
    C{histogram_quantile}, without asking a Prometheus.

    @return: one value for each of C{wanted} (0..1), in the histogram's unit; L{None} when
        nothing was observed.
    """
    bounds: list[float] = []
    counts: list[float] = []
    for metric in histogram.collect():
        for sample in metric.samples:
            if sample.name.endswith("_bucket"):
                bounds.append(float(sample.labels["le"]))
                counts.append(sample.value)
    if not counts or counts[-1] == 0:
        return [None for _ in wanted]
    return [_quantile(q * counts[-1], bounds, counts) for q in wanted]


def _quantile(rank: float, bounds: list[float], counts: list[float]) -> float:
    index = bisect_left(counts, rank)
    if index >= len(bounds) - 1:
        return bounds[-2]
    below = counts[index - 1] if index else 0.0
    start = bounds[index - 1] if index else 0.0
    inside = counts[index] - below
    share = (rank - below) / inside if inside else 0.0
    return start + (bounds[index] - start) * share
