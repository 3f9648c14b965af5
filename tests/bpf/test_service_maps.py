"""From what the API says to a packet: compiled, written to real maps, asked by a program."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from terway.agent.service.maps import KernelServiceMaps
from terway.linux.ebpf import contract
from terway.linux.ebpf.losses import Loss
from terway.service.changes import ServiceChange
from terway.service.compiler import Compiler
from terway.service.contents import Table
from terway.service.values import Endpoint, Here, Service, ServicePort, Slice, SlicePort
from tests.bpf.test_services import CLIENT, SERVER, SERVICE, ask, endpoint
from tests.support.datapath_program import DataPathBench, open_datapath_program
from tests.support.service_tables import End
from tests.support.service_worlds import set_service, set_slice
from tests.support.whole_packets import read_frame

pytestmark = pytest.mark.root

HERE = Here(node="node-1", zone="zone-a")
WEB = Service(
    key="shop/web",
    ports=(ServicePort(port=80),),
    cluster_ips=(ip_address(SERVICE[4]).packed, ip_address(SERVICE[6]).packed),
)
SIZES = {table.value: 4096 for table in Table} | {"slots": 65536}


@pytest.fixture
def node() -> Iterator[DataPathBench]:
    with open_datapath_program(max_entries=SIZES) as bench:
        bench.put_endpoint(endpoint(1, CLIENT), link=1)
        bench.put_endpoint(endpoint(2, SERVER), link=2)
        bench.set(flags=contract.SETTING_SERVICES)
        yield bench


def slice_of(*addresses: str, key: str = "shop/web-1") -> Slice:
    endpoints = tuple(Endpoint(address=ip_address(one).packed) for one in addresses)
    return Slice(key=key, service="shop/web", ports=(SlicePort(port=8080),), endpoints=endpoints)


@pytest.mark.parametrize("family", [4, 6])
def test_what_the_api_says_is_where_packets_go(node, family):
    maps = KernelServiceMaps(node.maps)
    compiler = Compiler(HERE, room=maps.room)

    maps.apply(compiler.apply([set_service(WEB), set_slice(slice_of(SERVER[family]))]))

    there = read_frame(node.run("from_pod", ask(family).frame()).frame)
    assert there.destination == End(SERVER[family], 8080)
    maps.apply(compiler.apply([set_slice(slice_of())]))
    outcome = node.run("from_pod", ask(family, port=40001).frame())
    assert outcome.losses == ((1, Loss.NO_BACKEND),)


def test_a_large_service_gives_each_client_one_of_its_endpoints(node):
    hosts = [f"10.8.{n // 200}.{n % 200 + 1}" for n in range(300)]
    maps = KernelServiceMaps(node.maps)
    maps.apply(
        Compiler(HERE, room=maps.room).apply([set_service(WEB), set_slice(slice_of(*hosts))])
    )

    seen = [
        read_frame(node.run("from_pod", ask(4, port=port).frame()).frame).destination.host
        for port in range(40000, 40400)
    ]

    assert set(seen) <= set(hosts)
    assert len(set(seen)) > 150


def test_the_next_terwayd_finds_what_is_there_and_writes_nothing(node):
    hosts = [f"10.8.0.{n}" for n in range(1, 31)]
    history: list[ServiceChange] = [
        set_service(WEB),
        set_slice(slice_of(*hosts)),
        set_slice(slice_of(SERVER[6], key="x")),
    ]
    maps = KernelServiceMaps(node.maps)
    maps.apply(Compiler(HERE, room=maps.room).apply(history))

    after = Compiler(HERE, room=maps.room, memory=maps.remember())

    assert (*after.apply(history), *after.forget()) == ()
