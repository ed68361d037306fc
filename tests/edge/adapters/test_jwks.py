"""Keys of an issuer, from a real server over TLS that may do whatever it likes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.adapters.jwt import JwtVerifier
from fanwire_edge.adapters.jwt_jwks import MAX_BYTES, MAX_KEYS, Jwks, JwksSource
from fanwire_edge.adapters.jwt_keys import ASYMMETRIC, load_jwk, load_keys
from fanwire_edge.adapters.outbound import Outbound, OutboundLimits
from fanwire_edge.core.claims import ClaimRules
from fanwire_edge.core.freshness import Lifetimes
from fanwire_edge.core.principal import InvalidToken
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.settings import SettingError
from tests.kit.jwks_server import Answer, JwksServer, SigningKey, signing_key
from tests.kit.tokens import SECRET, make_token
from tests.kit.wait import eventually

RSA = signing_key("rsa", "RS256")


class Clock:
    """Time that passes when the test says so, from now on."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Bench:
    """A verifier whose keys are fetched while it is used."""

    verifier: JwtVerifier
    jwks: Jwks
    clock: Clock

    async def user(self, token: str) -> str:
        return (await self.verifier.verify(token)).user

    async def refuses(self, token: str) -> bool:
        try:
            await self.verifier.verify(token)
        except InvalidToken:
            return True
        return False

    async def cannot_tell(self, token: str) -> bool:
        try:
            await self.verifier.verify(token)
        except VerifierUnavailable:
            return True
        return False


@pytest.fixture
def issuer() -> Iterator[JwksServer]:
    """A running issuer with one key."""
    with JwksServer() as running:
        yield running


@asynccontextmanager
async def bench(
    issuer: JwksServer,
    *,
    algorithms: tuple[str, ...] = (),
    secret: str | None = None,
    public_key: str | None = None,
    max_age: float = 300.0,
    timeout_seconds: float = 2.0,
) -> AsyncIterator[Bench]:
    clock = Clock()
    outbound = Outbound(OutboundLimits(timeout_seconds), clock, ca_file=issuer.ca_file)
    source = JwksSource(issuer.jwks_url, algorithms, Lifetimes(max_age, 3600.0, 30.0))
    beside = None
    if secret or public_key:
        beside = load_keys(secret, public_key, algorithms, elsewhere=ASYMMETRIC)
    jwks = Jwks(source, outbound, clock, lambda: 0.0, beside)
    try:
        await jwks.start()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(jwks.run())
            yield Bench(JwtVerifier(jwks, ClaimRules(), clock), jwks, clock)
            running.cancel()
    finally:
        await jwks.close()
        await outbound.close()


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_a_token_is_verified_with_the_key_that_it_names(issuer: JwksServer, algorithm: str) -> None:
    """Of every kind, fetched once for any number of tokens."""
    key = RSA if algorithm == "RS256" else signing_key("mine", algorithm)
    issuer.keys.append(key)
    async with bench(issuer) as used:
        assert await used.user(key.token()) == "u-1"
        assert await used.user(key.token(sub="u-2")) == "u-2"
        other = issuer.keys[0]
        assert await used.refuses(SigningKey(other.kid, key.private, key.algorithm).token())
        assert await used.refuses(SigningKey(key.kid, other.private, other.algorithm).token())
    assert issuer.fetches == 1


async def test_a_key_is_used_with_its_own_algorithm_only(issuer: JwksServer) -> None:
    """An RSA key that says RS256 verifies no PS256, and what is not configured verifies nothing."""
    issuer.keys = [RSA]
    async with bench(issuer) as used:
        assert await used.user(RSA.token())
        assert await used.refuses(jwt.encode(CLAIMS, RSA.private, "PS256", {"kid": "rsa"}))
    async with bench(issuer, algorithms=("PS256", "ES256")) as used:
        assert await used.refuses(RSA.token())
    issuer.keys, issuer.further = [], [RSA.jwk(alg=None)]
    async with bench(issuer, algorithms=("PS256", "RS384")) as used:
        assert await used.user(jwt.encode(CLAIMS, RSA.private, "PS256", {"kid": "rsa"}))
        assert await used.refuses(RSA.token())


@pytest.mark.parametrize(
    ("algorithms", "beside", "message"),
    [
        (("HS256",), False, "'HS256' does not go with published keys"),
        (("RS256", "HS256"), False, "'HS256' does not go with published keys"),
        (("none",), True, "'none' does not go with published keys"),
        (("RS256", "none"), True, "'none' does not go with published keys"),
        (("HS256",), True, "'HS256' does not go with published keys"),
    ],
)
def test_algorithms_that_no_published_key_may_have_stop_the_start(
    algorithms: tuple[str, ...], beside: bool, message: str
) -> None:
    """A secret that is published is none."""
    source = JwksSource("https://id.test/keys", algorithms, Lifetimes(300.0, 3600.0, 30.0))
    secret = load_keys(SECRET, None) if beside else None

    with pytest.raises(SettingError, match=rf"^auth\.jwt\.algorithms: {message}; for example"):
        Jwks(source, Outbound(OutboundLimits(), Clock()), Clock(), lambda: 0.0, secret)


async def test_algorithms_are_shared_among_the_issuers_keys_and_the_configured_one(
    issuer: JwksServer,
) -> None:
    """Each has those that go with it."""
    issuer.keys = [RSA]
    async with bench(issuer, algorithms=("HS256", "RS256"), secret=SECRET) as used:
        assert await used.user(RSA.token())
        assert await used.user(make_token())


CLAIMS: dict[str, Any] = {"sub": "u-1", "tenant": "acme", "exp": int(time.time()) + 3600}
OWN = signing_key("own")
NARROW = rsa.generate_private_key(public_exponent=65_537, key_size=1024)


def _jwk(**members: Any) -> dict[str, Any]:
    return OWN.jwk(**members)


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "own", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "own"},
        _jwk(use="enc"),
        _jwk(use=["sig"]),
        _jwk(use=None, key_ops=["sign"]),
        _jwk(key_ops=["deriveBits"]),
        _jwk(key_ops="verify"),
        _jwk(alg="ES384"),
        _jwk(alg="HS256"),
        _jwk(alg="none"),
        _jwk(alg=["ES256"]),
        _jwk(kty=None),
        _jwk(kty="ec"),
        _jwk(kty=["EC"]),
        _jwk(crv="P-384"),
        _jwk(crv="P-224"),
        _jwk(crv=None),
        _jwk(x=None),
        _jwk(x=7),
        _jwk(y="AAAA"),
        _jwk(x="é" * 43),
        _jwk(y=OWN.jwk()["x"]),
        _jwk(d="AAAA"),
        SigningKey("own", NARROW, "RS256").jwk(),
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "own"},
        {"kty": "RSA", "n": "", "e": "", "kid": "own"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "own"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43, "kid": "own"},
        {},
    ],
)
async def test_what_is_no_strong_public_key_for_signatures_is_skipped(
    issuer: JwksServer, jwk: dict[str, Any]
) -> None:
    """The others of the set are used all the same."""
    assert load_jwk(jwk) is None

    issuer.further = [jwk]
    async with bench(issuer) as used:
        assert await used.user(issuer.keys[0].token())
        assert await used.refuses(OWN.token())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=50),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=5,
)
_MEMBER_NAMES = st.sampled_from(["kty", "n", "e", "x", "y", "crv", "use", "key_ops", "alg", "kid", "d", "k"])


@given(
    st.sampled_from([RSA.jwk(), OWN.jwk(), signing_key("edwards", "EdDSA").jwk()]),
    st.dictionaries(_MEMBER_NAMES, _JSON, max_size=3),
)
def test_any_jwk_is_a_key_or_none(jwk: dict[str, Any], changed: dict[str, Any]) -> None:
    """An issuer's mistake must not end the task that fetches, and the edge with it."""
    key = load_jwk({**jwk, **changed})

    assert key is None or set(key.algorithms) <= set(ASYMMETRIC)


@pytest.mark.parametrize("kid", [7, "", "k" * 129, ["own"], {"own": 1}])
async def test_a_published_key_is_called_by_a_text(issuer: JwksServer, kid: Any) -> None:
    """One that is called otherwise is called by nobody."""
    issuer.keys, issuer.further = [], [OWN.jwk(kid=kid)]
    async with bench(issuer) as used:
        assert await used.refuses(OWN.token())
        assert await used.refuses(jwt.encode(CLAIMS, OWN.private, "ES256"))


async def test_a_symmetric_token_is_refused_whatever_it_is_signed_with(issuer: JwksServer) -> None:
    """The bytes of a published key are no secret, and no such token makes the edge ask."""
    key = issuer.keys[0]
    async with bench(issuer) as used:
        for secret in (key.jwk()["x"], "x" * 64):
            for kid in (key.kid, "unknown"):
                assert await used.refuses(jwt.encode(CLAIMS, secret * 2, "HS256", {"kid": kid}))
    assert issuer.fetches == 1


async def test_without_a_kid_only_an_only_key_is_tried(issuer: JwksServer) -> None:
    """Where there are two, a token must say which."""
    token = jwt.encode(CLAIMS, issuer.keys[0].private, "ES256")
    async with bench(issuer) as used:
        assert await used.user(token)
    issuer.rotate("key-2", retire=False)
    async with bench(issuer) as used:
        assert await used.refuses(token)
    assert issuer.fetches == 2


async def test_keys_that_share_a_kid_are_told_apart_by_their_algorithm(issuer: JwksServer) -> None:
    """Some issuers call one generation of keys by one name."""
    issuer.keys = [SigningKey("same", key.private, key.algorithm) for key in (issuer.keys[0], RSA)]
    async with bench(issuer) as used:
        for key in issuer.keys:
            assert await used.user(key.token())


async def test_a_configured_key_verifies_only_what_names_no_key_of_the_issuers(issuer: JwksServer) -> None:
    """A service's token without a `kid`, or with one that the issuer does not know."""
    async with bench(issuer, secret=SECRET) as used:
        assert await used.user(make_token(sub="service")) == "service"
        assert await used.user(jwt.encode(CLAIMS, SECRET, "HS256", {"kid": "ours"}))
        assert await used.refuses(jwt.encode(CLAIMS, SECRET, "HS256", {"kid": issuer.keys[0].kid}))
        assert await used.user(issuer.keys[0].token())
        assert await used.refuses(jwt.encode(CLAIMS, issuer.keys[0].private, "ES256"))
    assert issuer.fetches == 1, "an HS256 token is nothing to ask the issuer about"


async def test_a_configured_public_key_waits_for_what_the_issuer_says(issuer: JwksServer) -> None:
    """Its algorithm is one that the issuer may use too, so an unknown `kid` is looked up first."""
    own = ec.generate_private_key(ec.SECP256R1())
    pem = _pem(own)
    async with bench(issuer, public_key=pem) as used:
        assert await used.user(jwt.encode(CLAIMS, own, "ES256", {"kid": "ours"}))
        assert issuer.fetches == 2
        issuer.stop()
        used.clock.now += 31
        assert await used.cannot_tell(jwt.encode({**CLAIMS, "sub": "u-2"}, own, "ES256", {"kid": "ours"}))
        assert await used.user(jwt.encode({**CLAIMS, "sub": "u-3"}, own, "ES256")) == "u-3"


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    encoded = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded.decode()


async def test_a_new_key_is_found_by_the_first_token_that_names_it(issuer: JwksServer) -> None:
    """One fetch for all who come at once; the key that retired is bad from then on, also in the memory."""
    old = issuer.keys[0]
    async with bench(issuer) as used:
        token = old.token()
        assert await used.user(token)
        assert await used.user(token)
        new = issuer.rotate("key-2")

        async with asyncio.TaskGroup() as tasks:
            users = [tasks.create_task(used.user(new.token(sub=f"u-{n}"))) for n in range(50)]

        assert [task.result() for task in users] == [f"u-{n}" for n in range(50)]
        assert issuer.fetches == 2
        assert await used.refuses(token)


async def test_a_hundred_unknown_keys_cost_one_fetch(issuer: JwksServer) -> None:
    """At once or one after the other; after the cooldown there may be another one."""
    async with bench(issuer) as used:
        made_up = [SigningKey(f"made-up-{n}", OWN.private) for n in range(100)]
        async with asyncio.TaskGroup() as tasks:
            tried = [tasks.create_task(used.refuses(key.token())) for key in made_up[:50]]
        assert all(task.result() for task in tried)
        for key in made_up[50:]:
            assert await used.refuses(key.token())
        assert issuer.fetches == 2

        used.clock.now += 30
        assert await used.refuses(made_up[0].token())
        assert issuer.fetches == 3


async def test_who_goes_away_while_it_waits_ends_nothing(issuer: JwksServer) -> None:
    """The fetch goes on for the others who wait for it."""
    async with bench(issuer) as used:
        new = issuer.rotate("key-2")
        issuer.fault = Answer(200, issuer.document(), delay_seconds=0.2)
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(used.user(new.token()))
            await eventually(lambda: issuer.fetches == 2)
            second = tasks.create_task(used.user(new.token(sub="u-2")))
            first.cancel()
        assert second.result() == "u-2"
        assert issuer.fetches == 2


FAULTS: Mapping[str, Answer] = {
    "500": Answer(500),
    "404": Answer(404),
    "a redirect": Answer(302, headers={"Location": "http://127.0.0.1:1/"}),
    "no JSON": Answer(200, "<html>"),
    "no UTF-8": Answer(200, b"\xff"),
    "nested deeply": Answer(200, "[" * 10_000),
    "a list": Answer(200, []),
    "no keys": Answer(200, {}),
    "keys a map": Answer(200, {"keys": {}}),
    "a key that is none": Answer(200, {"keys": ["key"]}),
    "too many keys": Answer(200, {"keys": [{}] * (MAX_KEYS + 1)}),
    "too long": Answer(200, {"keys": [], "x": "y" * MAX_BYTES}),
    "hangs": Answer(hang=True),
    "resets": Answer(reset=True),
    "breaks in the middle": Answer(200, {"keys": [], "x": "y" * 1000}, half=True),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_an_issuer_that_answers_nonsense_costs_nobody_its_key(
    issuer: JwksServer, fault: Answer
) -> None:
    """What was known serves; of a new key nobody can tell; after the time it is the same for all."""
    known = issuer.keys[0]
    async with bench(issuer, timeout_seconds=0.5) as used:
        assert await used.user(known.token())
        new = issuer.rotate("key-2")
        issuer.fault = fault

        assert await used.cannot_tell(new.token())
        assert await used.user(known.token(sub="u-2")) == "u-2"
        used.clock.now += 3601
        late = known.token(sub="u-3", exp=int(used.clock.now) + 60)
        assert await used.cannot_tell(late)
        assert await used.refuses("e30.e30.e30")


async def test_a_remembered_token_does_not_outlive_the_time_of_stale_keys(issuer: JwksServer) -> None:
    """That its signature was good an hour ago says nothing of its key now."""
    async with bench(issuer) as used:
        token = issuer.keys[0].token(exp=int(used.clock.now) + 7200)
        assert await used.user(token)
        issuer.stop()
        used.clock.now += 3600
        assert await used.user(token)
        used.clock.now += 1
        assert await used.cannot_tell(token)


async def test_an_issuer_that_is_away_at_the_start_is_found_when_it_is_back(
    issuer: JwksServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then nobody is let in, and nobody is told that its token is bad; the log says so once."""
    caplog.set_level(logging.INFO, "fanwire.jwks")
    issuer.stop()
    async with bench(issuer) as used:
        token = issuer.keys[0].token()
        assert await used.cannot_tell(token)
        issuer.start()

        async def is_back() -> bool:
            return not await used.cannot_tell(token)

        await eventually(is_back, 5.0)
        assert await used.user(token)
    assert [record.getMessage() for record in caplog.records] == ["jwks_unavailable", "jwks_loaded"]
    assert token not in caplog.text


async def test_the_set_is_fetched_again_when_it_is_old(issuer: JwksServer) -> None:
    """In the background: a retired key turns bad without anybody asking for another."""
    old = issuer.keys[0]
    async with bench(issuer, max_age=0.1) as used:
        assert await used.user(old.token())
        issuer.rotate("key-2")
        seen = issuer.fetches
        await eventually(lambda: issuer.fetches >= seen + 2)
        assert await used.refuses(old.token())


async def test_an_issuer_that_takes_back_all_its_keys_is_obeyed(issuer: JwksServer) -> None:
    """An empty set is a statement, not a fault."""
    key = issuer.keys[0]
    async with bench(issuer) as used:
        assert await used.user(key.token())
        issuer.keys = []
        assert await used.refuses(SigningKey("made-up", OWN.private).token())
        assert await used.refuses(key.token())
