"""Recording what publishers and clients do, for `fanwire check-history` to judge.

Nothing here knows the edge: channels and rights are worked out from PROTOCOL §1 and §7 alone.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from fanwire_cli.history import Report, Source, check_history
from fanwire_client import Event, Gap, Subscription
from fanwire_protocol import InvalidData, Position
from fanwire_publisher import Outgoing, Publisher, PublisherError, PublishFailed, PublishRefused

__all__ = [
    "Recorder",
    "RecordingPublisher",
    "channels_of",
    "check",
    "recorded",
    "rights",
]

T = TypeVar("T")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Recorder:
    """Writes operations to a file, whole lines only; one for each process.

    Lines wait until *buffer_bytes* are there; what a crash must not lose is written with `flush`.
    """

    def __init__(self, path: Path, *, buffer_bytes: int = 65_536) -> None:
        self.path = path
        self._buffer_bytes = buffer_bytes
        self._lines: list[str] = []
        self._waiting = 0
        self.operations = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, op: str, **fields: Any) -> None:
        """Write one operation, which happens now."""
        line = _encode({"op": op, "time": time.monotonic_ns(), **fields})
        self._lines.append(line)
        self._waiting += len(line)
        self.operations += 1
        if self._waiting >= self._buffer_bytes:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the system, so that the end of this process loses nothing."""
        data = "".join(f"{line}\n" for line in self._lines).encode()
        self._lines.clear()
        self._waiting = 0
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Write what is left and close the file."""
        self.flush()
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def channels_of(
    topic: str, tenant: str | None, resource: Sequence[str] | None, to: Sequence[str] | None
) -> list[str]:
    """Return the channels that an event is published on (PROTOCOL §1, §7)."""
    if tenant is None:
        return [] if to is None else ["system:all"]
    channels = []
    if resource is not None and topic not in ("direct", "system"):
        channels.append(":".join(("tenant", tenant, "resource", *resource)))
    if to is not None:
        channels.append(":".join(("tenant", tenant, *to)))
    return channels


def rights(tenant: str, user: str, *, roles: Sequence[str] = (), channels: Sequence[str] = ()) -> list[str]:
    """Return all that a user may read: what the server joins, and the *channels* of the token."""
    joined = [f"user:{user}", *(f"role:{role}" for role in roles), "all"]
    return [*(f"tenant:{tenant}:{name}" for name in joined), "system:all", *channels]


class RecordingPublisher:
    """A real publisher whose every event is written down before it is sent, and what became of it after."""

    def __init__(self, publisher: Publisher, recorder: Recorder, name: str = "publisher") -> None:
        self._publisher = publisher
        self._recorder = recorder
        self._name = name
        # Events of an earlier process with this name are others.
        self._run = uuid.uuid4().hex[:8]
        self._count = 0

    async def publish(
        self,
        topic: str,
        type: str,
        payload: Any = None,
        *,
        tenant: str | None,
        resource: tuple[str, str] | None = None,
        to: tuple[str, ...] | None = None,
        event_id: str | None = None,
        key: str | None = None,
        **details: Any,
    ) -> Position:
        """Publish one event as `Publisher.publish` does."""
        event_id = event_id or self._next_id()
        who = self._begin(topic, tenant, event_id, channels_of(topic, tenant, resource, to), key)
        details |= {"tenant": tenant, "resource": resource, "to": to, "event_id": event_id, "key": key}
        send = self._publisher.publish(topic, type, payload, **details)
        position = await self._told(send, [who])
        self._recorder.write("published", **who, position=str(position))
        return position

    async def publish_channel(self, channel: str, type: str, payload: Any = None) -> Position:
        """Publish one event to a channel as `Publisher.publish_channel` does."""
        event_id = self._next_id()
        tenant = channel.split(":")[1] if channel != "system:all" else None
        topic = "system" if tenant is None else "channels"
        who = self._begin(topic, tenant, event_id, [channel])
        send = self._publisher.publish_channel(channel, type, payload, event_id=event_id)
        position = await self._told(send, [who])
        self._recorder.write("published", **who, position=str(position))
        return position

    async def broadcast(self, tenant: str | None, type: str, payload: Any = None) -> Position:
        """Publish one event to everyone as `Publisher.broadcast` does."""
        topic = "system" if tenant is None else "direct"
        return await self.publish(topic, type, payload, tenant=tenant, to=("all",))

    async def revoke(
        self, tenant: str, *, user: str | None = None, channels: Sequence[str] | None = None
    ) -> str:
        """Revoke as `Publisher.revoke` does."""
        order = await self._publisher.revoke(tenant, user=user, channels=channels)
        self._recorder.write("revoke", tenant=tenant, user=user, channels=channels)
        return order

    async def publish_many(self, events: Sequence[Outgoing]) -> list[Position]:
        """Publish events in few round trips; each needs an `event_id` of its own."""
        everyone = []
        for event in events:
            assert event.event_id is not None, "the history knows events by their ids"
            channels = channels_of(event.topic, event.tenant, event.resource, event.to)
            everyone.append(self._begin(event.topic, event.tenant, event.event_id, channels, event.key))
        positions = await self._told(self._publisher.publish_many(events), everyone)
        for who, position in zip(everyone, positions, strict=True):
            self._recorder.write("published", **who, position=str(position))
        return positions

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._name}-{self._run}-{self._count}"

    def _begin(
        self, topic: str, tenant: str | None, event_id: str, channels: Sequence[str], key: str | None = None
    ) -> dict[str, Any]:
        who = {"publisher": self._name, "topic": topic, "tenant": tenant, "event_id": event_id}
        self._recorder.write("publish", **who, channels=channels, **({} if key is None else {"key": key}))
        # A process that dies now may have published it.
        self._recorder.flush()
        return who

    async def _told(self, send: Awaitable[T], everyone: Sequence[dict[str, Any]]) -> T:
        sent = False
        definite: frozenset[str] = frozenset()
        try:
            result = await send
            sent = True
            return result
        except PublishRefused as error:
            definite = frozenset([error.event_id])
            raise
        except PublishFailed:
            raise
        except (PublisherError, InvalidData):
            definite = frozenset(who["event_id"] for who in everyone)
            raise
        finally:
            # Cancelled is in doubt, too.
            for who in () if sent else everyone:
                self._recorder.write("publish_failed", **who, definite=who["event_id"] in definite)


async def recorded(
    subscription: Subscription,
    recorder: Recorder,
    name: str,
    tenant: str,
    may_read: Sequence[str] | None = None,
) -> AsyncIterator[Event | Gap]:
    """Iterate over what `fanwire_client` yields, writing it down as one session that hides reconnects.

    *may_read* are all rights of the client, by default what it subscribes to. The history has its
    beginning when the subscription is ready; `recorder.write("end", client=name, until=…)` ends it.
    """
    await subscription.ready()
    connection = f"{name}#{uuid.uuid4().hex[:8]}"
    channels = list(subscription.channels)
    recorder.write("authorized", client=name, tenant=tenant, channels=list(may_read or channels))
    recorder.write("connect", client=name, connection=connection, hides_reconnects=True)
    recorder.write("subscribed", connection=connection, channels=channels, positions=None, recovered=None)
    async for item in subscription:
        if isinstance(item, Gap):
            start = {} if item.from_ is None else {"from": item.from_}
            where = {"topic": item.topic, "to": item.to, "reason": item.reason, "channel": item.channel}
            recorder.write("gap", connection=connection, **where, **start)
        else:
            what = {"channel": item.channel, "type": item.type, "event_id": item.event_id}
            recorder.write("event", connection=connection, **what, offset=item.offset)
        yield item


def check(*paths: Path, strict: bool = False, report: Callable[[Report], object] | None = None) -> Report:
    """Judge a history in this process and return the report; raises AssertionError with what is wrong."""
    found = check_history(
        [Source(path.name, path.read_text(encoding="utf-8").splitlines()) for path in paths]
    )
    if report is not None:
        report(found)
    assert found.is_clean(strict=strict), str(found)
    return found
