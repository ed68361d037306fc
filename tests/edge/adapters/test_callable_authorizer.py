"""Permission by a function of the operator's own (PROTOCOL §9 `callable`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fanwire_edge.adapters.callables import AT_ONCE, CallableAuthorizer, Function
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import parse_channel

ORDERS = "tenant:acme:resource:orders"
ANNE = Principal("anne", "acme", ("staff",), frozenset({"orders:write", "a:b"}), ("x",), token_id="t-1")


async def decided(function: Callable[..., Any], *names: str, deadline_seconds: float = 5.0) -> list[Decision]:
    authorizer = CallableAuthorizer(Function("authorization.callable", function, deadline_seconds))
    found = await authorizer.decide(Asker(ANNE), [parse_channel(name) for name in names])
    return [found[name] for name in names]


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (True, Decision.PERMITTED),
        (False, Decision.FORBIDDEN),
        (None, Decision.UNDECIDED),
        (1, Decision.UNAVAILABLE),
        (0, Decision.UNAVAILABLE),
        ("yes", Decision.UNAVAILABLE),
        ({"permitted": True}, Decision.UNAVAILABLE),
        ([], Decision.UNAVAILABLE),
    ],
)
async def test_only_true_permits(answer: object, decision: Decision) -> None:
    """None leaves it to others; what is no answer is no permission, sync or async."""

    async def later(principal: object, channel: str) -> object:
        await asyncio.sleep(0)
        return answer

    assert await decided(lambda principal, channel: answer, f"{ORDERS}:1") == [decision]
    assert await decided(later, f"{ORDERS}:1") == [decision]


async def test_it_is_told_who_asks_and_for_what() -> None:
    """As plain values, which are its own to keep; nothing of the credential is among them."""
    told: list[Any] = []

    def may_read(principal: dict[str, Any], channel: str) -> bool:
        told.append((principal, channel))
        return True

    await decided(may_read, f"{ORDERS}:1")

    assert told == [
        (
            {
                "user": "anne",
                "tenant": "acme",
                "roles": ["staff"],
                "permissions": ["a:b", "orders:write"],
                "channels": ["x"],
                "token_id": "t-1",
            },
            f"{ORDERS}:1",
        )
    ]


async def test_one_that_fails_or_hangs_permits_nothing() -> None:
    """And costs the other channels nothing."""
    gate = threading.Event()

    def may_read(principal: object, channel: str) -> bool:
        if channel.endswith(":1"):
            raise ValueError(principal)
        if channel.endswith(":2"):
            gate.wait(10)
        return True

    try:
        names = [f"{ORDERS}:{number}" for number in (1, 2, 3)]
        found = await decided(may_read, *names, deadline_seconds=0.3)
    finally:
        gate.set()
    assert found == [Decision.UNAVAILABLE, Decision.UNAVAILABLE, Decision.PERMITTED]


async def test_each_channel_has_its_own_answer() -> None:
    """However many there are."""
    names = [f"{ORDERS}:{number}" for number in range(2 * AT_ONCE)]

    found = await decided(lambda principal, channel: int(channel.rpartition(":")[2]) % 2 == 0, *names)

    assert found == [Decision.PERMITTED, Decision.FORBIDDEN] * AT_ONCE
