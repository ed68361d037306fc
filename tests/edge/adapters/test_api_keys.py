"""API keys in a file: found by their hash, and read again when the file is another one."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from pathlib import Path

import pytest

from fanwire_edge.adapters.api_keys import CHECK_SECONDS, MAX_FILE_BYTES, ApiKeyFile, ApiKeyVerifier
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.settings import SettingError
from tests.kit.canaries import CANARIES

NOW = 1_800_000_000.0
KEY = CANARIES.remember("fw_canary-0123456789abcdef")
OTHER = CANARIES.remember("fw_canary-fedcba9876543210")


class Clock:
    """Time that passes when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def row(key: str, id_: str = "ci-1", more: str = "") -> str:
    """Return the table of a key."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f'[[key]]\nid = "{id_}"\nsha256 = "{digest}"\nuser = "u-1"\ntenant = "acme"\n{more}\n'


def put(path: Path, text: str) -> None:
    """Write another file in the place of the one at *path*."""
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def let_go(pipe: Path) -> None:
    """End the reading of a pipe."""
    with pipe.open("wb"):
        pass


def verifier(path: Path, clock: Clock | None = None) -> ApiKeyVerifier:
    return ApiKeyVerifier(ApiKeyFile(str(path), None, clock or Clock()), lambda: NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one key."""
    file = tmp_path / "keys.toml"
    put(file, row(KEY, more='permissions = ["orders:read"]\nexpires = 2027-01-31T00:00:00Z'))
    return file


async def test_a_key_identifies_its_owner(path: Path) -> None:
    """With what was written down beside it, and its id for revocations."""
    assert await verifier(path).verify(KEY) == Principal(
        "u-1",
        "acme",
        permissions=frozenset({"orders:read"}),
        expires_at=1_801_353_600.0,
        token_id="ci-1",
    )


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (KEY[:-1] + "0", "not known"),
        (KEY + "0", "not known"),
        (KEY.upper(), "not known"),
        (hashlib.sha256(KEY.encode()).hexdigest(), "not known"),
        ("", "20 to 512"),
        ("x" * 19, "20 to 512"),
        ("x" * 513, "20 to 512"),
    ],
)
async def test_what_is_no_key_identifies_nobody(path: Path, key: str, reason: str) -> None:
    """The hash in the file, which somebody may have seen, is none."""
    with pytest.raises(InvalidToken, match=reason):
        await verifier(path).verify(key)


async def test_a_key_ends_when_its_time_is_over(path: Path) -> None:
    """At that very moment."""
    put(path, row(KEY, more=f"expires = {int(NOW)}"))

    with pytest.raises(InvalidToken, match="expired"):
        await verifier(path).verify(KEY)


async def test_another_file_brings_other_keys_within_a_second(path: Path) -> None:
    """A key that was taken out is refused, also where nobody showed one for long; one put in works."""
    clock = Clock()
    keys = verifier(path, clock)
    put(path, row(OTHER))

    assert (await keys.verify(KEY)).user == "u-1"
    clock.now += CHECK_SECONDS
    outcomes: list[str] = []

    async def show(key: str) -> None:
        try:
            outcomes.append((await keys.verify(key)).user)
        except InvalidToken as problem:
            outcomes.append(problem.reason)

    async with asyncio.TaskGroup() as tasks:
        for key in (KEY, OTHER, KEY):
            tasks.create_task(show(key))
    assert sorted(outcomes) == ["the API key is not known", "the API key is not known", "u-1"]


@pytest.mark.parametrize("change", ["wrong", "gone"])
async def test_a_file_with_a_mistake_changes_nothing_but_the_log(
    path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The keys of before are valid until it is right again; the log says so once."""
    clock = Clock()
    keys = verifier(path, clock)
    with caplog.at_level(logging.ERROR):
        if change == "wrong":
            put(path, row(OTHER, more="expire = 1"))
        else:
            remove(path)
        for _ in range(3):
            clock.now += CHECK_SECONDS
            assert (await keys.verify(KEY)).user == "u-1"
    assert [record.msg for record in caplog.records] == ["api_keys_kept"]

    put(path, row(OTHER))
    clock.now += CHECK_SECONDS
    assert (await keys.verify(OTHER)).user == "u-1"


async def test_a_file_that_cannot_be_looked_at_lets_nobody_in(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs is no reason to believe what was read before."""
    clock = Clock()
    keys = verifier(path, clock)
    monkeypatch.setattr("fanwire_edge.adapters.api_keys.READ_SECONDS", 0.05)
    remove(path)
    os.mkfifo(path)
    clock.now += CHECK_SECONDS
    try:
        with pytest.raises(VerifierUnavailable, match="cannot be read now"):
            await keys.verify(KEY)
    finally:
        let_go(path)


WRONG = [
    ("a misspelt field", row(KEY, more="expire = 1"), "key 1: has a field that is none; did you mean"),
    ("a key twice", row(KEY) + row(KEY, "ci-2"), "key 2: sha256 is that of another key"),
    ("another table", "[keys]\n", "holds something else"),
    ("one table", '[key]\nid = "x"\n', "holds something else"),
    ("no TOML", KEY, "is no TOML file"),
    ("no text", "\udcff", "is no TOML file"),
    ("a file to break the parser", f"a = {'[' * 5000}", "is no TOML file"),
    ("too much", " " * (MAX_FILE_BYTES + 1), "has more than"),
]


@pytest.mark.parametrize(("_", "text", "problem"), WRONG, ids=[row_[0] for row_ in WRONG])
def test_a_wrong_file_stops_the_start_with_one_line(tmp_path: Path, _: str, text: str, problem: str) -> None:
    """It names the file and the key by its number, and shows no key."""
    path = tmp_path / "keys.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(SettingError, match=problem) as caught:
        verifier(path)

    line = str(caught.value)
    assert line.startswith(f"auth.api_key.file: {path}")
    assert "\n" not in line
    assert KEY not in line


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """As every other file of the settings."""
    with pytest.raises(SettingError, match=r"cannot read .*: No such file or directory"):
        verifier(tmp_path / "nothing.toml")
