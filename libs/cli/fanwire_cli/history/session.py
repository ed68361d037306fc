"""One client from its first connection to its end, judged step by step (PROTOCOL §6).

Theory of operation. Every frame of an event moves all lanes of its connection in that stream: whatever
they pass must have come before, on any connection of the session, or be covered by a gap that came before.
What is neither is a *hole*. A hole that is filled on the same connection was out of order; one that is
filled on a later one, or told of too late, was skipped; one that stays is lost. A `pong` moves lanes too,
and so does the session's end where it says by when all was due.
"""

from __future__ import annotations

from collections.abc import Iterable

from fanwire_cli.history import operations as of
from fanwire_cli.history.accuser import Accuser
from fanwire_cli.history.conflation import Conflation, Hole
from fanwire_cli.history.connection import Connection, Rights
from fanwire_cli.history.gaps import Gaps
from fanwire_cli.history.interests import Interests, Lane
from fanwire_cli.history.records import Step, Track
from fanwire_cli.history.report import Kind
from fanwire_cli.history.truth import Truth

__all__ = ["Session"]

_DUE = "was due by the end of the client, and no gap covers it"
_PASSED = "what lies behind it was reached, and no gap covers it"


class Session:
    """The state of one client; `run` judges everything it did."""

    def __init__(self, client: str, truth: Truth, accuser: Accuser) -> None:
        self._client = client
        self._truth = truth
        self._accuser = accuser
        self._rights = Rights()
        self._interests = Interests(truth)
        self._gaps = Gaps(truth)
        self._conflation = Conflation(truth)
        self._connections: dict[str, Connection] = {}
        self._by_number: dict[int, Connection] = {}
        self._lanes: dict[tuple[int, int, str], list[Lane]] = {}
        self._got: dict[int, int] = {}
        self._holes: dict[int, Hole] = {}
        self.frames = 0
        self.repeats = 0
        self.told: set[int] = set()

    def run(self, track: Track) -> None:
        """Take all steps of the client and judge what is left open."""
        for step in track:
            if step.operation is None:
                self._on_event(step)
            else:
                self._on_operation(step.operation, step.line)
        self._close_holes()
        for gap in self._gaps.false(self._got):
            self._accuser.accuse_gap(self._client, gap)

    # Frames of events

    def _on_event(self, step: Step) -> None:
        self.frames += 1
        self.repeats += step.is_repeat
        pair = self._truth.renumber(step.pair)
        connection = self._by_number_of(step.connection)
        before = connection.seen.setdefault(pair, step.line)
        if before != step.line:
            self._accuse(Kind.DUPLICATE, "came twice on one connection", step, pair, before)
        elif self._is_legitimate(step, pair, connection):
            lanes = self._lanes_of(connection, pair) if pair < self._truth.placed else []
            # Without a lane that waits for it, it may lie before the begin.
            is_early = not any(lane.waits_for(pair) for lane in lanes) and self._is_early(
                step, pair, connection
            )
            self._take(step, pair, connection, is_early)
            for lane in lanes:
                self._pass(lane, lane.pass_through(pair), connection, step.line)

    def _by_number_of(self, number: int) -> Connection:
        found = self._by_number.get(number)
        if found is None:
            name = self._truth.connections[number].connection
            found = self._by_number[number] = self._connections[name]
        return found

    def _is_legitimate(self, step: Step, pair: int, connection: Connection) -> bool:
        truth = self._truth
        channel, begun = truth.channel(pair), truth.event(pair).begun
        if not truth.is_published(pair):
            self._accuse_unpublished(step, pair, connection)
        elif not self._rights.permit(channel, connection.told.connection, begun):
            self._accuse(Kind.LEAKED, "the client may not read the channel (any more)", step, pair)
        elif not connection.matching(channel):
            self._accuse(Kind.LEAKED, "the connection is not on the channel", step, pair)
        else:
            return True
        return False

    def _accuse_unpublished(self, step: Step, pair: int, connection: Connection) -> None:
        name = connection.told.connection
        owners = self._truth.elsewhere(pair)
        if owners and not any(
            self._rights.permit(channel, name, None) for event in owners for channel in event.channels or ()
        ):
            text = "the event was published on channels that the client may not read"
            self._accuse(Kind.LEAKED, text, step, pair)
        elif owners:
            self._accuse(Kind.PHANTOM, "the event was never published on this channel", step, pair)
        elif self._truth.event(pair).failed:
            self._accuse(Kind.PHANTOM, "publishing the event failed for certain", step, pair)
        else:
            self._accuse(Kind.PHANTOM, "the event was never published", step, pair)

    def _is_early(self, step: Step, pair: int, connection: Connection) -> bool:
        if self._truth.event(pair).is_on_several:
            return False
        return not connection.has_begun(self._truth.channel(pair), self._truth.offsets[step.offset])

    def _take(self, step: Step, pair: int, connection: Connection, is_early: bool) -> None:
        before = self._got.get(pair)
        if before is not None:
            if not step.is_repeat:
                self._accuse(Kind.DUPLICATE, "reached the application twice", step, pair, before)
            elif is_early:
                text = "came again, though delivery began after it"
                self._accuse(Kind.DUPLICATE, text, step, pair, before)
            return
        if step.is_repeat:
            text = "the client dropped it as a repeat and never had it"
            self._holes[pair] = Hole(connection, step.line, text)
            return
        self._got[pair] = step.line
        hole = self._holes.pop(pair, None)
        if hole is not None and hole.connection is connection:
            self._accuse(Kind.ORDER, "came after a later event of its topic", step, pair, hole.line)
        elif hole is not None:
            text = "a later event of its topic came first, and no gap before"
            self._accuse(Kind.SKIPPED, text, step, pair, hole.line)
        elif is_early:
            self._accuse(Kind.ORDER, "lies before the position where delivery began", step, pair)

    def _lanes_of(self, connection: Connection, pair: int) -> list[Lane]:
        stream = self._truth.stream(pair)
        by_channel = connection.told.hides_reconnects
        channel = self._truth.channel(pair) if by_channel else ""
        key = (id(connection), stream, channel)
        found = self._lanes.get(key)
        if found is None:
            wanted = self._interests.lanes(connection.names)
            # What a library yields is in order for each channel alone.
            found = self._lanes[key] = [
                lane
                for lane in wanted
                if lane.stream == stream and (not by_channel or self._truth.channel(lane.pairs[0]) == channel)
            ]
        return found

    def _pass(self, lane: Lane, passed: Iterable[int], connection: Connection | None, line: int) -> None:
        for pair in passed:
            if pair in self._got or pair in self._holes or not self._is_due(lane, pair, connection):
                continue
            if self._gaps.cover(pair):
                self.told.add(pair)
            else:
                self._holes[pair] = Hole(connection, line, _DUE if connection is None else _PASSED)

    def _is_due(self, lane: Lane, pair: int, connection: Connection | None) -> bool:
        begun, name = self._truth.event(pair).begun, "" if connection is None else connection.told.connection
        if lane.since is not None and (begun or 0) < lane.since:
            return False
        return self._rights.permit(self._truth.channel(pair), name, begun)

    # Everything else

    def _on_operation(self, operation: of.ClientOperation | of.Connect, line: int) -> None:
        match operation:
            case of.Authorized():
                self._rights = Rights(operation, self._truth.revokes)
            case of.Connect():
                self._connections[operation.connection] = Connection(operation)
            case of.Subscribed():
                self._on_subscribed(operation)
            case of.Unsubscribed():
                self._on_unsubscribed(operation)
            case of.GapSeen():
                self._gaps.add(operation, line)
            case of.Positions():
                self._on_positions(operation, line)
            case of.Closed():
                self._on_closed(operation)
            case of.End():
                self._on_end(operation, line)

    def _on_subscribed(self, told: of.Subscribed) -> None:
        connection = self._connections[told.connection]
        self._lanes.clear()
        for name in told.channels:
            is_new = connection.join(name, told.positions)
            # Who comes back without `since` begins anew; who does with it goes on, whatever was answered.
            if is_new and (told.recovered is None or name not in self._interests):
                by_channel = connection.told.hides_reconnects
                self._interests.begin(name, told.positions, told.time, by_channel=by_channel)

    def _on_unsubscribed(self, told: of.Unsubscribed) -> None:
        connection = self._connections[told.connection]
        self._lanes.clear()
        for name in told.channels:
            connection.leave(name)
            self._interests.end(name)
        # What ended may be subscribed to again, and come again.
        channel = self._truth.channel
        connection.seen = {p: line for p, line in connection.seen.items() if connection.matching(channel(p))}

    def _on_positions(self, told: of.Positions, line: int) -> None:
        connection = self._connections[told.connection]
        self._conflation.tell(told.connection, told.skipped, line)
        for lane in self._interests.lanes(connection.names):
            position = told.positions.get(lane.topic)
            if position is None:
                continue
            passed = []
            while lane.at < len(lane.pairs) and self._truth.is_up_to(lane.pairs[lane.at], position):
                passed.append(lane.pairs[lane.at])
                lane.at += 1
            self._pass(lane, passed, connection, line)

    def _on_closed(self, told: of.Closed) -> None:
        for name in [
            each for each in self._interests.names() if each.endswith(f":connection:{told.connection}")
        ]:
            self._interests.end(name)

    def _on_end(self, told: of.End, line: int) -> None:
        if told.until is None:
            return
        for lane in self._interests.lanes():
            acked = self._acked_until(lane, told.until)
            self._pass(lane, acked, None, line)

    def _acked_until(self, lane: Lane, until: int) -> Iterable[int]:
        for pair in lane.pairs[lane.at :]:
            acked = self._truth.event(pair).acked
            if acked is not None and acked <= until:
                yield pair

    def _close_holes(self) -> None:
        excused = self._conflation.excuse(self._holes)
        for pair, hole in self._holes.items():
            if pair in excused:
                continue
            name = None if hole.connection is None else hole.connection.told.connection
            if self._gaps.cover(pair):
                kind, text = Kind.SKIPPED, "the gap that covers it came after a later event of its topic"
            else:
                kind, text = Kind.LOST, hole.text
            self._accuser.accuse(kind, text, self._client, name, pair, (hole.line,))

    def _accuse(self, kind: Kind, text: str, step: Step, pair: int, *lines: int) -> None:
        connection = self._by_number_of(step.connection).told.connection
        self._accuser.accuse(kind, text, self._client, connection, pair, (step.line, *lines), step.offset)
