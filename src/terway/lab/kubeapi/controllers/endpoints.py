"""Who answers for a Service, and on which ports? Its pods as endpoints, by family and by ports.

Pods are grouped by the numbers that the Service's ports have on them: a target port by name may be
another number on each. Source: k8s.io/endpointslice utils.go (podToEndpoint, getEndpointPorts,
ShouldPodBeInEndpoints) and trafficdist/trafficdist.go, v1.34.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    is_pod_finished,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    read_path,
    uid_of,
)

ZONE = "topology.kubernetes.io/zone"
_NEAR = ("PreferClose", "PreferSameZone", "PreferSameNode")

Ports = tuple[tuple[str, int, str, str], ...]
"""Name, number, protocol and appProtocol of each port: what all endpoints of a slice share."""


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What distinguishes the slices of one Service."""

    address_type: str
    ports: Ports


Groups = dict[GroupKey, dict[str, Object]]
"""The endpoints of each group, by who they are (`endpoint_id`)."""


def groups_of(service: Object, pods: Iterable[Object], nodes: Mapping[str, Object]) -> Groups:
    """Return the endpoints of a Service with a selector. A family without any has an empty group.

    `nodes` are by name. A pod of a node that is not there counts only if the Service publishes
    what is not ready, too.
    """
    found: Groups = {}
    publishes_all = bool(read_path(service, "spec.publishNotReadyAddresses", False))
    for family in families_of(service):
        for pod in pods:
            node = nodes.get(read_path(pod, "spec.nodeName", ""))
            if not _counts(pod) or not (node or publishes_all):
                continue
            if addresses := _addresses(pod, family):
                key = GroupKey(family, _ports(service, pod))
                endpoint = _endpoint(service, pod, node, addresses)
                found.setdefault(key, {})[endpoint_id(endpoint)] = endpoint
        if not any(key.address_type == family for key in found):
            found[GroupKey(family, ())] = {}
    return found


def families_of(service: Object) -> tuple[str, ...]:
    """Return the families of a Service, as its slices spell them."""
    return tuple(read_path(service, "spec.ipFamilies", ("IPv4",)))


def endpoint_id(endpoint: Object) -> str:
    """Return what an endpoint keeps while its conditions change."""
    return f"{read_path(endpoint, 'targetRef.uid', '')}/{','.join(endpoint.get('addresses') or ())}"


def port_objects(ports: Ports) -> list[Object]:
    """Return ports as a slice has them."""
    return [
        {"name": name, "port": number, "protocol": protocol}
        | ({"appProtocol": application} if application else {})
        for name, number, protocol, application in ports
    ]


def ports_of_slice(held: Object) -> Ports:
    """Return the ports of a slice that is there."""
    return tuple(
        (
            port.get("name") or "",
            int(port.get("port") or 0),
            port.get("protocol") or "TCP",
            port.get("appProtocol") or "",
        )
        for port in held.get("ports") or ()
    )


def _counts(pod: Object) -> bool:
    return not is_pod_finished(pod) and bool(read_path(pod, "status.podIP"))


def _addresses(pod: Object, family: str) -> list[str]:
    held = [one["ip"] for one in read_path(pod, "status.podIPs", ()) if one.get("ip")]
    found = held or [read_path(pod, "status.podIP")]
    return [one for one in found if f"IPv{ip_address(one).version}" == family][:1]


def _endpoint(service: Object, pod: Object, node: Object | None, addresses: list[str]) -> Object:
    spec = pod.get("spec") or {}
    endpoint: Object = {
        "addresses": addresses,
        "conditions": _conditions(service, pod),
        "targetRef": {
            "kind": "Pod",
            "namespace": namespace_of(pod),
            "name": name_of(pod),
            "uid": uid_of(pod),
        },
    }
    if spec.get("nodeName"):
        endpoint["nodeName"] = spec["nodeName"]
    if node is not None and (zone := labels_of(node).get(ZONE)):
        endpoint["zone"] = zone
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        endpoint["hostname"] = spec["hostname"]
    if hints := _hints(service, endpoint):
        endpoint["hints"] = hints
    return endpoint


def _conditions(service: Object, pod: Object) -> Object:
    """A pod that goes away serves on while its readiness says so, but is not ready for more."""
    serving, terminating = is_condition_true(pod, "Ready"), is_terminating(pod)
    publishes_all = bool(read_path(service, "spec.publishNotReadyAddresses", False))
    return {
        "ready": publishes_all or (serving and not terminating),
        "serving": serving,
        "terminating": terminating,
    }


def _hints(service: Object, endpoint: Object) -> Object:
    wish = read_path(service, "spec.trafficDistribution", "")
    if wish not in _NEAR or not endpoint["conditions"]["ready"]:
        return {}
    hints: Object = {}
    if zone := endpoint.get("zone"):
        hints["forZones"] = [{"name": zone}]
    if wish == "PreferSameNode" and (node := endpoint.get("nodeName")):
        hints["forNodes"] = [{"name": node}]
    return hints


def _ports(service: Object, pod: Object) -> Ports:
    found = []
    for port in read_path(service, "spec.ports", ()):
        if number := _target(port, pod):
            protocol = port.get("protocol", "TCP")
            found.append((port.get("name", ""), number, protocol, port.get("appProtocol", "")))
    return tuple(found)


def _target(port: Mapping[str, Any], pod: Object) -> int:
    """The number that a port has on this pod; 0 where no container has a port of that name."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    wanted = (target, port.get("protocol", "TCP"))
    named = (one for one in _container_ports(pod)
             if (one.get("name"), one.get("protocol", "TCP")) == wanted)  # fmt: skip
    return int(next(named, {}).get("containerPort", 0))


def _container_ports(pod: Object) -> Iterator[Mapping[str, Any]]:
    spec = pod.get("spec") or {}
    sidecars = [one for one in spec.get("initContainers") or ()
                if one.get("restartPolicy") == "Always"]  # fmt: skip
    for container in (*(spec.get("containers") or ()), *sidecars):
        yield from container.get("ports") or ()
