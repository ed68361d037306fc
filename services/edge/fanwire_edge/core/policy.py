"""Policies: what happens to a connection that is behind (PROTOCOL §6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from fanwire_protocol.channels import InvalidChannel, parse_channel

__all__ = ["InvalidPolicy", "Policies", "Policy"]

# Channels and patterns whose policy is remembered; where there are more it is worked out again.
_MAX_KNOWN = 10_000


class InvalidPolicy(ValueError):
    """The text is no rule for a policy."""


class Policy(IntEnum):
    """The stricter one is the greater one."""

    CONFLATE = 1
    DROP_OLDEST = 2
    CATCH_UP = 3
    DISCONNECT = 4


@dataclass(frozen=True, slots=True)
class _Resources:
    """Resource channels by tenant, type and id; `*` stands for any."""

    tenant: str
    type: str
    id: str

    @property
    def _parts(self) -> tuple[str, str, str]:
        return self.tenant, self.type, self.id

    def cover(self, other: _Resources) -> bool:
        """Tell whether all of *other* are among these."""
        pairs = zip(self._parts, other._parts, strict=True)
        return all(mine in ("*", its) for mine, its in pairs)

    def meet(self, other: _Resources) -> bool:
        """Tell whether a channel can be among both."""
        pairs = zip(self._parts, other._parts, strict=True)
        return all(mine == its or "*" in (mine, its) for mine, its in pairs)


class Policies:
    """The policy of a connection: the strictest of those of the channels that it asked for.

    A rule is a template of a `resource` channel or pattern and a policy, `tenant:*:resource:logs:*
    catch_up`; a segment `*` stands for any. The first rule that fits a channel decides, else the default.
    Who subscribes to a pattern gets the strictest policy of the channels below it.
    """

    def __init__(self, default: Policy, rules: Iterable[str] = ()) -> None:
        self._default = default
        self._rules: list[tuple[_Resources, Policy]] = []
        for template, policy in map(_parsed, rules):
            # One that stands behind a rule for all of its channels decides nothing.
            if not any(before.cover(template) for before, _ in self._rules):
                self._rules.append((template, policy))
        self._known: dict[str, Policy | None] = {}
        self.all = frozenset((default, *(policy for _, policy in self._rules)))

    def of(self, keys: Iterable[str]) -> Policy:
        """Return the policy of a connection that is on *keys*."""
        asked = [policy for key in keys if (policy := self._of_key(key)) is not None]
        return max(asked, default=self._default)

    def conflate(self, channel: str) -> bool:
        """Tell whether a connection on *channel* can be one whose events are conflated."""
        policy = self._of_key(channel)
        # A channel that the server joins is conflated where those are that its connections asked for.
        return policy is Policy.CONFLATE or (policy is None and Policy.CONFLATE in self.all)

    def _of_key(self, key: str) -> Policy | None:
        """Return the policy for what clients ask for; None where the server puts them on it."""
        try:
            return self._known[key]
        except KeyError:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            asked = _resources(key)
            policy = None if asked is None else max(self._candidates(asked))
            self._known[key] = policy
            return policy

    def _candidates(self, asked: _Resources) -> Iterator[Policy]:
        """Yield the policies of all channels that may be among those *asked* for."""
        for template, policy in self._rules:
            if template.meet(asked):
                yield policy
            if template.cover(asked):
                return
        yield self._default


def _resources(key: str) -> _Resources | None:
    parts = key.split(":")
    if parts[2:3] != ["resource"]:
        return None
    return _Resources(parts[1], parts[3], parts[4] if len(parts) > 4 else "*")


def _parsed(rule: str) -> tuple[_Resources, Policy]:
    template, _, name = rule.partition(" ")
    try:
        # Any tenant will do to see whether the rest is a channel.
        parse_channel(template.replace("tenant:*:", "tenant:any:", 1))
        policy = Policy[name.strip().upper()]
    except (InvalidChannel, KeyError):
        known = ", ".join(policy.name.lower() for policy in Policy)
        raise InvalidPolicy(
            f"{rule!r} is no rule; for example `tenant:*:resource:logs:* catch_up`; policies: {known}"
        ) from None
    resources = _resources(template)
    if resources is None:
        raise InvalidPolicy(f"{rule!r}: a rule is for channels that clients ask for, resource channels")
    return resources, policy
