"""Errands: so many at once, each for one connection, and none takes another with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from fanwire_edge.connection import Connection
from fanwire_edge.core.session import Session
from fanwire_edge.errands import Errands
from fanwire_edge.pump import Pump
from fanwire_protocol.codes import CloseCode
from tests.kit.wait import eventually


class Sender:
    """A connection as far as errands know one: it has turns, and can be closed."""

    def __init__(self, name: str) -> None:
        self.session = Session(name, None)
        self.turns = 0
        self.closed: list[CloseCode] = []

    def carry_on(self) -> None:
        self.turns += 1

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed.append(code)


class Walk:
    """An errand that takes as long as the test wants."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.has_begun = self.is_cancelled = False
        self.may_end = asyncio.Event()

    async def run(self) -> None:
        self.has_begun = True
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if self.problem is not None:
            raise self.problem


def sender(name: str = "c-1") -> tuple[Sender, Connection]:
    """Return a sender, and the same as what errands take it for."""
    made = Sender(name)
    return made, cast(Any, made)


@asynccontextmanager
async def running(most: int = 64) -> AsyncIterator[Errands]:
    """Run errands until the block ends."""
    errands = Errands(Pump(lambda: False), most)
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(errands.run())
        yield errands
        work.cancel()


async def test_who_comes_back_is_given_a_turn_and_asked_what_came_of_it() -> None:
    """Until it is ended it stays the connection's errand."""
    async with running() as errands:
        (caller, connection), walk = sender(), Walk()
        errands.begin(connection, walk)
        assert (errands.of(connection), errands.is_out(connection)) == (walk, True)
        await eventually(lambda: walk.has_begun)
        assert caller.turns == 0
        walk.may_end.set()
        await eventually(lambda: caller.turns == 1)

        assert (errands.of(connection), errands.is_out(connection)) == (walk, False)
        errands.end(connection)
        assert errands.of(connection) is None


async def test_only_so_many_are_out_and_the_others_go_in_their_order() -> None:
    """Whoever comes back, or is given up, makes room for the next one."""
    async with running(most=2) as errands:
        walks = [Walk() for _ in range(5)]
        connections = [sender(str(number))[1] for number in range(5)]
        for connection, walk in zip(connections, walks, strict=True):
            errands.begin(connection, walk)
        await eventually(lambda: walks[1].has_begun)
        assert [walk.has_begun for walk in walks] == [True, True, False, False, False]
        errands.end(connections[2])
        walks[1].may_end.set()
        await eventually(lambda: walks[3].has_begun)
        errands.end(connections[0])
        await eventually(lambda: walks[4].has_begun)

        assert walks[0].is_cancelled
        assert not walks[2].has_begun
        assert errands.of(connections[2]) is None


async def test_one_that_fails_ends_its_connection_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is a bug of ours: 1011, and a line in the log."""
    async with running() as errands:
        (first, one), (second, other) = sender("c-1"), sender("c-2")
        walk = Walk()
        with caplog.at_level(logging.ERROR):
            failing = Walk(ZeroDivisionError())
            failing.may_end.set()
            errands.begin(one, failing)
            errands.begin(other, walk)
            await eventually(lambda: first.closed)
        walk.may_end.set()
        await eventually(lambda: second.turns)

        assert (first.closed, second.closed) == ([CloseCode.INTERNAL_ERROR], [])
        assert [record.message for record in caplog.records] == ["errand_failed"]


async def test_an_end_without_an_errand_is_none() -> None:
    """Every connection that closes asks for it."""
    async with running() as errands:
        _, connection = sender()
        errands.end(connection)
        assert errands.of(connection) is None
