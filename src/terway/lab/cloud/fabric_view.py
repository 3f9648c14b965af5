"""What of the cloud's state must the fabric carry? The records as one `VpcState`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from terway.lab.cloud.actions.group_rules import ALL_PORTS
from terway.lab.cloud.records import (
    ENIRecord,
    GroupRecord,
    RouteRecord,
    RuleRecord,
    VSwitchRecord,
)
from terway.lab.cloud.state import State
from terway.lab.vpc.state import Port, RouteEntry, SecurityGroup, SecurityGroupRule, VpcState
from terway.model.eni import VSwitch
from terway.model.ids import ENIId, InstanceId

# IANA protocol numbers of the names that rules use; ALL is none in particular.
PROTOCOL_NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "GRE": 47, "ICMPv6": 58, "ALL": None}


JUMBO_MTU_BYTES = 8500  # help page "Jumbo frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricHabits:
    """What the fabric must know and no action says: the MTU, and the provider's own addresses."""

    mtu_bytes: int = 1500
    services: tuple[IPv4Address, ...] = ()


def fabric_state(state: State, habits: FabricHabits) -> VpcState:
    """Return everything the fabric carries, in the order of creation."""
    plugged = [eni for eni in state.enis.values() if _is_carried(state, eni)]
    return VpcState(
        vswitches=tuple(_vswitch(vswitch) for vswitch in state.vswitches.values()),
        ports=tuple(_port(eni, mtu_of(state, eni.instance_id, habits)) for eni in plugged),
        routes=tuple(_routes(state)),
        security_groups=tuple(_group(group) for group in state.groups.values()),
        services=habits.services,
    )


def _is_carried(state: State, eni: ENIRecord) -> bool:
    """Return whether an ENI has a link, or its trunk has one."""
    carrier = state.enis.get(eni.trunk_id) if eni.trunk_id else eni
    return eni.is_plugged and carrier is not None and carrier.is_plugged


def _vswitch(vswitch: VSwitchRecord) -> VSwitch:
    return VSwitch(
        id=vswitch.id,
        vpc_id=vswitch.vpc_id,
        zone_id=vswitch.zone_id,
        cidr=vswitch.cidr,
        ipv6_cidr=vswitch.ipv6_cidr,
    )


def mtu_of(state: State, instance_id: InstanceId | None, habits: FabricHabits) -> int:
    """Return the largest packet that an instance's ENIs carry."""
    instance = state.instances.get(instance_id) if instance_id else None
    return JUMBO_MTU_BYTES if instance and instance.has_jumbo_frames else habits.mtu_bytes


def _port(eni: ENIRecord, mtu_bytes: int) -> Port:
    assert eni.instance_id is not None
    return Port(
        eni_id=eni.id,
        mac=eni.mac,
        vpc_id=eni.vpc_id,
        vswitch_id=eni.vswitch_id,
        instance_id=eni.instance_id,
        ifname="" if eni.trunk_id else f"eth{eni.slot}",
        ipv4=tuple(address for address in eni.ipv4 if address not in eni.unready),
        ipv6=tuple(address for address in eni.ipv6 if address not in eni.unready),
        prefixes=(*eni.ipv4_prefixes, *eni.ipv6_prefixes),
        security_group_ids=eni.security_group_ids,
        mtu_bytes=mtu_bytes,
        source_check=eni.source_dest_check,
        trunk_id=eni.trunk_id,
        vlan_id=eni.vlan_id or 0,
    )


def _routes(state: State) -> Iterator[RouteEntry]:
    """Yield the custom routes whose next hop still exists; the others are black holes."""
    for route in state.routes.values():
        hop = _next_hop(state, route)
        if hop is not None:
            vpc = state.table_owner(route.route_table_id)
            yield RouteEntry(vpc_id=vpc.id, destination=route.destination, next_hop=hop)


def _next_hop(state: State, route: RouteRecord) -> ENIId | None:
    if route.next_hop_type == "Instance":
        instance = state.instances.get(route.next_hop_id)
        return instance.primary_eni_id if instance else None
    eni = state.enis.get(route.next_hop_id)
    return eni.id if eni else None


def _group(group: GroupRecord) -> SecurityGroup:
    return SecurityGroup(
        id=group.id,
        vpc_id=group.vpc_id,
        rules=tuple(map(_rule, group.rules)),
        inner_access=group.inner_access,
        is_enterprise=group.is_enterprise,
    )


def _rule(rule: RuleRecord) -> SecurityGroupRule:
    low, high = rule.port_range.split("/")
    return SecurityGroupRule(
        direction=rule.direction,
        accept=rule.accept,
        priority=rule.priority,
        peer=rule.peer,
        protocol=PROTOCOL_NUMBERS[rule.protocol],
        ports=None if rule.port_range == ALL_PORTS else (int(low), int(high)),
    )
