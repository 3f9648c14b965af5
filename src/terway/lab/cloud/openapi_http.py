"""The cloud's OpenAPI on HTTP: all products on one endpoint.

The application keeps the cloud's own time going while it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from terway.lab.cloud.cloud import Cloud, Reply
from terway.lab.cloud.signature import SignedRequest

CLOUD = web.AppKey("cloud", Cloud)


def create_openapi_app(cloud: Cloud) -> web.Application:
    """Return an application that answers signed calls at ``/``."""
    app = web.Application()
    app[CLOUD] = cloud
    app.router.add_route("*", "/", _answer)
    app.cleanup_ctx.append(_keep_time)
    return app


async def _keep_time(app: web.Application) -> AsyncIterator[None]:
    async with running(app[CLOUD]):
        yield


@asynccontextmanager
async def running(cloud: Cloud) -> AsyncIterator[None]:
    """Let the cloud's delayed changes happen, by the event loop, while the block runs."""
    # Not a TaskGroup: aiohttp may leave this block in another task than it entered it.
    task = asyncio.create_task(_drive(cloud), name="cloud.time")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _drive(cloud: Cloud) -> None:
    changed = asyncio.Event()
    unsubscribe = cloud.subscribe(changed.set)
    try:
        while True:
            changed.clear()
            cloud.advance()
            due = cloud.next_due()
            wait_s = None if due is None else max(due - cloud.now(), 0.0)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()
    finally:
        unsubscribe()


async def _answer(request: web.Request) -> web.Response:
    signed = SignedRequest(
        method=request.method,
        path=request.rel_url.raw_path,
        query=request.rel_url.raw_query_string,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await request.read(),
    )
    reply = request.app[CLOUD].handle(signed)
    await asyncio.sleep(reply.delay_s)
    if reply.lost and request.transport is not None:
        request.transport.abort()
    return _response(reply)


def _response(reply: Reply) -> web.Response:
    headers = {"x-acs-request-id": reply.body["RequestId"]}
    return web.json_response(reply.body, status=reply.status, headers=headers)
