"""Whose are the pods of manifests: which Deployment, StatefulSet, DaemonSet or CronJob made them?

By their ownerReferences, and those of the owner as far as it is among the manifests. Of a
ReplicaSet that is not, the name says of which Deployment it is: pkg/controller/deployment, util.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from terway.cli.policy_read import Found
from terway.policy.cluster import PodKey

_TEMPLATE = "pod-template-hash"
_MOST_STEPS = 5  # from a pod up to who made it; a circle of references ends, too

Owner = tuple[str, str, str]  # namespace, kind, name


def owners_of(found: Iterable[Found]) -> dict[PodKey, str]:
    """Return "Kind name" of who made each pod of which that is known."""
    parents: dict[Owner, Owner] = {}
    pods: list[tuple[Owner, Mapping[str, Any]]] = []
    for one in found:
        me = (_namespace(one.raw), str(one.raw["kind"]), str(_metadata(one.raw).get("name")))
        parent = _controller(one.raw)
        if parent is not None:
            parents[me] = parent
        if one.raw["kind"] == "Pod":
            pods.append((me, one.raw))
    return {
        PodKey(namespace=me[0], name=me[2]): _words(_top(me, parents), raw)
        for me, raw in pods
        if me in parents
    }


def _top(me: Owner, parents: Mapping[Owner, Owner]) -> Owner:
    for _step in range(_MOST_STEPS):
        if me not in parents:
            break
        me = parents[me]
    return me


def _words(owner: Owner, pod: Mapping[str, Any]) -> str:
    _, kind, name = owner
    template = (_metadata(pod).get("labels") or {}).get(_TEMPLATE)
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return f"Deployment {name.removesuffix(f'-{template}')}"
    return f"{kind} {name}"


def _controller(raw: Mapping[str, Any]) -> Owner | None:
    references = _metadata(raw).get("ownerReferences") or ()
    chosen = next((one for one in references if one.get("controller")), None)
    if chosen is None:
        return None
    return _namespace(raw), str(chosen.get("kind")), str(chosen.get("name"))


def _namespace(raw: Mapping[str, Any]) -> str:
    return str(_metadata(raw).get("namespace") or "default")


def _metadata(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = raw.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
