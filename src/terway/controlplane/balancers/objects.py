"""Which fields of Services and EndpointSlices are read here, and which Services are ours?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from msgspec import structs

from terway.kube.services import (
    SERVICE_NAME,
    EndpointConditions,
    EndpointPort,
    services_as,
    slices_as,
)
from terway.kube.types import KubeObject, ObjectMeta, _Value
from terway.loadbalancer.annotations import balancer_id_of
from terway.loadbalancer.values import CLB_CLASS, NLB_CLASS, Port, Service
from terway.model.address import Family, IPNetwork
from terway.model.balancer import ListenerProtocol
from terway.model.errors import UsageError

FINALIZER = "service.k8s.alibaba/resources"
OURS = ("", CLB_CLASS, NLB_CLASS)
_FAMILIES = {"IPv4": Family.V4, "IPv6": Family.V6}


class BalancedPort(_Value, frozen=True, kw_only=True):
    """A port of a Service."""

    name: str = ""
    protocol: str = "TCP"
    port: int = 0


class BalancedSpec(_Value, frozen=True, kw_only=True):
    """What a Service asks for."""

    type: str = ""
    ports: tuple[BalancedPort, ...] | None = None
    ip_families: tuple[str, ...] | None = None
    load_balancer_class: str | None = None
    load_balancer_source_ranges: tuple[str, ...] | None = None
    selector: dict[str, str] | None = None


class Ingress(_Value, frozen=True, kw_only=True):
    """Where a load balancer is reached."""

    ip: str = ""
    hostname: str = ""
    ip_mode: str = ""


class BalancerStatus(_Value, frozen=True, kw_only=True):
    """Where all of a Service's load balancers are reached."""

    ingress: tuple[Ingress, ...] | None = None


class BalancedStatus(_Value, frozen=True, kw_only=True):
    """What became of a Service."""

    load_balancer: BalancerStatus = BalancerStatus()


class BalancedService(KubeObject, frozen=True, kw_only=True):
    """core/v1 Service."""

    spec: BalancedSpec = BalancedSpec()
    status: BalancedStatus = BalancedStatus()


class TargetRef(_Value, frozen=True, kw_only=True):
    """The object behind an endpoint."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class SliceEndpoint(_Value, frozen=True, kw_only=True):
    """An endpoint of a slice."""

    addresses: tuple[str, ...] | None = None
    conditions: EndpointConditions = EndpointConditions()
    target_ref: TargetRef = TargetRef()


class EndpointSlice(KubeObject, frozen=True, kw_only=True):
    """discovery.k8s.io/v1 EndpointSlice."""

    address_type: str = ""
    endpoints: tuple[SliceEndpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None


def _kept_service(found: BalancedService) -> BalancedService:
    """Return what is kept of a Service in memory: of those that are not ours, name and class."""
    if is_ours(found) or FINALIZER in found.metadata.finalizers:
        return found
    spec = BalancedSpec(type=found.spec.type, load_balancer_class=found.spec.load_balancer_class)
    return BalancedService(metadata=_named(found), spec=spec)


def _kept_slice(found: EndpointSlice) -> EndpointSlice:
    metadata = structs.replace(
        _named(found),
        labels={SERVICE_NAME: found.metadata.labels.get(SERVICE_NAME, "")},
    )
    return structs.replace(found, metadata=metadata)


def _named(found: KubeObject) -> ObjectMeta:
    held = found.metadata
    return ObjectMeta(
        name=held.name,
        namespace=held.namespace,
        uid=held.uid,
        resource_version=held.resource_version,
    )


SERVICES = services_as(BalancedService, shrink=_kept_service)
SLICES = slices_as(EndpointSlice, shrink=_kept_slice)


def is_ours(found: BalancedService) -> bool:
    """Return whether a Service wants a load balancer, and of us."""
    spec = found.spec
    return spec.type == "LoadBalancer" and (spec.load_balancer_class or "") in OURS


def bare_service(found: BalancedService) -> Service:
    """Return a Service by its name and class alone: what can be said of any."""
    metadata = found.metadata
    return Service(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        ports=(),
        families=(),
        load_balancer_class=found.spec.load_balancer_class or "",
    )


def plain_service(found: BalancedService) -> Service:
    """Return a Service with what of it is beyond doubt, whatever else it says."""
    known = {one.value for one in ListenerProtocol}
    spec = found.spec
    return replace(
        bare_service(found),
        ports=tuple(_port(one) for one in spec.ports or () if one.protocol in known),
        families=tuple(_FAMILIES[one] for one in spec.ip_families or ("IPv4",)),
    )


def named_balancer(found: BalancedService) -> str:
    """Return the id of the instance that a Service says it uses, or nothing."""
    return balancer_id_of(found.metadata.annotations)


def service_of(found: BalancedService) -> Service:
    """Return the Service as `loadbalancer` has it. Raises UsageError for what cannot be."""
    metadata, spec = found.metadata, found.spec
    return Service(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        ports=tuple(map(_port, spec.ports or ())),
        families=tuple(_FAMILIES[one] for one in spec.ip_families or ("IPv4",)),
        annotations=metadata.annotations,
        load_balancer_class=spec.load_balancer_class or "",
        source_ranges=tuple(map(_range, spec.load_balancer_source_ranges or ())),
    )


def _port(found: BalancedPort) -> Port:
    if found.protocol not in {one.value for one in ListenerProtocol}:
        raise UsageError(
            f"spec.ports: {found.protocol} at {found.port}: the cloud's load balancers forward TCP "
            "and UDP; take the port out",
            field="spec.ports",
        )
    return Port(name=found.name, protocol=ListenerProtocol(found.protocol), port=found.port)


def _range(text: str) -> IPNetwork:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise UsageError(
            f"spec.loadBalancerSourceRanges: {text!r} is no range of addresses: {error}",
            field="spec.loadBalancerSourceRanges",
        ) from error
