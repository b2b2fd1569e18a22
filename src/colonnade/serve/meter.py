"""What an endpoint process counts, in the words of Prometheus.

Several workers share one port, so a scrape reaches any of them: the supervisor then names a
folder in ``PROMETHEUS_MULTIPROC_DIR`` before they start, and each answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from colonnade.serve.log import LogState

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
NO_ENDPOINT = "-"
BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)


class Meter:
    """The counters of one process; children are looked up once and kept."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "colonnade_requests", "Requests by status", ("endpoint", "status"), registry=registry
        )
        self._latency = Histogram(
            "colonnade_request_seconds",
            "From the request's headers to its answer",
            ("endpoint",),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._predictions = Counter(
            "colonnade_predictions", "Rows", ("endpoint", "version"), registry=registry
        )
        self._revision = Gauge(
            "colonnade_revision_live",
            "1 for the revision that answers",
            ("endpoint", "model", "version", "revision"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._in_flight = self._gauge("colonnade_requests_in_flight", "Requests in flight", ())
        self._log_rows = self._gauge("colonnade_log_pending_rows", "Predictions not written yet")
        self._log_bytes = self._gauge("colonnade_log_written_bytes", "Written to the spool")
        self._log_failures = self._gauge("colonnade_log_failures", "Writes that failed")
        self._log_lag = self._gauge(
            "colonnade_log_lag_seconds", "How long predictions wait to be written", mode="livemax"
        )
        self._status: dict[tuple[str, int], Counter] = {}
        self._seconds: dict[str, Histogram] = {}
        self._rows: dict[tuple[str, int], Counter] = {}
        self._live: dict[str, Gauge] = {}

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        child = self._status.get((endpoint, status))
        if child is None:
            child = self._requests.labels(endpoint, str(status))
            self._status[endpoint, status] = child
        child.inc()
        timer = self._seconds.get(endpoint)
        if timer is None:
            timer = self._seconds[endpoint] = self._latency.labels(endpoint)
        timer.observe(seconds)

    def predictions(self, endpoint: str, version: int, rows: int) -> None:
        """Count answered rows."""
        child = self._rows.get((endpoint, version))
        if child is None:
            child = self._predictions.labels(endpoint, str(version))
            self._rows[endpoint, version] = child
        child.inc(rows)

    def live(self, endpoint: str, model: str, version: int, revision: str) -> None:
        """Show the revision that answers from now on."""
        if endpoint in self._live:
            self._live[endpoint].set(0)
        child = self._revision.labels(endpoint, model, str(version), revision)
        self._live[endpoint] = child
        child.set(1)

    def sample(self, in_flight: int, logs: Iterable[tuple[str, LogState]]) -> None:
        """Take what is only known at a moment; called every second and at a scrape."""
        self._in_flight.set(in_flight)
        for endpoint, state in logs:
            self._log_rows.labels(endpoint).set(state.pending_rows)
            self._log_bytes.labels(endpoint).set(state.written_bytes)
            self._log_failures.labels(endpoint).set(state.failures)
            self._log_lag.labels(endpoint).set(state.lag_s)

    def page(self) -> bytes:
        """Everything as Prometheus' text, of all workers where there are several."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _gauge(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...] = ("endpoint",),
        mode: Literal["livesum", "livemax"] = "livesum",
    ) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode)
