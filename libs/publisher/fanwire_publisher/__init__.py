"""Publish domain events onto Redis streams, from where Fanwire's edges bring them to WebSocket clients."""

from fanwire_protocol import InvalidEvent, Position
from fanwire_publisher._errors import (
    PartitionsConflict,
    PublisherClosed,
    PublisherError,
    PublishFailed,
    PublishRefused,
)
from fanwire_publisher._options import PublisherOptions
from fanwire_publisher._outgoing import Outgoing
from fanwire_publisher._publisher import Publisher
from fanwire_publisher._sources import Sources

__all__ = [
    "InvalidEvent",
    "Outgoing",
    "PartitionsConflict",
    "Position",
    "PublishFailed",
    "PublishRefused",
    "Publisher",
    "PublisherClosed",
    "PublisherError",
    "PublisherOptions",
    "Sources",
]
