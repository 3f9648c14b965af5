"""What is a Service, and what is behind it, as far as packets are concerned?

Thirty thousand services with their endpoints must fit beside everything else in terwayd, so these
are msgspec Structs, which cost half of a dataclass, and addresses are packed: 4 bytes or 16.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

DEFAULT_AFFINITY_S = 10800  # Service API: sessionAffinityConfig.clientIP.timeoutSeconds


class Protocol(IntEnum):
    """A transport that a Service can have, by its number in the IP header."""

    TCP = 6
    UDP = 17
    SCTP = 132


class ServicePort(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A port of a Service. `name` is what the ports of slices are found by; often empty."""

    name: str = ""
    protocol: Protocol = Protocol.TCP
    port: int
    node_port: int = 0


class Service(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A Service that is led to its endpoints here; `key` is ``namespace/name``.

    `ingress_ips` are the load balancer's that packets reach unchanged (ipMode VIP).
    """

    key: str
    ports: tuple[ServicePort, ...]
    cluster_ips: tuple[bytes, ...] = ()
    external_ips: tuple[bytes, ...] = ()
    ingress_ips: tuple[bytes, ...] = ()
    source_ranges: tuple[tuple[bytes, int], ...] = ()  # network, prefix length
    affinity_s: int = 0  # 0: none
    internal_local: bool = False
    external_local: bool = False
    health_port: int = 0

    @property
    def is_external(self) -> bool:
        """Return whether somebody outside the cluster can reach it."""
        has_node_port = any(port.node_port for port in self.ports)
        return bool(has_node_port or self.external_ips or self.ingress_ips)


class Endpoint(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """An endpoint of a slice: where it is, its conditions, and for whom it is meant (hints)."""

    address: bytes
    node: str = ""
    zone: str = ""
    is_ready: bool = True
    is_serving: bool = True
    is_terminating: bool = False
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()


class SlicePort(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A port of all endpoints of a slice."""

    name: str = ""
    protocol: Protocol = Protocol.TCP
    port: int


class Slice(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """An EndpointSlice; `key` and `service` are ``namespace/name``."""

    key: str
    service: str
    ports: tuple[SlicePort, ...]
    endpoints: tuple[Endpoint, ...]


class Here(Struct, frozen=True, kw_only=True, gc=False):
    """The node that this is."""

    node: str
    zone: str = ""


class HostPort(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A port of the node that leads to a pod of it. An empty `host_ip`: any of its addresses."""

    host_ip: bytes = b""
    host_port: int
    protocol: Protocol = Protocol.TCP
    address: bytes
    port: int
