"""How is one network of a pod written? The keys of `pod-networks`, and what they mean together.

Source: AliyunContainerService/terway, types/k8s.go and types/controlplane (PodNetworks).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from terway.config.declare import Key, Record, Values, read_object
from terway.config.document import decode_object
from terway.config.duration import parse_duration
from terway.config.findings import Report
from terway.config.keys_pods import ROUTE_DST
from terway.config.kinds import Flag, ListOf, OneOf, Text
from terway.model.address import IPNetwork
from terway.model.ids import SecurityGroupId, VSwitchId
from terway.model.pod_network import (
    ELASTIC,
    FOR_EVER,
    ENIOption,
    Lifetime,
    PodNetwork,
    TrafficMode,
    VSwitchChoice,
)

PREFIX = "k8s.aliyun.com/"
POD_NETWORKS = f"{PREFIX}pod-networks"
LIST_PATH = f"{POD_NETWORKS}.podNetworks"
_MOST = 10  # vSwitches, and security groups, of one network


class Kept(Enum):
    """Whether an address stays when its pod goes."""

    UNSAID = ""
    ELASTIC = "Elastic"
    FIXED = "Fixed"


class Release(Enum):
    """What ends a fixed address; nothing said is TTL."""

    UNSAID = ""
    TTL = "TTL"
    NEVER = "Never"


def _text(name: str, meaning: str) -> Key[str]:
    return Key(name=name, kind=Text(), default="", meaning=meaning)


def _ids(name: str, prefix: str, meaning: str) -> Key[tuple[str, ...]]:
    one = Text(pattern=rf"{prefix}-\S+", words=f'an id: "{prefix}-…"')
    return Key(name=name, kind=ListOf(of=one, most=_MOST), default=(), meaning=meaning)


def _record(name: str, meaning: str, *keys: Key[object]) -> Key[Values | None]:
    return Key(name=name, kind=Record(keys=keys), default=None, meaning=meaning)


INTERFACE_NAME = Text(
    pattern=r"(?!lo$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,4}",
    words='the name of a link: 1 to 5 letters, digits, "_", "." or "-", as eth1; not lo',
)
INTERFACE: Key[str] = Key(
    name="interface", kind=INTERFACE_NAME, default="", meaning="Name of the interface in the pod"
)
VSWITCHES = _ids("vSwitchOptions", "vsw", "vSwitches of the address")
GROUPS = _ids("securityGroupIDs", "sg", "Security groups of the ENI")
_ROUTE_LIST = ListOf(of=Record(keys=(ROUTE_DST,)))
ROUTES: Key[tuple[Values, ...]] = Key(
    name="extraRoutes",
    kind=_ROUTE_LIST,
    default=(),
    meaning="Destinations that are reached by this interface",
)
REQUESTED_ROUTES: Key[tuple[Values, ...]] = Key(
    name="routes", kind=_ROUTE_LIST, default=(), meaning=ROUTES.meaning
)
DEFAULT_ROUTE: Key[bool] = Key(
    name="defaultRoute", kind=Flag(), default=False, meaning="Everything else leaves here"
)
TRAFFIC_MODE: Key[TrafficMode] = Key(
    name="networkInterfaceTrafficMode",
    kind=OneOf(TrafficMode),
    default=TrafficMode.STANDARD,
    meaning="HighPerformance: an ENI with RDMA",
)
ENI_TYPE: Key[ENIOption] = Key(
    name="eniType", kind=OneOf(ENIOption), default=ENIOption.DEFAULT, meaning="How it is attached"
)
POLICY: Key[VSwitchChoice] = Key(
    name="vSwitchSelectionPolicy",
    kind=OneOf(VSwitchChoice),
    default=VSwitchChoice.UNSAID,
    meaning="How one of the vSwitches is chosen",
)
RESOURCE_GROUP = _text("resourceGroupID", "Resource group of a created ENI")
KEPT: Key[Kept] = Key(name="type", kind=OneOf(Kept), default=Kept.UNSAID, meaning="Fixed: it stays")
RELEASE: Key[Release] = Key(
    name="releaseStrategy", kind=OneOf(Release), default=Release.UNSAID, meaning="When it goes"
)
AFTER = _text("releaseAfter", "How long after")

ENI_OPTIONS = _record("eniOptions", "How the ENI is attached", ENI_TYPE)
SELECT = _record("vSwitchSelectOptions", "How a vSwitch is chosen", POLICY)
ALLOCATION_TYPE = _record("allocationType", "How long the address stays", KEPT, RELEASE, AFTER)
# What a PodNetworking says of a network, too.
SHARED_KEYS: tuple[Key[object], ...] = (VSWITCHES, GROUPS, ENI_OPTIONS, SELECT, ALLOCATION_TYPE)
_NETWORKS: Key[tuple[Values, ...]] = Key(
    name="podNetworks",
    kind=ListOf(
        of=Record(
            keys=(
                INTERFACE,
                ROUTES,
                DEFAULT_ROUTE,
                TRAFFIC_MODE,
                RESOURCE_GROUP,
                *SHARED_KEYS,
            )
        )
    ),
    default=(),
    meaning="The pod's interfaces",
)


def read_networks(text: str, report: Report) -> tuple[Values, ...]:
    """Return what the annotation `pod-networks` lists; what is wrong of it goes into `report`."""
    raw = decode_object(text, POD_NETWORKS, report)
    if raw is None:
        return ()
    listed = read_object((_NETWORKS,), raw, POD_NETWORKS, report)[_NETWORKS]
    if not listed and not report.refusals:
        report.refuse(LIST_PATH, [], "must list at least one network, or go as a whole")
    return listed


def check_routes(one: Values, key: Key[tuple[Values, ...]], report: Report) -> None:
    """Refuse routes that are no ranges, or all of the world."""
    for route in one[key]:
        dst = route[ROUTE_DST]
        if dst is None or dst.prefixlen == 0:
            rule = "must be a range, and no default route: ask for that by defaultRoute"
            report.refuse(route.path(ROUTE_DST), None if dst is None else str(dst), rule)


def check_together(
    networks: Iterable[PodNetwork], primary: str, report: Report, *, path: str = LIST_PATH
) -> None:
    """Refuse networks that cannot be side by side in one pod; `path` is where they are listed."""
    listed = tuple(networks)
    _check_duplicates(listed, path, report)
    names = [one.interface for one in listed]
    if primary not in names:
        report.refuse(path, names, f"must have a network with interface {primary}")
    claimants = [one.interface for one in listed if one.has_default_route]
    if len(claimants) > 1:
        rule = "only one network may have defaultRoute: remove the others'"
        report.refuse(path, claimants, rule)


def _check_duplicates(listed: tuple[PodNetwork, ...], where: str, report: Report) -> None:
    names: set[str] = set()
    routes: dict[IPNetwork, str] = {}
    for index, one in enumerate(listed):
        path = f"{where}[{index}]"
        if one.interface in names or not one.interface:
            rule = "is taken by an earlier network" if one.interface else "must name the interface"
            report.refuse(f"{path}.{INTERFACE.name}", one.interface, f"{rule}: name another")
        names.add(one.interface)
        for route in one.routes:
            if route in routes:
                rule = f"{route} leads by {routes[route]} already: list each range once"
                report.refuse(f"{path}.{ROUTES.name}", str(route), rule)
            routes[route] = one.interface


def routes_of(one: Values, key: Key[tuple[Values, ...]] = ROUTES) -> tuple[IPNetwork, ...]:
    """Return the routes that an entry lists."""
    found = (route[ROUTE_DST] for route in one[key])
    return tuple(route for route in found if route is not None)


def network_of(one: Values, report: Report) -> PodNetwork:
    """Return the network that an entry, or a PodNetworking, describes."""
    options, select = one[ENI_OPTIONS], one[SELECT]
    return PodNetwork(
        interface=one[INTERFACE],
        vswitch_ids=tuple(map(VSwitchId, one[VSWITCHES])),
        security_group_ids=tuple(map(SecurityGroupId, one[GROUPS])),
        routes=routes_of(one),
        has_default_route=one[DEFAULT_ROUTE],
        traffic_mode=one[TRAFFIC_MODE],
        eni=ENI_TYPE.default if options is None else options[ENI_TYPE],
        vswitch_choice=POLICY.default if select is None else select[POLICY],
        resource_group_id=one[RESOURCE_GROUP],
        lifetime=_lifetime(one[ALLOCATION_TYPE], report),
    )


def _lifetime(said: Values | None, report: Report) -> Lifetime:
    if said is None or said[KEPT] is not Kept.FIXED or report.has_refused([said.path(KEPT)]):
        return ELASTIC
    if said[RELEASE] is not Release.NEVER:
        return _until(said, report)
    if said[AFTER]:
        rule = "what is never released has no time for it: remove it, or use releaseStrategy TTL"
        report.refuse(said.path(AFTER), said[AFTER], rule)
    return FOR_EVER


def _until(said: Values, report: Report) -> Lifetime:
    ttl_s = parse_duration(said[AFTER])
    if ttl_s is None:
        rule = 'must be a duration as Go writes it, as "30m", or releaseStrategy Never'
        report.refuse(said.path(AFTER), said[AFTER], rule)
    return Lifetime(is_fixed=True, ttl_s=ttl_s)
