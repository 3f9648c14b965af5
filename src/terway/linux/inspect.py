"""What is in a network namespace, as a person with iproute2 would see it? Blocking; for tools.

The agent reads only what it may have made; whoever looks for a fault must see all the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from terway.linux.netlink import address, link, rule, shown
from terway.linux.netlink.address import NameOf
from terway.linux.netlink.shown import ShownFilter, ShownNeighbour, ShownRoute
from terway.linux.netlink.socket import RouteSocket
from terway.linux.session import Session
from terway.model.address import IPAddress
from terway.model.errors import VpcError
from terway.model.network import NODE, Link, LinkAddress, Netns, RoutingRule, Sysctl

# Where filters hang: clsact's two hooks, and the root of a classful qdisc.
_PARENTS = (0xFFFFFFF2, 0xFFFFFFF3, 0xFFFFFFFF, 0x00010000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One namespace. `rules` are those that look into a table."""

    links: tuple[Link, ...] = ()
    addresses: tuple[LinkAddress, ...] = ()
    routes: tuple[ShownRoute, ...] = ()
    rules: tuple[RoutingRule, ...] = ()
    neighbours: tuple[ShownNeighbour, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    filters: tuple[ShownFilter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """The kernel's own answer to "which route": `route` is None when it refused, for `refusal`."""

    destination: IPAddress
    source: IPAddress | None
    iif: str
    route: ShownRoute | None
    refusal: str = ""


def read_seen(
    session: Session,
    netns: Netns = NODE,
    *,
    sysctls: Collection[str] = (),
    with_filters: bool = False,
) -> Seen:
    """Return everything in a namespace; of settings those named.

    Raises ConflictError (code ENOENT) when nothing is at its path.
    """
    namespace = session.namespace(netns)
    sock = namespace.sock
    links = tuple(sock.query(link.all_links()))
    name_of = _namer(links)
    values = ((path, namespace.read_file(path)) for path in sysctls)
    return Seen(
        links=links,
        addresses=tuple(sock.query(address.all_addresses(None, name_of))),
        routes=tuple(sock.query(shown.all_routes(name_of))),
        rules=tuple(sock.query(rule.all_rules(None))),
        neighbours=tuple(sock.query(shown.all_neighbours(name_of))),
        sysctls=tuple(
            Sysctl(path=path, value=value) for path, value in values if value is not None
        ),
        filters=tuple(_filters(sock, links)) if with_filters else (),
    )


def _namer(links: Collection[Link]) -> NameOf:
    names = {one.ifindex: one.name for one in links}
    return lambda ifindex: names.get(ifindex, f"if#{ifindex}")


def _filters(sock: RouteSocket, links: Collection[Link]) -> list[ShownFilter]:
    found: list[ShownFilter] = []
    for one in links:
        for parent in _PARENTS:
            try:
                found += sock.query(shown.filters_of(one.name, one.ifindex, parent))
            except VpcError:
                continue  # no such qdisc, or one without classes
    return list(dict.fromkeys(found))


def look_up(
    session: Session,
    destination: IPAddress,
    *,
    source: IPAddress | None = None,
    iif: str = "",
    mark: int = 0,
    netns: Netns = NODE,
) -> Lookup:
    """Ask the kernel which route a packet takes (RTM_GETROUTE); its refusal is an answer too."""
    sock = session.namespace(netns).sock
    links = tuple(sock.query(link.all_links()))
    ifindex = next((one.ifindex for one in links if one.name == iif), 0)
    query = shown.route_of(destination, _namer(links), source=source, iif=ifindex, mark=mark)
    route: ShownRoute | None = None
    refusal = ""
    try:
        route = sock.first(query)
        refusal = "" if route else "the kernel has no route"
    except VpcError as error:
        refusal = str(error)
    return Lookup(destination=destination, source=source, iif=iif, route=route, refusal=refusal)
