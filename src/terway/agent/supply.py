"""What has the control plane for this node's pods? The node's own resource, read as the cloud is.

The pool of a node that is supplied asks for readings as every pool does, and gets them from here;
it asks for nothing else. What the control plane wants back is part of a reading.

    Node.status ──take──► reading ──► pool: what is wanted back and free is forgotten, durably
                                        └──► NodeRuntime: released (supply_report)

A status with a lower round than one that was answered is old: it may show an address that was
given back since. It is not taken, whoever's cache it comes from, after a restart too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path

import msgspec
import structlog

from terway.ipam.commands import CloudCommand, Observe, ObserveVSwitches
from terway.ipam.events import Event, Observed, VSwitchesObserved
from terway.kube.crds import NodeNetworkInterface, PoolNode
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENI, ENIStatus, ENIType, VSwitch
from terway.model.errors import BugError, TransientError
from terway.model.ids import ENIId, MacAddress, SecurityGroupId, VpcId, VSwitchId, ZoneId

VALID, DELETING, FROZEN = "Valid", "Deleting", "Frozen"
_USABLE = ("InUse", "Detaching")  # of the latter all is wanted back

_log = structlog.get_logger("supply")


Elsewhere = Callable[[Callable[[bytes], None], bytes], Awaitable[None]]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Up to which round of which resource recalls were answered."""

    uid: str = ""
    round: int = 0


class KeptRound:
    """The last round that was answered, on the disk before anybody hears the answer.

    `elsewhere` runs what blocks: by default in a thread.
    """

    def __init__(self, path: Path, *, elsewhere: Elsewhere = asyncio.to_thread) -> None:
        self._path = path
        self._elsewhere = elsewhere
        self.answered = self._read()

    def _read(self) -> Answered:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Answered)
        except (OSError, msgspec.MsgspecError):
            return Answered()

    def is_old(self, node: PoolNode) -> bool:
        """Return whether `node` was written before what was answered already."""
        last = self.answered
        return node.metadata.uid == last.uid and node.status.round < last.round

    async def keep(self, node: PoolNode) -> None:
        """Note that the recalls of `node` are about to be answered."""
        await self._keep(Answered(uid=node.metadata.uid, round=node.status.round))

    async def keep_after(self, node: PoolNode) -> None:
        """Note that nothing counts that `node` says now, or said before."""
        await self._keep(Answered(uid=node.metadata.uid, round=node.status.round + 1))

    async def _keep(self, last: Answered) -> None:
        if last == self.answered:
            return
        try:
            await self._elsewhere(self._write, msgspec.json.encode(last))
        except OSError as error:
            text = f"{self._path} cannot be written: {error.strerror}: no address is given back"
            raise TransientError(f"{text} before that; make room there") from error
        self.answered = last

    def _write(self, text: bytes) -> None:
        draft = self._path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._path)


class Supply:
    """The pool's cloud, where a control plane sees to the supply. `clock` is monotonic seconds.

    What another instance of the same node name is given is not taken. Empty: it is not known.
    """

    def __init__(
        self, kept: KeptRound, *, clock: Callable[[], float], instance_id: str = ""
    ) -> None:
        self._kept = kept
        self._clock = clock
        self._instance_id = instance_id
        self._told = ""  # whose resource was refused last
        self.node: PoolNode | None = None  # as last taken

    def take(self, node: PoolNode | None) -> bool:
        """Take over the node's resource; return whether it says something new.

        One that is gone says nothing: what there is stays in use.
        """
        if node is None or node == self.node or self._kept.is_old(node):
            return False
        if self._instance_id and (other := other_instance(node, self._instance_id)):
            if other != self._told:
                _log.error("supply.not_ours", why=two_of_one_name(other, self._instance_id))
            self._told = other
            return False
        before, self.node = self.node, node
        return before is None or before.status != node.status

    async def carry_out(self, command: CloudCommand) -> Event:
        """Answer a reading from what is known. TransientError before the control plane spoke."""
        match command:
            case Observe():
                return self._observed()
            case ObserveVSwitches(ids=ids):
                return VSwitchesObserved(vswitches=self._vswitches(ids))
            case _:
                raise BugError(f"{type(command).__name__}: the control plane sees to the supply")

    def _observed(self) -> Observed:
        shown = tuple(self._interfaces())
        if self.node is None or self.node.status.last_modified_time is None:
            raise TransientError("the control plane has not said yet which addresses there are")
        return Observed(
            asked_at=self._clock(),
            attached=tuple(map(_eni, shown)),
            recalled=frozenset(recalls_of(self.node)),
            no_supply=self.node.status.reason,
        )

    def _interfaces(self) -> Iterable[NodeNetworkInterface]:
        found = self.node.status.network_interfaces.values() if self.node is not None else ()
        return (one for one in found if one.status in _USABLE and not one.unschedulable)

    def _vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        wanted = set(ids)
        found = (one for one in self._interfaces() if one.vswitch_id in wanted and one.ipv4_cidr)
        return tuple({one.vswitch_id: _vswitch(one) for one in found}.values())


def other_instance(node: PoolNode, instance_id: str) -> str:
    """Return whose resource it is, if it is another instance's; empty if it is ours."""
    said = node.spec.node_metadata.instance_id
    return "" if said == instance_id else said


def two_of_one_name(other: str, instance_id: str) -> str:
    """Return what to do about two instances of one node name."""
    return (
        f"is of instance {other}, and this is {instance_id}: two have the same node name, or the "
        "Node object is the old instance's; give each a name of its own, or delete that Node"
    )


def recalls_of(node: PoolNode) -> dict[IPAddress | IPNetwork, int]:
    """Return what the control plane wants back, and the number of each wish."""
    found: dict[IPAddress | IPNetwork, int] = {}
    for eni in node.status.network_interfaces.values():
        for address in (*eni.ipv4.values(), *eni.ipv6.values()):
            if address.status == DELETING and address.recall:
                found[ip_address(address.ip)] = address.recall
        for prefix in (*eni.ipv4_prefix, *eni.ipv6_prefix):
            if prefix.status == DELETING and prefix.recall:
                found[ip_network(prefix.prefix)] = prefix.recall
    return found


def _eni(shown: NodeNetworkInterface) -> ENI:
    there = (VALID, DELETING)
    v4 = tuple(IPv4Address(one.ip) for one in shown.ipv4.values() if one.status in there)
    v6 = tuple(IPv6Address(one.ip) for one in shown.ipv6.values() if one.status in there)
    kept = (*there, FROZEN)
    primary = IPv4Address(shown.primary_ip_address) if shown.primary_ip_address else None
    return ENI(
        id=ENIId(shown.id),
        mac=MacAddress(shown.mac_address),
        type=ENIType(shown.type or ENIType.SECONDARY.value),
        status=ENIStatus.IN_USE,
        vpc_id=VpcId(""),
        vswitch_id=VSwitchId(shown.vswitch_id),
        zone_id=ZoneId(""),
        primary_ipv4=primary or IPv4Address(0),
        ipv4=v4,
        ipv6=v6,
        ipv4_prefixes=tuple(IPv4Network(p.prefix) for p in shown.ipv4_prefix if p.status in kept),
        ipv6_prefixes=tuple(IPv6Network(p.prefix) for p in shown.ipv6_prefix if p.status in kept),
        security_group_ids=tuple(map(SecurityGroupId, shown.security_group_ids)),
        traffic_mode=shown.traffic_mode or "Standard",
    )


def _vswitch(shown: NodeNetworkInterface) -> VSwitch:
    return VSwitch(
        id=VSwitchId(shown.vswitch_id),
        vpc_id=VpcId(""),
        zone_id=ZoneId(""),
        cidr=IPv4Network(shown.ipv4_cidr),
        ipv6_cidr=IPv6Network(shown.ipv6_cidr) if shown.ipv6_cidr else None,
    )
