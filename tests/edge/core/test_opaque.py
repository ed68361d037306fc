"""What opaque credentials may look like before anybody is asked about them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fanwire_edge.core.opaque import cookie_value, opaque_token, session_id
from fanwire_edge.core.principal import InvalidToken

ID = "0123456789abcdef"


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (opaque_token, "1|laravel-sanctum=="),
        (opaque_token, "x" * 8192),
        (cookie_value, "s%3Aabc.def"),
        (cookie_value, "x" * 4096),
        (session_id, ID),
        (session_id, "aB3_.+/=-" * 28),
    ],
)
def test_what_has_the_form_is_returned_as_it_is(check: Callable[[str], str], text: str) -> None:
    """Up to the longest."""
    assert check(text) == text


@pytest.mark.parametrize("text", ["", "a b", "a\r\nX-Admin: 1", "a\n", "ä", "\udce4", "x" * 8193, "\x00"])
@pytest.mark.parametrize("check", [opaque_token, cookie_value, session_id])
def test_what_could_end_a_header_is_refused(check: Callable[[str], str], text: str) -> None:
    """And the text of the refusal shows nothing of it."""
    with pytest.raises(InvalidToken) as caught:
        check(text)

    assert not text or text not in caught.value.reason


@pytest.mark.parametrize("text", ["a; admin=1", 'a"b', "a,b", "a\\b", "x" * 4097])
def test_a_cookie_brings_no_other_cookie_along(text: str) -> None:
    """Nor anything that others might read in another way."""
    with pytest.raises(InvalidToken, match="RFC 6265"):
        cookie_value(text)


@pytest.mark.parametrize("text", [ID[1:], f"{ID}:x", f"{ID}*", f"{ID}{{x}}", f"{ID}%2e", "x" * 257])
def test_a_session_s_id_leads_to_no_other_key(text: str) -> None:
    """Nor is it short enough to be guessed."""
    with pytest.raises(InvalidToken, match="session's id"):
        session_id(text)
