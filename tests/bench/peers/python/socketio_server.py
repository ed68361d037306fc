"""Peer of the benchmark: python-socketio with its Redis manager: `socketio_server.py PORT REDIS_URL SECRET`.

On uvicorn with uvloop, WebSocket only, no compression, no log.
"""

from __future__ import annotations

import sys
from typing import Any

import jwt
import socketio  # type: ignore[import-not-found]  # in an environment of its own
import uvicorn  # type: ignore[import-not-found]


def application(redis_url: str, secret: str) -> Any:
    """Return the ASGI application."""
    server = socketio.AsyncServer(
        async_mode="asgi",
        client_manager=socketio.AsyncRedisManager(redis_url),
        transports=["websocket"],
        max_http_buffer_size=4096,
        http_compression=False,
    )

    async def connect(sid: str, environment: dict[str, Any], auth: object) -> None:
        token = environment.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        try:
            jwt.decode(token, secret, algorithms=["HS256"])
        except jwt.InvalidTokenError as error:
            raise socketio.exceptions.ConnectionRefusedError("no valid token") from error

    async def subscribe(sid: str, rooms: list[str]) -> None:
        for room in rooms:
            await server.enter_room(sid, room)

    server.on("connect", connect)
    server.on("subscribe", subscribe)
    return socketio.ASGIApp(server)


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
