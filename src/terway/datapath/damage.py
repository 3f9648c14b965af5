"""What was changed that an operation puts right: the object, what it was, what it should be."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from terway.datapath.diff import place_of
from terway.datapath.plan import plan_attach
from terway.datapath.verify import Difference, difference
from terway.model.network import (
    NODE,
    AttachmentState,
    CreateIpvlan,
    CreateVeth,
    DeleteLink,
    LinkAddress,
    LinkSettings,
    Neighbour,
    Netns,
    NetObject,
    Operation,
    Put,
    Remove,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.traffic import TrafficObject

_WORDS: dict[type[NetObject], str] = {
    LinkSettings: "link",
    LinkAddress: "address",
    Route: "route",
    RoutingRule: "rule",
    Neighbour: "neighbour",
    Sysctl: "sysctl",
}
TRAFFIC = "traffic control"  # queueing, classes, filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One change of somebody else's, and the operation that undoes it."""

    operation: Operation
    place: tuple[Netns, Hashable]
    kind: str
    difference: Difference

    def __str__(self) -> str:
        return str(self.difference)


def damage_of(operations: Iterable[Operation], actual: Iterable[NetObject]) -> Iterator[Damage]:
    """Yield what each of `operations` puts right; `actual` is what they were planned from.

    That is of one namespace.
    """
    found = {place_of(one): one for one in actual}
    for operation in operations:
        damage = _damage(operation, found)
        if damage is not None:
            yield damage


def _damage(operation: Operation, found: Mapping[Hashable, NetObject]) -> Damage | None:
    match operation:
        case Put(netns=netns, object=wanted):
            place = place_of(wanted)
            change = difference(wanted, found.get(place), netns=netns)
            return Damage(
                operation=operation, place=(netns, place), kind=kind_of(wanted), difference=change
            )
        case Remove(netns=netns, object=surplus):
            return Damage(
                operation=operation,
                place=(netns, place_of(surplus)),
                kind=kind_of(surplus),
                difference=difference(None, surplus, netns=netns),
            )
        case CreateVeth(host=host):
            change = Difference(
                where="node", object=f"link {host.name}", wanted="the pod's", found="deleted"
            )
            return Damage(
                operation=operation,
                place=(NODE, ("link", host.name)),
                kind="link",
                difference=change,
            )
        case CreateIpvlan(peer=peer, netns=netns):
            change = Difference(
                where=netns, object=f"link {peer.name}", wanted="the pod's", found="deleted"
            )
            return Damage(
                operation=operation,
                place=(netns, ("link", peer.name)),
                kind="link",
                difference=change,
            )
        case DeleteLink(name=name):
            change = Difference(
                where="node", object=f"link {name}", wanted="nothing", found="a pod's that is gone"
            )
            return Damage(
                operation=operation, place=(NODE, ("link", name)), kind="link", difference=change
            )
        case _:
            return None  # links that get another place or name


def kind_of(one: NetObject) -> str:
    """Return what kind of object it is, in one word."""
    return _WORDS.get(type(one), TRAFFIC)


def plan_inside(desired: AttachmentState, actual: AttachmentState) -> tuple[Operation, ...]:
    """Return what puts right a pod's own namespace and what stands on the way of its packets.

    The rest of the node's half is `plan_node`'s. Nothing at all when the pod's interface is not
    the other end of its veth: the namespace at the path may be another one by now.
    """
    is_ours = actual.is_paired and actual.alias in (desired.alias, "")
    if not is_ours or actual.pod is None or desired.pod is None:
        return ()
    guarded = tuple(one for one in desired.node if isinstance(one, TrafficObject))
    return plan_attach(replace(desired, node=guarded), actual)
