"""Totals: several workers are counted as one edge, and nobody's counts are lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.totals import Family, Sample, Totals, families_from, plain


def counter(value: float, name: str = "fanwire_frames_out", **labels: str) -> Family:
    """Return a counter of one sample."""
    return Family(name, "Text.", "counter", {(f"{name}_total", tuple(labels.items())): value})


def gauge(value: float, name: str = "fanwire_connections_active") -> Family:
    """Return a gauge."""
    return Family(name, "Text.", "gauge", {(name, ()): value})


def value(totals: Totals, name: str, *answering: int, **labels: str) -> float | None:
    """Return one merged sample, None where there is none."""
    samples = {key: each for family in totals.merged(answering) for key, each in family.samples.items()}
    return samples.get((name, tuple(labels.items())))


def test_counters_are_summed_by_their_labels() -> None:
    """A label that one worker alone has is there too."""
    totals = Totals()
    totals.take(1, [counter(3, code="a")])
    totals.take(2, [counter(4, code="a"), counter(5, code="b")])

    assert value(totals, "fanwire_frames_out_total", code="a") == 7
    assert value(totals, "fanwire_frames_out_total", code="b") == 5
    assert [family.name for family in totals.merged([])] == ["fanwire_frames_out"]


def test_what_a_worker_tells_replaces_what_it_told() -> None:
    """Counters are of a whole life, not of the time since."""
    totals = Totals()
    for told in (3, 4):
        totals.take(1, [counter(told)])

    assert value(totals, "fanwire_frames_out_total") == 4


def test_what_somebody_counted_who_ended_stays() -> None:
    """The next one of its number adds to it, also where that ends in its turn."""
    totals = Totals()
    for told in (3, 4):
        totals.take(1, [counter(told), gauge(9)])
        totals.end(1)
    totals.take(1, [counter(5), gauge(1)])
    totals.end(2)

    assert value(totals, "fanwire_frames_out_total", 1) == 12
    assert value(totals, "fanwire_connections_active", 1) == 1


@pytest.mark.parametrize(
    ("name", "merged"),
    [
        ("fanwire_connections_active", 5),
        ("fanwire_tail_lag_seconds", 3),
        ("fanwire_tail_reading", 2),
        ("fanwire_tail_readers", 3),
    ],
)
def test_gauges_are_summed_where_a_sum_says_something(name: str, merged: float) -> None:
    """The lag is that of the last one, and the broker is read where all read it."""
    totals = Totals()
    for worker, reading in ((1, 2.0), (2, 3.0)):
        totals.take(worker, [gauge(reading, name)])

    assert value(totals, name, 1, 2) == merged


def test_gauges_are_of_those_who_answer_and_counters_of_all() -> None:
    """Who is silent has connections that nobody serves, but what it counted was."""
    totals = Totals()
    for worker in (1, 2):
        totals.take(worker, [gauge(2), counter(3)])

    assert value(totals, "fanwire_connections_active", 2) == 2
    assert value(totals, "fanwire_connections_active") is None
    assert value(totals, "fanwire_frames_out_total", 2) == 6


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 3), st.one_of(st.none(), st.integers(0, 10))),
        max_size=30,
    )
)
def test_a_total_never_goes_backwards(steps: list[tuple[int, int | None]]) -> None:
    """Whoever counts on, ends (None) and begins anew, in any order; in the end all is there."""
    totals, lives, everything, before = Totals(), {1: 0, 2: 0, 3: 0}, 0, 0.0
    for worker, more in steps:
        if more is None:
            totals.end(worker)
            lives[worker] = 0
        else:
            lives[worker] += more
            everything += more
            totals.take(worker, [counter(lives[worker])])
        now = value(totals, "fanwire_frames_out_total") or 0.0
        assert now >= before
        before = now

    assert before == everything


def test_families_travel_as_json() -> None:
    """Names, texts, kinds, labels and values come back as they were, in their order."""
    buckets: dict[Sample, float] = {("h_bucket", (("le", part),)): 1.5 for part in ("0.1", "+Inf")}
    families = (
        counter(3, code="a"),
        gauge(1),
        Family("h", "Text.", "histogram", {**buckets, ("h_sum", ()): 2.0}),
    )

    found = families_from(json.loads(json.dumps(plain(families))))

    assert found == families
    assert [list(family.samples) for family in found] == [list(family.samples) for family in families]
