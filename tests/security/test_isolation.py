"""Tenants are kept apart: whatever somebody claims, asks for and is permitted, no event of another tenant's
reaches it (S33). First the pure core, in many worlds by chance, then real servers.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import cache, partial
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from fanwire_edge.core.authorization import by_claims, is_own
from fanwire_edge.core.decision import Decision
from fanwire_edge.core.desk import Desk, DeskLimits, Place
from fanwire_edge.core.fanout import batches
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.log import Log
from fanwire_edge.core.mapper import channels_of
from fanwire_edge.core.principal import Principal, server_joined
from fanwire_edge.core.reading import next_portion
from fanwire_edge.core.record import Record
from fanwire_edge.core.session import Session
from fanwire_edge.core.stream import Stream
from fanwire_protocol.channels import Channel
from fanwire_protocol.commands import Subscribe
from fanwire_protocol.event import encode_event
from tests.edge.core.pieces import READABLE, Recorder, event, event_record, place
from tests.edge.mirror import SERVED, mirrored_edge, subscribe
from tests.edge.running import RunningEdge
from tests.edge.wire import Wire
from tests.faults.rig import rounds
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.rest_api import RestApi

EXAMPLES = rounds(60, 10_000)
EVENTS = 1000
BATCH = 40
# Names that are parts of each other, and words of the grammar.
TENANTS = ("acme", "acme2", "acm", "Acme", "a", "tenant", "resource", "all", "system", "acme.eu", "acme-x")
USERS = ("u-1", "u-2", "acme", "all")
ROLES = ("admin", "user", "acme2")
TYPES = ("orders", "resource", "user", "acme")
IDS = ("1", "2", "acme", "all")
DIRECT, SYSTEM, ORDERS = Stream("direct", 0), Stream("system", 0), Stream("orders", 0)
# What `entry_id` calls the first entry.
FIRST = 1001
_FRAME = re.compile(rb"<(\d+)-0 ([^>]+)>")

segments = st.sampled_from((*TENANTS, *USERS, *TYPES, *IDS, "*", ""))
tenants = st.sampled_from(TENANTS)
tails = st.one_of(
    st.sampled_from(("all", "resource:*", "user:u-1", "role:admin", "connection:c-0")),
    st.builds("resource:{}:{}".format, st.sampled_from(TYPES), st.sampled_from((*IDS, "*"))),
)
names = st.one_of(
    st.builds("tenant:{}:{}".format, tenants, tails),
    st.just("system:all"),
    st.lists(segments, max_size=6).map(":".join),
)
permissions = st.one_of(
    st.sampled_from(TYPES).map("{}:read".format), st.sampled_from(("*", "*:read", "read"))
)
principals = st.builds(
    Principal,
    user=st.sampled_from(USERS),
    tenant=tenants,
    roles=st.lists(st.sampled_from(ROLES), max_size=2, unique=True).map(tuple),
    permissions=st.frozensets(permissions, max_size=3),
    patterns=st.lists(names, max_size=4).map(tuple),
)
# Who somebody is, what it asks for, and whether others permit it whatever it asks for.
guests = st.tuples(principals, st.lists(names, min_size=1, max_size=8, unique=True), st.booleans())


@cache
def everything() -> list[tuple[str | None, Record]]:
    """Return what can happen, as records with their tenants: on every resource, to everybody."""
    found: list[tuple[str | None, Record]] = []

    def add(stream: Stream, tenant: str | None, **fields: Any) -> None:
        number = len(found) + 1
        happened = event(number, tenant=tenant, **fields)
        channels = channels_of(stream.topic, happened)
        raw = encode_event(happened)
        found.append(
            (tenant, event_record(stream, place(number), place(number - 1), channels, happened, raw))
        )

    for tenant in TENANTS:
        for kind in TYPES:
            for id_ in IDS:
                add(ORDERS, tenant, resource=(kind, id_))
                add(ORDERS, tenant, resource=(kind, id_), to=("all",))
        for user in USERS:
            add(DIRECT, tenant, to=("user", user))
        for role in ROLES:
            add(DIRECT, tenant, to=("role", role))
        for number in range(4):
            add(DIRECT, tenant, to=("connection", f"c-{number}"))
        add(DIRECT, tenant, to=("all",))
    add(SYSTEM, None, to=("all",))
    return found


def permissive(principal: Principal, channel: Channel) -> Decision:
    """Permit all that anybody may permit: the worst mirror there is."""
    return Decision.PERMITTED if is_own(principal, channel) else Decision.FORBIDDEN


class World:
    """Connections of many tenants on one edge, which get what happens."""

    def __init__(self, invited: list[tuple[Principal, list[str], bool]]) -> None:
        self.hub = Hub(None, 2)
        desk = Desk(self.hub, DeskLimits(100, 1000, 0))
        self.log = Log(2**26)
        self.guests: list[tuple[Principal, Recorder]] = []
        for number, (principal, wanted, is_permitted) in enumerate(invited):
            client_id = f"c-{number}"
            member = Recorder(self.hub, server_joined(principal, client_id))
            decide = partial(permissive if is_permitted else by_claims, principal)
            command = Subscribe(tuple(wanted))
            desk.carry_out(member, Session(client_id, principal), command, lambda: Place({}), decide)
            self.guests.append((principal, member))

    def happen(self, records: list[Record]) -> None:
        """Deliver *records* to whoever is live."""
        for deliveries, _ in batches(self.hub, records):
            for delivery in deliveries:
                for _ in delivery.run():
                    pass


@pytest.mark.timeout(1800)
@settings(max_examples=EXAMPLES)
@given(st.lists(guests, min_size=2, max_size=6), st.integers(0, 2**32))
def test_no_event_reaches_another_tenant(invited: list[tuple[Principal, list[str], bool]], seed: int) -> None:
    """A thousand events by chance: live, and read from the log by somebody who is behind."""
    chance, world, known = Random(seed), World(invited), everything()
    happened = []
    for _ in range(EVENTS // BATCH):
        # Nothing happens twice in one batch, as nothing stands in one read twice.
        records = [record for _, record in chance.sample(known, k=BATCH)]
        world.happen(records)
        happened += records
    for _, record in chance.sample(known, k=BATCH):
        world.log.append(record)

    for principal, member in world.guests:
        live = b"".join(member.writes)
        portion = next_portion(world.log, member.keys, world.log.first, world.log.next, READABLE.wire)
        for number, channel in set(_FRAME.findall(live + portion.data)):
            owner, _ = known[int(number) - FIRST]
            assert owner in (None, principal.tenant), (principal, channel)
            assert channel == b"system:all" or channel.split(b":")[1] == principal.tenant.encode()
        # And nothing of its own is kept from it.
        keys = frozenset(member.keys)
        due = sum(not keys.isdisjoint(slot.keys) for record in happened for slot in record.slots)
        assert live.count(b"<") == due
        assert all(_is_of(key, principal.tenant) for key in keys)


def _is_of(key: str, tenant: str) -> bool:
    return key == "system:all" or key.startswith(f"tenant:{tenant}:")


# On real servers.

SOME = ("acme", "acme2", "Acme", "a")
CLIENTS = 3
# Of a hundred events each.
REAL_ROUNDS = rounds(3, 50)


@pytest.fixture(scope="module")
def api() -> Iterator[RestApi]:
    """A REST API that serves everything to everybody: no help against a name that crosses tenants."""
    with RestApi() as running:
        running.fault = SERVED
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_edge(session_redis: RedisServer, api: RestApi) -> AsyncIterator[RunningEdge]:
    """An edge that mirrors it, patterns too."""
    routes = json.dumps(
        [f"tenant:{{tenant}}:resource:{rest} {api.url('/x')}" for rest in ("{type}:{id}", "{type}:*", "*")]
    )
    redis = SharedRedis(session_redis, "isolation")
    async with mirrored_edge(redis, api, AUTHORIZATION__ROUTES=routes, LIMITS__MAX_ERRORS="1000") as edge:
        yield edge


async def test_no_event_reaches_another_tenant_on_real_servers(open_edge: RunningEdge) -> None:
    """Everybody asks for all that there is; each gets every event of its own tenant and no other."""
    chance = Random(20261120)
    wanted = [f"tenant:{tenant}:resource:{rest}" for tenant in SOME for rest in ("*", "orders:*", "orders:1")]
    async with AsyncExitStack() as stack:
        clients = [
            (tenant, await stack.enter_async_context(open_edge.client(tenant, sub=f"u-{number}", scope=None)))
            for tenant in SOME
            for number in range(CLIENTS)
        ]
        for tenant, client in clients:
            client.send(subscribe(*wanted))
            answers = await client.messages(len(wanted) - 3 + 1)
            refused = {answer["channel"] for answer in answers if answer["type"] == "error"}
            assert refused == {name for name in wanted if not name.startswith(f"tenant:{tenant}:")}
        for _ in range(REAL_ROUNDS):
            due = dict.fromkeys(SOME, 0)
            for _ in range(100):
                tenant = chance.choice(SOME)
                open_edge.add_event("orders", tenant, chance.randrange(3))
                due[tenant] += 1
            for tenant, client in clients:
                await _got_its_own(client, tenant, due[tenant])


async def _got_its_own(client: Wire, tenant: str, count: int) -> None:
    channels = {(await client.message("order.updated"))["channel"] for _ in range(count)}
    assert channels <= {f"tenant:{tenant}:resource:orders:{number}" for number in range(3)}
    await client.silence()
