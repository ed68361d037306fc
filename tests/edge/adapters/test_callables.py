"""Functions of the operator's own, which may do anything: a real module is loaded, real threads run it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanwire_edge.adapters.callables import MAX_THREADS, CallableVerifier, Function, FunctionFailed
from fanwire_edge.core.claims import ClaimRules
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.settings import SettingError
from tests.kit.canaries import CANARIES
from tests.kit.wait import eventually

NOW = 1_800_000_000.0
TOKEN = CANARIES.remember("canary-token-of-a-callable")
USERS: dict[str, Any] = {TOKEN: {"sub": 42, "tenant": "acme", "roles": ("staff",), "exp": NOW + 60}}
SOURCE = """
LIMIT = 1

class Shop:
    @staticmethod
    def verify(token):
        return {"sub": token}

async def verify(token):
    return {"sub": "async"}
"""


def verifier(function: Callable[..., Any], deadline_seconds: float = 5.0) -> CallableVerifier:
    asked = Function("auth.callable", function, deadline_seconds)
    return CallableVerifier(asked, ClaimRules(default_tenant="main", is_token=False), lambda: NOW)


def known(token: str) -> Any:
    return USERS.get(token)


async def known_async(token: str) -> Any:
    await asyncio.sleep(0)
    return USERS.get(token)


def known_later(token: str) -> Any:
    return known_async(token)


class Known:
    async def __call__(self, token: str) -> Any:
        return await known_async(token)


KINDS = [known, known_async, known_later, Known()]


@pytest.mark.parametrize("function", KINDS, ids=["sync", "async", "awaitable", "object"])
async def test_a_function_of_any_kind_tells_whose_a_token_is(function: Callable[..., Any]) -> None:
    """It returns claims as Python writes them, or None for nobody."""
    tokens = verifier(function)

    assert await tokens.verify(TOKEN) == Principal("42", "acme", ("staff",), expires_at=NOW + 60)
    with pytest.raises(InvalidToken, match="does not know"):
        await tokens.verify("another")


@pytest.mark.parametrize(
    ("found", "error"),
    [
        ({"sub": "u-1", "exp": NOW}, InvalidToken),
        ({"sub": "a b"}, InvalidToken),
        ({}, VerifierUnavailable),
        ({"sub": "u-1", "roles": "admin"}, VerifierUnavailable),
        ({"sub": "u-1", "exp": "soon"}, VerifierUnavailable),
        (True, VerifierUnavailable),
        ("u-1", VerifierUnavailable),
        ([], VerifierUnavailable),
    ],
)
async def test_what_a_function_returns_is_read_strictly(found: Any, error: type[Exception]) -> None:
    """`True` is no principal, and a mistake of the function is not the client's."""
    with pytest.raises(error):
        await verifier(lambda _: found).verify(TOKEN)


@pytest.mark.parametrize("token", ["", "a b", "a\n", "é", "x" * 8193])
async def test_a_function_is_not_asked_about_what_is_no_token(token: str) -> None:
    """It need not be robust against that."""
    asked: list[str] = []
    with pytest.raises(InvalidToken):
        await verifier(asked.append).verify(token)
    assert asked == []


def raises(token: str) -> Any:
    raise ValueError(f"cannot read {token}")


async def raises_async(token: str) -> Any:
    raise KeyError(token)


def exits(token: str) -> Any:
    raise SystemExit(token)


def stops(token: str) -> Any:
    raise StopIteration(token)


@pytest.mark.parametrize("function", [raises, raises_async, exits, stops])
async def test_an_exception_lets_nobody_in_and_is_logged_once_without_the_token(
    function: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The log says its kind and where it began; its text may repeat the token."""
    tokens = verifier(function)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(VerifierUnavailable, match="the function raised") as caught:
                await tokens.verify(TOKEN)
            assert TOKEN not in str(caught.value)

    [record] = caplog.records
    assert record.msg == "callable_failed"
    said = record.__dict__
    assert said["where"].startswith("test_callables.py:")
    assert TOKEN not in str([said, record.exc_info])


async def test_a_function_has_a_deadline_and_hangs_in_threads_of_its_own() -> None:
    """However many clients come, it holds so many threads, and the edge goes on; then it is asked again."""
    release = threading.Event()

    def hang(token: str) -> Any:
        release.wait(20)
        return {"sub": "u-1"}

    tokens = verifier(hang, 0.1)
    before = _threads()
    began = time.monotonic()
    failures = 0

    async def show() -> None:
        nonlocal failures
        try:
            await tokens.verify(TOKEN)
        except VerifierUnavailable as problem:
            failures += "did not answer within 0.1 s" in str(problem)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3 * MAX_THREADS):
            tasks.create_task(show())
    assert failures == 3 * MAX_THREADS
    assert time.monotonic() - began < 5
    ours = _threads() - before
    assert len(ours) == MAX_THREADS
    assert all(thread.daemon for thread in ours), "the end of the process would wait for it"

    release.set()
    patient = tokens._function
    await eventually(lambda: _answers(patient), 5)


def _threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("fanwire-callable")}


async def _answers(function: Function) -> bool:
    try:
        return bool(await function.call(TOKEN) == {"sub": "u-1"})
    except FunctionFailed:
        return False


async def test_an_async_function_has_the_same_deadline() -> None:
    """It is cancelled."""
    ended = False

    async def hang(token: str) -> Any:
        nonlocal ended
        try:
            await asyncio.sleep(60)
        finally:
            ended = True

    with pytest.raises(VerifierUnavailable, match="did not answer"):
        await verifier(hang, 0.05).verify(TOKEN)
    assert ended


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that can be imported, and one that cannot."""
    (tmp_path / "fanwire_test_shop").mkdir()
    (tmp_path / "fanwire_test_shop" / "__init__.py").touch()
    (tmp_path / "fanwire_test_shop" / "realtime.py").write_text(SOURCE)
    (tmp_path / "fanwire_test_shop" / "broken.py").write_text("1 / 0")
    (tmp_path / "fanwire_test_shop" / "needy.py").write_text("import fanwire_test_nothing")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "fanwire_test_shop"
    for name in [name for name in sys.modules if name.startswith("fanwire_test_shop")]:
        del sys.modules[name]


async def test_a_function_is_found_by_its_module_and_name(package: str) -> None:
    """Also one that belongs to a class."""
    for path, user in ((f"{package}.realtime:verify", "async"), (f"{package}.realtime:Shop.verify", "x")):
        assert await Function.load("auth.callable", path, 5.0).call("x") == {"sub": user}


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("{}.realtime", "names no function"),
        ("{}.realtime:", "names no function"),
        ("../shop:verify", "names no function"),
        ("{}.realtime:verify()", "names no function"),
        ("fanwire_test_nothing:verify", "No module named"),
        ("{}.needy:verify", "No module named 'fanwire_test_nothing'"),
        ("{}.broken:verify", "ZeroDivisionError"),
        ("{}.realtime:verfy", "has no function verfy"),
        ("{}.realtime:LIMIT", "has no function LIMIT"),
        ("{}.realtime:Shop.read", "has no function Shop.read"),
    ],
)
def test_a_wrong_name_stops_the_start_with_one_line(package: str, path: str, problem: str) -> None:
    """It says what could not be found, and what to do."""
    with pytest.raises(SettingError, match=problem) as caught:
        Function.load("auth.callable", path.format(package), 5.0)

    assert str(caught.value).startswith("auth.callable: ")
    assert "\n" not in str(caught.value)
