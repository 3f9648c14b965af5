"""What stands in the cells of `kubectl get`? One function a cell: the object, and the time now.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go, v1.32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from terway.kube.clock import parse_time
from terway.lab.kubeapi.objects import Object, is_condition_true, labels_of, metadata, read_path

NONE, UNKNOWN = "<none>", "<unknown>"
_MINUTE_S, _HOUR_S, _DAY_S, _YEAR_S = 60, 3600, 86400, 365 * 86400
_ROLE_PREFIX = "node-role.kubernetes.io/"

Cell = Callable[[Object, float], Any]


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


def age_since(path: str) -> Cell:
    """Return a cell with the age of the time at a path."""

    def cell(obj: Object, now: float) -> str:
        text = read_path(obj, path)
        return human_duration(now - parse_time(text)) if text else UNKNOWN

    return cell


def at_path(path: str, default: Any = NONE) -> Cell:
    """Return a cell with what is at a path."""
    return lambda obj, now: read_path(obj, path, default)


def count_at(path: str) -> Cell:
    """Return a cell with the number of things at a path."""
    return lambda obj, now: len(read_path(obj, path, ()))


def pairs_text(labels: Mapping[str, str] | None) -> str:
    """Return labels as ``a=b,c=d``."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(obj: Object, now: float) -> str:
    """Return the labels that a workload or Service selects by."""
    selector = read_path(obj, "spec.selector", {})
    return pairs_text(
        selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    )


def pod_selector_text(policy: Object, now: float) -> str:
    """Return what a NetworkPolicy selects, as metav1.FormatLabelSelector prints it."""
    selector = read_path(policy, "spec.podSelector", {})
    exact = sorted((selector.get("matchLabels") or {}).items())
    parts = [f"{key}={value}" for key, value in exact]
    parts += [_requirement_text(held) for held in selector.get("matchExpressions") or ()]
    return ",".join(sorted(parts)) or NONE


def _requirement_text(held: Mapping[str, Any]) -> str:
    key, values = held.get("key", ""), ",".join(sorted(held.get("values") or ()))
    forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
    return str(forms.get(held.get("operator", ""), f"!{key}"))


def container_fields(field: str) -> Cell:
    """Return a cell with one field of each container of a template."""
    return lambda obj, now: ",".join(
        str(one.get(field, "")) for one in read_path(obj, "spec.template.spec.containers", ())
    )


def node_status(node: Object, now: float) -> str:
    """Return Ready or NotReady, and whether the node is cordoned."""
    ready = "Ready" if is_condition_true(node, "Ready") else "NotReady"
    return ready + (",SchedulingDisabled" if read_path(node, "spec.unschedulable") else "")


def node_roles(node: Object, now: float) -> str:
    """Return the node's roles, by its labels."""
    roles = [
        label.removeprefix(_ROLE_PREFIX)
        for label in sorted(labels_of(node))
        if label.startswith(_ROLE_PREFIX)
    ]
    return ",".join(roles) or NONE


def node_address(type_: str) -> Cell:
    """Return a cell with the first address of a type."""

    def cell(node: Object, now: float) -> str:
        addresses = read_path(node, "status.addresses", ())
        return next((one["address"] for one in addresses if one["type"] == type_), NONE)

    return cell


def service_ports(service: Object, now: float) -> str:
    """Return a Service's ports as ``80:30080/TCP``."""
    shown = []
    for port in read_path(service, "spec.ports", ()):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or NONE


def service_external(service: Object, now: float) -> str:
    """Return the addresses by which a Service is reached from outside."""
    if read_path(service, "spec.type") == "ExternalName":
        return str(read_path(service, "spec.externalName", NONE))
    ingress = read_path(service, "status.loadBalancer.ingress", ())
    found = [one.get("ip") or one.get("hostname", "") for one in ingress]
    found += read_path(service, "spec.externalIPs", [])
    if read_path(service, "spec.type") == "LoadBalancer" and not found:
        return "<pending>"
    return ",".join(found) or NONE


def endpoints_text(endpoints: Object, now: float) -> str:
    """Return the first three addresses, and how many more there are."""
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in endpoints.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return ",".join(shown[:3]) + (f" + {len(shown) - 3} more..." if len(shown) > 3 else "") or NONE


def slice_ports(held: Object, now: float) -> str:
    """Return the ports of an EndpointSlice: their numbers, or their names without."""
    return _some(
        [str(one.get("port") or one.get("name") or "*") for one in held.get("ports") or ()]
    )


def slice_endpoints(held: Object, now: float) -> str:
    """Return the addresses of an EndpointSlice's endpoints."""
    endpoints = held.get("endpoints") or ()
    return _some([address for one in endpoints for address in one.get("addresses") or ()])


def _some(shown: list[str]) -> str:
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return ",".join(shown[:3]) + more or "<unset>"


def event_seen(path: str) -> Cell:
    """Return a cell with how long ago an event was seen."""

    def cell(event: Object, now: float) -> str:
        text = event.get(path) or event.get("eventTime") or metadata(event).get("creationTimestamp")
        return human_duration(now - parse_time(text)) if text else UNKNOWN

    return cell


def event_object(event: Object, now: float) -> str:
    """Return what an event is about as ``pod/a``."""
    target = event.get("involvedObject") or {}
    return f"{target.get('kind', '').lower()}/{target.get('name', '')}"


def event_source(event: Object, now: float) -> str:
    """Return who saw an event."""
    source = event.get("source") or {}
    return ", ".join(value for value in (source.get("component"), source.get("host")) if value)


def ready_of(wanted: str) -> Cell:
    """Return a cell with ready replicas and wanted ones, as ``1/3``."""
    return lambda obj, now: (
        f"{read_path(obj, 'status.readyReplicas', 0)}/{read_path(obj, wanted, 0)}"
    )
