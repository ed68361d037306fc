"""Decisions, and who asks for them."""

from __future__ import annotations

from fanwire_edge.core.credential import Credential
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.principal import Principal


def test_who_asks_is_known_by_everything_that_an_answer_may_depend_on() -> None:
    """Also by what was shown, which no text tells."""
    principal = Principal("u-1", "acme")
    one, other = (
        Credential("authorization", text, ("Authorization", text)) for text in ("secret-1", "secret-2")
    )

    assert Asker(principal, one) != Asker(principal, other)
    assert "secret" not in repr(Asker(principal, one))
    assert Asker(principal).credential is None


def test_one_decision_lets_anybody_read() -> None:
    """Whatever is added to them."""
    assert [each for each in Decision if each.value == "permitted"] == [Decision.PERMITTED]
