"""Order, repetition and history do not matter to what a plan ends in."""

import asyncio
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.datapath.diff import diff, is_satisfied, place_of
from terway.datapath.host import desired_eni, desired_host
from terway.datapath.plan import plan_attach, plan_detach, plan_node
from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.linux.memory import MemoryKernel
from terway.model.address import IPPair
from terway.model.network import NODE, AttachmentState, NetObject, Operation, Put, Remove, Sysctl
from tests.support.attachments import ENI, NODE_FACTS, attachment, dual_stack

OTHER_ENI = replace(ENI, name="eth2", ifindex=8)
PODS = tuple(
    desired_attachment(attachment(number, netns=f"/ns/{number}"), eni=eni, node=NODE_FACTS)
    for number, eni in ((1, ENI), (2, ENI), (3, OTHER_ENI))
)
# The second pod again, with another ENI and one family: what a changed configuration wants.
MOVED = desired_attachment(
    attachment(2, netns="/ns/2", addresses=IPPair(v4=dual_stack(2).v4)),
    eni=OTHER_ENI,
    node=NODE_FACTS,
)
HOST = (
    *desired_host(NODE_FACTS),
    *desired_eni(ENI, NODE_FACTS),
    *desired_eni(OTHER_ENI, NODE_FACTS),
)
OBJECTS: tuple[NetObject, ...] = (*HOST, *(one for pod in (*PODS, MOVED) for one in pod.node))

states = st.sets(st.sampled_from(OBJECTS), max_size=20).map(tuple)


def _placed(objects: tuple[NetObject, ...]) -> tuple[NetObject, ...]:
    """Keep one object in each place, as a kernel would."""
    return tuple({place_of(one): one for one in objects}.values())


def _carried_out(objects: tuple[NetObject, ...], plan: tuple[Operation, ...]) -> set[NetObject]:
    there = {place_of(one): one for one in objects}
    for operation in plan:
        assert isinstance(operation, Put | Remove)
        if isinstance(operation, Put):
            there[place_of(operation.object)] = operation.object
        else:
            there.pop(place_of(operation.object))
    return set(there.values())


@given(states.map(_placed), states.map(_placed))
def test_a_diff_carried_out_ends_in_what_was_desired(desired, actual):
    plan = diff(desired, actual, netns=NODE, is_owned=lambda _: True).operations

    assert _carried_out(actual, plan) == set(desired)


@given(states.map(_placed), states.map(_placed))
def test_what_is_not_owned_is_never_removed(desired, actual):
    changes = diff(desired, actual, netns=NODE, is_owned=lambda _: False)

    assert changes.removals == ()


@given(states.map(_placed))
def test_a_state_differs_from_itself_in_nothing(state):
    changes = diff(state, reversed(state), netns=NODE, is_owned=lambda _: True)

    assert changes.operations == ()
    assert all(is_satisfied(one, one) for one in state)


async def _kernel() -> MemoryKernel:
    kernel = MemoryKernel()
    for name in ("eth0", "eth1", "eth2"):
        kernel.plug(name, ENI.mac)
    for number in range(1, 4):
        kernel.create_netns(f"/ns/{number}")
    return kernel


async def _converge(kernel: MemoryKernel, wanted: tuple[AttachmentState, ...]) -> None:
    """What the agent does: detach what is not wanted, attach what is, put the node in order."""
    for pod in PODS:
        if pod.birth.host.name not in {one.birth.host.name for one in wanted}:
            await kernel.apply(plan_detach(pod, await kernel.read_attachment(pod)))
    for pod in wanted:
        await kernel.apply(plan_attach(pod, await kernel.read_attachment(pod)))
    await kernel.apply(plan_node(HOST, wanted, await _node_state(kernel, wanted)))


async def _node_state(kernel: MemoryKernel, wanted: tuple[AttachmentState, ...]):
    objects = (*HOST, *(one for pod in wanted for one in pod.node))
    return await kernel.read_node(one for one in objects if isinstance(one, Sysctl))


wishes = st.lists(st.tuples(*(st.booleans() for _ in PODS), st.booleans()), min_size=1, max_size=5)


def _wished(choice: tuple[bool, ...]) -> tuple[AttachmentState, ...]:
    *wanted, is_moved = choice
    pods = (PODS[0], MOVED if is_moved else PODS[1], PODS[2])
    return tuple(pod for pod, is_wanted in zip(pods, wanted, strict=True) if is_wanted)


@settings(max_examples=40, deadline=None)
@given(wishes)
def test_the_result_depends_on_the_last_wish_only(history):
    async def scenario():
        kernel = await _kernel()
        for choice in history:
            await _converge(kernel, _wished(choice))
        wanted = _wished(history[-1])
        for pod in wanted:
            assert verify(pod, await kernel.read_attachment(pod)) == ()
        assert plan_node(HOST, wanted, await _node_state(kernel, wanted)) == ()
        fresh = await _kernel()
        await _converge(fresh, wanted)
        assert await _objects(kernel) == await _objects(fresh)

    asyncio.run(scenario())


async def _objects(kernel: MemoryKernel) -> set[NetObject]:
    return set((await kernel.read_node()).objects)


@settings(max_examples=30, deadline=None)
@given(wishes, st.randoms(use_true_random=False))
def test_a_plan_cut_short_is_finished_by_the_next(history, random):
    async def scenario():
        kernel = await _kernel()
        wanted = _wished(history[-1])
        for pod in wanted:
            plan = plan_attach(pod, await kernel.read_attachment(pod))
            await kernel.apply(plan[: random.randint(0, len(plan))])
        await _converge(kernel, wanted)
        for pod in wanted:
            assert verify(pod, await kernel.read_attachment(pod)) == ()

    asyncio.run(scenario())
