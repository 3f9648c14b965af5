"""What terwayd shows of services to tools on the node: frontends, backends, and why not others."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from terway.agent.readonly import Page
from terway.service.compiler import Compiler
from terway.service.contents import (
    FLAG_AFFINITY,
    FLAG_EXTERNAL,
    FLAG_NODE_PORT,
    unpack_end,
    unpack_frontend,
)
from terway.service.endpoints import choose_endpoints, use_of
from terway.service.lines import FAMILIES, endpoints_of
from terway.service.placed import PlacedLine
from terway.service.values import Protocol, Service, ServicePort, Slice

if TYPE_CHECKING:
    from terway.agent.service.service import ServiceProxy

PATH = "/debug/services"


def services_page(proxy: ServiceProxy) -> Page:
    """Return all services: some 10 us each."""
    compiler = proxy.compiler
    body = {
        "filled": proxy.filled.is_set(),
        "trouble": proxy.trouble,
        "stale_s": proxy.view.stale_s,
        "not_followed": [one.trouble for one in proxy.view.collections() if one.trouble],
        "left_out": {} if compiler is None else dict(compiler.unserved),
        "services": [] if compiler is None else list(describe_services(compiler)),
    }
    return Page(body=msgspec.json.encode(body) + b"\n", content_type="application/json")


def describe_services(compiler: Compiler) -> Iterator[dict[str, Any]]:
    """Yield what is led where, by the names of services."""
    for key in sorted(compiler.placed):
        lines = compiler.placed[key].lines
        yield {
            "service": key,
            "frontends": [one for line in lines for one in _frontends(line)],
            "taken": [_text(door) for line in lines for door in line.lost],
            "endpoints": _endpoints(compiler, key),
        }


def _frontends(line: PlacedLine) -> Iterator[dict[str, Any]]:
    for key, value in line.frontends():
        number, inside, _, affinity_s, flags = unpack_frontend(value)
        kind = "external" if flags & FLAG_EXTERNAL else "cluster"
        yield {
            "address": _text(key),
            "kind": "node port" if flags & FLAG_NODE_PORT else kind,
            "inside": "local" if inside == 2 * number + 1 else "cluster",
            "affinity_s": affinity_s if flags & FLAG_AFFINITY else 0,
        }


def _endpoints(compiler: Compiler, key: str) -> list[dict[str, Any]]:
    found = compiler.service(key)
    if found is None:
        return []
    service, slices = found
    return [
        one
        for port in service.ports
        for family in FAMILIES
        for one in _uses(compiler, service, port, family, slices)
    ]


def _uses(
    compiler: Compiler,
    service: Service,
    port: ServicePort,
    family: int,
    slices: tuple[Slice, ...],
) -> Iterator[dict[str, Any]]:
    endpoints = endpoints_of(port, family, slices)
    states, here = tuple(endpoints.values()), compiler.here
    choice = choose_endpoints(states, here)
    for place, (identity, state) in enumerate(endpoints.items()):
        is_local = service.internal_local
        yield {
            "address": _text(identity),
            "node": state.node,
            "zone": state.zone,
            "use": use_of(states, place, choice, here, is_local=is_local).value,
        }


def _text(end: bytes) -> str:
    """Return an address and port as people write them."""
    packed, port, protocol, family = unpack_end(end)
    address = ip_address(packed)
    host = "*" if address.is_unspecified else str(address)
    return f"{f'[{host}]' if family == 6 else host}:{port}/{Protocol(protocol).name}"
