"""Small worlds of services for hypothesis: few names and addresses, so that things meet."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import strategies as st

from terway.service.changes import (
    DropService,
    DropSlice,
    ServiceChange,
    SetHere,
    SetHostPorts,
    SetService,
    SetSlice,
    pack,
)
from terway.service.room import Room
from terway.service.values import (
    Endpoint,
    Here,
    HostPort,
    Protocol,
    Service,
    ServicePort,
    Slice,
    SlicePort,
)

ROOM = Room(frontends=10_000, sets=10_000, backends=10_000, slots=1 << 20, source_ranges=1000)
HERE = Here(node="node-1", zone="zone-a")


def ip(text: str) -> bytes:
    return ip_address(text).packed


V4 = [ip(f"10.0.0.{n}") for n in range(1, 6)]
V6 = [ip(f"fd00::{n}") for n in range(1, 4)]
CLUSTER_IPS = [ip("172.16.0.1"), ip("172.16.0.2"), ip("fc00::1")]
OUTER_IPS = [ip("172.16.0.1"), ip("47.0.0.1"), ip("47.0.0.2"), ip("2001:db8::1")]
NAMES = ["", "web"]
SERVICES = ["a/x", "a/y", "b/x"]
PROTOCOLS = [Protocol.TCP, Protocol.UDP, Protocol.SCTP]

some_of = st.sampled_from

service_ports = st.builds(
    ServicePort,
    name=some_of(NAMES),
    protocol=some_of(PROTOCOLS),
    port=some_of([80, 81]),
    node_port=some_of([0, 0, 30080, 30081]),
)
services = st.builds(
    Service,
    key=some_of(SERVICES),
    # No API server lets a Service have a port or node port of one protocol twice.
    ports=st.lists(
        service_ports,
        min_size=1,
        max_size=2,
        unique_by=(
            lambda one: (one.port, one.protocol),
            lambda one: (one.node_port or -one.port, one.protocol),
        ),
    ).map(tuple),
    cluster_ips=st.lists(some_of(CLUSTER_IPS), unique=True, max_size=2).map(tuple),
    external_ips=st.lists(some_of(OUTER_IPS), unique=True, max_size=2).map(tuple),
    ingress_ips=st.lists(some_of(OUTER_IPS), unique=True, max_size=2).map(tuple),
    source_ranges=st.lists(
        some_of([(ip("10.0.0.0"), 8), (ip("fd00::"), 16)]), unique=True, max_size=2
    ).map(tuple),
    affinity_s=some_of([0, 0, 60]),
    internal_local=st.booleans(),
    external_local=st.booleans(),
    health_port=some_of([0, 30999]),
)
endpoints = st.builds(
    Endpoint,
    address=some_of(V4 + V6),
    node=some_of(["node-1", "node-2"]),
    zone=some_of(["zone-a", "zone-b"]),
    is_ready=st.booleans(),
    is_serving=st.booleans(),
    is_terminating=st.booleans(),
    for_zones=some_of([(), ("zone-a",), ("zone-b",)]),
    for_nodes=some_of([(), (), ("node-1",), ("node-2",)]),
)
many = st.builds(
    lambda count: tuple(Endpoint(address=ip(f"10.1.0.{n}")) for n in range(1, count + 1)),
    st.integers(15, 40),
)
slices = st.builds(
    Slice,
    key=some_of(["a/x-1", "a/x-2", "a/y-1", "b/x-1"]),
    service=some_of(SERVICES),
    ports=st.lists(
        st.builds(
            SlicePort,
            name=some_of(NAMES),
            protocol=some_of(PROTOCOLS),
            port=some_of([8080, 8081]),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    endpoints=st.lists(endpoints, max_size=4).map(tuple) | many,
)
host_ports = st.builds(
    HostPort,
    host_ip=some_of([b"", ip("192.168.0.1")]),
    host_port=some_of([8080, 30080]),
    address=some_of(V4),
    port=some_of([80, 81]),
)


def set_service(service: Service) -> SetService:
    return SetService(key=service.key, packed=pack(service))


def set_slice(one: Slice) -> SetSlice:
    return SetSlice(key=one.key, service=one.service, packed=pack(one))


changes: st.SearchStrategy[ServiceChange] = st.one_of(
    services.map(set_service),
    slices.map(set_slice),
    slices.map(set_slice),
    some_of(SERVICES).map(lambda key: DropService(key=key)),
    some_of(["a/x-1", "a/x-2", "a/y-1"]).map(lambda key: DropSlice(key=key)),
    some_of(["zone-a", "zone-b", ""]).map(
        lambda zone: SetHere(here=Here(node="node-1", zone=zone))
    ),
    st.lists(host_ports, max_size=2).map(
        lambda ports: SetHostPorts(pod="a/pod", ports=tuple(ports))
    ),
)


def end_of(history: list[ServiceChange]) -> list[ServiceChange]:
    """The last change of each object, in another order than they came."""
    last: dict[object, ServiceChange] = {}
    for change in history:
        match change:
            case SetService(key=key) | DropService(key=key):
                last["service", key] = change
            case SetSlice(key=key) | DropSlice(key=key):
                last["slice", key] = change
            case SetHere():
                last["here"] = change
            case SetHostPorts(pod=pod):
                last["pod", pod] = change
    return list(reversed(last.values()))
