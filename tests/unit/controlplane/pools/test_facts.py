"""What a node can have: by the documentation's formulas, and as its resource shows it."""

from __future__ import annotations

import pytest

from terway.controlplane.pools.facts import EXCLUSIVE, cap_of, device_counts, max_available_ips
from terway.kube.crds import Flavor, NetworkCard, NodeCap, NodeENISpec, NodeSpec
from terway.model.eni import InstanceLimits

LIMITS = InstanceLimits(
    instance_type="ecs.g7.2xlarge",
    eni_quantity=4,
    eni_private_ip_address_quantity=15,
    eni_ipv6_address_quantity=15,
    eni_trunk_supported=True,
    eni_total_quantity=10,
    bandwidth_rx_kbits=10_485_760,
    bandwidth_tx_kbits=8_388_608,
    network_cards=(0, 1),
)
WHOLE = {EXCLUSIVE: "eniOnly"}


def spec(*, trunks: int = 0, secondaries: int = 3, has_prefixes: bool = False) -> NodeSpec:
    flavor = [
        Flavor(network_interface_type=kind, network_interface_traffic_mode=mode, count=count)
        for kind, mode, count in (
            ("Trunk", "Standard", trunks),
            ("Secondary", "Standard", secondaries),
            ("Secondary", "HighPerformance", 1),  # RDMA: pods' addresses are not of it
        )
    ]
    eni = NodeENISpec(enable_ip_prefix=has_prefixes)
    return NodeSpec(node_cap=cap_of(LIMITS), eni=eni, flavor=tuple(flavor))


def test_the_resource_shows_what_the_type_allows():
    cap = cap_of(LIMITS)
    assert (cap.adapters, cap.total_adapters, cap.ipv4_per_adapter) == (4, 10, 15)
    assert (cap.instance_bandwidth_rx, cap.instance_bandwidth_tx) == (10_485_760, 8_388_608)
    assert cap.network_cards == (NetworkCard(index=0), NetworkCard(index=1))
    assert cap.network_cards_count == 2


def test_members_are_what_is_left_of_all_enis():
    cap = cap_of(LIMITS)
    assert cap.member_adapter_limit == 10 - 4
    assert cap.max_member_adapter_limit == 10 - 2


@pytest.mark.parametrize(
    ("said", "labels", "most"),
    [
        (spec(), {}, 3 * 15),
        (spec(trunks=1, secondaries=2), {}, 3 * 15),
        (spec(), WHOLE, 3),
        (spec(has_prefixes=True), {}, (15 - 1) * 16 * (10 - 1)),
        (NodeSpec(), {}, None),
    ],
    ids=["shared", "with a trunk", "exclusive", "prefixes", "its agent has not spoken"],
)
def test_schedulers_are_told_how_many_addresses_fit(said, labels, most):
    assert max_available_ips(said, labels) == most


@pytest.mark.parametrize(
    ("enabled", "has_v6", "labels", "counts"),
    [
        (True, False, {}, {"aliyun/erdma": "30"}),
        (True, True, {}, {"aliyun/erdma": "20"}),
        (False, False, {}, {}),
        (True, False, WHOLE, {}),
    ],
)
def test_pods_with_rdma_are_as_many_as_its_enis_have_addresses(enabled, has_v6, labels, counts):
    fast = Flavor(
        network_interface_type="Secondary",
        network_interface_traffic_mode="HighPerformance",
        count=2,
    )
    cap = NodeCap(adapters=8, ipv4_per_adapter=15, ipv6_per_adapter=10, eri_quantity=4)
    eni = NodeENISpec(enable_erdma=enabled, enable_ipv4=True, enable_ipv6=has_v6)

    found = device_counts(NodeSpec(eni=eni, node_cap=cap, flavor=(fast,)), labels, has_trunk=False)

    assert {name: one for name, one in found.items() if "erdma" in name} == counts


def test_members_are_counted_once_there_is_a_trunk():
    said = spec(trunks=1, secondaries=2)
    assert device_counts(said, {}, has_trunk=False) == {}
    counts = device_counts(said, {}, has_trunk=True, pooled=3)
    assert counts == {"aliyun/member-eni": "6", "aliyun/eni": "0"}


@pytest.mark.parametrize(("pooled", "left"), [(0, "3"), (1, "2"), (3, "0"), (4, "0")])
def test_where_pods_share_enis_one_can_have_whole_what_is_left_of_the_slots(pooled, left):
    assert device_counts(spec(), {}, has_trunk=False, pooled=pooled) == {"aliyun/eni": left}


def test_nothing_is_promised_before_the_agent_has_spoken():
    assert device_counts(NodeSpec(), {}, has_trunk=False) == {}


def test_nodes_of_whole_enis_count_those():
    assert device_counts(spec(), WHOLE, has_trunk=False) == {"aliyun/eni": "3"}
