"""Resuming: what a client's positions prove, and what has to be looked up to know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.log import Log
from fanwire_edge.core.page import RawPage
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.replay import Missing
from fanwire_edge.core.resume import Resumption, Unproven, resume
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position
from tests.edge.core.pieces import JOBS, ORDERS, entry_id, place
from tests.edge.core.test_page import entry, raw

OTHER_BROKER = "0badcafe"
# Memory reaches back to the first of these places, and the streams end at the second.
REACHED, END = 5000, 6000
NOW = {ORDERS: place(END)}


def memory(*streams: Stream) -> Log:
    log = Log(10**9)
    for stream in streams or (ORDERS, JOBS):
        log.anchor(stream, place(REACHED))
    return log


def history(*pages: RawPage) -> Pages:
    held = Pages(10**9, Duplicates(60, 1000))
    for page in pages:
        held.take(page)
    return held


def elsewhere(number: int) -> Position:
    return Position(entry_id(number), OTHER_BROKER)


@pytest.mark.parametrize(
    ("since", "starts", "unproven"),
    [
        (place(END), {}, []),
        (place(REACHED), {ORDERS: place(REACHED)}, []),
        (place(END - 1), {ORDERS: place(END - 1)}, []),
        (elsewhere(END), {}, [Unproven(ORDERS, elsewhere(END), place(END))]),
        (elsewhere(END + 1), {}, [Unproven(ORDERS, elsewhere(END + 1), place(END))]),
    ],
    ids=["at the end", "as far as memory", "in memory", "another broker", "ahead at another broker"],
)
def test_what_memory_knows_is_decided_at_once(
    since: Position, starts: dict[Stream, Position], unproven: list[Unproven]
) -> None:
    """Positions of another broker prove nothing, whatever their numbers are."""
    found = resume({"orders": since}, NOW, memory(), history())

    assert (found.starts, found.unproven, found.missing) == (starts, unproven, [])
    assert (found.is_decided, found.is_ahead) == (True, False)


def test_a_client_may_be_ahead_of_this_edge() -> None:
    """It was told more by another one: that has to be read first, and is not proven until then."""
    found = resume({"orders": place(END + 1)}, NOW, memory(), history())

    assert (found.is_ahead, found.is_decided, found.missing) == (True, False, [])
    assert found.undecided == [Unproven(ORDERS, place(END + 1), place(END))]
    assert (found.starts, found.unproven) == ({}, [])


def test_what_is_older_than_memory_is_looked_up() -> None:
    """In the page in which the entry must stand."""
    found = resume({"orders": place(500)}, NOW, memory(), history())

    assert found.missing == [Missing(ORDERS, (1000, 0))]
    assert found.undecided == [Unproven(ORDERS, place(500), place(END))]
    assert (found.is_decided, found.is_ahead) == (False, False)


@pytest.mark.parametrize(
    ("page", "is_proven"),
    [
        (raw(1000, entry(500), entry(700)), True),
        (raw(1000, entry(700), before_id=entry_id(500)), True),
        (raw(1000, entry(700), before_id=entry_id(400)), False),
        (raw(1000, last_id=entry_id(END)), False),
        (raw(1000, entry(500), broker=OTHER_BROKER), False),
    ],
    ids=["it is there", "it was before the page", "it is gone", "all are gone", "another broker"],
)
def test_a_place_is_proven_by_its_page(page: RawPage, is_proven: bool) -> None:
    """Where the entry stands in it or right before it."""
    found = resume({"orders": place(500)}, NOW, memory(), history(page))

    assert found.is_decided
    assert found.verdict(ORDERS) == (place(500) if is_proven else Unproven(ORDERS, place(500), place(END)))
    assert found.verdict(JOBS) is None


def test_an_empty_topic_that_the_client_does_not_name_is_nothing_to_replay() -> None:
    """There was nothing that it could have missed."""
    found = resume({"orders": place(END)}, {JOBS: place(0)}, memory(), history())

    assert found == Resumption()


def test_a_topic_that_the_client_does_not_name_is_looked_up_from_its_beginning() -> None:
    """Its first entry decides."""
    found = resume({"jobs": place(END)}, NOW, memory(), history())

    assert found.missing == [Missing(ORDERS, (0, 0))]
    assert found.undecided == [Unproven(ORDERS, None, place(END))]


@pytest.mark.parametrize(
    ("since", "page", "is_proven"),
    [
        (place(500), raw(0, entry(501), entry(502)), True),
        (place(500), raw(0, entry(500), entry(502)), False),
        (place(500), raw(0, entry(501), removed=1), False),
        (place(500), raw(0, entry(501), removed=None), False),
        (place(500), raw(0), False),
        (place(500), raw(0, entry(501), broker=OTHER_BROKER), False),
        (None, raw(0, entry(1)), True),
    ],
    ids=["younger", "as old", "removed", "unknown", "deleted", "another broker", "no position at all"],
)
def test_a_topic_that_the_client_does_not_name_is_replayed_where_it_is_younger(
    since: Position | None, page: RawPage, is_proven: bool
) -> None:
    """Than whatever the client has seen; where something was removed, that may have been as old."""
    found = resume({} if since is None else {"jobs": since}, NOW, memory(), history(page))

    assert found.is_decided
    assert found.verdict(ORDERS) == (place(0) if is_proven else Unproven(ORDERS, None, place(END)))


def test_the_youngest_position_counts() -> None:
    """A client that has seen the entry 600 of any topic may have seen what is as old of others."""
    since = {"jobs": place(600), "audit": place(400)}
    now = {ORDERS: place(END)}

    assert resume(since, now, memory(), history(raw(0, entry(601)))).starts == {ORDERS: place(0)}
    assert resume(since, now, memory(), history(raw(0, entry(500)))).starts == {}


def test_each_stream_is_judged_by_itself() -> None:
    """A position names the topic, and counts for every partition of it that feeds the client."""
    other, system = Stream("orders", 1), Stream("system", 0)
    since = {"orders": place(500), "jobs": elsewhere(1)}
    now = {ORDERS: place(END), other: place(END), JOBS: place(END), system: place(0)}
    page = replace(raw(1000, entry(500)), stream=other)

    found = resume(since, now, memory(ORDERS, other, JOBS, system), history(page))

    assert found.starts == {other: place(500)}
    assert found.unproven == [Unproven(JOBS, elsewhere(1), place(END))]
    assert found.undecided == [Unproven(ORDERS, place(500), place(END))]
    assert found.missing == [Missing(ORDERS, (1000, 0))]


def test_where_nothing_more_is_looked_up_the_undecided_is_unproven() -> None:
    """What was decided stays as it is."""
    since = {"orders": place(500), "jobs": elsewhere(1)}
    now = {ORDERS: place(END), JOBS: place(END), Stream("audit", 0): place(0)}
    lost = [Unproven(JOBS, elsewhere(1), place(END)), Unproven(ORDERS, place(500), place(END))]

    found = resume(since, now, memory(), history()).given_up()

    assert found == Resumption({}, lost)
    assert found.is_decided


def test_what_was_found_before_is_not_looked_up_again() -> None:
    """Its pages may be gone while those of other streams were read."""
    since, now = {"orders": place(500), "jobs": place(500)}, {ORDERS: place(END), JOBS: place(END)}
    proof = raw(1000, entry(500))
    gone = replace(raw(1000, entry(600), before_id=entry_id(400)), stream=JOBS)

    first = resume(since, now, memory(), history(proof))
    assert (first.starts, first.missing) == ({ORDERS: place(500)}, [Missing(JOBS, (1000, 0))])
    second = resume(since, now, memory(), history(gone), first)
    third = resume(since, now, memory(), history(), second)

    for found in (second, third):
        assert found.is_decided
        assert found.starts == {ORDERS: place(500)}
        assert found.unproven == [Unproven(JOBS, place(500), place(END))]


def test_what_is_unproven_may_end_later_than_it_was_found() -> None:
    """The streams go on while others are looked up; the gap reaches up to where they are now."""
    since = {"orders": elsewhere(1), "jobs": place(500)}
    first = resume(since, {ORDERS: place(END), JOBS: place(END)}, memory(), history())
    later = resume(since, {ORDERS: place(END + 9), JOBS: place(END)}, memory(), history(), first)

    assert first.unproven == [Unproven(ORDERS, elsewhere(1), place(END))]
    assert later.unproven == [Unproven(ORDERS, elsewhere(1), place(END + 9))]


def test_a_start_of_a_broker_that_is_gone_is_unproven() -> None:
    """Also where it was proven by an attempt before."""
    since = {"orders": place(REACHED)}
    first = resume(since, NOW, memory(), history())
    later = resume(since, {ORDERS: elsewhere(END)}, memory(), history(), first)

    assert first.starts == {ORDERS: place(REACHED)}
    assert (later.starts, later.unproven) == (
        {},
        [Unproven(ORDERS, place(REACHED), elsewhere(END))],
    )


def test_the_search_in_a_busy_second_goes_on_where_it_was() -> None:
    """The pages of such a second may not all be held at the same time."""
    busy = [
        raw(1000, entry(100), entry(201), is_cut=True),
        raw(1201, entry(300), entry(401), is_cut=True, start=(1201, 1), before_id=entry_id(201)),
    ]
    since = {"orders": place(300)}

    first = resume(since, NOW, memory(), history(busy[0]))
    second = resume(since, NOW, memory(), history(busy[1]), first)

    assert first.missing == [Missing(ORDERS, (1201, 1))]
    assert first.reached == {ORDERS: (1201, 1)}
    assert second.starts == {ORDERS: place(300)}
