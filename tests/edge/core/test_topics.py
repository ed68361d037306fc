"""Which streams an edge reads."""

from __future__ import annotations

from fanwire_edge.core.stream import CONTROL, Stream
from fanwire_edge.core.tally import Tally
from fanwire_edge.core.topics import Topics

RESERVED = [Stream("direct", 0), Stream("system", 0), Stream("channels", 0)]


def opened(max_topics: int = 2, *selected: str) -> tuple[Topics, Tally]:
    tally = Tally()
    topics = Topics(selected or ("*",), max_topics, tally)
    topics.open(1)
    return topics, tally


def test_control_and_the_reserved_topics_are_read_from_the_start() -> None:
    """Each in all its partitions, `system` in its only one, nothing before the partitions are known."""
    topics = Topics(["*"], 32, Tally())
    assert topics.streams == []

    topics.open(2)

    assert topics.streams == [
        CONTROL,
        Stream("direct", 0),
        Stream("direct", 1),
        Stream("system", 0),
        Stream("channels", 0),
        Stream("channels", 1),
    ]


def test_found_topics_are_added_once_and_stay() -> None:
    """Those found first come first; what is no topic is passed over."""
    topics, _ = opened()

    assert topics.found(["orders", "_own", "a b", "direct", ""]) == frozenset()
    assert topics.found(["jobs", "orders"]) == frozenset()
    assert topics.found([]) == frozenset()

    assert topics.streams == [CONTROL, *RESERVED, Stream("orders", 0), Stream("jobs", 0)]


def test_only_selected_topics_are_read() -> None:
    """The others are not refused either: nobody wanted them."""
    topics, tally = opened(2, "orders")

    assert topics.found(["orders", "jobs"]) == frozenset()
    assert topics.streams == [CONTROL, *RESERVED, Stream("orders", 0)]
    assert tally.topics_refused == 0


def test_a_topic_too_many_is_refused_and_told_once() -> None:
    """However often it is found, alone (by the control stream) or among all (by the poll)."""
    topics, tally = opened(1)

    assert topics.found(["a", "b", "c"]) == {"b", "c"}
    assert topics.found(["d"]) == {"d"}
    for _ in range(2):
        assert topics.found(["a", "b", "c", "d"]) == frozenset()
        assert topics.found(["c"]) == frozenset()

    assert topics.streams == [CONTROL, *RESERVED, Stream("a", 0)]
    assert tally.topics_refused == 3


def test_what_is_remembered_of_refused_topics_is_bounded() -> None:
    """Beyond a thousand nobody is told of more, instead of of the same ones again at every poll."""
    topics, tally = opened(1)
    names = [f"t-{number}" for number in range(3000)]

    assert len(topics.found(names)) == 1000
    assert topics.found(names) == frozenset()
    assert topics.found(["another"]) == frozenset()
    assert tally.topics_refused == 1000
