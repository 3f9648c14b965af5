"""The OpenAPI on the wire: what a client that behaves would not send, and lost replies."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from ipaddress import IPv4Network

import aiohttp
import pytest

from terway.cloud.credentials import Credentials
from terway.cloud.openapi import open_session
from terway.cloud.query import canonical_query
from terway.cloud.signer import signed_headers
from terway.lab.cloud import provision
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.openapi_http import create_openapi_app, running
from terway.lab.cloud.records import InstanceStatus
from terway.lab.cloud.signature import SignedRequest
from terway.lab.cloud.transitions import Delays
from tests.support.cloud_world import ZONE, make_world, serving

DATE = "2026-09-21T14:14:20Z"  # of the world's clock


@pytest.fixture
def world():
    return make_world()


@pytest.fixture
async def url(world):
    async with serving(create_openapi_app(world.cloud)) as url:
        yield url


@pytest.fixture
async def session():
    async with open_session() as session:
        yield session


class Caller:
    """Signs by hand, so that a test can leave things out."""

    def __init__(self, world, url, session):
        self.key = world.cloud.world.keyring.create_key("hand")
        self.url, self.session = url, session
        self.nonce = 0

    async def __call__(self, parameters, *, drop=(), **more):
        self.nonce += 1
        query = canonical_query(parameters)
        keys = Credentials(access_key_id=self.key.id, access_key_secret=self.key.secret)
        headers = signed_headers(
            host=self.url.removeprefix("http://"),
            version="2014-05-26",
            action="DescribeRegions",
            query=query,
            credentials=keys,
            date=DATE,
            nonce=f"n-{self.nonce}",
        )
        kept = {name: value for name, value in headers.items() if name not in drop}
        url = f"{self.url}/?{query}"
        async with self.session.post(url, headers={**kept, **more}) as response:
            return response.status, await response.json()


@pytest.fixture
def call(world, url, session):
    return Caller(world, url, session)


async def test_an_answer_is_json_with_a_request_id(call):
    status, body = await call({})

    assert status == 200
    assert body["RequestId"]


async def test_a_refusal_has_its_status(call):
    status, body = await call({"Colour": "blue"})

    assert (status, body["Code"]) == (400, "UnsupportedParameter")


async def test_headers_win_over_the_query(call):
    status, body = await call({"Action": "MakeCoffee", "Version": "1999-01-01", "Format": "JSON"})

    assert status == 200
    assert "Regions" in body


async def test_action_and_version_may_stand_in_the_query(world):
    # As older clients send it; signed here by hand, for the agent's signer always uses headers.
    key = world.cloud.world.keyring.create_key("old")
    empty = hashlib.sha256(b"").hexdigest()
    query = "Action=DescribeRegions&Version=2014-05-26"
    headers = {
        "host": "ecs.example",
        "x-acs-content-sha256": empty,
        "x-acs-date": DATE,
        "x-acs-signature-nonce": "n",
    }
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    names = ";".join(headers)
    digest = hashlib.sha256(f"GET\n/\n{query}\n{lines}\n{names}\n{empty}".encode()).hexdigest()
    to_sign = f"ACS3-HMAC-SHA256\n{digest}".encode()
    signature = hmac.new(key.secret.encode(), to_sign, hashlib.sha256).hexdigest()
    signed = f"ACS3-HMAC-SHA256 Credential={key.id},SignedHeaders={names},Signature={signature}"

    reply = world.cloud.handle(
        SignedRequest(
            method="GET", path="/", query=query, headers={**headers, "authorization": signed}
        )
    )

    assert reply.status == 200
    assert "Regions" in reply.body


async def test_a_call_without_a_signature_is_refused(call):
    status, body = await call({}, drop=("authorization",))

    assert (status, body["Code"]) == (400, "IncompleteSignature")


async def test_a_header_that_was_signed_must_be_there(call):
    status, body = await call({}, drop=("x-acs-action",))

    assert (status, body["Code"]) == (400, "SignatureDoesNotMatch")


async def test_a_body_that_was_not_signed_is_refused(call):
    digest = hashlib.sha256(b"other").hexdigest()

    status, body = await call({}, **{"x-acs-content-sha256": digest})

    assert (status, body["Code"]) == (400, "SignatureDoesNotMatch")


async def test_a_lost_reply_ends_the_connection(call, world):
    world.cloud.faults.add(Fault(loses_reply=True))

    with pytest.raises(aiohttp.ClientError):
        await call({})
    assert (await call({}))[0] == 200


async def test_time_passes_in_the_cloud_while_it_is_served():
    cloud = Cloud(clock=asyncio.get_running_loop().time, delays=Delays(start_s=0.01))
    vpc_id = provision.create_vpc(cloud, IPv4Network("10.0.0.0/8"))
    vswitch_id = provision.create_vswitch(cloud, vpc_id, IPv4Network("10.0.0.0/24"), zone_id=ZONE)
    instance = provision.run_instance(
        cloud,
        instance_type="ecs.g7.xlarge",
        vswitch_id=vswitch_id,
        security_group_ids=[provision.create_security_group(cloud, vpc_id)],
        ipv6=False,
    )
    changed = asyncio.Event()
    cloud.subscribe(changed.set)

    async with running(cloud), asyncio.timeout(10):
        await changed.wait()

    assert cloud.world.state.instances[instance.id].status is InstanceStatus.RUNNING
