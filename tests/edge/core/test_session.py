"""What is known of a client."""

from __future__ import annotations

import pytest

from fanwire_edge.core.credential import Credential
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.session import Session

ALICE = Principal("alice", "acme")
TOKEN = Credential("in_band", "canary", ("Authorization", "Bearer canary"))


def test_nobody_is_anybody_before_that_is_known() -> None:
    """Not a principal without rights but none at all: asking for it is a bug and not an answer."""
    session = Session("c-1", None)

    assert not session.is_authenticated
    with pytest.raises(LookupError):
        _ = session.principal


def test_what_is_known_is_replaced_as_a_whole() -> None:
    """A new credential brings its principal along; the one of before is kept no longer."""
    session = Session("c-1", None)
    session.authenticate(ALICE, TOKEN)
    assert (session.is_authenticated, session.principal, session.credential) == (True, ALICE, TOKEN)

    later = Principal("alice", "acme", roles=("admin",))
    session.authenticate(later)

    assert (session.principal, session.credential) == (later, None)


def test_a_session_shows_nothing_of_its_credential() -> None:
    """Not where it is printed, either."""
    assert "canary" not in repr(Session("c-1", ALICE, TOKEN))
