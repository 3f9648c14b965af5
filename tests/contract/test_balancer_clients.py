"""What the clients of CLB and NLB promise, on the emulated cloud, over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.cloud.credentials import Credentials, StaticCredentials
from terway.cloud.nlb import NlbClient
from terway.cloud.openapi import OpenAPI, open_session
from terway.cloud.slb import SlbClient
from terway.lab.cloud.balancer_records import HealthSeen
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.cloud.transitions import Delays
from terway.model.balancer import (
    AccessRule,
    Backend,
    CheckKind,
    Forwarding,
    HealthCheck,
    HealthStatus,
    InstanceWish,
    ListenerProtocol,
    ListenerWish,
    ServerGroupId,
)
from terway.model.errors import ConflictError, TransientError, UsageError
from terway.model.ids import ClientToken, ENIId, RegionId
from tests.support.cloud_world import REGION, ZONE, make_world, serving

TOKEN, OTHER = ClientToken("one"), ClientToken("other")
TCP = ListenerProtocol.TCP
FORWARDING = Forwarding(
    scheduler="sch",
    check=HealthCheck(kind=CheckKind.HTTP, uri="/healthz", interval_s=1, healthy_after=2),
    drain_s=30,
    persistence_s=60,
)


@pytest.fixture
def world():
    return make_world(delays=Delays(balancer_s=5, job_s=1))


@pytest.fixture
async def openapi(world):
    key = world.cloud.world.keyring.create_key("controlplane")
    keys = StaticCredentials(Credentials(access_key_id=key.id, access_key_secret=key.secret))
    async with serving(create_openapi_app(world.cloud)) as url, open_session() as session:
        yield OpenAPI(session, keys, now=world.clock), url


@pytest.fixture
def clb(openapi):
    caller, url = openapi
    return SlbClient(caller, region_id=RegionId(REGION), slb_endpoint=url)


@pytest.fixture
def nlb(openapi):
    caller, url = openapi
    return NlbClient(caller, region_id=RegionId(REGION), nlb_endpoint=url)


def wish_of(world, **changes):
    wish = InstanceWish(
        name="web",
        is_internet=False,
        vpc_id=world.vpc_id,
        zones=((ZONE, world.pod_vswitch),),
        tags=(("cluster", "c1"),),
    )
    return replace(wish, **changes)


def pod_backends(world, count):
    eni = ENIId(world.create_eni(SecondaryPrivateIpAddressCount=str(count)))
    pods = world.cloud.world.state.enis[eni].ipv4[1:]
    return [Backend(address=one, port=8080, eni_id=eni) for one in pods]


async def test_a_clb_instance_is_found_as_it_was_wished(clb, world):
    made = await clb.create_instance(wish_of(world), token=TOKEN)

    assert await clb.create_instance(wish_of(world), token=TOKEN) == made
    (found,) = await clb.list_instances(tags=(("cluster", "c1"),))
    assert (found.id, found.name, found.vpc_id) == (made, "web", world.vpc_id)
    assert (found.is_protected_from_deletion, found.is_protected_from_console) == (True, True)
    assert found.zones[0][1] == world.pod_vswitch
    assert await clb.list_instances(name="other") == ()


async def test_a_protected_clb_instance_stays_and_a_free_one_goes_twice(clb, world):
    made = await clb.create_instance(wish_of(world), token=TOKEN)

    with pytest.raises(UsageError) as refused:
        await clb.delete_instance(made)
    assert refused.value.code == "OperationDenied.DeleteProtectionIsOn"

    await clb.protect(made, from_deletion=False, from_console=False)
    await clb.delete_instance(made)
    await clb.delete_instance(made)
    assert await clb.describe_instance(made) is None


async def test_backends_of_a_clb_group_come_and_go_by_dozens(clb, world):
    made = await clb.create_instance(wish_of(world), token=TOKEN)
    group = await clb.create_group(made, name="g")
    backends = [
        replace(one, port=port) for one in pod_backends(world, 3) for port in range(8000, 8010)
    ]

    await clb.add_backends(group, backends)
    await clb.add_backends(group, backends)
    await clb.update_backends(group, [replace(backends[0], weight=0, description="d")])

    (held,) = await clb.list_groups(made)
    assert {one.identity for one in held.backends} == {one.identity for one in backends}
    assert [one.weight for one in held.backends if one.weight != 100] == [0]

    await clb.remove_backends(group, backends)
    await clb.remove_backends(group, backends)
    (held,) = await clb.list_groups(made)
    assert held.backends == ()


async def test_a_clb_listener_is_found_as_it_was_wished_and_then_changed(clb, world):
    made = await clb.create_instance(wish_of(world), token=TOKEN)
    group = await clb.create_group(made, name="g")
    acl = await clb.create_access(name="ours", version=4)
    await clb.add_entries(acl, [f"10.{one}.0.0/16" for one in range(60)], "ours")
    wish = ListenerWish(
        protocol=TCP,
        port=80,
        group_id=group,
        description="d",
        forwarding=FORWARDING,
        access=AccessRule(acl_id=acl, is_allowed=True),
    )

    await clb.create_listener(made, wish)
    with pytest.raises(ConflictError):
        await clb.create_listener(made, wish)
    (found,) = await clb.list_listeners(made)
    assert (found.wish, found.is_running) == (wish, False)

    await clb.start_listener(made, TCP, 80)
    changed = replace(wish, access=None, forwarding=replace(FORWARDING, drain_s=None))
    await clb.update_listener(made, changed)
    (found,) = await clb.list_listeners(made)
    assert found.is_running
    assert found.wish.access is None
    assert found.wish.forwarding == changed.forwarding

    with pytest.raises(ConflictError):
        await clb.delete_group(group)
    await clb.delete_listener(made, TCP, 80)
    await clb.delete_listener(made, TCP, 80)
    await clb.delete_group(group)
    await clb.delete_group(group)
    assert len((await clb.describe_access(acl)).entries) == 60
    await clb.remove_entries(acl, ["10.0.0.0/16"])
    (access,) = await clb.list_access(name="ours")
    assert len(access.entries) == 59


async def test_clb_says_who_is_healthy(clb, world):
    made = await clb.create_instance(wish_of(world), token=TOKEN)
    group = await clb.create_group(made, name="g")
    backends = pod_backends(world, 2)
    await clb.add_backends(group, backends)
    await clb.create_listener(made, ListenerWish(protocol=TCP, port=80, group_id=group))
    await clb.start_listener(made, TCP, 80)
    keys = [(f"{made}/tcp/80", one.address, one.port) for one in backends]
    balancing = world.cloud.world.state.balancing

    assert {one.status for one in await clb.health(made, TCP, 80)} == {HealthStatus.UNKNOWN}
    balancing.health = HealthSeen(healthy=frozenset(keys[:1]), unhealthy=frozenset(keys[1:]))

    assert [(one.address, one.status) for one in await clb.health(made, TCP, 80)] == [
        (backends[0].address, HealthStatus.HEALTHY),
        (backends[1].address, HealthStatus.UNHEALTHY),
    ]


async def test_a_group_of_a_backend_that_is_no_address_of_its_eni_is_refused(clb, world):
    made = await clb.create_instance(wish_of(world), token=TOKEN)
    group = await clb.create_group(made, name="g")
    (first,) = pod_backends(world, 1)
    (other,) = pod_backends(world, 1)

    with pytest.raises(ConflictError):
        await clb.add_backends(group, [replace(first, address=other.address)])
    with pytest.raises(ConflictError):
        await clb.add_backends(ServerGroupId("rsp-gone"), [first])


async def test_an_nlb_instance_is_ready_after_a_while(nlb, world):
    wish = wish_of(world, ip_version="DualStack", is_internet=True)
    made = await nlb.create_instance(wish, token=TOKEN)

    assert await nlb.create_instance(wish, token=TOKEN) == made
    found = await nlb.describe_instance(made)
    assert not found.is_ready
    world.pass_time(5)
    (found,) = await nlb.list_instances(tags=(("cluster", "c1"),))
    assert found.is_ready
    assert [one.version for one in found.addresses] == [4, 4, 6]
    assert found.hostname.startswith(made)


async def test_an_nlb_group_takes_one_change_at_a_time(nlb, world):
    group, job = await nlb.create_group(
        name="g",
        vpc_id=world.vpc_id,
        protocol="TCP",
        of_addresses=False,
        is_dual_stack=False,
        forwarding=replace(FORWARDING, persistence_s=0),
        token=TOKEN,
    )
    backends = pod_backends(world, 2)

    assert not await nlb.is_done(job)
    with pytest.raises(TransientError):
        await nlb.add_backends(group, backends)
    world.pass_time(1)
    assert await nlb.is_done(job)
    await nlb.add_backends(group, backends)
    world.pass_time(1)
    with pytest.raises(ConflictError):
        await nlb.add_backends(group, backends)
    await nlb.update_backends(group, [replace(backends[0], weight=0)])
    world.pass_time(1)

    (held,) = await nlb.list_groups(ids=(group,))
    assert held.is_ready
    assert {one.identity for one in held.backends} == {one.identity for one in backends}
    assert held.forwarding == replace(FORWARDING, persistence_s=0)
    await nlb.remove_backends(group, backends)
    world.pass_time(1)
    with pytest.raises(ConflictError):
        await nlb.remove_backends(group, backends)
    await nlb.delete_group(group)
    await nlb.delete_group(group)


async def test_an_nlb_listener_names_who_is_not_healthy(nlb, world):
    made = await nlb.create_instance(wish_of(world), token=TOKEN)
    group, _ = await nlb.create_group(
        name="g",
        vpc_id=world.vpc_id,
        protocol="TCP",
        of_addresses=True,
        is_dual_stack=False,
        forwarding=Forwarding(),
        token=TOKEN,
    )
    world.pass_time(5)
    backends = [replace(one, eni_id=None) for one in pod_backends(world, 2)]
    await nlb.add_backends(group, backends)
    wish = ListenerWish(protocol=TCP, port=80, group_id=group, description="d")
    listener, job = await nlb.create_listener(made, wish, token=OTHER)
    with pytest.raises(ConflictError):
        await nlb.create_listener(made, wish, token=ClientToken("third"))
    world.pass_time(1)

    assert await nlb.is_done(job)
    (found,) = await nlb.list_listeners(made)
    assert (found.id, found.is_running, found.wish) == (listener, True, wish)
    assert len(await nlb.not_healthy(listener)) == 2
    keys = [(listener, one.address, one.port) for one in backends]
    world.cloud.world.state.balancing.health = HealthSeen(
        healthy=frozenset(keys[:1]), unhealthy=frozenset(keys[1:])
    )
    (sick,) = await nlb.not_healthy(listener)
    assert (sick.address, sick.status) == (backends[1].address, HealthStatus.UNHEALTHY)

    await nlb.delete_listener(listener)
    await nlb.delete_listener(listener)
    await nlb.protect(made, from_deletion=False, from_console=False)
    await nlb.delete_instance(made)
    await nlb.delete_instance(made)
