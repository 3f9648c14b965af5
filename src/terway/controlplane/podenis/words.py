"""How are a pod's networks written, in annotations and in a PodENI?

`config` reads the annotation; here is the other direction, so that what was decided at admission is
what is made, whole: default route, resource group and traffic mode, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from terway.config.duration import parse_duration
from terway.config.findings import ConfigError
from terway.config.network_keys import POD_NETWORKS
from terway.config.requested_networks import parse_asked
from terway.kube.crds import (
    AllocatedENI,
    Allocation,
    AllocationType,
    AttachmentOptions,
    Dst,
    PodENI,
)
from terway.model.ids import SecurityGroupId, VSwitchId
from terway.model.pod_network import (
    ELASTIC,
    FOR_EVER,
    PRIMARY_INTERFACE,
    ENIOption,
    Lifetime,
    PodNetwork,
    TrafficMode,
)

FIXED, NEVER, TTL = "Fixed", "Never", "TTL"
_TRUNK = {ENIOption.DEFAULT: None, ENIOption.ENI: False, ENIOption.TRUNK: True}


def write_networks(networks: Iterable[PodNetwork]) -> str:
    """Return the annotation `pod-networks`."""
    return msgspec.json.encode({"podNetworks": [_network(one) for one in networks]}).decode()


def _network(one: PodNetwork) -> dict[str, object]:
    said: dict[str, object] = {
        "interface": one.interface,
        "vSwitchOptions": one.vswitch_ids,
        "securityGroupIDs": one.security_group_ids,
        "extraRoutes": [{"dst": str(route)} for route in one.routes],
        "eniOptions": {"eniType": one.eni.value},
        "vSwitchSelectOptions": {"vSwitchSelectionPolicy": one.vswitch_choice.value},
        "resourceGroupID": one.resource_group_id,
        "networkInterfaceTrafficMode": one.traffic_mode.value,
        "defaultRoute": one.has_default_route,
        "allocationType": msgspec.to_builtins(allocation_type(one.lifetime)),
    }
    return {name: value for name, value in said.items() if value}


def allocation_type(lifetime: Lifetime) -> AllocationType:
    """Return how long it lives, as the API has it."""
    if not lifetime.is_fixed:
        return AllocationType(type="Elastic")
    if lifetime.ttl_s is None:
        return AllocationType(type=FIXED, release_strategy=NEVER)
    return AllocationType(
        type=FIXED, release_strategy=TTL, release_after=f"{round(lifetime.ttl_s)}s"
    )


def lifetime_of(said: AllocationType) -> Lifetime:
    """Return how long it lives. A Fixed one whose time nobody can read stays for ever."""
    if said.type != FIXED:
        return ELASTIC
    ttl_s = None if said.release_strategy == NEVER else parse_duration(said.release_after)
    return FOR_EVER if ttl_s is None else Lifetime(is_fixed=True, ttl_s=ttl_s)


def allocation_of(one: PodNetwork) -> Allocation:
    """Return the interface as a PodENI has it before its ENI exists."""
    trunk = _TRUNK[one.eni]
    return Allocation(
        interface=one.interface,
        default_route=one.has_default_route,
        extra_routes=tuple(Dst(dst=str(route)) for route in one.routes),
        allocation_type=allocation_type(one.lifetime),
        eni=AllocatedENI(
            security_group_ids=one.security_group_ids,
            resource_group_id=one.resource_group_id,
            attachment_options=None if trunk is None else AttachmentOptions(trunk=trunk),
            traffic_mode=one.traffic_mode.value,
        ),
    )


def option_of(eni: AllocatedENI) -> ENIOption:
    """Return how an ENI is to be attached."""
    trunk = None if eni.attachment_options is None else eni.attachment_options.trunk
    return next(option for option, said in _TRUNK.items() if said is trunk)


def name_of(one: Allocation) -> str:
    """Return the name of the interface in the pod."""
    return one.interface or PRIMARY_INTERFACE


def networks_of(record: PodENI) -> Mapping[str, PodNetwork]:
    """Return what the interfaces of a PodENI are made from, by name.

    One that another control plane made says it by its allocations only: its next ENI comes from
    the vSwitch of its last one.
    """
    try:
        asked = parse_asked({POD_NETWORKS: record.metadata.annotations.get(POD_NETWORKS, "")})
        found = {one.interface: one for one in asked.networks}
    except ConfigError:
        found = {}
    return {name_of(one): found.get(name_of(one)) or _from(one) for one in record.spec.allocations}


def _from(one: Allocation) -> PodNetwork:
    vswitch_id = one.eni.vswitch_id
    return PodNetwork(
        interface=name_of(one),
        vswitch_ids=(VSwitchId(vswitch_id),) if vswitch_id else (),
        security_group_ids=tuple(map(SecurityGroupId, one.eni.security_group_ids)),
        resource_group_id=one.eni.resource_group_id,
        has_default_route=one.default_route,
        traffic_mode=TrafficMode(one.eni.traffic_mode or TrafficMode.STANDARD.value),
        eni=option_of(one.eni),
        lifetime=lifetime_of(one.allocation_type),
    )
