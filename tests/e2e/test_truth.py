"""The judge itself: it finds what is missing, foreign, twice or out of order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.e2e.listener import Frame, Listener
from tests.e2e.truth import Written, check, is_on

CHANNEL = "tenant:acme:resource:orders:1"
OLD, NEW = "aaaaaaaa", "bbbbbbbb"


class _Recorded(Listener):
    """A listener to which these frames came."""

    def __init__(self, *frames: dict[str, Any]) -> None:
        self._raw: list[str | bytes] = [json.dumps(frame) for frame in frames]
        self._frames: list[Frame] = []


def _connected(position: str = f"0-0~{OLD}") -> dict[str, Any]:
    return {"type": "connected", "payload": {"channels": [CHANNEL], "positions": {"orders": position}}}


def _event(number: int, channel: str = CHANNEL, broker: str = OLD) -> dict[str, Any]:
    offset = f"orders@{number}-0~{broker}"
    return {"type": "changed", "eventId": f"e-{number}", "channel": channel, "offset": offset, "payload": {}}


def _gap(start: str, end: str) -> dict[str, Any]:
    payload = {"topic": "orders", "reason": "trimmed", "from": start, "to": end}
    return {"type": "gap", "offset": f"orders@{end}", "payload": payload, "eventId": "g"}


def _pong(position: str) -> dict[str, Any]:
    return {"type": "pong", "payload": {"positions": {"orders": position}}}


def _written(*numbers: int, broker: str = OLD) -> list[Written]:
    return [Written("orders", f"e-{number}", f"{number}-0~{broker}", (CHANNEL,)) for number in numbers]


@pytest.mark.parametrize(
    ("frames", "missing"),
    [
        ((_event(1), _event(2), _event(3)), []),
        ((_event(1), _event(3)), ["e-2"]),
        ((_event(1), _event(2)), ["e-3"]),
        ((_event(1), _gap(f"1-0~{OLD}", f"2-0~{OLD}"), _event(3)), []),
        ((_event(1), _event(3), _gap(f"1-0~{OLD}", f"2-0~{OLD}")), ["e-2"]),
        ((_gap(f"0-0~{OLD}", f"1-0~{OLD}"), _event(3)), ["e-2"]),
        ((_event(1), _pong(f"2-0~{OLD}"), _event(3)), ["e-2"]),
        ((_event(1), _gap(f"1-0~{OLD}", f"0-0~{NEW}")), []),
        ((_event(1), _gap(f"2-0~{OLD}", f"0-0~{NEW}")), ["e-2"]),
    ],
)
def test_what_neither_came_nor_was_told_in_time_is_missing(
    frames: Sequence[dict[str, Any]], missing: list[str]
) -> None:
    """A gap counts from where it came on, and for what lies between its ends only."""
    report = check(_Recorded(_connected(), *frames), _written(1, 2, 3))

    assert [each.event_id for each in report.missing] == missing


@pytest.mark.parametrize(
    "frames",
    [
        (_event(1), _event(1)),
        (_event(2), _event(1)),
        (_event(1), _event(9)),
        (_event(1), _event(2, "tenant:globex:resource:orders:1")),
        (_event(1), _pong(f"2-0~{OLD}"), _event(2)),
    ],
    ids=["twice", "out of order", "never written", "foreign", "promised before"],
)
def test_what_may_not_come_is_refused(frames: Sequence[dict[str, Any]]) -> None:
    """Each of them fails at once."""
    with pytest.raises(AssertionError):
        check(_Recorded(_connected(), *frames), _written(1, 2))


def test_a_cut_connection_owes_nothing_behind_its_last_frame() -> None:
    """What lies before the last frame is owed all the same."""
    listener = _Recorded(_connected(), _event(1), _event(3))

    assert [each.event_id for each in check(listener, _written(1, 2, 3, 4), ended=True).missing] == ["e-2"]


def test_delivery_begins_behind_the_first_position() -> None:
    """What was written before the connection joined is not due."""
    report = check(_Recorded(_connected(f"2-0~{OLD}"), _event(3)), _written(1, 2, 3))

    assert (report.delivered, report.missing) == (1, [])


@pytest.mark.parametrize(
    ("name", "channel", "expected"),
    [
        (CHANNEL, CHANNEL, True),
        ("tenant:acme:resource:orders:*", CHANNEL, True),
        ("tenant:acme:resource:*", CHANNEL, True),
        ("tenant:acme:resource:order:*", CHANNEL, False),
        ("tenant:acme:resource:orders:10", CHANNEL, False),
        ("tenant:ac:resource:*", CHANNEL, False),
    ],
)
def test_a_name_takes_its_channel_and_a_pattern_what_it_begins(
    name: str, channel: str, expected: bool
) -> None:
    """No name takes what only looks alike."""
    assert is_on(name, channel) is expected
