"""Asking those who decide: each once, a few at a time, and whatever fails permits nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.questions import Round
from fanwire_edge.core.tally import Tally
from fanwire_edge.inquiry import Inquiry
from fanwire_protocol.channels import Channel, parse_channel
from tests.kit.wait import eventually

A, B, C = (f"tenant:acme:resource:orders:{number}" for number in (1, 2, 3))
YES, NO, SILENT, UNKNOWN = Decision.PERMITTED, Decision.FORBIDDEN, Decision.UNDECIDED, Decision.UNAVAILABLE


class Judge:
    """An authorizer that says what it is told to, once it is let."""

    def __init__(self, *, is_open: bool = True, **says: Decision) -> None:
        self.says = {name: says[key] for key, name in (("a", A), ("b", B), ("c", C)) if key in says}
        self.asked: list[tuple[str, list[str]]] = []
        self.running = self.most = 0
        self.forgot: list[Collection[str] | None] = []
        self.gate = asyncio.Event()
        self.problem: Exception | None = None
        if is_open:
            self.gate.set()

    async def decide(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        self.asked.append((asker.principal.user, [channel.name for channel in channels]))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if self.problem is not None:
                raise self.problem
            return dict(self.says)
        finally:
            self.running -= 1


class ForgetfulJudge(Judge):
    def forget(self, channels: Collection[str] | None) -> None:
        self.forgot.append(channels)


async def _settled() -> None:
    pass


@asynccontextmanager
async def inquiry(
    *chain: Judge,
    deadline_seconds: float = 5.0,
    max_at_once: int = 256,
    settled: Callable[[], asyncio.Future[None]] | None = None,
) -> AsyncIterator[tuple[Inquiry, Tally]]:
    """Run an inquiry until the block ends."""
    tally = Tally()
    asking = Inquiry(chain, deadline_seconds, tally, settled or _settled, max_at_once)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(asking.run())
        yield asking, tally
        running.cancel()


def begin(asking: Inquiry, *names: str, user: str = "u-1", is_urgent: bool = True) -> Round:
    """Begin a round and return it."""
    channels = {name: parse_channel(name) for name in names}
    round_ = Round(Asker(Principal(user, "acme")), channels, 0.0, lambda: None)
    asking.begin(round_, is_urgent=is_urgent)
    return round_


async def decided(round_: Round) -> list[Decision]:
    """Return what was found, in the order of the channels."""
    await eventually(lambda: round_.is_done)
    return [round_.found[name] for name in round_.channels]


async def test_the_first_that_has_an_opinion_wins() -> None:
    """What nobody has an opinion on is forbidden, and the later ones are asked for the rest only."""
    first, second = Judge(a=YES, b=SILENT, c=SILENT), Judge(a=NO, b=NO, c=SILENT)
    async with inquiry(first, second) as (asking, tally):
        assert asking.has_chain
        assert await decided(begin(asking, A, B, C)) == [YES, NO, NO]
        assert [asked for _, asked in second.asked] == [[B, C]]
        assert tally.decisions == {"permitted": 1, "forbidden": 2, "unauthenticated": 0, "unavailable": 0}


async def test_no_answer_is_unavailable_and_not_the_next_ones_business() -> None:
    """Who should have decided could not; somebody else must not permit instead."""
    first, second = Judge(a=YES), Judge(b=YES)
    async with inquiry(first, second) as (asking, _):
        assert await decided(begin(asking, A, B)) == [YES, UNKNOWN]
        assert second.asked == []


async def test_who_takes_too_long_has_said_nothing() -> None:
    """And the next one who asks is answered."""
    judge = Judge(is_open=False, a=YES)
    async with inquiry(judge, deadline_seconds=0.05) as (asking, tally):
        assert await decided(begin(asking, A)) == [UNKNOWN]
        judge.gate.set()
        assert await decided(begin(asking, A)) == [YES]
        assert tally.decisions["unavailable"] == 1


async def test_a_bug_permits_nothing_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the inquiry goes on."""
    judge = Judge(a=YES)
    judge.problem = RuntimeError("no")
    async with inquiry(judge) as (asking, _):
        assert await decided(begin(asking, A)) == [UNKNOWN]
        judge.problem = None
        assert await decided(begin(asking, A)) == [YES]
    assert [record.message for record in caplog.records] == ["authorization_failed"]


async def test_only_so_many_are_asked_at_once_and_who_waits_goes_first() -> None:
    """A storm of renewals holds up no command for longer than it takes to answer one."""
    judge = Judge(is_open=False, a=YES)
    async with inquiry(judge, max_at_once=2) as (asking, _):
        rounds = [begin(asking, A, user=f"u-{number}", is_urgent=False) for number in range(5)]
        await eventually(lambda: judge.running == 2)
        rounds.append(begin(asking, A, user="urgent"))
        judge.gate.set()
        for round_ in rounds:
            assert await decided(round_) == [YES]
    assert judge.most == 2
    assert [user for user, _ in judge.asked][:3] == ["u-0", "u-1", "urgent"]


async def test_what_nobody_waits_for_any_more_is_not_asked() -> None:
    """Neither what has no turn yet nor what is being asked, whose place is free then."""
    judge = Judge(is_open=False, a=YES)
    async with inquiry(judge, max_at_once=1) as (asking, _):
        first, second = begin(asking, A, user="u-1"), begin(asking, A, user="u-2")
        third = begin(asking, A, user="u-3", is_urgent=False)
        await eventually(lambda: judge.running == 1)
        for round_ in (second, third, first):
            asking.leave(round_)
        await eventually(lambda: judge.running == 0)
        judge.gate.set()
        assert await decided(begin(asking, A, user="u-4")) == [YES]
    assert [user for user, _ in judge.asked] == ["u-1", "u-4"]


async def test_an_answer_from_before_a_revocation_is_nobodys() -> None:
    """It is asked for again, of those who remember nothing."""
    judge = ForgetfulJudge(is_open=False, a=YES)
    async with inquiry(judge, Judge(a=NO)) as (asking, _):
        round_ = begin(asking, A)
        await eventually(lambda: judge.running == 1)
        asking.outdate([A])
        await eventually(lambda: judge.running == 2)
        judge.says = {A: NO}
        judge.gate.set()
        assert await decided(round_) == [NO]
        assert judge.forgot == [[A]]
        asking.outdate(None)
        assert judge.forgot == [[A], None]


async def test_what_was_answered_can_be_asked_again() -> None:
    """Where nobody has made use of it yet; what is still being asked is not asked twice."""
    judge = Judge(a=YES, b=YES)
    async with inquiry(judge) as (asking, _):
        round_ = begin(asking, A, B)
        assert await decided(round_) == [YES, YES]
        judge.says = {A: NO}
        asking.ask_anew(round_, [A])
        asking.ask_anew(round_, [A, C])
        assert await decided(round_) == [NO, YES]
    assert [asked for _, asked in judge.asked] == [[A, B], [A]]


async def test_nobody_is_told_in_the_middle_of_a_delivery() -> None:
    """An answer may end a subscription, and that is done between two."""
    delivery: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    judge = Judge(a=YES)
    async with inquiry(judge, settled=lambda: asyncio.shield(delivery)) as (asking, _):
        round_ = begin(asking, A)
        await eventually(lambda: len(judge.asked) == 1 and judge.running == 0)
        await asyncio.sleep(0)
        assert not round_.is_done
        delivery.set_result(None)
        assert await decided(round_) == [YES]
