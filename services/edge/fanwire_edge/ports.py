"""Ports: what the edge needs from the outside, declared where it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.follower import ReadReply, ReadRequest
from fanwire_edge.core.page import Order, RawPage
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.core.stream import Stream, StreamInfo
from fanwire_protocol.channels import Channel

__all__ = [
    "Archive",
    "AuditFailed",
    "AuditSink",
    "Authorizer",
    "Companion",
    "Forgetful",
    "InvalidToken",
    "Leases",
    "Outbound",
    "OutboundFailed",
    "OutboundReply",
    "Registry",
    "RevocationSource",
    "Tail",
    "TailLost",
    "Verifier",
    "VerifierUnavailable",
]


class TailLost(Exception):
    """The broker cannot be read now; the text says why. Connecting again may help."""


class Tail(Protocol):
    """Reads the log of one broker node over one connection of its own."""

    async def connect(self) -> str:
        """Connect anew and return the broker's identity (`master_replid`). Raises TailLost."""

    async def inspect(self, streams: Iterable[Stream]) -> Mapping[Stream, StreamInfo]:
        """Return what the broker says of each of *streams*. Raises TailLost."""

    async def read(self, request: ReadRequest) -> ReadReply:
        """Carry out one round trip; cancelling it drops the connection. Raises TailLost."""

    async def close(self) -> None:
        """Let go of the connection."""


class Archive(Protocol):
    """Reads the log again, for clients that were away."""

    async def page(self, stream: Stream, start: Order, count: int) -> RawPage:
        """Return at most *count* entries with id ≥ *start*, connecting where needed. Raises TailLost."""

    async def close(self) -> None:
        """Let go of the connection."""


class Registry(Protocol):
    """What publishers and edges agreed on in the broker."""

    async def partitions(self, wanted: int | None) -> int:
        """Return the agreed number of partitions, proposing *wanted* where there is none yet.

        Raises TailLost.
        """

    async def topics(self) -> frozenset[str]:
        """Return the topics that publishers registered. Raises TailLost."""

    async def announce(self, reader: str) -> int:
        """Say that *reader* tails the log, which holds for 15 s, and return how many do. Raises TailLost."""

    async def close(self) -> None:
        """Let go of the connection."""


class RevocationSource(Protocol):
    """What was revoked before this edge began to read."""

    def pages(self) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Yield ids of revocations with their orders, one perhaps more than once. Raises TailLost."""


class Verifier(Protocol):
    """Tells who the bearer of a token, a session or a key is."""

    async def verify(self, token: str) -> Principal:
        """Return the principal; raises InvalidToken, and VerifierUnavailable where nobody can tell now."""


class VerifierUnavailable(Exception):
    """It cannot be told now whose a credential is; the text says why and holds nothing of the credential."""


class Authorizer(Protocol):
    """Tells what somebody may read."""

    async def decide(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        """Return a decision for the name of each of *channels*; never raises for what others did wrong.

        *channels* are resource channels and patterns of the asker's own tenant, each once.
        """


@runtime_checkable
class Forgetful(Protocol):
    """An authorizer that remembers answers, for whoever asks."""

    def forget(self, channels: Collection[str] | None) -> None:
        """Remember nothing of *channels* and patterns (of all), nor what is being answered now."""


@dataclass(frozen=True, slots=True)
class OutboundReply:
    """What another service answered; the body is in no `repr`."""

    status: int
    body: bytes = field(default=b"", repr=False)


class OutboundFailed(Exception):
    """Another service did not answer as asked; the text names it, and nothing else of the URL."""


class Outbound(Protocol):
    """Asks other services over HTTP."""

    async def get(self, url: str, headers: Mapping[str, str], max_bytes: int = ...) -> OutboundReply:
        """Return the answer, whatever its status, a redirect too; bounded in time and in bytes.

        With `max_bytes` 0 the status alone is wanted. Raises OutboundFailed.
        """


class Companion(Protocol):
    """Works beside the edge, on the service's TaskGroup, as long as that runs (`Service.companions`)."""

    async def start(self) -> None:
        """Do what has to come before the edge listens, in a few seconds at most; never raises for others."""

    async def run(self) -> None:
        """Work for ever, or return where nothing is to be done; cancelling is the end."""

    async def close(self) -> None:
        """Let go of connections; called whether or not it was started."""


class AuditFailed(Exception):
    """Lines could not be written now; the text says why, and the first *written* of them stand."""

    def __init__(self, reason: str, written: int) -> None:
        super().__init__(reason)
        self.written = written


class AuditSink(Protocol):
    """Where the lines of the audit log go."""

    async def write(self, lines: Sequence[bytes]) -> None:
        """Append *lines*, which end with a newline, in their order. Raises AuditFailed."""

    def reopen(self) -> None:
        """Begin a new file under the same name before the next line, where there are files."""

    async def close(self) -> None:
        """Let go of connections."""


class Leases(Protocol):
    """Counts across all edges: who came in and is still there, and who tried.

    A lease ends by itself unless it is renewed. `take` and `attempt` return 0, or the seconds after which
    another try may succeed.
    """

    async def attempt(self, address: str) -> float:
        """Count an attempt of *address*. Raises TailLost."""

    async def take(self, subject: str, limit: int, name: str, replaced: str | None) -> float:
        """Take a lease under *name*, in the place of *replaced* where that one holds one. Raises TailLost."""

    async def renew(self, held: Mapping[str, Sequence[str]]) -> Collection[str]:
        """Renew leases by subject, taking anew what is not there any more.

        Returns the names in whose place others have come. Raises TailLost.
        """

    def give_back(self, subject: str, name: str) -> None:
        """End a lease soon, as far as that is possible."""

    async def run(self) -> None:
        """Work for ever; without it nothing else does."""
