"""The rule by which both sides agree, and the report where they do not."""

from __future__ import annotations

import pytest

from fanwire_parity import Cell, Comparison, Disagreements, expected_answer

RULE = [
    (200, "subscribed"),
    (204, "subscribed"),
    (299, "subscribed"),
    (401, "unauthenticated"),
    (403, "forbidden"),
    (404, "forbidden"),
    (410, "unavailable"),
    (199, "unavailable"),
    (302, "unavailable"),
    (400, "unavailable"),
    (429, "unavailable"),
    (500, "unavailable"),
    (None, "unavailable"),
]


@pytest.mark.parametrize(("status", "answer"), RULE)
def test_a_status_has_one_answer(status: int | None, answer: str) -> None:
    """What is neither a yes nor a no is no permission."""
    assert expected_answer(status) == answer
    assert Cell("alice", "/", "x", status, answer).agrees
    assert not Cell("alice", "/", "x", status, "no connection").agrees


def test_the_report_has_a_line_for_each_disagreement_and_no_other() -> None:
    """Aligned, so that one sees it at a glance."""
    comparison = Comparison(
        "http://api",
        "ws://edge/ws",
        [
            Cell("alice", "/orders/1", "tenant:acme:resource:orders:1", 200, "subscribed"),
            Cell("alice", "/orders/2", "tenant:acme:resource:orders:2", 403, "subscribed"),
            Cell("bob", "/orders", "tenant:acme:resource:orders:*", None, "forbidden"),
        ],
    )
    with pytest.raises(Disagreements) as caught:
        comparison.check()

    assert str(caught.value).splitlines() == [
        "2 of 3 answers of ws://edge/ws are not those of http://api:",
        "  user   REST       route      edge        must be      channel",
        "  alice  403        /orders/2  subscribed  forbidden    tenant:acme:resource:orders:2",
        "  bob    no answer  /orders    forbidden   unavailable  tenant:acme:resource:orders:*",
    ]


def test_agreement_raises_nothing() -> None:
    """And its report says how much was compared."""
    comparison = Comparison("http://api", "ws://edge/ws", [Cell("alice", "/", "x", 200, "subscribed")])
    comparison.check()

    assert comparison.report() == "0 of 1 answers of ws://edge/ws are not those of http://api"
