"""Which values of `podeni` do the API's objects mean?"""

from __future__ import annotations

from collections.abc import Mapping

from terway.config.requested_networks import asks_for_eni
from terway.controlplane.podenis.words import lifetime_of, name_of, option_of
from terway.controlplane.watched import WatchedPod
from terway.kube.clock import parse_time
from terway.kube.crds import POD_UID, Allocation, NetworkInterface, PodENI
from terway.kube.types import Node, Pod
from terway.model.ids import ENIId, InstanceId, NodeName, ZoneId
from terway.podeni.admission import ENI_RESOURCE
from terway.podeni.eni_life import Wish
from terway.podeni.pods import GATE, IGNORED
from terway.podeni.record import (
    ENIState,
    Interface,
    NodeState,
    Phase,
    PodState,
    Record,
    Target,
)
from terway.podeni.settings import Settings

POD_ENI = "k8s.aliyun.com/pod-eni"
NODE_LABEL = "k8s.aliyun.com/node"  # of a PodENI: where its pod is
TRUNK_ON = "k8s.aliyun.com/trunk-on"
DATAPATH, EBPF = "k8s.aliyun.com/datapath", "ebpf"  # of a Node, as its agent writes it
_EXCLUSIVE = "k8s.aliyun.com/exclusive-mode-eni-type"
_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_VIRTUAL = {"type": "virtual-kubelet"}
_OVER = ("Succeeded", "Failed")
DELETED = "Deleted"  # of an ENI: the cloud does not know it any more


def phase_of(text: str) -> Phase:
    """Return a phase; one that nobody knows is that of something new."""
    try:
        return Phase(text)
    except ValueError:
        return Phase.NEW


def target_of(instance_id: str, trunk_eni_id: str) -> Target | None:
    """Return where ENIs are, None for nowhere."""
    if not instance_id:
        return None
    return Target(instance_id=InstanceId(instance_id), trunk_eni_id=ENIId(trunk_eni_id) or None)


def record_of(found: PodENI) -> Record:
    """Return the PodENI as a value."""
    status, metadata = found.status, found.metadata
    return Record(
        phase=phase_of(status.phase),
        interfaces=tuple(map(_interface, found.spec.allocations)),
        pod_uid=metadata.annotations.get(POD_UID, ""),
        node_name=NodeName(metadata.labels.get(NODE_LABEL, "")) or None,
        zone_id=_zone(found),
        target=target_of(status.instance_id, status.trunk_eni_id),
        last_seen=parse_time(status.pod_last_seen) if status.pod_last_seen else None,
        is_deleted=metadata.deletion_timestamp is not None,
    )


def _zone(found: PodENI) -> ZoneId | None:
    zones = [found.spec.zone, *(one.eni.zone for one in found.spec.allocations)]
    return next((ZoneId(zone) for zone in zones if zone), None)


def _interface(one: Allocation) -> Interface:
    return Interface(
        name=name_of(one),
        eni_id=ENIId(one.eni.id) or None,
        eni=option_of(one.eni),
        lifetime=lifetime_of(one.allocation_type),
        addresses=frozenset(ip for ip in (one.ipv4, one.ipv6) if ip),
    )


def node_of(found: Node | None) -> NodeState | None:
    """Return a node, None for one that is not the cloud's, or not known to be so yet."""
    if found is None or _VIRTUAL.items() <= found.metadata.labels.items():
        return None
    instance_id = found.spec.provider_id.rpartition(".")[2]
    labels = found.metadata.labels
    zone = next((labels[name] for name in _ZONES if labels.get(name)), "")
    if not instance_id or not zone:
        return None
    return NodeState(
        name=NodeName(found.metadata.name),
        instance_id=InstanceId(instance_id),
        zone_id=ZoneId(zone),
        trunk_eni_id=ENIId(found.metadata.annotations.get(TRUNK_ON, "")) or None,
        is_exclusive=is_exclusive(labels),
        gives_whole=_gives_whole(found),
        has_programs=found.metadata.annotations.get(DATAPATH) == EBPF,
    )


def _gives_whole(found: Node) -> bool:
    """Return whether a node says that pods can have ENIs whole."""
    return found.status.allocatable.get(ENI_RESOURCE, "0") not in ("", "0")


def is_exclusive(labels: Mapping[str, str]) -> bool:
    """Return whether a node gives its pods whole ENIs."""
    return labels.get(_EXCLUSIVE, "").lower() == "enionly"


def wants_eni(pod: Pod, node: Node | None, settings: Settings) -> bool:
    """Return whether a pod is to have ENIs of its own."""
    ignored = pod.metadata.labels.get(IGNORED, "").lower() == "true"
    if pod.spec.host_network or ignored:
        return False
    said = asks_for_eni(pod.metadata.annotations, is_central=settings.has_whole_nodes)
    if said is not None:
        return said
    is_whole = node is not None and is_exclusive(node.metadata.labels)
    return settings.has_every_pod or (settings.has_whole_nodes and is_whole)


def pod_of(pod: WatchedPod | None, *, wants: bool) -> PodState | None:
    """Return the pod as a value."""
    if pod is None:
        return None
    return PodState(
        uid=pod.metadata.uid,
        node_name=NodeName(pod.spec.node_name) or None,
        is_over=not wants or pod.status.phase in _OVER,
        is_terminating=pod.metadata.deletion_timestamp is not None,
        is_gated=any(gate.name == GATE for gate in pod.spec.scheduling_gates),
        addresses=addresses_of(pod),
    )


def addresses_of(pod: Pod) -> frozenset[str]:
    """Return the addresses that a pod runs with; none for one that has ended."""
    if pod.spec.host_network or pod.status.phase in _OVER:
        return frozenset()
    listed = {pod.status.pod_ip, *(one.ip for one in pod.status.pod_ips)}
    return frozenset(listed - {""})


def wish_of(found: NetworkInterface) -> Wish:
    """Return what a NetworkInterface wants of its ENI."""
    return Wish(
        phase=phase_of(found.status.phase),
        target=target_of(found.status.instance_id, found.status.trunk_eni_id),
        is_deleted=found.metadata.deletion_timestamp is not None,
        is_foreign=found.spec.manage_policy.unmanaged,
    )


def state_of(found: NetworkInterface) -> ENIState:
    """Return where an ENI is, as its NetworkInterface says."""
    wish = wish_of(found)
    return ENIState(
        phase=Phase.DELETING if wish.is_deleted else wish.phase,
        target=wish.target,
        is_lost=found.status.eni_info.status == DELETED,
    )


def known_as_of(found: NetworkInterface) -> Phase | None:
    """Return where an ENI was when the cloud was last seen to agree; None: nobody has looked."""
    return {"Bind": Phase.BIND, "Unbind": Phase.UNBIND}.get(found.status.eni_info.status)
