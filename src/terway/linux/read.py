"""What is there in the kernel, as the same values that plans are made of. Blocking; for workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network

from terway.linux.apply import REAPED_GROUP
from terway.linux.netlink import address, devconf, link, neighbour, route, rule
from terway.linux.netlink.address import NameOf
from terway.linux.netlink.devconf import ConfiguredLink
from terway.linux.netlink.socket import RouteSocket
from terway.linux.session import Namespace, Session
from terway.model.address import IPAddress
from terway.model.errors import ConflictError, UsageError
from terway.model.network import (
    LOCAL_TABLE,
    MAIN_TABLE,
    NODE,
    AttachmentState,
    CreateIpvlan,
    Link,
    LinkAddress,
    NetObject,
    NodeState,
    Route,
    RoutingRule,
    Scope,
    Sysctl,
)

# Before the number of a link whose name was not read; `ip -o link` writes "if7" likewise.
_UNREAD = "if#"


def read_links(session: Session) -> tuple[Link, ...]:
    """Return all links of the node's namespace."""
    return tuple(session.namespace(NODE).sock.query(link.all_links()))


def read_attachment(desired: AttachmentState, session: Session) -> AttachmentState:
    """Return what the kernel has where `desired` looks: its objects and all that compete with them.

    In the node's namespace: the host link and its addresses, and every route of the main table and
    every rule for the pod's addresses. In the pod's: the links, and all addresses, routes and
    permanent neighbours of the interface; nothing when no objects are desired there. Settings
    (sysctl): those that are desired.
    """
    node = session.namespace(NODE)
    host = _read_host_link(node.sock, desired)
    node_side = tuple(_read_node_side(node, host, desired))
    pod_side, peer = _read_pod(session, desired)
    return replace(
        desired,
        alias=_alias(desired, host, peer),
        is_paired=_are_paired(desired, node, host, peer),
        node=node_side,
        pod=pod_side,
        pod_ifindex=None if peer is None else peer.link.ifindex,
        netns_id="" if pod_side is None else session.namespace(desired.birth.netns).identity,
    )


def is_there(desired: AttachmentState, session: Session) -> bool:
    """Return whether the link of an attachment is there, and is this attachment's."""
    host = _read_host_link(session.namespace(NODE).sock, desired)
    peer = _find_child(session, desired)
    return _alias(desired, host, peer) == desired.alias


def read_inside(desired: AttachmentState, session: Session) -> AttachmentState:
    """Return what `read_attachment` does, of the veth and the pod's own namespace alone.

    Of the node's half, what stands on the way of the host link's packets. A tenth of the work: the
    node's tables, which hold every pod's rules and routes, stay unread.
    """
    node = session.namespace(NODE)
    host = _read_host_link(node.sock, desired)
    guarded = () if host is None else tuple(node.traffic.read_guarded(node.sock, host.link))
    classes = tuple(node.traffic.read_classes(node.sock, desired.node))
    pod_side, peer = _read_pod(session, desired)
    return replace(
        desired,
        alias=_alias(desired, host, peer),
        is_paired=_are_paired(desired, node, host, peer),
        node=(*guarded, *classes),
        pod=pod_side,
        pod_ifindex=None if peer is None else peer.link.ifindex,
        netns_id="" if pod_side is None else session.namespace(desired.birth.netns).identity,
    )


def _read_host_link(sock: RouteSocket, desired: AttachmentState) -> ConfiguredLink | None:
    """Return the host link; one that is doomed is gone when this returns.

    Its deletion was promised already, and until then it has the name, in the pod too: a container
    that is detached and attached again within some milliseconds needs both. An ipvlan child has
    none of its own.
    """
    if isinstance(desired.birth, CreateIpvlan):
        return None
    found = sock.first(devconf.configured_by_name(desired.birth.host.name))
    if found is not None and found.link.group == REAPED_GROUP:
        sock.request(link.delete_group(REAPED_GROUP))
        return None
    return found


def _find_child(session: Session, desired: AttachmentState) -> ConfiguredLink | None:
    """Return the ipvlan child of an attachment, if it has one and its namespace can be found."""
    if not isinstance(desired.birth, CreateIpvlan):
        return None
    try:
        pod = session.namespace(desired.birth.netns)
    except (ConflictError, UsageError):
        return None
    return pod.sock.first(devconf.configured_by_name(desired.birth.peer.name))


def _alias(
    desired: AttachmentState, host: ConfiguredLink | None, peer: ConfiguredLink | None
) -> str:
    """Return the alias that says whose the attachment's link is; empty where there is no link."""
    if not isinstance(desired.birth, CreateIpvlan):
        return "" if host is None else host.link.alias
    return "" if peer is None or peer.link.kind != "ipvlan" else peer.link.alias


def _are_paired(
    desired: AttachmentState,
    node: Namespace,
    host: ConfiguredLink | None,
    peer: ConfiguredLink | None,
) -> bool:
    if peer is None:
        return False
    if isinstance(desired.birth, CreateIpvlan):
        parent = desired.birth.parent
        return bool(parent) and peer.link.parent_ifindex == node.index_of(parent)
    ends = (host.link, peer.link) if host is not None else None
    return ends is not None and _are_ends(*ends)


def _are_ends(host: Link, pod: Link) -> bool:
    return host.peer_ifindex == pod.ifindex and pod.peer_ifindex == host.ifindex


def _read_node_side(
    node: Namespace, host: ConfiguredLink | None, desired: AttachmentState
) -> Iterable[NetObject]:
    links = () if host is None else (host,)
    name_of = _namer({one.link.ifindex: one.link.name for one in links})
    for one in links:
        yield one.link.settings
        yield from _read_addresses(node.sock, name_of, one.link.ifindex)
        yield from node.traffic.read_guarded(node.sock, one.link)
    yield from node.traffic.read_classes(node.sock, desired.node)
    yield from _read_about(node.sock, tuple(desired.addresses), name_of)
    yield from _read_settings(node, links, desired.node)


def _read_about(
    sock: RouteSocket, owners: tuple[IPAddress, ...], name_of: NameOf
) -> Iterable[NetObject]:
    exactly = [ip_network(owner) for owner in owners]
    needles = tuple(owner.packed for owner in owners)
    for found in sock.query(route.all_routes(None, name_of, table=MAIN_TABLE, needles=needles)):
        if found.destination in exactly:
            yield _named(sock, found)
    for one in sock.query(rule.all_rules(None, needles=needles)):
        if one.source in exactly or one.destination in exactly:
            yield one


def _named(sock: RouteSocket, found: Route) -> Route:
    """Give the link its name where it is one we did not read: a leftover of somebody else's."""
    if not found.link.startswith(_UNREAD):
        return found
    other = sock.first(link.by_index(int(found.link.removeprefix(_UNREAD))))
    return found if other is None else replace(found, link=other.name)


def _read_pod(
    session: Session, desired: AttachmentState
) -> tuple[tuple[NetObject, ...] | None, ConfiguredLink | None]:
    """Return the pod's objects, None when its namespace is gone, and its interface.

    Nothing is looked at when nothing is desired there.
    """
    if desired.pod is None:
        return None, None
    try:
        pod = session.namespace(desired.birth.netns)
    except ConflictError:
        return None, None
    names = (desired.birth.peer.name, "lo")
    links = [one for one in pod.sock.query(devconf.all_configured()) if one.link.name in names]
    peer = next((one for one in links if one.link.name == names[0]), None)
    return tuple(read_interface(pod, links, peer, desired.pod)), peer


def read_interface(
    pod: Namespace,
    links: Iterable[ConfiguredLink],
    peer: ConfiguredLink | None,
    wanted: Iterable[NetObject],
) -> Iterable[NetObject]:
    """Yield the settings of `links`, and what the interface `peer` of a pod has.

    Of settings of the kernel (sysctl), those that are `wanted`.
    """
    yield from (one.link.settings for one in links)
    if peer is not None:
        ifindex = peer.link.ifindex
        name_of = _namer({ifindex: peer.link.name})
        # With those that the kernel made: the pod's link-local address is one of them.
        yield from pod.sock.query(address.all_addresses(None, name_of, ifindex=ifindex))
        for table in _tables(wanted):
            yield from _read_routes(pod.sock, name_of, ifindex=ifindex, table=table)
        yield from pod.sock.query(neighbour.all_neighbours(None, name_of, ifindex=ifindex))
        yield from pod.traffic.read_limits(pod.sock, peer.link)
    if any(isinstance(one, RoutingRule) for one in wanted):
        yield from pod.sock.query(rule.all_rules(None))
    yield from _read_settings(pod, links, wanted)


def _tables(wanted: Iterable[NetObject]) -> tuple[int, ...]:
    return (*{MAIN_TABLE: None, **{one.table: None for one in wanted if isinstance(one, Route)}},)


def read_node(sysctls: Iterable[Sysctl], session: Session) -> NodeState:
    """Return the state of the node's namespace: links, addresses, routes, rules, neighbours.

    Of settings, those named by `sysctls`. What the kernel makes by itself (the local table,
    connected routes, link-local addresses) is left out.
    """
    node = session.namespace(NODE)
    found = node.sock.query(devconf.all_configured())
    links = [one for one in found if one.link.group != REAPED_GROUP]
    name_of = _namer({one.link.ifindex: one.link.name for one in links})
    objects: tuple[NetObject, ...] = (
        *(one.link.settings for one in links),
        *_read_addresses(node.sock, name_of),
        *_read_routes(node.sock, name_of),
        *node.sock.query(neighbour.all_neighbours(None, name_of)),
        *node.sock.query(rule.all_rules(None)),
        *node.traffic.priorities.read_bands(node.sock, (one.link for one in links)),
        *node.traffic.read_edges(node.sock, (one.link for one in links)),
        *node.traffic.trunks.read_programs(node.sock, (one.link for one in links)),
        *_read_settings(node, links, sysctls),
    )
    return NodeState(links=tuple(one.link for one in links), objects=objects)


def _read_routes(
    sock: RouteSocket, name_of: NameOf, *, ifindex: int = 0, table: int = 0
) -> Iterable[Route]:
    found = sock.query(route.all_routes(None, name_of, table=table, ifindex=ifindex))
    return (one for one in found if one.table != LOCAL_TABLE)


def _read_addresses(sock: RouteSocket, name_of: NameOf, ifindex: int = 0) -> Iterable[LinkAddress]:
    found = sock.query(address.all_addresses(None, name_of, ifindex=ifindex))
    return (one for one in found if _is_configured(one))


def _is_configured(found: LinkAddress) -> bool:
    """Return whether somebody gave the address; those the kernel makes are link-local /64s."""
    network = found.address.network
    return found.scope is Scope.GLOBAL or network.prefixlen == network.max_prefixlen


def _read_settings(
    namespace: Namespace, links: Iterable[ConfiguredLink], wanted: Iterable[NetObject]
) -> Iterable[Sysctl]:
    known = {one.link.name: one for one in links}
    for one in wanted:
        if not isinstance(one, Sysctl):
            continue
        found = known.get(devconf.link_of(one.path) or "")
        value = None if found is None else found.setting(one.path)
        if value is None and (found is not None or devconf.link_of(one.path) is None):
            value = namespace.read_file(one.path)
        if value is not None:
            yield Sysctl(path=one.path, value=value)


def _namer(names: Mapping[int, str]) -> NameOf:
    return lambda ifindex: names.get(ifindex, f"{_UNREAD}{ifindex}")
