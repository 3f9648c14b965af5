"""Pods of every kind in one lab, and each of their interfaces as an end for packets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.model.address import Family, IPAddress, family_of
from tests.support.iproute import ip_in
from tests.support.podeni_lab import PodENILab, podeni_lab
from tests.support.policy_lab import PolicyLab
from tests.support.wires import End

POOL = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
TWO_SHARED = {
    "k8s.aliyun.com/pod-networks": json.dumps(
        {"podNetworks": [{"interface": "eth0"}, {"interface": "eth1"}]}
    )
}
NODE_OF = {
    "near": "node-1",
    "member": "node-1",
    "members": "node-1",
    "far": "node-2",
    "other": "node-2",
    "pair": "node-2",
    "whole": "eni-1",
    "wholes": "eni-1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An interface of a pod, with its addresses."""

    pod: PodHandle
    name: str
    addresses: Mapping[Family, IPAddress]

    def __str__(self) -> str:
        return f"{self.pod.name}.{self.name}"

    @property
    def is_first(self) -> bool:
        """Return whether Kubernetes knows the pod by its addresses."""
        return self.name == "eth0"

    def end(self, family: Family) -> End:
        """Return it as an end of wires."""
        return End(netns_path=self.pod.netns_path, address=self.addresses[family])


@dataclass(frozen=True, slots=True, kw_only=True)
class PodKinds:
    """The lab, its policies and its pods."""

    made: PodENILab
    policy: PolicyLab
    pods: Mapping[str, PodHandle]
    interfaces: tuple[Interface, ...]

    @property
    def is_ebpf(self) -> bool:
        """Return whether programs judge."""
        return self.policy.is_ebpf

    def interface(self, pod: str, name: str = "eth0") -> Interface:
        """Return an interface of a pod."""
        return next(one for one in self.interfaces if (one.pod.name, one.name) == (pod, name))

    def pairs(self) -> Iterator[tuple[Interface, Interface]]:
        """Yield all pairs of interfaces of different pods."""
        for one in self.interfaces:
            yield from ((one, other) for other in self.interfaces if other.pod is not one.pod)


async def interfaces_of(pod: PodHandle) -> list[Interface]:
    """Return the interfaces of a pod that its ENIs gave it."""
    found = []
    for link in await ip_in(pod, "address"):
        held = [
            ip_address(one["local"])
            for one in link["addr_info"]
            if one.get("local") and one["scope"] == "global"
        ]
        if link["ifname"].startswith("eth"):
            addresses = {family_of(one): one for one in held}
            found.append(Interface(pod=pod, name=link["ifname"], addresses=addresses))
    return found


@asynccontextmanager
async def open_pod_kinds(virtual_type: str) -> AsyncIterator[PodKinds]:
    """Open the lab with all its pods."""
    cni = {"eniip_virtual_type": virtual_type}
    is_ebpf = virtual_type == "datapathv2"
    async with podeni_lab(nodes=2, pools=(POOL,), cni=cni) as made:
        await asyncio.gather(made.add_trunk("node-1"), made.add_trunk("node-2"))
        pods = await _pods(made, is_ebpf=is_ebpf)
        listed = [await interfaces_of(one) for one in pods.values()]
        policy = PolicyLab(made.lab, is_ebpf=is_ebpf)
        await policy.in_force()
        yield PodKinds(
            made=made,
            policy=policy,
            pods=pods,
            interfaces=tuple(one for held in listed for one in held),
        )


async def _pods(made: PodENILab, *, is_ebpf: bool) -> dict[str, PodHandle]:
    counts = {"member": 1, "members": 2, "other": 1, "whole": 1, "wholes": 2}
    if is_ebpf:
        del counts["wholes"]  # programs inside pods see one ENI
    bound = {
        name: [await made.bind(NODE_OF[name]) for _ in range(count)]
        for name, count in counts.items()
    }
    found = await asyncio.gather(
        made.lab.pod("near", node="node-1"),
        made.lab.pod("far", node="node-2"),
        made.lab.pod("pair", node="node-2", annotations=TWO_SHARED),
        *(made.pod(name, NODE_OF[name], enis) for name, enis in bound.items()),
    )
    return {one.name: one for one in found}
