"""The result object of ADD: what it holds, and how each version of the specification writes it."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any

import msgspec

from terway.cni.errors import CniError, Code
from terway.cni.version import is_at_least


class Interface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A link that was made. `sandbox` is CNI_NETNS inside the container, empty on the host."""

    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""
    socketPath: str = ""  # noqa: N815 (the wire's name)
    pciID: str = ""  # noqa: N815


class IPConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An address with its prefix length; `interface` is an index into the interfaces."""

    address: str
    gateway: str = ""
    interface: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A route in the container."""

    dst: str
    gw: str = ""
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


class Dns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Name servers; ours are Kubernetes' business, a predecessor's are passed on."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A result, of any supported version: unknown keys are dropped, missing ones are empty."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IPConfig, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()


def parse_result(raw: bytes | msgspec.Raw) -> Result:
    """Return the value of a `prevResult`. Raises CniError."""
    try:
        result = msgspec.json.decode(raw, type=Result)
        for ip in result.ips:
            ip_interface(ip.address)
    except (msgspec.DecodeError, ValueError) as error:
        raise CniError(Code.INVALID_CONFIG, f"prevResult: {error}", field="prevResult") from error
    return result


def join(previous: Result | None, ours: Result) -> Result:
    """Return what a chain has made so far: `previous` as it was, ours after it."""
    if previous is None:
        return ours
    shift = len(previous.interfaces)
    return Result(
        interfaces=previous.interfaces + ours.interfaces,
        ips=previous.ips + tuple(_shifted(ip, shift) for ip in ours.ips),
        routes=previous.routes + ours.routes,
        dns=previous.dns,
    )


def encode_result(result: Result, version: str) -> bytes:
    """Return `result` as JSON in the words of `version`.

    1.0.0 dropped the family (`version`) of an address; 1.1.0 added `mtu` and others.
    Source: SPEC.md, "Add Success", of each version.
    """
    wire: dict[str, Any] = {
        "cniVersion": version,
        "interfaces": [_interface(interface, version) for interface in result.interfaces],
        "ips": [_ip(ip, version) for ip in result.ips],
        "routes": [_route(route, version) for route in result.routes],
        "dns": result.dns,
    }
    return msgspec.json.encode(wire) + b"\n"


def _shifted(ip: IPConfig, shift: int) -> IPConfig:
    if ip.interface is None:
        return ip
    return msgspec.structs.replace(ip, interface=ip.interface + shift)


def _interface(interface: Interface, version: str) -> Interface:
    if is_at_least(version, "1.1.0"):
        return interface
    return Interface(name=interface.name, mac=interface.mac, sandbox=interface.sandbox)


def _ip(ip: IPConfig, version: str) -> dict[str, Any]:
    wire: dict[str, Any] = msgspec.to_builtins(ip)
    if not is_at_least(version, "1.0.0"):
        wire["version"] = "6" if ":" in ip.address else "4"
    return wire


def _route(route: Route, version: str) -> Route:
    return route if is_at_least(version, "1.1.0") else Route(dst=route.dst, gw=route.gw)
