"""Policies: what happens to a connection that is behind (PROTOCOL §6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

from fanwire_protocol.channels import InvalidChannel, parse_channel

__all__ = ["InvalidPolicy", "Policies", "Policy"]


class InvalidPolicy(ValueError):
    """The text is no rule for a policy."""


class Policy(IntEnum):
    """The stricter one is the greater one."""

    CATCH_UP = 1
    DISCONNECT = 2


class Policies:
    """The policy of a connection: the strictest of those of the channels that it asked for.

    A rule is a template of a `resource` channel and a policy, `tenant:*:resource:logs:* catch_up`; a
    segment `*` stands for any. The first rule that fits a channel decides, else the default.
    """

    def __init__(self, default: Policy, rules: Iterable[str] = ()) -> None:
        self._default = default
        self._rules = [_parsed(rule) for rule in rules]

    def of(self, keys: Iterable[str]) -> Policy:
        """Return the policy of a connection that is on *keys*."""
        asked = [parts for key in keys if (parts := key.split(":"))[2:3] == ["resource"]]
        return max((self._of_channel(parts) for parts in asked), default=self._default)

    def _of_channel(self, parts: Sequence[str]) -> Policy:
        for template, policy in self._rules:
            if len(template) == len(parts) and all(
                wanted in ("*", part) for wanted, part in zip(template, parts, strict=True)
            ):
                return policy
        return self._default


def _parsed(rule: str) -> tuple[Sequence[str], Policy]:
    template, _, name = rule.partition(" ")
    try:
        # Any tenant will do to see whether the rest is a channel.
        channel = parse_channel(template.replace("tenant:*:", "tenant:any:", 1))
        policy = Policy[name.strip().upper()]
    except (InvalidChannel, KeyError):
        known = ", ".join(policy.name.lower() for policy in Policy)
        raise InvalidPolicy(
            f"{rule!r} is no rule; for example `tenant:*:resource:logs:* catch_up`; policies: {known}"
        ) from None
    if channel.is_server_joined:
        raise InvalidPolicy(f"{rule!r}: a rule is for channels that clients ask for, resource channels")
    return template.split(":"), policy
