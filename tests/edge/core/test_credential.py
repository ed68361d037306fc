"""Where a client shows who it is, and which of several credentials decides."""

from __future__ import annotations

import re

import pytest
from multidict import CIMultiDict

from fanwire_edge.core.credential import SOURCES, Credential, Sources, select, shown_in_band
from fanwire_protocol.handshake import parse_offer

ALL = Sources(SOURCES)
# A place for each source, with the header in which others are asked.
PLACES = {
    "subprotocol": ("Sec-WebSocket-Protocol: bearer, T", ("Authorization", "Bearer T")),
    "authorization": ("Authorization: bearer T", ("Authorization", "Bearer T")),
    "query": ("?token=T", ("Authorization", "Bearer T")),
    "cookie": ("Cookie: a=b; session=T", ("Cookie", "session=T")),
    "api_key": ("X-API-Key:  T ", ("X-API-Key", "T")),
}


def found(sources: Sources, *places: str) -> Credential | None:
    """Return the credential of a request with header lines, and a query that begins with `?`."""
    headers: CIMultiDict[str] = CIMultiDict()
    query: dict[str, str] = {}
    for place in places:
        if place.startswith("?"):
            name, _, value = place[1:].partition("=")
            query[name] = value
        else:
            name, _, value = place.partition(": ")
            headers.add(name, value)
    offer = parse_offer(headers.getall("Sec-WebSocket-Protocol", []))
    return select(sources, offer, headers, query)


@pytest.mark.parametrize("source", PLACES)
def test_each_source_has_a_place_and_a_way_to_show_it_on(source: str) -> None:
    """The credential knows where it stood, and in which header another service expects it."""
    place, forward = PLACES[source]

    credential = found(Sources((source,)), place)

    assert credential == Credential(source, "T", forward)
    assert credential.is_sound


@pytest.mark.parametrize("source", PLACES)
def test_only_configured_sources_are_looked_at(source: str) -> None:
    """What stands anywhere else is no credential."""
    others = tuple(name for name in SOURCES if name != source)

    assert found(Sources(others), PLACES[source][0]) is None


@pytest.mark.parametrize("first", PLACES)
@pytest.mark.parametrize("second", PLACES)
def test_the_first_source_in_the_configured_order_decides(first: str, second: str) -> None:
    """Not the order in which they stand in the request."""
    places = {name: place.replace("T", name) for name, (place, _) in PLACES.items()}

    credential = found(Sources(("in_band", first, second)), *places.values())

    assert credential is not None
    assert (credential.source, credential.text) == (first, first)


@pytest.mark.parametrize(
    "place",
    [
        "Authorization: Basic T",
        "Authorization: Bearer",
        "Authorization: Bearer  ",
        "?token=",
        "?TOKEN=T",
        "?access_token=T",
        "Cookie: session=",
        "Cookie: xsession=T",
        "Cookie: Session=T",
        "Cookie: session",
        "Cookie: a=session=T",
        "X-API-Key: ",
        "Sec-WebSocket-Protocol: bearer",
    ],
)
def test_a_place_without_a_credential_carries_none(place: str) -> None:
    """Then the next source has its turn."""
    assert found(ALL, place) is None


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("session=T", "T"),
        ("a=b;session=T;c=d", "T"),
        ("session=T; session=other", "T"),
        ('session="T"', '"T"'),
        ("session=a=b==", "a=b=="),
        ("; ;session=T", "T"),
    ],
)
def test_a_cookie_is_found_among_others(header: str, text: str) -> None:
    """As it was sent, and the first of two: browsers put the one of the narrower path first."""
    credential = found(Sources(("cookie",)), f"Cookie: {header}")

    assert credential is not None
    assert credential.text == text
    assert credential.forward == ("Cookie", f"session={text}")


def test_places_have_the_names_that_are_configured() -> None:
    """Also where the credential is shown to others."""
    sources = Sources(SOURCES, "X-Token", "Token", "sid", "X-Key")

    for place, forward in [
        ("X-Token: token T", ("X-Token", "Token T")),
        ("Cookie: session=x; sid=T", ("Cookie", "sid=T")),
        ("X-Key: T", ("X-Key", "T")),
    ]:
        credential = found(sources, place)
        assert credential is not None
        assert (credential.text, credential.forward) == ("T", forward)


@pytest.mark.parametrize("text", ["a b", "a\r\nX-Admin: 1", "a\x00", "ä", "\ud800", "a\x7f", " "])
@pytest.mark.parametrize("source", ["query", "authorization", "cookie"])
def test_what_no_header_could_hold_is_no_credential(text: str, source: str) -> None:
    """A query can bring line ends along: they must not get into a request of ours, nor is a later source
    asked."""
    place = re.sub("T$", lambda _: f"x{text}x", PLACES[source][0])

    credential = found(ALL, place, "X-API-Key: good")

    assert credential is not None
    assert credential.source == source
    assert not credential.is_sound


def test_a_credential_shows_itself_to_nobody() -> None:
    """Neither the text nor the header is in its `repr`."""
    assert "T" not in repr(found(ALL, "Cookie: session=T"))


def test_in_band_is_a_source_without_a_place() -> None:
    """It says that a client may show its credential later."""
    assert ALL.is_in_band
    assert not Sources(("cookie",)).is_in_band
    assert found(Sources(("in_band",))) is None


def test_what_is_shown_in_band_is_forwarded_like_a_bearer_token() -> None:
    """In the header that is configured for tokens; what no header could hold is no credential here either."""
    sources = Sources(("in_band",), "X-Token", "Token")

    assert shown_in_band(sources, "T") == Credential("in_band", "T", ("X-Token", "Token T"))
    assert shown_in_band(sources, "T").is_sound
    assert not shown_in_band(sources, "a\r\nX-Admin: 1").is_sound
