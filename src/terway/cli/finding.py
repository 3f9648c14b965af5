"""What does doctor find: how bad, what, why it matters, and what mends it?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.network import (
    MAIN_TABLE,
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


class Severity(Enum):
    """How bad it is. A note is worth knowing, and no reason to act."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    `command` is what a person types; `fix` is what --fix does, only where it is safe: it changes
    nothing but what is ours, and terwayd would do the same.
    """

    severity: Severity
    what: str
    why: str
    command: str
    fix: tuple[Operation, ...] = ()


def error(what: str, why: str, command: str, fix: tuple[Operation, ...] = ()) -> Finding:
    """Return a finding that costs somebody packets or pods."""
    return Finding(severity=Severity.ERROR, what=what, why=why, command=command, fix=fix)


def warning(what: str, why: str, command: str, fix: tuple[Operation, ...] = ()) -> Finding:
    """Return a finding that may cost something later."""
    return Finding(severity=Severity.WARNING, what=what, why=why, command=command, fix=fix)


def note(what: str, why: str, command: str) -> Finding:
    """Return a finding that is only worth knowing."""
    return Finding(severity=Severity.NOTE, what=what, why=why, command=command)


def delete_pod(owner: str) -> str:
    """Return the command that has a pod made anew; `owner` is NAMESPACE/NAME, or with a link."""
    namespace, _, name = owner.partition(" ")[0].partition("/")
    return f"kubectl -n {namespace} delete pod {name}"


def command_of(operation: Operation) -> str:
    """Return an operation as a person would type it."""
    match operation:
        case CreateVeth(host=host, peer=peer):
            return f"ip link add {host.name} type veth peer name {peer.name}"
        case CreateIpvlan(parent=parent, peer=peer, netns=netns):
            place = f" netns {netns}" if netns else ""
            return f"ip link add {peer.name}{place} link {parent} type ipvlan mode l2"
        case DeleteLink(name=name, netns=netns):
            return _inside(netns) + f"ip link delete {name}"
        case Put(netns=netns, object=one):
            return _inside(netns) + _put(one)
        case Remove(netns=netns, object=one):
            return _inside(netns) + _remove(one)
        case _:  # kinds that have no short command
            return _unsaid(operation)


def _unsaid(what: object) -> str:
    return f"(no command of iproute2: {what})"


def _inside(netns: Netns) -> str:
    return f"nsenter --net={netns} " if netns else ""


def _put(one: NetObject) -> str:
    match one:
        case LinkSettings():
            mtu = f" mtu {one.mtu_bytes}" if one.mtu_bytes else ""
            mac = f" address {one.mac}" if one.mac else ""
            return f"ip link set {one.name}{mtu}{mac} {'up' if one.is_up else 'down'}"
        case Neighbour():
            return f"ip neighbour replace {one.address} dev {one.link} lladdr {one.mac}"
        case Sysctl():
            return f"echo {one.value} > /proc/sys/{one.path}"
        case LinkAddress() | Route() | RoutingRule():
            return _ip(one, {LinkAddress: "add", Route: "replace", RoutingRule: "add"}[type(one)])
        case _:  # kinds that have no short command
            return _unsaid(one)


def _remove(one: NetObject) -> str:
    match one:
        case LinkSettings(name=name):
            return f"ip link delete {name}"
        case Neighbour():
            return f"ip neighbour delete {one.address} dev {one.link}"
        case LinkAddress() | Route() | RoutingRule():
            return _ip(one, "delete")
        case Sysctl(path=path):
            return f"cat /proc/sys/{path}"
        case _:  # kinds that have no short command
            return _unsaid(one)


def _ip(one: LinkAddress | Route | RoutingRule, verb: str) -> str:
    match one:
        case LinkAddress():
            return f"ip address {verb} {one.address} dev {one.link}"
        case Route():
            return f"ip {_flag(one.destination.version)}route {verb} {_route(one)}"
        case RoutingRule():
            return f"ip {_flag(one.family.value)}rule {verb} {_rule(one)}"


def _flag(version: int) -> str:
    return "-6 " if version == 6 else ""


def _route(one: Route) -> str:
    via = f" via {one.gateway}" if one.gateway else ""
    table = f" table {one.table}" if one.table != MAIN_TABLE else ""
    return f"{one.destination}{via} dev {one.link}{table}{' onlink' if one.is_onlink else ''}"


def _rule(one: RoutingRule) -> str:
    ends = (("from", one.source), ("to", one.destination))
    selector = " ".join(f"{word} {end}" for word, end in ends if end is not None)
    return f"{selector or 'from all'} priority {one.priority} lookup {one.table}"
