"""The ops port: health and metrics, for operators only (PROTOCOL §9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

__all__ = ["Readiness", "healthz", "ops_application"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether newcomers may be sent here, and what a person is told about it."""

    is_ready: bool
    text: str


async def healthz(request: web.Request) -> web.Response:
    """Answer that the loop turns."""
    return web.Response(text="ok\n")


def ops_application(
    readiness: Callable[[], Awaitable[Readiness]], exposition: Callable[[], Awaitable[bytes]]
) -> web.Application:
    """Return the application of the ops port; *exposition* is what Prometheus reads."""

    async def readyz(request: web.Request) -> web.Response:
        found = await readiness()
        return web.Response(status=200 if found.is_ready else 503, text=f"{found.text}\n")

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=await exposition(), headers={"Content-Type": _METRICS_TYPE})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application
