"""What becomes free is given at once to who waits for it: the newest first, no more than fit.

The controllers run with their queues and waits, on virtual time.
"""

from __future__ import annotations

import asyncio

import pytest

from terway.controlplane.podenis.waiting import Limit, Waiting
from terway.kube.resource import ObjectKey
from terway.lab.cloud.faults import Fault
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import eventually
from tests.support.pod_eni_live import LivePodENIs, pod_eni_control_plane
from tests.support.virtual_time import virtual_clock

# The cloud detaches in 3 s and attaches in 2 s; the back-off of a limit is 60 s.
AT_ONCE_S = 10.0
FITS = 3  # ENIs of single pods, on an instance with four


async def bound(cluster, *names, within_s=120.0):
    await eventually(lambda: all(cluster.phase(one) == "Bind" for one in names), within_s=within_s)


async def fill(cluster, *waiting):
    """Have the node's slots taken by full-0 to full-2, and others wait for one, oldest first."""
    names = [f"full-{one}" for one in range(FITS)]
    for name in names:
        cluster.make_pod(name, "n1")
    await bound(cluster, *names)
    for name in waiting:
        await asyncio.sleep(2)
        cluster.make_pod(name, "n1")
    await eventually(lambda: len(refusals(cluster)) >= len(waiting))


def refusals(cluster):
    return [
        text
        for kind, reason, text in cluster.told.said
        if (kind, reason) == ("PodENI", "AttachENIFailed")
    ]


def test_a_slot_that_a_pod_gives_back_is_the_newest_pods_at_once():
    async def main():
        cluster = LivePodENIs()
        cluster.add_shared_node("n1", eni="3")
        async with pod_eni_control_plane(cluster):
            await fill(cluster, "older", "newer")

            cluster.delete_pod("full-0")

            await bound(cluster, "newer", within_s=AT_ONCE_S)
            assert cluster.phase("older") == "Binding"
            cluster.delete_pod("newer")
            await bound(cluster, "older", within_s=AT_ONCE_S)

    run_virtually(main())


def test_no_more_are_woken_than_there_is_room_for():
    async def main():
        cluster = LivePodENIs()
        cluster.add_shared_node("n1", eni="3")
        async with pod_eni_control_plane(cluster):
            await fill(cluster, *(f"pod-{one}" for one in range(5)))
            refused = len(refusals(cluster))

            cluster.delete_pod("full-0")

            await bound(cluster, "pod-4", within_s=AT_ONCE_S)
            assert len(refusals(cluster)) == refused

    run_virtually(main())


def test_a_node_that_says_it_has_more_wakes_who_waits_there():
    """A pool that gives an ENI back makes room for a whole one, which nobody here has detached."""

    async def main():
        cluster = LivePodENIs()
        instance_id = cluster.add_shared_node("n1", eni="2")
        foreign = cluster.cloud.at.create_eni()
        place = {"NetworkInterfaceId": foreign, "InstanceId": instance_id}
        await asyncio.sleep(10)  # the instance starts
        cluster.cloud.follow()
        cluster.cloud.at.call("AttachNetworkInterface", **place)
        async with pod_eni_control_plane(cluster):
            cluster.make_pod("a", "n1")
            cluster.make_pod("b", "n1")
            await bound(cluster, "a", "b")
            cluster.make_pod("c", "n1")
            await eventually(lambda: refusals(cluster))
            cluster.cloud.at.call("DetachNetworkInterface", **place)
            await asyncio.sleep(5)

            cluster.allow("n1", eni="3")

            await bound(cluster, "c", within_s=AT_ONCE_S)

    run_virtually(main())


@pytest.mark.parametrize(
    "code", ["SecurityGroupInstanceLimitExceed", "InvalidVSwitchId.IpNotEnough"]
)
def test_what_a_deleted_eni_gives_back_is_given_to_who_could_have_none(code):
    """The group has a place again, or the vSwitch an address."""

    async def main():
        cluster = LivePodENIs()
        cluster.add_shared_node("n1", eni="3")
        async with pod_eni_control_plane(cluster):
            cluster.make_pod("had", "n1")
            await bound(cluster, "had")
            cluster.cloud.cloud.faults.add(
                Fault(action="CreateNetworkInterface", code=code, status=403)
            )
            cluster.make_pod("wants", "n1")
            await eventually(lambda: "CreateENIFailed" in cluster.told.reasons("PodENI"))
            cluster.cloud.cloud.faults.clear()

            cluster.delete_pod("had")

            await bound(cluster, "wants", within_s=AT_ONCE_S)

    run_virtually(main())


def test_addresses_that_others_give_back_are_seen_before_the_back_off_is_over():
    async def main():
        cluster = LivePodENIs(pod_cidr="192.168.32.0/29")
        cluster.add_shared_node("n1", eni="3")
        at = cluster.cloud.at
        others = [at.create_eni(Ipv6AddressCount="1") for _ in range(4)]
        async with pod_eni_control_plane(cluster):
            cluster.make_pod("wants", "n1")
            await eventually(lambda: "CreateENIFailed" in cluster.told.reasons("PodENI"))

            at.call("DeleteNetworkInterface", NetworkInterfaceId=others[0])

            await bound(cluster, "wants", within_s=10.0 + AT_ONCE_S)

    run_virtually(main())


SLOTS = Limit("slots", "i-1")


def key(name):
    return ObjectKey(namespace="", name=name)


def test_who_is_woken_and_needs_it_no_more_passes_it_on():
    async def main():
        waiting, woken = Waiting(virtual_clock), []
        waiting.wake = lambda one: woken.append(one.name)
        waiting.hold(key("old"), [SLOTS], since="1", for_s=60.0)
        waiting.hold(key("new"), [SLOTS], since="2", for_s=60.0)
        waiting.freed(SLOTS)
        assert (woken, waiting.left_s(key("new")), waiting.left_s(key("old"))) == (["new"], 0, 60)

        waiting.left(key("new"))

        assert woken == ["new", "old"]
        waiting.served(key("old"))
        waiting.freed(SLOTS)
        assert woken == ["new", "old"]

    run_virtually(main())


def test_nobody_waits_for_ever_for_what_somebody_else_gives_back():
    async def main():
        waiting = Waiting(virtual_clock)
        waiting.hold(key("one"), [SLOTS], since="1", for_s=60.0)
        await asyncio.sleep(59)
        assert waiting.left_s(key("one")) == pytest.approx(1)

        await asyncio.sleep(2)

        assert waiting.left_s(key("one")) == 0

    run_virtually(main())
