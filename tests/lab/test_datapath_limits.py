"""Limits and policies of pods whose packets go past the node's stack: by eBPF, in both directions.

A limited pod's packets wait in the queue of its link, where the others' go straight into the pod.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import NETWORK_POLICIES
from terway.lab.toolbox import ECHO_PORT
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress
from tests.lab.test_limits import EGRESS, INGRESS, annotate, held_bytes_s, wait_for_queue
from tests.lab.test_services_of_pods import PORT, connect_soon

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

_MBIT = 125_000  # bytes per second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    name, pool = f"l{uuid.uuid4().hex[:8]}", NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
    cni = {"eniip_virtual_type": "datapathv2"}
    async with open_lab(name=name, nodes=2, pools=(pool,), cni=cni) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def others(lab: Lab) -> dict[str, PodHandle]:
    made = await asyncio.gather(
        *(
            lab.pod(name, node=node, labels={"app": name})
            for name, node in (("near", "node-1"), ("far", "node-2"))
        )
    )
    return {pod.name: pod for pod in made}


def _word(kind: str) -> str:
    return "egress" if kind == EGRESS else "ingress"


def only_of_each_other(name: str) -> dict[str, Any]:
    """Return a policy by which limited pods talk to the pod `far` alone, and it to them."""
    far = {"podSelector": {"matchLabels": {"app": "far"}}}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": {"limited": "yes"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [far]}],
            "egress": [{"to": [far]}],
        },
    }


async def service_of(lab: Lab, pod: PodHandle, name: str) -> IPAddress:
    """Create a service of one pod; return its address."""
    spec = {
        "selector": {"app": pod.name},
        "ports": [{"port": PORT, "targetPort": ECHO_PORT}],
    }
    made = await lab.kube.create(
        SERVICES, {"metadata": {"name": name}, "spec": spec}, namespace="default"
    )
    await wait_endpoints(lab.kube, name, lambda held: len(held) == 1)
    return ip_address(made["spec"]["clusterIP"])


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


@pytest.mark.parametrize("kind", [EGRESS, INGRESS], ids=["egress", "ingress"])
@pytest.mark.parametrize("node", ["node-1", "eni-1"], ids=["shared", "exclusive"])
async def test_a_limit_holds_by_a_service_and_beside_policies(lab, others, node, kind):
    """bug class 52: limits, policies and services share the hooks of a link."""
    name, labels = f"both-{node}-{_word(kind)}", {"limited": "yes"}
    await lab.kube.create(NETWORK_POLICIES, only_of_each_other(name))
    pod = await lab.pod(name, node=node, labels=labels, annotations={kind: "16M"})
    address = await service_of(lab, others["far"], name)

    async with await connect_soon(pod, address) as flow:
        await flow.echo(bytes(200_000))
        found = await held_bytes_s(flow, limit=16 * _MBIT)

    assert found == pytest.approx(16 * _MBIT, rel=0.1)
    assert not await pod.can_reach(others["near"], timeout_s=2.0)


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
        async with asyncio.timeout(PATIENCE_S):
            while "rate 12Mbit" in await pod.node.exec("tc", "qdisc"):
                await pod.node.exec("true")
        assert await held_bytes_s(flow, limit=40 * _MBIT / 0.9) > 40 * _MBIT
