"""What does a PodENI say wrongly of a pod that runs with its ENIs, because a person wrote it?

The pod has one of the addresses: so it was given them, it is the one that `pod_uid` names, and they
are at its node. Nothing of ours says otherwise while it runs. So that is written again, before
anything is done about what was written instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.podeni.commands import Claim, Command, SetPhase, Step
from terway.podeni.giving import lost_interfaces, target_of
from terway.podeni.keeping import present_pod
from terway.podeni.record import NodeState, Phase, PodState, Target, World

_GIVEN = (Phase.BINDING, Phase.BIND)
_ADVICE = "it has them until it is gone: delete the pod to have that so"


def has_runner(world: World) -> bool:
    """Return whether a pod runs with these ENIs, whatever the PodENI says."""
    pod = present_pod(world)
    return pod is not None and pod.runs_with(world.record)


def correct(world: World) -> Step | None:
    """Return what writes the truth again, None where nothing is known to be wrong."""
    pod, node = present_pod(world), world.node
    if pod is None or node is None or not pod.runs_with(world.record):
        return None
    is_known = all(one in world.enis for one in world.record.eni_ids)
    if world.record.missing or not is_known or lost_interfaces(world):
        return None  # what is gone cannot be given back
    target = _place(world, node) or target_of(world.record, node)
    if isinstance(target, str):
        return None
    wrong = tuple(_wrong(world, pod, target))
    if not wrong:
        return None
    return Step(commands=_writes(world, pod, node, target), problem=_text(wrong), restores=True)


def _place(world: World, node: NodeState) -> Target | None:
    """Return where the ENIs are, if that is at the pod's node."""
    targets = {one.target for one in world.enis.values()}
    places = (targets.pop() if len(targets) == 1 else None, world.record.target)
    return next((one for one in places if one and one.instance_id == node.instance_id), None)


def _wrong(world: World, pod: PodState, target: Target) -> Iterator[str]:
    record = world.record
    if record.pod_uid != pod.uid:
        yield f"pod-uid is {record.pod_uid or 'empty'}, and the pod's is {pod.uid}"
    if record.phase not in _GIVEN:
        yield f"status.phase is {record.phase.value or 'empty'}, and the ENIs are given"
    elif record.target != target:
        said = record.target.instance_id if record.target else "empty"
        yield f"status.instanceID is {said}, and the ENIs are at {target.instance_id}"


def _writes(world: World, pod: PodState, node: NodeState, target: Target) -> tuple[Command, ...]:
    are_there = all(
        (state := world.enis.get(one)) is not None
        and state.phase is Phase.BIND
        and state.target == target
        for one in world.record.eni_ids
    )
    phase = Phase.BIND if are_there else Phase.BINDING
    return (
        Claim(pod_uid=pod.uid, node_name=node.name),
        SetPhase(phase=phase, target=target, is_seen=True),
    )


def _text(wrong: tuple[str, ...]) -> str:
    said = "; ".join(wrong)
    return f"somebody changed this under a pod that runs with its ENIs: {said}. {_ADVICE}"
