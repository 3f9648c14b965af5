"""Which fields of Services and EndpointSlices are read, and what do they mean for packets?

What nobody can lead packets to is left out: an ExternalName, a headless Service, one that another
proxy does (service.kubernetes.io/service-proxy-name), a port without a number.
Source: Kubernetes API reference v1.34; what kube-proxy skips (pkg/proxy/util/utils.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network
from sys import intern

from msgspec import Struct, field

from terway.kube.services import (
    SERVICE_NAME,
    EndpointConditions,
    EndpointPort,
    services_as,
    slices_as,
)
from terway.kube.types import KubeObject, ObjectMeta
from terway.service.changes import pack
from terway.service.values import (
    DEFAULT_AFFINITY_S,
    Endpoint,
    Protocol,
    Service,
    ServicePort,
    Slice,
    SlicePort,
)

PROXY_NAME = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"
LOCAL = "Local"
_PROTOCOLS = {one.name: one for one in Protocol}


class _Value(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What all have in common."""


class LeanServicePort(_Value, frozen=True, kw_only=True):
    """A port of a Service."""

    name: str | None = None
    protocol: str | None = None
    port: int = 0
    node_port: int | None = None


class LeanClientIP(_Value, frozen=True, kw_only=True):
    """How long a client keeps its endpoint."""

    timeout_seconds: int | None = None


class LeanAffinity(_Value, frozen=True, kw_only=True):
    """The configuration of session affinity."""

    client_ip: LeanClientIP | None = field(default=None, name="clientIP")


class LeanServiceSpec(_Value, frozen=True, kw_only=True):
    """What a Service asks for."""

    type: str = ""
    ports: tuple[LeanServicePort, ...] | None = None
    cluster_ip: str | None = field(default=None, name="clusterIP")
    cluster_ips: tuple[str, ...] | None = field(default=None, name="clusterIPs")
    external_ips: tuple[str, ...] | None = field(default=None, name="externalIPs")
    session_affinity: str | None = None
    session_affinity_config: LeanAffinity | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str | None = None
    load_balancer_source_ranges: tuple[str, ...] | None = None
    health_check_node_port: int | None = None


class LeanIngress(_Value, frozen=True, kw_only=True):
    """An address of a load balancer."""

    ip: str | None = None
    ip_mode: str | None = None


class LeanBalancer(_Value, frozen=True, kw_only=True):
    """The load balancer's status."""

    ingress: tuple[LeanIngress, ...] | None = None


class LeanServiceStatus(_Value, frozen=True, kw_only=True):
    """What became of a Service."""

    load_balancer: LeanBalancer | None = None


class LeanService(KubeObject, frozen=True, kw_only=True):
    """core/v1 Service."""

    spec: LeanServiceSpec = LeanServiceSpec()
    status: LeanServiceStatus | None = None
    packed: bytes = b""  # not of the API: what is kept of one in a long list


class LeanName(_Value, frozen=True, kw_only=True):
    """A zone or node that a hint is for."""

    name: str


class LeanHints(_Value, frozen=True, kw_only=True):
    """For whom an endpoint is meant."""

    for_zones: tuple[LeanName, ...] | None = None
    for_nodes: tuple[LeanName, ...] | None = None


class LeanEndpoint(_Value, frozen=True, kw_only=True):
    """An endpoint of a slice."""

    addresses: tuple[str, ...] | None = None
    conditions: EndpointConditions | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: LeanHints | None = None


class LeanSlice(KubeObject, frozen=True, kw_only=True):
    """discovery.k8s.io/v1 EndpointSlice."""

    address_type: str = ""
    endpoints: tuple[LeanEndpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None
    packed: bytes = b""  # as of a service


def read_service(lean: LeanService) -> bytes:
    """Return the service, packed; empty where it is not ours to lead packets to."""
    if lean.packed:
        return lean.packed
    found = service_of(lean)
    return pack(found) if found is not None else b""


def read_slice(lean: LeanSlice) -> bytes:
    """Return the slice, packed; empty where it belongs to no service of ours."""
    if lean.packed:
        return lean.packed
    found = slice_of(lean)
    return pack(found) if found is not None else b""


def _named(lean: KubeObject) -> ObjectMeta:
    return ObjectMeta(namespace=intern(lean.metadata.namespace), name=lean.metadata.name)


def _shrunk_service(lean: LeanService) -> LeanService:
    return LeanService(metadata=_named(lean), packed=read_service(lean))


def _shrunk_slice(lean: LeanSlice) -> LeanSlice:
    return LeanSlice(metadata=_named(lean), packed=read_slice(lean))


SERVICES = services_as(LeanService, shrink=_shrunk_service)
ENDPOINT_SLICES = slices_as(LeanSlice, shrink=_shrunk_slice)


def service_of(lean: LeanService) -> Service | None:
    """Return the service, None where it is not ours to lead packets to."""
    spec, labels = lean.spec, lean.metadata.labels
    if PROXY_NAME in labels or HEADLESS in labels or spec.type == "ExternalName":
        return None
    cluster_ips = _addresses(spec.cluster_ips or (spec.cluster_ip or "",))
    if not cluster_ips:
        return None
    return Service(
        key=intern(f"{lean.metadata.namespace}/{lean.metadata.name}"),
        ports=tuple(_service_ports(spec)),
        cluster_ips=cluster_ips,
        external_ips=_addresses(spec.external_ips or ()),
        ingress_ips=_addresses(_ingress(lean.status)),
        source_ranges=_ranges(spec.load_balancer_source_ranges or ()),
        affinity_s=_affinity_s(spec),
        internal_local=spec.internal_traffic_policy == LOCAL,
        external_local=spec.external_traffic_policy == LOCAL,
        health_port=spec.health_check_node_port or 0,
    )


def slice_of(lean: LeanSlice) -> Slice | None:
    """Return the slice, None where it belongs to no service of ours."""
    labels, namespace = lean.metadata.labels, lean.metadata.namespace
    owner = labels.get(SERVICE_NAME)
    if not owner or PROXY_NAME in labels or HEADLESS in labels or lean.address_type == "FQDN":
        return None
    return Slice(
        key=f"{namespace}/{lean.metadata.name}",
        service=intern(f"{namespace}/{owner}"),
        ports=tuple(
            SlicePort(name=port.name or "", protocol=protocol, port=port.port)
            for port in lean.ports or ()
            if port.port and (protocol := _PROTOCOLS.get(port.protocol or "TCP")) is not None
        ),
        endpoints=tuple(_endpoints(lean.endpoints or ())),
    )


def _service_ports(spec: LeanServiceSpec) -> Iterator[ServicePort]:
    for port in spec.ports or ():
        protocol = _PROTOCOLS.get(port.protocol or "TCP")
        if protocol is not None and port.port:
            yield ServicePort(
                name=port.name or "",
                protocol=protocol,
                port=port.port,
                node_port=port.node_port or 0,
            )


def _ingress(status: LeanServiceStatus | None) -> Iterator[str]:
    """Yield the load balancer's addresses that packets reach the node with (ipMode VIP)."""
    if status is None or status.load_balancer is None:
        return
    for one in status.load_balancer.ingress or ():
        if one.ip and one.ip_mode in (None, "VIP"):
            yield one.ip


def _affinity_s(spec: LeanServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    given = config.client_ip.timeout_seconds if config and config.client_ip else None
    return given or DEFAULT_AFFINITY_S


def _endpoints(leans: Iterable[LeanEndpoint]) -> Iterator[Endpoint]:
    """Yield those with an address; all after the first are a pod's other families' or mistakes."""
    for lean in leans:
        for address in _addresses((lean.addresses or ())[:1]):
            conditions = lean.conditions or EndpointConditions()
            hints = lean.hints or LeanHints()
            yield Endpoint(
                address=address,
                node=lean.node_name or "",
                zone=lean.zone or "",
                is_ready=conditions.ready is not False,
                is_serving=conditions.serving is not False,
                is_terminating=conditions.terminating is True,
                for_zones=tuple(one.name for one in hints.for_zones or ()),
                for_nodes=tuple(one.name for one in hints.for_nodes or ()),
            )


def _addresses(texts: Iterable[str]) -> tuple[bytes, ...]:
    """Return the addresses among `texts`; ``None`` and empty ones are a headless Service's."""
    found = []
    for text in texts:
        with suppress(ValueError):
            found.append(ip_address(text).packed)
    return tuple(found)


def _ranges(texts: Iterable[str]) -> tuple[tuple[bytes, int], ...]:
    found = []
    for text in texts:
        with suppress(ValueError):
            network = ip_network(text.strip(), strict=False)
            found.append((network.network_address.packed, network.prefixlen))
    return tuple(found)
