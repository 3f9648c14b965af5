"""How does the webhook's question about a pod or a PodNetworking become one of `podeni`, and back?

The answer is a JSON patch of the object as the API server has it, and remarks for the user. What
cannot be had is refused: UsageError, with the field and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from terway.config.network_keys import POD_NETWORKS
from terway.config.pod_networking import parse_pod_networking, useless_words
from terway.config.requested_networks import (
    POD_NETWORKING,
    POD_NETWORKS_FROM,
    POD_NETWORKS_REQUEST,
    parse_asked,
)
from terway.controlplane.controller import Informers
from terway.controlplane.podenis.gates import Patch, affinity_patch
from terway.controlplane.podenis.pod import facts_of
from terway.controlplane.podenis.reading import POD_ENI, record_of
from terway.controlplane.podenis.words import write_networks
from terway.controlplane.podenis.world import ClusterWorld
from terway.controlplane.watched import WatchedPod
from terway.kube.crds import POD_ENIS
from terway.model.errors import UsageError
from terway.model.pod_network import Asked, PodNetworking
from terway.podeni.admission import (
    Held,
    PodPatch,
    admit_pod,
    check_networking,
    fill_networking,
    remarks_on,
)
from terway.podeni.pods import GATE
from terway.podeni.record import Phase
from terway.podeni.selection import Selected, select_networks
from terway.podeni.settings import Settings

# Annotations by which a pod asks for a network: whoever has one must not get in unseen.
ASKING = (POD_NETWORKS, POD_NETWORKS_REQUEST, POD_NETWORKING, POD_ENI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """It gets in, changed by `patch` (RFC 6902). `warnings` are shown to the user."""

    patch: Patch = field(default_factory=list)
    warnings: tuple[str, ...] = ()


class Admission:
    """Answers the webhook's questions. It waits for nothing: what it reads is in memory."""

    def __init__(
        self, informers: Informers, world: ClusterWorld, settings: Callable[[], Settings]
    ) -> None:
        self._records = informers.of(POD_ENIS)
        self._world = world
        self._settings = settings

    def admit_pod(self, raw: Mapping[str, Any], namespace: str) -> Admitted:
        """Return what a pod that is created needs. Raises UsageError."""
        try:
            pod = msgspec.convert(raw, WatchedPod)
        except msgspec.ValidationError as error:
            raise UsageError(f"this pod cannot be read: {error}") from error
        selected = self._select(pod, namespace)
        if selected is None:
            return Admitted()
        decided = admit_pod(
            facts_of(pod),
            selected,
            zones=self._world.zones(),
            held=self._held(pod.metadata.name, namespace),
            settings=self._settings(),
        )
        return Admitted(patch=_pod_patch(raw, decided), warnings=decided.remarks)

    def _select(self, pod: WatchedPod, namespace: str) -> Selected | None:
        """Return the pod's networks; one that comes twice keeps those of the first time."""
        annotations = pod.metadata.annotations
        if annotations.get(POD_NETWORKS) and annotations.get(POD_NETWORKING):
            others = {name: one for name, one in annotations.items() if name != POD_NETWORKS}
            again = self._selected(pod, parse_asked(others), namespace)
            if again and write_networks(again.networks) == annotations[POD_NETWORKS]:
                return again
        return self._selected(pod, parse_asked(annotations), namespace)

    def _selected(self, pod: WatchedPod, asked: Asked, namespace: str) -> Selected | None:
        return select_networks(
            facts_of(pod),
            asked,
            namespace_labels=self._world.namespace_labels(namespace),
            networkings=tuple(self._world.networkings()),
            defaults=self._world.defaults(),
            settings=self._settings(),
        )

    def _held(self, name: str, namespace: str) -> Held | None:
        """Return where the ENIs are that wait for a pod of this name."""
        found = self._records.get(name, namespace=namespace) if name else None
        record = record_of(found) if found is not None else None
        if record is None or record.is_deleted or record.phase is Phase.DELETING:
            return None
        if not record.is_fixed or record.zone_id is None:
            return None
        return Held(zone_id=record.zone_id)

    def admit_networking(self, raw: Mapping[str, Any]) -> Admitted:
        """Return what a PodNetworking needs that says less than it must. Raises UsageError."""
        networking = _networking(raw)
        filled = fill_networking(networking, self._world.defaults()).network
        said = networking.network
        spec = dict(raw.get("spec") or {})
        if filled.vswitch_ids != said.vswitch_ids:
            spec["vSwitchOptions"] = list(filled.vswitch_ids)
        if filled.security_group_ids != said.security_group_ids:
            spec["securityGroupIDs"] = list(filled.security_group_ids)
        warnings = (*useless_words(spec), *remarks_on(networking, self._world.networkings()))
        if spec == (raw.get("spec") or {}):
            return Admitted(warnings=warnings)
        return Admitted(patch=[{"op": "add", "path": "/spec", "value": spec}], warnings=warnings)

    def check_networking(self, raw: Mapping[str, Any]) -> None:
        """Refuse a PodNetworking that no pod could have. Raises UsageError."""
        networking = _networking(raw)
        check_networking(replace(networking, is_ready=False), self._settings())


def _networking(raw: Mapping[str, Any]) -> PodNetworking:
    """Parse a PodNetworking that nobody has checked yet, not even by its schema."""
    for name in ("metadata", "spec"):
        if not isinstance(raw.get(name) or {}, Mapping):
            text = f"{name} is {str(raw[name])[:40]!r}: it must be an object, keys with values"
            raise UsageError(text, field=name)
    name = str((raw.get("metadata") or {}).get("name", ""))
    return parse_pod_networking(name, raw.get("spec") or {})


def _pod_patch(raw: Mapping[str, Any], decided: PodPatch) -> Patch:
    metadata: Mapping[str, Any] = raw.get("metadata") or {}
    spec: Mapping[str, Any] = raw["spec"]
    annotations = {
        **(metadata.get("annotations") or {}),
        POD_NETWORKS: write_networks(decided.networks),
        POD_ENI: "true",
    }
    if decided.requested:
        annotations[POD_NETWORKS_FROM] = ",".join(decided.requested)
    annotations.pop(POD_NETWORKS_REQUEST, None)  # it is answered; two would contradict each other
    if decided.networking:
        annotations[POD_NETWORKING] = decided.networking
    patch: Patch = [{"op": "add", "path": "/metadata/annotations", "value": annotations}]
    if decided.resource and not _asks_enough(spec["containers"], decided):
        patch.append(_resources_patch(spec["containers"][0], decided))
    patch += affinity_patch(spec, [sorted(zones) for zones in decided.zones])
    if decided.is_gated:
        held = [one for one in spec.get("schedulingGates") or () if one.get("name") != GATE]
        gates = [*held, {"name": GATE}]
        patch.append({"op": "add", "path": "/spec/schedulingGates", "value": gates})
    return patch


def _asks_enough(containers: Sequence[Mapping[str, Any]], decided: PodPatch) -> bool:
    """Return whether the containers ask for the resource themselves, however it is spread."""
    limits = ((one.get("resources") or {}).get("limits") or {} for one in containers)
    asked = [str(one.get(decided.resource, "0")) for one in limits]
    return sum(int(one) for one in asked if one.isdecimal()) >= decided.count


def _resources_patch(container: Mapping[str, Any], decided: PodPatch) -> dict[str, Any]:
    held: Mapping[str, Any] = container.get("resources") or {}
    count = {decided.resource: str(decided.count)}
    resources = {
        **held,
        "limits": {**(held.get("limits") or {}), **count},
        "requests": {**(held.get("requests") or {}), **count},
    }
    return {"op": "add", "path": "/spec/containers/0/resources", "value": resources}
