"""The node of tests/support/snapshots.py with the eBPF data path: what its maps and hooks have."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from terway.cli.snapshot import Snapshot
from terway.cli.snapshot_ebpf import (
    DataPathView,
    EndpointView,
    HookView,
    LocalView,
    MapView,
)
from terway.datapath.names import host_mac, pod_mac
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber, endpoint_number
from terway.model.programs import NodeKnowledge
from tests.support.snapshots import GATEWAY, PODS, healthy, host_name

NODE = IPv4Address("192.168.0.1")
ENI_LINK = 3
LINKS = {"a": 4, "near": 5}
FLOWS = MapView(name="flows", max_entries=100, memory_bytes=1 << 20, entries=100, forgets=True)


def number_of(name: str) -> EndpointNumber:
    return endpoint_number(PODS[name].key)


def endpoint(name: str) -> EndpointView:
    held = PODS[name]
    return EndpointView(
        endpoint=Endpoint(
            number=number_of(name),
            kind=EndpointKind.VETH,
            addresses=held.lease.addresses,
            gateways=IPPair(v4=GATEWAY),
            eni=ENI_LINK,
            pod_mac=pod_mac(held.key),
            link_mac=host_mac(held.key),
        ),
        link=LINKS[name],
    )


def hook(device: str, ifindex: int, which: str, program: str) -> HookView:
    return HookView(
        device=device, ifindex=ifindex, hook=which, program=program, number=10, tag=f"t-{program}"
    )


def pod_hooks(name: str) -> tuple[HookView, ...]:
    link = (host_name(name), LINKS[name])
    return hook(*link, "ingress", "from_pod"), hook(*link, "egress", "to_pod")


def datapath() -> DataPathView:
    addresses = {name: held.lease.addresses.v4 for name, held in PODS.items()}
    of_pods = tuple(
        LocalView(address=address, endpoint=number_of(name))
        for name, address in addresses.items()
        if address is not None
    )
    return DataPathView(
        layout=1,
        does_services=True,
        node=NodeKnowledge(link="eth0", addresses=IPPair(v4=NODE), mtu_bytes=1500),
        maps=(
            MapView(name="flows", max_entries=100, memory_bytes=1 << 20, entries=100, forgets=True),
        ),
        endpoints=tuple(map(endpoint, PODS)),
        locals=(*of_pods, LocalView(address=NODE, endpoint=None)),
        links=tuple((LINKS[name], number_of(name)) for name in PODS),
        hooks=(
            *(one for name in PODS for one in pod_hooks(name)),
            hook("eth1", ENI_LINK, "ingress", "from_eni"),
        ),
    )


def with_children(**changed: object) -> Snapshot:
    """Return a healthy node whose pods are IPvlan children of their ENI, as `with_datapath`."""
    view = datapath()
    stays = tuple(one for one in view.hooks if one.program == "from_eni")
    children = tuple(
        replace(one, endpoint=replace(one.endpoint, kind=EndpointKind.IPVLAN), link=6)
        for one in view.endpoints
    )
    hooks = (*stays, *(one for name in PODS for one in inner_hooks(name)))
    return with_datapath(**{"endpoints": children, "links": (), "hooks": hooks, **changed})


def inner_hooks(name: str) -> tuple[HookView, ...]:
    """Return the programs at a pod's own device, which has a number of its namespace."""
    ways = (("egress", "out_of_pod"), ("ingress", "into_pod"))
    return tuple(replace(hook("eth0", 2, *way), pod=PODS[name].key) for way in ways)


def with_datapath(**changed: object) -> Snapshot:
    """Return a healthy node whose pods are in the data path; `changed` are fields of its view."""
    return replace(healthy(), ebpf=replace(datapath(), **changed))  # type: ignore[arg-type]
