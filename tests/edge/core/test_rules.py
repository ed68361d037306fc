"""Rules from channels to routes (PROTOCOL §9 `authorization.routes`)."""

from __future__ import annotations

import pytest

from fanwire_edge.core.rules import InvalidRule, Rules, Unaskable
from fanwire_protocol.channels import parse_channel

API = "https://api.test"
ORDERS = f"tenant:{{tenant}}:resource:orders:{{id}} {API}/orders/{{id}}"
EVERY_ORDER = f"tenant:{{tenant}}:resource:orders:* {API}/orders/any?tenant={{tenant}}"
ANYTHING = f"tenant:{{tenant}}:resource:{{type}}:{{id}} {API}/{{tenant}}/{{type}}/{{id}}"
EVERYTHING = f"tenant:acme:resource:* {API}/all"


def url(name: str, *rules: str) -> str | None:
    return Rules(rules).url(parse_channel(name))


@pytest.mark.parametrize(
    ("rules", "name", "expected"),
    [
        ((ORDERS,), "tenant:acme:resource:orders:42", "/orders/42"),
        ((ORDERS,), "tenant:acme:resource:invoices:42", None),
        ((ORDERS,), "tenant:acme:resource:invoices:*", None),
        ((), "tenant:acme:resource:*", None),
        ((EVERY_ORDER,), "tenant:acme:resource:orders:*", "/orders/any?tenant=acme"),
        ((ORDERS, EVERY_ORDER), "tenant:acme:resource:orders:*", "/orders/any?tenant=acme"),
        ((EVERYTHING,), "tenant:acme:resource:*", "/all"),
        ((EVERYTHING,), "tenant:globex:resource:*", None),
        ((ANYTHING,), "tenant:acme:resource:logs:7", "/acme/logs/7"),
        ((ORDERS, ANYTHING), "tenant:acme:resource:orders:7", "/orders/7"),
        ((ANYTHING, ORDERS), "tenant:acme:resource:orders:7", "/acme/orders/7"),
    ],
)
def test_the_first_rule_that_fits_is_that_of_a_channel(
    rules: tuple[str, ...], name: str, expected: str | None
) -> None:
    """Literals are compared, variables stand for a whole segment; what has no rule has no URL."""
    assert url(name, *rules) == (None if expected is None else API + expected)


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ((ORDERS,), "tenant:acme:resource:orders:*"),
        ((ORDERS,), "tenant:acme:resource:*"),
        ((ANYTHING,), "tenant:acme:resource:orders:*"),
        ((ORDERS, EVERY_ORDER), "tenant:acme:resource:*"),
        ((EVERY_ORDER,), "tenant:acme:resource:*"),
    ],
)
def test_a_pattern_is_never_asked_by_the_rule_of_its_channels(rules: tuple[str, ...], name: str) -> None:
    """Somebody who may see an order may not see every one, so without a rule of its own nobody is asked."""
    with pytest.raises(Unaskable):
        url(name, *rules)


def test_a_rule_for_a_pattern_says_nothing_of_its_channels() -> None:
    """They have rules of their own, or none."""
    assert url("tenant:acme:resource:orders:1", EVERY_ORDER, EVERYTHING) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b", "a%40b"),
        ("a+b", "a%2Bb"),
        ("a|b", "a%7Cb"),
        ("a=b", "a%3Db"),
        ("A-z_0.9~", "A-z_0.9~"),
        ("...", "..."),
        ("%2e", None),
    ],
)
def test_a_value_is_one_segment_of_the_path(value: str, expected: str | None) -> None:
    """What has a meaning in a URL is percent-encoded; a percent sign stands in no channel to begin with."""
    if expected is None:
        with pytest.raises(ValueError, match="a segment is"):
            url(f"tenant:acme:resource:orders:{value}", ORDERS)
    else:
        assert url(f"tenant:acme:resource:orders:{value}", ORDERS) == f"{API}/orders/{expected}"


@pytest.mark.parametrize("value", [".", ".."])
def test_a_way_through_a_path_names_nothing(value: str) -> None:
    """`/orders/..` is another route: nobody is asked. Where the value is in no URL it may be asked for."""
    with pytest.raises(Unaskable):
        url(f"tenant:acme:resource:orders:{value}", ORDERS)
    assert url(f"tenant:acme:resource:{value}:1", f"tenant:{{tenant}}:resource:{{type}}:{{id}} {API}/{{id}}")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("", "its channel"),
        ("tenant:{tenant}:resource:orders:{id}", "has no URL"),
        ("tenant:{tenant}:resource:orders:{id}  https://api.test/x", "has no URL"),
        ("tenant:{tenant}:user:{id} https://api.test/x", "the server joins"),
        ("system:all https://api.test/x", "the server joins"),
        ("tenant:{tenant} https://api.test/x", "its channel"),
        ("tenant:{id}:resource:orders:{id} https://api.test/x", "a variable twice"),
        ("tenant:{tenant}:resource:orders:x{id} https://api.test/x", "not a whole segment"),
        ("tenant:{tenant}:resource:orders:{id} ftp://api.test/x", "has no URL"),
        ("tenant:{tenant}:resource:orders:{id} https://{tenant}.api.test/x", "has no URL"),
        ("tenant:{tenant}:resource:orders:{id} https://user:secret@api.test/x", "has no URL"),
        ("tenant:{tenant}:resource:orders:{id} https://api.test/a b", "has no URL"),
        ("tenant:{tenant}:resource:orders:{id} https://api.test/#{id}", "a fragment"),
        ("tenant:{tenant}:resource:orders:{id} https://api.test/{order}", "does not name"),
        ("tenant:{tenant}:resource:orders:{id} https://api.test/{id}}", "a brace"),
        ("tenant:{tenant}:resource:orders:{id} https://api.test/{Id}", "a brace"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(rule: str, reason: str) -> None:
    """And with one that works. No channel may choose the host that is asked."""
    with pytest.raises(InvalidRule, match=reason) as refusal:
        Rules([rule])

    assert "https://api.example.com/orders/{id}" in str(refusal.value)
