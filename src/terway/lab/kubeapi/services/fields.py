"""What does a Service's spec ask for? Readers that the other modules share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]


def needs_node_port(spec: Spec) -> bool:
    """Return whether the Service is of a type whose ports may have node ports."""
    return spec.get("type") in ("NodePort", "LoadBalancer")


def gets_node_ports(spec: Spec) -> bool:
    """Return whether ports without a node port get one."""
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts", True) is not False
    return spec.get("type") == "NodePort"


def needs_health_check(spec: Spec) -> bool:
    """Return whether a load balancer asks the nodes which of them have endpoints."""
    is_local = spec.get("externalTrafficPolicy") == "Local"
    return spec.get("type") == "LoadBalancer" and is_local


def is_external(spec: Spec) -> bool:
    """Return whether the Service can be reached from outside of the cluster."""
    return needs_node_port(spec) or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def is_headless(spec: Spec) -> bool:
    """Return whether the Service has no address of its own, on purpose."""
    return spec.get("clusterIP") == "None" or list(spec.get("clusterIPs") or ()) == ["None"]


def node_ports_of(spec: Spec) -> Iterator[int]:
    """Yield the node ports of a Service's ports, and its health check node port."""
    for port in spec.get("ports") or ():
        if number := port.get("nodePort"):
            yield number
    if number := spec.get("healthCheckNodePort"):
        yield number
