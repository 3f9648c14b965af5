"""A limit holds on second interfaces, too, in both directions, while the pod runs."""

from __future__ import annotations

import asyncio

import pytest

from terway.kube.resource import PODS
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from tests.lab.test_limits import EGRESS, INGRESS, held_bytes_s
from tests.support.pod_kinds import NODE_OF, Interface, PodKinds

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

_MBIT = 125_000  # bytes per second


@pytest.mark.parametrize(("way", "mbit"), [(EGRESS, 12), (INGRESS, 8)], ids=["egress", "ingress"])
async def test_a_second_interface_is_held_to_the_limit(
    kinds: PodKinds, way: str, mbit: int
) -> None:
    """Members and shared ENIs have the limit on each interface, whole ENIs one for all of them."""
    await kinds.policy.policies()
    held = [one for one in kinds.interfaces if not one.is_first]
    await asyncio.gather(*(limit(kinds, one.pod, way, f"{mbit}M") for one in held))
    try:
        found = await asyncio.gather(*(rate(kinds, one, limit=mbit * _MBIT) for one in held))
    finally:
        await asyncio.gather(*(limit(kinds, one.pod, way, None) for one in held))

    wrong = [
        f"{one}: {bytes_s / _MBIT:.1f} Mbit/s"
        for one, bytes_s in zip(held, found, strict=True)
        if bytes_s != pytest.approx(mbit * _MBIT, rel=0.1)
    ]
    assert wrong == []


async def limit(kinds: PodKinds, pod: PodHandle, way: str, value: str | None) -> None:
    """Let a pod ask for a limit, None for none; return when its interfaces have it."""
    change = {"metadata": {"annotations": {way: value}}}
    await kinds.made.lab.kube.patch(PODS, pod.name, change, namespace=pod.namespace)
    is_whole = pod.node.name == NODE_OF["wholes"]
    wanted, word = (1 if is_whole else 2, f"rate {value[:-1]}Mbit") if value else (0, "tbf")
    async with asyncio.timeout(PATIENCE_S):
        while await queues(pod, word) != wanted:
            await pod.node.exec("true")


async def queues(pod: PodHandle, word: str) -> int:
    """Return how many queues with this in them are in the pod, or on its node for pods."""
    return (await pod.exec("tc", "qdisc") + await pod.node.exec("tc", "qdisc")).count(word)


async def rate(kinds: PodKinds, one: Interface, *, limit: float) -> float:
    """Return the rate of frames that come back by an interface."""
    peer = kinds.pods["near" if one.pod.name == "pair" else "far"]
    async with await peer.connect(one.addresses[Family.V4]) as flow:
        await flow.echo(bytes(200_000))  # what the bucket has
        return await held_bytes_s(flow, limit=limit)
