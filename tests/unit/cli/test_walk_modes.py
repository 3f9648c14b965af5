"""Walks of pods with ENIs of their own or several interfaces, and what is known of other nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_interface, ip_network

import pytest

from terway.cli.checks_node import check_kernel
from terway.cli.doctor import examine
from terway.cli.hops import Hop, Packet, State
from terway.cli.question import packets_of, source_of
from terway.cli.show import show_lines
from terway.cli.snapshot import KubeNode, PodView, QueueView, Snapshot
from terway.cli.table import WIDTH
from terway.cli.walk import walk
from terway.cli.why import explain, why_lines
from terway.datapath.exclusive import LEG_IFNAME
from terway.datapath.masquerade import TABLE as MASQUERADE
from terway.linux.inspect import Seen
from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.eni import ENIType
from terway.model.ids import ENIId, InstanceId, MacAddress
from terway.model.interface import InterfaceSpec, Mode
from terway.model.network import LinkAddress, RoutingRule
from tests.support.snapshots import (
    ENI_ID,
    ENI_MAC,
    FAR,
    GATEWAY,
    NEAR,
    PODS,
    A,
    eni,
    healthy,
    host_name,
    link,
    route,
    standard_rules,
)

METADATA = IPv4Address("100.100.100.200")
OWN = IPv4Address("192.168.0.1")  # the node's
LINK_LOCAL = IPv4Address("169.254.1.1")
Change = Callable[[Snapshot], Snapshot]


def failure(hops: tuple[Hop, ...]) -> Hop | None:
    return next((one for one in hops if one.state is State.FAIL), None)


def with_node(there: Snapshot, **changes: object) -> Snapshot:
    assert there.kernel is not None
    node = replace(there.kernel.node, **changes)  # type: ignore[arg-type]
    return replace(there, kernel=replace(there.kernel, node=node))


def with_pod(there: Snapshot, name: str, **changes: object) -> Snapshot:
    kernel = there.kernel
    assert kernel is not None
    pods = tuple(
        replace(one, **changes) if one.key == PODS[name].key else one  # type: ignore[arg-type]
        for one in kernel.pods
    )
    return replace(there, kernel=replace(kernel, pods=pods))


def exclusive() -> Snapshot:
    """Return a node on which pod a has an ENI of its own, and a second leg."""
    there = healthy()
    journal, cloud, kernel = there.journal, there.cloud, there.kernel
    assert journal is not None
    assert cloud is not None
    assert kernel is not None
    own = replace(PODS["a"], spec=InterfaceSpec(mode=Mode.EXCLUSIVE))
    primary = replace(
        eni(ENIId("eni-0"), "i-1", (OWN,), MacAddress("00:16:3e:00:00:00")), type=ENIType.PRIMARY
    )
    there = replace(
        there,
        journal=replace(journal, attachments=(own,), is_exclusive=True, slots=()),
        cloud=replace(cloud, enis=(primary, *cloud.enis)),
        kernel=replace(kernel, pods=kernel.pods[:1]),
    )
    there = with_node(
        there,
        links=tuple(one for one in kernel.node.links if one.name in ("eth0", host_name("a"))),
        routes=(
            route("0.0.0.0/0", "eth0", via=IPv4Address("192.168.31.253")),
            route(f"{A}/32", host_name("a")),
        ),
        rules=standard_rules(),
        addresses=(LinkAddress(link="eth0", address=ip_interface(f"{OWN}/19")),),
    )
    return with_pod(there, "a", seen=inside())


def inside() -> Seen:
    """Return the namespace of a pod with its device and the second leg; 10.0.0.0/8 goes by that."""
    return Seen(
        links=(
            link("eth0", 9, mac=ENI_MAC),
            link(LEG_IFNAME, 2, kind="veth", peer_ifindex=4),
        ),
        addresses=(LinkAddress(link="eth0", address=ip_interface(A)),),
        routes=(
            route("0.0.0.0/0", "eth0", via=GATEWAY),
            route("10.0.0.0/8", LEG_IFNAME, via=LINK_LOCAL),
            route(f"{OWN}/32", LEG_IFNAME, via=LINK_LOCAL),
        ),
        rules=standard_rules(),
    )


def test_a_pod_with_an_eni_of_its_own_leaves_by_it_and_not_by_the_node() -> None:
    hops = walk(exclusive(), Packet(source=A, destination=FAR, port=80))

    assert failure(hops) is None
    assert "host link" not in [one.what for one in hops]


def test_what_goes_by_the_second_leg_leaves_with_the_nodes_address() -> None:
    service = IPv4Address("10.1.2.3")

    hops = walk(exclusive(), Packet(source=A, destination=FAR, port=80, service=service))

    assert failure(hops) is None
    words = [one.text for one in hops if one.what == "translation"]
    assert words == [f"it leaves with the node's address {OWN}"]


def test_without_the_table_that_translates_it_ends_there() -> None:
    there = exclusive()
    assert there.kernel is not None
    broken = replace(there, kernel=replace(there.kernel, missing_tables=(MASQUERADE,)))

    last = walk(broken, Packet(source=A, destination=FAR, service=IPv4Address("10.1.2.3")))[-1]

    assert (last.state, last.what) == (State.FAIL, "translation")
    assert any(MASQUERADE in one.what for one in check_kernel(broken))


def test_a_device_that_is_on_the_node_is_said_to_be_there() -> None:
    there = exclusive()
    assert there.kernel is not None
    device = link("eth7", 7, mac=ENI_MAC, is_up=False)
    back = with_node(there, links=(*there.kernel.node.links, device))
    back = with_pod(back, "a", seen=Seen(links=(), rules=standard_rules()))

    last = walk(back, Packet(source=A, destination=FAR))[-1]

    assert "is on the node, as eth7" in last.text


def test_devices_in_pods_and_waiting_ones_are_where_they_should_be() -> None:
    there = exclusive()
    assert there.kernel is not None
    whats = [one.what for one in examine(there)]

    assert [one for one in whats if "link" in one or "ENI" in one] == []
    assert any("in pod: eth0" in line for line in show_lines(there))


def test_an_eni_that_was_unplugged_is_one_finding_with_the_command_that_attaches_it() -> None:
    there = healthy()
    assert there.cloud is not None
    assert there.kernel is not None
    gone = replace(there, cloud=replace(there.cloud, enis=()))
    gone = with_node(gone, links=tuple(x for x in there.kernel.node.links if x.name != "eth1"))

    (found,) = examine(gone)

    assert found.what == f"ENI {ENI_ID} has no link on this node"
    assert "default/a, default/near" in found.why
    assert found.command == (
        f"aliyun ecs AttachNetworkInterface --NetworkInterfaceId {ENI_ID} --InstanceId i-1"
    )


def closed_to_metadata(there: Snapshot) -> Snapshot:
    assert there.kernel is not None
    rule = RoutingRule(
        family=Family.V4,
        priority=1024,
        table=0,
        source=ip_network(A),
        destination=ip_network(METADATA),
        is_prohibit=True,
    )
    return with_node(there, rules=(*there.kernel.node.rules, rule))


def test_metadata_that_a_pod_may_not_reach_names_the_annotation() -> None:
    last = walk(closed_to_metadata(healthy()), Packet(source=A, destination=METADATA, port=80))[-1]

    assert (last.state, last.what) == (State.FAIL, "routing")
    assert "k8s.aliyun.com/metadata-access" in last.text


def test_a_range_of_the_host_stack_is_the_nodes_and_what_is_behind_is_said_to_be_unseen() -> None:
    there = healthy()
    assert there.kernel is not None
    tunnel = IPv4Address("10.99.0.1")
    rule = RoutingRule(
        family=Family.V4, priority=1280, table=254, destination=ip_network("10.99.0.0/16")
    )
    node = there.kernel.node
    there = with_node(
        there,
        rules=(*node.rules, rule),
        routes=(*node.routes, route("10.99.0.0/16", "tun0")),
        links=(*node.links, link("tun0", 30)),
    )

    hops = walk(there, Packet(source=A, destination=tunnel))

    assert failure(hops) is None
    assert [(one.what, one.state) for one in hops[-2:]] == [
        ("host stack", State.OK),
        ("beyond", State.UNKNOWN),
    ]


def on_node_2(**changes: object) -> Snapshot:
    there = healthy()
    assert there.kubernetes is not None
    node = KubeNode(
        name="node-2",
        addresses=(IPv4Address("192.168.0.2"),),
        is_ready=True,
        provider_id="cn-hangzhou.i-2",
    )
    node = replace(node, **changes)  # type: ignore[arg-type]
    kube = replace(there.kubernetes, nodes=(*there.kubernetes.nodes, node))
    return replace(there, kubernetes=kube)


def test_of_another_node_its_instance_and_readiness_are_looked_at_and_the_rest_is_named() -> None:
    hops = walk(on_node_2(), Packet(source=A, destination=FAR, port=80))

    far = [(one.what, one.state) for one in hops if one.where == "node-2"]
    assert far == [
        ("instance", State.OK),
        ("node", State.OK),
        ("pod", State.OK),
        ("not looked at", State.UNKNOWN),
    ]


def test_another_node_that_is_not_ready_is_a_question_mark() -> None:
    there = on_node_2(is_ready=False, conditions=("Ready=False: down",))

    states = {one.what: one.state for one in walk(there, Packet(source=A, destination=FAR))}

    assert states["node"] is State.UNKNOWN


def test_an_address_on_an_eni_of_another_instance_than_its_node_fails_there() -> None:
    there = on_node_2(provider_id="cn-hangzhou.i-3")

    last = walk(there, Packet(source=A, destination=FAR))[-1]

    assert (last.state, last.where, last.what) == (State.FAIL, "node-2", "instance")
    assert InstanceId("i-2") in last.text


def test_what_a_limit_has_lost_is_a_note_and_no_failure() -> None:
    queue = QueueView(link="eth0", is_in_pod=True, dropped=7, waiting=0)
    there = with_pod(healthy(), "a", queues=(queue,))
    ((packet, target),) = packets_of(there, "a", str(FAR), "tcp", (4,))

    explained = explain(there, packet, target)

    assert explained.failure is None
    assert any("lost 7 packets" in one for one in explained.cautions)
    assert any("note: the limit on what default/a sends" in one for one in why_lines(explained))
    assert "pod default/a has lost packets to what it may send" in [x.what for x in examine(there)]


def two_interfaces() -> tuple[Snapshot, Attachment]:
    """Return pod a with eth1 beside eth0, which 10.97.0.0/16 leaves by."""
    there = healthy()
    assert there.journal is not None
    assert there.kernel is not None
    first = PODS["a"]
    second = replace(
        first,
        key=AttachmentKey(container_id=first.key.container_id, ifname="eth1"),
        lease=replace(first.lease, addresses=IPPair(v4=IPv4Address("192.168.96.1"))),
        spec=InterfaceSpec(parent="eth0", is_one_of_several=True),
    )
    view = there.kernel.pods[0]
    assert view.seen is not None
    seen = replace(
        view.seen, routes=(*view.seen.routes, route("10.97.0.0/16", "eth1", via=LINK_LOCAL))
    )
    there = with_pod(there, "a", seen=seen)
    assert there.kernel is not None
    other = PodView(key=second.key, host_link="cali2", seen=seen)
    assert there.journal is not None
    journal = replace(there.journal, attachments=(second, *there.journal.attachments))
    kernel = replace(there.kernel, pods=(*there.kernel.pods, other))
    return replace(there, journal=journal, kernel=kernel), first


@pytest.mark.parametrize(
    ("destination", "source"), [("10.97.0.1", "192.168.96.1"), ("192.168.32.21", str(A))]
)
def test_a_pod_sends_with_the_address_of_the_interface_its_routes_choose(
    destination: str, source: str
) -> None:
    there, first = two_interfaces()

    assert str(source_of(there, first, IPv4Address(destination))) == source


def test_a_packet_with_the_address_of_another_interface_ends_at_its_guard() -> None:
    there, _ = two_interfaces()

    last = walk(there, Packet(source=A, destination=IPv4Address("10.97.0.1")))[-1]

    assert (last.state, last.what) == (State.FAIL, "route")
    assert "leaves by eth1" in last.text


def test_near_is_near_whatever_the_mode() -> None:
    assert failure(walk(healthy(), Packet(source=A, destination=NEAR))) is None


@pytest.mark.parametrize("make", [healthy, exclusive, on_node_2])
def test_a_walk_fits_80_columns(make: Callable[[], Snapshot]) -> None:
    there = make()
    ((packet, target),) = packets_of(there, "a", f"{FAR}:80", "tcp", (4,))

    lines = list(why_lines(explain(there, packet, target)))

    assert [one for one in lines if len(one) > WIDTH] == []
