"""Which fields does the server fill in when a Service comes without them?"""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.services.fields import is_external

AFFINITY_S = 10_800  # three hours
_VALUES: dict[str, Any] = {"type": "ClusterIP", "sessionAffinity": "None"}


def service_defaults(service: Object) -> Object:
    """Return the Service with its defaults."""
    spec = {field: value for field, value in (service.get("spec") or {}).items()
            if value not in (None, "")}  # fmt: skip
    spec = {**_VALUES, **spec}
    spec["ports"] = [_port(port) for port in spec.get("ports") or ()]
    _affinity(spec)
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if is_external(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    status = {"loadBalancer": {}, **(service.get("status") or {})}
    return {**service, "spec": _without_zeros(spec), "status": status}


def _port(port: dict[str, Any]) -> dict[str, Any]:
    held = {field: value for field, value in port.items() if value not in (None, "", 0)}
    target = held.get("targetPort") or port.get("port")
    return {"protocol": "TCP", **held, "port": port.get("port", 0), "targetPort": target}


def _affinity(spec: dict[str, Any]) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        held = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if held.get("timeoutSeconds") is None:
            held = {"timeoutSeconds": AFFINITY_S}
        spec["sessionAffinityConfig"] = {"clientIP": held}


def _without_zeros(spec: dict[str, Any]) -> dict[str, Any]:
    """What counts as absent is absent: patches that "clear" a field leave no trace of it."""
    empties = [name for name in ("healthCheckNodePort", "externalIPs", "loadBalancerSourceRanges")
               if not spec.get(name)]  # fmt: skip
    if not spec["ports"]:
        empties.append("ports")
    if spec.get("publishNotReadyAddresses") is False:
        empties.append("publishNotReadyAddresses")
    return {name: value for name, value in spec.items() if name not in empties}
