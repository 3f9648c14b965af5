"""A small world in the emulated cloud, on a clock that tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from aiohttp import web

from terway.lab.cloud import provision
from terway.lab.cloud.cloud import Call, Cloud
from terway.lab.cloud.transitions import Delays
from terway.model.ids import InstanceId, SecurityGroupId, VpcId, VSwitchId, ZoneId

ECS, VPC, STS = "2014-05-26", "2016-04-28", "2015-04-01"
REGION = "cn-hangzhou"
ZONE = ZoneId("cn-hangzhou-i")
START = 1_790_000_000.0  # seconds since the epoch


class VirtualClock:
    """Time that moves when it is told to."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWorld:
    """One VPC, a node and a pod vSwitch, a security group, a running instance."""

    cloud: Cloud
    clock: VirtualClock
    vpc_id: VpcId
    node_vswitch: VSwitchId
    pod_vswitch: VSwitchId
    group: SecurityGroupId
    instance: provision.Instance

    @property
    def instance_id(self) -> InstanceId:
        return self.instance.id

    def pass_time(self, seconds: float = 60.0) -> None:
        """Move the clock and let happen what is due."""
        self.clock.now += seconds
        self.cloud.advance()

    def call(self, action: str, *, version: str = ECS, **parameters: str) -> dict[str, Any]:
        """Call an action as the owner; the body, whatever it says."""
        flat = {"RegionId": REGION, **parameters}
        return self.cloud.perform(Call(version=version, action=action, parameters=flat)).body

    def create_eni(self, **parameters: str) -> str:
        """Make an ENI in the pod vSwitch."""
        wanted = {"VSwitchId": self.pod_vswitch, "SecurityGroupId": self.group, **parameters}
        return str(self.call("CreateNetworkInterface", **wanted)["NetworkInterfaceId"])

    def attach(self, eni_id: str) -> dict[str, Any]:
        """Begin to attach an ENI to the instance."""
        return self.call(
            "AttachNetworkInterface", NetworkInterfaceId=eni_id, InstanceId=self.instance_id
        )

    def eni(self, eni_id: str) -> dict[str, Any]:
        """Describe one ENI."""
        return self.call("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=eni_id)


def make_world(
    *,
    pod_cidr: str = "192.168.32.0/19",
    instance_type: str = "ecs.g7.xlarge",
    role: str = "",
    hardened: bool = False,
    **options: Any,
) -> CloudWorld:
    """Return a world on a virtual clock; `options` are those of `Cloud`."""
    clock = VirtualClock()
    cloud = Cloud(clock=clock, **{"delays": Delays(), **options})
    vpc_id = provision.create_vpc(cloud, IPv4Network("192.168.0.0/16"), name="lab")
    node = provision.create_vswitch(
        cloud, vpc_id, IPv4Network("192.168.0.0/19"), zone_id=ZONE, ipv6_number=0
    )
    pod = provision.create_vswitch(
        cloud, vpc_id, IPv4Network(pod_cidr), zone_id=ZONE, ipv6_number=1
    )
    group = provision.create_security_group(cloud, vpc_id, name="nodes")
    instance = provision.run_instance(
        cloud,
        instance_type=instance_type,
        vswitch_id=node,
        security_group_ids=[group],
        name="node-1",
        role=role,
        hardened=hardened,
    )
    world = CloudWorld(
        cloud=cloud,
        clock=clock,
        vpc_id=vpc_id,
        node_vswitch=node,
        pod_vswitch=pod,
        group=group,
        instance=instance,
    )
    world.pass_time()
    return world


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port; its base URL."""
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
