"""The benchmark's instruments count right, and its report hides nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import WSCloseCode, web

from fanwire_protocol import Frame, decode_event, encode_frame
from fanwire_protocol.keys import stream_key
from tests.bench.edge import PREFIX, write_tokens
from tests.bench.events import CHANNEL, OWN_CHANNELS, TOPIC, EventShape
from tests.bench.load import Clients, Floor, Load, floor_line, subscription
from tests.bench.machine import cpu_seconds, describe_machine, memory_of
from tests.bench.order import Order
from tests.bench.processes import NoAnswer, Process
from tests.bench.programs import compile_program
from tests.bench.report import Figure, Report, Section
from tests.bench.side import Side
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

CORE = min(os.sched_getaffinity(0))


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor(CORE) as floor:
        yield floor


@pytest.mark.parametrize("batch", [1, 8])
def test_every_frame_of_the_floor_is_counted_once(floor: Floor, batch: int) -> None:
    """Each of 20 connections gets each event, 204 bytes on the wire, and its latency is recorded."""
    order = Order(events=40, rate=400, batch=batch)
    with Load(floor.port, Clients(20, subscription([CHANNEL]), sample=5), CORE) as load:
        load.go()
        sent = floor.ask(floor_line(order))
        report = load.await_events(800, 5)

    assert (sent["deliveries"], sent["short_sends"]) == (800, 0)
    assert (report["events"], report["least"], report["most"]) == (800, 40, 40)
    assert report["bytes"] == 800 * 204
    assert report["latency"]["count"] == 5 * 40
    assert 0 < report["latency"]["p50"] <= report["latency"]["p99"] <= report["latency"]["max"] < 5e6
    assert load.opening["handshakes"] == 20


def test_cost_of_a_delivery_is_measured_from_outside_as_the_floor_measures_itself(floor: Floor) -> None:
    """The CPU clock that is read for an edge agrees with the floor's own; both are more than nothing."""
    order = Order(events=200, rate=1000)
    with Load(floor.port, Clients(20, subscription([CHANNEL])), CORE) as load:
        own: list[float] = []
        side = Side(floor.pid, load, lambda order: own.append(floor.ask(floor_line(order))["cpu_ns"]))
        run = side.run(order)

    assert run.frame_bytes == 204
    assert own[0] / 1e3 / 4000 == pytest.approx(run.us_per_delivery, rel=0.5)


def test_clients_that_never_read_are_no_part_of_the_count(floor: Floor) -> None:
    """Two of four are stalled: what is sent to them is not read."""
    with Load(floor.port, Clients(4, subscription([CHANNEL]), stalled=2), CORE) as load:
        load.go()
        floor.ask(floor_line(Order(events=10, rate=1000)))
        report = load.await_events(20, 5)

    assert (report["events"], report["open"]) == (20, 4)


def test_open_connections_are_all_there_or_the_load_says_why(floor: Floor) -> None:
    """A port on which nothing listens is an error with its reason, not a small result."""
    port = floor.port
    floor.close()

    with (
        pytest.raises(NoAnswer, match=r"0 of 3 connections opened.*'connect': 3"),
        Load(port, Clients(3), CORE),
    ):
        pass


class Server:
    """A small WebSocket server that records what the load generator sends."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.channels: list[list[str]] = []
        self.pongs: list[bytes] = []
        self.everyone_is_here = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        *_, bearer, token = request.headers["Sec-WebSocket-Protocol"].split(", ")
        assert bearer == "bearer"
        self.tokens.append(token)
        socket = web.WebSocketResponse(protocols=("fanwire.v1.json",), autoping=False)
        await socket.prepare(request)
        await socket.send_str('{"type":"connected"}')
        self.channels.append((await socket.receive_json())["channels"])
        await socket.send_str('{"type":"subscribed"}')
        await self.everyone_is_here.wait()
        await socket.ping(b"here?")
        self.pongs.append((await socket.receive()).data)
        frame = json.dumps({"type": "u", "payload": {"t": 1, "p": "x" * 70_000}}, separators=(",", ":"))
        await socket.send_str(frame)
        # In pieces, with a header that arrives in two parts.
        small = b"\x81\x0c" + b'{"type":"u"}'
        assert request.transport is not None
        for piece in (small + small[:1], small[1:5], small[5:]):
            request.transport.write(piece)
            await asyncio.sleep(0.01)
        await socket.close(code=WSCloseCode.SERVICE_RESTART)
        return socket


@asynccontextmanager
async def serving(handler: Server) -> AsyncIterator[int]:
    application = web.Application()
    application.router.add_get("/ws", handler.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_load_speaks_websocket_with_a_real_server(tmp_path: Path) -> None:
    """Own token and channels for each connection; pings are answered, frames in pieces and codes counted."""
    server = Server()
    tokens = write_tokens(tmp_path / "tokens", 3)
    async with serving(server) as port:
        load = Load(port, Clients(3, subscription(OWN_CHANNELS), tokens), CORE)
        with closing(load):
            await asyncio.to_thread(load.__enter__)
            server.everyone_is_here.set()

            async def is_over() -> bool:
                return bool((await asyncio.to_thread(load.report))["open"] == 0)

            await eventually(is_over)
            report = await asyncio.to_thread(load.report)

    assert sorted(server.tokens) == sorted(tokens.read_text().split())
    assert sorted(server.channels) == [
        [name.replace("%d", str(i)) for name in OWN_CHANNELS] for i in range(3)
    ]
    assert server.pongs == [b"here?"] * 3
    assert (report["events"], report["closes"]) == (9, {"1012": 3})


@pytest.mark.parametrize(
    ("frame_bytes", "resource"),
    [(204, ("b", "1")), (204, ("k7", "999")), (204, None), (300, ("b", "12")), (2048, ("b", "1"))],
)
def test_an_event_fills_its_frame_exactly(frame_bytes: int, resource: tuple[str, str] | None) -> None:
    """The frame that an edge makes of the event has the size asked for, its header included."""
    event = EventShape(frame_bytes).event(7, 12_345_678_901_234, resource)
    channel = "tenant:a:all" if resource is None else f"tenant:a:resource:{':'.join(resource)}"
    frame = Frame(event.type, event.payload, event.time, event.id, channel, "t@1732096800123-0~5f0c2a91")

    assert len(encode_frame(frame)) + 4 == frame_bytes


def test_a_frame_too_small_for_an_event_is_refused() -> None:
    """The text says by how much."""
    with pytest.raises(ValueError, match=r"a frame of 120 bytes is \d+ too short"):
        EventShape(120).event(1, 1)


def test_publisher_writes_entries_of_the_contract(redis_server: RedisServer) -> None:
    """Batches of 8 in one pipeline, each entry with an id of its own and the time it was due."""
    command = [sys.executable, "-m", "tests.bench.publisher", "fanwire", f"{redis_server.url} {PREFIX}"]
    with Process(command, CORE) as publisher:
        assert publisher.read(20) == {"ready": True}
        answer = publisher.ask(str(Order(events=20, rate=100, batch=8)))
    entries: list[tuple[bytes, dict[bytes, bytes]]] = redis_server.execute(
        "XRANGE", stream_key(PREFIX, TOPIC, 0), "-", "+"
    )

    events = [decode_event(fields[b"e"]) for _, fields in entries]
    due = sorted({event.payload["t"] for event in events if isinstance(event.payload, dict)})
    assert answer["groups"] == 3
    assert len({event.id for event in events}) == len(events) == 20
    assert [time - due[0] for time in due] == [0, 10_000_000, 20_000_000]


def test_programs_are_compiled_once() -> None:
    """The second call finds what the first has built."""
    first = compile_program("load")
    built = first.stat().st_mtime_ns

    assert compile_program("load") == first
    assert first.stat().st_mtime_ns == built


def test_this_process_has_used_time_and_memory() -> None:
    """The instruments read a living process, and the machine has a name."""
    memory = memory_of(os.getpid())

    assert cpu_seconds(os.getpid()) > 0
    assert memory.rss >= memory.pss > 1000
    assert all(describe_machine().values())


@pytest.mark.parametrize(
    ("values", "at_most", "verdict"),
    [
        ((1.0, 1.4, 2.0), 1.4, "met"),
        ((1.0, 1.5, 2.0), 1.4, "MISSED by 0.10 µs (7%)"),
        ((2.0,), 0, "MISSED by 2.00 µs"),
        ((9.0,), None, ""),
    ],
)
def test_the_median_decides(values: tuple[float, ...], at_most: float | None, verdict: str) -> None:
    """A target is met where the median is not above it; otherwise the excess is shown."""
    assert Figure("cost", "µs", values, at_most).verdict == verdict


def test_report_names_misses_and_failures_first(tmp_path: Path) -> None:
    """Both forms hold every figure; the summary names what was missed and what could not be measured."""
    figures = (Figure("cost", "µs", (3.0, 1.0, 2.0), 1.0), Figure("memory", "KB", (3.1,), 6))
    failed = Section("Slow", (), failure="NoAnswer: the edge ended")
    report = Report({"cpu": "some"}, ["Short."], [Section("Fast", ("Ten runs.",), figures), failed])

    report.write(tmp_path)

    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Benchmark\n\n1 of 2 targets met.\n")
    assert "**Missed**: cost: MISSED by 1.00 µs (100%)." in text
    assert "**Failed**: Slow." in text
    assert "| cost | **2.00** µs | 1.00 … 3.00 | 3 | ≤ 1.00 µs | MISSED by 1.00 µs (100%) |" in text
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["sections"][0]["figures"][0]["values"] == [3.0, 1.0, 2.0]
    assert (report.has_failed, [figure.name for figure in report.missed]) == (True, ["cost"])
