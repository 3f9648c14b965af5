"""Programs inside pods: stamped, and gone with all the rest when a node does without."""

from __future__ import annotations

from pathlib import Path

import pytest

from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import open_kernel
from terway.linux.netlink.link import all_links
from terway.linux.netlink.socket import open_route_socket
from terway.model.attachment import AttachmentKey
from terway.model.endpoint import Endpoint, EndpointKind, endpoint_number
from terway.model.errors import CapacityError
from terway.model.ids import ContainerId
from terway.model.network import NODE, Netns, Put
from terway.model.programs import InnerPrograms, PodPrograms
from tests.support.attachments import dual_stack
from tests.support.datapath_node import SIZES
from tests.support.netns import scratch_netns

pytestmark = pytest.mark.root

NUMBER = endpoint_number(AttachmentKey(container_id=ContainerId("c1"), ifname="eth0"))
LEG = PodPrograms(
    link="leg0",
    endpoint=Endpoint(number=NUMBER, kind=EndpointKind.EXCLUSIVE, addresses=dual_stack(1)),
)
INNER = InnerPrograms(link="eth0", number=NUMBER, leg="veth1")


@pytest.fixture
def pod():
    with scratch_netns("pod") as pod:
        pod.run(
            "ip link add eth0 type veth peer name far0; ip link add veth1 type veth peer name x"
        )
        yield pod


@pytest.fixture
async def kernel(tmp_path, pod):
    pins = Pins(Path("/sys/fs/bpf") / tmp_path.name)
    with scratch_netns("node") as node, node.entered():
        node.run("ip link add leg0 type veth peer name other0")
        async with open_kernel() as kernel:
            datapath = await kernel.open_datapath(pins, SIZES)
            datapath.object.settle()
            yield kernel, pins
            await kernel.remove_datapath(pins)
            datapath.object.close()


async def test_they_are_behind_a_stamp_and_know_the_way_to_the_node(kernel, pod):
    opened, _ = kernel
    await opened.apply([Put(netns=NODE, object=LEG), Put(netns=Netns(pod.path), object=INNER)])

    for hook, name in (("egress", "out_of_pod"), ("ingress", "into_pod")):
        said = pod.run(f"tc filter show dev eth0 {hook}")
        assert said.index(f"tw_{NUMBER:x}") < said.index(f"terway_{name}")
    assert opened.datapath is not None
    value = opened.datapath.object.maps["endpoints"].lookup(NUMBER.to_bytes(4, "little"))
    assert value is not None


async def test_taken_away_they_go_from_inside_pods_too(kernel, pod):
    opened, pins = kernel
    await opened.apply([Put(netns=NODE, object=LEG), Put(netns=Netns(pod.path), object=INNER)])

    assert await opened.remove_datapath(pins, [Netns(pod.path), Netns("/run/netns/gone")]) == 2

    assert "clsact" not in pod.run("tc qdisc")


async def test_a_number_that_is_another_pods_is_refused(kernel):
    opened, _ = kernel
    await opened.apply([Put(netns=NODE, object=LEG)])
    other = Endpoint(number=NUMBER, kind=EndpointKind.VETH, addresses=dual_stack(2))

    with pytest.raises(CapacityError, match=f"endpoint number {NUMBER} is that of 192.168.32.1"):
        await opened.apply([Put(netns=NODE, object=PodPrograms(link="leg0", endpoint=other))])


# What a process of the pod with CAP_NET_ADMIN can do so that packets do not meet the programs.
WAYS_PAST = {
    "their hooks gone": "tc qdisc del dev eth0 clsact",
    "hooks of another kind": "tc qdisc del dev eth0 clsact; tc qdisc add dev eth0 ingress",
    "a filter gone": "tc filter del dev eth0 egress pref 150",
    "a stamp gone": "tc filter del dev eth0 ingress pref 149",
    "let out before": "tc filter add dev eth0 egress pref 7 u32 match u32 0 0 flowid 1:1",
    "let in before": "tc filter add dev eth0 ingress pref 7 protocol ip "
    "u32 match u32 0 0 flowid 1:1",
    "led off before": "tc filter add dev eth0 egress pref 148 protocol ipv6 u32 match u32 0 0 "
    "action mirred egress redirect dev veth1",
}


async def test_ways_past_them_are_seen_and_closed(kernel, pod):
    opened, _ = kernel
    inner = Put(netns=Netns(pod.path), object=INNER)
    await opened.apply([Put(netns=NODE, object=LEG), inner])
    assert inner_of(opened, pod) == INNER

    for name, deed in WAYS_PAST.items():
        pod.run(deed)
        assert inner_of(opened, pod) is None, name

        await opened.apply([inner])
        assert inner_of(opened, pod) == INNER, name


async def test_filters_of_the_pods_own_behind_them_and_aside_are_let_be(kernel, pod):
    opened, _ = kernel
    await opened.apply([Put(netns=NODE, object=LEG), Put(netns=Netns(pod.path), object=INNER)])

    pod.run("tc filter add dev eth0 egress pref 300 u32 match u32 0 0 flowid 1:1")
    pod.run("tc filter add dev eth0 egress pref 7 chain 5 u32 match u32 0 0 flowid 1:1")

    assert inner_of(opened, pod) == INNER


def inner_of(opened, pod):
    """Return the programs at the pod's device as terwayd reads them back."""
    with pod.entered(), open_route_socket() as sock:
        (link,) = (one for one in sock.query(all_links()) if one.name == "eth0")
        return opened.datapath.read_inner(sock, link)
