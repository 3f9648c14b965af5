"""A terwayd over the emulated cloud and the real kernel: no fabric, no HTTP, no Kubernetes API.

The cloud's ENIs are plugged into the test's own network namespace as they are attached, beside
the node that `kernel_node` builds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from terway.agent.interfaces import InterfacePolicy
from terway.agent.node_facts import read_node_facts
from terway.agent.paths import Paths, paths_under
from terway.agent.terwayd import Setup, Terwayd
from terway.ipam.settings import PoolConfig
from terway.lab.cloud import provision
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.openapi_http import running
from terway.lab.cloud.transitions import Delays
from terway.linux.kernel import open_kernel
from terway.model.address import Family
from terway.model.errors import TransientError
from terway.model.ids import ENIId, InstanceId, SecurityGroupId, VSwitchId, ZoneId
from terway.model.interface import Mode
from terway.store.sqlite import open_store
from tests.support.cni import Node
from tests.support.kernel_node import KernelNode

ZONE = ZoneId("cn-hangzhou-i")
BOTH = (Family.V4, Family.V6)
CONFLIST = b'{"cniVersion":"1.1.0","name":"terway","plugins":[{"type":"terway"}]}\n'
FAST = Delays(attach_s=0.02, detach_s=0.02, delete_s=0.02, start_s=0.0, stop_s=0.0)


@dataclass
class EmulatedCloud:
    """A cloud with one instance, whose ENIs are plugged into a `KernelNode`."""

    cloud: Cloud
    vswitch: VSwitchId
    group: SecurityGroupId
    instance_id: InstanceId
    machine: KernelNode
    plugged: dict[ENIId, str] = field(default_factory=dict)

    def plug(self) -> None:
        """Make the node's links those of the ENIs that the instance has now."""
        ports = {
            port.eni_id: port
            for port in self.cloud.vpc_state().ports
            if port.instance_id == self.instance_id and port.ifname != "eth0"
        }
        for eni_id in self.plugged.keys() - ports.keys():
            self.machine.unplug(self.plugged.pop(eni_id))
        for eni_id in ports.keys() - self.plugged.keys():
            self.plugged[eni_id] = ports[eni_id].ifname
            self.machine.plug(ports[eni_id].ifname, ports[eni_id].mac, *self.gateways())

    def gateways(self) -> tuple[str, ...]:
        """The router's addresses in the pods' vSwitch."""
        (vswitch,) = (v for v in self.cloud.vpc_state().vswitches if v.id == self.vswitch)
        assert vswitch.ipv6_cidr is not None
        return str(vswitch.cidr[-3]), str(vswitch.ipv6_cidr[-3])

    def pool_config(self, **changes: Any) -> PoolConfig:
        config = PoolConfig(
            instance_id=self.instance_id,
            zone_id=ZONE,
            families=BOTH,
            vswitch_ids=(self.vswitch,),
            security_group_ids=(self.group,),
            eni_slots=3,
            max_enis=3,
            ipv4_per_eni=15,
            ipv6_per_eni=15,
            token_seed=str(time.time_ns()),
            coalesce_s=0.005,
            cooldown_s=0.0,
            settle_s=0.1,
            detach_s=0.1,
            calls_per_s=1000.0,
            call_burst=1000.0,
        )
        return replace(config, **changes)


@asynccontextmanager
async def emulated_cloud(machine: KernelNode, **options: Any) -> AsyncIterator[EmulatedCloud]:
    """Let a cloud run for the block."""
    cloud = Cloud(clock=time.time, **{"delays": FAST, "rates": {}, **options})
    vpc = provision.create_vpc(cloud, IPv4Network("192.168.0.0/16"))
    nodes = provision.create_vswitch(
        cloud, vpc, IPv4Network("192.168.0.0/19"), zone_id=ZONE, ipv6_number=0
    )
    pods = provision.create_vswitch(
        cloud, vpc, IPv4Network("192.168.32.0/19"), zone_id=ZONE, ipv6_number=1
    )
    group = provision.create_security_group(cloud, vpc, name="nodes")
    instance = provision.run_instance(
        cloud, instance_type="ecs.g7.xlarge", vswitch_id=nodes, security_group_ids=[group]
    )
    world = EmulatedCloud(
        cloud=cloud, vswitch=pods, group=group, instance_id=instance.id, machine=machine
    )
    cloud.advance()
    forget = cloud.subscribe(world.plug)
    try:
        async with running(cloud):
            yield world
    finally:
        forget()


@dataclass
class Daemon:
    """A terwayd that runs in the test's process, and a way to run the plugin before it."""

    terwayd: Terwayd
    node: Node
    paths: Paths


class AwayCloud:
    """A cloud that answers nothing."""

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object, **__: object) -> None:
            raise TransientError(f"{name}: the cloud cannot be reached")

        return refuse


@asynccontextmanager
async def in_process_terwayd(
    world: EmulatedCloud,
    folder: Path,
    *,
    cloud: Any = None,
    mode: Mode = Mode.VETH,
    **pool_changes: Any,
) -> AsyncIterator[Daemon]:
    """Run terwayd for the block, on the journal that is in `folder`; it serves on entry.

    `cloud` takes the place of the client of `world`; `mode` is that of pods to come.
    """
    paths = paths_under(folder)
    paths.make_folders()
    setup = Setup(
        pool=world.pool_config(**pool_changes),
        conflist=CONFLIST,
        readonly_listen=f"unix://{paths.run_dir}/eni_debug.socket",
        interfaces=InterfacePolicy(mode=mode),
    )
    stop = asyncio.Event()
    with ExitStack() as stack:
        store = stack.enter_context(open_store(paths.journal))
        async with open_kernel() as kernel:
            facts = await read_node_facts(kernel, BOTH, mtu_bytes=1500)
            held = (await store.load()).attachments
            has_children = Mode.IPVLAN in (mode, *(one.spec.mode for one in held))
            terwayd = Terwayd(
                setup,
                paths=paths,
                kernel=kernel,
                store=store,
                cloud=cloud or inprocess_ecs_client(world.cloud),
                kube=None,
                facts=replace(facts, has_children=has_children),
                stop=stop,
            )
            async with asyncio.TaskGroup() as tasks:
                running_terwayd = tasks.create_task(terwayd.run())
                ready = tasks.create_task(terwayd.ready.wait())
                await asyncio.wait((running_terwayd, ready), return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
                node = Node(folder=paths.run_dir, spool_folder=paths.spool)
                yield Daemon(terwayd=terwayd, node=node, paths=paths)
                stop.set()
