"""What a person reads of services: where they lead, and why not elsewhere."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from terway.agent.service.pages import describe_services
from terway.cli.services import service_lines
from terway.service.compiler import Compiler
from terway.service.room import Room
from terway.service.values import Endpoint, Here, Service, ServicePort, Slice, SlicePort
from tests.support.service_worlds import ROOM, set_service, set_slice

HERE = Here(node="node-1", zone="zone-a")
WEB = Service(
    key="shop/web",
    ports=(ServicePort(port=80, node_port=30080),),
    cluster_ips=(ip_address("172.16.0.1").packed, ip_address("fc00::1").packed),
    affinity_s=60,
    internal_local=True,
)
ENDPOINTS = (
    Endpoint(address=ip_address("10.0.0.1").packed, node="node-1"),
    Endpoint(address=ip_address("10.0.0.2").packed, node="node-2"),
    Endpoint(address=ip_address("10.0.0.3").packed, node="node-1", is_ready=False),
)


def page_of(room: Room = ROOM) -> dict[str, Any]:
    compiler = Compiler(HERE, room=room)
    part = Slice(
        key="shop/web-1", service="shop/web", ports=(SlicePort(port=8080),), endpoints=ENDPOINTS
    )
    compiler.apply([set_service(WEB), set_slice(part)])
    return {
        "filled": True,
        "trouble": "",
        "left_out": dict(compiler.unserved),
        "services": list(describe_services(compiler)),
    }


def test_a_service_is_told_with_its_addresses_and_endpoints():
    page = page_of()

    lines = list(service_lines(page, page["services"]))

    assert lines == [
        "shop/web",
        "  172.16.0.1:80/TCP  cluster, endpoints of this node only, affinity 60 s",
        "  *:30080/TCP  node port, affinity 60 s",
        "  [fc00::1]:80/TCP  cluster, endpoints of this node only, affinity 60 s",
        "  [*]:30080/TCP  node port, affinity 60 s",
        "    ► 10.0.0.1:8080/TCP on node-1: used",
        "    ► 10.0.0.2:8080/TCP on node-2: not used: traffic stays on its node, and it",
        "      is on another",
        "    ► 10.0.0.3:8080/TCP on node-1: not used: it is not ready",
        "1 service",
    ]
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("full", ["frontends", "backends"])
def test_a_service_without_room_is_told_with_the_key_that_makes_some(full):
    """Bug class 54: what is not in the maps is told, not swallowed."""
    few = {"frontends": 100, "sets": 100, "backends": 100, "slots": 0, "source_ranges": 10, full: 1}

    page = page_of(Room(**few))

    first = next(service_lines(page, page["services"]))
    assert first == f"left out: shop/web: map {full} is full; raise ebpf_service_entries"
