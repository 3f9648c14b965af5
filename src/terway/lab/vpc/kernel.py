"""The fabric's half in the kernel: namespaces, veths, programs, maps. Blocking; for a worker.

It does what a plan says and reads back what is there. Everything lives in two network namespaces
of its own, so that it all goes when they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from terway.bpf_objects import object_path
from terway.lab.vpc.contract import ROUTER_MAC, pack_u32
from terway.lab.vpc.plan import DeleteEntry, MapOperation, Plug, PutEntry, Unplug
from terway.lab.vpc.services import ServicesLink, create_services_link
from terway.lab.vpc.tables import Tables
from terway.linux import bpf, sysctl
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.linux.netlink import link, traffic
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import create_netns, delete_netns, entered, netns_inode, open_netns
from terway.model.errors import ConflictError
from terway.model.network import Link, LinkSettings, Sysctl

OBJECT = object_path("fabric")

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


def delete_links(sock: RouteSocket, names: Sequence[str]) -> None:
    """Delete links all in one wait: one by one they cost 10 to 35 ms each."""
    for name in names:
        with suppress(ConflictError):
            sock.request(link.set_group(name, _GROUP))
    if names:
        sock.request(link.delete_group(_GROUP))


class FabricKernel:
    """The open namespaces, the loaded programs and their maps."""

    def __init__(self, *, vpc: RouteSocket, services: ServicesLink, loaded: LoadedObject) -> None:
        self.services = services
        self._vpc = vpc
        self._loaded = loaded
        self._maps = {name: bpf.map_of(fd) for name, fd in loaded.maps.items()}

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
        self.attach(plug.name, "fabric_port")
        self._vpc.request(link.change(LinkSettings(name=plug.name, alias=plug.alias)))

    def attach(self, name: str, program: str) -> None:
        """Let a program see everything that comes in by a link of the fabric."""
        found = self._vpc.first(link.by_name(name))
        if found is None:
            raise ConflictError(f"link {name} of the fabric is gone", code="ENODEV")
        filtering = traffic.put_program(
            found.ifindex,
            traffic.Hook.INGRESS,
            program_fd=self._loaded.programs[program],
            name=program,
            priority=_PRIORITY,
        )
        self._vpc.send((traffic.put_clsact(found.ifindex), filtering))

    def unplug(self, unplugs: Sequence[Unplug]) -> None:
        """Delete veths; that one has gone with the namespace of its instance is success."""
        delete_links(self._vpc, [one.name for one in unplugs])

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

    def counters(self, number: int) -> list[bytes]:
        """Return a port's counters, one value a CPU; none if it has none."""
        counters = self._maps["counters"]
        value = counters.lookup(pack_u32(number)) or b""
        size = counters.value_bytes // bpf.possible_cpus()
        return [value[i : i + size] for i in range(0, len(value), size)]

    def tables(self) -> Tables:
        """Return the contents of the maps; rule lists by their keys alone."""
        return Tables(
            rule_lists=dict.fromkeys(self._maps["rule_lists"].keys(), b""),
            ports=self._maps["ports"].items(),
            addresses=self._maps["addresses"].items(),
            routes=self._maps["routes"].items(),
            access_lists=self._maps["access_lists"].items(),
            listeners=self._maps["listeners"].items(),
        )

    def change_tables(self, operations: Iterable[MapOperation]) -> None:
        """Carry out `operations` in order."""
        for operation in operations:
            match operation:
                case PutEntry(table=table, key=key, value=value):
                    self._maps[table].update(key, value)
                case DeleteEntry(table=table, key=key):
                    self._maps[table].delete(key)


@contextmanager
def open_kernel(
    paths: KernelPaths, *, map_sizes: Mapping[str, int] | None = None
) -> Iterator[FabricKernel]:
    """Create the namespaces anew, load the programs, connect the services; undo it at the end.

    What an earlier fabric left at these paths is removed. `map_sizes` makes maps smaller.
    """
    with (
        _open_namespace(paths.vpc) as (_, vpc),
        _open_namespace(paths.services) as (services_fd, inside),
        closing(load_object(read_object(OBJECT), max_entries=map_sizes or {})) as loaded,
    ):
        services = create_services_link(vpc, inside, services_fd)
        kernel = FabricKernel(vpc=vpc, services=services, loaded=loaded)
        kernel.attach(services.name, "fabric_services")
        yield kernel


@contextmanager
def _open_namespace(path: str) -> Iterator[tuple[int, RouteSocket]]:
    _remove_leftovers(path)
    create_netns(path)
    try:
        with open_netns(path) as netns:
            with entered(netns.fd):
                _silence_ipv6()
            with open_route_socket(netns.fd) as sock:
                yield netns.fd, sock
    finally:
        delete_netns(path)


def _silence_ipv6() -> None:
    """Keep the kernel from saying anything of its own; without IPv6 it has nothing to say."""
    for setting in _QUIET:
        if sysctl.read(setting) is not None:
            sysctl.ensure(Sysctl(path=setting, value="1"))


def _remove_leftovers(path: str) -> None:
    """Delete what an earlier fabric left at `path`, its links at once.

    The namespace itself may live on for a moment, or as long as somebody else has it open; a
    link in there would keep the name that the next one needs in its instance.
    """
    if netns_inode(path) is not None:
        with open_netns(path) as netns, open_route_socket(netns.fd) as sock:
            names = [one.name for one in sock.query(link.all_links()) if one.kind == "veth"]
            delete_links(sock, names)
    delete_netns(path)
