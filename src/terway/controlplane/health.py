"""Is the process alive, is it ready, and what does it count? For probes and for Prometheus.

/healthz   answers as long as the loop turns; who cannot lead any more ends, and is not asked
/readyz    lists what is missing: the webhook answers every API server, whoever leads; and which
           controllers wait for what, which the webhook does not need
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from terway.controlplane.metrics import Metrics
from terway.model.errors import UsageError
from terway.model.exposition import CONTENT_TYPE

Lines = Callable[[], Sequence[str]]


def health_app(missing: Lines, waiting: Lines = tuple) -> web.Application:
    """Return /healthz and /readyz.

    `missing` says what stands between us and being ready, `waiting` what else is not there yet.
    """

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        found, more = missing(), "".join(f"{one}\n" for one in waiting())
        if found:
            text = "".join(f"not yet: {one}\n" for one in found)
            return web.Response(status=503, text=text + more)
        return web.Response(text="ok\n" + more)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def metrics_app(metrics: Metrics) -> web.Application:
    """Return /metrics."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=metrics.page(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", page)
    return app


@asynccontextmanager
async def open_listener(listen: str, app: web.Application) -> AsyncIterator[int]:
    """Serve `app` at ``host:port`` for the block, and give the port. Raises UsageError."""
    host, _, port = listen.rpartition(":")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host.strip("[]") or None, int(port))
        await site.start()
        yield runner.addresses[0][1]
    except OSError as error:
        raise UsageError(f"cannot listen at {listen}: {error.strerror}", field="listen") from error
    finally:
        await runner.cleanup()
