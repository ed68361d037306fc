"""The authenticator: finds the credential of a request, and asks whose it is (PROTOCOL §2)."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from fanwire_edge.core.credential import IN_BAND, Credential, Sources, select, shown_in_band
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import Verifier
from fanwire_protocol.handshake import Offer

__all__ = ["Authenticator"]

# Sources of tokens: whoever knows those of one knows what is shown by `authenticate` too.
_OF_TOKENS = (IN_BAND, "subprotocol", "authorization", "query")


class Authenticator:
    """Knows where credentials stand and, for each source but `in_band`, who verifies what stands there.

    With *is_kept* connections keep their credentials, for others to be asked with them.
    """

    def __init__(self, sources: Sources, verifiers: Mapping[str, Verifier], *, is_kept: bool = False) -> None:
        self.sources = sources
        self._is_kept = is_kept
        tokens = next((verifiers[source] for source in _OF_TOKENS if source in verifiers), None)
        self._verifiers = verifiers if tokens is None else {**verifiers, IN_BAND: tokens}

    def credential_of(self, request: web.Request, offer: Offer) -> Credential | None:
        """Return the credential of the first source that carries one."""
        return select(self.sources, offer, request.headers, request.query)

    def shown(self, token: str) -> Credential:
        """Return the credential that a client shows by `authenticate`; raises InvalidToken."""
        if IN_BAND not in self._verifiers:
            raise InvalidToken("this edge takes no tokens")
        return shown_in_band(self.sources, token)

    async def principal_of(self, credential: Credential) -> Principal:
        """Return whose *credential* it is; raises InvalidToken, and VerifierUnavailable."""
        if not credential.is_sound:
            raise InvalidToken("the credential holds characters that no credential has")
        return await self._verifiers[credential.source].verify(credential.text)

    def kept(self, credential: Credential | None) -> Credential | None:
        """Return what a session keeps of *credential*: nothing, unless somebody is asked with it."""
        return credential if self._is_kept else None
