"""`fanwire tail` and `fanwire edge` together with `fanwire publish`."""

from __future__ import annotations

import json
import shlex
import signal
from typing import Any

import pytest

from tests.cli.commands import fanwire
from tests.cli.edges import running_edge
from tests.kit.processes import FANWIRE, Process, free_port
from tests.kit.redis_server import SharedRedis
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

ORDERS = "tenant:acme:resource:orders:*"
JOBS = "tenant:acme:resource:jobs:*"
TENANT = ("--tenant", "acme")


@pytest.mark.parametrize(
    ("by_environment", "more"),
    [(False, ("--encoding", "msgpack")), (True, ())],
    ids=["--token --encoding msgpack", "FANWIRE_TOKEN"],
)
async def test_published_events_are_printed_until_ctrl_c(
    shared_redis: SharedRedis, by_environment: bool, more: tuple[str, ...]
) -> None:
    """Each event is one JSON line, whatever the edge sends; Ctrl-C ends it with 0 and without a traceback."""
    token = make_token(channels=["tenant:acme:resource:*"])
    credential = more if by_environment else ("--token", token, *more)
    environment = {"FANWIRE_TOKEN": token} if by_environment else {}
    async with running_edge(shared_redis) as edge:
        argv = ("tail", ORDERS, JOBS, "--url", edge.url, *credential)
        async with Process.fanwire(*argv, environment=environment) as tail:
            number = 0

            def published() -> bool:
                # The first ones may be earlier than the subscription.
                nonlocal number
                number += 1
                for topic in ("orders", "jobs"):
                    publish = (topic, "changed", json.dumps(number), *TENANT, "--resource", f"{topic}:42")
                    assert fanwire("publish", *publish, environment=edge.environment).returncode == 0
                return tail.output.count("\n") >= 2

            await tail.wait_for(published, 30)
            tail.signal(signal.SIGINT)
            assert await tail.wait_for_exit() == 0
            items = [json.loads(line) for line in tail.output.splitlines()]

    assert {item["type"] for item in items} == {"changed"}
    assert {item["channel"] for item in items} == {
        "tenant:acme:resource:orders:42",
        "tenant:acme:resource:jobs:42",
    }
    assert all(
        set(item) == {"type", "channel", "timestamp", "eventId", "payload", "offset"} for item in items
    )


async def test_reader_that_goes_away_ends_it_quietly(shared_redis: SharedRedis) -> None:
    """With `| head` the command ends at the next line, without a complaint."""
    token = make_token(channels=[ORDERS])
    async with running_edge(shared_redis) as edge:
        argv = shlex.join((*FANWIRE, "tail", ORDERS, "--url", edge.url))
        line = f"{argv} | head -n 1; echo ended"
        async with Process(("sh", "-c", line), {"FANWIRE_TOKEN": token}) as shell:

            def published() -> bool:
                publish = ("orders", "changed", "1", *TENANT, "--resource", "orders:42")
                assert fanwire("publish", *publish, environment=edge.environment).returncode == 0
                return "ended" in shell.output

            await eventually(published, 30)
            output = shell.output

    assert output.count("\n") == 2
    assert output.endswith("ended\n")


@pytest.mark.parametrize(
    ("claims", "text"),
    [({"exp": 1}, "401"), ({"channels": []}, "forbidden")],
    ids=["expired", "without the claim"],
)
async def test_refusal_is_one_line(shared_redis: SharedRedis, claims: dict[str, Any], text: str) -> None:
    """What the edge refuses ends the command with 1, names the doctor and holds no token."""
    token = make_token(**claims)
    async with running_edge(shared_redis) as edge:
        done = fanwire("tail", ORDERS, "--url", edge.url, "--token", token)

    assert done.returncode == 1
    assert text in done.stderr
    assert "`fanwire doctor`" in done.stderr
    assert done.stderr.count("\n") == 1
    assert token not in done.stderr


async def test_edge_that_is_not_there_yet_is_waited_for() -> None:
    """The command says so and goes on trying; Ctrl-C ends it with 0."""
    url = f"ws://127.0.0.1:{free_port()}/ws"
    async with Process.fanwire("tail", ORDERS, "--url", url, "--token", make_token()) as tail:
        await tail.wait_for_output(f"{url} does not answer yet")
        await tail.wait_for_output("fanwire tail: unreachable: reason Cannot connect")
        tail.signal(signal.SIGINT)

        assert await tail.wait_for_exit() == 0
        assert "Traceback" not in tail.output


def test_edge_hands_its_arguments_on() -> None:
    """`fanwire edge` is the edge's own command line: its help, and its refusal to start without a key."""
    assert "--ops-port" in fanwire("edge", "--help").stdout

    done = fanwire("edge", "--host", "127.0.0.1")

    assert done.returncode != 0
    assert "FANWIRE_AUTH__JWT__SECRET" in done.stderr
    assert "Traceback" not in done.stderr
