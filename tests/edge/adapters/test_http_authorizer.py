"""The mirror of a REST API, against a real one (PROTOCOL §9 `http`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
import pytest_asyncio

from fanwire_edge.adapters.http_authorizer import AT_ONCE, HttpAuthorizer
from fanwire_edge.adapters.outbound import Outbound, OutboundLimits
from fanwire_edge.core.credential import Credential
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.rules import Rules
from fanwire_protocol.channels import parse_channel
from tests.kit.rest_api import Answer, RestApi

ORDERS = "tenant:acme:resource:orders"
CREDENTIALS = [
    Credential("authorization", "t-1", ("Authorization", "Bearer t-1")),
    Credential("cookie", "s-1", ("Cookie", "session=s-1")),
    Credential("api_key", "k-1", ("X-API-Key", "k-1")),
]


def asker(credential: Credential | None = CREDENTIALS[0]) -> Asker:
    return Asker(Principal("u-1", "acme"), credential)


@pytest.fixture
def api() -> Iterator[RestApi]:
    """A REST API that serves nothing yet."""
    with RestApi() as running:
        yield running


@pytest_asyncio.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """What asks it, briefly."""
    asking = Outbound(OutboundLimits(timeout_seconds=0.5, breaker_failures=1000), time.monotonic)
    yield asking
    await asking.close()


@pytest.fixture
def mirror(outbound: Outbound, api: RestApi) -> HttpAuthorizer:
    """Orders one by one; every invoice."""
    return HttpAuthorizer(
        outbound,
        Rules(
            [
                f"tenant:{{tenant}}:resource:orders:{{id}} {api.url('/orders/')}{{id}}",
                f"tenant:{{tenant}}:resource:invoices:* {api.url('/invoices')}",
            ]
        ),
    )


async def decided(mirror: HttpAuthorizer, *names: str, by: Asker | None = None) -> list[Decision]:
    found = await mirror.decide(by or asker(), [parse_channel(name) for name in names])
    assert found.keys() == set(names)
    return [found[name] for name in names]


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (200, Decision.PERMITTED),
        (204, Decision.PERMITTED),
        (206, Decision.PERMITTED),
        (401, Decision.UNAUTHENTICATED),
        (403, Decision.FORBIDDEN),
        (404, Decision.FORBIDDEN),
        (410, Decision.UNAVAILABLE),
        (301, Decision.UNAVAILABLE),
        (304, Decision.UNAVAILABLE),
        (400, Decision.UNAVAILABLE),
        (402, Decision.UNAVAILABLE),
        (405, Decision.UNAVAILABLE),
        (429, Decision.UNAVAILABLE),
        (500, Decision.UNAVAILABLE),
        (503, Decision.UNAVAILABLE),
        (Answer(302, headers={"Location": "/orders/2"}), Decision.UNAVAILABLE),
        (Answer(hang=True), Decision.UNAVAILABLE),
        (Answer(reset=True), Decision.UNAVAILABLE),
        (Answer(200, b"garbage that nobody reads"), Decision.PERMITTED),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_the_status_decides_and_only_2xx_permits(
    mirror: HttpAuthorizer, api: RestApi, answer: Answer | int, decision: Decision
) -> None:
    """A redirect is not followed, even to what the user may see; what is no answer is no permission."""
    api.table["Bearer t-1", "/orders/1"] = answer
    api.table["Bearer t-1", "/orders/2"] = 200

    assert await decided(mirror, f"{ORDERS}:1") == [decision]
    assert api.count("/orders/2") == 0


@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda each: each.source)
async def test_the_api_is_asked_in_the_users_own_name(
    mirror: HttpAuthorizer, api: RestApi, credential: Credential
) -> None:
    """With the header that the client's credential came in, and no other."""
    api.table[credential.forward[1], "/orders/1"] = 200

    assert await decided(mirror, f"{ORDERS}:1", by=asker(credential)) == [Decision.PERMITTED]
    assert await decided(mirror, f"{ORDERS}:1", by=asker(None)) == [Decision.UNAVAILABLE]
    [request] = api.requests
    assert request.method == "GET"
    assert request.credential == credential.forward[1]


@pytest.mark.parametrize(
    "names", [[f"{ORDERS}:*"], ["tenant:acme:resource:*"], [f"{ORDERS}:.", f"{ORDERS}:.."]]
)
async def test_some_channels_are_forbidden_without_a_question(
    mirror: HttpAuthorizer, api: RestApi, names: Sequence[str]
) -> None:
    """A pattern without a rule of its own, though its channels have one; ids that lead elsewhere."""
    api.table["Bearer t-1", "/orders/"] = 200

    assert set(await decided(mirror, *names)) == {Decision.FORBIDDEN}
    assert api.count() == 0


async def test_a_list_route_permits_no_pattern(mirror: HttpAuthorizer, api: RestApi) -> None:
    """It answers 200 with the caller's own rows: only a route that is named for the pattern counts."""
    api.table["Bearer t-1", "/orders"] = [{"id": 1}]
    api.table["Bearer t-1", "/orders/1"] = {"id": 1}

    assert await decided(mirror, f"{ORDERS}:*") == [Decision.FORBIDDEN]

    api.table["Bearer t-1", "/invoices"] = 200
    assert await decided(mirror, "tenant:acme:resource:invoices:*") == [Decision.PERMITTED]
    assert await decided(mirror, "tenant:acme:resource:invoices:1") == [Decision.UNDECIDED]


async def test_what_has_no_route_is_left_to_others(mirror: HttpAuthorizer, api: RestApi) -> None:
    """A pattern of another type too."""
    names = ["tenant:acme:resource:logs:1", "tenant:acme:resource:logs:*"]

    assert await decided(mirror, *names) == [Decision.UNDECIDED, Decision.UNDECIDED]
    assert api.count() == 0


@pytest.mark.parametrize("value", ["a@b", "a+b", "a|b", "a=b", "a.b", "~", "...", "-", "x" * 128])
async def test_the_api_gets_the_id_as_one_segment(mirror: HttpAuthorizer, api: RestApi, value: str) -> None:
    """Whatever characters a segment of a channel may have."""
    api.fault = 200

    assert await decided(mirror, f"{ORDERS}:{value}") == [Decision.PERMITTED]
    [request] = api.requests
    path, _, query = request.path.partition("?")
    assert (path.count("/"), query) == (2, "")


async def test_a_storm_waits_for_its_turn_and_is_answered(outbound: Outbound, api: RestApi) -> None:
    """However many ask at once, only so many requests are out; none of them is refused for that."""
    api.fault = Answer(200, delay_seconds=0.02)
    mirror = HttpAuthorizer(outbound, Rules([f"{ORDERS}:{{id}} {api.url('/orders/')}{{id}}"]), 4)
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(decided(mirror, f"{ORDERS}:{number}")) for number in range(100)]
    assert [each.result() for each in asked] == [[Decision.PERMITTED]] * 100


async def test_many_channels_are_asked_for_a_few_at_a_time(mirror: HttpAuthorizer, api: RestApi) -> None:
    """Each once, and each has its own answer."""
    names = [f"{ORDERS}:{number}" for number in range(3 * AT_ONCE)]
    api.table.update({("Bearer t-1", f"/orders/{number}"): 200 for number in range(0, 3 * AT_ONCE, 2)})

    found = await decided(mirror, *names, "tenant:acme:resource:logs:1")

    assert found == [Decision.PERMITTED, Decision.FORBIDDEN] * (3 * AT_ONCE // 2) + [Decision.UNDECIDED]
    assert api.count() == 3 * AT_ONCE
