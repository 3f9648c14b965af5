"""Who asks a node from outside is answered, in real packets: offloads, neighbours, errors and all.

client ───┐                  ┌─ eth0 (programs) node ── cali1 (programs) ── eth0 pod
far    ───┴─ router ─────────┘
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from terway.linux.ebpf import contract
from terway.linux.ebpf.entries import pack_address_of, pack_endpoint, pack_number
from terway.linux.ebpf.hooks import EDGE_HOOKS, POD_HOOKS, put_filters
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.programs import DataPathObject, open_object
from terway.linux.netlink.socket import open_route_socket
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from terway.model.programs import Edge
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.service_tables import End, ServiceTables
from tests.support.sock_program import BPFFS

pytestmark = pytest.mark.root

NODE = {4: "192.168.0.10", 6: "fd00::10"}
GATEWAY = {4: "192.168.0.1", 6: "fd00::1"}
POD = {4: "192.168.32.1", 6: "fd00:32::1"}
FAR = {4: "192.168.40.1", 6: "fd00:40::1"}
CLIENT = {4: "198.51.100.7", 6: "2001:db8::7"}
BALANCER = {4: "203.0.113.5", 6: "2001:db8:5::5"}
SERVICE = {4: "10.96.0.1", 6: "fd00:96::1"}
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
SIZES = {"flows": 4096, "choices": 4096, "frontends": 256, "backends": 256, "sets": 256}
BULK = 2_000_000
WITHIN_S = 20.0  # a packet that a busy machine drops is sent again, twice after seconds
FLAGS = contract.SETTING_SERVICES | contract.SETTING_NODE_IN

both = pytest.mark.parametrize("family", [4, 6])
protocols = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The topology, and what leads where."""

    spaces: dict[str, ScratchNetns]
    tables: ServiceTables
    loaded: DataPathObject
    uplink: int

    def settle(self, flags: int = FLAGS) -> None:
        fields = contract.SETTINGS.pack(
            node4=IPv4Address(NODE[4]).packed,
            node6=IPv6Address(NODE[6]).packed,
            gateway4=IPv4Address(GATEWAY[4]).packed,
            gateway6=IPv6Address(GATEWAY[6]).packed,
            uplink=self.uplink,
            uplink_mtu=1500,
            flags=flags,
        )
        self.loaded.maps["settings"].update(pack_number(0), fields)

    def offer(self, protocol: str, family: int, where: str, frontend: End, **given: Any) -> End:
        """Lead a frontend to port 8080 at one of the places; return that end."""
        backend = End({"pod": POD, "node": NODE, "far": FAR}[where][family], 8080)
        number = self.tables.add_backend(backend, protocol)
        self.tables.serve(frontend, protocol, (number,), **given)
        return backend

    @contextmanager
    def server(self, where: str, protocol: str, end: End) -> Iterator[socket.socket]:
        with self.spaces[where].entered():
            made = new_socket(protocol, end.family)
        with closing(made):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((end.host, end.port))
            if protocol == "tcp":
                made.listen()
            yield made

    @contextmanager
    def client(self, where: str, protocol: str, family: int) -> Iterator[socket.socket]:
        with self.spaces[where].entered():
            made = new_socket(protocol, family)
        with closing(made):
            yield made


def new_socket(protocol: str, family: int) -> socket.socket:
    made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, KINDS[protocol])
    made.settimeout(WITHIN_S)
    return made


def link_number(space: ScratchNetns, name: str) -> int:
    return int(json.loads(space.run(f"ip -j link show {name}"))[0]["ifindex"])


def lay_out(spaces: dict[str, ScratchNetns]) -> None:
    """Connect the namespaces, and give them addresses and routes."""
    router, node, pod = spaces["router"], spaces["node"], spaces["pod"]
    router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    node.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for name, own in (("client", CLIENT), ("far", FAR), ("node", NODE)):
        space = spaces[name]
        space.run(f"ip link add eth0 type veth peer name {name} netns {router.path}")
        router.run(f"ip link set {name} up; ip address add {GATEWAY[4]}/32 dev {name}")
        router.run(f"ip address add {GATEWAY[6]}/128 dev {name} nodad")
        space.run(
            f"ip link set eth0 up; ip address add {own[4]}/32 dev eth0"
            f"; ip address add {own[6]}/128 dev eth0 nodad"
            f"; ip route add default via {GATEWAY[4]} dev eth0 onlink"
            f"; ip route add default via {GATEWAY[6]} dev eth0 onlink"
        )
        router.run(f"ip route add {own[4]} dev {name}; ip route add {own[6]} dev {name}")
    router.run(
        f"ip route add {BALANCER[4]} via {NODE[4]}; ip route add {BALANCER[6]} via {NODE[6]}"
    )
    node.run(
        f"ip link add cali1 address 02:00:00:00:01:01 type veth"
        f" peer name eth0 address 02:00:00:00:00:01 netns {pod.path}"
        f"; ip link set cali1 up; ip address add 169.254.1.1/32 dev cali1"
        f"; ip address add fe80::1/64 dev cali1 nodad"
    )
    pod.run(
        f"ip link set eth0 up; ip address add {POD[4]}/32 dev eth0"
        f"; ip address add {POD[6]}/128 dev eth0 nodad"
        "; ip route add default via 169.254.1.1 dev eth0 onlink"
        "; ip route add default via fe80::1 dev eth0"
    )
    node.run(f"ip route add {POD[4]} dev cali1; ip route add {POD[6]} dev cali1")


def endpoint() -> Endpoint:
    return Endpoint(
        number=EndpointNumber(1),
        kind=EndpointKind.VETH,
        addresses=IPPair(v4=IPv4Address(POD[4]), v6=IPv6Address(POD[6])),
        gateways=IPPair(v4=IPv4Address(GATEWAY[4]), v6=IPv6Address(GATEWAY[6])),
        pod_mac=MacAddress("02:00:00:00:00:01"),
        link_mac=MacAddress("02:00:00:00:01:01"),
    )


def fill(loaded: DataPathObject, link: int) -> None:
    one = endpoint()
    loaded.maps["endpoints"].update(pack_number(1), pack_endpoint(one, link))
    loaded.maps["links"].update(pack_number(link), pack_number(1))
    for address in one.addresses:
        loaded.maps["locals"].update(pack_address_of(address), pack_number(1))
    for host in (IPv4Address(NODE[4]), IPv6Address(NODE[6])):
        loaded.maps["locals"].update(pack_address_of(host), pack_number(contract.LOCAL_NODE))


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        names = ("router", "client", "far", "node", "pod")
        spaces = {name: stack.enter_context(scratch_netns(name)) for name in names}
        lay_out(spaces)
        loaded = open_object(Pins(BPFFS / "entry-test"), sizes=SIZES)
        stack.callback(loaded.close)
        uplink, link = (link_number(spaces["node"], name) for name in ("eth0", "cali1"))
        fill(loaded, link)
        made = Place(spaces=spaces, tables=ServiceTables(loaded.maps), loaded=loaded, uplink=uplink)
        made.settle()
        with spaces["node"].entered(), open_route_socket() as sock:
            for ifindex, hooks in ((link, POD_HOOKS), (uplink, EDGE_HOOKS[Edge.UPLINK])):
                for request in put_filters(ifindex, loaded.programs, hooks):
                    sock.request(request)
        yield made


@pytest.fixture(autouse=True)
def settled(place: Place) -> None:
    place.settle()


@both
@protocols
@pytest.mark.parametrize("where", ["pod", "node", "far"])
def test_a_client_outside_is_answered_by_whom_it_asked(place, where, protocol, family):
    frontend = End(BALANCER[family], 80)
    backend = place.offer(protocol, family, where, frontend, flags=contract.FRONTEND_EXTERNAL)
    with (
        place.server(where, protocol, backend) as server,
        place.client("client", protocol, family) as client,
    ):
        client.connect((frontend.host, frontend.port))
        client.send(b"question")
        if protocol == "udp":
            question, seen = server.recvfrom(100)
            server.sendto(b"answer", seen)
        else:
            accepted, seen = server.accept()
            with closing(accepted):
                question = accepted.recv(100)
                accepted.send(b"answer")

        # `connect` lets in only what comes from the frontend
        assert client.recv(100) == b"answer"

    assert question == b"question"
    assert seen[0] == (NODE if where == "far" else CLIENT)[family]


@both
@pytest.mark.parametrize("where", ["pod", "node", "far"])
def test_what_the_kernel_cuts_into_segments_arrives_whole(place, where, family):
    frontend = End(NODE[family], 30080)
    anywhere = End("0.0.0.0" if family == 4 else "::", 30080)
    flags = contract.FRONTEND_EXTERNAL | contract.FRONTEND_NODE_PORT
    backend = place.offer("tcp", family, where, anywhere, flags=flags)
    sent = bytes(range(250)) * (BULK // 250)
    with (
        place.server(where, "tcp", backend) as server,
        place.client("client", "tcp", family) as client,
    ):
        client.connect((frontend.host, frontend.port))
        with closing(server.accept()[0]) as accepted:
            accepted.settimeout(WITHIN_S)
            for one, other in ((client, accepted), (accepted, client)):
                sender = threading.Thread(target=one.sendall, args=(sent,))
                sender.start()
                got = receive(other, len(sent))
                sender.join()
                assert got == sent


@both
@pytest.mark.parametrize("where", ["pod", "node", "far"])
def test_a_backend_learns_of_a_smaller_link_on_the_way_to_the_client(place, where, family):
    """Bug class 32: the router tells the address that the client asked, which is no pod's."""
    router = place.spaces["router"]
    frontend = End(BALANCER[family], 82)
    backend = place.offer("tcp", family, where, frontend, flags=contract.FRONTEND_EXTERNAL)
    with (
        place.server(where, "tcp", backend) as server,
        place.client("client", "tcp", family) as client,
    ):
        client.connect((frontend.host, frontend.port))
        with closing(server.accept()[0]) as accepted:
            accepted.settimeout(WITHIN_S)
            router.run("ip link set client mtu 1300")
            sender = threading.Thread(target=accepted.sendall, args=(bytes(100_000),))
            sender.start()
            got = receive(client, 100_000)
            sender.join()
    router.run("ip link set client mtu 1500")

    assert len(got) == 100_000


def receive(one: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count and (part := one.recv(65536)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


@both
@pytest.mark.parametrize("where", ["pod", "node", "far"])
def test_that_a_port_is_closed_is_told_to_the_client(place, where, family):
    frontend = End(BALANCER[family], 81)
    place.offer("udp", family, where, frontend, flags=contract.FRONTEND_EXTERNAL)

    with place.client("client", "udp", family) as client:
        client.connect((frontend.host, frontend.port))
        client.send(b"anybody?")

        with pytest.raises(ConnectionRefusedError):
            client.recv(10)


@both
def test_a_node_port_without_endpoints_refuses(place, family):
    anywhere = End("0.0.0.0" if family == 4 else "::", 30081)
    place.tables.serve(anywhere, "tcp", (), flags=contract.FRONTEND_EXTERNAL)

    with place.client("client", "tcp", family) as client, pytest.raises(ConnectionRefusedError):
        client.connect((NODE[family], 30081))


@both
@protocols
@pytest.mark.parametrize("where", ["pod", "far"])
def test_without_programs_at_sockets_the_node_itself_reaches_services(
    place, where, protocol, family
):
    place.settle(FLAGS | contract.SETTING_NODE_OUT)
    frontend = End(SERVICE[family], 80)
    backend = place.offer(protocol, family, where, frontend)
    with (
        place.server(where, protocol, backend) as server,
        place.client("node", protocol, family) as client,
    ):
        client.connect((frontend.host, frontend.port))
        client.send(b"question")
        if protocol == "udp":
            _, seen = server.recvfrom(100)
            server.sendto(b"answer", seen)
        else:
            accepted, seen = server.accept()
            with closing(accepted):
                accepted.send(b"answer")

        assert client.recv(100) == b"answer"

    assert seen[0] == NODE[family]


@contextmanager
def kube_proxy(space: ScratchNetns, family: int, *, hides_client: bool) -> Iterator[None]:
    """Have another proxy's rules lead node port 30090 to the pod."""
    word = "ip" if family == 4 else "ip6"
    to = f"{POD[4]}:8080" if family == 4 else f"[{POD[6]}]:8080"
    masquerade = f"{word} daddr {POD[family]} masquerade" if hides_client else ""
    rules = (
        f"table {word} proxy {{",
        "chain pre { type nat hook prerouting priority dstnat",
        f"{word} daddr {NODE[family]} tcp dport 30090 dnat to {to}",
        "}",
        "chain post { type nat hook postrouting priority srcnat",
        masquerade,
        "}",
        "}",
    )
    space.run("\n".join(("nft -f - <<'END'", *rules, "END")))
    try:
        yield
    finally:
        space.run(f"nft delete table {word} proxy")


@both
@pytest.mark.parametrize("hides_client", [True, False], ids=["cluster", "local"])
@pytest.mark.parametrize("flags", [0, contract.SETTING_SERVICES], ids=["all off", "pods only"])
def test_where_ours_is_off_another_proxy_serves_who_is_outside(place, flags, hides_client, family):
    """Bug class 26: what the stack translated on the way in goes back by the stack."""
    place.settle(flags)
    sent = bytes(range(250)) * 400
    with (
        kube_proxy(place.spaces["node"], family, hides_client=hides_client),
        place.server("pod", "tcp", End(POD[family], 8080)) as server,
        place.client("client", "tcp", family) as client,
    ):
        client.connect((NODE[family], 30090))
        with closing(server.accept()[0]) as accepted:
            accepted.settimeout(WITHIN_S)
            accepted.sendall(sent)

            assert receive(client, len(sent)) == sent
            seen = accepted.getpeername()[0]

    assert hides_client == (seen != CLIENT[family])


@both
def test_the_nodes_own_services_are_not_in_the_way(place, family):
    """What no service has is the stack's: a server of the node at a port of its own."""
    with (
        place.server("node", "tcp", End(NODE[family], 22)) as server,
        place.client("client", "tcp", family) as client,
    ):
        client.connect((NODE[family], 22))

        with closing(server.accept()[0]) as accepted:
            assert accepted.getpeername()[0] == CLIENT[family]
