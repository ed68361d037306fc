"""A good history, and faults to put into it: each changes one thing that matters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from fanwire_cli.history import Kind
from tests.cli.history_world import Line, World, resource

__all__ = [
    "FAULTS",
    "WANTS",
    "cry_wolf",
    "drop_in_the_middle",
    "drop_the_last",
    "first",
    "frame",
    "good_history",
    "swap_two",
]

WANTS = (
    ("acme", [resource("acme", "orders", "*")]),
    ("acme", [resource("acme", "orders", "1"), "tenant:acme:resource:*"]),
    ("globex", [resource("globex", "orders", "1"), resource("globex", "orders", "3")]),
)


def good_history() -> list[Line]:
    """Two tenants, three clients, reconnects, a cut within an event, a hole, doubtful attempts.

    c0 gets e-1, e-2, e-4 and after a reconnect e-5, e-6; c2 is told of a gap instead of e-7.
    """
    world = World(WANTS)
    c0, c1, c2 = world.clients
    for client in world.clients:
        world.connect(client)
    world.publish("acme", "orders", "1")  # e-1
    world.publish("acme", "orders", "2")  # e-2
    world.publish("globex", "orders", "1")  # e-3
    world.publish("acme", "orders", "1", user=True)  # e-4
    for client in world.clients:
        world.deliver(client, "orders", 4)
        world.ping(client)
    world.close(c0)
    world.publish("acme", "orders", "1")  # e-5
    world.publish("acme", "orders", "3", outcome="repeated")  # e-6
    world.connect(c0)
    world.publish("globex", "orders", "3")  # e-7
    world.deliver(c0, "orders", 10)
    world.deliver(c1, "orders", 10)
    world.trim("orders", 0)
    world.publish("globex", "orders", "3")  # e-8
    world.publish("acme", "invoices", "2", outcome="in doubt")  # e-9
    world.publish("acme", "orders", "1", outcome="refused")  # e-10
    world.publish("acme", "orders", "1", "2")  # e-11, on two channels
    world.deliver(c1, "orders", 10, cut_within=True)
    world.connect(c1)
    world.publish("acme", "invoices", "1")  # e-12
    world.publish("acme", "orders", "2")  # e-13
    world.deliver(c0, "orders", 10)
    world.deliver(c1, "invoices", 10)
    world.leave(c0, resource("acme", "orders", "*"))
    world.publish("acme", "orders", "2")  # e-14, not for c0 any more
    world.join(c2, resource("globex", "orders", "2"))
    world.publish("globex", "orders", "2")  # e-15
    return world.finish()


# Finding places in a history


def frame(lines: Sequence[Line], connection: str, event_id: str, channel: str = "") -> int:
    """Return where an event's (first) frame on a connection stands."""
    return next(
        index
        for index, line in enumerate(lines)
        if line["op"] == "event"
        and (line["connection"], line["event_id"]) == (connection, event_id)
        and channel in line["channel"]
    )


def first(lines: Sequence[Line], op: str, **fields: object) -> int:
    """Return where the first operation with these fields stands."""
    wanted = {"op": op, **fields}.items()
    return next(index for index, line in enumerate(lines) if wanted <= _hashable(line).items())


def _hashable(line: Line) -> dict[str, object]:
    return {name: value for name, value in line.items() if isinstance(value, str | int | None)}


# Faults: each changes a good history in one way


def drop_in_the_middle(lines: list[Line]) -> None:
    del lines[frame(lines, "c0-1", "e-2")]


def drop_the_last(lines: list[Line]) -> None:
    del lines[frame(lines, "c1-2", "e-14")]


def drop_while_away(lines: list[Line]) -> None:
    """The server resumes one event too late."""
    del lines[frame(lines, "c0-2", "e-5")]


def resume_beyond(lines: list[Line]) -> None:
    """The server says that it resumes further on, and keeps to that."""
    del lines[frame(lines, "c0-2", "e-5")]
    for line in lines:
        if line["op"] == "subscribed" and line["connection"] == "c0-2":
            line["positions"]["orders"] = lines[frame(lines, "c1-1", "e-5")]["offset"].partition("@")[2]


def drop_one_channel_of_two(lines: list[Line]) -> None:
    del lines[frame(lines, "c0-2", "e-11", "orders:2")]


def drop_the_gap(lines: list[Line]) -> None:
    del lines[first(lines, "gap", connection="c2-1")]


def shorten_the_gap(lines: list[Line]) -> None:
    gap = lines[first(lines, "gap", connection="c2-1")]
    gap["to"] = gap["from"]


def tell_of_another_topic(lines: list[Line]) -> None:
    lines[first(lines, "gap", connection="c2-1")]["topic"] = "invoices"


def take_new_for_known(lines: list[Line]) -> None:
    """The client drops an event that it never had."""
    lines[frame(lines, "c0-2", "e-6")]["repeat"] = True


def tell_too_late(lines: list[Line]) -> None:
    gap = lines.pop(first(lines, "gap", connection="c2-1"))
    lines.insert(frame(lines, "c2-1", "e-8") + 1, gap)


def deliver_on_the_next_connection(lines: list[Line]) -> None:
    """An event is passed over, and comes with the next connection."""
    missed = lines.pop(frame(lines, "c0-1", "e-2"))
    lines.insert(frame(lines, "c0-2", "e-5"), {**missed, "connection": "c0-2"})
    for line in lines:
        if line["op"] == "subscribed" and line["connection"] == "c0-2":
            line["positions"]["orders"] = "0-0~10000000"


def swap_two(lines: list[Line]) -> None:
    one, two = frame(lines, "c0-2", "e-5"), frame(lines, "c0-2", "e-6")
    lines[one], lines[two] = lines[two], lines[one]


def swap_across_channels(lines: list[Line]) -> None:
    one, two = frame(lines, "c1-1", "e-1"), frame(lines, "c1-1", "e-2")
    lines[one], lines[two] = lines[two], lines[one]


def vouch_for_too_much(lines: list[Line]) -> None:
    """A `pong` says that an event was sent which comes after it."""
    pong = first(lines, "positions", connection="c0-1")
    told = lines.pop(pong)
    lines.insert(frame(lines, "c0-1", "e-4"), told)


def begin_before_the_begin(lines: list[Line]) -> None:
    """A client that asked for no history gets some."""
    told = lines[first(lines, "subscribed", connection="c2-1") + 1]
    told["positions"]["orders"] = lines[first(lines, "published", event_id="e-3")]["position"]


def repeat_on_a_connection(lines: list[Line]) -> None:
    index = frame(lines, "c1-1", "e-2")
    lines.insert(index + 1, copy.deepcopy(lines[index]))


def let_a_repeat_through(lines: list[Line]) -> None:
    """The client's dedupe fails after a cut within an event."""
    del lines[frame(lines, "c1-2", "e-11")]["repeat"]


def replay_too_much(lines: list[Line]) -> None:
    """The server goes back further than it said; the client drops it."""
    old = lines[frame(lines, "c0-1", "e-2")]
    lines.insert(frame(lines, "c0-2", "e-5"), {**old, "connection": "c0-2", "repeat": True})


def invent_an_event(lines: list[Line]) -> None:
    index = frame(lines, "c1-1", "e-2")
    lines.insert(index + 1, {**lines[index], "event_id": "e-99"})


def deliver_what_was_refused(lines: list[Line]) -> None:
    index = frame(lines, "c1-2", "e-13")
    lines.insert(index + 1, {**lines[index], "event_id": "e-10"})


def deliver_on_a_wrong_channel(lines: list[Line]) -> None:
    index = frame(lines, "c1-1", "e-2")
    lines.insert(index + 1, {**lines[index], "channel": resource("acme", "orders", "7")})


def leak_another_tenants(lines: list[Line]) -> None:
    index = frame(lines, "c1-1", "e-2")
    lines.insert(index + 1, {**lines[frame(lines, "c2-1", "e-3")], "connection": "c1-1"})


def leak_under_our_name(lines: list[Line]) -> None:
    """Another tenant's event comes under the name of one of the client's own channels."""
    leak_another_tenants(lines)
    lines[frame(lines, "c1-1", "e-3")]["channel"] = resource("acme", "orders", "1")


def leak_without_rights(lines: list[Line]) -> None:
    rights = lines[first(lines, "authorized", client="c1")]
    rights["channels"] = [f"tenant:acme:{rest}" for rest in ("resource:orders:*", "user:u-1")]
    rights["channels"].append(resource("acme", "invoices", "2"))


def leak_after_leaving(lines: list[Line]) -> None:
    left = first(lines, "unsubscribed", connection="c0-2")
    late = lines.pop(frame(lines, "c0-2", "e-13"))
    lines.insert(left, late)


def leak_after_revoking(lines: list[Line]) -> None:
    """An event reaches a client whose tenant lost all rights more than a second before."""
    begin = first(lines, "publish", event_id="e-15")
    lost_at = lines[begin]["time"]
    for line in lines[begin:]:
        line["time"] += 1_000_000_001
    lines.append({"op": "revoke", "time": lost_at, "tenant": "globex"})


def cry_wolf(lines: list[Line]) -> None:
    """A gap is told where nothing is missing."""
    index = frame(lines, "c1-1", "e-2")
    place = lines[index]["offset"].partition("@")[2]
    before = lines[frame(lines, "c1-1", "e-1")]["offset"].partition("@")[2]
    gap = {"op": "gap", "time": 1, "connection": "c1-1", "topic": "orders", "reason": "trimmed"}
    lines.insert(index, {**gap, "from": before, "to": place})


FAULTS: Sequence[tuple[Callable[[list[Line]], None], Kind, str | None]] = (
    (drop_in_the_middle, Kind.LOST, "e-2"),
    (drop_the_last, Kind.LOST, "e-14"),
    (drop_while_away, Kind.LOST, "e-5"),
    (resume_beyond, Kind.LOST, "e-5"),
    (drop_one_channel_of_two, Kind.LOST, "e-11"),
    (drop_the_gap, Kind.LOST, "e-7"),
    (shorten_the_gap, Kind.LOST, "e-7"),
    (tell_of_another_topic, Kind.LOST, "e-7"),
    (take_new_for_known, Kind.LOST, "e-6"),
    (tell_too_late, Kind.SKIPPED, "e-7"),
    (deliver_on_the_next_connection, Kind.SKIPPED, "e-2"),
    (swap_two, Kind.ORDER, "e-5"),
    (swap_across_channels, Kind.ORDER, "e-1"),
    (vouch_for_too_much, Kind.ORDER, "e-4"),
    (begin_before_the_begin, Kind.ORDER, "e-3"),
    (repeat_on_a_connection, Kind.DUPLICATE, "e-2"),
    (let_a_repeat_through, Kind.DUPLICATE, "e-11"),
    (replay_too_much, Kind.DUPLICATE, "e-2"),
    (invent_an_event, Kind.PHANTOM, "e-99"),
    (deliver_what_was_refused, Kind.PHANTOM, "e-10"),
    (deliver_on_a_wrong_channel, Kind.PHANTOM, "e-2"),
    (leak_another_tenants, Kind.LEAKED, "e-3"),
    (leak_under_our_name, Kind.LEAKED, "e-3"),
    (leak_without_rights, Kind.LEAKED, "e-12"),
    (leak_after_leaving, Kind.LEAKED, "e-13"),
    (leak_after_revoking, Kind.LEAKED, "e-15"),
    (cry_wolf, Kind.FALSE_GAP, None),
)
