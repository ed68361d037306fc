"""The kit itself: servers and processes start, fail and end as it says."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.kit.processes import DIE_WITH_PARENT, Process
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually


async def test_server_answers_and_its_data_is_gone_after_a_crash(redis_server: RedisServer) -> None:
    """Without appendonly a killed server comes back empty on the same port."""
    async with redis_server.client() as client:
        await client.set("a", "1")
    port = redis_server.port

    redis_server.restart()

    assert redis_server.port == port
    assert redis_server.execute("EXISTS", "a") == 0


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_appendonly_server_keeps_its_data(end: str) -> None:
    """With appendonly every acknowledged write is there after a crash and after a shutdown."""
    with RedisServer(appendonly=True) as server:
        server.execute("SET", "a", "1")

        getattr(server, end)()
        server.start()

        assert server.execute("GET", "a") == b"1"


async def test_replica_follows_its_master(redis_server: RedisServer) -> None:
    """A server with replica_of receives what its master is given."""
    redis_server.execute("SET", "a", "1")
    async with RedisServer(replica_of=redis_server.address) as replica:
        await eventually(lambda: replica.execute("GET", "a") == b"1", 10)


def test_paused_server_can_be_killed_and_resumed(redis_server: RedisServer) -> None:
    """SIGSTOP freezes the server and SIGCONT lets it go on."""
    redis_server.pause()
    with open(f"/proc/{redis_server.pid}/stat") as stat:
        state = stat.read().rpartition(")")[2].split()[0]
    redis_server.resume()

    assert state == "T"
    assert redis_server.execute("PING") in (True, b"PONG")


def test_server_that_cannot_start_says_why() -> None:
    """A refused setting raises with the server's own words, and leaves no process."""
    server = RedisServer(config={"no-such-setting": "1"})

    with pytest.raises(RuntimeError, match="no-such-setting"):
        server.start()

    server.close()


def test_shared_server_gives_each_test_a_prefix(shared_redis: SharedRedis, redis_server: RedisServer) -> None:
    """The shared server is another one than a test's own, and the prefix is not empty."""
    assert shared_redis.prefix
    assert shared_redis.server.port != redis_server.port


async def test_process_output_and_exit_are_kept() -> None:
    """What a child prints can be waited for and is kept after its end."""
    script = "import time; print('ready'); time.sleep(60)"
    async with Process((sys.executable, "-c", script)) as process:
        await process.wait_for_output("ready")

        assert process.terminate() == -signal.SIGTERM
        assert process.output == "ready\n"


async def test_waiting_for_a_process_that_ended_fails_at_once() -> None:
    """A child that dies is reported with its output instead of after the whole deadline."""
    async with Process((sys.executable, "-c", "raise SystemExit('broken')")) as process:
        with pytest.raises(AssertionError, match="broken"):
            await process.wait_for(lambda: False, 60)


@pytest.mark.skipif(not DIE_WITH_PARENT, reason="setpriv is not installed")
async def test_no_server_outlives_a_killed_test_run(tmp_path: Path) -> None:
    """A redis-server dies with the process that started it, even where that was by SIGKILL."""
    script = (
        "import sys, time; from tests.kit.redis_server import RedisServer;"
        "server = RedisServer().start(); print('pid', server.pid, 'end'); time.sleep(60)"
    )
    root = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": root, "TMPDIR": str(tmp_path)}
    async with Process((sys.executable, "-c", script), environment) as process:
        await process.wait_for_output("end")
        pid = int(process.output.split()[1])
        process.kill()

        await eventually(lambda: not _is_alive(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
