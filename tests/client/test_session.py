"""The session: frames in, effects and commands out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fanwire_client._effects import (
    Complaint,
    Deliver,
    Effect,
    End,
    Ending,
    Expiring,
    Opened,
    Postponed,
    Ready,
    Shown,
)
from fanwire_client._errors import SubscriptionEnded, SubscriptionRefused
from fanwire_client._events import Event, Gap
from fanwire_client._session import Session
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.frames import Frame
from tests.client.wire import (
    ORDERS,
    A,
    B,
    connected,
    disconnect,
    error,
    event,
    expired,
    frame,
    gap,
    offset,
    place,
    places,
    pong,
    subscribed,
)

USER = "tenant:acme:user:u-1"


def commands(session: Session) -> list[dict[str, Any]]:
    """Take the session's commands as a server reads them."""
    return [json.loads(command) for command in session.commands()]


def live(*channels: str, **numbers: int) -> tuple[Session, int]:
    """Return a session whose one subscription has been answered, and the subscription."""
    session = Session()
    number = session.subscribe(channels)
    session.receive(connected(places(**numbers)))
    for command in commands(session):
        session.receive(subscribed(command["channels"], places(**numbers), reply_to=command["id"]))
    return session, number


def since(session: Session, channel: str) -> dict[str, str] | None:
    """Return where a channel would resume, as text."""
    found = session.since(channel)
    return None if found is None else {topic: str(position) for topic, position in found.items()}


def ended(effects: list[Effect]) -> list[tuple[int, str]]:
    """Return the subscriptions that end, and why."""
    return [(item.subscription, str(item.error)) for item in effects if isinstance(item, End)]


def test_nothing_is_sent_before_connected() -> None:
    """Commands wait for `connected`, a ping is then no longer due."""
    session = Session()
    session.subscribe([A])
    session.ping()

    assert session.has_commands
    assert session.commands() == []

    assert session.receive(connected()) == [Opened()]
    assert commands(session) == [{"type": "subscribe", "channels": [A], "id": 1}]
    assert session.commands() == []
    assert not session.has_commands


def test_connected_tells_who_and_how() -> None:
    """The client id and the heartbeat are the server's, and the id goes into the next query."""
    session = Session()
    assert session.query() == []

    session.receive(connected(interval=5, timeout=12))

    assert (session.client_id, session.is_connected) == ("c-1", True)
    assert (session.heartbeat.interval_seconds, session.heartbeat.timeout_seconds) == (5, 12)
    assert session.query() == [("client", "c-1")]


def test_subscription_is_ready_when_every_channel_is_answered() -> None:
    """Readiness needs all channels; the last answer brings it, once."""
    session = Session()
    number = session.subscribe([A, B, A])
    session.receive(connected())
    session.commands()

    assert session.receive(subscribed([A], reply_to=1)) == []
    assert not session.is_ready(number)
    assert session.receive(subscribed([B], reply_to=1)) == [Ready(number)]
    assert session.is_ready(number)


def test_second_subscription_to_a_live_channel_is_ready_at_once() -> None:
    """A channel is asked for once, however many want it."""
    session, _ = live(A)

    assert session.is_ready(session.subscribe([A]))
    assert session.commands() == []


@pytest.mark.parametrize(
    ("wanted", "published", "is_delivered"),
    [
        ((A,), A, True),
        ((A,), B, False),
        ((ORDERS,), B, True),
        ((ORDERS, B), B, True),
        (("tenant:acme:resource:*",), A, True),
        (("order:7",), "order:7", True),
        ((), USER, True),
        ((), None, True),
        ((), A, False),
        ((USER,), USER, True),
    ],
)
def test_event_goes_to_who_wants_its_channel(
    wanted: tuple[str, ...], published: str | None, is_delivered: bool
) -> None:
    """Names, patterns, aliases and what the server joins are told apart by the channel of the frame."""
    session = Session()
    number = session.subscribe(wanted)
    session.receive(connected(channels=[USER]))

    effects = session.receive(event(published, "e-1", payload={"n": 1}))

    expected = Event("order.updated", published, {"n": 1}, 1_772_143_200_000, "e-1")
    assert effects == ([Deliver(expected, (number,))] if is_delivered else [])


def test_event_goes_to_each_subscription_once() -> None:
    """Two subscriptions and an overlap within one make one delivery to each."""
    session, first = live(A, ORDERS)
    second = session.subscribe([ORDERS])

    (effect,) = session.receive(event(A, "e-1"))

    assert isinstance(effect, Deliver)
    assert effect.to == (first, second)


def test_repeated_event_is_dropped_and_counted() -> None:
    """What came before on the same channel is dropped, its position counts all the same."""
    session, _ = live(A, B, orders=1)
    session.receive(event(A, "e-1", offset("orders", 3)))

    assert session.receive(event(A, "e-1", offset("orders", 2))) == []
    assert session.duplicates == 1
    assert since(session, A) == places(orders=2)
    assert len(session.receive(event(B, "e-1"))) == 1


def test_window_of_repeats_is_bounded() -> None:
    """The oldest id is forgotten when the window is full."""
    session = Session(dedupe_events=2)
    session.subscribe([A])
    for event_id in ("e-1", "e-2", "e-3"):
        session.receive(event(A, event_id))

    assert session.receive(event(A, "e-3")) == []
    assert len(session.receive(event(A, "e-1"))) == 1


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([], {"orders": 5, "billing": 1}),
        ([event(A, "e-1", offset("orders", 6))], {"orders": 6, "billing": 1}),
        ([event(A, "e-1", offset("orders", 2))], {"orders": 2, "billing": 1}),
        ([event(A, "e-1")], {"orders": 5, "billing": 1}),
        ([event(B, "e-1", offset("orders", 6))], {"orders": 6, "billing": 1}),
        ([pong(orders=9, more=3)], {"orders": 9, "billing": 1, "more": 3}),
        ([frame("ping", {"positions": places(billing=4)})], {"orders": 5, "billing": 4}),
        ([gap("orders", 5, 8)], {"orders": 8, "billing": 1}),
        ([subscribed([B], places(orders=2))], {"orders": 2, "billing": 1}),
        ([frame("state", {"state": 1, "positions": places(orders=9)})], {"orders": 5, "billing": 1}),
        ([frame("authenticated", connected(places(orders=7)).payload)], {"orders": 7, "billing": 1}),
    ],
)
def test_position_received_last_counts(frames: list[Frame], expected: dict[str, int]) -> None:
    """A live channel resumes from the last position of each topic, also where it went back."""
    session, _ = live(A, orders=5, billing=1)

    for item in frames:
        session.receive(item)

    assert since(session, A) == places(**expected)
    session.lost(1006)
    assert since(session, A) == places(**expected)


def test_reconnect_asks_for_everything_after_the_last_positions() -> None:
    """Channels of one connection come back in one command, with its positions; new ones in another."""
    session, _ = live(A, B, orders=5)
    session.lost(1006)
    session.subscribe([ORDERS])

    session.receive(connected(places(orders=9)))

    assert commands(session) == [
        {"type": "subscribe", "channels": [A, B], "since": places(orders=5), "id": 2},
        {"type": "subscribe", "channels": [ORDERS], "id": 3},
    ]


def test_unanswered_channel_keeps_the_positions_of_the_connection_before() -> None:
    """Positions of a connection that never answered a channel say nothing about it."""
    session, _ = live(A, B, orders=5)
    session.lost(1006)
    session.receive(connected(places(orders=9)))
    session.commands()
    session.receive(subscribed([A], places(orders=9), recovered=True, reply_to=2))

    session.lost(1006)

    assert since(session, A) == places(orders=9)
    assert since(session, B) == places(orders=5)
    session.receive(connected(places(orders=9)))
    assert [command["since"] for command in commands(session)] == [places(orders=9), places(orders=5)]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([], 5),
        ([gap("orders", 5, 9)], 5),
        ([gap("orders", 5, 9), pong(orders=9)], 9),
        ([gap("orders", 5, 9), event(B, "e-1", offset("orders", 10))], 10),
    ],
    ids=["cut before the gap", "cut after the gap", "pong", "event"],
)
def test_unproven_channel_keeps_its_position_until_the_gap_is_surely_told(
    after: list[Frame], expected: int
) -> None:
    """A cut between `recovered: false` and its gap must not hide the gap."""
    session, number = live(A, orders=5)
    session.lost(1006)
    session.receive(connected(places(orders=9)))
    session.commands()

    answer = subscribed([A], places(orders=9), recovered=False, reply_to=2)
    assert session.receive(answer) == [Ready(number)]
    for item in after:
        session.receive(item)

    session.lost(1006)
    assert since(session, A) == places(orders=expected)


@pytest.mark.parametrize(("channel", "to"), [(None, (1, 2)), (A, (1,)), (B, (2,)), ("tenant:acme:all", ())])
def test_gap_is_delivered_to_whom_it_concerns(channel: str | None, to: tuple[int, ...]) -> None:
    """A gap without a channel concerns everyone, one with a channel those who want it."""
    session = Session()
    session.subscribe([A])
    session.subscribe([B])

    effects = session.receive(gap("orders", 5, 9, channel))

    assert effects == [Deliver(Gap("orders", "trimmed", place(5), place(9), channel, 250), to)]


def test_null_for_a_channel_with_a_position_is_a_gap() -> None:
    """A server that did not try to resume leaves a hole, which the client tells of itself."""
    session, number = live(A, orders=5, billing=1)
    session.lost(1006)
    session.receive(connected(places(orders=9, billing=1), jitter_ms=500))
    session.commands()

    effects = session.receive(subscribed([A], places(orders=9), reply_to=2))

    missing = Gap("orders", "unknown_position", place(5), place(9), A, 500)
    assert effects == [Deliver(missing, (number,)), Ready(number)]
    assert since(session, A) == places(orders=9, billing=1)


def test_joined_channels_resume_in_the_query() -> None:
    """What the server joins is answered by `connected`, and resumed by `since` in the next URL."""
    session = Session()
    number = session.subscribe([])
    assert session.query() == []
    assert session.receive(connected(places(orders=5), channels=[USER])) == [Opened(), Ready(number)]
    assert session.is_ready(session.subscribe([]))
    assert session.commands() == []

    session.receive(event(USER, "e-1", offset("direct", 3)))
    session.lost(1006)

    expected = [("client", "c-1"), ("since", offset("orders", 5)), ("since", offset("direct", 3))]
    assert session.query() == expected
    assert session.receive(connected(recovered=True))[1:] == [Ready(1), Ready(2)]


def test_unsubscribe_leaves_what_nobody_else_wants() -> None:
    """Only a channel without any other subscription is left, and only where the server was asked."""
    session, first = live(A, B)
    session.subscribe([B])
    session.unsubscribe(first)
    session.unsubscribe(first)
    session.unsubscribe(session.subscribe([ORDERS]))

    assert session.has_commands
    assert commands(session) == [{"type": "unsubscribe", "channels": [A], "id": 2}]
    assert session.receive(frame("unsubscribed", {"channels": [A], "reason": "client"})) == []


def test_what_the_server_joins_is_not_left() -> None:
    """A server-joined channel stays joined when its last iterator closes."""
    session, number = live(USER)
    session.receive(connected(channels=[USER]))
    session.unsubscribe(number)
    session.unsubscribe(session.subscribe([]))

    assert session.commands() == []


def test_lost_connection_has_nothing_to_leave() -> None:
    """What was to be unsubscribed, and a pong that was due, ended with the connection."""
    session, number = live(A)
    session.receive(frame("ping", {}))
    session.unsubscribe(number)

    session.lost(1006)
    session.receive(connected())

    assert session.commands() == []


def test_renewed_wish_is_not_answered_by_the_answer_to_the_old_one() -> None:
    """After unsubscribe and subscribe only the reply to the second command makes it ready."""
    session = Session()
    session.receive(connected())
    session.unsubscribe(session.subscribe([A]))
    old = session.subscribe([A])
    session.commands()
    session.unsubscribe(old)
    number = session.subscribe([A])
    assert [command["type"] for command in commands(session)] == ["unsubscribe", "subscribe"]

    assert session.receive(subscribed([A], reply_to=1)) == []
    assert session.receive(error("forbidden", A, reply_to=1)) == [Complaint("forbidden")]
    assert session.receive(subscribed([A, B], reply_to=3)) == [Ready(number)]
    assert session.receive(subscribed([A, B], reply_to=3)) == []


def asked_anew(orders: int = 3) -> tuple[Session, int, dict[str, Any]]:
    """Return a session that asks for A and B on its second connection, the subscription and the command."""
    session, number = live(A, B, orders=orders)
    session.lost(1006)
    session.receive(connected(places(orders=5)))
    [command] = commands(session)
    return session, number, command


def test_what_could_not_be_checked_is_asked_for_again() -> None:
    """Nobody is told; what was refused together comes back together, from where it stood, and nothing else
    waits for it."""
    session, number, asked = asked_anew(orders=3)

    first = session.receive(error("unavailable", A, asked["id"], retry_after_ms=250))
    assert first == [Postponed(asked["id"], "unavailable", 0.25, 1.0)]
    assert session.receive(error("unavailable", B, asked["id"])) == []
    assert not session.is_ready(number)
    session.receive(pong(orders=9))
    session.subscribe([ORDERS])
    assert [each["channels"] for each in commands(session)] == [[ORDERS]]

    session.ask_again(asked["id"])
    [again] = commands(session)
    assert (again["channels"], again["since"]) == ([A, B], asked["since"])
    answer = subscribed([A, B], places(orders=3), recovered=True, reply_to=again["id"])
    assert session.receive(answer) == [Ready(number)]


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
def test_the_server_is_asked_less_and_less_often_until_it_answers(code: str) -> None:
    """The window doubles from a second to 30, also over a reconnect, and begins anew after an answer."""
    session = Session()
    number = session.subscribe([A])
    session.receive(connected())
    windows = []
    for count in range(8):
        [command] = commands(session)
        [told] = session.receive(error(code, A if code == "unavailable" else None, command["id"]))
        assert isinstance(told, Postponed)
        windows.append(told.window_seconds)
        if count == 3:
            session.lost(1006)
            session.receive(connected())
        else:
            session.ask_again(told.number)
    assert windows == [1, 2, 4, 8, 16, 30, 30, 30]

    [command] = commands(session)
    assert session.receive(subscribed([A], reply_to=command["id"])) == [Ready(number)]
    [told] = session.receive(expired(A))
    assert isinstance(told, Postponed)
    assert told.window_seconds == 1


def test_who_asked_for_too_much_asks_for_nothing_until_it_is_time() -> None:
    """Everything waits for the first that was refused, and goes out in as few commands as possible."""
    session = Session()
    session.receive(connected())
    told = []
    for name in (A, B):
        session.subscribe([name])
        [command] = commands(session)
        told.append(error("rate_limited", None, command["id"], retry_after_ms=250))
    assert session.receive(told[0]) == [Postponed(1, "rate_limited", 0.25, 1.0)]
    assert session.receive(told[1]) == []
    session.subscribe([ORDERS])

    session.ask_again(99)
    assert not session.has_commands
    assert commands(session) == []
    session.ask_again(1)
    assert session.has_commands
    assert sorted(commands(session)[0]["channels"]) == sorted([A, B, ORDERS])


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
def test_another_connection_is_asked_at_once(code: str) -> None:
    """What a server refused for now holds for its connection."""
    session, _, asked = asked_anew(orders=3)
    channel = None if code == "rate_limited" else A
    session.receive(error(code, channel, asked["id"]))
    session.lost(1006)

    session.receive(connected())
    [again] = commands(session)
    assert (set(again["channels"]), again["since"]) == ({A, B}, asked["since"])
    assert session.receive(error(code, channel, again["id"])) != []


def test_what_nobody_wants_any_more_is_not_asked_for_again() -> None:
    """Nor is it left: the server is not on it."""
    session, number, asked = asked_anew()
    for name in (A, B):
        session.receive(error("unavailable", name, asked["id"]))
    session.unsubscribe(number)

    session.ask_again(asked["id"])
    assert commands(session) == []


@pytest.mark.parametrize(
    ("recovered", "after", "resumes"),
    [(True, [], 6), (False, [], 3), (False, [pong(orders=7)], 7)],
    ids=["live", "unproven", "proven"],
)
def test_what_has_expired_is_asked_for_again(recovered: bool, after: list[Frame], resumes: int) -> None:
    """Another permission may hold: it resumes from where it stood when it ended, whatever comes meanwhile."""
    session, number, asked = asked_anew(orders=3)
    session.receive(subscribed([A, B], places(orders=6), recovered=recovered, reply_to=asked["id"]))
    for item in after:
        session.receive(item)

    [told] = session.receive(expired(A, ORDERS))
    assert isinstance(told, Postponed)
    assert (told.code, told.after_seconds, told.window_seconds) == ("expired", 0.0, 1.0)
    session.receive(pong(orders=9))
    assert not session.is_ready(number)

    session.ask_again(told.number)
    assert [(each["channels"], each["since"]) for each in commands(session)] == [
        ([A], places(orders=resumes))
    ]


def test_what_expires_while_it_is_asked_for_anew_is_answered_still() -> None:
    """The end of the old subscription says nothing of the new one, nor is what has ended left."""
    session, number = live(A, B)
    session.unsubscribe(number)
    again = session.subscribe([A])
    assert session.receive(expired(B)) == []
    left, asked = commands(session)
    assert (left["type"], left["channels"], asked["type"], asked["channels"]) == (
        "unsubscribe",
        [A],
        "subscribe",
        [A],
    )

    assert session.receive(expired(A)) == []
    assert session.receive(subscribed([A], reply_to=asked["id"])) == [Ready(again)]


@pytest.mark.parametrize("code", ["forbidden", "unauthenticated", "invalid_channel", "limit_exceeded", "new"])
def test_refused_channel_ends_every_subscription_that_names_it(code: str) -> None:
    """The refusal reaches each, and what only they wanted is left."""
    session = Session()
    first, second, third = session.subscribe([A, B]), session.subscribe([A]), session.subscribe([ORDERS])
    session.receive(connected())
    session.commands()
    session.receive(subscribed([B, ORDERS], reply_to=1))

    effects = session.receive(error(code, A, reply_to=1))

    text = f"the server refused {A}: {code}: not permitted"
    assert ended(effects) == [(first, text), (second, text)]
    assert all(isinstance(item.error, SubscriptionRefused) for item in effects if isinstance(item, End))
    assert commands(session) == [{"type": "unsubscribe", "channels": [B], "id": 2}]
    assert session.is_ready(third)


@pytest.mark.parametrize(
    ("reply_to", "is_ended"), [(1, True), (2, False), (None, False)], ids=["ours", "another's", "nobody's"]
)
def test_refused_command_ends_what_it_asked_for(reply_to: int | None, is_ended: bool) -> None:
    """An error without a channel counts for the command that it replies to, else it is a complaint."""
    session = Session()
    number = session.subscribe([A])
    session.receive(connected())
    session.commands()

    effects = session.receive(error("limit_exceeded", None, reply_to))

    assert [item for item, _ in ended(effects)] == ([number] if is_ended else [])
    assert (effects == [Complaint("limit_exceeded")]) is not is_ended


def test_ended_subscription_tells_why() -> None:
    """A subscription that the server takes back ends for good, and is not unsubscribed again."""
    session, number = live(A)

    (effect,) = session.receive(frame("unsubscribed", {"channels": [A, B], "reason": "revoked"}))

    assert isinstance(effect, End)
    assert effect.subscription == number
    assert isinstance(effect.error, SubscriptionEnded)
    assert (effect.error.channel, effect.error.reason) == (A, "revoked")
    assert session.commands() == []


def test_pings_are_answered_once_each_round() -> None:
    """However many pings came since, one pong and one ping of our own go out."""
    session = Session()
    session.receive(connected())
    for _ in range(3):
        session.receive(frame("ping", {"positions": {}}))
        session.ping()

    assert commands(session) == [{"type": "pong"}, {"type": "ping"}]


def expiring(expires_at: str) -> Frame:
    """Return `token_expiring`, sent at 22:00:00."""
    return frame("token_expiring", {"expiresAt": expires_at})


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [
        ("2026-02-26T22:01:00.000Z", 60),
        ("2026-02-26T22:00:00.250Z", 0.25),
        ("2026-02-26T21:00:00.000Z", 0),
        ("2027-02-26T22:00:00.000Z", 3600),
    ],
)
def test_the_end_of_the_token_is_told_by_the_servers_clock(expires_at: str, seconds: float) -> None:
    """Whatever the client's clock says."""
    session, _ = live(A)

    assert session.receive(expiring(expires_at)) == [Expiring(seconds)]


@pytest.mark.parametrize(
    ("answer", "effects"),
    [
        (replace(connected(channels=[USER]), type="authenticated", reply_to=2), [Shown(True)]),
        (error("unauthenticated", reply_to=2), [Complaint("unauthenticated"), Shown(False)]),
    ],
    ids=["taken", "refused"],
)
def test_a_token_that_is_shown_is_taken_or_not(answer: Frame, effects: list[Effect]) -> None:
    """Its answer ends no subscription; it counts once, and no other one for it."""
    session, _ = live(A, orders=1)
    session.show("T")
    assert commands(session) == [{"type": "authenticate", "token": "T", "id": 2}]
    assert session.receive(error("forbidden", reply_to=99)) == [Complaint("forbidden")]

    assert session.receive(answer) == effects
    assert Shown(True) not in session.receive(replace(answer, reply_to=2))
    assert since(session, A) == places(orders=1)


def test_a_role_that_comes_with_a_token_is_among_what_the_server_joins() -> None:
    """Whoever takes all that gets its events from then on, and those of a role that has gone no more."""
    old, new = "tenant:acme:role:old", "tenant:acme:role:new"
    session = Session()
    number = session.subscribe([])
    session.receive(connected(channels=[old]))
    session.show("T")
    session.receive(replace(connected(channels=[new]), type="authenticated", reply_to=1))

    [effect] = session.receive(event(new, "e-1"))
    assert isinstance(effect, Deliver)
    assert effect.to == (number,)
    assert session.receive(event(old, "e-2")) == []


def test_a_token_is_shown_to_nobody_who_is_not_there() -> None:
    """The next connection begins with a token of its own, and what answers the old one answers nothing."""
    session = Session()
    session.show("T")
    session.receive(connected())
    assert session.commands() == []
    session.show("T")
    session.lost(4001)
    session.receive(connected())

    assert session.commands() == []
    assert session.receive(error("unauthenticated", reply_to=1)) == [Complaint("unauthenticated")]


@pytest.mark.parametrize("type_", ["presence", "state"])
def test_frames_that_ask_for_nothing_are_ignored(type_: str) -> None:
    """What this client has no use for changes nothing."""
    session, _ = live(A, orders=1)

    assert session.receive(frame(type_, {"anything": 1})) == []
    assert since(session, A) == places(orders=1)


@pytest.mark.parametrize(
    ("code", "told", "expected"),
    [
        (1006, None, Ending(1006, "why", True, 0.0, 2.0)),
        (1000, None, Ending(1000, "why", False, 0.0, 2.0)),
        (4001, None, Ending(4001, "why", True, 0.0, 2.0)),
        (4503, None, Ending(4503, "why", False, 0.0, 2.0)),
        (
            1006,
            disconnect(1012, reconnect=True, retry_after_ms=1500, jitter_ms=9000),
            Ending(1012, "draining", True, 1.5, 9.0),
        ),
        (1012, disconnect(4504, reconnect=False), Ending(4504, "draining", False, 0.0, 0.0)),
        (4504, disconnect(4504, reconnect=True), Ending(4504, "draining", True, 0.0, 0.0)),
    ],
)
def test_code_decides_unless_the_server_told(code: int, told: Frame | None, expected: Ending) -> None:
    """A `disconnect` frame wins over the close code; without one the jitter of `connected` counts."""
    session = Session()
    session.receive(connected(jitter_ms=2000))
    if told is not None:
        session.receive(told)

    assert session.lost(code, "why") == expected
    assert not session.is_connected
    assert session.lost(1006).code == 1006


@pytest.mark.parametrize(
    "broken",
    [
        frame("connected", {"clientId": "c-2", "positions": {"orders": "yesterday"}}),
        frame("connected", {"clientId": 7}),
        frame("connected", {"clientId": "c-2", "heartbeat": {"intervalSeconds": 0}}),
        frame("connected", {"clientId": "c-2", "heartbeat": {"timeoutSeconds": True}}),
        frame("connected", {"clientId": "c-2", "recovered": "yes"}),
        frame("connected", []),
        frame("subscribed", {"channels": A}),
        frame("subscribed", {"channels": [1]}),
        frame("subscribed", {"channels": [A], "positions": {"orders": 1}}),
        frame("unsubscribed", {"channels": [A]}),
        frame("gap", {"topic": "orders", "reason": "trimmed", "to": "x"}),
        frame("gap", {"topic": "orders", "reason": "trimmed", "to": place(9), "jitterMs": -1}),
        frame("gap", {"topic": "orders", "reason": "trimmed", "to": place(9), "from": 1}),
        frame("error", {"code": 403, "message": "no"}),
        frame("disconnect", {"code": "4503", "reason": "no", "reconnect": False}),
        frame("disconnect", {"code": 4503, "reason": "no", "reconnect": 0}),
        frame("pong", {"positions": [1]}),
        event(A, "e-9", "orders"),
    ],
)
def test_broken_frame_changes_nothing(broken: Frame) -> None:
    """A frame that breaks the protocol is refused as a whole."""
    session, number = live(A, orders=5)

    with pytest.raises(InvalidData):
        session.receive(broken)

    assert session.client_id == "c-1"
    assert session.is_ready(number)
    assert since(session, A) == places(orders=5)
    assert session.lost(1006).may_return
