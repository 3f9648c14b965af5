"""How long do ENIs stay that no pod has, and how do they go?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from terway.model.ids import ENIId
from terway.podeni.commands import (
    WAIT,
    Claim,
    Command,
    DeleteENIs,
    ForgetENIs,
    SetPhase,
    Step,
    take,
)
from terway.podeni.record import Interface, Phase, PodState, Record, World

_DELETE = SetPhase(phase=Phase.DELETING)


def present_pod(world: World) -> PodState | None:
    """Return the pod of the name, if it is to have interfaces."""
    return None if world.pod is None or world.pod.is_over else world.pod


def rest(world: World, now: float) -> Step:
    """Return what becomes of ENIs that wait, when there is no pod to give them to."""
    record = world.record
    if record.pod_uid or record.last_seen is None:
        if present_pod(world) is not None:
            return WAIT  # it ends by itself
        seen = SetPhase(phase=Phase.UNBIND, is_seen=True)
        return take(seen, Claim(pod_uid="", node_name=None))
    if not record.eni_ids:
        return take(_DELETE)
    over = tuple(one for one in record.interfaces if _is_over(one, record.last_seen, now))
    expired = tuple(one.eni_id for one in over if one.eni_id is not None)
    if len(expired) == len(record.eni_ids):
        return take(_DELETE)
    commands = tuple(deletions(world, expired))
    return replace(take(*commands), again_in_s=_next_end(record, now))


def _is_over(one: Interface, last_seen: float, now: float) -> bool:
    if not one.lifetime.is_fixed:
        return True
    return one.lifetime.ttl_s is not None and now >= last_seen + one.lifetime.ttl_s


def _next_end(record: Record, now: float) -> float | None:
    """Return in how many seconds the next time is over."""
    ends = [
        (record.last_seen or now) + one.lifetime.ttl_s - now
        for one in record.interfaces
        if one.eni_id is not None and one.lifetime.is_fixed and one.lifetime.ttl_s is not None
    ]
    return min((end for end in ends if end > 0), default=None)


def deletions(world: World, eni_ids: tuple[ENIId, ...]) -> Iterator[Command]:
    """Yield what deletes ENIs, and what records that they are gone."""
    present = tuple(one for one in eni_ids if one in world.enis)
    asked = tuple(one for one in present if world.enis[one].phase is not Phase.DELETING)
    gone = tuple(one for one in eni_ids if one not in world.enis)
    if asked:
        yield DeleteENIs(eni_ids=asked)
    if gone:
        yield ForgetENIs(eni_ids=gone)
