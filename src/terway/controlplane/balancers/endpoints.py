"""Who is behind a Service? EndpointSlices, the pods they name, and whose ENI each address is of.

A pod that waits at its readiness gate is not ready for the API server, but must be behind the load
balancer to become so: what counts for it is that its containers are ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address

from terway.controlplane.balancers.objects import EndpointSlice, SliceEndpoint
from terway.controlplane.watched import WatchedPod
from terway.loadbalancer.readiness import gate_of
from terway.loadbalancer.values import Endpoint, Pod
from terway.model.address import IPAddress
from terway.model.ids import ENIId

_CONTAINERS_READY = "ContainersReady"


def endpoints_of(
    service: str,
    slices: Iterable[EndpointSlice],
    pods: Mapping[tuple[str, str], WatchedPod],
    enis: Mapping[IPAddress, ENIId],
) -> tuple[Endpoint, ...]:
    """Return the endpoints of a Service by address; `pods` are by namespace and name."""
    found: dict[IPAddress, Endpoint] = {}
    for one in slices:
        if one.address_type == "FQDN":
            continue
        ports = {port.name or "": port.port for port in one.ports or () if port.port}
        for endpoint in _of_slice(service, one, ports, pods, enis):
            held = found.get(endpoint.address)
            # Slices that are split by ports: one address, several of them.
            both = endpoint.ports if held is None else {**held.ports, **endpoint.ports}
            found[endpoint.address] = replace(endpoint, ports=both)
    return tuple(found.values())


def pods_behind(
    slices: Iterable[EndpointSlice], pods: Mapping[tuple[str, str], WatchedPod]
) -> dict[IPAddress, WatchedPod | None]:
    """Return the pod behind each address; None for an address that is no pod's."""
    found: dict[IPAddress, WatchedPod | None] = {}
    for one in slices:
        for endpoint in (one.endpoints or ()) if one.address_type != "FQDN" else ():
            ref = endpoint.target_ref
            for text in (endpoint.addresses or ())[:1]:
                found[ip_address(text)] = pods.get((ref.namespace, ref.name))
    return found


def _of_slice(
    service: str,
    found: EndpointSlice,
    ports: Mapping[str, int],
    pods: Mapping[tuple[str, str], WatchedPod],
    enis: Mapping[IPAddress, ENIId],
) -> Iterator[Endpoint]:
    for endpoint in found.endpoints or ():
        ref = endpoint.target_ref
        pod = pods.get((ref.namespace, ref.name)) if ref.kind == "Pod" else None
        for text in (endpoint.addresses or ())[:1]:
            address = ip_address(text)
            yield Endpoint(
                address=address,
                ports=ports,
                serves=_serves(service, endpoint, pod),
                is_ready=endpoint.conditions.ready is not False,
                is_terminating=endpoint.conditions.terminating is True,
                eni_id=enis.get(address),
                pod=Pod(namespace=ref.namespace, name=ref.name, uid=ref.uid) if pod else None,
            )


def _serves(service: str, endpoint: SliceEndpoint, pod: WatchedPod | None) -> bool:
    conditions = endpoint.conditions
    if conditions.serving is not False and conditions.ready is not False:
        return True
    if pod is None:
        return conditions.serving is True
    gates = {one.condition_type for one in pod.spec.readiness_gates}
    if gate_of(service) not in gates:
        return conditions.serving is True
    return any(
        one.type == _CONTAINERS_READY and one.status == "True" for one in pod.status.conditions
    )
