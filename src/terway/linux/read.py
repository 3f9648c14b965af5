"""What is there in the kernel, as the same values that plans are made of. Blocking; for workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network

from terway.linux import sysctl
from terway.linux.apply import REAPED_GROUP
from terway.linux.netlink import address, link, neighbour, route, rule
from terway.linux.netlink.address import NameOf
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import entered, open_netns
from terway.model.address import Family, IPAddress, family_of
from terway.model.errors import ConflictError
from terway.model.network import (
    LOCAL_TABLE,
    MAIN_TABLE,
    AttachmentState,
    Link,
    LinkAddress,
    NetObject,
    NodeState,
    Route,
    Scope,
    Sysctl,
)

# Before the number of a link whose name was not read; `ip -o link` writes "if7" likewise.
_UNREAD = "if#"


def read_links() -> tuple[Link, ...]:
    """Return all links of the calling thread's namespace."""
    with open_route_socket() as sock:
        return tuple(sock.query(link.all_links()))


def read_attachment(desired: AttachmentState) -> AttachmentState:
    """Return what the kernel has where `desired` looks: its objects and all that compete with them.

    In the node's namespace: the host link and its addresses, and every route of the main table and
    every rule for the pod's addresses. In the pod's: the links, and all addresses,
    routes and permanent neighbours of the interface. Settings (sysctl): those that are desired.
    """
    with open_route_socket() as sock:
        host = _read_host_link(sock, desired.veth.host.name)
        node = tuple(_read_node_side(sock, host, desired))
    pod, pod_link = _read_pod(desired)
    return replace(
        desired,
        alias="" if host is None else host.alias,
        is_paired=host is not None and pod_link is not None and _are_paired(host, pod_link),
        node=node,
        pod=pod,
    )


def _read_host_link(sock: RouteSocket, name: str) -> Link | None:
    """Return the host link; one that is doomed is gone when this returns.

    Its deletion was promised already, and until then it has the name, in the pod too: a container
    that is detached and attached again within some milliseconds needs both.
    """
    found = sock.first(link.by_name(name))
    if found is not None and found.group == REAPED_GROUP:
        sock.request(link.delete_group(REAPED_GROUP))
        return None
    return found


def _are_paired(host: Link, pod: Link) -> bool:
    return host.peer_ifindex == pod.ifindex and pod.peer_ifindex == host.ifindex


def _read_node_side(
    sock: RouteSocket, host: Link | None, desired: AttachmentState
) -> Iterable[NetObject]:
    name_of = _namer({} if host is None else {host.ifindex: host.name})
    if host is not None:
        yield host.settings
        yield from _read_addresses(sock, name_of, host.ifindex)
    for owner in desired.addresses:
        yield from _read_about(sock, owner, name_of)
    yield from _read_sysctls(desired.node)


def _read_about(sock: RouteSocket, owner: IPAddress, name_of: NameOf) -> Iterable[NetObject]:
    family, exactly = family_of(owner), ip_network(owner)
    routes = route.all_routes(family, name_of, table=MAIN_TABLE, needle=owner.packed)
    for found in sock.query(routes):
        if found.destination == exactly:
            yield _named(sock, found)
    rules = rule.all_rules(family, needle=owner.packed)
    yield from (
        found for found in sock.query(rules) if exactly in (found.source, found.destination)
    )


def _named(sock: RouteSocket, found: Route) -> Route:
    """Give the link its name where it is one we did not read: a leftover of somebody else's."""
    if not found.link.startswith(_UNREAD):
        return found
    other = sock.first(link.by_index(int(found.link.removeprefix(_UNREAD))))
    return found if other is None else replace(found, link=other.name)


def _read_pod(desired: AttachmentState) -> tuple[tuple[NetObject, ...] | None, Link | None]:
    """Return the pod's objects, None when its namespace is gone, and its interface."""
    with ExitStack() as stack:
        try:
            pod = stack.enter_context(open_netns(desired.veth.netns))
        except ConflictError:
            return None, None
        stack.enter_context(entered(pod.fd))
        sock = stack.enter_context(open_route_socket())
        links = sock.query(link.all_links())
        found = next((one for one in links if one.name == desired.veth.peer.name), None)
        return tuple(_read_pod_side(sock, links, desired)), found


def _read_pod_side(
    sock: RouteSocket, links: list[Link], desired: AttachmentState
) -> Iterable[NetObject]:
    names = {one.ifindex: one.name for one in links}
    ifname = desired.veth.peer.name
    yield from (one.settings for one in links if one.name in (ifname, "lo"))
    for one in links:
        if one.name == ifname:
            yield from _read_link_objects(sock, names, ifindex=one.ifindex, table=MAIN_TABLE)
    yield from _read_sysctls(desired.pod or ())


def read_node(sysctls: Iterable[Sysctl]) -> NodeState:
    """Return the state of the node's namespace: links, addresses, routes, rules, neighbours.

    Of settings, those named by `sysctls`. What the kernel makes by itself (the local table,
    connected routes, link-local addresses) is left out.
    """
    with open_route_socket() as sock:
        found = sock.query(link.all_links())
        links = tuple(one for one in found if one.group != REAPED_GROUP)
        names = {one.ifindex: one.name for one in links}
        objects: list[NetObject] = [one.settings for one in links]
        objects += _read_link_objects(sock, names)
        for family in Family:
            objects += sock.query(rule.all_rules(family))
    objects += _read_sysctls(sysctls)
    return NodeState(links=links, objects=tuple(objects))


def _read_link_objects(
    sock: RouteSocket, names: Mapping[int, str], *, ifindex: int = 0, table: int = 0
) -> Iterable[NetObject]:
    name_of = _namer(names)
    yield from _read_addresses(sock, name_of, ifindex)
    for family in Family:
        routes = sock.query(route.all_routes(family, name_of, table=table, ifindex=ifindex))
        yield from (found for found in routes if found.table != LOCAL_TABLE)
        yield from sock.query(neighbour.all_neighbours(family, name_of, ifindex=ifindex))


def _read_addresses(sock: RouteSocket, name_of: NameOf, ifindex: int) -> Iterable[LinkAddress]:
    for family in Family:
        found = sock.query(address.all_addresses(family, name_of, ifindex=ifindex))
        yield from (one for one in found if _is_configured(one))


def _is_configured(found: LinkAddress) -> bool:
    """Return whether somebody gave the address; those the kernel makes are link-local /64s."""
    network = found.address.network
    return found.scope is Scope.GLOBAL or network.prefixlen == network.max_prefixlen


def _read_sysctls(wanted: Iterable[NetObject]) -> Iterable[Sysctl]:
    for one in wanted:
        if isinstance(one, Sysctl) and (value := sysctl.read(one.path)) is not None:
            yield Sysctl(path=one.path, value=value)


def _namer(names: Mapping[int, str]) -> NameOf:
    return lambda ifindex: names.get(ifindex, f"{_UNREAD}{ifindex}")
