"""Which ENIs of ours does nobody own?

An ENI can be left over where its creation was not recorded: the control plane died between the
call and the record, and the pod was gone when it came back. It is known by its tags, and it is
old enough that nobody is about to record it. What a pod runs with is nobody's at no time, whatever
became of its records: neither are those that were made with it.
Source: upstream's pkg/controller/pod-eni, whose cloud GC runs each 10 minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from terway.model.eni import ENI, ENIStatus, ENIType
from terway.model.ids import ENIId
from terway.model.pod_network import PRIMARY_INTERFACE
from terway.podeni.eni_life import place_of
from terway.podeni.record import Target

CLUSTER_TAG = "ack.aliyun.com"
CREATOR_TAG = "creator"
CREATOR = "terway-controller"
OWNER_TAG = "k8s.aliyun.com/pod-eni-uid"  # ours: which PodENI it was made for
POD_TAG = "k8s.aliyun.com/pod-uid"  # ours: which pod; a Fixed ENI has others later
INTERFACE_TAG = "k8s.aliyun.com/interface"  # ours: which of its pod it is
LEAST_AGE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """An ENI that goes: detached from `place` first, if it is somewhere."""

    eni_id: ENIId
    place: Target | None


def tags_of(
    cluster_id: str, pod_eni_uid: str, *, pod_uid: str = "", interface: str = PRIMARY_INTERFACE
) -> tuple[tuple[str, str], ...]:
    """Return the tags of an ENI that is made for a PodENI, and for its pod if there is one."""
    whose = ((POD_TAG, pod_uid),) if pod_uid else ()
    return (
        (CLUSTER_TAG, cluster_id),
        (CREATOR_TAG, CREATOR),
        (OWNER_TAG, pod_eni_uid),
        *whose,
        (INTERFACE_TAG, interface),
    )


def find_garbage(
    enis: Iterable[ENI],
    *,
    owned: Collection[ENIId],
    creating: Collection[str],
    now: float,
    addresses: Collection[str] = (),
) -> tuple[Garbage, ...]:
    """Return what of `enis`, which all have our tags, nobody owns.

    `owned` are the ENIs of PodENIs and NetworkInterfaces, `creating` the uids of PodENIs that lack
    some: what was made for one of these may be recorded yet. `now` is seconds since the epoch.
    `addresses` are those of pods that run.
    """
    enis = tuple(enis)
    living = frozenset(made_with(enis, addresses))
    return tuple(
        Garbage(eni_id=eni.id, place=place_of(eni) if eni.status is ENIStatus.IN_USE else None)
        for eni in enis
        if eni.id not in owned
        and eni.id not in living
        and eni.type in (ENIType.SECONDARY, ENIType.MEMBER)
        and eni.status in (ENIStatus.AVAILABLE, ENIStatus.IN_USE)
        and dict(eni.tags).get(OWNER_TAG, "") not in creating
        and _age_s(eni, now) >= LEAST_AGE_S
    )


def made_with(enis: Iterable[ENI], addresses: Collection[str]) -> tuple[ENIId, ...]:
    """Return the ENIs with one of these addresses, and those made for the same PodENI."""
    listed = tuple((eni, dict(eni.tags).get(OWNER_TAG) or eni.id) for eni in enis)
    owners = {owner for eni, owner in listed if not addresses_of_eni(eni).isdisjoint(addresses)}
    return tuple(eni.id for eni, owner in listed if owner in owners)


def made_for(enis: Iterable[ENI], pod_uid: str) -> tuple[ENIId, ...]:
    """Return the ENIs that were made for this very pod."""
    return tuple(eni.id for eni in enis if dict(eni.tags).get(POD_TAG) == pod_uid)


def addresses_of_eni(eni: ENI) -> frozenset[str]:
    """Return an ENI's addresses, in their canonical text."""
    return frozenset(map(str, (eni.primary_ipv4, *eni.ipv4, *eni.ipv6)))


def _age_s(eni: ENI, now: float) -> float:
    """Return how old an ENI is; one that does not say is new."""
    try:
        return now - datetime.fromisoformat(eni.creation_time).timestamp()
    except ValueError:
        return 0.0
