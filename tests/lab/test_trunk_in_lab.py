"""A trunk by the cloud's API, in a lab: members carry packets, judged by groups of their own.

No agent is on the nodes: a guest as simple as can be has the member's pod.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from terway.cloud.ecs import EcsClient
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.provision import authorize, create_security_group
from terway.lab.vpc.state import Port
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import METADATA
from terway.lab.world.waiting import PATIENCE_S
from terway.lab.world.zones import VSwitchPlan
from terway.model.eni import ENI, ENIStatus, ENIType
from terway.model.ids import ClientToken, ENIId, InstanceId, SecurityGroupId
from tests.support.instances import Instance
from tests.support.trunk_guest import TrunkGuest, open_trunk

pytestmark = [pytest.mark.lab]

NODE = "node-1"
OWN = VSwitchPlan(name="own", cidr=IPv4Network("192.168.128.0/24"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkLab:
    """A lab of two nodes, the first of which has a trunk."""

    lab: Lab
    client: EcsClient
    trunk: ENI

    @property
    def instance_id(self) -> InstanceId:
        return self.lab.instances[NODE].id

    async def member(self, group: SecurityGroupId) -> ENI:
        """Make a member that is in one security group."""
        made = await self.client.create_eni(
            vswitch_id=self.lab.ground.vswitch_ids["own"],
            security_group_ids=[group],
            ipv4_count=1,
            ipv6_count=1,
            delete_on_release=False,
            token=ClientToken(uuid.uuid4().hex),
        )
        await self.client.attach_eni(made.id, self.instance_id, trunk_id=self.trunk.id)
        return await carried(self.lab, self.client, made.id)


async def until(lab: Lab, eni_id: ENIId, status: ENIStatus) -> None:
    """Wait until an ENI has a status."""
    changed = asyncio.Event()
    unsubscribe = lab.cloud.subscribe(changed.set)
    async with asyncio.timeout(PATIENCE_S):
        while lab.cloud.world.state.enis[eni_id].status is not status:
            changed.clear()
            await changed.wait()
    unsubscribe()


async def carried(lab: Lab, client: EcsClient, eni_id: ENIId) -> ENI:
    """Wait until an ENI is InUse and the fabric carries it."""
    await until(lab, eni_id, ENIStatus.IN_USE)
    await lab.fabric.apply(lab.cloud.vpc_state())
    (found,) = await client.describe_enis(eni_ids=[eni_id])
    return found


@asynccontextmanager
async def open_trunk_lab() -> AsyncIterator[TrunkLab]:
    name = f"t{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=2, agent=False, ready=False, vswitches=(OWN,)) as lab:
        client = inprocess_ecs_client(lab.cloud)
        made = await client.create_eni(
            vswitch_id=lab.ground.pod_vswitch_id,
            security_group_ids=[lab.ground.security_group_id],
            ipv4_count=1,
            is_trunk=True,
            token=ClientToken("trunk"),
        )
        await client.attach_eni(made.id, lab.instances[NODE].id)
        trunk = await carried(lab, client, made.id)
        yield TrunkLab(lab=lab, client=client, trunk=trunk)


def join(made: TrunkLab, guest: TrunkGuest, eni: ENI) -> Instance:
    """Return a pod that has the member."""
    vswitches = made.lab.cloud.vpc_state().vswitches
    vswitch = next(one for one in vswitches if one.id == eni.vswitch_id)
    return guest.join(port_of(made.lab, eni.id), vswitch=vswitch)


def port_of(lab: Lab, eni_id: ENIId) -> Port:
    return next(port for port in lab.cloud.vpc_state().ports if port.eni_id == eni_id)


def guest_of(made: TrunkLab, folder: Path):
    """Open the trunk's side in the node; the kernel leaves the link down."""
    trunk = port_of(made.lab, made.trunk.id)
    node = Instance(id=trunk.instance_id, netns=made.lab.node(NODE).netns_path)
    node.ip(f"link set {trunk.ifname} up")
    return open_trunk(node, trunk, folder)


@pytest.fixture
async def made() -> AsyncIterator[TrunkLab]:
    async with open_trunk_lab() as opened:
        yield opened


async def test_members_are_let_in_by_a_rule_that_names_the_group_of_another_member(made, tmp_path):
    lab = made.lab
    callers, guarded, others = (
        create_security_group(lab.cloud, lab.ground.vpc_id, name=name)
        for name in ("callers", "guarded", "others")
    )
    rule = {"IpProtocol": "ALL", "PortRange": "-1/-1", "SourceGroupId": callers}
    authorize(lab.cloud, guarded, rule)
    server, caller, other = [await made.member(one) for one in (guarded, callers, others)]
    assert [one.type for one in (server, caller, other)] == [ENIType.MEMBER] * 3
    assert [one.vlan_id for one in (server, caller, other)] == [1, 2, 3]

    with guest_of(made, tmp_path) as guest:
        join(made, guest, server)
        let_in, kept_out = join(made, guest, caller), join(made, guest, other)

        assert let_in.can_reach(server.primary_ipv4)
        assert let_in.can_reach(server.ipv6[0])
        assert not kept_out.can_reach(server.primary_ipv4, within_s=1)

        await made.client.set_security_groups(other.id, [others, callers])
        await lab.fabric.apply(lab.cloud.vpc_state())
        assert kept_out.can_reach(server.primary_ipv4)


async def test_a_members_pod_reads_what_its_instance_is(made, tmp_path):
    eni = await made.member(made.lab.ground.security_group_id)

    with guest_of(made, tmp_path) as guest:
        pod = join(made, guest, eni)
        url = f"http://{METADATA}/latest/meta-data"
        seen = await asyncio.to_thread(pod.run, "curl", "-sfm", "5", f"{url}/instance-id")
        macs = await asyncio.to_thread(
            pod.run, "curl", "-sfm", "5", f"{url}/network/interfaces/macs/"
        )

    assert seen.stdout == made.instance_id
    assert made.trunk.mac in macs.stdout
    assert eni.mac not in macs.stdout


async def test_a_members_addresses_move_with_it_to_another_node(made, tmp_path):
    lab, client = made.lab, made.client
    eni = await made.member(lab.ground.security_group_id)
    there = lab.instances["node-2"].id
    other = await client.create_eni(
        vswitch_id=lab.ground.pod_vswitch_id,
        security_group_ids=[lab.ground.security_group_id],
        ipv4_count=1,
        is_trunk=True,
        token=ClientToken("other"),
    )
    await client.attach_eni(other.id, there)
    await carried(lab, client, other.id)

    await client.detach_eni(eni.id, made.instance_id, trunk_id=made.trunk.id)
    await until(lab, eni.id, ENIStatus.AVAILABLE)
    await client.attach_eni(eni.id, there, trunk_id=other.id)
    moved = await carried(lab, client, eni.id)

    assert (moved.mac, moved.ipv4, moved.ipv6) == (eni.mac, eni.ipv4, eni.ipv6)
    assert (moved.instance_id, moved.trunk_eni_id) == (there, other.id)
