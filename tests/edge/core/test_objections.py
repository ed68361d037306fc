"""What is said where a channel may not be subscribed to, or left (PROTOCOL §4)."""

from __future__ import annotations

import pytest

from fanwire_edge.core.decision import Decision
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.objections import channels_of, denied, invalid, not_left, too_many
from fanwire_edge.core.record import gap_key
from fanwire_protocol.channels import InvalidChannel
from tests.edge.core.pieces import A, B, Recorder


@pytest.mark.parametrize(
    ("decision", "code", "status"),
    [
        (Decision.FORBIDDEN, "forbidden", 403),
        (Decision.UNDECIDED, "forbidden", 403),
        (Decision.UNAUTHENTICATED, "unauthenticated", 401),
        (Decision.UNAVAILABLE, "unavailable", 503),
    ],
)
def test_a_denial_says_what_the_rest_api_would(decision: Decision, code: str, status: int) -> None:
    """Code and status of each; what nobody has an opinion on is forbidden."""
    answer = denied(decision, A, 7)

    assert (answer.payload["code"], answer.payload["status"]) == (code, status)
    assert (answer.channel, answer.reply_to) == (A, 7)


def test_a_wrong_name_is_told_with_the_channels_that_there_are_once() -> None:
    """The key of gaps is no channel."""
    member = Recorder(Hub(), {B, A, gap_key(0)})
    problem = InvalidChannel("no")

    first = invalid(member, "x", problem, 1, [])
    second = invalid(member, "y", problem, 1, [first])

    assert sorted(channels_of(member)) == [A, B]
    assert (first.payload["channels"], "channels" in second.payload) == ([A, B], False)
    assert (first.payload["code"], first.channel) == ("invalid_channel", "x")


def test_a_connection_is_told_how_many_channels_it_may_be_on() -> None:
    """The number is in the text."""
    answer = too_many(3, A, None)

    assert (answer.payload["code"], "3" in str(answer.payload["message"])) == ("limit_exceeded", True)


@pytest.mark.parametrize(("is_server_joined", "code"), [(True, "forbidden"), (False, "not_subscribed")])
def test_who_cannot_leave_is_told_why(is_server_joined: bool, code: str) -> None:
    """A channel of the server's, or one that it is not on."""
    assert not_left(A, 2, is_server_joined=is_server_joined).payload["code"] == code
