"""The audit log in a file and on a descriptor: whole lines, whatever happens to the file or its reader."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fanwire_edge.adapters.audit import AuditFile, AuditStdout
from fanwire_edge.ports import AuditFailed
from fanwire_protocol.settings import SettingError

LINES = [f'{{"number":{number}}}\n'.encode() for number in range(300)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file is to be."""
    return tmp_path / "audit.jsonl"


def write(sink: AuditFile, lines: Sequence[bytes]) -> None:
    """Append *lines* on an event loop of their own."""
    asyncio.run(sink.write(lines))


def test_lines_are_appended_in_order(path: Path) -> None:
    """Behind what stands there already; the group may read it, others may not."""
    path.write_bytes(b"before\n")
    path.chmod(0o600)
    write(AuditFile(str(path)), LINES[:2])

    assert path.read_bytes() == b"before\n" + LINES[0] + LINES[1]


def test_a_new_file_is_for_owner_and_group(path: Path) -> None:
    """Names and addresses of users are nobody else's business."""
    before = os.umask(0)
    try:
        AuditFile(str(path))
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("is_told", [True, False], ids=["with a signal", "without"])
def test_a_file_that_was_moved_away_is_begun_anew(path: Path, is_told: bool) -> None:
    """As logrotate does: the old one is complete, the new one has the name."""
    sink, old = AuditFile(str(path)), path.with_suffix(".1")
    write(sink, LINES[:1])
    path.rename(old)
    if is_told:
        sink.reopen()
    write(sink, LINES[1:2])
    path.unlink()
    path.write_bytes(b"by logrotate\n")
    write(sink, LINES[2:3])

    assert old.read_bytes() == LINES[0]
    assert path.read_bytes() == b"by logrotate\n" + LINES[2]


def test_a_file_that_was_copied_and_emptied_goes_on_from_its_beginning(path: Path) -> None:
    """The other way of logrotate leaves no hole."""
    sink = AuditFile(str(path))
    write(sink, LINES[:5])
    os.truncate(path, 0)
    write(sink, LINES[5:6])

    assert path.read_bytes() == LINES[5]


def test_several_processes_may_append_to_one_file(path: Path) -> None:
    """Workers do: no line stands within another."""
    sinks = [AuditFile(str(path)) for _ in range(4)]

    async def write_all() -> None:
        async with asyncio.TaskGroup() as tasks:
            for sink in sinks:
                tasks.create_task(sink.write(LINES))

    asyncio.run(write_all())

    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(LINES * 4)


def test_a_folder_that_is_gone_is_told_and_what_comes_later_is_written(path: Path) -> None:
    """Nothing of the lines is in the text."""
    folder = path.parent / "log"
    folder.mkdir()
    sink = AuditFile(str(folder / "audit.jsonl"))
    (folder / "audit.jsonl").unlink()
    folder.rmdir()
    with pytest.raises(AuditFailed, match="No such file") as caught:
        write(sink, LINES[:1])
    assert caught.value.written == 0

    folder.mkdir()
    write(sink, LINES[1:2])

    assert (folder / "audit.jsonl").read_bytes() == LINES[1]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 4,100 bytes: what a full disk does, for this process."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_a_full_disk_cut_is_written_again_on_a_line_of_its_own(
    path: Path, small_files: None
) -> None:
    """How many stand is told; half a line stays behind, and no other is spoilt by it."""
    sink = AuditFile(str(path))
    with pytest.raises(AuditFailed) as caught:
        write(sink, LINES)
    written = caught.value.written
    torn = path.read_bytes()
    assert 0 < written < len(LINES)
    assert torn.startswith(b"".join(LINES[:written]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    write(sink, LINES[written:])

    found = path.read_bytes()[len(torn) :]
    assert torn[-1:] != b"\n"
    assert found == b"\n" + b"".join(LINES[written:])


def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    """With one line that names the setting and the path."""
    with pytest.raises(SettingError, match=r"^audit.path: .*nowhere") as caught:
        AuditFile(str(tmp_path / "nowhere" / "audit.jsonl"))
    assert "\n" not in str(caught.value)


async def test_a_reader_that_hangs_holds_up_nothing_but_the_log() -> None:
    """The loop turns, and the call can be given up; what the pipe takes later stands in it once."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    sink = AuditStdout(writing)
    lines = [b"x" * 4000 + b"\n"] * 3
    assert size < sum(map(len, lines))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await sink.write(lines)

    read = b""
    while len(read) < sum(map(len, lines)):
        read += await asyncio.to_thread(os.read, reading, 65_536)
    assert read == b"".join(lines)
    # The hand is free again.
    await sink.write(LINES[:1])
    assert os.read(reading, 100) == LINES[0]
    os.close(reading)
    with pytest.raises(AuditFailed, match="Broken pipe"):
        await sink.write(LINES[:1])
    os.close(writing)
