"""The machine: its cores, its limits, and what a process costs it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = [
    "Cores",
    "Memory",
    "cpu_seconds",
    "describe_machine",
    "memory_of",
    "open_files",
    "raise_file_limit",
    "run_on",
]

_PACKAGES = ("aiohttp", "redis", "hiredis", "msgpack", "uvloop", "pyjwt")


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server that is measured, another one for everything else."""

    server: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        """Take the first two cores this process may use; one core serves both where there is no second."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(server=usable[0], load=usable[1 % len(usable)])

    @property
    def are_apart(self) -> bool:
        return self.server != self.load


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process in KB; *pss* counts a shared page by its share."""

    rss: int
    pss: int


def run_on(core: int, pid: int = 0) -> None:
    """Keep the process (this one by default), and the children it will have, on one core."""
    os.sched_setaffinity(pid, {core})


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, to the nanosecond, of a process and its living children."""
    return sum(map(_own_cpu_seconds, _family(pid)))


def memory_of(pid: int) -> Memory:
    """Return the memory of a process and its living children."""
    parts = [_own_memory(member) for member in _family(pid)]
    return Memory(sum(part.rss for part in parts), sum(part.pss for part in parts))


def open_files(pid: int) -> int:
    """Return how many files and sockets a process and its living children have open; they need not answer."""
    return sum(len(list(Path(f"/proc/{member}/fd").iterdir())) for member in _family(pid))


def raise_file_limit(wanted: int) -> int:
    """Allow this process and its children *wanted* open files, or what the hard limit permits; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, granted), hard))
    return max(soft, granted)


def describe_machine() -> dict[str, str]:
    """Name what the figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "broker": _first_line("redis-server", "--version"),
        "compiler": _first_line("cc", "--version"),
        **{package: _version(package) for package in _PACKAGES},
    }


def _family(pid: int) -> list[int]:
    """Return the process and all that descend from it."""
    members = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            members += _family(int(child))
    return members


def _own_cpu_seconds(pid: int) -> float:
    # The kernel numbers the CPU clock of another process like this (clock_getcpuclockid(3)).
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def _own_memory(pid: int) -> Memory:
    fields = dict[str, int]()
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0])
    return Memory(fields["Rss"], fields["Pss"])


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"


def _first_line(*command: str) -> str:
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return "none"
    return shown.partition("\n")[0].strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
