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
from fanwire_edge.adapters.redis_archive import RedisArchive
from fanwire_edge.adapters.redis_registry import RedisRegistry
from fanwire_edge.adapters.redis_tail import RedisTail
from fanwire_edge.broadcaster import Broadcaster
from fanwire_edge.config import load
from fanwire_edge.core.answers import Greeting
from fanwire_edge.core.bucket import TokenBucket
from fanwire_edge.core.desk import Desk, DeskLimits
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.follower import Follower
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.log import Log
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.policy import Policies, Policy
from fanwire_edge.core.topics import Topics
from fanwire_edge.core.wheel import Wheel
from fanwire_edge.edge import DeliveryLimits, Edge, Store
from fanwire_edge.ports import Verifier
from fanwire_edge.server import Door, DoorSettings
from fanwire_edge.service import Service
from fanwire_edge.settings import Settings
from fanwire_protocol.settings import BrokerSettings, SettingError

__all__ = ["build", "main"]

RECONNECT_JITTER_MS = 5_000
MAX_TICK_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run an edge until it is told to stop; returns the exit code (2 for a wrong setting)."""
    options = vars(_parser().parse_args(argv))
    try:
        settings = load(options, os.environ)
        service = build(settings)
    except SettingError as problem:
        print(f"fanwire edge: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    logs.configure(settings.logging.level, as_json=settings.logging.json)
    try:
        _runner(settings.edge.loop)(service.run())
    except SettingError as problem:
        print(f"fanwire edge: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def build(settings: Settings) -> Service:
    """Build an edge of *settings*; raises SettingError for a key that cannot be used."""
    tick_seconds = min(MAX_TICK_SECONDS, settings.heartbeat.interval / 10)
    limits = DeskLimits(settings.limits.max_channels, settings.limits.max_errors, RECONNECT_JITTER_MS)
    hub = Hub()
    delivery = settings.delivery
    duplicates = Duplicates(settings.log.duplicates_seconds, settings.log.max_duplicates)
    edge = Edge(
        Store(Log(settings.log.max_bytes), Pages(settings.history.max_bytes, duplicates), duplicates),
        Desk(hub, limits),
        hub,
        Wheel(
            round(settings.heartbeat.interval / tick_seconds),
            round(settings.heartbeat.timeout / tick_seconds),
        ),
        DeliveryLimits(delivery.high_water_bytes, delivery.max_behind_bytes, delivery.stall_seconds),
        Policies(Policy[delivery.policy.upper()], delivery.policies),
        Greeting(settings.heartbeat.interval, settings.heartbeat.timeout, RECONNECT_JITTER_MS),
    )
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
            _door_settings(settings, tick_seconds),
            TokenBucket(settings.edge.admission_per_second, settings.edge.admission_burst),
            Random(),
        ),
        Broadcaster(edge, tail, archive, follower, topics, Random()),
        registry,
        archive,
        topics,
        tick_seconds,
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


def _door_settings(settings: Settings, tick_seconds: float) -> DoorSettings:
    return DoorSettings(
        sources=settings.auth.sources,
        header=settings.auth.header,
        header_prefix=settings.auth.header_prefix,
        plain_get_status=settings.edge.plain_get_status,
        max_connections=settings.edge.max_connections,
        high_water_bytes=settings.delivery.high_water_bytes,
        tick_seconds=tick_seconds,
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
    parser.add_argument("--workers", type=int, help="processes (1)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
