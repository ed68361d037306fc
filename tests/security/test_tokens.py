"""Forged, wrong and old tokens: S05 to S14 and S16, with PROTOCOL's codes, on real edges.

The strict edge has the switches on that PROTOCOL leaves open (S10, S11): access tokens only, of one issuer,
for one audience, with all claims of RFC 9068. Its keys are published by a server, and beside them there is
one that is configured. The other edge has a secret, and the settings that an edge has by default.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization

from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import HttpAnswer, upgrade_request
from tests.kit.canaries import CANARIES
from tests.kit.jwks_server import Answer, JwksServer, SigningKey, encoded, signing_key
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.rest_api import RestApi
from tests.kit.tokens import SECRET, make_token
from tests.kit.wait import eventually

ISSUER, AUDIENCE = "https://login.example.com/", "fanwire"


@dataclass(frozen=True, slots=True)
class Strict:
    """The strict edge, who signs for it, and somebody whom a token may point to."""

    edge: RunningEdge
    issuer: JwksServer
    configured: SigningKey
    attacker: RestApi

    @property
    def key(self) -> SigningKey:
        return self.issuer.keys[0]

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a good token; one given as None is left out."""
        now = int(time.time())
        values = {
            "sub": "u-1",
            "tenant": "acme",
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "jti": f"t-{now}",
            "client_id": "web",
            **changed,
        }
        return {name: value for name, value in values.items() if value is not None}

    def token(self, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """Return a good token, with changed claims and header; a member given as None is left out."""
        head = {"alg": self.key.algorithm, "typ": "at+jwt", "kid": self.key.kid, **(header or {})}
        present = {name: value for name, value in head.items() if value is not None}
        return CANARIES.remember_token(self.key.sign(present, self.claims(**changed)))

    async def answer(self, token: str) -> HttpAnswer:
        return await _answer(self.edge, token)


async def _answer(edge: RunningEdge, token: str) -> HttpAnswer:
    async with await edge.dial() as wire:
        return await wire.ask(upgrade_request(f"Authorization: Bearer {token}"))


async def _is_refused(edge: RunningEdge, token: str) -> bool:
    answer = await _answer(edge, token)
    if answer.status == 101:
        return False
    assert (answer.status, answer.error["code"]) == (401, "unauthenticated"), answer
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert not any(len(part) > 12 and part in str(answer) for part in token.split("."))
    return True


def _public_pem(key: SigningKey) -> bytes:
    return key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _hs256(header: Mapping[str, Any], claims: object, secret: bytes) -> str:
    body = f"{encoded({'alg': 'HS256', **header})}.{encoded(claims)}"
    return f"{body}.{encoded(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


@pytest.fixture(scope="module")
def issuer() -> Iterator[JwksServer]:
    """An issuer that publishes one RSA key."""
    with JwksServer(signing_key("key-1", "RS256")) as running:
        yield running


@pytest.fixture(scope="module")
def attacker() -> Iterator[RestApi]:
    """A server that nobody has a reason to ask."""
    with RestApi() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(
    session_redis: RedisServer,
    issuer: JwksServer,
    attacker: RestApi,
) -> AsyncIterator[Strict]:
    """An edge with the strict switches on."""
    configured = signing_key("configured", "RS256")
    async with running_edge(
        SharedRedis(session_redis, "strict"),
        AUTH__SOURCES='["subprotocol", "authorization", "query"]',
        AUTH__JWT__SECRET=None,
        AUTH__JWT__PUBLIC_KEY=_public_pem(configured).decode(),
        AUTH__JWT__JWKS_URL=issuer.jwks_url,
        AUTH__JWT__ALGORITHMS='["RS256"]',
        AUTH__JWT__ISSUER=ISSUER,
        AUTH__JWT__AUDIENCE=AUDIENCE,
        AUTH__JWT__REQUIRE='["iat", "jti", "client_id"]',
        AUTH__JWT__TYP="at+jwt",
        OUTBOUND__CA_FILE=issuer.ca_file,
    ) as edge:
        yield Strict(edge, issuer, configured, attacker)


async def test_a_good_token_passes_the_strict_edge(strict: Strict) -> None:
    """Else the cases below would say nothing; the configured key verifies what names no published one."""
    unnamed = strict.configured.sign({"alg": "RS256", "typ": "at+jwt"}, strict.claims())
    claimed = strict.configured.sign({"alg": "RS256", "typ": "at+jwt", "kid": "key-1"}, strict.claims())

    assert (await strict.answer(strict.token())).status == 101
    assert (await strict.answer(unnamed)).status == 101
    assert await _is_refused(strict.edge, claimed)


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None, 7, ["RS256"], {"RS256": 1}, "rs256"])
async def test_s05_a_token_does_not_choose_its_algorithm(
    strict: Strict, edge: RunningEdge, algorithm: Any
) -> None:
    """Neither none at all, nor a list of them, with a signature or without."""
    head = {"typ": "at+jwt", "kid": "key-1"} | ({} if algorithm is None else {"alg": algorithm})
    signed = strict.key.sign(head, strict.claims())
    unsigned = f"{encoded(head)}.{encoded(strict.claims())}."
    usual = _hs256(head, {"sub": "u-1", "tenant": "acme", "exp": time.time() + 60}, SECRET.encode())
    if algorithm is None:
        usual = usual.replace(usual.partition(".")[0], encoded(head))

    for token in (signed, unsigned):
        assert await _is_refused(strict.edge, token)
    for token in (usual, unsigned):
        assert await _is_refused(edge, token)


async def test_s05_an_algorithm_that_is_not_the_keys_is_refused(strict: Strict, edge: RunningEdge) -> None:
    """Also where the same key could sign with it."""
    for algorithm in ("PS256", "RS512"):
        headers = {"kid": "key-1", "typ": "at+jwt"}
        token = jwt.encode(strict.claims(), strict.key.private, algorithm, headers)
        assert await _is_refused(strict.edge, token)
    claims = {"sub": "u-1", "tenant": "acme", "exp": time.time() + 60}
    assert await _is_refused(edge, jwt.encode(claims, SECRET * 2, "HS512"))


async def test_s06_a_public_key_is_no_secret(strict: Strict) -> None:
    """An HS256 token signed with the text of a public key, published or configured, in any of its forms."""
    for key, kid in (
        (strict.key, {"kid": "key-1"}),
        (strict.configured, {}),
        (strict.configured, {"kid": "x"}),
    ):
        pem = _public_pem(key)
        der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
        for secret in (pem, pem.strip(), der, key.jwk()["n"].encode()):
            token = _hs256({"typ": "at+jwt", **kid}, strict.claims(), secret)
            assert await _is_refused(strict.edge, token)


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "key-1'--",
        "key-1\0",
        "KEY-1",
        "https://127.0.0.1:1/keys",
        "",
        7,
        ["key-1"],
        {"kid": "key-1"},
        "k" * 129,
        "k" * 4000,
    ],
    ids=lambda kid: repr(kid)[:24],
)
async def test_s07_a_strange_kid_selects_nothing(strict: Strict, kid: Any) -> None:
    """It is a text that is compared, and nothing else."""
    assert await _is_refused(strict.edge, strict.token({"kid": kid}))


async def test_s07_a_kid_of_10_kb_is_no_request(strict: Strict) -> None:
    """The header that carries it is longer than a header may be."""
    assert (await strict.answer(strict.token({"kid": "k" * 10_240}))).status == 400


async def test_s07_a_hundred_unknown_kids_cost_at_most_one_fetch(strict: Strict) -> None:
    """Within the cooldown of 30 s, at once and one after the other; good tokens pass meanwhile."""
    before = strict.issuer.fetches
    tokens = [strict.token({"kid": f"unknown-{number}"}) for number in range(100)]

    async with asyncio.TaskGroup() as tasks:
        refused = [tasks.create_task(_is_refused(strict.edge, token)) for token in tokens[:50]]
    assert all(task.result() for task in refused)
    for token in tokens[50:]:
        assert await _is_refused(strict.edge, token)

    assert strict.issuer.fetches - before <= 1
    assert (await strict.answer(strict.token())).status == 101


async def test_s08_keys_that_a_token_brings_along_are_not_looked_at(
    strict: Strict, edge: RunningEdge
) -> None:
    """Nobody asks where they point to; what is signed with them is refused, what is signed rightly passes."""
    own = signing_key("key-1", "RS256")
    url = strict.attacker.url("/keys")
    further = {"jku": url, "x5u": url, "jwk": own.jwk(), "x5c": ["MA=="], "x5t": "eA", "x5t#S256": "eA"}
    fetches = strict.issuer.fetches

    for header in (further, *({name: value} for name, value in further.items())):
        head = {"alg": "RS256", "typ": "at+jwt", "kid": "key-1", **header}
        assert await _is_refused(strict.edge, own.sign(head, strict.claims()))
        assert (await strict.answer(strict.token(header))).status == 101
        claims = {"sub": "u-1", "tenant": "acme", "exp": int(time.time()) + 60}
        assert await _is_refused(edge, _hs256(header, claims, b"x" * 64))
        assert not await _is_refused(edge, _hs256(header, claims, SECRET.encode()))

    assert strict.attacker.requests == []
    assert strict.issuer.fetches == fetches


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"crit": None, "b64": False},
        {"crit": "b64"},
        {"alg": "RSA-OAEP", "enc": "A256GCM"},
        {"alg": "dir", "enc": "A256GCM"},
    ],
    ids=repr,
)
async def test_s09_extensions_are_not_known(
    strict: Strict, edge: RunningEdge, header: dict[str, Any]
) -> None:
    """`crit` of any kind, an unencoded payload, and what is encrypted and not signed."""
    assert await _is_refused(strict.edge, strict.token(header))
    claims = {"sub": "u-1", "tenant": "acme", "exp": int(time.time()) + 60}
    present = {name: value for name, value in header.items() if value is not None}
    assert await _is_refused(edge, _hs256(present, claims, SECRET.encode()))


async def test_s09_five_parts_and_a_compressed_payload_are_no_token(strict: Strict) -> None:
    """A JWE has five; a payload that is deflated is no JSON."""
    head = encoded({"alg": "dir", "enc": "A256GCM"})
    assert await _is_refused(
        strict.edge, f"{head}..{encoded(b'x' * 12)}.{encoded(b'x' * 40)}.{encoded(b'x' * 16)}"
    )
    assert await _is_refused(strict.edge, strict.token().rpartition(".")[0] + ".a.b.c")
    deflated = strict.key.sign(
        {"alg": "RS256", "typ": "at+jwt", "kid": "key-1", "zip": "DEF"}, b"x\x9c\xabVJ\xceH\xcc"
    )
    assert await _is_refused(strict.edge, deflated)


@pytest.mark.parametrize("claim", ["exp", "iss", "aud", "sub", "iat", "jti", "client_id"])
async def test_s10_a_required_claim_is_missing(strict: Strict, claim: str) -> None:
    """With `auth.jwt.require` each of RFC 9068's, absent or null."""
    assert await _is_refused(strict.edge, strict.token(**{claim: None}))
    claims = {**strict.claims(), claim: None}
    head = {"alg": "RS256", "typ": "at+jwt", "kid": "key-1"}
    assert await _is_refused(strict.edge, strict.key.sign(head, claims))


@pytest.mark.parametrize("claim", ["exp", "sub"])
async def test_s10_without_the_switch_a_token_has_an_end_and_a_bearer(edge: RunningEdge, claim: str) -> None:
    """PROTOCOL §2: `exp` and `sub` are required always, the others where they are configured."""
    without: dict[str, Any] = {claim: None}
    assert await _is_refused(edge, make_token(SECRET, **without))
    assert not await _is_refused(edge, make_token())


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "id_token", "at+jwt2", "", 7, ["at+jwt"], "logout+jwt"])
async def test_s11_only_access_tokens_pass_where_that_is_configured(strict: Strict, typ: Any) -> None:
    """`auth.jwt.typ = "at+jwt"`: neither an id token, nor one that does not say what it is."""
    assert await _is_refused(strict.edge, strict.token({"typ": typ}))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_s11_an_access_token_may_be_written_in_three_ways(strict: Strict, typ: str) -> None:
    """RFC 9068 section 4 and RFC 7515 section 4.1.9."""
    assert (await strict.answer(strict.token({"typ": typ}))).status == 101


@pytest.mark.parametrize("typ", ["id_token", "logout+jwt", 7])
async def test_s11_without_the_switch_what_says_that_it_is_something_else_is_refused(
    edge: RunningEdge, typ: Any
) -> None:
    """PROTOCOL §2: `JWT` passes, and so does a token without `typ`."""
    claims = {"sub": "u-1", "tenant": "acme", "exp": int(time.time()) + 60}

    assert await _is_refused(edge, _hs256({"typ": typ}, claims, SECRET.encode()))
    assert not await _is_refused(edge, _hs256({}, claims, SECRET.encode()))


@pytest.mark.parametrize(
    ("claims", "passes"),
    [
        ({"iss": ISSUER.rstrip("/")}, False),
        ({"iss": ISSUER + "x"}, False),
        ({"iss": ISSUER.replace(".com", ".com.evil.test")}, False),
        ({"iss": ISSUER.upper()}, False),
        ({"iss": [ISSUER]}, False),
        ({"aud": "fanwire2"}, False),
        ({"aud": "fanwir"}, False),
        ({"aud": ["other", "fanwire2"]}, False),
        ({"aud": []}, False),
        ({"aud": {"fanwire": 1}}, False),
        ({"aud": [AUDIENCE]}, True),
        ({"aud": ["other", AUDIENCE]}, True),
    ],
    ids=repr,
)
async def test_s12_issuer_and_audience_are_compared_exactly(
    strict: Strict, claims: dict[str, Any], passes: bool
) -> None:
    """No part of a name is the name; a list of audiences may hold others beside."""
    assert await _is_refused(strict.edge, strict.token(**claims)) is not passes


@pytest.mark.parametrize(
    "dates",
    [
        {"exp": -1},
        {"exp": 0},
        {"exp": 86_400 + 60},
        {"exp": 10**30},
        {"exp": 1e300},
        {"nbf": 60},
        {"iat": 60},
        {"nbf": 10**30},
    ],
    ids=repr,
)
async def test_s13_a_token_is_used_in_its_time(
    strict: Strict, edge: RunningEdge, dates: dict[str, float]
) -> None:
    """Past, not yet begun beyond 30 s, or good for longer than a day; seconds from now."""
    moved: dict[str, Any] = {name: int(time.time()) + seconds for name, seconds in dates.items()}

    assert await _is_refused(strict.edge, strict.token(None, **moved))
    assert await _is_refused(edge, make_token(SECRET, **moved))


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1900000000", True, [1_900_000_000], {}], ids=repr)
async def test_s13_a_date_is_a_number(strict: Strict, claim: str, value: Any) -> None:
    """A text that looks like one is none."""
    head = {"alg": "RS256", "typ": "at+jwt", "kid": "key-1"}

    assert await _is_refused(strict.edge, strict.key.sign(head, {**strict.claims(), claim: value}))


async def test_s13_clocks_may_differ_by_half_a_minute(strict: Strict) -> None:
    """`nbf` and `iat` were written by another machine; `exp` has no leeway."""
    near = int(time.time()) + 20

    assert (await strict.answer(strict.token(nbf=near, iat=near))).status == 101


@pytest.mark.parametrize(
    "mangled",
    [
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: f"{token} x",
        lambda token: token.replace(".", " .", 1),
        lambda token: token + "..",
        lambda token: token + ".a.b",
        lambda token: token.rpartition(".")[0],
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token.replace(".", ".A", 1),
        lambda token: token.swapcase(),
        lambda token: token.replace(token.split(".")[1], encoded({"sub": "u-2"})),
    ],
)
async def test_s14_a_token_with_anything_changed_is_none(
    strict: Strict, edge: RunningEdge, mangled: Any
) -> None:
    """Padding, spaces, other numbers of parts, one letter more, less or other."""
    assert await _is_refused(strict.edge, mangled(strict.token()))
    assert await _is_refused(edge, mangled(make_token()))


@pytest.mark.parametrize("tail", ["%0A", "%0D%0A", "%20", "%00", "="])
async def test_s14_nothing_follows_a_token_in_a_query(strict: Strict, tail: str) -> None:
    """Where `query` is configured, what HTTP would strip off a header arrives with the token."""
    token = strict.token()
    async with await strict.edge.dial() as wire:
        assert (await wire.ask(upgrade_request(path=f"/ws?token={token}"))).status == 101
    async with await strict.edge.dial() as wire:
        answer = await wire.ask(upgrade_request(path=f"/ws?token={token}{tail}"))
        assert (answer.status, answer.error["code"]) == (401, "unauthenticated")


async def test_s16_keys_come_go_and_are_away(session_redis: RedisServer) -> None:
    """A new key works at once, a retired one no more; without the issuer known keys serve for their time,
    a key that nobody can know about and then all of them are 503, and it is good again when the issuer is."""
    with JwksServer() as issuer:
        old = issuer.keys[0]
        async with running_edge(
            SharedRedis(session_redis, "rotating"),
            AUTH__JWT__SECRET=None,
            AUTH__JWT__JWKS_URL=issuer.jwks_url,
            AUTH__JWT__JWKS_MAX_AGE="1",
            AUTH__JWT__JWKS_MAX_STALE="4",
            AUTH__JWT__JWKS_COOLDOWN="0.1",
            OUTBOUND__CA_FILE=issuer.ca_file,
            OUTBOUND__BREAKER_SECONDS="0.2",
        ) as edge:
            remembered = old.token()
            assert (await _answer(edge, remembered)).status == 101
            new = issuer.rotate("key-2")
            assert (await _answer(edge, new.token())).status == 101
            assert await _is_refused(edge, remembered)
            assert await _is_refused(edge, old.token())

            issuer.fault = Answer(500)
            assert (await _answer(edge, new.token())).status == 101
            unknown = signing_key("key-3")
            await _until(edge, unknown.token(), 503)
            assert (await _answer(edge, new.token())).status == 101

            await _until(edge, new.token(), 503)
            answer = await _answer(edge, remembered)
            assert (answer.status, answer.error["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 0

            issuer.fault = None
            await _until(edge, new.token(), 101)
            assert await _is_refused(edge, remembered)


async def _status(edge: RunningEdge, token: str) -> int:
    return (await _answer(edge, token)).status


async def _until(edge: RunningEdge, token: str, status: int) -> None:
    async def is_so() -> bool:
        return await _status(edge, token) == status

    await eventually(is_so, 15.0)


async def test_s16_an_edge_whose_issuer_is_away_starts_and_lets_nobody_in(
    session_redis: RedisServer,
) -> None:
    """503 and not 401: the token is not bad; it finds the issuer by itself."""
    with JwksServer() as issuer:
        token = issuer.keys[0].token()
        issuer.stop()
        async with running_edge(
            SharedRedis(session_redis, "waiting"),
            AUTH__JWT__SECRET=None,
            AUTH__JWT__JWKS_URL=issuer.jwks_url,
            OUTBOUND__CA_FILE=issuer.ca_file,
        ) as edge:
            assert await _status(edge, token) == 503
            assert await _status(edge, "e30.e30.e30") == 401
            issuer.start()
            await _until(edge, token, 101)
