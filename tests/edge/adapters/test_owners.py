"""Permission by the owner of a resource, against a real service that knows (SYSTEMS K2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from fanwire_edge.adapters.outbound import Outbound, OutboundLimits
from fanwire_edge.adapters.owners import AT_ONCE, OwnerAuthorizer, OwnerQuery
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.rules import Rules
from fanwire_protocol.channels import parse_channel
from tests.kit.rest_api import Answer, RestApi
from tests.kit.wait import eventually

SPECS = "tenant:acme:resource:spec"
SECRET = "canary-owner-secret"
BEARER = f"Bearer {SECRET}"
YES, NO, UNKNOWN = Decision.PERMITTED, Decision.FORBIDDEN, Decision.UNAVAILABLE


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of what is remembered."""
    return Clock()


@pytest.fixture
def api() -> Iterator[RestApi]:
    """A service that knows owners."""
    with RestApi() as running:
        yield running


@pytest_asyncio.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """What asks it, briefly."""
    asking = Outbound(OutboundLimits(timeout_seconds=1.0, breaker_failures=1000), time.monotonic)
    yield asking
    await asking.close()


@pytest.fixture
def owners(outbound: Outbound, api: RestApi, clock: Clock) -> OwnerAuthorizer:
    """Asked with a bearer of the edge's own, for `team.id`."""
    rule = f"tenant:{{tenant}}:resource:spec:{{id}} {api.url('/specs/')}{{id}}"
    return OwnerAuthorizer(
        outbound, OwnerQuery(Rules([rule]), ("team", "id"), {"Authorization": BEARER}), clock
    )


async def decided(
    owners: OwnerAuthorizer, *names: str, tenant: str = "acme", user: str = "u-1"
) -> list[Decision]:
    found = await owners.decide(Asker(Principal(user, tenant)), [parse_channel(name) for name in names])
    assert found.keys() == set(names)
    return [found[name] for name in names]


def team(owner: object) -> dict[str, object]:
    return {"id": 1, "team": {"id": owner, "name": "x"}}


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (team("acme"), YES),
        (team("globex"), NO),
        (team("ACME"), NO),
        (team(""), NO),
        (team(None), NO),
        (404, NO),
        (410, UNKNOWN),
        (team(["acme"]), UNKNOWN),
        (team(True), UNKNOWN),
        ({"team": {}}, UNKNOWN),
        ({"team": "acme"}, UNKNOWN),
        (["acme"], UNKNOWN),
        (Answer(200, b"garbage"), UNKNOWN),
        (Answer(200, b'{"team":{"id":"acme"}'), UNKNOWN),
        (200, UNKNOWN),
        (Answer(200, "x" * 100_000), UNKNOWN),
        (401, UNKNOWN),
        (403, UNKNOWN),
        (302, UNKNOWN),
        (500, UNKNOWN),
        (Answer(reset=True), UNKNOWN),
        (Answer(hang=True), UNKNOWN),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_the_owner_decides(
    owners: OwnerAuthorizer, api: RestApi, answer: object, decision: Decision
) -> None:
    """It is the asker's tenant or it is not; what is no answer is no permission, nor is our own 401."""
    api.table[BEARER, "/specs/1"] = answer

    assert await decided(owners, f"{SPECS}:1") == [decision]


async def test_an_owner_may_be_a_number(owners: OwnerAuthorizer, api: RestApi) -> None:
    """Teams of a database often are."""
    api.table[BEARER, "/specs/1"] = team(7)

    assert await decided(owners, "tenant:7:resource:spec:1", tenant="7") == [YES]


async def test_what_is_no_question_of_owners_is_left_to_others(owners: OwnerAuthorizer, api: RestApi) -> None:
    """A pattern of what is, is forbidden: nobody owns every one."""
    assert await decided(owners, "tenant:acme:resource:orders:1") == [Decision.UNDECIDED]
    assert await decided(owners, f"{SPECS}:*", f"{SPECS}:..") == [NO, NO]
    assert api.count() == 0


async def test_an_answer_is_shared_by_all_for_ten_seconds(
    owners: OwnerAuthorizer, api: RestApi, clock: Clock
) -> None:
    """It does not depend on the user; a service that was asked a moment ago is not asked again."""
    api.table[BEARER, "/specs/1"] = team("acme")
    assert await decided(owners, f"{SPECS}:1") == [YES]

    api.table[BEARER, "/specs/1"] = team("globex")
    clock.now += 9.9
    assert await decided(owners, f"{SPECS}:1", user="u-2") == [YES]
    assert api.count() == 1
    clock.now += 0.1
    assert await decided(owners, f"{SPECS}:1") == [NO]


async def test_what_is_not_there_or_fails_is_not_remembered(owners: OwnerAuthorizer, api: RestApi) -> None:
    """Somebody creates it, or the service comes back, and it counts at once."""
    api.table[BEARER, "/specs/1"] = 404
    assert await decided(owners, f"{SPECS}:1") == [NO]
    api.table[BEARER, "/specs/1"] = 500
    assert await decided(owners, f"{SPECS}:1") == [UNKNOWN]
    api.table[BEARER, "/specs/1"] = team("acme")
    assert await decided(owners, f"{SPECS}:1") == [YES]


async def test_a_revocation_makes_it_forget(owners: OwnerAuthorizer, api: RestApi) -> None:
    """Also what it is being told at that moment: that may be what was right before."""
    api.table[BEARER, "/specs/1"] = Answer(200, team("acme"), delay_seconds=0.2)
    async with asyncio.TaskGroup() as tasks:
        late = tasks.create_task(decided(owners, f"{SPECS}:1"))
        await eventually(lambda: api.count() == 1)
        owners.forget(None)
        api.table[BEARER, "/specs/1"] = team("globex")
        assert await decided(owners, f"{SPECS}:1") == [NO]
    assert late.result() == [YES]
    assert await decided(owners, f"{SPECS}:1") == [NO]
    assert api.count() == 2


async def test_many_who_ask_at_once_are_one_question(owners: OwnerAuthorizer, api: RestApi) -> None:
    """Who gave up does not take the answer from the others; one of them asks again."""
    api.table[BEARER, "/specs/1"] = Answer(200, team("acme"), delay_seconds=0.2)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(decided(owners, f"{SPECS}:1"))
        await eventually(lambda: api.count() == 1)
        others = [tasks.create_task(decided(owners, f"{SPECS}:1")) for _ in range(20)]
        await asyncio.sleep(0)
        first.cancel()
    assert [each.result() for each in others] == [[YES]] * 20
    assert api.count() == 2


async def test_a_failure_is_that_of_all_who_waited(owners: OwnerAuthorizer, api: RestApi) -> None:
    """They asked at the same time and get the same answer."""
    api.table[BEARER, "/specs/1"] = Answer(500, delay_seconds=0.1)
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(decided(owners, f"{SPECS}:1")) for _ in range(5)]
    assert [each.result() for each in asked] == [[UNKNOWN]] * 5
    assert api.count() == 1


async def test_many_channels_are_asked_for_a_few_at_a_time(owners: OwnerAuthorizer, api: RestApi) -> None:
    """Each has its own answer, and the edge shows its own bearer and nothing of the user's."""
    count = 2 * AT_ONCE
    api.table.update({(BEARER, f"/specs/{number}"): team("acme") for number in range(0, count, 2)})

    assert await decided(owners, *(f"{SPECS}:{number}" for number in range(count))) == [YES, NO] * AT_ONCE
    assert {request.credential for request in api.requests} == {BEARER}


def test_the_bearer_is_in_no_repr() -> None:
    """It may be logged by accident otherwise."""
    assert SECRET not in repr(OwnerQuery(Rules([]), ("tenant",), {"Authorization": BEARER}))
