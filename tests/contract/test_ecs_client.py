"""What every client of the cloud promises to the agent: over HTTP, signed, and in process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import pytest

from terway.cloud.credentials import Credentials, StaticCredentials
from terway.cloud.ecs import EcsClient
from terway.cloud.openapi import OpenAPI, open_session
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.model.eni import ENIStatus, ENIType
from terway.model.errors import (
    CapacityError,
    ConflictError,
    ThrottledError,
    TransientError,
    UsageError,
)
from terway.model.ids import ClientToken, ENIId, RegionId, SecurityGroupId, VSwitchId
from tests.support.cloud_world import REGION, make_world, serving

TOKEN = ClientToken("11111111-2222-3333-4444-555555555555")
OTHER_TOKEN = ClientToken("66666666-2222-3333-4444-555555555555")


@asynccontextmanager
async def over_http(world):
    key = world.cloud.world.keyring.create_key("agent")
    keys = Credentials(access_key_id=key.id, access_key_secret=key.secret)
    async with serving(create_openapi_app(world.cloud)) as url, open_session() as session:
        yield EcsClient(
            OpenAPI(session, StaticCredentials(keys), now=world.clock),
            region_id=RegionId(REGION),
            ecs_endpoint=url,
            vpc_endpoint=url,
        )


@asynccontextmanager
async def in_process(world):
    yield inprocess_ecs_client(world.cloud)


@pytest.fixture
def world():
    return make_world()


@pytest.fixture(params=[over_http, in_process])
async def client(request, world):
    async with request.param(world) as client:
        yield client


async def create(client, world, *, token=TOKEN, **more):
    wanted = {"vswitch_id": world.pod_vswitch, "ipv4_count": 3, "ipv6_count": 2, **more}
    return await client.create_eni(security_group_ids=[world.group], token=token, **wanted)


async def attached(client, world, **more):
    eni = await create(client, world, **more)
    await client.attach_eni(eni.id, world.instance_id)
    world.pass_time()
    return eni


async def test_a_new_eni_has_what_was_asked_for(client, world):
    eni = await create(
        client, world, tags=[("creator", "terway")], description="interface create by terway"
    )

    assert eni.status is ENIStatus.AVAILABLE
    assert eni.type is ENIType.SECONDARY
    assert (len(eni.ipv4), len(eni.ipv6)) == (3, 2)
    assert eni.primary_ipv4 == eni.ipv4[0]
    assert eni.security_group_ids == (world.group,)
    assert eni.tags == (("creator", "terway"),)
    (described,) = await client.describe_enis(eni_ids=[eni.id])
    assert described.ipv4 == eni.ipv4
    assert described.ipv6 == eni.ipv6
    assert described.mac == eni.mac
    assert described.description == "interface create by terway"


async def test_a_member_is_found_with_its_trunk_and_vlan_id_and_detached_with_its_addresses(
    client, world
):
    trunk = await attached(client, world, is_trunk=True)
    wanted = {"delete_on_release": False, "tags": [("creator", "terway-controller")]}
    eni = await create(client, world, token=OTHER_TOKEN, **wanted)
    assert trunk.type is ENIType.TRUNK

    await client.attach_eni(eni.id, world.instance_id, trunk_id=trunk.id)

    world.pass_time()
    (member,) = await client.describe_enis(type=ENIType.MEMBER, vpc_id=world.vpc_id)
    assert (member.id, member.status) == (eni.id, ENIStatus.IN_USE)
    assert (member.trunk_eni_id, member.vlan_id) == (trunk.id, 1)
    assert (member.instance_id, member.zone_id) == (world.instance_id, eni.zone_id)
    assert member.delete_on_release is False
    by_tag = await client.describe_enis(tags=[("creator", "terway-controller")])
    of_instance = await client.describe_enis(instance_id=world.instance_id)
    assert by_tag == (member,)
    assert member in of_instance

    await client.detach_eni(eni.id, world.instance_id, trunk_id=trunk.id)

    world.pass_time()
    (found,) = await client.describe_enis(eni_ids=[eni.id])
    assert (found.status, found.type) == (ENIStatus.AVAILABLE, ENIType.SECONDARY)
    assert (found.trunk_eni_id, found.vlan_id, found.instance_id) == (None, None, None)
    assert (found.mac, found.ipv4, found.ipv6) == (member.mac, member.ipv4, member.ipv6)


async def test_a_trunk_with_members_is_a_conflict_and_a_member_too_many_no_capacity(client, world):
    trunk = await attached(client, world, is_trunk=True)
    most = 16  # of ecs.g7.xlarge: EniTotalQuantity 20, EniQuantity 4
    made = [await create(client, world, token=ClientToken(f"m-{n}")) for n in range(most + 1)]
    for eni in made[:most]:
        await client.attach_eni(eni.id, world.instance_id, trunk_id=trunk.id)

    with pytest.raises(CapacityError):
        await client.attach_eni(made[most].id, world.instance_id, trunk_id=trunk.id)
    with pytest.raises(ConflictError):
        await client.detach_eni(trunk.id, world.instance_id)


async def test_the_same_token_makes_one_eni(client, world):
    first, second = await create(client, world), await create(client, world)

    assert first == second


async def test_another_token_makes_another_eni(client, world):
    first = await create(client, world)
    second = await create(client, world, token=OTHER_TOKEN)

    assert first.id != second.id


async def test_a_token_for_other_parameters_is_a_conflict(client, world):
    """Bug class 13."""
    await create(client, world)

    with pytest.raises(ConflictError) as caught:
        await create(client, world, ipv4_count=4)
    assert caught.value.code == "IdempotentParameterMismatch"


async def test_a_lost_reply_is_transient_and_the_token_finds_the_eni(client, world):
    world.cloud.faults.add(Fault(action="CreateNetworkInterface", loses_reply=True))
    with pytest.raises(TransientError):
        await create(client, world)

    eni = await create(client, world)

    listed = await client.describe_enis(type=ENIType.SECONDARY)
    assert [other.id for other in listed] == [eni.id]


async def test_a_burnt_token_is_a_conflict(client, world):
    world.cloud.faults.add(
        Fault(action="CreateNetworkInterface", code="InternalError", burns_token=True)
    )
    with pytest.raises(TransientError):
        await create(client, world)

    with pytest.raises(ConflictError) as caught:
        await create(client, world)
    assert caught.value.code == "IdempotentFailed"


async def test_attaching_takes_a_while(client, world):
    eni = await create(client, world)

    await client.attach_eni(eni.id, world.instance_id)

    (during,) = await client.describe_enis(eni_ids=[eni.id])
    assert during.status is ENIStatus.ATTACHING
    world.pass_time()
    found = await client.describe_enis(instance_id=world.instance_id, status=ENIStatus.IN_USE)
    assert {other.id for other in found} == {eni.id, world.instance.primary_eni_id}


async def test_a_full_instance_is_a_capacity_error(client, world):
    for number in range(3):
        await attached(client, world, token=ClientToken(f"token-{number}"))
    fourth = await create(client, world)

    with pytest.raises(CapacityError) as caught:
        await client.attach_eni(fourth.id, world.instance_id)
    assert caught.value.code == "EniPerInstanceLimitExceeded"


async def test_assigned_addresses_are_on_the_eni(client, world):
    eni = await attached(client, world)

    v4 = await client.assign_ipv4(eni.id, 5, token=TOKEN)
    v6 = await client.assign_ipv6(eni.id, 4, token=TOKEN)

    (described,) = await client.describe_enis(eni_ids=[eni.id])
    assert described.ipv4 == eni.ipv4 + v4
    assert described.ipv6 == eni.ipv6 + v6
    assert len(v4) == 5
    assert len(v6) == 4


async def test_the_same_token_assigns_once(client, world):
    eni = await attached(client, world)

    first = await client.assign_ipv4(eni.id, 2, token=TOKEN)
    second = await client.assign_ipv4(eni.id, 2, token=TOKEN)

    assert first == second
    (described,) = await client.describe_enis(eni_ids=[eni.id])
    assert len(described.ipv4) == 5


async def test_more_addresses_than_the_type_allows_is_a_capacity_error(client, world):
    eni = await attached(client, world)

    with pytest.raises(CapacityError) as caught:
        await client.assign_ipv4(eni.id, 13, token=TOKEN)
    assert caught.value.code == "InvalidOperation.Ipv4CountExceeded"


async def test_unassigning_takes_what_is_there_and_ignores_what_is_gone(client, world):
    eni = await attached(client, world)
    given = await client.assign_ipv4(eni.id, 2, token=TOKEN)
    await client.unassign_ipv4(eni.id, given[:1])

    await client.unassign_ipv4(eni.id, given)
    await client.unassign_ipv6(eni.id, eni.ipv6)
    await client.unassign_ipv6(eni.id, eni.ipv6)

    (described,) = await client.describe_enis(eni_ids=[eni.id])
    assert described.ipv4 == eni.ipv4
    assert described.ipv6 == ()


async def test_unassigning_nothing_asks_nothing(client, world):
    with world.cloud.calls.recording() as calls:
        await client.unassign_ipv4(ENIId("eni-x"), [])

    assert calls.count() == 0


async def test_prefixes_come_and_go_like_addresses(client, world):
    eni = await create(client, world, ipv4_count=1, ipv6_count=0, ipv4_prefixes=1, ipv6_prefixes=1)
    again = await create(
        client, world, ipv4_count=1, ipv6_count=0, ipv4_prefixes=1, ipv6_prefixes=1
    )
    more = await client.assign_ipv4_prefixes(eni.id, 2, token=OTHER_TOKEN)
    assert await client.assign_ipv4_prefixes(eni.id, 2, token=OTHER_TOKEN) == more
    more6 = await client.assign_ipv6_prefixes(eni.id, 1, token=ClientToken("third"))

    (shown,) = await client.describe_enis(eni_ids=[eni.id])
    assert again == eni
    assert shown.ipv4_prefixes == (*eni.ipv4_prefixes, *more)
    assert shown.ipv6_prefixes == (*eni.ipv6_prefixes, *more6)
    assert {one.prefixlen for one in shown.ipv4_prefixes} == {28}
    assert {one.prefixlen for one in shown.ipv6_prefixes} == {80}

    await client.unassign_ipv4_prefixes(eni.id, more[:1])
    await client.unassign_ipv4_prefixes(eni.id, more)  # one of them is gone already
    await client.unassign_ipv6_prefixes(eni.id, more6)
    (shown,) = await client.describe_enis(eni_ids=[eni.id])
    assert shown.ipv4_prefixes == eni.ipv4_prefixes
    assert shown.ipv6_prefixes == eni.ipv6_prefixes


async def test_an_eni_changes_its_security_groups_as_a_whole(client, world):
    eni = await create(client, world)
    made = world.call("CreateSecurityGroup", VpcId=world.vpc_id, SecurityGroupName="other")
    other = SecurityGroupId(made["SecurityGroupId"])

    await client.set_security_groups(eni.id, [other])

    (shown,) = await client.describe_enis(eni_ids=[eni.id])
    assert shown.security_group_ids == (other,)


async def test_an_eni_for_rdma_shows_itself_as_such(client, world):
    eni = await create(client, world, is_erdma=True)

    (shown,) = await client.describe_enis(eni_ids=[eni.id])
    assert shown.traffic_mode == "HighPerformance"


async def test_what_is_gone_is_done(client, world):
    gone = ENIId("eni-bp1gone")

    await client.unassign_ipv4(gone, [IPv4Address("192.168.32.9")])
    await client.detach_eni(gone, world.instance_id)
    await client.delete_eni(gone)


async def test_an_eni_goes_by_detach_and_delete(client, world):
    eni = await attached(client, world)

    await client.detach_eni(eni.id, world.instance_id)
    with pytest.raises(ConflictError):
        await client.delete_eni(eni.id)
    world.pass_time()
    await client.delete_eni(eni.id)
    world.pass_time()

    assert await client.describe_enis(eni_ids=[eni.id]) == ()


async def test_all_pages_are_read(client, world):
    world.cloud.throttle.rates.clear()
    wanted = [await create(client, world, token=ClientToken(f"t{n}")) for n in range(120)]

    found = await client.describe_enis(eni_ids=[eni.id for eni in wanted], type=ENIType.SECONDARY)

    assert {eni.id for eni in found} == {eni.id for eni in wanted}


async def test_tags_select_enis(client, world):
    mine = await create(client, world, tags=[("creator", "terway")])
    await create(client, world, token=OTHER_TOKEN, tags=[("creator", "somebody")])

    found = await client.describe_enis(tags=[("creator", "terway")])

    assert [eni.id for eni in found] == [mine.id]


async def test_vswitches_show_their_free_addresses(client, world):
    (before,) = await client.describe_vswitches([world.pod_vswitch])
    await create(client, world)
    (after,) = await client.describe_vswitches([world.pod_vswitch])

    assert before.available_ip_count == 8192 - 4
    assert after.available_ip_count == before.available_ip_count - 3
    assert str(after.cidr) == "192.168.32.0/19"
    assert after.ipv6_cidr is not None


async def test_a_vswitch_that_is_not_there_is_left_out(client, world):
    assert await client.describe_vswitches([VSwitchId("vsw-gone")]) == ()


async def test_a_security_group_that_is_not_there_is_left_out(client, world):
    ids = [SecurityGroupId(world.group), SecurityGroupId("sg-gone")]

    assert await client.existing_security_groups(ids) == {world.group}


async def test_instance_types_have_their_limits(client, world):
    (limits,) = await client.describe_instance_types(["ecs.g7.xlarge", "ecs.no.such"])

    assert limits.eni_quantity == 4
    assert limits.eni_private_ip_address_quantity == 15
    assert limits.eni_ipv6_address_quantity == 15
    assert limits.eni_trunk_supported
    assert limits.eni_total_quantity == 20


async def test_a_full_vswitch_is_a_capacity_error(client, world):
    world.call(
        "CreateVSwitch",
        version="2016-04-28",
        VpcId=world.vpc_id,
        ZoneId="cn-hangzhou-i",
        CidrBlock="192.168.255.0/29",
        VSwitchName="small",
    )
    listed = world.call("DescribeVSwitches", version="2016-04-28", VSwitchName="small")
    small = VSwitchId(listed["VSwitches"]["VSwitch"][0]["VSwitchId"])

    with pytest.raises(CapacityError) as caught:
        await create(client, world, vswitch_id=small, ipv4_count=5, ipv6_count=0)
    assert caught.value.code == "InvalidVSwitchId.IpNotEnough"


async def test_a_wrong_security_group_is_a_usage_error_with_a_remedy(client, world):
    with pytest.raises(UsageError, match="security_groups in eni_conf") as caught:
        await client.create_eni(
            vswitch_id=world.pod_vswitch,
            security_group_ids=[SecurityGroupId("sg-gone")],
            ipv4_count=1,
            token=TOKEN,
        )
    assert "RequestId" in str(caught.value)


async def test_too_many_calls_are_throttled(client, world):
    world.cloud.throttle.rates["DescribeVSwitches"] = 2

    with pytest.raises(ThrottledError) as caught:
        await client.describe_vswitches([world.pod_vswitch] * 3)
    assert caught.value.code == "Throttling.User"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InternalError", 500, TransientError),
        ("ServiceUnavailable", 503, TransientError),
        ("Operation.Conflict", 403, TransientError),
        ("Throttling", 400, ThrottledError),
        ("QuotaExceeded.PrivateIpAddress", 403, CapacityError),
        ("InvalidOperation.InvalidEniState", 400, ConflictError),
        ("Forbidden.RAM", 403, UsageError),
    ],
)
async def test_codes_become_classes(client, world, code, status, kind):
    world.cloud.faults.add(Fault(code=code, status=status))

    with pytest.raises(kind) as caught:
        await client.describe_enis()
    assert caught.value.code == code
