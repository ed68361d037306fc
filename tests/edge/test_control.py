"""Orders on an edge in memory: what happens between their parts, which no socket shows."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgpack
import pytest

from fanwire_edge.adapters.memory import MemoryBroker, MemoryRevocations
from fanwire_edge.authenticator import Authenticator
from fanwire_edge.connection import State
from fanwire_edge.control import Control
from fanwire_edge.core.bucket import TokenBucket
from fanwire_edge.core.credential import Sources
from fanwire_edge.core.stream import Entry, Stream
from fanwire_edge.gatekeeper import Gatekeeper, GateSettings
from fanwire_edge.ports import TailLost
from fanwire_edge.refusal import Refused
from fanwire_protocol.channels import all_channel
from fanwire_protocol.codes import HandshakeError
from fanwire_protocol.position import Position
from tests.edge.model_broker import ModelBroker
from tests.edge.model_world import PRINCIPAL, Client, EdgeLimits, ModelEdge

LIMITS = EdgeLimits(10**6, 10**6, 60, 100, 10)
CHANNEL = f"tenant:{PRINCIPAL.tenant}:resource:orders:1"


class World:
    """An edge that nobody feeds, and its control."""

    def __init__(self) -> None:
        self.model = ModelEdge(ModelBroker(60_000), LIMITS, {"orders"})
        self.edge = self.model.edge
        self.edge.revocations.is_known = True
        self.broker = MemoryBroker()
        self.control = Control(self.edge, MemoryRevocations(self.broker), self.model.topics, closes=True)

    def client(self) -> Client:
        """Return a client that has joined, unless something is against it."""
        client = self.knock()
        client.open()
        return client

    def knock(self) -> Client:
        """Return a client that has not joined yet."""
        return Client(self.model, 10**9, None)


def order(op: str, id_: str = "o-1", **fields: Any) -> bytes:
    """Return an order that concerns every client here."""
    now = int(time.time() * 1000)
    packed: bytes = msgpack.packb(
        {"v": 1, "op": op, "id": id_, "at": now, "tenant": PRINCIPAL.tenant, **fields}
    )
    return packed


def entry(data: bytes, number: int = 0) -> Entry:
    """Return an entry of the control stream, added now."""
    return Entry(f"{int(time.time() * 1000)}-{number}", data)


async def test_thousands_leave_all_channels_before_the_first_is_told() -> None:
    """While they are told, one after the other, everything else has its turns, and nothing is delivered to
    any of them."""
    world = World()
    clients = [world.client() for _ in range(2000)]
    turns: list[tuple[int, int, bool]] = []

    async def watch() -> None:
        everyone = all_channel(PRINCIPAL.tenant)
        while True:
            await asyncio.sleep(0)
            left = sum(everyone in members for members in world.edge.hub.by_dialect.values())
            turns.append((left, sum(each.is_closed for each in clients), world.edge.is_delivering))

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        await asyncio.sleep(0)
        turns.clear()
        await world.control.take([entry(order("revoke"))])
        watching.cancel()

    assert all(each.is_closed for each in clients)
    assert len(turns) > 3, "the loop had no turn"
    assert all(is_held for _, _, is_held in turns), "commands and joins have to wait"
    assert not [told for left, told, _ in turns if left and told]
    assert not world.edge.is_delivering


async def test_who_is_on_the_way_in_is_looked_at_again() -> None:
    """What was revoked between a handshake and its end holds for it."""
    world = World()
    client = world.knock()
    await world.control.take([entry(order("revoke"))])
    assert client.connection.state is State.OPENING

    client.open()

    assert (client.is_closed, client.connection.close_code) == (True, 4503)
    assert not world.edge.hub.subscriptions


async def test_nobody_joins_while_nobody_knows() -> None:
    """It is told to come back, for the handshake was good."""
    world = World()
    client = world.knock()
    world.edge.revocations.is_known = False

    client.open()

    assert (client.is_closed, client.connection.close_code) == (True, 1012)


@pytest.mark.parametrize(
    ("seconds", "is_known", "is_refused"),
    [(0, True, False), (29, True, False), (31, True, True), (0, False, True)],
)
async def test_the_door_is_shut_while_orders_may_be_missing(
    seconds: float, is_known: bool, is_refused: bool
) -> None:
    """Before the first load, in a hole, and where the control stream could not be read for 30 s."""
    world = World()
    edge = world.edge
    edge.positions = {Stream("orders", 0): Position("0-0", "5f0c2a91")}
    edge.read_at = time.monotonic() - seconds
    edge.revocations.is_known = is_known
    authenticator = Authenticator(Sources(("authorization",)), {})
    gatekeeper = Gatekeeper(edge, authenticator, GateSettings(10), TokenBucket(1, 1))

    refusals = []
    try:
        gatekeeper._refuse_when_unable()
    except Refused as refused:
        refusals.append(refused.code)
    assert refusals == ([HandshakeError.UNAVAILABLE] if is_refused else [])


async def test_the_stronger_of_two_orders_wins() -> None:
    """Whoever is revoked as a whole is not asked to come back because of a channel, in whatever order."""
    world = World()
    client = world.client()
    world.edge.hub.subscribe(client.connection, CHANNEL)
    channels, whole = order("revoke", channels=[CHANNEL]), order("revoke", "o-2")

    await world.control.take([entry(channels), entry(whole, 1)])

    assert client.connection.close_code == 4503


async def test_what_is_loaded_is_carried_out() -> None:
    """On who is here, unless it is over; and broken ones are told once."""
    world = World()
    client = world.client()
    long_ago = int(time.time() * 1000) - 10**6
    world.broker.revoked.update(
        over=order("revoke", at=long_ago, until=long_ago + 1),
        broken=b"\xc1",
        no_revocation=order("disconnect"),
        another=order("ask"),
    )
    for _ in range(2):
        await world.control.load()
    assert (client.is_closed, len(world.edge.revocations)) == (False, 0)
    assert world.edge.tally.orders["invalid"] == 1

    world.broker.revoked["holds"] = order("revoke")
    await world.control.load()

    assert client.connection.close_code == 4503
    assert world.edge.revocations.is_known


async def test_what_cannot_be_loaded_is_unknown() -> None:
    """Until the next attempt; deliveries go on, for who is here was let in."""
    world = World()
    world.broker.stop()

    with pytest.raises(TailLost):
        await world.control.load()

    assert not world.edge.revocations.is_known
    assert not world.edge.is_delivering
