"""Child processes: they are watched, and none is left over."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from fanwire_cli.children import ChildEnded, Children, Program
from tests.kit.processes import Process
from tests.kit.wait import eventually


class _Done(Exception):
    pass


def _program(script: str, end_seconds: float = 5.0) -> Program:
    return Program("child", (sys.executable, "-u", "-c", script), dict(os.environ), end_seconds)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_child_that_ends_by_itself_is_reported_with_its_last_lines() -> None:
    """The group gets ChildEnded, which holds the exit code and what was printed last."""
    script = "print('\\n'.join(map(str, range(100)))); raise SystemExit(3)"
    children = Children(lambda name, line: None)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            await children.start(_program(script), group)
    await children.end()

    (ended,) = caught.value.exceptions
    assert isinstance(ended, ChildEnded)
    assert str(ended) == "child ended with exit code 3"
    assert ended.last_lines == tuple(map(str, range(85, 100)))


async def test_output_is_shown_line_by_line() -> None:
    """Each line is handed on with its child's name, also the last one without an end and overlong ones."""
    shown: list[tuple[str, str]] = []
    children = Children(lambda name, line: shown.append((name, line)))
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            await children.start(_program("print('a'); print('x' * 300_000); print('b', end='')"), group)
    await children.end()

    assert [line[:1] for _, line in shown] == ["a", "x", "b"]
    assert max(len(line) for _, line in shown) <= 2_000


@pytest.mark.parametrize(
    ("script", "end_seconds"),
    [
        ("import time; print('up'); time.sleep(60)", 5.0),
        ("import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)", 0.2),
        (
            "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', "
            "'import time; time.sleep(60)']); print('up'); time.sleep(60)",
            0.2,
        ),
    ],
    ids=["obedient", "deaf to SIGTERM", "with a child of its own"],
)
async def test_end_leaves_nothing_running(script: str, end_seconds: float) -> None:
    """SIGTERM, then after the deadline SIGKILL, for the child and what it started."""
    up = asyncio.Event()
    children = Children(lambda name, line: up.set())
    try:
        async with asyncio.TaskGroup() as group:
            await children.start(_program(script, end_seconds), group)
            await up.wait()
            (pid,) = children.pids
            raise _Done
    except* _Done:
        pass

    await children.end()

    assert children.pids == ()
    await eventually(lambda: not _session_of(pid))


def _session_of(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getsid(int(name)) == leader and is_alive(int(name)):
                found.append(int(name))
        except ProcessLookupError:
            pass  # It ended while it was looked at.
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with a killed parent")
async def test_child_ends_with_a_killed_parent() -> None:
    """Where the parent has no chance to end its children, the kernel does."""
    script = (
        "import asyncio, os, sys\n"
        "from fanwire_cli.children import Children, Program\n"
        "async def main():\n"
        "    children = Children(lambda name, line: print(line, flush=True))\n"
        "    code = 'import os, time; print(os.getpid(), \"end\"); time.sleep(60)'\n"
        "    async with asyncio.TaskGroup() as group:\n"
        "        program = Program('child', (sys.executable, '-u', '-c', code), dict(os.environ))\n"
        "        await children.start(program, group)\n"
        "asyncio.run(main())\n"
    )
    async with Process((sys.executable, "-c", script)) as parent:
        await parent.wait_for_output("end")
        pid = int(parent.output.split()[0])

        parent.signal(signal.SIGKILL)

        await eventually(lambda: not is_alive(pid))
