"""The walk of one packet, over snapshots: the first hop that fails is named, with its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from terway.cli.codec import parse, plain
from terway.cli.hops import Packet, State
from terway.cli.question import find_sender
from terway.cli.snapshot import CloudView, HostView, KernelView, KubeService, Snapshot
from terway.cli.target import find_target
from terway.cli.walk import walk
from terway.cloud.inspect import SecurityGroup
from terway.linux.inspect import Lookup
from terway.model.eni import ENIStatus
from terway.model.errors import TransientError, UsageError
from terway.model.network import Sysctl
from tests.support.snapshots import (
    ENI_ID,
    FAR,
    GROUP,
    NEAR,
    A,
    from_pod,
    healthy,
    host_name,
    to_pod,
)

TO_FAR = Packet(source=A, destination=FAR, port=80)
TO_NEAR = Packet(source=A, destination=NEAR, port=80)
Break = Callable[[Snapshot], Snapshot]


def in_kernel(change: Callable[[KernelView], KernelView]) -> Break:
    def changed(snapshot: Snapshot) -> Snapshot:
        assert snapshot.kernel is not None
        return replace(snapshot, kernel=change(snapshot.kernel))

    return changed


def in_cloud(change: Callable[[CloudView], CloudView]) -> Break:
    def changed(snapshot: Snapshot) -> Snapshot:
        assert snapshot.cloud is not None
        return replace(snapshot, cloud=change(snapshot.cloud))

    return changed


def without_rule(rule: object) -> Break:
    return in_kernel(
        lambda k: replace(
            k, node=replace(k.node, rules=tuple(x for x in k.node.rules if x != rule))
        )
    )


def without_route(device: str) -> Break:
    return in_kernel(
        lambda k: replace(
            k, node=replace(k.node, routes=tuple(x for x in k.node.routes if x.link != device))
        )
    )


def with_link(name: str, **changes: object) -> Break:
    def change(kernel: KernelView) -> KernelView:
        links = tuple(
            replace(one, **changes) if one.name == name else one  # type: ignore[arg-type]
            for one in kernel.node.links
        )
        return replace(kernel, node=replace(kernel.node, links=links))

    return in_kernel(change)


def pod_is_gone(kernel: KernelView) -> KernelView:
    return replace(kernel, pods=tuple(replace(one, seen=None) for one in kernel.pods))


def forwards_nothing(kernel: KernelView) -> KernelView:
    off = (Sysctl(path="net/ipv4/ip_forward", value="0"),)
    return replace(kernel, node=replace(kernel.node, sysctls=off))


def address_taken(cloud: CloudView) -> CloudView:
    enis = tuple(replace(one, ipv4=(NEAR,)) for one in cloud.enis)
    return replace(cloud, enis=enis)


def detached(cloud: CloudView) -> CloudView:
    return replace(
        cloud, enis=tuple(replace(one, status=ENIStatus.DETACHING) for one in cloud.enis)
    )


def closed(cloud: CloudView) -> CloudView:
    return replace(cloud, groups=(SecurityGroup(id=GROUP, is_inner_open=False, rules=()),))


def gateway_failed(kernel: KernelView) -> KernelView:
    failed = tuple(replace(one, state="failed") for one in kernel.node.neighbours)
    return replace(kernel, node=replace(kernel.node, neighbours=failed))


@pytest.mark.parametrize("packet", [TO_FAR, TO_NEAR], ids=["far", "near"])
def test_on_a_healthy_node_no_hop_fails(packet: Packet) -> None:
    hops = walk(healthy(), packet)

    assert [one for one in hops if one.state is State.FAIL] == []
    assert len(hops) > 5


@pytest.mark.parametrize(
    ("packet", "break_it", "where", "what", "words"),
    [
        (TO_FAR, in_kernel(pod_is_gone), "pod default/a", "namespace", "is gone"),
        (TO_FAR, with_link(host_name("a"), is_up=False), "node", "host link", "is down"),
        (TO_FAR, with_link(host_name("a"), alias="terway x/eth0"), "node", "host link", "another"),
        (TO_FAR, with_link(host_name("a"), peer_ifindex=77), "node", "host link", "one veth"),
        (TO_FAR, in_kernel(forwards_nothing), "node", "forwarding", "ip_forward is 0"),
        (TO_FAR, with_link("eth1", is_up=False), "node", f"link of {ENI_ID}", "eth1 is down"),
        (TO_FAR, with_link("eth1", has_carrier=False), "node", f"link of {ENI_ID}", "no carrier"),
        (TO_FAR, with_link("eth1", mac=None), "node", f"link of {ENI_ID}", "no link has the MAC"),
        (TO_FAR, without_rule(from_pod(A)), "node", "routing", "rule 2048 from 192.168.32.11"),
        (TO_FAR, without_route("eth1"), "node", "routing", "table 1003 of eth1 has no way"),
        (TO_FAR, in_kernel(gateway_failed), "node", "gateway 192.168.63.253", "not answer"),
        (TO_FAR, in_cloud(detached), "VPC", "ENI", "Detaching"),
        (TO_FAR, in_cloud(address_taken), "VPC", "source check", "does not have 192.168.32.11"),
        (TO_FAR, in_cloud(closed), "VPC", "security group, in", "no rule of sg-1 lets it in"),
        (TO_NEAR, without_rule(to_pod(NEAR)), "node", "routing", "rule 512 to"),
        (TO_NEAR, without_route(host_name("near")), "node", "routing", "is missing"),
        (TO_NEAR, with_link(host_name("near"), is_up=False), "node", "host link", "is down"),
        (TO_NEAR, without_route(host_name("a")), "node", "answer's routing", "is missing"),
    ],
)
def test_a_fault_is_named_where_it_is(
    packet: Packet, break_it: Break, where: str, what: str, words: str
) -> None:
    broken = break_it(healthy())

    last = walk(broken, packet)[-1]

    assert (last.state, last.where, last.what) == (State.FAIL, where, what)
    assert words in last.text
    assert last.remedy


def test_an_address_that_nobody_has_is_said_to_be_nobodys() -> None:
    nobody = IPv4Address("192.168.99.9")
    asked = in_cloud(lambda cloud: replace(cloud, asked=(nobody,)))(healthy())

    last = walk(asked, Packet(source=A, destination=nobody))[-1]

    assert (last.state, last.what) == (State.FAIL, "receiving ENI")


def test_the_kernels_own_word_goes_before_ours() -> None:
    refused = Lookup(
        destination=FAR, source=A, iif=host_name("a"), route=None, refusal="EXDEV: invalid"
    )
    asked = in_kernel(lambda kernel: replace(kernel, lookups=(refused,)))(healthy())

    last = walk(asked, TO_FAR)[-1]

    assert last.state is State.FAIL
    assert "EXDEV: invalid" in last.text


def test_a_cloud_that_does_not_answer_is_a_question_mark_and_no_failure() -> None:
    hops = walk(replace(healthy(), cloud=None), TO_FAR)

    assert [one.state for one in hops if one.where == "VPC"] == [State.UNKNOWN]


def test_without_the_journal_nothing_can_be_said() -> None:
    with pytest.raises(TransientError, match="journal"):
        walk(replace(healthy(), journal=None), TO_FAR)


def test_a_bundle_is_walked_as_the_node_was() -> None:
    read_back = parse(Snapshot, plain(healthy()))

    assert read_back == healthy()
    assert walk(read_back, TO_FAR) == walk(healthy(), TO_FAR)


SERVICE = KubeService(
    namespace="default",
    name="web",
    cluster_ips=(IPv4Address("172.16.0.10"),),
    ports=(80,),
    endpoints=(FAR,),
)


def with_service(service: KubeService, *programs: str) -> Snapshot:
    there = healthy()
    assert there.kubernetes is not None
    return replace(
        there,
        kubernetes=replace(there.kubernetes, services=(service,)),
        host=HostView(kernel_release="", features={}, programs=programs),
    )


@pytest.mark.parametrize("text", ["svc/web:80", "svc/default/web:80", "172.16.0.10:80"])
def test_a_service_is_walked_to_one_of_its_endpoints(text: str) -> None:
    target = find_target(with_service(SERVICE, "kube-proxy"), text, namespace="default")

    assert (target.addresses, target.port) == ((FAR,), 80)
    assert [one.state for one in target.hops] == [State.OK]


def test_a_service_that_nobody_translates_fails_there() -> None:
    target = find_target(with_service(SERVICE), "svc/web", namespace="default")

    assert target.hops[0].state is State.FAIL
    assert "nobody translates it" in target.hops[0].text


def test_a_service_without_endpoints_fails_there() -> None:
    empty = replace(SERVICE, endpoints=())
    target = find_target(with_service(empty, "kube-proxy"), "svc/web", namespace="default")

    assert "no endpoints" in target.hops[0].text


def test_a_name_that_nothing_has_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="'nothing' is not known"):
        find_target(healthy(), "nothing:80", namespace="default")


def test_a_pod_of_another_node_is_said_to_be_there() -> None:
    with pytest.raises(UsageError, match="pod default/far is on node-2"):
        find_sender(healthy(), "far")
