"""Is this an EndpointSlice that the API takes, and what does it fill in?

Source: k8s.io/kubernetes pkg/apis/discovery, validation and v1/defaults.go, v1.34.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import (
    duplicate_value,
    invalid_value,
    not_supported,
    required,
)
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import Object

_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ENDPOINTS_MAX, _ADDRESSES_MAX, _ZONES_MAX = 1000, 100, 8


def slice_defaults(held: Object) -> Object:
    """Return the slice with its defaults: a port has a name, if an empty one, and a protocol."""
    ports = [{**port, "name": port.get("name") or "", "protocol": port.get("protocol") or "TCP"}
             for port in held.get("ports") or ()]  # fmt: skip
    return {**held, "endpoints": held.get("endpoints") or [], "ports": ports}


def validate_slice(held: Object) -> Iterator[Cause]:
    """Yield what is wrong with a slice."""
    kind = str(held.get("addressType") or "")
    if not kind:
        yield required("addressType")
    elif kind not in _TYPES:
        yield not_supported("addressType", kind, _TYPES)
    endpoints = held.get("endpoints") or ()
    yield from _too_many("endpoints", len(endpoints), _ENDPOINTS_MAX)
    for index, endpoint in enumerate(endpoints):
        yield from _endpoint(f"endpoints[{index}]", endpoint, kind)
    yield from _ports(held.get("ports") or [])


def validate_slice_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield what may not change of a slice."""
    if old.get("addressType") != new.get("addressType"):
        yield invalid_value("addressType", str(new.get("addressType")), "field is immutable")


def _too_many(path: str, count: int, most: int) -> Iterator[Cause]:
    if count > most:
        message = f"Too many: {count}: must have at most {most} items"
        yield Cause(field=path, reason="FieldValueTooMany", message=message)


def _endpoint(path: str, endpoint: dict[str, Any], kind: str) -> Iterator[Cause]:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        yield required(f"{path}.addresses", "must contain at least 1 address")
    yield from _too_many(f"{path}.addresses", len(addresses), _ADDRESSES_MAX)
    for index, text in enumerate(addresses):
        yield from _address(f"{path}.addresses[{index}]", text, kind)
    hostname = endpoint.get("hostname")
    if hostname and not names.is_dns_label(hostname):
        yield invalid_value(f"{path}.hostname", hostname, names.LABEL_MESSAGE)
    zones = (endpoint.get("hints") or {}).get("forZones") or ()
    yield from _too_many(f"{path}.hints.forZones", len(zones), _ZONES_MAX)


def _address(path: str, text: str, kind: str) -> Iterator[Cause]:
    if kind == "FQDN":
        if not names.is_dns_subdomain(text):
            yield invalid_value(path, text, names.SUBDOMAIN_MESSAGE)
        return
    try:
        address = ip_address(text)
    except ValueError:
        yield invalid_value(path, text, f"must be a valid {kind} address")
        return
    if f"IPv{address.version}" != kind:
        yield invalid_value(path, text, f"must be an {kind} address")
    elif address.is_unspecified:
        yield invalid_value(path, text, f"may not be unspecified ({text})")
    elif address.is_loopback:
        why = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        yield invalid_value(path, text, why)
    elif address.is_link_local:
        why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        yield invalid_value(path, text, why)


def _ports(ports: list[dict[str, Any]]) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        if name and not names.is_dns_label(name):
            yield invalid_value(f"ports[{index}].name", name, names.LABEL_MESSAGE)
        if name in seen:
            yield duplicate_value(f"ports[{index}].name", name)
        seen.add(name)
        if port.get("protocol") not in _PROTOCOLS:
            yield not_supported(f"ports[{index}].protocol", str(port.get("protocol")), _PROTOCOLS)
        number = port.get("port")
        if number is not None and not 0 < number < 65536:
            why = "must be between 1 and 65535, inclusive"
            yield invalid_value(f"ports[{index}].port", number, why)
