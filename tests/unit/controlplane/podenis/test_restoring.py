"""A PodENI that a person takes away past its finalizer, under a pod that runs, is there again."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import eventually
from tests.support.pod_eni_live import LivePodENIs, one_shared_node, pod_eni_control_plane
from tests.unit.controlplane.podenis.test_room import bound

NEVER = {"type": "Fixed", "releaseStrategy": "Never"}
SWEEP_S = 600.0
KINDS = pytest.mark.parametrize(
    "kinds",
    [
        ("PodENI",),
        ("PodENI", "NetworkInterface"),
        ("PodENI", "deleted NetworkInterface"),
        ("deleted NetworkInterface", "PodENI"),
    ],
    ids="+".join,
)


def taken(cluster):
    """Return how often an ENI was taken from somebody."""
    return cluster.cloud.cloud.calls.count("DetachNetworkInterface", "DeleteNetworkInterface")


def strip(cluster, *kinds):
    """Take away what is named, all at once."""
    for kind in kinds:
        if kind == "PodENI":
            cluster.strip(POD_ENIS, "db-0")
            continue
        for name in cluster.interfaces():
            take = cluster.delete if kind.startswith("deleted") else cluster.strip
            take(NETWORK_INTERFACES, name)


async def kept(cluster, enis, addresses):
    """Wait until the pod has what it had, and people know; then see that this stays so."""
    await stays(cluster, enis, addresses)
    assert "DeletePodENIFailed" in cluster.told.reasons("Pod")


async def stays(cluster, enis, addresses):
    """Wait until the pod has what it had; then see that this stays so, sweeps included."""
    await eventually(lambda: cluster.is_served("db-0"))
    await asyncio.sleep(2.5 * SWEEP_S)
    assert cluster.is_served("db-0")
    assert cluster.addresses_of("db-0") == addresses
    assert cluster.pod_enis() == dict.fromkeys(enis, "InUse")
    assert set(cluster.interfaces()) == set(enis)
    assert taken(cluster) == 0


@pytest.mark.parametrize("allocation", [{}, NEVER], ids=["elastic", "fixed"])
@pytest.mark.parametrize("runs", [True, False], ids=["running", "not told yet"])
@KINDS
def test_the_pod_keeps_its_eni_and_its_address(kinds, runs, allocation):
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1", **allocation)
            await bound(cluster, "db-0")
            if runs:
                cluster.give_status("db-0")
            await asyncio.sleep(1)
            had, enis = cluster.addresses_of("db-0"), set(cluster.pod_enis())

            strip(cluster, *kinds)

            await kept(cluster, enis, had)

    run_virtually(main())


@KINDS
@pytest.mark.parametrize(
    ("runs", "allocation"), [(True, NEVER), (False, {})], ids=["running", "not told yet"]
)
def test_what_was_taken_while_no_control_plane_ran_is_found_again(kinds, runs, allocation):
    """By the pod's address, and by the tag of who it was made for."""

    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1", **allocation)
            await bound(cluster, "db-0")
            if runs:
                cluster.give_status("db-0")
            await asyncio.sleep(1)
        had, before = cluster.addresses_of("db-0"), dict(cluster.record("db-0") or {})
        enis = set(cluster.pod_enis())
        strip(cluster, *kinds)

        async with pod_eni_control_plane(cluster):
            await kept(cluster, enis, had)
            assert dict(cluster.record("db-0") or {})["spec"] == before["spec"]

    run_virtually(main())


@pytest.mark.parametrize("allocation", [{}, NEVER], ids=["elastic", "fixed"])
@pytest.mark.parametrize("kinds", [("PodENI",), ("PodENI", "NetworkInterface")], ids="+".join)
def test_a_pod_whose_status_was_cleared_while_no_control_plane_ran_keeps_its_eni(kinds, allocation):
    """Before it has told an address."""

    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1", **allocation)
            await bound(cluster, "db-0")
            await asyncio.sleep(1)
        had, enis = cluster.addresses_of("db-0"), set(cluster.pod_enis())
        cluster.edit(POD_ENIS, "db-0", lambda body: body.pop("status"))
        for name in cluster.interfaces() if "NetworkInterface" in kinds else ():
            cluster.edit(NETWORK_INTERFACES, name, lambda body: body.pop("status"))

        async with pod_eni_control_plane(cluster):
            await stays(cluster, enis, had)

    run_virtually(main())


@KINDS
@pytest.mark.parametrize(
    ("restarts", "runs"),
    [(True, True), (True, False), (False, True)],
    ids=["restarted", "restarted, not told yet", "seen"],
)
def test_each_interface_of_the_pod_is_given_the_eni_that_was_its(kinds, restarts, runs):
    async def main():
        cluster = LivePodENIs()
        cluster.add_shared_node("n1", eni="3")
        at = cluster.cloud.at
        networks = [
            {
                "interface": name,
                "vSwitchOptions": [at.pod_vswitch if name == "eth0" else at.node_vswitch],
                "securityGroupIDs": [at.group],
                "eniOptions": {"eniType": "ENI"},
            }
            for name in ("eth1", "eth0")
        ]
        asked = json.dumps({"podNetworks": networks})
        async with pod_eni_control_plane(cluster):
            cluster.make_asking("db-0", "n1", pod_networks=asked)
            await bound(cluster, "db-0")
            if runs:
                cluster.give_status("db-0", interface="eth0")
            await asyncio.sleep(1)
            had, enis = cluster.addresses_of("db-0"), set(cluster.pod_enis())
            if not restarts:
                strip(cluster, *kinds)
                await kept(cluster, enis, had)
        if restarts:
            strip(cluster, *kinds)
            async with pod_eni_control_plane(cluster):
                await kept(cluster, enis, had)

    run_virtually(main())


def test_what_was_made_again_still_goes_with_its_pod():
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1")
            await bound(cluster, "db-0")
            strip(cluster, "PodENI")
            await eventually(lambda: cluster.is_served("db-0"))

            cluster.delete_pod("db-0")

            await eventually(lambda: not cluster.records() and not cluster.pod_enis())
            assert not cluster.interfaces()

    run_virtually(main())


@pytest.mark.parametrize("restarts", [True, False], ids=["restarted", "seen"])
def test_what_is_taken_with_its_pod_is_not_given_to_the_next_one_and_does_not_leak(restarts):
    async def main():
        async with AsyncExitStack() as running:
            cluster = await running.enter_async_context(one_shared_node())
            cluster.make_pod("db-0", "n1")
            await bound(cluster, "db-0")
            (old,) = cluster.pod_enis()
            if restarts:
                await running.aclose()

            cluster.delete_pod("db-0")
            strip(cluster, "PodENI")
            cluster.make_pod("db-0", "n1")

            if restarts:
                await running.enter_async_context(pod_eni_control_plane(cluster))
            await eventually(lambda: cluster.is_served("db-0") and len(cluster.pod_enis()) == 1)
            assert old not in cluster.pod_enis()

    run_virtually(main())


def test_a_pod_that_is_new_is_not_looked_for_among_all_enis():
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1")
            await bound(cluster, "db-0")
            looks = cluster.cloud.cloud.calls.of("DescribeNetworkInterfaces")
            assert not [one for one in looks if "Tag.1.Key" in one.parameters]

    run_virtually(main())


def test_no_sweep_takes_the_eni_of_a_pod_that_runs_while_nothing_says_whose_it_is():
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1")
            await bound(cluster, "db-0")
            cluster.give_status("db-0")
            await asyncio.sleep(1)
        (eni_id,) = cluster.pod_enis()
        strip(cluster, "PodENI", "NetworkInterface")
        cluster.hide_node("n1")  # so nobody can write it again

        async with pod_eni_control_plane(cluster):
            await asyncio.sleep(3 * SWEEP_S)

        assert cluster.record("db-0") is None
        assert (cluster.pod_enis(), taken(cluster)) == ({eni_id: "InUse"}, 0)

    run_virtually(main())
