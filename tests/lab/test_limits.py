"""Limits of pods that run, changed by the API: the rate follows, and no connection is cut."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.kube.resource import PODS
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import run_command
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import Flow, PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

EGRESS, INGRESS = "kubernetes.io/egress-bandwidth", "kubernetes.io/ingress-bandwidth"
SHARED, EXCLUSIVE = "node-1", "eni-1"
_MBIT = 125_000  # bytes per second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    pool = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=1, pools=(pool,)) as lab:
        yield lab


async def annotate(lab: Lab, pod: PodHandle, **limits: str | None) -> None:
    """Let the pod ask for these limits; None takes one away."""
    names = {"egress": EGRESS, "ingress": INGRESS}
    said = {names[key]: value for key, value in limits.items()}
    change = {"metadata": {"annotations": said}}
    await lab.kube.patch(PODS, pod.name, change, namespace=pod.namespace)


async def queues(pod: PodHandle) -> str:
    """Return the queues of the pod, and those on the node's links to its pods."""
    return await pod.exec("tc", "qdisc") + await pod.node.exec("tc", "qdisc")


async def wait_for_queue(pod: PodHandle, rate: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while f"rate {rate}" not in await queues(pod):
            await pod.node.exec("true")


async def rate_bytes_s(flow: Flow, *, seconds: float, expected: float) -> float:
    """Send and get back what takes `seconds` at the `expected` rate; return the rate of frames."""
    size = int(seconds * expected)
    start = time.monotonic()
    await flow.echo(bytes(size), timeout_s=10 * seconds + PATIENCE_S)
    return size * 1514 / 1448 / (time.monotonic() - start)


async def held_bytes_s(flow: Flow, *, limit: float) -> float:
    """Return the rate, measured again where a busy machine made it less than the limit."""
    found = 0.0
    for _ in range(5):
        found = await rate_bytes_s(flow, seconds=3, expected=limit)
        if found >= 0.9 * limit:
            break
    return found


@pytest.mark.parametrize("family", [Family.V4, Family.V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(("node", "other"), [(SHARED, EXCLUSIVE), (EXCLUSIVE, SHARED)])
async def test_a_pod_that_runs_is_held_to_what_its_annotation_says_now(lab, node, other, family):
    name = f"{node}-v{family.value}"
    far, pod = await asyncio.gather(
        lab.pod(f"far-{name}", node=other),
        lab.pod(name, node=node, annotations={EGRESS: "4M"}),
    )

    async with await pod.connect(far, family=family) as flow:
        assert await rate_bytes_s(flow, seconds=3, expected=4 * _MBIT) <= 1.1 * 4 * _MBIT

        for kind, word, mbit in (("egress", "12M", 12), ("ingress", "8M", 8)):
            await annotate(lab, pod, **{kind: word})
            await wait_for_queue(pod, f"{mbit}Mbit")
            await flow.echo(bytes(200_000))  # what the bucket has
            found = await held_bytes_s(flow, limit=mbit * _MBIT)
            assert found == pytest.approx(mbit * _MBIT, rel=0.15)

        await annotate(lab, pod, egress=None, ingress=None)
        async with asyncio.timeout(PATIENCE_S):
            while "tbf" in await queues(pod):
                await pod.node.exec("true")
        # twice the highest limit: what it would be on an idle machine says nothing of a busy one
        assert await held_bytes_s(flow, limit=24 * _MBIT / 0.9) > 24 * _MBIT


@pytest.mark.parametrize(
    "harm", ["ip link delete tw-ingress", "tc qdisc delete dev tw-egress root"]
)
async def test_a_limit_that_somebody_takes_from_a_pod_is_back_within_seconds(lab, harm):
    name = f"mended-{uuid.uuid4().hex[:4]}"
    limits = {EGRESS: "8M", INGRESS: "16M"}
    pod = await lab.pod(name, node=EXCLUSIVE, annotations=limits)

    await run_command(["nsenter", f"--net={pod.netns_path}", *harm.split()])

    for rate in ("8Mbit", "16Mbit"):
        async with asyncio.timeout(PATIENCE_S):
            while f"rate {rate}" not in await pod.exec("tc", "qdisc"):
                await pod.node.exec("true")
