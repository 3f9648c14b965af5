"""Is a node alive, and what becomes of its pods when it is not?

    lease renewed ──► Ready as the kubelet says ──► no taint, or not-ready
    lease stale   ──► Ready Unknown             ──► unreachable, NoExecute: pods leave in time

Source: k8s.io/kubernetes pkg/controller/nodelifecycle and tainteviction, podgc, v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.kube.clock import format_time, parse_time
from terway.lab.kubeapi.controllers.actions import Action, Delete, Patch, Tell
from terway.lab.kubeapi.controllers.placement import tolerates
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.defaults import NOT_READY, UNREACHABLE
from terway.lab.kubeapi.objects import (
    Object,
    condition_of,
    is_terminating,
    metadata,
    name_of,
    read_path,
    with_condition,
)
from terway.lab.kubeapi.resources import LEASE, NODE, POD

GRACE_S = 40.0  # node-monitor-grace-period
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_LEASES = "kube-node-lease"
_ORPHAN_GRACE_S = 60.0  # a pod may be bound to a node that registers only now
_EFFECTS = ("NoSchedule", "NoExecute")


def plan_nodes(view: View) -> Iterator[Action]:
    """Yield the conditions and taints of nodes, and the end of pods whose node is lost."""
    renewed = {
        name_of(lease): read_path(lease, "spec.renewTime", "") for lease in view.all(LEASE, _LEASES)
    }
    for node in view.nodes:
        if _is_silent(view, node, renewed.get(name_of(node), "")):
            yield from _plan_unknown(view, node)
        yield from _plan_taints(view, node)
    yield from _plan_unready(view)
    yield from _plan_evictions(view)
    yield from _plan_orphans(view)


def _is_silent(view: View, node: Object, renewed: str) -> bool:
    ready = condition_of(node, "Ready")
    beat = (ready or {}).get("lastHeartbeatTime") or metadata(node)["creationTimestamp"]
    last = max(parse_time(beat), parse_time(renewed) if renewed else 0.0)
    return last + GRACE_S < view.now


def _plan_unknown(view: View, node: Object) -> Iterator[Action]:
    ready = condition_of(node, "Ready")
    if ready is not None and ready.get("status") == "Unknown":
        return
    unknown = {
        **(ready or {"type": "Ready"}),
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    conditions = with_condition(
        read_path(node, "status.conditions", []), unknown, now=view.now_text
    )
    patch = {"status": {"conditions": conditions}}
    yield Patch(resource=NODE, object=node, patch=patch, subresource="status")
    message = f"Node {name_of(node)} status is now: NodeNotReady"
    yield Tell(
        resource=NODE,
        object=node,
        reason="NodeNotReady",
        message=message,
        component="node-controller",
    )


def _plan_unready(view: View) -> Iterator[Action]:
    """Yield that pods of silent nodes are not ready: nobody else says so, and Services look."""
    silent = {
        name_of(node)
        for node in view.nodes
        if (condition_of(node, "Ready") or {}).get("status") == "Unknown"
    }
    for pod in view.pods if silent else ():
        ready = condition_of(pod, "Ready")
        if ready is None or ready.get("status") != "True":
            continue
        if read_path(pod, "spec.nodeName", "") in silent:
            conditions = with_condition(
                read_path(pod, "status.conditions", []),
                {**ready, "status": "False"},
                now=view.now_text,
            )
            patch = {"status": {"conditions": conditions}}
            yield Patch(resource=POD, object=pod, patch=patch, subresource="status")


def _plan_taints(view: View, node: Object) -> Iterator[Action]:
    ready = (condition_of(node, "Ready") or {}).get("status", "Unknown")
    reported = condition_of(node, "Ready") is not None
    key = {"True": "", "False": NOT_READY}.get(ready, UNREACHABLE if reported else NOT_READY)
    held = read_path(node, "spec.taints", [])
    kept = [taint for taint in held if taint.get("key") not in (NOT_READY, UNREACHABLE)]
    since = {taint["effect"]: taint.get("timeAdded") for taint in held if taint.get("key") == key}
    # A node that never was ready only takes no pods yet; there is nobody to evict.
    effects = _EFFECTS if reported else _EFFECTS[:1]
    added = [_taint(key, effect, since.get(effect) or view.now_text) for effect in effects]
    wanted = [*kept, *added] if key else kept
    if wanted != held:
        yield Patch(resource=NODE, object=node, patch={"spec": {"taints": wanted}})


def _taint(key: str, effect: str, since: str) -> dict[str, Any]:
    taint = {"key": key, "effect": effect}
    return {**taint, "timeAdded": since} if effect == "NoExecute" else taint


def _plan_evictions(view: View) -> Iterator[Action]:
    taints = {
        name_of(node): [
            taint
            for taint in read_path(node, "spec.taints", ())
            if taint.get("effect") == "NoExecute"
        ]
        for node in view.nodes
    }
    for pod in view.pods:
        if is_terminating(pod):
            continue
        for taint in taints.get(read_path(pod, "spec.nodeName", ""), ()):
            if _time_is_up(view, pod, taint):
                yield Delete(resource=POD, object=pod)
                break


def _time_is_up(view: View, pod: Object, taint: Mapping[str, Any]) -> bool:
    covering = [
        held for held in read_path(pod, "spec.tolerations", ()) if tolerates((held,), taint)
    ]
    if not covering:
        return True
    stays = [held["tolerationSeconds"] for held in covering if "tolerationSeconds" in held]
    if not stays:
        return False
    since = parse_time(taint.get("timeAdded") or format_time(view.now))
    return bool(since + min(stays) <= view.now)


def _plan_orphans(view: View) -> Iterator[Action]:
    known = {name_of(node) for node in view.nodes}
    off = {name_of(node) for node in view.nodes if _is_out_of_service(node)}
    for pod in view.pods:
        node = read_path(pod, "spec.nodeName")
        created = parse_time(metadata(pod)["creationTimestamp"])
        orphaned = node not in known and created + _ORPHAN_GRACE_S < view.now
        if node and (orphaned or (node in off and is_terminating(pod))):
            yield Delete(resource=POD, object=pod, grace_s=0)


def _is_out_of_service(node: Object) -> bool:
    """Say whether somebody vouches that nothing runs there any more (KEP-2268)."""
    keys = {taint.get("key") for taint in read_path(node, "spec.taints", ())}
    ready = (condition_of(node, "Ready") or {}).get("status", "Unknown")
    return OUT_OF_SERVICE in keys and ready != "True"
