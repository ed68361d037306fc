"""What a publisher raises, besides InvalidEvent of the protocol."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["PartitionsConflict", "PublishFailed", "PublishRefused", "PublisherClosed", "PublisherError"]


class PublisherError(Exception):
    """The base of a publisher's errors."""


class PublisherClosed(PublisherError):
    """The publisher was closed; nothing was sent, but of `publish_many` perhaps what came first."""


class PartitionsConflict(PublisherError):
    """The log has another number of partitions than this process, which sends nothing more.

    Of `publish_many`, and of a call that had to try again, something may be in the log.
    """


class PublishFailed(PublisherError):
    """Redis did not confirm the event: it may be in the log, or may not.

    `event_id` is the event's, the first unconfirmed one's of several; `unconfirmed` has the ids of all.
    Publishing again with the same id within 60 s is safe: the event is delivered once.
    """

    _STATE = "not confirmed, it may be in the log"

    def __init__(self, event_id: str, reason: str, unconfirmed: Sequence[str] = ()) -> None:
        super().__init__(event_id, reason)
        self.event_id = event_id
        self.reason = reason
        self.unconfirmed = tuple(unconfirmed) or (event_id,)

    def __str__(self) -> str:
        more = len(self.unconfirmed) - 1
        events = f"event {self.event_id}" + (f" and {more} more" if more else "")
        return f"{events}: {self._STATE}: {self.reason}"


class PublishRefused(PublishFailed):
    """The event is certainly not in the log: Redis said no each time, or it was never sent."""

    _STATE = "not published"
