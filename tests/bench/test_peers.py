"""What is sent to the peers, and how the benchmark speaks with them; no peer is needed for it."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgpack
import pytest

from tests.bench.audience import Audience
from tests.bench.events import plain_text
from tests.bench.load import Clients, Load
from tests.bench.machine import Cores
from tests.bench.order import Order
from tests.bench.peers import PEERS, NotInstalled, Peer, Place
from tests.bench.processes import NoAnswer
from tests.bench.sinks import SINKS
from tests.bench.systems import PeerRunning
from tests.bench.wires import HttpWire, NatsWire, RedisWire, WireBroke
from tests.kit.redis_server import RedisServer

CORES = Cores.choose()
DUE = 12_345_678_901_234


@pytest.mark.parametrize(
    "order",
    [Order(8, 100), Order(960, 80, 8, 2048, 1000, "c"), Order(1, 1, resources=10, kind="k", by_type=True)],
    ids=str,
)
def test_an_order_is_read_as_it_is_written(order: Order) -> None:
    """What the driver writes is what the publisher carries out."""
    assert Order.parse(str(order)) == order


@pytest.mark.parametrize("line", ["send 1 2 3", "sent 1 2 3 4 5 b id", "send 1 2 3 4 x b id", ""])
def test_an_order_that_is_none_is_refused(line: str) -> None:
    """A line that is cut or misspelt is no order."""
    with pytest.raises(ValueError, match=r"send EVENTS|invalid literal|not enough|unpack"):
        Order.parse(line)


@pytest.mark.parametrize("resources", [5, 10, 1000, 100_000])
def test_events_go_to_all_resources_equally(resources: int) -> None:
    """As many events as there are resources touch each of them once."""
    order = Order(resources, 1, resources=resources)
    assert {order.resource(number) for number in range(resources)} == {
        ("b", str(number)) for number in range(resources)
    }


def test_orders_are_cut_to_whole_batches() -> None:
    """A slow system gets fewer events in groups of the same size, and at least one group."""
    order = Order(960, 80, batch=8)
    assert [order.of(events).events for events in (0.1, 100, 960)] == [8, 96, 960]


@pytest.mark.parametrize("length", [80, 200, 2044])
def test_a_plain_text_has_the_length_asked_for(length: int) -> None:
    """It is JSON that says when it was due."""
    text = plain_text(7, DUE, length)
    assert len(text) == length
    assert json.loads(text)["payload"] == {"t": DUE}


def test_a_plain_text_without_room_is_refused() -> None:
    """The text says by how much."""
    with pytest.raises(ValueError, match=r"20 bytes are \d+ too few"):
        plain_text(1, DUE, 20)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Run a server that answers whatever comes with *answer*; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while connection.recv(65536):
                        connection.sendall(answer)
                except (ConnectionResetError, BrokenPipeError):
                    pass  # Who leaves without having read everything resets the connection.

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


def test_wires_say_when_events_are_refused(redis_server: RedisServer) -> None:
    """A refusal is an error with the other side's words, never a count that is too small."""
    with closing(RedisWire(redis_server.url, 1)) as wire, pytest.raises(WireBroke, match="unknown command"):
        wire.send([b"*1\r\n$4\r\nNONE\r\n"])
    with (
        answering(b"-ERR 'no such thing'\r\nPONG\r\n") as address,
        closing(NatsWire(address, "")) as nats,
        pytest.raises(WireBroke, match="no such"),
    ):
        nats.send([b"PUB a 1\r\nx\r\n"])
    with (
        answering(b"HTTP/1.1 403 Forbidden\r\n\r\n") as address,
        closing(HttpWire(address)) as http,
        pytest.raises(WireBroke, match="403"),
    ):
        http.send([b"POST / HTTP/1.1\r\n\r\n"])


def message_of(kind: str, url: str, order: Order) -> bytes:
    """Return event 7 as the sink writes it, over a wire that is not used."""
    sink = SINKS[kind](url)
    with closing(sink.wire):
        return sink.message(7, DUE, order)


@pytest.mark.parametrize("frame_bytes", [204, 1000])
def test_every_peer_sends_frames_of_the_same_size(redis_server: RedisServer, frame_bytes: int) -> None:
    """Whatever a peer wraps around an event, its client's socket gets as many bytes as fanwire's."""
    order, header, url = Order(1, 1, frame_bytes=frame_bytes), 4, redis_server.url
    published = message_of("pubsub", url, order).split(b"\r\n")
    grouped = msgpack.unpackb(message_of("channels", url, order).split(b"\r\n")[6] + b"")
    streamed = json.loads(message_of("socketio-stream", url, order).split(b"\r\n")[-2])
    emitted = json.loads(message_of("socketio-pubsub", url, order).split(b"\r\n")[-2])
    with answering(b"PONG\r\n") as address:
        nats = message_of("nats", address, order).split(b"\r\n")[1]
    with answering(b"") as address:
        posted = message_of("nchan", address, order).partition(b"\r\n\r\n")[2]

    def packet(data: object) -> str:
        return "42" + json.dumps(["u", data], separators=(",", ":"))

    sizes = {
        "pubsub": len(published[6]),
        "channels": len(grouped["text"]),
        "socketio-stream": len(packet(streamed["packet"]["data"][1])),
        "socketio-pubsub": len(packet(emitted["data"][0])),
        "nats": len(b"MSG b.1 1 123\r\n" + nats + b"\r\n"),
        "nchan": len(posted),
    }
    assert {kind: size + header for kind, size in sizes.items()} == dict.fromkeys(sizes, frame_bytes)


def test_peers_are_told_apart_and_explained(tmp_path: Path) -> None:
    """Each has a name of its own, says how it is configured, and can be started and subscribed to."""
    place = Place(1, 2, "redis://127.0.0.1:3/0", tmp_path, "a secret")
    assert len({peer.name for peer in PEERS}) == len(PEERS) == 7
    for peer in PEERS:
        assert peer.conditions
        assert peer.sink in SINKS
        assert peer.command(place)[0]
        wanted = (peer.subscribe(["b:1"]) or "") + peer.path(["b:1"])
        assert re.search(r"b[:.]1", wanted), peer.name


def test_a_peer_that_does_not_start_says_why() -> None:
    """What its server wrote is in the error."""
    peer = Peer(
        name="broken",
        conditions="none",
        sink="nchan",
        dialect="plain",
        version=lambda: "0",
        command=lambda _: ["sh", "-c", "echo no such module; exit 3"],
        subscribe=lambda _: None,
        uses_redis=False,
    )
    with pytest.raises(NoAnswer, match=r"(?s)broken ended with 3.*no such module"), PeerRunning(peer, CORES):
        pass


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_that_is_installed_delivers(peer: Peer) -> None:
    """Five clients get three events each, in frames of the size asked for; skipped where it is missing."""
    try:
        peer.version()
    except NotInstalled as error:
        pytest.skip(str(error))
    with PeerRunning(peer, CORES) as running, running.open(Audience(5, ("b:%d", "c:1"))) as load:
        load.go()
        running.publish(Order(2, 10, kind="c"))
        running.publish(Order(5, 100, resources=5))
        report = load.await_events(15, 10)

    assert (report["events"], report["least"], report["most"]) == (15, 3, 3)
    assert report["bytes"] == 15 * 204
    assert report["latency"]["count"] == 15


def test_engine_io_is_greeted_and_its_pings_answered() -> None:
    """A client of that dialect that is not greeted is not open."""
    with answering(b"HTTP/1.1 101 Switching Protocols\r\n\r\n") as address:
        port = int(address.rpartition(":")[2])
        clients = Clients(1, "420[]", dialect="engineio", deadline_seconds=1)
        with pytest.raises(NoAnswer, match=r"0 of 1 .*timeout"), Load(port, clients, CORES.load):
            pass
