"""Resuming: what a client's positions prove, and what has to be looked up to know (PROTOCOL §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.log import Log
from fanwire_edge.core.page import FIRST, Order, Page, page_start
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.replay import Missing
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import BEGINNING, Position

__all__ = ["Resumption", "Unproven", "resume"]


@dataclass(frozen=True, slots=True)
class Unproven:
    """Events of *stream* after *start*, if the client named one, and up to *end* may be missing."""

    stream: Stream
    start: Position | None
    end: Position


@dataclass(slots=True)
class Resumption:
    """What is known of a request to resume.

    `missing` are pages to be read first; `is_ahead` says that the client has seen more than this edge has
    read yet. Where neither is the case, `starts` and `unproven` are the whole answer: a stream in neither
    has nothing to replay. Until then some streams are `undecided`; `reached` is where the search for their
    proof goes on.
    """

    starts: dict[Stream, Position] = field(default_factory=dict)
    unproven: list[Unproven] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    is_ahead: bool = False
    undecided: list[Unproven] = field(default_factory=list)
    reached: dict[Stream, Order] = field(default_factory=dict)

    @property
    def is_decided(self) -> bool:
        """Whether nothing has to be looked up or waited for."""
        return not self.undecided

    def given_up(self) -> Resumption:
        """Return what holds where nothing more is looked up: what is undecided is unproven."""
        return Resumption(self.starts, [*self.unproven, *self.undecided])

    def verdict(self, stream: Stream) -> Position | Unproven | None:
        """Return what was found of *stream*: a start, that it is unproven, or nothing yet."""
        start = self.starts.get(stream)
        return start or next((each for each in self.unproven if each.stream == stream), None)


def resume(
    since: Mapping[str, Position],
    now: Mapping[Stream, Position],
    log: Log,
    pages: Pages,
    before: Resumption | None = None,
) -> Resumption:
    """Judge the positions *since* of a client against the positions *now* of the streams that feed it.

    What an attempt *before* has found is not looked up again: the pages of many streams, or those of one busy
    second, may not all be there at the same time. Where a start holds no more, the replay will find out.
    """
    found = Resumption(reached=dict(before.reached) if before else {})
    youngest = max((position.key for position in since.values()), default=FIRST)
    for stream, end in now.items():
        start = since.get(stream.topic)
        verdict = before.verdict(stream) if before else None
        if isinstance(verdict, Unproven) or (start is not None and start.broker != end.broker):
            found.unproven.append(Unproven(stream, start, end))
        elif verdict is not None:
            found.starts[stream] = verdict
        elif start is None:
            _judge_unnamed(found, stream, end, youngest, pages)
        elif start.key > end.key:
            found.is_ahead = True
            found.undecided.append(Unproven(stream, start, end))
        elif start != end:
            _judge_older(found, stream, start, end, log, pages)
    return found


def _judge_unnamed(found: Resumption, stream: Stream, end: Position, youngest: Order, pages: Pages) -> None:
    """A topic that the client has never heard of is read from its first entry, if it is that young.

    Where something was removed before that entry, it may have been as young.
    """
    if end.id == BEGINNING:
        return
    page = _proving_page(found, stream, None, end, pages)
    if page is None:
        return
    is_whole = page.broker == end.broker and page.continues(BEGINNING)
    if is_whole and page.ids and order_of(page.ids[0]) > youngest:
        found.starts[stream] = Position(BEGINNING, end.broker)
    else:
        found.unproven.append(Unproven(stream, None, end))


def _judge_older(
    found: Resumption, stream: Stream, start: Position, end: Position, log: Log, pages: Pages
) -> None:
    if log.reaches(stream, start):
        found.starts[stream] = start
        return
    page = _proving_page(found, stream, start, end, pages)
    if page is None:
        return
    if page.broker == end.broker and page.continues(start.id):
        found.starts[stream] = start
    else:
        found.unproven.append(Unproven(stream, start, end))


def _proving_page(
    found: Resumption, stream: Stream, named: Position | None, end: Position, pages: Pages
) -> Page | None:
    """Return the page that proves what the client *named*, if anything does; note it where it is missing."""
    start = FIRST if named is None else named.key
    place, page = pages.proving(stream, found.reached.get(stream, page_start(start)), start)
    found.reached[stream] = place
    if page is None:
        found.missing.append(Missing(stream, place))
        found.undecided.append(Unproven(stream, named, end))
    return page
