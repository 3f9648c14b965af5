"""Which interfaces does a PodENI make, on this node?

    PodENI, phase Bind, of this pod's uid
      allocation ── member, VLAN id ──► over the node's trunk      nodes whose pods share ENIs
                 └─ no member ────────► the device itself          nodes with an ENI for each pod

The control plane made, attached and chose everything; the node takes it as it is, or says by name
why it cannot. Source of the fields: upstream's PodENI (`kube.crds`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from terway.agent.interfaces import ONE_DEVICE, Interface, InterfacePolicy, common_spec
from terway.agent.pool_ports import ManagedENI
from terway.cni.call import Add
from terway.kube.crds import POD_UID, Allocation, ENIInfo, PodENI
from terway.kube.types import Pod
from terway.model.address import IPNetwork, IPPair, gateway_of
from terway.model.attachment import Lease
from terway.model.errors import TransientError, UsageError
from terway.model.ids import ENIId, InstanceId, MacAddress
from terway.model.interface import InterfaceSpec, Mode, OwnENI

_BOUND = "Bind"
_LAST_VLAN = 4094


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What a PodENI is held against: this instance, and the ENIs that it has."""

    instance_id: InstanceId
    eni: Callable[[ENIId], ManagedENI | None]


def missing_of(found: PodENI | None, pod: Pod) -> str:
    """Return what a PodENI still lacks to be the pod's, in words; empty when it lacks nothing."""
    if found is None:
        return "there is none of its name; does the control plane run, and did it see the pod?"
    said = f": {found.status.msg}" if found.status.msg else ""
    if found.metadata.deletion_timestamp:
        return f"it is being deleted{said}"
    uid = found.metadata.annotations.get(POD_UID, "")
    if uid != pod.metadata.uid:
        return f"it is bound for the pod with uid {uid or '(none)'}, not {pod.metadata.uid}{said}"
    if found.status.phase != _BOUND:
        return f"its phase is {found.status.phase or '(none)'}, not {_BOUND}{said}"
    if not found.spec.allocations:
        return "it has no allocations"
    unbound = [one.eni.id for one in found.spec.allocations if not _is_bound(found, one)]
    return f"not bound yet: {', '.join(unbound)}{said}" if unbound else ""


def _is_bound(found: PodENI, one: Allocation) -> bool:
    info = found.status.eni_infos.get(one.eni.id)
    return info is not None and info.status in (_BOUND, "")


def interfaces_of_podeni(
    call: Add, pod: Pod, found: PodENI, policy: InterfacePolicy, here: Here
) -> tuple[Interface, ...]:
    """Return the interfaces of the container, the one that the call names first.

    `found` lacks nothing (`missing_of`). Raises TransientError where it is bound elsewhere than
    here, UsageError with the field where this node cannot make what it says.
    """
    instance = found.status.instance_id
    if instance not in ("", here.instance_id):
        text = f"PodENI {_name(found)} is bound on instance {instance}; this is {here.instance_id}"
        raise TransientError(text, code="PodENIElsewhere")
    allocations = _in_order(found, call.key.ifname)
    several = len(allocations) > 1
    default = _default_of(allocations)
    common = replace(common_spec(call, pod.metadata.annotations, policy), is_one_of_several=several)
    made = tuple(
        _interface(
            _Asked(
                call=call,
                found=found,
                allocation=one,
                here=here,
                mode=policy.mode,
                has_vlan_devices=policy.has_vlan_devices,
            ),
            replace(
                common,
                has_default_route=one is default,
                routes=_routes(one, policy if one is allocations[0] else None),
            ),
        )
        for one in allocations
    )
    _check_together(found, made, is_first_default=default is allocations[0])
    if policy.has_programs and several and made[0].spec.mode is Mode.EXCLUSIVE:
        text = f"PodENI {_name(found)} is for {', '.join(one.key.ifname for one in made)}"
        raise UsageError(f"{text}: {ONE_DEVICE}", field="podENI.spec.allocations")
    return made


def _check_together(found: PodENI, made: tuple[Interface, ...], *, is_first_default: bool) -> None:
    """Raise UsageError for interfaces that no pod can have at once."""
    modes = {one.spec.mode for one in made}
    if len(modes) > 1:
        text = f"PodENI {_name(found)}: one pod has whole ENIs, or members of the trunk by eBPF"
        raise UsageError(f"{text}, and not both", field="podENI.spec.allocations")
    if Mode.EXCLUSIVE in modes and not is_first_default:
        first = made[0].key.ifname
        text = f"PodENI {_name(found)}: with devices of its own everything else leaves"
        raise UsageError(f"{text} by {first}", field="defaultRoute")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One allocation, and what it is for."""

    call: Add
    found: PodENI
    allocation: Allocation
    here: Here
    mode: Mode
    has_vlan_devices: bool

    @property
    def info(self) -> ENIInfo:
        """Return what is known of the ENI as it is attached."""
        return self.found.status.eni_infos[self.allocation.eni.id]

    def refuse(self, why: str) -> UsageError:
        """Return the refusal of this allocation."""
        name = self.allocation.eni.id
        return UsageError(f"PodENI {_name(self.found)}, ENI {name}: {why}", field="podENI")


def _interface(asked: _Asked, spec: InterfaceSpec) -> Interface:
    ifname = asked.allocation.interface or asked.call.key.ifname
    is_primary = ifname == asked.call.key.ifname
    own = _own_eni(asked)
    return Interface(
        key=replace(asked.call.key, ifname=ifname),
        spec=replace(
            spec,
            mode=_mode(asked, own),
            parent="" if is_primary else asked.call.key.ifname,
            own_eni=own,
        ),
        lease=_lease(asked),
    )


def _in_order(found: PodENI, primary: str) -> tuple[Allocation, ...]:
    """Return the allocations, that of the call's interface first."""
    said = found.spec.allocations
    names = [one.interface or primary for one in said]
    if primary not in names or len(set(names)) < len(names):
        text = f"PodENI {_name(found)} is for {', '.join(names)}; each once, and {primary} among"
        raise UsageError(f"{text} them", field="podENI.spec.allocations")
    return tuple(sorted(said, key=lambda one: one.interface not in ("", primary)))


def _default_of(allocations: tuple[Allocation, ...]) -> Allocation:
    """Return by which everything else leaves: the first that says so, else the first."""
    return next((one for one in allocations if one.default_route), allocations[0])


def _routes(one: Allocation, policy: InterfacePolicy | None) -> tuple[IPNetwork, ...]:
    own = tuple(ip_network(route.dst, strict=False) for route in one.extra_routes)
    nodes = () if policy is None else policy.routes
    return (*own, *(route for route in nodes if route not in own))


def _lease(asked: _Asked) -> Lease:
    said = asked.allocation
    if not said.eni.mac or not (said.ipv4 or said.ipv6):
        raise asked.refuse("it has no MAC, or no address")
    addresses = IPPair(
        v4=IPv4Address(said.ipv4) if said.ipv4 else None,
        v6=IPv6Address(said.ipv6) if said.ipv6 else None,
    )
    mac = MacAddress(said.eni.mac.lower())
    return Lease(eni_id=ENIId(said.eni.id), eni_mac=mac, addresses=addresses)


def _own_eni(asked: _Asked) -> OwnENI:
    said, vlan_id = asked.allocation, asked.info.vid
    gateways = IPPair(
        v4=_gateway_v4(said.ipv4_cidr) if said.ipv4 else None,
        v6=_gateway_v6(said.ipv6_cidr) if said.ipv6 else None,
    )
    if not vlan_id:
        return OwnENI(gateways=gateways)
    if vlan_id > _LAST_VLAN:
        raise asked.refuse(f"{vlan_id} is no VLAN id: 1 to {_LAST_VLAN}")
    return OwnENI(gateways=gateways, trunk_mac=_trunk(asked).mac, vlan_id=vlan_id)


def _gateway_v4(cidr: str) -> IPv4Address | None:
    found = gateway_of(IPv4Network(cidr, strict=False)) if cidr else None
    assert not isinstance(found, IPv6Address)  # of an IPv4 network
    return found


def _gateway_v6(cidr: str) -> IPv6Address | None:
    found = gateway_of(IPv6Network(cidr, strict=False)) if cidr else None
    assert not isinstance(found, IPv4Address)  # of an IPv6 network
    return found


def _trunk(asked: _Asked) -> ManagedENI:
    """Return the trunk that a member is on, which is this node's."""
    trunk_id = asked.found.status.trunk_eni_id
    trunk = asked.here.eni(ENIId(trunk_id))
    if trunk is None:
        text = f"it is a member of trunk {trunk_id or '(none)'}, which this node does not have"
        raise TransientError(f"PodENI {_name(asked.found)}: {text}", code="OtherTrunk")
    has_v6 = trunk.vswitch is None or trunk.vswitch.ipv6_cidr is not None
    if asked.allocation.ipv6 and not has_v6:
        text = f"vSwitch {trunk.vswitch_id} of trunk {trunk_id} has no IPv6 range: give it one"
        raise asked.refuse(text)
    return trunk


def _mode(asked: _Asked, own: OwnENI) -> Mode:
    if own.trunk_mac is None or (asked.has_vlan_devices and asked.mode is not Mode.EXCLUSIVE):
        return Mode.EXCLUSIVE
    if asked.mode is Mode.EXCLUSIVE:
        raise asked.refuse("it is a member of a trunk, and pods of this node have whole ENIs")
    # A child has the MAC of its parent, which is the trunk's, and not the member's.
    return Mode.DATAPATHV2 if asked.mode is Mode.IPVLAN else asked.mode


def _name(found: PodENI) -> str:
    return f"{found.metadata.namespace}/{found.metadata.name}"
