"""The sections of an edge's settings and their defaults (PROTOCOL §9)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fanwire_edge.auth_settings import (
    AuthorizationSettings,
    AuthSettings,
    OriginSettings,
    OutboundSettings,
)
from fanwire_edge.core.drain import DrainLimits
from fanwire_edge.core.leases import ConnectionLimits, GuardLimits
from fanwire_edge.core.throttle import Pace, ThrottleLimits
from fanwire_protocol.settings import BrokerSettings, setting

__all__ = [
    "AuditSettings",
    "DeliverySettings",
    "EdgeSettings",
    "HeartbeatSettings",
    "HistorySettings",
    "LimitSettings",
    "LogSettings",
    "LoggingSettings",
    "Settings",
    "TailSettings",
]

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Where the edge listens and how it takes connections; `path` is the WebSocket's."""

    host: str = setting("0.0.0.0", "0.0.0.0")
    port: int = setting(8080, "8080", minimum=0, maximum=65_535)
    ops_host: str = setting("127.0.0.1", "127.0.0.1")
    ops_port: int = setting(8081, "8081", minimum=0, maximum=65_535)
    path: str = setting("/ws", "/ws")
    workers: int = setting(1, "1", minimum=1, maximum=256)
    loop: str = setting("auto", "auto", choices=("auto", "uvloop", "asyncio"))
    max_connections: int = setting(100_000, "100000", minimum=1)
    upgrade_seconds: float = setting(5.0, "5", minimum=0.1, maximum=60)
    plain_get_status: int = setting(426, "426")
    admission_per_second: int = setting(1000, "1000", minimum=1)
    admission_burst: int = setting(2000, "2000", minimum=1)
    trusted_proxies: tuple[str, ...] = setting((), '["10.0.0.0/8"]')
    entrypoints: str | None = setting(None, "/etc/fanwire/entrypoints.toml")
    drain_seconds: float = setting(30.0, "30", minimum=0, maximum=3600)
    drain_grace_seconds: float = setting(2.0, "2", minimum=0, maximum=3600)
    drain_per_second: int = setting(200, "200", minimum=1)

    def drain_limits(self) -> DrainLimits:
        """Return the limits of a drain for one worker, which has its share of the edge's pace."""
        pace = self.drain_per_second / self.workers
        return DrainLimits(pace, self.drain_grace_seconds, self.drain_seconds)

    def admission(self) -> tuple[float, float]:
        """Return how many upgrades a second one worker admits, and how many at once."""
        return self.admission_per_second / self.workers, max(1.0, self.admission_burst / self.workers)

    def connection_limit(self) -> int:
        """Return how many connections one worker holds at most."""
        return math.ceil(self.max_connections / self.workers)


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """Seconds between pings, and of silence until a peer is dropped; `json` pings where browsers see it."""

    interval: float = setting(30.0, "30", minimum=0.1, maximum=3600)
    timeout: float = setting(60.0, "60", minimum=0.1, maximum=7200)
    json: bool = setting(False, "true")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Recent entries in memory, one budget for the process."""

    max_bytes: int = setting(256 * _MEBIBYTE, "268435456", minimum=65_536)
    duplicates_seconds: int = setting(120, "120", minimum=1, maximum=3600)
    max_duplicates: int = setting(1_000_000, "1000000", minimum=1000)


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Pages of older entries, shared between the clients that resume."""

    max_bytes: int = setting(64 * _MEBIBYTE, "67108864", minimum=65_536)


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """When a connection is behind, and how far behind is too far."""

    policy: str = setting(
        "disconnect", "disconnect", choices=("disconnect", "catch_up", "drop_oldest", "conflate")
    )
    policies: tuple[str, ...] = setting((), '["tenant:*:resource:logs:* catch_up"]')
    high_water_bytes: int = setting(65_536, "65536", minimum=1024)
    max_behind_bytes: int = setting(262_144, "262144", minimum=1024)
    max_behind_entries: int = setting(1000, "1000", minimum=1, maximum=10_000)
    max_buffered_bytes: int = setting(256 * _MEBIBYTE, "268435456", minimum=65_536)
    stall_seconds: float = setting(10.0, "10", minimum=0.1, maximum=3600)
    send_buffer_bytes: int = setting(65_536, "65536", minimum=4096)
    compression: str = setting("off", "deflate", choices=("off", "deflate"))
    compress_from_bytes: int = setting(1024, "1024", minimum=64)

    def deflate_from_bytes(self) -> int | None:
        """Return from which size on frames are compressed; None for never."""
        return self.compress_from_bytes if self.compression == "deflate" else None


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What a connection may ask for, and what users, tenants, addresses and keys may together; 0 is no limit.

    What is counted by edge is on by default; what is counted across edges, through Redis, is not.
    """

    max_channels: int = setting(512, "512", minimum=1)
    max_errors: int = setting(10, "10", minimum=1)
    commands_per_second: float = setting(20.0, "20", minimum=0)
    commands_burst: int = setting(40, "40", minimum=1)
    pings_per_second: float = setting(10.0, "10", minimum=0)
    pings_burst: int = setting(30, "30", minimum=1)
    churn_per_second: float = setting(100.0, "100", minimum=0)
    churn_burst: int = setting(1024, "1024", minimum=1)
    tenant_per_second: float = setting(2000.0, "2000", minimum=0)
    connections_per_user: int = setting(0, "5", minimum=0)
    connections_per_tenant: int = setting(0, "10000", minimum=0)
    connections_per_ip: int = setting(0, "100", minimum=0)
    connections_per_key: int = setting(0, "50", minimum=0)
    attempts_per_minute: int = setting(0, "100", minimum=0)
    without_redis: str = setting("open", "closed", choices=("open", "closed"))
    lease_seconds: float = setting(30.0, "30", minimum=1, maximum=3600)

    def throttle(self, workers: int) -> ThrottleLimits:
        """Return what clients may do how often at one of so many workers, which has its share of a tenant."""
        share = self.tenant_per_second / workers
        return ThrottleLimits(
            commands=Pace(self.commands_per_second, self.commands_burst),
            pings=Pace(self.pings_per_second, self.pings_burst),
            churn=Pace(self.churn_per_second, self.churn_burst),
            tenant=Pace(share, max(1.0, share)),
        )

    def guard(self) -> GuardLimits:
        """Return what is counted across all edges."""
        connections = ConnectionLimits(
            user=self.connections_per_user,
            key=self.connections_per_key,
            ip=self.connections_per_ip,
            tenant=self.connections_per_tenant,
        )
        is_open = self.without_redis == "open"
        return GuardLimits(connections, self.attempts_per_minute, self.lease_seconds, is_open)


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where the audit log goes: nowhere, a file, standard output, or a stream in Redis."""

    target: str = setting("off", "file", choices=("off", "file", "stdout", "redis"))
    path: str | None = setting(None, "/var/log/fanwire/audit.jsonl")
    max_entries: int = setting(100_000, "100000", minimum=1)


@dataclass(frozen=True, slots=True)
class TailSettings:
    """How the log is read: milliseconds that a read waits, entries of a stream in one read, and milliseconds
    between two reads at least (many readers raise them)."""

    block_ms: int = setting(2000, "2000", minimum=10, maximum=20_000)
    count: int = setting(512, "512", minimum=1, maximum=10_000)
    min_interval_ms: int = setting(0, "0", minimum=0, maximum=1000)


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """What is logged, and whether as JSON."""

    level: str = setting("INFO", "INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    json: bool = setting(False, "true")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of an edge; secrets are in no `repr`."""

    broker: BrokerSettings = field(default_factory=BrokerSettings)
    edge: EdgeSettings = field(default_factory=EdgeSettings)
    heartbeat: HeartbeatSettings = field(default_factory=HeartbeatSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    authorization: AuthorizationSettings = field(default_factory=AuthorizationSettings)
    origins: OriginSettings = field(default_factory=OriginSettings)
    outbound: OutboundSettings = field(default_factory=OutboundSettings)
    log: LogSettings = field(default_factory=LogSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    tail: TailSettings = field(default_factory=TailSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
