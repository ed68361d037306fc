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
from fanwire_edge.adapters.jwt import JwtVerifier, load_key
from fanwire_edge.adapters.prometheus import exposition
from fanwire_edge.adapters.redis_archive import RedisArchive
from fanwire_edge.adapters.redis_registry import RedisRegistry
from fanwire_edge.adapters.redis_tail import RedisTail
from fanwire_edge.broadcaster import Broadcaster
from fanwire_edge.config import load, merge
from fanwire_edge.connection import Connection
from fanwire_edge.core.answers import Greeting
from fanwire_edge.core.bucket import TokenBucket
from fanwire_edge.core.desk import Desk, DeskLimits
from fanwire_edge.core.dialect import Dialects
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.follower import Follower
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.latest import Latest
from fanwire_edge.core.log import Log
from fanwire_edge.core.pacing import Pacing
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.policy import Policies, Policy
from fanwire_edge.core.record import Record
from fanwire_edge.core.topics import Topics
from fanwire_edge.core.wheel import Wheel
from fanwire_edge.edge import DeliveryLimits, Edge, Store
from fanwire_edge.heartbeat import tick_at
from fanwire_edge.leash import Leash
from fanwire_edge.outlet import sender
from fanwire_edge.ports import Verifier
from fanwire_edge.server import Door, DoorSettings
from fanwire_edge.service import Service
from fanwire_edge.settings import DeliverySettings, HeartbeatSettings, Settings
from fanwire_edge.supervisor import Supervisor
from fanwire_protocol.settings import BrokerSettings, SettingError

__all__ = ["build", "main"]

RECONNECT_JITTER_MS = 5_000
MAX_TICK_SECONDS = 1.0
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
    limits = DeskLimits(settings.limits.max_channels, settings.limits.max_errors, RECONNECT_JITTER_MS)
    hub = Hub(sender())
    delivery = settings.delivery
    duplicates = Duplicates(settings.log.duplicates_seconds, settings.log.max_duplicates)
    policies = Policies(Policy[delivery.policy.upper()], delivery.policies)
    latest = Latest(policies.conflate if Policy.CONFLATE in policies.all else None)
    edge = Edge(
        Store(Log(settings.log.max_bytes, latest), Pages(settings.history.max_bytes, duplicates), duplicates),
        Desk(hub, limits),
        hub,
        _wheel(settings.heartbeat, tick_seconds),
        _delivery_limits(delivery),
        policies,
        Greeting(settings.heartbeat.interval, settings.heartbeat.timeout, RECONNECT_JITTER_MS),
    )
    edge.pacing = Pacing(settings.tail.min_interval_ms)
    broker = settings.broker
    topics = Topics(broker.topics, broker.max_topics, edge.tally)
    follower = Follower(settings.tail.count, settings.tail.block_ms)
    tail, archive, registry = _redis(broker)
    return Service(
        settings,
        edge,
        Door(
            edge,
            _verifier(settings),
            _door_settings(settings, tick_seconds, edge.faulty),
            TokenBucket(*settings.edge.admission()),
            Random(),
        ),
        Broadcaster(edge, tail, archive, follower, topics, Random()),
        registry,
        archive,
        topics,
        tick_seconds,
    )


def _wheel(heartbeat: HeartbeatSettings, tick_seconds: float) -> Wheel[Connection]:
    interval, timeout = (round(seconds / tick_seconds) for seconds in (heartbeat.interval, heartbeat.timeout))
    return Wheel(interval, timeout, tick_at(time.monotonic(), tick_seconds))


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


def _verifier(settings: Settings) -> Verifier:
    jwt = settings.auth.jwt
    return JwtVerifier(
        load_key(jwt.secret, jwt.public_key, jwt.algorithms),
        settings.auth.claim_rules(),
        time.time,
        access_tokens_only=jwt.typ == "at+jwt",
    )


def _door_settings(settings: Settings, tick_seconds: float, faulty: list[Record]) -> DoorSettings:
    return DoorSettings(
        sources=settings.auth.sources,
        header=settings.auth.header,
        header_prefix=settings.auth.header_prefix,
        plain_get_status=settings.edge.plain_get_status,
        max_connections=settings.edge.connection_limit(),
        high_water_bytes=settings.delivery.high_water_bytes,
        tick_seconds=tick_seconds,
        dialects=Dialects(settings.delivery.deflate_from_bytes(), faulty),
    )


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
