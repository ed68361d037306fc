"""The throttle: budgets of connections and tenants, and the end of who goes on regardless."""

from __future__ import annotations

import pytest

from fanwire_edge.core.throttle import PATIENCE, Limit, Pace, Throttle, ThrottleLimits

LIMITS = ThrottleLimits(commands=Pace(2, 4), pings=Pace(1, 3), churn=Pace(10, 20), tenant=Pace(1, 6))


def refusals(
    throttle: Throttle[str], count: int, key: str = "a", tenant: str | None = None, channels: int = 0
) -> list[Limit | None]:
    """Try so many commands at once and return what each was refused for."""
    found = [throttle.command(key, tenant, channels, 10.0) for _ in range(count)]
    return [None if refusal is None else refusal.limit for refusal in found]


def test_each_connection_has_a_budget_of_commands() -> None:
    """Four at once, and the fifth half a second later."""
    throttle = Throttle[str](LIMITS)

    assert refusals(throttle, 5) == [None] * 4 + [Limit.COMMANDS]
    assert refusals(throttle, 1, "b") == [None]
    refusal = throttle.command("a", None, 0, 10.25)
    assert refusal is not None
    assert (refusal.wait_seconds, refusal.is_final) == (0.25, False)
    assert throttle.command("a", None, 0, 10.5) is None


def test_pings_have_a_budget_of_their_own() -> None:
    """A client that asks for a sign of life can still send commands, and the other way round."""
    throttle = Throttle[str](LIMITS)

    found = [throttle.ping("a", 10.0) for _ in range(4)]
    assert [refusal and refusal.limit for refusal in found] == [None] * 3 + [Limit.PINGS]
    assert refusals(throttle, 4) == [None] * 4
    assert throttle.ping("a", 11.0) is None


def test_channels_cost_one_each() -> None:
    """Two times nine are within twenty, three times are not; a command without channels goes on."""
    throttle = Throttle[str](LIMITS)

    assert refusals(throttle, 3, channels=9) == [None, None, Limit.CHURN]
    assert refusals(throttle, 1) == [None]
    assert refusals(throttle, 1, channels=2) == [None]


def test_connections_of_a_tenant_share_a_budget() -> None:
    """Six commands from whichever of them; other tenants, and what does not count, go on."""
    throttle = Throttle[str](LIMITS)

    assert refusals(throttle, 3, "a", "acme") == [None] * 3
    assert refusals(throttle, 4, "b", "acme") == [None] * 3 + [Limit.TENANT]
    assert refusals(throttle, 1, "b", "globex") == [None]
    assert refusals(throttle, 1, "c", None) == [None]


def test_what_is_refused_for_one_limit_costs_nothing_of_the_others() -> None:
    """A subscribe that is too large takes no command from the connection and none from the tenant."""
    throttle = Throttle[str](LIMITS)
    refusals(throttle, 1, channels=20)

    assert refusals(throttle, 50, "a", "acme", 20) == [Limit.CHURN] * 50
    assert refusals(throttle, 3, "a", "acme") == [None] * 3
    assert refusals(throttle, 4, "b", "acme") == [None] * 3 + [Limit.TENANT]


@pytest.mark.parametrize("kind", ["commands", "pings"])
def test_who_goes_on_regardless_is_sent_away(kind: str) -> None:
    """The hundredth refusal without a pause is the last."""
    throttle = Throttle[str](LIMITS)

    def final() -> bool | None:
        refusal = throttle.ping("a", 10.0) if kind == "pings" else throttle.command("a", None, 0, 10.0)
        return None if refusal is None else refusal.is_final

    found = [final() for _ in range(200)]
    refused = [each for each in found if each is not None]
    assert refused[: int(PATIENCE) + 1] == [False] * int(PATIENCE) + [True]


def test_who_is_refused_now_and_then_stays() -> None:
    """Five refusals a second, for an hour."""
    throttle = Throttle[str](LIMITS)

    found = [throttle.command("a", None, 0, 10 + number / 7) for number in range(7 * 3600)]
    refused = [refusal for refusal in found if refusal is not None]
    assert len(refused) > 5 * 3600 - 10
    assert not any(refusal.is_final for refusal in refused)


def test_without_limits_nothing_is_refused() -> None:
    """0 switches a limit off."""
    throttle = Throttle[str]()

    assert set(refusals(throttle, 1000, "a", "acme", 100)) == {None}
    assert {throttle.ping("a", 10.0) for _ in range(1000)} == {None}


def test_who_left_or_was_quiet_begins_anew() -> None:
    """A budget is the connection's, and ends with it; after a while it is full again anyway."""
    throttle = Throttle[str](LIMITS)
    refusals(throttle, 4)
    throttle.forget("a")
    assert refusals(throttle, 5) == [None] * 4 + [Limit.COMMANDS]

    for now in (20.0, 30.0, 40.0):
        throttle.sweep(now)
    assert throttle.command("a", "acme", 20, 40.0) is None
