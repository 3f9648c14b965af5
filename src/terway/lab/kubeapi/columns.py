"""What does `kubectl get` show of each kind? The columns, and an object's cells.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go, v1.32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from terway.kube.clock import parse_time
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    labels_of,
    metadata,
    name_of,
    read_path,
)
from terway.lab.kubeapi.podstatus import pod_ready, pod_restarts, pod_status
from terway.lab.kubeapi.resources import (
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINTS,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    ResourceDef,
)

_NONE, _UNKNOWN = "<none>", "<unknown>"
_MINUTE_S, _HOUR_S, _DAY_S, _YEAR_S = 60, 3600, 86400, 365 * 86400
_ROLE_PREFIX = "node-role.kubernetes.io/"

Cell = Callable[[Object, float], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; `is_wide` ones are shown with -o wide only."""

    name: str
    cell: Cell
    is_wide: bool = False
    type: str = "string"
    format: str = ""

    def definition(self) -> Object:
        """Return the column as a Table has it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.name,
            "priority": 1 if self.is_wide else 0,
        }


# Up to this age: in units of so many seconds, and a remainder in smaller ones.
_SCALE: tuple[tuple[int, int, str, int, str], ...] = (
    (2 * _MINUTE_S, 1, "s", 0, ""),
    (10 * _MINUTE_S, _MINUTE_S, "m", 1, "s"),
    (3 * _HOUR_S, _MINUTE_S, "m", 0, ""),
    (8 * _HOUR_S, _HOUR_S, "h", _MINUTE_S, "m"),
    (2 * _DAY_S, _HOUR_S, "h", 0, ""),
    (8 * _DAY_S, _DAY_S, "d", _HOUR_S, "h"),
    (2 * _YEAR_S, _DAY_S, "d", 0, ""),
)
_BEYOND = (0, _YEAR_S, "y", _DAY_S, "d")


def human_duration(seconds: float) -> str:
    """Return an age as kubectl shows it: 45s, 3m20s, 5h, 2d4h."""
    left = max(int(seconds), 0)
    row = next((row for row in _SCALE if left < row[0]), _BEYOND)
    _, big_s, big, small_s, small = row
    rest = left % big_s // small_s if small_s else 0
    return f"{left // big_s}{big}" + (f"{rest}{small}" if rest else "")


def _since(path: str) -> Cell:
    def cell(obj: Object, now: float) -> str:
        text = read_path(obj, path)
        return human_duration(now - parse_time(text)) if text else _UNKNOWN

    return cell


def _path(path: str, default: Any = _NONE) -> Cell:
    return lambda obj, now: read_path(obj, path, default)


def _count(path: str) -> Cell:
    return lambda obj, now: len(read_path(obj, path, ()))


NAME = Column(name="Name", cell=lambda obj, now: name_of(obj), format="name")
AGE = Column(name="Age", cell=_since("metadata.creationTimestamp"))


def _pairs(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or _NONE


def _selector(obj: Object, now: float) -> str:
    selector = read_path(obj, "spec.selector", {})
    return _pairs(
        selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    )


def _container_field(field: str) -> Cell:
    return lambda obj, now: ",".join(
        str(one.get(field, "")) for one in read_path(obj, "spec.template.spec.containers", ())
    )


_WORKLOAD_WIDE = (
    Column(name="Containers", cell=_container_field("name"), is_wide=True),
    Column(name="Images", cell=_container_field("image"), is_wide=True),
    Column(name="Selector", cell=_selector, is_wide=True),
)


def _node_status(node: Object, now: float) -> str:
    ready = "Ready" if is_condition_true(node, "Ready") else "NotReady"
    return ready + (",SchedulingDisabled" if read_path(node, "spec.unschedulable") else "")


def _node_roles(node: Object, now: float) -> str:
    roles = [
        label.removeprefix(_ROLE_PREFIX)
        for label in sorted(labels_of(node))
        if label.startswith(_ROLE_PREFIX)
    ]
    return ",".join(roles) or _NONE


def _node_address(type_: str) -> Cell:
    def cell(node: Object, now: float) -> str:
        addresses = read_path(node, "status.addresses", ())
        return next((one["address"] for one in addresses if one["type"] == type_), _NONE)

    return cell


def _service_ports(service: Object, now: float) -> str:
    shown = []
    for port in read_path(service, "spec.ports", ()):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or _NONE


def _service_external(service: Object, now: float) -> str:
    ingress = read_path(service, "status.loadBalancer.ingress", ())
    found = [one.get("ip") or one.get("hostname", "") for one in ingress]
    found += read_path(service, "spec.externalIPs", [])
    if read_path(service, "spec.type") == "LoadBalancer" and not found:
        return "<pending>"
    return ",".join(found) or _NONE


def _endpoints(endpoints: Object, now: float) -> str:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in endpoints.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return ",".join(shown[:3]) + (f" + {len(shown) - 3} more..." if len(shown) > 3 else "") or _NONE


def _event_seen(path: str) -> Cell:
    def cell(event: Object, now: float) -> str:
        text = event.get(path) or event.get("eventTime") or metadata(event).get("creationTimestamp")
        return human_duration(now - parse_time(text)) if text else _UNKNOWN

    return cell


def _event_object(event: Object, now: float) -> str:
    target = event.get("involvedObject") or {}
    return f"{target.get('kind', '').lower()}/{target.get('name', '')}"


def _event_source(event: Object, now: float) -> str:
    source = event.get("source") or {}
    return ", ".join(value for value in (source.get("component"), source.get("host")) if value)


def _ready_of(wanted: str) -> Cell:
    return lambda obj, now: (
        f"{read_path(obj, 'status.readyReplicas', 0)}/{read_path(obj, wanted, 0)}"
    )


def _int(name: str, path: str) -> Column:
    return Column(name=name, cell=_path(path, 0), type="integer")


_BY_KIND: dict[ResourceDef, tuple[Column, ...]] = {
    POD: (
        NAME,
        Column(name="Ready", cell=lambda pod, now: pod_ready(pod)),
        Column(name="Status", cell=lambda pod, now: pod_status(pod)),
        Column(name="Restarts", cell=lambda pod, now: pod_restarts(pod, now, human_duration)),
        AGE,
        Column(name="IP", cell=_path("status.podIP"), is_wide=True),
        Column(name="Node", cell=_path("spec.nodeName"), is_wide=True),
        Column(name="Nominated Node", cell=_path("status.nominatedNodeName"), is_wide=True),
        Column(name="Readiness Gates", cell=lambda pod, now: _NONE, is_wide=True),
    ),
    NODE: (
        NAME,
        Column(name="Status", cell=_node_status),
        Column(name="Roles", cell=_node_roles),
        AGE,
        Column(name="Version", cell=_path("status.nodeInfo.kubeletVersion", "")),
        Column(name="Internal-IP", cell=_node_address("InternalIP"), is_wide=True),
        Column(name="External-IP", cell=_node_address("ExternalIP"), is_wide=True),
        Column(name="OS-Image", cell=_path("status.nodeInfo.osImage", _UNKNOWN), is_wide=True),
        Column(
            name="Kernel-Version",
            cell=_path("status.nodeInfo.kernelVersion", _UNKNOWN),
            is_wide=True,
        ),
        Column(
            name="Container-Runtime",
            cell=_path("status.nodeInfo.containerRuntimeVersion", _UNKNOWN),
            is_wide=True,
        ),
    ),
    NAMESPACE: (NAME, Column(name="Status", cell=_path("status.phase", "")), AGE),
    CONFIG_MAP: (NAME, Column(name="Data", cell=_count("data"), type="integer"), AGE),
    SECRET: (
        NAME,
        Column(name="Type", cell=_path("type", "")),
        Column(name="Data", cell=_count("data"), type="integer"),
        AGE,
    ),
    SERVICE_ACCOUNT: (NAME, Column(name="Secrets", cell=_count("secrets"), type="integer"), AGE),
    SERVICE: (
        NAME,
        Column(name="Type", cell=_path("spec.type", "")),
        Column(name="Cluster-IP", cell=_path("spec.clusterIP")),
        Column(name="External-IP", cell=_service_external),
        Column(name="Port(s)", cell=_service_ports),
        AGE,
        Column(name="Selector", cell=_selector, is_wide=True),
    ),
    ENDPOINTS: (NAME, Column(name="Endpoints", cell=_endpoints), AGE),
    EVENT: (
        Column(name="Last Seen", cell=_event_seen("lastTimestamp")),
        Column(name="Type", cell=_path("type", "")),
        Column(name="Reason", cell=_path("reason", "")),
        Column(name="Object", cell=_event_object),
        Column(name="Subobject", cell=_path("involvedObject.fieldPath", ""), is_wide=True),
        Column(name="Source", cell=_event_source, is_wide=True),
        Column(name="Message", cell=lambda event, now: str(event.get("message", "")).strip()),
        Column(name="First Seen", cell=_event_seen("firstTimestamp"), is_wide=True),
        Column(name="Count", cell=_path("count", 1), is_wide=True, type="integer"),
        Column(name="Name", cell=lambda event, now: name_of(event), is_wide=True),
    ),
    LEASE: (NAME, Column(name="Holder", cell=_path("spec.holderIdentity", "")), AGE),
    DEPLOYMENT: (
        NAME,
        Column(name="Ready", cell=_ready_of("spec.replicas")),
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
            cell=lambda obj, now: _pairs(read_path(obj, "spec.template.spec.nodeSelector")),
        ),
        AGE,
        *_WORKLOAD_WIDE,
    ),
}


def columns_of(resource: ResourceDef) -> tuple[Column, ...]:
    """Return the columns of a kind: name and age for one that has no others."""
    return _BY_KIND.get(resource, (NAME, AGE))
