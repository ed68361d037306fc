"""Commands and their answers (PROTOCOL §4)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.authorization import by_claims
from fanwire_edge.core.desk import Desk, DeskLimits, Outcome, Place, Session
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.record import gap_key
from fanwire_edge.core.resume import Resumption, Unproven
from fanwire_protocol.codes import ErrorCode, GapReason
from fanwire_protocol.commands import (
    Authenticate,
    Command,
    InvalidCommand,
    Ping,
    Pong,
    Presence,
    RequestState,
    Subscribe,
    Unsubscribe,
)
from tests.edge.core.pieces import JOBS as STREAM_OF_JOBS
from tests.edge.core.pieces import ORDERS, A, B, Recorder, place

USER = "tenant:acme:user:u-1"
C = "tenant:acme:resource:orders:3"
JOBS = "tenant:acme:resource:jobs:*"
PLACES = {"jobs": str(place(4)), "orders": str(place(7))}


class Counter:
    """A desk with one connection in front of it, which is on its user's channel and that of gaps."""

    def __init__(self, channels: int = 4, errors: int = 3) -> None:
        self.hub = Hub()
        self.desk = Desk(self.hub, DeskLimits(channels, errors, 50))
        self.member = Recorder(self.hub, {USER, gap_key(0)})
        self.session = Session("c-1", Principal("u-1", "acme", permissions=frozenset({"orders:read"})))
        self.asked = 0

    def __call__(self, command: Command, resumption: Resumption | None = None) -> list[Answer]:
        return list(self.outcome(command, resumption).answers)

    def outcome(self, command: Command, resumption: Resumption | None = None) -> Outcome:
        def place() -> Place:
            self.asked += 1
            return Place(PLACES, resumption)

        decide = partial(by_claims, self.session.principal)
        return self.desk.carry_out(self.member, self.session, command, place, decide)


@pytest.fixture
def desk() -> Counter:
    """A desk with one connection."""
    return Counter()


def codes(found: list[Answer]) -> list[Any]:
    return [(answer.payload["code"], answer.channel) for answer in found]


def test_permitted_channels_share_one_confirmation(desk: Counter) -> None:
    """It says where delivery begins; where no `since` was given it says nothing of recovery."""
    assert desk(Subscribe((A, B), reply_to=1)) == [answers.subscribed([A, B], None, PLACES, 1)]

    assert set(desk.member.keys) == {USER, gap_key(0), A, B}
    assert desk.asked == 1


def test_each_refused_channel_gets_an_error_of_its_own_before_the_confirmation(desk: Counter) -> None:
    """Of a wrong name the client is told what it is on, without the key of gaps, which is no channel."""
    found = desk(Subscribe(("nonsense", A, JOBS, gap_key(0)), reply_to=1))

    assert codes(found[:3]) == [
        ("invalid_channel", "nonsense"),
        ("forbidden", JOBS),
        ("invalid_channel", gap_key(0)),
    ]
    assert found[0].payload["channels"] == [USER]
    assert "channels" not in found[2].payload
    assert {answer.reply_to for answer in found} == {1}
    assert found[3:] == [answers.subscribed([A], None, PLACES, 1)]


def test_where_all_are_refused_nothing_is_confirmed(desk: Counter) -> None:
    """Nor is a position asked for."""
    assert codes(desk(Subscribe((JOBS,)))) == [("forbidden", JOBS)]
    assert (desk.asked, set(desk.member.keys)) == (0, {USER, gap_key(0)})


def test_a_server_joined_channel_can_be_named_only_by_who_is_on_it(desk: Counter) -> None:
    """Naming it changes nothing; that of somebody else is forbidden."""
    other = "tenant:acme:user:u-2"

    found = desk(Subscribe((USER, other)))

    assert codes(found[:1]) == [("forbidden", other)]
    assert found[1:] == [answers.subscribed([USER], None, PLACES, None)]


def test_a_connection_is_on_a_bounded_number_of_channels() -> None:
    """Those that it is on already count and can be named again; the key of gaps does not."""
    desk = Counter(channels=3)

    found = desk(Subscribe((A, B, C, A)))

    assert codes(found[:1]) == [("limit_exceeded", C)]
    assert found[1].payload["channels"] == [A, B, A]
    assert desk(Subscribe((A,))) == [answers.subscribed([A], None, PLACES, None)]


def test_what_begins_and_what_ends_is_told(desk: Counter) -> None:
    """What the connection was on already is accepted and does not begin; what was refused does neither."""
    desk(Subscribe((B,)))

    outcome = desk.outcome(Subscribe((A, B, USER, JOBS)), Resumption())

    assert outcome.accepted == {A, B, USER}
    assert outcome.begun == {A}
    assert desk.outcome(Ping()) == Outcome([answers.pong(PLACES, None)])
    assert desk.outcome(Subscribe((JOBS,))).accepted == frozenset()
    assert desk.outcome(Unsubscribe((A, C))).ended == {A}


def test_what_it_is_on_is_told_once_for_a_command(desk: Counter) -> None:
    """Four kilobytes of bad names do not become megabytes of answers."""
    for command in (Subscribe(("x", "y", "z")), Unsubscribe(("x", "y", "z"))):
        found = desk(command)

        assert [code for code, _ in codes(found)] == ["invalid_channel"] * 3
        assert ["channels" in answer.payload for answer in found] == [True, False, False]


def test_a_proven_since_is_recovered_from_where_it_stands(desk: Counter) -> None:
    """Delivery begins there; a topic that it says nothing of begins now."""
    resumption = Resumption(starts={ORDERS: place(5)})

    assert desk(Subscribe((A,), {"orders": place(5)}, 1), resumption) == [
        answers.subscribed([A], True, {**PLACES, "orders": str(place(5))}, 1)
    ]


def test_an_unproven_since_is_a_gap(desk: Counter) -> None:
    """One for each topic, from where the client stood if it said so, after the confirmation."""
    unproven = [Unproven(ORDERS, place(5), place(7)), Unproven(STREAM_OF_JOBS, None, place(4))]

    assert desk(Subscribe((A,), {"orders": place(5)}, 1), Resumption(unproven=unproven)) == [
        answers.subscribed([A], False, PLACES, 1),
        answers.gap("orders", GapReason.UNKNOWN_POSITION, str(place(5)), PLACES["orders"], 50),
        answers.gap("jobs", GapReason.UNKNOWN_POSITION, None, PLACES["jobs"], 50),
    ]


def test_leaving_is_confirmed_and_what_cannot_be_left_is_an_error(desk: Counter) -> None:
    """One error for each, before the confirmation."""
    desk(Subscribe((A, B)))

    found = desk(Unsubscribe(("nonsense", A, USER, C), 2))

    assert codes(found[:3]) == [("invalid_channel", "nonsense"), ("forbidden", USER), ("not_subscribed", C)]
    assert found[3:] == [answers.unsubscribed([A], "client", 2)]
    assert set(desk.member.keys) == {USER, gap_key(0), B}
    assert codes(desk(Unsubscribe((A,)))) == [("not_subscribed", A)]


def test_a_ping_is_answered_with_positions_and_a_pong_with_nothing(desk: Counter) -> None:
    """Positions are asked for only where they are needed."""
    assert desk(Pong(1)) == []
    assert desk.asked == 0
    assert desk(Ping(2)) == [answers.pong(PLACES, 2)]
    desk.session.skipped = 7
    assert [desk(Ping(3)), desk(Ping(4))] == [[answers.pong(PLACES, 3, 7)], [answers.pong(PLACES, 4)]]


@pytest.mark.parametrize("command", [Authenticate("t", 5), RequestState(None, 5), Presence(A, 5)])
def test_what_is_not_offered_is_unavailable(desk: Counter, command: Command) -> None:
    """And the connection stays."""
    [answer] = desk(command)

    assert (answer.payload["code"], answer.reply_to) == (ErrorCode.UNAVAILABLE, 5)


def test_a_row_of_mistakes_exhausts_the_desk(desk: Counter) -> None:
    """Messages that are no command and channels that are none count alike."""
    mistake = InvalidCommand(ErrorCode.INVALID_JSON, "no", 9)

    assert desk.desk.refuse(desk.session, mistake) == answers.error(ErrorCode.INVALID_JSON, "no", reply_to=9)
    desk(Subscribe(("nonsense",)))
    assert not desk.desk.is_exhausted(desk.session)
    desk(Unsubscribe(("nonsense",)))
    assert desk.desk.is_exhausted(desk.session)


@pytest.mark.parametrize(
    "command",
    [Pong(), Ping(), Subscribe((JOBS,)), Subscribe(("nonsense", A)), Presence(A)],
    ids=["pong", "ping", "refused", "half right", "not offered"],
)
def test_anything_else_ends_the_row(desk: Counter, command: Command) -> None:
    """Also a refusal: to ask for what one may not have is no mistake in the protocol."""
    for _ in range(2):
        desk.desk.refuse(desk.session, InvalidCommand(ErrorCode.UNKNOWN_TYPE, "no"))
    desk(command)
    assert desk.session.mistakes == 0
