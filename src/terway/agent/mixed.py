"""How does a node whose pods share ENIs have pods with a device of their own beside them?

    most pods     a veth, and an address of a shared ENI           KernelNetwork
    some pods     a device and a second leg: a whole ENI, or a     ExclusiveNetwork
                  member of the trunk behind a VLAN device

An attachment says which it is (`InterfaceSpec.mode`). Second legs are told from shared pods' links
by their group, so that translation for the ones is none of the others' business.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

import structlog

from terway.agent.devices import DeviceLinks
from terway.agent.enis import ENILinks
from terway.agent.exclusive import ExclusiveNetwork
from terway.agent.links import AttachedLinks
from terway.agent.network import KernelNetwork
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.masquerade import TABLE, masquerade, way_back
from terway.datapath.trunk import has_vlan_device
from terway.linux.kernel import Kernel
from terway.linux.nftables import OwnedTable
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.errors import VpcError
from terway.model.ids import MacAddress
from terway.model.interface import Mode
from terway.model.network import NODE, AttachmentState, Link, NetObject, Operation, Put

_log = structlog.get_logger("mixed")


def has_device(attachment: Attachment) -> bool:
    """Return whether the pod has a device of its own, and a second leg."""
    return attachment.spec.mode is Mode.EXCLUSIVE


class MixedLinks(DeviceLinks):
    """The ENIs that pods share, and the devices of those that a pod has whole."""

    @property
    def ready(self) -> tuple[ENILink, ...]:
        """Return the links of shared ENIs that are configured and still there."""
        return tuple(one for one in self._ready_links() if one.mac not in self._whole())

    async def link_of(self, mac: MacAddress) -> ENILink:
        """Return the link of a shared ENI, configured; or the device of a whole one."""
        if mac in self._whole():
            return await super().link_of(mac)
        return await ENILinks.link_of(self, mac)

    async def refresh(self, macs: Iterable[MacAddress]) -> dict[MacAddress, VpcError]:
        """Look for the links and devices of `macs`; return why the others are not there."""
        whole, wanted = self._whole(), tuple(macs)
        shared = await ENILinks.refresh(self, [one for one in wanted if one not in whole])
        return {**shared, **await super().refresh([one for one in wanted if one in whole])}

    async def _configure(self, link: Link) -> ENILink:
        if link.mac in self._whole():
            return await super()._configure(link)
        return await ENILinks._configure(self, link)

    def _whole(self) -> frozenset[MacAddress]:
        held = (one for one in self._attachments() if has_device(one))
        return frozenset(one.lease.eni_mac for one in held if not has_vlan_device(one))


class MixedNetwork(ExclusiveNetwork):
    """Attachments in the kernel of a node whose pods share ENIs, but for some."""

    def __init__(self, kernel: Kernel, node: NodeFacts, enis: MixedLinks) -> None:
        super().__init__(kernel, node, enis, has_host_peer=True)
        self._table = OwnedTable(TABLE, masquerade(node, is_shared=True))
        self._has_legs = False

    async def prepare(self) -> None:
        """Make the node forward packets."""
        await KernelNetwork.prepare(self)

    async def settings_differ(self) -> bool:
        """Return whether a setting, or what the node translates, is not as it should be."""
        if self._has_legs:
            return await super().settings_differ()
        return await KernelNetwork.settings_differ(self)

    async def sweep(
        self,
        attachments: Callable[[], Iterable[Attachment]],
        busy: Callable[[], Container[AttachmentKey]],
    ) -> tuple[Operation, ...]:
        """Put the node's namespace in order, and what it translates where there is a leg."""
        if not self._has_legs and any(map(has_device, attachments())):
            await self._translate()
        if self._has_legs:
            return await super().sweep(attachments, busy)
        return await KernelNetwork.sweep(self, attachments, busy)

    async def attach(self, attachment: Attachment, *, mtu_bytes: int | None) -> AttachedLinks:
        """Make the kernel as the attachment wants it, whatever it was."""
        if not has_device(attachment):
            return await KernelNetwork.attach(self, attachment, mtu_bytes=mtu_bytes)
        if not self._has_legs:
            await self._translate()
        return await super().attach(attachment, mtu_bytes=mtu_bytes)

    async def _translate(self) -> None:
        """Have what legs bring translated, before the first is there.

        Where the pods' own programs lead to services, nothing has to be, and a kernel without
        nftables will do: what a leg brings all the same leaves with an address that the VPC drops.
        """
        try:
            await self._kernel.ensure_table(self._table)
        except VpcError as error:
            if not self._node.has_services:
                raise
            _log.warning("mixed.not_translated", error=str(error))
        else:
            self._has_legs = True
            rules = way_back(self._node.families)
            await self._kernel.apply([Put(netns=NODE, object=one) for one in rules])

    def _desired_host(self) -> tuple[NetObject, ...]:
        rules = way_back(self._node.families) if self._has_legs else ()
        return (*super()._desired_host(), *rules)

    async def detach(self, attachment: Attachment) -> None:
        """Remove what the attachment has in the kernel; nothing there is success."""
        if has_device(attachment):
            await super().detach(attachment)
        else:
            await KernelNetwork.detach(self, attachment)

    async def differences(
        self, attachment: Attachment, *, pod_mac: MacAddress | None
    ) -> tuple[str, ...]:
        """Return what is not as it should be, in words; empty when all is."""
        if has_device(attachment):
            return await super().differences(attachment, pod_mac=pod_mac)
        return await KernelNetwork.differences(self, attachment, pod_mac=pod_mac)

    async def mend(self, attachment: Attachment) -> bool:
        """Put right what somebody has changed in the pod; return whether there was something."""
        if has_device(attachment):
            return await super().mend(attachment)
        return await KernelNetwork.mend(self, attachment)

    async def hold_to_limits(self, attachment: Attachment) -> None:
        """Make the kernel hold the attachment to the limits that it has now."""
        if has_device(attachment):
            await super().hold_to_limits(attachment)
        else:
            await KernelNetwork.hold_to_limits(self, attachment)

    async def enter(self, attachment: Attachment) -> None:
        """Put the data path's programs inside a pod that has some there."""
        if has_device(attachment):
            await super().enter(attachment)
        else:
            await KernelNetwork.enter(self, attachment)

    async def _with_own_table(
        self, desired: AttachmentState, attachment: Attachment
    ) -> AttachmentState:
        if has_device(attachment):
            return await super()._with_own_table(desired, attachment)
        return await KernelNetwork._with_own_table(self, desired, attachment)

    def _desired(self, attachment: Attachment) -> AttachmentState:
        if has_device(attachment):
            return super()._desired(attachment)
        return KernelNetwork._desired(self, attachment)
