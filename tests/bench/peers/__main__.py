"""Installs the peers: `python -m tests.bench.peers`. What cannot be installed is said and left out."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.peers import PEERS, NotInstalled
from tests.bench.peers.peer import HERE, NODE_MODULES, PYTHON

_DEBIAN = {"nats-server": "nats-server", "nginx": "nginx libnginx-mod-nchan"}
_PATIENCE_SECONDS = 600


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what is missing and show which peers there are; 0 also where some could not be installed."""
    argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__).parse_args(arguments)
    for step in (_install_debian, _install_node, _install_python):
        _attempt(step)
    for peer in PEERS:
        try:
            print(f"{peer.name}: {peer.version()}")
        except NotInstalled as error:
            print(f"{peer.name}: not installed: {error}")
    return 0


def _attempt(step: Callable[[], None]) -> None:
    try:
        step()
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)}: {error.stderr.strip()[-500:]}", file=sys.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)


def _install_debian() -> None:
    missing = [packages for program, packages in _DEBIAN.items() if shutil.which(program) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"As root: apt-get install {' '.join(missing)}", file=sys.stderr)
        return
    # RUNLEVEL: the packages' services are not wanted, the benchmark starts its own.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    _run(["apt-get", "update", "-qq"], environment=quiet)
    wanted = [name for packages in missing for name in packages.split()]
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted], environment=quiet)


def _install_node() -> None:
    folder, sources = NODE_MODULES.parent, HERE / "node"
    files = ("package.json", "package-lock.json")
    if shutil.which("npm") is None or (NODE_MODULES.exists() and _is_current(folder, sources, files)):
        return
    _copy(folder, sources, files)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)


def _install_python() -> None:
    folder, sources = PYTHON.parents[1], HERE / "python"
    if _is_current(folder, sources, ("requirements.txt",)):
        return
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(PYTHON), "-m", "pip", "install", "-q", "-r", str(sources / "requirements.txt")])
    _copy(folder, sources, ("requirements.txt",))


def _is_current(folder: Path, sources: Path, names: Sequence[str]) -> bool:
    """Tell whether what was installed was installed from these files."""
    return all(
        (folder / name).exists() and (folder / name).read_text() == (sources / name).read_text()
        for name in names
    )


def _copy(folder: Path, sources: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(sources / name, folder / name)


def _run(command: list[str], folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
    )


if __name__ == "__main__":
    sys.exit(main())
