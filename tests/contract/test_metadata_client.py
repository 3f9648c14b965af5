"""What the metadata service tells an instance, and what the agent's client makes of it."""

from __future__ import annotations

import pytest
from aiohttp import web

from terway.cloud.credentials import RamRoleCredentials
from terway.cloud.ecs import EcsClient
from terway.cloud.metadata import TOKEN_HEADER, TOKEN_TTL_HEADER, MetadataClient
from terway.cloud.openapi import OpenAPI, open_session
from terway.lab.cloud.metadata_http import create_metadata_app
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.cloud.transitions import Delays
from terway.model.errors import TransientError, UsageError
from terway.model.ids import MacAddress, RegionId
from tests.support.cloud_world import REGION, make_world, serving


class Sleeps:
    """Notes how long somebody wanted to wait, and does not."""

    def __init__(self):
        self.asked = []

    async def __call__(self, delay_s):
        self.asked.append(delay_s)


@pytest.fixture
def world():
    return make_world(role="node")


@pytest.fixture
async def session():
    async with open_session() as session:
        yield session


def service_of(world, peer=None):
    address = peer or str(world.instance.ipv4)
    return serving(create_metadata_app(world.cloud, peer_of=lambda request: address))


@pytest.fixture
async def url(world):
    async with service_of(world) as url:
        yield url


@pytest.fixture
async def client(session, url):
    return MetadataClient(session, base_url=url, sleep=Sleeps())


async def test_an_instance_knows_itself(client, world):
    assert await client.instance_id() == world.instance_id
    assert await client.instance_type() == "ecs.g7.xlarge"
    assert await client.region_id() == REGION
    assert await client.zone_id() == "cn-hangzhou-i"
    assert await client.vpc_id() == world.vpc_id
    assert await client.vswitch_id() == world.node_vswitch
    assert str(await client.vpc_cidr()) == "192.168.0.0/16"
    assert await client.primary_mac() == world.instance.mac
    assert await client.macs() == (world.instance.mac,)


async def test_an_eni_is_described_by_its_mac(client, world):
    eni = await client.eni(world.instance.mac)

    assert eni.id == world.instance.primary_eni_id
    assert eni.primary_ipv4 == world.instance.ipv4
    assert eni.ipv4 == (world.instance.ipv4,)
    assert eni.ipv6 == (world.instance.ipv6,)
    assert eni.vswitch_id == world.node_vswitch
    assert str(eni.cidr) == "192.168.0.0/19"
    assert str(eni.gateway_v4) == "192.168.31.253"
    assert eni.gateway_v6 == eni.ipv6_cidr[-3]


async def test_an_eni_without_ipv6_has_none(client, world):
    eni_id = world.create_eni()
    world.attach(eni_id)
    world.pass_time()
    mac = MacAddress(world.eni(eni_id)["MacAddress"])

    assert set(await client.macs()) == {world.instance.mac, mac}
    assert (await client.eni(mac)).ipv6 == ()


async def test_an_unknown_mac_is_none(client):
    assert await client.eni(MacAddress("00:16:3e:00:00:00")) is None


async def test_the_service_lags_behind(session):
    """Bug class 11: so nothing is decided by what it says of addresses."""
    world = make_world(delays=Delays(metadata_s=5.0))
    eni_id = world.create_eni()
    world.attach(eni_id)
    world.pass_time(2.0)
    async with service_of(world) as url:
        client = MetadataClient(session, base_url=url)

        assert await client.macs() == (world.instance.mac,)
        world.pass_time(5.0)
        assert len(await client.macs()) == 2


async def test_a_hardened_instance_must_show_a_token(session):
    world = make_world(hardened=True)
    async with service_of(world) as url:
        async with session.get(f"{url}/latest/meta-data/instance-id") as response:
            assert response.status == 401

        assert await MetadataClient(session, base_url=url).instance_id() == world.instance_id


async def test_a_normal_instance_needs_no_token(session, url, world):
    async with session.get(f"{url}/latest/meta-data/instance-id") as response:
        assert await response.text() == world.instance_id


async def test_an_expired_token_is_refused_and_replaced_once(session, url, world):
    async with session.put(f"{url}/latest/api/token", headers={TOKEN_TTL_HEADER: "60"}) as reply:
        token = await reply.text()
    client = MetadataClient(session, base_url=url)
    await client.instance_id()

    world.clock.now += 30000.0

    async with session.get(
        f"{url}/latest/meta-data/instance-id", headers={TOKEN_HEADER: token}
    ) as reply:
        assert reply.status == 401
    assert await client.instance_id() == world.instance_id


@pytest.mark.parametrize("ttl", ["", "0", "21601", "long"])
async def test_a_token_needs_a_sensible_life(session, url, ttl):
    headers = {TOKEN_TTL_HEADER: ttl}
    async with session.put(f"{url}/latest/api/token", headers=headers) as response:
        assert response.status == 400


async def test_a_stranger_is_refused(session, world):
    async with service_of(world, peer="192.168.0.99") as url:
        with pytest.raises(UsageError):
            await MetadataClient(session, base_url=url, sleep=Sleeps()).instance_id()


async def test_an_address_of_another_eni_is_the_same_instance(session, world):
    eni_id = world.create_eni()
    world.attach(eni_id)
    world.pass_time()
    address = world.eni(eni_id)["PrivateIpAddress"]
    async with service_of(world, peer=address) as url:
        assert await MetadataClient(session, base_url=url).instance_id() == world.instance_id


async def test_folders_are_listed(session, url):
    async with session.get(f"{url}/latest/meta-data/") as response:
        listed = (await response.text()).split("\n")

    assert "instance-id" in listed
    assert "network/" in listed
    assert "ram/" in listed


async def test_role_keys_open_the_cloud(session, url, client, world):
    world.cloud.world.keyring.create_role("node", allow=("ecs:Describe*",))
    credentials = RamRoleCredentials(client, now=world.clock)
    async with serving(create_openapi_app(world.cloud)) as endpoint:
        ecs = EcsClient(
            OpenAPI(session, credentials, now=world.clock),
            region_id=RegionId(REGION),
            ecs_endpoint=endpoint,
            vpc_endpoint=endpoint,
        )

        assert len(await ecs.describe_enis(instance_id=world.instance_id)) == 1
        with pytest.raises(UsageError, match="grant this action"):
            await ecs.delete_eni(world.instance.primary_eni_id)


async def test_expired_role_keys_are_fetched_anew(session, client, world):
    world.cloud.world.keyring.create_role("node")
    frozen = RamRoleCredentials(client, now=lambda: 0.0)  # never notices the time
    async with serving(create_openapi_app(world.cloud)) as endpoint:
        ecs = EcsClient(
            OpenAPI(session, frozen, now=world.clock),
            region_id=RegionId(REGION),
            ecs_endpoint=endpoint,
            vpc_endpoint=endpoint,
        )
        await ecs.describe_enis()
        world.clock.now += 7 * 3600.0

        with pytest.raises(TransientError):
            await ecs.describe_enis()
        assert await ecs.describe_enis()


async def test_a_role_that_is_gone_is_transient(client):
    with pytest.raises(TransientError, match="RoleNotFound"):
        await client.role_credentials()


async def test_the_primary_eni_is_known_from_the_beginning(session):
    world = make_world(delays=Delays(metadata_s=1000.0))
    async with service_of(world) as url:
        assert await MetadataClient(session, base_url=url).macs() == (world.instance.mac,)


async def test_an_instance_without_a_role_is_told_so(session):
    world = make_world()
    async with service_of(world) as url:
        with pytest.raises(UsageError, match="attach one"):
            await MetadataClient(session, base_url=url).role_credentials()


async def test_what_may_pass_is_tried_again(session):
    answers = iter([503, 429, 200])
    sleeps = Sleeps()

    async def answer(request):
        if request.method == "PUT":
            return web.Response(text="token")
        return web.Response(text="i-1", status=next(answers))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with serving(app) as url:
        assert await MetadataClient(session, base_url=url, sleep=sleeps).instance_id() == "i-1"

    assert sleeps.asked == [0.5, 0.6]


async def test_a_dead_service_is_a_transient_error(session):
    sleeps = Sleeps()
    async with serving(web.Application()) as url:
        pass

    with pytest.raises(TransientError):
        await MetadataClient(session, base_url=url, sleep=sleeps).instance_id()
    assert len(sleeps.asked) == 3
