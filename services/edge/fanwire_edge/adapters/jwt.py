"""JSON Web Tokens, verified with the keys that are known here (PROTOCOL §2 "Verifiers", RFC 8725).

PyJWT checks the form and the signature. It accepts a token without `exp`, a textual `exp`, any `typ` and a
short key, so every other rule is ours: the keys' in `jwt_keys`, the claims' in `core.claims`. The algorithms
are bound to the key. Of what a token says about itself `kid` chooses among published keys, `alg` must be the
chosen key's, and `jku`, `x5u`, `jwk` and `x5c` select nothing and fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import jwt

from fanwire_edge.adapters.jwt_keys import KNOWN, MAX_KID_CHARACTERS, Keys, VerificationKey
from fanwire_edge.core.claims import ClaimReader, ClaimRules
from fanwire_edge.core.memo import Memo
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_protocol.codec import InvalidData, decode_json

__all__ = ["MAX_TOKEN_CHARACTERS", "InvalidToken", "JwtVerifier"]

MAX_TOKEN_CHARACTERS = 8_192
# Without padding (RFC 7515 section 2), which PyJWT would let pass.
_COMPACT_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_TYPES = _ACCESS_TOKEN_TYPES | {"jwt"}


class JwtVerifier:
    """Verifies tokens and remembers the good ones.

    After a restart of something in front, thousands of clients come back with the tokens they had. A token
    that has passed is known by its hash until it expires or its key is known no more; the least recently
    used is forgotten first.
    """

    def __init__(
        self,
        keys: Keys,
        rules: ClaimRules,
        clock: Callable[[], float],
        *,
        access_tokens_only: bool = False,
        max_remembered: int = 16_384,
    ) -> None:
        self._keys = keys
        self._jws = jwt.PyJWS(algorithms=KNOWN)
        self._reader = ClaimReader(rules)
        self._clock = clock
        self._access_tokens_only = access_tokens_only
        self._remembered: Memo[tuple[Principal, VerificationKey]] = Memo(max_remembered)

    async def verify(self, token: str) -> Principal:
        """Return whom *token* identifies; raises InvalidToken, and VerifierUnavailable without a key.

        Computes at once, 0.1 ms for a token seen the first time. Waits only where its key is not known yet
        and may just have been published; cancelling is safe.
        """
        # A header may bring lone surrogates, which would not encode: the form comes first.
        if len(token) > MAX_TOKEN_CHARACTERS or not _COMPACT_FORM.fullmatch(token):
            raise InvalidToken("the token is no signed JWT of at most 8,192 characters")
        digest = hashlib.blake2b(token.encode("ascii"), digest_size=16).digest()
        found = self._remembered.recall(digest, self._clock())
        if found is not None and self._keys.holds(found[1]):
            return found[0]
        header = _header(token)
        self._check(header)
        keys = await self._keys.candidates(header.get("kid"), header["alg"])
        now = self._clock()
        key, payload = self._verified(token, keys)
        principal = self._reader.read(_claims(payload), now)
        # A token has an end; without one nothing is remembered.
        self._remembered.keep(digest, (principal, key), now, principal.expires_at or now)
        return principal

    @property
    def remembered(self) -> int:
        """How many tokens are remembered."""
        return len(self._remembered)

    def _check(self, header: dict[str, Any]) -> None:
        """Refuse what no key would make good, before any key is looked for."""
        if "crit" in header:
            raise InvalidToken("the token's `crit` names an extension that is not known here")
        if not self._is_token_type(header):
            raise InvalidToken("the token's `typ` is not that of an access token")
        algorithm, kid = header.get("alg"), header.get("kid", "")
        if not isinstance(algorithm, str) or algorithm not in KNOWN:
            raise InvalidToken("the token's `alg` is none that is known here")
        if not isinstance(kid, str) or len(kid) > MAX_KID_CHARACTERS:
            raise InvalidToken("the token's `kid` is no text of at most 128 characters")

    def _is_token_type(self, header: dict[str, Any]) -> bool:
        if "typ" not in header:
            return not self._access_tokens_only
        type_ = header["typ"]
        allowed = _ACCESS_TOKEN_TYPES if self._access_tokens_only else _TYPES
        return isinstance(type_, str) and type_.lower() in allowed

    def _verified(self, token: str, keys: Sequence[VerificationKey]) -> tuple[VerificationKey, bytes]:
        for key in keys:
            material: Any = key.material
            try:
                payload: bytes = self._jws.decode(token, material, key.algorithms)
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError:
                # Its text may repeat parts of the token.
                break
            return key, payload
        raise InvalidToken("the token's form, algorithm, key or signature is wrong")


def _header(token: str) -> dict[str, Any]:
    text = token.partition(".")[0]
    try:
        header = decode_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (InvalidData, ValueError):
        raise InvalidToken("the token's header is not strict JSON") from None
    if not isinstance(header, dict):
        raise InvalidToken("the token's header is no map")
    return header


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = decode_json(payload)
    except InvalidData:
        raise InvalidToken("the token's payload is not strict JSON") from None
    if not isinstance(claims, dict):
        raise InvalidToken("the token's payload is no map of claims")
    return claims
