"""Limits and policies of pods whose packets go past the node's stack: by eBPF, in both directions.

A limited pod's packets wait in the queue of its link, where the others' go straight into the pod.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle
from terway.model.address import Family
from tests.lab.test_limits import EGRESS, INGRESS, annotate, held_bytes_s, wait_for_queue

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

_MBIT = 125_000  # bytes per second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    name = f"l{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=2, cni={"eniip_virtual_type": "datapathv2"}) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def others(lab: Lab) -> dict[str, PodHandle]:
    made = await asyncio.gather(lab.pod("near", node="node-1"), lab.pod("far", node="node-2"))
    return {pod.name: pod for pod in made}


@pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("other", ["near", "far"])
@pytest.mark.parametrize("kind", [EGRESS, INGRESS], ids=["egress", "ingress"])
async def test_a_limit_holds_within_a_tenth(lab, others, kind, other, family):
    name = f"held-{uuid.uuid4().hex[:6]}"
    pod = await lab.pod(name, node="node-1", annotations={kind: "16M"})

    async with await pod.connect(others[other], family=family) as flow:
        await flow.echo(bytes(200_000))  # what the bucket has
        found = await held_bytes_s(flow, limit=16 * _MBIT)

    assert found == pytest.approx(16 * _MBIT, rel=0.1)


@pytest.mark.parametrize("other", ["near", "far"])
async def test_a_limit_that_comes_while_the_pod_runs_holds_and_one_that_goes_does_not(
    lab, others, other
):
    pod = await lab.pod(f"changed-{other}", node="node-1")

    async with await pod.connect(others[other], family=Family.V4) as flow:
        await annotate(lab, pod, ingress="12M")
        await wait_for_queue(pod, "12Mbit")
        await flow.echo(bytes(200_000))
        assert await held_bytes_s(flow, limit=12 * _MBIT) == pytest.approx(12 * _MBIT, rel=0.15)

        await annotate(lab, pod, ingress=None)
        async with asyncio.timeout(20):
            while "rate 12Mbit" in await pod.node.exec("tc", "qdisc"):
                await pod.node.exec("true")
        assert await held_bytes_s(flow, limit=40 * _MBIT / 0.9) > 40 * _MBIT
