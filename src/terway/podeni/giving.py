"""What does a pod that is there still need, before its ENIs can be attached, and to what?"""

from __future__ import annotations

from terway.model.ids import ENIId
from terway.model.pod_network import ENIOption
from terway.podeni.commands import WAIT, Attach, Claim, CreateENIs, SetPhase, Step, do
from terway.podeni.keeping import deletions
from terway.podeni.record import Interface, NodeState, Phase, PodState, Record, Target, World

NODE_WAIT_S = 5.0  # for what nobody tells us of


def give(world: World, pod: PodState) -> Step:
    """Return what makes what is missing, then attaches it."""
    if pod.is_terminating:
        return WAIT
    lost, going = lost_interfaces(world), _going(world)
    if lost:
        return _replace(world, lost)
    if going:
        return do(*deletions(world, going))
    return _create(world, pod) if world.record.missing else _place(world, pod)


def _place(world: World, pod: PodState) -> Step:
    if pod.node_name is None:
        return WAIT  # the scheduler's turn
    if world.node is None:
        problem = f"node {pod.node_name} is not known: is it one of the cloud's?"
        return Step(problem=problem, again_in_s=NODE_WAIT_S)
    return _bind(world.record, world.node)


def _bind(record: Record, node: NodeState) -> Step:
    if record.zone_id is not None and record.zone_id != node.zone_id:
        problem = f"the ENIs are in zone {record.zone_id}, node {node.name} in {node.zone_id}: "
        problem += "put the pod on a node of that zone, or delete the PodENI to give up its address"
        return Step(problem=problem, again_in_s=NODE_WAIT_S)
    target = target_of(record, node)
    if isinstance(target, str):
        return Step(problem=target, again_in_s=NODE_WAIT_S)
    return do(
        Claim(pod_uid=record.pod_uid, node_name=node.name),
        SetPhase(phase=Phase.BINDING, target=target),
        Attach(eni_ids=record.eni_ids, target=target),
    )


def _create(world: World, pod: PodState) -> Step:
    record = world.record
    if record.zone_id is not None and record.eni_ids:
        return do(CreateENIs(interfaces=record.missing, zone_id=record.zone_id))
    if world.node is not None:
        problem = _too_many(record, world.node)
        if problem:
            return Step(problem=problem, again_in_s=NODE_WAIT_S)  # no ENI is made for nothing
        return do(CreateENIs(interfaces=record.missing, zone_id=world.node.zone_id))
    if pod.is_gated:
        return do(CreateENIs(interfaces=record.missing, zone_id=None))
    return WAIT if pod.node_name is None else Step(again_in_s=NODE_WAIT_S)


def target_of(record: Record, node: NodeState) -> Target | str:
    """Return to what the ENIs of a pod are attached, or why they cannot be.

    A pod has either whole ENIs or members of the trunk: an interface that asks for one of them
    decides for those that leave it open. Where none does, the node's trunk does, if there is one.
    """
    wishes = {one.eni for one in record.interfaces}
    if {ENIOption.ENI, ENIOption.TRUNK} <= wishes:
        return "the pod asks for a whole ENI and for a trunk's member: it can have one kind"
    if ENIOption.TRUNK in wishes and node.is_exclusive:
        return f"node {node.name} has whole ENIs only, and the pod asks for a trunk's member"
    if _is_whole(record, node):
        return _too_many(record, node) or Target(instance_id=node.instance_id)
    if node.trunk_eni_id is None:
        return (
            f"node {node.name} has no trunk ENI (annotation k8s.aliyun.com/trunk-on): does terwayd "
            "run there, is enable_eni_trunking true, and has its instance type trunks?"
        )
    return Target(instance_id=node.instance_id, trunk_eni_id=node.trunk_eni_id)


def _is_whole(record: Record, node: NodeState) -> bool:
    wishes = {one.eni for one in record.interfaces}
    is_open = ENIOption.ENI not in wishes and ENIOption.TRUNK not in wishes
    gives_whole = node.is_exclusive or (node.trunk_eni_id is None and node.gives_whole)
    return ENIOption.ENI in wishes or (is_open and gives_whole)


def _too_many(record: Record, node: NodeState) -> str:
    """Return why a node does not take so many whole ENIs of one pod; empty if it does."""
    if len(record.interfaces) < 2 or not (node.has_programs and _is_whole(record, node)):
        return ""
    names = ", ".join(one.name for one in record.interfaces)
    return (
        f"the pod is to have whole ENIs for {names}, and pods of node {node.name} have one each "
        "with the eBPF data path: put it on a node with eniip_virtual_type veth, or with a trunk"
    )


def lost_interfaces(world: World) -> tuple[Interface, ...]:
    """Return the interfaces whose ENI is gone from the cloud, against our will."""
    return tuple(
        one
        for one in world.record.interfaces
        if one.eni_id is not None and (state := world.enis.get(one.eni_id)) and state.is_lost
    )


def _replace(world: World, lost: tuple[Interface, ...]) -> Step:
    """Have Elastic ENIs made anew. A Fixed one's address was a promise: a person decides."""
    fixed = [one for one in lost if one.lifetime.is_fixed]
    if fixed:
        named = ", ".join(f"{one.eni_id} of {one.name}" for one in fixed)
        problem = f"{named} was deleted in the cloud, and its address is gone: delete the PodENI, "
        return Step(problem=problem + "and the pod, to have new ones")
    gone = tuple(one.eni_id for one in lost if one.eni_id is not None)
    return do(*deletions(world, gone))


def _going(world: World) -> tuple[ENIId, ...]:
    """Return the ENIs whose time was over when the pod came: they go, and come anew."""
    record = world.record
    return tuple(
        one
        for one in record.eni_ids
        if ((state := world.enis.get(one)) is None and record.phase is Phase.UNBIND)
        or (state is not None and state.phase is Phase.DELETING)
    )
