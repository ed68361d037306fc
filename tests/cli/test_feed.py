"""The demo's story."""

from __future__ import annotations

from collections import defaultdict
from random import Random

from fanwire_cli.feed import TENANT, USER, Feed, Happening
from fanwire_protocol import Event, decode_event, encode_event

STATUSES = ["placed", "paid", "packed", "shipped", "delivered"]


def _story(length: int, seed: int = 7) -> list[Happening]:
    feed = Feed(Random(seed), lambda: 1_800_000_000_000)
    return [feed.next() for _ in range(length)]


def test_seed_decides_the_story() -> None:
    """The same randomness and clock give the same events."""
    assert _story(200) == _story(200)
    assert _story(200) != _story(200, seed=8)


def test_every_event_can_be_published() -> None:
    """Each happening is a valid event of the demo's tenant."""
    for happening in _story(500):
        to = ("user", happening.user) if happening.user else None
        event = Event("id", happening.type, TENANT, 0, happening.payload, happening.resource, to)
        assert decode_event(encode_event(event)) == event


def test_orders_move_through_their_statuses_in_order() -> None:
    """Every order begins as placed and skips nothing; some are delivered."""
    seen = defaultdict(list)
    for happening in _story(500):
        if happening.topic == "orders":
            seen[happening.resource].append(happening.payload["status"])

    assert all(statuses == STATUSES[: len(statuses)] for statuses in seen.values())
    assert any(statuses == STATUSES for statuses in seen.values())


def test_jobs_progress_from_0_to_100() -> None:
    """Every job begins at 0 and only grows; some reach 100."""
    seen = defaultdict(list)
    for happening in _story(500):
        if happening.topic == "jobs":
            seen[happening.resource].append(int(str(happening.payload["progress"])))

    assert all(steps[0] == 0 and steps == sorted(set(steps)) for steps in seen.values())
    assert any(steps[-1] == 100 for steps in seen.values())


def test_notifications_go_to_the_user_and_little_is_open() -> None:
    """Notifications are the user's, and what the feed remembers is bounded."""
    feed = Feed(Random(7), lambda: 0)
    story = [feed.next() for _ in range(2000)]

    notified = [happening for happening in story if happening.type == "notification"]
    assert notified
    assert {happening.user for happening in notified} == {USER}
    assert len(feed._orders) <= 5
    assert len(feed._jobs) <= 2


def test_two_events_a_second() -> None:
    """Pauses are half a second on average, and never long."""
    feed = Feed(Random(7), lambda: 0)
    pauses = [feed.pause() for _ in range(1000)]

    assert 0.45 < sum(pauses) / 1000 < 0.55
    assert max(pauses) < 1
