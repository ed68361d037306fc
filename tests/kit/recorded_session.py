"""What a recording client knows and writes down, frame by frame; no sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanwire_protocol import may_reconnect, parse_position
from tests.kit.recording import Recorder
from tests.kit.resumption import JOINED, Resumption, commands

__all__ = ["Frame", "Identity", "RecordedSession"]

Frame = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is: its name in the history, its token, and all that it may read (`rights`)."""

    name: str
    tenant: str
    token: str
    may_read: Sequence[str]


class RecordedSession:
    """One client over its connections. The record has each frame as it came; what the own dedupe dropped
    is marked as a repeat."""

    def __init__(self, recorder: Recorder, who: Identity, channels: Sequence[str]) -> None:
        self._recorder = recorder
        self._who = who
        self._kept = Resumption(channels)
        self._joined: set[str] = set()
        self._asked: set[str] = set()
        self._client_id: str | None = None
        self._told: Frame | None = None
        self._pongs: Mapping[str, str] = {}
        self.jitter_ms = 0
        self.events = 0
        self.repeats = 0
        self.skipped = 0
        self.gaps: list[Frame] = []
        self.close_codes: list[int] = []
        recorder.write("authorized", client=who.name, tenant=who.tenant, channels=list(who.may_read))

    @property
    def is_answered(self) -> bool:
        """Whether every wanted channel was answered on this connection."""
        return not self._kept.unanswered

    def has_reached(self, topic: str, position: str) -> bool:
        """Tell whether a pong of this connection said that all up to *position* was sent."""
        told = self._pongs.get(topic)
        if told is None:
            return False
        mine, other = parse_position(told), parse_position(position)
        return mine.broker == other.broker and mine.key >= other.key

    def query(self) -> list[tuple[str, str]]:
        """Return the query of the next connection: the old lease, and where the joined channels resume."""
        since = self._kept.since(JOINED) or {}
        lease = [] if self._client_id is None else [("client", self._client_id)]
        return [*lease, *(("since", f"{topic}@{position}") for topic, position in since.items())]

    def begin(self) -> None:
        """Note that a connection is open."""
        self._told, self._client_id, self._pongs = None, None, {}
        self._asked.clear()

    def ask(self) -> Iterator[str]:
        """Yield the commands that ask for what was not asked for on this connection."""
        names = [name for name in self._kept.unanswered if name not in self._asked]
        for asked, command in commands(self._kept, names) if names else ():
            self._asked.update(asked)
            yield command

    def want(self, name: str) -> None:
        """Want one more channel, from now on."""
        self._kept.want(name)

    def lose(self, code: int) -> bool:
        """Note that the connection ended with *code*; tell whether the client may come back."""
        self._kept.lost()
        self.close_codes.append(code)
        if self._client_id is not None:
            self._recorder.write("closed", connection=self._client_id, code=code)
        return may_reconnect(code) if self._told is None else bool(self._told["reconnect"])

    def end(self, until: int | None) -> None:
        """Note that the client stops; everything confirmed up to *until* (monotonic ns) was due."""
        self._recorder.write("end", client=self._who.name, until=until)

    def take(self, frame: Frame) -> None:
        """Take a frame and write down what it says."""
        handle = _HANDLERS.get(frame["type"])
        if handle is not None:
            handle(self, frame)
        elif "offset" in frame:
            self._take_event(frame)

    def _take_event(self, frame: Frame) -> None:
        topic, _, position = frame["offset"].rpartition("@")
        self._kept.advanced({topic: position})
        is_repeat = self._kept.is_known(frame["channel"], frame["eventId"])
        self.events += not is_repeat
        self.repeats += is_repeat
        self._write(
            "event",
            channel=frame["channel"],
            type=frame["type"],
            event_id=frame["eventId"],
            offset=frame["offset"],
            **({"repeat": True} if is_repeat else {}),
        )

    def _on_connected(self, frame: Frame) -> None:
        told = frame["payload"]
        self._client_id = told["clientId"]
        self.jitter_ms = told["reconnect"]["jitterMs"]
        self._recorder.write("connect", client=self._who.name, connection=self._client_id)
        joined = {name for name in told["channels"] if ":connection:" not in name}
        if gone := sorted(self._joined - joined):
            # A role that the user does not hold any more: nothing is due there.
            self._write("unsubscribed", channels=gone)
        self._joined = joined
        self._kept.connected(told["positions"], told["recovered"])
        self._write_subscribed(told)

    def _on_subscribed(self, frame: Frame) -> None:
        told = frame["payload"]
        self._kept.answered(told["channels"], told["positions"], told["recovered"])
        self._write_subscribed(told)

    def _write_subscribed(self, told: Frame) -> None:
        self._write("subscribed", **{name: told[name] for name in ("channels", "positions", "recovered")})

    def _on_unsubscribed(self, frame: Frame) -> None:
        self._leave(frame["payload"]["channels"])

    def _on_gap(self, frame: Frame) -> None:
        told = frame["payload"]
        self._kept.told(told["topic"], told["to"])
        self.gaps.append(told)
        where = {name: told[name] for name in ("topic", "to", "reason", "from") if name in told}
        self._write("gap", **where, **({"channel": frame["channel"]} if "channel" in frame else {}))

    def _on_pong(self, frame: Frame) -> None:
        positions = frame["payload"]["positions"]
        # It vouches for the channels that were answered, so not yet for those whose replay is to come.
        self._pongs = positions if self.is_answered else {}
        self._kept.advanced(positions)
        skipped = frame["payload"].get("skipped", 0)
        self.skipped += skipped
        self._write("positions", positions=positions, **({"skipped": skipped} if skipped else {}))

    def _on_error(self, frame: Frame) -> None:
        name = frame.get("channel")
        if name is None:
            return
        self._asked.discard(name)
        if frame["payload"]["code"] != "unavailable":
            self._leave([name])

    def _leave(self, names: Sequence[str]) -> None:
        for name in names:
            self._kept.forget(name)
        self._write("unsubscribed", channels=list(names))

    def _on_disconnect(self, frame: Frame) -> None:
        self._told = frame["payload"]
        self.jitter_ms = frame["payload"]["jitterMs"]

    def _write(self, op: str, **fields: Any) -> None:
        self._recorder.write(op, connection=self._client_id, **fields)


_HANDLERS: Mapping[str, Callable[[RecordedSession, Frame], None]] = {
    "connected": RecordedSession._on_connected,
    "subscribed": RecordedSession._on_subscribed,
    "unsubscribed": RecordedSession._on_unsubscribed,
    "gap": RecordedSession._on_gap,
    "pong": RecordedSession._on_pong,
    "error": RecordedSession._on_error,
    "disconnect": RecordedSession._on_disconnect,
}
