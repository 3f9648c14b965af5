"""Which services does the measured node know, and how does each way of serving get them?

The measured service has four backends that answer; all others lead to addresses that nobody has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from tests.support.netns import ScratchNetns
from tests.support.place import Place

from bench.service_rules import Backend, ClusterService, iptables_rules, nftables_rules
from terway.bpf_objects import object_path
from terway.linux.bpf import Map, map_of
from terway.linux.bpf_batch import delete_many, update_many
from terway.linux.ebpf.contract import LOCAL_NODE, SETTING_SERVICES, SETTINGS
from terway.linux.ebpf.entries import pack_address_of, pack_endpoint, pack_number
from terway.linux.ebpf.hooks import POD_HOOKS, put_filters
from terway.linux.ebpf.programs import EntryPoint
from terway.linux.libbpf import load_object, read_object
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import open_netns
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.errors import BugError
from terway.model.ids import MacAddress
from terway.service import changes, values
from terway.service.compiler import Compiler
from terway.service.contents import Table
from terway.service.room import Room

PORT, BACKEND_PORT = 80, 8080
BACKENDS = 4
NODE_ADDRESS = IPv4Address("10.200.0.254")
CLIENT_ADDRESS = IPv4Address("10.200.1.1")
SERVER_ADDRESSES = tuple(IPv4Address("10.200.0.1") + i for i in range(BACKENDS))
PODS = IPv4Network("10.0.0.0/8")
MEASURED = IPv4Address("172.31.255.1")
_OTHERS = IPv4Address("172.16.0.1")
_NOBODY = IPv4Address("10.128.0.1")


def services_of(count: int) -> tuple[ClusterService, ...]:
    """Return `count` services; the last is the measured one, behind all others in a list."""
    others = (
        ClusterService(
            name=f"other{i:05}",
            address=_OTHERS + i,
            port=PORT,
            backends=tuple(
                Backend(address=_NOBODY + BACKENDS * i + j, port=BACKEND_PORT)
                for j in range(BACKENDS)
            ),
        )
        for i in range(count - 1)
    )
    backends = tuple(Backend(address=one, port=BACKEND_PORT) for one in SERVER_ADDRESSES)
    measured = ClusterService(name="measured", address=MEASURED, port=PORT, backends=backends)
    return (*others, measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Star:
    """A client and four servers around a node, and the node's links to them."""

    client: Place
    node: Place
    servers: tuple[Place, ...]
    netns: ScratchNetns
    ends: Mapping[str, ScratchNetns]  # by the node's link

    def endpoint(self, name: str, number: EndpointNumber) -> Endpoint:
        """Return the endpoint that a link of the node leads to."""
        end = self.ends[name]
        words = end.run("ip -4 -br addr show eth0").split()
        return Endpoint(
            number=number,
            kind=EndpointKind.VETH,
            addresses=IPPair(v4=IPv4Interface(words[2]).ip),
            pod_mac=_mac(end, "eth0"),
            link_mac=_mac(self.netns, name),
        )


def _mac(place: ScratchNetns, name: str) -> MacAddress:
    return MacAddress(place.run(f"ip -br link show {name}").split()[2])


PutUp = Callable[[Star, Sequence[ClusterService], ExitStack], Awaitable[None]]


async def put_up_iptables(
    star: Star, services: Sequence[ClusterService], _stack: ExitStack
) -> None:
    """Load kube-proxy's rules of mode iptables."""
    await star.node.run("iptables-legacy-restore", stdin=iptables_rules(services, PODS))


async def put_up_nftables(
    star: Star, services: Sequence[ClusterService], _stack: ExitStack
) -> None:
    """Load kube-proxy's rules of mode nftables."""
    rules = nftables_rules(services, PODS, asked=services[-1])
    await star.node.run("nft", "-f", "-", stdin=rules)


async def put_up_ours(star: Star, services: Sequence[ClusterService], stack: ExitStack) -> None:
    """Load the data path, and what the service room makes of the services."""
    attach_ours(star, load_ours(star, services, stack, object_path("datapath")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A loaded object of the data path, whose maps know a side."""

    maps: Mapping[str, Map]
    entry_points: Mapping[str, EntryPoint]


def load_ours(star: Star, services: Sequence[ClusterService], stack: ExitStack, path: Path) -> Ours:
    """Load the object at `path`, and fill its maps for a side; nothing is attached."""
    loaded = load_object(read_object(path))
    stack.callback(loaded.close)
    maps = {name: map_of(fd) for name, fd in loaded.maps.items()}
    entry_points = {
        name: EntryPoint(fd=fd, number=0, tag="") for name, fd in loaded.programs.items()
    }
    _know_node(maps)
    with open_netns(star.netns.path) as opened, open_route_socket(opened.fd) as sock:
        for number, name in enumerate(star.ends, 1):
            _enrol(maps, star.endpoint(name, EndpointNumber(number)), _number_of(sock, name))
    write_services(maps, services)
    return Ours(maps=maps, entry_points=entry_points)


def attach_ours(star: Star, ours: Ours) -> None:
    """Have these programs see the packets of a side, and none else."""
    with open_netns(star.netns.path) as opened, open_route_socket(opened.fd) as sock:
        for name in star.ends:
            sock.send(put_filters(_number_of(sock, name), ours.entry_points, POD_HOOKS))


def _number_of(sock: RouteSocket, name: str) -> int:
    ifindex = sock.index_of(name)
    if ifindex is None:
        raise BugError(f"{name} is not there")
    return ifindex


def _know_node(maps: Mapping[str, Map]) -> None:
    settings = SETTINGS.pack(node4=NODE_ADDRESS.packed, flags=SETTING_SERVICES, uplink_mtu=1500)
    maps["settings"].update(pack_number(0), settings)
    maps["policy_generation"].update(pack_number(0), pack_number(1))
    maps["locals"].update(pack_address_of(NODE_ADDRESS), pack_number(LOCAL_NODE))


def _enrol(maps: Mapping[str, Map], endpoint: Endpoint, ifindex: int) -> None:
    number = pack_number(endpoint.number)
    maps["endpoints"].update(number, pack_endpoint(endpoint, ifindex))
    maps["links"].update(pack_number(ifindex), number)
    for address in endpoint.addresses:
        maps["locals"].update(pack_address_of(address), number)


def changes_of(services: Sequence[ClusterService]) -> Iterator[changes.ServiceChange]:
    """Yield what the API would have told of the services."""
    for one in services:
        key = f"default/{one.name}"
        ports = (values.ServicePort(port=one.port),)
        service = values.Service(key=key, ports=ports, cluster_ips=(one.address.packed,))
        yield changes.SetService(key=key, packed=changes.pack(service))
        part = slice_of(one, one.backends)
        yield changes.SetSlice(key=part.key, service=key, packed=changes.pack(part))


def slice_of(service: ClusterService, backends: Sequence[Backend]) -> values.Slice:
    """Return the slice of a service with some of its backends."""
    return values.Slice(
        key=f"default/{service.name}-1",
        service=f"default/{service.name}",
        ports=(values.SlicePort(port=BACKEND_PORT),),
        endpoints=tuple(values.Endpoint(address=one.address.packed) for one in backends),
    )


def write_services(maps: Mapping[str, Map], services: Sequence[ClusterService]) -> None:
    """Compile the services and write them into the maps of services."""
    room = Room(**{table.value: maps[table.value].max_entries for table in Table})
    compiler = Compiler(values.Here(node="node"), room=room)
    for operation in compiler.apply(changes_of(services)):
        held = maps[operation.table.value]
        if isinstance(operation, changes.Put):
            update_many(held, dict(operation.entries))
        else:
            delete_many(held, operation.keys)


PUT_UPS: Mapping[str, PutUp] = {
    "ebpf": put_up_ours,
    "iptables": put_up_iptables,
    "nftables": put_up_nftables,
}
