"""An issuer of tokens for tests: signs them, and publishes its keys over HTTPS."""

from __future__ import annotations

import base64
import json
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.kit.canaries import CANARIES
from tests.kit.certificates import Authority
from tests.kit.web_server import Answer, WebServer

__all__ = ["Answer", "JwksServer", "SigningKey", "encoded", "signing_key"]

PATH = "/.well-known/jwks.json"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of the issuer."""

    kid: str
    private: PrivateKey = field(repr=False)
    algorithm: str = "ES256"

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return its public half as a JWK; a member given as None is left out."""
        kind = jwt.get_algorithm_by_name(self.algorithm)
        known: dict[str, Any] = json.loads(kind.to_jwk(self.private.public_key()))
        known.pop("key_ops", None)
        whole = {**known, "kid": self.kid, "use": "sig", "alg": self.algorithm, **members}
        return {name: value for name, value in whole.items() if value is not None}

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token of user `u-1` of tenant `acme` with this `kid`; a claim of None is left out."""
        values = {"sub": "u-1", "tenant": "acme", "exp": int(time.time()) + 3600, **claims}
        present = {name: value for name, value in values.items() if value is not None}
        headers = {"kid": self.kid, **(header or {})}
        return CANARIES.remember_token(jwt.encode(present, self.private, self.algorithm, headers=headers))

    def sign(self, header: object, payload: object) -> str:
        """Return a token with any header and payload, as no library would write it."""
        body = f"{encoded(header)}.{encoded(payload)}"
        signer: Any = jwt.get_algorithm_by_name(self.algorithm)
        return f"{body}.{encoded(signer.sign(body.encode(), self.private))}"


def encoded(part: object) -> str:
    """Return a part of a token: bytes as they are, anything else as JSON."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signing_key(kid: str, algorithm: str = "ES256") -> SigningKey:
    """Make a key; RSA takes a tenth of a second."""
    if algorithm.startswith("ES"):
        return SigningKey(kid, ec.generate_private_key(ec.SECP256R1()), algorithm)
    if algorithm == "EdDSA":
        return SigningKey(kid, ed25519.Ed25519PrivateKey.generate(), algorithm)
    return SigningKey(kid, rsa.generate_private_key(public_exponent=65_537, key_size=2048), algorithm)


class JwksServer(WebServer):
    """Publishes `keys` at `jwks_url`; a list that may be changed at any time.

    `fault`, while it is set, is answered instead; `further` are JWKs of any kind to be published too.
    `fetches` counts the requests. `ca_file` is to be trusted by who fetches; `close` removes it.
    """

    scheme = "https"

    def __init__(self, *keys: SigningKey) -> None:
        super().__init__()
        self.authority = Authority()
        self.keys = list(keys or [signing_key("key-1")])
        self.further: list[Any] = []
        self.fault: Answer | None = None
        self.fetches = 0
        self._context = self.authority.server_context()

    @property
    def jwks_url(self) -> str:
        """Where the keys are."""
        return self.url(PATH)

    @property
    def ca_file(self) -> str:
        """The certificate of the server's authority."""
        return self.authority.file

    def rotate(self, kid: str, *, retire: bool = True) -> SigningKey:
        """Publish a new key, and no longer the others where they retire."""
        key = signing_key(kid)
        self.keys = [key] if retire else [*self.keys, key]
        return key

    def document(self) -> dict[str, Any]:
        """Return what is published."""
        return {"keys": [*(key.jwk() for key in self.keys), *self.further]}

    def answer(self, request: web.BaseRequest) -> Answer:
        """Count, and publish."""
        if request.path != PATH:
            return Answer(404)
        self.fetches += 1
        return self.fault or Answer(200, self.document())

    def tls(self) -> ssl.SSLContext:
        """Return the context with the certificate of the server."""
        return self._context

    def close(self) -> None:
        """Stop for good."""
        super().close()
        self.authority.close()
