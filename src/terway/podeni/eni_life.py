"""What is next for one ENI that is somebody's wish to have somewhere, nowhere, or gone?

    wish        cloud says          so
    Binding     Available           attach; InUse where it is wished: Bind; InUse elsewhere: detach
    Detaching   InUse               detach; Available: Unbind
    (deleted)   InUse               detach; Available: delete; unknown: release
    any of them Attaching, …        look again
    Binding     unknown             lost: said, and nothing more can be done

The cloud is asked only while something is wished: Bind and Unbind rest. Each call may be repeated,
lost or answered late; the next look at the ENI tells.
Source: upstream's pkg/controller/eni.
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.eni import ENI, ENIStatus
from terway.podeni.record import Phase, Target

LOOK_AGAIN_S = 1.0  # looks of many ENIs share one call


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a NetworkInterface says. `target` is where its ENI is to be, or where it was.

    An ENI that `is_foreign` is never deleted: somebody else made it.
    """

    phase: Phase
    target: Target | None = None
    is_deleted: bool = False
    is_foreign: bool = False

    @property
    def is_resting(self) -> bool:
        """Return whether nothing is to be done."""
        return not self.is_deleted and self.phase in (Phase.NEW, Phase.BIND, Phase.UNBIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachENI:
    """Begin to attach it."""

    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachENI:
    """Begin to detach it from where it is."""

    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteENI:
    """Begin to delete it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Write that it is so: where it is, and as which VLAN of its trunk. `is_lost`: nowhere."""

    phase: Phase
    target: Target | None = None
    vlan_id: int = 0
    is_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseENI:
    """Take the finalizer away: it is gone."""


ENICommand = AttachENI | DetachENI | DeleteENI | Report | ReleaseENI


def step_eni(wish: Wish, eni: ENI | None) -> ENICommand | None:
    """Return what to do now; None: look again in LOOK_AGAIN_S."""
    if wish.is_deleted or wish.phase is Phase.DELETING:
        return _delete(wish, eni)
    if wish.phase is Phase.DETACHING:
        return _detach(eni)
    return _attach(wish, eni)


def first_call(wish: Wish, known_as: Phase | None) -> ENICommand | None:
    """Return what to do before any look; None where a look has to come first.

    `known_as` is where the ENI was when the last wish had come true. Nobody of us has touched it
    since; if somebody else has, the cloud refuses, and the look comes after that.
    """
    if wish.target is None or wish.is_deleted:
        return None
    if wish.phase is Phase.DETACHING and known_as is Phase.BIND:
        return DetachENI(target=wish.target)
    if wish.phase is Phase.BINDING and known_as is Phase.UNBIND:
        return AttachENI(target=wish.target)
    return None


def place_of(eni: ENI) -> Target | None:
    """Return where the cloud has an ENI."""
    if eni.instance_id is None:
        return None
    return Target(instance_id=eni.instance_id, trunk_eni_id=eni.trunk_eni_id)


def _attach(wish: Wish, eni: ENI | None) -> ENICommand | None:
    if eni is None or eni.status is ENIStatus.DELETING:
        return Report(phase=Phase.UNBIND, is_lost=True)
    if eni.status is ENIStatus.AVAILABLE and wish.target is not None:
        return AttachENI(target=wish.target)
    if eni.status is not ENIStatus.IN_USE:
        return None
    place = place_of(eni)
    if place == wish.target:
        vlan_id = eni.device_index or 0 if place and place.trunk_eni_id else 0
        return Report(phase=Phase.BIND, target=place, vlan_id=vlan_id)
    return None if place is None else DetachENI(target=place)


def _detach(eni: ENI | None) -> ENICommand | None:
    if eni is None or eni.status is ENIStatus.DELETING:
        return Report(phase=Phase.UNBIND, is_lost=True)
    if eni.status is ENIStatus.AVAILABLE:
        return Report(phase=Phase.UNBIND)
    return _take_off(eni)


def _delete(wish: Wish, eni: ENI | None) -> ENICommand | None:
    if eni is None:
        return ReleaseENI()
    if eni.status is ENIStatus.AVAILABLE:
        return ReleaseENI() if wish.is_foreign else DeleteENI()
    return _take_off(eni)


def _take_off(eni: ENI) -> ENICommand | None:
    place = place_of(eni)
    if eni.status is not ENIStatus.IN_USE or place is None:
        return None
    return DetachENI(target=place)
