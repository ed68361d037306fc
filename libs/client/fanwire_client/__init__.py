"""asyncio client of Fanwire: subscribe to channels; it reconnects, resumes and drops duplicates itself."""

from fanwire_client._client import Client
from fanwire_client._errors import (
    ClientClosed,
    ConnectionRefused,
    Disconnected,
    FanwireError,
    InvalidToken,
    SubscriptionEnded,
    SubscriptionRefused,
)
from fanwire_client._events import Event, Gap
from fanwire_client._limits import Limits
from fanwire_client._statistics import Statistics
from fanwire_client._subscription import Subscription

__all__ = [
    "Client",
    "ClientClosed",
    "ConnectionRefused",
    "Disconnected",
    "Event",
    "FanwireError",
    "Gap",
    "InvalidToken",
    "Limits",
    "Statistics",
    "Subscription",
    "SubscriptionEnded",
    "SubscriptionRefused",
]
