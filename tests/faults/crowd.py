"""Clients of several tenants: with exact channels, wildcards and both, of our own make and of the library."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fanwire_client import Client, Gap
from fanwire_protocol import Position, parse_position
from tests.faults.load import IDS, TOPICS
from tests.kit.recorded_session import Identity
from tests.kit.recording import Recorder, recorded, rights
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.tokens import make_token

__all__ = ["TENANTS", "LibraryClient", "client_of", "identity_of"]

TENANTS = ("acme", "globex", "initech")
# One client in so many reads everything of its tenant, and one a whole topic and more.
_WILDCARDS = 20
# The library waits as long as the server tells it to, which is made for thousands of clients.
_HASTE = 0.1


def identity_of(tenant: str, number: int, kind: str = "client") -> Identity:
    """Return a user of *tenant* who may read all of its resources; one in five is an admin."""
    user, pattern = f"u-{number}", f"tenant:{tenant}:resource:*"
    roles = ["admin"] if number % 5 == 0 else []
    token = make_token(sub=user, tenant=tenant, roles=roles, channels=[pattern])
    may_read = rights(tenant, user, roles=roles, channels=[pattern])
    return Identity(f"{kind}-{tenant}-{number}", tenant, token, may_read)


def client_of(recorder: Recorder, urls: Sequence[str], number: int, timing: Timing) -> RecordingClient:
    """Return the client *number* of a crowd, which starts on the first of *urls*."""
    tenant, number = TENANTS[number % len(TENANTS)], number // len(TENANTS)
    names = [f"tenant:{tenant}:resource:{name}" for name in _names(number)]
    return RecordingClient(recorder, urls, identity_of(tenant, number), names, timing)


def _names(number: int) -> list[str]:
    match number % _WILDCARDS:
        case 0:
            return ["*", f"orders:{number % IDS}"]
        case 1:
            return ["orders:*", f"orders:{number % IDS}", "invoices:1"]
        case _:
            return [f"{topic}:{(number + shift) % IDS}" for shift, topic in enumerate(TOPICS)]


class LibraryClient:
    """A recorded `fanwire_client.Client` that reads everything of *tenant* from *url*; `run` it in a task."""

    def __init__(self, recorder: Recorder, url: str, tenant: str, number: int) -> None:
        self.who = identity_of(tenant, number, "library")
        self.is_ready = False
        self.gaps: list[Gap] = []
        self.reconnects = 0
        self._recorder = recorder
        self._url = url
        self._seen: set[str] = set()

    async def run(self) -> None:
        """Read until cancelled."""
        chance = random.Random(self.who.name)
        pattern = f"tenant:{self.who.tenant}:resource:*"
        client = Client(self._url, token=self.who.token, random=lambda: _HASTE * chance.random())
        async with client, client.subscribe(pattern) as subscription:
            await subscription.ready()
            self.is_ready = True
            items = recorded(subscription, self._recorder, self.who.name, self.who.tenant, self.who.may_read)
            async for item in items:
                if isinstance(item, Gap):
                    self.gaps.append(item)
                else:
                    self._seen.add(item.event_id)

    def has(self, event_id: str, topic: str, position: Position) -> bool:
        """Tell whether the event came, or a gap told of it."""
        return event_id in self._seen or any(
            parse_position(gap.to).broker == position.broker and parse_position(gap.to).key >= position.key
            for gap in self.gaps
            if gap.topic == topic
        )

    def end(self, until: int) -> None:
        """Note that it stops, and that all that was confirmed up to *until* was due."""
        self._recorder.write("end", client=self.who.name, until=until)
