"""The upgrade: a request for a WebSocket that is one, and the transport that comes of it (PROTOCOL §2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from fanwire_edge.arrival import Arrival
from fanwire_edge.core.dialect import SUBPROTOCOLS, Dialect, Dialects
from fanwire_edge.core.entrypoint import Entrypoint
from fanwire_edge.entrypoints import Entrypoints, entry_of
from fanwire_edge.refusal import Refused
from fanwire_edge.takeover import accept_key, is_upgrade, take_over
from fanwire_protocol.codes import HandshakeError
from fanwire_protocol.handshake import Offer, parse_offer
from fanwire_protocol.position import InvalidPosition, parse_offset

__all__ = ["Upgrade", "upgrade_of"]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A valid request, with what it offers and the entrypoint that it came to, if that is one."""

    request: web.Request
    accept: str
    offer: Offer
    entrypoint: Entrypoint | None = None

    def arrival(self, address: str) -> Arrival:
        """Return what the client at *address* comes for; raises Refused where that is malformed."""
        query, entrypoint = self.request.query, self.entrypoint
        try:
            offsets = [parse_offset(text) for text in query.getall("since", [])]
        except InvalidPosition as problem:
            raise Refused(HandshakeError.BAD_REQUEST, f"since: {problem}") from problem
        since = {offset.topic: offset.position for offset in offsets}
        entry = None if entrypoint is None else entry_of(self.request, entrypoint)
        return Arrival(since, address, query.get("client"), entry)

    def is_refused_by_close(self, default: str) -> bool:
        """Tell whether a refusal is told after the upgrade, where the edge does as *default* says."""
        rule = (self.entrypoint.reject if self.entrypoint else None) or default
        return rule == "close" or self.request.query.get("reject") == "close"

    async def take(self, dialects: Dialects) -> tuple[web.StreamResponse, asyncio.Transport, bytes, Dialect]:
        """Answer 101 and take the transport, as `take_over` does; returns what is spoken on it, too.

        Raises ConnectionError where the peer has left.
        """
        request, subprotocol = self.request, self.offer.choose(SUBPROTOCOLS)
        extension = dialects.extension(request.headers.getall("Sec-WebSocket-Extensions", []))
        response, transport, rest = await take_over(request, self.accept, subprotocol, extension)
        return response, transport, rest, dialects.of(subprotocol, extension)


def upgrade_of(request: web.Request, entrypoints: Entrypoints) -> Upgrade:
    """Return *request* as an upgrade; raises Refused where it is none."""
    if not is_upgrade(request):
        raise Refused(HandshakeError.UPGRADE_REQUIRED, "WebSocket upgrade required")
    accept = accept_key(request)
    if accept is None:
        raise Refused(HandshakeError.BAD_REQUEST, "the upgrade breaks RFC 6455 section 4.2.1")
    offer = parse_offer(request.headers.getall("Sec-WebSocket-Protocol", []))
    if offer.versions and not set(SUBPROTOCOLS).intersection(offer.versions):
        raise Refused(HandshakeError.BAD_REQUEST, f"this edge speaks {' and '.join(SUBPROTOCOLS)} only")
    return Upgrade(request, accept, offer, entrypoints.of(request))
