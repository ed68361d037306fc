"""What is being asked of those who decide: each thing once, whoever waits (PROTOCOL §4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from fanwire_edge.core.credential import Credential
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.questions import Question, Questions, Round
from fanwire_protocol.channels import parse_channel
from tests.edge.core.pieces import A, B

C = "tenant:acme:resource:orders:3"
ORDERS = "tenant:acme:resource:orders:*"
YES, NO = Decision.PERMITTED, Decision.FORBIDDEN


def asker(user: str = "u-1", token: str | None = "t-1") -> Asker:
    credential = None if token is None else Credential("authorization", token, ("Authorization", token))
    return Asker(Principal(user, "acme"), credential)


@dataclass
class Asked:
    """Questions, and what was done when rounds were over."""

    questions: Questions = field(default_factory=Questions)
    done: list[str] = field(default_factory=list)

    def round(self, name: str, *channels: str, of: Asker | None = None) -> Round:
        found = {each: parse_channel(each) for each in channels}
        return Round(of or asker(), found, 0.0, lambda: self.done.append(name))

    def join(self, round_: Round) -> list[str] | None:
        """Let a round join; return what is to be asked for it."""
        question = self.questions.join(round_)
        return None if question is None else [channel.name for channel in question.channels]

    def answer(self, question: Question | None, **answers: Decision) -> None:
        """Answer what was asked: `a` for A, and so on."""
        assert question is not None
        names = {"a": A, "b": B, "c": C}
        for each in self.questions.answer(question, {names[key]: value for key, value in answers.items()}):
            each.done()


@pytest.fixture
def asked() -> Asked:
    """Nothing is asked yet."""
    return Asked()


def test_a_round_is_done_when_all_is_answered(asked: Asked) -> None:
    """Of what was not asked for nobody can tell; what got no answer is unavailable."""
    one = asked.round("one", A, B, C)
    question = asked.questions.join(one)

    assert (one.is_done, len(asked.questions)) == (False, 3)
    asked.answer(question, a=YES, b=NO)

    assert asked.done == ["one"]
    assert (one.is_done, one.permitted, len(asked.questions)) == (True, (A,), 0)
    assert [one.decide(parse_channel(name)) for name in (A, B, C, ORDERS)] == [
        YES,
        NO,
        Decision.UNAVAILABLE,
        Decision.UNAVAILABLE,
    ]


def test_nothing_is_asked_twice_at_the_same_time(asked: Asked) -> None:
    """Other connections of the same client wait for the answer; joining again changes nothing."""
    one, two = asked.round("one", A, B), asked.round("two", B, C)
    first = asked.questions.join(one)

    second = asked.questions.join(two)
    assert second is not None
    assert [channel.name for channel in second.channels] == [C]
    assert (asked.join(one), asked.join(two)) == (None, None)

    asked.answer(second, c=YES)
    assert asked.done == []
    asked.answer(first, a=YES, b=YES)
    assert asked.done == ["one", "two"]
    assert (one.permitted, two.permitted) == ((A, B), (C, B))


@pytest.mark.parametrize(
    "other",
    [asker("u-2"), asker(token="t-2"), asker(token=None)],
    ids=["another user", "another credential", "no credential"],
)
def test_another_client_is_asked_for_itself(asked: Asked, other: Asker) -> None:
    """An answer may depend on who asks, and on what the client showed."""
    assert asked.join(asked.round("one", A)) == [A]
    assert asked.join(asked.round("two", A, of=other)) == [A]


def test_no_credential_is_in_a_question(asked: Asked) -> None:
    """It is compared by its digest, and the asker does not show it."""
    question = asked.questions.join(asked.round("one", A, of=asker(token="s3cret")))

    assert "s3cret" not in repr(question)


def test_what_nobody_waits_for_is_deserted(asked: Asked) -> None:
    """And asked anew by whoever comes next; while one of two waits it goes on."""
    one, two = asked.round("one", A, B), asked.round("two", B)
    question = asked.questions.join(one)
    asked.questions.join(two)

    assert asked.questions.leave(one) == []
    assert asked.questions.leave(two) == [question]
    assert asked.questions.leave(two) == []
    assert len(asked.questions) == 0
    assert question is not None
    assert not question.waiting
    asked.answer(question, a=YES, b=YES)
    assert (asked.done, one.found, two.found) == ([], {}, {})
    assert asked.join(two) == [B]


@pytest.mark.parametrize(("channels", "again"), [([ORDERS], [A, B]), ([A], [A]), (None, [A, B])])
def test_what_is_outdated_is_asked_anew_and_its_late_answer_is_nobodys(
    asked: Asked, channels: list[str] | None, again: list[str]
) -> None:
    """A revocation that comes while somebody is asked must not lose against the answer of before."""
    one = asked.round("one", A, B)
    before = asked.questions.join(one)

    assert asked.questions.outdate(channels) == [one]
    after = asked.questions.join(one)

    assert after is not None
    assert [channel.name for channel in after.channels] == again
    asked.answer(before, a=YES, b=YES)
    assert asked.done == ([] if again else ["one"])
    asked.answer(after, a=NO, b=NO)
    assert (asked.done, one.found[A]) == (["one"], NO)


def test_what_concerns_others_is_not_asked_anew(asked: Asked) -> None:
    """Their answers are waited for."""
    asked.questions.join(asked.round("one", A))

    assert asked.questions.outdate([C]) == []
    assert len(asked.questions) == 1


def test_what_was_found_can_be_retracted(asked: Asked) -> None:
    """Then the round joins anew for that alone."""
    one = asked.round("one", A, B)
    asked.answer(asked.questions.join(one), a=YES, b=YES)

    assert not one.retract([C])
    assert one.retract([A])
    assert not one.is_done
    assert asked.join(one) == [A]
