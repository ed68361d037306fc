"""Commands and their answers (PROTOCOL §4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.edge.running import RunningEdge
from tests.edge.wire import PING, PONG, Wire, types
from tests.kit.wait import eventually

SERVER_JOINED = ["tenant:{t}:user:u-1", "tenant:{t}:role:admin", "tenant:{t}:all", "system:all"]
MALFORMED = [
    "",
    "orders",
    "tenant",
    "tenant:{t}",
    "tenant:{t}:resource",
    "tenant:{t}:resource:orders",
    "tenant:{t}:resource:orders:1:2",
    "tenant:{t}:resource:*:1",
    "tenant:*:resource:orders:1",
    "tenant:{t}:resource:orders:a b",
    "tenant:{t}:resource:orders:ä",
    "tenant:{t}:user:*",
    "system:some",
    "gap:0",
    "tenant:{t}:resource:orders:" + "x" * 129,
]
FORBIDDEN = [
    "tenant:other:resource:orders:1",
    "tenant:other:resource:orders:*",
    "tenant:other:all",
    "tenant:{t}:resource:invoices:1",
    "tenant:{t}:resource:*",
    "tenant:{t}:user:u-2",
    "tenant:{t}:role:owner",
    "tenant:{t}:connection:0190b5e0-5b6e-7c3a-9d1e-2f4a6b8c0d1e",
]
BROKEN = [
    ("no JSON", "{", "invalid_json"),
    ("empty", "", "invalid_json"),
    ("NaN", '{"type":"ping","x":NaN}', "invalid_json"),
    ("infinity", '{"type":"ping","x":-Infinity}', "invalid_json"),
    ("a number that overflows", '{"type":"ping","x":1e999}', "invalid_json"),
    ("a key twice", '{"type":"ping","type":"pong"}', "invalid_json"),
    ("a key twice inside", '{"type":"ping","x":{"a":1,"a":2}}', "invalid_json"),
    ("lone surrogate", '{"type":"ping","x":"\\ud800"}', "invalid_json"),
    ("two values", '{"type":"ping"}{"type":"ping"}', "invalid_json"),
    ("nested 33 deep", '{"type":"ping","x":' + "[" * 33 + "]" * 33 + "}", "invalid_json"),
    ("nested 2,000 deep", "[" * 2000 + "]" * 2000, "invalid_json"),
    ("open 4,096 deep", "[" * 4096, "invalid_json"),
    ("a list", "[]", "invalid_message"),
    ("a string", '"ping"', "invalid_message"),
    ("null", "null", "invalid_message"),
    ("no type", "{}", "invalid_message"),
    ("type is a number", '{"type":1}', "invalid_message"),
    ("id is a list", '{"type":"ping","id":[]}', "invalid_message"),
    ("id is a float", '{"type":"ping","id":1.5}', "invalid_message"),
    ("id is true", '{"type":"ping","id":true}', "invalid_message"),
    ("id of 65 bytes", json.dumps({"type": "ping", "id": "x" * 65}), "invalid_message"),
    ("no channel", '{"type":"subscribe"}', "invalid_message"),
    ("channel and channels", '{"type":"subscribe","channel":"a","channels":["a"]}', "invalid_message"),
    ("no channels", '{"type":"subscribe","channels":[]}', "invalid_message"),
    ("channel is a number", '{"type":"subscribe","channel":1}', "invalid_message"),
    ("since is a number", '{"type":"subscribe","channel":"system:all","since":1}', "invalid_message"),
    ("since of no form", '{"type":"subscribe","channel":"system:all","since":"x"}', "invalid_message"),
    (
        "since with a bad position",
        '{"type":"subscribe","channel":"system:all","since":{"a":"1"}}',
        "invalid_message",
    ),
    ("unknown type", '{"type":"publish","channel":"system:all"}', "unknown_type"),
]


def names(channels: list[str], tenant: str) -> list[str]:
    """Return *channels* with the tenant filled in."""
    return [channel.replace("{t}", tenant) for channel in channels]


def orders(tenant: str, which: object = "*") -> str:
    """Return a channel of the tenant's orders."""
    return f"tenant:{tenant}:resource:orders:{which}"


def summary(message: dict[str, Any]) -> tuple[str, str | None, str | None, object]:
    """Return type, code, channel and replyTo of an answer."""
    payload = message["payload"] or {}
    return message["type"], payload.get("code"), message.get("channel"), message.get("replyTo")


@pytest.mark.parametrize("channel", ["tenant:{t}:resource:orders:1", "tenant:{t}:resource:orders:*"])
async def test_a_permitted_channel_is_confirmed_with_the_positions_where_it_begins(
    edge: RunningEdge, tenant: str, channel: str
) -> None:
    """What comes after is delivered; what came before is not, and `recovered` is null."""
    [name] = names([channel], tenant)
    edge.add_event("orders", tenant, 1)
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        await publisher.publish("orders", "order.updated", 0, tenant=tenant, resource=("orders", "1"))
        await _level(edge, client)
        answer = await client.call({"type": "subscribe", "channel": name, "id": 7}, "subscribed")

        assert answer["replyTo"] == 7
        assert answer["payload"]["channels"] == [name]
        assert answer["payload"]["recovered"] is None
        assert answer["payload"]["positions"] == await client.positions()

        at = await publisher.publish("orders", "order.updated", 1, tenant=tenant, resource=("orders", "1"))
        event = await client.message("order.updated")
        assert (event["channel"], event["payload"]) == (orders(tenant, 1), 1)
        assert event["offset"] == f"orders@{at}"
        assert (await client.positions())["orders"] == str(at)


async def _level(edge: RunningEdge, client: Wire) -> None:
    """Wait until *client* has been given all that stands in the log of orders now."""
    stream = f"{edge.redis.prefix}:orders:0"
    last = dict(edge.redis.server.execute("XINFO", "STREAM", stream))[b"last-generated-id"].decode()

    async def is_level() -> bool:
        return (await client.positions()).get("orders", "").startswith(last)

    await eventually(is_level)


@pytest.mark.parametrize("channel", MALFORMED, ids=[name[:40] or "empty" for name in MALFORMED])
@pytest.mark.parametrize("command", ["subscribe", "unsubscribe"])
async def test_a_malformed_channel_is_refused_and_the_connection_stays(
    edge: RunningEdge, tenant: str, command: str, channel: str
) -> None:
    """The error repeats the name and tells what the connection is on, and no inner keys of ours."""
    [name] = names([channel], tenant)
    async with edge.client(tenant) as client:
        await client.call({"type": "subscribe", "channel": orders(tenant)}, "subscribed")
        answer = await client.call({"type": command, "channel": name, "id": "x"}, "error")

        assert summary(answer) == ("error", "invalid_channel", name, "x")
        assert answer["payload"]["message"]
        on = {*client.greeting["channels"], orders(tenant)}
        assert set(answer["payload"]["channels"]) == on
        await client.silence()


@pytest.mark.parametrize("channel", FORBIDDEN)
async def test_what_no_claim_permits_is_forbidden(edge: RunningEdge, tenant: str, channel: str) -> None:
    """Other tenants above all, and channels that the server joins for others."""
    [name] = names([channel], tenant)
    async with edge.client(tenant, channels=["tenant:*", "tenant:other:resource:*"]) as client:
        answer = await client.call({"type": "subscribe", "channel": name, "id": 1}, "error")

        assert summary(answer) == ("error", "forbidden", name, 1)
        assert answer["payload"]["status"] == 403


@pytest.mark.parametrize("channel", [*SERVER_JOINED, "tenant:{t}:connection:{c}"])
async def test_one_s_own_server_joined_channel_is_accepted_without_effect(
    edge: RunningEdge, tenant: str, channel: str
) -> None:
    """An event on it still comes once; it cannot be left."""
    async with edge.client(tenant, roles=["admin"]) as client, edge.publisher() as publisher:
        [name] = names([channel], tenant)
        name = name.replace("{c}", client.client_id)
        answer = await client.call({"type": "subscribe", "channel": name}, "subscribed")
        assert answer["payload"]["channels"] == [name]

        await publisher.publish_channel(name, "hello")
        assert summary(await client.message()) == ("hello", None, name, None)
        await client.silence()
        refusal = await client.call({"type": "unsubscribe", "channel": name}, "error")
        assert summary(refusal) == ("error", "forbidden", name, None)


@pytest.mark.parametrize(("_", "text", "code"), BROKEN, ids=[row[0] for row in BROKEN])
async def test_what_is_no_command_is_an_error_and_the_connection_stays(
    edge: RunningEdge, tenant: str, _: str, text: str, code: str
) -> None:
    """Each has its code, and nothing is subscribed."""
    async with edge.client(tenant) as client:
        answer = await client.call(text, "error")

        assert answer["payload"]["code"] == code
        assert answer["payload"]["message"]
        assert "status" not in answer["payload"]
        await client.silence()


@pytest.mark.parametrize("reply_to", [0, -5, 2**53, "", "ä" * 32, "x" * 64])
async def test_the_id_comes_back_on_every_kind_of_answer(
    edge: RunningEdge, tenant: str, reply_to: object
) -> None:
    """An integer or a string; without one there is no `replyTo`."""
    async with edge.client(tenant) as client:
        for command in (
            {"type": "ping"},
            {"type": "subscribe", "channel": orders(tenant)},
            {"type": "unsubscribe", "channel": orders(tenant)},
            {"type": "subscribe", "channel": "no channel"},
            {"type": "subscribe", "channel": "tenant:other:all"},
            {"type": "nonsense"},
            {"type": "subscribe"},
        ):
            assert (await client.call({**command, "id": reply_to}))["replyTo"] == reply_to
            assert "replyTo" not in await client.call(command)


async def test_unknown_fields_are_ignored(edge: RunningEdge, tenant: str) -> None:
    """Newer clients may say more."""
    async with edge.client(tenant) as client:
        await client.call({"type": "ping", "colour": {"of": ["the", "sky"]}}, "pong")
        await client.call({"type": "subscribe", "channel": orders(tenant), "type2": 1}, "subscribed")


async def test_a_client_s_pong_is_not_answered(edge: RunningEdge, tenant: str) -> None:
    """Neither the command nor the frame."""
    async with edge.client(tenant) as client:
        client.send({"type": "pong", "id": 1})
        client.send_frame(b"whatever", PONG)
        await client.silence()


@pytest.mark.parametrize(
    "command",
    [
        {"type": "request.state"},
        {"type": "presence", "channel": "system:all"},
    ],
)
async def test_what_this_version_does_not_offer_is_unavailable(
    edge: RunningEdge, tenant: str, command: dict[str, str]
) -> None:
    """A known command without its feature is no mistake of the client's."""
    async with edge.client(tenant) as client:
        for _ in range(12):
            answer = await client.call({**command, "id": 1}, "error")
            assert (answer["payload"]["code"], answer["replyTo"]) == ("unavailable", 1)


async def test_subscribing_twice_is_the_same_as_once(edge: RunningEdge, tenant: str) -> None:
    """One frame, and one `unsubscribe` is enough."""
    name = orders(tenant, 1)
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        await client.call({"type": "subscribe", "channels": [name, name]}, "subscribed")
        await client.call({"type": "subscribe", "channel": name}, "subscribed")
        await publisher.publish("orders", "order.updated", 1, tenant=tenant, resource=("orders", "1"))
        await client.message("order.updated")
        await client.silence()

        await client.call({"type": "unsubscribe", "channel": name}, "unsubscribed")
        await publisher.publish("orders", "order.updated", 2, tenant=tenant, resource=("orders", "1"))
        await publisher.publish("orders", "after", tenant=tenant, to=("user", "u-1"))
        await client.message("after")


async def test_overlapping_subscriptions_give_one_frame(edge: RunningEdge, tenant: str) -> None:
    """The exact channel and both patterns together; the frame names the concrete channel."""
    async with edge.client(tenant, channels=["tenant:" + tenant + ":resource:*"]) as client:
        channels = [orders(tenant, 1), orders(tenant), f"tenant:{tenant}:resource:*"]
        await client.call({"type": "subscribe", "channels": channels}, "subscribed")
        edge.add_event("orders", tenant, 1)
        edge.add_event("orders", tenant, 2)
        assert [(await client.message())["channel"] for _ in range(2)] == [
            orders(tenant, 1),
            orders(tenant, 2),
        ]
        await client.silence()


async def test_a_batch_is_answered_channel_by_channel_where_it_is_refused(
    edge: RunningEdge, tenant: str
) -> None:
    """Each refused channel gets its own error, the permitted ones share one `subscribed`."""
    good = [orders(tenant, number) for number in (1, 2)]
    asked = [good[0], "nonsense", "tenant:other:all", good[1]]
    async with edge.client(tenant) as client:
        client.send({"type": "subscribe", "channels": asked, "id": 3})
        answers = await client.messages(3)

        assert [summary(each) for each in answers] == [
            ("error", "invalid_channel", "nonsense", 3),
            ("error", "forbidden", "tenant:other:all", 3),
            ("subscribed", None, None, 3),
        ]
        assert answers[2]["payload"]["channels"] == good
        client.send({"type": "unsubscribe", "channels": [*asked, orders(tenant)], "id": 4})
        assert [summary(each) for each in await client.messages(4)] == [
            ("error", "invalid_channel", "nonsense", 4),
            ("error", "forbidden", "tenant:other:all", 4),
            ("error", "not_subscribed", orders(tenant), 4),
            ("unsubscribed", None, None, 4),
        ]


async def test_after_unsubscribe_nothing_comes_any_more(edge: RunningEdge, tenant: str) -> None:
    """The confirmation names the channels and the reason; a second time is `not_subscribed`."""
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        await client.call({"type": "subscribe", "channel": orders(tenant)}, "subscribed")
        answer = await client.call({"type": "unsubscribe", "channel": orders(tenant)}, "unsubscribed")
        assert answer["payload"] == {"channels": [orders(tenant)], "reason": "client"}

        await publisher.publish("orders", "order.updated", 1, tenant=tenant, resource=("orders", "1"))
        await publisher.publish("orders", "after", tenant=tenant, to=("user", "u-1"))
        await client.message("after")
        again = await client.call({"type": "unsubscribe", "channel": orders(tenant)}, "error")
        assert summary(again) == ("error", "not_subscribed", orders(tenant), None)


async def test_a_connection_is_on_so_many_channels_and_no_more(brisk_edge: RunningEdge, tenant: str) -> None:
    """Those of the server count (4 here, of 6); leaving one makes room."""
    async with brisk_edge.client(tenant) as client:
        client.send({"type": "subscribe", "channels": [orders(tenant, n) for n in range(3)]})
        assert [summary(each)[:3] for each in await client.messages(2)] == [
            ("error", "limit_exceeded", orders(tenant, 2)),
            ("subscribed", None, None),
        ]
        for _ in range(12):
            refusal = await client.call({"type": "subscribe", "channel": orders(tenant, 2)}, "error")
            assert summary(refusal)[1] == "limit_exceeded"
        await client.call({"type": "unsubscribe", "channel": orders(tenant, 0)}, "unsubscribed")
        await client.call({"type": "subscribe", "channel": orders(tenant, 2)}, "subscribed")


async def test_since_the_present_positions_is_recovered(edge: RunningEdge, tenant: str) -> None:
    """Nothing lies between, so nothing is missing and no gap follows."""
    async with edge.client(tenant) as client:

        async def is_recovered() -> bool:
            since = await client.positions()
            client.send({"type": "subscribe", "channel": orders(tenant), "since": since})
            answer = await client.message("subscribed")
            if answer["payload"]["positions"] == since:
                await client.silence()
                return answer["payload"]["recovered"] is True
            while (await client.call({"type": "ping"}))["type"] == "gap":
                pass  # Something was published by an earlier test in just this moment.
            return False

        await eventually(is_recovered)


@pytest.mark.parametrize("form", ["positions", "offset"])
async def test_since_an_earlier_position_brings_what_lies_between(
    edge: RunningEdge, tenant: str, form: str
) -> None:
    """`recovered: true`, delivery begins after the `since`, and the replay comes before anything live."""
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        places = [
            str(
                await publisher.publish("orders", "order.updated", n, tenant=tenant, resource=("orders", "1"))
            )
            for n in range(4)
        ]
        since = places[1]
        await _level(edge, client)
        wanted = {"positions": (await client.positions()) | {"orders": since}, "offset": f"orders@{since}"}
        client.send({"type": "subscribe", "channel": orders(tenant), "since": wanted[form], "id": 1})
        answer = await client.message("subscribed")
        frames: list[dict[str, Any]] = []
        while len(frames) < 2:
            # One offset says nothing of the other topics, and what they held may be gaps.
            message = await client.message()
            assert message["type"] == "order.updated" or form == "offset"
            frames += [message] if message["type"] == "order.updated" else []

        assert answer["payload"]["positions"]["orders"] == since
        assert [frame["payload"] for frame in frames] == [2, 3]
        assert answer["payload"]["recovered"] is True or form == "offset"
        await client.silence()


@pytest.mark.parametrize("form", ["positions", "offset"])
async def test_since_that_proves_nothing_is_told_with_a_gap_up_to_now(
    edge: RunningEdge, tenant: str, form: str
) -> None:
    """`recovered: false` and a `gap` of the topic with where to go on; then live."""
    edge.add_event("orders", tenant, 1)
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        await _level(edge, client)
        now = await client.positions()
        place = "1-0~00000000"
        since = {"positions": now | {"orders": place}, "offset": f"orders@{place}"}[form]
        answer = await client.call({"type": "subscribe", "channel": orders(tenant), "since": since})
        client.send({"type": "ping"})
        gaps = {}
        while (message := await client.message())["type"] != "pong":
            gaps[message["payload"]["topic"]] = message

        assert answer["payload"]["recovered"] is False
        assert answer["payload"]["positions"]["orders"] == now["orders"]
        assert gaps["orders"]["offset"] == f"orders@{now['orders']}"
        assert gaps["orders"]["payload"] == {
            "topic": "orders",
            "reason": "unknown_position",
            "from": place,
            "to": now["orders"],
            "jitterMs": 5000,
        }
        assert form == "offset" or len(gaps) == 1, "the other topics were given"
        await publisher.publish("orders", "order.updated", 1, tenant=tenant, resource=("orders", "1"))
        await client.message("order.updated")


async def test_since_that_is_ahead_of_the_log_waits_and_holds_nobody_else_up(
    edge: RunningEdge, tenant: str
) -> None:
    """An edge may read behind the one that the client was on; other connections go on meanwhile."""
    edge.add_event("orders", tenant, 1)
    async with edge.client(tenant) as client, edge.client(tenant) as other:
        await _level(edge, client)
        broker = (await client.positions())["orders"].partition("~")[2]
        since = f"orders@9999999999999-0~{broker}"
        client.send({"type": "subscribe", "channel": orders(tenant), "since": since})
        await other.call({"type": "subscribe", "channel": orders(tenant)}, "subscribed")
        edge.add_event("orders", tenant, 2)
        assert (await other.message("order.updated"))["payload"]["number"] == 2
        assert edge.process.returncode is None


async def test_commands_are_carried_out_in_the_order_of_arrival(edge: RunningEdge, tenant: str) -> None:
    """Forty in one segment, more than may wait, are all answered in order."""
    async with edge.client(tenant) as client:
        commands = []
        for number in range(0, 40, 4):
            channel = orders(tenant, number)
            commands += [
                {"type": "subscribe", "channel": channel, "id": number},
                {"type": "ping", "id": number + 1},
                {"type": "unsubscribe", "channel": channel, "id": number + 2},
                {"type": "nonsense", "id": number + 3},
            ]
        client.send(*commands)
        answers = await client.messages(40)

        assert types(answers) == ["subscribed", "pong", "unsubscribed", "error"] * 10
        assert [each["replyTo"] for each in answers] == list(range(40))


async def test_many_commands_are_answered_in_order_while_events_pour_in(
    lavish_edge: RunningEdge, tenant: str
) -> None:
    """Neither loses the other's place, and the positions never run ahead of the events."""
    async with lavish_edge.client(tenant) as client, lavish_edge.publisher() as publisher:
        await client.call({"type": "subscribe", "channel": orders(tenant)}, "subscribed")
        for burst in range(10):
            client.send(*({"type": "ping", "id": burst * 40 + n} for n in range(40)))
            await publisher.publish("orders", "order.updated", burst, tenant=tenant, resource=("orders", "1"))
        pongs: list[int] = []
        events: list[int] = []
        while len(pongs) < 400 or len(events) < 10:
            message = await client.message()
            if message["type"] == "pong":
                pongs.append(message["replyTo"])
                continue
            events.append(message["payload"])
        assert pongs == list(range(400))
        assert events == list(range(10))


async def test_a_ping_frame_is_answered_with_its_payload_in_turn(edge: RunningEdge, tenant: str) -> None:
    """PONGs keep their place among the answers to commands."""
    async with edge.client(tenant) as client:
        client.send_frame(b"one", PING)
        client.send({"type": "ping", "id": 1})
        client.send_frame(b"", PING)
        client.send_frame(b"x" * 125, PING)

        frames = [await client.frame() for _ in range(4)]
        assert [frames[0], *frames[2:]] == [(PONG, b"one"), (PONG, b""), (PONG, b"x" * 125)]


async def test_pong_advances_where_nothing_was_sent(edge: RunningEdge, tenant: str) -> None:
    """Events for others move a quiet connection's positions too, never backwards."""
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        before = (await client.positions()).get("orders")
        at = await publisher.publish("orders", "order.updated", 1, tenant="other", resource=("orders", "1"))

        async def has_advanced() -> bool:
            return (await client.positions()).get("orders") == str(at)

        await eventually(has_advanced)
        assert before != str(at)
        await client.silence()
