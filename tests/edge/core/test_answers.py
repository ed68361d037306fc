"""The server's own frames (PROTOCOL §3)."""

from __future__ import annotations

from typing import Any

import pytest

from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer, Greeting, Identity
from fanwire_edge.core.follower import Loss
from fanwire_protocol.codes import CloseCode, ErrorCode, GapReason
from tests.edge.core.pieces import ORDERS, place

GREETING = Greeting(30.0, 60.5, 500)


def test_connected_says_who_one_is_where_delivery_begins_and_what_to_keep_to() -> None:
    """Whole numbers of seconds are shown as such."""
    who = Identity("c-1", "u-1", "acme")

    answer = answers.connected(GREETING, who, ["system:all"], {"orders": "1-0~5f0c2a91"}, None)

    assert answer == Answer(
        "connected",
        {
            "clientId": "c-1",
            "user": "u-1",
            "tenant": "acme",
            "authenticated": True,
            "channels": ["system:all"],
            "positions": {"orders": "1-0~5f0c2a91"},
            "recovered": None,
            "heartbeat": {"intervalSeconds": 30, "timeoutSeconds": 60.5},
            "reconnect": {"jitterMs": 500},
        },
    )
    heartbeat: Any = answer.payload["heartbeat"]
    assert type(heartbeat["intervalSeconds"]) is int


def test_who_has_not_said_who_it_is_is_greeted_without_a_name() -> None:
    """And with nothing that is for somebody."""
    payload = answers.connected(GREETING, Identity("c-1"), [], {}, None).payload

    assert (payload["clientId"], payload["authenticated"]) == ("c-1", False)
    assert (payload["channels"], payload["positions"]) == ([], {})
    assert not {"user", "tenant"} & payload.keys()


def test_a_client_that_has_said_it_is_told_what_a_greeting_tells() -> None:
    """As the answer to its command."""
    greeting = answers.connected(GREETING, Identity("c-1", "u-1", "acme"), ["system:all"], {}, None)

    assert answers.authenticated(greeting, 3) == Answer("authenticated", greeting.payload, reply_to=3)


def test_the_end_of_a_token_is_told_like_every_time() -> None:
    """RFC 3339, UTC, with milliseconds."""
    assert answers.token_expiring(1_772_143_200.25) == Answer(
        "token_expiring", {"expiresAt": "2026-02-26T22:00:00.250Z"}
    )


def test_confirmations_carry_the_commands_id() -> None:
    """`subscribed`, `unsubscribed` and `pong` are answers to a command."""
    places = {"orders": "1-0~5f0c2a91"}

    assert answers.subscribed(["a"], False, places, 7) == Answer(
        "subscribed", {"channels": ["a"], "recovered": False, "positions": places}, reply_to=7
    )
    assert answers.unsubscribed(["a"], "client", "x") == Answer(
        "unsubscribed", {"channels": ["a"], "reason": "client"}, reply_to="x"
    )
    assert answers.ping(places) == Answer("ping", {"positions": places})
    assert answers.pong(places, None) == Answer("pong", {"positions": places})
    assert answers.pong(places, None, 3) == Answer("pong", {"positions": places, "skipped": 3})


@pytest.mark.parametrize(
    ("code", "more", "payload"),
    [
        (ErrorCode.UNAUTHENTICATED, {}, {"status": 401}),
        (ErrorCode.FORBIDDEN, {"channel": "a"}, {"status": 403}),
        (ErrorCode.RATE_LIMITED, {}, {"status": 429}),
        (ErrorCode.UNAVAILABLE, {}, {"status": 503}),
        (ErrorCode.INVALID_CHANNEL, {"channel": "a", "channels": ["b"]}, {"channels": ["b"]}),
        (ErrorCode.INVALID_JSON, {}, {}),
        (ErrorCode.RATE_LIMITED, {"retry_after_ms": 50}, {"status": 429, "retryAfterMs": 50}),
    ],
)
def test_an_error_names_its_code_and_what_helps(
    code: ErrorCode, more: dict[str, Any], payload: dict[str, Any]
) -> None:
    """A refused permission has HTTP's status; a wrong channel comes with those that one is on."""
    answer = answers.error(code, "no", reply_to=3, **more)

    assert answer.payload == {"code": code.value, "message": "no"} | payload
    assert (answer.type, answer.channel, answer.reply_to) == ("error", more.get("channel"), 3)


@pytest.mark.parametrize(
    ("answer", "is_mistake"),
    [
        (answers.error(ErrorCode.UNKNOWN_TYPE, ""), True),
        (answers.error(ErrorCode.FORBIDDEN, ""), False),
        (answers.pong({}, None), False),
    ],
    ids=["mistake", "refusal", "no error"],
)
def test_only_errors_of_the_protocol_are_mistakes(answer: Answer, is_mistake: bool) -> None:
    """To be refused what one may not have is no mistake."""
    assert answer.mistake is is_mistake


def test_a_gap_says_from_where_to_where_and_is_the_new_position() -> None:
    """Its offset is its end, so that a client's position moves behind what is missing."""
    assert answers.gap("orders", GapReason.OVERFLOW, "1-0~5f0c2a91", "5-0~5f0c2a91", 90) == Answer(
        "gap",
        {
            "topic": "orders",
            "reason": "overflow",
            "from": "1-0~5f0c2a91",
            "to": "5-0~5f0c2a91",
            "jitterMs": 90,
        },
        offset="orders@5-0~5f0c2a91",
    )
    assert "from" not in answers.gap("orders", GapReason.UNKNOWN_POSITION, None, "5-0~5f0c2a91", 0).payload


def test_a_loss_of_the_tail_becomes_a_gap() -> None:
    """The same reason and the same bounds."""
    loss = Loss(ORDERS, GapReason.TRIMMED, place(1), place(9))

    expected = answers.gap("orders", GapReason.TRIMMED, str(place(1)), str(place(9)), 5)
    assert answers.lost(loss, 5) == expected


def test_disconnect_says_whether_and_when_to_come_back() -> None:
    """All of it is plain numbers, which every codec carries."""
    answer = answers.disconnect(CloseCode.DRAINING, "bye", reconnect=True, retry_after_ms=10, jitter_ms=20)

    assert answer == Answer(
        "disconnect",
        {"code": 1012, "reason": "bye", "reconnect": True, "retryAfterMs": 10, "jitterMs": 20},
    )
    assert type(answer.payload["code"]) is int
