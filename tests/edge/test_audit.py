"""The audit log: who came, who went and who was refused what, a line each, wherever it is kept."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from fanwire_edge.audit import MAX_WAITING_LINES, Audit, Visitor
from fanwire_edge.core.denials import LINES_EACH, MAX_WHO
from fanwire_edge.core.tally import Tally
from fanwire_edge.ports import AuditFailed
from fanwire_protocol.codes import ErrorCode, HandshakeError
from tests.edge.running import READY_SECONDS, RunningEdge, edge_process, running_edge, stop
from tests.edge.wire import upgrade_request
from tests.kit.canaries import CANARIES
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

ORIGIN = "https://app.example.com"
OTHERS = "tenant:globex:resource:orders:1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the audit log is kept."""
    return tmp_path / "audit.jsonl"


def _read(text: str) -> list[dict[str, Any]]:
    CANARIES.check(text, "the audit log")
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, text: str) -> None:
    """Make a file."""
    path.write_text(text)


def move(path: Path, to: Path) -> None:
    """Take the file away, as logrotate does."""
    path.rename(to)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return what stands in the file, which shows no secret."""
    return _read(path.read_text()) if path.exists() else []


async def _act(edge: RunningEdge) -> None:
    """Be refused at the door, come in, be refused a channel, leave."""
    async with await edge.dial() as wire:
        assert (await wire.ask(upgrade_request(f"Origin: {ORIGIN}", "Authorization: Bearer x"))).status == 401
    async with await edge.dial() as wire:
        await wire.open(f"Authorization: Bearer {edge.token()}", f"Origin: {ORIGIN}", "User-Agent: me")
        mine = {"type": "subscribe", "channels": ["tenant:acme:resource:orders:1", OTHERS, "nonsense"]}
        wire.send(mine)
        assert {each["type"] for each in await wire.messages(3)} == {"error", "subscribed"}
        wire.send_frame((1000).to_bytes(2, "big"), 0x8)
        assert (await wire.closing()).code == 1000


def _told(records: Sequence[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    return [(each["event"], each["code"], each.get("where")) for each in records]


EXPECTED = [
    ("denied", "unauthenticated", "handshake"),
    ("opened", None, None),
    ("denied", "forbidden", "subscribe"),
    ("closed", 1000, None),
]


async def test_what_happens_is_written_in_its_order(shared_redis: SharedRedis, path: Path) -> None:
    """With all that is known of who it was; a name that is none is a mistake, and nobody was refused."""
    async with running_edge(shared_redis, AUDIT__TARGET="file", AUDIT__PATH=str(path)) as edge:
        await _act(edge)
        await eventually(lambda: len(lines_of(path)) >= 4)
        assert await edge.metric("audit_lines_total") == 4
        assert await edge.metric("audit_lost_total") == 0
    records = lines_of(path)

    assert _told(records) == EXPECTED
    refused, opened, denied, closed = records
    stranger = {"client_id": None, "user": None, "tenant": None, "session": None}
    assert refused.items() >= (stranger | {"ip": "127.0.0.1", "origin": ORIGIN}).items()
    who = {"user": "u-1", "tenant": "acme", "session": None, "ip": "127.0.0.1", "origin": ORIGIN}
    for record in (opened, denied, closed):
        assert record.items() >= (who | {"client_id": opened["client_id"]}).items()
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    assert denied["channel"] == OTHERS
    assert closed["reason"] == "normal"


async def test_standard_output_takes_the_same_lines(shared_redis: SharedRedis) -> None:
    """Beside the log on standard error, whose lines are no JSON."""
    async with running_edge(shared_redis, AUDIT__TARGET="stdout") as edge:
        await _act(edge)
        await edge.process.wait_for_output('"event":"closed"')
        found = "\n".join(line for line in edge.process.output.splitlines() if line.startswith("{"))

    assert _told(_read(found)) == EXPECTED


async def test_a_stream_takes_the_same_lines(shared_redis: SharedRedis) -> None:
    """Under the prefix of the log, where no publisher and no edge stumbles over it."""
    async with running_edge(shared_redis, AUDIT__TARGET="redis", AUDIT__MAX_ENTRIES="100") as edge:
        await _act(edge)
        key = f"{shared_redis.prefix}:_audit"
        await eventually(lambda: shared_redis.server.execute("XLEN", key) == 4)
    entries = shared_redis.server.execute("XRANGE", key, "-", "+")

    assert _told(_read("\n".join(fields[b"line"].decode() for _, fields in entries))) == EXPECTED


async def test_without_a_target_nothing_is_written(shared_redis: SharedRedis) -> None:
    """Nor counted."""
    async with running_edge(shared_redis) as edge:
        await _act(edge)
        assert await edge.metric("audit_lines_total") == 0
        assert '"event":' not in edge.process.output
    assert not shared_redis.server.execute("EXISTS", f"{shared_redis.prefix}:_audit")


async def test_the_end_of_a_drain_is_in_the_log(shared_redis: SharedRedis, path: Path) -> None:
    """Everybody who was sent away, those too who had to be cut."""
    async with (
        running_edge(
            shared_redis, AUDIT__TARGET="file", AUDIT__PATH=str(path), EDGE__DRAIN_SECONDS="1"
        ) as edge,
        AsyncExitStack() as stack,
    ):
        for _ in range(5):
            await stack.enter_async_context(edge.client())
        assert await stop(edge) == 0

    records = lines_of(path)
    assert [each["event"] for each in records] == ["opened"] * 5 + ["closed"] * 5
    assert {each["code"] for each in records[5:]} == {1012}


async def test_workers_share_a_file_that_is_moved_away(shared_redis: SharedRedis, path: Path) -> None:
    """The supervisor is told by a signal, which ends nothing; every line is whole."""
    old = path.with_suffix(".1")
    async with running_edge(
        shared_redis, AUDIT__TARGET="file", AUDIT__PATH=str(path), EDGE__WORKERS="2"
    ) as edge:
        for number in range(8):
            async with edge.client(sub=f"u-{number}"):
                pass
        await eventually(lambda: len(lines_of(path)) == 16)
        move(path, old)
        edge.process.signal(signal.SIGHUP)
        for number in range(8):
            async with edge.client(sub=f"v-{number}"):
                pass
        await eventually(lambda: len(lines_of(path)) == 16)

    assert {each["user"][0] for each in lines_of(old)} == {"u"}
    assert {each["user"][0] for each in lines_of(path)} == {"v"}


async def test_who_is_refused_over_and_over_fills_no_disk(shared_redis: SharedRedis, path: Path) -> None:
    """Twenty lines, then their number, at the latest when the edge ends; others keep their lines."""
    async with (
        running_edge(
            shared_redis, AUDIT__TARGET="file", AUDIT__PATH=str(path), LIMITS__COMMANDS_PER_SECOND="0"
        ) as edge,
        edge.client() as client,
        edge.client(sub="u-2") as other,
    ):
        for number in range(10):
            channels = [f"tenant:globex:resource:orders:{number}-{each}" for each in range(30)]
            client.send({"type": "subscribe", "id": number, "channels": channels})
        await other.call({"type": "subscribe", "channel": OTHERS}, "error")
        assert {each["type"] for each in await client.messages(300)} == {"error"}
    denied = [each for each in lines_of(path) if each["event"] == "denied"]

    assert len(denied) == LINES_EACH + 2
    by_user = [each for each in denied if each["user"] == "u-1"]
    assert [each.get("count") for each in by_user] == [None] * LINES_EACH + [300 - LINES_EACH]
    assert [each["channel"] for each in denied if each["user"] == "u-2"] == [OTHERS]


ENTRYPOINT = """
[[entrypoint]]
path = "/live/{session}"
channels = ["tenant:{tenant}:resource:sessions:{session}"]
reject = "close"
"""


async def test_an_entrypoint_and_a_late_token_are_in_the_log(shared_redis: SharedRedis, path: Path) -> None:
    """The entrypoint's parameter as `session`, whether somebody came in or not; who was refused by a close
    code, and who showed a wrong token in band, was never in."""
    file = path.with_name("entrypoints.toml")
    write(file, ENTRYPOINT)
    async with running_edge(
        shared_redis,
        AUDIT__TARGET="file",
        AUDIT__PATH=str(path),
        EDGE__ENTRYPOINTS=str(file),
        AUTH__SOURCES='["authorization", "in_band"]',
    ) as edge:
        mine = edge.token(channels=["tenant:acme:resource:sessions:s-1"])
        for name in ("s-1", "s-2"):
            async with await edge.dial() as wire:
                answer = await wire.ask(
                    upgrade_request(f"Authorization: Bearer {mine}", path=f"/live/{name}")
                )
                assert answer.status == 101
                await wire.message()
        async with await edge.dial() as wire:
            await wire.open(path="/live/s-3")
            wire.send({"type": "authenticate", "token": edge.token()[:-1] + "*"})
            assert (await wire.closing()).code == 4501
        await eventually(lambda: len(lines_of(path)) >= 4)
    records = sorted(lines_of(path), key=lambda each: (each["session"], each["time"]))

    told = [(each["event"], each["session"], each.get("where"), each["user"]) for each in records]
    assert told == [
        ("opened", "s-1", None, "u-1"),
        ("closed", "s-1", None, "u-1"),
        ("denied", "s-2", "handshake", "u-1"),
        ("denied", "s-3", "authenticate", None),
    ]
    assert [each["code"] for each in records[2:]] == ["forbidden", "unauthenticated"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"AUDIT__TARGET": "file"}, "audit.path: is not set"),
        ({"AUDIT__TARGET": "file", "AUDIT__PATH": "/proc/nowhere/audit"}, "audit.path: cannot append"),
        ({"AUDIT__TARGET": "syslog"}, "FANWIRE_AUDIT__TARGET"),
    ],
    ids=["no path", "no folder", "no target"],
)
async def test_a_log_that_cannot_be_written_stops_the_start(
    shared_redis: SharedRedis, settings: dict[str, Any], text: str
) -> None:
    """With one line: whoever wants an audit log does not want to find out later."""
    process, _, _ = edge_process(shared_redis, **settings)
    async with process:
        assert await process.wait_for_exit(READY_SECONDS) == 2
        assert process.output.count("\n") == 1
        assert text in process.output


class Sink:
    """Keeps lines, or refuses them behind the first *takes* of a call."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.takes: int | None = None
        self.is_closed = False

    async def write(self, lines: Sequence[bytes]) -> None:
        """Keep *lines*."""
        self.lines += lines[: self.takes]
        if self.takes is not None and self.takes < len(lines):
            raise AuditFailed("full", self.takes)

    def reopen(self) -> None:
        """Take everything from now on."""
        self.takes = None

    async def close(self) -> None:
        """Take note."""
        self.is_closed = True


def _deny(audit: Audit, number: int) -> None:
    visitor = Visitor(f"192.0.2.{number}")
    audit.denied("handshake", HandshakeError.FORBIDDEN, "no", visitor=visitor)


async def _finish(audit: Audit) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(audit.run())
        await audit.finish()


async def test_what_a_sink_refuses_is_tried_again_in_its_order() -> None:
    """Also what it took a part of; nothing stands twice."""
    sink, tally = Sink(), Tally()
    audit = Audit(sink, tally)
    sink.takes = 2
    for number in range(5):
        _deny(audit, number)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(audit.run())
        await eventually(lambda: len(sink.lines) == 2)
        audit.reopen()
        await audit.finish()

    assert [json.loads(line)["ip"] for line in sink.lines] == [f"192.0.2.{number}" for number in range(5)]
    assert (tally.audit_lines, tally.audit_lost) == (5, 0)


async def test_what_does_not_fit_is_counted_and_told() -> None:
    """The line says how many, behind those that waited."""
    sink, tally = Sink(), Tally()
    audit = Audit(sink, tally)
    extra = 7
    for number in range(MAX_WAITING_LINES + extra):
        # From so many addresses that none is refused too often.
        _deny(audit, number % MAX_WHO)
    await _finish(audit)

    assert len(sink.lines) == MAX_WAITING_LINES + 1
    last = json.loads(sink.lines[-1])
    assert (last["event"], last["count"], tally.audit_lost) == ("lost", extra, extra)


async def test_an_end_waits_for_a_sink_no_longer_than_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """What it did not take is lost, and counted."""
    sink, tally = Sink(), Tally()
    audit = Audit(sink, tally)
    sink.takes = 0
    _deny(audit, 1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(audit.run())
        await audit.finish()
        running.cancel()
    await audit.close()

    assert 1.5 < loop.time() - began < 4
    assert tally.audit_lost == 1
    assert sink.is_closed
    assert [record.getMessage() for record in caplog.records] == ["audit_failed", "audit_unfinished"]


async def test_a_household_has_the_lines_of_one_address() -> None:
    """Who has 2^64 addresses has no more lines than who has one."""
    sink = Sink()
    audit = Audit(sink, Tally())
    for number in range(2 * LINES_EACH):
        visitor = Visitor(f"2001:db8:1:1::{number:x}")
        audit.denied("handshake", HandshakeError.UNAUTHENTICATED, "no", visitor=visitor)
    await _finish(audit)

    records = [json.loads(line) for line in sink.lines]
    assert [record.get("count") for record in records] == [None] * LINES_EACH + [LINES_EACH]
    assert records[0]["ip"] == "2001:db8:1:1::0"


async def test_only_refusals_about_rights_are_written() -> None:
    """Not the edge's own troubles, and not what was no request for anything."""
    sink = Sink()
    audit = Audit(sink, Tally())
    for handshake in HandshakeError:
        audit.denied("handshake", handshake, "no", visitor=Visitor("192.0.2.1"))
    for error in ErrorCode:
        audit.denied("subscribe", error, "no", visitor=Visitor("192.0.2.1"), channel="x")
    await _finish(audit)

    codes = [(each["where"], each["code"]) for each in map(json.loads, sink.lines)]
    assert {code for where, code in codes if where == "handshake"} == {
        "unauthenticated",
        "origin_not_allowed",
        "forbidden",
        "rate_limited",
        "connection_limit",
        "unavailable",
    }
    denied = {code for where, code in codes if where == "subscribe"}
    assert denied == {"forbidden", "unauthenticated", "unavailable"}
