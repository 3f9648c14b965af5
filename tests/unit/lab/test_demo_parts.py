"""What the demo measures and shows, and the plan behind a lab."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terway.agent.node_report import MAX_AVAILABLE_IP
from terway.kube.types import Node, ObjectMeta
from terway.lab.demo.isolation import attempts_of
from terway.lab.demo.measure import Measurement, choose_paths
from terway.lab.demo.summary import align, node_table, pod_table, shorten, traffic_table
from terway.lab.world.plan import LabPlan, eni_config, plan_from_json, plan_to_json
from terway.lab.world.report import pods_at_most
from terway.model.address import Family, IPStack


def pod(name: str, node: str, *, host_network: bool = False) -> dict[str, Any]:
    return {
        "namespace": "shop",
        "name": name,
        "node": node,
        "ready": True,
        "host_network": host_network,
        "addresses": ["192.168.32.1", "2001:db8::1"],
    }


def node(name: str) -> dict[str, Any]:
    addresses = ["192.168.0.1", "2001:db8:1::1"]
    return {"name": name, "ready": True, "addresses": addresses, "pods": 2, "max_pods": 45}


def eni(kind: str, ipv4: list[str], ipv6: list[str], **prefixes: list[str]) -> dict[str, Any]:
    without: dict[str, Any] = {"ipv4_prefixes": [], "ipv6_prefixes": []}
    return {"node": "node-1", "type": kind, "ipv4": ipv4, "ipv6": ipv6, **without, **prefixes}


STATUS = {
    "nodes": [node("node-1"), node("node-2")],
    "enis": [
        eni("Primary", ["a"], ["b"]),
        eni("Secondary", ["a", "b"], ["c"]),
    ],
    "pods": [pod("web-1", "node-1"), pod("web-2", "node-1"), pod("web-3", "node-2")],
}


def test_who_is_allowed_and_who_is_not_are_tried_in_each_family() -> None:
    status = {**STATUS, "pods": [*STATUS["pods"], pod("client-1", "node-2")]}

    tried = attempts_of(status, (Family.V4, Family.V6))

    assert {one.target.target for one in tried} == {"shop/web-1"}
    assert [(one.source.target, one.is_allowed) for one in tried[::2]] == [
        ("shop/client-1", True),
        ("shop/web-3", False),
        ("node-2", False),
    ]
    assert [one.family for one in tried[:2]] == [Family.V4, Family.V6]


def test_every_kind_of_path_is_measured_once() -> None:
    paths = choose_paths(STATUS)

    assert [(a.node, b.node) for a, b in paths.values()] == [
        ("node-1", "node-1"),
        ("node-1", "node-2"),
        ("node-1", "node-1"),
        ("node-1", "node-2"),
        ("node-1", "node-1"),
        ("node-2", "node-1"),
    ]


def test_a_cluster_without_neighbours_has_one_path_less() -> None:
    alone = {**STATUS, "pods": [pod("web-1", "node-1"), pod("web-3", "node-2")]}

    assert "pod to pod, same node" not in choose_paths(alone)


def test_the_primary_eni_is_counted_apart() -> None:
    assert node_table(STATUS)[1].split() == [
        *("node-1", "Ready", "192.168.0.1", "1+1", "2/1", "2", "of", "45")
    ]


def test_addresses_of_prefixes_are_counted() -> None:
    held = eni(
        "Secondary",
        ["a"],
        ["b"],
        ipv4_prefixes=["192.168.32.16/28", "192.168.32.32/28"],
        ipv6_prefixes=["2001:db8::/80"],
    )

    assert node_table({**STATUS, "enis": [held]})[1].split()[4] == "33/1+1x/80"


@pytest.mark.parametrize(("said", "most"), [({}, 45), ({MAX_AVAILABLE_IP: "32"}, 32)])
def test_a_node_takes_no_more_pods_than_it_has_addresses_for(
    said: dict[str, str], most: int
) -> None:
    assert pods_at_most(Node(metadata=ObjectMeta(name="n", annotations=said)), 45) == most


def test_host_network_pods_have_no_addresses_of_their_own_to_show() -> None:
    status = {**STATUS, "pods": [pod("probe", "node-1", host_network=True)]}

    assert pod_table(status) == ["no pods"]


def test_a_changed_source_address_is_shown() -> None:
    seen = Measurement(
        path="pod to pod",
        family=Family.V4,
        source="192.168.32.1",
        destination="192.168.32.2",
        seen_as="192.168.0.1",
        rtt_us=20.4,
        bits_per_s=12.34e9,
    )

    assert traffic_table([seen])[1].split("  ")[-1] == "192.168.0.1"
    assert "20 us" in traffic_table([seen])[1]


@given(st.text(max_size=60), st.integers(min_value=6, max_value=40))
def test_a_shortened_text_fits(text: str, width: int) -> None:
    assert len(shorten(text, width)) <= width


def test_columns_are_below_each_other() -> None:
    assert align([("a", "b"), ("ccc", "d")]) == ["a    b", "ccc  d"]


def test_a_plan_survives_the_way_to_its_process() -> None:
    plan = LabPlan(name="x", stack=IPStack.IPV4, chained=({"type": "tuning"},), nodes=1)

    assert plan_from_json(plan_to_json(plan)) == plan


@pytest.mark.parametrize("stack", list(IPStack))
def test_eni_config_is_what_upstreams_users_write(stack: IPStack) -> None:
    plan = LabPlan(stack=stack, eni_conf={"max_pool_size": 7})

    data = eni_config(plan, vswitch_ids=("vsw-1",), security_group_id="sg-1")

    conf = json.loads(data["eni_conf"])
    assert conf["vswitches"] == {"cn-hangzhou-i": ["vsw-1"]}
    assert (conf["ip_stack"], conf["max_pool_size"]) == (stack.value, 7)
    assert json.loads(data["10-terway.conf"])["type"] == "terway"
    assert "10-terway.conflist" not in data


def test_a_chained_plugin_comes_after_ours() -> None:
    plan = LabPlan(chained=({"type": "portmap"},))

    data = eni_config(plan, vswitch_ids=("vsw-1",), security_group_id="sg-1")

    plugins = json.loads(data["10-terway.conflist"])["plugins"]
    assert [plugin["type"] for plugin in plugins] == ["terway", "portmap"]
