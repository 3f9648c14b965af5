"""What is there? All records, looked up by id; a lookup that fails is the cloud's refusal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TypeVar

from terway.lab.cloud.balancer_state import BalancingState
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

    addresses: frozenset[IPv6Address]
    prefixes: tuple[IPv6Network, ...]

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
        self.balancing = BalancingState(self._touch)

    def put(self, *records: Record) -> None:
        """Add records, or replace those with the same ids."""
        for record in records:
            self._table(record)[record.id] = record
        self.revision += 1

    def remove(self, *records: Record) -> None:
        """Remove records."""
        for record in records:
            del self._table(record)[record.id]
        self.revision += 1

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
        mine = (eni for eni in self.enis.values() if eni.instance_id == instance_id)
        return sorted(mine, key=lambda eni: eni.slot or 0)

    def enis_in(self, vswitch_id: VSwitchId) -> Iterator[ENIRecord]:
        """Iterate over the ENIs of a vSwitch."""
        return (eni for eni in self.enis.values() if eni.vswitch_id == vswitch_id)

    def taken_v4(self, vswitch_id: VSwitchId) -> set[IPv4Address]:
        """Return the IPv4 addresses of a vSwitch that have an owner."""
        taken = {address for eni in self.enis_in(vswitch_id) for address in eni.ipv4}
        for eni in self.enis_in(vswitch_id):
            taken.update(address for prefix in eni.ipv4_prefixes for address in prefix)
        return taken | self.balancing.ipv4_in(vswitch_id)

    def taken_v6(self, vswitch_id: VSwitchId) -> TakenV6:
        """Return the IPv6 addresses of a vSwitch that have an owner."""
        enis = tuple(self.enis_in(vswitch_id))
        return TakenV6(
            addresses=frozenset(address for eni in enis for address in eni.ipv6)
            | self.balancing.ipv6_in(vswitch_id),
            prefixes=tuple(prefix for eni in enis for prefix in eni.ipv6_prefixes),
        )

    def plugged_owner(self, address: IPAddress) -> ENIRecord | None:
        """Return the ENI on an instance that has `address`, if there is one."""
        plugged = (eni for eni in self.enis.values() if eni.is_plugged)
        return next((eni for eni in plugged if address in (*eni.ipv4, *eni.ipv6)), None)

    def vswitches_in(self, vpc_id: VpcId) -> list[VSwitchRecord]:
        """Return the vSwitches of a VPC."""
        return [vswitch for vswitch in self.vswitches.values() if vswitch.vpc_id == vpc_id]

    def members(self, group_id: SecurityGroupId) -> list[ENIId]:
        """Return the ENIs in a security group."""
        return [eni.id for eni in self.enis.values() if group_id in eni.security_group_ids]

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
