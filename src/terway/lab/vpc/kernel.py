"""The fabric's half in the kernel: namespaces, veths, programs, maps. Blocking; for a worker.

It does what a plan says and reads back what is there. Everything lives in two network namespaces
of its own, so that it all goes when they do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import terway.bpf_objects
from terway.lab.vpc.contract import (
    ROUTER_MAC,
    SERVICES_GATEWAY,
    SERVICES_MAC,
    SERVICES_MTU_BYTES,
    pack_u32,
)
from terway.lab.vpc.plan import DeleteEntry, MapOperation, Plug, PutEntry, Unplug
from terway.lab.vpc.tables import Tables
from terway.linux import bpf, sysctl
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.linux.netlink import address, link, neighbour, route, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import create_netns, delete_netns, entered, netns_inode, open_netns
from terway.model.address import Family
from terway.model.errors import BugError, ConflictError
from terway.model.network import Link, LinkAddress, LinkSettings, Neighbour, Route, Sysctl

OBJECT = Path(terway.bpf_objects.__file__).parent / "fabric.bpf.o"

_SERVICES_LINK = "services"  # its end in the fabric; the prefix of ports is another
_INSIDE = "eth0"
# A fabric end takes whatever its instance sends: the program measures, answers and counts.
_LARGEST_MTU_BYTES = 65535
_PRIORITY = 1
_GROUP = 1  # links about to be deleted, all at once
_QUIET = (
    "net/ipv6/conf/default/disable_ipv6",  # no router solicitations, no MLD from the fabric
    "net/ipv6/conf/all/disable_ipv6",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPaths:
    """Where the two namespaces are bound."""

    vpc: str
    services: str


class FabricKernel:
    """The open namespaces, the loaded programs and their maps."""

    def __init__(
        self, *, vpc: RouteSocket, services: RouteSocket, loaded: LoadedObject, stack: ExitStack
    ) -> None:
        self._vpc = vpc
        self._services = services
        self._loaded = loaded
        self._stack = stack
        self._maps = {name: bpf.map_of(fd) for name, fd in loaded.maps.items()}

    def close(self) -> None:
        """Delete the namespaces, and with them every link; idempotent."""
        self._stack.close()

    # Links

    def links(self) -> list[Link]:
        """Return the links of the fabric's namespace."""
        return self._vpc.query(link.all_links())

    def plug(self, plug: Plug, netns_path: str) -> None:
        """Create the veth of an ENI, its far end in the instance's namespace, down.

        The alias comes last: a link without it is half made, and is replaced.
        """
        with open_netns(netns_path) as netns:
            self._vpc.request(
                link.create_veth(
                    LinkSettings(name=plug.name, mac=ROUTER_MAC, mtu_bytes=_LARGEST_MTU_BYTES),
                    LinkSettings(name=plug.ifname, mac=plug.mac, mtu_bytes=plug.mtu_bytes),
                    peer_netns_fd=netns.fd,
                )
            )
        self._attach(plug.name, "fabric_port")
        self._vpc.request(link.change(LinkSettings(name=plug.name, alias=plug.alias)))

    def _attach(self, name: str, program: str) -> int:
        found = self._vpc.first(link.by_name(name))
        if found is None:
            raise ConflictError(f"link {name} of the fabric is gone", code="ENODEV")
        fd = self._loaded.programs[program]
        hook = traffic.Hook.INGRESS
        self._vpc.send(
            (
                traffic.put_clsact(found.ifindex),
                traffic.put_program(
                    found.ifindex, hook, program_fd=fd, name=program, priority=_PRIORITY
                ),
            )
        )
        return found.ifindex

    def unplug(self, unplugs: Sequence[Unplug]) -> None:
        """Delete veths, all in one wait: one by one they cost 10 to 35 ms each."""
        if not unplugs:
            return
        for one in unplugs:
            try:
                self._vpc.request(link.set_group(one.name, _GROUP))
            except ConflictError:
                continue  # it went with the namespace of its instance
        self._vpc.request(link.delete_group(_GROUP))

    # Maps

    def counter_keys(self) -> list[bytes]:
        """Return the ports that have counters."""
        return list(self._maps["counters"].keys())

    def change_counters(self, made: Iterable[bytes], removed: Iterable[bytes]) -> None:
        """Make counters at zero, and remove others."""
        counters = self._maps["counters"]
        for key in made:
            counters.update(key, bytes(counters.value_bytes))
        for key in removed:
            counters.delete(key)

    def counters(self, ifindex: int) -> list[bytes]:
        """Return a port's counters, one value a CPU; none if it has none."""
        counters = self._maps["counters"]
        value = counters.lookup(pack_u32(ifindex)) or b""
        size = counters.value_bytes // bpf.possible_cpus()
        return [value[i : i + size] for i in range(0, len(value), size)]

    def tables(self) -> Tables:
        """Return the contents of the maps; rule lists by their keys alone."""
        return Tables(
            rule_lists=dict.fromkeys(self._maps["rule_lists"].keys(), b""),
            ports=self._maps["ports"].items(),
            addresses=self._maps["addresses"].items(),
            routes=self._maps["routes"].items(),
        )

    def change_tables(self, operations: Iterable[MapOperation]) -> None:
        """Carry out `operations` in order."""
        for operation in operations:
            match operation:
                case PutEntry(table=table, key=key, value=value):
                    self._maps[table].update(key, value)
                case DeleteEntry(table=table, key=key):
                    self._maps[table].delete(key)

    # Services

    def services_ifindex(self) -> int:
        """Return the ifindex of the fabric's end of the link to the services."""
        found = self._vpc.first(link.by_name(_SERVICES_LINK))
        if found is None:
            raise BugError("the fabric has lost its link to the services")
        return found.ifindex

    def ensure_services(self, services: Iterable[IPv4Address]) -> None:
        """Give the services' namespace exactly these addresses."""
        inside = self._services.first(link.by_name(_INSIDE))
        if inside is None:
            raise BugError("the namespace of the services has lost its link")
        wanted = {LinkAddress(link=_INSIDE, address=IPv4Interface(a)) for a in services}
        query = address.all_addresses(Family.V4, lambda _: _INSIDE, ifindex=inside.ifindex)
        there = set(self._services.query(query))
        for new in sorted(wanted - there, key=str):
            self._services.request(address.put(new, inside.ifindex))
        for old in sorted(there - wanted, key=str):
            self._services.request(address.remove(old, inside.ifindex))

    def make_services_link(self, services_fd: int) -> None:
        """Create the veth between fabric and services, both ends up, with the route back."""
        self._vpc.request(
            link.create_veth(
                LinkSettings(name=_SERVICES_LINK, mac=ROUTER_MAC, mtu_bytes=_LARGEST_MTU_BYTES),
                LinkSettings(name=_INSIDE, mac=SERVICES_MAC, mtu_bytes=SERVICES_MTU_BYTES),
                peer_netns_fd=services_fd,
            )
        )
        self._attach(_SERVICES_LINK, "fabric_services")
        self._services.send(
            (
                link.change(LinkSettings(name="lo")),
                link.change(LinkSettings(name=_INSIDE)),
            )
        )
        self._services.send(tuple(self._way_back()))

    def _way_back(self) -> Iterable[Request]:
        inside = self._services.first(link.by_name(_INSIDE))
        if inside is None:
            raise BugError("the namespace of the services has lost its link")
        router = Neighbour(link=_INSIDE, address=SERVICES_GATEWAY, mac=ROUTER_MAC)
        default = Route(
            destination=IPv4Network("0.0.0.0/0"),
            link=_INSIDE,
            gateway=SERVICES_GATEWAY,
            is_onlink=True,
        )
        yield neighbour.put(router, inside.ifindex)
        yield route.put(default, inside.ifindex)


def open_kernel(paths: KernelPaths, *, map_sizes: Mapping[str, int] | None = None) -> FabricKernel:
    """Create the namespaces anew, load the programs, connect the services.

    What an earlier fabric left at these paths is removed. `map_sizes` makes maps smaller.
    """
    with ExitStack() as stack:
        sockets = [_open_namespace(path, stack) for path in (paths.vpc, paths.services)]
        loaded = load_object(read_object(OBJECT), max_entries=map_sizes or {})
        stack.callback(loaded.close)
        (_, vpc), (services_fd, services) = sockets
        kernel = FabricKernel(vpc=vpc, services=services, loaded=loaded, stack=stack)
        kernel.make_services_link(services_fd)
        kernel._stack = stack.pop_all()  # nothing failed: from here on close() undoes it
    return kernel


def _remove_leftovers(path: str) -> None:
    """Delete what an earlier fabric left at `path`, its links at once.

    The namespace itself may live on for a moment, or as long as somebody else has it open; a
    link in there would keep the name that the next one needs in its instance.
    """
    if netns_inode(path) is not None:
        with open_netns(path) as netns, open_route_socket(netns.fd) as sock:
            names = [one.name for one in sock.query(link.all_links()) if one.kind == "veth"]
            sock.send((*(link.set_group(name, _GROUP) for name in names),))
            sock.request(link.delete_group(_GROUP))
    delete_netns(path)


def _open_namespace(path: str, stack: ExitStack) -> tuple[int, RouteSocket]:
    _remove_leftovers(path)
    create_netns(path)
    stack.callback(delete_netns, path)
    netns = stack.enter_context(open_netns(path))
    with entered(netns.fd):
        for setting in _QUIET:
            if os.path.exists(f"/proc/sys/{setting}"):
                sysctl.ensure(Sysctl(path=setting, value="1"))
    return netns.fd, stack.enter_context(open_route_socket(netns.fd))
