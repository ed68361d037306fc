"""Somebody who means ill, as a process: `python -m tests.bench.attacker PORT`.

Each line of the input

    attack REQUESTS IDLE

makes it send so many upgrades with bad tokens a second, each on a connection of its own and, as a proxy says,
from another address, and keep so many sockets open on which nothing is said: for each that is closed it opens
another one. `attack 0 0` lets go of all. Every line is answered by a line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import Counter

from tests.edge.wire import upgrade_request
from tests.kit.tokens import make_token

__all__ = ["Attacker"]

HOST = "127.0.0.1"
TICK_SECONDS = 0.01
# Sockets opened in one tick at most: a crowd that comes at once is another test.
_AT_ONCE = 20
# Tokens that nobody signed, so that each is looked at.
_TOKENS = 200


class _Ended(Exception):
    """There is no more input."""


class _Idler(asyncio.Protocol):
    """A socket on which nothing is said."""

    def __init__(self, idle: set[asyncio.BaseTransport]) -> None:
        self._idle = idle
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._idle.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._idle.discard(self._transport)


class _Guesser(asyncio.Protocol):
    """One upgrade with a token that is none."""

    def __init__(self, request: bytes, answers: Counter[str]) -> None:
        self._request = request
        self._answers = answers
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._answers[self._answer[9:12].decode() or "none"] += 1


class Attacker:
    """Attacks one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._requests = 0
        self._idle_wanted = 0
        self._idle: set[asyncio.BaseTransport] = set()
        self._answers: Counter[str] = Counter()
        self._numbers = itertools.count()
        bad = [make_token("not-the-key-of-anybody-but-32-bytes-long", sub=f"u-{n}") for n in range(_TOKENS)]
        self._tokens = itertools.cycle(bad)

    async def run(self) -> None:
        """Attack for ever."""
        loop = asyncio.get_running_loop()
        due, owed = loop.time(), 0.0
        async with asyncio.TaskGroup() as tasks:
            while True:
                due += TICK_SECONDS
                owed += self._requests * TICK_SECONDS
                for _ in range(int(owed)):
                    tasks.create_task(self._guess())
                owed -= int(owed)
                missing = self._idle_wanted - len(self._idle)
                for _ in range(max(0, min(missing, _AT_ONCE))):
                    tasks.create_task(self._linger())
                for transport in list(itertools.islice(self._idle, max(0, -missing))):
                    transport.abort()  # type: ignore[attr-defined]
                await asyncio.sleep(max(0.0, due - loop.time()))

    def attack(self, requests: int, idle: int) -> dict[str, object]:
        """Go on with so many requests a second and idle sockets; returns what the last ones led to."""
        self._requests, self._idle_wanted = requests, idle
        answers, self._answers = self._answers, Counter()
        return {"answers": dict(answers), "idle": len(self._idle)}

    async def _guess(self) -> None:
        number = next(self._numbers)
        address = f"X-Forwarded-For: 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        request = upgrade_request(f"Authorization: Bearer {next(self._tokens)}", address)
        await self._connect(_Guesser(request, self._answers))

    async def _linger(self) -> None:
        await self._connect(_Idler(self._idle))

    async def _connect(self, protocol: asyncio.Protocol) -> None:
        # Several addresses, for ports to be found.
        source = f"127.0.0.{2 + next(self._numbers) % 16}"
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: protocol, HOST, self._port, local_addr=(source, 0)
            )
        except OSError:
            self._answers["refused"] += 1


async def _obey(attacker: Attacker) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await reader.readline():
        _, requests, idle = line.split()
        print(json.dumps(attacker.attack(int(requests), int(idle))), flush=True)
    raise _Ended


async def _main(port: int) -> None:
    attacker = Attacker(port)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(attacker.run())
            tasks.create_task(_obey(attacker))
    except* _Ended:
        pass


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
