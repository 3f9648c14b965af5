"""Which networks does a pod ask for by its annotations, and can a node alone give them?

Source: AliyunContainerService/terway, types/k8s.go and types/controlplane (PodNetworks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from terway.config.declare import Key, Record, Values, read_object
from terway.config.document import decode_object
from terway.config.findings import Report
from terway.config.keys_pods import ROUTE_DST
from terway.config.kinds import Flag, ListOf, OneOf, Text
from terway.model.address import IPNetwork
from terway.model.ids import SecurityGroupId, VSwitchId

PREFIX = "k8s.aliyun.com/"
POD_NETWORKS = f"{PREFIX}pod-networks"
# These name PodNetworking resources, which are resolved by the control plane.
OF_THE_CONTROL_PLANE = (f"{PREFIX}pod-networks-request", f"{PREFIX}pod-networking")
METADATA_ACCESS = f"{PREFIX}metadata-access"

_LIST = f"{POD_NETWORKS}.podNetworks"
_MOST = 10  # vSwitches, and security groups, of one network


class _TrafficMode(Enum):
    STANDARD = "Standard"
    HIGH_PERFORMANCE = "HighPerformance"


class _ENIType(Enum):
    DEFAULT = "Default"
    ENI = "ENI"
    TRUNK = "Trunk"


class _Allocation(Enum):
    ELASTIC = "Elastic"
    FIXED = "Fixed"


def _text(name: str, meaning: str) -> Key[str]:
    return Key(name=name, kind=Text(), default="", meaning=meaning)


def _ids(name: str, prefix: str, meaning: str) -> Key[tuple[str, ...]]:
    one = Text(pattern=rf"{prefix}-\S+", words=f'an id: "{prefix}-…"')
    return Key(name=name, kind=ListOf(of=one, most=_MOST), default=(), meaning=meaning)


_INTERFACE: Key[str] = Key(
    name="interface",
    kind=Text(
        pattern=r"(?!lo$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,4}",
        words='the name of a link: 1 to 5 letters, digits, "_", "." or "-", as eth1; not lo',
    ),
    default="",
    meaning="Name of the interface in the pod",
)
_VSWITCHES = _ids("vSwitchOptions", "vsw", "vSwitches of the address")
_GROUPS = _ids("securityGroupIDs", "sg", "Security groups of the ENI")
_ROUTES: Key[tuple[Values, ...]] = Key(
    name="extraRoutes",
    kind=ListOf(of=Record(keys=(ROUTE_DST,))),
    default=(),
    meaning="Destinations that are reached by this interface",
)
_DEFAULT_ROUTE: Key[bool] = Key(
    name="defaultRoute", kind=Flag(), default=False, meaning="Everything else leaves here"
)
_TRAFFIC_MODE: Key[_TrafficMode] = Key(
    name="networkInterfaceTrafficMode",
    kind=OneOf(_TrafficMode),
    default=_TrafficMode.STANDARD,
    meaning="HighPerformance: an ENI with RDMA",
)
_ENI_TYPE: Key[_ENIType] = Key(
    name="eniType", kind=OneOf(_ENIType), default=_ENIType.DEFAULT, meaning="How it is attached"
)
_POLICY = _text("vSwitchSelectionPolicy", "How one of the vSwitches is chosen")
_RESOURCE_GROUP = _text("resourceGroupID", "Resource group of a created ENI")
_ALLOCATION: Key[_Allocation] = Key(
    name="type", kind=OneOf(_Allocation), default=_Allocation.ELASTIC, meaning="Fixed: it stays"
)
_RELEASE = (_text("releaseStrategy", "When it goes"), _text("releaseAfter", "How long after"))


def _record(name: str, meaning: str, *keys: Key[object]) -> Key[Values | None]:
    return Key(name=name, kind=Record(keys=keys), default=None, meaning=meaning)


_ENI_OPTIONS = _record("eniOptions", "How the ENI is attached", _ENI_TYPE)
_SELECT = _record("vSwitchSelectOptions", "How a vSwitch is chosen", _POLICY)
_ALLOCATION_TYPE = _record("allocationType", "How long the address stays", _ALLOCATION, *_RELEASE)
_KEYS: tuple[Key[object], ...] = (
    _INTERFACE,
    _VSWITCHES,
    _GROUPS,
    _ROUTES,
    _DEFAULT_ROUTE,
    _TRAFFIC_MODE,
    _ENI_OPTIONS,
    _SELECT,
    _RESOURCE_GROUP,
    _ALLOCATION_TYPE,
)
_NETWORKS: Key[tuple[Values, ...]] = Key(
    name="podNetworks",
    kind=ListOf(of=Record(keys=_KEYS)),
    default=(),
    meaning="The pod's interfaces",
)


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
    it must be listed, and has the default route unless another one asks for it. Raises ConfigError
    with the paths in the annotation.
    """
    report = Report()
    _refuse_strangers(annotations, report)
    listed: tuple[Values, ...] = ()
    if annotations.get(POD_NETWORKS):
        listed = _read_list(annotations[POD_NETWORKS], report)
        _check(listed, primary, report)
    report.raise_refusals()
    return _with_default(tuple(map(_network, listed)), primary)


def parse_metadata_access(annotations: Mapping[str, str]) -> bool:
    """Return whether the pod may reach the instance's metadata. Raises ConfigError."""
    text = annotations.get(METADATA_ACCESS, "true")
    if text not in ("true", "false"):
        report = Report()
        report.refuse(METADATA_ACCESS, text, 'must be "true" or "false"')
        report.raise_refusals()
    return text == "true"


def _refuse_strangers(annotations: Mapping[str, str], report: Report) -> None:
    for name in OF_THE_CONTROL_PLANE:
        if not annotations.get(name):
            continue
        if annotations.get(POD_NETWORKS):
            rule = f"excludes {POD_NETWORKS}: keep one of the two"
        else:
            rule = f"needs terway-controlplane: write the networks into {POD_NETWORKS} instead"
        report.refuse(name, annotations[name], rule)


def _read_list(text: str, report: Report) -> tuple[Values, ...]:
    raw = decode_object(text, POD_NETWORKS, report)
    if raw is None:
        return ()
    listed = read_object((_NETWORKS,), raw, POD_NETWORKS, report)[_NETWORKS]
    if not listed and not report.refusals:
        report.refuse(_LIST, [], "must list at least one network, or go as a whole")
    return listed


def _check(listed: tuple[Values, ...], primary: str, report: Report) -> None:
    """Refuse what only the control plane can give, and what cannot be side by side."""
    for one in listed:
        _check_centralized(one, report)
        for route in one[_ROUTES]:
            dst = route[ROUTE_DST]
            if dst is None or dst.prefixlen == 0:
                rule = "must be a range, and no default route: ask for that by defaultRoute"
                report.refuse(route.path(ROUTE_DST), None if dst is None else str(dst), rule)
    if listed and not report.refusals:
        _check_duplicates(listed, report)
        _check_default(listed, primary, report)


def _check_centralized(one: Values, report: Report) -> None:
    allocation, options, select = one[_ALLOCATION_TYPE], one[_ENI_OPTIONS], one[_SELECT]
    if allocation is not None and allocation[_ALLOCATION] is _Allocation.FIXED:
        rule = "a fixed address needs terway-controlplane: use Elastic, or remove allocationType"
        report.refuse(allocation.path(_ALLOCATION), "Fixed", rule)
    if options is not None and options[_ENI_TYPE] is not _ENIType.DEFAULT:
        rule = "a shared ENI has Default only; others need terway-controlplane: remove it"
        report.refuse(options.path(_ENI_TYPE), options[_ENI_TYPE].value, rule)
    if select is not None and select[_POLICY]:
        rule = "a node chooses by eni_conf.vswitch_selection_policy: remove it"
        report.refuse(select.path(_POLICY), select[_POLICY], rule)
    if one[_RESOURCE_GROUP]:
        rule = "a node creates ENIs in eni_conf.resource_group_id: remove it"
        report.refuse(one.path(_RESOURCE_GROUP), one[_RESOURCE_GROUP], rule)


def _check_duplicates(listed: tuple[Values, ...], report: Report) -> None:
    names: set[str] = set()
    routes: dict[IPNetwork, str] = {}
    for one in listed:
        name = one[_INTERFACE]
        if name in names or not name:
            rule = "is taken by an earlier network" if name else "must name the interface"
            report.refuse(one.path(_INTERFACE), name, f"{rule}: name another")
        names.add(name)
        for route in _routes_of(one):
            if route in routes:
                rule = f"{route} leads by {routes[route]} already: list each range once"
                report.refuse(one.path(_ROUTES), str(route), rule)
            routes[route] = name


def _check_default(listed: tuple[Values, ...], primary: str, report: Report) -> None:
    names = [one[_INTERFACE] for one in listed]
    if primary not in names:
        report.refuse(_LIST, names, f"must have a network with interface {primary}")
    claimants = [one[_INTERFACE] for one in listed if one[_DEFAULT_ROUTE]]
    if len(claimants) > 1:
        rule = "only one network may have defaultRoute: remove the others'"
        report.refuse(_LIST, claimants, rule)


def _routes_of(one: Values) -> tuple[IPNetwork, ...]:
    found = (route[ROUTE_DST] for route in one[_ROUTES])
    return tuple(route for route in found if route is not None)


def _network(one: Values) -> PodNetwork:
    return PodNetwork(
        interface=one[_INTERFACE],
        vswitch_ids=tuple(map(VSwitchId, one[_VSWITCHES])),
        security_group_ids=tuple(map(SecurityGroupId, one[_GROUPS])),
        routes=_routes_of(one),
        has_default_route=one[_DEFAULT_ROUTE],
        is_erdma=one[_TRAFFIC_MODE] is _TrafficMode.HIGH_PERFORMANCE,
    )


def _with_default(networks: tuple[PodNetwork, ...], primary: str) -> tuple[PodNetwork, ...]:
    """Return the networks, `primary` first, with one default route among them."""
    claimants = [one.interface for one in networks if one.has_default_route]
    chosen = claimants[0] if claimants else primary
    ordered = sorted(networks, key=lambda one: one.interface != primary)  # stable
    return tuple(replace(one, has_default_route=one.interface == chosen) for one in ordered)
