"""The sections of an edge's settings and their defaults (PROTOCOL §9)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fanwire_edge.core.claims import ClaimNames, ClaimRules
from fanwire_edge.core.drain import DrainLimits
from fanwire_protocol.settings import BrokerSettings, setting

__all__ = [
    "AuthSettings",
    "AuthorizationSettings",
    "DeliverySettings",
    "EdgeSettings",
    "HeartbeatSettings",
    "HistorySettings",
    "JwtSettings",
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
class JwtSettings:
    """The key of JSON Web Tokens and what a token must say; a file's content stands in for its name."""

    secret: str | None = setting(None, "the output of `openssl rand -hex 32`", secret=True)
    secret_file: str | None = setting(None, "/run/secrets/fanwire_jwt")
    public_key: str | None = setting(None, "the text of a PEM file", secret=True)
    public_key_file: str | None = setting(None, "/etc/fanwire/jwt.pem")
    algorithms: tuple[str, ...] = setting((), '["RS256"]')
    issuer: str | None = setting(None, "https://login.example.com/")
    audience: str | None = setting(None, "fanwire")
    typ: str = setting("JWT", "at+jwt", choices=("JWT", "at+jwt"))
    max_lifetime: int = setting(86_400, "86400", minimum=1)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Where credentials come from and how they are read."""

    sources: tuple[str, ...] = setting(("subprotocol", "authorization"), '["subprotocol", "authorization"]')
    default_tenant: str | None = setting(None, "acme")
    header: str = setting("Authorization", "Authorization")
    header_prefix: str = setting("Bearer", "Bearer")
    jwt: JwtSettings = field(default_factory=JwtSettings)
    claims: ClaimNames = field(default_factory=ClaimNames)

    def claim_rules(self) -> ClaimRules:
        """Return the rules for the claims of a token."""
        jwt = self.jwt
        return ClaimRules(self.claims, jwt.issuer, jwt.audience, jwt.max_lifetime, self.default_tenant)


@dataclass(frozen=True, slots=True)
class AuthorizationSettings:
    """Who decides what a principal may read."""

    mode: str = setting("claims", "claims", choices=("claims",))


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
    """What one connection may ask for: channels, and mistakes in a row."""

    max_channels: int = setting(512, "512", minimum=1)
    max_errors: int = setting(10, "10", minimum=1)


@dataclass(frozen=True, slots=True)
class TailSettings:
    """How the log is read: milliseconds that a read waits, entries of a stream in one read, and milliseconds
    between two reads at least (many readers raise them)."""

    block_ms: int = setting(2000, "2000", minimum=10, maximum=60_000)
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
    log: LogSettings = field(default_factory=LogSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    tail: TailSettings = field(default_factory=TailSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
