"""What is there? All records, looked up by id; a lookup that fails is the cloud's refusal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TypeVar

from terway.lab.cloud.balancer_state import BalancingState
from terway.lab.cloud.eni_index import ENIIndex
from terway.lab.cloud.history import Change
from terway.lab.cloud.records import (
    ENIRecord,
    GroupRecord,
    InstanceRecord,
    RouteRecord,
    VpcRecord,
    VSwitchRecord,
)
from terway.lab.cloud.refusal import Refusal, not_found
from terway.model.address import IPAddress
from terway.model.ids import ENIId, InstanceId, SecurityGroupId, VpcId, VSwitchId

Record = VpcRecord | VSwitchRecord | RouteRecord | GroupRecord | ENIRecord | InstanceRecord
K = TypeVar("K", bound=str)
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenV6:
    """IPv6 addresses that have an owner: too many in a prefix to be listed."""

    addresses: AbstractSet[IPv6Address]
    prefixes: AbstractSet[IPv6Network]

    def __contains__(self, address: object) -> bool:
        """Return whether an address has an owner."""
        return address in self.addresses or any(address in prefix for prefix in self.prefixes)


class State:
    """Every record of one account in one region. `revision` grows with each change."""

    def __init__(self) -> None:
        self.vpcs: dict[str, VpcRecord] = {}
        self.vswitches: dict[str, VSwitchRecord] = {}
        self.routes: dict[str, RouteRecord] = {}
        self.groups: dict[str, GroupRecord] = {}
        self.enis: dict[str, ENIRecord] = {}
        self.instances: dict[str, InstanceRecord] = {}
        self.cursors: dict[str, int] = {}  # per vSwitch: where the next IPv4 address is sought
        self.revision = 0
        self._index = ENIIndex()
        self._eni_changes: list[Change] = []
        self.balancing = BalancingState(self._touch)

    def put(self, *records: Record) -> None:
        """Add records, or replace those with the same ids."""
        for record in records:
            if isinstance(record, ENIRecord):
                self._follow(record.id, record)
            self._table(record)[record.id] = record
        self.revision += 1

    def remove(self, *records: Record) -> None:
        """Remove records."""
        for record in records:
            if isinstance(record, ENIRecord):
                self._follow(record.id, None)
            del self._table(record)[record.id]
        self.revision += 1

    def take_eni_changes(self) -> Iterable[Change]:
        """Return what has changed of ENIs since this was last asked."""
        taken, self._eni_changes = self._eni_changes, []
        return taken

    def _follow(self, eni_id: ENIId, after: ENIRecord | None) -> None:
        before = self.enis.get(eni_id)
        self._index.change(before, after)
        self._eni_changes.append((eni_id, before))

    def vpc(self, vpc_id: str) -> VpcRecord:
        """Return a VPC. Raises Refusal."""
        return _found(self.vpcs, vpc_id, not_found("VpcId", vpc_id))

    def vswitch(self, vswitch_id: str) -> VSwitchRecord:
        """Return a vSwitch. Raises Refusal."""
        return _found(self.vswitches, vswitch_id, not_found("VSwitchId", vswitch_id))

    def group(self, group_id: str) -> GroupRecord:
        """Return a security group. Raises Refusal."""
        return _found(self.groups, group_id, not_found("SecurityGroupId", group_id))

    def eni(self, eni_id: str) -> ENIRecord:
        """Return an ENI. Raises Refusal."""
        return _found(self.enis, eni_id, not_found("EniId", eni_id))

    def instance(self, instance_id: str) -> InstanceRecord:
        """Return an instance, for calls about instances. Raises Refusal."""
        return _found(self.instances, instance_id, not_found("InstanceId", instance_id))

    def ecs(self, instance_id: str) -> InstanceRecord:
        """Return an instance, for calls about ENIs, which name it otherwise. Raises Refusal."""
        return _found(self.instances, instance_id, not_found("EcsId", instance_id))

    def table_owner(self, route_table_id: str) -> VpcRecord:
        """Return the VPC of a route table. Raises Refusal."""
        for vpc in self.vpcs.values():
            if vpc.route_table_id == route_table_id:
                return vpc
        raise not_found("RouteTableId", route_table_id)

    def enis_of(self, instance_id: InstanceId) -> list[ENIRecord]:
        """Return the ENIs that are, or are becoming, or still are on an instance, in slot order."""
        mine = [self.enis[eni_id] for eni_id in self._index.by_instance.get(instance_id, ())]
        return sorted(mine, key=lambda eni: (eni.slot or 0, eni.serial))

    def enis_in(self, vswitch_id: VSwitchId) -> Iterator[ENIRecord]:
        """Iterate over the ENIs of a vSwitch."""
        return (self.enis[eni_id] for eni_id in self._index.by_vswitch.get(vswitch_id, ()))

    def taken_v4(self, vswitch_id: VSwitchId) -> AbstractSet[IPv4Address]:
        """Return the IPv4 addresses of a vSwitch that have an owner, as of now."""
        taken = self._index.ipv4[vswitch_id]
        of_balancers = self.balancing.ipv4_in(vswitch_id)
        return taken | of_balancers if of_balancers else taken

    def taken_v6(self, vswitch_id: VSwitchId) -> TakenV6:
        """Return the IPv6 addresses of a vSwitch that have an owner, as of now."""
        taken = self._index.ipv6[vswitch_id]
        of_balancers = self.balancing.ipv6_in(vswitch_id)
        return TakenV6(
            addresses=taken | of_balancers if of_balancers else taken,
            prefixes=self._index.ipv6_prefixes[vswitch_id],
        )

    def plugged_owner(self, address: IPAddress) -> ENIRecord | None:
        """Return the ENI on an instance that has `address`, if there is one."""
        plugged = (eni for eni in self.enis.values() if eni.is_plugged)
        return next((eni for eni in plugged if address in (*eni.ipv4, *eni.ipv6)), None)

    def vswitches_in(self, vpc_id: VpcId) -> list[VSwitchRecord]:
        """Return the vSwitches of a VPC."""
        return [vswitch for vswitch in self.vswitches.values() if vswitch.vpc_id == vpc_id]

    def count_members(self, group_id: SecurityGroupId) -> int:
        """Return how many ENIs are in a security group."""
        return self._index.members[group_id]

    def _touch(self) -> None:
        self.revision += 1

    def _table(self, record: Record) -> dict[str, Record]:
        table: object
        match record:
            case VpcRecord():
                table = self.vpcs
            case VSwitchRecord():
                table = self.vswitches
            case RouteRecord():
                table = self.routes
            case GroupRecord():
                table = self.groups
            case ENIRecord():
                table = self.enis
            case InstanceRecord():
                table = self.instances
        return table  # type: ignore[return-value]  # a dict is invariant; the match keeps it right


def _found(table: dict[str, R], key: str, refusal: Refusal) -> R:
    if key not in table:
        raise refusal
    return table[key]
