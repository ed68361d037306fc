"""The tally as Prometheus metrics. Labels come from bounded sets only, never from clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from fanwire_edge.core.tally import LATENCY_BUCKETS_MS, Gauges, Tally
from fanwire_edge.core.totals import Families, Family

__all__ = ["EdgeCollector", "exposition", "families"]


_GAUGES = {
    "workers_ready": "Processes that read from the broker and take connections.",
    "connections_active": "WebSocket connections that are open.",
    "connections_behind": "Connections that read the log because they are behind.",
    "buffered_bytes": "Bytes in the transports of connections that are behind or closing.",
    "subscriptions": "Subscriptions, those of the server's channels included.",
    "channels_active": "Channels and patterns with a subscriber.",
    "log_bytes": "Bytes that the log in memory is charged with.",
    "log_records": "Records that the log in memory holds.",
    "history_bytes": "Bytes of pages of history in memory.",
    "tail_reading": "1 while the broker is being read.",
    "tail_readers": "Tails on the broker, this one included.",
    "tail_lag_seconds": "Seconds since the broker last answered a read.",
}


class EdgeCollector(Collector):
    """Reads the counters of one edge, and its gauges, when it is asked."""

    def __init__(self, tally: Tally, gauges: Callable[[], Gauges]) -> None:
        self._tally = tally
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        gauges = self._gauges()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"fanwire_{name}", text, value=float(getattr(gauges, name)))
        tasks = len(asyncio.all_tasks())
        yield GaugeMetricFamily("fanwire_tasks", "asyncio tasks of the process.", value=tasks)
        reads = "Pages of history read from the broker."
        yield CounterMetricFamily("fanwire_history_reads", reads, value=gauges.history_reads)
        # Those who end are counted by who outlives them.
        yield CounterMetricFamily("fanwire_worker_restarts", "Workers that ended.", value=0)
        yield from self._counters()
        yield from self._latencies()

    def _counters(self) -> Iterable[Metric]:
        tally = self._tally
        plain: Mapping[str, tuple[str, int]] = {
            "connections_opened": ("Connections opened.", tally.connections_opened),
            "events_read": ("Entries read from the log.", tally.events_read),
            "events_invalid": ("Entries that break the contract and were skipped.", tally.events_invalid),
            "events_unroutable": ("Events that map to no channel.", tally.events_unroutable),
            "events_repeated": ("Events that stand in the log twice.", tally.events_repeated),
            "frames_out": ("Event frames written.", tally.frames_out),
            "frames_skipped": ("Event frames that later ones stand for.", tally.frames_skipped),
            "bytes_out": ("Bytes of event frames written.", tally.bytes_out),
            "batches": ("Batches fanned out.", tally.batches),
            "commands": ("Commands carried out or refused.", tally.commands),
            "tail_lost": ("Times that the broker could not be read.", tally.tail_lost),
            "audit_lines": ("Lines of the audit log that were written.", tally.audit_lines),
            "audit_lost": ("Lines of the audit log that were lost.", tally.audit_lost),
            "topics_refused": ("Topics above broker.max_topics.", tally.topics_refused),
            "roles_unjoined": ("Roles whose text can be no channel.", tally.roles_unjoined),
        }
        for name, (text, value) in plain.items():
            yield CounterMetricFamily(f"fanwire_{name}", text, value=value)
        labelled: Mapping[str, tuple[str, str, Mapping[str, int]]] = {
            "connections_closed": ("Connections closed.", "reason", tally.connections_closed),
            "handshakes": ("Requests for a WebSocket by result.", "result", tally.handshakes),
            "errors_out": ("Error frames written.", "code", tally.errors_out),
            "resumes": ("Requests to resume by result.", "result", tally.resumes),
            "orders": ("Orders of the control stream by operation.", "operation", tally.orders),
            "gaps": ("Gaps told.", "reason", tally.gaps),
            "authorizations": ("Channels that others were asked about.", "decision", tally.decisions),
            "outbound_requests": ("Requests to other services by result.", "result", tally.outbound),
            "subscriptions_ended": ("Subscriptions ended here.", "reason", tally.subscriptions_ended),
            "connections_cut": ("Connections cut because they read too slowly.", "reason", tally.cuts),
            "rate_limited": ("Refusals because of a limit.", "limit", tally.rate_limited),
        }
        for name, (text, label, values) in labelled.items():
            family = CounterMetricFamily(f"fanwire_{name}", text, labels=[label])
            for key, value in values.items():
                family.add_metric([key], value)
            yield family

    def _latencies(self) -> Iterable[Metric]:
        tally = self._tally
        yield _histogram(
            "publish_to_write",
            "From the broker's clock at the event's entry to the end of its batch's writes.",
            tally.latency_counts,
            tally.latency_sum_ms,
        )
        yield _histogram(
            "revocation_latency",
            "From the broker's clock at a revocation's entry to the last write of what it ended here.",
            tally.revocation_counts,
            tally.revocation_sum_ms,
        )


def _histogram(name: str, text: str, counts: Sequence[int], sum_ms: int) -> Metric:
    bounds = [str(bound / 1000) for bound in LATENCY_BUCKETS_MS] + ["+Inf"]
    buckets = list(zip(bounds, accumulate(counts), strict=True))
    return HistogramMetricFamily(f"fanwire_{name}_seconds", text, buckets=buckets, sum_value=sum_ms / 1000)


class _Given(Collector):
    """Shows families as they are."""

    def __init__(self, given: Families) -> None:
        self._given = given

    def collect(self) -> Iterable[Metric]:
        for family in self._given:
            metric = Metric(family.name, family.text, family.kind)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric


def exposition(given: Families) -> bytes:
    """Return *given* as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_Given(given))
    return generate_latest(registry)


def families(collector: Collector) -> list[Family]:
    """Return all that *collector* shows, as values."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            {(sample.name, tuple(sample.labels.items())): sample.value for sample in metric.samples},
        )
        for metric in collector.collect()
    ]
