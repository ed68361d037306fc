"""Live events in the terminal of `fanwire dev`, by way of a client like any other."""

from __future__ import annotations

from fanwire_cli.feed import TENANT, USER
from fanwire_cli.greeting import PATTERN, event_line
from fanwire_client import Client, Event
from fanwire_protocol.channels import user_channel
from fanwire_protocol.frames import format_time

__all__ = ["show_events"]


async def show_events(url: str, token: str) -> None:
    """Print a line per event of the demo's tenant, until cancelled."""
    async with Client(url, token=token) as client:
        async for item in client.subscribe(PATTERN, user_channel(TENANT, USER)):
            if isinstance(item, Event):
                line = event_line(format_time(item.time), item.type, item.channel or "", item.payload)
            else:
                line = f"gap of {item.topic}: {item.reason}; events may be missing"
            print(line, flush=True)
