"""The history checker: a good history is clean, and every fault that is put into one is found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fanwire_cli.history import InvalidHistory, Kind, Report, Source, check_history
from tests.cli.commands import fanwire
from tests.cli.history_faults import (
    FAULTS,
    WANTS,
    cry_wolf,
    drop_in_the_middle,
    drop_the_last,
    first,
    frame,
    good_history,
    swap_two,
)
from tests.cli.history_world import Line, World, resource


def judge(lines: Sequence[Line]) -> Report:
    """Judge lines as one file."""
    return check_history([Source("history.jsonl", [json.dumps(line) for line in lines])])


def test_good_history_is_clean() -> None:
    """Reconnects, gaps, repeats and attempts in doubt are no faults, and no gap in it is for nothing."""
    report = judge(good_history())

    assert report.is_clean(strict=True), str(report)
    assert report.statistics["events in doubt"] == 1
    assert report.statistics["connections"] == 5
    assert report.statistics["repeats"] == 1
    assert report.statistics["told by gaps"] == 1


@pytest.mark.parametrize(
    ("fault", "kind", "event_id"), FAULTS, ids=lambda each: getattr(each, "__name__", "")
)
def test_fault_is_found_and_named(
    fault: Callable[[list[Line]], None], kind: Kind, event_id: str | None
) -> None:
    """One fault in a good history gives findings of its kind alone, about its event alone."""
    lines = good_history()
    fault(lines)
    report = judge(lines)

    errors = [anomaly for anomaly in report.anomalies if kind is Kind.FALSE_GAP or anomaly.kind.is_error]
    assert {(anomaly.kind, anomaly.event_id) for anomaly in errors} == {(kind, event_id)}, str(report)
    assert not report.is_clean(strict=True)
    assert report.is_clean() == (kind is Kind.FALSE_GAP)


def test_finding_says_who_what_and_where() -> None:
    """An anomaly names client, connection, topic, channel, event, positions and lines."""
    lines = good_history()
    one, two = frame(lines, "c0-2", "e-5"), frame(lines, "c0-2", "e-6")
    swap_two(lines)
    [anomaly] = judge(lines).anomalies

    assert (anomaly.client, anomaly.connection, anomaly.topic) == ("c0", "c0-2", "orders")
    assert anomaly.channel == resource("acme", "orders", "1")
    assert anomaly.positions == (lines[first(lines, "published", event_id="e-5")]["position"],)
    published = [n + 1 for n, line in enumerate(lines) if line.get("publisher") and line["event_id"] == "e-5"]
    assert anomaly.lines == tuple(f"history.jsonl:{n}" for n in (two + 1, one + 1, *published))


@pytest.mark.parametrize("without", ["entry", "authorized", "positions", "closed"])
def test_what_was_not_recorded_is_no_fault(without: str) -> None:
    """A history without the log, rights, pongs or closings says less, and accuses nobody."""
    report = judge([line for line in good_history() if line["op"] != without])

    assert report.is_clean(), str(report)


def test_client_that_was_killed_owes_nothing_at_its_end() -> None:
    """Without `end`, or with one that names no time, what had not come yet is not missed."""
    lines = good_history()
    drop_the_last(lines)
    ends = [line for line in lines if line["op"] == "end"]
    for end in ends:
        del end["until"]

    assert judge(lines).is_clean()
    assert judge([line for line in lines if line not in ends]).is_clean()


@pytest.mark.parametrize(("channel", "is_clean"), [("orders:3", True), ("*", True), ("orders:1", False)])
def test_gap_on_one_channel_covers_that_channel(channel: str, is_clean: bool) -> None:
    """A gap that names a channel or pattern tells of nothing else."""
    lines = good_history()
    lines[first(lines, "gap", connection="c2-1")]["channel"] = f"tenant:globex:resource:{channel}"

    assert judge(lines).is_clean() == is_clean


@pytest.mark.parametrize("without", ["nothing", "entry"])
def test_publisher_that_does_not_know_the_broker(without: str) -> None:
    """A position without an identity counts as one of its time."""
    lines = [line for line in good_history() if line["op"] != without]
    for line in lines:
        if line["op"] == "published":
            line["position"] = line["position"].replace("~10000000", "~00000000")
    assert judge(lines).is_clean(), str(judge(lines))

    drop_in_the_middle(lines)

    assert judge(lines).counts[Kind.LOST] == 1


@pytest.mark.parametrize(("happens", "kinds"), [("", set()), ("loss", set()), ("fault", {Kind.LOST})])
def test_publisher_that_knows_only_the_broker_before(happens: str, kinds: set[Kind]) -> None:
    """An event with an old stamp is due to who began at the new broker, where others met it, or told."""
    world = World(WANTS[:2])
    world.publish("acme", "orders", "1")
    world.fail_over(0)
    for client in world.clients:
        world.connect(client)
    world.publish("acme", "orders", "1")  # e-2
    world.deliver(world.clients[1], "orders", 1)
    if happens == "loss":
        world.fail_over(1)
    lines = world.finish(dump=False)
    if happens == "fault":
        del lines[frame(lines, "c0-1", "e-2")]
    report = judge(lines)

    assert {(each.kind, each.event_id) for each in report.anomalies} == {(kind, "e-2") for kind in kinds}
    assert report.statistics["told by gaps"] == (happens == "loss")


def own_channel_history(owner: str) -> list[Line]:
    """An event to the channel of the connection *owner*, which reaches the connection `a`."""
    channel = f"tenant:acme:connection:{owner}"
    who = {"publisher": "p", "topic": "direct", "tenant": "acme", "event_id": "e"}
    place = "1-0~10000000"
    positions = {"direct": "0-0~10000000"}
    lines: list[Line] = [
        {"op": "authorized", "client": "c", "tenant": "acme", "channels": []},
        {"op": "connect", "client": "c", "connection": "a"},
        {
            "op": "subscribed",
            "connection": "a",
            "channels": [channel],
            "positions": positions,
            "recovered": None,
        },
        {"op": "publish", **who, "channels": [channel]},
        {"op": "published", **who, "position": place},
        {
            "op": "event",
            "connection": "a",
            "channel": channel,
            "type": "x",
            "event_id": "e",
            "offset": f"direct@{place}",
        },
        {"op": "closed", "connection": "a", "code": 1006},
        {"op": "publish", **who, "event_id": "late", "channels": [channel]},
        {"op": "published", **who, "event_id": "late", "position": "2-0~10000000"},
        {"op": "end", "client": "c", "until": 99},
    ]
    return [{**line, "time": time} for time, line in enumerate(lines)]


def test_connection_may_read_its_own_channel_while_it_lasts() -> None:
    """It needs no right for it, another's is not its own, and nothing is due there after it closed."""
    assert judge(own_channel_history("a")).is_clean()
    assert [anomaly.kind for anomaly in judge(own_channel_history("b")).anomalies] == [Kind.LEAKED]


# What a library yields


def library_history(*events: tuple[str, str], late: bool = False) -> list[Line]:
    """A client library on one pattern that yields *events*, as (id, channel's id), of e-1 to e-4."""
    head = {"time": 1, "client": "lib", "connection": "lib#1"}
    world = World(())
    if late:
        world.publish("acme", "orders", "1")
    start = len(world.lines)
    for id_ in ("1", "2", "1", "2")[late:]:
        world.publish("acme", "orders", id_)
    places = {line["event_id"]: line["position"] for line in world.lines if line["op"] == "published"}
    begin = {"op": "subscribed", "time": start * 1000 + 500, "connection": "lib#1", "recovered": None}
    came = [
        {
            "op": "event",
            "time": 2,
            "connection": "lib#1",
            "channel": resource("acme", "orders", id_),
            "type": "changed",
            "event_id": event_id,
            "offset": f"orders@{places[event_id]}",
        }
        for event_id, id_ in events
    ]
    return [
        *world.lines,
        {"op": "connect", **head, "hides_reconnects": True},
        {**begin, "channels": [resource("acme", "orders", "*")], "positions": None},
        *came,
        {"op": "end", "time": 3, "client": "lib", "until": 10**9},
    ]


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        ((("e-1", "1"), ("e-2", "2"), ("e-3", "1"), ("e-4", "2")), set()),
        # Channels may resume from different places, so that only each channel is in order.
        ((("e-1", "1"), ("e-3", "1"), ("e-2", "2"), ("e-4", "2")), set()),
        ((("e-3", "1"), ("e-1", "1"), ("e-2", "2"), ("e-4", "2")), {Kind.ORDER}),
        ((("e-1", "1"), ("e-3", "1"), ("e-4", "2")), {Kind.LOST}),
        ((("e-1", "1"), ("e-3", "1"), ("e-2", "2")), {Kind.LOST}),
        ((("e-1", "1"), ("e-2", "2"), ("e-3", "1"), ("e-4", "2"), ("e-1", "1")), {Kind.DUPLICATE}),
    ],
)
def test_library_is_held_to_each_channel(events: Sequence[tuple[str, str]], kinds: set[Kind]) -> None:
    """What a library yields over reconnects is complete, without repeats, and in order for each channel."""
    report = judge(library_history(*events))

    assert {anomaly.kind for anomaly in report.anomalies} == kinds, str(report)


def test_library_owes_what_was_published_after_it_was_ready() -> None:
    """What is older may come or not; what begins later is due."""
    assert judge(library_history(("e-2", "2"), ("e-3", "1"), ("e-4", "2"), late=True)).anomalies == []


# Chance


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(1, 120), st.booleans())
def test_random_good_history_is_never_accused(seed: int, steps: int, dump: bool) -> None:
    """Whatever happens in a world that keeps the promise, nobody is accused."""
    chance = Random(seed)
    world = World(WANTS)
    world.wander(chance, steps)
    report = judge(world.finish(dump=dump))

    assert report.is_clean(), str(report)


def _steady_frames(world: World) -> list[int]:
    """Return the frames whose event must come there: first, confirmed, and to a client without gaps."""
    steady = {client.name for client in world.clients if client.is_steady}
    confirmed = {line["event_id"] for line in world.lines if line["op"] == "published"}
    return [
        index
        for index, line in enumerate(world.lines)
        if line["op"] == "event"
        and "repeat" not in line
        and line["event_id"] in confirmed
        and line["connection"].partition("-")[0] in steady
    ]


def _neighbours(lines: Sequence[Line], frames: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of frames of different events of one topic that follow each other on a connection."""
    found = []
    for one, two in itertools.pairwise(frames):
        a, b = lines[one], lines[two]
        is_same = a["connection"] == b["connection"] and a["event_id"] != b["event_id"]
        is_near = all(line["op"] == "event" for line in lines[one:two])
        if is_same and is_near and a["offset"].partition("@")[0] == b["offset"].partition("@")[0]:
            found.append((one, two))
    return found


def _is_attested(lines: Sequence[Line], frame: Line) -> bool:
    """Tell whether anything else says that the event of *frame* is in the log of the broker that sent it.

    A publisher may stamp the broker of before. Where nobody met the event under the new one, a failover
    may have lost it before the client began there, and nothing was due.
    """
    broker = frame["offset"].rpartition("~")[2]
    places = [
        str(line.get("offset") or line.get("position"))
        for line in lines
        if line.get("event_id") == frame["event_id"]
    ]
    return any(place.endswith(f"~{broker}") for place in places)


def _mutate(world: World, name: str, chance: Random) -> set[Kind]:
    """Change the history once and return the kinds by which that may be called; none where it cannot be."""
    lines, frames = world.lines, _steady_frames(world)
    pairs = _neighbours(lines, frames)
    if not frames or (name == "swap" and not pairs):
        return set()
    index = chance.choice(frames)
    match name:
        case "drop":
            dropped = lines.pop(index)
            if not _is_attested(lines, dropped):
                return set()
            # It may come again on a later connection, after a cut within the event.
            return {Kind.LOST, Kind.SKIPPED}
        case "swap":
            one, two = chance.choice(pairs)
            lines[one], lines[two] = lines[two], lines[one]
            return {Kind.ORDER}
        case "twice":
            lines.insert(index, dict(lines[index]))
            return {Kind.DUPLICATE}
        case "invent":
            lines.insert(index, {**lines[index], "event_id": "e-invented"})
            return {Kind.PHANTOM}
        case _:
            other = "globex" if ":acme:" in lines[index]["channel"] else "acme"
            channel = resource(other, "orders", "1")
            world.publish(other, "orders", "1")
            lines.insert(index, {**lines[index], "channel": channel, "event_id": lines[-1]["event_id"]})
            lines[index]["offset"] = f"orders@{lines[-1]['position']}"
            return {Kind.LEAKED}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**32),
    st.integers(10, 120),
    st.sampled_from(["drop", "swap", "twice", "invent", "leak"]),
    st.booleans(),
)
# The dropped frame's event has an old stamp, and is known to the new broker by its other channel.
@example(seed=536870911, steps=17, name="drop", dump=False)
def test_random_fault_in_a_random_history_is_found(seed: int, steps: int, name: str, dump: bool) -> None:
    """One change that matters, anywhere in any good history, is found and called by its name."""
    chance = Random(seed)
    world = World(WANTS)
    world.wander(chance, steps)
    world.finish(dump=dump)
    kinds = _mutate(world, name, chance)
    report = judge(world.lines)

    assert {anomaly.kind for anomaly in report.anomalies if anomaly.kind.is_error} <= kinds
    assert report.is_clean() == (not kinds)


# The command


def write(path: Path, lines: Sequence[Line]) -> str:
    """Write a history and return its path."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_command_reads_all_files_of_a_history(tmp_path: Path) -> None:
    """Publishers and clients may write to files of their own; a clean history exits with 0."""
    lines = good_history()
    published = write(tmp_path / "p.jsonl", [line for line in lines if "publisher" in line])
    others = write(tmp_path / "c.jsonl", [line for line in lines if "publisher" not in line])
    done = fanwire("check-history", others, published)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("found: nothing\n")
    assert f"{len(lines)} lines, 13 events confirmed" in done.stdout


def test_command_names_the_fault(tmp_path: Path) -> None:
    """A fault is exit code 1, as text and as JSON."""
    lines = good_history()
    swap_two(lines)
    path = write(tmp_path / "h.jsonl", lines)
    text, as_json = fanwire("check-history", path), fanwire("check-history", "--json", path)

    assert text.returncode == as_json.returncode == 1
    assert "order: came after a later event of its topic" in text.stdout
    assert f"  at {path}:" in text.stdout
    document = json.loads(as_json.stdout)
    assert document["counts"]["order"] == 1
    assert document["isClean"] is False
    assert document["anomalies"][0]["eventId"] == "e-5"


def test_strict_command_counts_false_gaps(tmp_path: Path) -> None:
    """A gap for nothing is reported always, and an error with --strict."""
    lines = good_history()
    cry_wolf(lines)
    path = write(tmp_path / "h.jsonl", lines)

    assert fanwire("check-history", path).returncode == 0
    assert fanwire("check-history", "--strict", path).returncode == 1


def test_details_are_bounded_and_counts_are_not() -> None:
    """Beyond the limit anomalies are counted only."""
    lines = [line for line in good_history() if line["op"] != "published"]
    lines = [{**line, "definite": True} if "definite" in line else line for line in lines]
    for line in lines:
        if line["op"] == "publish":
            line["channels"] = [resource("acme", "orders", "none")]
    report = check_history([Source("h", [json.dumps(line) for line in lines])], limit=2)

    assert report.counts[Kind.PHANTOM] > 2
    assert sum(anomaly.kind is Kind.PHANTOM for anomaly in report.anomalies) == 2
    assert "more" in str(report)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "h:2: is no JSON"),
        ("[]", "h:2: is no object with an `op`"),
        ('{"op": "fly"}', "`op` 'fly' is none of publish,"),
        ('{"op": "closed", "connection": "a", "code": 1}', "`time` is missing"),
        ('{"op": "closed", "time": 1, "connection": "a", "code": "1"}', "`code`: is an integer"),
        ('{"op": "closed", "time": 1, "connection": "a", "code": 1, "why": 2}', "`why` does not belong here"),
        ('{"op": "closed", "time": 1, "connection": "b", "code": 1}', "the connection 'b' is not known"),
        ('{"op": "connect", "time": 1, "client": "c", "connection": "a"}', "'a' was there before"),
        (
            '{"op": "positions", "time": 1, "connection": "a", "positions": {"t": "1"}}',
            "`positions`: a position",
        ),
        ('{"op": "revoke", "time": 1, "tenant": ""}', "`tenant`: is a string that is not empty"),
        ('{"op": "revoke", "time": 1, "tenant": "t", "channels": "x"}', "`channels`: is a list of strings"),
    ],
)
def test_line_that_is_none_is_named(line: str, text: str) -> None:
    """What cannot be read is told with file, line and field, and never passed over."""
    known = '{"op": "connect", "time": 1, "client": "c", "connection": "a"}'
    with pytest.raises(InvalidHistory) as error:
        check_history([Source("h", [known, line])])

    assert str(error.value).startswith("h:2: ")
    assert text in str(error.value)


def test_history_that_cannot_be_read_exits_with_2(tmp_path: Path) -> None:
    """A bad line, a missing file and one that is no text are one line on stderr and 2."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    for path in (write(tmp_path / "bad", [{"op": "fly"}]), "/nowhere/at/all", str(tmp_path / "binary")):
        done = fanwire("check-history", path)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("fanwire check-history: ")
        assert done.stderr.count("\n") == 1


ORDERS_OF_ACME = resource("acme", "orders", "*")


@pytest.mark.parametrize(
    ("revoked", "is_lost"),
    [
        (("acme",), True),
        (("acme", "u-1"), True),
        (("acme", "u-1", [ORDERS_OF_ACME]), True),
        (("acme", None, [resource("acme", "orders", "1")]), True),
        (("acme", "u-2"), False),
        (("globex", "u-1"), False),
        (("acme", "u-1", [resource("acme", "orders", "2")]), False),
    ],
    ids=str,
)
def test_what_is_published_a_second_after_a_revocation_may_reach_nobody_it_concerns(
    revoked: Any, is_lost: bool
) -> None:
    """Within that second it may, and so may what those are due who were given rights again."""
    world = World([("acme", [ORDERS_OF_ACME]), ("acme", [ORDERS_OF_ACME])])
    client, renewed = world.clients
    for each in world.clients:
        world.connect(each)
    world.revoke(*revoked)
    world.rest(0.9)
    world.publish("acme", "orders", "1")  # e-1
    world.grant(renewed)
    world.rest(0.2)
    world.publish("acme", "orders", "1")  # e-2
    for each in world.clients:
        world.deliver(each, "orders", 2)
    report = judge(world.lines)

    found = [(each.kind, each.client, each.event_id) for each in report.anomalies]
    assert found == ([(Kind.LEAKED, client.name, "e-2")] if is_lost else [])
    assert judge(world.finish()).counts[Kind.LOST] == 0


def test_random_faults_have_something_to_hit() -> None:
    """Most random histories have frames that must be where they are."""
    hit = 0
    for seed in range(20):
        world = World(WANTS)
        world.wander(Random(seed), 40)
        world.finish()
        hit += len(_steady_frames(world)) > 1

    assert hit >= 10


# Policies of connections that are behind


def conflated_history(*, skipped: int = 2) -> list[Line]:
    """A client gets e-3, e-4 and e-6 of e-1 to e-6: e-3 stands for e-1, e-6 for e-5; a pong tells of two."""
    world = World([("acme", [resource("acme", "orders", "*")])])
    [client] = world.clients
    client.conflates = True
    world.connect(client)
    for id_, key in (("1", "k"), ("2", None), ("1", "k"), ("2", "k"), ("3", "l"), ("3", "l")):
        world.publish("acme", "orders", id_, key=key)
    world.deliver(client, "orders", 6)
    client.skipped = skipped
    world.ping(client)
    return world.finish()


def test_events_that_later_ones_stand_for_are_not_missed() -> None:
    """Where the pongs tell how many were left out; with a `key` of another channel or none nothing is."""
    report = judge(conflated_history())

    assert report.is_clean(strict=True), str(report)
    assert report.statistics["frames"] == 4


@pytest.mark.parametrize(("skipped", "lost"), [(3, 0), (1, 1), (0, 2)])
def test_what_was_left_out_has_to_be_told(skipped: int, lost: int) -> None:
    """What no pong counted is lost."""
    assert judge(conflated_history(skipped=skipped)).counts[Kind.LOST] == lost


@pytest.mark.parametrize("event_id", ["e-2", "e-3", "e-4", "e-6"])
def test_what_was_left_out_by_mistake_is_found(event_id: str) -> None:
    """One without a key, the last of its key, the only one on its channel: whatever the pongs tell."""
    lines = conflated_history(skipped=9)
    del lines[frame(lines, "c0-1", event_id)]
    found = judge(lines).anomalies

    assert {anomaly.kind for anomaly in found} == {Kind.LOST}
    assert event_id in {anomaly.event_id for anomaly in found}


def test_what_a_gap_covers_may_stand_for_others() -> None:
    """Who is told of a gap fetches anew; and who left before the last one came is owed nothing."""
    lines = conflated_history()
    del lines[frame(lines, "c0-1", "e-6")]
    places = {line["event_id"]: line["position"] for line in lines if line["op"] == "published"}
    told = {"op": "gap", "time": 1, "connection": "c0-1", "topic": "orders", "reason": "overflow"}
    lines.insert(frame(lines, "c0-1", "e-4") + 1, {**told, "from": places["e-4"], "to": places["e-6"]})

    assert judge(lines).is_clean(strict=True), str(judge(lines))


def test_what_a_cut_kept_from_being_told_is_no_fault() -> None:
    """Behind the last pong of a connection nothing was told yet."""
    lines = [line for line in conflated_history() if line["op"] != "positions"]

    assert judge(lines).is_clean()


def _is_replaced(lines: Sequence[Line], seen: Line) -> bool:
    """Tell whether a later event has the same key on the channel of a frame, or one in doubt."""
    published = [line for line in lines if line["op"] == "publish"]
    [at] = [at for at, line in enumerate(published) if line["event_id"] == seen["event_id"]]
    key, topic = published[at].get("key"), published[at]["topic"]
    confirmed = {line["event_id"] for line in lines if line["op"] == "published"}
    later = published[at + 1 :] + [line for line in published[:at] if line["event_id"] not in confirmed]
    return key is not None and any(
        (line.get("key"), line["topic"]) == (key, topic) and seen["channel"] in line["channels"]
        for line in later
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(10, 120), st.booleans(), st.booleans())
def test_random_conflated_history_and_a_fault_in_it(
    seed: int, steps: int, dump: bool, is_broken: bool
) -> None:
    """Whatever is left out for a later event accuses nobody; leaving out what none stands for does."""
    chance = Random(seed)
    world = World(WANTS, conflates=True)
    world.wander(chance, steps)
    lines = world.finish(dump=dump)
    brokers = {line["event_id"]: line["position"][-8:] for line in lines if line["op"] == "published"}
    # A stamp of before a failover counts as covered by its gap, in doubt.
    due = [
        at
        for at in _steady_frames(world)
        if not _is_replaced(lines, lines[at]) and lines[at]["offset"][-8:] == brokers[lines[at]["event_id"]]
    ]
    if is_broken and due:
        del lines[chance.choice(due)]

    kinds = {anomaly.kind for anomaly in judge(lines).anomalies if anomaly.kind.is_error}
    assert kinds <= {Kind.LOST, Kind.SKIPPED}
    assert bool(kinds) == bool(is_broken and due)


def overflowing_history() -> list[Line]:
    """A client that is far behind leaps over e-1 to e-3, and is told."""
    world = World([("acme", [resource("acme", "orders", "*")])])
    [client] = world.clients
    world.connect(client)
    for _ in range(5):
        world.publish("acme", "orders", "1")
    world.overflow(client, "orders", 2)
    return world.finish()


def test_overflow_is_a_gap_like_others() -> None:
    """What it covers is told, and what it does not cover is lost."""
    lines = overflowing_history()
    places = {line["event_id"]: line["position"] for line in lines if line["op"] == "published"}
    assert judge(lines).statistics["told by gaps"] == 3
    assert judge(lines).is_clean(strict=True)

    lines[first(lines, "gap")]["to"] = places["e-2"]

    [anomaly] = judge(lines).anomalies
    assert (anomaly.kind, anomaly.event_id) == (Kind.LOST, "e-3")
