"""What is next for the interfaces of one pod?

              CreateENIs          Attach             all attached
    (made) ──► New ──────────────► Binding ─────────────────────────► Bind
                │ its pod is gone     │ its pod is gone                 │ its pod is gone
                │                     ▼                                 ▼
                │            Fixed: Detaching ◄─────────────────────────┤
                │ Fixed               │ all detached; Elastic ENIs deleted
                ▼                     ▼                                 │
              Unbind ◄────────────────┘                                 │ Elastic
       a pod    │   │ TTL over                                          │
     of the name│   ▼                                                   ▼
     ◄──Binding─┘  Deleting ──Forget──► (finalizer: ENIs deleted) ──Release──► (gone)

One PodENI has several ENIs, each with a lifetime of its own: when the pod goes, those that are
Elastic are deleted, those that are Fixed are kept, and when a time is over, its ENI goes alone. A
PodENI ends with its last one. What is missing is made anew for the next pod.

`step` is level-triggered: it looks at the whole world and says what is to be done now; whoever
does it, in part or not at all, looks again. Nothing is decided from the order of events. Three
rules keep one ENI from two pods:
- An ENI is attached only from Binding, and a PodENI gets there only while no other pod has it:
  from New, or from Unbind, which is written when the cloud has said of each ENI that it is nowhere.
- `pod_uid` names the one pod that may use it, and changes only where no ENI is attached.
- What takes something away from a pod says so (`Step.takes`): the caller asks the API server, not
  its copy, whether the pod is gone.
What a person writes into a PodENI can break all three; `correcting` comes before them.

Times are seconds since the epoch.
Source: upstream's pkg/controller/pod and pkg/controller/pod-eni.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from terway.model.ids import ENIId
from terway.podeni.commands import (
    WAIT,
    Attach,
    Claim,
    Command,
    DeleteENIs,
    Detach,
    Forget,
    Release,
    SetPhase,
    Step,
    do,
    take,
)
from terway.podeni.correcting import correct, has_runner
from terway.podeni.giving import give, lost_interfaces
from terway.podeni.keeping import deletions, present_pod, rest
from terway.podeni.record import Phase, Record, Target, World

_DELETE = SetPhase(phase=Phase.DELETING)


def step(world: World, *, now: float) -> Step:
    """Return what is next."""
    wrong = correct(world)
    if wrong is not None:
        return wrong
    if world.record.is_deleted:
        return _end(world)
    found: Step
    match world.record.phase:
        case Phase.NEW:
            found = _new(world)
        case Phase.BINDING:
            found = _binding(world)
        case Phase.BIND:
            found = _bound(world)
        case Phase.DETACHING:
            found = _detaching(world)
        case Phase.UNBIND:
            found = _waiting(world, now)
        case Phase.DELETING:
            found = do(Forget())
        case _:
            assert_never(world.record.phase)
    return found


def _has_its_pod(world: World) -> bool:
    pod = present_pod(world)
    return pod is not None and pod.uid == world.record.pod_uid


def _new(world: World) -> Step:
    record, pod = world.record, present_pod(world)
    if pod is None or pod.uid != record.pod_uid:
        return take(SetPhase(phase=Phase.UNBIND, is_seen=True) if record.is_fixed else _DELETE)
    return give(world, pod)


def _binding(world: World) -> Step:
    record = world.record
    if not _has_its_pod(world):
        return _part(record)
    if record.target is None:
        return do(SetPhase(phase=Phase.UNBIND))  # nobody of us writes this
    lost = lost_interfaces(world)
    if lost:
        return _give_back(world)
    waiting = tuple(eni_id for eni_id in record.eni_ids if not _is_at(world, eni_id, record.target))
    if not waiting:
        return do(SetPhase(phase=Phase.BIND, target=record.target, is_seen=True))
    unasked = tuple(one for one in waiting if not _is_asked(world, one, record.target))
    return do(Attach(eni_ids=unasked, target=record.target)) if unasked else WAIT


def _is_at(world: World, eni_id: ENIId, target: Target) -> bool:
    state = world.enis.get(eni_id)
    return state is not None and state.phase is Phase.BIND and state.target == target


def _is_asked(world: World, eni_id: ENIId, target: Target) -> bool:
    state = world.enis.get(eni_id)
    return state is not None and state.phase is Phase.BINDING and state.target == target


def _give_back(world: World) -> Step:
    """Undo a binding that cannot come about: an ENI is gone."""
    return do(SetPhase(phase=Phase.DETACHING, target=world.record.target, is_seen=True))


def _part(record: Record) -> Step:
    """The pod is gone: keep what is Fixed."""
    if not record.is_fixed:
        return take(_DELETE)
    return take(SetPhase(phase=Phase.DETACHING, target=record.target, is_seen=True))


def _bound(world: World) -> Step:
    record = world.record
    if not _has_its_pod(world):
        return _part(record)
    target = record.target
    if target is not None and not all(_is_at(world, one, target) for one in record.eni_ids):
        return do(SetPhase(phase=Phase.BINDING, target=target))
    return WAIT


def _detaching(world: World) -> Step:
    """Have Fixed ENIs detached and Elastic ones deleted; then nobody has any."""
    record = world.record
    keep = {one.eni_id for one in record.interfaces if one.lifetime.is_fixed}
    commands = (
        *_detach(world, tuple(one for one in record.eni_ids if one in keep)),
        *deletions(world, tuple(one for one in record.eni_ids if one not in keep)),
    )
    if commands:
        return do(*commands)
    if all(one in keep and _is_nowhere(world, one) for one in record.eni_ids):
        return do(SetPhase(phase=Phase.UNBIND, is_seen=_has_its_pod(world)))
    return WAIT


def _is_nowhere(world: World, eni_id: ENIId) -> bool:
    state = world.enis.get(eni_id)
    return state is not None and (state.phase is Phase.UNBIND or state.is_lost)


def _detach(world: World, eni_ids: tuple[ENIId, ...]) -> Iterator[Command]:
    asked = tuple(
        one
        for one in eni_ids
        if not _is_nowhere(world, one)
        and ((state := world.enis.get(one)) is None or state.phase is not Phase.DETACHING)
    )
    if asked:
        yield Detach(eni_ids=asked)


def _waiting(world: World, now: float) -> Step:
    """Unbind: what is Fixed waits for a pod of the name."""
    record, pod = world.record, present_pod(world)
    if pod is None or pod.is_terminating:
        return rest(world, now)
    if pod.uid == record.pod_uid:
        return give(world, pod)
    claim = Claim(pod_uid=pod.uid, node_name=pod.node_name)
    claimed = replace(record, pod_uid=pod.uid, node_name=pod.node_name)
    next_ = give(replace(world, record=claimed), pod)
    return do(claim) if next_.problem else replace(next_, commands=(claim, *next_.commands))


def _end(world: World) -> Step:
    """Somebody deleted the PodENI: not under a pod that runs."""
    record = world.record
    is_bound = record.phase is Phase.BIND or has_runner(world)
    if is_bound and _has_its_pod(world):
        return Step(problem="a pod has these interfaces: they are deleted when it is gone")
    asked = tuple(one for one in deletions(world, record.eni_ids) if isinstance(one, DeleteENIs))
    if asked:
        return take(*asked) if is_bound else do(*asked)
    if any(one in world.enis for one in record.eni_ids):
        return WAIT
    return take(Release()) if is_bound else do(Release())
