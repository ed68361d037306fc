"""Totals: the metrics of several workers as those of one edge.

Counters and histograms are summed, and those of a worker that ended stay in the sum: a total never goes
backwards. Gauges are of those who answer now; most are summed, some would say nothing then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Families", "Family", "Sample", "Totals", "families_from", "plain"]

# The name of a sample (`…_bucket`) and its labels.
Sample: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]

GAUGE = "gauge"
# Gauges of which the sum says nothing: how far back the last one is, whether all do, what each sees alike.
_MERGED_BY: Mapping[str, Callable[[float, float], float]] = {
    "fanwire_tail_lag_seconds": max,
    "fanwire_tail_reading": min,
    "fanwire_tail_readers": max,
}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all of its samples; `kind` is `counter`, `gauge` or `histogram`."""

    name: str
    text: str
    kind: str
    samples: Mapping[Sample, float]


Families: TypeAlias = Iterable[Family]


class Totals:
    """What the workers of one edge told last, by their numbers, and what those had counted who ended."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[Family, ...]] = {}
        self._ended: tuple[Family, ...] = ()

    def take(self, worker: int, families: Families) -> None:
        """Note what *worker* told; it replaces what the same one told before."""
        self._told[worker] = tuple(families)

    def end(self, worker: int) -> None:
        """Keep what *worker* counted; the next one of this number begins at zero."""
        told = self._told.pop(worker, ())
        self._ended = _merged((*self._ended, *(each for each in told if each.kind != GAUGE)))

    def merged(self, answering: Collection[int]) -> tuple[Family, ...]:
        """Return the metrics of the edge, gauges being those of the workers in *answering*."""
        families = [
            family
            for worker, told in sorted(self._told.items())
            for family in told
            if family.kind != GAUGE or worker in answering
        ]
        return _merged((*families, *self._ended))


def _sum(one: float, other: float) -> float:
    return one + other


def _merged(families: Families) -> tuple[Family, ...]:
    samples: dict[str, dict[Sample, float]] = {}
    found: dict[str, Family] = {}
    for family in families:
        found.setdefault(family.name, family)
        merge = _MERGED_BY.get(family.name, _sum)
        merged = samples.setdefault(family.name, {})
        for sample, value in family.samples.items():
            merged[sample] = merge(merged[sample], value) if sample in merged else value
    return tuple(Family(each.name, each.text, each.kind, samples[each.name]) for each in found.values())


def plain(families: Families) -> list[Any]:
    """Return *families* as lists, texts and numbers, which JSON can carry."""
    return [
        [
            family.name,
            family.text,
            family.kind,
            [[*sample, value] for sample, value in family.samples.items()],
        ]
        for family in families
    ]


def families_from(lists: Iterable[Any]) -> tuple[Family, ...]:
    """Return the families that `plain` made *lists* of."""
    return tuple(
        Family(name, text, kind, {_sample(key, labels): float(value) for key, labels, value in samples})
        for name, text, kind, samples in lists
    )


def _sample(name: str, labels: Iterable[tuple[str, str]]) -> Sample:
    return name, tuple((label, value) for label, value in labels)
