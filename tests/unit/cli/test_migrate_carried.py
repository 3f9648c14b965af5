"""What becomes of upstream's custom resources is said by name, and what cannot be carried, too."""

from __future__ import annotations

import pytest

from terway.cli.migrate_carried import carry
from terway.cli.migrate_pools import as_upstreams
from terway.controlplane.install import read_definitions
from tests.support.upstream_resources import (
    eni_of_cloud,
    network_interface,
    node_runtime,
    pod_eni,
    pod_networking,
    pool_node,
)

SCHEMAS = {
    one["spec"]["names"]["kind"]: one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for one in read_definitions()
}
ENI = eni_of_cloud("eni-1", 9, 10)
POD_ENI = pod_eni("db-0", ENI, uid="u", node="node-1", instance="i-1", trunk="eni-t", vid=1)
NODE = pool_node(
    "node-1",
    [ENI],
    instance="i-1",
    held={"192.168.32.10": ("default/web", "u-2")},
    cidr="192.168.32.0/19",
)
NETWORKING = pod_networking("fixed", vswitch="vsw-1", group="sg-1", app="db")


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (POD_ENI, "PodENI default/db-0 keeps 192.168.32.9, eni-1, 00:16:3e:00:00:01: 30m0s"),
        (NODE, "pools are believed as they are: 1 Node with 1 ENI, 2 addresses, 1 of them pods'"),
        (NETWORKING, ""),
        (network_interface(POD_ENI, ENI, vid=1), ""),
        (node_runtime("node-1", {"u-2": "default/web"}), ""),
    ],
    ids=lambda one: one["kind"] if isinstance(one, dict) else "",
)
def test_nothing_of_what_upstream_writes_is_unknown_to_our_definitions(one, said):
    found = carry(one["kind"], [one], SCHEMAS[one["kind"]])

    assert found.lost == ()
    assert "".join(found.said) == said


def test_fields_that_are_dropped_are_told_by_path_and_number():
    old = [network_interface(POD_ENI, ENI, vid=1, cardIndex=n) for n in range(2)]

    found = carry("NetworkInterface", old, SCHEMAS["NetworkInterface"])

    assert found.lost == ("status.cardIndex, of 2 objects",)
    assert "not carried over: NetworkInterface status.cardIndex, of 2 objects" in found.lines()
    assert carry("NetworkInterface", old, None).lost == ()  # the definition stays


def test_what_is_under_way_and_what_is_not_ready_is_told():
    moving = {**POD_ENI, "status": {"phase": "Binding"}}
    failed = {**NETWORKING, "status": {"status": "Fail", "message": "vsw-1: not found"}}
    wrong = {**NETWORKING, "spec": {"allocationType": {"type": "Sticky"}}}

    (_, phase) = carry("PodENI", [moving], None).said
    (not_ready,) = carry("PodNetworking", [failed], None).said
    (unreadable,) = carry("PodNetworking", [wrong], None).said

    assert phase == "PodENI default/db-0 is Binding: our control plane goes on with it"
    assert "vsw-1: not found" in not_ready
    assert "no pod would have it" in unreadable
    assert "Sticky" in unreadable


def test_of_many_objects_a_few_are_named():
    lines = list(carry("PodENI", [POD_ENI] * 8, None).lines())

    assert len(lines) == 6
    assert lines[-1] == "and 3 more PodENIs"


def test_what_we_wanted_back_of_a_node_and_nobody_gave_is_valid_for_upstream():
    """Upstream takes a Deleting address from the ENI without asking who has it."""
    recalled = {"ip": "10.0.0.1", "primary": False, "status": "Deleting", "recall": 3}
    given = {"ip": "10.0.0.2", "primary": False, "status": "Deleting", "recall": 4}
    asked_again = {"ip": "10.0.0.3", "primary": False, "status": "Deleting", "recall": 5}
    addresses = {one["ip"]: one for one in (recalled, given, asked_again)}
    eni = {"id": "eni-1", "status": "InUse", "ipv4": addresses, "ipv4Prefix": []}
    status = {"networkInterfaces": {"eni-1": eni}, "round": 5, "journal": "{}", "reason": "r"}

    found = as_upstreams(status, {"10.0.0.2": 4, "10.0.0.3": 2})

    assert set(found) == {"networkInterfaces"}
    states = {ip: one["status"] for ip, one in found["networkInterfaces"]["eni-1"]["ipv4"].items()}
    assert states == {"10.0.0.1": "Valid", "10.0.0.2": "Deleting", "10.0.0.3": "Valid"}
    assert "recall" not in str(found)
    assert as_upstreams(NODE["status"], {}) == NODE["status"]
