"""The walk of a packet through the eBPF data path, over what its maps have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from terway.cli.codec import parse, plain
from terway.cli.hops import Hop, Packet, State
from terway.cli.question import every_frontend, frontends_of, packets_of
from terway.cli.snapshot import KubeService, Snapshot
from terway.cli.snapshot_ebpf import (
    BackendView,
    ChoiceView,
    DataPathView,
    FrontendView,
    LocalView,
)
from terway.cli.target import find_target
from terway.cli.walk import walk
from terway.cli.why import explain
from terway.linux.ebpf.stamp import stamp_name
from terway.linux.netlink.shown import ShownNeighbour
from terway.model.address import IPPair
from terway.model.endpoint import EndpointKind
from terway.model.errors import UsageError
from tests.support.datapath_snapshot import (
    ENI_LINK,
    NODE,
    datapath,
    endpoint,
    hook,
    number_of,
    with_datapath,
)
from tests.support.snapshots import FAR, GATEWAY, NEAR, PODS, A

TO_FAR = Packet(source=A, destination=FAR, port=80)
TO_NEAR = Packet(source=A, destination=NEAR, port=80)
CLUSTER_IP = IPv4Address("172.16.0.10")
SHOP = KubeService(
    namespace="default", name="shop", cluster_ips=(CLUSTER_IP,), ports=(443,), endpoints=(NEAR,)
)
ONE = BackendView(number=1, address=NEAR, port=8443)
FRONTEND = FrontendView(
    address=CLUSTER_IP, port=443, protocol="tcp", is_known=True, backends=(ONE,)
)


def texts(hops: tuple[Hop, ...]) -> list[str]:
    return [f"{one.state.value} {one.where}: {one.what}: {one.text}" for one in hops]


def test_a_packet_to_a_pod_of_the_node_goes_straight_into_its_namespace():
    hops = texts(walk(with_datapath(), TO_NEAR))

    assert all(one.startswith("ok") for one in hops)
    assert any("straight into its namespace" in one for one in hops)
    assert not any("forwarding" in one for one in hops)


def test_a_packet_out_of_the_node_goes_past_its_stack_and_on_to_the_far_end():
    hops = texts(walk(with_datapath(), TO_FAR))

    assert f"ok data path: redirect: by eth1 to {GATEWAY}, past the node's stack" in hops
    assert any(one.startswith("ok VPC: receiving ENI") for one in hops)
    assert not any("FAIL" in one for one in hops)


def test_what_comes_for_a_limited_pod_goes_through_its_queue():
    limited = endpoint("near")
    limited = replace(limited, endpoint=replace(limited.endpoint, is_queued=True))
    hops = texts(walk(with_datapath(endpoints=(endpoint("a"), limited)), TO_NEAR))

    assert any("through the queue of" in one for one in hops)


def test_a_packet_for_the_node_itself_is_left_to_its_stack():
    hops = texts(walk(with_datapath(), replace(TO_NEAR, destination=NODE)))

    assert f"ok data path: delivery: left to the node's stack: {NODE} is the node's own" in hops
    assert any("forwarding" in one for one in hops)


def test_a_prefix_of_host_stack_is_left_to_the_nodes_stack():
    view = datapath()
    assert view.node is not None
    known = replace(view.node, host_stack=(IPv4Network("169.254.20.10/32"),))
    local_dns = replace(TO_FAR, destination=IPv4Address("169.254.20.10"))
    hops = texts(walk(with_datapath(node=known), local_dns))

    assert any("169.254.20.10/32 is left to the node's stack" in one for one in hops)


Broken = Callable[[], DataPathView]


def without_program(name: str) -> Broken:
    return lambda: replace(
        datapath(), hooks=tuple(one for one in datapath().hooks if one.program != name)
    )


def eni_elsewhere() -> DataPathView:
    wrong = endpoint("a")
    wrong = replace(wrong, endpoint=replace(wrong.endpoint, eni=2))
    return replace(datapath(), endpoints=(wrong, endpoint("near")))


def without_gateway() -> DataPathView:
    wrong = endpoint("a")
    wrong = replace(wrong, endpoint=replace(wrong.endpoint, gateways=IPPair()))
    return replace(datapath(), endpoints=(wrong, endpoint("near")))


@pytest.mark.parametrize(
    ("broken", "packet", "text"),
    [
        (
            lambda: replace(datapath(), endpoints=(endpoint("near"),)),
            TO_FAR,
            "pod default/a is not known to the programs",
        ),
        (without_program("from_pod"), TO_FAR, "pod default/a lacks program from_pod"),
        (without_program("from_eni"), TO_FAR, "eth1 lacks program from_eni"),
        (
            lambda: replace(datapath(), links=()),
            TO_FAR,
            "pod default/a lacks an owner of its link",
        ),
        (
            lambda: replace(
                datapath(), locals=(LocalView(address=NEAR, endpoint=number_of("near")),)
            ),
            TO_NEAR,
            f"{A} is not led to pod default/a",
        ),
        (
            lambda: replace(
                datapath(),
                locals=(*datapath().locals[:1], LocalView(address=NEAR, endpoint=77)),
            ),
            TO_NEAR,
            f"{NEAR} is endpoint 77, which the maps do not have",
        ),
        (eni_elsewhere, TO_FAR, f"the programs send {A} by eth0; its ENI is eth1"),
        (without_gateway, TO_FAR, "no gateway of IPv4 is known for eth1"),
    ],
)
def test_the_first_hop_that_fails_is_named(broken, packet, text):
    hops = walk(replace(with_datapath(), ebpf=broken()), packet)

    assert hops[-1].state is State.FAIL
    assert text in hops[-1].text
    assert hops[-1].remedy


def test_a_gateway_that_does_not_answer_ends_the_walk():
    snapshot = with_datapath()
    assert snapshot.kernel is not None
    silent = ShownNeighbour(link="eth1", address=GATEWAY, state="failed", mac=None)
    node = replace(snapshot.kernel.node, neighbours=(silent,))
    hops = walk(replace(snapshot, kernel=replace(snapshot.kernel, node=node)), TO_FAR)

    assert hops[-1].text == "it does not answer on eth1"


def test_a_pod_that_is_a_child_of_its_eni_has_its_programs_inside():
    children = []
    for name in PODS:
        one = endpoint(name)
        inner = replace(one.endpoint, kind=EndpointKind.IPVLAN)
        children.append(replace(one, endpoint=inner, link=ENI_LINK))
    hooks = [
        replace(hook("eth0", 2, which, program), pod=held.key)
        for name, held in PODS.items()
        for which, program in (
            ("egress", stamp_name(number_of(name))),
            ("egress", "out_of_pod"),
            ("ingress", "into_pod"),
        )
    ]
    whole = with_datapath(endpoints=tuple(children), hooks=tuple(hooks), links=())
    hops = texts(walk(whole, TO_NEAR))
    assert any("a child of the same ENI" in one for one in hops)
    assert not any("FAIL" in one or "host link" in one for one in hops)

    without = with_datapath(endpoints=tuple(children), hooks=tuple(hooks[1:]), links=())
    assert "lacks program tw_" in walk(without, TO_NEAR)[-1].text


def shop(frontend: FrontendView, service: KubeService = SHOP) -> Snapshot:
    snapshot = with_datapath(frontends=(frontend,))
    assert snapshot.kubernetes is not None
    kube = replace(snapshot.kubernetes, services=(service,))
    return replace(snapshot, kubernetes=kube)


def asked(snapshot: Snapshot, destination: str = "svc/shop") -> tuple[Packet, tuple[Hop, ...]]:
    ((packet, target),) = packets_of(snapshot, "a", destination, "tcp", (4,))
    return packet, explain(snapshot, packet, target).hops


def test_a_service_leads_to_the_backend_that_the_maps_have_at_its_port():
    packet, hops = asked(shop(FRONTEND))

    assert (packet.destination, packet.port, packet.service) == (NEAR, 8443, CLUSTER_IP)
    assert texts(hops)[0] == (
        f"ok data path: service default/shop: {CLUSTER_IP}:443 has 1 endpoint; "
        f"a new connection gets {NEAR}:8443"
    )
    assert not any(one.state is State.FAIL for one in hops)


def test_a_connection_that_the_pod_has_goes_on_to_its_backend():
    other = BackendView(number=2, address=FAR, port=8443)
    choices = (
        ChoiceView(source=A, source_port=40000, backend=2, is_there=True),
        ChoiceView(source=A, source_port=40001, backend=9, is_there=False),
    )
    packet, hops = asked(shop(replace(FRONTEND, backends=(ONE, other), choices=choices)))

    assert packet.destination == FAR
    assert hops[0].text == (
        f"{CLUSTER_IP}:443 has 2 endpoints; the pod has 1 connection, one of them to {FAR}:8443; "
        "1 connection had an endpoint that went"
    )


@pytest.mark.parametrize(
    ("frontend", "service", "text"),
    [
        (replace(FRONTEND, is_known=False), SHOP, "which has not heard of it"),
        (replace(FRONTEND, backends=()), SHOP, "internalTrafficPolicy Local, and none is on"),
        (
            replace(FRONTEND, backends=()),
            replace(SHOP, endpoints=()),
            "no ready pod matches its selector",
        ),
    ],
)
def test_a_service_without_a_way_says_why(frontend, service, text):
    _, hops = asked(shop(frontend, service))

    assert hops[-1].state is State.FAIL
    assert text in hops[-1].text


def test_a_service_of_many_ports_wants_one_named():
    many = replace(SHOP, ports=(80, 443))
    with pytest.raises(UsageError, match=r"has ports 80, 443: .* write svc/default/shop:80"):
        asked(shop(FRONTEND, many))

    packet, _ = asked(shop(FRONTEND, many), "svc/shop:443")
    assert packet.destination == NEAR


def test_a_port_of_two_protocols_is_one_port():
    packet, _ = asked(shop(FRONTEND, replace(SHOP, ports=(443, 443))))

    assert packet.destination == NEAR


def test_a_port_that_the_service_has_not_is_the_askers_mistake():
    none = replace(FRONTEND, port=81, is_known=False, backends=())
    _, hops = asked(shop(none), "svc/shop:81")

    assert hops[-1].text == f"{CLUSTER_IP} has no port 81/tcp: the service's are 443"
    assert hops[-1].remedy.startswith("ask for one of them")


def test_a_headless_service_is_asked_by_its_pods():
    with pytest.raises(UsageError, match=r"is headless: .* ask about one of its pods"):
        asked(shop(FRONTEND, replace(SHOP, cluster_ips=())))


def test_source_ranges_that_leave_the_pod_out_end_the_walk():
    address = IPv4Address("10.99.0.1")
    closed = replace(FRONTEND, address=address, has_source_ranges=True, is_in_ranges=False)
    _, hops = asked(shop(closed), f"{address}:443")

    assert hops[-1].state is State.FAIL
    assert "lets in its loadBalancerSourceRanges only" in hops[-1].text


def test_each_family_has_its_own_translation():
    """One without endpoints says nothing of the other."""
    six = IPv6Address("fd00:10::a")
    empty = replace(FRONTEND, address=six, backends=())
    dual = replace(SHOP, cluster_ips=(CLUSTER_IP, six))
    snapshot = shop(FRONTEND, dual)
    assert snapshot.ebpf is not None
    snapshot = replace(snapshot, ebpf=replace(snapshot.ebpf, frontends=(FRONTEND, empty)))

    packet, hops = asked(snapshot)
    assert packet.destination == NEAR
    assert not any("fd00:10::a" in one.text for one in hops)
    target = find_target(snapshot, "svc/shop", namespace="default")
    (only,) = target.hops_of(6)
    assert only.state is State.FAIL
    assert only.text.startswith("[fd00:10::a]:443 has no endpoint")


def test_an_address_of_a_load_balancer_is_translated_like_any_frontend():
    address = IPv4Address("10.99.0.1")
    packet, hops = asked(shop(replace(FRONTEND, address=address)), f"{address}:443")

    assert packet.destination == NEAR
    assert hops[0].what == f"a service's {address}:443"


def test_the_maps_are_asked_about_what_a_service_may_be_before_they_are_read():
    before = replace(shop(FRONTEND), ebpf=None)

    assert [
        (one.address, one.port, one.source) for one in frontends_of(before, "a", "svc/shop", "tcp")
    ] == [(CLUSTER_IP, 443, A)]
    assert [one.address for one in frontends_of(before, "a", "10.99.0.1:443", "tcp")] == [
        IPv4Address("10.99.0.1")
    ]
    assert list(frontends_of(before, "a", "10.99.0.1", "tcp")) == []


def test_a_bundle_has_the_frontends_of_services_by_both_protocols():
    found = [(one.address, one.port, one.protocol) for one in every_frontend(shop(FRONTEND))]

    assert found == [(CLUSTER_IP, 443, "tcp"), (CLUSTER_IP, 443, "udp")]


def test_a_service_that_others_translate_is_left_to_the_nodes_stack():
    snapshot = with_datapath(does_services=False)
    assert snapshot.ebpf is not None
    assert snapshot.ebpf.node is not None
    node = replace(snapshot.ebpf.node, host_stack=(IPv4Network("172.16.0.0/16"),))
    snapshot = replace(snapshot, ebpf=replace(snapshot.ebpf, node=node))
    hops = texts(walk(snapshot, replace(TO_NEAR, service=CLUSTER_IP)))

    assert any("172.16.0.0/16 is left to the node's stack" in one for one in hops)


def test_a_snapshot_with_a_data_path_survives_a_bundle():
    snapshot = shop(FRONTEND)

    assert parse(Snapshot, plain(snapshot)) == snapshot
