"""Which node ports do a Service's ports get? Pure: specs and numbers in, a spec out.

The range is the API server's default. Its lower part is left to those who choose their own, as
the real one does (KEP-3668), which draws by lot where this takes the first that is free.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import Any

from terway.lab.kubeapi.causes import invalid_value
from terway.lab.kubeapi.errors import ApiError, invalid
from terway.lab.kubeapi.objects import Object, name_of
from terway.lab.kubeapi.resources import SERVICE
from terway.lab.kubeapi.services.fields import (
    gets_node_ports,
    needs_health_check,
    needs_node_port,
    node_ports_of,
)

FIRST, LAST = 30000, 32767
_DYNAMIC = 30086  # (size / 32), between 16 and 128, are left to static choice
_TAKEN = "provided port is already allocated"
_BEYOND = (
    f"provided port is not in the valid range. The range of valid ports is {FIRST}-{LAST}"
)  # fmt: skip


def with_node_ports(service: Object, taken: Collection[int], old: Object | None = None) -> Object:
    """Return the Service with its node ports. `taken` are those of all others, `old` its own past.

    ApiError 422 for a port that is somebody else's or out of range, 500 when none is left.
    """
    spec = service["spec"]
    allocation = _Allocation(name_of(service), taken, old)
    if needs_node_port(spec):
        spec = {**spec, "ports": allocation.ports(spec)}
    if needs_health_check(spec):
        spec = {**spec, "healthCheckNodePort": allocation.health_check(spec)}
    return service if spec == service["spec"] else {**service, "spec": spec}


class _Allocation:
    """The ports of one write: nothing is given twice."""

    def __init__(self, name: str, taken: Collection[int], old: Object | None) -> None:
        self._name = name
        self._taken = set(taken)
        self._own = set(node_ports_of((old or {}).get("spec") or {}))

    def ports(self, spec: dict[str, Any]) -> list[dict[str, Any]]:
        """Protocols that share a port number share its node port, as wished or as found."""
        ports = spec.get("ports") or []
        for index, port in enumerate(ports):
            if number := port.get("nodePort"):
                self._take(number, index)
        by_port = {port["port"]: port["nodePort"] for port in ports if port.get("nodePort")}
        if not gets_node_ports(spec):
            return list(ports)
        for port in ports:
            if port["port"] not in by_port:
                by_port[port["port"]] = self._next("a nodePort")
        return [{**port, "nodePort": port.get("nodePort") or by_port[port["port"]]}
                for port in ports]  # fmt: skip

    def health_check(self, spec: dict[str, Any]) -> int:
        number = int(spec.get("healthCheckNodePort") or 0)
        if not number:
            return self._next("a HealthCheck NodePort")
        if why := self._refusal(number):
            text = f"failed to allocate requested HealthCheck NodePort {number}: {why}"
            raise ApiError(500, "InternalError", f"Internal error occurred: {text}")
        self._taken.add(number)
        return number

    def _take(self, number: int, index: int) -> None:
        if why := self._refusal(number):
            cause = invalid_value(f"spec.ports[{index}].nodePort", number, why)
            raise invalid(SERVICE, self._name, (cause,))
        self._own.add(number)  # another protocol of this Service may have it, too

    def _refusal(self, number: int) -> str:
        if number in self._own:
            return ""
        if not FIRST <= number <= LAST:
            return _BEYOND
        return _TAKEN if number in self._taken else ""

    def _next(self, what: str) -> int:
        for number in chain(range(_DYNAMIC, LAST + 1), range(FIRST, _DYNAMIC)):
            if number not in self._taken and number not in self._own:
                self._taken.add(number)
                return number
        raise ApiError(500, "InternalError", f"failed to allocate {what}: range is full")
