"""An edge that asks a REST API for permission, and clients whose tokens say nothing of what they may read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.edge.running import PROGRAM, RunningEdge, running_edge
from tests.edge.wire import Wire
from tests.kit.redis_server import SharedRedis
from tests.kit.rest_api import RestApi

__all__ = [
    "BRIEF",
    "IMPATIENT",
    "ROUTES",
    "SERVED",
    "guest",
    "mirrored_edge",
    "order",
    "refusals",
    "rules",
    "subscribe",
    "subscribed",
]

ROUTES = (
    "tenant:{tenant}:resource:orders:{id} {api}/orders/{id}",
    "tenant:{tenant}:resource:invoices:{id} {api}/invoices/{id}",
    "tenant:{tenant}:resource:invoices:* {api}/invoices/any",
)
SERVED = 200
# An edge that does without the control stream for two seconds, not for thirty; to be given BRIEF too, for the
# broker to answer more often than that.
IMPATIENT = (
    "-c",
    """
import functools
from fanwire_edge import authorizers, main
authorizers.PermissionLimits = functools.partial(authorizers.PermissionLimits, blind_seconds=2.0)
raise SystemExit(main.main())
""",
)
BRIEF = {"TAIL__BLOCK_MS": "200"}


def order(number: object, tenant: str = "acme") -> str:
    """Return the channel of an order."""
    return f"tenant:{tenant}:resource:orders:{number}"


def rules(api: RestApi, texts: Sequence[str] = ROUTES) -> str:
    """Return rules as a setting, for the API where it listens."""
    return json.dumps([text.replace("{api}", api.url("").rstrip("/")) for text in texts])


@asynccontextmanager
async def mirrored_edge(
    redis: SharedRedis, api: RestApi, program: Sequence[str] = PROGRAM, **settings: str | None
) -> AsyncIterator[RunningEdge]:
    """Run an edge that asks *api* for what claims do not permit, for two seconds at most."""
    values: dict[str, Any] = {
        "AUTHORIZATION__MODE": "claims,http",
        "AUTHORIZATION__ROUTES": rules(api),
        "AUTHORIZATION__DEADLINE_SECONDS": "2",
        "OUTBOUND__BREAKER_FAILURES": "1000",
        **settings,
    }
    async with running_edge(redis, program=program, **values) as edge:
        yield edge


@asynccontextmanager
async def guest(
    edge: RunningEdge, api: RestApi, *served: str, token: str | None = None, **claims: Any
) -> AsyncIterator[Wire]:
    """Connect as somebody to whom the API serves these paths, for whom the token says nothing."""
    shown = token or edge.token(**{"scope": None, **claims})
    # Whom the API serves anything it knows.
    api.table.update({(f"Bearer {shown}", path): SERVED for path in ("/me", *served)})
    async with await edge.dial() as wire:
        yield await wire.open(f"Authorization: Bearer {shown}")


def subscribe(*channels: str, **fields: Any) -> dict[str, Any]:
    """Return the command."""
    return {"type": "subscribe", "channels": list(channels), **fields}


async def subscribed(client: Wire, *channels: str) -> None:
    """Subscribe to what is permitted."""
    answer = await client.call(subscribe(*channels), "subscribed")
    assert answer["payload"]["channels"] == list(channels)


def refusals(messages: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    """Return code and status of each `error`, by channel."""
    return {
        message["channel"]: (message["payload"]["code"], message["payload"]["status"])
        for message in messages
        if message["type"] == "error"
    }
