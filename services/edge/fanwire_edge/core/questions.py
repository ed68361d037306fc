"""Questions: what is being asked of those who decide, each once, and who waits for the answers.

Somebody (a command, a renewal, a handshake) asks for several channels in one round. A channel that is being
asked for already for the same principal with the same credential, by whichever connection, is waited for and
not asked again. What was void in the meantime is asked anew, and the late answer is nobody's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.orders import covered
from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import Channel

__all__ = ["Question", "Questions", "Round"]

# Who asks: everything that an answer may depend on. Of a credential only the digest.
_Who: TypeAlias = tuple[Principal, bytes]


@dataclass(slots=True, eq=False)
class Round:
    """One who asks for *channels*, since *asked_at*; *done* is called when all are decided."""

    asker: Asker
    channels: Mapping[str, Channel]
    asked_at: float
    done: Callable[[], None]
    found: dict[str, Decision] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether everything is decided."""
        return len(self.found) == len(self.channels)

    @property
    def permitted(self) -> tuple[str, ...]:
        """What was permitted."""
        return tuple(name for name, decision in self.found.items() if decision is Decision.PERMITTED)

    def retract(self, names: Iterable[str]) -> bool:
        """Forget what was found of *names*; tells whether it has to join anew for that."""
        found = [name for name in names if self.found.pop(name, None) is not None]
        return bool(found)

    def decide(self, channel: Channel) -> Decision:
        """Return the decision; nobody can tell of what was not asked for."""
        return self.found.get(channel.name, Decision.UNAVAILABLE)


@dataclass(slots=True, eq=False)
class Question:
    """What somebody is asked now, and the rounds that wait for each channel."""

    asker: Asker
    who: _Who
    channels: Sequence[Channel]
    waiting: dict[str, list[Round]]


class Questions:
    """All questions that have no answer yet."""

    def __init__(self) -> None:
        self._asked: dict[tuple[_Who, str], Question] = {}

    def __len__(self) -> int:
        """Return how many channels are asked for."""
        return len(self._asked)

    def join(self, round_: Round) -> Question | None:
        """Let *round_* wait for what it has not found; return what is to be asked, None where all of it is.

        Twice is the same as once.
        """
        who = _who(round_.asker)
        new: list[Channel] = []
        for name, channel in round_.channels.items():
            if name in round_.found:
                continue
            asked = self._asked.get((who, name))
            if asked is None:
                new.append(channel)
            elif round_ not in asked.waiting[name]:
                asked.waiting[name].append(round_)
        if not new:
            return None
        question = Question(round_.asker, who, new, {channel.name: [round_] for channel in new})
        self._asked.update(dict.fromkeys([(who, channel.name) for channel in new], question))
        return question

    def answer(self, question: Question, answers: Mapping[str, Decision]) -> list[Round]:
        """Take the answers to *question* and return the rounds that are done with it.

        A channel without one is UNAVAILABLE; one that was outdated meanwhile has nobody waiting.
        """
        done: dict[Round, None] = {}
        for name, rounds in question.waiting.items():
            for each in rounds:
                each.found[name] = answers.get(name, Decision.UNAVAILABLE)
                if each.is_done:
                    done[each] = None
        self._forget(question)
        return list(done)

    def leave(self, round_: Round) -> list[Question]:
        """Let *round_* wait no more; return the questions that nobody waits for now, which are forgotten."""
        who = _who(round_.asker)
        asked = {self._asked.get((who, name)): None for name in round_.channels}
        deserted = []
        for question in filter(None, asked):
            for rounds in question.waiting.values():
                if round_ in rounds:
                    rounds.remove(round_)
            if not any(question.waiting.values()):
                self._forget(question)
                deserted.append(question)
        return deserted

    def outdate(self, channels: Collection[str] | None) -> list[Round]:
        """Take it that what is being answered about *channels* and patterns (all) may be wrong.

        Returns the rounds that waited for it, which have to join anew.
        """
        rounds: dict[Round, None] = {}
        names = {name for _, name in self._asked}
        concerned = names if channels is None else set(covered(names, channels))
        for key in [key for key in self._asked if key[1] in concerned]:
            rounds.update(dict.fromkeys(self._asked.pop(key).waiting.pop(key[1])))
        return list(rounds)

    def _forget(self, question: Question) -> None:
        for name in question.waiting:
            del self._asked[question.who, name]
        question.waiting = {}


def _who(asker: Asker) -> _Who:
    credential = asker.credential
    shown = b"" if credential is None else ":".join(credential.forward).encode("utf-8", "surrogateescape")
    return asker.principal, hashlib.sha256(shown).digest()
