"""The doctor's verdicts, from facts."""

from __future__ import annotations

from typing import Any

import pytest

from fanwire_cli.credential import Credential
from fanwire_cli.verdicts import (
    BrokerFacts,
    HandshakeFacts,
    broker_verdicts,
    credential_verdict,
    handshake_verdict,
    subscription_verdict,
)

GOOD = Credential({"sub": "u-1", "tenant": "acme"})
BAD = Credential({}, faults=("claim `exp` is missing",))


@pytest.mark.parametrize(
    ("facts", "failed"),
    [
        (BrokerFacts("Redis", "7.0.15", "master", "noeviction"), []),
        (BrokerFacts("Valkey", "8.1.0", "master", "noeviction"), []),
        (BrokerFacts("Redis", "6.2.14", "master", "noeviction"), ["broker version"]),
        (BrokerFacts("Redis", "7.4.0", "slave", "noeviction"), ["broker role"]),
        (BrokerFacts("Redis", "10.0.1", "master", "allkeys-lru"), ["broker maxmemory-policy"]),
    ],
)
def test_broker(facts: BrokerFacts, failed: list[str]) -> None:
    """Version 7.0 or later, the master, and no eviction."""
    assert [verdict.subject for verdict in broker_verdicts(facts) if not verdict.ok] == failed


def test_token() -> None:
    """A token with a fault fails, with the fault as the text."""
    assert str(credential_verdict(GOOD)) == "ok   token: user u-1 of tenant acme"
    assert str(credential_verdict(BAD)) == "FAIL token: claim `exp` is missing"


@pytest.mark.parametrize(
    ("facts", "credential", "text"),
    [
        (HandshakeFacts(401), BAD, "claim `exp` is missing"),
        (HandshakeFacts(401), GOOD, "another key, issuer or audience"),
        (HandshakeFacts(403, "origin_not_allowed"), GOOD, "Origin"),
        (HandshakeFacts(403, "forbidden"), GOOD, "this entrypoint asks for more"),
        (HandshakeFacts(404), GOOD, "the default is /ws"),
        (HandshakeFacts(400), GOOD, "parameter"),
        (HandshakeFacts(426), GOOD, "Upgrade header"),
        (HandshakeFacts(503, "draining", retry_after="7"), GOOD, "after 7 s"),
        (HandshakeFacts(429, "rate_limited"), GOOD, "later"),
        (HandshakeFacts(101), GOOD, "no `connected` frame"),
        (HandshakeFacts(200), GOOD, "another program"),
        (HandshakeFacts(401, "unauthenticated", "the token has expired"), GOOD, '"the token has expired"'),
    ],
)
def test_refused_handshake_says_what_to_do(facts: HandshakeFacts, credential: Credential, text: str) -> None:
    """Each status is a failure with advice."""
    verdict = handshake_verdict(facts, credential)

    assert verdict.ok is False
    assert text in verdict.text


def test_handshake_that_went_as_it_should() -> None:
    """A connection, and a 401 where there was no token."""
    connected = {"user": "u-1", "tenant": "acme", "channels": ["tenant:acme:all"]}
    verdict = handshake_verdict(HandshakeFacts(101, connected=connected), GOOD)

    assert str(verdict) == "ok   handshake: user u-1 of tenant acme; joined by the server: tenant:acme:all"
    assert handshake_verdict(HandshakeFacts(401), None).ok is True


def test_text_of_the_server_cannot_steer_the_terminal() -> None:
    """Control characters of a message are shown as escapes, and one verdict stays one line."""
    facts = HandshakeFacts(403, "forbidden", "a\x1b]0;x\x07b\r\nc\x9bd")

    assert r'"a\u001b]0;x\u0007b\u000d\u000ac\u009bd"' in str(handshake_verdict(facts, GOOD))


@pytest.mark.parametrize(
    ("answer", "ok", "text"),
    [
        ({"type": "subscribed", "payload": {}}, True, "permitted"),
        ({"type": "error", "payload": {"code": "forbidden"}}, False, "would permit it"),
        ({"type": "error", "payload": {"code": "unavailable", "message": "x"}}, False, "authorizer; x"),
        ({"type": "error", "payload": {"code": "limit_exceeded", "message": "512"}}, False, "512"),
        (None, False, "no answer"),
    ],
)
def test_subscription(answer: dict[str, Any] | None, ok: bool, text: str) -> None:
    """The edge's answer decides; a refusal is explained."""
    verdict = subscription_verdict("tenant:acme:resource:orders:42", answer, GOOD)

    assert verdict.ok is ok
    assert text in verdict.text
