"""What happens to a connection that is behind, by the channels it asked for (PROTOCOL §6)."""

from __future__ import annotations

import pytest

from fanwire_edge.core.policy import InvalidPolicy, Policies, Policy
from tests.edge.core.pieces import ALL, A

LOGS = "tenant:acme:resource:logs:1"
ALL_LOGS = "tenant:acme:resource:logs:*"
RULES = ("tenant:*:resource:logs:* catch_up", "tenant:globex:resource:orders:1 catch_up")


@pytest.mark.parametrize(
    ("keys", "policy"),
    [
        ((), Policy.DISCONNECT),
        ((LOGS,), Policy.CATCH_UP),
        ((ALL_LOGS,), Policy.CATCH_UP),
        (("tenant:globex:resource:logs:2", "tenant:globex:resource:orders:1"), Policy.CATCH_UP),
        ((A,), Policy.DISCONNECT),
        (("tenant:globex:resource:orders:2",), Policy.DISCONNECT),
        (("tenant:globex:resource:orders:*",), Policy.DISCONNECT),
        (("tenant:acme:resource:*",), Policy.DISCONNECT),
        # The strictest of several.
        ((LOGS, A), Policy.DISCONNECT),
        # Nobody asks for these: the server puts connections on them.
        ((LOGS, ALL, "system:all", "tenant:acme:user:logs", "gap:0"), Policy.CATCH_UP),
        ((ALL, "gap:0"), Policy.DISCONNECT),
    ],
)
def test_the_channels_that_were_asked_for_decide(keys: tuple[str, ...], policy: Policy) -> None:
    """A `*` of a rule stands for any segment; where no rule fits, the default holds."""
    assert Policies(Policy.DISCONNECT, RULES).of(keys) is policy


def test_a_rule_can_be_stricter_than_the_default() -> None:
    """Then the default is not asked, and only where the rule does not fit it holds."""
    policies = Policies(Policy.CATCH_UP, ["tenant:*:resource:logs:* disconnect"])

    assert (policies.of([LOGS]), policies.of([A])) == (Policy.DISCONNECT, Policy.CATCH_UP)


def test_the_first_rule_that_fits_decides() -> None:
    """So an exception stands before what it is an exception of."""
    exception, rule = f"{LOGS} disconnect", "tenant:*:resource:logs:*  Catch_Up "

    assert Policies(Policy.CATCH_UP, [exception, rule]).of([LOGS]) is Policy.DISCONNECT
    assert Policies(Policy.DISCONNECT, [rule, exception]).of([LOGS]) is Policy.CATCH_UP
    assert Policies(Policy.DISCONNECT, [exception, rule]).of([ALL_LOGS]) is Policy.CATCH_UP


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", "policies: catch_up, disconnect"),
        ("catch_up", "is no rule"),
        (LOGS, "is no rule"),
        (f"{LOGS} never", "is no rule"),
        ("tenant:*:resource:*:1 catch_up", "is no rule"),
        ("*:acme:resource:logs:1 catch_up", "is no rule"),
        ("tenant:*:all catch_up", "resource channels"),
        ("system:all catch_up", "resource channels"),
        ("tenant:*:user:u-1 disconnect", "resource channels"),
    ],
)
def test_what_is_no_rule_is_refused(rule: str, why: str) -> None:
    """The error repeats the rule and says what would work."""
    with pytest.raises(InvalidPolicy, match=why) as raised:
        Policies(Policy.DISCONNECT, [RULES[0], rule])

    assert str(raised.value).startswith(repr(rule))
