"""Services and policies of pods that are IPvlan children, judged and led inside the pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import NETWORK_POLICIES
from terway.lab.toolbox import HTTP_PORT
from terway.lab.world.lab import Lab
from terway.lab.world.pods import PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints
from terway.model.address import Family, IPAddress
from terway.model.errors import UsageError
from tests.lab.ipvlan.site import FAR, HERE, MARKS, PATIENCE_S, both

pytestmark = [*MARKS, pytest.mark.guest]

ANYWHERE = {Family.V4: "0.0.0.0/0", Family.V6: "::/0"}
Addresses = dict[Family, IPAddress]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def services(lab: Lab, pods: dict[str, PodHandle]) -> dict[str, Addresses]:
    """Return the addresses of a Service for each backend, which has it alone."""
    for name, node in (("hosted", HERE), ("hosted-far", FAR)):
        await lab.pod(name, node=node, host_network=True, timeout_s=PATIENCE_S)
    apps = {what: pod.name for what, pod in pods.items()}
    apps |= {"hosted": "hosted", "hosted-far": "hosted-far"}
    found = await asyncio.gather(*(_offer(lab, app) for app in apps.values()))
    return dict(zip(apps, found, strict=True))


async def _offer(lab: Lab, app: str) -> Addresses:
    spec = {
        "selector": {"app": app},
        "ports": [{"port": HTTP_PORT, "targetPort": HTTP_PORT}],
        "ipFamilyPolicy": "RequireDualStack",
    }
    manifest = {"metadata": {"name": f"to-{app}"}, "spec": spec}
    made = await lab.kube.create(SERVICES, manifest, namespace="default")
    await wait_endpoints(lab.kube, f"to-{app}", lambda held: len(held) == 2, timeout_s=PATIENCE_S)
    return {Family(one.version): one for one in map(ip_address, made["spec"]["clusterIPs"])}


async def asked(pod: PodHandle, address: IPAddress) -> dict[str, Any]:
    """Return what the server says; the node hears of a service a moment after the API."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await pod.tool("whoami", str(address))
            except UsageError:
                continue


@both
@pytest.mark.parametrize("backend", ["near", "other", "far", "hosted", "hosted-far"])
async def test_a_pod_reaches_a_service_wherever_its_backend_is(pods, services, backend, family):
    seen = await asked(pods["a"], services[backend][family])

    host = {"hosted": HERE, "hosted-far": FAR}.get(backend) or pods[backend].name
    assert (seen["host"], seen["peer"]) == (host, str(pods["a"].address(family)))


@both
async def test_a_pod_reaches_itself_by_its_service(pods, services, family):
    """Bug class 44."""
    seen = await asked(pods["a"], services["a"][family])

    assert (seen["host"], seen["peer"]) == (pods["a"].name, str(services["a"][family]))


@asynccontextmanager
async def policy(lab: Lab, pod: PodHandle, **rules: Any) -> AsyncIterator[None]:
    """Hold a pod to one policy for the block."""
    chosen = {"podSelector": {"matchLabels": {"app": pod.name}}}
    manifest = {"metadata": {"name": "held"}, "spec": {**chosen, **rules}}
    await lab.kube.create(NETWORK_POLICIES, manifest, namespace="default")
    try:
        yield
    finally:
        await lab.kube.delete(NETWORK_POLICIES, "held", namespace="default")


def all_but(pod: PodHandle) -> list[dict[str, Any]]:
    """Return peers: all addresses but those of a pod."""
    return [
        {"ipBlock": {"cidr": ANYWHERE[family], "except": [str(ip_network(pod.address(family)))]}}
        for family in Family
    ]


async def until(pod: PodHandle, target: PodHandle, family: Family, *, reaches: bool) -> None:
    """Wait until one pod reaches another, or does not any more."""
    async with asyncio.timeout(PATIENCE_S):
        while await pod.can_reach(target, family=family, timeout_s=5.0) != reaches:
            pass  # each try is a connection, and takes a while


@both
async def test_a_policy_for_what_a_pod_sends_holds_it_off_siblings_alone(lab, pods, family):
    a, near, others = pods["a"], pods["near"], (pods["other"], pods["far"])
    rules = {"policyTypes": ["Egress"], "egress": [{"to": all_but(near)}]}
    async with policy(lab, a, **rules):
        await until(a, near, family, reaches=False)

        for pod in others:
            await until(a, pod, family, reaches=True)
        await until(near, a, family, reaches=True)
    await until(a, near, family, reaches=True)


@both
@pytest.mark.parametrize("sender", ["a", "other", "far"])
async def test_a_policy_for_what_a_pod_receives_holds_wherever_it_comes_from(
    lab, pods, sender, family
):
    near, held_off = pods["near"], pods[sender]
    rules = {"policyTypes": ["Ingress"], "ingress": [{"from": all_but(held_off)}]}
    async with policy(lab, near, **rules):
        await until(held_off, near, family, reaches=False)

        for name in {"a", "other", "far"} - {sender}:
            await until(pods[name], near, family, reaches=True)
