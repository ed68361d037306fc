"""The inquiry: asks those who decide, one after the other, and only so many questions at once.

Who does not answer in time, answers nonsense or fails in a way that nobody foresaw has said UNAVAILABLE:
nothing that goes wrong here lets anybody read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.questions import Question, Questions, Round
from fanwire_edge.core.tally import Tally
from fanwire_edge.ports import Authorizer, Forgetful
from fanwire_protocol.channels import Channel

__all__ = ["Inquiry"]

# Each is as many requests as it has channels; those are bounded by `outbound.max_concurrent`.
MAX_AT_ONCE = 256

logger = logging.getLogger("fanwire.permissions")


class Inquiry:
    """Asks *chain*, in which the first that has an opinion wins, for the rounds that begin.

    What somebody waits for goes before what is renewed. It is answered within *deadline_seconds* of the
    asking; what is renewed, within so many of its turn. Rounds are told when *settled* returns: who loses a
    subscription loses it between two deliveries.
    """

    def __init__(
        self,
        chain: Sequence[Authorizer],
        deadline_seconds: float,
        tally: Tally,
        settled: Callable[[], Awaitable[None]],
        max_at_once: int = MAX_AT_ONCE,
    ) -> None:
        self._chain = chain
        self._tally = tally
        self._settled = settled
        self._deadline_seconds = deadline_seconds
        self._max_at_once = max_at_once
        self._questions = Questions()
        self._urgent: deque[tuple[Question, float]] = deque()
        self._others: deque[Question] = deque()
        self._running: dict[Question, asyncio.Task[None]] = {}
        self._some = asyncio.Event()

    @property
    def has_chain(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._chain)

    def begin(self, round_: Round, *, is_urgent: bool) -> None:
        """Let *round_* have its answers, for some of which others may be waiting already."""
        question = self._questions.join(round_)
        if question is None:
            return
        if is_urgent:
            deadline = asyncio.get_running_loop().time() + self._deadline_seconds
            self._urgent.append((question, deadline))
        else:
            self._others.append(question)
        self._some.set()

    def leave(self, round_: Round) -> None:
        """Let *round_* have no more answers; what nobody waits for then is not asked."""
        for question in self._questions.leave(round_):
            task = self._running.get(question)
            if task is not None:
                task.cancel()

    def ask_anew(self, round_: Round, names: Iterable[str]) -> None:
        """Ask again for those of *names* that *round_* was told of: that may be wrong."""
        if round_.retract(names):
            self.begin(round_, is_urgent=True)

    def outdate(self, channels: Collection[str] | None) -> None:
        """Ask again for *channels* and patterns (for all) that are being asked for, with nobody of the chain
        remembering anything of them."""
        for authorizer in self._chain:
            if isinstance(authorizer, Forgetful):
                authorizer.forget(channels)
        for round_ in self._questions.outdate(channels):
            self.begin(round_, is_urgent=True)

    async def run(self) -> None:
        """Ask, for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._some.wait()
                self._some.clear()
                while len(self._running) < self._max_at_once and (due := self._next()) is not None:
                    question, deadline = due
                    self._running[question] = tasks.create_task(self._ask(question, deadline))

    def _next(self) -> tuple[Question, float] | None:
        """Return the next question that somebody waits for, and the loop's time at which it is given up."""
        while self._urgent:
            question, deadline = self._urgent.popleft()
            if question.waiting:
                return question, deadline
        while self._others:
            question = self._others.popleft()
            if question.waiting:
                return question, asyncio.get_running_loop().time() + self._deadline_seconds
        return None

    async def _ask(self, question: Question, deadline: float) -> None:
        answers: Mapping[str, Decision] = {}
        try:
            async with asyncio.timeout_at(deadline):
                answers = await self._decided(question.asker, question.channels)
        except TimeoutError:
            pass  # Counted as unavailable; who asks services tells which one is away.
        except Exception:  # a bug of ours, or of the application's function, is no permission
            logger.exception("authorization_failed", extra={"channels": len(question.channels)})
        finally:
            del self._running[question]
            self._some.set()
        await self._settled()
        for channel in question.channels:
            decision = answers.get(channel.name, Decision.UNAVAILABLE)
            self._tally.decisions[decision.value] += 1
        for round_ in self._questions.answer(question, answers):
            round_.done()

    async def _decided(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        """Ask the chain; what nobody in it has an opinion on is forbidden."""
        found: dict[str, Decision] = {}
        left = channels
        for authorizer in self._chain:
            answers = await authorizer.decide(asker, left)
            found |= {channel.name: answers.get(channel.name, Decision.UNAVAILABLE) for channel in left}
            left = [channel for channel in left if found[channel.name] is Decision.UNDECIDED]
            if not left:
                return found
        return found | {channel.name: Decision.FORBIDDEN for channel in left}
