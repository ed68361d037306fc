"""Keys that an issuer publishes: a JSON Web Key Set, fetched over https (RFC 7517).

One task fetches, so there is never more than one request: when the set is old, and when a token names a key
that is not in it, which is how a new key becomes known. The latter has a cooldown, because anybody can make
up a `kid`. Who brought such a token waits for the fetch, and has no part in it: that it goes away ends
nothing.

Where the set cannot be fetched, what is known serves for a while; after that nobody is let in by it, and
nobody is told that the token is bad, because nobody knows.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanwire_edge.adapters.jwt_keys import (
    ASYMMETRIC,
    KNOWN,
    MAX_KID_CHARACTERS,
    StaticKeys,
    VerificationKey,
    load_jwk,
)
from fanwire_edge.core.freshness import Freshness, Lifetimes
from fanwire_edge.ports import Outbound, OutboundFailed, OutboundReply, VerifierUnavailable
from fanwire_protocol.codec import InvalidData, decode_json
from fanwire_protocol.settings import SettingError

__all__ = ["Jwks", "JwksSource"]

MAX_BYTES = 262_144
MAX_KEYS = 100
# How much later an edge listens because its issuer does not answer.
START_SECONDS = 5.0

logger = logging.getLogger("fanwire.jwks")


@dataclass(frozen=True, slots=True)
class JwksSource:
    """Where a set is, what its keys may be used for (by default what goes with each), how long it serves."""

    url: str
    algorithms: tuple[str, ...]
    lifetimes: Lifetimes
    # Longer than a fetch can take.
    wait_seconds: float = 35.0


class _NoSet(Exception):
    """What was answered is no key set; the text says why and holds nothing of it."""


class Jwks:
    """The keys of an issuer, and *beside* them configured ones, for tokens that name none of the issuer's.

    A Companion of the service, and Keys for the verifier.
    """

    def __init__(
        self,
        source: JwksSource,
        outbound: Outbound,
        clock: Callable[[], float],
        chance: Callable[[], float],
        beside: StaticKeys | None = None,
    ) -> None:
        self._source = source
        self._outbound = outbound
        self._clock = clock
        self._chance = chance
        self._beside = beside
        self._freshness = Freshness(source.lifetimes)
        self._algorithms = _fitting(source.algorithms, is_alone=beside is None)
        # By the whole JWK, so that a key that stays published stays the same.
        self._loaded: dict[str, VerificationKey] = {}
        self._by_kid: dict[str | None, tuple[VerificationKey, ...]] = {}
        self._wanted = asyncio.Event()
        self._is_fetching = False
        # Of the fetch that is under way, or of the next.
        self._ended = asyncio.Event()

    # Companion

    async def start(self) -> None:
        """Fetch the set once; where that fails, or takes too long, `run` goes on trying."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._fetch()
        except TimeoutError:
            pass  # The edge can do without: until there are keys it answers 503.

    async def run(self) -> None:
        """Fetch the set when it is old, and when it was asked for; for ever."""
        while True:
            try:
                async with asyncio.timeout(self._freshness.due_in(self._clock())):
                    await self._wanted.wait()
            except TimeoutError:
                pass  # It is due.
            await self._fetch()

    async def close(self) -> None:
        """Hold nothing: the connections are Outbound's."""

    # Keys

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys for a token with this `kid` and `alg`; raises VerifierUnavailable.

        With a `kid` that the issuer publishes it is that key and no other. With another, or with none, it is
        the configured keys; without those, and without a `kid`, the issuer's only key where it has just one.
        """
        self._refuse_stale()
        if kid is not None and kid not in self._by_kid and algorithm in (self._algorithms or ASYMMETRIC):
            await self._look_again(kid)
            self._refuse_stale()
        if kid is not None and kid in self._by_kid:
            found: Sequence[VerificationKey] = self._by_kid[kid]
        elif kid is not None and self._freshness.is_failing:
            raise VerifierUnavailable("the token's key is not known, and the issuer's keys cannot be fetched")
        elif self._beside is not None:
            return self._beside.bound_to(algorithm)
        else:
            found = tuple(self._loaded.values()) if kid is None and len(self._loaded) == 1 else ()
        return tuple(key for key in found if algorithm in key.algorithms)

    def holds(self, key: VerificationKey) -> bool:
        """Whether *key* is published still, or configured; raises VerifierUnavailable."""
        if self._beside is not None and self._beside.holds(key):
            return True
        self._refuse_stale()
        return any(key is known for known in self._loaded.values())

    def _refuse_stale(self) -> None:
        if not self._freshness.serves(self._clock()):
            raise VerifierUnavailable("the issuer's keys could not be fetched, or not for too long")

    async def _look_again(self, kid: str) -> None:
        """Wait for the fetch that is under way, then for one on purpose where that is permitted."""
        for _ in range(2):
            if kid in self._by_kid:
                return
            if not self._is_fetching and not self._wanted.is_set():
                if not self._freshness.may_ask(self._clock()):
                    return
                self._wanted.set()
            try:
                async with asyncio.timeout(self._source.wait_seconds):
                    await self._ended.wait()
            except TimeoutError:
                raise VerifierUnavailable("the issuer's keys were not fetched in time") from None

    # Fetching

    async def _fetch(self) -> None:
        self._wanted.clear()
        self._is_fetching = True
        try:
            reply = await self._outbound.get(self._source.url, {"Accept": "application/json"}, MAX_BYTES)
            self._take(_jwks(reply))
        except (OutboundFailed, _NoSet) as problem:
            if not self._freshness.is_failing:
                logger.warning("jwks_unavailable", extra={"reason": str(problem)})
            self._freshness.failed(self._clock(), self._chance())
        finally:
            self._is_fetching = False
            ended, self._ended = self._ended, asyncio.Event()
            ended.set()

    def _take(self, jwks: Sequence[Mapping[str, Any]]) -> None:
        loaded: dict[str, VerificationKey] = {}
        by_kid: dict[str | None, tuple[VerificationKey, ...]] = {}
        for jwk in jwks:
            kid = jwk.get("kid")
            if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARACTERS):
                continue
            text = json.dumps(jwk, sort_keys=True)
            key = self._loaded.get(text) or load_jwk(jwk, self._algorithms)
            if key is not None and text not in loaded:
                loaded[text] = key
                by_kid[kid] = (*by_kid.get(kid, ()), key)
        if loaded.keys() != self._loaded.keys() or self._freshness.is_failing:
            logger.info("jwks_loaded", extra={"keys": len(loaded), "skipped": len(jwks) - len(loaded)})
        self._loaded, self._by_kid = loaded, by_kid
        self._freshness.fetched(self._clock(), self._chance())


def _fitting(algorithms: tuple[str, ...], *, is_alone: bool) -> tuple[str, ...]:
    """Return those that published keys may be used with; none are all. Raises SettingError."""
    fitting = tuple(name for name in algorithms if name in ASYMMETRIC)
    others = [name for name in algorithms if name not in (ASYMMETRIC if is_alone else KNOWN)]
    if others or (algorithms and not fitting):
        raise SettingError(
            f"auth.jwt.algorithms: {(others or algorithms)[0]!r} does not go with published keys; "
            f'for example ["RS256"] (possible: {", ".join(ASYMMETRIC)})'
        )
    return fitting


def _jwks(reply: OutboundReply) -> list[Mapping[str, Any]]:
    if reply.status != 200:
        raise _NoSet(f"the issuer answered {reply.status}")
    try:
        document = decode_json(reply.body)
    except InvalidData:
        raise _NoSet("the issuer's answer is not strict JSON") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise _NoSet("the issuer's answer is no JWKS")
    if len(keys) > MAX_KEYS:
        raise _NoSet(f"the issuer's JWKS has more than {MAX_KEYS} keys")
    return keys
