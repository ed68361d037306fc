"""What the doctor finds: facts in, verdicts out. Pure; the probes bring the facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fanwire_cli.credential import Credential, explain_refusal
from fanwire_cli.terminal import visible
from fanwire_protocol import ErrorCode

__all__ = [
    "BrokerFacts",
    "HandshakeFacts",
    "Verdict",
    "broker_verdicts",
    "credential_verdict",
    "handshake_verdict",
    "subscription_verdict",
]

_OLDEST = (7, 0)
_WITHOUT_TOKEN = "pass one with --token or FANWIRE_TOKEN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one check; `ok` is None where it was not made."""

    subject: str
    ok: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "ok  ", False: "FAIL", None: "--  "}[self.ok]
        return visible(f"{word} {self.subject}: {self.text}")


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What a broker says about itself."""

    product: str
    version: str
    role: str
    policy: str


@dataclass(frozen=True, slots=True)
class HandshakeFacts:
    """The edge's answer to an upgrade: what a refusal says, or the payload of `connected`."""

    status: int
    code: str = ""
    message: str = ""
    retry_after: str = ""
    connected: Mapping[str, Any] | None = None


def broker_verdicts(facts: BrokerFacts) -> list[Verdict]:
    """Judge the broker's version, role and eviction policy."""
    numbers = tuple(map(int, re.findall(r"\d+", facts.version)[:2]))
    master, kept = facts.role == "master", facts.policy == "noeviction"
    return [
        _verdict(
            "broker version",
            numbers >= _OLDEST,
            f"{facts.product} {facts.version}",
            "7.0 or later is needed: before it, losses inside the log cannot be ruled out",
        ),
        _verdict(
            "broker role", master, facts.role, "publishers need the master; point FANWIRE_BROKER__URL at it"
        ),
        _verdict(
            "broker maxmemory-policy",
            kept,
            facts.policy,
            "evicts the log; `redis-cli config set maxmemory-policy noeviction`, and in redis.conf",
        ),
    ]


def _verdict(subject: str, ok: bool, found: str, advice: str) -> Verdict:
    return Verdict(subject, ok, found if ok else f"{found}; {advice}")


def credential_verdict(credential: Credential) -> Verdict:
    """Judge a token by what can be seen from here."""
    if credential.faults:
        return Verdict("token", False, "; ".join(credential.faults))
    return Verdict("token", True, credential.summary)


def handshake_verdict(facts: HandshakeFacts, credential: Credential | None) -> Verdict:
    """Judge the edge's answer to an upgrade with *credential*, or with none."""
    if facts.connected is not None:
        who = f"user {facts.connected.get('user')} of tenant {facts.connected.get('tenant')}"
        channels = facts.connected.get("channels") or []
        return Verdict("handshake", True, f"{who}; joined by the server: {', '.join(channels) or 'nothing'}")
    if facts.status == 401 and credential is None:
        return Verdict("handshake", True, f"401 without a token, as it should be; {_WITHOUT_TOKEN} to go on")
    answer = f"{facts.status} {facts.code}".rstrip()
    said = f' ("{facts.message}")' if facts.message else ""
    return Verdict("handshake", False, f"{answer}{said}: {_advice(facts, credential)}")


def _advice(facts: HandshakeFacts, credential: Credential | None) -> str:
    match facts.status, facts.code:
        case 401, _:
            return _refused_token(credential)
        case 403, "origin_not_allowed":
            return "the edge demands an Origin header of its list; that is meant for browsers only"
        case 403, _:
            return f"the token is good, but this entrypoint asks for more; {_held(credential)}"
        case 404, _:
            return "there is no entrypoint at this path; the default is /ws"
        case 400, _:
            return "a parameter in the URL is malformed"
        case 426, _:
            return "something on the way removes the Upgrade header; see the proxy's configuration"
        case ((429 | 503), _):
            after = f" after {facts.retry_after} s" if facts.retry_after else " later"
            return f"the edge is busy or going away; try again{after}"
        case 101, _:
            return "the upgrade went through, but no `connected` frame came; is this a Fanwire edge?"
    return "this is not how an edge answers; is another program listening there?"


def _refused_token(credential: Credential | None) -> str:
    if credential is not None and credential.faults:
        return "; ".join(credential.faults)
    return (
        "the token looks right from here, so the edge has another key, issuer or audience, or the token was "
        "revoked; compare FANWIRE_AUTH__JWT__* of the edge"
    )


def _held(credential: Credential | None) -> str:
    if credential is None:
        return "it holds nothing"
    names = credential.names
    return f"it holds roles {credential.get(names.roles)}, permissions {credential.get(names.permissions)}"


def subscription_verdict(
    channel: str, answer: Mapping[str, Any] | None, credential: Credential | None
) -> Verdict:
    """Judge the edge's answer to a subscription: a `subscribed` or `error` frame, or None for silence."""
    subject = f"subscribe {channel}"
    if answer is None:
        return Verdict(subject, False, "no answer within the deadline; is the edge overloaded?")
    payload = answer.get("payload") or {}
    if answer.get("type") == "subscribed":
        return Verdict(subject, True, "permitted")
    code, message = str(payload.get("code")), str(payload.get("message", ""))
    if code in (ErrorCode.FORBIDDEN, ErrorCode.INVALID_CHANNEL):
        why = explain_refusal(channel, credential or Credential(None))
        return Verdict(subject, False, f"{code}: {why}")
    if code == ErrorCode.UNAVAILABLE:
        return Verdict(subject, False, f"{code}: the edge could not ask its authorizer; {message}")
    return Verdict(subject, False, f"{code}: {message}")
