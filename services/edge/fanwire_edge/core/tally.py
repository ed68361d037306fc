"""The tally: what an edge counts, as plain integers, and how it is at one moment.

The hot path adds to attributes once per batch, never per recipient; an adapter shows them to operators.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass

from fanwire_protocol.codes import CloseCode, GapReason

__all__ = [
    "ABNORMAL",
    "CUTS",
    "LATENCY_BUCKETS_MS",
    "ORDERS",
    "RATE_LIMITS",
    "Gauges",
    "Tally",
    "close_reason",
]

# What a connection ends with that was lost without a CLOSE frame (RFC 6455 section 7.1.5).
ABNORMAL = 1006
_REASONS = {int(code): code.name.lower() for code in CloseCode} | {
    1001: "going_away",
    1005: "no_status",
    ABNORMAL: "lost",
}

# Why slow connections are cut: too far behind or no progress, beyond the log in memory, beyond the log in
# Redis, or the furthest behind of an edge that holds too much.
CUTS = ("slow", "memory", "history", "budget")

# Limits that refuse: budgets of a connection or a tenant on this edge, what is counted across edges, and
# sockets on which nothing is said.
RATE_LIMITS = (
    "commands",
    "pings",
    "churn",
    "tenant",
    "attempts",
    "connections_user",
    "connections_tenant",
    "connections_ip",
    "connections_key",
    "half_open",
)

# What edges are told to do to connections; what breaks the rules is counted as `invalid`.
ORDERS = ("revoke", "disconnect", "invalid")

# What others answered about a channel.
DECISIONS = ("permitted", "forbidden", "unauthenticated", "unavailable")
# What became of requests to other services: any answer, none, or not even asked.
OUTBOUND = ("answered", "failed", "not_asked")
# Why subscriptions ended that the client did not end.
ENDINGS = ("revoked", "expired")

# How much of what a client asked for could be proven.
RESUMES = ("recovered", "partial")

# Upper bounds in milliseconds; what lies above is in the last, open bucket.
LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Tally:
    """Counters since the start of the process."""

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed: Counter[str] = Counter()
        self.handshakes: Counter[str] = Counter()
        self.events_read = 0
        self.events_invalid = 0
        self.events_unroutable = 0
        self.events_repeated = 0
        self.resumes: Counter[str] = Counter(dict.fromkeys(RESUMES, 0))
        self.topics_refused = 0
        self.roles_unjoined = 0
        self.frames_out = 0
        self.frames_skipped = 0
        self.bytes_out = 0
        self.batches = 0
        self.commands = 0
        self.errors_out: Counter[str] = Counter()
        # All there are from the beginning: who watches the first gap has to see it begin at none.
        self.gaps: Counter[str] = Counter({reason.value: 0 for reason in GapReason})
        self.cuts: Counter[str] = Counter(dict.fromkeys(CUTS, 0))
        self.rate_limited: Counter[str] = Counter(dict.fromkeys(RATE_LIMITS, 0))
        self.decisions: Counter[str] = Counter(dict.fromkeys(DECISIONS, 0))
        self.outbound: Counter[str] = Counter(dict.fromkeys(OUTBOUND, 0))
        self.subscriptions_ended: Counter[str] = Counter(dict.fromkeys(ENDINGS, 0))
        self.tail_lost = 0
        self.audit_lines = 0
        self.audit_lost = 0
        self.latency_counts = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        self.latency_sum_ms = 0
        self.orders: Counter[str] = Counter(dict.fromkeys(ORDERS, 0))
        self.revocation_counts = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        self.revocation_sum_ms = 0

    def observe_latency(self, milliseconds: int) -> None:
        """Count the time of one event from the broker's clock to the end of its batch's writes."""
        self.latency_counts[bisect_left(LATENCY_BUCKETS_MS, milliseconds)] += 1
        self.latency_sum_ms += max(0, milliseconds)

    def observe_revocation(self, milliseconds: int) -> None:
        """Count the time of one revocation from the broker's clock to the last of its goodbyes."""
        self.revocation_counts[bisect_left(LATENCY_BUCKETS_MS, milliseconds)] += 1
        self.revocation_sum_ms += max(0, milliseconds)


@dataclass(frozen=True, slots=True)
class Gauges:
    """Readings of one moment; sizes in bytes, times in seconds."""

    workers_ready: bool
    connections_active: int
    connections_behind: int
    buffered_bytes: int
    subscriptions: int
    channels_active: int
    log_bytes: int
    log_records: int
    history_bytes: int
    history_reads: int
    tail_reading: bool
    tail_readers: int
    tail_lag_seconds: float


def close_reason(code: int) -> str:
    """Return the name of a close code, of a bounded set, since a peer may send any number."""
    return _REASONS.get(code, "other")
