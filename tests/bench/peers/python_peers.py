"""What the Python peers share: their environment, and how a server of it is started."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.bench.peers.peer import HERE, PYTHON, NotInstalled, Place

__all__ = ["server", "version_of"]

_VERSIONS = (
    "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
)


def version_of(*packages: str) -> Callable[[], str]:
    """Return what tells the versions of *packages*, or raises NotInstalled."""

    def version() -> str:
        if not PYTHON.exists():
            raise NotInstalled(f"no environment {PYTHON.parents[1].name}")
        command = [str(PYTHON), "-c", _VERSIONS, *packages]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        if shown.returncode:
            raise NotInstalled(shown.stderr.strip().rpartition("\n")[2])
        return shown.stdout.strip()

    return version


def server(script: str) -> Callable[[Place], list[str]]:
    """Return what makes the command line of a server."""

    def command(place: Place) -> list[str]:
        return [str(PYTHON), str(HERE / "python" / script), str(place.port), place.redis_url, place.secret]

    return command
