"""Which columns does `kubectl get` show of each kind?

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go, v1.32.
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.lab.kubeapi.cells import (
    UNKNOWN,
    Cell,
    age_since,
    at_path,
    container_fields,
    count_at,
    endpoints_text,
    event_object,
    event_seen,
    event_source,
    human_duration,
    node_address,
    node_roles,
    node_status,
    pairs_text,
    pod_selector_text,
    ready_of,
    selector_text,
    service_external,
    service_ports,
    slice_endpoints,
    slice_ports,
)
from terway.lab.kubeapi.objects import Object, name_of, read_path
from terway.lab.kubeapi.podstatus import pod_readiness_gates, pod_ready, pod_restarts, pod_status
from terway.lab.kubeapi.resources import (
    ADMIN_NETWORK_POLICY,
    CLUSTER_NETWORK_POLICY,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    LEASE,
    MUTATING_WEBHOOKS,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    POD,
    REPLICA_SET,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    VALIDATING_WEBHOOKS,
    ResourceDef,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; `is_wide` ones are shown with -o wide only."""

    name: str
    cell: Cell
    is_wide: bool = False
    type: str = "string"
    format: str = ""
    description: str = ""

    def definition(self) -> Object:
        """Return the column as a Table has it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": 1 if self.is_wide else 0,
        }


NAME = Column(name="Name", cell=lambda obj, now: name_of(obj), format="name")
AGE = Column(name="Age", cell=age_since("metadata.creationTimestamp"))
_CREATED = Column(name="Created At", cell=at_path("metadata.creationTimestamp"))
_BINDING = (
    NAME,
    Column(
        name="Role",
        cell=lambda obj, now: "/".join(
            (read_path(obj, "roleRef.kind", ""), read_path(obj, "roleRef.name", ""))
        ),
    ),
    AGE,
)


_WORKLOAD_WIDE = (
    Column(name="Containers", cell=container_fields("name"), is_wide=True),
    Column(name="Images", cell=container_fields("image"), is_wide=True),
    Column(name="Selector", cell=selector_text, is_wide=True),
)


def _int(name: str, path: str) -> Column:
    return Column(name=name, cell=at_path(path, 0), type="integer")


_WEBHOOKS = (NAME, Column(name="Webhooks", cell=count_at("webhooks"), type="integer"), AGE)

_BY_KIND: dict[ResourceDef, tuple[Column, ...]] = {
    POD: (
        NAME,
        Column(name="Ready", cell=lambda pod, now: pod_ready(pod)),
        Column(name="Status", cell=lambda pod, now: pod_status(pod)),
        Column(name="Restarts", cell=lambda pod, now: pod_restarts(pod, now, human_duration)),
        AGE,
        Column(name="IP", cell=at_path("status.podIP"), is_wide=True),
        Column(name="Node", cell=at_path("spec.nodeName"), is_wide=True),
        Column(name="Nominated Node", cell=at_path("status.nominatedNodeName"), is_wide=True),
        Column(
            name="Readiness Gates", cell=lambda pod, now: pod_readiness_gates(pod), is_wide=True
        ),
    ),
    NODE: (
        NAME,
        Column(name="Status", cell=node_status),
        Column(name="Roles", cell=node_roles),
        AGE,
        Column(name="Version", cell=at_path("status.nodeInfo.kubeletVersion", "")),
        Column(name="Internal-IP", cell=node_address("InternalIP"), is_wide=True),
        Column(name="External-IP", cell=node_address("ExternalIP"), is_wide=True),
        Column(name="OS-Image", cell=at_path("status.nodeInfo.osImage", UNKNOWN), is_wide=True),
        Column(
            name="Kernel-Version",
            cell=at_path("status.nodeInfo.kernelVersion", UNKNOWN),
            is_wide=True,
        ),
        Column(
            name="Container-Runtime",
            cell=at_path("status.nodeInfo.containerRuntimeVersion", UNKNOWN),
            is_wide=True,
        ),
    ),
    NAMESPACE: (NAME, Column(name="Status", cell=at_path("status.phase", "")), AGE),
    CONFIG_MAP: (NAME, Column(name="Data", cell=count_at("data"), type="integer"), AGE),
    SECRET: (
        NAME,
        Column(name="Type", cell=at_path("type", "")),
        Column(name="Data", cell=count_at("data"), type="integer"),
        AGE,
    ),
    SERVICE_ACCOUNT: (NAME, Column(name="Secrets", cell=count_at("secrets"), type="integer"), AGE),
    SERVICE: (
        NAME,
        Column(name="Type", cell=at_path("spec.type", "")),
        Column(name="Cluster-IP", cell=at_path("spec.clusterIP")),
        Column(name="External-IP", cell=service_external),
        Column(name="Port(s)", cell=service_ports),
        AGE,
        Column(name="Selector", cell=selector_text, is_wide=True),
    ),
    ENDPOINTS: (NAME, Column(name="Endpoints", cell=endpoints_text), AGE),
    ENDPOINT_SLICE: (
        NAME,
        Column(name="AddressType", cell=at_path("addressType", "")),
        Column(name="Ports", cell=slice_ports),
        Column(name="Endpoints", cell=slice_endpoints),
        AGE,
    ),
    EVENT: (
        Column(name="Last Seen", cell=event_seen("lastTimestamp")),
        Column(name="Type", cell=at_path("type", "")),
        Column(name="Reason", cell=at_path("reason", "")),
        Column(name="Object", cell=event_object),
        Column(name="Subobject", cell=at_path("involvedObject.fieldPath", ""), is_wide=True),
        Column(name="Source", cell=event_source, is_wide=True),
        Column(name="Message", cell=lambda event, now: str(event.get("message", "")).strip()),
        Column(name="First Seen", cell=event_seen("firstTimestamp"), is_wide=True),
        Column(name="Count", cell=at_path("count", 1), is_wide=True, type="integer"),
        Column(name="Name", cell=lambda event, now: name_of(event), is_wide=True),
    ),
    LEASE: (NAME, Column(name="Holder", cell=at_path("spec.holderIdentity", "")), AGE),
    DEPLOYMENT: (
        NAME,
        Column(name="Ready", cell=ready_of("spec.replicas")),
        _int("Up-to-date", "status.updatedReplicas"),
        _int("Available", "status.availableReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    REPLICA_SET: (
        NAME,
        _int("Desired", "spec.replicas"),
        _int("Current", "status.replicas"),
        _int("Ready", "status.readyReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    DAEMON_SET: (
        NAME,
        _int("Desired", "status.desiredNumberScheduled"),
        _int("Current", "status.currentNumberScheduled"),
        _int("Ready", "status.numberReady"),
        _int("Up-to-date", "status.updatedNumberScheduled"),
        _int("Available", "status.numberAvailable"),
        Column(
            name="Node Selector",
            cell=lambda obj, now: pairs_text(read_path(obj, "spec.template.spec.nodeSelector")),
        ),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    STATEFUL_SET: (
        NAME,
        Column(name="Ready", cell=ready_of("spec.replicas")),
        AGE,
        *_WORKLOAD_WIDE[:2],
    ),
    ROLE: (NAME, _CREATED),
    CLUSTER_ROLE: (NAME, _CREATED),
    ROLE_BINDING: _BINDING,
    CLUSTER_ROLE_BINDING: _BINDING,
    NETWORK_POLICY: (NAME, Column(name="Pod-Selector", cell=pod_selector_text), AGE),
    CLUSTER_NETWORK_POLICY: (
        NAME,
        Column(name="Tier", cell=at_path("spec.tier", "")),
        Column(name="Priority", cell=at_path("spec.priority", "")),
        AGE,
    ),
    MUTATING_WEBHOOKS: _WEBHOOKS,
    VALIDATING_WEBHOOKS: _WEBHOOKS,
    CUSTOM_RESOURCE_DEFINITION: (
        NAME,
        Column(name="Created At", cell=at_path("metadata.creationTimestamp", "")),
    ),
    ADMIN_NETWORK_POLICY: (NAME, Column(name="Priority", cell=at_path("spec.priority", "")), AGE),
}


def columns_of(resource: ResourceDef) -> tuple[Column, ...]:
    """Return the columns of a kind: name and age for one that has no others."""
    return _BY_KIND.get(resource, (NAME, AGE))
