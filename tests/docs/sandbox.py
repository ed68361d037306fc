"""The place where commands of the documents are run as they stand.

What differs from a reader's machine, and nothing else:

- Redis listens on a free port: `FANWIRE_BROKER__URL` is set, `redis-cli` gets `-p`, and where a text names
  `redis://localhost:6379` it is replaced.
- The ports 8080 and 8081 are free ones: a text's `8080` is replaced, `FANWIRE_EDGE__OPS_PORT` is set, and
  commands that would take 8080 or 8081 by default get `--port`, `--ops-port` or `--url`.
- The working directory is an empty one whose `.venv/bin` holds stand-ins: `fanwire` (which adds those
  options), `make` (`run` is run; of other targets it shows what would be done), `pytest` (the tests must be
  there) and `pip` (installs nothing; what it is asked for must be a package of ours). `xxd` and `openssl`
  are stood in for only where the machine has none. HOME is empty too.
- An edge's end is not waited for as long as a load balancer needs (`FANWIRE_EDGE__DRAIN_GRACE_SECONDS`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.docs.pages import ROOT
from tests.kit.processes import Process, free_port
from tests.kit.redis_server import RedisServer

__all__ = ["Sandbox"]

BIN = Path(sys.executable).parent
_FANWIRE = """#!/bin/sh
case "$1" in
dev) shift; exec {bin}/fanwire dev --port {port} --ops-port {ops_port} "$@" ;;
tail | doctor) exec {bin}/fanwire "$@" --url ws://localhost:{port}/ws ;;
*) exec {bin}/fanwire "$@" ;;
esac
"""
# `-o` keeps make from installing anything where a pyproject.toml is younger than the environment.
_MAKE = """#!/bin/sh
[ "$1" = run ] && exec {make} -C {root} -o .venv/.ready BIN={standins} run
exec {make} -n -C {root} -o .venv/.ready "$@"
"""
_PYTEST = """#!/bin/sh
for argument; do
    case "$argument" in -*) ;; *) ls {root}/"$argument"/test_*.py ;; esac
done
"""
_PIP = """#!{bin}/python
import sys
from importlib.metadata import distribution
assert sys.argv[1] == "install", sys.argv
for wanted in sys.argv[2:]:
    name, _, extra = wanted.rstrip("]").partition("[")
    assert name.startswith("fanwire-"), name
    assert not extra or extra in distribution(name).metadata.get_all("Provides-Extra"), wanted
"""
_XXD = """#!{bin}/python
import sys
assert sys.argv[1:3] == ["-r", "-p"], sys.argv
sys.stdout.buffer.write(bytes.fromhex(open(sys.argv[3]).read()))
"""
_OPENSSL = """#!{bin}/python
import secrets, sys
assert sys.argv[1:3] == ["rand", "-hex"], sys.argv
print(secrets.token_hex(int(sys.argv[3])))
"""
_REDIS_CLI = """#!/bin/sh
exec {redis_cli} -p {redis_port} "$@"
"""


class Sandbox:
    """A working directory, a home and free ports beside a Redis of its own."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.redis = redis
        self.port = free_port()
        self.ops_port = free_port()
        self.folder = folder / "checkout"
        self._home = folder / "home"
        self._home.mkdir()
        self._standins = self.folder / ".venv" / "bin"
        self._standins.mkdir(parents=True)
        self._write_standins()

    @property
    def url(self) -> str:
        """The URL of the WebSocket."""
        return f"ws://localhost:{self.port}/ws"

    @property
    def ready_url(self) -> str:
        """The URL of /readyz."""
        return f"http://127.0.0.1:{self.ops_port}/readyz"

    def adapted(self, text: str) -> str:
        """Return *text* with our ports in the place of the usual ones."""
        return text.replace("localhost:6379", f"localhost:{self.redis.port}").replace("8080", str(self.port))

    def shell(self, text: str) -> Process:
        """Return a shell that carries out *text* and stops at the first command that fails.

        It outlives Ctrl-C, like a reader's shell, and ends with the exit code of the last command.
        """
        script = f"trap : INT\ncd {self.folder}\n{self.adapted(text)}"
        environment = {
            "HOME": str(self._home),
            "PATH": f"{self._standins}{os.pathsep}{os.environ['PATH']}",
            "FANWIRE_BROKER__URL": self.redis.url,
            "FANWIRE_EDGE__OPS_PORT": str(self.ops_port),
            "FANWIRE_EDGE__DRAIN_GRACE_SECONDS": "0",
        }
        return Process(("sh", "-ec", script), environment)

    async def finished(self, text: str, status: int = 0) -> str:
        """Run *text* to its end, which is *status*, and return its output."""
        async with self.shell(text) as shell:
            found = await shell.wait_for_exit(30)
            assert found == status, f"{text}\nended with {found}:\n{shell.output}"
            return shell.output

    @asynccontextmanager
    async def running(self, text: str, last_words: str = "", status: int = 0) -> AsyncIterator[Process]:
        """Run *text* until the block ends, then press Ctrl-C, upon which it must end as described."""
        async with self.shell(text) as shell:
            yield shell
            # As a terminal does: every process of the group gets the signal.
            os.killpg(shell.pid, signal.SIGINT)
            found = await shell.wait_for_exit(20)
            assert found == status, f"{text}\nended with {found}:\n{shell.output}"
            assert last_words in shell.output
            assert "Traceback" not in shell.output

    def _write_standins(self) -> None:
        programs = {"fanwire": _FANWIRE, "make": _MAKE, "pytest": _PYTEST, "pip": _PIP}
        programs |= {"redis-cli": _REDIS_CLI}
        programs |= {name: text for name, text in (("xxd", _XXD), ("openssl", _OPENSSL)) if not _has(name)}
        for name, text in programs.items():
            file = self._standins / name
            file.write_text(
                text.format(
                    bin=BIN,
                    make=shutil.which("make"),
                    redis_cli=shutil.which("redis-cli") or shutil.which("valkey-cli"),
                    redis_port=self.redis.port,
                    port=self.port,
                    ops_port=self.ops_port,
                    root=ROOT,
                    standins=self._standins,
                )
            )
            file.chmod(0o755)


def _has(program: str) -> bool:
    return shutil.which(program) is not None
