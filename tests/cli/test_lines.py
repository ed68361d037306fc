"""Lines that `fanwire tail` prints."""

from __future__ import annotations

import json

from fanwire_cli.lines import json_line
from fanwire_client import Event, Gap


def test_event_is_named_as_in_a_frame() -> None:
    """Absent fields are left out; a payload of null is not."""
    event = Event("order.updated", "tenant:acme:resource:orders:42", None, 1_800_000_000_123, "e-1")

    assert json.loads(json_line(event)) == {
        "type": "order.updated",
        "channel": "tenant:acme:resource:orders:42",
        "timestamp": "2027-01-15T08:00:00.123Z",
        "eventId": "e-1",
        "payload": None,
    }


def test_gap_is_a_line_too() -> None:
    """It has the type `gap` and says between which positions events may be missing."""
    gap = Gap("orders", "failover", "1-0~5f0c2a91", "2-0~5f0c2a91", jitter_ms=100)

    assert json_line(gap) == (
        '{"type":"gap","topic":"orders","reason":"failover","from":"1-0~5f0c2a91","to":"2-0~5f0c2a91","jitterMs":100}'
    )


def test_line_break_in_a_payload_breaks_no_line() -> None:
    """One event is one line whatever it holds."""
    assert "\n" not in json_line(Event("x", None, "a\nb\u2028c", 0, "e-1"))


def test_payload_cannot_steer_the_terminal() -> None:
    """Control characters are escapes, which JSON reads as what they were."""
    line = json_line(Event("x", None, "a\x1b\x7f\x9bb", 0, "e-1"))

    assert line.isprintable()
    assert json.loads(line)["payload"] == "a\x1b\x7f\x9bb"
