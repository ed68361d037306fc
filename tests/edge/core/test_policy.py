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
    # Who is on the pattern gets what is an exception, too.
    assert Policies(Policy.DISCONNECT, [exception, rule]).of([ALL_LOGS]) is Policy.DISCONNECT


def test_the_stricter_policy_is_the_greater_one() -> None:
    """Who is cut loses least in silence; who is conflated is given least."""
    assert Policy.DISCONNECT > Policy.CATCH_UP > Policy.DROP_OLDEST > Policy.CONFLATE


@pytest.mark.parametrize(
    ("default", "rules", "key", "policy"),
    [
        # A rule for one type is not for all that a wider pattern carries.
        ("disconnect", ["tenant:*:resource:logs:* conflate"], "resource:*", "disconnect"),
        ("conflate", ["tenant:*:resource:logs:* drop_oldest"], "resource:*", "drop_oldest"),
        ("conflate", ["tenant:*:resource:logs:1 catch_up"], "resource:logs:*", "catch_up"),
        ("conflate", ["tenant:*:resource:logs:1 catch_up"], "resource:orders:*", "conflate"),
        ("conflate", ["tenant:globex:resource:* disconnect"], "resource:*", "conflate"),
        # A rule for all resources is for every channel of them.
        ("disconnect", ["tenant:*:resource:* drop_oldest"], "resource:logs:1", "drop_oldest"),
        ("disconnect", ["tenant:*:resource:* drop_oldest"], "resource:logs:*", "drop_oldest"),
        ("disconnect", ["tenant:*:resource:* drop_oldest"], "resource:*", "drop_oldest"),
        # What stands behind one that covers it decides nothing.
        (
            "conflate",
            ["tenant:*:resource:logs:* drop_oldest", "tenant:acme:resource:logs:1 disconnect"],
            "resource:*",
            "drop_oldest",
        ),
    ],
)
def test_a_pattern_gets_the_strictest_policy_below_it(
    default: str, rules: list[str], key: str, policy: str
) -> None:
    """Whatever a connection may be given under it is treated no worse than its own rule says."""
    policies = Policies(Policy[default.upper()], rules)

    assert policies.of([f"tenant:acme:{key}"]) is Policy[policy.upper()]
    assert policies.of([f"tenant:acme:{key}"]) is Policy[policy.upper()]


def test_who_can_be_conflated_is_known_from_the_rules() -> None:
    """A channel that clients ask for by its own rule, one that the server joins where any rule says so."""
    policies = Policies(Policy.DISCONNECT, ["tenant:*:resource:logs:* conflate"])

    assert [policies.conflate(channel) for channel in (LOGS, A, ALL)] == [True, False, True]
    assert not Policies(Policy.DISCONNECT, RULES).conflate(ALL)
    assert policies.all == {Policy.DISCONNECT, Policy.CONFLATE}


def test_what_is_known_of_channels_is_bounded() -> None:
    """More channels than are remembered are worked out again."""
    policies = Policies(Policy.DISCONNECT, RULES)
    names = [f"tenant:acme:resource:logs:{number}" for number in range(10_001)]

    assert {policies.of([name]) for name in [*names, names[0]]} == {Policy.CATCH_UP}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", "policies: conflate, drop_oldest, catch_up, disconnect"),
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
