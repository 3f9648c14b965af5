"""What does the server make of a NetworkPolicy, and which does it refuse?

Source: k8s.io/kubernetes pkg/apis/networking/v1/defaults.go and
pkg/apis/networking/validation/validation.go; k8s.io/apimachinery
pkg/apis/meta/v1/validation for selectors and pkg/util/validation for the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import forbidden_value, invalid_value, not_supported, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import Object

Network = IPv4Network | IPv6Network

PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")
_CIDR_MESSAGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_PORT_MESSAGE = "must be between 1 and 65535, inclusive"
_LEADING_ZEROS = re.compile(r"\b0+(?=[0-9])")


def network_policy_defaults(policy: Object) -> Object:
    """Return the policy with protocol TCP, and the policyTypes that its rules imply."""
    spec = dict(policy.get("spec") or {})
    spec.setdefault("podSelector", {})
    for direction in ("ingress", "egress"):
        if spec.get(direction):
            spec[direction] = [_rule_defaults(rule) for rule in spec[direction]]
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return {**policy, "spec": spec}


def _rule_defaults(rule: dict[str, Any]) -> dict[str, Any]:
    if not rule.get("ports"):
        return rule
    return {**rule, "ports": [{"protocol": "TCP", **port} for port in rule["ports"]]}


def validate_network_policy(policy: Object) -> Iterator[Cause]:
    """Yield what is wrong with a policy that has its defaults."""
    spec = policy.get("spec") or {}
    yield from validate_selector(spec.get("podSelector") or {}, "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                yield from _port(port, f"{path}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, f"{path}.{peers}[{number}]")
    yield from _types(spec.get("policyTypes") or ())


def _types(types: Sequence[str]) -> Iterator[Cause]:
    if len(types) > len(_TYPES):
        yield invalid_value("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, one in enumerate(types):
        if one not in _TYPES:
            yield not_supported(f"spec.policyTypes[{index}]", one, _TYPES)


def _port(port: dict[str, Any], path: str) -> Iterator[Cause]:
    if port.get("protocol") not in PROTOCOLS:
        yield not_supported(f"{path}.protocol", str(port.get("protocol")), PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if number is None or isinstance(number, str):
        if end is not None:
            what = "not specified" if number is None else "non-numeric"
            why = f"may not be specified when `port` is {what}"
            yield invalid_value(f"{path}.endPort", end, why)
        if number is not None:
            for why in _name_troubles(number):
                yield invalid_value(f"{path}.port", number, why)
        return
    if not 0 < number < 65536:
        yield invalid_value(f"{path}.port", number, _PORT_MESSAGE)
    if end is not None and end < number:
        yield invalid_value(f"{path}.endPort", end, "must be greater than or equal to `port`")
    if end is not None and not 0 < end < 65536:
        yield invalid_value(f"{path}.endPort", end, _PORT_MESSAGE)


def _name_troubles(name: str) -> Iterator[str]:
    """Yield why a name is no IANA_SVC_NAME (RFC 6335)."""
    if len(name) > 15:
        yield "must be no more than 15 characters"
    if not re.fullmatch(r"[-a-z0-9]+", name):
        yield "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search(r"[a-z]", name):
        yield "must contain at least one letter (a-z)"
    if "--" in name:
        yield "must not contain consecutive hyphens"
    if name.startswith("-") or name.endswith("-"):
        yield "must not begin or end with a hyphen"


def _peer(peer: dict[str, Any], path: str) -> Iterator[Cause]:
    kinds = [one for one in ("podSelector", "namespaceSelector", "ipBlock") if one in peer]
    for kind in kinds:
        if kind == "ipBlock":
            yield from _block(peer[kind], f"{path}.{kind}")
        else:
            yield from validate_selector(peer[kind], f"{path}.{kind}")
    if not kinds:
        yield required(path, "must specify a peer")
    elif "ipBlock" in kinds and len(kinds) > 1:
        yield forbidden_value(path, "may not specify both ipBlock and another peer")


def _block(block: dict[str, Any], path: str) -> Iterator[Cause]:
    text = block.get("cidr", "")
    if not text:
        yield required(f"{path}.cidr")
        return
    cidr = read_cidr(text)
    if cidr is None:
        yield invalid_value(f"{path}.cidr", text, _CIDR_MESSAGE)
    for index, hole in enumerate(block.get("except") or ()):
        network = read_cidr(hole)
        if network is None:
            yield invalid_value(f"{path}.except[{index}]", hole, _CIDR_MESSAGE)
        elif cidr is not None and not _is_inside(network, cidr):
            why = "must be a strict subset of `cidr`"
            yield invalid_value(f"{path}.except[{index}]", hole, why)


def _is_inside(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner != outer and inner.subnet_of(outer)
    if isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network):
        return inner != outer and inner.subnet_of(outer)
    return False


def read_cidr(text: str) -> Network | None:
    """Return the network of a CIDR, as older clients may write it, or None.

    Host bits and leading zeros are tolerated (ParseCIDRSloppy), a missing length is not.
    """
    address, slash, length = text.partition("/")
    if not slash or not length.isdigit():
        return None
    plain = address if ":" in address else _LEADING_ZEROS.sub("", address)
    try:
        return ip_network(f"{plain}/{length}", strict=False)
    except ValueError:
        return None


def validate_selector(selector: dict[str, Any], path: str) -> Iterator[Cause]:
    """Yield what is wrong with a LabelSelector."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if not names.is_qualified_name(key):
            yield invalid_value(f"{path}.matchLabels", key, names.QUALIFIED_MESSAGE)
        if not names.is_label_value(value):
            yield invalid_value(f"{path}.matchLabels", value, names.LABEL_VALUE_MESSAGE)
    for index, held in enumerate(selector.get("matchExpressions") or ()):
        yield from _requirement(held, f"{path}.matchExpressions[{index}]")


def _requirement(held: dict[str, Any], path: str) -> Iterator[Cause]:
    values = held.get("values") or ()
    match held.get("operator", ""):
        case "In" | "NotIn" if not values:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "In" | "NotIn":
            pass
        case "Exists" | "DoesNotExist":
            if values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden_value(f"{path}.values", why)
        case operator:
            yield invalid_value(f"{path}.operator", operator, "not a valid selector operator")
    if not names.is_qualified_name(held.get("key", "")):
        yield invalid_value(f"{path}.key", held.get("key", ""), names.QUALIFIED_MESSAGE)
    for number, value in enumerate(values):
        if not names.is_label_value(value):
            yield invalid_value(f"{path}.values[{number}]", value, names.LABEL_VALUE_MESSAGE)
