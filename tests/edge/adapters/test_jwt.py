"""Tokens: the attacks of RFC 8725 and the rules of PROTOCOL §2, on real keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from typing import Any, NoReturn

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.adapters.jwt import MAX_TOKEN_CHARACTERS, InvalidToken, JwtVerifier
from fanwire_edge.adapters.jwt_keys import MAX_PEM_KEYS, load_keys
from fanwire_edge.core.claims import ClaimRules
from fanwire_edge.core.principal import Principal
from fanwire_protocol.settings import SettingError

SECRET = "a secret of these tests, long enough for every hash there is: 64+"
NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {"sub": "u-1", "tenant": "acme", "exp": 1_800_003_600}
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def pem(key: PrivateKey) -> str:
    encoded = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded.decode()


def private_pem(key: PrivateKey) -> str:
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded.decode()


RSA_PEM, EC_PEM, ED_PEM = pem(RSA_KEY), pem(EC_KEY), pem(ED_KEY)


def by_secret(*, clock: Clock | None = None, **options: Any) -> JwtVerifier:
    return JwtVerifier(load_keys(SECRET, None), ClaimRules(), clock or Clock(), **options)


def by_key(public_key: str, *algorithms: str) -> JwtVerifier:
    return JwtVerifier(load_keys(None, public_key, algorithms), ClaimRules(), Clock())


def encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: object, payload: object = GOOD, secret: str | bytes = SECRET) -> str:
    """Return a token with any header and payload, signed by HMAC-SHA-256, as no library would write it."""
    body = f"{encoded(header)}.{encoded(payload)}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{body}.{encoded(hmac.new(key, body.encode(), hashlib.sha256).digest())}"


TOKEN = signed({"alg": "HS256", "typ": "JWT"})


@pytest.mark.parametrize(
    ("secret", "public_key", "signer", "algorithm"),
    [
        (SECRET, None, SECRET, "HS256"),
        (None, RSA_PEM, RSA_KEY, "RS256"),
        (None, EC_PEM, EC_KEY, "ES256"),
        (None, ED_PEM, ED_KEY, "EdDSA"),
    ],
)
async def test_a_good_token_of_every_kind_of_key_identifies_its_bearer(
    secret: str | None, public_key: str | None, signer: Any, algorithm: str
) -> None:
    """Without configured algorithms the key's kind decides."""
    keys = load_keys(secret, public_key)

    principal = await JwtVerifier(keys, ClaimRules(), Clock()).verify(jwt.encode(GOOD, signer, algorithm))

    assert principal == Principal("u-1", "acme", expires_at=1_800_003_600.0)
    assert [key.algorithms for key in keys.bound_to(algorithm)] == [(algorithm,)]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_configured_algorithms_of_a_secret_pass(algorithm: str) -> None:
    """Each where the secret is as long as its hash."""
    verifier = JwtVerifier(load_keys(SECRET, None, ("HS256", "HS384", "HS512")), ClaimRules(), Clock())

    assert (await verifier.verify(jwt.encode(GOOD, SECRET, algorithm))).user == "u-1"


@pytest.mark.parametrize(
    ("curve", "algorithm"),
    [(ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512"), (ec.SECP256K1(), "ES256K")],
)
async def test_a_curve_decides_its_algorithm(curve: ec.EllipticCurve, algorithm: str) -> None:
    """There is one algorithm for a curve."""
    key = ec.generate_private_key(curve)

    assert (await by_key(pem(key)).verify(jwt.encode(GOOD, key, algorithm))).user == "u-1"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "PS512"])
async def test_configured_algorithms_of_an_rsa_key_pass(algorithm: str) -> None:
    """RS and PS are of one kind of key."""
    verifier = by_key(RSA_PEM, "RS256", "PS256", "PS512")

    assert (await verifier.verify(jwt.encode(GOOD, RSA_KEY, algorithm))).user == "u-1"


async def test_a_pem_may_hold_several_keys_and_each_is_bound_to_its_own_algorithms() -> None:
    """So that a key can be replaced without an hour at which all tokens turn bad."""
    second = ec.generate_private_key(ec.SECP256R1())
    verifier = by_key(f"# old\n{RSA_PEM}\n# new\n{EC_PEM}{pem(second)}", "PS256", "ES256")

    for signer, algorithm in ((RSA_KEY, "PS256"), (EC_KEY, "ES256"), (second, "ES256")):
        assert (await verifier.verify(jwt.encode(GOOD, signer, algorithm))).user == "u-1"
    stranger = ec.generate_private_key(ec.SECP256R1())
    for token in (jwt.encode(GOOD, RSA_KEY, "RS256"), jwt.encode(GOOD, stranger, "ES256")):
        with pytest.raises(InvalidToken):
            await verifier.verify(token)


HS256 = {"alg": "HS256"}
UNSIGNED = f"{encoded(GOOD)}."
ATTACKS: dict[str, str] = {
    # S05: the token chooses its algorithm
    "alg none": f"{encoded({'alg': 'none'})}.{UNSIGNED}",
    "alg None": f"{encoded({'alg': 'None'})}.{UNSIGNED}",
    "alg nOnE": f"{encoded({'alg': 'nOnE'})}.{UNSIGNED}",
    "alg none with a signature": signed({"alg": "none"}),
    "alg nOnE with a signature": signed({"alg": "nOnE"}),
    "alg a list": signed({"alg": ["HS256"]}),
    "alg a map": signed({"alg": {"HS256": 1}}),
    "alg null": signed({"alg": None}),
    "alg empty": signed({"alg": ""}),
    "alg missing": signed({"typ": "JWT"}),
    "alg of another case": signed({"alg": "hs256"}),
    "alg not configured": jwt.encode(GOOD, SECRET, "HS512"),
    "alg of another kind of key": jwt.encode(GOOD, RSA_KEY, "RS256"),
    # S07: kid
    "kid a number": signed({**HS256, "kid": 1}),
    "kid a list": signed({**HS256, "kid": ["a"]}),
    "kid null": signed({**HS256, "kid": None}),
    "kid of 129 characters": signed({**HS256, "kid": "k" * 129}),
    "kid of 10 KB": signed({**HS256, "kid": "k" * 10_240}),
    # S08: the token brings its key
    "jwk of the attacker": signed(
        {**HS256, "jwk": {"kty": "oct", "k": encoded(b"x" * 32)}}, secret=b"x" * 32
    ),
    "jku of the attacker": signed({**HS256, "jku": "http://127.0.0.1:1/keys"}, secret=b"x" * 32),
    # S09: extensions
    "crit unknown": signed({**HS256, "crit": ["exp"], "exp": 1}),
    "crit empty": signed({**HS256, "crit": []}),
    "crit no list": signed({**HS256, "crit": "b64"}),
    "crit b64 true": signed({**HS256, "crit": ["b64"], "b64": True}),
    "b64 false": signed({**HS256, "crit": ["b64"], "b64": False}),
    "b64 false without crit": signed({**HS256, "b64": False}),
    "payload deflated": signed({**HS256, "zip": "DEF"}, b"x\x9c\xabVJ\xceH\xcc"),
    # S10, S13: dates and required claims
    "exp missing": signed(HS256, {"sub": "u-1", "tenant": "acme"}),
    "exp a string": signed(HS256, {**GOOD, "exp": "1800003600"}),
    "exp a boolean": signed(HS256, {**GOOD, "exp": True}),
    "exp 10^30": signed(HS256, {**GOOD, "exp": 10**30}),
    "exp 1e300": signed(HS256, {**GOOD, "exp": 1e300}),
    "exp infinite": signed(HS256, b'{"sub":"u-1","tenant":"acme","exp":Infinity}'),
    "exp 1e999": signed(HS256, b'{"sub":"u-1","tenant":"acme","exp":1e999}'),
    "exp not a number": signed(HS256, b'{"sub":"u-1","tenant":"acme","exp":NaN}'),
    "exp past": signed(HS256, {**GOOD, "exp": NOW - 1}),
    "exp now": signed(HS256, {**GOOD, "exp": NOW}),
    "exp beyond a day": signed(HS256, {**GOOD, "exp": NOW + 86_401}),
    "nbf to come": signed(HS256, {**GOOD, "nbf": NOW + 31}),
    "iat to come": signed(HS256, {**GOOD, "iat": NOW + 31}),
    "nbf a string": signed(HS256, {**GOOD, "nbf": "1"}),
    "sub missing": signed(HS256, {"tenant": "acme", "exp": GOOD["exp"]}),
    "tenant missing": signed(HS256, {"sub": "u-1", "exp": GOOD["exp"]}),
    "tenant twice": signed(HS256, b'{"sub":"u-1","tenant":"acme","tenant":"other","exp":1800003600}'),
    # S11: tokens for something else
    "typ id_token": signed({**HS256, "typ": "id_token"}),
    "typ logout+jwt": signed({**HS256, "typ": "logout+jwt"}),
    "typ JWTs": signed({**HS256, "typ": "JWTs"}),
    "typ a list": signed({**HS256, "typ": ["JWT"]}),
    "typ null": signed({**HS256, "typ": None}),
    "typ a number": signed({**HS256, "typ": 1}),
    # S14: form
    "trailing newline": TOKEN + "\n",
    "trailing CRLF": TOKEN + "\r\n",
    "leading space": " " + TOKEN,
    "trailing space": TOKEN + " ",
    "padding": TOKEN + "=",
    "five parts": f"{TOKEN}.a.b",
    "four parts": f"{TOKEN}.{TOKEN.rpartition('.')[2]}",
    "two parts": TOKEN.rpartition(".")[0],
    "no signature": TOKEN.rpartition(".")[0] + ".",
    "one part": "token",
    "empty": "",
    "dots": "..",
    "plus and slash": TOKEN.rpartition(".")[0] + ".+/+/",
    "last character flipped": TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B"),
    "signature cut": TOKEN[:-4],
    "not ASCII": TOKEN + "é",
    "lone surrogate": TOKEN + "\udc80",
    "NUL": TOKEN + "\0",
    "payload of another": ".".join(
        [TOKEN.split(".")[0], encoded({**GOOD, "sub": "u-2"}), TOKEN.split(".")[2]]
    ),
    "header a list": signed(["HS256"]),
    "header with a name twice": signed(b'{"alg":"none","alg":"HS256"}'),
    "header no JSON": signed(b"{alg:HS256}"),
    "header nested deeply": signed(b"[" * 3000),
    "payload a list": signed(HS256, [GOOD]),
    "payload a string": signed(HS256, "u-1"),
    "payload no JSON": signed(HS256, b"sub=u-1"),
    "payload no UTF-8": signed(HS256, b'{"sub":"\xff"}'),
    "payload nested deeply": signed(HS256, b"[" * 3000),
    "another secret": signed(HS256, secret="another secret, and long enough all the same"),
    "too long": signed(HS256, {**GOOD, "roles": ["r" * 8_192]}),
}


@pytest.mark.parametrize("token", ATTACKS.values(), ids=ATTACKS.keys())
async def test_an_attack_identifies_nobody(token: str) -> None:
    """The reason is a fixed text: no part of the token is in it, nor in what caused it."""
    verifier = by_secret()

    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(token)

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not any(len(part) > 8 and part in caught.value.reason for part in token.split("."))
    assert "u-1" not in caught.value.reason
    assert verifier.remembered == 0


@pytest.mark.parametrize("secret", [RSA_PEM.encode(), RSA_PEM.strip().encode()])
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_a_public_key_is_no_secret(secret: bytes, algorithm: str) -> None:
    """S06: what everybody may know, used as an HMAC secret, signs nothing."""
    for verifier in (by_key(RSA_PEM), by_key(EC_PEM), by_key(RSA_PEM, "RS256", "PS256")):
        with pytest.raises(InvalidToken):
            await verifier.verify(signed({"alg": algorithm}, secret=secret))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"kid": "http://127.0.0.1:1/"},
        {"kid": "unknown"},
        {"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert"},
        {"jwk": {"kty": "oct", "k": "eA"}, "x5c": ["MA=="]},
        {"cty": "JWT"},
    ],
)
async def test_what_a_header_says_of_keys_is_ignored_and_never_fetched(
    header: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S07, S08: a rightly signed token passes with it, and no connection is made."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a token made the verifier connect")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert (await by_secret().verify(signed({**HS256, **header}))).user == "u-1"


@pytest.mark.parametrize(
    ("header", "usual", "access_only"),
    [
        ({}, True, False),
        ({"typ": "JWT"}, True, False),
        ({"typ": "jwt"}, True, False),
        ({"typ": "at+jwt"}, True, True),
        ({"typ": "AT+JWT"}, True, True),
        ({"typ": "application/at+jwt"}, True, True),
        ({"typ": "id_token"}, False, False),
        ({"typ": None}, False, False),
    ],
)
async def test_the_type_of_a_token_is_checked(header: dict[str, Any], usual: bool, access_only: bool) -> None:
    """S11: usual tokens pass unless only RFC 9068 access tokens are wanted."""
    token = signed({**HS256, **header})

    for verifier, passes in ((by_secret(), usual), (by_secret(access_tokens_only=True), access_only)):
        if passes:
            assert (await verifier.verify(token)).user == "u-1"
        else:
            with pytest.raises(InvalidToken, match="`typ`"):
                await verifier.verify(token)


@pytest.mark.parametrize(
    ("claims", "passes"),
    [
        ({"iss": "https://a/", "aud": "fanwire"}, True),
        ({"iss": "https://a/", "aud": ["x", "fanwire"]}, True),
        ({"iss": "https://a/", "aud": "fanwire2"}, False),
        ({"iss": "https://a/.evil.test", "aud": "fanwire"}, False),
        ({"iss": "https://a", "aud": "fanwire"}, False),
        ({"aud": "fanwire"}, False),
        ({"iss": "https://a/"}, False),
    ],
)
async def test_issuer_and_audience_hold_where_they_are_configured(
    claims: dict[str, Any], passes: bool
) -> None:
    """S10, S12: required and exact."""
    rules = ClaimRules(issuer="https://a/", audience="fanwire")
    verifier = JwtVerifier(load_keys(SECRET, None), rules, Clock())
    token = signed(HS256, {**GOOD, **claims})

    if passes:
        assert (await verifier.verify(token)).user == "u-1"
    else:
        with pytest.raises(InvalidToken, match="configured"):
            await verifier.verify(token)


async def test_the_longest_token_passes() -> None:
    """8,192 characters are a token, one more is none."""
    size = next(
        size
        for size in range(6_200, 5_800, -1)
        if len(signed(HS256, {**GOOD, "x": "y" * size})) <= MAX_TOKEN_CHARACTERS
    )

    assert (await by_secret().verify(signed(HS256, {**GOOD, "x": "y" * size}))).user == "u-1"
    with pytest.raises(InvalidToken, match="8,192"):
        await by_secret().verify(signed(HS256, {**GOOD, "x": "y" * (size + 2)}))


async def test_a_token_seen_before_gives_the_same_principal_until_it_expires() -> None:
    """A reconnect storm costs a hash for each token; `exp` still ends it, to the moment."""
    clock = Clock()
    verifier = by_secret(clock=clock)
    first = await verifier.verify(TOKEN)
    clock.now = GOOD["exp"] - 0.001

    assert await verifier.verify(TOKEN) is first

    clock.now = GOOD["exp"]
    with pytest.raises(InvalidToken, match="expired"):
        await verifier.verify(TOKEN)
    assert verifier.remembered == 0


async def test_only_the_tokens_used_last_are_remembered() -> None:
    """The memory is bounded; a forgotten token is simply verified again."""
    verifier = by_secret(max_remembered=2)
    one, two, three = (signed(HS256, {**GOOD, "sub": f"u-{index}"}) for index in range(3))
    kept = await verifier.verify(one)
    forgotten = await verifier.verify(two)
    await verifier.verify(one)
    await verifier.verify(three)

    assert verifier.remembered == 2
    assert await verifier.verify(one) is kept
    again = await verifier.verify(two)
    assert again == forgotten
    assert again is not forgotten


async def test_what_is_remembered_says_nothing_about_other_tokens() -> None:
    """One changed character is another token, however often the good one passed."""
    verifier = by_secret()
    await verifier.verify(TOKEN)

    for index in range(0, len(TOKEN), 7):
        changed = TOKEN[:index] + ("A" if TOKEN[index] != "A" else "B") + TOKEN[index + 1 :]
        with pytest.raises(InvalidToken):
            await verifier.verify(changed)


@given(st.text(max_size=60) | st.lists(st.text("ey.AJ_-=09", max_size=12), max_size=5).map(".".join))
async def test_any_text_is_an_invalid_token_and_nothing_worse(text: str) -> None:
    """No other exception comes out, whatever a header brings."""
    with pytest.raises(InvalidToken):
        await by_secret().verify(text)


@given(
    st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip", "jwk"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.lists(st.just("b64"), max_size=2),
        max_size=4,
    )
)
async def test_any_header_ends_in_a_principal_or_an_invalid_token(header: dict[str, Any]) -> None:
    """A signed header of any shape raises nothing else."""
    try:
        principal = await by_secret().verify(signed({**HS256, **header}))
    except InvalidToken:
        return
    assert principal.user == "u-1"
    assert header.get("alg", "HS256") == "HS256"


CERTIFICATE = (
    f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(b'x' * 90).decode()}\n-----END CERTIFICATE-----\n"
)
WEAK_RSA_PEM = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf
9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==
-----END PUBLIC KEY-----
"""


@pytest.mark.parametrize(
    ("secret", "public_key", "algorithms", "message"),
    [
        (None, None, (), "auth.jwt: has one key"),
        (SECRET, RSA_PEM, (), "auth.jwt: has one key"),
        ("", None, (), "has 0 bytes and needs 32"),
        ("s" * 31, None, (), "has 31 bytes and needs 32"),
        ("s" * 63, None, ("HS256", "HS512"), "has 63 bytes and needs 64"),
        (RSA_PEM, None, (), "is a key or certificate"),
        (private_pem(RSA_KEY), None, (), "is a key or certificate"),
        (CERTIFICATE, None, (), "is a key or certificate"),
        (json.dumps({"kty": "oct", "k": "x" * 43}), None, (), "is a key or certificate"),
        (SECRET, None, ("RS256",), "'RS256' does not go with a secret"),
        (SECRET, None, ("HS256", "ES256"), "'ES256' does not go with a secret"),
        (SECRET, None, ("none",), "'none' does not go with a secret"),
        (SECRET, None, ("HS256 ",), "'HS256 ' does not go with a secret"),
        (None, RSA_PEM, ("HS256",), "'HS256' does not go with an RSA key"),
        (None, RSA_PEM, ("RS256", "HS256"), "'HS256' does not go with an RSA key"),
        (None, RSA_PEM, ("ES256",), "'ES256' does not go with an RSA key"),
        (None, EC_PEM, ("ES384",), "'ES384' does not go with a key on secp256r1"),
        (None, EC_PEM, ("none",), "'none' does not go with a key on secp256r1"),
        (None, ED_PEM, ("RS256",), "'RS256' does not go with an Edwards key"),
        (None, "", (), "is no public key in PEM"),
        (None, SECRET, (), "is no public key in PEM"),
        (None, CERTIFICATE, (), "is no public key in PEM"),
        (None, private_pem(RSA_KEY), (), "is no public key in PEM"),
        (None, WEAK_RSA_PEM, (), "has 512 bits; RSA needs 2048"),
        (None, RSA_PEM + WEAK_RSA_PEM, (), "has 512 bits; RSA needs 2048"),
        (None, RSA_PEM + private_pem(RSA_KEY), (), "is no public key in PEM"),
        (None, RSA_PEM + EC_PEM, ("RS256",), "'RS256' does not go with a key on secp256r1"),
        (None, RSA_PEM + EC_PEM, ("RS256", "ES256", "EdDSA"), "'EdDSA' does not go with an RSA key"),
        (None, EC_PEM * (MAX_PEM_KEYS + 1), (), "holds 17 keys; 16 are the most"),
        (None, pem(dsa.generate_private_key(key_size=1024)), (), "signs no tokens"),
        (None, pem(ec.generate_private_key(ec.SECP224R1())), (), "signs no tokens"),
    ],
)
def test_a_key_that_is_weak_mixed_or_none_stops_the_start(
    secret: str | None, public_key: str | None, algorithms: tuple[str, ...], message: str
) -> None:
    """One line names the setting, and shows nothing of the key."""
    with pytest.raises(SettingError, match=message) as caught:
        load_keys(secret, public_key, algorithms)

    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("auth.jwt")
    assert not (secret and secret in text)


def test_no_key_is_in_a_repr() -> None:
    """A key may be printed, and shows its algorithms only."""
    [key] = load_keys(SECRET, None).bound_to("HS256")
    assert repr(key) == "VerificationKey(algorithms=('HS256',))"


async def test_a_secret_of_any_bytes_is_used_as_it_is() -> None:
    """What is no UTF-8 in the environment or in a file comes through unchanged."""
    secret = bytes(range(128, 192))
    verifier = JwtVerifier(load_keys(secret.decode("utf-8", "surrogateescape"), None), ClaimRules(), Clock())

    assert (await verifier.verify(signed(HS256, secret=secret))).user == "u-1"
