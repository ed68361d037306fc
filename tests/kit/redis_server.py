"""A real redis-server on a free loopback port, in a directory of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.kit.canaries import CANARIES
from tests.kit.processes import DIE_WITH_PARENT, GRACE_SECONDS, free_port

HOST = "127.0.0.1"
START_SECONDS = 10.0
_POLL_SECONDS = 0.002
_PORT_ATTEMPTS = 5


def redis_program() -> str:
    """Return the path of redis-server or valkey-server; raises RuntimeError where there is none."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    raise RuntimeError("the tests run a real redis-server; `make system` installs one")


class RedisServer:
    """One server process, empty at first and without snapshots.

    A sync and async context manager; leaving it kills the process and removes its directory.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        config: Mapping[str, str] | None = None,
        replica_of: tuple[str, int] | None = None,
    ) -> None:
        """Describe a server: *config* holds settings of redis.conf, *replica_of* a master's address."""
        self.port = free_port()
        self._settings = {
            "bind": HOST,
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "always",
            "loglevel": "notice",
            # Replicas attach in milliseconds rather than after the default 5 s of waiting for more.
            "repl-diskless-sync-delay": "0",
            **(config or {}),
        }
        if replica_of is not None:
            self._settings["replicaof"] = f"{replica_of[0]} {replica_of[1]}"
        self._directory = tempfile.TemporaryDirectory(prefix="fanwire-redis-")
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return HOST, self.port

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def directory(self) -> Path:
        """Where the server keeps its files."""
        return Path(self._directory.name)

    @property
    def log(self) -> str:
        """What the server logged in all its lives."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._child is not None, "the server is not running"
        return self._child.pid

    def start(self) -> Self:
        """Start and return once it answers PING."""
        deadline = self._launch()
        while not self._is_ready(deadline):
            time.sleep(_POLL_SECONDS)
        return self

    async def astart(self) -> Self:
        """Start and return once it answers PING, without blocking the loop meanwhile."""
        deadline = self._launch()
        while not self._is_ready(deadline):  # noqa: ASYNC110  # no Event tells of another process
            await asyncio.sleep(_POLL_SECONDS)
        return self

    def kill(self) -> None:
        """End it at once by SIGKILL, as a crash does."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(GRACE_SECONDS)
            self._child = None

    def stop(self) -> None:
        """End it in order, as an operator does; it writes down what its settings say."""
        if self._child is not None:
            self.resume()
            try:
                self.execute("SHUTDOWN")
            except redis.exceptions.ConnectionError:
                pass  # It leaves without an answer.
            self._child.wait(GRACE_SECONDS)
            self._child = None

    def restart(self) -> None:
        """Kill it where it runs and start again on the same port and directory."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it by SIGSTOP and return once it is: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it run on after pause()."""
        os.kill(self.pid, signal.SIGCONT)

    def client(self, **options: Any) -> redis.asyncio.Redis:
        """Return an asyncio client without retries; use it with `async with`."""
        return connect(self.url, **options)

    def execute(self, *command: str | bytes | int) -> Any:
        """Run one command on a connection of its own, blocking, and return the reply."""
        with redis.Redis(
            host=HOST,
            port=self.port,
            password=self._settings.get("requirepass"),
            protocol=3,
            legacy_responses=False,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=GRACE_SECONDS,
            socket_connect_timeout=GRACE_SECONDS,
        ) as client:
            return client.execute_command(*command)

    def close(self) -> None:
        """Kill it, search its log for secrets, and remove its directory."""
        self.kill()
        log = self.log
        self._directory.cleanup()
        CANARIES.check(log, "the log of the redis-server")

    def _launch(self) -> float:
        assert self._child is None, "the server runs already"
        arguments = [redis_program(), "--port", str(self.port), "--dir", self._directory.name]
        for name, value in self._settings.items():
            arguments += [f"--{name}", *(value.split() or [""])]
        with (self.directory / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [*DIE_WITH_PARENT, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return time.monotonic() + START_SECONDS

    def _is_ready(self, deadline: float) -> bool:
        assert self._child is not None
        if self._child.poll() is not None:
            raise RuntimeError(f"redis-server ended with {self._child.returncode}:\n{self.log[-2000:]}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"redis-server not ready in {START_SECONDS} s:\n{self.log[-2000:]}")
        return _answers_ping(self.port)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(self, *_: object) -> None:
        self.close()


def connect(url: str, **options: Any) -> redis.asyncio.Redis:
    """Return an asyncio client of *url* without retries; use it with `async with`."""
    settings: dict[str, Any] = {
        "protocol": 3,
        "legacy_responses": False,
        "retry": AsyncRetry(NoBackoff(), 0),
        "socket_timeout": GRACE_SECONDS,
        "socket_connect_timeout": GRACE_SECONDS,
        **options,
    }
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(url, **settings)
    return client


@dataclass(frozen=True, slots=True)
class SharedRedis:
    """One test's part of a server that other tests use too: all of its keys begin with *prefix*."""

    server: RedisServer
    prefix: str

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return self.server.url

    def client(self, **options: Any) -> redis.asyncio.Redis:
        """Return an asyncio client without retries; use it with `async with`."""
        return self.server.client(**options)


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError:
        return False
    # Where a password is set it says so, and is ready; while it loads its files it is not.
    return answer.startswith((b"+PONG", b"-NOAUTH"))
