"""Where is room again in the limits of the cloud, and who is there that waits for it?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import structlog

from terway.controlplane.controller import Informers
from terway.controlplane.podenis.vswitches import VSwitches
from terway.controlplane.podenis.waiting import (
    Limit,
    Waiting,
    addresses_of,
    places_in,
    slots_at,
)
from terway.controlplane.watched import WATCHED_PODS
from terway.kube.crds import NetworkInterface
from terway.kube.resource import ObjectKey
from terway.kube.types import Node
from terway.model.errors import CapacityError, VpcError
from terway.model.ids import ENIId, InstanceId, VSwitchId
from terway.model.pod_network import PodNetwork
from terway.podeni.admission import ENI_RESOURCE, MEMBER_RESOURCE
from terway.podeni.record import Target

LOOK_EVERY_S = 10.0  # at vSwitches that somebody waits for: others give addresses back, too
_GROUP_FULL = "SecurityGroupInstanceLimitExceed"
_ITS_TRUNK = ENIId("the one")  # members are counted for the instance, which has one trunk
_log = structlog.get_logger("podenis")


class Room:
    """PodENIs that wait to have ENIs made, and ENIs that wait to be attached.

    `clock` is monotonic seconds. Newest pods go first, by when they were made.
    """

    def __init__(
        self, informers: Informers, vswitches: VSwitches, *, clock: Callable[[], float]
    ) -> None:
        self.creating = Waiting(clock)
        self.attaching = Waiting(clock)
        self._vswitches = vswitches
        self._pods = informers.of(WATCHED_PODS)

    def wait_to_create(
        self, key: ObjectKey, networks: Iterable[PodNetwork], error: CapacityError
    ) -> float:
        """Have a PodENI wait for what refused it; return for how many seconds at most."""
        limits = _refused(error, tuple(networks))
        return self.creating.hold(key, limits, since=self._since(key), for_s=error.retry_after_s)

    def wait_to_attach(
        self, found: NetworkInterface, target: Target, error: CapacityError
    ) -> float:
        """Have an ENI wait for a slot; return for how many seconds at most."""
        owner = found.spec.pod_eni_ref
        pod = ObjectKey(namespace=owner.namespace, name=owner.name) if owner else None
        key = ObjectKey(namespace="", name=found.metadata.name)
        return self.attaching.hold(
            key,
            (slots_at(target),),
            since="" if pod is None else self._since(pod),
            for_s=error.retry_after_s,
        )

    def _since(self, key: ObjectKey) -> str:
        pod = self._pods.objects.get(key)
        return (pod.metadata.creation_timestamp or "") if pod is not None else ""

    def detached(self, target: Target | None) -> None:
        """Note that an ENI is no more where it was."""
        if target is not None:
            self.attaching.freed(slots_at(target))

    def deleted(self, found: NetworkInterface) -> None:
        """Note that an ENI is gone."""
        vswitch_id = VSwitchId(found.spec.eni.vswitch_id)
        self._vswitches.give(vswitch_id)
        self.creating.freed(addresses_of(vswitch_id))
        for group_id in found.spec.eni.security_group_ids:
            self.creating.freed(places_in(group_id))

    def node_changed(self, old: Node | None, new: Node | None) -> None:
        """Note that a node has more room than before, if it has."""
        for target, more in _grown(old, new):
            self.attaching.freed(slots_at(target), more)

    async def watch(self) -> None:
        """Look at vSwitches that somebody waits for, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                left = await self._vswitches.look_again(self.creating.vswitches())
            except VpcError as error:
                _log.warning("podenis.vswitches_not_read", error=str(error))
                continue
            for vswitch_id, available in left.items():
                if available > 0:
                    self.creating.freed(addresses_of(vswitch_id), available)


def _grown(old: Node | None, new: Node | None) -> Iterator[tuple[Target, int]]:
    """Yield where on a node there is room for how many more than before."""
    if old is None or new is None:
        return
    instance_id = InstanceId(new.spec.provider_id.rpartition(".")[2])
    whole = Target(instance_id=instance_id)
    for resource, target in (
        (ENI_RESOURCE, whole),
        (MEMBER_RESOURCE, replace(whole, trunk_eni_id=_ITS_TRUNK)),
    ):
        more = _count(new, resource) - _count(old, resource)
        if more > 0:
            yield target, more


def _count(node: Node, resource: str) -> int:
    said = node.status.allocatable.get(resource, "0")
    return int(said) if said.isdecimal() else 0


def _refused(error: CapacityError, networks: tuple[PodNetwork, ...]) -> frozenset[Limit]:
    """Return which limits a refusal means of the ENIs of `networks`."""
    if error.code.startswith(_GROUP_FULL):
        return frozenset(places_in(one) for each in networks for one in each.security_group_ids)
    return frozenset(addresses_of(one) for each in networks for one in each.vswitch_ids)
