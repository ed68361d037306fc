"""Entrypoints: channels that are joined, with authorization, before `connected` (PROTOCOL §2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fanwire_edge.core.entrypoint import Entrypoint
from fanwire_edge.entrypoints import Entrypoints, load_entrypoints
from fanwire_protocol.settings import SettingError
from tests.edge.running import RunningEdge, edge_process, running_edge
from tests.edge.wire import HttpAnswer, Wire, upgrade_request
from tests.kit.redis_server import RedisServer, SharedRedis

FILE = """
[[entrypoint]]
path = "/api/sessions/{session}/live"
channels = ["tenant:{tenant}:resource:sessions:{session}"]
names = { session = "sessionId" }
reject = "close"

[[entrypoint]]
path = "/ws?job-id={job}"
channels = ["tenant:{tenant}:resource:jobs:{job}", "tenant:{tenant}:resource:inbox:{user}"]

[[entrypoint]]
path = "/admin/live"
channels = ["tenant:{tenant}:resource:*"]
required_permissions = ["orders:read", "admin:read"]
required_roles = ["admin", "owner"]

[[entrypoint]]
path = "/open/{name}"
required_permissions = []
"""
MINE = {"channels": ["tenant:acme:resource:sessions:s-1"], "scope": None}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def entry_edge(
    session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningEdge]:
    """An edge with the entrypoints above; clients may also say later who they are."""
    file = tmp_path_factory.mktemp("entrypoints") / "entrypoints.toml"
    file.write_text(FILE)
    async with running_edge(
        SharedRedis(session_redis, "entrypoints"),
        EDGE__ENTRYPOINTS=str(file),
        AUTH__SOURCES='["authorization", "in_band"]',
        LIMITS__CONNECTIONS_PER_USER="2",
    ) as running:
        yield running


def bearer(edge: RunningEdge, **claims: Any) -> str:
    """Return the header of a user of `acme`."""
    return f"Authorization: Bearer {edge.token('acme', **claims)}"


async def refused(edge: RunningEdge, path: str, **claims: Any) -> HttpAnswer:
    """Return the answer to somebody who may not come in."""
    async with await edge.dial() as wire:
        return await wire.ask(upgrade_request(bearer(edge, **claims), path=path))


async def turned_away(edge: RunningEdge, path: str, **claims: Any) -> tuple[int, str]:
    """Return code and reason of the end of somebody who may not come in."""
    async with await edge.dial() as wire:
        assert (await wire.ask(upgrade_request(bearer(edge, **claims), path=path))).status == 101
        closing = await wire.closing()
        assert [each["type"] for each in closing.messages] == ["disconnect"]
        return closing.code, closing.reason


async def test_the_channel_of_the_path_is_joined_before_connected(entry_edge: RunningEdge) -> None:
    """The greeting says so, under the name that is configured, and an event on it arrives."""
    async with await entry_edge.dial() as wire:
        await wire.open(bearer(entry_edge, **MINE), path="/api/sessions/s-1/live")
        async with entry_edge.publisher() as publisher:
            await publisher.publish(
                "orders", "session.renamed", {}, tenant="acme", resource=("sessions", "s-2")
            )
            await publisher.publish(
                "orders", "session.renamed", {}, tenant="acme", resource=("sessions", "s-1")
            )

        assert wire.greeting["sessionId"] == "s-1"
        assert wire.greeting["channels"][-1] == "tenant:acme:resource:sessions:s-1"
        assert (await wire.message())["channel"] == "tenant:acme:resource:sessions:s-1"


async def test_parameters_of_the_query_are_joined_too(entry_edge: RunningEdge) -> None:
    """With the user's own channel beside it; the plain path without the parameter stays what it was."""
    claims = {"channels": ["tenant:acme:resource:jobs:*", "tenant:acme:resource:inbox:u-1"]}
    async with await entry_edge.dial() as wire:
        await wire.open(bearer(entry_edge, **claims), path="/ws?job-id=job-123")
        assert wire.greeting["job"] == "job-123"
        assert wire.greeting["channels"][-2:] == [
            "tenant:acme:resource:jobs:job-123",
            "tenant:acme:resource:inbox:u-1",
        ]
    async with await entry_edge.dial() as wire:
        await wire.open(bearer(entry_edge, **claims))
        assert "job" not in wire.greeting
        assert wire.greeting["channels"][-1] == "system:all"


async def test_what_was_missed_is_made_up_for(entry_edge: RunningEdge) -> None:
    """`since` resumes the entrypoint's channels with those of the server."""
    path = "/api/sessions/s-1/live"
    async with await entry_edge.dial() as wire:
        await wire.open(bearer(entry_edge, **MINE), path=path)
        positions = await wire.positions()
    async with entry_edge.publisher() as publisher:
        for number in range(3):
            await publisher.publish(
                "orders", "session.renamed", {"n": number}, tenant="acme", resource=("sessions", "s-1")
            )
    since = "&".join(f"since={topic}@{position}" for topic, position in positions.items())
    async with await entry_edge.dial() as wire:
        await wire.open(bearer(entry_edge, **MINE), path=f"{path}?{since}")

        assert wire.greeting["recovered"] is True
        assert [each["payload"] for each in await wire.messages(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
        await wire.silence()


async def test_a_channel_of_an_entrypoint_is_left_like_any_other(entry_edge: RunningEdge) -> None:
    """And joined again."""
    channel = MINE["channels"][0]  # type: ignore[index]
    async with await entry_edge.dial() as wire:
        await wire.open(bearer(entry_edge, **MINE), path="/api/sessions/s-1/live")
        for type_ in ("unsubscribe", "subscribe"):
            assert (await wire.call({"type": type_, "channel": channel}, f"{type_}d"))["payload"]["channels"]


@pytest.mark.parametrize(
    "path",
    [
        "/ws?job-id=",
        "/ws?job-id=a&job-id=b",
        "/ws?job-id=a%20b",
        "/ws?job-id=a:b",
        "/ws?job-id=*",
        f"/ws?job-id={'x' * 129}",
        "/open/a%20b",
        "/open/a%2Fb",
        "/open/%00",
        "/open/%2a",
    ],
)
async def test_a_malformed_parameter_is_400(entry_edge: RunningEdge, path: str) -> None:
    """Also for somebody who may read everything."""
    answer = await refused(entry_edge, path, channels=["tenant:acme:resource:*"])

    assert (answer.status, answer.error["code"]) == (400, "bad_request")


async def test_without_access_it_is_403_as_where_nothing_is(entry_edge: RunningEdge) -> None:
    """One missing of two channels is enough, and nobody learns which sessions and jobs there are."""
    inbox = "tenant:acme:resource:inbox:u-1"
    answers = [
        await refused(entry_edge, f"/ws?job-id={job}", channels=[inbox, "tenant:acme:resource:jobs:mine"])
        for job in ("others", "nowhere")
    ]

    assert [(answer.status, answer.error["code"]) for answer in answers] == [(403, "forbidden")] * 2
    assert answers[0].body == answers[1].body
    assert await turned_away(entry_edge, "/api/sessions/s-2/live", **MINE) == (
        4502,
        answers[0].error["message"],
    )


ADMIN = {"scope": "orders:read admin:read", "channels": ["tenant:acme:resource:*"], "roles": ["owner", "x"]}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 101),
        ({"roles": ["admin"]}, 101),
        ({"roles": ["x"]}, 403),
        ({"roles": []}, 403),
        ({"scope": "orders:read"}, 403),
        ({"scope": "admin:read"}, 403),
        ({"scope": None, "permissions": ["orders:read", "admin:read"]}, 101),
        ({"channels": []}, 403),
    ],
)
async def test_every_permission_is_needed_one_of_the_roles_and_the_channels(
    entry_edge: RunningEdge, change: dict[str, Any], status: int
) -> None:
    """One of two permissions missing denies."""
    assert (await refused(entry_edge, "/admin/live", **{**ADMIN, **change})).status == status


async def test_who_is_refused_takes_no_place(entry_edge: RunningEdge) -> None:
    """Of the two that a user may have here, however often it tries, and however it is told."""
    for _ in range(3):
        assert (await refused(entry_edge, "/admin/live", sub="u-2")).status == 403
        assert (await turned_away(entry_edge, "/api/sessions/s-2/live", sub="u-2", scope=None))[0] == 4502
    async with await entry_edge.dial() as one, await entry_edge.dial() as two:
        await one.open(bearer(entry_edge, sub="u-2"))
        await two.open(path="/open/x")
        assert (await _authenticated(entry_edge, two, sub="u-2"))["type"] == "authenticated"
        assert (await refused(entry_edge, "/ws", sub="u-2")).error["code"] == "connection_limit"


async def test_in_band_a_limit_is_4505(entry_edge: RunningEdge) -> None:
    """It cannot be told before it is known whose it is."""
    async with (
        await entry_edge.dial() as one,
        await entry_edge.dial() as two,
        await entry_edge.dial() as three,
    ):
        await one.open(bearer(entry_edge, sub="u-3"))
        await two.open(bearer(entry_edge, sub="u-3"))
        await three.open()
        answer = await _authenticated(entry_edge, three, sub="u-3")

        assert (answer["type"], answer["payload"]["code"]) == ("disconnect", 4505)
        assert (await three.closing()).code == 4505


async def test_empty_lists_permit(entry_edge: RunningEdge) -> None:
    """An entrypoint may stand for no channel at all."""
    async with await entry_edge.dial() as wire:
        await wire.open(bearer(entry_edge, scope=None), path="/open/x")
        assert wire.greeting["name"] == "x"


@pytest.mark.parametrize(
    "path", ["/api/sessions//live", "/api/sessions/a/b/live", "/admin/live/", "/wsx", "/"]
)
async def test_any_other_path_is_404(entry_edge: RunningEdge, path: str) -> None:
    """Whoever asks."""
    assert (await refused(entry_edge, path)).status == 404


async def test_a_plain_get_of_an_entrypoint_is_told_to_upgrade(entry_edge: RunningEdge) -> None:
    """As everywhere, whatever its parameters are."""
    for path in ("/api/sessions/s-1/live", "/open/a%20b", "/ws?job-id="):
        async with await entry_edge.dial() as wire:
            answer = await wire.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (answer.status, answer.error["code"]) == (426, "upgrade_required")


async def test_a_refusal_is_told_as_the_entrypoint_says(entry_edge: RunningEdge) -> None:
    """One by a close code, the others over HTTP; a malformed parameter is never more than a bad request."""
    async with await entry_edge.dial() as wire:
        request = upgrade_request("Authorization: Bearer wrong", path="/api/sessions/s-1/live")
        assert (await wire.ask(request)).status == 101
        assert (await wire.closing()).code == 4501
    assert (await refused(entry_edge, "/admin/live")).status == 403
    assert (await refused(entry_edge, "/api/sessions/a%20b/live")).status == 400


async def test_in_band_the_channels_are_joined_with_the_answer_to_authenticate(
    entry_edge: RunningEdge,
) -> None:
    """Before it there are none, and the parameters are told with it."""
    async with await entry_edge.dial() as wire:
        await wire.open(path="/api/sessions/s-1/live")
        assert (wire.greeting["authenticated"], wire.greeting["channels"]) == (False, [])
        answer = await _authenticated(entry_edge, wire, **MINE)

        assert answer["type"] == "authenticated"
        assert answer["payload"]["sessionId"] == "s-1"
        assert answer["payload"]["channels"][-1] == "tenant:acme:resource:sessions:s-1"


async def test_in_band_without_access_it_is_4502(entry_edge: RunningEdge) -> None:
    """The connection was never on anything."""
    async with await entry_edge.dial() as wire:
        await wire.open(path="/api/sessions/s-2/live")
        answer = await _authenticated(entry_edge, wire, **MINE)

        assert (answer["type"], answer["payload"]["code"]) == ("disconnect", 4502)
        assert (await wire.closing()).code == 4502


async def test_in_band_a_malformed_parameter_is_400_at_once(entry_edge: RunningEdge) -> None:
    """Nobody has to be known for that."""
    async with await entry_edge.dial() as wire:
        assert (await wire.ask(upgrade_request(path="/open/a%20b"))).status == 400


async def _authenticated(edge: RunningEdge, wire: Wire, **claims: Any) -> dict[str, Any]:
    return await wire.call({"type": "authenticate", "token": edge.token("acme", **claims), "id": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "edge.entrypoints: cannot read .*: No such file"),
        ("[[entrypoint]\n", "edge.entrypoints: .* is no TOML file"),
        ('[[entrypoint]]\npath = "x"\n', "edge.entrypoints: .*: path: 'x' is no path .* for example /api"),
    ],
)
async def test_a_file_of_entrypoints_that_is_none_stops_the_start(
    session_redis: RedisServer, tmp_path: Path, text: str | None, message: str
) -> None:
    """One line names the setting, the file and what would work."""
    file = tmp_path / "entrypoints.toml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(SettingError, match=message) as caught:
        load_entrypoints(str(file), "/ws")
    process, _, _ = edge_process(SharedRedis(session_redis, "no-entry"), EDGE__ENTRYPOINTS=str(file))
    async with process:
        assert await process.wait_for_exit() == 2
        assert f"fanwire edge: {caught.value}" in process.output


def test_paths_are_those_of_the_entrypoints_and_the_plain_one() -> None:
    """Each once."""
    found = [Entrypoint("/a/{b}", {}), Entrypoint("/a/{b}", {"c": "c"}), Entrypoint("/ws", {"d": "d"})]

    assert Entrypoints("/ws", found).paths == ("/ws", "/a/{b}")
    assert load_entrypoints(None, "/ws").paths == ("/ws",)
