"""What when a member ENI has another VLAN id, while its pod runs?

    somebody detaches it at the cloud ─► the control plane attaches it again: PodENI, another id
                    watch of the node's PodENIs ─► journal ─► the trunk's programs, or the device

The journal first, as for everything: a terwayd that is killed in between finds the new id there,
and mends the kernel to it. A pod keeps addresses and connections: only its tag changes. The watch
is there while the node has members, and no longer.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Protocol

import structlog

from terway.agent.turns import Turns
from terway.datapath.trunk import has_vlan_device, members_among
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, Selector
from terway.kube.informer import Informer
from terway.linux.kernel import Kernel
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.model.network import NetObject
from terway.model.traffic import TrunkMember

if TYPE_CHECKING:
    from terway.kube.crds import PodENI

LOOK_EVERY_S = 5.0  # at whether there are members
NODE_LABEL = "k8s.aliyun.com/node"
_BOUND = "Bind"

_log = structlog.get_logger("podeni")


class Journal(Protocol):
    """Where attachments are kept."""

    def attachments(self) -> tuple[Attachment, ...]:
        """Return all of them."""

    async def change(self, attachment: Attachment) -> None:
        """Keep what has changed of one."""


class Network(Protocol):
    """The kernel's half of attachments."""

    def desired_node_of(self, attachment: Attachment) -> tuple[NetObject, ...]:
        """Return what the attachment has in the node's namespace."""

    async def detach(self, attachment: Attachment) -> None:
        """Remove what it has in the kernel."""

    async def mend(self, attachment: Attachment) -> bool:
        """Put right what is not as it should be."""


class Moves:
    """Has members follow their VLAN ids."""

    def __init__(
        self,
        client: KubeClient,
        node: NodeName,
        *,
        journal: Journal,
        network: Network,
        kernel: Kernel,
        turns: Turns,
    ) -> None:
        self._client = client
        self._node = node
        self._journal = journal
        self._network = network
        self._kernel = kernel
        self._turns = turns

    async def run(self) -> None:
        """Follow the node's PodENIs while there are members, until cancelled."""
        while True:
            if self._has_members():
                try:
                    await self._watch()
                except* VpcError as errors:
                    _log.warning("podeni.not_watched", error=str(errors.exceptions[0]))
            await asyncio.sleep(LOOK_EVERY_S)

    def _has_members(self) -> bool:
        return any(map(_is_member, self._journal.attachments()))

    async def _watch(self) -> None:
        from terway.kube.crds import POD_ENIS  # 1.3 MB, which a node without members spares

        informer = Informer(
            self._client,
            POD_ENIS,
            backoff=Backoff(Random()),  # noqa: S311 - waits are drawn from it, not secrets
            selector=Selector(labels=f"{NODE_LABEL}={self._node}"),
        )
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(informer.run(), name="PodENIs of the node")
            following = tasks.create_task(self._follow(informer), name="VLAN ids")
            while self._has_members():  # noqa: ASYNC110 - the journal tells nobody
                await asyncio.sleep(LOOK_EVERY_S)
            watching.cancel()
            following.cancel()

    async def _follow(self, informer: Informer[PodENI]) -> None:
        with informer.subscribe() as changes:
            async for change in changes:
                if change.new is not None:
                    await self.take(change.new)

    async def take(self, found: PodENI) -> None:
        """Have the members of a PodENI's pod follow what it says."""
        for one in self._journal.attachments():
            moved = moved_by(found, one)
            if moved is None:
                continue
            try:
                await self._move(one, moved)
            except VpcError as error:
                # The journal has the new id: the mender brings it into the kernel.
                _log.warning("podeni.not_moved", attachment=str(one.key), error=str(error))

    async def _move(self, old: Attachment, new: Attachment) -> None:
        async with self._turns.turn(old.owner):
            if old not in self._journal.attachments():
                return  # it has gone, or changed, meanwhile
            await self._journal.change(new)
            await self._change_kernel(old, new)
        own = new.spec.own_eni
        _log.info("podeni.moved", attachment=str(new.key), vlan_id=own.vlan_id if own else 0)

    async def _change_kernel(self, old: Attachment, new: Attachment) -> None:
        wanted = [one for one in self._network.desired_node_of(new) if isinstance(one, TrunkMember)]
        await self._kernel.know_members(wanted)
        if has_vlan_device(new):
            # A VLAN device's id cannot change: another takes its place, and its addresses.
            await self._network.detach(old)
            await self._network.mend(new)
        members = members_among(self._journal.attachments())
        await self._kernel.forget_other_members(members)


def moved_by(found: PodENI, attachment: Attachment) -> Attachment | None:
    """Return the attachment as a PodENI has it now, None where its VLAN id is the same.

    Only what is bound for the very pod, over the trunk that it is on, is followed.
    """
    pod, own = attachment.pod, attachment.spec.own_eni
    metadata, status = found.metadata, found.status
    if pod is None or own is None or own.trunk_mac is None or status.phase != _BOUND:
        return None
    if (metadata.namespace, metadata.name) != (pod.namespace, pod.name):
        return None
    info = status.eni_infos.get(attachment.lease.eni_id)
    uid = metadata.annotations.get("k8s.aliyun.com/pod-uid", "")
    if info is None or uid != pod.uid or info.vid in (0, own.vlan_id):
        return None
    return replace(
        attachment, spec=replace(attachment.spec, own_eni=replace(own, vlan_id=info.vid))
    )


def _is_member(one: Attachment) -> bool:
    return one.spec.own_eni is not None and one.spec.own_eni.trunk_mac is not None
