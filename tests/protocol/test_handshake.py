"""Subprotocols and the credential among them (PROTOCOL §2)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_protocol.handshake import (
    JSON_SUBPROTOCOL,
    MSGPACK_SUBPROTOCOL,
    Offer,
    bearer_of,
    parse_offer,
)
from tests.protocol.vectors import load

ENTRIES = st.sampled_from(["bearer", "Bearer", JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, "t0ken", "x", "", " "])


@pytest.mark.parametrize("row", load("offers")["offers"], ids=lambda row: row["why"])
def test_an_offer_gives_one_token_and_one_echo(row: dict[str, Any]) -> None:
    """The first pair counts, and the echo is what browsers need to go on."""
    offer = parse_offer(row["lines"])

    assert offer.token == row["token"]
    assert offer.choose([JSON_SUBPROTOCOL]) == row["echo"]


@pytest.mark.parametrize("row", load("offers")["both"], ids=lambda row: row["why"])
def test_a_server_of_both_echoes_what_the_client_names_first(row: dict[str, Any]) -> None:
    """The client's order decides; whatever the server's is."""
    offer = parse_offer(row["lines"])

    assert offer.token == row["token"]
    for supported in ([JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL], [MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL]):
        assert offer.choose(supported) == row["echo"]


def test_a_server_of_both_versions_echoes_the_clients_first() -> None:
    """The client's order decides among what the server supports."""
    offer = parse_offer([f"{MSGPACK_SUBPROTOCOL}, bearer, t0ken, {JSON_SUBPROTOCOL}, graphql-ws"])

    assert offer.choose([JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL]) == MSGPACK_SUBPROTOCOL
    assert offer.versions == (MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL)
    assert offer.names == (MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL, "graphql-ws")
    assert offer.bearer == "bearer"


@pytest.mark.parametrize(
    "line", ["bearer, s3cret", "s3cret", "bearer, fanwire.v1.json, s3cret", "bearer, x, bearer, s3cret"]
)
def test_no_representation_shows_a_token(line: str) -> None:
    """Wherever a client put its token, it is not in what a log could show."""
    assert "s3cret" not in repr(parse_offer([line]))


@given(st.lists(st.lists(ENTRIES, max_size=4).map(",".join), max_size=4))
def test_lines_mean_what_one_joined_line_means(lines: list[str]) -> None:
    """Where a list was split does not matter, and the token is never echoed."""
    offer = parse_offer(lines)

    assert offer == parse_offer([",".join(lines)])
    assert offer.choose([JSON_SUBPROTOCOL]) in (None, JSON_SUBPROTOCOL, "bearer", "Bearer")


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_lines_are_an_offer(lines: list[str]) -> None:
    """Parsing is total."""
    assert isinstance(parse_offer(lines), Offer)


@pytest.mark.parametrize(
    ("header", "prefix", "token"),
    [
        ("Bearer t0ken", "Bearer", "t0ken"),
        ("bearer t0ken", "Bearer", "t0ken"),
        ("  BEARER   t0ken  ", "Bearer", "t0ken"),
        ("Bearer", "Bearer", None),
        ("Bearer ", "Bearer", None),
        ("Bearert0ken", "Bearer", None),
        ("Basic dTpw", "Bearer", None),
        ("t0ken", "Bearer", None),
        ("", "Bearer", None),
        (None, "Bearer", None),
        ("Token t0ken", "token", "t0ken"),
        (" t0ken ", "", "t0ken"),
        (" ", "", None),
        (None, "", None),
    ],
)
def test_an_authorization_header_carries_a_token_after_its_prefix(
    header: str | None, prefix: str, token: str | None
) -> None:
    """The scheme is compared without case; without a prefix the header is the token."""
    assert bearer_of(header, prefix) == token
