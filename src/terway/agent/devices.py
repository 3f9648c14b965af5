"""ENIs on a node whose pods have one each: where the device of each is, on the node or in a pod.

ENI attached ──hot-plug──► device on the node, down, unconfigured ◄──► in a pod

A device in a pod is not unplugged, and one on the node needs nothing but to be down: no
address, no table, nobody's packets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from terway.agent.enis import ENILinks
from terway.agent.pool_ports import ManagedENI
from terway.datapath.exclusive import FREE_ALIAS, desired_device
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.trunk import has_vlan_device
from terway.linux.kernel import Kernel
from terway.model.address import IPPair
from terway.model.attachment import Attachment
from terway.model.device import DeviceState
from terway.model.errors import TransientError, VpcError
from terway.model.ids import MacAddress
from terway.model.network import NODE, Link, LinkSettings, Put


class DeviceLinks(ENILinks):
    """The devices of the pool's ENIs. `attachments` lists those that pods have."""

    def __init__(
        self,
        kernel: Kernel,
        node: NodeFacts,
        managed: Callable[[], Iterable[ManagedENI]],
        attachments: Callable[[], Iterable[Attachment]],
    ) -> None:
        super().__init__(kernel, node, managed)
        self._attachments = attachments
        self._in_pods: set[MacAddress] = set()  # as far as we have looked

    @property
    def ready(self) -> tuple[ENILink, ...]:
        """Return nothing: the node has no use for the devices themselves."""
        return ()

    async def link_of(self, mac: MacAddress) -> ENILink:
        """Return the device with `mac`, wherever it is; TransientError when it does not come."""
        if await self._in_pod(mac):
            return self._eni(mac, name="", ifindex=0)
        link = await self._kernel.link_by_mac(mac)  # all who wait for it wait side by side
        async with self._locks[mac]:
            return super().known(mac) or await self._take(link)

    def known(self, mac: MacAddress) -> ENILink | None:
        """Return the device with `mac` if it is there, in a pod included; nothing is waited for."""
        if mac not in self._in_pods:
            return super().known(mac)
        gateways = self.known_gateways_of(mac) or IPPair()
        return ENILink(name="", ifindex=0, mac=mac, gateways=gateways)

    def known_gateways_of(self, mac: MacAddress) -> IPPair | None:
        """Return the gateways of an ENI's vSwitch, None until the cloud has described it.

        Of an ENI of a PodENI, which is not the pool's, the attachment says them.
        """
        holders = (one for one in self._attachments() if one.lease.eni_mac == mac)
        own = next((one.spec.own_eni for one in holders if one.spec.own_eni), None)
        return self._gateways(mac) if own is None else own.gateways

    def is_attached(self, mac: MacAddress) -> bool:
        """Return whether the pool has an ENI with `mac` that the cloud still knows."""
        return any(one.mac == mac and not one.is_gone for one in self._managed())

    def went(self, mac: MacAddress) -> None:
        """Take note that the device is in a pod."""
        self._in_pods.add(mac)

    def came_back(self, mac: MacAddress) -> None:
        """Take note that the device is not in a pod any more."""
        self._in_pods.discard(mac)

    async def refresh(self, macs: Iterable[MacAddress]) -> dict[MacAddress, VpcError]:
        """Look for the devices of `macs`; return why the others are not there."""
        wanted = tuple(macs)
        found = await asyncio.gather(*map(self._in_pod, wanted))
        self._in_pods = {mac for mac, is_in_pod in zip(wanted, found, strict=True) if is_in_pod}
        on_node = [mac for mac in wanted if mac not in self._in_pods]
        failures = await super().refresh(on_node)
        await self._set_down(on_node)
        return failures

    async def _set_down(self, macs: Iterable[MacAddress]) -> None:
        """Set down what others have set up: nobody but a pod is to answer for an ENI."""
        unused = frozenset(macs)
        up = [one for one in await self._kernel.links() if one.mac in unused and one.is_up]
        await self._kernel.apply([_down(one) for one in up])

    async def _in_pod(self, mac: MacAddress) -> bool:
        holder = next((one for one in self._attachments() if one.lease.eni_mac == mac), None)
        return holder is not None and (await self.find(holder)).in_pod is not None

    async def find(self, attachment: Attachment) -> DeviceState:
        """Return where the device of `attachment` is."""
        device = desired_device(
            attachment, gateways=IPPair(), node=self._node, trunk=self.trunk_of(attachment)
        )
        return await self._kernel.read_device(device)

    def trunk_of(self, attachment: Attachment) -> str:
        """Return the link of the trunk that a member is of; empty where there is none."""
        found = super().known(attachment.device_mac) if has_vlan_device(attachment) else None
        return "" if found is None else found.name

    async def _configure(self, link: Link) -> ENILink:
        assert link.mac is not None  # it was found by it
        eni = self._eni(link.mac, name=link.name, ifindex=link.ifindex)
        if link.is_up:
            await self._kernel.apply((_down(link),))
        return eni

    def _eni(self, mac: MacAddress, *, name: str, ifindex: int) -> ENILink:
        gateways = self.known_gateways_of(mac)
        if gateways is None:
            text = f"ENI {mac}: its vSwitch has not been described by the cloud"
            raise TransientError(text, code="NoVSwitch")
        return ENILink(name=name, ifindex=ifindex, mac=mac, gateways=gateways)


def _down(link: Link) -> Put:
    down = LinkSettings(name=link.name, is_up=False, alias=FREE_ALIAS)
    return Put(netns=NODE, object=down)
