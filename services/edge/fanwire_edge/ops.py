"""The ops port: health and metrics, for operators only (PROTOCOL §9)."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from fanwire_edge.edge import Edge

__all__ = ["healthz", "ops_application"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def healthz(request: web.Request) -> web.Response:
    """Answer that the loop turns."""
    return web.Response(text="ok\n")


def ops_application(edge: Edge, registry: CollectorRegistry) -> web.Application:
    """Return the application of the ops port."""

    async def readyz(request: web.Request) -> web.Response:
        if edge.is_ready:
            return web.Response(text="ready\n")
        why = "draining" if edge.is_draining else "not reading from the broker"
        return web.Response(status=503, text=f"{why}\n")

    async def metrics(request: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": _METRICS_TYPE})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application
