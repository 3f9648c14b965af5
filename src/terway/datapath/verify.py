"""Whether what is there is what was planned, and if not, what exactly differs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from terway.datapath.diff import is_satisfied, place_of
from terway.datapath.guard import suited
from terway.datapath.plan import is_of_a_pod
from terway.datapath.traffic_words import traffic_name, traffic_value
from terway.model.ids import MacAddress
from terway.model.network import (
    NODE,
    AttachmentState,
    Birth,
    CreateIpvlan,
    LinkAddress,
    LinkSettings,
    Neighbour,
    Netns,
    NetObject,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.traffic import TrafficObject

_Plain = LinkSettings | LinkAddress | Route | RoutingRule | Neighbour | Sysctl


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that is not as planned, in the words of iproute2."""

    where: str  # "node", or the path of the pod's namespace
    object: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.object}: wanted {self.wanted}, found {self.found}"


def verify(desired: AttachmentState, actual: AttachmentState) -> tuple[Difference, ...]:
    """Return how `actual` differs from `desired`; empty when every object is there and right.

    More than was planned counts where it changes the way of the pod's packets: another rule for
    one of its addresses, another route to it.
    """
    pod = desired.pod
    if actual.pod is None or pod is None:
        return (_different(desired.birth.netns, "network namespace", "present", "nothing"),)
    node = suited(desired, actual).node
    unpaired = () if actual.is_paired else (_unpaired(desired.birth),)
    return (
        *unpaired,
        *verify_objects(node, actual.node),
        *verify_objects(pod, actual.pod, netns=desired.birth.netns),
        *_competitors(node, actual.node),
        *past_limits(pod, actual.pod, desired.birth.netns, desired.birth.peer.name),
    )


def _unpaired(birth: Birth) -> Difference:
    if isinstance(birth, CreateIpvlan):
        child = f"ipvlan {birth.peer.name}"
        return _different(birth.netns, child, f"child of {birth.parent}", "no such child")
    pair = f"veth {birth.host.name} and {birth.peer.name}"
    return _different(NODE, pair, "one veth", "no such pair")


def verify_chained(
    desired: AttachmentState, actual: AttachmentState, *, pod_mac: MacAddress | None
) -> tuple[Difference, ...]:
    """Return what `verify` does, less what a later plugin of the chain may take away (CHECK).

    One that changes the MAC of the pod's end (`tuning`) makes the kernel drop the neighbours on
    it; the pod finds its gateway all the same, because the host end has the address. A neighbour
    that is there must be right. `pod_mac` is what the chain's result says of the pod's end, None
    where it says nothing.
    """
    there = {place_of(one) for one in actual.pod or ()}
    kept = (
        one for one in desired.pod or () if not isinstance(one, Neighbour) or place_of(one) in there
    )
    end = LinkSettings(name=desired.birth.peer.name)
    pod = tuple(replace(one, mac=pod_mac) if one == end else one for one in kept)
    return verify(replace(desired, pod=pod), actual)


def verify_objects(
    desired: Iterable[NetObject], actual: Iterable[NetObject], *, netns: Netns = NODE
) -> tuple[Difference, ...]:
    """Return the objects of `desired` that are missing from, or different in, `actual`."""
    found = {place_of(one): one for one in actual}
    return tuple(
        _different(netns, _name(one), _value(one), _value(found.get(place_of(one))))
        for one in desired
        if not is_satisfied(one, found.get(place_of(one)))
    )


def difference(
    wanted: NetObject | None, found: NetObject | None, *, netns: Netns = NODE
) -> Difference:
    """Return how one object differs; at least one of the two is there."""
    named = wanted if wanted is not None else found
    assert named is not None
    return _different(netns, _name(named), _value(wanted), _value(found))


def describe(one: NetObject) -> str:
    """Return an object in one line, in the words of iproute2."""
    return f"{_name(one)}: {_value(one)}"


def _competitors(desired: Iterable[NetObject], actual: Iterable[NetObject]) -> list[Difference]:
    planned = {place_of(one) for one in desired}
    surplus = (one for one in actual if place_of(one) not in planned)
    wrong = (one for one in surplus if is_of_a_pod(one) or isinstance(one, TrafficObject))
    return [_different(NODE, _name(one), "nothing", _value(one)) for one in wrong]


def past_limits(
    desired: Iterable[NetObject], actual: Iterable[NetObject], netns: Netns, link: str
) -> list[Difference]:
    """Return the limits that a pod's `link` has still, and that are not desired any more."""
    planned = {place_of(one) for one in desired}
    limits = (one for one in actual if isinstance(one, TrafficObject) and one.link == link)
    past = (one for one in limits if place_of(one) not in planned)
    return [_different(netns, _name(one), "nothing", _value(one)) for one in past]


def _different(netns: Netns, name: str, wanted: str, found: str) -> Difference:
    return Difference(where=netns or "node", object=name, wanted=wanted, found=found)


def _name(one: NetObject) -> str:
    return traffic_name(one) if isinstance(one, TrafficObject) else _plain_name(one)


def _plain_name(one: _Plain) -> str:
    match one:
        case LinkSettings(name=name):
            return f"link {name}"
        case Sysctl(path=path):
            return f"sysctl {path}"
        case LinkAddress(link=link, address=address):
            return f"address {address} dev {link}"
        case Neighbour(link=link, address=address):
            return f"neighbour {address} dev {link}"
        case Route(destination=destination, table=table):
            return f"route {destination} table {table}"
        case RoutingRule(priority=priority):
            ends = (("from", one.source), ("to", one.destination))
            selector = " ".join(f"{word} {end}" for word, end in ends if end is not None)
            return f"rule {priority} {selector or 'from all'}"
        case _:
            assert_never(one)


def _value(one: NetObject | None) -> str:
    return traffic_value(one) if isinstance(one, TrafficObject) else _plain_value(one)


def _settings(one: LinkSettings) -> str:
    """Return what is wished of a link, and nothing of what may be as it is."""
    mtu = () if one.mtu_bytes is None else (f"mtu {one.mtu_bytes}",)
    mac = () if one.mac is None else (f"mac {one.mac}",)
    alias = (f"alias {one.alias!r}",) if one.alias else ()
    arp = () if one.has_arp else ("noarp",)
    group = (f"group {one.group}",) if one.group else ()
    return " ".join(("up" if one.is_up else "down", *arp, *mtu, *mac, *alias, *group))


def _plain_value(one: _Plain | None) -> str:
    match one:
        case None:
            return "nothing"
        case LinkSettings():
            return _settings(one)
        case Sysctl(value=text) | Neighbour(mac=text):
            return text
        case LinkAddress():
            return "present"
        case Route():
            return _route_value(one)
        case RoutingRule(table=table, is_prohibit=is_prohibit):
            return "prohibit" if is_prohibit else f"lookup {table}"
        case _:
            assert_never(one)


def _route_value(route: Route) -> str:
    via = "" if route.gateway is None else f"via {route.gateway} "
    onlink = " onlink" if route.is_onlink else ""
    return f"{via}dev {route.link} scope {route.scope.name.lower()}{onlink}"
