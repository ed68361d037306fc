"""Who verifies the credentials of which source (PROTOCOL §2); a part of the composition root."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from fanwire_edge.adapters.api_keys import ApiKeyFile, ApiKeyVerifier
from fanwire_edge.adapters.callables import CallableVerifier, Function
from fanwire_edge.adapters.introspection import Introspection, bearer_header, cookie_header
from fanwire_edge.adapters.jwt import JwtVerifier
from fanwire_edge.adapters.jwt_jwks import Jwks, JwksSource
from fanwire_edge.adapters.jwt_keys import ASYMMETRIC, StaticKeys, load_keys
from fanwire_edge.adapters.outbound import Outbound, OutboundLimits
from fanwire_edge.adapters.redis_keys import RedisApiKeys
from fanwire_edge.adapters.redis_lookup import RedisLookup
from fanwire_edge.adapters.redis_sessions import RedisSessions
from fanwire_edge.auth_settings import AuthSettings, JwtSettings, OutboundSettings
from fanwire_edge.authenticator import Authenticator
from fanwire_edge.core.credential import IN_BAND, Sources
from fanwire_edge.core.freshness import Lifetimes
from fanwire_edge.ports import Companion, Verifier
from fanwire_edge.remembered import EitherVerifier, MemoLimits, RememberedVerifier
from fanwire_edge.settings import Settings
from fanwire_edge.watched import WatchedVerifier

__all__ = ["Verifiers", "build_outbound", "build_verifiers"]

# An unknown key is asked for again after this, so that a new one works at once.
UNKNOWN_KEY_SECONDS = 1.0


@dataclass(slots=True)
class Verifiers:
    """The verifier of each source, and what must run beside the edge for them."""

    by_source: dict[str, Verifier] = field(default_factory=dict)
    companions: list[Companion] = field(default_factory=list)

    def authenticator(self, auth: AuthSettings, *, is_kept: bool = False) -> Authenticator:
        """Return what finds credentials where *auth* says, and asks these whose they are.

        With *is_kept* connections keep their credentials, for others to be asked with them.
        """
        header, key_header = auth.header, auth.api_key.header
        sources = Sources(auth.sources, header, auth.header_prefix, auth.cookie.name, key_header)
        return Authenticator(sources, self.by_source, is_kept=is_kept)


def build_outbound(settings: OutboundSettings, counts: Counter[str] | None = None) -> Outbound:
    """Build what asks other services; raises SettingError for a file of certificates that is none."""
    limits = OutboundLimits(
        settings.timeout,
        settings.max_concurrent,
        breaker_failures=settings.breaker_failures,
        breaker_seconds=settings.breaker_seconds,
    )
    return Outbound(limits, time.monotonic, ca_file=settings.ca_file, counts=counts)


def build_verifiers(settings: Settings, outbound: Outbound) -> Verifiers:
    """Build what the configured sources need, and nothing else; raises SettingError."""
    auth = settings.auth
    lookup = RedisLookup(settings.broker.url)
    made = Verifiers(companions=[lookup])
    if auth.takes_tokens:
        tokens = _watched(_of_tokens(settings, outbound, made), "tokens")
        made.by_source.update(dict.fromkeys((*auth.token_sources, IN_BAND), tokens))
    if "cookie" in auth.sources and auth.cookie.holds == "session":
        made.by_source["cookie"] = _watched(_of_sessions(auth, outbound, lookup), "sessions")
    if "api_key" in auth.sources:
        made.by_source["api_key"] = _watched(_of_keys(auth, lookup, settings.broker.prefix), "API keys")
    return made


def _watched(verifier: Verifier, what: str) -> Verifier:
    return WatchedVerifier(verifier, what, time.monotonic)


def _of_tokens(settings: Settings, outbound: Outbound, made: Verifiers) -> Verifier:
    auth = settings.auth
    match auth.verifier:
        case "introspection":
            shown = bearer_header(auth.header, auth.header_prefix)
            return _asked(auth, outbound, auth.introspection.url, shown)
        case "callable":
            function = Function.load("auth.callable", auth.callable or "", settings.outbound.timeout)
            return CallableVerifier(function, auth.record_rules(), time.time)
    keys = _jwt_keys(auth.jwt, outbound)
    if isinstance(keys, Jwks):
        made.companions.append(keys)
    only_access = auth.jwt.typ == "at+jwt"
    return JwtVerifier(keys, auth.claim_rules(), time.time, access_tokens_only=only_access)


def _jwt_keys(jwt: JwtSettings, outbound: Outbound) -> StaticKeys | Jwks:
    configured = None
    if jwt.secret is not None or jwt.public_key is not None or jwt.jwks_url is None:
        elsewhere = () if jwt.jwks_url is None else ASYMMETRIC
        configured = load_keys(jwt.secret, jwt.public_key, jwt.algorithms, elsewhere=elsewhere)
    if jwt.jwks_url is None:
        assert configured is not None
        return configured
    lifetimes = Lifetimes(jwt.jwks_max_age, jwt.jwks_max_stale, jwt.jwks_cooldown)
    source = JwksSource(jwt.jwks_url, jwt.algorithms, lifetimes)
    return Jwks(source, outbound, time.monotonic, Random().random, configured)


def _of_sessions(auth: AuthSettings, outbound: Outbound, lookup: RedisLookup) -> Verifier:
    if auth.cookie.session_url is not None:
        return _asked(auth, outbound, auth.cookie.session_url, cookie_header(auth.cookie.name))
    return RedisSessions(lookup, auth.cookie.session_key or "", auth.record_rules(), time.time)


def _asked(
    auth: AuthSettings, outbound: Outbound, url: str | None, shown: Callable[[str], tuple[str, str]]
) -> Verifier:
    asking = Introspection(url or "", outbound, shown, auth.record_rules(), time.time)
    return RememberedVerifier(asking, MemoLimits(auth.introspection.max_age), time.monotonic, time.time)


def _of_keys(auth: AuthSettings, lookup: RedisLookup, prefix: str) -> Verifier:
    tables: list[Verifier] = []
    if auth.api_key.file is not None:
        file = ApiKeyFile(auth.api_key.file, auth.default_tenant, time.monotonic)
        tables.append(ApiKeyVerifier(file, time.time))
    if auth.api_key.redis:
        stored = ApiKeyVerifier(RedisApiKeys(lookup, prefix, auth.default_tenant), time.time)
        max_age = auth.api_key.max_age
        limits = MemoLimits(max_age, min(max_age, UNKNOWN_KEY_SECONDS))
        tables.append(RememberedVerifier(stored, limits, time.monotonic, time.time))
    return tables[0] if len(tables) == 1 else EitherVerifier(tables)
