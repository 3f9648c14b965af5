"""Whatever stands where the cloud should be, the agent hears a TransientError and no stray one."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from terway.cloud.credentials import Credentials, StaticCredentials
from terway.cloud.openapi import OpenAPI, Product, endpoint_url, open_session
from terway.cloud.wire import Done, VSwitchesPage
from terway.model.errors import TransientError
from tests.support.cloud_world import serving

KEYS = StaticCredentials(Credentials(access_key_id="id", access_key_secret="secret"))


@pytest.fixture
async def session():
    async with open_session() as session:
        yield session


def answering(text, status=200):
    async def answer(request):
        return web.Response(text=text, status=status)

    app = web.Application()
    app.router.add_post("/", answer)
    return serving(app)


async def call(session, url, answer=Done):
    product = Product(endpoint=url, version="2014-05-26")
    return await OpenAPI(session, KEYS).call(product, "DescribeRegions", {}, answer)


@pytest.mark.parametrize(
    ("text", "status"),
    [("<html>Bad Gateway</html>", 502), ("", 500), ("not json", 200), ('{"VSwitches": 3}', 200)],
)
async def test_an_answer_that_is_not_the_clouds(session, text, status):
    async with answering(text, status) as url:
        with pytest.raises(TransientError, match="DescribeRegions"):
            await call(session, url, VSwitchesPage)


async def test_nobody_listens(session):
    async with answering("") as url:
        pass

    with pytest.raises(TransientError, match="no answer from http://127"):
        await call(session, url)


async def test_an_answer_that_does_not_come():
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.01)) as session,
        serving(silent()) as url,
    ):
        with pytest.raises(TransientError, match="no answer"):
            await call(session, url)


def silent():
    """An application that never answers."""

    async def answer(request):
        await asyncio.Event().wait()

    app = web.Application()
    app.router.add_post("/", answer)
    return app


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("ecs.example", "https://ecs.example"),
        ("https://ecs.example/", "https://ecs.example"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80"),
    ],
)
def test_an_endpoint_is_https_unless_it_says_otherwise(endpoint, url):
    assert endpoint_url(endpoint) == url
