"""Attachments of pods that have an ENI each: the device in the pod, and a second leg to the node.

ADD   device: node ──► pod      leg: made      both verified
DEL   device: pod ──► node      leg: deleted   the device back is what makes the address free
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace

import structlog

from terway.agent.devices import DeviceLinks
from terway.agent.interfaces import ONE_DEVICE
from terway.agent.links import AttachedLinks
from terway.agent.network import KernelNetwork
from terway.cni.errors import CniError, Code
from terway.datapath.device import plan_return, plan_take, verify_device
from terway.datapath.ebpf import outside_programs, without_programs
from terway.datapath.exclusive import (
    desired_device,
    desired_leg,
    has_leg,
    needs_device_table,
    with_device_table,
)
from terway.datapath.facts import NodeFacts
from terway.datapath.masquerade import TABLE, masquerade
from terway.datapath.plan import plan_attach, plan_detach
from terway.datapath.trunk import members_of
from terway.datapath.verify import verify
from terway.linux.kernel import Kernel
from terway.linux.nftables import OwnedTable
from terway.model.address import IPPair
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.device import Device, DeviceState
from terway.model.errors import ConflictError, TransientError, UsageError
from terway.model.ids import MacAddress
from terway.model.network import NODE, AttachmentState, Operation, Put, Remove
from terway.model.programs import InnerPrograms
from terway.model.traffic import TrafficObject

_TRIES = 3
# A namespace ends some tens of milliseconds after its last user, and then lets go of its devices.
_FALLS_BACK_S = 5.0

_log = structlog.get_logger("exclusive")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """Device and leg of one attachment, and where they are."""

    device: Device
    found: DeviceState
    leg: AttachmentState
    leg_found: AttachmentState
    has_leg: bool

    @property
    def is_the_pods(self) -> bool:
        """Return whether the namespace at the path is the pod's: a path may be another's by now."""
        return self.leg_found.is_paired or self.found.in_pod is not None

    @property
    def is_away(self) -> bool:
        """Return whether the device is nowhere, or the trunk that it is to be over."""
        vlan = self.device.vlan
        return self.found.is_nowhere if vlan is None else not vlan.parent


class ExclusiveNetwork(KernelNetwork):
    """Attachments in the kernel of a node whose pods have an ENI each."""

    def __init__(
        self, kernel: Kernel, node: NodeFacts, enis: DeviceLinks, *, has_host_peer: bool
    ) -> None:
        super().__init__(kernel, node, enis)
        self._devices = enis
        self._has_host_peer = has_host_peer
        self._table = OwnedTable(TABLE, masquerade(node))

    async def prepare(self) -> None:
        """Make the node forward packets, and lend pods its address for what it forwards."""
        await super().prepare()
        await self._kernel.ensure_table(self._table)

    async def settings_differ(self) -> bool:
        """Return whether a setting, or what the node translates, is not as it should be."""
        return not await self._kernel.is_as_made(self._table) or await super().settings_differ()

    async def sweep(
        self,
        attachments: Callable[[], Iterable[Attachment]],
        busy: Callable[[], Container[AttachmentKey]],
    ) -> tuple[Operation, ...]:
        """Put the node's namespace in order as `KernelNetwork.sweep`, and what it translates."""
        if await self._kernel.ensure_table(self._table):
            self.mender.remade(f"table {TABLE}")
        return await super().sweep(attachments, busy)

    async def attach(self, attachment: Attachment, *, mtu_bytes: int | None) -> AttachedLinks:
        """Bring the ENI's device into the pod, and make the second leg; prove both.

        Raises as `KernelNetwork.attach` does.
        """
        _check_programs(attachment, self._node)
        node = replace(self._node, mtu_bytes=mtu_bytes or self._node.mtu_bytes)
        mac, gateways = attachment.lease.eni_mac, await self._gateways_of(attachment)
        trunk = self._devices.trunk_of(attachment)
        device = desired_device(attachment, gateways=gateways, node=node, trunk=trunk)
        leg = self._leg(attachment, node)
        if attachment.spec.bandwidth.ingress is not None and not node.has_shared_limits:
            _log.warning("exclusive.ingress_not_limited", attachment=str(attachment.key))
        found: tuple[object, ...] = ()
        for _ in range(_TRIES):
            try:
                async with self._gate.shared():
                    found = await self._take(attachment, await self._look(attachment, device, leg))
            except ConflictError as error:
                found = (error,)
                continue
            if not found:
                if device.vlan is None:
                    self._devices.went(mac)
                return _links_of(leg, device, gateways, has_leg=self._has_leg(attachment))
        text = "; ".join(map(str, found))
        raise TransientError(f"{attachment.key} did not become as planned: {text}")

    async def _gateways_of(self, attachment: Attachment) -> IPPair:
        """Return the gateways that the pod reaches itself, once its device or trunk is there."""
        link = await self._devices.link_of(attachment.device_mac)
        own = attachment.spec.own_eni
        return link.gateways if own is None else own.gateways

    async def detach(self, attachment: Attachment) -> None:
        """Bring the device back to the node, or delete one over a trunk; delete the second leg.

        The pod's namespace is only looked at for the device: its path may lead to somebody else
        by now. Raises TransientError while the device is in neither place: until it is back, the
        address must not be given to another pod.
        """
        device = self._device(attachment)
        leg = replace(self._leg(attachment, self._node), pod=None)
        async with self._gate.shared():
            await self._kernel.undo(leg, plan_detach)
            device, found = await self._look_at_device(attachment, device)
            if not found.is_nowhere:
                await self._kernel.apply(plan_return(device, found))
        if device.vlan is not None:
            return
        self._devices.came_back(device.mac)
        if found.is_nowhere and self._devices.is_attached(device.mac):
            await self._kernel.link_by_mac(device.mac, timeout_s=_FALLS_BACK_S)
            await self._kernel.apply(plan_return(device, await self._kernel.read_device(device)))

    async def differences(
        self, attachment: Attachment, *, pod_mac: MacAddress | None
    ) -> tuple[str, ...]:
        """Return what is not as it should be, in words; empty when all is."""
        whole = await self._whole(attachment)
        if pod_mac not in (None, whole.device.mac):
            return (f"{whole.device.ifname}: wanted the MAC of its ENI, the result has {pod_mac}",)
        return tuple(map(str, _differences(whole)))

    async def mend(self, attachment: Attachment) -> bool:
        """Put right what somebody has changed; return whether there was something.

        Only where the device or the second leg proves that the namespace at the path is the pod's.
        A device that was plugged in anew under a pod that lives goes into it.
        """
        whole = await self._whole(attachment)
        self._revival.homes.see(attachment.key, whole.leg, whole.leg_found)
        async with self._gate.shared():
            if not whole.is_the_pods:
                return whole.has_leg and await self._revive(attachment, whole.leg)
            if whole.is_away:
                return False
            actual = (*(whole.found.pod or ()), *whole.leg_found.node, *(whole.leg_found.pod or ()))
            admitted = self.mender.admit(self._plan(whole), actual)
            await self._kernel.apply(admitted.operations)
            self.mender.mended(admitted, pod=attachment.pod, is_inside=True)
            if whole.leg.birth in admitted.operations:
                await self._learn_link(attachment, whole.leg)
        return bool(admitted.operations)

    async def hold_to_limits(self, attachment: Attachment) -> None:
        """Make the kernel hold the attachment to the limits that it has now, on both legs."""
        whole = await self._whole(attachment)
        if not whole.is_the_pods:
            return
        async with self._gate.shared():
            planned = self._plan(whole)
            await self._kernel.apply([one for one in planned if _is_about_traffic(one)])

    def _desired(self, attachment: Attachment) -> AttachmentState:
        leg = self._leg(attachment, self._node)
        return without_programs(leg) if attachment.key in self._waiting else leg

    def _leg(self, attachment: Attachment, node: NodeFacts) -> AttachmentState:
        gateways = self._devices.known_gateways_of(attachment.lease.eni_mac) or IPPair()
        trunk = self._devices.trunk_of(attachment)
        leg = desired_leg(attachment, gateways=gateways, node=node, trunk=trunk)
        if self._has_leg(attachment):
            return leg
        return replace(leg, node=tuple(members_of(attachment, trunk)), pod=())

    def _has_leg(self, attachment: Attachment) -> bool:
        return self._has_host_peer and has_leg(attachment)

    async def _whole(self, attachment: Attachment) -> _Whole:
        device = self._device(attachment)
        if attachment.key in self._waiting:
            device = replace(device, pod=outside_programs(device.pod))
        return await self._look(attachment, device, self._desired(attachment))

    def _device(self, attachment: Attachment) -> Device:
        gateways = self._devices.known_gateways_of(attachment.lease.eni_mac) or IPPair()
        trunk = self._devices.trunk_of(attachment)
        return desired_device(attachment, gateways=gateways, node=self._node, trunk=trunk)

    async def _look(self, attachment: Attachment, device: Device, leg: AttachmentState) -> _Whole:
        try:
            device, found = await self._look_at_device(attachment, device)
            return _Whole(
                device=device,
                found=found,
                leg=leg,
                leg_found=await self._kernel.read_attachment(leg),
                has_leg=self._has_leg(attachment),
            )
        except UsageError as error:
            raise _bad_netns(device, str(error)) from error

    async def _look_at_device(
        self, attachment: Attachment, device: Device
    ) -> tuple[Device, DeviceState]:
        """Return where the device is, and what it is to have, once its link has a number there."""
        found = await self._kernel.read_device(device)
        if not needs_device_table(attachment) or found.in_pod is None:
            return device, found
        gateways = self._devices.known_gateways_of(device.mac) or IPPair()
        number = found.in_pod.ifindex
        device = with_device_table(device, attachment, gateways=gateways, ifindex=number)
        return device, await self._kernel.read_device(device)

    async def _take(self, attachment: Attachment, whole: _Whole) -> tuple[object, ...]:
        """Do what is missing and return what is still missing."""
        if whole.found.pod is None:
            raise _bad_netns(whole.device, "does not exist")
        try:
            operations = self._plan(whole)
        except UsageError as error:
            raise CniError(Code.INTERFACE_EXISTS, str(error), field="CNI_IFNAME") from error
        await self._kernel.apply(operations)
        after = await self._look(attachment, whole.device, whole.leg)
        return _differences(after)

    async def _with_own_table(
        self, desired: AttachmentState, attachment: Attachment
    ) -> AttachmentState:
        return desired  # a device has it, not the leg

    def _plan(self, whole: _Whole) -> tuple[Operation, ...]:
        device = plan_take(whole.device, whole.found)
        leg = self._plan_leg(whole)
        # Programs inside the pod know its second leg by its number: it is there first.
        inner = tuple(one for one in device if _is_inner(one))
        return (*(one for one in device if one not in inner), *leg, *inner)

    def _plan_leg(self, whole: _Whole) -> tuple[Operation, ...]:
        """Return what makes the leg; without one, what the trunk has of a member."""
        if whole.has_leg:
            return plan_attach(whole.leg, whole.leg_found)
        there = whole.leg_found.node
        return tuple(Put(netns=NODE, object=one) for one in whole.leg.node if one not in there)

    async def enter(self, attachment: Attachment) -> None:
        """Put the data path's programs at the device inside the pod."""
        whole = await self._whole(attachment)
        if whole.is_the_pods and whole.found.in_pod is not None:
            netns, wanted = whole.device.netns, whole.device.pod
            puts = [
                Put(netns=netns, object=one) for one in wanted if isinstance(one, InnerPrograms)
            ]
            async with self._gate.shared():
                await self._kernel.apply(puts)


def _check_programs(attachment: Attachment, node: NodeFacts) -> None:
    """Raise UsageError for a device that no policy would see: programs know a pod by its leg."""
    if node.has_datapath and not has_leg(attachment):
        name = attachment.key.ifname
        raise UsageError(f"interface {name}: {ONE_DEVICE}", field="podENI.spec.allocations")


def _is_inner(operation: Operation) -> bool:
    return isinstance(operation, Put) and isinstance(operation.object, InnerPrograms)


def _is_about_traffic(operation: Operation) -> bool:
    return isinstance(operation, Put | Remove) and isinstance(operation.object, TrafficObject)


def _differences(whole: _Whole) -> tuple[object, ...]:
    leg = verify(whole.leg, whole.leg_found) if whole.has_leg else ()
    return (*verify_device(whole.device, whole.found), *leg)


def _bad_netns(device: Device, why: str) -> CniError:
    text = f"CNI_NETNS {device.netns!r}: {why}"
    return CniError(Code.INVALID_NETNS, text, field="CNI_NETNS")


def _links_of(
    leg: AttachmentState, device: Device, gateways: IPPair, *, has_leg: bool
) -> AttachedLinks:
    host = leg.birth.host
    assert host.mac is not None  # it is planned
    return AttachedLinks(
        host_name=host.name if has_leg else "",
        host_mac=host.mac,
        pod_mac=device.mac,
        mtu_bytes=device.mtu_bytes,
        gateways=gateways,
    )
