"""Events of the benchmark: each says when it was meant to be sent, and fills a frame of a given size."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fanwire_protocol import Event, Frame, encode_frame

__all__ = [
    "CHANNEL",
    "EVENT_PREFIX",
    "OWN_CHANNELS",
    "TENANT",
    "TOPIC",
    "EventShape",
    "channel_name",
    "header_bytes",
    "plain_text",
]

TENANT = "a"
TOPIC = "t"
TYPE = "u"
SHARED = ("b", "1")
CHANNEL = f"tenant:{TENANT}:resource:b:1"
# Templates: the load generator puts the connection's number for %d.
OWN_CHANNELS = tuple(f"tenant:{TENANT}:resource:{kind}:%d" for kind in "bc")
EVENT_PREFIX = f'{{"type":"{TYPE}"'

_OFFSET = f"{TOPIC}@{10**12}-0~{0:08x}"
_ID_LENGTH = 36  # of a UUID, where a frame has room for it
_MAX_ID_LENGTH = 64
_FILLER = ',"p":""'


@dataclass(frozen=True, slots=True)
class EventShape:
    """Makes events whose frame, header included, has *frame_bytes* on the wire."""

    frame_bytes: int

    def event(self, number: int, due_ns: int, resource: tuple[str, str] | None = SHARED) -> Event:
        """Return event *number*, due at a time of the monotonic clock; no resource means all of the tenant.

        Raises ValueError where the frame has no room for what every event carries.
        """
        room = self._room(due_ns, resource)
        if room <= 0:
            raise ValueError(f"a frame of {self.frame_bytes} bytes is {1 - room} too short for an event")
        id_length = room if room <= _MAX_ID_LENGTH else _ID_LENGTH
        payload: dict[str, int | str] = {"t": due_ns}
        if room > id_length:
            payload["p"] = "x" * (room - id_length - len(_FILLER))
        return Event(
            id=str(number).zfill(id_length),
            type=TYPE,
            tenant=TENANT,
            time=time.time_ns() // 1_000_000,
            payload=payload,
            resource=resource,
            to=("all",) if resource is None else None,
        )

    def _room(self, due_ns: int, resource: tuple[str, str] | None) -> int:
        """Return the bytes that are left for the event's id and a filler."""
        channel = f"tenant:{TENANT}:all" if resource is None else channel_name(":".join(resource))
        return (
            self.frame_bytes - header_bytes(self.frame_bytes) - _BARE_BYTES - len(channel) - len(str(due_ns))
        )


def header_bytes(frame_bytes: int) -> int:
    """Return the size of the WebSocket header of a frame that has *frame_bytes* with it."""
    return 2 if frame_bytes - 2 < 126 else 4


def channel_name(place: str) -> str:
    """Return the channel of a place: a kind and an id, as in `b:1`."""
    return f"tenant:{TENANT}:resource:{place}"


def plain_text(number: int, due_ns: int, length: int) -> bytes:
    """Return what a server without an envelope of its own sends: *length* bytes of JSON, which say the same.

    Raises ValueError where there is no room.
    """
    begin, end = b'{"type":"u","eventId":"', f'","encoding":"json","payload":{{"t":{due_ns}}}}}'.encode()
    room = length - len(begin) - len(end)
    if room < 1:
        raise ValueError(f"{length} bytes are {1 - room} too few for an event")
    return begin + str(number).zfill(room).encode() + end


def _bare_bytes() -> int:
    """Return the size of an event's frame without the parts that vary."""
    frame = Frame(type=TYPE, payload={"t": 0}, time=0, event_id="", channel="", offset=_OFFSET)
    return len(encode_frame(frame)) - len("0")


_BARE_BYTES = _bare_bytes()
