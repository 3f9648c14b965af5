"""Is this a Service that the API takes? Every refusal names the field, in the API's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import forbidden_value, invalid_value, not_supported, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import Object, read_path
from terway.lab.kubeapi.services.fields import (
    Spec,
    is_external,
    is_headless,
    needs_health_check,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_AFFINITY_MAX_S = 86_400
_PORT_RANGE = "must be between 1 and 65535, inclusive"
_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_BALANCED_ONLY = "may only be used when `type` is 'LoadBalancer'"


def validate_service(service: Object) -> Iterator[Cause]:
    """Yield what is wrong with a Service that has its defaults, but not yet its allocations."""
    spec = service.get("spec") or {}
    yield from _type(spec)
    yield from _ports(spec)
    for key, value in (spec.get("selector") or {}).items():
        if not names.is_qualified_name(key):
            yield invalid_value("spec.selector", key, names.QUALIFIED_MESSAGE)
        if not names.is_label_value(value):
            yield invalid_value("spec.selector", value, names.LABEL_VALUE_MESSAGE)
    yield from _affinity(spec)
    for index, text in enumerate(spec.get("externalIPs") or ()):
        yield from _external_ip(f"spec.externalIPs[{index}]", text)
    yield from _balancer(spec)
    yield from _traffic(spec)


def validate_service_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield what may not change of a Service."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if {before.get("type"), after.get("type")} == {"LoadBalancer"}:
        name = "loadBalancerClass"
        if before.get(name) != after.get(name):
            yield invalid_value(
                f"spec.{name}", after.get(name) or "null", "may not change once set"
            )
    if needs_health_check(before) and needs_health_check(after):
        name = "healthCheckNodePort"
        if before.get(name) != after.get(name):
            yield forbidden_value(f"spec.{name}", "field is immutable")


def _type(spec: Spec) -> Iterator[Cause]:
    kind = str(spec.get("type"))
    if kind not in _TYPES:
        yield not_supported("spec.type", kind, _TYPES)
    name = str(spec.get("externalName") or "").removesuffix(".")
    if kind == "ExternalName" and name and not names.is_dns_subdomain(name):
        yield invalid_value("spec.externalName", name, names.SUBDOMAIN_MESSAGE)


def _ports(spec: Spec) -> Iterator[Cause]:
    ports: list[dict[str, Any]] = spec.get("ports") or []
    if not ports and not is_headless(spec) and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    seen: set[str] = set()
    for index, port in enumerate(ports):
        yield from _port(f"spec.ports[{index}]", port, seen, is_alone=len(ports) == 1)
    for index, port in enumerate(ports):
        if spec.get("type") == "ClusterIP" and port.get("nodePort"):
            why = "may not be used when `type` is 'ClusterIP'"
            yield forbidden_value(f"spec.ports[{index}].nodePort", why)
    yield from _twice(ports)


def _twice(ports: list[dict[str, Any]]) -> Iterator[Cause]:
    node_ports: set[tuple[Any, Any]] = set()
    numbers: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        node_port = (port.get("protocol"), port.get("nodePort"))
        if node_port[1] and node_port in node_ports:
            yield _duplicate(f"spec.ports[{index}].nodePort", str(node_port[1]))
        node_ports.add(node_port)
        number = (port.get("protocol"), port.get("port"))
        if number in numbers:
            yield _duplicate(f"spec.ports[{index}]", _go_port(*number))
        numbers.add(number)


def _go_port(protocol: object, number: object) -> str:
    """The key of the pair as the real server prints it."""
    return (
        f'core.ServicePort{{Name:"", Protocol:"{protocol}", AppProtocol:(*string)(nil), '
        f'Port:{number}, TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:""}}, '
        "NodePort:0}"
    )


def _port(path: str, port: dict[str, Any], seen: set[str], *, is_alone: bool) -> Iterator[Cause]:
    name = port.get("name", "")
    if not name and not is_alone:
        yield required(f"{path}.name")
    elif name and not names.is_dns_label(name):
        yield invalid_value(f"{path}.name", name, names.LABEL_MESSAGE)
    elif name and name in seen:
        yield _duplicate(f"{path}.name", f'"{name}"')
    seen.add(name)
    if not 0 < port.get("port", 0) < 65536:
        yield invalid_value(f"{path}.port", port.get("port", 0), _PORT_RANGE)
    if port.get("protocol") not in _PROTOCOLS:
        yield not_supported(f"{path}.protocol", str(port.get("protocol")), _PROTOCOLS)
    yield from _target_port(f"{path}.targetPort", port.get("targetPort"))
    protocol = port.get("appProtocol")
    if protocol is not None and not names.is_qualified_name(protocol):
        yield invalid_value(f"{path}.appProtocol", protocol, names.QUALIFIED_MESSAGE)


def _target_port(path: str, target: Any) -> Iterator[Cause]:
    if isinstance(target, int):
        if not 0 < target < 65536:
            yield invalid_value(path, target, _PORT_RANGE)
        return
    text = str(target)
    wrongs = (
        (len(text) > 15, "must be no more than 15 characters"),
        (not re.fullmatch(r"[-a-z0-9]+", text),
         "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        (not re.search(r"[a-z]", text), "must contain at least one letter (a-z)"),
        ("--" in text, "must not contain consecutive hyphens"),
        (text.startswith("-") or text.endswith("-"), "must not begin or end with a hyphen"),
    )  # fmt: skip
    for is_wrong, why in wrongs:
        if is_wrong:
            yield invalid_value(path, text, why)


def _affinity(spec: Spec) -> Iterator[Cause]:
    kind = str(spec.get("sessionAffinity"))
    if kind not in ("ClientIP", "None"):
        yield not_supported("spec.sessionAffinity", kind, ("ClientIP", "None"))
    timeout_s = read_path(spec, "sessionAffinityConfig.clientIP.timeoutSeconds", 1)
    if kind == "ClientIP" and not 0 < timeout_s <= _AFFINITY_MAX_S:
        why = f"must be greater than 0 and less than {_AFFINITY_MAX_S}"
        yield invalid_value("spec.sessionAffinityConfig.clientIP.timeoutSeconds", timeout_s, why)


def _external_ip(path: str, text: str) -> Iterator[Cause]:
    try:
        address = ip_address(text)
    except ValueError:
        yield invalid_value(path, text, _IP)
        return
    wrongs = (
        (address.is_unspecified, f'may not be unspecified ("{address}")'),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (address.is_multicast,
         "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    )  # fmt: skip
    for is_wrong, why in wrongs:
        if is_wrong:
            yield invalid_value(path, text, why)


def _balancer(spec: Spec) -> Iterator[Cause]:
    is_balanced = spec.get("type") == "LoadBalancer"
    path = "spec.LoadBalancerSourceRanges"  # with a capital, as the real server has it
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges and not is_balanced:
        yield forbidden_value(path, _BALANCED_ONLY)
    for index, text in enumerate(ranges):
        if not _is_cidr(text.strip()):
            yield invalid_value(f"{path}[{index}]", text, _CIDR)
    for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if spec.get(name) is not None and not is_balanced:
            yield forbidden_value(f"spec.{name}", _BALANCED_ONLY)
    kind = spec.get("loadBalancerClass")
    if kind is not None and is_balanced and not names.is_qualified_name(kind):
        yield invalid_value("spec.loadBalancerClass", kind, names.QUALIFIED_MESSAGE)


def _is_cidr(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _traffic(spec: Spec) -> Iterator[Cause]:
    external = spec.get("externalTrafficPolicy")
    if external is not None and not is_external(spec):
        why = "may only be set for externally-accessible services"
        yield invalid_value("spec.externalTrafficPolicy", external, why)
    elif external is not None and external not in _POLICIES:
        yield not_supported("spec.externalTrafficPolicy", external, _POLICIES)
    port = spec.get("healthCheckNodePort")
    if port and not needs_health_check(spec):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid_value("spec.healthCheckNodePort", port, why)
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in _POLICIES:
        yield not_supported("spec.internalTrafficPolicy", internal, _POLICIES)
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        yield not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS)


def _duplicate(path: str, shown: str) -> Cause:
    message = f"Duplicate value: {shown}"
    return Cause(field=path, reason="FieldValueDuplicate", message=message)
