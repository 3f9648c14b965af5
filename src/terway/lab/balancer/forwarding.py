"""What do the load balancers of a cluster forward, and to which nodes? Pure.

To each Ready node's address at the port's node port; with externalTrafficPolicy Local, only to
nodes whose health check node port said that they have an endpoint. A port without a node port is
not listened at, and SCTP is not forwarded: the VPC's load balancers know TCP and UDP.
Source: k8s.io/cloud-provider controllers/service, nodePredicates, v1.34.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Any

from terway.lab.kubeapi.controllers.loadbalancers import addresses_of, is_balanced
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    is_terminating,
    labels_of,
    name_of,
    read_path,
)
from terway.lab.kubeapi.services.fields import needs_health_check
from terway.lab.vpc.contract import LISTENER_BACKENDS
from terway.lab.vpc.state import Balancer, Listener
from terway.model.address import IPAddress
from terway.model.ids import VpcId

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
_PROTOCOLS = {"TCP": 6, "UDP": 17}


@dataclass(frozen=True, slots=True)
class Probe:
    """A question to a node: HTTP GET /healthz at a health check node port, 200 is yes."""

    node: str
    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True)
class Member:
    """A node that load balancers may forward to."""

    name: str
    addresses: tuple[IPAddress, ...]
    is_ready: bool

    def of_version(self, version: int) -> IPAddress | None:
        """Return the node's first address of a family, by its IP version."""
        return next((one for one in self.addresses if one.version == version), None)


def members_of(nodes: Iterable[Object]) -> tuple[Member, ...]:
    """Return the nodes that load balancers may forward to, by name; the ready ones do."""
    kept = [one for one in nodes if EXCLUDED not in labels_of(one) and not is_terminating(one)]
    return tuple(_member(one) for one in sorted(kept, key=name_of))


def _member(node: Object) -> Member:
    held = read_path(node, "status.addresses", ())
    own = tuple(ip_address(one["address"]) for one in held if one.get("type") == "InternalIP")
    return Member(name_of(node), own, is_condition_true(node, "Ready"))


def probes_of(services: Iterable[Object], members: Sequence[Member]) -> frozenset[Probe]:
    """Return what the nodes must be asked for."""
    ports = {
        read_path(service, "spec.healthCheckNodePort", 0)
        for service in services
        if is_balanced(service) and needs_health_check(service["spec"])
    }
    return frozenset(
        Probe(member.name, address, port)
        for port in ports - {0}
        for member in members
        if isinstance(address := member.of_version(4), IPv4Address)
    )


def balancers_of(
    services: Iterable[Object],
    members: Sequence[Member],
    healthy: Collection[Probe],
    *,
    vpc_id: VpcId,
) -> tuple[Balancer, ...]:
    """Return one load balancer for each address that a Service was given."""
    return tuple(
        _balancer(service, address, members, healthy, vpc_id)
        for service in services
        if is_balanced(service)
        for address in addresses_of(service)
    )


def _balancer(
    service: Object,
    address: IPAddress,
    members: Sequence[Member],
    healthy: Collection[Probe],
    vpc_id: VpcId,
) -> Balancer:
    serving = _serving(service, members, healthy)
    backends = tuple(_of_version(serving, address.version))[:LISTENER_BACKENDS]
    return Balancer(
        vpc_id=vpc_id,
        address=address,
        listeners=tuple(_listeners(service["spec"], backends)),
        members=tuple(_of_version(members, address.version)),
    )


def _listeners(spec: Mapping[str, Any], backends: tuple[IPAddress, ...]) -> Iterator[Listener]:
    for port in spec.get("ports") or ():
        protocol = _PROTOCOLS.get(port.get("protocol", "TCP"))
        if protocol is not None and port.get("nodePort"):
            yield Listener(
                protocol=protocol,
                port=port["port"],
                backend_port=port["nodePort"],
                backends=backends,
            )


def _serving(
    service: Object, members: Sequence[Member], healthy: Collection[Probe]
) -> list[Member]:
    ready = [one for one in members if one.is_ready]
    if not needs_health_check(service["spec"]):
        return ready
    port = service["spec"].get("healthCheckNodePort")
    said_yes = {one.node for one in healthy if one.port == port}
    return [one for one in ready if one.name in said_yes]


def _of_version(members: Iterable[Member], version: int) -> Iterator[IPAddress]:
    for member in members:
        if (address := member.of_version(version)) is not None:
            yield address
