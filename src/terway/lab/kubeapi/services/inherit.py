"""What does an update of a Service keep of what the server had given it, and what does it drop?

A client that sends its manifest again must not lose address and ports; one that changes the type
must not keep what the new type cannot have, unless it changed that, too: then it is told.
Source: patchAllocatedValues and dropTypeDependentFields in pkg/registry/core/service/storage.
"""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.services.fields import (
    Spec,
    is_external,
    needs_health_check,
    needs_node_port,
)

_HEALTH = "healthCheckNodePort"


def inherit(old: Object, new: Object) -> Object:
    """Return `new`, which has its defaults, with what it keeps of `old`."""
    before, after = old.get("spec") or {}, dict(new.get("spec") or {})
    if needs_node_port(before) and needs_node_port(after):
        after["ports"] = _with_node_ports(before, after)
    if needs_health_check(before) and needs_health_check(after) and before.get(_HEALTH):
        after.setdefault(_HEALTH, before[_HEALTH])
    return {**new, "spec": _dropped(before, after)}


def _with_node_ports(before: Spec, after: Spec) -> list[dict[str, Any]]:
    """The ports of `after` with the node ports they had: by their names, else by their numbers."""
    ports: list[dict[str, Any]] = list(after.get("ports") or ())
    held = {port["nodePort"] for port in before.get("ports") or () if port.get("nodePort")}
    used = held & {port.get("nodePort") for port in ports}
    by_name: dict[Any, int] = {}
    by_number: dict[Any, int] = {}
    for port in before.get("ports") or ():
        if port.get("nodePort"):
            by_name[port.get("name", "")] = port["nodePort"]
            by_number[(port.get("protocol"), port.get("port"))] = port["nodePort"]
    found = []
    for port in ports:
        wished = (by_name.get(port.get("name", "")),
                  by_number.get((port.get("protocol"), port.get("port"))))  # fmt: skip
        free = next((one for one in wished if one and one not in used), None)
        if port.get("nodePort") or not free:
            found.append(port)
            continue
        used.add(free)
        found.append({**port, "nodePort": free})
    return found


def _dropped(before: Spec, after: dict[str, Any]) -> dict[str, Any]:
    gone: set[str] = set()

    def drop_if(applies: bool, *names: str) -> None:
        if applies:
            gone.update(name for name in names if before.get(name) == after.get(name))

    was_balanced = before.get("type") == "LoadBalancer" != after.get("type")
    drop_if(needs_health_check(before) and not needs_health_check(after), _HEALTH)
    drop_if(was_balanced, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    drop_if(is_external(before) and not is_external(after), "externalTrafficPolicy")
    if needs_node_port(before) and not needs_node_port(after) and _same_ports(before, after):
        bare = [{name: held for name, held in port.items() if name != "nodePort"}
                for port in after.get("ports") or ()]  # fmt: skip
        after = {**after, "ports": bare}
    return {name: value for name, value in after.items() if name not in gone}


def _same_ports(before: Spec, after: Spec) -> bool:
    def numbers(spec: Spec) -> set[Any]:
        return {port.get("nodePort") for port in spec.get("ports") or ()} - {None}

    return numbers(after) <= numbers(before)
