"""What every authorizer keeps to, whoever it asks (`ports.Authorizer`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Protocol

import pytest
import pytest_asyncio

from fanwire_edge.adapters.callables import CallableAuthorizer, Function
from fanwire_edge.adapters.http_authorizer import HttpAuthorizer
from fanwire_edge.adapters.outbound import Outbound, OutboundLimits
from fanwire_edge.adapters.owners import OwnerAuthorizer, OwnerQuery
from fanwire_edge.by_claims import ByClaims
from fanwire_edge.core.credential import Credential
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.revocations import Revocations
from fanwire_edge.core.rules import Rules
from fanwire_edge.ports import Authorizer
from fanwire_protocol.channels import parse_channel
from tests.kit.rest_api import RestApi

# In every world somebody of `acme` may read order 1; nobody says anything of logs.
MINE, OTHERS = "tenant:acme:resource:orders:1", "tenant:acme:resource:orders:2"
PATTERN, LOG = "tenant:acme:resource:orders:*", "tenant:acme:resource:logs:1"
ANNE = Asker(
    Principal("anne", "acme", patterns=(MINE,)),
    Credential("authorization", "t-1", ("Authorization", "Bearer t-1")),
)


class Witness(Protocol):
    """Whom an authorizer asks."""

    authorizer: Authorizer

    def leave(self) -> None:
        """Go away, so that nobody can tell any more."""


class ClaimsWitness:
    """The token itself, which is never away."""

    def __init__(self) -> None:
        self.revocations = Revocations(60)
        self.authorizer: Authorizer = ByClaims(self)

    def leave(self) -> None:
        raise AssertionError("a token is always there")


@dataclass
class ApiWitness:
    """A REST API that shows order 1 to Anne, and says that it is of `acme`."""

    api: RestApi
    authorizer: Authorizer

    def leave(self) -> None:
        self.api.stop()


class FunctionWitness:
    """A function of the operator's own."""

    def __init__(self) -> None:
        self.is_away = False
        self.authorizer: Authorizer = CallableAuthorizer(
            Function("authorization.callable", self._may_read, 1.0)
        )

    def _may_read(self, principal: object, channel: str) -> bool | None:
        if self.is_away:
            raise ConnectionError
        return None if channel == LOG else channel == MINE

    def leave(self) -> None:
        self.is_away = True


@pytest.fixture
def api() -> Iterator[RestApi]:
    """What the mirror and the owners ask."""
    with RestApi({("Bearer t-1", "/orders/1"): {"tenant": "acme"}, ("Bearer t-1", "/me"): 200}) as running:
        yield running


@pytest_asyncio.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """How they ask."""
    asking = Outbound(OutboundLimits(timeout_seconds=1.0), time.monotonic)
    yield asking
    await asking.close()


@pytest.fixture(params=["claims", "http", "owner", "callable"])
def witness(request: pytest.FixtureRequest, api: RestApi, outbound: Outbound) -> Witness:
    """One of all that there are."""
    rules = Rules([f"tenant:{{tenant}}:resource:orders:{{id}} {api.url('/orders/')}{{id}}"])
    match request.param:
        case "claims":
            return ClaimsWitness()
        case "http":
            return ApiWitness(api, HttpAuthorizer(outbound, rules))
        case "owner":
            query = OwnerQuery(rules, ("tenant",), {"Authorization": "Bearer t-1"})
            return ApiWitness(api, OwnerAuthorizer(outbound, query, time.monotonic))
    return FunctionWitness()


async def decided(witness: Witness, *names: str) -> dict[str, Decision]:
    return dict(await witness.authorizer.decide(ANNE, [parse_channel(name) for name in names]))


async def test_it_says_something_of_each_channel_and_of_no_other(witness: Witness) -> None:
    """One or many; what is permitted is permitted whoever else is asked for."""
    for names in ([MINE], [LOG, OTHERS, MINE], [LOG]):
        found = await decided(witness, *names)

        assert found.keys() == set(names)
        assert found.get(MINE, Decision.PERMITTED) is Decision.PERMITTED


async def test_it_permits_nothing_that_it_does_not_know_of(witness: Witness) -> None:
    """Neither another resource, nor every one because of one; on what is none of its it has no opinion."""
    found = await decided(witness, OTHERS, PATTERN, LOG)

    assert found[OTHERS] in (Decision.FORBIDDEN, Decision.UNDECIDED)
    assert found[PATTERN] in (Decision.FORBIDDEN, Decision.UNDECIDED)
    assert found[LOG] is Decision.UNDECIDED


@pytest.mark.parametrize("witness", ["http", "owner", "callable"], indirect=True)
async def test_it_says_that_nobody_can_tell_and_never_raises(witness: Witness) -> None:
    """Whatever is wrong with those whom it asks."""
    witness.leave()

    assert await decided(witness, MINE, OTHERS) == dict.fromkeys((MINE, OTHERS), Decision.UNAVAILABLE)


async def test_cancelling_it_is_safe(witness: Witness) -> None:
    """At any moment; the next question is answered."""
    for turns in range(5):
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(decided(witness, MINE, OTHERS))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()

    assert (await decided(witness, MINE))[MINE] is Decision.PERMITTED
