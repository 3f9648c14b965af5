"""Who is a pod, and since when, until when? Its policies hold from its first packet to its last."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_address

import pytest

from terway.kube.resource import PODS
from terway.lab.policy.inforce import SOCKET
from terway.lab.world.pods import PodHandle, pair_of, pod_manifest
from terway.lab.world.waiting import PATIENCE_S
from tests.support.kill_walk import read_state_of
from tests.support.policy_lab import Crew, PolicyLab, end_of, unique
from tests.support.policy_objects import NOBODY, network_policy, peers
from tests.support.wires import FENCE, Wires, heard, hears

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

PORT = 7300
PYTHON = ("/usr/bin/env", "python3", "-I", "-S", "-c")
SPEAKS_AT_ONCE = """
import socket, sys, time
host, port, fence = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kind = socket.AF_INET6 if ":" in host else socket.AF_INET
with socket.socket(kind, socket.SOCK_DGRAM) as sock:
    for _ in range(100):
        try:
            sock.sendto(b"first", (host, port))
        except PermissionError:
            pass
    sock.sendto(b"done", (host, fence))
time.sleep(1000)
"""
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"
CONNECTS_ONCE = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.9) as sock:
    sock.sendall(b"first")
"""


def speaker(name: str, crew: Crew, script: str, *arguments: object, labels=None):
    """Return a pod of the client's node that does one thing, once, from its first instruction."""
    manifest = pod_manifest(
        name,
        namespace="default",
        node=f"{crew.pool}-1",
        command=(*PYTHON, script, *map(str, arguments)),
        labels={"pool": crew.pool, **(labels or {})},
    )
    manifest["spec"]["restartPolicy"] = "Never"
    manifest["spec"]["terminationGracePeriodSeconds"] = 0
    return manifest


async def test_no_packet_of_a_new_pod_gets_out_before_its_policy_is_in_force(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 45."""
    labels = {"role": "barred", "pool": crew.pool}
    await world.policies(network_policy("barred", selects=labels, egress=NOBODY))
    barred, fence = await wires.udp(crew.server, PORT), await wires.udp(crew.server, FENCE)

    for _ in range(3):
        name = unique("speaker")
        target = (crew.server.address, PORT, FENCE)
        manifest = speaker(name, crew, SPEAKS_AT_ONCE, *target, labels=labels)
        await world.lab.kube.create(PODS, manifest)
        await hears(fence, b"done")
        await world.lab.delete_pod(name)

    assert heard(barred) == []


async def test_a_new_pod_that_may_is_let_through_at_its_first_try(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 45, the other half: never shut because its policy, or the peer's, came late."""
    labels = {"role": "allowed", "pool": crew.pool}
    out = peers("to", ("TCP", PORT), pods=crew.labels("server"))
    await world.policies(network_policy("out", selects=labels, egress=[out], ingress=NOBODY))
    listener = await wires.tcp_listener(crew.server, PORT)

    name = unique("speaker")
    manifest = speaker(name, crew, CONNECTS_ONCE, crew.server.address, PORT, labels=labels)
    await world.lab.kube.create(PODS, manifest)
    served = await wires.accept(listener)
    await hears(served, b"first")
    await world.lab.delete_pod(name)


async def test_a_pod_that_is_terminating_is_still_held_to_its_policy_and_still_a_peer(
    world: PolicyLab, crew: Crew, wires: Wires
):
    pod = await lingering(world, crew)
    end = end_of(pod, crew.family)
    labels = {"app": pod.name}
    await world.policies(
        network_policy("its", selects=labels, ingress=NOBODY),
        network_policy(
            "server",
            selects=crew.labels("server"),
            ingress=[peers("from", ("UDP", PORT), pods=labels)],
        ),
    )

    await world.lab.kube.delete(PODS, pod.name, namespace="default")
    await world.in_force()

    dying = await world.lab.kube.get(PODS, pod.name, namespace="default")
    assert dying is not None
    assert dying.metadata.deletion_timestamp is not None
    assert not await wires.passes(crew.client, end, PORT)
    assert await wires.passes(end, crew.server, PORT)
    wires.forget(end)
    await pod.node.exec("kill", "-9", str(pod.pid))
    await world.lab.delete_pod(pod.name)


async def test_a_pod_made_again_under_its_name_is_held_to_its_own_policy(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """The DEL of the one that was deleted by force comes after the ADD of the other."""
    name = unique("again")
    labels = {"app": name, "role": "barred"}
    await world.policies(network_policy("barred", selects=labels, ingress=NOBODY))
    await world.lab.kube.create(PODS, speaker(name, crew, DEAF, labels={"app": name}))
    before = await world.lab.wait_pod(name)
    first = end_of(before, crew.family)
    assert await wires.passes(crew.server, first, PORT)
    wires.forget(first)

    await world.lab.kube.delete(PODS, name, namespace="default", grace_s=0)
    await world.lab.kube.create(PODS, speaker(name, crew, DEAF, labels=labels))
    again = end_of(await world.lab.wait_pod(name), crew.family)
    socket = world.lab.node(f"{crew.pool}-1").inside(SOCKET)
    async with asyncio.timeout(PATIENCE_S):
        while before.meta.uid in json.dumps((await read_state_of(socket))["attachments"]):
            await world.in_force()

    await world.in_force()
    assert not await wires.passes(crew.server, again, PORT)
    wires.forget(again)
    await world.lab.delete_pod(name)


async def lingering(world: PolicyLab, crew: Crew) -> PodHandle:
    """Return a pod of the client's node that does not end when it is told to."""
    name = unique("deaf")
    manifest = speaker(name, crew, DEAF, labels={"app": name})
    manifest["spec"]["terminationGracePeriodSeconds"] = 300
    await world.lab.kube.create(PODS, manifest)
    return await world.lab.wait_pod(name)


async def test_an_address_inherits_nothing_of_the_pod_that_had_it_before(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 5: neither as a peer, nor as who is selected, nor by a connection of old."""
    labels = {"role": "first", "pool": crew.pool}
    await world.policies(
        network_policy("its", selects=labels, ingress=NOBODY),
        network_policy(
            "server",
            selects=crew.labels("server"),
            ingress=[peers("from", ("UDP", PORT), pods=labels)],
        ),
    )
    first = await world.lab.pod(unique("first"), node=f"{crew.pool}-1", labels=labels)
    end = end_of(first, crew.family)
    assert await wires.passes(end, crew.server, PORT)
    assert not await wires.passes(crew.client, end, PORT)

    wires.forget(end)
    await world.lab.delete_pod(first.name)
    async with world.pod_with_address(end.address, node=f"{crew.pool}-1") as pod:
        second = end_of(pod, crew.family)
        assert not await wires.passes(second, crew.server, PORT)
        assert await wires.passes(crew.client, second, PORT)
        wires.forget(second)


async def test_a_completed_pod_no_longer_owns_its_address(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Its object stays listed, with the address; its labels let nobody in any more."""
    labels = {"role": "job", "pool": crew.pool}
    await world.policies(
        network_policy(
            "server",
            selects=crew.labels("server"),
            ingress=[peers("from", ("UDP", PORT), pods=labels)],
        )
    )
    name = unique("job")
    await world.lab.kube.create(PODS, speaker(name, crew, "", labels=labels))
    done = await world.phase(name, "Succeeded")

    addresses = pair_of([ip_address(one.ip) for one in done.status.pod_ips])
    address = addresses.of(crew.family)
    assert address is not None
    async with world.pod_with_address(address, node=f"{crew.pool}-1") as pod:
        second = end_of(pod, crew.family)
        assert not await wires.passes(second, crew.server, PORT)
        wires.forget(second)
    await world.lab.delete_pod(name)


async def test_labels_of_a_namespace_count_as_soon_as_they_change(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 53."""
    space = await world.namespace(unique("space"))
    peer = await world.lab.pod("peer", node=f"{crew.pool}-1", namespace=space)
    end = end_of(peer, crew.family)
    rule = peers("from", ("UDP", PORT), namespaces={"team": "trusted"})
    await world.policies(network_policy("server", selects=crew.labels("server"), ingress=[rule]))
    assert not await wires.passes(end, crew.server, PORT)

    for label, is_let_in in (("trusted", True), ("other", False), ("trusted", True), (None, False)):
        await world.relabel_namespace(space, {"team": label})
        assert await wires.passes(end, crew.server, PORT) is is_let_in

    wires.forget(end)
    await world.lab.delete_pod("peer", namespace=space)
