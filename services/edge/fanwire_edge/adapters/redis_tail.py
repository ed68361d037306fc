"""The tail on Redis: one connection, one pipeline a round trip, the proofs behind the read (ADR 0006)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fanwire_edge.adapters.redis_wire import (
    Command,
    RedisWire,
    checked,
    entry_of,
    identity_of,
    info_of,
    packed,
)
from fanwire_edge.core.follower import ReadReply, ReadRequest
from fanwire_edge.core.stream import Entry, Stream, StreamInfo

__all__ = ["RedisTail"]

REPLY_SECONDS = 2.0
_IDENTIFY = packed(("INFO", "replication"))


class RedisTail:
    """A tail of the broker at *url*, under the keys of *prefix*."""

    def __init__(self, url: str, prefix: str) -> None:
        self._wire = RedisWire(url, prefix)
        # For each stream the last proof that was asked for: the entry, and the command.
        self._proofs: dict[Stream, tuple[str, bytes]] = {}

    async def connect(self) -> str:
        """Connect anew and return the broker's identity."""
        await self._wire.connect()
        [info] = await self._wire.exchange([("INFO", "replication")], REPLY_SECONDS)
        return identity_of(info)

    async def inspect(self, streams: Iterable[Stream]) -> Mapping[Stream, StreamInfo]:
        """Return `XINFO STREAM` of each stream."""
        asked = tuple(streams)
        commands: list[Command] = [("XINFO", "STREAM", self._wire.key(stream)) for stream in asked]
        replies = await self._wire.exchange(commands, REPLY_SECONDS)
        return {stream: info_of(reply) for stream, reply in zip(asked, replies, strict=True)}

    async def read(self, request: ReadRequest) -> ReadReply:
        """Read, then prove where it was read from, in one pipeline.

        Redis carries out what stands behind a blocking read when that has ended, so that an old cursor
        which is still there then was there at the read.
        """
        cursors, prove = request.cursors, request.prove
        proofs = [stream for stream in cursors if stream in prove]
        commands = [self._read_command(request)]
        if request.identify:
            commands.insert(0, _IDENTIFY)
        commands += [self._proof(stream, cursors[stream]) for stream in proofs]
        seconds = REPLY_SECONDS + (request.block_ms or 0) / 1000
        replies = await self._wire.ask(b"".join(commands), len(commands), seconds)
        identity = identity_of(replies.pop(0)) if request.identify else None
        entries = self._entries(request, replies.pop(0))
        unproven = frozenset(
            [stream for stream, found in zip(proofs, replies, strict=True) if not checked(found)]
        )
        return ReadReply(identity, unproven, entries)

    async def close(self) -> None:
        """Drop the connection."""
        await self._wire.close()

    def _read_command(self, request: ReadRequest) -> bytes:
        block = () if request.block_ms is None else ("BLOCK", request.block_ms)
        keys = map(self._wire.key, request.cursors)
        return packed(("XREAD", "COUNT", request.count, *block, "STREAMS", *keys, *request.cursors.values()))

    def _proof(self, stream: Stream, entry_id: str) -> bytes:
        """Return the command that looks for an entry; most streams stand where they stood before."""
        known = self._proofs.get(stream)
        if known is None or known[0] != entry_id:
            command = packed(("XRANGE", self._wire.key(stream), entry_id, entry_id, "COUNT", 1))
            self._proofs[stream] = known = entry_id, command
        return known[1]

    def _entries(self, request: ReadRequest, reply: Any) -> Mapping[Stream, Sequence[Entry]]:
        found = checked(reply)
        if not found:
            return {}
        # RESP3 answers with a map, RESP2 with a list of pairs.
        pairs = found.items() if isinstance(found, dict) else found
        by_key = {self._wire.key(stream): stream for stream in request.cursors}
        return {by_key[key]: [entry_of(*entry) for entry in entries] for key, entries in pairs}
