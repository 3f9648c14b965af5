"""How one namespace gets from what it has to what it should have."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from terway.model.network import (
    LinkAddress,
    LinkSettings,
    Neighbour,
    Netns,
    NetObject,
    Put,
    Remove,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.programs import PodPrograms
from terway.model.traffic import (
    Pacing,
    PriorityClass,
    SharedLimit,
    TokenBucket,
    TrafficObject,
    TrunkMember,
)

# Each kind may need those before it: a route its gateway's link up, a rule the table's routes.
_ORDER: dict[type[NetObject], int] = {
    Sysctl: 0,
    LinkSettings: 1,
    LinkAddress: 2,
    Route: 3,
    TrafficObject: 3,
    Neighbour: 4,
    RoutingRule: 5,
}


def _order_of(one: NetObject) -> int:
    return _ORDER[TrafficObject if isinstance(one, TrafficObject) else type(one)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What to do in a namespace. All puts of a plan come before all its removals."""

    puts: tuple[Put, ...] = ()
    removals: tuple[Remove, ...] = ()

    @property
    def operations(self) -> tuple[Put | Remove, ...]:
        """Return puts and removals in a safe order."""
        return (*self.puts, *self.removals)


def place_of(one: NetObject) -> Hashable:
    """Return the place that an object takes: the kernel has one object for each.

    An address or a rule is its own place (a different one is another one). A route has its
    table, destination and metric; IPv6 lets direct routes of several links stand side by side.
    """
    match one:
        case LinkSettings(name=name):
            return ("link", name)
        case Sysctl(path=path):
            return ("sysctl", path)
        case Neighbour(link=link, address=address):
            return ("neighbour", link, address)
        case TrafficObject():
            return _place_of_traffic(one)
        case Route():
            beside = one.destination.version == 6 and one.gateway is None
            return ("route", one.table, one.destination, one.metric, one.link if beside else "")
        case LinkAddress() | RoutingRule():
            return one
        case _:
            assert_never(one)


def _place_of_traffic(one: TrafficObject) -> Hashable:
    match one:
        case PriorityClass(source=source):
            return (PriorityClass, one.link, source)
        case TrunkMember(vlan_id=vlan_id):
            return (TrunkMember, one.link, vlan_id)
        case SharedLimit(direction=direction):
            return (SharedLimit, one.link, direction)
        case PodPrograms(endpoint=endpoint):
            return (PodPrograms, one.link, endpoint.number)
        case TokenBucket() | Pacing():
            return ("queue", one.link)  # either is the root of the link
        case _:
            return (type(one), one.link)


def is_satisfied(wanted: NetObject, found: NetObject | None) -> bool:
    """Return whether `found`, in the place of `wanted`, is what was wished for."""
    if isinstance(wanted, LinkSettings) and isinstance(found, LinkSettings):
        return (
            wanted.is_up == found.is_up
            and wanted.mac in (None, found.mac)
            and wanted.mtu_bytes in (None, found.mtu_bytes)
            and wanted.alias in ("", found.alias)
            and wanted.group in (0, found.group)
            and (wanted.has_arp or not found.has_arp)
        )
    if isinstance(wanted, TokenBucket) and isinstance(found, TokenBucket):
        return wanted.is_like(found)
    if isinstance(wanted, SharedLimit) and isinstance(found, SharedLimit):
        return wanted.is_like(found)
    return wanted == found


def _without_what_is_so(wanted: NetObject, found: NetObject | None) -> NetObject:
    """Return `wanted` without a MAC that the link has already.

    To set it again, even the same, makes the kernel forget the link's neighbours, and lose what is
    under way to them (dev_set_mac_address, NETDEV_CHANGEADDR).
    """
    if isinstance(wanted, LinkSettings) and isinstance(found, LinkSettings):
        return replace(wanted, mac=None if wanted.mac == found.mac else wanted.mac)
    return wanted


def diff(
    desired: Iterable[NetObject],
    actual: Iterable[NetObject],
    *,
    netns: Netns,
    is_owned: Callable[[NetObject], bool],
) -> Changes:
    """Return the changes that turn `actual` into `desired`.

    What is there in the right place is changed in one step, without a moment in which it is
    missing. Only what `is_owned` is removed: the rest belongs to somebody else.
    """
    wanted = {place_of(one): one for one in desired}
    found = {place_of(one): one for one in actual}
    puts = [
        _without_what_is_so(one, found.get(place))
        for place, one in wanted.items()
        if not is_satisfied(one, found.get(place))
    ]
    surplus = [one for place, one in found.items() if place not in wanted and is_owned(one)]
    puts.sort(key=_order_of)
    surplus.sort(key=lambda one: (-_order_of(one), str(one)))
    return Changes(
        puts=tuple(Put(netns=netns, object=one) for one in puts),
        removals=tuple(Remove(netns=netns, object=one) for one in surplus),
    )
