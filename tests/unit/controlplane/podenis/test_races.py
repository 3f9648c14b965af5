"""Two things at one moment: an end and a return, a namespace, a network or a node that goes.

The controllers run with their queues and waits, on virtual time; the cloud takes its own.
"""

from __future__ import annotations

import asyncio

import pytest

from terway.kube.crds import POD_NETWORKINGS
from terway.kube.resource import NAMESPACES
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import eventually
from tests.support.pod_eni_live import LivePodENIs, one_shared_node, pod_eni_control_plane
from tests.unit.controlplane.podenis.test_room import bound

TTL_S = 300.0
FIXED = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "5m"}
NEVER = {"type": "Fixed", "releaseStrategy": "Never"}


def nothing_is_left_over(cluster) -> bool:
    """Return whether what the cloud has for pods is what PodENIs have."""
    held = {
        one["eni"]["id"]
        for found in cluster.records()
        for one in found["spec"]["allocations"]
        if one["eni"].get("id")
    }
    return set(cluster.pod_enis()) == held == set(cluster.interfaces())


async def settled(cluster, *names):
    """Wait until these pods have their ENIs, in use, and nobody else has any."""
    await eventually(
        lambda: (
            all(map(cluster.is_served, names))
            and nothing_is_left_over(cluster)
            and set(cluster.pod_enis().values()) == {"InUse"}
        )
    )


@pytest.mark.parametrize("early_s", [3, 1, 0.5, 0.25, 0.1, 0.02, 0, -0.05, -0.3, -1, -3, -6])
def test_a_pod_that_comes_back_as_its_time_runs_out_has_the_old_address_or_a_new_one(early_s):
    """Never both, never none, never a deleted one; and no ENI is left over."""

    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1", **FIXED)
            await bound(cluster, "db-0")
            had = cluster.addresses_of("db-0")
            cluster.delete_pod("db-0")
            await asyncio.sleep(TTL_S - early_s)

            cluster.make_pod("db-0", "n1", **FIXED)

            await settled(cluster, "db-0")
            assert len(cluster.pod_enis()) == 1
            if early_s >= 2:
                assert cluster.addresses_of("db-0") == had

    run_virtually(main())


@pytest.mark.parametrize("pods_first", [True, False])
@pytest.mark.parametrize("is_bound", [True, False], ids=["running", "waiting"])
def test_a_namespace_goes_with_the_addresses_that_were_to_stay_for_ever(pods_first, is_bound):
    async def main():
        async with one_shared_node() as cluster:
            for name in ("db-0", "db-1"):
                cluster.make_pod(name, "n1", **NEVER)
            await bound(cluster, "db-0", "db-1")
            if not is_bound:
                cluster.delete_pod("db-1")
                await eventually(lambda: cluster.phase("db-1") == "Unbind")
            if pods_first:
                cluster.delete_pod("db-0")
                await asyncio.sleep(1)

            cluster.end_namespace()

            if not pods_first:
                await asyncio.sleep(20)
                assert cluster.pod_enis()  # under a pod that runs nothing is taken away
                cluster.delete_pod("db-0")
                if is_bound:
                    cluster.delete_pod("db-1")
            elif is_bound:
                cluster.delete_pod("db-1")
            await eventually(lambda: not cluster.records() and not cluster.pod_enis())
            assert not cluster.interfaces()

    run_virtually(main())


def test_a_pod_in_a_namespace_that_ends_gets_nothing_and_stops_nobody():
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1", **NEVER)
            await bound(cluster, "db-0")
            cluster.state.delete(cluster.row(NAMESPACES), "default")
            cluster.make_pod("late", "n1", **NEVER)

            await asyncio.sleep(30)

            assert cluster.record("late") is None or cluster.phase("late") == "Bind"
            assert cluster.phase("db-0") == "Bind"

    run_virtually(main())


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.1, 1.0, 2.9, 3.0, 3.1, 4.0])
def test_a_node_that_goes_while_a_detach_is_under_way_takes_no_fixed_address_along(after_s):
    async def main():
        cluster = LivePodENIs()
        doomed = cluster.add_shared_node("n1", eni="3")
        cluster.add_shared_node("n2", eni="3")
        async with pod_eni_control_plane(cluster):
            cluster.make_pod("db-0", "n1", **FIXED)
            cluster.make_pod("web-0", "n1")
            await bound(cluster, "db-0", "web-0")
            had = cluster.addresses_of("db-0")
            cluster.delete_pod("db-0")
            cluster.delete_pod("web-0")
            await asyncio.sleep(after_s)

            cluster.lose_node("n1", doomed)
            cluster.make_pod("db-0", "n2", **FIXED)

            await settled(cluster, "db-0")
            assert cluster.addresses_of("db-0") == had
            assert cluster.record("web-0") is None

    run_virtually(main())


@pytest.mark.parametrize("after_s", [0.2, 1.0, 2.0, 3.5])
def test_a_node_that_goes_while_an_attach_is_under_way_is_left_for_another(after_s):
    async def main():
        cluster = LivePodENIs()
        doomed = cluster.add_shared_node("n1", eni="3")
        cluster.add_shared_node("n2", eni="3")
        async with pod_eni_control_plane(cluster):
            await asyncio.sleep(10)
            cluster.make_pod("db-0", "n1", **FIXED)
            await asyncio.sleep(after_s)

            cluster.lose_node("n1", doomed)
            await asyncio.sleep(1)
            cluster.make_pod("db-0", "n2", **FIXED)

            await settled(cluster, "db-0")
            assert len(cluster.pod_enis()) == 1

    run_virtually(main())


def make_networking(cluster, name="red"):
    at = cluster.cloud.at
    body = {
        "apiVersion": "network.alibabacloud.com/v1beta1",
        "kind": "PodNetworking",
        "metadata": {"name": name},
        "spec": {
            "vSwitchOptions": [at.pod_vswitch],
            "securityGroupIDs": [at.group],
            "eniOptions": {"eniType": "ENI"},
        },
    }
    cluster.state.create(cluster.row(POD_NETWORKINGS), body)


def test_a_pod_that_names_a_network_before_it_is_there_has_it_when_it_is():
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_asking("web-0", "n1", pod_networking="red")
            await eventually(lambda: "PodCreateFailed" in cluster.told.reasons("Pod"))

            make_networking(cluster)

            await bound(cluster, "web-0", within_s=10.0)

    run_virtually(main())


def test_a_network_that_goes_leaves_its_pods_what_they_have_and_gives_nothing_new():
    async def main():
        async with one_shared_node() as cluster:
            make_networking(cluster)
            await asyncio.sleep(2)
            cluster.make_asking("web-0", "n1", pod_networking="red")
            await bound(cluster, "web-0")

            cluster.delete(POD_NETWORKINGS, "red")

            await asyncio.sleep(60)
            await settled(cluster, "web-0")
            cluster.delete_pod("web-0")
            cluster.make_asking("web-0", "n1", pod_networking="red")
            await eventually(lambda: not cluster.pod_enis() and not cluster.records())
            assert any("no such PodNetworking" in text for _, _, text in cluster.told.said)

    run_virtually(main())
