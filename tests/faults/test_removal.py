"""Keys are deleted, flushed, moved: what cannot be proven complete is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.listener import ALL_OF_ACME, listening
from tests.faults.rig import arrived, finish, key_of, rounds, say, settled, writing
from tests.kit.edges import EdgeProcess
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ORDERS = key_of("orders")
FAST = {"FANWIRE_TAIL__BLOCK_MS": "200"}


def _delete(redis: RedisServer) -> None:
    redis.execute("DEL", ORDERS)


def _flush(redis: RedisServer) -> None:
    redis.execute("FLUSHALL")


def _rename_away(redis: RedisServer) -> None:
    redis.execute("RENAME", ORDERS, "elsewhere")


def _replace_by_an_older(redis: RedisServer) -> None:
    for number in range(3):
        redis.execute("XADD", "elsewhere", f"1-{number + 1}", "e", "not for us")
    redis.execute("RENAME", "elsewhere", ORDERS)


def _replace_by_a_younger(redis: RedisServer) -> None:
    for _ in range(3):
        redis.execute("XADD", "elsewhere", "*", "e", "not for us")
    redis.execute("RENAME", "elsewhere", ORDERS)


def _empty(redis: RedisServer) -> None:
    redis.execute("XTRIM", ORDERS, "MAXLEN", 0)


@pytest.mark.parametrize("is_stopped", [False, True], ids=["level", "stopped"])
@pytest.mark.parametrize(
    "remove", [_delete, _flush, _rename_away, _replace_by_an_older, _replace_by_a_younger, _empty]
)
async def test_removed_log_is_told_or_complete(
    remove: Callable[[RedisServer], None], is_stopped: bool, redis_server: RedisServer
) -> None:
    """Whatever happens to a stream, level or while the edge stands still: each event comes once, or a gap
    tells of it before anything later."""
    async with (
        EdgeProcess(redis_server.url, **FAST) as edge,
        writing(redis_server.url) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        await arrived(listener, (await writer.write("invoices", 5))[-1])
        for _ in range(rounds(2, 20)):
            await settled(listener, (await writer.write("orders", 5))[-1])
            if is_stopped:
                edge.pause()
                # The first of them wakes the read that waits; the others are nowhere but in the log.
                await writer.write("orders", 1)
                await writer.write("orders", 5)
            writer.note_renewal()
            remove(redis_server)
            if is_stopped:
                edge.resume()
                await eventually(lambda: _has_read(edge))
        [report] = await finish(writer, [listener])

        assert {gap["topic"] for gap in listener.gaps} <= {"orders", "invoices"}
        assert set(report.gaps) <= {"trimmed"}
        say(f"{report.delivered} came, {report.gaps['trimmed']} gaps told of {report.covered}")


async def _has_read(edge: EdgeProcess) -> bool:
    return await edge.metric("fanwire_tail_lag_seconds") < 0.1
