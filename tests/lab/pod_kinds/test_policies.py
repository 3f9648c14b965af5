"""Policies between pods of all kinds, on every interface, in both families and both directions."""

from __future__ import annotations

import pytest

from terway.lab.world.pods import PodHandle
from terway.model.address import Family
from tests.support.iproute import ip_in
from tests.support.pod_kinds import PodKinds
from tests.support.policy_objects import Object, network_policy, peers
from tests.support.wires import Wires

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

OPEN, BARRED = 7600, 7601
SIZE = 100_000  # bytes: more than anybody says to find a neighbour
both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])


def is_friend(one: str, other: str) -> bool:
    """Return whether the tests' policies let these two speak: about half of all pairs."""
    return (sum(map(ord, one)) + sum(map(ord, other))) % 2 == 0


def policy_of(pod: str, others: list[str], direction: str) -> Object:
    """Return a policy that lets a pod speak with its friends on one port."""
    friends = [peers(direction, ("UDP", OPEN), pods={"app": one}) for one in others]
    is_entry = direction == "from"
    return network_policy(
        pod,
        selects={"app": pod},
        ingress=friends if is_entry else None,
        egress=None if is_entry else friends,
    )


@both
@pytest.mark.parametrize("direction", ["from", "to"])
async def test_a_policy_holds_on_every_interface_and_for_every_pair(
    kinds: PodKinds, wires: Wires, family: Family, direction: str
) -> None:
    """As a peer a pod is known by the addresses of eth0: the API has no others."""
    names = list(kinds.pods)
    wanted = [
        policy_of(pod, [one for one in names if one != pod and is_friend(pod, one)], direction)
        for pod in names
    ]
    await kinds.policy.policies(*wanted)

    wrong = []
    for one, other in kinds.pairs():
        peer = one if direction == "from" else other
        allowed = is_friend(one.pod.name, other.pod.name) and peer.is_first
        ends = one.end(family), other.end(family)
        for port, expected in ((OPEN, allowed), (BARRED, False)):
            if await wires.passes(*ends, port) is not expected:
                wrong.append(f"{one} to {other}, port {port}: {not expected}")
    assert wrong == []


@both
@pytest.mark.parametrize("name", ["members", "pair", "wholes"])
async def test_an_answer_leaves_by_the_interface_that_the_question_came_in_by(
    kinds: PodKinds, family: Family, name: str
) -> None:
    """Bug class 26: of two interfaces each answers for itself, while policies judge."""
    if name not in kinds.pods:
        return  # programs inside pods see one ENI: there is none with two
    pod, far = kinds.pods[name], kinds.pods["near" if name == "pair" else "far"]
    entry = [peers("from", pods={"app": far.name})]
    await kinds.policy.policies(network_policy("in", selects={"app": name}, ingress=entry))

    for link, still in (("eth1", "eth0"), ("eth0", "eth1")):
        address = kinds.interface(name, link).addresses[family]
        before = await sent_bytes(pod)
        async with await far.connect(address) as flow:
            assert await flow.echo(bytes(SIZE)) == bytes(SIZE)
        after = await sent_bytes(pod)
        assert after[link] - before[link] >= SIZE
        assert after[still] - before[still] < SIZE // 10


async def sent_bytes(pod: PodHandle) -> dict[str, int]:
    """Return what each link of a pod has sent."""
    links = await ip_in(pod, "-s", "link")
    return {one["ifname"]: one["stats64"]["tx"]["bytes"] for one in links}
