"""JSON Web Tokens, verified with one configured key (PROTOCOL §2 "Verifiers", RFC 8725).

PyJWT checks the form, the header and the signature. It accepts a token without `exp`, a textual `exp`, any
`typ` and a short key, so every other rule is ours: the key's at start (`load_key`), the claims' in
`core.claims`. The algorithms are bound to the key; what a token says about itself (`alg`, `kid`, `jku`,
`x5u`, `jwk`) selects nothing and fetches nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fanwire_edge.core.claims import ClaimReader, ClaimRules
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_protocol.codec import InvalidData, decode_json
from fanwire_protocol.settings import SettingError

__all__ = ["MAX_TOKEN_CHARACTERS", "InvalidToken", "JwtVerifier", "VerificationKey", "load_key"]

MAX_TOKEN_CHARACTERS = 8_192
MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2_048
# Without padding (RFC 7515 section 2), which PyJWT would let pass.
_COMPACT_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_TYPES = _ACCESS_TOKEN_TYPES | {"jwt"}
# An HMAC key is at least as long as the hash (RFC 7518 section 3.2).
_SECRET_BYTES = {"HS256": MIN_SECRET_BYTES, "HS384": 48, "HS512": 64}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key and the algorithms that it may be used with."""

    material: bytes | PublicKey = field(repr=False)
    algorithms: tuple[str, ...]


def load_key(secret: str | None, public_key: str | None, algorithms: tuple[str, ...] = ()) -> VerificationKey:
    """Return the key of an HMAC secret or of a public key in PEM, whichever is given.

    Without *algorithms* the key's own kind decides: HS256, RS256, ES256 (384, 512 by the curve) or EdDSA.
    Raises SettingError where the key is weak or none, or an algorithm does not belong to it.
    """
    if secret is not None and public_key is None:
        return _secret_key(secret.encode("utf-8", "surrogateescape"), algorithms)
    if public_key is not None and secret is None:
        return _public_key(public_key.encode("utf-8", "surrogateescape"), algorithms)
    raise SettingError("auth.jwt: has one key; set either FANWIRE_AUTH__JWT__SECRET or …__PUBLIC_KEY_FILE")


def _secret_key(secret: bytes, algorithms: tuple[str, ...]) -> VerificationKey:
    allowed = algorithms or ("HS256",)
    _refuse_strange(allowed, tuple(_SECRET_BYTES), "a secret")
    needed = max(_SECRET_BYTES[name] for name in allowed)
    if len(secret) < needed:
        raise SettingError(
            f"auth.jwt.secret: has {len(secret)} bytes and needs {needed} for {', '.join(allowed)}; "
            f"for example the output of `openssl rand -hex {needed}`"
        )
    try:
        # Refuses what is meant to be public: a PEM, an SSH key, a certificate or a JWK.
        jwt.get_algorithm_by_name(allowed[0]).prepare_key(secret)
    except jwt.InvalidKeyError:
        raise SettingError(
            "auth.jwt.secret: is a key or certificate and no secret; "
            "set FANWIRE_AUTH__JWT__PUBLIC_KEY_FILE to its file instead"
        ) from None
    return VerificationKey(secret, allowed)


def _public_key(pem: bytes, algorithms: tuple[str, ...]) -> VerificationKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError(
            "auth.jwt.public_key: is no public key in PEM; it begins with -----BEGIN PUBLIC KEY-----, "
            "for example the output of `openssl pkey -in private.pem -pubout`"
        ) from None
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise SettingError(
                f"auth.jwt.public_key: has {key.key_size} bits; RSA needs {MIN_RSA_BITS}, "
                f"for example `openssl genrsa {MIN_RSA_BITS}`"
            )
        return _bound(key, _RSA, "an RSA key", algorithms)
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _bound(key, (_CURVES[key.curve.name],), f"a key on {key.curve.name}", algorithms)
    if isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return _bound(key, ("EdDSA",), "an Edwards key", algorithms)
    raise SettingError("auth.jwt.public_key: signs no tokens; use RSA, P-256, P-384, P-521 or Ed25519")


def _bound(
    key: PublicKey, possible: tuple[str, ...], kind: str, algorithms: tuple[str, ...]
) -> VerificationKey:
    _refuse_strange(algorithms, possible, kind)
    return VerificationKey(key, algorithms or possible[:1])


def _refuse_strange(algorithms: tuple[str, ...], possible: tuple[str, ...], kind: str) -> None:
    for name in algorithms:
        if name not in possible:
            raise SettingError(
                f"auth.jwt.algorithms: {name!r} does not go with {kind}; "
                f'for example ["{possible[0]}"] (possible: {", ".join(possible)})'
            )


class JwtVerifier:
    """Verifies tokens with one key and remembers the good ones.

    After a restart of something in front, thousands of clients come back with the tokens they had. A token
    that has passed is known by its hash until it expires; the least recently used is forgotten first.
    """

    def __init__(
        self,
        key: VerificationKey,
        rules: ClaimRules,
        clock: Callable[[], float],
        *,
        access_tokens_only: bool = False,
        max_remembered: int = 16_384,
    ) -> None:
        self._key: Any = key.material
        self._algorithms = key.algorithms
        self._jws = jwt.PyJWS(algorithms=key.algorithms)
        self._reader = ClaimReader(rules)
        self._clock = clock
        self._access_tokens_only = access_tokens_only
        self._max_remembered = max_remembered
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """Return whom *token* identifies; raises InvalidToken.

        Computes at once, 0.1 ms for a token seen the first time, and never waits.
        """
        # A header may bring lone surrogates, which would not encode: the form comes first.
        if len(token) > MAX_TOKEN_CHARACTERS or not _COMPACT_FORM.fullmatch(token):
            raise InvalidToken("the token is no signed JWT of at most 8,192 characters")
        digest = hashlib.blake2b(token.encode("ascii"), digest_size=16).digest()
        now = self._clock()
        principal = self._recall(digest, now)
        if principal is None:
            principal = self._reader.read(self._claims(token), now)
            self._remember(digest, principal)
        return principal

    @property
    def remembered(self) -> int:
        """How many tokens are remembered."""
        return len(self._remembered)

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            decoded = self._jws.decode_complete(token, self._key, self._algorithms)
        except jwt.PyJWTError:
            # Its text may repeat parts of the token.
            raise InvalidToken("the token's form, algorithm or signature is wrong") from None
        header = decoded["header"]
        if "crit" in header:
            raise InvalidToken("the token's `crit` names an extension that is not known here")
        if not self._is_token_type(header):
            raise InvalidToken("the token's `typ` is not that of an access token")
        try:
            claims = decode_json(decoded["payload"])
        except InvalidData:
            raise InvalidToken("the token's payload is not strict JSON") from None
        if not isinstance(claims, dict):
            raise InvalidToken("the token's payload is no map of claims")
        return claims

    def _is_token_type(self, header: dict[str, Any]) -> bool:
        if "typ" not in header:
            return not self._access_tokens_only
        type_ = header["typ"]
        allowed = _ACCESS_TOKEN_TYPES if self._access_tokens_only else _TYPES
        return isinstance(type_, str) and type_.lower() in allowed

    def _recall(self, digest: bytes, now: float) -> Principal | None:
        principal = self._remembered.get(digest)
        if principal is None:
            return None
        if principal.expires_at is None or principal.expires_at <= now:
            del self._remembered[digest]
            return None
        self._remembered.move_to_end(digest)
        return principal

    def _remember(self, digest: bytes, principal: Principal) -> None:
        self._remembered[digest] = principal
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)
