"""The sections of an edge's settings that say who comes in and what they may read (PROTOCOL §2, §9)."""

from __future__ import annotations

from dataclasses import dataclass, field

from fanwire_edge.core.claims import ClaimNames, ClaimRules
from fanwire_protocol.settings import setting

__all__ = [
    "ApiKeySettings",
    "AuthSettings",
    "AuthorizationSettings",
    "CookieSettings",
    "IntrospectionSettings",
    "JwtSettings",
    "OriginSettings",
    "OutboundSettings",
]


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """The keys of JSON Web Tokens and what a token must say; a file's content stands in for its name."""

    secret: str | None = setting(None, "the output of `openssl rand -hex 32`", secret=True)
    secret_file: str | None = setting(None, "/run/secrets/fanwire_jwt")
    public_key: str | None = setting(None, "the text of a PEM file", secret=True)
    public_key_file: str | None = setting(None, "/etc/fanwire/jwt.pem")
    jwks_url: str | None = setting(None, "https://login.example.com/.well-known/jwks.json")
    jwks_max_age: float = setting(300.0, "300", minimum=1, maximum=86_400)
    jwks_max_stale: float = setting(3600.0, "3600", minimum=1, maximum=604_800)
    jwks_cooldown: float = setting(30.0, "30", minimum=0.1, maximum=3600)
    algorithms: tuple[str, ...] = setting((), '["RS256"]')
    issuer: str | None = setting(None, "https://login.example.com/")
    audience: str | None = setting(None, "fanwire")
    require: tuple[str, ...] = setting((), '["iat", "jti"]')
    typ: str = setting("JWT", "at+jwt", choices=("JWT", "at+jwt"))
    # Publishers forget a revocation without an end after 30 days (`ENDLESS_MS` there).
    max_lifetime: int = setting(86_400, "86400", minimum=1, maximum=30 * 86_400)


@dataclass(frozen=True, slots=True)
class IntrospectionSettings:
    """The route that tells whose an opaque token is; a good answer is remembered for `max_age` seconds."""

    url: str | None = setting(None, "https://api.example.com/me")
    max_age: float = setting(60.0, "60", minimum=0, maximum=60)


@dataclass(frozen=True, slots=True)
class CookieSettings:
    """The cookie of the source `cookie`, and what it holds: the token itself, or the id of a session.

    A session is looked up in Redis (under `session_key`) or by the route `session_url` of the core service.
    """

    name: str = setting("session", "session")
    holds: str = setting("token", "session", choices=("token", "session"))
    session_url: str | None = setting(None, "https://api.example.com/me")
    session_key: str | None = setting(None, "session:{id}")


@dataclass(frozen=True, slots=True)
class ApiKeySettings:
    """API keys, by their SHA-256: from a file, or from the hash `{prefix}:_keys` in Redis."""

    header: str = setting("X-API-Key", "X-API-Key")
    file: str | None = setting(None, "/etc/fanwire/keys.toml")
    redis: bool = setting(False, "true")
    max_age: float = setting(10.0, "10", minimum=0, maximum=3600)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Where credentials come from and how they are read."""

    sources: tuple[str, ...] = setting(("subprotocol", "authorization"), '["subprotocol", "authorization"]')
    verifier: str = setting("jwt", "jwt", choices=("jwt", "introspection", "callable"))
    callable: str | None = setting(None, "shop.realtime:verify")
    default_tenant: str | None = setting(None, "acme")
    header: str = setting("Authorization", "Authorization")
    header_prefix: str = setting("Bearer", "Bearer")
    reject: str = setting("http", "close", choices=("http", "close"))
    in_band_seconds: float = setting(10.0, "10", minimum=0.1, maximum=600)
    jwt: JwtSettings = field(default_factory=JwtSettings)
    introspection: IntrospectionSettings = field(default_factory=IntrospectionSettings)
    cookie: CookieSettings = field(default_factory=CookieSettings)
    api_key: ApiKeySettings = field(default_factory=ApiKeySettings)
    claims: ClaimNames = field(default_factory=ClaimNames)

    @property
    def token_sources(self) -> tuple[str, ...]:
        """The sources that carry tokens, which `verifier` verifies."""
        cookie = ("cookie",) if self.cookie.holds == "token" else ()
        of_tokens = ("subprotocol", "authorization", "query", "in_band", *cookie)
        return tuple(source for source in self.sources if source in of_tokens)

    @property
    def takes_tokens(self) -> bool:
        """Whether any source carries tokens."""
        return bool(self.token_sources)

    def record_rules(self) -> ClaimRules:
        """Return the rules for what a service, a session or a function says of a credential."""
        return ClaimRules(self.claims, default_tenant=self.default_tenant, is_token=False)

    def claim_rules(self) -> ClaimRules:
        """Return the rules for the claims of a token."""
        jwt = self.jwt
        parties = (jwt.issuer, jwt.audience, jwt.max_lifetime)
        return ClaimRules(self.claims, *parties, self.default_tenant, required=jwt.require)


@dataclass(frozen=True, slots=True)
class AuthorizationSettings:
    """Who decides what a principal may read; `mode` names authorizers, the first that has an opinion wins."""

    mode: str = setting("claims", "claims,http")
    max_age: float = setting(3600.0, "3600", minimum=0)
    on_revoke: str = setting("close", "unsubscribe", choices=("close", "unsubscribe"))
    routes: tuple[str, ...] = setting((), '["tenant:{tenant}:resource:orders:{id} https://api/orders/{id}"]')
    owners: tuple[str, ...] = setting((), '["tenant:{tenant}:resource:spec:{id} https://api/specs/{id}"]')
    owner_field: str = setting("tenant", "team.id")
    owner_secret_file: str | None = setting(None, "/run/secrets/fanwire_owner_token")
    callable: str | None = setting(None, "shop.realtime:may_read")
    deadline_seconds: float = setting(5.0, "5", minimum=0.1, maximum=60)


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """Which pages may open a WebSocket; compared exactly. Without a list none is looked at."""

    allowed: tuple[str, ...] = setting((), '["https://app.example.com"]')
    required: bool = setting(False, "true")


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """How the edge asks other services: seconds for an answer, requests at once, when it stops asking."""

    timeout: float = setting(2.0, "2", minimum=0.05, maximum=30)
    max_concurrent: int = setting(64, "64", minimum=1, maximum=10_000)
    breaker_failures: int = setting(5, "5", minimum=1, maximum=10_000)
    breaker_seconds: float = setting(5.0, "5", minimum=0.1, maximum=600)
    ca_file: str | None = setting(None, "/etc/ssl/certs/our-ca.pem")
