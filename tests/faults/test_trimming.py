"""The log is trimmed: where events are gone before an edge read them it says so, and only there."""

from __future__ import annotations

import random
import time

import pytest

from tests.e2e.listener import ALL_OF_ACME, Listener, listening
from tests.e2e.truth import Written
from tests.e2e.writer import Writer
from tests.faults.rig import add_raw, arrived, finish, key_of, rounds, say, writing
from tests.kit.edges import EdgeProcess
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

STOP_SECONDS = 0.02


def _assert_exact(listener: Listener, written: list[Written]) -> None:
    """No event came that a gap calls missing, and every gap ends at an entry of the log."""
    came = {frame["eventId"] for frame in listener.events}
    told: set[str] = set()
    for gap in listener.gaps:
        log = [each for each in written if each.topic == gap["topic"]]
        places = {each.position: index for index, each in enumerate(log)}
        # A topic that was trimmed before the edge heard of it is missing from its beginning.
        begin = -1 if gap["from"].startswith("0-0~") else places[gap["from"]]
        missing = log[begin + 1 : places[gap["to"]] + 1]
        assert missing
        assert not [each for each in missing if each.event_id in came]
        assert begin < 0 or log[begin].event_id in came or gap["from"] in told
        told.add(gap["to"])


@pytest.mark.parametrize("topics", [2, 24], ids=["two topics", "many topics"])
async def test_stopped_edge_tells_what_was_trimmed_meanwhile(topics: int, redis_server: RedisServer) -> None:
    """A gap comes for every topic trimmed past the cursor, from the last event that came to the first one
    left, before anything later; the other topics are complete and have none."""
    names = [f"topic-{number}" for number in range(topics)]
    trimmed = names[: topics // 2]
    async with (
        EdgeProcess(redis_server.url) as edge,
        writing(redis_server.url) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        for name in names:
            await arrived(listener, (await writer.write(name, 5))[-1])
        edge.pause()
        for name in names:
            await writer.write(name, 1)
            await writer.write(name, 20)
        for name in trimmed:
            redis_server.execute("XTRIM", key_of(name), "MAXLEN", 3)
        edge.resume()
        started = time.monotonic()
        for name in names:
            await arrived(listener, (await writer.write(name, 1))[-1])
        say(f"{topics} topics: all told and live {1000 * (time.monotonic() - started):.0f} ms after SIGCONT")
        [report] = await finish(writer, [listener])

        assert sorted(gap["topic"] for gap in listener.gaps) == sorted(trimmed)
        assert report.gaps == {"trimmed": len(trimmed)}
        _assert_exact(listener, writer.written)


@pytest.mark.parametrize(("replaced", "is_lost"), [(500, False), (1000, True)])
async def test_a_log_of_500_entries_that_are_all_replaced(
    replaced: int, is_lost: bool, redis_server: RedisServer
) -> None:
    """A stopped edge finds none of the 500 entries it knew: complete where 500 took their place, since the
    count proves it, and told where 1,000 did."""
    async with (
        EdgeProcess(redis_server.url) as edge,
        writing(redis_server.url) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        await arrived(listener, (await writer.write("orders", 500))[-1])
        edge.pause()
        await writer.write("orders", replaced)
        redis_server.execute("XTRIM", key_of("orders"), "MAXLEN", 500)
        edge.resume()
        [report] = await finish(writer, [listener])

        assert report.gaps == ({"trimmed": 1} if is_lost else {})
        assert bool(report.covered) is is_lost
        _assert_exact(listener, writer.written)
        say(f"{replaced} of 500 replaced: {report.delivered} came, a gap told of {report.covered}")


async def test_edge_stopped_and_trimmed_again_and_again(redis_server: RedisServer) -> None:
    """At any moment of its reading an edge may be stopped: it never loses an event without a word."""
    chance = random.Random(7)
    topics = ("orders", "invoices", "projects")
    async with (
        EdgeProcess(redis_server.url) as edge,
        writing(redis_server.url) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        for _ in range(rounds(30, 500)):
            await _one_stop(chance, edge, writer, topics, redis_server)
        [report] = await finish(writer, [listener])

        _assert_exact(listener, writer.written)
        say(f"{report.delivered} came, {report.gaps['trimmed']} gaps told of {report.covered}")
        assert report.covered > 0


async def _one_stop(
    chance: random.Random, edge: EdgeProcess, writer: Writer, topics: tuple[str, ...], redis: RedisServer
) -> None:
    for topic in chance.choices(topics, k=2):
        await writer.write(topic, chance.randrange(1, 40))
    edge.pause()
    stopped_at = time.monotonic()
    for topic in chance.choices(topics, k=3):
        await writer.write(topic, chance.randrange(1, 40))
    for topic in chance.choices(topics, k=2):
        redis.execute("XTRIM", key_of(topic), "MAXLEN", chance.randrange(20))
    # Entries that are trimmed within 5 ms of being added are beyond what is promised.
    until = stopped_at + STOP_SECONDS
    await eventually(lambda: time.monotonic() > until)
    edge.resume()


@pytest.mark.parametrize("way", ["maxlen", "minid", "emptied"])
async def test_quiet_topic_has_no_false_gap(way: str) -> None:
    """Where the entry that wakes the edge trims the one it stands on, nothing is lost and nothing told."""
    with RedisServer(config={"stream-node-max-entries": "1"}) as redis_server:
        async with (
            EdgeProcess(redis_server.url) as edge,
            writing(redis_server.url) as writer,
            listening(edge.url, ALL_OF_ACME) as listener,
        ):
            [first] = await writer.write("orders")
            await arrived(listener, first)
            last = first.position.partition("~")[0]
            total = rounds(30, 1000)
            for number in range(total):
                if way == "emptied":
                    redis_server.execute("XTRIM", key_of("orders"), "MAXLEN", 0)
                milliseconds, _, sequence = last.partition("-")
                options: dict[str, tuple[str | int, ...]] = {
                    "maxlen": ("MAXLEN", 1),
                    "minid": ("MINID", "~", f"{milliseconds}-{int(sequence) + 1}"),
                    "emptied": (),
                }
                last = add_raw(redis_server, "orders", f"raw-{number}", *options[way])
                await arrived(listener, Written("orders", f"raw-{number}", last, ()))
                assert redis_server.execute("XLEN", key_of("orders")) == 1

            assert [frame["eventId"] for frame in listener.events] == [
                first.event_id,
                *(f"raw-{number}" for number in range(total)),
            ]
            assert listener.gaps == []
