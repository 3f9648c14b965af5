"""Is a `VpcState` one that a VPC can be in. The cloud should never make another."""

from __future__ import annotations

from collections.abc import Iterable

from terway.lab.vpc.balancers import check_balancers
from terway.lab.vpc.contract import PORTS_MAX, PREFIX_BITS
from terway.lab.vpc.members import check_members
from terway.lab.vpc.state import Port, VpcState
from terway.lab.vpc.tables import ranges_of
from terway.model.address import IPAddress, family_of, gateway_of
from terway.model.errors import UsageError
from terway.model.ids import VpcId

_MTU_MAX_BYTES = 9000
_IFNAME_MAX = 15


def check_state(state: VpcState) -> None:
    """Raise UsageError, naming field and value, for the first thing that cannot be."""
    if len(state.ports) >= PORTS_MAX:
        raise _refusal("ports", f"{len(state.ports)} ports; the fabric has room for {PORTS_MAX}")
    for port in state.ports:
        _check_port(port, state)
    _check_unique("eni_id", (port.eni_id for port in state.ports))
    _check_unique("mac", (port.mac for port in state.ports))
    linked = [port for port in state.ports if port.trunk_id is None]
    _check_unique("ifname", (f"{port.instance_id}/{port.ifname}" for port in linked))
    check_members(state)
    _check_addresses(state)
    _check_prefixes(state)
    check_balancers(state)


def _check_port(port: Port, state: VpcState) -> None:
    vswitches = {v.id: v.vpc_id for v in state.vswitches}
    if vswitches.get(port.vswitch_id) != port.vpc_id:
        raise _refusal(
            "vswitch_id", f"{port.eni_id}: no vSwitch {port.vswitch_id} in VPC {port.vpc_id}"
        )
    known = {group.id for group in state.security_groups if group.vpc_id == port.vpc_id}
    if missing := set(port.security_group_ids) - known:
        raise _refusal(
            "security_group_ids",
            f"{port.eni_id}: no security group {', '.join(sorted(missing))} in VPC {port.vpc_id}",
        )
    if not 68 <= port.mtu_bytes <= _MTU_MAX_BYTES:
        raise _refusal(
            "mtu_bytes", f"{port.eni_id}: MTU {port.mtu_bytes}; 68 to {_MTU_MAX_BYTES} is possible"
        )
    if port.trunk_id is None and not 0 < len(port.ifname) <= _IFNAME_MAX:
        raise _refusal("ifname", f"{port.eni_id}: link name {port.ifname!r}")


def _check_unique(field: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise _refusal(field, f"two ports have {field} {value}")
        seen.add(value)


def _check_addresses(state: VpcState) -> None:
    owners: dict[tuple[VpcId, IPAddress], str] = {}
    for vswitch in state.vswitches:
        for cidr in ranges_of(vswitch):
            owners[(vswitch.vpc_id, gateway_of(cidr))] = f"gateway of {vswitch.id}"
    for balancer in state.balancers:
        name = f"load balancer {balancer.address}"
        if owners.setdefault((balancer.vpc_id, balancer.address), name) != name:
            other = owners[(balancer.vpc_id, balancer.address)]
            raise _refusal("balancers", f"{balancer.address} belongs to {other}")
    for port in state.ports:
        addresses: tuple[IPAddress, ...] = (*port.ipv4, *port.ipv6, *state.services)
        for address in addresses:
            if address in state.services:
                continue
            other = owners.setdefault((port.vpc_id, address), port.eni_id)
            if other != port.eni_id:
                raise _refusal("ipv4", f"{address} belongs to {other} and to {port.eni_id}")


def _check_prefixes(state: VpcState) -> None:
    ranges = {vswitch.id: ranges_of(vswitch) for vswitch in state.vswitches}
    for port in state.ports:
        for prefix in port.prefixes:
            if prefix.prefixlen != PREFIX_BITS[family_of(prefix)]:
                raise _refusal("prefixes", f"{port.eni_id}: {prefix} is neither a /28 nor a /80")
            # A prefix is never larger than a vSwitch, so its first address tells.
            if not any(prefix.network_address in one for one in ranges[port.vswitch_id]):
                raise _refusal("prefixes", f"{port.eni_id}: {prefix} is not in its vSwitch")


def _refusal(field: str, text: str) -> UsageError:
    return UsageError(f"VPC state refused: {text}", field=field)
