"""An edge with `authorization.mode = "http"` answers as the REST API does; the plugin would see it if not."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fanwire_parity import Cell, Disagreements, Row, assert_parity, compare
from tests.kit.canaries import CANARIES
from tests.kit.processes import free_port
from tests.kit.redis_server import SharedRedis
from tests.kit.rest_api import RestApi
from tests.kit.tokens import make_token
from tests.parity.world import PATTERN, STATUSES, World, edge_of


@pytest.fixture
def world() -> Iterator[World]:
    """The shop's API, running."""
    with RestApi() as api:
        yield World.of(api)


async def test_the_edge_agrees_with_the_api_about_everybody(world: World, shared_redis: SharedRedis) -> None:
    """Every status that the table holds, and nobody at all: one answer each, and each the API's own."""
    async with edge_of(shared_redis, world.api) as edge:
        comparison = await compare(world.table(edge.url))

    assert comparison.report().startswith("0 of 20 answers"), comparison.report()
    by_status = {(cell.status, cell.answer) for cell in comparison.cells}
    assert by_status == {
        (200, "subscribed"),
        (204, "subscribed"),
        (302, "unavailable"),
        (401, "unauthenticated"),
        (403, "forbidden"),
        (404, "forbidden"),
        (429, "unavailable"),
        (503, "unavailable"),
    }
    assert {cell.user for cell in comparison.cells} == {*STATUSES, "nobody"}


async def test_an_edge_that_goes_by_claims_alone_disagrees(world: World, shared_redis: SharedRedis) -> None:
    """What the plugin is for: a token that says more than the API does."""
    world = World(world.api, {"bob": world.tokens["bob"]})
    async with edge_of(shared_redis, world.api, FANWIRE_AUTHORIZATION__MODE="claims") as edge:
        comparison = await compare(world.table(edge.url))

    assert [cell.channel[-1] for cell in comparison.disagreements] == ["2", "4"]
    second = comparison.disagreements[0]
    assert second == Cell("bob", "/orders/2", "tenant:acme:resource:orders:2", 200, "forbidden")
    with pytest.raises(Disagreements) as caught:
        comparison.check()
    assert re.search(r"subscribed +tenant:acme:resource:orders:2", str(caught.value))
    CANARIES.check(str(caught.value), "the report")


async def test_a_change_in_the_api_is_a_change_in_the_edge(world: World, shared_redis: SharedRedis) -> None:
    """A new connection is asked about anew: who has lost an order in REST has lost it here."""
    async with edge_of(shared_redis, world.api) as edge:
        (await compare(world.table(edge.url))).check()
        for path, status in (("/orders/1", 403), ("/orders/all", 404), ("/orders/3", 200)):
            world.change("alice", path, status)
        comparison = await compare(world.table(edge.url))

    comparison.check()
    changed = {cell.route: cell.answer for cell in comparison.cells if cell.user == "alice"}
    assert changed == {
        "/orders/1": "forbidden",
        "/orders/2": "subscribed",
        "/orders/3": "subscribed",
        "/orders/4": "subscribed",
        "/orders/all": "forbidden",
    }
    assert PATTERN in {cell.channel for cell in comparison.cells}


async def test_an_api_that_is_away_permits_nothing(world: World, shared_redis: SharedRedis) -> None:
    """No answer and `unavailable` agree; nobody without a token gets as far as that."""
    async with edge_of(shared_redis, world.api) as edge:
        world.api.stop()
        comparison = await compare(world.table(edge.url).only("alice"))

    assert {(cell.status, cell.answer) for cell in comparison.cells} == {(None, "unavailable")}


async def test_an_edge_that_is_away_agrees_with_nobody(world: World) -> None:
    """Every answer is reported."""
    comparison = await compare(world.table(f"ws://127.0.0.1:{free_port()}/ws").only("alice"))

    assert {cell.answer for cell in comparison.disagreements} == {"no connection"}
    assert len(comparison.disagreements) == 5


async def test_a_refusal_that_is_told_by_a_close_code_is_the_same_answer(
    world: World, shared_redis: SharedRedis
) -> None:
    """An edge with `auth.reject = "close"` lets everybody in to tell them there."""
    async with edge_of(shared_redis, world.api, FANWIRE_AUTH__REJECT="close") as edge:
        comparison = await compare(world.table(edge.url).only("nobody"))

    assert {(cell.status, cell.answer) for cell in comparison.cells} == {(401, "unauthenticated")}


async def test_a_table_may_be_larger_than_the_limits_of_an_edge(
    world: World, shared_redis: SharedRedis
) -> None:
    """More rows than channels that a connection may be on, and more than it may join in a burst."""
    token = make_token(sub="dave", channels=["tenant:acme:resource:orders:*"])
    ids = [str(number) for number in range(250)]
    for path in ids:
        world.api.table[f"Bearer {token}", f"/orders/{path}"] = 200
    limits = {"MAX_CHANNELS": "100", "CHURN_PER_SECOND": "1000", "CHURN_BURST": "100"}
    settings = {f"FANWIRE_LIMITS__{name}": value for name, value in limits.items()}
    rows = Row.each("tenant:acme:resource:orders:{id}", "/orders/{id}", id=ids)
    async with edge_of(shared_redis, world.api, FANWIRE_AUTHORIZATION__MODE="claims", **settings) as edge:
        table = replace(world.table(edge.url), users={"dave": token}, rows=rows)
        comparison = await compare(table)

    assert comparison.report().startswith("0 of 250 answers"), comparison.report()


def run_pytest(file: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run pytest on *file* as a team would, with nothing of this project's settings."""
    options = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(file.parent))
    argv = (sys.executable, "-W", "ignore", "-m", "pytest", *options, "-W", "ignore", file.name)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "FANWIRE"))}
    done = subprocess.run(
        argv,
        cwd=file.parent,
        env={**known, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    CANARIES.check(done.stdout + done.stderr, "pytest")
    return done


async def test_pytest_collects_a_test_for_each_user_and_shows_who_disagrees(
    world: World, shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """As long as the edge asks the API all pass; an edge that asks another one fails, with a report."""
    other = {f"Bearer {token}": user for user, token in world.tokens.items()}
    with RestApi(world.api.table) as stale:
        stale.table[next(who for who, user in other.items() if user == "alice"), "/orders/2"] = 403
        async with edge_of(shared_redis, world.api) as edge:
            file, environment = world.file(tmp_path, edge)
            done = run_pytest(file, environment)
            assert "4 passed" in done.stdout, done.stdout
            done = run_pytest(file, {**environment, "FANWIRE_PARITY_API": stale.url("").rstrip("/")})

    assert done.returncode == 1
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    assert "1 of 5 answers of ws://" in done.stdout
    assert "alice  403   /orders/2" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_table_without_its_credentials_is_told_before_anything_is_asked(
    world: World, tmp_path: Path
) -> None:
    """With the variable that is missing."""
    path = tmp_path / "parity.toml"
    path.write_text(
        'api = "http://localhost:1"\nedge = "ws://localhost:1/ws"\n'
        '[users]\nalice = { token_env = "ALICE_TOKEN" }\n'
        '[[rows]]\nchannel = "tenant:acme:all"\nroute = "/"\n'
    )
    done = run_pytest(path, {})

    assert done.returncode != 0
    assert "set ALICE_TOKEN to the credential" in done.stdout


def test_a_table_in_python_is_asserted_in_one_line(world: World, shared_redis: SharedRedis) -> None:
    """From a test that has no event loop; tokens may come from functions, and headers are credentials too."""

    async def bobs() -> str:
        return world.tokens["bob"]

    edge = edge_of(shared_redis, world.api).start()
    try:
        asyncio.run(edge.wait_ready())
        table = replace(
            world.table(edge.url),
            users={
                "alice": lambda: world.tokens["alice"],
                "bob": bobs,
                "carol": {"Authorization": f"Bearer {world.tokens['carol']}"},
            },
        )
        assert_parity(table)
        world.change("carol", "/orders/1", 200)
        with pytest.raises(Disagreements, match=r"(?s)5 of 5 .*nobody"):
            assert_parity(replace(table, users={"nobody": "no token"}, api=edge.public_url))
    finally:
        edge.close()
