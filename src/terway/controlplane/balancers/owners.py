"""Whose ENI is an address of? By the resources of nodes and pods, else by asking the cloud.

An answer is kept as long as the pod is behind the Service: an address changes its ENI only with its
pod.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from terway.controlplane.controller import Informers
from terway.controlplane.watched import WatchedPod
from terway.kube.crds import POD_ENIS, POOL_NODES, PodENI, PoolNode
from terway.kube.informer import Informer
from terway.kube.resource import ObjectKey
from terway.model.address import IPAddress
from terway.model.eni import ENI
from terway.model.ids import ENIId, VpcId


class AddressPort(Protocol):
    """The call of `terway.cloud.inspect.CloudInspector` that is made."""

    async def eni_of_address(self, vpc_id: VpcId, address: IPAddress) -> ENI | None:
        """Return the ENI that has an address, None when none in the VPC has it."""
        ...


class Owners:
    """Finds the ENIs of addresses."""

    def __init__(
        self,
        informers: Informers,
        cloud: AddressPort,
        *,
        vpc_id: VpcId,
    ) -> None:
        self._nodes: Informer[PoolNode] = informers.of(POOL_NODES)
        self._pod_enis: Informer[PodENI] = informers.of(POD_ENIS)
        self._cloud = cloud
        self._vpc_id = vpc_id
        # Of each Service, by address and the pod's uid.
        self._known: dict[ObjectKey, dict[tuple[IPAddress, str], ENIId]] = {}

    async def find(
        self, service: ObjectKey, addresses: Mapping[IPAddress, WatchedPod | None]
    ) -> dict[IPAddress, ENIId]:
        """Return the ENIs of the addresses behind a Service; of an address nobody knows, none.

        Raises as the cloud's client does.
        """
        before, known = self._known.get(service, {}), dict[tuple[IPAddress, str], ENIId]()
        found: dict[IPAddress, ENIId] = {}
        for address, pod in addresses.items():
            key = address, pod.metadata.uid if pod else ""
            eni_id = before.get(key) or self._told(address, pod)
            if eni_id is None:
                eni = await self._cloud.eni_of_address(self._vpc_id, address)
                eni_id = eni.id if eni is not None else None
            if eni_id is not None:
                found[address] = known[key] = eni_id
        self._known[service] = known
        return found

    def forget(self, service: ObjectKey) -> None:
        """Forget what was behind a Service that is none any more."""
        self._known.pop(service, None)

    def _told(self, address: IPAddress, pod: WatchedPod | None) -> ENIId | None:
        if pod is None:
            return None
        return next(self._of_pod(address, pod), None) or self._of_node(address, pod.spec.node_name)

    def _of_pod(self, address: IPAddress, pod: WatchedPod) -> Iterator[ENIId]:
        key = ObjectKey(namespace=pod.metadata.namespace, name=pod.metadata.name)
        found = self._pod_enis.objects.get(key)
        for one in found.spec.allocations if found is not None else ():
            if str(address) in (one.ipv4, one.ipv6):
                yield ENIId(one.eni.id)

    def _of_node(self, address: IPAddress, node_name: str) -> ENIId | None:
        node = self._nodes.get(node_name)
        if node is None:
            return None
        text = str(address)
        for eni_id, eni in node.status.network_interfaces.items():
            if text in eni.ipv4 or text in eni.ipv6:
                return ENIId(eni_id)
        return None
