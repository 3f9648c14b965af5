"""What the fabric's maps must hold for a `VpcState`: pure, and the same for every run.

An entry is bytes to bytes, packed by `contract`. Ports whose ENI has no link yet are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from terway.lab.vpc.balancers import access_entries, balancers_of, listener_entries
from terway.lab.vpc.contract import (
    ADDRESS_KEY,
    GROUP_ANYBODY,
    OWNER,
    PORT,
    PREFIX_OF,
    ROUTE,
    ROUTE_KEY,
    ROUTE_PREFIX_BITS,
    SERVICES_GATEWAY,
    SUBNET,
    OwnerKind,
    PortFlag,
    family_number,
    pack_address,
    pack_groups,
    pack_mac,
    pack_u32,
    pack_u64,
)
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.rules import RuleList, compile_rules, pack_range
from terway.lab.vpc.state import Direction, Port, SecurityGroup, VpcState
from terway.model.address import IPAddress, IPNetwork, family_of, gateway_of
from terway.model.eni import VSwitch
from terway.model.ids import ENIId, MacAddress, SecurityGroupId, VpcId

Entries = Mapping[bytes, bytes]

_NO_SUBNET = SUBNET.pack(network=b"\xff" * 16, mask=b"\xff" * 16)
_SERVICES_SUBNET = SUBNET.pack(
    network=b"\xff" * 16, mask=b"\xff" * 16, gateway=pack_address(SERVICES_GATEWAY)
)
_ALWAYS = 2**32 - 1  # of a port's loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The links of the fabric, as the kernel numbered them."""

    ports: Mapping[ENIId, int]  # by number: see contract.port_number
    services: int
    services_mac: MacAddress
    services_mtu_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The contents of the maps that the lab writes."""

    rule_lists: Entries = field(default_factory=dict)
    ports: Entries = field(default_factory=dict)
    addresses: Entries = field(default_factory=dict)
    routes: Entries = field(default_factory=dict)
    access_lists: Entries = field(default_factory=dict)
    listeners: Entries = field(default_factory=dict)


def compile_tables(state: VpcState, wiring: Wiring, numbers: Numbers) -> Tables:
    """Return the maps for `state`, which `check.check_state` has accepted.

    Raises UsageError when security groups have more rules than the fabric takes.
    """
    plugged = tuple(port for port in state.ports if port.eni_id in wiring.ports)
    lists = _Lists(state, numbers)
    ports = {
        pack_u32(wiring.ports[port.eni_id]): _pack_port(port, state, lists, numbers)
        for port in plugged
    }
    prober = state.prober
    vpc = numbers.vpc(prober.vpc_id) if prober else 0
    ports[pack_u32(wiring.services)] = _pack_services(wiring, vpc)
    return Tables(
        rule_lists=lists.entries(plugged),
        ports=ports,
        addresses=dict(_addresses(state, plugged, wiring, numbers)),
        routes=_routes(state, wiring, numbers),
        access_lists=dict(access_entries(state)),
        listeners=dict(listener_entries(state, numbers)),
    )


class _Lists:
    """The rule lists of a state, each compiled once: most ENIs share their groups."""

    def __init__(self, state: VpcState, numbers: Numbers) -> None:
        self._groups = {group.id: group for group in state.security_groups}
        self._numbers = numbers
        self._compiled: dict[tuple[tuple[SecurityGroupId, ...], Direction], RuleList] = {}
        self._members: dict[str, list[str]] = {}
        for port in state.ports:
            for group_id in port.security_group_ids:
                self._members.setdefault(group_id, []).append(port.eni_id)

    def of(self, port: Port, direction: Direction) -> RuleList:
        key = (tuple(sorted(set(port.security_group_ids))), direction)
        if key not in self._compiled:
            groups: list[SecurityGroup] = [self._groups[group_id] for group_id in key[0]]
            self._compiled[key] = compile_rules(groups, direction, self._numbers)
        return self._compiled[key]

    def entries(self, ports: tuple[Port, ...]) -> Entries:
        lists = (self.of(port, direction) for port in ports for direction in Direction)
        return {pack_u64(one.id): one.value for one in lists}

    def epoch(self, port: Port) -> int:
        """Return a number that changes whenever the port's rules may judge otherwise."""
        lists = [self.of(port, direction) for direction in Direction]
        named = sorted(lists[0].named_groups | lists[1].named_groups)
        members = [(name, sorted(self._members.get(name, ()))) for name in named]
        text = repr(([one.id for one in lists], members)).encode()
        return int.from_bytes(blake2b(text, digest_size=4).digest(), "big")


def _pack_port(port: Port, state: VpcState, lists: _Lists, numbers: Numbers) -> bytes:
    vswitch = next(v for v in state.vswitches if v.id == port.vswitch_id)
    bits = 1 << GROUP_ANYBODY
    for group_id in port.security_group_ids:
        bits |= 1 << numbers.group(group_id)
    return PORT.pack(
        ingress_rules=lists.of(port, Direction.INGRESS).id,
        egress_rules=lists.of(port, Direction.EGRESS).id,
        groups=pack_groups(bits),
        vswitch=_pack_subnets(vswitch),
        vpc=numbers.vpc(port.vpc_id),
        mtu=port.mtu_bytes,
        epoch=lists.epoch(port),
        flags=_flags(port, state),
        mac=pack_mac(port.mac),
        loss=round(port.loss * _ALWAYS),
    )


def _flags(port: Port, state: VpcState) -> int:
    flags = PortFlag.SOURCE_CHECK if port.source_check else PortFlag(0)
    is_backend = any(_has_any(port, one.members) for one in balancers_of(state, port.vpc_id))
    return flags | PortFlag.BACKEND if is_backend else flags


def _has_any(port: Port, addresses: tuple[IPAddress, ...]) -> bool:
    own = {*port.ipv4, *port.ipv6}
    return any(one in own or any(one in held for held in port.prefixes) for one in addresses)


def _pack_services(wiring: Wiring, vpc: int) -> bytes:
    return PORT.pack(
        vpc=vpc,
        groups=pack_groups(1 << GROUP_ANYBODY),
        vswitch=_SERVICES_SUBNET + _NO_SUBNET,
        mtu=wiring.services_mtu_bytes,
        mac=pack_mac(wiring.services_mac),
    )


def _pack_subnets(vswitch: VSwitch) -> bytes:
    return _pack_subnet(vswitch.cidr) + _pack_subnet(vswitch.ipv6_cidr)


def _pack_subnet(cidr: IPNetwork | None) -> bytes:
    if cidr is None:
        return _NO_SUBNET
    network, mask = pack_range(cidr)
    return SUBNET.pack(network=network, mask=mask, gateway=pack_address(gateway_of(cidr)))


def _addresses(
    state: VpcState, plugged: tuple[Port, ...], wiring: Wiring, numbers: Numbers
) -> Iterator[tuple[bytes, bytes]]:
    for vpc_id in sorted({vswitch.vpc_id for vswitch in state.vswitches}):
        for service in state.services:
            kind = OwnerKind.PROBER if _is_prober(state, vpc_id, service) else OwnerKind.SERVICES
            yield _owned(numbers.vpc(vpc_id), service, kind, wiring.services)
        for balancer in balancers_of(state, vpc_id):
            yield _owned(numbers.vpc(vpc_id), balancer.address, OwnerKind.BALANCER, wiring.services)
    for vswitch in state.vswitches:
        for cidr in ranges_of(vswitch):
            vpc = numbers.vpc(vswitch.vpc_id)
            yield _owned(vpc, gateway_of(cidr), OwnerKind.GATEWAY, 0)
    for port in plugged:
        owned: tuple[IPAddress, ...] = (*port.ipv4, *port.ipv6)
        for address in owned:
            ifindex = wiring.ports[port.eni_id]
            yield _owned(numbers.vpc(port.vpc_id), address, OwnerKind.PORT, ifindex)
        for prefix in port.prefixes:
            yield _owned_prefix(numbers.vpc(port.vpc_id), prefix, wiring.ports[port.eni_id])


def _is_prober(state: VpcState, vpc_id: VpcId, service: IPAddress) -> bool:
    prober = state.prober
    return prober is not None and prober.vpc_id == vpc_id and service in prober.addresses


def _owned(vpc: int, address: IPAddress, kind: OwnerKind, port: int) -> tuple[bytes, bytes]:
    key = ADDRESS_KEY.pack(
        vpc=vpc, family=family_number(family_of(address)), address=pack_address(address)
    )
    return key, OWNER.pack(kind=kind, port=port)


def _owned_prefix(vpc: int, prefix: IPNetwork, port: int) -> tuple[bytes, bytes]:
    key = ADDRESS_KEY.pack(
        vpc=vpc,
        family=family_number(family_of(prefix)) | PREFIX_OF,
        address=pack_address(prefix.network_address),
    )
    return key, OWNER.pack(kind=OwnerKind.PORT, port=port)


def ranges_of(vswitch: VSwitch) -> tuple[IPNetwork, ...]:
    """Return the ranges of a vSwitch, one or two."""
    return (vswitch.cidr,) if vswitch.ipv6_cidr is None else (vswitch.cidr, vswitch.ipv6_cidr)


def _routes(state: VpcState, wiring: Wiring, numbers: Numbers) -> Entries:
    """Return custom routes and vSwitch ranges; a vSwitch wins over a route to the same range.

    A next hop without a link is no way out: its packets are dropped, as the cloud does when the
    instance of a next hop is stopped.
    """
    found = {
        _route_key(route.vpc_id, route.destination, numbers): ROUTE.pack(
            port=wiring.ports.get(route.next_hop, 0)
        )
        for route in state.routes
    }
    for vswitch in state.vswitches:
        for cidr in ranges_of(vswitch):
            found[_route_key(vswitch.vpc_id, cidr, numbers)] = ROUTE.pack(port=0)
    return found


def _route_key(vpc_id: VpcId, destination: IPNetwork, numbers: Numbers) -> bytes:
    return ROUTE_KEY.pack(
        prefixlen=ROUTE_PREFIX_BITS + destination.prefixlen,
        vpc=numbers.vpc(vpc_id),
        family=family_number(family_of(destination)),
        destination=pack_address(destination.network_address),
    )
