"""Opaque tokens and sessions: a real REST API is asked whose they are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fanwire_edge.adapters.introspection import Introspection, bearer_header, cookie_header
from fanwire_edge.adapters.outbound import Outbound, OutboundLimits
from fanwire_edge.core.claims import ClaimNames, ClaimRules
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from tests.kit.canaries import CANARIES
from tests.kit.rest_api import Answer, RestApi

NOW = 1_800_000_000.0
TOKEN = CANARIES.remember("1|canary-token-of-sanctum")
BEARER = f"Bearer {TOKEN}"
RULES = ClaimRules(
    ClaimNames(user="data.id", tenant="data.team.id", roles="data.roles", scope="data.scope"), is_token=False
)


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """What asks; it is never so often disappointed that it stops."""
    asking = Outbound(OutboundLimits(timeout_seconds=1.0, breaker_failures=1000), time.monotonic)
    yield asking
    await asking.close()


def me(**fields: Any) -> dict[str, Any]:
    """Return what `/me` says of a user."""
    return {"data": {"id": 42, "team": {"id": "acme"}, **fields}}


def introspection(api: RestApi, outbound: Outbound, rules: ClaimRules = RULES) -> Introspection:
    shown = bearer_header("Authorization", "Bearer")
    return Introspection(api.url("/me"), outbound, shown, rules, lambda: NOW)


async def test_the_service_is_asked_with_the_token_and_says_whose_it_is(outbound: Outbound) -> None:
    """Fields are found by the names of `auth.claims`; `exp`, `iat` and `jti` stand at the top."""
    said = {**me(roles=["staff"], scope="orders:read"), "exp": NOW + 60, "iat": NOW - 5, "jti": "t-1"}
    with RestApi({(BEARER, "/me"): said}) as api:
        principal = await introspection(api, outbound).verify(TOKEN)

        assert principal == Principal(
            "42", "acme", ("staff",), frozenset({"orders:read"}), (), NOW + 60, NOW - 5, "t-1"
        )
        [asked] = api.requests
        assert (asked.method, asked.path, asked.headers["accept"]) == ("GET", "/me", "application/json")
        assert "cookie" not in asked.headers


async def test_a_session_s_cookie_is_shown_as_it_was_sent_and_no_other(outbound: Outbound) -> None:
    """The core service reads it by its own rules."""
    with RestApi({("laravel_session=abc%3D", "/me"): me()}) as api:
        sessions = Introspection(
            api.url("/me"), outbound, cookie_header("laravel_session"), RULES, lambda: NOW
        )

        assert (await sessions.verify("abc%3D")).user == "42"
        assert "authorization" not in api.requests[0].headers
        with pytest.raises(InvalidToken):
            await sessions.verify("abc; role=admin")
        assert api.count() == 1


REFUSED: list[tuple[str, Any]] = [
    ("unauthorized", 401),
    ("forbidden", 403),
    ("not active", {"active": False}),
    ("a user that was switched off", {**me(), "active": False}),
    ("a user that a database switched off", {**me(), "active": 0}),
    ("a user of whom nobody says it", {**me(), "active": None}),
    ("a user of whom it is said in words", {**me(), "active": "false"}),
    ("expired", {**me(), "exp": NOW}),
    ("not begun", {**me(), "nbf": NOW + 60}),
    ("a user that is no segment", me(id="a b")),
    ("no tenant", {"data": {"id": 42}}),
]
UNAVAILABLE: list[tuple[str, Any]] = [
    ("an error", 500),
    ("overloaded", 429),
    ("not found", 404),
    ("a redirect to a page", Answer(302, me(), {"Location": "/login"})),
    ("a page for people", Answer(200, "<html>Please log in</html>")),
    ("nothing", Answer(204)),
    ("a list", [me()]),
    ("a word", Answer(200, '"42"')),
    ("JSON that is not strict", Answer(200, '{"data": {"id": 1, "id": 2}}')),
    ("no user", {"data": {}}),
    ("no record", {"message": "ok"}),
    ("roles of another kind", me(roles="admin")),
    ("an answer that is too long", Answer(200, b" " * 70_000)),
    ("half of an answer", Answer(200, me(), half=True)),
    ("a broken connection", Answer(reset=True)),
    ("no answer", Answer(hang=True)),
]


@pytest.mark.parametrize(("_", "answer"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_who_is_refused_there_is_refused_here(outbound: Outbound, _: str, answer: Any) -> None:
    """As is who is not active, not in time, or cannot be named in a channel."""
    with RestApi({(BEARER, "/me"): answer}) as api:
        with pytest.raises(InvalidToken) as caught:
            await introspection(api, outbound).verify(TOKEN)
        assert TOKEN not in caught.value.reason


@pytest.mark.parametrize(("_", "answer"), UNAVAILABLE, ids=[row[0] for row in UNAVAILABLE])
async def test_anything_else_is_no_answer_and_nobody_gets_in(outbound: Outbound, _: str, answer: Any) -> None:
    """Neither in nor out: the client may try again."""
    with RestApi({(BEARER, "/me"): answer}) as api:
        with pytest.raises(VerifierUnavailable) as caught:
            await introspection(api, outbound).verify(TOKEN)
        assert TOKEN not in str(caught.value)


async def test_a_service_that_is_away_is_no_answer(outbound: Outbound) -> None:
    """Whatever the token is."""
    with pytest.raises(VerifierUnavailable):
        await introspection(RestApi(), outbound).verify(TOKEN)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Admin: 1", "é", "x" * 8193])
async def test_what_is_no_token_is_not_asked_about(outbound: Outbound, token: str) -> None:
    """Nothing of it comes near a header."""
    with RestApi() as api:
        with pytest.raises(InvalidToken):
            await introspection(api, outbound).verify(token)
        assert api.count() == 0
