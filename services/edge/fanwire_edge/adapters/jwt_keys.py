"""Keys that verify tokens: from a secret, from PEM, from a JWK; each bound to its algorithms (RFC 8725 §3.1).

A key's kind decides what it may be used with, and what is configured can only narrow that down: a public key
is never an HMAC secret, whatever a token says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fanwire_protocol.settings import SettingError

__all__ = [
    "ASYMMETRIC",
    "KNOWN",
    "MAX_KID_CHARACTERS",
    "Keys",
    "StaticKeys",
    "VerificationKey",
    "load_jwk",
    "load_keys",
]

MAX_KID_CHARACTERS = 128
MAX_PEM_KEYS = 16
MIN_RSA_BITS = 2_048
# Beyond this one signature takes a core for milliseconds.
MAX_RSA_BITS = 16_384
# An HMAC key is at least as long as the hash (RFC 7518 section 3.2).
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}
ASYMMETRIC = (*_RSA, *_CURVES.values(), "EdDSA")
KNOWN = (*_SECRET_BYTES, *ASYMMETRIC)
# What a JWK of each kind needs to be read; `oct` is no kind: a secret that is published is none.
_MEMBERS = {"RSA": ("RS256", ("n", "e")), "EC": ("ES256", ("x", "y")), "OKP": ("EdDSA", ("x",))}
_PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """A key and the algorithms that it may be used with; it equals nothing but itself."""

    material: bytes | PublicKey = field(repr=False)
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """The keys that tokens are verified with."""

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that a token with this `kid` and `alg` may be signed with.

        Raises VerifierUnavailable where that cannot be told now.
        """

    def holds(self, key: VerificationKey) -> bool:
        """Whether *key* is still one of them; raises VerifierUnavailable where that cannot be told now."""


class StaticKeys:
    """Configured keys. A `kid` selects nothing among them: they were given without."""

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        self._keys = tuple(keys)

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that are bound to *algorithm*."""
        return self.bound_to(algorithm)

    def holds(self, key: VerificationKey) -> bool:
        """Whether *key* is one of these, which never changes."""
        return key in self._keys

    def bound_to(self, algorithm: str) -> tuple[VerificationKey, ...]:
        """Return the keys that are bound to *algorithm*."""
        return tuple(key for key in self._keys if algorithm in key.algorithms)


def load_keys(
    secret: str | None,
    public_key: str | None,
    algorithms: tuple[str, ...] = (),
    *,
    elsewhere: tuple[str, ...] = (),
) -> StaticKeys:
    """Return the key of an HMAC secret, or the keys of a PEM with one or several, whichever is given.

    Without *algorithms* a key's own kind decides: HS256, RS256, ES256 (384, 512 by the curve) or EdDSA; with
    them, each has those that go with it. *elsewhere* are algorithms for keys that are not configured here.
    Raises SettingError where a key is weak or none, or an algorithm belongs to none.
    """
    if secret is not None and public_key is None:
        given = [_secret_key(secret.encode("utf-8", "surrogateescape"), algorithms, elsewhere)]
    elif public_key is not None and secret is None:
        given = _public_keys(public_key.encode("utf-8", "surrogateescape"), algorithms, elsewhere)
    else:
        raise SettingError(
            "auth.jwt: has one key; set either FANWIRE_AUTH__JWT__SECRET or …__PUBLIC_KEY_FILE"
        )
    return StaticKeys(given)


def _secret_key(secret: bytes, algorithms: tuple[str, ...], elsewhere: tuple[str, ...]) -> VerificationKey:
    allowed = _narrowed(tuple(_SECRET_BYTES), algorithms, elsewhere, "a secret")
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


def _public_keys(
    pem: bytes, algorithms: tuple[str, ...], elsewhere: tuple[str, ...]
) -> list[VerificationKey]:
    blocks = _PEM.findall(pem)
    if len(blocks) > MAX_PEM_KEYS:
        raise SettingError(f"auth.jwt.public_key: holds {len(blocks)} keys; {MAX_PEM_KEYS} are the most")
    keys = [_loaded(block) for block in blocks] or [_loaded(pem)]
    # Each key may use those of the list that another key is meant for.
    others = {name for key in keys for name in _possible(key)}
    return [
        VerificationKey(key, _narrowed(_possible(key), algorithms, (*others, *elsewhere), _kind(key)))
        for key in keys
    ]


def _loaded(pem: bytes) -> PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError(
            "auth.jwt.public_key: is no public key in PEM; it begins with -----BEGIN PUBLIC KEY-----, "
            "for example the output of `openssl pkey -in private.pem -pubout`"
        ) from None
    if isinstance(key, RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise SettingError(
            f"auth.jwt.public_key: has {key.key_size} bits; RSA needs {MIN_RSA_BITS}, and has "
            f"{MAX_RSA_BITS} at most; for example `openssl genrsa {MIN_RSA_BITS}`"
        )
    if not isinstance(key, PublicKey) or not _possible(key):
        raise SettingError("auth.jwt.public_key: signs no tokens; use RSA, P-256, P-384, P-521 or Ed25519")
    return key


def _possible(key: PublicKey) -> tuple[str, ...]:
    """Return the algorithms of a key's kind, the usual one first; none for one that signs no tokens."""
    if isinstance(key, RSAPublicKey):
        return _RSA if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS else ()
    if isinstance(key, EllipticCurvePublicKey):
        algorithm = _CURVES.get(key.curve.name)
        return () if algorithm is None else (algorithm,)
    return ("EdDSA",)


def _kind(key: PublicKey) -> str:
    if isinstance(key, RSAPublicKey):
        return "an RSA key"
    return f"a key on {key.curve.name}" if isinstance(key, EllipticCurvePublicKey) else "an Edwards key"


def _narrowed(
    possible: tuple[str, ...], algorithms: tuple[str, ...], elsewhere: tuple[str, ...], kind: str
) -> tuple[str, ...]:
    """Return those of *algorithms* that are *possible*; raises SettingError for one that goes nowhere."""
    strange = [name for name in algorithms if name not in possible and name not in elsewhere]
    fitting = tuple(name for name in algorithms if name in possible)
    if strange or (algorithms and not fitting):
        raise SettingError(
            f"auth.jwt.algorithms: {(strange or algorithms)[0]!r} does not go with {kind}; "
            f'for example ["{possible[0]}"] (possible: {", ".join(possible)})'
        )
    return fitting or possible[:1]


def load_jwk(jwk: Mapping[str, Any], algorithms: tuple[str, ...] = ()) -> VerificationKey | None:
    """Return the public key of a JWK; None for one that is not to verify signatures, is weak, or is none.

    Its own `alg` decides, otherwise its kind; *algorithms*, where given, admit no others.
    """
    key_ops = jwk.get("key_ops", ["verify"])
    is_for_signatures = jwk.get("use", "sig") == "sig" and isinstance(key_ops, list) and "verify" in key_ops
    # A private half that is published signs for everybody.
    if not is_for_signatures or "d" in jwk:
        return None
    key = _public_half(jwk)
    if key is None:
        return None
    possible = _possible(key)
    named = jwk.get("alg")
    if named is not None:
        possible = tuple(name for name in possible if name == named)
    fitting = tuple(name for name in possible if name in algorithms) if algorithms else possible[:1]
    return VerificationKey(key, fitting) if fitting else None


def _public_half(jwk: Mapping[str, Any]) -> PublicKey | None:
    kind = jwk.get("kty")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        return None
    reader, names = _MEMBERS[kind]
    members = {name: jwk.get(name) for name in names}
    if not all(isinstance(member, str) for member in members.values()):
        return None
    try:
        key = jwt.get_algorithm_by_name(reader).from_jwk({"kty": kind, "crv": jwk.get("crv"), **members})
    except (jwt.InvalidKeyError, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PublicKey) else None
