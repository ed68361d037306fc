"""Answers about credentials: remembered for a moment, asked for once at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_edge.remembered import EitherVerifier, MemoLimits, RememberedVerifier
from tests.kit.canaries import CANARIES
from tests.kit.wait import eventually

TOKEN = CANARIES.remember("canary-of-the-memory")
USER = Principal("u-1", "acme")


class Clock:
    """Time that passes when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Table:
    """A service that knows what stands in it, and answers when it may."""

    def __init__(self, **answers: Principal | Exception) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def verify(self, token: str) -> Principal:
        self.asked.append(token)
        await self.may_answer.wait()
        answer = self.answers.get(token, InvalidToken("nobody"))
        if isinstance(answer, Exception):
            raise answer
        return answer


def remembered(table: Table, clock: Clock, **limits: Any) -> RememberedVerifier:
    return RememberedVerifier(table, MemoLimits(**{"good_seconds": 60, **limits}), clock, clock)


async def test_a_good_answer_is_remembered_and_then_asked_for_again() -> None:
    """Counted from the question: later the answer may have been another one."""
    clock, table = Clock(), Table(a=USER)
    verifier = remembered(table, clock)
    table.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(verifier.verify("a"))
        await eventually(lambda: table.asked)
        clock.now += 30
        table.may_answer.set()
    assert asking.result() is USER

    clock.now += 29.9
    assert await verifier.verify("a") is USER
    assert table.asked == ["a"]
    clock.now += 0.1
    table.answers["a"] = InvalidToken("not any more")
    with pytest.raises(InvalidToken, match="not any more"):
        await verifier.verify("a")


async def test_no_answer_outlives_the_credential() -> None:
    """However long answers are remembered."""
    clock = Clock()
    table = Table(a=Principal("u-1", "acme", expires_at=clock.now + 5))
    verifier = remembered(table, clock)
    await verifier.verify("a")
    clock.now += 5
    await verifier.verify("a")

    assert table.asked == ["a", "a"]


async def test_a_bad_answer_is_asked_for_again_unless_its_time_is_set() -> None:
    """A token may become good in the next moment, and so may a key."""
    clock, table = Clock(), Table()
    forgetful, brief = remembered(table, clock), remembered(table, clock, bad_seconds=1)
    for verifier in (forgetful, forgetful, brief, brief):
        with pytest.raises(InvalidToken, match="nobody"):
            await verifier.verify("a")
    assert table.asked == ["a", "a", "a"]

    clock.now += 1
    table.answers["a"] = USER
    assert await brief.verify("a") is USER


async def test_no_answer_is_never_remembered() -> None:
    """The next one who comes may get one."""
    clock, table = Clock(), Table(a=VerifierUnavailable("away"))
    verifier = remembered(table, clock, bad_seconds=60)
    with pytest.raises(VerifierUnavailable, match="away"):
        await verifier.verify("a")
    table.answers["a"] = USER

    assert await verifier.verify("a") is USER


@pytest.mark.parametrize(
    "answer", [USER, InvalidToken("nobody"), VerifierUnavailable("away")], ids=["good", "bad", "none"]
)
async def test_who_comes_together_with_one_credential_is_asked_about_once(answer: Any) -> None:
    """All get the same answer; another credential does not wait for it."""
    table = Table(a=answer, b=USER)
    verifier = remembered(table, Clock())
    table.may_answer.clear()
    outcomes: list[object] = []

    async def show() -> None:
        try:
            outcomes.append(await verifier.verify("a"))
        except (InvalidToken, VerifierUnavailable) as problem:
            outcomes.append(str(problem))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(show())
        other = tasks.create_task(verifier.verify("b"))
        await eventually(lambda: len(table.asked) == 2)
        table.may_answer.set()

    assert table.asked == ["a", "b"]
    assert other.result() is USER
    assert outcomes == [answer if answer is USER else str(answer)] * 50


async def test_who_goes_away_takes_nobody_along() -> None:
    """Where the one who asked is cancelled, another asks; where one who waits is, nothing happens."""
    table = Table(a=USER)
    verifier = remembered(table, Clock())
    table.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        first, second, third = (tasks.create_task(verifier.verify("a")) for _ in range(3))
        await eventually(lambda: table.asked)
        second.cancel()
        first.cancel()
        await eventually(lambda: len(table.asked) == 2)
        table.may_answer.set()

    assert third.result() is USER
    assert first.cancelled()
    assert second.cancelled()


async def test_guesses_drive_out_nothing_that_is_known() -> None:
    """What is remembered is bounded, and no credential stands in it."""
    table = Table(a=USER)
    verifier = remembered(table, Clock(), bad_seconds=60, good_entries=2, bad_entries=3)
    await verifier.verify("a")
    for number in range(10):
        with pytest.raises(InvalidToken):
            await verifier.verify(f"{TOKEN}-{number}")
    await verifier.verify("a")

    assert len(verifier._bad) == 3
    assert len(verifier._good) == 1
    assert table.asked.count("a") == 1
    assert TOKEN not in repr(vars(verifier._bad)) + repr(vars(verifier._good))


async def test_a_credential_of_any_characters_has_a_hash() -> None:
    """Headers may bring halves of characters."""
    with pytest.raises(InvalidToken, match="nobody"):
        await remembered(Table(), Clock()).verify("\udce4")


async def test_the_first_who_knows_a_credential_decides() -> None:
    """Where one cannot tell, nobody else is asked: it might have known it as bad."""
    both = EitherVerifier([Table(a=USER), Table(b=Principal("u-2", "acme"))])
    assert (await both.verify("a")).user == "u-1"
    assert (await both.verify("b")).user == "u-2"
    with pytest.raises(InvalidToken, match="nobody"):
        await both.verify("c")
    with pytest.raises(VerifierUnavailable):
        await EitherVerifier([Table(a=VerifierUnavailable("away")), Table(a=USER)]).verify("a")
