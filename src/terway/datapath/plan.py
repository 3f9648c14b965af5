"""Which operations make an attachment, take it away, or put a whole node in order.

desired_* (facts) ──┐
                    ├──► plan_* ──► operations ──► linux.apply ──► read again ──► verify
linux.read_* ───────┘
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import replace
from functools import partial
from typing import assert_never

from terway.datapath.diff import Changes, diff
from terway.datapath.guard import suited
from terway.datapath.names import (
    FROM_POD_PRIORITY,
    HOST_CHILD_PREFIX,
    OWNER_PREFIX,
    TO_POD_PRIORITY,
    is_eni_table,
)
from terway.datapath.networks import is_stale_in_pod
from terway.datapath.reach import is_host_stack_rule, is_metadata_rule
from terway.datapath.symmetric import is_symmetric_rule
from terway.model.address import IPNetwork
from terway.model.errors import ConflictError, UsageError
from terway.model.network import (
    MAIN_TABLE,
    NODE,
    AttachmentState,
    CreateIpvlan,
    DeleteLink,
    Link,
    LinkAddress,
    LinkSettings,
    Neighbour,
    NetObject,
    NodeState,
    Operation,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.programs import EdgePrograms, InnerPrograms, PodPrograms
from terway.model.traffic import (
    Guard,
    PriorityBands,
    PriorityClass,
    TrafficObject,
    TrunkMember,
    TrunkPrograms,
)

# What `desired_host` sets in "default", and a new link takes from there (inetdev_init,
# ipv6_add_dev).
_INHERITED = ("ipv4/forwarding", "ipv4/rp_filter", "ipv6/forwarding", "ipv6/disable_ipv6")
_BEFORE_ANY_PACKET = (Guard, PodPrograms, InnerPrograms, TrunkMember)
# Settings of one link; those of "all" and "default" are the namespace's.
_LINK_SYSCTL = re.compile(r"net/ipv[46]/(conf|neigh)/(?!all/|default/)(?P<link>[^/]+)/")


def plan_attach(desired: AttachmentState, actual: AttachmentState) -> tuple[Operation, ...]:
    """Return what makes, or mends, an attachment. Nothing, when all is as it should be.

    A host link of the name that is not this attachment's is an earlier sandbox's and goes first.
    In the pod nothing is removed but rules of ours for an interface of another number: later
    plugins of the chain may have added to it.

    Raises UsageError when the pod has an interface of the name that is not ours (CNI: the
    interface must not exist), ConflictError (code ENOENT) when its namespace is gone.
    """
    if actual.pod is None or desired.pod is None:
        raise ConflictError(f"network namespace {desired.birth.netns!r} is gone", code="ENOENT")
    is_ours = actual.is_paired and actual.alias in (desired.alias, "")
    birth: tuple[Operation, ...] = ()
    if not is_ours:
        birth, actual = _plan_birth(desired, actual)
    desired = suited(desired, actual)
    is_owned = partial(_is_ours_in_pod, link=desired.birth.peer.name)
    pod = diff(desired.pod or (), actual.pod or (), netns=desired.birth.netns, is_owned=is_owned)
    node = diff(desired.node, actual.node, netns=NODE, is_owned=_is_attachments)
    # Guard and programs stand before the pod's end is up: no packet is earlier.
    puts = (*node.puts, *pod.puts)
    guards = tuple(put for put in puts if isinstance(put.object, _BEFORE_ANY_PACKET))
    inside, outside = (tuple(put for put in side.puts if put not in guards) for side in (pod, node))
    return (*birth, *guards, *inside, *pod.removals, *outside, *node.removals)


def unborn(desired: AttachmentState) -> AttachmentState:
    """Return the state of an attachment of which nothing is there yet.

    What a new sandbox has in all but a few cases, and so what ADD may assume instead of reading:
    if a link of either name is there, creating the veth fails with ConflictError (code EEXIST),
    and anything else that is left over is found when it is read back. Read then, and plan again.
    """
    node = tuple(one for one in desired.node if isinstance(one, Sysctl) and _is_inherited(one))
    return replace(desired, alias="", is_paired=False, node=node, pod=())


def _is_inherited(one: Sysctl) -> bool:
    """Return whether a new link of the node has a setting from the start."""
    _, family, _, _, key = one.path.split("/", 4)
    return f"{family}/{key}" in _INHERITED


def _plan_birth(
    desired: AttachmentState, actual: AttachmentState
) -> tuple[tuple[Operation, ...], AttachmentState]:
    """Return the operations that make the pod's link, and the state after them."""
    host, peer = desired.birth.host.name, desired.birth.peer.name
    if has_link(actual.pod, peer):
        raise UsageError(
            f"interface {peer!r} exists already in {desired.birth.netns}",
            field="CNI_IFNAME",
            code="EEXIST",
        )
    if isinstance(desired.birth, CreateIpvlan) or not has_link(actual.node, host):
        return (desired.birth,), actual
    # With the link goes all that is on it.
    kept = tuple(one for one in actual.node if link_of(one) != host)
    return (DeleteLink(name=host, now=True), desired.birth), replace(actual, node=kept)


def plan_detach(desired: AttachmentState, actual: AttachmentState) -> tuple[Operation, ...]:
    """Return what takes an attachment away. Nothing, when nothing of it is there.

    Of a veth only the node's side is touched: the pod's end goes with the host's, and a namespace
    path may lead to somebody else by now. A host link that a later sandbox of the pod has made
    stays. An ipvlan child has no other end: it is deleted where its alias says whose it is.
    """
    # At a link that a later sandbox has made are that one's programs: those stay, and ours go.
    others = (one for one in actual.node if not isinstance(one, PodPrograms))
    programs = (one for one in desired.node if isinstance(one, PodPrograms))
    gone = diff((), (*others, *programs), netns=NODE, is_owned=is_of_a_pod)
    birth = desired.birth
    if isinstance(birth, CreateIpvlan):
        is_ours = has_link(actual.pod, birth.peer.name) and actual.alias == desired.alias
        child = DeleteLink(name=birth.peer.name, netns=birth.netns, now=True)
        return (*gone.removals, *((child,) if is_ours else ()))
    host = birth.host.name
    is_ours = has_link(actual.node, host) and actual.alias in (desired.alias, "")
    return (*gone.removals, *((DeleteLink(name=host),) if is_ours else ()))


def plan_node(
    host: Iterable[NetObject], attachments: Iterable[AttachmentState], actual: NodeState
) -> tuple[Operation, ...]:
    """Return what puts the node's namespace in order: mends what is ours, removes what was.

    `host` is what `desired_host` and `desired_eni` say, together; `attachments` are all that the
    journal has. Parts of a pod whose host link is gone are left to `plan_attach`, which alone can
    make the link again, and so is traffic control: it is read one pod at a time.
    """
    pods = tuple(attachments)
    there = {link.name: link for link in actual.links}
    own = tuple(host)
    linked = (one for pod in pods if _has_its_link(pod, there) for one in pod.node)
    whole = tuple(one for one in linked if not isinstance(one, TrafficObject))
    parts = (one for pod in pods if not _has_its_link(pod, there) for one in pod.node)
    # Rules need no link, and without them a living pod's packets would leave by the wrong ENI.
    rules = tuple(one for one in parts if isinstance(one, RoutingRule))
    owner = _NodeOwner(own, whole)
    changes = diff((*own, *whole, *rules), actual.objects, netns=NODE, is_owned=owner.owns)
    strays = tuple(DeleteLink(name=link.name) for link in _strays(pods, actual.links))
    return (*_on_links(changes, there), *strays)


def _on_links(changes: Changes, there: Container[str]) -> tuple[Operation, ...]:
    # An ENI that is being unplugged must not keep the rest from being mended.
    def is_possible(one: NetObject) -> bool:
        link = link_of(one)
        return link is None or link in there

    puts = tuple(put for put in changes.puts if is_possible(put.object))
    return (*puts, *changes.removals)


def link_of(one: NetObject) -> str | None:
    """Return the link that an object cannot be without, None when there is no such link."""
    match one:
        case LinkSettings(name=name):
            return name
        case LinkAddress(link=name) | Route(link=name) | Neighbour(link=name):
            return name
        case Sysctl(path=path):
            found = _LINK_SYSCTL.match(path)
            return found["link"] if found else None
        case TrafficObject(link=name):
            return name
        case RoutingRule():
            return None
        case _:
            assert_never(one)


def _has_its_link(pod: AttachmentState, there: dict[str, Link]) -> bool:
    link = there.get(pod.birth.host.name)
    is_shared = isinstance(pod.birth, CreateIpvlan)
    return link is not None and (is_shared or link.alias in (pod.alias, ""))


def _strays(pods: Iterable[AttachmentState], links: Iterable[Link]) -> Iterable[Link]:
    wanted = {pod.birth.host.name for pod in pods}
    for link in links:
        is_ours = link.kind == "veth" and link.alias.startswith(OWNER_PREFIX)
        if is_ours and link.name not in wanted:
            yield link


class _NodeOwner:
    """Knows what in the node's namespace is ours to remove."""

    def __init__(self, host: Iterable[NetObject], pods: Iterable[NetObject]) -> None:
        routes = [one for one in host if isinstance(one, Route)]
        self._tables = {one.table for one in routes if is_eni_table(one.table)}
        self._eni_links = {one.link for one in routes if is_eni_table(one.table)}
        children = (one for one in host if is_host_child(one))
        links = (*pods, *children)
        self._pod_links = {one.name for one in links if isinstance(one, LinkSettings)}

    def owns(self, one: NetObject) -> bool:
        match one:
            case RoutingRule():
                return is_pod_rule(one) or is_host_stack_rule(one) or is_symmetric_rule(one)
            case Route():
                is_pods = one.table == MAIN_TABLE and one.link in self._pod_links
                return one.table in self._tables or is_pods or self._is_stale(one)
            case LinkAddress():
                return one.link in self._eni_links | self._pod_links
            case TrafficObject():
                return isinstance(one, PriorityBands | EdgePrograms | TrunkPrograms)
            case LinkSettings() | Neighbour() | Sysctl():
                return False

    def _is_stale(self, one: Route) -> bool:
        """Return whether a route is one that we make for an ENI, in a table that no ENI has.

        An ENI that was plugged again has another number and so another table.
        """
        is_default = one.destination.prefixlen == 0 and one.is_onlink
        return is_eni_table(one.table) and is_default and one.link in self._eni_links


def is_pod_rule(rule: RoutingRule) -> bool:
    """Return whether a rule is one of those that a pod's address has, whosoever the pod."""
    plain = not (rule.iif or rule.oif or rule.fwmark)
    to_pod = (
        rule.priority == TO_POD_PRIORITY
        and rule.source is None
        and _is_host(rule.destination)
        and rule.table == MAIN_TABLE
    )
    from_pod = (
        rule.priority == FROM_POD_PRIORITY
        and rule.destination is None
        and _is_host(rule.source)
        and is_eni_table(rule.table)
    )
    return (plain and (to_pod or from_pod)) or is_metadata_rule(rule)


def _is_host(network: IPNetwork | None) -> bool:
    return network is not None and network.prefixlen == network.max_prefixlen


def _is_attachments(one: NetObject) -> bool:
    """Return whether an object that competes with an attachment's is ours to remove."""
    # Of addresses and traffic control, only those of the host link are read.
    return isinstance(one, LinkAddress | TrafficObject) or is_of_a_pod(one)


def is_of_a_pod(one: NetObject) -> bool:
    """Return whether an object leads to or from a pod, and is to be removed link or no link."""
    match one:
        case RoutingRule():
            return is_pod_rule(one)
        case Route(table=table, destination=destination):
            # The VPC gave the address to this pod: whatever else leads there is a leftover.
            return table == MAIN_TABLE and _is_host(destination)
        case TrafficObject():
            return isinstance(one, PriorityClass | PodPrograms | TrunkMember)
        case LinkAddress() | LinkSettings() | Neighbour() | Sysctl():
            return False


def _is_ours_in_pod(one: NetObject, *, link: str) -> bool:
    """Return whether a surplus object in a pod is one that we made: a limit that was, a rule."""
    is_limit = isinstance(one, TrafficObject) and one.link == link
    return is_limit or is_stale_in_pod(one, link=link)


def is_host_child(one: NetObject) -> bool:
    """Return whether an object is the node's own ipvlan child of an ENI."""
    return isinstance(one, LinkSettings) and one.name.startswith(HOST_CHILD_PREFIX)


def has_link(objects: Iterable[NetObject] | None, name: str) -> bool:
    """Return whether a link of the name is among `objects`."""
    return any(isinstance(one, LinkSettings) and one.name == name for one in objects or ())
