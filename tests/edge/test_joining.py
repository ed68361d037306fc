"""Joining, where something was revoked between the decision at the door and the place in the log."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from typing import Any

import pytest

from fanwire_edge.core.room import Room
from fanwire_edge.core.state import State
from fanwire_edge.joining import join
from fanwire_protocol.orders import Operation, Order
from tests.edge.model_broker import ModelBroker
from tests.edge.model_world import Client, EdgeLimits, ModelEdge
from tests.kit.wait import eventually

LIMITS = EdgeLimits(100_000, 100_000, 120, 10, 10)
MINE, OTHER = "tenant:acme:resource:orders:1", "tenant:acme:resource:orders:2"


async def ended(room: Room, order: Order | None, *, is_known: bool = True) -> tuple[State, dict[str, Any]]:
    """Let somebody join *room* after *order* was obeyed; return what became of it, and its last frame."""
    world = ModelEdge(ModelBroker(120_000), LIMITS, {"orders"})
    async with world, asyncio.timeout(5):
        await eventually(partial(_is_level, world))
        client = Client(world, 100_000, None)
        client.connection.opening = partial(join, world.edge, client.connection, {}, room=room)
        world.edge.revocations.is_known = is_known
        if order is not None:
            world.edge.revocations.add(order, time.time())
            world.edge.permissions.outdate(order.channels)
        client.open()
        client.drain(100_000)
        state = client.connection.state
        client.cut()
    start = client.received.index(b'{"type":')
    frame, _ = json.JSONDecoder().raw_decode(client.received[start:].decode("utf-8", "replace"))
    return state, frame


async def _is_level(world: ModelEdge) -> bool:
    return world.is_level


def revocation(*channels: str) -> Order:
    """Return an order that takes *channels*, or everything, from everybody of `acme`."""
    now_ms = int(time.time() * 1000)
    return Order(Operation.REVOKE, "1", now_ms, tenant="acme", channels=channels or None)


@pytest.mark.parametrize(
    ("room", "order", "code"),
    [
        (Room((MINE,)), None, None),
        (Room((MINE,)), revocation(OTHER), None),
        (Room((MINE,)), revocation(MINE), 4003),
        (Room((OTHER, MINE)), revocation("tenant:acme:resource:orders:*"), 4003),
        # Decided after it: then whoever permitted it knew.
        (Room((MINE,), decided_at=time.monotonic() + 3600), revocation(MINE), None),
        (Room(), revocation(MINE), None),
        (Room(), revocation(), 4503),
        (Room((MINE,), decided_at=time.monotonic() + 3600), revocation(), 4503),
    ],
)
async def test_what_was_revoked_meanwhile_is_not_joined(
    room: Room, order: Order | None, code: int | None
) -> None:
    """A withdrawn channel sends the client back to ask anew, a withdrawn credential sends it away."""
    state, frame = await ended(room, order)

    if code is None:
        assert (state, frame["type"]) == (State.OPEN, "connected")
        assert set(room.channels) <= set(frame["payload"]["channels"])
    else:
        assert (state, frame["type"], frame["payload"]["code"]) == (State.CLOSING, "disconnect", code)


async def test_while_nobody_knows_what_was_revoked_nobody_joins() -> None:
    """The client is to come back: that is known again in a moment."""
    state, frame = await ended(Room(), None, is_known=False)

    assert (state, frame["payload"]["code"], frame["payload"]["reconnect"]) == (State.CLOSING, 1012, True)


async def test_the_greeting_tells_the_parameters_of_the_room() -> None:
    """Beside everything else."""
    _, frame = await ended(Room((MINE,), {"sessionId": "s-1"}), None)

    assert (frame["payload"]["sessionId"], frame["payload"]["user"]) == ("s-1", "u-1")
