"""Whose is a frontend that several services want, once one of them changes its mind?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from msgspec import structs

from terway.service.changes import SetSlice
from terway.service.compiler import Compiler
from terway.service.contents import FLAG_EXTERNAL, Table, unpack_frontend
from terway.service.values import Endpoint, Protocol, Service, ServicePort, Slice, SlicePort
from tests.support.paper_maps import PaperMaps
from tests.support.service_worlds import HERE, ROOM, set_service, set_slice

SHARED = ip_address("172.16.0.1").packed
NONE = Service(key="a/x", ports=(ServicePort(protocol=Protocol.TCP, port=80),))
FIRST = structs.replace(NONE, external_ips=(SHARED,))
SECOND = structs.replace(NONE, key="a/y")


@pytest.fixture
def maps() -> PaperMaps:
    return PaperMaps()


def flags_of(maps: PaperMaps) -> list[int]:
    return [unpack_frontend(value)[4] for value in maps.tables[Table.FRONTENDS].values()]


def test_a_cluster_address_that_became_an_external_one_goes_before_nobody(maps):
    """CVE-2020-8554: the name decides again, as it would for two that never had it as theirs."""
    compiler = Compiler(HERE, room=ROOM)
    local = structs.replace(SECOND, external_ips=(SHARED,), affinity_s=60)
    for service in (FIRST, structs.replace(SECOND, cluster_ips=(SHARED,)), local):
        maps.apply(compiler.apply([set_service(service)]))

    fresh = PaperMaps()
    fresh.apply(Compiler(HERE, room=ROOM).apply([set_service(FIRST), set_service(local)]))
    assert maps.meaning() == fresh.meaning()
    assert all(flags & FLAG_EXTERNAL for flags in flags_of(maps))


def test_a_frontend_is_gone_when_the_next_who_wants_it_finds_no_room(maps):
    compiler = Compiler(HERE, room=replace(ROOM, backends=0))
    heir = structs.replace(SECOND, external_ips=(SHARED,))
    for change in (set_service(FIRST), set_service(heir), endpoints(1, of="a/y")):
        maps.apply(compiler.apply([change]))
    assert not compiler.unserved

    maps.apply(compiler.apply([set_service(NONE)]))

    assert compiler.unserved == {"a/y": "backends"}
    assert flags_of(maps) == []


def test_a_table_that_stays_in_its_place_has_the_backends_of_now(maps):
    compiler = Compiler(HERE, room=ROOM)
    maps.apply(compiler.apply([set_service(FIRST), endpoints(18)]))

    maps.apply(compiler.apply([endpoints(17)]))

    ((_, inside, *_),) = map(unpack_frontend, maps.tables[Table.FRONTENDS].values())
    assert len(maps.backends_of(inside)) == 17


def endpoints(count: int, *, of: str = "a/x") -> SetSlice:
    addresses = [ip_address("10.1.0.0") + number for number in range(count)]
    return set_slice(
        Slice(
            key="a/x-1",
            service=of,
            ports=(SlicePort(protocol=Protocol.TCP, port=8080),),
            endpoints=tuple(Endpoint(address=one.packed) for one in addresses),
        )
    )
