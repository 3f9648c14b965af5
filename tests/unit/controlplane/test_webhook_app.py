"""The webhook's listener and clients that are not an API server: nobody is held up by them."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from terway.controlplane.podenis.admission import Admitted
from terway.controlplane.webhook import webhook_app

HALF = b"POST /mutating HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"


class Willing:
    """Lets everything in."""

    def admit_pod(self, raw: Mapping[str, Any], namespace: str) -> Admitted:
        return Admitted()

    def admit_networking(self, raw: Mapping[str, Any]) -> Admitted:
        return Admitted()

    def check_networking(self, raw: Mapping[str, Any]) -> None:
        return None


def client(*, send_s: float = 10.0) -> TestClient[Any, Any]:
    return TestClient(TestServer(webhook_app(Willing(), lambda: True, send_s=send_s)))


def review() -> dict[str, Any]:
    pod = {"metadata": {"name": "a"}, "spec": {"containers": []}}
    return {"request": {"uid": "u", "kind": {"kind": "Pod"}, "object": pod}}


async def test_who_sends_half_a_request_is_sent_away_and_others_are_answered_meanwhile():
    async with client(send_s=0.5) as asked:  # in which a busy machine sends the whole of another
        reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
        writer.write(HALF)

        async with asked.post("/mutating", json=review()) as answer:
            assert (await answer.json())["response"]["allowed"]

        assert b" 408 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", "text", '{"request": {}}', "[" * 10_000])
async def test_what_is_no_review_is_answered_with_what_is_missing(body):
    async with client() as asked, asked.post("/mutating", data=body) as answer:
        assert answer.status == 400
        assert "not an AdmissionReview" in await answer.text()


async def test_a_body_that_is_nested_too_deeply_is_refused_with_that_text():
    async with client() as asked, asked.post("/mutating", data='{"a":' * 100_000) as answer:
        assert answer.status == 400
        assert "not an AdmissionReview: nested too deeply" in await answer.text()


async def test_an_object_that_is_just_too_deep_to_be_compared_is_refused_too():
    limit = sys.getrecursionlimit()
    async with client() as asked:
        for depth in range(limit - 200, limit):
            spec = '{"a":' * depth + "1" + "}" * depth
            kind = '"kind": {"kind": "PodNetworking"}'
            both = f'"object": {{"spec": {spec}}}, "oldObject": {{"spec": {spec}}}'
            body = f'{{"request": {{"uid": "u", {kind}, {both}}}}}'
            async with asked.post("/mutating", data=body) as answer:
                assert answer.status in (200, 400)


async def test_a_pod_of_more_than_a_megabyte_is_answered():
    said = review()
    said["request"]["object"]["metadata"]["annotations"] = {"much": "x" * (3 << 20)}

    body = json.dumps(said).encode()
    async with client() as asked, asked.post("/mutating", data=io.BytesIO(body)) as answer:
        assert (await answer.json())["response"]["allowed"]
