"""Which networks does a pod ask for by its annotations, and can a node alone give them?

Source: AliyunContainerService/terway, types/k8s.go and types/controlplane (PodNetworks).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import ip_network

from terway.config.fields import Fields, decode_object, refuse
from terway.model.address import IPNetwork
from terway.model.ids import SecurityGroupId, VSwitchId

PREFIX = "k8s.aliyun.com/"
POD_NETWORKS = f"{PREFIX}pod-networks"
# These name PodNetworking resources, which are resolved by the control plane.
OF_THE_CONTROL_PLANE = (f"{PREFIX}pod-networks-request", f"{PREFIX}pod-networking")
METADATA_ACCESS = f"{PREFIX}metadata-access"

_MAX_SECURITY_GROUPS = 10
_MAX_VSWITCHES = 10
_IFNAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,4}")
_KEYS = (
    "interface",
    "vSwitchOptions",
    "securityGroupIDs",
    "extraRoutes",
    "defaultRoute",
    "networkInterfaceTrafficMode",
    "eniOptions",
    "vSwitchSelectOptions",
    "resourceGroupID",
    "allocationType",
)


class _TrafficMode(Enum):
    STANDARD = "Standard"
    HIGH_PERFORMANCE = "HighPerformance"


class _ENIType(Enum):
    """`eniOptions.eniType`: how the interface is attached."""

    DEFAULT = "Default"
    ENI = "ENI"
    TRUNK = "Trunk"


class _Allocation(Enum):
    ELASTIC = "Elastic"
    FIXED = "Fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """One interface that a pod asks for."""

    interface: str
    vswitch_ids: tuple[VSwitchId, ...]
    security_group_ids: tuple[SecurityGroupId, ...]
    routes: tuple[IPNetwork, ...]
    has_default_route: bool
    is_erdma: bool


def parse_pod_networks(
    annotations: Mapping[str, str], *, primary: str = "eth0"
) -> tuple[PodNetwork, ...]:
    """Return the networks of the annotation `pod-networks`, that of `primary` first.

    Without the annotation there are none. `primary` is the interface that the runtime asks for:
    it must be listed, and has the default route unless another one asks for it. Raises UsageError
    with the path in the annotation.
    """
    _refuse_strangers(annotations)
    text = annotations.get(POD_NETWORKS, "")
    if not text:
        return ()
    top = Fields(decode_object(text, POD_NETWORKS), POD_NETWORKS)
    top.refuse_unknown(("podNetworks",))
    listed = top.objects("podNetworks")
    if not listed:
        refuse(top.path("podNetworks"), [], "must list at least one network, or go as a whole")
    networks = tuple(map(_network, listed))
    _refuse_duplicates(networks, listed)
    return _with_default(networks, primary)


def parse_metadata_access(annotations: Mapping[str, str]) -> bool:
    """Return whether the pod may reach the instance's metadata. Raises UsageError."""
    text = annotations.get(METADATA_ACCESS, "true")
    if text not in ("true", "false"):
        refuse(METADATA_ACCESS, text, 'must be "true" or "false"')
    return text == "true"


def parse_extra_routes(listed: Iterable[Fields]) -> tuple[IPNetwork, ...]:
    """Return the destinations of a list of ``{"dst": "10.0.0.0/8"}``. Raises UsageError."""
    found: dict[IPNetwork, None] = {}
    for one in listed:
        one.refuse_unknown(("dst",))
        network = _destination(one)
        if network in found:
            refuse(one.path("dst"), str(network), "is listed twice: remove one")
        found[network] = None
    return tuple(found)


def _refuse_strangers(annotations: Mapping[str, str]) -> None:
    for name in OF_THE_CONTROL_PLANE:
        if not annotations.get(name):
            continue
        if annotations.get(POD_NETWORKS):
            rule = f"excludes {POD_NETWORKS}: keep one of the two"
        else:
            rule = f"needs terway-controlplane: write the networks into {POD_NETWORKS} instead"
        refuse(name, annotations[name], rule)


def _network(fields: Fields) -> PodNetwork:
    fields.refuse_unknown(_KEYS)
    _refuse_centralized(fields)
    mode = fields.choice("networkInterfaceTrafficMode", _TrafficMode.STANDARD)
    return PodNetwork(
        interface=_interface(fields),
        vswitch_ids=tuple(map(VSwitchId, _ids(fields, "vSwitchOptions", "vsw-", _MAX_VSWITCHES))),
        security_group_ids=tuple(
            map(SecurityGroupId, _ids(fields, "securityGroupIDs", "sg-", _MAX_SECURITY_GROUPS))
        ),
        routes=parse_extra_routes(fields.objects("extraRoutes")),
        has_default_route=fields.flag("defaultRoute"),
        is_erdma=mode is _TrafficMode.HIGH_PERFORMANCE,
    )


def _refuse_centralized(fields: Fields) -> None:
    """Refuse what only the control plane can give, by name."""
    allocation = fields.object("allocationType")
    if allocation is not None:
        _refuse_fixed(allocation)
    options = fields.object("eniOptions")
    if options is not None:
        options.refuse_unknown(("eniType",))
        kind = options.choice("eniType", _ENIType.DEFAULT)
        if kind is not _ENIType.DEFAULT:
            rule = "a shared ENI has Default only; others need terway-controlplane: remove it"
            refuse(options.path("eniType"), kind.value, rule)
    select = fields.object("vSwitchSelectOptions")
    if select is not None and select.text("vSwitchSelectionPolicy"):
        path = select.path("vSwitchSelectionPolicy")
        rule = "a node chooses by eni_conf.vswitch_selection_policy: remove it"
        refuse(path, select.text("vSwitchSelectionPolicy"), rule)
    if fields.text("resourceGroupID"):
        rule = "a node creates ENIs in eni_conf.resource_group_id: remove it"
        refuse(fields.path("resourceGroupID"), fields.text("resourceGroupID"), rule)


def _refuse_fixed(allocation: Fields) -> None:
    allocation.refuse_unknown(("type", "releaseStrategy", "releaseAfter"))
    kind = allocation.choice("type", _Allocation.ELASTIC)
    if kind is _Allocation.FIXED:
        rule = "a fixed address needs terway-controlplane: use Elastic, or remove allocationType"
        refuse(allocation.path("type"), kind.value, rule)


def _interface(fields: Fields) -> str:
    name = fields.text("interface")
    if not _IFNAME.fullmatch(name) or name == "lo":
        rule = 'must name a link by 1 to 5 letters, digits, "_", "." or "-", as eth1; not lo'
        refuse(fields.path("interface"), name, rule)
    return name


def _ids(fields: Fields, key: str, prefix: str, most: int) -> tuple[str, ...]:
    found = fields.texts(key)
    for index, one in enumerate(found):
        if not one.startswith(prefix):
            refuse(f"{fields.path(key)}[{index}]", one, f'must be an id: "{prefix}…"')
    if len(found) > most:
        refuse(fields.path(key), list(found), f"may list {most}, here are {len(found)}")
    return tuple(dict.fromkeys(found))


def _destination(fields: Fields) -> IPNetwork:
    text = fields.text("dst")
    try:
        network = ip_network(text)
    except ValueError as error:
        refuse(fields.path("dst"), text, f'must be a range such as "10.0.0.0/8": {error}')
    if network.prefixlen == 0:
        refuse(fields.path("dst"), text, "is the default route: ask for it by defaultRoute")
    return network


def _refuse_duplicates(networks: tuple[PodNetwork, ...], listed: tuple[Fields, ...]) -> None:
    names: set[str] = set()
    routes: dict[IPNetwork, str] = {}
    for network, fields in zip(networks, listed, strict=True):
        if network.interface in names:
            rule = "is taken by an earlier network: name another"
            refuse(fields.path("interface"), network.interface, rule)
        names.add(network.interface)
        for route in network.routes:
            other = routes.setdefault(route, network.interface)
            if other != network.interface:
                rule = f"leads by {other} already: list each range once"
                refuse(fields.path("extraRoutes"), str(route), rule)


def _with_default(networks: tuple[PodNetwork, ...], primary: str) -> tuple[PodNetwork, ...]:
    """Return the networks, `primary` first, with one default route among them."""
    path = f"{POD_NETWORKS}.podNetworks"
    names = [one.interface for one in networks]
    if primary not in names:
        refuse(path, names, f"must have a network with interface {primary}")
    claimants = [one.interface for one in networks if one.has_default_route]
    if len(claimants) > 1:
        refuse(path, claimants, "only one network may have defaultRoute: remove the others'")
    chosen = claimants[0] if claimants else primary
    ordered = sorted(networks, key=lambda one: one.interface != primary)  # stable
    return tuple(replace(one, has_default_route=one.interface == chosen) for one in ordered)
