"""Permission by others than the token: the mirror of a REST API, owners, a function (PROTOCOL §4, §9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fanwire_edge.config import merge
from fanwire_protocol.settings import SettingError
from tests.edge.mirror import (
    BRIEF,
    IMPATIENT,
    SERVED,
    guest,
    mirrored_edge,
    order,
    refusals,
    rules,
    subscribe,
    subscribed,
)
from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import Wire, types
from tests.kit.canaries import CANARIES
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.rest_api import Answer, RestApi
from tests.kit.tokens import SECRET
from tests.kit.wait import eventually

INVOICES = "tenant:acme:resource:invoices"


@pytest.fixture(scope="module")
def api() -> Iterator[RestApi]:
    """A REST API, which each test tells what it serves to whom."""
    with RestApi() as running:
        yield running


@pytest.fixture(autouse=True)
def anew(api: RestApi) -> None:
    """Each test begins with an API that serves nothing and was asked nothing."""
    api.table.clear()
    api.fault = None
    api.forget()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mirror(session_redis: RedisServer, api: RestApi) -> AsyncIterator[RunningEdge]:
    """An edge that keeps what it was told for an hour."""
    async with mirrored_edge(SharedRedis(session_redis, "mirror"), api) as edge:
        yield edge


async def test_what_the_api_shows_may_be_subscribed_to(mirror: RunningEdge, api: RestApi) -> None:
    """In one round: what it serves is confirmed together, everything else refused one by one."""
    async with guest(mirror, api, "/orders/1", "/orders/2") as client:
        client.send(subscribe(order(1), order(3), order(2), id=1))
        refused, confirmed = await client.messages(2)

        assert refusals([refused]) == {order(3): ("forbidden", 403)}
        assert confirmed["payload"]["channels"] == [order(1), order(2)]
        assert {refused["replyTo"], confirmed["replyTo"]} == {1}
        mirror.add_event("orders", "acme", 3)
        mirror.add_event("orders", "acme", 2)
        assert (await client.message("order.updated"))["channel"] == order(2)
        await client.silence()


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (401, ("unauthenticated", 401)),
        (403, ("forbidden", 403)),
        (404, ("forbidden", 403)),
        (302, ("unavailable", 503)),
        (500, ("unavailable", 503)),
        (Answer(reset=True), ("unavailable", 503)),
        (Answer(hang=True), ("unavailable", 503)),
    ],
    ids=["401", "403", "404", "302", "500", "reset", "hang"],
)
async def test_anything_else_is_refused_as_the_api_would(
    mirror: RunningEdge, api: RestApi, answer: Any, refusal: tuple[str, int]
) -> None:
    """And asked again next time: nothing but a permission is kept."""
    async with guest(mirror, api) as client:
        api.fault = answer
        assert refusals([await client.call(subscribe(order(1)), "error")]) == {order(1): refusal}

        api.fault = SERVED
        await subscribed(client, order(1))


async def test_patterns_need_a_route_of_their_own(mirror: RunningEdge, api: RestApi) -> None:
    """Who sees a list sees its own rows: without a route that means every one, a pattern is forbidden, and
    nobody is asked."""
    async with guest(mirror, api, "/orders", "/orders/", "/orders/1", "/invoices/any") as client:
        for pattern in (order("*"), "tenant:acme:resource:*"):
            refused = await client.call(subscribe(pattern), "error")
            assert refusals([refused]) == {pattern: ("forbidden", 403)}
        assert api.count() == 0

        await subscribed(client, f"{INVOICES}:*")
        assert [request.path for request in api.requests] == ["/invoices/any"]
        mirror.add_event("orders", "acme", 7, resource=("invoices", "7"))
        assert (await client.message("order.updated"))["channel"] == f"{INVOICES}:7"


async def test_what_claims_permit_is_asked_of_nobody(mirror: RunningEdge, api: RestApi) -> None:
    """Nor what no claim and no route could: another tenant's, a malformed one, one of the server's."""
    async with guest(mirror, api, scope="orders:read") as client:
        await subscribed(client, order(1), order("*"))
        wrong = [order(1, "globex"), "nonsense", "tenant:acme:user:u-2", f"{INVOICES}:..", f"{INVOICES}s:1"]
        client.send(subscribe(*wrong))
        codes = [message["payload"]["code"] for message in await client.messages(5)]

        assert codes == ["forbidden", "invalid_channel", "forbidden", "forbidden", "forbidden"]
        assert api.count() == 0


async def test_commands_wait_for_a_decision_and_a_ping_does_not(mirror: RunningEdge, api: RestApi) -> None:
    """They are answered in their order; what a client said behind it cannot overtake it."""
    async with guest(mirror, api) as client:
        api.fault = Answer(200, delay_seconds=0.3)
        client.send(
            subscribe(order(1), id=1),
            {"type": "unsubscribe", "channel": order(1), "id": 2},
            subscribe("nonsense", id=3),
            {"type": "ping", "id": 4},
        )

        found = await client.messages(4)

        assert [(each["type"], each["replyTo"]) for each in found] == [
            ("pong", 4),
            ("subscribed", 1),
            ("unsubscribed", 2),
            ("error", 3),
        ]


async def test_a_subscription_resumes_from_where_it_said(mirror: RunningEdge, api: RestApi) -> None:
    """However long the decision takes: what comes meanwhile is replayed."""
    async with guest(mirror, api) as client:
        api.fault = Answer(200, delay_seconds=0.3)
        positions = await client.positions()
        mirror.add_event("orders", "acme", 1)
        client.send(subscribe(order(1), since=positions))
        await eventually(lambda: api.count() == 1)
        mirror.add_event("orders", "acme", 1)

        assert types(await client.messages(3)) == ["subscribed", "order.updated", "order.updated"]


async def test_nothing_is_asked_twice_at_the_same_time(mirror: RunningEdge, api: RestApi) -> None:
    """Ten tabs of a user come back at once with the same token: one question; another user's is another."""
    token, other = mirror.token(scope=None), mirror.token(scope=None, sub="u-2")
    api.fault = Answer(200, delay_seconds=0.5)
    wires = [await Wire.dial(mirror.port) for _ in range(10)]
    try:
        for wire in wires:
            shown = other if wire is wires[-1] else token
            await wire.open(f"Authorization: Bearer {shown}")
        for wire in wires:
            wire.send(subscribe(order(1)))
        for wire in wires:
            await wire.message("subscribed")
    finally:
        for wire in wires:
            wire.writer.transport.abort()
    assert sorted(str(request.credential) for request in api.requests) == sorted(
        [f"Bearer {token}", f"Bearer {other}"]
    )


async def test_a_permission_is_kept_for_its_connection(mirror: RunningEdge, api: RestApi) -> None:
    """Coming back to a channel asks nobody; another connection asks for itself."""
    token = mirror.token(scope=None)
    for count in (1, 2):
        async with guest(mirror, api, "/orders/1", token=token) as client:
            await subscribed(client, order(1))
            await client.call({"type": "unsubscribe", "channel": order(1)}, "unsubscribed")
            await subscribed(client, order(1))
        assert api.count() == count


async def test_who_leaves_meanwhile_is_forgotten(mirror: RunningEdge, api: RestApi) -> None:
    """The answer is nobody's, and the edge goes on."""
    async with guest(mirror, api) as client:
        api.fault = Answer(hang=True)
        client.send(subscribe(order(1)))
        await eventually(lambda: api.count() == 1)
    await eventually(lambda: _no_connections(mirror))
    api.fault = None
    async with guest(mirror, api, "/orders/1") as client:
        await subscribed(client, order(1))


async def _no_connections(edge: RunningEdge) -> bool:
    return await edge.metric("connections_active") == 0


async def test_decisions_of_others_are_counted(mirror: RunningEdge, api: RestApi) -> None:
    """By what they said; what claims permit is none of theirs."""

    async def counted() -> list[float]:
        names = ("permitted", "forbidden", "unauthenticated", "unavailable")
        return [await mirror.metric("authorizations_total", decision=name) for name in names]

    before = await counted()
    async with guest(mirror, api, "/orders/1", scope="invoices:read") as client:
        client.send(subscribe(order(1), order(2), f"{INVOICES}:1"))
        await client.messages(2)
    assert [now - then for now, then in zip(await counted(), before, strict=True)] == [1, 1, 0, 0]


# What is kept becomes old, or is revoked.


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def forgetful(session_redis: RedisServer, api: RestApi) -> AsyncIterator[RunningEdge]:
    """An edge that keeps what it was told for two seconds."""
    settings = {"AUTHORIZATION__MAX_AGE": "2", "AUTHORIZATION__ON_REVOKE": "unsubscribe"}
    async with mirrored_edge(SharedRedis(session_redis, "forgetful"), api, **settings) as edge:
        yield edge


async def test_a_permission_is_renewed_in_the_background(forgetful: RunningEdge, api: RestApi) -> None:
    """The client notices nothing while the API says the same."""
    async with guest(forgetful, api, "/orders/1", "/orders/2") as client:
        await subscribed(client, order(1), order(2))
        await client.call({"type": "unsubscribe", "channel": order(2)}, "unsubscribed")
        await eventually(lambda: api.count("/orders/1") >= 3)

        forgetful.add_event("orders", "acme", 1)
        assert (await client.message("order.updated"))["channel"] == order(1)
        # What it has left is nobody's to renew.
        assert api.count("/orders/2") == 1


async def test_a_permission_that_is_withdrawn_ends_with_its_renewal(
    forgetful: RunningEdge, api: RestApi
) -> None:
    """Only that one; the connection stays, and no event of it follows."""
    async with guest(forgetful, api, "/orders/1", "/orders/2") as client:
        await subscribed(client, order(1), order(2))
        del api.table[next(key for key in api.table if key[1] == "/orders/1")]

        ended = await client.message("unsubscribed")

        assert ended["payload"] == {"channels": [order(1)], "reason": "revoked"}
        forgetful.add_event("orders", "acme", 1)
        forgetful.add_event("orders", "acme", 2)
        assert (await client.message("order.updated"))["channel"] == order(2)


async def test_a_permission_that_cannot_be_renewed_is_over_in_time(
    forgetful: RunningEdge, api: RestApi
) -> None:
    """Until then events come on; a short failure is not noticed, because it is tried again."""
    async with guest(forgetful, api, "/orders/1") as client:
        await subscribed(client, order(1))
        api.fault = 500
        began = asyncio.get_running_loop().time()
        forgetful.add_event("orders", "acme", 1)
        await client.message("order.updated")

        ended = await client.message("unsubscribed")

        assert ended["payload"] == {"channels": [order(1)], "reason": "expired"}
        assert 1.5 < asyncio.get_running_loop().time() - began < 10
        assert api.count() > 1
        api.fault = None
        await subscribed(client, order(1))


async def test_what_is_revoked_is_asked_for_anew(forgetful: RunningEdge, api: RestApi) -> None:
    """Although a permission was kept a moment ago; one of another channel stays."""
    async with guest(forgetful, api, "/orders/1", "/orders/2") as client, forgetful.publisher() as publisher:
        await subscribed(client, order(1), order(2))
        del api.table[next(key for key in api.table if key[1] == "/orders/1")]
        await publisher.revoke("acme", user="u-1", channels=[order(1)])

        ended = await client.message("unsubscribed")
        assert ended["payload"] == {"channels": [order(1)], "reason": "revoked"}
        assert refusals([await client.call(subscribe(order(1)), "error")]) == {order(1): ("forbidden", 403)}
        await subscribed(client, order(2))


ENTRYPOINTS = """
[[entrypoint]]
path = "/orders/{order}/live"
channels = ["tenant:{tenant}:resource:orders:{order}"]
"""


async def test_what_an_entrypoint_joined_is_renewed_too(
    shared_redis: SharedRedis, api: RestApi, tmp_path: Path
) -> None:
    """It was permitted by others at the handshake, and not for longer than anything else."""
    file = tmp_path / "entrypoints.toml"
    file.write_text(ENTRYPOINTS)
    settings = {"EDGE__ENTRYPOINTS": str(file), "AUTHORIZATION__MAX_AGE": "2"}
    async with mirrored_edge(shared_redis, api, **settings) as edge, await edge.dial() as client:
        token = edge.token(scope=None)
        api.table[f"Bearer {token}", "/orders/1"] = SERVED
        await client.open(f"Authorization: Bearer {token}", path="/orders/1/live")
        assert order(1) in client.greeting["channels"]
        await eventually(lambda: api.count() >= 2)
        api.fault = 404

        ended = await client.message("unsubscribed")

        assert ended["payload"] == {"channels": [order(1)], "reason": "revoked"}


async def test_a_refreshed_credential_has_everything_asked_anew(mirror: RunningEdge, api: RestApi) -> None:
    """It is shown instead of the old one, and what the API does not show to it any more ends."""
    renewed = mirror.token(scope=None, jti="renewed")
    async with guest(mirror, api, "/orders/1", "/orders/2", jti="old") as client:
        await subscribed(client, order(1), order(2))
        api.table.clear()
        api.table[f"Bearer {renewed}", "/orders/2"] = SERVED

        client.send({"type": "authenticate", "token": renewed, "id": 7})

        ended, confirmed = await client.messages(2)
        assert ended["payload"] == {"channels": [order(1)], "reason": "revoked"}
        assert (confirmed["type"], confirmed["replyTo"]) == ("authenticated", 7)
        mirror.add_event("orders", "acme", 1)
        mirror.add_event("orders", "acme", 2)
        assert (await client.message("order.updated"))["channel"] == order(2)


async def test_a_refresh_that_nobody_can_check_keeps_what_was_permitted(
    mirror: RunningEdge, api: RestApi
) -> None:
    """For as long as that holds: an API that is away for a moment ends nothing."""
    renewed = mirror.token(scope=None, jti="renewed")
    async with guest(mirror, api, "/orders/1", jti="old") as client:
        await subscribed(client, order(1))
        api.fault = 500

        await client.call({"type": "authenticate", "token": renewed}, "authenticated")

        mirror.add_event("orders", "acme", 1)
        assert (await client.message("order.updated"))["channel"] == order(1)


async def test_an_answer_from_before_a_revocation_counts_for_nobody(
    forgetful: RunningEdge, api: RestApi
) -> None:
    """Who is being asked while the order comes is asked again."""
    async with guest(forgetful, api) as client, forgetful.publisher() as publisher:
        api.fault = Answer(200, delay_seconds=1)
        client.send(subscribe(order(1)))
        await eventually(lambda: api.count() == 1)
        api.fault = 403
        await publisher.revoke("acme", user="u-1", channels=[order(1)])

        assert refusals([await client.message("error")]) == {order(1): ("forbidden", 403)}


async def test_nothing_of_others_holds_while_revocations_cannot_be_read(
    redis_server: RedisServer, api: RestApi
) -> None:
    """Half a minute after the control stream was read last, which is two seconds here; what claims permitted
    stays, and nothing new is permitted."""
    redis = SharedRedis(redis_server, "blind")
    async with (
        mirrored_edge(redis, api, IMPATIENT, **BRIEF) as edge,
        guest(edge, api, "/orders/1", scope="invoices:read") as client,
    ):
        await subscribed(client, order(1), f"{INVOICES}:1")
        redis_server.pause()
        try:
            ended = await client.message("unsubscribed", 10)
            assert ended["payload"] == {"channels": [order(1)], "reason": "expired"}
            client.send(subscribe(order(1), f"{INVOICES}:1", f"{INVOICES}:2", order(1, "globex")))
            found = await client.messages(4)
            assert refusals(found) == {
                order(1): ("unavailable", 503),
                f"{INVOICES}:2": ("unavailable", 503),
                order(1, "globex"): ("forbidden", 403),
            }
            assert found[3]["payload"]["channels"] == [f"{INVOICES}:1"]
        finally:
            redis_server.resume()
        await eventually(lambda: _permitted(client, order(1)))


async def _permitted(client: Wire, channel: str) -> bool:
    return types([await client.call(subscribe(channel))]) == ["subscribed"]


# Others than the mirror.


async def test_owners_are_asked_with_the_edges_own_bearer(
    shared_redis: SharedRedis, api: RestApi, tmp_path: Path
) -> None:
    """Whoever belongs to the owner may read; a lookup that fails denies."""
    secret = tmp_path / "bearer"
    secret.write_text(CANARIES.remember("canary-owner-bearer") + "\n")
    spec = "tenant:acme:resource:spec"
    settings: dict[str, Any] = {
        "AUTHORIZATION__MODE": "owner",
        "AUTHORIZATION__OWNERS": rules(api, ["tenant:{tenant}:resource:spec:{id} {api}/specs/{id}"]),
        "AUTHORIZATION__OWNER_FIELD": "team.id",
        "AUTHORIZATION__OWNER_SECRET_FILE": str(secret),
    }
    bearer = "Bearer canary-owner-bearer"
    api.table[bearer, "/specs/1"] = {"team": {"id": "acme"}}
    api.table[bearer, "/specs/2"] = {"team": {"id": "globex"}}
    api.table[bearer, "/specs/3"] = 500
    async with running_edge(shared_redis, **settings) as edge, edge.client(scope="spec:read") as client:
        # The mode does not name `claims`: what they permit does not count.
        client.send(subscribe(*(f"{spec}:{number}" for number in (1, 2, 3, 4))))
        found = await client.messages(4)
        assert refusals(found) == {
            f"{spec}:2": ("forbidden", 403),
            f"{spec}:3": ("unavailable", 503),
            f"{spec}:4": ("forbidden", 403),
        }
        assert found[3]["payload"]["channels"] == [f"{spec}:1"]
        assert refusals([await client.call(subscribe(order(1)), "error")]) == {order(1): ("forbidden", 403)}


FUNCTION = """
async def may_read(principal, channel):
    if channel.endswith(":1"):
        return principal["user"] == "u-1"
    return None
"""


async def test_a_function_of_the_operators_own_decides_first_or_leaves_it_to_others(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """The first that has an opinion wins, here before the claims."""
    (tmp_path / "shop_realtime.py").write_text(FUNCTION)
    async with (
        running_edge(
            shared_redis,
            environment={"PYTHONPATH": str(tmp_path)},
            AUTHORIZATION__MODE="callable,claims",
            AUTHORIZATION__CALLABLE="shop_realtime:may_read",
        ) as edge,
        edge.client() as anne,
        edge.client(sub="u-2") as bob,
    ):
        await subscribed(anne, order(1), order(2))
        bob.send(subscribe(order(1), order(2)))
        refused, confirmed = await bob.messages(2)
        assert refusals([refused]) == {order(1): ("forbidden", 403)}
        assert confirmed["payload"]["channels"] == [order(2)]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"MODE": "claims,magic"}, "authorization.mode: 'magic' is none of"),
        ({"MODE": ""}, "authorization.mode: '' is none of"),
        ({"MODE": "claims,claims"}, "authorization.mode: names somebody twice"),
        ({"MODE": "http"}, "authorization.routes: is empty"),
        ({"MODE": "owner"}, "authorization.owners: is empty"),
        ({"MODE": "callable"}, "authorization.callable: is not set"),
        ({"ROUTES": '["tenant:{tenant}:user:{id} https://api/x"]'}, "authorization.routes: 'tenant:"),
        ({"OWNERS": '["nonsense https://api/x"]'}, "authorization.owners: 'nonsense"),
        ({"OWNER_FIELD": "team..id"}, "authorization.owner_field"),
    ],
)
def test_rules_that_cannot_work_stop_the_start(settings: dict[str, str], reason: str) -> None:
    """With one line that says which setting it is, and what would work."""
    variables = {f"FANWIRE_AUTHORIZATION__{name}": value for name, value in settings.items()}

    with pytest.raises(SettingError) as refusal:
        merge({}, {"FANWIRE_AUTH__JWT__SECRET": SECRET, **variables}, {})

    assert str(refusal.value).startswith(reason)
    assert "for example" in str(refusal.value)
    assert "\n" not in str(refusal.value)
