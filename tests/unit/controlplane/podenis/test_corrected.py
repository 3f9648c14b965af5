"""What a person writes wrongly into the PodENI of a pod that runs: the truth is written again."""

from __future__ import annotations

import asyncio

import pytest

from terway.kube.crds import POD_ENIS, POD_UID
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import eventually
from tests.support.pod_eni_live import one_shared_node
from tests.unit.controlplane.podenis.test_room import bound

NEVER = {"type": "Fixed", "releaseStrategy": "Never"}
WRONG = {
    "phase": lambda text: lambda body: body["status"].update(phase=text),
    "pod-uid": lambda text: lambda body: body["metadata"]["annotations"].update({POD_UID: text}),
    "instance": lambda text: lambda body: body["status"].update(instanceID=text),
}


@pytest.mark.parametrize("allocation", [{}, NEVER], ids=["elastic", "fixed"])
@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("phase", ""),
        ("phase", "Unbind"),
        ("phase", "Detaching"),
        ("phase", "Deleting"),
        ("phase", "nonsense"),
        ("pod-uid", "another"),
        ("pod-uid", ""),
        ("instance", "i-of-nobody"),
    ],
)
def test_what_is_wrong_about_a_pod_that_runs_is_put_right_and_told(field, text, allocation):
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("db-0", "n1", **allocation)
            await bound(cluster, "db-0")
            cluster.give_status("db-0")
            await asyncio.sleep(1)
            had, enis = cluster.addresses_of("db-0"), set(cluster.pod_enis())
            calls = cluster.cloud.cloud.calls
            before = calls.count("DetachNetworkInterface", "DeleteNetworkInterface")

            cluster.edit(POD_ENIS, "db-0", WRONG[field](text))
            await asyncio.sleep(5)

            await eventually(lambda: cluster.is_served("db-0"))
            await asyncio.sleep(60)
            assert cluster.is_served("db-0")
            assert cluster.pod_enis() == dict.fromkeys(enis, "InUse")
            assert cluster.addresses_of("db-0") == had
            assert calls.count("DetachNetworkInterface", "DeleteNetworkInterface") == before
            assert "UpdatePodENIFailed" in cluster.told.reasons("Pod")

    run_virtually(main())


def test_what_was_put_right_still_goes_with_its_pod():
    async def main():
        async with one_shared_node() as cluster:
            cluster.make_pod("web-0", "n1")
            await bound(cluster, "web-0")
            cluster.give_status("web-0")
            cluster.edit(POD_ENIS, "web-0", WRONG["pod-uid"]("another"))
            await eventually(lambda: "UpdatePodENIFailed" in cluster.told.reasons("Pod"))

            cluster.delete_pod("web-0")

            await eventually(lambda: not cluster.records() and not cluster.pod_enis())
            assert not cluster.interfaces()

    run_virtually(main())
