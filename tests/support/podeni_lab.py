"""PodENIs by hand in a lab: what the control plane would do, by the cloud's and Kubernetes' API."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from terway.cloud.ecs import EcsClient
from terway.controlplane.install import install_definitions, read_definitions
from terway.kube.crds import POD_ENIS, POD_UID
from terway.kube.resource import PODS
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle, pod_manifest
from terway.lab.world.waiting import PATIENCE_S
from terway.lab.world.zones import VSwitchPlan
from terway.model.eni import ENI, ENIStatus
from terway.model.ids import ClientToken, ENIId

OWN = VSwitchPlan(name="own", cidr=IPv4Network("192.168.128.0/24"))
NODE_LABEL = "k8s.aliyun.com/node"
TAGS = (("creator", "terway-controller"),)


@dataclass(slots=True, kw_only=True)
class PodENILab:
    """A lab, and who writes PodENIs in it. `trunks` are by node."""

    lab: Lab
    client: EcsClient
    trunks: dict[str, ENI] = field(default_factory=dict)

    async def create_eni(self, vswitch_id: Any, *, is_trunk: bool = False) -> ENI:
        """Create an ENI with an address of each family."""
        return await self.client.create_eni(
            vswitch_id=vswitch_id,
            security_group_ids=[self.lab.ground.security_group_id],
            ipv4_count=1,
            ipv6_count=1,
            is_trunk=is_trunk,
            tags=() if is_trunk else TAGS,
            token=ClientToken(uuid.uuid4().hex),
        )

    async def add_trunk(self, node: str) -> None:
        """Give a node a trunk."""
        made = await self.create_eni(self.lab.ground.pod_vswitch_id, is_trunk=True)
        await self.client.attach_eni(made.id, self.lab.instances[node].id)
        self.trunks[node] = await self.carried(made.id)

    async def bind(self, node: str, *, vswitch: str = "own") -> ENI:
        """Attach a new ENI to a node: to its trunk if it has one."""
        trunk = self.trunks.get(node)
        made = await self.create_eni(self.lab.ground.vswitch_ids[vswitch])
        trunk_id = None if trunk is None else trunk.id
        await self.client.attach_eni(made.id, self.lab.instances[node].id, trunk_id=trunk_id)
        return await self.carried(made.id)

    async def carried(self, eni_id: ENIId) -> ENI:
        """Wait until an ENI is InUse and the fabric carries it."""
        await self.reached(eni_id, ENIStatus.IN_USE)
        await self.lab.fabric.apply(self.lab.cloud.vpc_state())
        (found,) = await self.client.describe_enis(eni_ids=[eni_id])
        return found

    async def reached(self, eni_id: ENIId, status: ENIStatus) -> None:
        """Wait until an ENI is of a status."""
        changed = asyncio.Event()
        unsubscribe = self.lab.cloud.subscribe(changed.set)
        async with asyncio.timeout(PATIENCE_S):
            while self.lab.cloud.world.state.enis[eni_id].status is not status:
                changed.clear()
                await changed.wait()
        unsubscribe()

    async def pod(self, name: str, node: str, enis: Sequence[ENI], **more: Any) -> PodHandle:
        """Create a pod and, once it is there, its PodENI; return it when it is Ready."""
        said = {"k8s.aliyun.com/pod-eni": "true", **more.pop("annotations", {})}
        manifest = pod_manifest(name, namespace="default", node=node, annotations=said, **more)
        made = await self.lab.kube.create(PODS, manifest, namespace="default")
        await self.write(name, node, enis, uid=made.metadata.uid)
        return await self.lab.wait_pod(name)

    async def write(self, name: str, node: str, enis: Sequence[ENI], *, uid: str) -> None:
        """Write a PodENI that is bound."""
        allocations = [self._allocation(one, number) for number, one in enumerate(enis)]
        metadata = {
            "name": name,
            "namespace": "default",
            "labels": {NODE_LABEL: node},
            "annotations": {POD_UID: uid},
        }
        spec = {"allocations": allocations, "zone": self.lab.plan.zone_id}
        await self.lab.kube.create(
            POD_ENIS, {"metadata": metadata, "spec": spec}, namespace="default"
        )
        trunk = self.trunks.get(node)
        status = {
            "phase": "Bind",
            "instanceID": self.lab.instances[node].id,
            **({} if trunk is None else {"trunkENIID": trunk.id}),
            "eniInfos": {one.id: _info(one) for one in enis},
        }
        await self.lab.kube.patch(
            POD_ENIS, name, {"status": status}, namespace="default", subresource="status"
        )

    async def bind_again(self, name: str, node: str, eni: ENI) -> ENI:
        """Detach a pod's ENI as a person does, and attach it again; another has its id by then."""
        instance_id, trunk_id = self.lab.instances[node].id, self.trunks[node].id
        await self.client.detach_eni(eni.id, instance_id, trunk_id=trunk_id)
        await self.reached(eni.id, ENIStatus.AVAILABLE)
        await self.bind(node)
        await self.client.attach_eni(eni.id, instance_id, trunk_id=trunk_id)
        found = await self.carried(eni.id)
        status = {"eniInfos": {eni.id: _info(found)}}
        await self.lab.kube.patch(
            POD_ENIS, name, {"status": status}, namespace="default", subresource="status"
        )
        return found

    def _allocation(self, eni: ENI, number: int) -> dict[str, Any]:
        vswitch = self.lab.cloud.world.state.vswitches[eni.vswitch_id]
        return {
            "interface": f"eth{number}",
            "ipv4": str(eni.primary_ipv4),
            "ipv6": str(eni.ipv6[0]),
            "ipv4CIDR": str(vswitch.cidr),
            "ipv6CIDR": str(vswitch.ipv6_cidr),
            "eni": {"id": eni.id, "mac": eni.mac, "vSwitchID": eni.vswitch_id},
            "allocationType": {"type": "Elastic"},
        }


def _info(eni: ENI) -> dict[str, Any]:
    vid = {} if eni.vlan_id is None else {"vid": eni.vlan_id}
    return {"id": eni.id, "type": eni.type.value, "status": "Bind", **vid}


@asynccontextmanager
async def podeni_lab(**plan: Any) -> AsyncIterator[PodENILab]:
    """Open a lab whose API server knows our custom resources, and an own vSwitch."""
    name = f"t{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, vswitches=(OWN,), **plan) as lab:
        await install_definitions(lab.kube, read_definitions())
        yield PodENILab(lab=lab, client=inprocess_ecs_client(lab.cloud))
