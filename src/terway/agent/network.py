"""The kernel's half of an attachment: read, plan, apply, read again, compare.

`datapath` says what should be there, `linux` does it; this is the loop between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

import structlog

from terway.agent.enis import ENILinks
from terway.agent.gate import Gate
from terway.agent.ground import Ground, ground_of
from terway.agent.links import AttachedLinks
from terway.agent.mender import quiet_mender
from terway.agent.replugged import ENINumbers
from terway.agent.revival import Revival, lost_links
from terway.agent.states import DesiredStates
from terway.cni.errors import CniError, Code
from terway.datapath.damage import plan_inside
from terway.datapath.diff import diff
from terway.datapath.ebpf import own_addresses, without_programs
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.guard import plan_guard
from terway.datapath.host import desired_eni
from terway.datapath.ipvlan import plan_host_children
from terway.datapath.networks import needs_own_table, with_own_table
from terway.datapath.node import desired_node
from terway.datapath.plan import plan_attach, plan_detach, plan_node, unborn
from terway.datapath.shaping import plan_limits
from terway.datapath.shared import desired_of
from terway.datapath.symmetric import symmetric_tables
from terway.datapath.trunk import members_among, trunk_programs
from terway.datapath.verify import verify, verify_chained
from terway.linux.kernel import Kernel
from terway.linux.nftables import OwnedTable
from terway.model.address import IPPair
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.endpoint import endpoint_number
from terway.model.errors import ConflictError, TransientError, UsageError, VpcError
from terway.model.ids import MacAddress
from terway.model.network import (
    NODE,
    AttachmentState,
    CreateIpvlan,
    CreateVeth,
    NetObject,
    NodeState,
    Operation,
    Put,
    Remove,
    RoutingRule,
    Sysctl,
)
from terway.model.programs import InnerPrograms

_log = structlog.get_logger("network")

# Somebody else is changing the same objects when a plan fails more often than this.
_TRIES = 3


class KernelNetwork:
    """Attachments in the kernel of this node, by policy routing."""

    def __init__(self, kernel: Kernel, node: NodeFacts, enis: ENILinks) -> None:
        self.mender = quiet_mender()
        self._states = DesiredStates()
        self.ground = Ground()
        self.lost: frozenset[AttachmentKey] = frozenset()  # without host link, at the last sweep
        self._revival = Revival(kernel)
        # Whose pods' rules lead to their tables. Until the sweep after its link went, or came back
        # with another number, an ENI's pods have the rules that they were made with.
        self._swept: frozenset[ENILink | None] = frozenset()
        self._numbers = ENINumbers()
        self._kernel = kernel
        self._node = node
        self._enis = enis
        self._tables = tuple(OwnedTable(*one) for one in symmetric_tables(node).items())
        self._waits = node.symmetric is not None and node.symmetric.waits
        self._held_back: tuple[Attachment, ...] = ()
        self._waiting: frozenset[AttachmentKey] = frozenset()
        self._gate = Gate()  # a sweep must not see an attachment that is half made

    async def prepare(self) -> None:
        """Make the node forward packets. To be done before the first attachment."""
        wanted = desired_node(self._node)
        actual = await self._kernel.read_node(_settings(wanted))
        changes = diff(wanted, actual.objects, netns=NODE, is_owned=lambda _: False)
        await self._kernel.apply(changes.puts)
        if self._node.has_datapath:
            await self._kernel.tell_own_addresses(own_addresses(self._node, actual.objects))
        await self._ensure_tables()

    async def attach(self, attachment: Attachment, *, mtu_bytes: int | None) -> AttachedLinks:
        """Make the kernel as the attachment wants it, whatever it was.

        A new sandbox's is believed when the kernel has acknowledged it all, and is to be read
        back later (`prove`); where something was in the way, it is read back at once.

        Raises CniError when the container's namespace is gone or has such an interface that is
        not ours, TransientError when the ENI's link is not there or the kernel does not do it.
        """
        if attachment.spec.is_left_alone:
            text = f"{attachment.key} was made by another Terway and is left alone: restart the pod"
            raise UsageError(text, field="CNI_CONTAINERID")
        node = replace(self._node, mtu_bytes=mtu_bytes or self._node.mtu_bytes)
        eni = await self._enis.link_of(attachment.device_mac)
        desired = desired_of(attachment, eni=eni, node=node)
        async with self._gate.shared():
            if not await self._is_born(desired):
                await self._make(desired)
        if needs_own_table(attachment):
            desired = await self._with_own_table(desired, attachment)
            async with self._gate.shared():
                await self._make(desired)
        return _links_of(desired, node, eni)

    async def _is_born(self, desired: AttachmentState) -> bool:
        """Make the attachment where nothing of it is; return False when there was something.

        Nearly every ADD finds an empty namespace: to read it before or after would be half of
        the whole. What is there after all makes this fail.
        """
        try:
            await self._kernel.apply(plan_attach(desired, unborn(desired)))
        except ConflictError:
            return False
        except UsageError as error:
            raise _bad_netns(desired, error) from error
        return True

    async def _make(self, desired: AttachmentState) -> None:
        """Do what is missing until nothing is. Raises TransientError when there is no end to it."""
        found: tuple[object, ...] = ()
        for _ in range(_TRIES):
            try:
                found = await self._converge(desired, await self._read(desired))
            except ConflictError as error:
                found = (error,)
                continue
            if not found:
                return
        text = "; ".join(map(str, found))
        raise TransientError(f"{desired.alias} did not become as planned: {text}")

    async def detach(self, attachment: Attachment) -> None:
        """Remove what the attachment has in the kernel; nothing there is success.

        The pod's namespace is not even looked at: its path may lead to somebody else by now. Only
        an ipvlan child is, whose alias tells that it is the pod's.
        """
        desired = self._desired(attachment)
        blind = replace(desired, pod=None)
        self._revival.homes.leave(attachment.key)
        async with self._gate.shared():
            is_as_made = self._enis.known(attachment.device_mac) in self._swept
            undo = partial(self._kernel.undo, plan=plan_detach, is_as_made=is_as_made)
            if isinstance(desired.birth, CreateVeth):
                return await undo(blind)
            try:
                await undo(desired)
            except UsageError:  # the path leads to something that is no namespace
                await undo(blind)

    async def differences(
        self, attachment: Attachment, *, pod_mac: MacAddress | None
    ) -> tuple[str, ...]:
        """Return what is not as it should be, in words; empty when all is."""
        if attachment.spec.is_left_alone:
            return ()
        desired = await self._with_own_table(self._desired(attachment), attachment)
        if pod_mac is not None and pod_mac != desired.birth.peer.mac:
            await self.fit_guard(attachment)  # the chain has changed it since ADD
        actual = await self._read(desired)
        return tuple(map(str, verify_chained(desired, actual, pod_mac=pod_mac)))

    async def fit_guard(self, attachment: Attachment) -> bool:
        """Make the guard take the MAC of the pod's end; return whether it had another."""
        desired = self._desired(attachment)
        async with self._gate.shared():
            changes = plan_guard(desired, await self._kernel.read_inside(desired))
            await self._kernel.apply(changes)
        return bool(changes)

    async def hold_to_limits(self, attachment: Attachment) -> None:
        """Make the kernel hold the attachment to the limits that it has now."""
        if attachment.spec.is_left_alone:
            return
        desired = self._desired(attachment)
        async with self._gate.shared():
            actual = await self._kernel.read_inside(desired)
            await self._kernel.apply(plan_limits(desired, actual))

    async def ready_enis(self, macs: Iterable[MacAddress]) -> None:
        """Configure the links of ENIs that are there; the others are left to the reconciler."""
        await self._enis.refresh(macs)

    def desired_node_of(self, attachment: Attachment) -> tuple[NetObject, ...]:
        """Return what the node's namespace is to have of an attachment."""
        return self._desired(attachment).node

    @property
    def held_back(self) -> tuple[Attachment, ...]:
        """Return the attachments that are without the data path's programs still."""
        return self._held_back

    def hold_back(self, attachments: Iterable[Attachment]) -> None:
        """Leave these pods without the data path's programs, until they are enrolled."""
        self._held_back = tuple(attachments)
        self._waiting = frozenset(one.key for one in self._held_back)

    async def enrol(self, attachments: Iterable[Attachment]) -> int:
        """Have the data path see the packets of these pods; return of how many links.

        ENIs are looked for first: an endpoint without its ENI is led by the node's stack, and
        what the mender puts right would be told of each pod as somebody's change.
        """
        self.hold_back(())
        held = tuple(attachments)
        await self._enis.refresh(_macs(held))
        async with self._gate.alone():
            return await self._kernel.enrol([self._desired(one) for one in held])

    async def enter(self, attachment: Attachment) -> None:
        """Put the data path's programs inside a pod that has some there."""
        desired = self._desired(attachment)
        inner = [one for one in desired.pod or () if isinstance(one, InnerPrograms)]
        if not inner:
            return
        async with self._gate.shared():
            if (await self._kernel.read_inside(desired)).is_paired:
                puts = [Put(netns=desired.birth.netns, object=one) for one in inner]
                await self._kernel.apply(puts)

    async def prove(self, attachment: Attachment) -> bool:
        """Read back what `attach` made, on both sides, and put right what is not as planned.

        Return whether there was something. A veth that is not whole any more is left alone, and
        so is an attachment whose ENI has no link: nobody can tell which table is right.
        """
        if self._enis.known(attachment.device_mac) is None:
            return False
        desired = await self._with_own_table(self._desired(attachment), attachment)
        async with self._gate.shared():
            actual = await self._read(desired)
            self._revival.homes.see(attachment.key, desired, actual)
            if not actual.is_paired or not verify(desired, actual):
                return False
            await self._kernel.apply(plan_attach(desired, actual))
        return True

    async def mend(self, attachment: Attachment) -> bool:
        """Put right what somebody has changed in the pod; return whether there was something.

        The node's half is mended by `sweep`, for all pods at once. A veth that is not whole any
        more is made again where the namespace at the path is the pod's for sure (`Revival`).
        """
        if self._enis.known(attachment.device_mac) is None or attachment.spec.is_left_alone:
            return False
        desired = await self._with_own_table(self._desired(attachment), attachment)
        async with self._gate.shared():
            actual = await self._kernel.read_inside(desired)
            self._revival.homes.see(attachment.key, desired, actual)
            if not actual.is_paired:
                return await self._revive(attachment, desired)
            planned = plan_inside(desired, actual)
            admitted = self.mender.admit(planned, (*actual.node, *(actual.pod or ())))
            await self._kernel.apply(admitted.operations)
            self.mender.mended(admitted, pod=attachment.pod, is_inside=True)
        return bool(admitted.operations)

    async def _revive(self, attachment: Attachment, desired: AttachmentState) -> bool:
        if not await self._revival.revive(attachment, desired, self.mender):
            return False
        if needs_own_table(attachment):
            await self._make(await self._with_own_table(desired, attachment))
        await self._learn_link(attachment, desired)
        return True

    async def _learn_link(self, attachment: Attachment, desired: AttachmentState) -> None:
        """Know the host link that was made since the last sweep, so that its end is heard of."""
        for link in await self._kernel.links():
            if link.name == desired.birth.host.name:
                self.ground = self.ground.with_pod(attachment.key, link)

    @property
    def wait_s(self) -> float:
        """Return how long something waits to be mended that somebody keeps changing."""
        return self.mender.wait_s

    async def settings_differ(self) -> bool:
        """Return whether a setting of the node or of an ENI, or a table, is not as it should be.

        A dozen files: cheap enough to be looked at between two sweeps, for the kernel tells of
        some settings only when they change.
        """
        if await self._has_tables():
            for table in self._tables:
                if not await self._kernel.is_as_made(table):
                    return True
        wanted = _settings(self._desired_host())
        return await self._kernel.settings_differ(wanted)

    async def sweep(
        self,
        attachments: Callable[[], Iterable[Attachment]],
        busy: Callable[[], Container[AttachmentKey]],
    ) -> tuple[Operation, ...]:
        """Put the node's namespace in order, remove what belongs to nobody; return what was done.

        Both are asked once no attachment is being changed in the kernel. The journal is
        ahead of the kernel on the way in and behind it on the way out, so whatever is in the
        kernel then and not in the journal is nobody's. Those in `busy` are left as they are, and
        so are those of an ENI that has no link: without its number nobody can tell which table
        is right.
        """
        async with self._gate.alone():
            self.mender.begin()
            await self._ensure_host_children()
            ready = frozenset(self._enis.ready)
            held = {one: self._desired(one) for one in attachments()}
            away = {mac for mac in _macs(held) if self._enis.known(mac) is None}
            homeless = [
                state
                for one, state in held.items()
                if one.device_mac in away or one.spec.is_left_alone
            ]
            at_work = busy()
            working = [held[one] for one in held if one.owner in at_work]
            host = (*self._desired_host(), *trunk_programs(held.values()))
            wanted = (*host, *(part for state in held.values() for part in state.node))
            actual = await self._kernel.read_node(_settings(wanted))
            plan = plan_node(host, held.values(), actual)
            planned = _without_rules_of(homeless, _without_puts_of([*working, *homeless], plan))
            admitted = self.mender.admit(planned, actual.objects)
            await self._kernel.apply(admitted.operations)
            await self._kernel.forget_gone_links()
            await self._tidy_datapath(held, actual)
            await self._kernel.forget_other_members(members_among(held))
            self.mender.mended(admitted)
            keys = ((one.key, state) for one, state in held.items())
            self.ground = ground_of(keys, self._enis.ready, actual.links)
            self._note_lost(held, at_work, (link.name for link in actual.links))
            self._swept = ready
            replugged = self._numbers.changed(ready, away)
            self._states.keep(one.key for one in held)
        moved = [one for one in held if one.device_mac in replugged and one.owner not in at_work]
        await self._tell_endpoints(moved)
        for table in await self._ensure_tables():
            self.mender.remade(f"table {table.name}")
        return admitted.operations

    async def _tell_endpoints(self, moved: Iterable[Attachment]) -> None:
        """Have the data path's endpoints know the number that their ENI has by now."""
        for one in moved if self._node.has_datapath else ():
            if isinstance(self._desired(one).birth, CreateIpvlan):
                continue  # made again as a whole
            try:
                await self.fit_guard(one)
            except VpcError as error:  # its next look finds it
                _log.warning("network.endpoint_not_told", pod=str(one.pod), error=str(error))

    async def _tidy_datapath(self, held: Iterable[Attachment], actual: NodeState) -> None:
        if not self._node.has_datapath:
            return
        numbers = {endpoint_number(one.key) for one in held}
        await self._kernel.tidy_datapath(numbers, own_addresses(self._node, actual.objects))

    async def _ensure_host_children(self) -> None:
        """Make the host children again that somebody has deleted."""
        if not self._node.has_children:
            return
        missing = plan_host_children(self._enis.ready, await self._kernel.links(), self._node)
        await self._kernel.apply(missing)
        for one in missing:
            self.mender.remade(f"link {one.peer.name}")

    def _note_lost(
        self,
        held: Mapping[Attachment, AttachmentState],
        at_work: Container[AttachmentKey],
        links: Iterable[str],
    ) -> None:
        lost = lost_links(((one.key, state) for one, state in held.items()), links)
        lost |= self._orphans(held)
        self.lost = frozenset(
            one.key for one in held if one.key in lost and one.owner not in at_work
        )
        self.mender.keep_lost(lost)
        self._revival.homes.keep(one.key for one in held)

    def _orphans(self, held: Mapping[Attachment, AttachmentState]) -> frozenset[AttachmentKey]:
        """Return the ipvlan pods of ENIs that have come since the last sweep.

        An ENI that is unplugged takes its children along, and comes back without them.
        """
        new = {one.mac for one in self._enis.ready if one not in self._swept}
        return frozenset(
            one.key
            for one, state in held.items()
            if isinstance(state.birth, CreateIpvlan) and one.device_mac in new
        )

    def _desired_host(self) -> tuple[NetObject, ...]:
        enis = (part for eni in self._enis.ready for part in desired_eni(eni, self._node))
        return (*desired_node(self._node), *enis)

    def set_mtu(self, mtu_bytes: int) -> None:
        """Make pods and ENIs from now on with another MTU; the next sweep changes the ENIs."""
        self._node = replace(self._node, mtu_bytes=mtu_bytes)
        self._enis.set_mtu(mtu_bytes)

    async def _has_tables(self) -> bool:
        """Return whether connections are to be marked: at once, or since the node translates."""
        if self._waits:
            try:
                self._waits = not await self._kernel.translates_addresses()
            except VpcError as error:
                _log.warning("network.answers_not_symmetric", error=str(error))
        return not self._waits

    async def _ensure_tables(self) -> list[OwnedTable]:
        """Make the firewall's tables as they should be; return those that somebody has changed.

        Without nftables, pods have all but hostPorts and NodePorts from other nodes: that is
        told, and keeps nobody waiting.
        """
        try:
            if not await self._has_tables():
                return []
            return [table for table in self._tables if await self._kernel.ensure_table(table)]
        except VpcError as error:
            _log.warning("network.answers_not_symmetric", error=str(error))
            return []

    async def _converge(
        self, desired: AttachmentState, actual: AttachmentState
    ) -> tuple[object, ...]:
        """Do what is missing and return what is still missing."""
        if actual.pod is None:
            text = f"CNI_NETNS {desired.birth.netns!r} does not exist"
            raise CniError(Code.INVALID_NETNS, text, field="CNI_NETNS")
        try:
            operations = plan_attach(desired, actual)
        except UsageError as error:
            raise CniError(Code.INTERFACE_EXISTS, str(error), field="CNI_IFNAME") from error
        try:
            after = await self._kernel.apply_and_read(operations, desired)
        except UsageError as error:
            if error.field != "CNI_NETNS":
                raise
            raise _bad_netns(desired, error) from error
        return verify(desired, after)

    async def _with_own_table(
        self, desired: AttachmentState, attachment: Attachment
    ) -> AttachmentState:
        """Return what is desired of one of several interfaces, once its link has a number."""
        if not needs_own_table(attachment):
            return desired
        actual = await self._read(desired)
        if actual.pod_ifindex is None:
            return desired
        return with_own_table(desired, attachment, pod_ifindex=actual.pod_ifindex)

    async def _read(self, desired: AttachmentState) -> AttachmentState:
        try:
            return await self._kernel.read_attachment(desired)
        except UsageError as error:
            raise _bad_netns(desired, error) from error

    def _desired(self, attachment: Attachment) -> AttachmentState:
        # An ENI that is gone has no table; what is left of the attachment is found all the same.
        gone = ENILink(name="", ifindex=0, mac=attachment.device_mac, gateways=IPPair())
        eni = self._enis.known(attachment.device_mac) or gone
        desired = self._states.of(attachment, eni=eni, node=self._node)
        return without_programs(desired) if attachment.key in self._waiting else desired


def _macs(attachments: Iterable[Attachment]) -> set[MacAddress]:
    return {one.device_mac for one in attachments}


def _without_puts_of(
    states: Iterable[AttachmentState], plan: Iterable[Operation]
) -> tuple[Operation, ...]:
    parts = {part for state in states for part in state.node}
    return tuple(one for one in plan if not (isinstance(one, Put) and one.object in parts))


def _without_rules_of(
    states: Iterable[AttachmentState], plan: Iterable[Operation]
) -> tuple[Operation, ...]:
    """Keep the rules that the attachments have in the kernel, whatever table they lead to."""
    owners = {ip_network(address) for state in states for address in state.addresses}

    def is_kept(one: Operation) -> bool:
        if not isinstance(one, Remove) or not isinstance(one.object, RoutingRule):
            return False
        return not owners.isdisjoint((one.object.source, one.object.destination))

    return tuple(one for one in plan if not is_kept(one))


def _settings(objects: Iterable[NetObject]) -> tuple[Sysctl, ...]:
    return tuple(one for one in objects if isinstance(one, Sysctl))


def _bad_netns(desired: AttachmentState, error: UsageError) -> CniError:
    text = f"CNI_NETNS {desired.birth.netns!r}: {error}"
    return CniError(Code.INVALID_NETNS, text, field="CNI_NETNS")


def _links_of(desired: AttachmentState, node: NodeFacts, eni: ENILink) -> AttachedLinks:
    host, pod = desired.birth.host, desired.birth.peer
    assert host.mac is not None  # both MACs are planned
    assert pod.mac is not None
    if isinstance(desired.birth, CreateIpvlan):
        return AttachedLinks(
            host_name="",
            host_mac=host.mac,
            pod_mac=pod.mac,
            mtu_bytes=node.mtu_bytes,
            gateways=eni.gateways,
        )
    return AttachedLinks(
        host_name=host.name, host_mac=host.mac, pod_mac=pod.mac, mtu_bytes=node.mtu_bytes
    )
