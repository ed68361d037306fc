"""Asking other services, real ones that misbehave."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fanwire_edge.adapters.outbound import Outbound, OutboundFailed, OutboundLimits, OutboundReply
from fanwire_protocol.settings import SettingError
from tests.kit.certificates import Authority
from tests.kit.jwks_server import JwksServer
from tests.kit.processes import free_port
from tests.kit.rest_api import Answer, RestApi
from tests.kit.wait import eventually

HEADERS = {"Authorization": "Bearer canary-credential"}
ANNA = "Bearer canary-credential"


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def outbound(
    *, clock: Clock | None = None, ca_file: str | None = None, **limits: Any
) -> AsyncIterator[Outbound]:
    made = Outbound(OutboundLimits(**limits), clock or Clock(), ca_file=ca_file)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def api() -> Iterator[RestApi]:
    """A running REST API."""
    with RestApi({(ANNA, "/orders/42?x=1"): {"id": 42}}) as running:
        yield running


async def test_an_answer_is_a_status_and_a_body(api: RestApi) -> None:
    """With the headers that were given, and nothing that invites a compressed answer."""
    async with outbound() as asking:
        assert await asking.get(api.url("/orders/42?x=1"), HEADERS) == OutboundReply(200, b'{"id": 42}')
        assert (await asking.get(api.url("/orders/43"), HEADERS)).status == 404
        assert (await asking.get(api.url("/orders/42"), {})).status == 401
    asked = api.requests[0]
    assert (asked.method, asked.path, asked.credential) == ("GET", "/orders/42?x=1", ANNA)
    assert asked.headers["accept-encoding"] == "identity"
    assert "canary" not in repr(OutboundReply(200, b"canary"))


async def test_a_redirect_is_an_answer_and_nothing_is_asked_where_it_points(api: RestApi) -> None:
    """The credential would go to wherever the answer says."""
    api.fault = Answer(302, headers={"Location": api.url("/elsewhere")})
    async with outbound() as asking:
        assert (await asking.get(api.url("/orders/42"), HEADERS)).status == 302
    assert api.count() == 1


async def test_cookies_of_an_answer_are_forgotten(api: RestApi) -> None:
    """One user's session must not be shown in the name of the next."""
    api.fault = Answer(200, headers={"Set-Cookie": "session=anna; Path=/"})
    async with outbound() as asking:
        for _ in range(2):
            await asking.get(api.url("/"), {})
    assert all("cookie" not in asked.headers for asked in api.requests)


async def test_proxies_of_the_environment_are_not_asked(
    api: RestApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that was meant for other programs must not see credentials."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with outbound() as asking:
        assert (await asking.get(api.url("/orders/42?x=1"), HEADERS)).status == 200


@pytest.mark.parametrize(
    ("size", "max_bytes", "expected"),
    [(100, 100, 100), (101, 100, None), (65_536, 65_536, 65_536), (5_000_000, 65_536, None)],
)
async def test_a_body_is_bounded(api: RestApi, size: int, max_bytes: int, expected: int | None) -> None:
    """One that is longer fails, and the connection with it; the service is asked on."""
    api.fault = Answer(200, b"x" * size)
    async with outbound(breaker_failures=1) as asking:
        for _ in range(2):
            if expected is None:
                with pytest.raises(OutboundFailed, match="too long"):
                    await asking.get(api.url("/big"), HEADERS, max_bytes)
            else:
                assert len((await asking.get(api.url("/big"), HEADERS, max_bytes)).body) == expected
    assert api.count() == 2


@pytest.mark.parametrize("size", [0, 10, 5_000_000])
async def test_who_wants_the_status_alone_gets_no_body(api: RestApi, size: int) -> None:
    """However long it is."""
    api.fault = Answer(200, b"x" * size)
    async with outbound() as asking:
        assert await asking.get(api.url("/big"), HEADERS, 0) == OutboundReply(200)


@pytest.mark.parametrize(
    "fault",
    [Answer(hang=True), Answer(reset=True), Answer(200, b"x" * 100, half=True)],
    ids=["hangs", "resets", "breaks in the middle"],
)
async def test_a_service_that_does_not_answer_fails_in_time_and_is_then_left_alone(
    api: RestApi, fault: Answer
) -> None:
    """The text names the service and shows neither path, query nor credential."""
    api.fault = fault
    clock = Clock()
    async with outbound(clock=clock, timeout_seconds=0.4, breaker_failures=2, breaker_seconds=5.0) as asking:
        for _ in range(2):
            with pytest.raises(OutboundFailed) as caught:
                await asking.get(api.url("/path?token=canary"), HEADERS)
            assert str(caught.value).startswith(f"http://127.0.0.1:{api.port}: ")
            assert "canary" not in str(caught.value)
            assert "path" not in str(caught.value)
            assert caught.value.__cause__ is None
        asked = api.count()

        with pytest.raises(OutboundFailed, match="left alone"):
            await asking.get(api.url("/path"), HEADERS)
        assert api.count() == asked

        api.fault = None
        clock.now = 5.0
        assert (await asking.get(api.url("/orders/42?x=1"), HEADERS)).status == 200
        assert (await asking.get(api.url("/orders/42?x=1"), HEADERS)).status == 200


@pytest.mark.parametrize(("status", "is_away"), [(500, False), (404, False), (502, True), (503, True)])
async def test_which_answers_mean_that_a_service_is_away(api: RestApi, status: int, is_away: bool) -> None:
    """A 500 may be one resource's own trouble; it is answered on, and shuts nobody else out."""
    api.fault = Answer(status)
    async with outbound(breaker_failures=1) as asking:
        assert (await asking.get(api.url("/"), {})).status == status
        if is_away:
            with pytest.raises(OutboundFailed, match="left alone"):
                await asking.get(api.url("/"), {})
        else:
            assert (await asking.get(api.url("/"), {})).status == status


async def test_requests_are_counted_by_what_became_of_them(api: RestApi) -> None:
    """An answer is one whatever it says; who was not asked did not fail."""
    counts: Counter[str] = Counter()
    asking = Outbound(OutboundLimits(0.5, breaker_failures=1), Clock(), counts=counts)
    for fault in (Answer(200), Answer(500), Answer(hang=True), Answer(200)):
        api.fault = fault
        try:
            await asking.get(api.url("/"), {})
        except OutboundFailed:
            pass  # It is counted.
    await asking.close()

    assert counts == {"answered": 2, "failed": 1, "not_asked": 1}


async def test_services_have_places_and_breakers_of_their_own(api: RestApi) -> None:
    """One that hangs holds up only those who ask it."""
    with RestApi() as slow:
        slow.fault = Answer(hang=True)
        async with outbound(timeout_seconds=5.0, max_concurrent=1) as asking, asyncio.TaskGroup() as tasks:
            stuck = tasks.create_task(asking.get(slow.url("/"), {}))
            await eventually(lambda: slow.count() == 1)
            assert (await asking.get(api.url("/orders/42?x=1"), HEADERS)).status == 200
            stuck.cancel()


async def test_requests_at_once_and_waiting_ones_are_bounded(api: RestApi) -> None:
    """Two are asked, three wait, the sixth fails at once; who waits gets the place that comes free."""
    api.fault = Answer(hang=True)
    async with outbound(timeout_seconds=10.0, max_concurrent=2, max_waiting=3) as asking:
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(asking.get(api.url("/"), {})) for _ in range(5)]
            await eventually(lambda: api.count() == 2)
            with pytest.raises(OutboundFailed, match="too many"):
                await asking.get(api.url("/"), {})
            api.fault = Answer(200)
            waiting[0].cancel()
            await eventually(lambda: sum(task.done() for task in waiting) == 4)
            waiting[1].cancel()
        assert [task.cancelled() for task in waiting] == [True, True, False, False, False]
        assert api.count() == 5


async def test_who_waits_in_vain_fails_within_the_same_time(api: RestApi) -> None:
    """Waiting for a place and for the answer have one deadline; the breaker hears nothing of it."""
    api.fault = Answer(hang=True)
    async with outbound(timeout_seconds=0.5, max_concurrent=1, breaker_failures=2) as asking:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(_failure(asking, api.url("/"))) for _ in range(2)]
        reasons = sorted(task.result() for task in asked)
        api.fault = Answer(200)
        assert (await asking.get(api.url("/"), {})).status == 200
    assert "no answer in time" in reasons[0]
    assert "no place" in reasons[1]


async def _failure(asking: Outbound, url: str) -> str:
    with pytest.raises(OutboundFailed) as caught:
        await asking.get(url, {})
    return str(caught.value)


async def test_nothing_listens(api: RestApi) -> None:
    """A service that is down is a failure like any other, and back when it is back."""
    api.stop()
    async with outbound() as asking:
        with pytest.raises(OutboundFailed, match="ClientConnectorError"):
            await asking.get(api.url("/"), {})
        api.start()
        assert (await asking.get(api.url("/"), {})).status == 401


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status that is none": b"HTTP/1.1 99999 OK\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "a length for chunks that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab",
    "bytes": bytes(range(256)) * 16,
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_no_answer_fails_and_nothing_worse(sent: bytes) -> None:
    """Whatever a port says that was meant to be a service; no exception of the library comes out."""

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        try:
            await writer.drain()
        except ConnectionError:
            pass  # It was understood that this is no answer.
        writer.close()

    port = free_port()
    async with await asyncio.start_server(speak, "127.0.0.1", port), outbound() as asking:
        reason = await _failure_of(asking, f"http://127.0.0.1:{port}/canary", HEADERS)
    assert reason.startswith(f"http://127.0.0.1:{port}: ")
    assert "canary" not in reason


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("nonsense", {}),
        ("/path", {}),
        ("http://[::1", {}),
        ("ftp://127.0.0.1/canary", {}),
        ("", {}),
        ("http://127.0.0.1:1/canary", {"Authorization": "Bearer a\r\nX-Canary: 1"}),
        ("http://127.0.0.1:1/canary", {"X-API-Key": "a\nb"}),
    ],
)
async def test_what_cannot_be_asked_fails_and_nothing_worse(url: str, headers: dict[str, str]) -> None:
    """Also where a credential would smuggle in a header; the text does not show it."""
    async with outbound() as asking:
        assert "anary" not in await _failure_of(asking, url, headers)


async def _failure_of(asking: Outbound, url: str, headers: dict[str, str]) -> str:
    with pytest.raises(OutboundFailed) as caught:
        await asking.get(url, headers)
    return str(caught.value)


async def test_tls_is_checked_against_the_systems_certificates_and_the_configured_ones() -> None:
    """An unknown authority, and a certificate of somebody else, are no service of ours."""
    with JwksServer() as server:
        async with outbound() as stranger:
            assert "Certificate" in await _failure(stranger, server.jwks_url)
        async with outbound(ca_file=server.ca_file) as knowing:
            assert (await knowing.get(server.jwks_url, {})).status == 200
        assert server.fetches == 1
        server.stop()
        server._context = server.authority.server_context("other.example")
        server.start()
        async with outbound(ca_file=server.ca_file) as knowing:
            assert "Certificate" in await _failure(knowing, server.jwks_url)


def test_a_file_of_certificates_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """With a line that names the setting."""
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    for path in (str(empty), str(tmp_path / "missing.pem")):
        with pytest.raises(SettingError, match=r"^outbound\.ca_file: cannot use .*PEM"):
            Outbound(OutboundLimits(), Clock(), ca_file=path)
    authority = Authority()
    assert isinstance(Outbound(OutboundLimits(), Clock(), ca_file=authority.file)._trust, ssl.SSLContext)
    authority.close()
