"""Python's garbage collector is kept from looking at what lives long."""

from __future__ import annotations

import gc
import weakref

from fanwire_edge.collector import FIRST_LOOK, Collector


class Knot:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


def test_what_was_found_alive_is_set_aside_and_young_cycles_are_still_found() -> None:
    """And at the end the collector is as it was before."""
    before = gc.get_threshold()
    kept = [Knot() for _ in range(1000)]
    with Collector():
        assert gc.get_freeze_count() > 1000
        assert not gc.get_objects(generation=2)
        kept += [Knot() for _ in range(1000)]
        young = weakref.ref(Knot())

        gc.collect()
        assert young() is None
        # The thousand that came are set aside too.
        assert len(gc.get_objects(generation=2)) < 500
    assert (gc.get_threshold(), gc.get_freeze_count(), len(kept)) == (before, 0, 2000)


def test_where_connections_are_cycles_only_what_was_there_at_first_is_set_aside() -> None:
    """What comes later is looked at by Python's own rules."""
    with Collector(is_for_good=False):
        knots = [Knot() for _ in range(10)]
        watched = weakref.ref(knots[0])
        gc.collect()
        knots.clear()
        gc.collect()
        assert watched() is None
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_where_cycles_are_made_everything_is_looked_at_again_now_and_then() -> None:
    """Cycles among what was set aside are freed after so and so many others."""
    with Collector(max_cyclic=200):
        knots = [Knot() for _ in range(10)]
        watched = weakref.ref(knots[0])
        gc.collect()
        knots.clear()
        gc.collect()
        assert watched() is not None

        for _ in range(200):
            Knot()
        gc.collect()
        assert gc.get_freeze_count() == 0
        gc.collect()
        assert watched() is None


def test_without_any_cycles_everything_is_looked_at_again_ever_more_rarely() -> None:
    """So that those among what lives long are found in the end."""
    with Collector():
        knots = [Knot()]
        watched = weakref.ref(knots[0])
        gc.collect()
        knots.clear()
        looks = 0
        while watched() is not None:
            gc.collect()
            looks += 1
            assert looks <= FIRST_LOOK + 1
