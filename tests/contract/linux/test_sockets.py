"""Processes of the node reach services where they name them: real sockets, real programs."""

from __future__ import annotations

import select
import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from terway.linux.ebpf import contract
from tests.support.netns import scratch_netns
from tests.support.service_tables import End
from tests.support.sock_program import SocketBench, open_socket_bench

pytestmark = pytest.mark.root

SERVICE = {4: "10.96.0.1", 6: "fd00:96::1"}
NODE = {4: "192.0.2.10", 6: "2001:db8::10"}
BACKENDS = {
    4: ("10.0.0.1", "10.0.0.2", "10.0.0.3"),
    6: ("fd00:10::1", "fd00:10::2", "fd00:10::3"),
}
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
WITHIN_S = 20.0
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@pytest.fixture(scope="module")
def bench() -> Iterator[SocketBench]:
    with open_socket_bench() as opened:
        for family in (4, 6):
            for host in (*BACKENDS[family], NODE[family]):
                nodad = " nodad" if family == 6 else ""
                opened.node.run(f"ip address add {host}/{32 if family == 4 else 128} dev lo{nodad}")
            opened.own(NODE[family])
        opened.settle(node4=NODE[4])
        yield opened


@contextmanager
def sock(protocol: str, family: int) -> Iterator[socket.socket]:
    with closing(socket.socket(FAMILIES[family], KINDS[protocol])) as made:
        made.settimeout(WITHIN_S)
        yield made


@contextmanager
def server(protocol: str, host: str, port: int = 8080) -> Iterator[socket.socket]:
    with sock(protocol, 6 if ":" in host else 4) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        if protocol == "tcp":
            listener.listen()
        yield listener


@contextmanager
def refused(bench: SocketBench) -> Iterator[None]:
    word = "Connection refused" if bench.programs.can_refuse else "Operation not permitted"
    with pytest.raises(OSError, match=word):
        yield


def reached(servers: Collection[socket.socket]) -> socket.socket:
    """Return the one of the servers to which something comes: on a busy core a little later."""
    found, _, _ = select.select(list(servers), [], [], WITHIN_S)
    [one] = found
    assert isinstance(one, socket.socket)
    return one


def peer(one: socket.socket) -> tuple[str, int]:
    host, port = one.getpeername()[:2]
    return host, port


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_connection_to_a_service_reaches_its_backend_and_looks_like_the_services(
    bench, protocol, family
):
    number = bench.add_backend(End(BACKENDS[family][0], 8080), protocol)
    bench.serve(End(SERVICE[family], 80), protocol, (number,))

    with server(protocol, BACKENDS[family][0]) as listener, sock(protocol, family) as client:
        client.connect((SERVICE[family], 80))
        client.send(b"hello")

        assert peer(client) == (SERVICE[family], 80)
        if protocol == "tcp":
            with closing(listener.accept()[0]) as accepted:
                assert accepted.recv(100) == b"hello"
        else:
            data, source = listener.recvfrom(100)
            listener.sendto(data.upper(), source)
            assert client.recvfrom(100)[0] == b"HELLO"
            assert client.getpeername()[:2] == (SERVICE[family], 80)


@pytest.mark.parametrize("family", [4, 6])
def test_messages_to_a_service_are_answered_by_it(bench, family):
    number = bench.add_backend(End(BACKENDS[family][0], 8080), "udp")
    bench.serve(End(SERVICE[family], 80), "udp", (number,))

    with server("udp", BACKENDS[family][0]) as listener, sock("udp", family) as client:
        client.sendto(b"question", (SERVICE[family], 80))
        _, source = listener.recvfrom(100)
        listener.sendto(b"answer", source)

        data, came_from = client.recvfrom(100)

    assert (data, came_from[:2]) == (b"answer", (SERVICE[family], 80))


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_socket_of_ipv6_reaches_services_of_ipv4_by_mapped_addresses(bench, protocol):
    mapped = f"::ffff:{SERVICE[4]}"
    number = bench.add_backend(End(BACKENDS[4][0], 8080), protocol)
    bench.serve(End(SERVICE[4], 80), protocol, (number,))

    with server(protocol, BACKENDS[4][0]) as listener, sock(protocol, 6) as client:
        client.connect((mapped, 80))
        client.send(b"hello")

        assert peer(client) == (mapped, 80)
        if protocol == "tcp":
            with closing(listener.accept()[0]) as accepted:
                assert accepted.recv(100) == b"hello"
        else:
            assert listener.recvfrom(100)[0] == b"hello"


def test_messages_to_a_mapped_address_are_answered_by_it(bench):
    mapped = f"::ffff:{SERVICE[4]}"
    number = bench.add_backend(End(BACKENDS[4][0], 8080), "udp")
    bench.serve(End(SERVICE[4], 80), "udp", (number,))

    with server("udp", BACKENDS[4][0]) as listener, sock("udp", 6) as client:
        client.sendto(b"question", (mapped, 80))
        _, source = listener.recvfrom(100)
        listener.sendto(b"answer", source)

        assert client.recvfrom(100)[1][:2] == (mapped, 80)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_service_without_endpoints_refuses(bench, protocol, family):
    bench.serve(End(SERVICE[family], 81), protocol, ())

    with sock(protocol, family) as client, refused(bench):
        client.connect((SERVICE[family], 81))


def test_a_message_to_a_service_without_endpoints_is_refused(bench):
    bench.serve(End(SERVICE[4], 81), "udp", ())

    with sock("udp", 4) as client, refused(bench):
        client.sendto(b"anybody?", (SERVICE[4], 81))


def test_every_backend_gets_connections(bench):
    numbers = tuple(bench.add_backend(End(host, 8080), "tcp") for host in BACKENDS[4])
    bench.serve(End(SERVICE[4], 80), "tcp", numbers)
    counts = dict.fromkeys(BACKENDS[4], 0)

    with ExitStack() as stack:
        servers = {stack.enter_context(server("tcp", host)): host for host in BACKENDS[4]}
        for _ in range(90):
            with sock("tcp", 4) as client:
                client.connect((SERVICE[4], 80))
                listener = reached(servers)
                listener.accept()[0].close()
                counts[servers[listener]] += 1

    assert sum(counts.values()) == 90
    assert min(counts.values()) > 5  # by chance less than that once in 10^7 runs


def test_a_service_with_many_endpoints_is_chosen_from_by_its_table(bench):
    # given twenty endpoints, by ports of one address
    ends = [End(BACKENDS[4][0], 9000 + number) for number in range(20)]
    numbers = tuple(bench.add_backend(end, "udp") for end in ends)
    bench.serve(End(SERVICE[4], 84), "udp", numbers)
    chosen = set()

    with ExitStack() as stack:
        servers = [stack.enter_context(server("udp", end.host, end.port)) for end in ends]
        for _ in range(100):
            with sock("udp", 4) as client:
                client.connect((SERVICE[4], 84))
                client.send(b"x")
                listener = reached(servers)
                listener.recv(10)
                chosen.add(listener)

    # then more than a few get something: that it is ten or less happens once in 10^9 runs
    assert len(chosen) > 10


def test_a_sockets_messages_stay_with_one_backend_until_it_goes(bench):
    # given a socket that has sent to a service with two backends
    hosts = BACKENDS[4][:2]
    numbers = {host: bench.add_backend(End(host, 8080), "udp") for host in hosts}
    held = bench.serve(End(SERVICE[4], 80), "udp", tuple(numbers.values()))
    with ExitStack() as stack:
        servers = {stack.enter_context(server("udp", host)): host for host in hosts}
        client = stack.enter_context(sock("udp", 4))

        def asked() -> str:
            client.sendto(b"x", (SERVICE[4], 80))
            listener = reached(servers)
            listener.recv(10)
            return servers[listener]

        first = asked()
        assert {asked() for _ in range(10)} == {first}

        # when that backend goes (bug class 39: what remembers it must not keep it)
        [other] = set(hosts) - {first}
        bench.change_set(held, (numbers[other],))
        assert asked() == first  # not chosen any more, and still there
        bench.remove_backend(numbers[first])

        # then the other has it at once
        assert asked() == other


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", NODE[4], "::1", "::", NODE[6]])
def test_a_node_port_is_at_every_address_of_the_node(bench, host):
    family = 6 if ":" in host else 4
    number = bench.add_backend(End(BACKENDS[family][0], 8080), "tcp")
    flags = contract.FRONTEND_EXTERNAL | contract.FRONTEND_NODE_PORT
    anywhere = End("0.0.0.0" if family == 4 else "::", 30080)
    bench.serve(anywhere, "tcp", (number,), flags=flags)

    with server("tcp", BACKENDS[family][0]) as listener, sock("tcp", family) as client:
        client.connect((host, 30080))

        with closing(listener.accept()[0]) as accepted:
            assert peer(accepted) == client.getsockname()[:2]


def test_a_node_port_is_at_no_other_address(bench):
    number = bench.add_backend(End(BACKENDS[4][0], 8080), "tcp")
    flags = contract.FRONTEND_EXTERNAL | contract.FRONTEND_NODE_PORT
    bench.serve(End("0.0.0.0", 30080), "tcp", (number,), flags=flags)

    with sock("tcp", 4) as client, pytest.raises(ConnectionRefusedError):
        client.connect((BACKENDS[4][1], 30080))
    with server("tcp", BACKENDS[4][1], 30080) as listener, sock("tcp", 4) as client:
        client.connect((BACKENDS[4][1], 30080))
        listener.accept()[0].close()


def test_affinity_keeps_the_nodes_connections_with_one_backend(bench):
    numbers = tuple(bench.add_backend(End(host, 8080), "tcp") for host in BACKENDS[4])
    flags = contract.FRONTEND_AFFINITY
    bench.serve(End(SERVICE[4], 82), "tcp", numbers, flags=flags, affinity_s=600, service=7)
    chosen = set()

    with ExitStack() as stack:
        servers = [stack.enter_context(server("tcp", host)) for host in BACKENDS[4]]
        for _ in range(20):
            with sock("tcp", 4) as client:
                client.connect((SERVICE[4], 82))
                listener = reached(servers)
                listener.accept()[0].close()
                chosen.add(listener)

    assert len(chosen) == 1


def test_source_ranges_are_asked_for_the_nodes_own_address(bench):
    number = bench.add_backend(End(BACKENDS[4][0], 8080), "tcp")
    flags = contract.FRONTEND_EXTERNAL | contract.FRONTEND_SOURCE_RANGES
    for service, network in ((21, "192.0.2.0/24"), (22, "198.51.100.0/24")):
        bench.serve(End(SERVICE[4], service), "tcp", (number,), flags=flags, service=service)
        bench.allow(network, service=service)

    with server("tcp", BACKENDS[4][0]), sock("tcp", 4) as client:
        client.connect((SERVICE[4], 21))
    with server("tcp", BACKENDS[4][0]), sock("tcp", 4) as client, refused(bench):
        client.connect((SERVICE[4], 22))


@pytest.mark.parametrize("flags", [0, contract.SETTING_SERVICES, contract.SETTING_NODE_OUT])
@pytest.mark.parametrize("frontend", [0, contract.FRONTEND_EXTERNAL])
def test_what_is_switched_off_is_left_to_others(bench, flags, frontend):
    bench.serve(End(BACKENDS[4][1], 83), "tcp", (), flags=frontend)
    bench.settle(flags, node4=NODE[4])
    try:
        with server("tcp", BACKENDS[4][1], 83) as listener, sock("tcp", 4) as client:
            client.connect((BACKENDS[4][1], 83))
            listener.accept()[0].close()
    finally:
        bench.settle(node4=NODE[4])


def test_sockets_of_other_namespaces_are_left_alone(bench):
    number = bench.add_backend(End(BACKENDS[4][0], 8080), "tcp")
    bench.serve(End(SERVICE[4], 80), "tcp", (number,))

    with scratch_netns("pod") as pod:
        pod.run(f"ip address add {SERVICE[4]}/32 dev lo")
        with pod.entered(), server("tcp", SERVICE[4], 80) as listener, sock("tcp", 4) as client:
            client.connect((SERVICE[4], 80))
            listener.accept()[0].close()
