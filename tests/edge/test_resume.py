"""Resuming on real edges and a real broker (PROTOCOL §2 `since`, §6)."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fanwire_protocol.keys import stream_key
from tests.edge.running import CANARY, RunningEdge, running_edge
from tests.edge.wire import Wire, upgrade_request
from tests.kit.proxy import FaultProxy
from tests.kit.wait import eventually

# An edge on these has next to nothing in memory.
FORGETFUL = {"LOG__MAX_BYTES": "65536"}


def orders(tenant: str, id_: str = "*") -> str:
    return f"tenant:{tenant}:resource:orders:{id_}"


def numbers(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["payload"]["number"] for frame in frames]


@asynccontextmanager
async def another(edge: RunningEdge, **settings: str) -> AsyncIterator[RunningEdge]:
    """Start a second edge, which has nothing of the log in memory."""
    async with running_edge(edge.redis, environment={}, **settings) as fresh:
        yield fresh


async def come(edge: RunningEdge, tenant: str, since: Mapping[str, str], **claims: Any) -> Wire:
    """Connect with `since` in the URL and return the connection, greeted."""
    query = "&".join(f"since={topic}@{position}" for topic, position in since.items())
    wire = await edge.dial()
    return await wire.open(
        f"Authorization: Bearer {edge.token(tenant, **claims)}", path=f"/ws?{query.replace('~', '%7E')}"
    )


async def subscribe(wire: Wire, channels: str | list[str], since: Any = None, id_: int = 1) -> dict[str, Any]:
    """Subscribe and return the payload of `subscribed`."""
    key = "channel" if isinstance(channels, str) else "channels"
    command = {"type": "subscribe", key: channels, "id": id_} | ({} if since is None else {"since": since})
    payload: dict[str, Any] = (await wire.call(command, "subscribed"))["payload"]
    return payload


async def places(edge: RunningEdge, tenant: str) -> dict[str, str]:
    """Return where a connection stands that comes now."""
    async with edge.client(tenant) as client:
        return dict(client.greeting["positions"])


async def read_up_to(edge: RunningEdge, entry_id: str, topic: str = "orders") -> None:
    """Wait until *edge* has read an entry."""

    async def has_read() -> bool:
        found = (await places(edge, "watcher"))[topic].partition("~")[0]
        return tuple(map(int, found.split("-"))) >= tuple(map(int, entry_id.split("-")))

    await eventually(has_read)


# From memory


async def test_without_since_nothing_is_said_of_recovery(edge: RunningEdge, tenant: str) -> None:
    """Delivery begins now."""
    await read_up_to(edge, edge.add_event("orders", tenant, 1))
    async with edge.client(tenant) as client:
        answer = await subscribe(client, orders(tenant))

        assert answer["recovered"] is None
        assert answer["positions"] == client.greeting["positions"]
        await client.silence()


async def test_a_known_position_is_recovered_and_what_came_after_it_follows_in_order(
    edge: RunningEdge, tenant: str
) -> None:
    """`subscribed` comes first and says where delivery begins; live events come behind the replay."""
    since = await places(edge, tenant)
    first = [edge.add_event("orders", tenant, number) for number in range(5)]
    await read_up_to(edge, first[-1])
    async with edge.client(tenant) as client:
        answer = await subscribe(client, orders(tenant), since)
        assert (answer["recovered"], answer["positions"]) == (True, since)

        edge.add_event("orders", tenant, 5)
        frames = await client.messages(6)
        assert numbers(frames) == list(range(6))
        assert [frame["offset"].partition("~")[0] for frame in frames[:5]] == [
            f"orders@{id_}" for id_ in first
        ]
        await client.silence()


async def test_one_offset_is_a_since_too(edge: RunningEdge, tenant: str) -> None:
    """As frames carry it. Of the other topics it says nothing: what is older than it is not proven."""
    edge.add_event("direct", tenant, to=("user", "someone"), resource=None)
    async with edge.client(tenant) as client:
        await subscribe(client, orders(tenant))
        edge.add_event("orders", tenant, 1)
        offset = (await client.message("order.updated"))["offset"]
        edge.add_event("orders", tenant, 2)
        await client.message("order.updated")
    async with edge.client(tenant) as client:
        answer = await subscribe(client, orders(tenant), offset)
        assert answer["positions"]["orders"] == offset.partition("@")[2]

        # The edge is shared with other tests, so there may be other topics too.
        gaps = {}
        [frame] = await client.messages(1)
        while frame["type"] == "gap":
            gaps[frame["payload"]["topic"]] = frame["payload"]["reason"]
            [frame] = await client.messages(1)
        assert "direct" in gaps
        assert "orders" not in gaps
        assert set(gaps.values()) == {"unknown_position"}
        assert answer["recovered"] is False
        assert numbers([frame]) == [2]


BAD_SINCE: list[Any] = [
    "orders",
    "orders@",
    "orders@1-0",
    "orders@1-0~5F0C2A91",
    {"orders": "01-0~5f0c2a91"},
    {"orders": 7},
    {"a:b": "1-0~5f0c2a91"},
    ["orders@1-0~5f0c2a91"],
    7,
    True,
]


@pytest.mark.parametrize("since", BAD_SINCE, ids=str)
async def test_a_malformed_since_subscribes_nothing(edge: RunningEdge, tenant: str, since: Any) -> None:
    """It is an `invalid_message`, and the connection stays."""
    async with edge.client(tenant) as client:
        answer = await client.call({"type": "subscribe", "channel": orders(tenant), "since": since}, "error")
        assert answer["payload"]["code"] == "invalid_message"
        edge.add_event("orders", tenant, 1)
        edge.add_event("orders", tenant, to=("all",), resource=None, type="last")
        await client.message("last")


@pytest.mark.parametrize("since", ["orders", "orders%401-0", "a:b@1-0%7E5f0c2a91", ""])
async def test_a_malformed_since_in_the_url_is_a_bad_request(
    edge: RunningEdge, tenant: str, since: str
) -> None:
    """But who is nobody hears that first."""
    request = f"/ws?since={since}"
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(f"Authorization: Bearer {edge.token(tenant)}", path=request))
        assert (answer.status, answer.error["code"]) == (400, "bad_request")
    async with await edge.dial() as wire:
        assert (await wire.ask(upgrade_request(path=request))).status == 401


async def test_since_in_the_url_resumes_the_channels_of_the_server(edge: RunningEdge, tenant: str) -> None:
    """`connected` says whether all was proven, and where delivery begins; then comes the replay."""
    since = await places(edge, tenant)
    edge.add_event("direct", tenant, to=("user", "u-1"), resource=None, type="one")
    edge.add_event("orders", tenant, 1)
    edge.add_event("orders", tenant, to=("role", "admin"), resource=None, type="two")
    last = edge.add_event("direct", tenant, to=("all",), resource=None, type="three")
    await read_up_to(edge, last, "direct")

    async with await come(edge, tenant, since, roles=["admin"]) as client:
        assert client.greeting["recovered"] is True
        assert client.greeting["positions"] == since
        found = await client.messages(3)
        # Nothing is promised across topics.
        assert sorted(frame["type"] for frame in found) == ["one", "three", "two"]
        assert [frame["type"] for frame in found if frame["offset"].startswith("direct@")] == ["one", "three"]
        await client.silence()


async def test_a_channel_of_the_server_is_sent_once_however_often_it_is_asked_for(
    edge: RunningEdge, tenant: str
) -> None:
    """What lies between `since` and the moment of joining; what came since then has come."""
    since = await places(edge, tenant)
    before = edge.add_event("direct", tenant, to=("user", "u-1"), resource=None, type="before")
    await read_up_to(edge, before, "direct")
    async with edge.client(tenant) as client:
        edge.add_event("direct", tenant, to=("user", "u-1"), resource=None, type="after")
        await client.message("after")
        user = f"tenant:{tenant}:user:u-1"

        assert (await subscribe(client, user, since))["recovered"] is True
        await client.message("before")
        assert (await subscribe(client, user, since))["recovered"] is True
        await client.silence()


async def test_what_a_pattern_brought_is_not_brought_again_by_a_channel(
    edge: RunningEdge, tenant: str
) -> None:
    """Once for each connection and published channel, under whatever name it is resumed."""
    since = await places(edge, tenant)
    edge.add_event("orders", tenant, 1)
    last = edge.add_event("orders", tenant, 2)
    await read_up_to(edge, last)
    async with edge.client(tenant) as client:
        await subscribe(client, orders(tenant, "1"), since)
        assert numbers([await client.message()]) == [1]
        await subscribe(client, orders(tenant), since)
        assert numbers([await client.message()]) == [2]
        await subscribe(client, orders(tenant, "2"), since)
        await client.silence()


async def test_another_brokers_position_is_told_as_a_gap(edge: RunningEdge, tenant: str) -> None:
    """One for each topic, from there up to now; then it is live."""
    now = await places(edge, tenant)
    since = {topic: f"{position.partition('~')[0]}~0badcafe" for topic, position in now.items()}
    async with edge.client(tenant) as client:
        answer = await subscribe(client, orders(tenant), since)
        assert (answer["recovered"], answer["positions"]) == (False, client.greeting["positions"])

        gaps = {frame["payload"]["topic"]: frame for frame in await client.messages(len(now))}
        assert gaps.keys() == now.keys()
        for topic, frame in gaps.items():
            assert frame["type"] == "gap"
            assert frame["payload"]["reason"] == "unknown_position"
            assert frame["payload"]["from"] == since[topic]
            assert frame["payload"]["to"] == answer["positions"][topic]
            assert frame["offset"] == f"{topic}@{frame['payload']['to']}"
        edge.add_event("orders", tenant, 1)
        assert numbers([await client.message()]) == [1]


async def test_a_topic_that_one_never_heard_of_is_read_from_its_first_entry(
    edge: RunningEdge, tenant: str
) -> None:
    """Where that is younger than all that one knows; else nobody can tell what one lacks of it."""
    since = await places(edge, tenant)
    topic = f"young-{tenant}"
    at = await begin_topic(edge, tenant, topic)
    async with edge.client(tenant) as client:
        answer = await subscribe(client, orders(tenant), since)
        assert answer["recovered"] is True
        assert answer["positions"][topic].startswith("0-0~")
        assert numbers(await client.messages(3)) == [0, 1, 2]
        await client.silence()

        late = {name: at for name, at in client.greeting["positions"].items() if name != topic}
        late["orders"] = f"{edge.add_event('orders', tenant, 9)}~{at.partition('~')[2]}"
    async with edge.client(tenant) as client:
        assert (await subscribe(client, orders(tenant), late))["recovered"] is False
        gap = await client.message("gap")
        assert gap["payload"]["topic"] == topic
        assert "from" not in gap["payload"]


async def begin_topic(edge: RunningEdge, tenant: str, topic: str) -> str:
    """Publish three events to a new topic, and return its position once they are read."""
    async with edge.publisher() as publisher:
        found = [
            await publisher.publish(
                topic, "order.updated", {"number": number}, tenant=tenant, resource=("orders", "1")
            )
            for number in range(3)
        ]

    async def is_read() -> bool:
        return (await places(edge, tenant)).get(topic) == str(found[-1])

    await eventually(is_read)
    return str(found[-1])


# From Redis


async def test_a_fresh_edge_resumes_from_the_broker_and_goes_on_from_memory(
    edge: RunningEdge, tenant: str
) -> None:
    """What was published before it began is read from there, the rest it has itself; each comes once, and one
    read serves the next client as well."""
    async with edge.client(tenant) as client:
        await subscribe(client, orders(tenant))
        edge.add_event("orders", tenant, 0)
        since = await _positions_after(client)
    for number in range(1, 40):
        edge.add_event("orders", tenant, number)
    async with another(edge) as fresh:
        last = [fresh.add_event("orders", tenant, number) for number in range(40, 50)][-1]
        await read_up_to(fresh, last)
        for _ in range(2):
            async with fresh.client(tenant) as client:
                assert (await subscribe(client, orders(tenant), since))["recovered"] is True
                fresh.add_event("orders", tenant, 50)
                assert numbers(await client.messages(50)) == list(range(1, 51))
                await client.silence()
            # The second one finds what was read for the first one, and one event more.
            assert await fresh.metric("history_reads_total") <= 3
            assert await fresh.metric("resumes_total", result="recovered") >= 1
            since = {**since, "orders": (await places(fresh, tenant))["orders"]}
            for number in range(1, 50):
                last = fresh.add_event("orders", tenant, number)
            await read_up_to(fresh, last)


async def _positions_after(client: Wire) -> dict[str, str]:
    await client.message("order.updated")
    return await client.positions()


async def test_what_was_trimmed_is_told_as_a_gap(edge: RunningEdge, tenant: str) -> None:
    """The rest of the topic is not replayed; of the other topics all is."""
    topic = f"short-{tenant}"
    await begin_topic(edge, tenant, topic)
    since = await places(edge, tenant)
    for number in range(10):
        edge.add_event(topic, tenant, number)
    other = edge.add_event("orders", tenant, 77)
    key = stream_key(edge.redis.prefix, topic, 0)
    edge.redis.server.execute("XTRIM", key, "MAXLEN", 4)
    async with another(edge) as fresh:
        await read_up_to(fresh, other)
        async with fresh.client(tenant) as client:
            answer = await subscribe(client, orders(tenant), since)
            assert answer["recovered"] is False

            gap = await client.message("gap")
            assert gap["payload"]["topic"] == topic
            assert gap["payload"]["from"] == since[topic]
            assert gap["payload"]["to"] == answer["positions"][topic] == client.greeting["positions"][topic]
            assert numbers([await client.message()]) == [77]
            fresh.add_event(topic, tenant, 10)
            assert numbers([await client.message()]) == [10]
            assert await fresh.metric("resumes_total", result="partial") == 1


async def test_a_position_ahead_of_an_edge_is_waited_for(edge: RunningEdge, tenant: str) -> None:
    """Delivery begins after it, and nothing that was seen comes again; only what is asked for then waits."""
    async with (
        FaultProxy(edge.redis.server.address) as proxy,
        running_edge(edge.redis, BROKER__URL=proxy.url()) as behind,
        behind.client(tenant) as client,
        edge.client(tenant) as ahead,
    ):
        await subscribe(ahead, orders(tenant))
        proxy.down.hold = True
        for number in range(3):
            edge.add_event("orders", tenant, number)
        await ahead.messages(3)
        since = await ahead.positions()
        edge.add_event("orders", tenant, 3)

        client.send({"type": "subscribe", "channel": orders(tenant), "since": since, "id": 5})
        await client.silence()
        proxy.down.hold = False
        answer = await client.message("subscribed")
        assert (answer["payload"]["recovered"], answer["replyTo"]) == (True, 5)
        assert answer["payload"]["positions"]["orders"] == since["orders"]
        assert numbers([await client.message()]) == [3]
        await client.silence()


# Duplicates


async def test_an_event_that_was_written_twice_is_delivered_once_wherever_it_is_read(
    edge: RunningEdge, tenant: str
) -> None:
    """Live, from memory, from the broker, and live on an edge that began between the two."""
    repeated = await edge.metric("events_repeated_total")
    async with edge.client(tenant) as client:
        since = client.greeting["positions"]
        await subscribe(client, orders(tenant))
        edge.add_event("orders", tenant, 1, id="written-twice")
        async with another(edge) as fresh:
            async with fresh.client(tenant) as begun_between:
                await subscribe(begun_between, orders(tenant))
                edge.add_event("orders", tenant, 1, id="written-twice")
                last = edge.add_event("orders", tenant, 2)
                assert numbers(await client.messages(2)) == [1, 2]
                assert numbers([await begun_between.message()]) == [2]
                await read_up_to(edge, last)
            for each in (edge, fresh):
                async with each.client(tenant) as resumed:
                    assert (await subscribe(resumed, orders(tenant), since))["recovered"] is True
                    assert numbers(await resumed.messages(2)) == [1, 2]
                    await resumed.silence()
    assert await edge.metric("events_repeated_total") == repeated + 1


async def test_another_tenants_event_of_the_same_id_is_another_one(edge: RunningEdge, tenant: str) -> None:
    """And so it is in another topic."""
    async with edge.client(tenant) as one, edge.client(f"{tenant}-2") as two:
        for client, name in ((one, tenant), (two, f"{tenant}-2")):
            await subscribe(client, orders(name))
        for name in (tenant, f"{tenant}-2"):
            edge.add_event("orders", name, 1, id="the-same")
        edge.add_event("direct", tenant, 1, id="the-same", to=("user", "u-1"), resource=None)
        assert numbers(await one.messages(2)) == [1, 1]
        assert numbers([await two.message()]) == [1]


# Commands while a replay is under way


@asynccontextmanager
async def slow_client(edge: RunningEdge, tenant: str, **claims: Any) -> AsyncIterator[Wire]:
    """Connect a client in whose socket and buffers next to nothing finds room."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.setblocking(False)
    await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", edge.port))
    async with Wire(*await asyncio.open_connection(sock=opened, limit=8192)) as wire:
        yield await wire.open(f"Authorization: Bearer {edge.token(tenant, **claims)}")


def position_of(text: str) -> tuple[int, int]:
    time_ms, sequence = map(int, re.split("[-~]", text)[:2])
    return time_ms, sequence


async def add_large(edge: RunningEdge, tenant: str, count: int) -> None:
    """Append large events, and wait until they are read."""
    ids = [edge.add_event("orders", tenant, each, payload={**LARGE, "number": each}) for each in range(count)]
    await read_up_to(edge, ids[-1])


LARGE = {"canary": CANARY, "text": "x" * 4000}


async def test_a_ping_does_not_run_ahead_of_a_replay_and_commands_wait_for_its_end(
    edge: RunningEdge, tenant: str
) -> None:
    """The positions of its answer are those of the frames before it; everything else is answered in order,
    behind the replay."""
    since = await places(edge, tenant)
    await add_large(edge, tenant, 600)
    async with slow_client(edge, tenant) as client:
        await subscribe(client, orders(tenant), since)
        client.send(
            {"type": "subscribe", "channel": "nonsense", "id": "first"},
            {"type": "unsubscribe", "channel": orders(tenant), "id": "second"},
            {"type": "ping", "id": "quick"},
        )
        seen: list[int] = []
        found: list[tuple[str, int]] = []
        at = (0, 0)
        while len(found) < 3:
            frame = await client.message()
            if frame["type"] == "order.updated":
                seen.append(frame["payload"]["number"])
                at = position_of(frame["offset"].partition("@")[2])
            else:
                found.append((frame["replyTo"], len(seen)))
                if frame["type"] == "pong":
                    told = position_of(frame["payload"]["positions"]["orders"])
                    assert told == at or not seen
        assert seen == list(range(600))
        [(quick, so_far), *others] = found
        assert quick == "quick"
        assert so_far < 600
        assert others == [("first", 600), ("second", 600)]


async def test_a_cut_in_mid_replay_is_resumed_from_what_one_holds(edge: RunningEdge, tenant: str) -> None:
    """On another edge, which reads from the broker, with nothing lost and nothing twice."""
    since = await places(edge, tenant)
    await add_large(edge, tenant, 300)
    async with slow_client(edge, tenant) as client:
        await subscribe(client, orders(tenant), since)
        frames = await client.messages(100)
    async with another(edge, **FORGETFUL) as fresh, fresh.client(tenant) as client:
        topic, _, position = frames[-1]["offset"].partition("@")
        assert (await subscribe(client, orders(tenant), {**since, topic: position}))["recovered"] is True
        frames += await client.messages(200)
        await client.silence()
    assert numbers(frames) == list(range(300))


# Policies


async def test_the_rules_of_a_policy_decide_who_is_cut(edge: RunningEdge, tenant: str) -> None:
    """Of two connections that are both too far behind, the one whose channels may all catch up stays, and is
    given everything; a channel without a rule falls under the default."""
    settings = {
        **FORGETFUL,
        "DELIVERY__POLICIES": '["tenant:*:resource:logs:* catch_up"]',
        "DELIVERY__HIGH_WATER_BYTES": "4096",
        "DELIVERY__MAX_BEHIND_BYTES": "65536",
        "DELIVERY__SEND_BUFFER_BYTES": "4096",
    }
    async with another(edge, **settings) as fresh:
        patient, hasty = f"{tenant}-p", f"{tenant}-h"
        logs = {name: f"tenant:{name}:resource:logs:1" for name in (patient, hasty)}
        scope = "orders:read logs:read"
        async with (
            slow_client(fresh, patient, scope=scope) as stays,
            slow_client(fresh, hasty, scope=scope) as goes,
        ):
            await subscribe(stays, logs[patient])
            await subscribe(goes, [logs[hasty], orders(hasty)])
            for half in (range(100), range(100, 200)):
                ids = [
                    fresh.add_event(
                        "orders", name, each, payload={**LARGE, "number": each}, resource=("logs", "1")
                    )
                    for each in half
                    for name in logs
                ]
                # What was read at once is in memory until something else is read.
                await read_up_to(fresh, ids[-1])
            await eventually(lambda: _closed(fresh, "slow_consumer"), 10)
            frames = [await stays.message("order.updated") for _ in range(200)]
            assert numbers(frames) == list(range(200))
            await stays.silence()
            assert await fresh.metric("connections_closed_total", reason="slow_consumer") == 1
            assert await fresh.metric("history_reads_total") > 0
            assert (await goes.closing()).code in (1006, 4008)


async def _closed(edge: RunningEdge, reason: str) -> bool:
    return await edge.metric("connections_closed_total", reason=reason) > 0
