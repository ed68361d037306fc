"""What readers of the log cost Redis, paced and not: `python -m tests.bench.readers [READERS…]`.

Events are added one at a time on a schedule by one process, and read by another, which does no more than
is needed to read on, so that the readers keep up on a small machine. Printed are the processor time of
Redis, and how old the first event of a read is. It is no part of the report.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import redis
import uvloop

from fanwire_edge.core.pacing import Pacing
from tests.kit.redis_server import RedisServer

KEY = b"readers"
PAYLOAD = b"x" * 200
EVENTS, RATE = 6_000, 2_000
START_SECONDS, END_SECONDS = 0.5, 60.0


@dataclass(slots=True)
class Heard:
    """What all readers together read."""

    reads: int = 0
    late_ms: list[float] = field(default_factory=list)


class Reader(asyncio.Protocol):
    """One connection that is blocked in XREAD whenever it may be."""

    def __init__(self, pacing: Pacing, heard: Heard) -> None:
        self._loop = asyncio.get_running_loop()
        self._pacing = pacing
        self._heard = heard
        self._last = b"0-0"
        self._left = EVENTS
        self._reply = b""
        self._transport: asyncio.WriteTransport
        self.ended = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop is one without saying so.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._read_on()

    def data_received(self, data: bytes) -> None:
        self._reply += data
        # *1 *2 $7 readers *<entries>, then for each *2 $<size> <id> *2 $1 e $200 <payload>
        parts = self._reply.split(b"\r\n", 5)
        entries = int(parts[4][1:])
        if self._reply.count(PAYLOAD + b"\r\n") < entries:
            return
        first_ms = int(self._reply.split(b"\r\n", 8)[7].partition(b"-")[0])
        dash = self._reply.rindex(b"-")
        self._last = self._reply[self._reply.rindex(b"\n", 0, dash) + 1 : self._reply.index(b"\r", dash)]
        self._reply = b""
        self._heard.reads += 1
        self._heard.late_ms.append(time.time() * 1000 - first_ms)
        self._left -= entries
        if not self._left:
            self._transport.close()
            self.ended.set_result(None)
        elif pause := self._pacing.pause(self._loop.time()):
            self._loop.call_later(pause, self._read_on)
        else:
            self._read_on()

    def _read_on(self) -> None:
        words = (b"XREAD", b"COUNT", b"512", b"BLOCK", b"0", b"STREAMS", KEY, self._last)
        self._transport.write(b"*8\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))


async def run(server: RedisServer, readers: int, *, is_paced: bool) -> Heard:
    """Read all events with so many readers, while another process adds them."""
    heard, loop = Heard(), asyncio.get_running_loop()
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.readers", "--publish", server.url, stdin=asyncio.subprocess.PIPE
    )
    assert publisher.stdin is not None
    pacings = [Pacing(0) for _ in range(readers)]
    for pacing in pacings:
        pacing.readers = readers if is_paced else 1
    async with asyncio.timeout(END_SECONDS):
        found = [
            (await loop.create_connection(partial(Reader, pacing, heard), *server.address))[1]
            for pacing in pacings
        ]
        await asyncio.sleep(START_SECONDS)
        publisher.stdin.close()
        for reader in found:
            await reader.ended
    await publisher.wait()
    return heard


def publish(url: str) -> None:
    """Add the events on schedule, once the standard input ends."""
    with redis.Redis.from_url(url) as client:
        client.ping()
        sys.stdin.read()
        began = time.monotonic()
        for number in range(EVENTS):
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            client.xadd(KEY, {"e": PAYLOAD})


def processor_seconds(server: RedisServer) -> float:
    """Return the processor time that Redis has used."""
    used: dict[str, float] = server.execute("INFO", "cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]


def measure(readers: int, *, is_paced: bool) -> None:
    """Print one line of the table."""
    with RedisServer() as server:
        before = processor_seconds(server)
        heard = uvloop.run(run(server, readers, is_paced=is_paced))
        used = processor_seconds(server) - before
    late, seconds = sorted(heard.late_ms), EVENTS / RATE
    print(
        f"| {readers} | {'paced' if is_paced else 'at will'} | {heard.reads / seconds:,.0f} "
        f"| {100 * used / seconds:.0f} % | {used / EVENTS * 1e6:.0f} "
        f"| {late[len(late) // 2]:.1f} | {late[len(late) * 99 // 100]:.1f} |",
        flush=True,
    )


def main(arguments: list[str]) -> None:
    """Measure each number of readers, with pacing and without."""
    if arguments[:1] == ["--publish"]:
        publish(arguments[1])
        return
    print("| readers | | reads/s | Redis | µs/event | p50 ms | p99 ms |\n|---|---|---|---|---|---|---|")
    for readers in map(int, arguments or ("1", "4", "8")):
        for is_paced in (False, True):
            measure(readers, is_paced=is_paced)


if __name__ == "__main__":
    main(sys.argv[1:])
