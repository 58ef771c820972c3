"""
Counters as Prometheus text, and two questions for whoever supervises the process: does it live, may it be given work.

What the service publishes keeps the service's names under `webpubsub_`; what is ours stands under `hubwire_`; the
process itself has the names that Prometheus clients give it.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hubwire.model.telemetry import Telemetry
from hubwire.rest.call import Call
from hubwire.rest.operation import Operation, Reply

__all__ = ["Probes", "TelemetryCollector"]

_TEXT: Final = "text/plain; charset=utf-8"
_SHORTEST_WINDOW_S: Final = 0.1


class _ServerLoad:
    """Percent of one core that this process used since it was last asked, which is since the last scrape."""

    def __init__(self, clock: Callable[[], float], cpu_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._at = clock()
        self._cpu_s = cpu_clock()
        self._percent = 0.0

    def percent(self) -> float:
        at, cpu_s = self._clock(), self._cpu_clock()
        # Over less than that the clocks say nothing; two scrapers at once see the same value.
        if at - self._at >= _SHORTEST_WINDOW_S:
            self._percent = 100 * (cpu_s - self._cpu_s) / (at - self._at)
            self._at, self._cpu_s = at, cpu_s
        return self._percent


class TelemetryCollector(Collector):
    """
    Reads the counters when it is scraped; the hot path knows nothing of Prometheus.

    Args:
        clock, cpu_clock: in seconds, of the wall and of this process.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._telemetry = telemetry
        self._load = _ServerLoad(clock, cpu_clock)

    def collect(self) -> Iterator[Metric]:
        yield from self._published()
        yield from self._ours()

    def _published(self) -> Iterator[Metric]:
        now = self._telemetry
        yield _gauge("webpubsub_connection_count", "Connections now.", now.connections)
        yield _counter("webpubsub_connection_open", "Connections opened.", now.opened)
        closed = CounterMetricFamily("webpubsub_connection_close", "Connections ended, by reason.", labels=["category"])
        for category, count in now.closed.items():
            closed.add_metric([category.value], count)
        yield closed
        yield _gauge(
            "webpubsub_connection_quota_utilization",
            "Connections in percent of those allowed.",
            100 * now.connections / now.connection_quota,
        )
        yield _counter("webpubsub_inbound_bytes", "Bytes from clients and REST bodies.", now.inbound_bytes)
        yield _counter("webpubsub_outbound_bytes", "Bytes to clients and REST bodies.", now.outbound_bytes)
        yield _gauge("webpubsub_server_load", "Percent of one core since the last scrape.", self._load.percent())

    def _ours(self) -> Iterator[Metric]:
        now = self._telemetry
        yield _gauge("hubwire_connections_retained", "Connections that wait for their recovery.", now.retained)
        yield _gauge("hubwire_queued_bytes", "Bytes that wait for clients who read too slowly.", now.queued_bytes)
        yield _gauge("hubwire_journal_unwritten", "Changes that are to be on the disk, and are not.", now.unwritten())
        yield _gauge("hubwire_invocations", "Invocations that wait for their event handler.", now.invocations)
        yield _gauge("hubwire_mqtt_retained_messages", "Retained messages of MQTT.", now.kept_messages)
        yield _gauge("hubwire_mqtt_retained_bytes", "Bytes of retained messages, as limits count.", now.kept_bytes)
        yield _counter("hubwire_inbound_messages", "Publishes and events taken.", now.inbound_messages)
        yield _counter("hubwire_outbound_messages", "Messages handed to connections.", now.outbound_messages)
        refused = CounterMetricFamily("hubwire_upgrades_refused", "Upgrades answered without 101.", labels=["status"])
        for status, count in now.refused.items():
            refused.add_metric([str(status)], count)
        yield refused
        requests = CounterMetricFamily("hubwire_requests", "HTTP requests answered.", labels=["operation", "status"])
        for (operation, status), count in now.requests.items():
            requests.add_metric([operation, str(status)], count)
        yield requests
        errors = CounterMetricFamily("hubwire_ack_errors", "Requests of clients that failed.", labels=["name"])
        for name, count in now.ack_errors.items():
            errors.add_metric([name], count)
        yield errors
        recoveries = CounterMetricFamily("hubwire_recoveries", "Attempts of dropped clients.", labels=["result"])
        recoveries.add_metric(["resumed"], now.recoveries)
        recoveries.add_metric(["refused"], now.recoveries_refused)
        yield recoveries
        yield from self._streams()
        yield from self._handlers()

    def _streams(self) -> Iterator[Metric]:
        now = self._telemetry
        yield _gauge("hubwire_streams", "Streams of clients that are open.", now.streams)
        closed = CounterMetricFamily("hubwire_streams_closed", "Streams ended, by error.", labels=["error"])
        for name, count in now.streams_closed.items():
            closed.add_metric([name], count)
        yield closed
        refused = CounterMetricFamily("hubwire_streams_refused", "Requests about streams that failed.", labels=["name"])
        for name, count in now.streams_refused.items():
            refused.add_metric([name], count)
        yield refused

    def _handlers(self) -> Iterator[Metric]:
        labels = ["resource", "hub", "handler"]
        in_flight = GaugeMetricFamily("hubwire_handler_calls", "Calls of event handlers now.", labels=labels)
        waiting = GaugeMetricFamily("hubwire_handler_waiting", "Calls that wait for their turn.", labels=labels)
        events = CounterMetricFamily(
            "hubwire_handler_events", "Events by how they ended.", labels=[*labels, "event", "outcome"]
        )
        for handler, counters in self._telemetry.handlers.items():
            in_flight.add_metric(handler, counters.in_flight)
            waiting.add_metric(handler, counters.waiting)
            for ended, count in counters.events.items():
                events.add_metric([*handler, *ended], count)
        yield in_flight
        yield waiting
        yield events


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    """Its samples get `_total` behind their name."""
    return CounterMetricFamily(name, text, value)


class Probes:
    """
    The handlers for supervisors, outside of `/api` and without a token.

    Args:
        ready: false while the server starts or stops.
    """

    def __init__(self, telemetry: Telemetry, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._registry = CollectorRegistry()
        self._registry.register(TelemetryCollector(telemetry))
        # Memory, processor time and file descriptors, where the system tells; reading them costs some 100 µs.
        ProcessCollector(registry=self._registry)

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        rows = (
            ("/metrics", "Metrics", self._metrics, (200,)),
            ("/healthz", "Liveness", self._alive, (200,)),
            ("/readyz", "Readiness", self._may_work, (200, 503)),
        )
        return tuple(
            Operation(method, path, name, handler, statuses, surface="probe")
            for path, name, handler, statuses in rows
            for method in ("GET", "HEAD")
        )

    async def _metrics(self, call: Call) -> Reply:  # noqa: ARG002  handlers look alike
        return Reply(generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    async def _alive(self, call: Call) -> Reply:  # noqa: ARG002
        return Reply(b"ok\n", _TEXT)

    async def _may_work(self, call: Call) -> Reply:  # noqa: ARG002
        if self._ready():
            return Reply(b"ready\n", _TEXT)
        return Reply(b"starting or stopping\n", _TEXT, status=503)
