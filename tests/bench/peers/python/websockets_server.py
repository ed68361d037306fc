"""Peer of the benchmark: `websockets` behind Redis Pub/Sub: `websockets_server.py PORT REDIS_URL SECRET`.

`broadcast()` of the library, uvloop, no compression, no keepalive pings of its own.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from http import HTTPStatus
from typing import Any

import jwt
import redis.asyncio
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

PREFIX = b"bench:"
rooms: dict[str, set[ServerConnection]] = defaultdict(set)


async def listen(connection: ServerConnection) -> None:
    """Let a client join the rooms that it asks for, until it leaves."""
    joined: set[str] = set()
    try:
        async for message in connection:
            command = json.loads(message)
            if command["type"] == "subscribe":
                joined.update(command["channels"])
                for name in joined:
                    rooms[name].add(connection)
                await connection.send('{"type":"subscribed"}')
    except ConnectionClosed:
        pass  # A client that goes without a word is no news.
    finally:
        for name in joined:
            rooms[name].discard(connection)
            if not rooms[name]:
                del rooms[name]


async def forward(url: str) -> None:
    """Send what is published on a room's channel to everyone in the room."""
    async with redis.asyncio.Redis.from_url(url) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe(PREFIX + b"*")
        async for message in pubsub.listen():
            if message["type"] == "pmessage":
                room = rooms.get(message["channel"].removeprefix(PREFIX).decode())
                if room:
                    broadcast(room, message["data"].decode())


async def main(port: str, url: str, secret: str) -> None:
    """Serve until the process is ended."""

    def authenticate(connection: ServerConnection, request: Request) -> Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no valid token\n")
        return None if claims else connection.respond(HTTPStatus.UNAUTHORIZED, "no claims\n")

    options: dict[str, Any] = {"compression": None, "ping_interval": None, "max_size": 4096, "backlog": 4096}
    async with serve(listen, "127.0.0.1", int(port), process_request=authenticate, **options):
        await forward(url)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
