"""The asyncio publisher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self, Unpack

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fanwire_protocol import JsonValue, Position
from fanwire_protocol.orders import Operation
from fanwire_publisher._control import Control
from fanwire_publisher._delivery import Delivery
from fanwire_publisher._errors import PublishFailed
from fanwire_publisher._link import Link
from fanwire_publisher._options import OptionFields, PublisherOptions
from fanwire_publisher._outgoing import Details, Outgoing, for_channel, for_everyone, for_target
from fanwire_publisher._record import Record, make_record
from fanwire_publisher._sources import Sources

__all__ = ["Publisher"]

_CONNECT_SECONDS = 2.0
_BATCH_RECORDS = 128
_BATCH_BYTES = 256 * 1024


class Publisher:
    """Publishes events onto the log; an async context manager.

    One publisher serves a whole process: calls may run at the same time, and those for one topic and
    tenant are carried out in the order in which they were made. Every method raises InvalidEvent before
    anything is sent, PublishFailed where Redis did not confirm within `retry_seconds`, PublishRefused
    where the event is certainly not in the log, PartitionsConflict and PublisherClosed. Cancelling is
    safe; the event may then be in the log or not.
    """

    def __init__(
        self, redis: Redis, options: PublisherOptions | None = None, *, sources: Sources | None = None
    ) -> None:
        """Publish through *redis*, which must not retry by itself; `from_url` makes one that does not."""
        self._options = options or PublisherOptions()
        self._sources = sources or Sources()
        self._link = Link(redis, self._options, self._sources)
        self._delivery = Delivery(self._link, self._options, self._sources)
        self._control = Control(self._link, self._options, self._sources)

    @classmethod
    def from_url(cls, url: str, *, sources: Sources | None = None, **options: Unpack[OptionFields]) -> Self:
        """Return a publisher for the Redis at *url*; *options* are the fields of PublisherOptions.

        Connects with the first event. Raises ValueError for a bad URL or option.
        """
        checked = PublisherOptions(**options)
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=checked.max_connections,
            timeout=checked.retry_seconds,
            protocol=3,
            legacy_responses=False,
            # redis-py would repeat commands whose reply is missing, up to ten times, and so add an event
            # eleven times; our own retry carries the event's id and knows when to stop. The asyncio Retry:
            # its blocking namesake is accepted too, and never sees a failure.
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_CONNECT_SECONDS,
            # Replies have a deadline of ours: redis-py's is kept by asyncio.wait_for, which loses
            # cancellations before Python 3.12.
            socket_timeout=None,
        )
        # What a URL asks for wins over arguments; ours are bytes in and bytes out.
        pool.connection_kwargs["decode_responses"] = False
        return cls(Redis.from_pool(pool), checked, sources=sources)

    async def publish(
        self,
        topic: str,
        type: str,
        payload: JsonValue = None,
        *,
        tenant: str | None,
        resource: tuple[str, str] | None = None,
        to: tuple[str, ...] | None = None,
        **details: Unpack[Details],
    ) -> Position:
        """Publish one event and return its position once Redis holds it.

        *resource* is `(type, id)`, *to* `("user", id)`, `("role", name)`, `("connection", id)` or
        `("all",)`; with both, both are reached. *tenant* is None on the topic `system` only.
        """
        outgoing = Outgoing(topic, type, payload, tenant=tenant, resource=resource, to=to, **details)
        return await self._send(outgoing)

    async def publish_many(self, events: Iterable[Outgoing]) -> list[Position]:
        """Publish *events* in few round trips and return their positions in the same order.

        All are checked before the first is sent. Order holds per topic and tenant. Where it fails, the
        error's `unconfirmed` names the events without a position; all others are in the log.
        """
        records = [self._record(event) for event in events]
        positions: dict[int, Position] = {}
        for indices in _batches(records):
            try:
                added = await self._delivery.deliver([records[index] for index in indices])
            except PublishFailed as error:
                failed = set(error.unconfirmed)
                later = [
                    record.event_id
                    for index, record in enumerate(records)
                    if index not in positions and (index not in indices or record.event_id in failed)
                ]
                raise type(error)(error.event_id, error.reason, later) from error
            positions.update(zip(indices, added, strict=True))
        return [positions[index] for index in range(len(records))]

    async def publish_channel(
        self, channel: str, type: str, payload: JsonValue = None, **details: Unpack[Details]
    ) -> Position:
        """Publish one event to *channel*, which is no pattern; on the topic `channels`."""
        return await self._send(for_channel(channel, type, payload, **details))

    async def send_to_user(
        self, tenant: str, user: str, type: str, payload: JsonValue = None, **details: Unpack[Details]
    ) -> Position:
        """Publish one event to all connections of a user; on the topic `direct`."""
        return await self._send(for_target(tenant, ("user", user), type, payload, **details))

    async def send_to_role(
        self, tenant: str, role: str, type: str, payload: JsonValue = None, **details: Unpack[Details]
    ) -> Position:
        """Publish one event to everyone who holds *role*; on the topic `direct`."""
        return await self._send(for_target(tenant, ("role", role), type, payload, **details))

    async def send_to_connection(
        self, tenant: str, client_id: str, type: str, payload: JsonValue = None, **details: Unpack[Details]
    ) -> Position:
        """Publish one event to one connection; on the topic `direct`."""
        return await self._send(for_target(tenant, ("connection", client_id), type, payload, **details))

    async def broadcast(
        self, tenant: str | None, type: str, payload: JsonValue = None, **details: Unpack[Details]
    ) -> Position:
        """Publish one event to everyone of *tenant*; to everyone where it is None (`allow_system`)."""
        return await self._send(for_everyone(tenant, type, payload, **details))

    async def revoke(
        self,
        tenant: str | None,
        *,
        user: str | None = None,
        role: str | None = None,
        token: str | None = None,
        client: str | None = None,
        channels: Sequence[str] | None = None,
        until: int | None = None,
    ) -> str:
        """Revoke what was issued up to now to everybody for whom all conditions hold; returns the order's id.

        Without *channels* connections close (4503) and these credentials are refused until *until*, in
        milliseconds since the epoch (default: the edges' longest lifetime of a token). With them,
        subscriptions to these channels and patterns end. Without a further condition it is the whole
        tenant; None is every tenant (`allow_system`).
        """
        return await self._control.give(
            Operation.REVOKE,
            tenant,
            user=user,
            role=role,
            token=token,
            client=client,
            channels=None if channels is None else tuple(channels),
            until=until,
        )

    async def disconnect(
        self,
        tenant: str | None,
        *,
        user: str | None = None,
        role: str | None = None,
        token: str | None = None,
        client: str | None = None,
    ) -> str:
        """Close the connections (4504) of everybody for whom all conditions hold; returns the order's id.

        They may come back at once, but do not do so by themselves.
        """
        return await self._control.give(
            Operation.DISCONNECT, tenant, user=user, role=role, token=token, client=client
        )

    async def aclose(self) -> None:
        """Close the connections. What is still on its way fails; await it first."""
        await self._link.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(self, outgoing: Outgoing) -> Position:
        [position] = await self._delivery.deliver([self._record(outgoing)])
        return position

    def _record(self, outgoing: Outgoing) -> Record:
        random = self._sources.random(10)
        now_ms = self._sources.now_ms()
        return make_record(outgoing, now_ms, random, allow_system=self._options.allow_system)


def _batches(records: Sequence[Record]) -> Iterator[list[int]]:
    """Split *records* by topic and size; yields indices, in order within a topic."""
    by_topic: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        by_topic.setdefault(record.topic, []).append(index)
    for indices in by_topic.values():
        batch: list[int] = []
        size = 0
        for index in indices:
            if batch and (len(batch) == _BATCH_RECORDS or size + len(records[index].data) > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(index)
            size += len(records[index].data)
        yield batch
