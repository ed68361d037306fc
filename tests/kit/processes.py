"""Child processes that cannot outlive the tests."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self

from tests.kit.canaries import CANARIES
from tests.kit.wait import eventually

# The kernel kills the child when the thread that started it dies, even where that was by SIGKILL. So
# children are started from the main thread, never through `asyncio.to_thread`.
DIE_WITH_PARENT: tuple[str, ...] = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
GRACE_SECONDS = 5.0
FANWIRE = (sys.executable, "-m", "fanwire_cli.main")
_given_ports: set[int] = set()


def free_port() -> int:
    """Return a loopback port on which nothing listens, another one each time.

    It lies below the kernel's ephemeral range: a client that keeps dialling a dead port of that range
    in the end connects to itself.
    """
    while True:
        port = random.randrange(12_000, 32_000)
        if port in _given_ports:
            # Two for one process would be one by chance, or that of a server that is about to listen.
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given_ports.add(port)
            return port


class Process:
    """A child process in a process group of its own, with its output kept.

    A sync and async context manager; leaving it ends the whole group, and raises SecretShown where the output
    holds a credential or a payload that the kit has made, unless the process *may_show_secrets*.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        may_show_secrets: bool = False,
    ) -> None:
        """Describe the child; its environment is ours without `FANWIRE_*`, and *environment*."""
        self.argv = tuple(argv)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FANWIRE_")}
        self._environment = {**inherited, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._may_show_secrets = may_show_secrets
        self._child: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()

    @classmethod
    def fanwire(cls, *arguments: str, environment: Mapping[str, str] | None = None) -> Self:
        """Describe the command `fanwire` with *arguments*."""
        return cls((*FANWIRE, *arguments), environment)

    def start(self) -> Self:
        """Start the child."""
        self._child = subprocess.Popen(
            [*DIE_WITH_PARENT, *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )
        return self

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The running or ended child; start it first."""
        assert self._child is not None, "start() comes first"
        return self._child

    @property
    def pid(self) -> int:
        """The process id."""
        return self.child.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, or None while it runs."""
        return self.child.poll()

    @property
    def output(self) -> str:
        """Everything written to stdout and stderr so far, in one."""
        # pread leaves alone the file offset, which the child shares.
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    async def wait_for(
        self, predicate: Callable[[], object | Awaitable[object]], deadline_seconds: float = 20.0
    ) -> None:
        """Poll *predicate* until it is true; raises AssertionError with the output where the child ends."""

        async def settled() -> bool:
            if self.returncode is not None:
                return True
            value = predicate()
            return bool(await value if isinstance(value, Awaitable) else value)

        try:
            await eventually(settled, deadline_seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._describe()}") from error
        if self.returncode is not None:
            raise AssertionError(f"the process ended with {self.returncode}\n{self._describe()}")

    async def wait_for_output(self, text: str, deadline_seconds: float = 20.0) -> None:
        """Wait until *text* stands in the output."""
        await self.wait_for(lambda: text in self.output, deadline_seconds)

    async def wait_for_http(self, url: str, status: int = 200, deadline_seconds: float = 20.0) -> None:
        """Wait until a GET of *url* answers *status*."""

        async def answers() -> bool:
            return await asyncio.to_thread(http_status, url) == status

        await self.wait_for(answers, deadline_seconds)

    async def wait_for_exit(self, deadline_seconds: float = 20.0) -> int:
        """Wait until the child has ended and return its exit status."""
        await eventually(lambda: self.returncode is not None, deadline_seconds, self._describe())
        return self.child.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child."""
        self.child.send_signal(number)

    def terminate(self, grace_seconds: float = GRACE_SECONDS) -> int:
        """Send SIGTERM, wait and return the exit status; SIGKILL after *grace_seconds*."""
        self.child.terminate()
        try:
            return self.child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Send SIGKILL to the child alone, wait and return the exit status."""
        self.child.kill()
        return self.child.wait(GRACE_SECONDS)

    def close(self) -> None:
        """End the child and whatever it started, search the output for secrets, and forget it."""
        if self._output.closed:
            return
        if self._child is not None:
            try:
                os.killpg(self._child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # The group has ended by itself.
            self._child.wait(GRACE_SECONDS)
        output = self.output
        self._output.close()
        if not self._may_show_secrets:
            CANARIES.check(output, f"the output of {' '.join(self.argv)}")

    def _describe(self) -> str:
        return f"command: {' '.join(self.argv)}\noutput:\n{self.output[-4000:]}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        self.close()


def http_status(url: str, timeout_seconds: float = 2.0) -> int | None:
    """Return the status that a GET of *url* answers, or None where nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None
