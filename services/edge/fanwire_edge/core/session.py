"""What an edge knows of the client at the other end of a connection."""

from __future__ import annotations

from fanwire_edge.core.credential import Credential
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.room import PLAIN, Room

__all__ = ["Session"]


class Session:
    """One client, who may have said nothing yet of who it is (PROTOCOL §2 `in_band`).

    `mistakes` counts those in a row, `skipped` the frames that later ones stand for since the last `pong`.
    `credential` is kept only where others are asked with it. `has_subscribed` tells whether the one
    `subscribe` that does not count for the tenant's budget has been used, `room` what it has joined by an
    entrypoint.
    """

    __slots__ = ("_principal", "client_id", "credential", "has_subscribed", "mistakes", "room", "skipped")

    def __init__(
        self, client_id: str, principal: Principal | None, credential: Credential | None = None
    ) -> None:
        self.client_id = client_id
        self.credential = credential
        self.mistakes = 0
        self.skipped = 0
        self.has_subscribed = False
        self.room: Room = PLAIN
        self._principal = principal

    @property
    def is_authenticated(self) -> bool:
        """Whether it is known who the client is."""
        return self._principal is not None

    @property
    def principal(self) -> Principal:
        """Who the client is. Whoever asks that before it is known has a bug: raises LookupError."""
        if self._principal is None:
            raise LookupError("nobody knows yet who this client is")
        return self._principal

    def authenticate(self, principal: Principal, credential: Credential | None = None) -> None:
        """Take note who the client is, or what holds of it now."""
        self._principal = principal
        self.credential = credential
