"""The node's sockets are served by one call, and told when whom they reached has gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest

from terway.linux import bpf
from terway.linux.bpf import Map
from terway.linux.ebpf import cgroup, contract
from terway.linux.ebpf.node_sockets import FOLDER, serve_sockets, stop_serving
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.sockets import open_sockets
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.service_tables import End, ServiceTables
from tests.support.sock_program import BPFFS, SIZES, scratch_cgroup

pytestmark = pytest.mark.root

SERVICE, BACKEND, OTHER = End("10.96.0.1", 80), End("10.0.0.1", 8080), End("10.0.0.2", 8080)


@pytest.fixture
def node() -> Iterator[ScratchNetns]:
    with scratch_netns("node") as made:
        for end in (BACKEND, OTHER):
            made.run(f"ip address add {end.host}/32 dev lo")
        with made.entered():
            yield made


@pytest.fixture
def pins() -> Iterator[Pins]:
    made = Pins(BPFFS / "node-sockets-test")
    yield made
    stop_serving(made)


@pytest.fixture
def maps(node) -> Iterator[dict[str, Map]]:
    """The maps of a data path, as another object has made them."""
    assert node
    with open_sockets({}, max_entries=SIZES) as programs:
        found = {
            name: bpf.map_of(fd)
            for name, fd in programs.loaded.maps.items()
            if name != "sockets" and not name.endswith(".rodata")
        }
        flags = contract.SETTING_SERVICES | contract.SETTING_NODE_IN
        node4 = ip_address("192.0.2.1").packed
        found["settings"].update(bytes(4), contract.SETTINGS.pack(flags=flags, node4=node4))
        yield found


def test_the_next_terwayd_goes_on_with_what_sockets_have(maps, pins):
    tables = ServiceTables(maps)
    tables.serve(SERVICE, "udp", (tables.add_backend(BACKEND, "udp"),))
    with scratch_cgroup() as place:
        serve_sockets(maps, pins, place)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with closing(client):
            client.connect((SERVICE.host, SERVICE.port))

            served = serve_sockets(maps, pins, place)

            assert served.cgroup == place
            assert client.getpeername() == (SERVICE.host, SERVICE.port)
        stop_serving(pins)


def test_who_is_connected_to_a_backend_that_went_is_told(maps, pins):
    # given connections to two backends of a service (bug class 39)
    tables = ServiceTables(maps)
    gone = tables.add_backend(BACKEND, "tcp")
    held = tables.serve(SERVICE, "tcp", (gone,))
    with scratch_cgroup() as place:
        served = serve_sockets(maps, pins, place)
        with (
            closing(socket.create_server((BACKEND.host, BACKEND.port))),
            closing(socket.create_server((OTHER.host, OTHER.port))),
            closing(socket.create_connection((SERVICE.host, SERVICE.port), 5)) as first,
        ):
            tables.change_set(held, (tables.add_backend(OTHER, "tcp"),))
            second = socket.create_connection((SERVICE.host, SERVICE.port), 5)
            with closing(second):
                # when one goes
                tables.remove_backend(gone)
                assert served.end_those_with({gone}) == 1

                # then who was connected to it is told, and nobody else
                with pytest.raises(ConnectionAbortedError):
                    first.recv(1)
                assert second.send(b"still here")
                assert served.end_those_with({gone}) == 0
        stop_serving(pins)


def test_nothing_is_left_behind(maps, pins):
    with scratch_cgroup() as place:
        serve_sockets(maps, pins, place)

        stop_serving(pins)
        stop_serving(pins)

    assert cgroup.attached(pins.folder(FOLDER)) == {}
    assert not pins.folder(FOLDER).exists()
