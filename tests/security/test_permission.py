"""Permission under attack and failure: S19, S20, S33 and F27, with PROTOCOL's codes, on real edges."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.edge.mirror import (
    BRIEF,
    IMPATIENT,
    SERVED,
    guest,
    mirrored_edge,
    order,
    refusals,
    subscribe,
    subscribed,
)
from tests.edge.running import RunningEdge
from tests.edge.wire import Wire, types, upgrade_request
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.rest_api import Answer, RestApi
from tests.kit.wait import eventually

ENTRYPOINTS = """
[[entrypoint]]
path = "/orders/{order}/live"
channels = ["tenant:{tenant}:resource:orders:{order}"]
"""
BROKEN = {
    "500": Answer(500),
    "502": Answer(502, "<html>Bad Gateway</html>"),
    "garbage": Answer(300, b"\x00\xff"),
    "reset": Answer(reset=True),
    "half an answer": Answer(500, b"x" * 1000, half=True),
    "no answer": Answer(hang=True),
}


@pytest.fixture(scope="module")
def api() -> Iterator[RestApi]:
    """The REST API whose permissions are mirrored."""
    with RestApi() as running:
        yield running


@pytest.fixture(autouse=True)
def anew(api: RestApi) -> None:
    """Each case begins with an API that serves nothing."""
    api.table.clear()
    api.fault = None
    api.forget()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mirror(
    session_redis: RedisServer, api: RestApi, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningEdge]:
    """An edge that mirrors it, with an entrypoint."""
    file = tmp_path_factory.mktemp("permission") / "entrypoints.toml"
    file.write_text(ENTRYPOINTS)
    redis = SharedRedis(session_redis, "permission")
    async with mirrored_edge(redis, api, EDGE__ENTRYPOINTS=str(file)) as edge:
        yield edge


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_s19_a_backend_that_fails_permits_nothing(
    mirror: RunningEdge, api: RestApi, broken: Answer
) -> None:
    """`unavailable` for a subscribe, 503 for an entrypoint; and nothing of it is kept: the next question is
    asked, whichever way it went before."""
    token = mirror.token(scope=None)
    async with guest(mirror, api, token=token) as client:
        api.fault = broken
        assert refusals([await client.call(subscribe(order(1)), "error")]) == {order(1): ("unavailable", 503)}
        async with await mirror.dial() as other:
            request = upgrade_request(f"Authorization: Bearer {token}", path="/orders/1/live")
            answer = await other.ask(request)
        assert (answer.status, answer.error["code"]) == (503, "unavailable")
        assert "retry-after" in answer.headers
        mirror.add_event("orders", "acme", 1)
        await client.silence()

        api.fault = 403
        assert refusals([await client.call(subscribe(order(1)), "error")]) == {order(1): ("forbidden", 403)}
        api.fault = SERVED
        await subscribed(client, order(1))


@pytest.mark.parametrize(("status", "expected"), [(200, 101), (401, 401), (403, 403), (404, 403), (500, 503)])
async def test_s19_an_entrypoint_answers_as_the_backend_would(
    mirror: RunningEdge, api: RestApi, status: int, expected: int
) -> None:
    """What does not exist answers like what is not permitted."""
    api.fault = status
    async with await mirror.dial() as wire:
        header = f"Authorization: Bearer {mirror.token(scope=None)}"
        assert (await wire.ask(upgrade_request(header, path="/orders/1/live"))).status == expected


async def test_s20_a_kept_permission_ends_with_the_revocation_or_with_its_age(
    redis_server: RedisServer, api: RestApi
) -> None:
    """A role is taken away. The order ends the subscription and what was kept for it; where the order does
    not come because the broker hangs, the age does."""
    redis = SharedRedis(redis_server, "s20")
    settings = {"AUTHORIZATION__MAX_AGE": "2", "AUTHORIZATION__ON_REVOKE": "unsubscribe"}
    async with (
        mirrored_edge(redis, api, **settings) as edge,
        edge.publisher() as publisher,
        guest(edge, api, "/orders/1", roles=["staff"]) as client,
    ):
        await subscribed(client, order(1))
        api.fault = 403
        await publisher.revoke("acme", role="staff", channels=[order("*")])
        ended = await client.message("unsubscribed")
        assert ended["payload"] == {"channels": [order(1)], "reason": "revoked"}
        assert refusals([await client.call(subscribe(order(1)), "error")]) == {order(1): ("forbidden", 403)}

        api.fault = SERVED
        await subscribed(client, order(1))
        redis_server.pause()
        try:
            api.fault = 403
            ended = await client.message("unsubscribed")
        finally:
            redis_server.resume()
        assert ended["payload"] == {"channels": [order(1)], "reason": "revoked"}


async def test_s20_while_the_bus_lags_what_others_permitted_is_unknown(
    redis_server: RedisServer, api: RestApi
) -> None:
    """After thirty seconds, here two: revocations may stand in what cannot be read."""
    async with (
        mirrored_edge(SharedRedis(redis_server, "s20"), api, IMPATIENT, **BRIEF) as edge,
        guest(edge, api, "/orders/1") as client,
    ):
        await subscribed(client, order(1))
        redis_server.pause()
        try:
            ended = await client.message("unsubscribed", 10)
            refused = await client.call(subscribe(order(1)), "error")
        finally:
            redis_server.resume()
        assert ended["payload"] == {"channels": [order(1)], "reason": "expired"}
        assert refusals([refused]) == {order(1): ("unavailable", 503)}
        asked = api.count()
        await eventually(lambda: _is_back(client))
        assert api.count() == asked + 1


async def _is_back(client: Wire) -> bool:
    return types([await client.call(subscribe(order(1)))]) == ["subscribed"]


@pytest.mark.parametrize(
    "name",
    [
        "tenant:globex:resource:orders:1",
        "tenant:globex:resource:orders:*",
        "tenant:globex:resource:*",
        "tenant:acme2:resource:orders:1",
        "tenant:Acme:resource:orders:1",
        "tenant:globex:all",
        "tenant:globex:user:u-1",
    ],
)
async def test_s33_no_name_crosses_tenants(mirror: RunningEdge, api: RestApi, name: str) -> None:
    """Whatever claims and the API say of it: the API is not even asked."""
    claims: dict[str, Any] = {
        "scope": "orders:read",
        "channels": [name, "tenant:*:resource:*", "tenant:globex:resource:*"],
    }
    async with guest(mirror, api, **claims) as client:
        api.fault = SERVED
        api.forget()
        assert refusals([await client.call(subscribe(name), "error")]) == {name: ("forbidden", 403)}
        mirror.add_event("orders", "globex", 1)
        mirror.add_event("orders", "acme2", 1)
        await client.silence()
        assert api.count() == 0


@pytest.mark.parametrize("pattern", ["tenant:*:resource:orders:1", "tenant:*:resource:*", "tenant:*", "*"])
async def test_s33_a_wildcard_for_tenants_is_no_channel(
    mirror: RunningEdge, api: RestApi, pattern: str
) -> None:
    """Not even to somebody whose token names it."""
    async with guest(mirror, api, channels=[pattern]) as client:
        api.fault = SERVED
        answer = await client.call(subscribe(pattern), "error")
        assert answer["payload"]["code"] == "invalid_channel"
        assert api.count() == 0


async def test_s33_whoever_tries_is_in_the_audit_log(
    shared_redis: SharedRedis, api: RestApi, tmp_path: Path
) -> None:
    """With the channel, and who it was."""
    path = tmp_path / "audit.jsonl"
    settings = {"AUDIT__TARGET": "file", "AUDIT__PATH": str(path)}
    async with mirrored_edge(shared_redis, api, **settings) as edge, guest(edge, api) as client:
        await client.call(subscribe(order(1, "globex")), "error")
    denied = [each for each in map(json.loads, path.read_text().splitlines()) if each["event"] == "denied"]
    assert [(each["user"], each["tenant"], each["channel"], each["code"]) for each in denied] == [
        ("u-1", "acme", order(1, "globex"), "forbidden")
    ]


async def test_f27_while_the_backend_hangs_nothing_new_is_granted_and_the_old_stays_for_its_age(
    shared_redis: SharedRedis, api: RestApi
) -> None:
    """Thirty seconds, here three: events come on until the permission is too old, and not after it."""
    settings = {
        "AUTHORIZATION__MAX_AGE": "3",
        "AUTHORIZATION__DEADLINE_SECONDS": "1",
        "OUTBOUND__BREAKER_FAILURES": "5",
    }
    async with (
        mirrored_edge(shared_redis, api, **settings) as edge,
        guest(edge, api, "/orders/1", "/orders/2") as client,
        guest(edge, api, "/orders/2", sub="u-2") as other,
    ):
        await subscribed(client, order(1))
        began = asyncio.get_running_loop().time()
        api.fault = Answer(hang=True)

        granted = denied = events = 0
        async with asyncio.timeout(20):
            while True:
                edge.add_event("orders", "acme", 1)
                answer = await other.call(subscribe(order(2)))
                granted += answer["type"] == "subscribed"
                denied += answer["type"] == "error" and answer["payload"]["code"] == "unavailable"
                message = await client.message()
                if message["type"] != "order.updated":
                    break
                events += 1
        lived = asyncio.get_running_loop().time() - began

        assert (granted, message["type"]) == (0, "unsubscribed")
        assert message["payload"] == {"channels": [order(1)], "reason": "expired"}
        assert denied >= 2
        assert events >= 2
        assert 2.5 < lived < 10
        edge.add_event("orders", "acme", 1)
        await client.silence()
