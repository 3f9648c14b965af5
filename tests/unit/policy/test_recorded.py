"""A record of the flow log is written and read back whole, and finds whoever asks for it."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import NamedPort, PodKey, Protocol
from terway.policy.flow import AddressEnd, Because, Judgement, NodeEnd, PodEnd
from terway.policy.policies import Direction, Kind, PolicyKey
from terway.policy.records.flow_filter import FlowFilter, filter_of
from terway.policy.records.recorded import RecordedEnd, RecordedFlow, Remark, line_of, read_line
from terway.policy.records.workload import workload_of

WEB = RecordedEnd(
    address=ip_address("10.0.0.1"),
    pod=PodKey(namespace="web", name="shop-5d8f7b9c-x2x4z"),
    workload="Deployment shop",
    node=NodeName("node-1"),
    labels={"app": "shop"},
    namespace_labels={"team": "a"},
)
DB = RecordedEnd(
    address=ip_address("10.0.0.2"),
    pod=PodKey(namespace="db", name="mysql-0"),
    workload="StatefulSet mysql",
    node=NodeName("node-2"),
    ports=(NamedPort(name="sql", protocol=Protocol.TCP, port=3306),),
)
OUTSIDE = RecordedEnd(address=ip_address("2001:db8::9"))
NODE = RecordedEnd(address=ip_address("192.168.0.10"), node=NodeName("node-1"))
DENIED = RecordedFlow(
    time="2026-01-02T03:04:05.678Z",
    node=NodeName("node-2"),
    is_allowed=False,
    source=WEB,
    destination=DB,
    protocol="TCP",
    port=3306,
    sides=(
        Judgement(
            direction=Direction.INGRESS,
            pod=PodKey(namespace="db", name="mysql-0"),
            is_allowed=False,
            because=Because.ISOLATED,
            policy=PolicyKey(kind=Kind.NETWORK, namespace="db", name="only-app"),
            isolating=2,
        ),
    ),
    interface="eth1 > cali1",
    count=12,
)
PING = RecordedFlow(
    time="2026-01-02T03:04:05.678Z",
    node=NodeName("node-1"),
    is_allowed=True,
    source=replace(WEB, address=ip_address("fd00::1")),
    destination=OUTSIDE,
    protocol="ICMPv6",
    icmp_type=128,
    note="the policies have changed meanwhile",
    sample=10,
)
LOST = Remark(time="2026-01-02T03:04:05.678Z", node=NodeName("node-1"), lost=7)


@pytest.mark.parametrize("line", [DENIED, PING, LOST, replace(LOST, lost=0, text="hello")])
def test_what_is_written_is_read_back(line):
    written = line_of(line)
    assert "\n" not in written
    assert read_line(written) == line


def test_fields_of_a_later_version_are_passed_over():
    raw = json.loads(line_of(DENIED)) | {"colour": "red"}
    assert read_line(json.dumps(raw)) == DENIED


@pytest.mark.parametrize(
    "text", ["", "[]", "no json", "{}", '{"verdict":"maybe"}', '{"time":1', "3"]
)
def test_what_is_no_record_is_refused_with_its_place(text):
    with pytest.raises(UsageError, match=r"flows\.jsonl line 3"):
        read_line(text, where="flows.jsonl line 3")


def test_a_record_is_judged_anew_by_names_where_there_are_some():
    flow = DENIED.flow()
    assert flow.source == PodEnd(pod=PodKey(namespace="web", name="shop-5d8f7b9c-x2x4z"))
    assert (flow.protocol, flow.port, flow.via_service) == (Protocol.TCP, 3306, False)
    assert PING.flow().destination == AddressEnd(address=OUTSIDE.address)
    assert PING.flow().protocol is Protocol.OTHER
    assert replace(PING, source=NODE).flow().source == NodeEnd(node=NodeName("node-1"))
    assert replace(DENIED, source=DB).flow().via_service


@pytest.mark.parametrize(
    ("words", "denied", "ping"),
    [
        ({}, True, True),
        ({"verdict": "denied"}, True, False),
        ({"verdict": "allowed"}, False, True),
        ({"pod": "mysql-0"}, True, False),
        ({"pod": "db/mysql-0"}, True, False),
        ({"pod": "web/mysql-0"}, False, False),
        ({"pod": "mysql"}, True, False),
        ({"namespace": "web"}, True, True),
        ({"namespace": "db"}, True, False),
        ({"from": "shop", "to": "outside"}, False, True),
        ({"from": "mysql"}, False, False),
        ({"from": "10.0.0.0/24"}, True, False),
        ({"to": "2001:db8::9"}, False, True),
        ({"to": "node-2"}, False, False),
        ({"policy": "only-app"}, True, False),
        ({"policy": "db/only-app"}, True, False),
        ({"policy": "web/only-app"}, False, False),
        ({"port": "3306"}, True, False),
        ({"protocol": "icmpv6"}, False, True),
        ({"last": "3", "follow": "1"}, True, True),
    ],
)
def test_a_filter_finds_what_it_names(words, denied, ping):
    wanted = filter_of(words)
    assert (wanted.matches(DENIED), wanted.matches(PING)) == (denied, ping)
    assert filter_of(wanted.words()) == wanted


def test_a_node_is_an_end_by_its_name():
    assert FlowFilter(from_="node-1").matches(replace(PING, source=NODE))


def test_impossible_conditions_are_refused():
    for words in ({"verdict": "maybe"}, {"port": "http"}, {"port": "70000"}):
        with pytest.raises(UsageError, match="must be"):
            filter_of(words)


@pytest.mark.parametrize(
    ("name", "labels", "workload"),
    [
        ("shop-5d8f7b9c-x2x4z", {"pod-template-hash": "5d8f7b9c"}, "Deployment shop"),
        ("a-b-5d8f-x2x4z", {"pod-template-hash": "5d8f"}, "Deployment a-b"),
        (
            "mysql-0",
            {"controller-revision-hash": "r", "apps.kubernetes.io/pod-index": "0"},
            "StatefulSet mysql",
        ),
        ("proxy-x2x4z", {"controller-revision-hash": "r"}, "DaemonSet proxy"),
        ("backup-28-x2x4z", {"batch.kubernetes.io/job-name": "backup-28"}, "Job backup-28"),
        ("old-x2x4z", {"job-name": "old"}, "Job old"),
        ("alone", {"app": "alone"}, "Pod alone"),
        ("other-name", {"pod-template-hash": "5d8f"}, "Pod other-name"),
    ],
)
def test_a_workload_is_known_by_what_its_controller_writes(name, labels, workload):
    assert workload_of(PodKey(namespace="web", name=name), labels) == workload


def test_owners_are_workloads_nodes_and_the_outside():
    owners = [one.owner for one in (WEB, DB, NODE, OUTSIDE)]
    assert owners == ["web: Deployment shop", "db: StatefulSet mysql", "node node-1", "outside"]
