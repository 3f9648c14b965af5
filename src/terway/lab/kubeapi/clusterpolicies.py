"""Which cluster policies does the server refuse? The CRDs of network-policy-api, as values.

Source: sigs.k8s.io/network-policy-api apis/v1alpha2/clusternetworkpolicy_types.go, and
apis/v1alpha1 of release 0.1; the experimental channel of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.lab.kubeapi.causes import invalid_value
from terway.lab.kubeapi.customresources.words import Schema
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.networkpolicy import PROTOCOLS
from terway.lab.kubeapi.objects import Object, name_of
from terway.lab.kubeapi.structural import validate_structure

_DOMAIN = (
    r"^(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+"
    r"[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$"
)
_LEAST_BEFORE_MOST = "Start port must be less than End port"
_NO_NAMES = (
    "networks/nodes/domainNames peer cannot be set with namedPorts since there are no "
    "namedPorts for networks/nodes/domainNames"
)


def _struct(fields: Mapping[str, Schema], *needed: str, one: bool = False) -> Schema:
    """Return the schema of an object; with `one`, exactly one field must be set."""
    limits = {"minProperties": 1, "maxProperties": 1} if one else {}
    return {"type": "object", "required": needed, "properties": dict(fields), **limits}


def _list(items: Schema, most: int, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _word(*choices: str) -> Schema:
    return {"type": "string", "enum": choices}


_SELECTOR: Schema = {"type": "object", "format": "selector"}
_NUMBER: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_PRIORITY: Schema = {"type": "integer", "minimum": 0, "maximum": 1000}
_NAME: Schema = {"type": "string", "maxLength": 100}
_TEXT: Schema = {"type": "string"}
_PODS = _struct(
    {"namespaceSelector": _SELECTOR, "podSelector": _SELECTOR}, "namespaceSelector", "podSelector"
)
_INSIDE = {"namespaces": _SELECTOR, "pods": _PODS}
_SUBJECT = _struct(_INSIDE, one=True)
_INGRESS_PEER = _struct(_INSIDE, one=True)
_EGRESS_PEER = _struct(
    {
        **_INSIDE,
        "nodes": _SELECTOR,
        "networks": _list({"type": "string", "format": "policy-cidr", "maxLength": 43}, 25, 1),
        "domainNames": _list({"type": "string", "pattern": _DOMAIN}, 25, 1),
    },
    one=True,
)


def _spec(
    own: Mapping[str, Schema], rule: Mapping[str, Schema], *, most_rules: int, most_peers: int
) -> Schema:
    """Return the schema of a spec: `own` fields, all needed, and rules with those of `rule`."""
    common = {"name": _NAME, **rule}
    ingress = _struct({**common, "from": _list(_INGRESS_PEER, most_peers, 1)}, "action", "from")
    egress = _struct({**common, "to": _list(_EGRESS_PEER, most_peers, 1)}, "action", "to")
    rules = {"ingress": _list(ingress, most_rules), "egress": _list(egress, most_rules)}
    return _struct({**own, "subject": _SUBJECT, **rules}, *own, "subject")


_RANGE = _struct({"start": _NUMBER, "end": _NUMBER}, "start", "end")
_PORT = _struct({"number": _NUMBER, "range": _RANGE}, one=True)
_OF_PROTOCOL: Schema = {**_struct({"destinationPort": _PORT}), "minProperties": 1}
_PROTOCOL = _struct(
    {
        "tcp": _OF_PROTOCOL,
        "udp": _OF_PROTOCOL,
        "sctp": _OF_PROTOCOL,
        "destinationNamedPort": _TEXT,
    },
    one=True,
)
_V1ALPHA2 = _spec(
    {"tier": _word("Admin", "Baseline"), "priority": _PRIORITY},
    {"action": _word("Accept", "Deny", "Pass"), "protocols": _list(_PROTOCOL, 25, 1)},
    most_rules=25,
    most_peers=25,
)

_OLD_RANGE = {"start": _NUMBER, "end": _NUMBER, "protocol": _word(*PROTOCOLS)}
_OLD_PORT = _struct(
    {
        "portNumber": _struct({"port": _NUMBER, "protocol": _word(*PROTOCOLS)}, "port", "protocol"),
        "namedPort": _TEXT,
        "portRange": _struct(_OLD_RANGE, "start", "end"),
    },
    one=True,
)
_OLD_RULE = {"action": _word("Allow", "Deny", "Pass"), "ports": _list(_OLD_PORT, 100)}
_ADMIN = _spec({"priority": _PRIORITY}, _OLD_RULE, most_rules=100, most_peers=100)
_BASELINE = _spec({}, _OLD_RULE, most_rules=100, most_peers=100)


def validate_cluster_network_policy(policy: Object) -> Iterator[Cause]:
    """Yield what is wrong with a ClusterNetworkPolicy v1alpha2."""
    yield from _validate(policy, _V1ALPHA2)


def validate_admin_network_policy(policy: Object) -> Iterator[Cause]:
    """Yield what is wrong with an AdminNetworkPolicy v1alpha1."""
    yield from _validate(policy, _ADMIN)


def validate_baseline_admin_network_policy(policy: Object) -> Iterator[Cause]:
    """Yield what is wrong with a BaselineAdminNetworkPolicy v1alpha1; there is only one."""
    if name_of(policy) != "default":
        why = 'Only one baseline admin network policy with metadata.name="default" can be created'
        yield invalid_value("metadata.name", name_of(policy), why)
    yield from _validate(policy, _BASELINE)


def _validate(policy: Object, schema: Schema) -> Iterator[Cause]:
    spec = policy.get("spec")
    troubles = tuple(validate_structure(spec if spec is not None else {}, schema, "spec"))
    yield from troubles
    if not troubles and spec:  # rules are looked at once the shape is right, as in the real one
        for direction in ("ingress", "egress"):
            for index, rule in enumerate(spec.get(direction) or ()):
                yield from _rule(rule, f"spec.{direction}[{index}]")


def _rule(rule: dict[str, Any], path: str) -> Iterator[Cause]:
    field = "protocols" if "protocols" in rule else "ports"
    ports = rule.get(field) or ()
    for index, port in enumerate(ports):
        yield from _ranges(port, f"{path}.{field}[{index}]")
    is_named = any("destinationNamedPort" in port or "namedPort" in port for port in ports)
    unnamed = {"networks", "nodes", "domainNames"}
    if is_named and any(unnamed & peer.keys() for peer in rule.get("to") or ()):
        yield invalid_value(path, "object", _NO_NAMES)


def _ranges(port: dict[str, Any], path: str) -> Iterator[Cause]:
    held = [(f"{path}.portRange", port.get("portRange"))]
    for protocol in ("tcp", "udp", "sctp"):
        number = (port.get(protocol) or {}).get("destinationPort") or {}
        held.append((f"{path}.{protocol}.destinationPort.range", number.get("range")))
    for where, found in held:
        if found and found["start"] >= found["end"]:
            yield invalid_value(where, "object", _LEAST_BEFORE_MOST)
