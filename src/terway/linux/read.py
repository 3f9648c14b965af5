"""What is there in the kernel, as the same values that plans are made of. Blocking; for workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network

from terway.linux import sysctl
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
    Scope,
    Sysctl,
)


def read_links() -> tuple[Link, ...]:
    """Return all links of the calling thread's namespace."""
    with open_route_socket() as sock:
        return tuple(sock.query(link.all_links()))


def read_attachment(desired: AttachmentState) -> AttachmentState:
    """Return what the kernel has where `desired` looks: its objects and all that compete with them.

    In the node's namespace: the host link, its permanent neighbours, and every route of the main
    table and every rule for the pod's addresses. In the pod's: the links, and all addresses,
    routes and permanent neighbours of the interface. Settings (sysctl): those that are desired.
    """
    with open_route_socket() as sock:
        host = sock.first(link.by_name(desired.host_link))
        node = tuple(_read_node_side(sock, host, desired))
    pod, pod_link = _read_pod(desired)
    return replace(
        desired,
        alias="" if host is None else host.alias,
        is_paired=host is not None and pod_link is not None and _are_paired(host, pod_link),
        node=node,
        pod=pod,
    )


def _are_paired(host: Link, pod: Link) -> bool:
    return host.peer_ifindex == pod.ifindex and pod.peer_ifindex == host.ifindex


def _read_node_side(
    sock: RouteSocket, host: Link | None, desired: AttachmentState
) -> Iterable[NetObject]:
    name_of = _namer({} if host is None else {host.ifindex: host.name})
    if host is not None:
        yield host.settings
        for family in Family:
            yield from sock.query(neighbour.all_neighbours(family, name_of, ifindex=host.ifindex))
    for owner in desired.addresses:
        yield from _read_about(sock, owner, name_of)
    yield from _read_sysctls(desired.node)


def _read_about(sock: RouteSocket, owner: IPAddress, name_of: NameOf) -> Iterable[NetObject]:
    family, exactly = family_of(owner), ip_network(owner)
    routes = route.all_routes(family, name_of, table=MAIN_TABLE, needle=owner.packed)
    yield from (found for found in sock.query(routes) if found.destination == exactly)
    rules = rule.all_rules(family, needle=owner.packed)
    yield from (
        found for found in sock.query(rules) if exactly in (found.source, found.destination)
    )


def _read_pod(desired: AttachmentState) -> tuple[tuple[NetObject, ...] | None, Link | None]:
    """Return the pod's objects, None when its namespace is gone, and its interface."""
    if not desired.netns:
        return None, None
    with ExitStack() as stack:
        try:
            pod = stack.enter_context(open_netns(desired.netns))
        except ConflictError:
            return None, None
        stack.enter_context(entered(pod.fd))
        sock = stack.enter_context(open_route_socket())
        links = sock.query(link.all_links())
        found = next((one for one in links if one.name == desired.ifname), None)
        return tuple(_read_pod_side(sock, links, desired)), found


def _read_pod_side(
    sock: RouteSocket, links: list[Link], desired: AttachmentState
) -> Iterable[NetObject]:
    names = {one.ifindex: one.name for one in links}
    wanted = {desired.ifname, "lo"}
    yield from (one.settings for one in links if one.name in wanted)
    for one in links:
        if one.name == desired.ifname:
            yield from _read_link_objects(sock, names, ifindex=one.ifindex, table=MAIN_TABLE)
    yield from _read_sysctls(desired.pod or ())


def read_node(sysctls: Iterable[Sysctl]) -> NodeState:
    """Return the state of the node's namespace: links, addresses, routes, rules, neighbours.

    Of settings, those named by `sysctls`. What the kernel makes by itself (the local table,
    connected routes, link-local addresses) is left out.
    """
    with open_route_socket() as sock:
        links = tuple(sock.query(link.all_links()))
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
    for family in Family:
        addresses = sock.query(address.all_addresses(family, name_of, ifindex=ifindex))
        yield from (found for found in addresses if _is_configured(found))
        routes = sock.query(route.all_routes(family, name_of, table=table, ifindex=ifindex))
        yield from (found for found in routes if found.table != LOCAL_TABLE)
        yield from sock.query(neighbour.all_neighbours(family, name_of, ifindex=ifindex))


def _is_configured(found: LinkAddress) -> bool:
    return found.scope is Scope.GLOBAL


def _read_sysctls(wanted: Iterable[NetObject]) -> Iterable[Sysctl]:
    for one in wanted:
        if isinstance(one, Sysctl) and (value := sysctl.read(one.path)) is not None:
            yield Sysctl(path=one.path, value=value)


def _namer(names: Mapping[int, str]) -> NameOf:
    # No link can have such a name, so an object on a link we did not read equals no wish.
    return lambda ifindex: names.get(ifindex, f"#{ifindex}/")
