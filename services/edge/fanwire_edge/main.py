"""The composition root of an edge: reads settings, builds, wires, runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from fanwire_edge import logs
from fanwire_edge.adapters.audit import AuditFile, AuditStdout
from fanwire_edge.adapters.prometheus import exposition
from fanwire_edge.adapters.redis_archive import RedisArchive
from fanwire_edge.adapters.redis_audit import RedisAudit
from fanwire_edge.adapters.redis_leases import RedisLeases
from fanwire_edge.adapters.redis_registry import RedisRegistry
from fanwire_edge.adapters.redis_revocations import RedisRevocations
from fanwire_edge.adapters.redis_tail import RedisTail
from fanwire_edge.anteroom import Anteroom
from fanwire_edge.audit import Audit
from fanwire_edge.authorization_check import modes_of
from fanwire_edge.authorizers import build_permissions
from fanwire_edge.broadcaster import Broadcaster
from fanwire_edge.config import load, merge
from fanwire_edge.connection import Connection
from fanwire_edge.control import Control
from fanwire_edge.core.answers import Greeting
from fanwire_edge.core.desk import Desk, DeskLimits
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.follower import Follower
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.latest import Latest
from fanwire_edge.core.log import Log
from fanwire_edge.core.pacing import Pacing
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.policy import Policies, Policy
from fanwire_edge.core.revocations import Revocations
from fanwire_edge.core.throttle import Throttle
from fanwire_edge.core.topics import Topics
from fanwire_edge.core.wheel import Wheel
from fanwire_edge.edge import DeliveryLimits, Edge, Store
from fanwire_edge.guard import Guard
from fanwire_edge.heartbeat import tick_at
from fanwire_edge.leash import Leash
from fanwire_edge.outlet import sender
from fanwire_edge.ports import AuditSink
from fanwire_edge.refresh import Refresher
from fanwire_edge.server import build_door
from fanwire_edge.service import Service
from fanwire_edge.settings import AuditSettings, DeliverySettings, HeartbeatSettings, Settings
from fanwire_edge.supervisor import Supervisor
from fanwire_edge.verifiers import build_outbound, build_verifiers
from fanwire_protocol.settings import BrokerSettings, SettingError

__all__ = ["build", "main"]

RECONNECT_JITTER_MS = 5_000
MAX_TICK_SECONDS = 1.0
# How long before the end of its token a client is told of it.
TOKEN_NOTICE_SECONDS = 60.0
# What a supervisor starts, with the number of the worker behind it: this program, not what lies about in
# the directory that it was started in.
_WORKER = (sys.executable, "-P", "-m", "fanwire_edge.main", "--worker")


def main(argv: Sequence[str] | None = None) -> int:
    """Run an edge until it is told to stop; returns the exit code (2 for a wrong setting)."""
    options = vars(_parser().parse_args(argv))
    worker = options.pop("worker")
    try:
        if worker is not None:
            return _work(worker)
        settings = load(options, os.environ)
        # With several workers, too: what cannot be built is told before any of them starts.
        service = build(settings)
        is_alone = settings.edge.workers == 1
        logs.configure(settings.logging.level, as_json=settings.logging.json, worker=None if is_alone else 0)
        run = service.run if is_alone else Supervisor(settings, _WORKER, exposition, Random()).run
        _runner(settings.edge.loop)(run())
    except SettingError as problem:
        print(f"fanwire edge: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _work(number: int) -> int:
    """Be the worker *number* of a supervisor; raises SettingError where there is none."""
    leash = Leash()
    try:
        settings = merge(leash.settings(), {}, {})
        logs.configure(settings.logging.level, as_json=settings.logging.json, worker=number)
        service = build(settings)
        _runner(settings.edge.loop)(service.run_on(leash))
    except EOFError:
        return 1
    except SettingError as problem:
        # It says so once, for all workers.
        leash.refuse(str(problem))
        return 2
    return 0


def build(settings: Settings) -> Service:
    """Build an edge of *settings*; raises SettingError for a key that cannot be used."""
    tick_seconds = min(MAX_TICK_SECONDS, settings.heartbeat.interval / 10)
    edge = _edge(settings, tick_seconds)
    broker = settings.broker
    tail, archive, registry = _redis(broker)
    edge.pacing = Pacing(settings.tail.min_interval_ms)
    edge.revocations = Revocations(settings.auth.jwt.max_lifetime)
    edge.throttle = Throttle(settings.limits.throttle(settings.edge.workers))
    edge.guard = _guard(edge, settings)
    edge.audit = Audit(_audit_sink(settings.audit, settings.broker), edge.tally)
    outbound = build_outbound(settings.outbound, edge.tally.outbound)
    places = settings.outbound.max_concurrent
    edge.permissions = build_permissions(edge, settings.authorization, outbound, places)
    verifiers = build_verifiers(settings, outbound)
    is_kept = "http" in modes_of(settings.authorization)
    authenticator = verifiers.authenticator(settings.auth, is_kept=is_kept)
    edge.anteroom = Anteroom(edge, authenticator, settings.auth.in_band_seconds, tick_seconds)
    edge.refresher = Refresher(edge, authenticator, tick_seconds)
    topics = Topics(broker.topics, broker.max_topics, edge.tally)
    follower = Follower(settings.tail.count, settings.tail.block_ms)
    revocations = RedisRevocations(broker.url, broker.prefix)
    control = Control(edge, revocations, topics, closes=settings.authorization.on_revoke == "close")
    service = Service(
        settings,
        edge,
        build_door(settings, edge, authenticator, tick_seconds),
        Broadcaster(edge, tail, archive, follower, topics, control, Random()),
        registry,
        archive,
        topics,
        tick_seconds,
    )
    service.companions += [outbound, edge.permissions, *verifiers.companions]
    return service


def _edge(settings: Settings, tick_seconds: float) -> Edge:
    limits = DeskLimits(settings.limits.max_channels, settings.limits.max_errors, RECONNECT_JITTER_MS)
    hub = Hub(sender())
    delivery = settings.delivery
    duplicates = Duplicates(settings.log.duplicates_seconds, settings.log.max_duplicates)
    policies = Policies(Policy[delivery.policy.upper()], delivery.policies)
    latest = Latest(policies.conflate if Policy.CONFLATE in policies.all else None)
    return Edge(
        Store(Log(settings.log.max_bytes, latest), Pages(settings.history.max_bytes, duplicates), duplicates),
        Desk(hub, limits),
        hub,
        _wheel(settings.heartbeat, tick_seconds),
        _delivery_limits(delivery),
        policies,
        Greeting(settings.heartbeat.interval, settings.heartbeat.timeout, RECONNECT_JITTER_MS),
    )


def _audit_sink(audit: AuditSettings, broker: BrokerSettings) -> AuditSink | None:
    match audit.target:
        case "file":
            return AuditFile(audit.path or "")
        case "stdout":
            return AuditStdout()
        case "redis":
            return RedisAudit(broker.url, broker.prefix, audit.max_entries)
    return None


def _guard(edge: Edge, settings: Settings) -> Guard:
    broker, limits = settings.broker, settings.limits.guard()
    if not limits.are_any:
        return Guard(edge)
    return Guard(edge, RedisLeases(broker.url, broker.prefix, limits.lease_seconds, limits.attempts), limits)


def _wheel(heartbeat: HeartbeatSettings, tick_seconds: float) -> Wheel[Connection]:
    interval, timeout = (round(seconds / tick_seconds) for seconds in (heartbeat.interval, heartbeat.timeout))
    notice = round(TOKEN_NOTICE_SECONDS / tick_seconds)
    return Wheel(interval, timeout, tick_at(time.monotonic(), tick_seconds), notice)


def _delivery_limits(delivery: DeliverySettings) -> DeliveryLimits:
    return DeliveryLimits(
        delivery.high_water_bytes,
        delivery.max_behind_bytes,
        delivery.stall_seconds,
        max_behind_entries=delivery.max_behind_entries,
        max_buffered_bytes=delivery.max_buffered_bytes,
    )


def _redis(broker: BrokerSettings) -> tuple[RedisTail, RedisArchive, RedisRegistry]:
    place = (broker.url, broker.prefix)
    try:
        return RedisTail(*place), RedisArchive(*place), RedisRegistry(*place)
    except (TypeError, ValueError):
        # The library's text may show parts of the URL, which holds a password.
        raise SettingError(
            "broker.url: is no URL of a Redis, or has an option that is none; "
            "for example redis://localhost:6379/0"
        ) from None


def _runner(loop: str) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Return what runs the service: uvloop where it is installed, unless asyncio was asked for."""
    if loop != "asyncio":
        try:
            import uvloop
        except ImportError:
            if loop == "uvloop":
                raise SettingError("edge.loop: uvloop is not installed; use auto or asyncio") from None
        else:
            return uvloop.run
    return asyncio.run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fanwire edge", description="Tail the log in Redis and fan it out over WebSocket."
    )
    parser.add_argument("--config", metavar="FILE", help="a TOML file; the environment wins over it")
    parser.add_argument("--host", help="address of the public port (0.0.0.0)")
    parser.add_argument("--port", type=int, help="the public port (8080)")
    parser.add_argument("--ops-port", type=int, help="the port for health and metrics (8081)")
    parser.add_argument("--workers", type=int, help="processes that share the public port (1)")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
