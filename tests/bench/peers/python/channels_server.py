"""Peer of the benchmark: Django Channels with channels_redis: `channels_server.py PORT REDIS_URL SECRET`.

On uvicorn with the Pub/Sub layer, which is the faster of the two; uvloop, no compression, no log.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django  # type: ignore[import-not-found]  # in an environment of its own
import jwt
import uvicorn  # type: ignore[import-not-found]
from django.conf import settings  # type: ignore[import-not-found]


def application(redis_url: str, secret: str) -> Any:
    """Return the ASGI application."""
    layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [redis_url]}}
    settings.configure(INSTALLED_APPS=["channels"], CHANNEL_LAYERS={"default": layer}, LOGGING_CONFIG=None)
    django.setup()
    # Django must be configured before these are imported.
    from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]
    from channels.routing import ProtocolTypeRouter  # type: ignore[import-untyped]

    class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # untyped
        """A client that joins the groups it asks for."""

        async def connect(self) -> None:
            headers = dict(self.scope["headers"])
            token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
            try:
                jwt.decode(token, secret, algorithms=["HS256"])
            except jwt.InvalidTokenError:
                await self.close()
                return
            self.joined: list[str] = []
            await self.accept()

        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            command = json.loads(text_data or bytes_data or b"")
            if command["type"] == "subscribe":
                for name in command["channels"]:
                    group = name.replace(":", ".")
                    await self.channel_layer.group_add(group, self.channel_name)
                    self.joined.append(group)
                await self.send(text_data='{"type":"subscribed"}')

        async def bench_event(self, event: dict[str, str]) -> None:
            await self.send(text_data=event["text"])

        async def disconnect(self, code: int) -> None:
            for group in self.joined:
                await self.channel_layer.group_discard(group, self.channel_name)

    return ProtocolTypeRouter({"websocket": Consumer.as_asgi()})


if __name__ == "__main__":
    _, port, redis_url, secret = sys.argv
    uvicorn.run(
        application(redis_url, secret),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        ws="websockets-sansio",
        lifespan="off",
        log_level="error",
        access_log=False,
        backlog=4096,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
